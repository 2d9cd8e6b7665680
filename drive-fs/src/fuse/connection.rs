//! The kernel's side of a mount, under `/sys/fs/fuse/connections`.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Number of the FUSE connection behind a mountpoint, from the mount table, so that nothing is asked of the mount itself.
pub(super) fn number(mountpoint: &Path) -> io::Result<Option<u32>> {
    Ok(find(mountpoint)?.map(|mount| mount.device_minor))
}

/// A line of the mount table.
pub(super) struct Mount {
    device_minor: u32,
    /// `fuse.pome` for ours, or `fuse` where root mounted it: only `fusermount3` passes on what is behind the dot.
    pub(super) kind: String,
}

impl Mount {
    /// False for what says that it is another filesystem.
    pub(super) fn may_be_ours(&self) -> bool {
        matches!(self.kind.as_str(), "fuse" | "fuse.pome")
    }
}

/// What is mounted at a path: the topmost.
pub(super) fn find(mountpoint: &Path) -> io::Result<Option<Mount>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(table.lines().rev().find_map(|line| parse(line, mountpoint)))
}

fn parse(line: &str, mountpoint: &Path) -> Option<Mount> {
    let mut fields = line.split(' ');
    let device = fields.nth(2)?;
    let at = fields.nth(1)?;
    if unescape(at) != mountpoint {
        return None;
    }
    let kind = line.split(" - ").nth(1)?.split(' ').next()?;
    Some(Mount {
        device_minor: device.split(':').nth(1)?.parse().ok()?,
        kind: kind.to_owned(),
    })
}

/// The table writes space, tab, newline and backslash in octal.
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).filter(|_| byte == b'\\');
        let octal =
            octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(decoded) => {
                out.push(decoded);
                at += 4;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// Aborts a connection: all who wait for an answer get `ENOTCONN` or `ECONNABORTED` at once. Where the kernel's control files are not
/// mounted, root mounts them.
pub(super) fn abort(number: u32) -> io::Result<()> {
    let file = format!("{CONNECTIONS}/{number}/abort");
    let cut = std::fs::write(&file, "1");
    if !cut
        .as_ref()
        .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        || find(Path::new(CONNECTIONS))?.is_some()
    {
        return cut;
    }
    rustix::mount::mount(
        "fusectl",
        CONNECTIONS,
        "fusectl",
        rustix::mount::MountFlags::empty(),
        None,
    )?;
    std::fs::write(&file, "1")
}

/// How far the kernel reads ahead of a mount whose bytes are all here, in KiB; its default is 128.
const READ_AHEAD_KIB: u32 = 1024;

/// Has the kernel read further ahead, where this process may say so.
pub(super) fn read_ahead(number: u32) {
    let file = format!("/sys/class/bdi/0:{number}/read_ahead_kb");
    if let Err(error) = std::fs::write(file, READ_AHEAD_KIB.to_string()) {
        tracing::debug!(%error, "the kernel reads ahead as far as it likes to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_is_read() {
        let line =
            r"97 30 0:56 / /mnt/a\040b\134c rw,nosuid shared:5 - fuse.pome pome rw,user_id=0";
        let mount = parse(line, Path::new(r"/mnt/a b\c")).unwrap();
        assert_eq!((mount.device_minor, mount.kind.as_str()), (56, "fuse.pome"));
        assert!(mount.may_be_ours());
        for (kind, ours) in [("fuse", true), ("fuse.sshfs", false), ("fuseblk", false)] {
            let line = line.replace("fuse.pome", kind);
            let mount = parse(&line, Path::new(r"/mnt/a b\c")).unwrap();
            assert_eq!(mount.may_be_ours(), ours, "{kind}");
        }
        assert!(parse(line, Path::new("/mnt")).is_none());
        assert!(parse("", Path::new("/mnt")).is_none());
        assert!(find(Path::new("/proc")).unwrap().is_some());
    }
}
