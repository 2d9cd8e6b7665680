//! A folder for what is made while it is measured, and what goes with it.

use super::Failure;
use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A folder that goes when it is dropped, with all that is mounted in it.
pub(super) struct Room(PathBuf);

impl Room {
    pub(super) fn new(at: &Path) -> Result<Self, Failure> {
        let room = at.join(format!("pome-bench-{}", std::process::id()));
        let io = |error| Failure::io(&room.display().to_string(), &error);
        std::fs::create_dir_all(&room).map_err(io)?;
        // As the kernel calls it, so that mounts in it are found.
        let room = room.canonicalize().map_err(io)?;
        Ok(Self(room))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes down what a run that failed, or was ended, has left mounted.
    pub(super) fn unmount(&self) {
        let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
        // The last one mounted is the first to go.
        for at in mounts_below(&self.0, &table).iter().rev() {
            let detach = rustix::mount::UnmountFlags::DETACH;
            if rustix::mount::unmount(at, detach).is_err() {
                // As another user than root. What it says helps nobody.
                let mut command = Command::new("fusermount3");
                let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
                let _ = quiet.arg("-uz").arg(at).status();
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.unmount();
        // What stays of it is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Where in a folder something is mounted: the fifth field of each line, in which spaces and the like are `\040`.
fn mounts_below(folder: &Path, table: &[u8]) -> Vec<PathBuf> {
    let places = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let field = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(OsString::from_vec(plain(field))))
    });
    places.filter(|place| place.starts_with(folder)).collect()
}

fn plain(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_folder() {
        let table = b"22 1 0:21 / /proc rw - proc proc rw\n\
            90 22 0:50 / /a\\040b/run-1/at rw - fuse pome rw\n\
            91 22 0:51 / /a\\040bc/at rw - fuse pome rw\n\
            92 90 0:52 / /a\\040b/run-1/at/in rw - fuse pome rw\n";
        let found = mounts_below(Path::new("/a b"), table);
        assert_eq!(
            found,
            ["/a b/run-1/at", "/a b/run-1/at/in"].map(PathBuf::from)
        );
    }
}
