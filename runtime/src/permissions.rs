//! What a program may reach of the machine. A program from this disk may do what its user may; one that came by a key gets its own folder and the swarm, and
//! what it was allowed besides.
//!
//! Whatever opens a file, a socket or a process for a program asks here first, on the program's thread: [`file`], [`link`], [`socket`],
//! [`process`]. What a program has been refused is an error with the code `PERMISSION_DENIED`, which names the flag that allows it.
//!
//! What is looked at is where a path leads when it is asked for, links followed. What is answered is a [`Place`]: whoever uses it gets no farther than that,
//! also when the path leads elsewhere by then. Programs that may not go everywhere make no links, and do not change the working folder.

mod place;

pub(crate) use self::place::{At, Place};

use crate::engine::{
    error::{Field, JsError},
    host::Host,
};
use rquickjs::Ctx;
use std::path::{Component, Path, PathBuf};

/// The variables of the environment that every program sees: what a terminal is like, and where the network begins.
const COMMON: [&str; 9] = [
    "COLORTERM",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "NO_COLOR",
    "NODE_ENV",
    "POME_BOOTSTRAP",
    "TERM",
    "TZ",
];

/// What a program may reach of the machine (default: all that its user may).
///
/// ```
/// use pome_runtime::{Exit, Options, Permissions, Runtime};
///
/// let mut options = Options::default();
/// options.permissions = Permissions::nothing();
/// let runtime = Runtime::new(options);
/// let program = "try { require('bare-fs').readFileSync('/etc/hostname') } catch (e) { Bare.exitCode = e.code === 'PERMISSION_DENIED' ? 3 : 1 }";
/// assert_eq!(runtime.eval(program, false), Exit::Code(3));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Files below these folders; `None`: all.
    folders: Option<Vec<PathBuf>>,
    sockets: bool,
    processes: bool,
    environment: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self::everything()
    }
}

impl Permissions {
    /// All that the user may.
    pub fn everything() -> Self {
        Self {
            folders: None,
            sockets: true,
            processes: true,
            environment: true,
        }
    }

    /// No files, no sockets but the swarm's, no other programs, and of the environment what says how terminals are used.
    pub fn nothing() -> Self {
        Self {
            folders: Some(Vec::new()),
            sockets: false,
            processes: false,
            environment: false,
        }
    }

    /// Files in and below this folder, too, to be read and written: the folder as it is now, links followed.
    #[must_use]
    pub fn with_folder(mut self, folder: &Path) -> Self {
        if let Some(folders) = &mut self.folders {
            folders.push(lead(folder).unwrap_or_else(|| folder.to_path_buf()));
        }
        self
    }

    /// All files.
    #[must_use]
    pub fn with_files(self) -> Self {
        Self {
            folders: None,
            ..self
        }
    }

    /// Connections to and from any address: TCP, UDP, names, and what is made of them.
    #[must_use]
    pub fn with_sockets(self) -> Self {
        Self {
            sockets: true,
            ..self
        }
    }

    /// Other programs, which may do all that the user may, and signals to them.
    #[must_use]
    pub fn with_processes(self) -> Self {
        Self {
            processes: true,
            ..self
        }
    }

    /// All variables of the environment.
    #[must_use]
    pub fn with_environment(self) -> Self {
        Self {
            environment: true,
            ..self
        }
    }

    /// Where a path leads, if the program may go there.
    fn place(&self, path: &Path) -> Option<Place> {
        let Some(folders) = &self.folders else {
            return Some(Place::anywhere(path));
        };
        within(folders, lead(path)).map(|real| Place::fenced(path, real))
    }

    /// As [`place`](Self::place), for a name that may be that of a link, which is not followed.
    fn entry(&self, path: &Path) -> Option<Place> {
        let Some(folders) = &self.folders else {
            return Some(Place::anywhere(path));
        };
        let real = match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => {
                let folder = match folder.as_os_str().is_empty() {
                    true => Path::new("."),
                    false => folder,
                };
                within(folders, lead(folder).map(|folder| folder.join(name)))
            }
            _ => None,
        };
        match real {
            Some(real) => Some(Place::fenced(path, real)),
            // A link from outside to a folder that is allowed is as good as the folder.
            None => self.place(path),
        }
    }

    /// True when a variable may be seen.
    pub(crate) fn allows_variable(&self, name: &str) -> bool {
        self.environment || COMMON.contains(&name)
    }
}

/// Where a path leads, links followed, as far as there is something; `None` where that cannot be known.
fn lead(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    for there in path.ancestors() {
        match std::fs::canonicalize(there) {
            Ok(real) => {
                let rest = path.strip_prefix(there).ok()?;
                let goes_up = rest.components().any(|part| part == Component::ParentDir);
                return (!goes_up).then(|| match rest.as_os_str().is_empty() {
                    true => real,
                    false => real.join(rest),
                });
            }
            // A link that leads nowhere is one all the same: what is made through it is made where it points.
            Err(_) if there.symlink_metadata().is_ok() => return None,
            Err(_) => {}
        }
    }
    None
}

/// The path, if it is in one of the folders.
fn within(folders: &[PathBuf], path: Option<PathBuf>) -> Option<PathBuf> {
    path.filter(|path| folders.iter().any(|folder| path.starts_with(folder)))
}

fn refused(permission: &str, resource: &str, flag: &str) -> JsError {
    let message =
        format!("PERMISSION_DENIED: {resource} is not for this program; {flag} allows it");
    JsError::new("PERMISSION_DENIED", message)
        .with("permission", Field::Text(permission.into()))
        .with("resource", Field::Text(resource.into()))
}

fn no_file(path: &Path) -> JsError {
    let path = path.display().to_string();
    refused("fs", &path, &format!("--allow-fs={path}"))
}

/// A file or folder is about to be looked at, read or written: where it is.
///
/// # Errors
/// When the program may not.
pub(crate) fn file(ctx: &Ctx<'_>, path: impl AsRef<Path>) -> Result<Place, JsError> {
    let path = path.as_ref();
    let place = Host::get(ctx).permissions.place(path);
    place.ok_or_else(|| no_file(path))
}

/// As [`file`], for calls that do not follow a link at the end of the path: it is looked at, moved or removed itself.
///
/// # Errors
/// When the program may not.
pub(crate) fn entry(ctx: &Ctx<'_>, path: impl AsRef<Path>) -> Result<Place, JsError> {
    let path = path.as_ref();
    let place = Host::get(ctx).permissions.entry(path);
    place.ok_or_else(|| no_file(path))
}

/// A link is about to be made, or something else that makes a path lead elsewhere: the working folder is changed.
///
/// # Errors
/// When the program may not go everywhere.
pub(crate) fn link(ctx: &Ctx<'_>, path: impl AsRef<Path>) -> Result<(), JsError> {
    match Host::get(ctx).permissions.folders {
        None => Ok(()),
        Some(_) => {
            let path = path.as_ref().display().to_string();
            Err(refused("fs", &path, "--allow-fs"))
        }
    }
}

/// A socket is about to be used that is not the swarm's.
///
/// # Errors
/// When the program may not.
pub(crate) fn socket(ctx: &Ctx<'_>, address: &str) -> Result<(), JsError> {
    match Host::get(ctx).permissions.sockets {
        true => Ok(()),
        false => Err(refused("net", address, "--allow-net")),
    }
}

/// A program is about to be started, or told something.
///
/// # Errors
/// When the program may not.
pub(crate) fn process(ctx: &Ctx<'_>, what: &str) -> Result<(), JsError> {
    match Host::get(ctx).permissions.processes {
        true => Ok(()),
        false => Err(refused("run", what, "--allow-run")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_path_is_where_it_leads() {
        let place = tempfile::tempdir().unwrap();
        let (own, other) = (place.path().join("own"), place.path().join("other"));
        fs::create_dir_all(own.join("deep")).unwrap();
        fs::create_dir(&other).unwrap();
        symlink(&other, own.join("out")).unwrap();
        symlink(own.join("deep"), place.path().join("in")).unwrap();
        symlink(place.path().join("nowhere"), own.join("dangling")).unwrap();
        let may = Permissions::nothing().with_folder(&own);
        let paths = [
            ("own", true),
            ("own/new/deeper", true),
            ("own/deep/../new", true),
            ("in/x", true),
            ("other", false),
            ("own-not", false),
            ("own/../other", false),
            ("own/out/x", false),
            ("own/new/../../other", false),
            ("own/dangling", false),
            ("own/dangling/x", false),
            ("", false),
        ];
        for (path, allowed) in paths {
            let led = may.place(&place.path().join(path));
            assert_eq!(led.is_some(), allowed, "{path}");
        }
        assert_eq!(
            lead(&own.join("deep/../deep")),
            fs::canonicalize(own.join("deep")).ok()
        );
        // Of a link itself, wherever it leads.
        let entries = [
            ("own/out", true),
            ("own/dangling", true),
            ("in", true),
            ("own/out/x", false),
            ("own/dangling/x", false),
            ("own/..", false),
            ("own/../other", false),
        ];
        for (path, allowed) in entries {
            let led = may.entry(&place.path().join(path));
            assert_eq!(led.is_some(), allowed, "{path}");
        }
        assert!(Permissions::everything().place(&other).is_some());
        assert!(may.clone().with_files().place(&other).is_some());
        assert!(Permissions::nothing().place(&own).is_none());
        assert!(Permissions::nothing().entry(&own).is_none());
        assert!(may.allows_variable("TERM") && !may.allows_variable("HOME"));
    }
}
