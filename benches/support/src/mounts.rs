//! What is mounted below a folder.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A mount, as `/proc/self/mountinfo` has it.
#[derive(Debug, PartialEq)]
struct Mount {
    at: PathBuf,
    /// The number of its connection, where that is FUSE's.
    connection: Option<u32>,
}

/// Takes down all that is mounted below a folder, which is as the kernel calls it: without links. What is asked of a mount fails, also where who should
/// answer has been killed: such a request is waited for without end otherwise, and the process that waits does not end.
pub fn unmount_below(folder: &Path) {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    // The last one mounted is the first to go.
    for mount in mounts_below(folder, &table).iter().rev() {
        if let Some(connection) = mount.connection {
            let abort = format!("/sys/fs/fuse/connections/{connection}/abort");
            // It may have gone.
            let _ = std::fs::write(abort, "1");
        }
        let detach = rustix::mount::UnmountFlags::DETACH;
        if rustix::mount::unmount(&mount.at, detach).is_err() {
            // As another user than root. What it says helps nobody.
            let mut command = Command::new("fusermount3");
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            let _ = quiet.arg("-uz").arg(&mount.at).status();
        }
    }
}

fn mounts_below(folder: &Path, table: &[u8]) -> Vec<Mount> {
    let mounts = table.split(|byte| *byte == b'\n').filter_map(mount);
    mounts
        .filter(|mount| mount.at.starts_with(folder))
        .collect()
}

/// The third field of a line is the device, the fifth the place, in which spaces and the like are `\040`; the type comes behind a dash.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = std::str::from_utf8(fields.nth(2)?).ok()?;
    let at = PathBuf::from(OsString::from_vec(plain(fields.nth(1)?)));
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let minor = || device.split_once(':')?.1.parse().ok();
    let connection = kind.starts_with(b"fuse").then(minor).flatten();
    Some(Mount { at, connection })
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
            90 22 0:50 / /a\\040b/run-1/at rw,nosuid shared:1 - fuse.pome pome rw\n\
            91 22 0:51 / /a\\040bc/at rw - fuse pome rw\n\
            92 90 0:52 / /a\\040b/run-1/at/in rw - tmpfs none rw\n";
        let found = mounts_below(Path::new("/a b"), table);
        let expected = [("/a b/run-1/at", Some(50)), ("/a b/run-1/at/in", None)];
        let expected = expected.map(|(at, connection)| Mount {
            at: at.into(),
            connection,
        });
        assert_eq!(found, expected);
    }
}
