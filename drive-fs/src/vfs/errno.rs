//! The number that each refusal has for the caller.

use super::{error::VfsError, lower::LowerError};

/// The `errno` of a refusal, as `docs/mount-semantics.md` lists them.
pub fn errno(error: &VfsError) -> i32 {
    match error {
        VfsError::NotFound => libc::ENOENT,
        VfsError::Exists => libc::EEXIST,
        VfsError::NotFolder => libc::ENOTDIR,
        VfsError::IsFolder => libc::EISDIR,
        VfsError::NotEmpty => libc::ENOTEMPTY,
        VfsError::InvalidArgument | VfsError::NameNotAllowed => libc::EINVAL,
        VfsError::NameTooLong => libc::ENAMETOOLONG,
        VfsError::NameNotText => libc::EILSEQ,
        VfsError::ReadOnly => libc::EROFS,
        VfsError::TooLarge => libc::EFBIG,
        VfsError::NoAttribute => libc::ENODATA,
        VfsError::BufferTooSmall => libc::ERANGE,
        VfsError::AttributeTooLarge => libc::ENOSPC,
        VfsError::BadHandle => libc::EBADF,
        VfsError::NotPermitted => libc::EPERM,
        VfsError::TooManyLinks => libc::EMLINK,
        VfsError::NotSupported => libc::EOPNOTSUPP,
        VfsError::NoSuchOffset => libc::ENXIO,
        VfsError::TimedOut => libc::ETIMEDOUT,
        VfsError::Damaged { .. }
        | VfsError::UnknownOverlay { .. }
        | VfsError::Unreadable { .. } => libc::EIO,
        VfsError::Store(error) => store(error),
        VfsError::Lower(error) => match error {
            LowerError::TimedOut => libc::ETIMEDOUT,
            LowerError::NotWritable => libc::EROFS,
            LowerError::Full => libc::ENOSPC,
            LowerError::Closed | LowerError::Corrupt(_) | LowerError::Other(_) => libc::EIO,
        },
    }
}

/// The store's errors are another crate's, which may add to them: what is not told apart is `EIO`.
fn store(error: &pome_cores::Error) -> i32 {
    if super::drive::is_full(error) {
        libc::ENOSPC
    } else {
        libc::EIO
    }
}
