//! Mountpoints: fit to be one, and taking a mount down whatever its state.

use super::{connection, error::MountError};
use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

/// How long a normal unmount may take before the connection is cut.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// How far it had to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnmountHow {
    /// Nobody used it.
    Normal,
    /// Somebody had a file open or stood in it: it is gone from the tree of folders, and ends when they do.
    Lazy,
    /// They did not let go in time: the connection was cut, and what they have open answers an error.
    Aborted,
}

/// The mountpoint with all links resolved, if it is one that a drive can be mounted on.
pub(super) fn check(path: &Path) -> Result<PathBuf, MountError> {
    let kernel = |what, source: io::Error| MountError::Kernel {
        path: path.to_owned(),
        what,
        source: Arc::new(source),
    };
    if let Some(state) = fuse_state(path) {
        return Err(match state {
            Fuse::Dead => MountError::DeadMount {
                path: path.to_owned(),
            },
            Fuse::There => MountError::AlreadyMounted {
                path: path.to_owned(),
            },
        });
    }
    let stat = match std::fs::metadata(path) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(MountError::NoMountpoint {
                path: path.to_owned(),
            });
        }
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            return Err(MountError::DeadMount {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(kernel("stat", error)),
    };
    if !stat.is_dir() {
        return Err(MountError::NotAFolder {
            path: path.to_owned(),
        });
    }
    let real = path.canonicalize().map_err(|e| kernel("resolve", e))?;
    if connection::find(&real).is_ok_and(|m| m.is_some_and(|m| m.kind.starts_with("fuse"))) {
        return Err(MountError::AlreadyMounted { path: real });
    }
    let mut inside = std::fs::read_dir(&real).map_err(|e| kernel("read", e))?;
    if inside.next().is_some() {
        return Err(MountError::NotEmpty { path: real });
    }
    Ok(real)
}

enum Fuse {
    /// The process behind it is gone.
    Dead,
    There,
}

/// What a FUSE mount at `path` is like; `None` when there is none. One whose process is stopped answers nobody, and so is waited for no longer than a moment.
fn fuse_state(path: &Path) -> Option<Fuse> {
    let real = beside(path).ok()?;
    let mount = connection::find(&real).ok()??;
    if !mount.kind.starts_with("fuse") {
        return None;
    }
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Whoever asked may have given up.
        let _ = tell.send(std::fs::metadata(&real));
    });
    match told.recv_timeout(ANSWER_MAX) {
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotConnected => Some(Fuse::Dead),
        _ => Some(Fuse::There),
    }
}

/// The path as the kernel lists it. Not `canonicalize`: it would ask a dead mount.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let above = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let above = above.canonicalize()?;
    Ok(path
        .file_name()
        .map_or(above.clone(), |name| above.join(name)))
}

/// Unmounts, `lazy` or not. As another user than root through `fusermount3`.
pub(super) fn unmount(path: &Path, lazy: bool) -> io::Result<()> {
    use rustix::mount::UnmountFlags;
    let flags = if lazy {
        UnmountFlags::DETACH
    } else {
        UnmountFlags::empty()
    };
    match rustix::mount::unmount(path, flags | UnmountFlags::NOFOLLOW) {
        Err(rustix::io::Errno::PERM) => {
            let mut command = Command::new("fusermount3");
            command
                .arg("-u")
                .args(lazy.then_some("-z"))
                .arg("--")
                .arg(path);
            let output = command.output()?;
            if output.status.success() {
                return Ok(());
            }
            Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            ))
        }
        other => Ok(other?),
    }
}

/// Takes down a mount whose process is gone or stopped: lazily, then by cutting its connection.
///
/// # Errors
/// `NotMounted`; `Kernel` when the kernel refuses.
pub fn clear_dead_mount(path: &Path) -> Result<UnmountHow, MountError> {
    let kernel = |what, source: io::Error| MountError::Kernel {
        path: path.to_owned(),
        what,
        source: Arc::new(source),
    };
    let real = beside(path).map_err(|e| kernel("resolve", e))?;
    let mount = connection::find(&real).map_err(|e| kernel("read the mount table", e))?;
    // Somebody else's filesystem is not ours to take down.
    if !mount.is_some_and(|m| m.may_be_ours()) {
        return Err(MountError::NotMounted { path: real });
    }
    let number = connection::number(&real).map_err(|e| kernel("read the mount table", e))?;
    // What was written through `mmap` is handed over first: to a stopped process, for ever.
    let (tell, told) = std::sync::mpsc::channel();
    let path = real.clone();
    std::thread::Builder::new()
        .name("pome-unmount".to_owned())
        .spawn(move || {
            // Nobody listens any more when it took too long.
            let _ = tell.send(unmount(&path, false));
        })
        .map_err(|e| kernel("start a thread", e))?;
    let answer = told.recv_timeout(ANSWER_MAX);
    if let Ok(Ok(())) = answer {
        return Ok(UnmountHow::Normal);
    }
    if answer.is_err() {
        // It waits for the process: once the connection is cut, it has its answer.
        let cut = number.is_some_and(|number| connection::abort(number).is_ok());
        if cut && matches!(told.recv_timeout(ANSWER_MAX), Ok(Ok(()))) {
            return Ok(UnmountHow::Aborted);
        }
    }
    unmount(&real, true).map_err(|e| kernel("unmount", e))?;
    match number {
        Some(number) if connection::abort(number).is_ok() => Ok(UnmountHow::Aborted),
        Some(_) | None => Ok(UnmountHow::Lazy),
    }
}
