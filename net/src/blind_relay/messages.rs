//! What a relay and its peers say to each other.
//!
//! ```text
//! 0 pair      flags (1: initiator) ‖ token 32 ‖ stream id uint ‖ number of its first packet uint
//! 1 unpair    flags ‖ token 32
//! ```

use pome_encoding::{DecodeError, Reader, put_uint};

/// The name of the protocol in protomux. The id of the channel is the public key of the peer that uses the relay.
pub const PROTOCOL: &str = "blind-relay";
/// The kind of a [`Pair`].
pub const PAIR: u64 = 0;
/// The kind of an [`Unpair`].
pub const UNPAIR: u64 = 1;

const INITIATOR: u8 = 1;

/// What two peers agreed on, to be brought together by it: who knows it may take the place of one of them.
pub type Token = [u8; 32];

/// A peer wants to be paired, or was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Which of the two the peer is.
    pub is_initiator: bool,
    /// What both know.
    pub token: Token,
    /// The stream of the sender: a peer's own, or that of the relay for it.
    pub id: u64,
    /// Number of its first packet.
    pub seq: u64,
}

impl Pair {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![if self.is_initiator { INITIATOR } else { 0 }];
        out.extend_from_slice(&self.token);
        put_uint(&mut out, self.id);
        put_uint(&mut out, self.seq);
        out
    }

    /// Reads it; what follows is ignored.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let [flags] = input.fixed()?;
        Ok(Self {
            is_initiator: flags & INITIATOR != 0,
            token: input.fixed()?,
            id: input.uint()?,
            seq: input.uint()?,
        })
    }
}

/// A peer does not want to be paired any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpair {
    /// What both know.
    pub token: Token,
}

impl Unpair {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0];
        out.extend_from_slice(&self.token);
        out
    }

    /// Reads it; what follows is ignored.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let [_flags] = input.fixed()?;
        Ok(Self {
            token: input.fixed()?,
        })
    }
}
