//! Namespaces, and what signatures and capabilities cover.
//!
//! Source: hypercore 11.37.1, `lib/caps.js`. Vectors: `tests/vectors/core.json`, `namespaces`, `signables`, `channels`.

use std::sync::LazyLock;

use pome_encoding::Key;

use crate::crypto;

/// The six namespaces of `hypercore`: the hashes that keep one use of a key apart from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespaces {
    /// In front of a tree that is signed.
    pub tree: [u8; 32],
    /// In the capability that an initiator shows.
    pub replicate_initiator: [u8; 32],
    /// In the capability that a responder shows.
    pub replicate_responder: [u8; 32],
    /// In front of a manifest that is hashed to a key.
    pub manifest: [u8; 32],
    /// A signer's namespace when none is given.
    pub default_namespace: [u8; 32],
    /// In front of the core key and the encryption key when a block key is derived.
    pub default_encryption: [u8; 32],
}

static NAMESPACES: LazyLock<Namespaces> = LazyLock::new(|| {
    let [
        tree,
        replicate_initiator,
        replicate_responder,
        manifest,
        default_namespace,
        default_encryption,
    ] = crypto::namespaces("hypercore");
    Namespaces {
        tree,
        replicate_initiator,
        replicate_responder,
        manifest,
        default_namespace,
        default_encryption,
    }
});

/// The namespaces, derived once per process.
#[must_use]
pub fn namespaces() -> &'static Namespaces {
    &NAMESPACES
}

/// A signer's namespace when none is given.
#[must_use]
pub fn default_namespace() -> [u8; 32] {
    NAMESPACES.default_namespace
}

/// What proves to a peer that we know a core's key: BLAKE2b of role ‖ key under the 64-byte hash of the handshake.
#[must_use]
pub fn replicate(is_initiator: bool, key: &Key, handshake_hash: &[u8; 64]) -> [u8; 32] {
    let role = if is_initiator {
        &NAMESPACES.replicate_initiator
    } else {
        &NAMESPACES.replicate_responder
    };
    crypto::hash_keyed(handshake_hash, &[role, &key.0])
}

/// What a tree signature signs: 112 bytes, `TREE ‖ context ‖ tree hash ‖ length ‖ fork`, three 32-byte fields, then two
/// `u64`, little-endian. `length` is in blocks. The context is the manifest hash (the key), for manifest v0 the signer's
/// namespace.
#[must_use]
pub fn tree_signable(
    context: &[u8; 32],
    tree_hash: &[u8; 32],
    length: u64,
    fork: u64,
) -> [u8; 112] {
    let mut out = [0; 112];
    out[..32].copy_from_slice(&NAMESPACES.tree);
    out[32..64].copy_from_slice(context);
    out[64..96].copy_from_slice(tree_hash);
    out[96..104].copy_from_slice(&length.to_le_bytes());
    out[104..].copy_from_slice(&fork.to_le_bytes());
    out
}

/// What a core whose key is its public key signs: 80 bytes, [`tree_signable`] without the context.
#[must_use]
pub fn tree_signable_compat(tree_hash: &[u8; 32], length: u64, fork: u64) -> [u8; 80] {
    let mut out = [0; 80];
    out[..32].copy_from_slice(&NAMESPACES.tree);
    out[32..].copy_from_slice(&tree_signable_legacy(tree_hash, length, fork));
    out
}

/// What the oldest cores signed: 48 bytes, [`tree_signable_compat`] without the namespace.
#[must_use]
pub fn tree_signable_legacy(tree_hash: &[u8; 32], length: u64, fork: u64) -> [u8; 48] {
    let mut out = [0; 48];
    out[..32].copy_from_slice(tree_hash);
    out[32..40].copy_from_slice(&length.to_le_bytes());
    out[40..].copy_from_slice(&fork.to_le_bytes());
    out
}
