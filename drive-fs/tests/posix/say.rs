//! Answers as text.

use rustix::{fs as r, io::Errno};
use std::{
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

/// `ok`, or the name of the error.
pub(crate) fn said<T>(answer: Result<T, impl Into<io::Error>>) -> String {
    match answer {
        Ok(_) => "ok".to_owned(),
        Err(error) => name(&error.into()),
    }
}

/// The value, or the name of the error.
pub(crate) fn value<T: std::fmt::Display>(answer: Result<T, impl Into<io::Error>>) -> String {
    match answer {
        Ok(value) => value.to_string(),
        Err(error) => name(&error.into()),
    }
}

fn name(error: &io::Error) -> String {
    let names = [
        (Errno::PERM, "EPERM"),
        (Errno::NOENT, "ENOENT"),
        (Errno::IO, "EIO"),
        (Errno::NXIO, "ENXIO"),
        (Errno::TOOBIG, "E2BIG"),
        (Errno::BADF, "EBADF"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::ACCESS, "EACCES"),
        (Errno::BUSY, "EBUSY"),
        (Errno::EXIST, "EEXIST"),
        (Errno::XDEV, "EXDEV"),
        (Errno::NODEV, "ENODEV"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::ISDIR, "EISDIR"),
        (Errno::INVAL, "EINVAL"),
        (Errno::TXTBSY, "ETXTBSY"),
        (Errno::FBIG, "EFBIG"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::ROFS, "EROFS"),
        (Errno::MLINK, "EMLINK"),
        (Errno::RANGE, "ERANGE"),
        (Errno::NAMETOOLONG, "ENAMETOOLONG"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::NOTEMPTY, "ENOTEMPTY"),
        (Errno::LOOP, "ELOOP"),
        (Errno::NODATA, "ENODATA"),
        (Errno::OVERFLOW, "EOVERFLOW"),
        (Errno::ILSEQ, "EILSEQ"),
        (Errno::OPNOTSUPP, "EOPNOTSUPP"),
        (Errno::NOTTY, "ENOTTY"),
    ];
    let number = error.raw_os_error();
    let known = names.iter().find(|(e, _)| number == Some(e.raw_os_error()));
    known.map_or_else(|| format!("{error}"), |(_, name)| (*name).to_owned())
}

/// What stands at a path: `-` nothing, else its kind.
pub(crate) fn kind(path: &Path) -> String {
    let Ok(found) = path.symlink_metadata() else {
        return "-".to_owned();
    };
    let t = found.file_type();
    let kind = match () {
        () if t.is_dir() => {
            let filled = path.read_dir().unwrap().count();
            return format!("dir{filled}");
        }
        () if t.is_symlink() => "link",
        () if t.is_fifo() => "fifo",
        () if t.is_socket() => "socket",
        () if t.is_char_device() => "char",
        () if t.is_block_device() => "block",
        () => return format!("file{}", found.size()),
    };
    kind.to_owned()
}

pub(crate) fn stat(path: &Path) -> r::Stat {
    r::lstat(path).unwrap()
}

pub(crate) fn mode(path: &Path) -> String {
    format!("{:o}", stat(path).st_mode & 0o7777)
}

pub(crate) fn links(path: &Path) -> String {
    stat(path).st_nlink.to_string()
}
