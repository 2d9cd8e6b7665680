//! What can go wrong with a core.

use pome_encoding::{CodecError, DiscoveryKey, Key};

use crate::{block_encryption::ShortBlock, manifest::ManifestError, merkle::TreeError};

/// What went wrong with a core or a store of cores. [`code`](Self::code) is npm's code where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From the store below.
    #[error(transparent)]
    Storage(#[from] pome_storage::Error),
    /// From the Merkle tree: a proof, a signature or a request that does not hold.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A manifest that does not hold, or a key pair that is none of its signers.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A block of an encrypted core that is too short to be one.
    #[error(transparent)]
    Decryption(#[from] ShortBlock),
    /// A stored block that the caller's own cipher does not know.
    #[error("block {index} of core {key} was not made by this cipher")]
    Undecryptable {
        /// Whose.
        key: Key,
        /// Which.
        index: u64,
    },
    /// A block that is no value of the encoding that it was read with.
    #[error("block {index} of core {key} does not decode: {why}")]
    BadValue {
        /// Whose.
        key: Key,
        /// Which.
        index: u64,
        /// Why not.
        why: CodecError,
    },
    /// A value that an encoding has no bytes for.
    #[error("the value cannot be encoded: {why}")]
    Unencodable {
        /// Why not.
        why: CodecError,
    },
    /// `append` or `truncate` on a core that this session cannot sign for.
    #[error("core {key} is not writable here")]
    NotWritable {
        /// Whose.
        key: Key,
    },
    /// A bad argument.
    #[error("{what}")]
    BadArgument {
        /// Which.
        what: &'static str,
    },
    /// A block is larger than [`MAX_BLOCK_SIZE`](crate::MAX_BLOCK_SIZE).
    #[error(
        "a block of {size} bytes is over the limit of {} bytes",
        crate::MAX_BLOCK_SIZE
    )]
    BlockTooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// A change that this core cannot take: a truncation to a larger length, or below its prologue.
    #[error("invalid operation on core {key}: {what}")]
    InvalidOperation {
        /// Whose.
        key: Key,
        /// Why not.
        what: &'static str,
    },
    /// The block is not here and the caller did not want to wait.
    #[error("block {index} of core {key} is not here")]
    BlockNotAvailable {
        /// Whose.
        key: Key,
        /// Which.
        index: u64,
    },
    /// The block was not here when the snapshot was made, and the core has been truncated since; or it is past the snapshot's end.
    #[error("block {index} is not available in this snapshot of core {key}")]
    SnapshotNotAvailable {
        /// Whose.
        key: Key,
        /// Which.
        index: u64,
    },
    /// The core has grown, or was truncated, since the blocks were made for a place in it; nothing was appended.
    #[error(
        "core {key} has {length} blocks at fork {fork}, not those that the append was made for"
    )]
    Moved {
        /// Whose.
        key: Key,
        /// In blocks.
        length: u64,
        /// How often it was truncated.
        fork: u64,
    },
    /// The deadline passed.
    #[error("timed out waiting for block {index} of core {key}")]
    Timeout {
        /// Whose.
        key: Key,
        /// Which block, or which byte of a seek.
        index: u64,
    },
    /// The store has lost commits that were on disk, so a signature could contradict one that was given before.
    #[error(
        "the store is damaged ({}), so core {key} is not signed: a second signature for one length would fork it. Copy what \"pome store check\" names \
         back from a backup or a peer, or accept the loss (\"pome store check --repair\")",
        lost.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Damaged {
        /// Whose.
        key: Key,
        /// What the store has lost.
        lost: Vec<pome_storage::Damage>,
    },
    /// A peer shows a longer history of this core than the one here, signed by its own key or said to be: signing now would fork it.
    #[error(
        "core {key} is shorter here than at a peer ({length} blocks there), so it is not signed until the rest is here; wait, or take the peer away"
    )]
    Behind {
        /// Whose.
        key: Key,
        /// In blocks, at the peer.
        length: u64,
    },
    /// Two histories of one length and fork were signed: nobody can tell which is the core.
    #[error(
        "core {key} has two signed histories of one length, so it is not replicated and not signed any more"
    )]
    Forked {
        /// Whose.
        key: Key,
    },
    /// The store is a copy, or lost commits: another copy of it may have signed more than is known here.
    #[error(
        "the store was copied, moved to another disk, restored or repaired, so core {key} is not signed: if another copy of the store is in use, or \
         signed more before, a second signature would fork it. When this is the only copy that will ever be used, say so with \"pome store adopt\""
    )]
    Recovering {
        /// Whose.
        key: Key,
    },
    /// The handle or the store was closed.
    #[error("closed")]
    Closed,
    /// The store has a limit, what may not be cleared takes all of it, and nothing more of peers' is stored.
    #[error("the store's limit leaves no room for what peers have")]
    NoRoom,
    /// There is no such core here, and it was not to be made.
    #[error("no core is stored here under discovery key {discovery_key}")]
    StorageEmpty {
        /// Which was asked for.
        discovery_key: DiscoveryKey,
    },
    /// Something else is stored in this place.
    #[error("{what} is stored here already")]
    StorageConflict {
        /// What is there.
        what: &'static str,
    },
    /// A manifest that does not hash to the key.
    #[error("the manifest does not hash to key {key}")]
    ManifestMismatch {
        /// Of the core.
        key: Key,
    },
    /// A record in the store was written by a version that this one does not know.
    #[error("{what}: version {found} is unknown here; a newer pome wrote it")]
    UnknownVersion {
        /// Which record.
        what: &'static str,
        /// Its version.
        found: u8,
    },
    /// A record in the store does not decode.
    #[error("{what}: the bytes in the store make no sense; run \"pome store check\"")]
    CorruptRecord {
        /// Which record.
        what: &'static str,
    },
    /// The parts of a core in the store contradict each other.
    #[error("core {key} is damaged: {what}; run \"pome store check\"")]
    CorruptCore {
        /// Whose.
        key: Key,
        /// Which parts.
        what: &'static str,
    },
}

impl Error {
    /// npm's error code where it has one, else ours.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Storage(error) => error.code(),
            Self::Tree(error) => error.code(),
            Self::Manifest(error) => error.code(),
            Self::Decryption(_) | Self::Undecryptable { .. } | Self::BadValue { .. } => {
                "DECODING_ERROR"
            }
            Self::NotWritable { .. } => "SESSION_NOT_WRITABLE",
            Self::BadArgument { .. } | Self::BlockTooLarge { .. } | Self::Unencodable { .. } => {
                "BAD_ARGUMENT"
            }
            Self::InvalidOperation { .. } => "INVALID_OPERATION",
            Self::BlockNotAvailable { .. } => "BLOCK_NOT_AVAILABLE",
            Self::SnapshotNotAvailable { .. } => "SNAPSHOT_NOT_AVAILABLE",
            Self::Timeout { .. } => "REQUEST_TIMEOUT",
            Self::Damaged { .. } => "STORE_DAMAGED",
            Self::Recovering { .. } => "STORE_RECOVERING",
            Self::Behind { .. } => "CORE_BEHIND",
            Self::Forked { .. } => "CORE_FORKED",
            Self::Moved { .. } => "CONFLICT",
            Self::Closed => "SESSION_CLOSED",
            Self::NoRoom => "STORE_LIMIT",
            Self::StorageEmpty { .. } => "STORAGE_EMPTY",
            Self::StorageConflict { .. } => "STORAGE_CONFLICT",
            Self::ManifestMismatch { .. } => "INVALID_CHECKSUM",
            Self::UnknownVersion { .. } => "UNKNOWN_VERSION",
            Self::CorruptRecord { .. } | Self::CorruptCore { .. } => "CORRUPT",
        }
    }
}
