//! Calls on paths below a folder that cannot leave it: each folder on the way is opened by itself, and a symlink there ends the way.
//! (A drive from somebody else may have a link `/a` to `/etc` and a file `/a/passwd`.)

use crate::Error;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Stat, mkdirat, openat, readlinkat, statat, unlinkat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// The folder that everything must stay in.
pub(super) struct Beneath {
    pub(super) root: PathBuf,
    folder: OwnedFd,
    follow_links: bool,
}

/// An open folder and a name in it.
pub(super) struct Place<'a, F = OwnedFd> {
    pub(super) folder: F,
    pub(super) name: &'a str,
    /// For messages.
    pub(super) path: PathBuf,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Beneath {
    pub(super) fn open(root: &Path, follow_links: bool) -> Result<Self, Error> {
        let open = |path: &Path| rustix::fs::open(path, FOLDER, Mode::empty());
        let folder = open(root).map_err(|e| Error::io(root, e))?;
        Ok(Self::of(folder, root.to_owned(), follow_links))
    }

    /// A folder that is open, and what its path was then.
    pub(super) fn of(folder: OwnedFd, root: PathBuf, follow_links: bool) -> Self {
        Self {
            folder,
            root,
            follow_links,
        }
    }

    /// The path on disk of a stored drive path.
    pub(super) fn on_disk(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// How the last name of a path is looked up.
    pub(super) fn at_flags(&self) -> AtFlags {
        match self.follow_links {
            true => AtFlags::empty(),
            false => AtFlags::SYMLINK_NOFOLLOW,
        }
    }

    fn nofollow(&self) -> OFlags {
        match self.follow_links {
            true => OFlags::empty(),
            false => OFlags::NOFOLLOW,
        }
    }

    /// Opens a folder; `None` when there is none at that path.
    pub(super) fn folder(&self, path: &str, create: bool) -> Result<Option<OwnedFd>, Error> {
        let mut below: Option<OwnedFd> = None;
        let mut walked = self.root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            walked.push(name);
            let folder = below.as_ref().unwrap_or(&self.folder);
            let next = match self.step(folder, name) {
                Err(Errno::NOENT) if create => {
                    match mkdirat(folder, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(Error::io(walked, e)),
                    }
                    self.step(folder, name).map_err(|e| Error::io(&walked, e))?
                }
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW);
                    let link = stat.is_ok_and(|s| kind(&s) == FileType::Symlink);
                    return match (link, create) {
                        (true, _) => Err(Error::LinkInTheWay { path: walked }),
                        (false, true) => Err(Error::io(walked, Errno::NOTDIR)),
                        (false, false) => Ok(None),
                    };
                }
                step => step.map_err(|e| Error::io(&walked, e))?,
            };
            below = Some(next);
        }
        Ok(Some(match below {
            Some(folder) => folder,
            None => (self.folder.try_clone()).map_err(|e| Error::io(&self.root, e))?,
        }))
    }

    fn step(&self, folder: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
        openat(folder, name, FOLDER | self.nofollow(), Mode::empty())
    }

    /// The folder of a stored path and the name in it; `None` when that folder is not there.
    pub(super) fn place<'a>(
        &self,
        path: &'a str,
        create: bool,
    ) -> Result<Option<Place<'a>>, Error> {
        let (parent, name) = (crate::path::parent(path), crate::path::file_name(path));
        Ok(self.folder(parent, create)?.map(|folder| Place {
            folder,
            name,
            path: self.on_disk(path),
        }))
    }

    /// Opens a regular file for reading; `None` when there is none.
    pub(super) fn read(&self, path: &str) -> Result<Option<std::fs::File>, Error> {
        let Some(place) = self.place(path, false)? else {
            return Ok(None);
        };
        // NONBLOCK: a FIFO would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | self.nofollow();
        let file = match openat(&place.folder, place.name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
            Err(e) => return Err(Error::io(place.path, e)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::io(&place.path, e))?;
        Ok((kind(&stat) == FileType::RegularFile).then(|| file.into()))
    }
}

impl<F: AsFd> Place<'_, F> {
    pub(super) fn error(&self, errno: Errno) -> Error {
        Error::io(&self.path, errno)
    }

    /// What is there, without following a link.
    pub(super) fn stat(&self) -> Result<Option<Stat>, Error> {
        self.stat_with(AtFlags::SYMLINK_NOFOLLOW)
    }

    pub(super) fn stat_with(&self, flags: AtFlags) -> Result<Option<Stat>, Error> {
        match statat(&self.folder, self.name, flags) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.error(e)),
        }
    }

    /// Removes a file or link; false when there was none.
    pub(super) fn unlink(&self) -> Result<bool, Error> {
        match unlinkat(&self.folder, self.name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(self.error(e)),
        }
    }

    pub(super) fn target(&self) -> Result<PathBuf, Error> {
        let target = readlinkat(&self.folder, self.name, Vec::new()).map_err(|e| self.error(e))?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
