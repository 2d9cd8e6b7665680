//! What an inode is, in the words of the kernel's protocol and back.

use crate::{
    posix::Special,
    vfs::{FileKind, Stat, Time},
};
use fuser::{FileAttr, FileType, INodeNo};
use std::time::SystemTime;

pub(super) fn kind(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Folder => FileType::Directory,
        FileKind::Link => FileType::Symlink,
        FileKind::Special(Special::Fifo) => FileType::NamedPipe,
        FileKind::Special(Special::Socket) => FileType::Socket,
        FileKind::Special(Special::Char { .. }) => FileType::CharDevice,
        FileKind::Special(Special::Block { .. }) => FileType::BlockDevice,
    }
}

/// A device's number as the kernel's protocol packs it.
fn rdev(kind: FileKind) -> u32 {
    match kind {
        FileKind::Special(Special::Char { major, minor } | Special::Block { major, minor }) => {
            (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12)
        }
        FileKind::File | FileKind::Folder | FileKind::Link | FileKind::Special(_) => 0,
    }
}

/// What `mknod` makes besides files.
pub(super) fn special(mode: u32, rdev: u32) -> Option<Special> {
    let (major, minor) = ((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & !0xff));
    match mode & libc::S_IFMT {
        libc::S_IFIFO => Some(Special::Fifo),
        libc::S_IFSOCK => Some(Special::Socket),
        libc::S_IFCHR => Some(Special::Char { major, minor }),
        libc::S_IFBLK => Some(Special::Block { major, minor }),
        _ => None,
    }
}

pub(super) fn attr(stat: &Stat) -> FileAttr {
    FileAttr {
        ino: INodeNo(stat.ino),
        size: stat.size,
        blocks: match stat.kind {
            FileKind::File => stat.stored.div_ceil(512),
            FileKind::Folder | FileKind::Link => stat.size.div_ceil(512),
            FileKind::Special(_) => 0,
        },
        atime: stat.attrs.atime.into(),
        mtime: stat.attrs.mtime.into(),
        ctime: stat.attrs.ctime.into(),
        crtime: SystemTime::UNIX_EPOCH,
        kind: kind(stat.kind),
        // Twelve bits.
        perm: u16::try_from(stat.attrs.mode & 0o7777).unwrap_or_default(),
        nlink: stat.links,
        uid: stat.attrs.uid,
        gid: stat.attrs.gid,
        rdev: rdev(stat.kind),
        blksize: 64 * 1024,
        flags: 0,
    }
}

/// Inode 0 tells the kernel that a name is not there, and that it may remember so.
pub(super) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: SystemTime::UNIX_EPOCH,
        mtime: SystemTime::UNIX_EPOCH,
        ctime: SystemTime::UNIX_EPOCH,
        crtime: SystemTime::UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

/// A time that the kernel asks for. Before 1970 the library counts the nanoseconds backwards, while the kernel means them forwards.
pub(super) fn asked(time: SystemTime) -> Time {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => time.into(),
        Err(before) => {
            let before = before.duration();
            let seconds = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            Time(-seconds, before.subsec_nanos())
        }
    }
}
