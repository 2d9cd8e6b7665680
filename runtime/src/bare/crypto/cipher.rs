//! Ciphers: AES in its modes, and those that seal. Numbers as in `crypto.constants.cipher`.

use aes::{Aes128, Aes256};
use aes_gcm::{
    AesGcm,
    aead::{AeadInOut, KeyInit as _},
};
use chacha20poly1305::{ChaCha20Poly1305, XChaCha20Poly1305};
use cipher::{
    BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher,
    consts::{U12, U16},
};
use parking_lot::Mutex;
use rquickjs::{ArrayBuffer, Ctx, JsLifetime, Value, class::Trace};

use super::invalid;
use crate::{bare::failure::Failure, engine::bytes};

const BLOCK_BYTES: usize = 16;

/// `[key, iv, tag]` lengths in bytes; the tag's is 0 for those that do not seal. Nothing for a number that is none.
pub(super) fn lengths(number: u32) -> Option<Vec<u32>> {
    let lengths = match number {
        8 => [16, 0, 0],
        9..=11 => [16, 16, 0],
        12 => [32, 0, 0],
        13..=15 => [32, 16, 0],
        16 => [16, 12, 16],
        17 | 18 => [32, 12, 16],
        19 => [32, 24, 16],
        _ => return None,
    };
    Some(lengths.to_vec())
}

/// Changes one block in place.
type RunBlock = dyn FnMut(&mut [u8; BLOCK_BYTES]) + Send;

/// Changes any number of bytes in place.
type RunStream = dyn FnMut(&mut [u8]) + Send;

/// One direction of a cipher.
enum Mode {
    /// Whole blocks only.
    Blocks(Box<RunBlock>),
    /// Any number of bytes.
    Stream(Box<RunStream>),
}

fn blocks(run: impl FnMut(&mut [u8; BLOCK_BYTES]) + Send + 'static) -> Option<Mode> {
    Some(Mode::Blocks(Box::new(run)))
}

fn encrypt<C>(cipher: Option<C>) -> Option<Mode>
where
    C: BlockModeEncrypt<BlockSize = U16> + Send + 'static,
{
    let mut cipher = cipher?;
    blocks(move |block| cipher.encrypt_block(block.into()))
}

fn decrypt<C>(cipher: Option<C>) -> Option<Mode>
where
    C: BlockModeDecrypt<BlockSize = U16> + Send + 'static,
{
    let mut cipher = cipher?;
    blocks(move |block| cipher.decrypt_block(block.into()))
}

fn stream<C>(cipher: Option<C>) -> Option<Mode>
where
    C: StreamCipher + Send + 'static,
{
    let mut cipher = cipher?;
    Some(Mode::Stream(Box::new(move |data| {
        cipher.apply_keystream(data);
    })))
}

fn with_iv<C: KeyIvInit>(key: &[u8], iv: &[u8]) -> Option<C> {
    C::new_from_slices(key, iv).ok()
}

fn without_iv<C: cipher::KeyInit>(key: &[u8]) -> Option<C> {
    C::new_from_slice(key).ok()
}

/// Nothing where the number is no cipher of this kind, or the lengths are not its own.
fn start(number: u32, key: &[u8], iv: &[u8], is_encrypting: bool) -> Option<Mode> {
    match (number, is_encrypting) {
        (8, true) => encrypt(without_iv::<ecb::Encryptor<Aes128>>(key)),
        (8, false) => decrypt(without_iv::<ecb::Decryptor<Aes128>>(key)),
        (9, true) => encrypt(with_iv::<cbc::Encryptor<Aes128>>(key, iv)),
        (9, false) => decrypt(with_iv::<cbc::Decryptor<Aes128>>(key, iv)),
        (10, _) => stream(with_iv::<ctr::Ctr128BE<Aes128>>(key, iv)),
        (11, _) => stream(with_iv::<ofb::Ofb<Aes128>>(key, iv)),
        (12, true) => encrypt(without_iv::<ecb::Encryptor<Aes256>>(key)),
        (12, false) => decrypt(without_iv::<ecb::Decryptor<Aes256>>(key)),
        (13, true) => encrypt(with_iv::<cbc::Encryptor<Aes256>>(key, iv)),
        (13, false) => decrypt(with_iv::<cbc::Decryptor<Aes256>>(key, iv)),
        (14, _) => stream(with_iv::<ctr::Ctr128BE<Aes256>>(key, iv)),
        (15, _) => stream(with_iv::<ofb::Ofb<Aes256>>(key, iv)),
        _ => None,
    }
}

struct State {
    mode: Mode,
    is_encrypting: bool,
    has_padding: bool,
    /// Bytes that are no whole block yet; when decrypting with padding the last whole block too, because it may be the padded one.
    held: Vec<u8>,
}

impl State {
    fn update(&mut self, data: &[u8]) -> Vec<u8> {
        let run = match &mut self.mode {
            Mode::Stream(run) => {
                let mut data = data.to_vec();
                run(&mut data);
                return data;
            }
            Mode::Blocks(run) => run,
        };
        self.held.extend_from_slice(data);
        let keeps_last = !self.is_encrypting && self.has_padding;
        let mut whole = self.held.len() / BLOCK_BYTES;
        if keeps_last && self.held.len().is_multiple_of(BLOCK_BYTES) {
            whole = whole.saturating_sub(1);
        }
        let rest = self.held.split_off(whole * BLOCK_BYTES);
        let mut out = std::mem::replace(&mut self.held, rest);
        let (blocks, _) = out.as_chunks_mut::<BLOCK_BYTES>();
        for block in blocks {
            run(block);
        }
        out
    }

    fn finish(mut self) -> Result<Vec<u8>, Failure> {
        let Mode::Blocks(run) = &mut self.mode else {
            return Ok(Vec::new());
        };
        let bad = || Failure::new("BAD_DECRYPT", "bad decrypt");
        if !self.has_padding {
            return match self.held.is_empty() {
                true => Ok(Vec::new()),
                false => Err(Failure::new(
                    "DATA_NOT_MULTIPLE_OF_BLOCK_LENGTH",
                    "data not multiple of block length",
                )),
            };
        }
        if self.is_encrypting {
            // PKCS #7: as many bytes as are missing, each saying how many.
            let missing = BLOCK_BYTES - self.held.len() % BLOCK_BYTES;
            self.held.resize(
                self.held.len() + missing,
                u8::try_from(missing).unwrap_or(0),
            );
        }
        let mut last: [u8; BLOCK_BYTES] = self.held.as_slice().try_into().map_err(|_| bad())?;
        run(&mut last);
        if self.is_encrypting {
            return Ok(last.to_vec());
        }
        let [.., count] = last;
        let kept = BLOCK_BYTES
            .checked_sub(count.into())
            .filter(|_| count > 0)
            .ok_or_else(bad)?;
        let (data, padding) = last.split_at(kept);
        match padding.iter().all(|byte| *byte == count) {
            true => Ok(data.to_vec()),
            false => Err(bad()),
        }
    }
}

/// A cipher that is under way.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Cipher {
    #[qjs(skip_trace)]
    state: Mutex<Option<State>>,
}

#[rquickjs::methods]
impl Cipher {
    #[qjs(constructor)]
    fn new<'js>(
        ctx: Ctx<'js>,
        number: u32,
        key: Value<'js>,
        iv: Value<'js>,
        is_encrypting: bool,
    ) -> rquickjs::Result<Self> {
        let (key, iv) = (bytes::copy(&key)?, bytes::copy(&iv)?);
        let mode = start(number, &key, &iv, is_encrypting)
            .ok_or_else(|| invalid(&ctx, "unknown cipher"))?;
        Ok(Self {
            state: Mutex::new(Some(State {
                mode,
                is_encrypting,
                has_padding: true,
                held: Vec::new(),
            })),
        })
    }

    /// Nothing when it was finished already.
    fn update<'js>(
        &self,
        ctx: Ctx<'js>,
        data: Value<'js>,
    ) -> rquickjs::Result<Option<ArrayBuffer<'js>>> {
        let mut state = self.state.lock();
        let Some(state) = state.as_mut() else {
            return Ok(None);
        };
        let out = bytes::read(&data, |data| state.update(data))?;
        ArrayBuffer::new(ctx, out).map(Some)
    }

    fn finish<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Option<ArrayBuffer<'js>>> {
        let Some(state) = self.state.lock().take() else {
            return Ok(None);
        };
        let out = state.finish().map_err(|failure| failure.throw(&ctx))?;
        ArrayBuffer::new(ctx, out).map(Some)
    }

    #[qjs(rename = "setPadding")]
    fn set_padding(&self, has_padding: bool) {
        if let Some(state) = self.state.lock().as_mut() {
            state.has_padding = has_padding;
        }
    }
}

/// Does `$body` with `$cipher` as the cipher with this number that seals.
macro_rules! with_aead {
    ($number:expr, $key:expr, $cipher:ident => $body:expr) => {
        match $number {
            16 => AesGcm::<Aes128, U12>::new_from_slice($key)
                .ok()
                .and_then(|$cipher| $body),
            17 => AesGcm::<Aes256, U12>::new_from_slice($key)
                .ok()
                .and_then(|$cipher| $body),
            18 => ChaCha20Poly1305::new_from_slice($key)
                .ok()
                .and_then(|$cipher| $body),
            19 => XChaCha20Poly1305::new_from_slice($key)
                .ok()
                .and_then(|$cipher| $body),
            _ => None,
        }
    };
}

/// `seal(cipher, key, nonce, additional, data)`: the sealed data, then its tag of 16 bytes.
pub(super) fn seal<'js>(
    ctx: Ctx<'js>,
    number: u32,
    key: Value<'js>,
    nonce: Value<'js>,
    additional: Value<'js>,
    data: Value<'js>,
) -> rquickjs::Result<ArrayBuffer<'js>> {
    let (key, nonce) = (bytes::copy(&key)?, bytes::copy(&nonce)?);
    let (additional, mut data) = (bytes::copy(&additional)?, bytes::copy(&data)?);
    let sealed = with_aead!(number, &key, cipher => {
        let nonce = nonce.as_slice().try_into().ok()?;
        cipher.encrypt_in_place(nonce, &additional, &mut data).ok()
    });
    match sealed {
        Some(()) => ArrayBuffer::new(ctx, data),
        None => Err(invalid(&ctx, "unknown cipher")),
    }
}

/// `unseal(cipher, key, nonce, additional, data and tag)`: the data; nothing when any of it is not what was sealed.
pub(super) fn unseal<'js>(
    ctx: Ctx<'js>,
    number: u32,
    key: Value<'js>,
    nonce: Value<'js>,
    additional: Value<'js>,
    data: Value<'js>,
) -> rquickjs::Result<Option<ArrayBuffer<'js>>> {
    let (key, nonce) = (bytes::copy(&key)?, bytes::copy(&nonce)?);
    let (additional, mut data) = (bytes::copy(&additional)?, bytes::copy(&data)?);
    let opened = with_aead!(number, &key, cipher => {
        let nonce = nonce.as_slice().try_into().ok()?;
        cipher.decrypt_in_place(nonce, &additional, &mut data).ok()
    });
    opened.map(|()| ArrayBuffer::new(ctx, data)).transpose()
}
