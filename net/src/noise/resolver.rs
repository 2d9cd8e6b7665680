//! The primitives that snow runs on here: Ed25519, BLAKE2b with 64 bytes, ChaCha20-Poly1305, and random bytes that the caller brought.

use super::curve::{Ed25519, Points};
use blake2b_simd::State;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit,
    aead::{AeadInOut, Nonce, Tag},
};
use pome_cores::KeyPair;
use snow::{
    params::{CipherChoice, DHChoice, HashChoice},
    resolvers::CryptoResolver,
    types::{Cipher, Dh, Hash, Random},
};
use zeroize::Zeroizing;

const TAG: usize = 16;

/// Gives snow its primitives. `ephemeral` is the seed of the one key pair that a handshake makes up.
pub(super) struct Resolver {
    pub(super) ephemeral: Zeroizing<[u8; 32]>,
    pub(super) local: KeyPair,
    pub(super) points: Points,
}

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        Some(Box::new(Brought(Some(self.ephemeral.clone()))))
    }
    fn resolve_dh(&self, _: &DHChoice) -> Option<Box<dyn Dh>> {
        Some(Box::new(Ed25519::blank(
            self.local.clone(),
            self.points.clone(),
        )))
    }
    fn resolve_hash(&self, _: &HashChoice) -> Option<Box<dyn Hash>> {
        Some(Box::new(Blake2b(State::new())))
    }
    fn resolve_cipher(&self, _: &CipherChoice) -> Option<Box<dyn Cipher>> {
        Some(Box::new(ChaChaPoly(Zeroizing::new([0; 32]))))
    }
}

/// Randomness that the caller brought along, given out once: a second draw is refused instead of repeated.
struct Brought(Option<Zeroizing<[u8; 32]>>);

impl Random for Brought {
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), snow::Error> {
        match self.0.take() {
            Some(bytes) if out.len() == bytes.len() => out.copy_from_slice(&*bytes),
            _ => return Err(snow::Error::Rng),
        }
        Ok(())
    }
}

struct Blake2b(State);

impl Hash for Blake2b {
    fn name(&self) -> &'static str {
        "BLAKE2b"
    }
    fn block_len(&self) -> usize {
        128
    }
    fn hash_len(&self) -> usize {
        64
    }
    fn reset(&mut self) {
        self.0 = State::new();
    }
    fn input(&mut self, data: &[u8]) {
        self.0.update(data);
    }
    fn result(&mut self, out: &mut [u8]) {
        out[..64].copy_from_slice(self.0.finalize().as_bytes());
    }
}

struct ChaChaPoly(Zeroizing<[u8; 32]>);

impl ChaChaPoly {
    fn cipher(&self) -> ChaCha20Poly1305 {
        ChaCha20Poly1305::new(&(*self.0).into())
    }
}

/// npm writes its counter as a `u32` at byte 4: the same bytes as Noise's `u64` there, as no handshake sends 2³² messages.
fn nonce(counter: u64) -> Nonce<ChaCha20Poly1305> {
    let mut nonce = Nonce::<ChaCha20Poly1305>::default();
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    nonce
}

impl Cipher for ChaChaPoly {
    fn name(&self) -> &'static str {
        "ChaChaPoly"
    }
    fn set(&mut self, key: &[u8; 32]) {
        *self.0 = *key;
    }
    fn encrypt(&self, counter: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        let end = plaintext.len() + TAG;
        let (body, tag) = out[..end].split_at_mut(plaintext.len());
        body.copy_from_slice(plaintext);
        let sealed = self
            .cipher()
            .encrypt_inout_detached(&nonce(counter), authtext, body.into())
            .expect("a Noise message is far shorter than the cipher's limit");
        tag.copy_from_slice(&sealed);
        end
    }
    fn decrypt(
        &self,
        counter: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, snow::Error> {
        let (body, tag) = ciphertext
            .split_last_chunk::<TAG>()
            .ok_or(snow::Error::Decrypt)?;
        let out = out.get_mut(..body.len()).ok_or(snow::Error::Decrypt)?;
        out.copy_from_slice(body);
        self.cipher()
            .decrypt_inout_detached(
                &nonce(counter),
                authtext,
                out.into(),
                &Tag::<ChaCha20Poly1305>::from(*tag),
            )
            .map_err(|_| snow::Error::Decrypt)?;
        Ok(body.len())
    }
}
