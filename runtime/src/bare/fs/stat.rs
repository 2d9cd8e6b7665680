//! What the system says about a file or a filesystem, as the numbers that the face makes its objects of.

use std::{os::fd::AsFd, path::Path};

use rustix::fs::{self as sys, AtFlags, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps};

use crate::{
    bare::{failure::Failure, reply::Reply},
    permissions::At,
};

/// About the file at a path.
pub(super) fn path(at: &At, flags: AtFlags) -> Result<Reply, Failure> {
    let flags = flags | at.flags();
    Ok(numbers(&sys::statx(
        at.folder(),
        at.name(),
        flags,
        fields(),
    )?))
}

/// About an open file.
pub(super) fn file(file: impl AsFd) -> Result<Reply, Failure> {
    Ok(numbers(&sys::statx(
        file,
        "",
        AtFlags::EMPTY_PATH,
        fields(),
    )?))
}

fn fields() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// In the order of the constructor of `Stats`: dev, mode, nlink, uid, gid, rdev, blksize, ino, size (bytes), blocks (512 bytes), then the
/// times of access, change of data, change of state and birth in milliseconds since 1970.
fn numbers(stat: &Statx) -> Reply {
    let device = |major, minor| sys::makedev(major, minor) as f64;
    Reply::List(
        [
            device(stat.stx_dev_major, stat.stx_dev_minor),
            f64::from(stat.stx_mode),
            f64::from(stat.stx_nlink),
            f64::from(stat.stx_uid),
            f64::from(stat.stx_gid),
            device(stat.stx_rdev_major, stat.stx_rdev_minor),
            f64::from(stat.stx_blksize),
            stat.stx_ino as f64,
            stat.stx_size as f64,
            stat.stx_blocks as f64,
            milliseconds(&stat.stx_atime),
            milliseconds(&stat.stx_mtime),
            milliseconds(&stat.stx_ctime),
            milliseconds(&stat.stx_btime),
        ]
        .into_iter()
        .map(Reply::Number)
        .collect(),
    )
}

fn milliseconds(time: &StatxTimestamp) -> f64 {
    time.tv_sec as f64 * 1000.0 + (f64::from(time.tv_nsec) / 1_000_000.0).round()
}

/// About the filesystem that holds `path`, in the order of the constructor of `StatFs`.
pub(super) fn filesystem(path: &Path) -> Result<Reply, Failure> {
    let stat = sys::statfs(path)?;
    Ok(Reply::List(
        [
            stat.f_type as f64,
            stat.f_bsize as f64,
            stat.f_blocks as f64,
            stat.f_bfree as f64,
            stat.f_bavail as f64,
            stat.f_files as f64,
            stat.f_ffree as f64,
            stat.f_frsize as f64,
        ]
        .into_iter()
        .map(Reply::Number)
        .collect(),
    ))
}

/// The times of access and of change of data, from seconds since 1970.
pub(super) fn timestamps(atime: f64, mtime: f64) -> Timestamps {
    Timestamps {
        last_access: timespec(atime),
        last_modification: timespec(mtime),
    }
}

fn timespec(seconds: f64) -> Timespec {
    let whole = seconds.floor();
    // A double has no more than microseconds to give for today's dates.
    let microseconds = ((seconds - whole) * 1_000_000.0) as i64;
    Timespec {
        tv_sec: whole as i64,
        tv_nsec: (microseconds * 1000).clamp(0, 999_999_999),
    }
}

/// Whether this failure says that there is nothing there.
pub(super) fn is_missing(failure: &Failure) -> bool {
    failure.code == "ENOENT"
}
