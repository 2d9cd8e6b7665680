//! libsodium's `crypto_secretstream_xchacha20poly1305`: messages that can only be opened whole, unchanged and in the order of sealing.
//!
//! A sealed message is `tag byte, encrypted ‖ body, encrypted ‖ MAC 16`. The key stream of ChaCha20 (IETF) under the nonce
//! `counter u32 LE ‖ 8 bytes` is used so: block 0 is the MAC's key, block 1 hides the tag byte, block 2 and on the body. The MAC is over
//! block 1 with the tag in it (64 bytes), the encrypted body, zeros, and two lengths. The number of zeros is the body's length modulo 16: not
//! padding to a full block, a slip of libsodium's that became the format. After each message its MAC is mixed into the nonce.
//!
//! Composed from the RustCrypto primitives: the crates that have it whole copy each message, and go through it twice. Here encryption and
//! MAC take turns on [`STRIDE`] bytes, so that each byte is still in the processor's cache for the second.

use chacha20::{
    ChaCha20, KeyIvInit, R20,
    cipher::{StreamCipher, StreamCipherSeek},
    hchacha,
};
use poly1305::{
    Poly1305,
    universal_hash::{KeyInit, UniversalHash},
};
use zeroize::{Zeroize, Zeroizing};

/// What sealing adds to a message, in bytes.
pub const OVERHEAD: usize = 1 + MAC;

/// The bytes that a sender draws at random and a receiver must know before the first message.
pub const HEADER: usize = 24;

const MAC: usize = 16;
const BLOCK: usize = 64;

/// How many bytes are encrypted before they are hashed, or the other way round.
const STRIDE: usize = 8192;

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

/// The key stream and the MAC of one message.
struct Message {
    cipher: ChaCha20,
    mac: Poly1305,
    /// Block 1 of the key stream.
    block: [u8; BLOCK],
}

impl Message {
    fn hash(&mut self, bytes: &[u8]) {
        let (blocks, rest) = poly1305::Block::slice_as_chunks(bytes);
        debug_assert!(rest.is_empty());
        self.mac.update(blocks);
    }

    /// Hashes what is left of a body and all that follows it.
    fn finish(self, rest: &[u8], body_len: usize) -> [u8; MAC] {
        let mut tail = [0; 3 * 16];
        tail[..rest.len()].copy_from_slice(rest);
        let lengths = 2 * rest.len();
        // The first length is that of additional data, which nobody has here.
        tail[lengths + 8..lengths + 16].copy_from_slice(&((BLOCK + body_len) as u64).to_le_bytes());
        self.mac.compute_unpadded(&tail[..lengths + 16]).into()
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

    fn message(&self) -> Message {
        let mut cipher = ChaCha20::new(&(*self.key).into(), &self.nonce.into());
        let mut blocks = [0; 2 * BLOCK];
        cipher.apply_keystream(&mut blocks);
        let mut key = poly1305::Key::default();
        key.copy_from_slice(&blocks[..32]);
        let mut block = [0; BLOCK];
        block.copy_from_slice(&blocks[BLOCK..]);
        let mac = Poly1305::new(&key);
        blocks.zeroize();
        key.zeroize();
        Message { cipher, mac, block }
    }

    /// Seals `message` in place: its first byte is room for the tag, its last 16 for the MAC, what is between is the body.
    ///
    /// # Panics
    /// When `message` is shorter than [`OVERHEAD`].
    pub fn seal(&mut self, message: &mut [u8]) {
        let body_len = message
            .len()
            .checked_sub(OVERHEAD)
            .expect("room for the tag and the MAC");
        let (tag, rest) = message.split_at_mut(1);
        let (body, mac_out) = rest.split_at_mut(body_len);
        let mut state = self.message();
        state.block[0] ^= TAG_MESSAGE;
        tag[0] = state.block[0];
        let block = state.block;
        state.hash(&block);
        for part in body.chunks_mut(STRIDE) {
            state.cipher.apply_keystream(part);
            state.hash(&part[..part.len() & !15]);
        }
        let mac = state.finish(&body[body_len & !15..], body_len);
        mac_out.copy_from_slice(&mac);
        self.step(&mac, TAG_MESSAGE);
    }

    /// Opens `message` in place; its body stays between the first byte and the last 16. False when it is not the next message of this
    /// stream: it is undefined then what the body holds, and the stream must not be used further.
    #[must_use]
    pub fn open(&mut self, message: &mut [u8]) -> bool {
        let Some(body_len) = message.len().checked_sub(OVERHEAD) else {
            return false;
        };
        let (tag, rest) = message.split_at_mut(1);
        let (body, mac_in) = rest.split_at_mut(body_len);
        let mut state = self.message();
        let plain_tag = tag[0] ^ state.block[0];
        state.block[0] = tag[0];
        let block = state.block;
        state.hash(&block);
        let mut last = [0; 16];
        let rest = &body[body_len & !15..];
        last[..rest.len()].copy_from_slice(rest);
        let last = (last, rest.len());
        for part in body.chunks_mut(STRIDE) {
            state.hash(&part[..part.len() & !15]);
            state.cipher.apply_keystream(part);
        }
        let mac = state.finish(&last.0[..last.1], body_len);
        if !same(&mac, mac_in) {
            body.zeroize();
            return false;
        }
        tag[0] = plain_tag;
        self.step(&mac, plain_tag);
        true
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
