//! Unordered messages beside the stream: each one is sealed for itself, may be lost, and says nothing about its place.
//!
//! `counter 8 ‖ secretbox` (XSalsa20-Poly1305), nonce = the counter, then zeros. The counter starts at random and is raised before each use.
//!
//! Source: secret-stream 6.9.2, `_setupSecretSend`, `_boxMessage`, `_onmessage`. Vectors: `tests/vectors/stream.json`, `datagrams`.

use super::names;
use crate::noise::Role;
use crypto_secretbox::{AeadInPlace, KeyInit, Nonce, Tag, XSalsa20Poly1305};
use pome_cores::crypto::hash_keyed;

const COUNTER: usize = 8;
const MAC: usize = 16;

/// The shortest datagram that npm takes: one byte less than a sealed empty message would not even hold a nonce.
const DATAGRAM_MIN: usize = 24;

/// Both directions of a connection's datagrams.
pub(super) struct Datagrams {
    tx: XSalsa20Poly1305,
    rx: XSalsa20Poly1305,
    counter: u64,
    first: u64,
}

impl Datagrams {
    pub(super) fn new(role: Role, hash: &[u8; 64], counter: [u8; COUNTER]) -> Self {
        let names = names();
        let cipher = |role| {
            let key = hash_keyed(hash, &[names.of(role), &names.send]);
            XSalsa20Poly1305::new(&key.into())
        };
        let counter = u64::from_le_bytes(counter);
        Self {
            tx: cipher(role),
            rx: cipher(role.other()),
            counter,
            first: counter,
        }
    }

    /// `None` once every counter was used.
    pub(super) fn seal(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let counter = self.counter.wrapping_add(1);
        if counter == self.first {
            return None;
        }
        self.counter = counter;
        let mut out = vec![0; COUNTER + MAC + plain.len()];
        out[..COUNTER].copy_from_slice(&counter.to_le_bytes());
        let (head, body) = out.split_at_mut(COUNTER + MAC);
        body.copy_from_slice(plain);
        let tag = self
            .tx
            .encrypt_in_place_detached(&nonce(&head[..COUNTER]), b"", body)
            .ok()?;
        head[COUNTER..].copy_from_slice(&tag);
        Some(out)
    }

    pub(super) fn open(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        if datagram.len() < DATAGRAM_MIN {
            return None;
        }
        let (head, body) = datagram.split_at(COUNTER + MAC);
        let (counter, tag) = head.split_at(COUNTER);
        let mut out = body.to_vec();
        self.rx
            .decrypt_in_place_detached(&nonce(counter), b"", &mut out, Tag::from_slice(tag))
            .ok()?;
        Some(out)
    }
}

fn nonce(counter: &[u8]) -> Nonce {
    let mut nonce = Nonce::default();
    nonce[..COUNTER].copy_from_slice(counter);
    nonce
}
