//! What can go wrong in a bee.
use pome_encoding::Key;

/// The result of a bee's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong with a bee.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From the core below.
    #[error(transparent)]
    Core(#[from] pome_cores::Error),
    /// A block is no block of a bee, or one that leads nowhere. Whoever wrote the core broke it.
    #[error("block {seq} of core {key} is no hyperbee block: {what}")]
    Decoding {
        /// Whose block.
        key: Key,
        /// Which.
        seq: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// `put` or `del` on a checkout, a snapshot or a bee that was marked so.
    #[error("this view of the bee is read-only")]
    ReadOnly,
    /// Somebody else appended to the core between this write's read and its append; nothing was written.
    #[error("core {key} has {found} blocks, not the {expected} this write was made for")]
    Conflict {
        /// Whose.
        key: Key,
        /// The length that the write was made for, in blocks.
        expected: u64,
        /// The length that was found, in blocks.
        found: u64,
    },
    /// An earlier write of this batch failed half way; close it and start over.
    #[error("an earlier write of this batch failed half way")]
    BatchFailed,
}

impl Error {
    /// npm's error code where there is one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Core(e) => e.code(),
            Self::Decoding { .. } => "DECODING_ERROR",
            Self::ReadOnly => "READ_ONLY",
            Self::Conflict { .. } => "CONFLICT",
            Self::BatchFailed => "BATCH_FAILED",
        }
    }
}
