//! What can go wrong in the log.

use std::{io, sync::Arc};

/// What went wrong in the log.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device said no. The call failed and nothing else: the log stays usable.
    #[error("{file}: cannot {op}: {source}")]
    Io {
        /// What was tried (`write`, `open`, …).
        op: &'static str,
        /// On which file.
        file: String,
        /// What the device said.
        #[source]
        source: Arc<io::Error>,
    },
    /// A sync failed earlier, so nobody knows what is on disk. Every call answers this until the log is opened again.
    #[error(
        "the log is poisoned since {file} could not {op} ({source}); close the store and open it again"
    )]
    Poisoned {
        /// What failed first (`sync`, or `undo` of a failed write).
        op: &'static str,
        /// On which file.
        file: String,
        /// What the device said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes on disk do not match their crc32.
    #[error(
        "{file}: bad {what} at byte {offset} (crc expected {expected:#010x}, found {found:#010x}); run \"pome store check\""
    )]
    Corrupt {
        /// Which bytes (`payload`, …).
        what: &'static str,
        /// In which file.
        file: String,
        /// Where they start, in bytes.
        offset: u64,
        /// The crc32 that was promised.
        expected: u32,
        /// The crc32 of what is there.
        found: u32,
    },
    /// A file with the name of one of ours is none of ours, or belongs to another log.
    #[error("{file} does not belong to this log: {what}")]
    NotALog {
        /// Which file.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The file was written by a newer version.
    #[error("{file} has format version {found}; this program knows up to {known}")]
    UnknownVersion {
        /// Which file.
        file: String,
        /// The version in the file.
        found: u16,
        /// The newest version this program reads.
        known: u16,
    },
    /// [`Log::create`](crate::Log::create) found a log with commits in it.
    #[error("{file} holds commits already; open the log instead of creating it")]
    Exists {
        /// The file with commits.
        file: String,
    },
    /// More bytes than a frame may have. Nothing was written.
    #[error("{what} of {len} bytes; at most {max} are allowed")]
    TooLarge {
        /// What is too large (`body`, `payload`, `payloads`, `frame`).
        what: &'static str,
        /// Its size in bytes (for `payloads`: their number).
        len: u64,
        /// The most there may be.
        max: u64,
    },
    /// A payload segment may go only when a checkpoint that was given to [`Log::release`](crate::Log::release) lies past it.
    #[error("payload segment {segment} is not below the last checkpoint")]
    StillNeeded {
        /// Which segment.
        segment: u32,
    },
    /// The log was opened read-only.
    #[error("the log was opened read-only")]
    ReadOnly,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(op: &'static str, file: &str, source: io::Error) -> Self {
        Self::Io {
            op,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }
    /// A name that programs can match on; npm's code where it has one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } if self.is_full() => "ENOSPC",
            Self::Io { .. } => "EIO",
            Self::Poisoned { .. } => "POISONED",
            Self::Corrupt { .. } => "CORRUPT",
            Self::NotALog { .. } => "NOT_A_LOG",
            Self::UnknownVersion { .. } => "UNKNOWN_VERSION",
            Self::Exists { .. } => "EXISTS",
            Self::TooLarge { .. } => "TOO_LARGE",
            Self::StillNeeded { .. } => "STILL_NEEDED",
            Self::ReadOnly => "READ_ONLY",
            Self::Closed => "CLOSED",
        }
    }
    /// True when the disk is full: the commit failed, and will work when space returns.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}
