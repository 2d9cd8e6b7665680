//! What stands in the store and on the wire for the blocks of an encrypted core.
//!
//! ```text
//! ┌──────────────── 8 ────────────────┬──────── length of the block ────────┐
//! │ fork, u64 LE, blinded             │ block ⊕ XSalsa20(block key)         │
//! └───────────────────────────────────┴─────────────────────────────────────┘
//! nonce of the first 8 bytes:  index, u64 LE ‖ 16 zero bytes        (blinding key)
//! nonce of the rest:           index, u64 LE ‖ the 8 blinded bytes ‖ 8 zero bytes
//! ```
//!
//! Promised: who has the store, or the core's key, but not the encryption key learns only the lengths of the blocks. **Not** promised here:
//! that a block was not changed (the core's tree and signature say that: they cover these bytes), and a fresh keystream when a core is
//! truncated and appended to again under the *same* fork number, which hypercore never does.
//!
//! Source: hypercore 11.37.1, `lib/default-encryption.js`. Vectors: `tests/vectors/core.json`, list `encryption`. The original's `_reload`
//! reads a field that does not exist (`keys.blockKey`); what it means to do is done here.

use crate::crypto::{Hash, hash, hash_keyed, namespace};
use pome_encoding::Key;
use salsa20::{
    XSalsa20,
    cipher::{KeyIvInit, StreamCipher},
};
use std::fmt;
use zeroize::Zeroizing;

/// By how many bytes a stored block is longer than its content.
pub const PADDING: usize = 8;

/// Which of hypercore's namespaces block keys are made in.
const DEFAULT_ENCRYPTION: u8 = 5;

/// Bytes that are too short to be an encrypted block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "block {index} has {length} bytes: too few for an encrypted one, which has at least {PADDING}"
)]
pub struct ShortBlock {
    /// Number of the block.
    pub index: u64,
    /// How many bytes it has.
    pub length: usize,
}

/// The key that a core's blocks are encrypted with, from the key that people share (npm `Hypercore.blockEncryptionKey`).
pub fn block_encryption_key(core: &Key, encryption_key: &[u8; 32]) -> Hash {
    hash(&[
        &namespace("hypercore", DEFAULT_ENCRYPTION),
        core.as_ref(),
        encryption_key,
    ])
}

/// Encrypts and decrypts the blocks of one core. The keys are wiped from memory when it is dropped, and never printed.
///
/// ```
/// use pome_cores::{Key, block_encryption::BlockEncryption};
/// let encryption = BlockEncryption::new(&[1; 32], &Key([2; 32]));
/// let stored = encryption.encrypt(7, 0, b"a block");
/// assert_eq!(stored.len(), 8 + 7);
/// assert_eq!(encryption.decrypt(7, &stored)?, b"a block");
/// # Ok::<(), pome_cores::block_encryption::ShortBlock>(())
/// ```
#[derive(Clone)]
pub struct BlockEncryption {
    block: Zeroizing<Hash>,
    blinding: Zeroizing<Hash>,
}

impl BlockEncryption {
    /// For a core with a manifest: the block key is made from the core's key and the encryption key.
    pub fn new(encryption_key: &[u8; 32], core: &Key) -> Self {
        Self::from_block_key(&block_encryption_key(core, encryption_key))
    }

    /// For a compat core, whose key is a public key: the block key is the encryption key hashed under the core's key.
    pub fn compat(encryption_key: &[u8; 32], core: &Key) -> Self {
        Self::from_block_key(&hash_keyed(core.as_ref(), &[encryption_key]))
    }

    /// With a block key as it is (npm `encryption: {key, block: true}`).
    pub fn from_block_key(block_key: &[u8; 32]) -> Self {
        Self {
            block: Zeroizing::new(*block_key),
            blinding: Zeroizing::new(hash(&[block_key])),
        }
    }

    /// The key that encrypts the blocks.
    pub fn block_key(&self) -> &[u8; 32] {
        &self.block
    }

    /// The key that hides the fork number in front of each block.
    pub fn blinding_key(&self) -> &[u8; 32] {
        &self.blinding
    }

    /// What is stored for block number `index`, appended at `fork`: [`PADDING`] bytes longer than `block`.
    pub fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Vec<u8> {
        let mut prefix = fork.to_le_bytes();
        apply(&self.blinding, &nonce(index, &[0; PADDING]), &mut prefix);
        let mut stored = Vec::with_capacity(PADDING + block.len());
        stored.extend_from_slice(&prefix);
        stored.extend_from_slice(block);
        apply(&self.block, &nonce(index, &prefix), &mut stored[PADDING..]);
        stored
    }

    /// The content of a stored block. With a wrong key it is noise: nothing here can tell.
    ///
    /// # Errors
    /// [`ShortBlock`] when `stored` has less than [`PADDING`] bytes.
    pub fn decrypt(&self, index: u64, stored: &[u8]) -> Result<Vec<u8>, ShortBlock> {
        let (prefix, body) = stored.split_first_chunk().ok_or(ShortBlock {
            index,
            length: stored.len(),
        })?;
        let mut block = body.to_vec();
        apply(&self.block, &nonce(index, prefix), &mut block);
        Ok(block)
    }
}

impl fmt::Debug for BlockEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockEncryption").finish_non_exhaustive()
    }
}

fn nonce(index: u64, prefix: &[u8; PADDING]) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&index.to_le_bytes());
    nonce[8..16].copy_from_slice(prefix);
    nonce
}

fn apply(key: &[u8; 32], nonce: &[u8; 24], bytes: &mut [u8]) {
    XSalsa20::new(key.into(), nonce.into()).apply_keystream(bytes);
}
