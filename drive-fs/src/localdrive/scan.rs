//! Walking a folder on disk in the order of drive paths.

use super::{
    LocalEntry,
    beneath::{Beneath, Place, kind},
};
use crate::{Error, Ignore, PosixMetadata};
use rustix::{
    fs::{Dir, FileType},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    io::ErrorKind,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::PathBuf,
};

/// What a walk comes across.
#[derive(Debug, Clone, PartialEq)]
pub enum Scanned {
    /// A file or a symlink.
    Entry(LocalEntry),
    /// A folder, before what is in it.
    Folder {
        /// Its stored path; the root's is empty.
        path: String,
        /// Its attributes.
        posix: PosixMetadata,
        /// Nothing is in it (not even what is left out).
        empty: bool,
    },
    /// Something that a drive cannot hold.
    Skipped {
        /// Where it is on disk.
        path: PathBuf,
        /// Why.
        why: SkipReason,
    },
}

/// Why something on disk cannot be in a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// The name is not UTF-8.
    NameNotUtf8,
    /// The name has a `\`, which separates folders in a drive path.
    NameHasBackslash,
    /// The target of a symlink is not UTF-8.
    TargetNotUtf8,
    /// A socket.
    Socket,
    /// A FIFO.
    Fifo,
    /// A block or character device.
    Device,
    /// Reading or writing it is not allowed.
    Denied,
    /// Its name is longer than the disk's file system takes.
    NameTooLong,
    /// It is gone, or became something else, while the folder was walked.
    Gone,
    /// A file stands where a folder is needed, or the other way round.
    InTheWay,
}

impl SkipReason {
    /// True when the name itself is what a drive path cannot hold.
    pub(super) fn is_name(self) -> bool {
        matches!(self, Self::NameNotUtf8 | Self::NameHasBackslash)
    }

    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NameNotUtf8 => "its name is not UTF-8",
            Self::NameHasBackslash => "its name has a backslash",
            Self::TargetNotUtf8 => "its target is not UTF-8",
            Self::Socket => "a socket",
            Self::Fifo => "a FIFO",
            Self::Device => "a device",
            Self::Denied => "permission denied",
            Self::NameTooLong => "its name is too long",
            Self::Gone => "it is gone",
            Self::InTheWay => "a file and a folder of one name",
        }
    }
}

struct Level {
    folder: OwnedFd,
    path: String,
    /// Names not visited yet, last first.
    names: Vec<(Vec<u8>, OsString)>,
}

/// Walks from the stored path `from` and hands all it meets to `found`, by the bytes of the path (a folder as its path and `/`), until
/// that answers false.
pub(super) fn scan(
    beneath: &Beneath,
    from: &str,
    ignore: &Ignore,
    found: &mut dyn FnMut(Scanned) -> bool,
) -> Result<(), Error> {
    let Some(folder) = beneath.folder(from, false)? else {
        return Ok(());
    };
    let mut levels = Vec::new();
    if !enter(beneath, folder, from.to_owned(), &mut levels, found)? {
        return Ok(());
    }
    while let Some(level) = levels.last_mut() {
        let Some((_, name)) = level.names.pop() else {
            levels.pop();
            continue;
        };
        let on_disk = || beneath.on_disk(&level.path).join(&name);
        let skipped = |why| Scanned::Skipped {
            path: on_disk(),
            why,
        };
        let go_on = match name.to_str() {
            None => found(skipped(SkipReason::NameNotUtf8)),
            Some(name) if name.contains('\\') => found(skipped(SkipReason::NameHasBackslash)),
            Some(name) => {
                let path = format!("{}/{name}", level.path);
                if ignore.matches(&path) {
                    continue;
                }
                let place = Place {
                    folder: level.folder.as_fd(),
                    name,
                    path: on_disk(),
                };
                match beneath.look(&place, &path)? {
                    Look::Entry(entry) => found(Scanned::Entry(entry)),
                    Look::Skip(why) => found(skipped(why)),
                    Look::Folder => match beneath.folder(&path, false) {
                        Ok(Some(folder)) => enter(beneath, folder, path, &mut levels, found)?,
                        Ok(None) | Err(Error::LinkInTheWay { .. }) => {
                            found(skipped(SkipReason::Gone))
                        }
                        Err(Error::Io { source, .. })
                            if source.kind() == ErrorKind::PermissionDenied =>
                        {
                            found(skipped(SkipReason::Denied))
                        }
                        Err(e) => return Err(e),
                    },
                }
            }
        };
        if !go_on {
            return Ok(());
        }
    }
    Ok(())
}

fn enter(
    beneath: &Beneath,
    folder: OwnedFd,
    path: String,
    levels: &mut Vec<Level>,
    found: &mut dyn FnMut(Scanned) -> bool,
) -> Result<bool, Error> {
    let error = |e: Errno| Error::io(beneath.on_disk(&path), e);
    let stat = rustix::fs::fstat(&folder).map_err(error)?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let is_folder = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown | FileType::Symlink => {
                let name = OsStr::from_bytes(name);
                rustix::fs::statat(&folder, name, beneath.at_flags())
                    .is_ok_and(|stat| kind(&stat) == FileType::Directory)
            }
            _ => false,
        };
        let mut order = name.to_vec();
        if is_folder {
            order.push(b'/');
        }
        names.push((order, OsStr::from_bytes(name).to_owned()));
    }
    names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
    let go_on = found(Scanned::Folder {
        path: path.clone(),
        posix: super::posix_of(&stat, true),
        empty: names.is_empty(),
    });
    levels.push(Level {
        folder,
        path,
        names,
    });
    Ok(go_on)
}

/// What one name is.
pub(super) enum Look {
    Entry(LocalEntry),
    Folder,
    Skip(SkipReason),
}

impl Beneath {
    pub(super) fn look(&self, place: &Place<'_, impl AsFd>, path: &str) -> Result<Look, Error> {
        let Some(stat) = place.stat_with(self.at_flags())? else {
            return Ok(Look::Skip(SkipReason::Gone));
        };
        let executable = stat.st_mode & 0o100 != 0;
        let posix = |executable| super::posix_of(&stat, executable);
        Ok(match kind(&stat) {
            FileType::Directory => Look::Folder,
            FileType::RegularFile => Look::Entry(LocalEntry {
                path: path.to_owned(),
                executable,
                target: None,
                byte_length: u64::try_from(stat.st_size).unwrap_or(0),
                posix: posix(executable),
            }),
            FileType::Symlink => match place.target()?.into_os_string().into_string() {
                Err(_) => Look::Skip(SkipReason::TargetNotUtf8),
                Ok(target) => Look::Entry(LocalEntry {
                    path: path.to_owned(),
                    executable: false,
                    target: Some(target),
                    byte_length: 0,
                    // A link has no mode of its own.
                    posix: PosixMetadata {
                        mode: None,
                        ..posix(false)
                    },
                }),
            },
            FileType::Socket => Look::Skip(SkipReason::Socket),
            FileType::Fifo => Look::Skip(SkipReason::Fifo),
            _ => Look::Skip(SkipReason::Device),
        })
    }
}
