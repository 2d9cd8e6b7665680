//! Operations on whole trees: folders with their parents, removal, copies, listings.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::fs::{self as sys, FileType, Mode, OFlags};

use super::{
    request::{FileFailure, name_reply},
    stat::is_missing,
};
use crate::bare::{failure::Failure, reply::Reply};

const COPYFILE_EXCL: i64 = 1;
const COPYFILE_FICLONE: i64 = 2;
const COPYFILE_FICLONE_FORCE: i64 = 4;

/// Makes the folder and those above it; one that is there already is fine.
pub(super) fn make_folders(path: &str, mode: Mode) -> Result<(), FileFailure> {
    let mut missing = vec![path.to_owned()];
    while let Some(next) = missing.last().cloned() {
        match sys::mkdir(next.as_str(), mode) {
            Ok(()) => {
                missing.pop();
            }
            Err(errno) => {
                let failure = Failure::from(errno);
                let above = Path::new(&next).parent().and_then(Path::to_str);
                match above {
                    Some(above) if is_missing(&failure) && !above.is_empty() => {
                        missing.push(above.to_owned());
                    }
                    _ if Path::new(&next).is_dir() => {
                        missing.pop();
                    }
                    _ => return Err(FileFailure::path(failure, "mkdir", next)),
                }
            }
        }
    }
    Ok(())
}

/// Makes a folder whose name is `prefix` and six random characters; answers with its path.
pub(super) fn make_temporary(prefix: &str) -> Result<Reply, Failure> {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const ATTEMPTS: usize = 100;
    for _ in 0..ATTEMPTS {
        let mut random = [0_u8; 6];
        getrandom::fill(&mut random).map_err(|_| Failure::named("EIO"))?;
        let name: String = random
            .iter()
            .filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()))
            .map(|letter| char::from(*letter))
            .collect();
        let path = format!("{prefix}{name}");
        match sys::mkdir(path.as_str(), Mode::RWXU) {
            Ok(()) => return Ok(Reply::Text(path)),
            Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Failure::named("EEXIST"))
}

/// Removes a file, or with `recursive` a folder and what is in it. With `force` nothing there is fine.
pub(super) fn remove(path: &str, recursive: bool, force: bool) -> Result<(), FileFailure> {
    remove_inner(Path::new(path), recursive).or_else(|failure| {
        match force && is_missing(&failure.failure) {
            true => Ok(()),
            false => Err(failure),
        }
    })
}

fn remove_inner(path: &Path, recursive: bool) -> Result<(), FileFailure> {
    let about = |operation| {
        move |error: std::io::Error| FileFailure::path(error, operation, path.to_string_lossy())
    };
    let kind = fs::symlink_metadata(path).map_err(about("lstat"))?;
    if !kind.is_dir() {
        return fs::remove_file(path).map_err(about("unlink"));
    }
    if !recursive {
        let failure = Failure {
            message: "is a directory".into(),
            ..Failure::named("EISDIR")
        };
        return Err(FileFailure::path(failure, "rm", path.to_string_lossy()));
    }
    // The library's own walk does not follow a link that is swapped in meanwhile.
    fs::remove_dir_all(path).map_err(about("rmdir"))
}

/// Copies a file, with its mode.
pub(super) fn copy_file(from: &str, to: &str, flags: i64) -> Result<(), Failure> {
    let source = sys::open(from, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let about = sys::fstat(&source)?;
    let mode = Mode::from_raw_mode(about.st_mode & 0o7777);
    let mut open = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    if flags & COPYFILE_EXCL != 0 {
        open |= OFlags::EXCL;
    }
    let target = sys::open(to, open, mode)?;
    let there = sys::fstat(&target)?;
    if (there.st_dev, there.st_ino) == (about.st_dev, about.st_ino) {
        return Ok(());
    }
    sys::ftruncate(&target, 0)?;
    sys::fchmod(&target, mode)?;
    if flags & (COPYFILE_FICLONE | COPYFILE_FICLONE_FORCE) != 0 {
        match sys::ioctl_ficlone(&target, &source) {
            Ok(()) => return Ok(()),
            Err(errno) if flags & COPYFILE_FICLONE_FORCE != 0 => return Err(errno.into()),
            Err(_) => {}
        }
    }
    std::io::copy(&mut fs::File::from(source), &mut fs::File::from(target))?;
    Ok(())
}

/// Copies a file, a link (as a link) or, with `recursive`, a folder and what is in it.
pub(super) fn copy(from: &str, to: &str, recursive: bool) -> Result<Reply, FileFailure> {
    let mut work = vec![(PathBuf::from(from), PathBuf::from(to))];
    while let Some((from, to)) = work.pop() {
        let named = |failure: Failure, operation| {
            FileFailure::path(failure, operation, from.to_string_lossy())
        };
        let about = fs::symlink_metadata(&from).map_err(|error| named(error.into(), "lstat"))?;
        if about.is_dir() {
            if !recursive {
                let failure = Failure {
                    message: "is a directory".into(),
                    ..Failure::named("EISDIR")
                };
                return Err(named(failure, "cp"));
            }
            let mode = Mode::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&about) & 0o7777);
            if fs::symlink_metadata(&to).is_err() {
                make_folders(&to.to_string_lossy(), mode)?;
            }
            let entries = fs::read_dir(&from).map_err(|error| named(error.into(), "opendir"))?;
            for entry in entries {
                let name = entry
                    .map_err(|error| named(error.into(), "readdir"))?
                    .file_name();
                work.push((from.join(&name), to.join(&name)));
            }
        } else if about.is_file() {
            copy_file(&from.to_string_lossy(), &to.to_string_lossy(), 0)
                .map_err(|failure| named(failure, "copyfile"))?;
        } else if about.is_symlink() {
            if fs::symlink_metadata(&to).is_ok_and(|there| !there.is_dir()) {
                fs::remove_file(&to).map_err(|error| named(error.into(), "unlink"))?;
            }
            fs::read_link(&from)
                .and_then(|target| std::os::unix::fs::symlink(target, &to))
                .map_err(|error| named(error.into(), "symlink"))?;
        } else {
            let failure = Failure {
                message: "cannot copy a special file".into(),
                ..Failure::named("ENOTSUP")
            };
            return Err(named(failure, "cp"));
        }
    }
    Ok(Reply::Nothing)
}

/// The entries of a folder in the system's order: name, kind, name, kind, …
pub(super) fn entries(path: &str) -> Result<Reply, Failure> {
    let folder = sys::open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let mut reply = Vec::new();
    for entry in sys::Dir::new(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        reply.push(name_reply(std::os::unix::ffi::OsStrExt::from_bytes(
            name.to_bytes(),
        )));
        reply.push(Reply::Number(kind(entry.file_type())));
    }
    Ok(Reply::List(reply))
}

/// The number of a kind of file in `Dirent.type`.
fn kind(kind: FileType) -> f64 {
    match kind {
        FileType::RegularFile => 1.0,
        FileType::Directory => 2.0,
        FileType::Symlink => 3.0,
        FileType::Fifo => 4.0,
        FileType::Socket => 5.0,
        FileType::CharacterDevice => 6.0,
        FileType::BlockDevice => 7.0,
        FileType::Unknown => 0.0,
    }
}
