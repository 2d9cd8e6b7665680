//! What a tree refuses.

/// Why a tree, a proof or a signature was refused. [`code`](Self::code) is npm's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The store lacks a node that must be there.
    #[error("tree node {index} is not here")]
    MissingNode {
        /// Flat-tree index.
        index: u64,
    },
    /// A proof came without the node that its shape demands at this place.
    #[error("the proof needs node {expected} here, but has {}", found.map_or_else(|| "none".to_owned(), |i| format!("node {i}")))]
    UnexpectedNode {
        /// Flat-tree index.
        expected: u64,
        /// What came instead.
        found: Option<u64>,
    },
    /// A request that the tree cannot answer, or a change that it cannot take.
    #[error("invalid {what}")]
    InvalidOperation {
        /// Which part.
        what: &'static str,
    },
    /// A proof that is complete but wrong.
    #[error("invalid proof: {what}")]
    InvalidProof {
        /// Which part.
        what: &'static str,
    },
    /// What the proof hashes to is not what the tree has.
    #[error("the proof does not hash to tree node {index}")]
    InvalidChecksum {
        /// Flat-tree index of the node that differs.
        index: u64,
    },
    /// The signature is missing, or not by the signers of the manifest over this tree.
    #[error("invalid signature on the tree of length {length}, fork {fork}")]
    InvalidSignature {
        /// In blocks.
        length: u64,
        /// Its fork.
        fork: u64,
    },
    /// The manifest in a proof is not the one of the core.
    #[error("the manifest does not hash to the key")]
    InvalidManifest,
    /// An argument out of range.
    #[error("{what} is out of range")]
    BadArgument {
        /// Which.
        what: &'static str,
    },
}

impl TreeError {
    /// The code that npm's error has.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingNode { .. }
            | Self::UnexpectedNode { .. }
            | Self::InvalidOperation { .. } => "INVALID_OPERATION",
            Self::InvalidProof { .. } => "INVALID_PROOF",
            Self::InvalidChecksum { .. } => "INVALID_CHECKSUM",
            Self::InvalidSignature { .. } | Self::InvalidManifest => "INVALID_SIGNATURE",
            Self::BadArgument { .. } => "BAD_ARGUMENT",
        }
    }
}
