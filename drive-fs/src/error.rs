//! What can go wrong with a drive.

use crate::path::PathError;
use pome_cores::Key;
use std::{io, path::PathBuf, sync::Arc};

/// What went wrong with a drive, a folder on disk, or a mirror between them.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller's path is no drive path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// From a core below.
    #[error(transparent)]
    Core(Arc<pome_cores::Error>),
    /// From the database of entries.
    #[error(transparent)]
    Bee(Arc<pome_bee::Error>),
    /// There is no entry at this path.
    #[error("{path}: no such file in the drive")]
    NotFound {
        /// The drive path.
        path: String,
    },
    /// The entry is there and has no content (a symlink, or an entry without a blob).
    #[error("{path}: is not a file")]
    NotAFile {
        /// The drive path.
        path: String,
    },
    /// A write to a drive whose key is not ours.
    #[error("drive {key} is not writable here: its key belongs to another store")]
    NotWritable {
        /// The drive's key.
        key: Key,
    },
    /// A write to a checkout.
    #[error("version {version} of drive {key} is a checkout and cannot be written")]
    Checkout {
        /// The drive's key.
        key: Key,
        /// The version that is checked out.
        version: u64,
    },
    /// The header of the drive is not here yet, so that nobody knows its content core.
    #[error("the content core of drive {key} is not known yet: its first block is not here")]
    NoContentKey {
        /// The drive's key.
        key: Key,
    },
    /// The header names something that cannot be a content core.
    #[error("the header of drive {key} names no valid content core")]
    BadHeader {
        /// The drive's key.
        key: Key,
    },
    /// A version that the drive does not have.
    #[error("drive {key} has no version {version}: the newest is {newest}")]
    NoSuchVersion {
        /// The drive's key.
        key: Key,
        /// What was asked for.
        version: u64,
        /// What there is.
        newest: u64,
    },
    /// A version that was dropped here, by the drive's retention.
    #[error(
        "version {version} of drive {key} was dropped here: the oldest that is kept is {oldest}"
    )]
    VersionDropped {
        /// The drive's key.
        key: Key,
        /// What was asked for.
        version: u64,
        /// The oldest that can be read here.
        oldest: u64,
    },
    /// The rule by which versions are kept cannot be read.
    #[error("the retention of drive {key} cannot be read; set it again")]
    BadRetention {
        /// The drive's key.
        key: Key,
    },
    /// What a mount has not yet published cannot be read, so nobody knows which contents it needs.
    #[error("the overlay of a mount of this drive cannot be read; mount it to see what is wrong")]
    DamagedOverlay,
    /// More than 16 links in a row.
    #[error("{path}: more than 16 symlinks in a row")]
    RecursiveSymlink {
        /// Where following started.
        path: String,
    },
    /// What the database holds at this path is not an entry.
    #[error("{path}: block {seq} holds no valid entry: bad {field}")]
    BadEntry {
        /// The drive path.
        path: String,
        /// Its block in the database core.
        seq: u64,
        /// Which part of the entry is wrong.
        field: &'static str,
    },
    /// The numbers of a blob do not agree with the content core.
    #[error("blob at block {block_offset} of core {key} does not fit the core: bad {field}")]
    BadBlob {
        /// The content core.
        key: Key,
        /// First block of the blob.
        block_offset: u64,
        /// Which number is wrong.
        field: &'static str,
    },
    /// A block map has more than 64 blocks, or is of an unknown version.
    #[error("block map at block {block_offset} of core {key} cannot be read: {what}")]
    BadBlockMap {
        /// The content core.
        key: Key,
        /// First block of the map.
        block_offset: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Somebody else appended to the content core between two parts of one blob.
    #[error("core {key} grew while a blob was written: block {expected} expected, {found} found")]
    BlobInterrupted {
        /// The content core.
        key: Key,
        /// Where the next block had to go.
        expected: u64,
        /// Where it would have gone.
        found: u64,
    },
    /// A write after `finish`, or a read of a closed drive.
    #[error("closed")]
    Closed,
    /// The deadline passed.
    #[error("{path}: timed out")]
    Timeout {
        /// The drive path.
        path: String,
    },
    /// A call on a file or folder of the disk failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path on disk.
        path: PathBuf,
        /// The system's word.
        source: Arc<io::Error>,
    },
    /// A symlink stands where the path needs a folder; a Localdrive does not go through it, for it may lead out of the root.
    #[error("{}: a symlink stands in the way, and is not followed", path.display())]
    LinkInTheWay {
        /// The path on disk.
        path: PathBuf,
    },
    /// A name on disk that no drive path can hold.
    #[error("{}: no drive path can hold this name ({why})", path.display())]
    UnsupportedName {
        /// The path on disk.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A glob pattern that cannot be read.
    #[error("bad pattern {pattern:?}: {why}")]
    BadPattern {
        /// As given.
        pattern: String,
        /// What is wrong.
        why: String,
    },
}

impl Error {
    /// The code for `--json` and for programs: npm's where it has one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path(e) => e.code(),
            Self::Core(e) => e.code(),
            Self::Bee(e) => e.code(),
            Self::NotFound { .. } => "NOT_FOUND",
            Self::NotAFile { .. } => "NOT_A_FILE",
            Self::NotWritable { .. } | Self::Checkout { .. } => "SESSION_NOT_WRITABLE",
            Self::NoContentKey { .. } => "NO_CONTENT_KEY",
            Self::BadHeader { .. } => "BAD_HEADER",
            Self::NoSuchVersion { .. } => "BAD_ARGUMENT",
            Self::VersionDropped { .. } => "VERSION_DROPPED",
            Self::BadRetention { .. } => "BAD_RETENTION",
            Self::DamagedOverlay => "DAMAGED_OVERLAY",
            Self::RecursiveSymlink { .. } => "RECURSIVE_SYMLINK",
            Self::BadEntry { .. } => "BAD_ENTRY",
            Self::BadBlob { .. } => "BAD_BLOB",
            Self::BadBlockMap { .. } => "BAD_BLOCK_MAP",
            Self::BlobInterrupted { .. } => "BLOB_INTERRUPTED",
            Self::Closed => "SESSION_CLOSED",
            Self::Timeout { .. } => "REQUEST_TIMEOUT",
            Self::Io { .. } => "IO",
            Self::LinkInTheWay { .. } => "LINK_IN_THE_WAY",
            Self::UnsupportedName { .. } => "UNSUPPORTED_NAME",
            Self::BadPattern { .. } => "BAD_PATTERN",
        }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            path: path.into(),
            source: Arc::new(source.into()),
        }
    }
}

impl From<pome_cores::Error> for Error {
    fn from(error: pome_cores::Error) -> Self {
        Self::Core(Arc::new(error))
    }
}

impl From<pome_bee::Error> for Error {
    fn from(error: pome_bee::Error) -> Self {
        Self::Bee(Arc::new(error))
    }
}

/// The answer of a task. One that panicked panics here; one that was ended, since the runtime ends, has no answer.
pub(crate) fn finished<T>(
    task: Result<Result<T, Error>, tokio::task::JoinError>,
) -> Result<T, Error> {
    match task {
        Ok(answer) => answer,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(_) => Err(Error::Closed),
    }
}
