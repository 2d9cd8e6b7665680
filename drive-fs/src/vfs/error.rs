use super::lower::LowerError;

/// Why an operation of the mount was refused. [`errno`](super::errno::errno) gives each its number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VfsError {
    /// No such name, or the inode is gone.
    #[error("not found")]
    NotFound,
    /// The name is taken.
    #[error("exists already")]
    Exists,
    /// A folder was needed.
    #[error("not a folder")]
    NotFolder,
    /// A file was needed.
    #[error("is a folder")]
    IsFolder,
    /// The folder has something in it.
    #[error("folder not empty")]
    NotEmpty,
    /// An argument that makes no sense, such as a folder moved below itself.
    #[error("invalid argument")]
    InvalidArgument,
    /// A name longer than 255 bytes.
    #[error("name longer than 255 bytes")]
    NameTooLong,
    /// A name that is not UTF-8.
    #[error("name is not UTF-8")]
    NameNotText,
    /// A name that a drive path cannot hold: one with `\` or NUL.
    #[error("a drive path cannot hold this name")]
    NameNotAllowed,
    /// The drive, the version or the mount is read-only.
    #[error("read-only")]
    ReadOnly,
    /// Past the largest file size.
    #[error("file too large")]
    TooLarge,
    /// No such extended attribute.
    #[error("no such attribute")]
    NoAttribute,
    /// The answer does not fit the caller's buffer.
    #[error("buffer too small")]
    BufferTooSmall,
    /// An attribute's value, or all of a file's attributes, over the limit.
    #[error("attribute too large")]
    AttributeTooLarge,
    /// Not an open file.
    #[error("bad handle")]
    BadHandle,
    /// A kind of file or of link that a drive cannot hold.
    #[error("not permitted")]
    NotPermitted,
    /// A file has as many names as it can.
    #[error("too many links")]
    TooManyLinks,
    /// An operation that the mount does not offer.
    #[error("not supported")]
    NotSupported,
    /// No data or hole at or after this offset.
    #[error("no such offset")]
    NoSuchOffset,
    /// The deadline passed.
    #[error("timed out")]
    TimedOut,
    /// The overlay holds a record that cannot be read.
    #[error("overlay record damaged: {what}")]
    Damaged {
        /// Which record.
        what: &'static str,
    },
    /// The overlay was written by a newer pome.
    #[error("overlay has format {found}, this pome knows {known}")]
    UnknownOverlay {
        /// In the store.
        found: u64,
        /// Newest known.
        known: u64,
    },
    /// What a file was before it was written to cannot be read, so that it cannot be published.
    #[error("{path} is not published, since what it was before cannot be read: {why}")]
    Unreadable {
        /// Its path in the mount.
        path: String,
        /// What reading it said.
        why: String,
    },
    /// The store said no.
    #[error(transparent)]
    Store(#[from] pome_cores::Error),
    /// The drive below said no.
    #[error(transparent)]
    Lower(#[from] LowerError),
}

/// Short for the results of this module.
pub(crate) type Result<T> = std::result::Result<T, VfsError>;
