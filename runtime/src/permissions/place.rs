//! Files from the question whether a program may reach them to their use: what was allowed is what is used, also when the program makes the path lead
//! elsewhere meanwhile.
//!
//! For a program that may not go everywhere a path is what it was once its links were followed. It is opened folder by folder from the root, and
//! a link that is there now was put there since: it ends the way.

use rustix::{
    fs::{self as sys, AtFlags, CWD, Mode, OFlags},
    io::Errno,
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

const FOLDER: OFlags = OFlags::PATH
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A path that a program may use.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    written: PathBuf,
    /// Where it led, for a program that may not go everywhere.
    real: Option<PathBuf>,
}

impl Place {
    /// Wherever it leads.
    pub(super) fn anywhere(written: &Path) -> Self {
        Self {
            written: written.to_owned(),
            real: None,
        }
    }

    /// Nowhere but at `real`, which has no links in it.
    pub(super) fn fenced(written: &Path, real: PathBuf) -> Self {
        Self {
            written: written.to_owned(),
            real: Some(real),
        }
    }

    /// The path as the program wrote it.
    pub(crate) fn written(&self) -> &Path {
        &self.written
    }

    /// As [`written`](Self::written), for messages.
    pub(crate) fn text(&self) -> String {
        self.written.to_string_lossy().into_owned()
    }

    /// True when the program may not go everywhere.
    pub(crate) fn is_fenced(&self) -> bool {
        self.real.is_some()
    }

    /// What has that name in the folder that this is.
    pub(crate) fn child(&self, name: &OsStr) -> Self {
        Self {
            written: self.written.join(name),
            real: self.real.as_ref().map(|real| real.join(name)),
        }
    }

    /// The folder that it is in, open, and its name there.
    ///
    /// # Errors
    /// When that folder is not there, or a link is in the way.
    pub(crate) fn at(&self) -> Result<At, Errno> {
        let Some(real) = &self.real else {
            return Ok(At {
                folder: None,
                name: self.written.clone(),
            });
        };
        // The root has no name, and is in itself.
        let (folder, name) = match (real.parent(), real.file_name()) {
            (Some(folder), Some(name)) => (folder, Path::new(name)),
            _ => (real.as_path(), Path::new(".")),
        };
        Ok(At {
            folder: Some(walk(folder, None)?),
            name: name.to_owned(),
        })
    }

    /// Makes the folder and those above it, for a program that may not go everywhere; `None` for one that may.
    pub(crate) fn make_folders(&self, mode: Mode) -> Option<Result<(), Errno>> {
        let real = self.real.as_ref()?;
        Some(match walk(real, Some(mode)) {
            Ok(_) => Ok(()),
            // Something else has the name.
            Err(Errno::NOTDIR) if self.at().is_ok() => Err(Errno::EXIST),
            Err(errno) => Err(errno),
        })
    }

    /// The folder itself, open for reading, for a program that may not go everywhere; `None` for one that may. With `make` it is made where it is missing, for
    /// the user alone.
    pub(crate) fn folder(&self, make: bool) -> Option<Result<Folder, Errno>> {
        let real = self.real.as_ref()?;
        let open = || {
            if make {
                self.make_folders(Mode::RWXU).transpose()?;
            }
            let open = self
                .at()?
                .open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            Ok(Folder {
                open,
                path: real.clone(),
            })
        };
        Some(open())
    }

    /// The path with its links followed.
    ///
    /// # Errors
    /// When there is nothing.
    pub(crate) fn canonical(&self) -> io::Result<PathBuf> {
        match &self.real {
            None => std::fs::canonicalize(&self.written),
            Some(real) => {
                self.stat()?;
                Ok(real.clone())
            }
        }
    }

    /// What is there.
    ///
    /// # Errors
    /// When there is nothing.
    pub(crate) fn stat(&self) -> io::Result<sys::Stat> {
        let at = self.at()?;
        Ok(sys::statat(at.folder(), at.name(), at.flags())?)
    }

    /// The whole file.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn read(&self) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let file = self.at()?.open(OFlags::RDONLY, Mode::empty())?;
        File::from(file).read_to_end(&mut content)?;
        Ok(content)
    }
}

/// An open folder and a name in it; where a program may go everywhere, the working folder and a path.
pub(crate) struct At {
    folder: Option<OwnedFd>,
    name: PathBuf,
}

impl At {
    pub(crate) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_ref().map_or(CWD, AsFd::as_fd)
    }

    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// How the name is looked up by calls that follow links where they may.
    pub(crate) fn flags(&self) -> AtFlags {
        match self.folder {
            None => AtFlags::empty(),
            Some(_) => AtFlags::SYMLINK_NOFOLLOW,
        }
    }

    /// Opens it.
    pub(crate) fn open(&self, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let nofollow = match self.folder {
            None => OFlags::empty(),
            Some(_) => OFlags::NOFOLLOW,
        };
        sys::openat(
            self.folder(),
            &self.name,
            flags | nofollow | OFlags::CLOEXEC,
            mode,
        )
    }

    /// A path for calls that do not follow a link at its end, for as long as this lives.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.folder {
            None => self.name.clone(),
            Some(folder) => by_number(folder).join(&self.name),
        }
    }

    /// What is there now, for calls that follow links and know nothing but paths.
    ///
    /// # Errors
    /// When there is nothing, or a link.
    pub(crate) fn reach(&self) -> Result<Reached, Errno> {
        if self.folder.is_none() {
            return Ok(Reached {
                path: self.name.clone(),
                _open: None,
            });
        }
        let open = self.open(OFlags::PATH, Mode::empty())?;
        let kind = sys::FileType::from_raw_mode(sys::fstat(&open)?.st_mode);
        if kind == sys::FileType::Symlink {
            return Err(Errno::LOOP);
        }
        Ok(Reached {
            path: by_number(&open),
            _open: Some(open),
        })
    }
}

/// A folder that was opened without going through links.
pub(crate) struct Folder {
    pub(crate) open: OwnedFd,
    /// What led to it.
    pub(crate) path: PathBuf,
}

/// A file by a path that leads to it for as long as this lives.
pub(crate) struct Reached {
    path: PathBuf,
    _open: Option<OwnedFd>,
}

impl Reached {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn by_number(open: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
}

/// Opens a folder by a path from the root that has no links in it; those that are not there are made where there is a mode for them.
fn walk(path: &Path, make: Option<Mode>) -> Result<OwnedFd, Errno> {
    let mut folder = sys::open("/", FOLDER, Mode::empty())?;
    for part in path.components() {
        let name = match part {
            Component::RootDir => continue,
            Component::Normal(name) => name,
            _ => return Err(Errno::LOOP),
        };
        let step = |folder: &OwnedFd| sys::openat(folder, name, FOLDER, Mode::empty());
        folder = match (step(&folder), make) {
            (Err(Errno::NOENT), Some(mode)) => {
                match sys::mkdirat(&folder, name, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                step(&folder)?
            }
            (opened, _) => opened?,
        };
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_link_that_came_since_ends_the_way() {
        let place = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(place.path()).unwrap();
        fs::create_dir_all(top.join("own/deep")).unwrap();
        fs::create_dir_all(top.join("other")).unwrap();
        fs::write(top.join("own/deep/x"), "ours").unwrap();
        fs::write(top.join("other/x"), "theirs").unwrap();
        let asked = top.join("own/deep/x");
        let fenced = Place::fenced(&asked, asked.clone());
        assert_eq!(fenced.read().unwrap(), b"ours");
        let reached = fenced.at().unwrap().reach().unwrap();
        assert_eq!(fs::read(reached.path()).unwrap(), b"ours");

        // The name itself is a link now.
        fs::rename(&asked, top.join("own/y")).unwrap();
        symlink(top.join("other/x"), &asked).unwrap();
        assert_eq!(
            fenced.read().unwrap_err().raw_os_error(),
            Some(Errno::LOOP.raw_os_error())
        );
        assert!(fenced.at().unwrap().reach().is_err());
        assert_eq!(Place::anywhere(&asked).read().unwrap(), b"theirs");

        // A folder on the way is.
        fs::remove_dir_all(top.join("own/deep")).unwrap();
        symlink(top.join("other"), top.join("own/deep")).unwrap();
        assert!(fenced.read().is_err());
        assert!(fenced.at().is_err());
        assert!(fenced.make_folders(Mode::RWXU).unwrap().is_err());
        assert_eq!(Place::anywhere(&asked).read().unwrap(), b"theirs");
    }

    #[test]
    fn folders_are_made_on_the_way() {
        let place = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(place.path()).unwrap();
        let deep = Place::fenced(Path::new("a/b"), top.join("a/b"));
        assert_eq!(deep.make_folders(Mode::RWXU), Some(Ok(())));
        assert_eq!(deep.make_folders(Mode::RWXU), Some(Ok(())));
        assert!(top.join("a/b").is_dir());
        fs::write(top.join("a/file"), "x").unwrap();
        let file = Place::fenced(Path::new("a/file"), top.join("a/file"));
        assert_eq!(file.make_folders(Mode::RWXU), Some(Err(Errno::EXIST)));
        let below = file.child(OsStr::new("c"));
        assert_eq!(below.make_folders(Mode::RWXU), Some(Err(Errno::NOTDIR)));
        assert_eq!(Place::anywhere(&top).make_folders(Mode::RWXU), None);
    }
}
