//! libsodium's `crypto_secretstream_xchacha20poly1305`: messages that can only be opened whole, unchanged and in the order of sealing.
//!
//! A sealed message is `tag byte, encrypted ‖ body, encrypted ‖ MAC 16`. The key stream of ChaCha20 (IETF) under the nonce
//! `counter u32 LE ‖ 8 bytes` is used so: block 0 is the MAC's key, block 1 hides the tag byte, block 2 and on the body. The MAC is over
//! block 1 with the tag in it (64 bytes), the encrypted body, zeros, and two lengths. The number of zeros is the body's length modulo 16: not
//! padding to a full block, a slip of libsodium's that became the format. After each message its MAC is mixed into the nonce.
//!
//! Composed from the primitives of RustCrypto, and cryptoxide's MAC for short messages: the crates that have it whole copy each message, and go through it twice. Here encryption and
//! MAC take turns on [`STRIDE`] bytes, so that each byte is still in the processor's cache for the second. The key stream of a message's first bytes
//! is made together with the two blocks in front of it: making one block takes as long as making several.

use chacha20::{
    ChaCha20, KeyIvInit, R20,
    cipher::{StreamCipher, StreamCipherSeek},
    hchacha,
};
use cryptoxide::poly1305::Poly1305 as ShortPoly1305;
use poly1305::{
    Poly1305,
    universal_hash::{KeyInit, UniversalHash},
};
use zeroize::{Zeroize, Zeroizing};

/// What sealing adds to a message, in bytes.
pub const OVERHEAD: usize = 1 + MAC;

/// The bytes that a sender draws at random and a receiver must know before the first message.
pub const HEADER: usize = 24;

/// What [`SecretStreamCipher::to_state`] gives, in bytes.
pub const STATE: usize = 52;

const MAC: usize = 16;
const BLOCK: usize = 64;

/// How many bytes are encrypted before they are hashed, or the other way round.
const STRIDE: usize = 8192;

/// The key stream that is made at once for the beginning of a message: what AVX-512 makes in one go.
const FIRST: usize = 16 * BLOCK;

/// Messages below this many bytes are hashed one block after the other. The vectorised MAC prepares powers of its key for every message and merges its four
/// lanes after it: of a short message that takes longer than the message itself.
const SHORT: usize = 2048;

const TAG_MESSAGE: u8 = 0;

/// The bit of a tag that makes both sides change the key after the message. npm's stream never sends it, but its receiver obeys it.
const TAG_REKEY: u8 = 2;

/// One direction of a stream: the sender's and the receiver's copy go through the same states.
#[derive(Clone)]
pub struct SecretStreamCipher {
    key: Zeroizing<[u8; 32]>,
    /// `counter u32 LE ‖ 8 bytes`.
    nonce: [u8; 12],
}

/// The MAC of one message.
#[allow(
    clippy::large_enum_variant,
    reason = "it lives on the stack for the time of one message"
)]
enum Mac {
    Short(ShortPoly1305),
    Long(Poly1305),
}

impl Mac {
    fn new(key: &[u8; 32], body_len: usize) -> Self {
        match body_len < SHORT {
            true => Self::Short(ShortPoly1305::new(key)),
            false => Self::Long(Poly1305::new(&(*key).into())),
        }
    }

    /// Takes data that is not part of the message, with zeros up to a multiple of 16.
    fn additional(&mut self, data: &[u8]) {
        let (blocks, rest) = data.split_at(data.len() & !15);
        self.update(blocks);
        if !rest.is_empty() {
            let mut last = [0; 16];
            last[..rest.len()].copy_from_slice(rest);
            self.update(&last);
        }
    }

    /// Takes bytes whose number is a multiple of 16.
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Short(mac) => mac.update_mut(bytes),
            Self::Long(mac) => mac.update(poly1305::Block::slice_as_chunks(bytes).0),
        }
    }

    /// Hashes what is left of a body and all that follows it.
    fn finish(self, rest: &[u8], body_len: usize, additional_len: usize) -> [u8; MAC] {
        let mut tail = [0; 3 * 16];
        tail[..rest.len()].copy_from_slice(rest);
        let lengths = 2 * rest.len();
        tail[lengths..lengths + 8].copy_from_slice(&(additional_len as u64).to_le_bytes());
        tail[lengths + 8..lengths + 16].copy_from_slice(&((BLOCK + body_len) as u64).to_le_bytes());
        match self {
            Self::Short(mut mac) => {
                mac.update_mut(&tail[..lengths + 16]);
                mac.finalize().0
            }
            Self::Long(mac) => mac.compute_unpadded(&tail[..lengths + 16]).into(),
        }
    }
}

/// The key stream of one message.
struct Message {
    cipher: ChaCha20,
    /// The key stream from its beginning: the MAC's key, block 1, and that of the first bytes of the body.
    first: [u8; FIRST],
    /// So much of it is there.
    made: usize,
}

impl Message {
    /// Block 1 of the key stream.
    fn block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block.copy_from_slice(&self.first[BLOCK..2 * BLOCK]);
        block
    }

    /// The parts of a body that are encrypted and hashed in turns: the first is as long as the key stream that is there.
    fn parts<'a>(&self, body: &'a mut [u8]) -> (&'a mut [u8], std::slice::ChunksMut<'a, u8>) {
        let first = body.len().min(self.made - 2 * BLOCK);
        let (first, rest) = body.split_at_mut(first);
        (first, rest.chunks_mut(STRIDE))
    }

    /// Encrypts or decrypts the first part of a body.
    fn apply_first(&self, part: &mut [u8]) {
        for (byte, key) in part.iter_mut().zip(&self.first[2 * BLOCK..]) {
            *byte ^= key;
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // The MAC's key. What comes after it can be had from the message and its sealed form.
        self.first[..BLOCK].zeroize();
    }
}

impl SecretStreamCipher {
    /// The state before the first message. `header` is drawn by the sender, and must never come again under one key.
    pub fn new(key: &[u8; 32], header: &[u8; HEADER]) -> Self {
        let (input, rest) = header.split_at(16);
        let input: &[u8; 16] = input.first_chunk().expect("split at 16");
        let mut nonce = [0; 12];
        nonce[0] = 1;
        nonce[4..].copy_from_slice(rest);
        Self {
            key: Zeroizing::new(hchacha::<R20>(&(*key).into(), &(*input).into()).into()),
            nonce,
        }
    }

    /// The key stream and the MAC of the next message.
    fn message(&self, body_len: usize) -> (Message, Mac) {
        let mut cipher = ChaCha20::new(&(*self.key).into(), &self.nonce.into());
        let mut first = [0; FIRST];
        let made = (2 * BLOCK + body_len).next_multiple_of(BLOCK).min(FIRST);
        cipher.apply_keystream(&mut first[..made]);
        let mut key = [0; 32];
        key.copy_from_slice(&first[..32]);
        let mac = Mac::new(&key, body_len);
        key.zeroize();
        let message = Message {
            cipher,
            first,
            made,
        };
        (message, mac)
    }

    /// The state of [`to_state`](Self::to_state).
    pub fn from_state(state: &[u8; STATE]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        let mut nonce = [0; 12];
        key.copy_from_slice(&state[..32]);
        nonce.copy_from_slice(&state[32..44]);
        Self { key, nonce }
    }

    /// The state as libsodium keeps it: the key, the nonce, eight zeros. It is as secret as the key.
    pub fn to_state(&self) -> Zeroizing<[u8; STATE]> {
        let mut state = Zeroizing::new([0; STATE]);
        state[..32].copy_from_slice(&*self.key);
        state[32..44].copy_from_slice(&self.nonce);
        state
    }

    /// Changes the key, as a message with that tag does.
    pub fn change_key(&mut self) {
        self.rekey();
    }

    /// Seals `message` in place: its first byte is room for the tag, its last 16 for the MAC, what is between is the body.
    ///
    /// # Panics
    /// When `message` is shorter than [`OVERHEAD`].
    pub fn seal(&mut self, message: &mut [u8]) {
        self.seal_tagged(message, TAG_MESSAGE, &[]);
    }

    /// As [`seal`](Self::seal), with a tag of the caller's, and with data that is not sent but has to be the same for whoever opens it.
    ///
    /// # Panics
    /// As [`seal`](Self::seal).
    pub fn seal_tagged(&mut self, message: &mut [u8], plain_tag: u8, additional: &[u8]) {
        let body_len = message
            .len()
            .checked_sub(OVERHEAD)
            .expect("room for the tag and the MAC");
        let (tag, rest) = message.split_at_mut(1);
        let (body, mac_out) = rest.split_at_mut(body_len);
        let (mut state, mut mac) = self.message(body_len);
        let mut block = state.block();
        block[0] ^= plain_tag;
        tag[0] = block[0];
        mac.additional(additional);
        mac.update(&block);
        let (first, parts) = state.parts(body);
        state.apply_first(first);
        mac.update(&first[..first.len() & !15]);
        for part in parts {
            state.cipher.apply_keystream(part);
            mac.update(&part[..part.len() & !15]);
        }
        let mac = mac.finish(&body[body_len & !15..], body_len, additional.len());
        mac_out.copy_from_slice(&mac);
        self.step(&mac, plain_tag);
    }

    /// Opens `message` in place; its body stays between the first byte and the last 16. False when it is not the next message of this
    /// stream: it is undefined then what the body holds, and the stream must not be used further.
    #[must_use]
    pub fn open(&mut self, message: &mut [u8]) -> bool {
        self.open_tagged(message, &[]).is_some()
    }

    /// As [`open`](Self::open), with what [`seal_tagged`](Self::seal_tagged) was given besides. The tag, or `None`.
    #[must_use]
    pub fn open_tagged(&mut self, message: &mut [u8], additional: &[u8]) -> Option<u8> {
        let body_len = message.len().checked_sub(OVERHEAD)?;
        let (tag, rest) = message.split_at_mut(1);
        let (body, mac_in) = rest.split_at_mut(body_len);
        let (mut state, mut mac) = self.message(body_len);
        let mut block = state.block();
        let plain_tag = tag[0] ^ block[0];
        block[0] = tag[0];
        mac.additional(additional);
        mac.update(&block);
        let mut last = [0; 16];
        let rest = &body[body_len & !15..];
        last[..rest.len()].copy_from_slice(rest);
        let last = (last, rest.len());
        let (first, parts) = state.parts(body);
        mac.update(&first[..first.len() & !15]);
        state.apply_first(first);
        for part in parts {
            mac.update(&part[..part.len() & !15]);
            state.cipher.apply_keystream(part);
        }
        let mac = mac.finish(&last.0[..last.1], body_len, additional.len());
        if !same(&mac, mac_in) {
            body.zeroize();
            return None;
        }
        tag[0] = plain_tag;
        self.step(&mac, plain_tag);
        Some(plain_tag)
    }

    /// To the state for the next message.
    fn step(&mut self, mac: &[u8; MAC], tag: u8) {
        for (nonce, mac) in self.nonce[4..].iter_mut().zip(mac) {
            *nonce ^= mac;
        }
        let counter =
            u32::from_le_bytes([self.nonce[0], self.nonce[1], self.nonce[2], self.nonce[3]])
                .wrapping_add(1);
        self.nonce[..4].copy_from_slice(&counter.to_le_bytes());
        if tag & TAG_REKEY != 0 || counter == 0 {
            self.rekey();
        }
    }

    fn rekey(&mut self) {
        let mut both = Zeroizing::new([0; 40]);
        both[..32].copy_from_slice(&*self.key);
        both[32..].copy_from_slice(&self.nonce[4..]);
        let mut cipher = ChaCha20::new(&(*self.key).into(), &self.nonce.into());
        cipher.seek(0u32);
        cipher.apply_keystream(&mut *both);
        self.key.copy_from_slice(&both[..32]);
        self.nonce[4..].copy_from_slice(&both[32..]);
        self.nonce[..4].copy_from_slice(&1u32.to_le_bytes());
    }
}

impl std::fmt::Debug for SecretStreamCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretStreamCipher").finish_non_exhaustive()
    }
}

/// Compares in a time that does not depend on where they differ.
fn same(a: &[u8; MAC], b: &[u8]) -> bool {
    b.len() == a.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A body just below the limit and one above it are hashed by different crates.
        #[test]
        fn both_macs_are_one(
            key in any::<[u8; 32]>(),
            body in prop::collection::vec(prop_oneof![Just(0xff), Just(0), any::<u8>()], 0..400),
        ) {
            let [short, long] = [0, SHORT].map(|len| {
                let mut mac = Mac::new(&key, len);
                let (blocks, rest) = body.split_at(body.len() & !15);
                mac.update(blocks);
                mac.finish(rest, body.len(), 0)
            });
            prop_assert_eq!(short, long);
        }
    }
}
