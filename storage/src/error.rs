//! What can go wrong in the store. Four kinds: the disk's (`Io`, `Full`, `Corrupt`, `Poisoned`), the folder's (`Locked`, `NotAStore`, `NotABackup`,
//! `UnknownVersion`, `ReadOnly`), the key's (`KeyNeeded`, `WrongKey`, `NotEncrypted`, `BadKey`), and the caller's (`KeyTooLong`, `ValueTooLong`, `Gap`, `Closed`).

use std::{fmt, io, sync::Arc};

/// What was tried on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// Making a file.
    Create,
    /// Opening a file, or mapping it.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Making written bytes durable.
    Sync,
    /// Listing the folder.
    List,
    /// Removing a file.
    Remove,
    /// Taking the lock.
    Lock,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::List => "list",
            Self::Remove => "remove",
            Self::Lock => "lock",
        })
    }
}

/// What went wrong in the store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device said no. That call failed and nothing else.
    #[error("cannot {op} {file}: {source}")]
    Io {
        /// What was tried.
        op: Op,
        /// On which file or folder.
        file: String,
        /// What the device said.
        #[source]
        source: Arc<io::Error>,
    },
    /// The disk is full. That commit alone failed; the store goes on, and commits work again when space returns.
    #[error("cannot write {file}: the disk is full; free some space and try again ({source})")]
    Full {
        /// On which file.
        file: String,
        /// What the device said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes on disk are not what was written. They are never handed out.
    #[error(
        "{file}: bad {what} at byte {offset} (expected {expected:#x}, found {found:#x}); run \"pome store check\""
    )]
    Corrupt {
        /// Which part (`payload`, `index block`, `superblock`, …).
        what: &'static str,
        /// In which file.
        file: String,
        /// Where it starts in the file, in bytes.
        offset: u64,
        /// The checksum or length that should be there (0 and 0: the bytes break the format in another way).
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A sync failed: nobody knows what is on disk. Nothing more is written until the store is opened again, which recovers what is there.
    #[error(
        "the disk failed while making {file} durable ({source}); close the store and open it again"
    )]
    Poisoned {
        /// Which file.
        file: String,
        /// What the device said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process (or another handle in this one) has the store open.
    #[error("the store {store} is open in another process; stop that one, or ask it")]
    Locked {
        /// Which store.
        store: String,
    },
    /// There is no store, or the folder holds other things.
    #[error("{store} is not a store: {why}")]
    NotAStore {
        /// Which folder.
        store: String,
        /// What is in the way.
        why: String,
    },
    /// The folder holds no backup, or that of another store, or other things.
    #[error("{dir} is not a backup of this store: {why}")]
    NotABackup {
        /// Which folder.
        dir: String,
        /// What is in the way.
        why: String,
    },
    /// Written by another version of this program.
    #[error(
        "{file} has format version {found}; this program knows {known}: use the version that wrote it, or a newer one"
    )]
    UnknownVersion {
        /// Which file.
        file: String,
        /// The version that it has.
        found: u32,
        /// The version that is understood here.
        known: u32,
    },
    /// The folder may not be written, or the store was opened read-only.
    #[error("the store {store} is read-only; make its folder writable, or open another")]
    ReadOnly {
        /// Which store.
        store: String,
    },
    /// The store is encrypted, and no key was given. Nothing was touched.
    #[error("the store {store} is encrypted; give its {wants} (--key-file or --passphrase-file)")]
    KeyNeeded {
        /// Which store.
        store: String,
        /// What it is encrypted with: `key file` or `passphrase`.
        wants: &'static str,
    },
    /// The key does not open the store. Nothing was touched.
    #[error("the {given} does not open the store {store}, which is encrypted with another {wants}")]
    WrongKey {
        /// Which store.
        store: String,
        /// What it is encrypted with: `key file` or `passphrase`.
        wants: &'static str,
        /// What was given: `key file` or `passphrase`.
        given: &'static str,
    },
    /// A key was given for a store that is not encrypted. Nothing was touched.
    #[error("the store {store} is not encrypted; open it without a key")]
    NotEncrypted {
        /// Which store.
        store: String,
    },
    /// What was given is no key.
    #[error("not a key: {why}")]
    BadKey {
        /// What is wrong with it.
        why: String,
    },
    /// A key is longer than [`KEY_BYTES_MAX`](crate::KEY_BYTES_MAX).
    #[error("a key of {len} bytes; at most {max} are allowed")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
        /// The most there may be.
        max: usize,
    },
    /// A value (or one batch) is larger than a commit may be; a value has at most [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX).
    #[error("a value or batch of {len} bytes; at most {max} are allowed")]
    ValueTooLong {
        /// Its length in bytes.
        len: u64,
        /// The most there may be.
        max: u64,
    },
    /// A journal has no bytes there: never committed, or cleared.
    #[error("the journal of space {space} has nothing at byte {offset}")]
    Gap {
        /// The journal's space.
        space: u64,
        /// The first byte that is not there.
        offset: u64,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(op: Op, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        let source = Arc::new(source);
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { file, source }
            }
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
                if matches!(op, Op::Create | Op::Write | Op::Remove | Op::Lock) =>
            {
                Self::ReadOnly { store: file }
            }
            _ => Self::Io { op, file, source },
        }
    }

    /// A name that programs can match on; npm's code where it has one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "EIO",
            Self::Full { .. } => "ENOSPC",
            Self::Corrupt { .. } => "CORRUPT",
            Self::Poisoned { .. } => "POISONED",
            Self::Locked { .. } => "LOCKED",
            Self::NotAStore { .. } => "NOT_A_STORE",
            Self::NotABackup { .. } => "NOT_A_BACKUP",
            Self::UnknownVersion { .. } => "UNKNOWN_VERSION",
            Self::ReadOnly { .. } => "EROFS",
            Self::KeyNeeded { .. } => "KEY_NEEDED",
            Self::WrongKey { .. } => "WRONG_KEY",
            Self::NotEncrypted { .. } => "NOT_ENCRYPTED",
            Self::BadKey { .. } => "BAD_KEY",
            Self::KeyTooLong { .. } | Self::ValueTooLong { .. } => "TOO_LARGE",
            Self::Gap { .. } => "GAP",
            Self::Closed => "CLOSED",
        }
    }
}

impl From<pome_wal::Error> for Error {
    fn from(error: pome_wal::Error) -> Self {
        use pome_wal::Error as Wal;
        match error {
            Wal::Io { op, file, source } => {
                let op = match op {
                    "create" => Op::Create,
                    "open" | "view" => Op::Open,
                    "read" => Op::Read,
                    "sync" => Op::Sync,
                    "list" => Op::List,
                    "remove" => Op::Remove,
                    _ => Op::Write,
                };
                // Cloned by its kind: an `io::Error` cannot be, and the kind is what decides.
                match Self::io(op, &file, io::Error::from(source.kind())) {
                    Self::Full { file, .. } => Self::Full { file, source },
                    Self::Io { op, file, .. } => Self::Io { op, file, source },
                    other => other,
                }
            }
            Wal::Poisoned { file, source, .. } => Self::Poisoned { file, source },
            Wal::Corrupt {
                what,
                file,
                offset,
                expected,
                found,
            } => Self::Corrupt {
                what,
                file,
                offset,
                expected: expected.into(),
                found: found.into(),
            },
            Wal::NotALog { file, what } => Self::Corrupt {
                what,
                file,
                offset: 0,
                expected: 0,
                found: 0,
            },
            Wal::UnknownVersion { file, found, known } => Self::UnknownVersion {
                file,
                found: found.into(),
                known: known.into(),
            },
            Wal::TooLarge { len, max, .. } => Self::ValueTooLong { len, max },
            Wal::ReadOnly => Self::ReadOnly {
                store: "log".to_owned(),
            },
            Wal::Closed => Self::Closed,
            other => Self::Io {
                op: Op::Write,
                file: "log".to_owned(),
                source: Arc::new(io::Error::other(other)),
            },
        }
    }
}
