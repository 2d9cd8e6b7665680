//! Writing a file on disk: in place, or beside it and renamed.

use super::{
    Inner,
    beneath::{Place, kind},
};
use crate::{Error, PosixMetadata, PutOptions, Timestamp};
use bytes::Bytes;
use rustix::{
    fs::{
        AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, chmodat, fchmod,
        fstat, openat, renameat, unlinkat, utimensat,
    },
    io::Errno,
};
use std::{
    fs::File,
    io::Write,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

/// A file that is being written.
pub(super) struct Unfinished {
    file: File,
    folder: OwnedFd,
    name: String,
    /// The name until it is complete.
    temporary: Option<String>,
    path: PathBuf,
    executable: bool,
    posix: PosixMetadata,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Unfinished {
    pub(super) fn create(inner: &Inner, path: &str, options: &PutOptions) -> Result<Self, Error> {
        let place = inner.beneath.place(path, true)?;
        let place = place.ok_or_else(|| Error::io(inner.beneath.on_disk(path), Errno::NOENT))?;
        let executable = options.executable;
        let mode = Mode::from_raw_mode(PosixMetadata::default_mode(executable));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let temporary = inner.atomic.then(|| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            format!(
                "{}.{}-{number}.localdrive.tmp",
                place.name,
                std::process::id()
            )
        });
        let opened = match &temporary {
            Some(name) => openat(&place.folder, name.as_str(), flags | OFlags::TRUNC, mode),
            None => {
                // Neither a link nor a FIFO is written through; a folder stays and is an error.
                let there = place.stat()?.map(|stat| kind(&stat));
                if !matches!(
                    there,
                    None | Some(FileType::RegularFile | FileType::Directory)
                ) {
                    place.unlink()?;
                }
                match openat(&place.folder, place.name, flags | OFlags::TRUNC, mode) {
                    Err(Errno::ACCESS) if there == Some(FileType::RegularFile) => {
                        place.unlink()?;
                        openat(&place.folder, place.name, flags | OFlags::EXCL, mode)
                    }
                    opened => opened,
                }
            }
        };
        let file = opened.map_err(|e| place.error(e))?;
        Ok(Self {
            file: file.into(),
            name: place.name.to_owned(),
            folder: place.folder,
            temporary,
            path: place.path,
            executable,
            posix: PosixMetadata::decode(options.metadata.as_ref()),
        })
    }

    pub(super) fn write(&mut self, content: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(content);
        written.map_err(|e| Error::io(&self.path, e))
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        let error = |e: Errno| Error::io(&self.path, e);
        let stat = fstat(&self.file).map_err(error)?;
        if let Some(mode) = mode_to_set(&self.posix, self.executable, &stat) {
            fchmod(&self.file, mode).map_err(error)?;
        }
        if let Some(mtime) = self.posix.mtime {
            rustix::fs::futimens(&self.file, &times(mtime)).map_err(error)?;
        }
        if let Some(temporary) = &self.temporary {
            let (folder, from) = (&self.folder, temporary.as_str());
            renameat(folder, from, folder, self.name.as_str()).map_err(error)?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Best effort: what is left over is harmless and named as temporary.
            let _ = unlinkat(&self.folder, temporary.as_str(), AtFlags::empty());
        }
    }
}

/// The mode that such a file has to get, if it does not have it. Where the entry names none, only the owner's execute bit counts.
fn mode_to_set(posix: &PosixMetadata, executable: bool, stat: &Stat) -> Option<Mode> {
    let has = stat.st_mode & 0o7777;
    let wanted = match posix.mode {
        Some(_) => posix.mode_of(executable) & 0o1777,
        None if (has & 0o100 != 0) == executable => has,
        None => PosixMetadata::default_mode(executable),
    };
    (wanted != has).then(|| Mode::from_raw_mode(wanted))
}

pub(super) fn set_mode(
    place: &Place<'_>,
    posix: &PosixMetadata,
    executable: bool,
    stat: &Stat,
) -> Result<(), Error> {
    match mode_to_set(posix, executable, stat) {
        None => Ok(()),
        Some(mode) => {
            chmodat(&place.folder, place.name, mode, AtFlags::empty()).map_err(|e| place.error(e))
        }
    }
}

pub(super) fn set_time(place: &Place<'_>, mtime: Timestamp) -> Result<(), Error> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    utimensat(&place.folder, place.name, &times(mtime), flags).map_err(|e| place.error(e))
}

fn times(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds,
            tv_nsec: mtime.nanoseconds.into(),
        },
    }
}

/// Writes one file of a [`Localdrive`](super::Localdrive).
pub struct LocalWriter {
    file: Option<Unfinished>,
}

impl LocalWriter {
    pub(super) fn new(file: Unfinished) -> Self {
        Self { file: Some(file) }
    }

    /// Adds to the content.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Closed`] when an earlier write was dropped before its end.
    pub async fn write(&mut self, content: impl Into<Bytes>) -> Result<(), Error> {
        let mut file = self.file.take().ok_or(Error::Closed)?;
        let content = content.into();
        let task = tokio::task::spawn_blocking(move || {
            file.write(&content)?;
            Ok(file)
        });
        self.file = Some(crate::error::finished(task.await)?);
        Ok(())
    }

    /// Sets mode and time, and gives an atomic drive's file its name.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<(), Error> {
        let file = self.file.take().ok_or(Error::Closed)?;
        crate::error::finished(tokio::task::spawn_blocking(move || file.finish()).await)
    }
}
