//! The handshake between two peers, in messages that nodes of the DHT hand on, and the sealed messages about the way through their NATs.
//!
//! The handshake is Noise IK: the client knows the server's key, and nobody in between learns the client's. What it leaves keys the stream from its first byte.
//! Source: hyperdht 6.34.0, `lib/noise-wrap.js`, `lib/secure-payload.js`. Vectors: `tests/vectors/dht.json`, `handshakes`, `holepunch_payloads`.

use super::{
    messages::{HolepunchPayload, NoisePayload, Wire},
    sign::namespaces,
};
use crate::{
    Error,
    noise::{self, Keys, Pattern, Role},
};
use crypto_secretbox::{AeadInPlace, KeyInit, Nonce, Tag, XSalsa20Poly1305};
use pome_cores::{KeyPair, crypto::hash_keyed};
use std::{fmt, net::Ipv4Addr};

const NONCE: usize = 24;
const MAC: usize = 16;

/// One side of a handshake between peers. The client sends first.
#[derive(Debug)]
pub struct PeerHandshake {
    noise: noise::Handshake,
}

impl PeerHandshake {
    /// Begins one: with the server's key as the client, without as the server. `ephemeral` must be 32 fresh random bytes.
    ///
    /// # Errors
    /// [`Error::Handshake`] when the key is no point.
    pub fn new(
        local: &KeyPair,
        server: Option<&[u8; 32]>,
        ephemeral: [u8; 32],
    ) -> Result<Self, Error> {
        let role = match server {
            Some(_) => Role::Initiator,
            None => Role::Responder,
        };
        let prologue = &namespaces().peer_handshake;
        let pattern = Pattern::Ik;
        let noise = noise::Handshake::new(pattern, role, local, server, prologue, ephemeral)?;
        Ok(Self { noise })
    }

    /// The own message.
    ///
    /// # Errors
    /// [`Error::Handshake`] when it is not our turn.
    pub fn send(&mut self, payload: &NoisePayload) -> Result<Vec<u8>, Error> {
        self.noise.send(&payload.encode())
    }

    /// Takes the other side's message.
    ///
    /// # Errors
    /// [`Error::Handshake`] when it is not from who we think, or was changed; [`Error::Decode`] when its payload is nonsense.
    pub fn receive(&mut self, message: &[u8]) -> Result<NoisePayload, Error> {
        Ok(NoisePayload::decode(&self.noise.receive(message)?)?)
    }

    /// The other side's key, once it is known.
    pub fn remote_public_key(&self) -> Option<[u8; 32]> {
        self.noise.remote_public_key()
    }

    /// The keys of the stream, and those of the messages about the way.
    ///
    /// # Errors
    /// [`Error::Handshake`] when it is not complete.
    pub fn finish(self, local_secret: [u8; 32]) -> Result<(Keys, SecurePayload), Error> {
        let keys = self.noise.finish()?;
        let secret = hash_keyed(&keys.hash, &[&namespaces().peer_holepunch]);
        Ok((keys, SecurePayload::new(&secret, local_secret)))
    }
}

/// Seals and opens messages about the way through the NATs: `nonce 24 ‖ secretbox`.
#[derive(Clone)]
pub struct SecurePayload {
    cipher: XSalsa20Poly1305,
    local_secret: [u8; 32],
}

impl fmt::Debug for SecurePayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecurePayload").finish_non_exhaustive()
    }
}

impl SecurePayload {
    /// With the secret that both sides have, and one that only this side has, for tokens.
    pub fn new(secret: &[u8; 32], local_secret: [u8; 32]) -> Self {
        Self {
            cipher: XSalsa20Poly1305::new(secret.into()),
            local_secret,
        }
    }

    /// Seals a message. Never use a nonce twice.
    pub fn seal(&self, payload: &HolepunchPayload, nonce: [u8; NONCE]) -> Vec<u8> {
        let mut body = payload.encode();
        let mut out = nonce.to_vec();
        let nonce = Nonce::from(nonce);
        // A message of a few bytes is never too long.
        if let Ok(tag) = self
            .cipher
            .encrypt_in_place_detached(&nonce, b"", &mut body)
        {
            out.extend_from_slice(&tag);
            out.extend_from_slice(&body);
        }
        out
    }

    /// Opens a message; `None` when the other side did not seal it, or it is nonsense.
    pub fn open(&self, sealed: &[u8]) -> Option<HolepunchPayload> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
        let (tag, body) = rest.split_first_chunk::<MAC>()?;
        let mut body = body.to_vec();
        let (nonce, tag) = (Nonce::from_slice(nonce), Tag::from_slice(tag));
        self.cipher
            .decrypt_in_place_detached(nonce, b"", &mut body, tag)
            .ok()?;
        HolepunchPayload::decode(&body).ok()
    }

    /// What who receives datagrams at this address can give back.
    pub fn token(&self, host: Ipv4Addr) -> [u8; 32] {
        hash_keyed(&self.local_secret, &[host.to_string().as_bytes()])
    }
}
