//! Operations on whole trees: folders with their parents, removal, copies, listings.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

use rustix::{
    fs::{self as sys, AtFlags, FileType, Mode, OFlags},
    io::Errno,
};

use super::{
    request::{FileFailure, name_reply},
    stat::is_missing,
};
use crate::{
    bare::{failure::Failure, reply::Reply},
    permissions::{At, Place},
};

const COPYFILE_EXCL: i64 = 1;
const COPYFILE_FICLONE: i64 = 2;
const COPYFILE_FICLONE_FORCE: i64 = 4;

/// The letters that a temporary folder's name is to have, before they are known.
pub(super) const UNKNOWN_LETTERS: &str = "______";

/// Makes the folder and those above it; one that is there already is fine.
pub(super) fn make_folders(place: &Place, mode: Mode) -> Result<(), FileFailure> {
    if let Some(made) = place.make_folders(mode) {
        return made.map_err(|errno| FileFailure::path(errno, "mkdir", place.text()));
    }
    let mut missing = vec![place.written().to_owned()];
    while let Some(next) = missing.last().cloned() {
        match sys::mkdir(&next, mode) {
            Ok(()) => {
                missing.pop();
            }
            Err(errno) => {
                let failure = Failure::from(errno);
                match next.parent() {
                    Some(above) if is_missing(&failure) && !above.as_os_str().is_empty() => {
                        missing.push(above.to_owned());
                    }
                    _ if next.is_dir() => {
                        missing.pop();
                    }
                    _ => return Err(FileFailure::path(failure, "mkdir", text(&next))),
                }
            }
        }
    }
    Ok(())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Makes a folder whose name has random characters in place of [`UNKNOWN_LETTERS`] at its end; answers with its path.
pub(super) fn make_temporary(place: &Place) -> Result<Reply, Failure> {
    const LETTERS: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const ATTEMPTS: usize = 100;
    let at = place.at()?;
    let known = |path: &Path| {
        let path = text(path);
        path.strip_suffix(UNKNOWN_LETTERS)
            .map(str::to_owned)
            .ok_or_else(|| Failure::named("EINVAL"))
    };
    let (name, written) = (known(at.name())?, known(place.written())?);
    for _ in 0..ATTEMPTS {
        let mut random = [0_u8; UNKNOWN_LETTERS.len()];
        getrandom::fill(&mut random).map_err(|_| Failure::named("EIO"))?;
        let letters: String = random
            .iter()
            .filter_map(|byte| LETTERS.get(usize::from(*byte) % LETTERS.len()))
            .map(|letter| char::from(*letter))
            .collect();
        match sys::mkdirat(at.folder(), format!("{name}{letters}"), Mode::RWXU) {
            Ok(()) => return Ok(Reply::Text(format!("{written}{letters}"))),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Failure::named("EEXIST"))
}

/// Removes a file, or with `recursive` a folder and what is in it. With `force` nothing there is fine.
pub(super) fn remove(place: &Place, recursive: bool, force: bool) -> Result<(), FileFailure> {
    remove_inner(place, recursive).or_else(|failure| match force && is_missing(&failure.failure) {
        true => Ok(()),
        false => Err(failure),
    })
}

fn remove_inner(place: &Place, recursive: bool) -> Result<(), FileFailure> {
    let about =
        |operation| move |failure: Failure| FileFailure::path(failure, operation, place.text());
    let lstat = || -> Result<(At, sys::Stat), Failure> {
        let at = place.at()?;
        let stat = sys::statat(at.folder(), at.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok((at, stat))
    };
    let (at, stat) = lstat().map_err(about("lstat"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return sys::unlinkat(at.folder(), at.name(), AtFlags::empty())
            .map_err(|errno| about("unlink")(errno.into()));
    }
    if !recursive {
        return Err(about("rm")(is_a_folder()));
    }
    // The library's own walk does not follow a link that is swapped in meanwhile.
    fs::remove_dir_all(at.path()).map_err(|error| about("rmdir")(error.into()))
}

fn is_a_folder() -> Failure {
    Failure {
        message: "is a directory".into(),
        ..Failure::named("EISDIR")
    }
}

/// Copies a file, with its mode.
pub(super) fn copy_file(from: &At, to: &At, flags: i64) -> Result<(), Failure> {
    let source = from.open(OFlags::RDONLY, Mode::empty())?;
    let about = sys::fstat(&source)?;
    let mode = Mode::from_raw_mode(about.st_mode & 0o7777);
    let mut open = OFlags::WRONLY | OFlags::CREATE;
    if flags & COPYFILE_EXCL != 0 {
        open |= OFlags::EXCL;
    }
    let target = to.open(open, mode)?;
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

/// What is at a place, without following a link.
fn kind_at(at: &At) -> Result<(FileType, Mode), Errno> {
    let stat = sys::statat(at.folder(), at.name(), AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    Ok((FileType::from_raw_mode(stat.st_mode), mode))
}

/// Copies a file, a link (as a link) or, with `recursive`, a folder and what is in it.
pub(super) fn copy(from: Place, to: Place, recursive: bool) -> Result<Reply, FileFailure> {
    let mut work = vec![(from, to)];
    while let Some((from, to)) = work.pop() {
        let named =
            |failure: Failure, operation| FileFailure::path(failure, operation, from.text());
        let system = |operation| move |errno: Errno| named(errno.into(), operation);
        let source = from.at().map_err(system("lstat"))?;
        let (kind, mode) = kind_at(&source).map_err(system("lstat"))?;
        if kind == FileType::Directory {
            if !recursive {
                return Err(named(is_a_folder(), "cp"));
            }
            // Before anything is made: that may be in this very folder.
            let found = names(&source).map_err(|failure| named(failure, "opendir"))?;
            let is_there = to.at().is_ok_and(|at| kind_at(&at).is_ok());
            if !is_there {
                make_folders(&to, mode)?;
            }
            for name in found {
                work.push((from.child(&name), to.child(&name)));
            }
            continue;
        }
        let target = to.at().map_err(system("copyfile"))?;
        match kind {
            FileType::RegularFile => {
                copy_file(&source, &target, 0).map_err(|failure| named(failure, "copyfile"))?;
            }
            // It would lead elsewhere from there.
            FileType::Symlink if to.is_fenced() => {
                let failure = Failure::new("PERMISSION_DENIED", "links are not for this program");
                return Err(named(failure, "symlink"));
            }
            FileType::Symlink => {
                if kind_at(&target).is_ok_and(|(there, _)| there != FileType::Directory) {
                    sys::unlinkat(target.folder(), target.name(), AtFlags::empty())
                        .map_err(system("unlink"))?;
                }
                sys::readlinkat(source.folder(), source.name(), Vec::new())
                    .and_then(|leads| sys::symlinkat(leads, target.folder(), target.name()))
                    .map_err(system("symlink"))?;
            }
            _ => {
                let failure = Failure {
                    message: "cannot copy a special file".into(),
                    ..Failure::named("ENOTSUP")
                };
                return Err(named(failure, "cp"));
            }
        }
    }
    Ok(Reply::Nothing)
}

/// Calls `each` with the name and the kind of each entry of a folder, in the system's order.
fn each_entry(at: &At, mut each: impl FnMut(&OsStr, FileType)) -> Result<(), Failure> {
    let folder = at.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    for entry in sys::Dir::new(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            each(OsStr::from_bytes(name), entry.file_type());
        }
    }
    Ok(())
}

fn names(at: &At) -> Result<Vec<OsString>, Failure> {
    let mut names = Vec::new();
    each_entry(at, |name, _| names.push(name.to_owned()))?;
    Ok(names)
}

/// The folders in a folder.
pub(super) fn folders(at: &At) -> Result<Vec<OsString>, Failure> {
    let mut names = Vec::new();
    each_entry(at, |name, kind| {
        if kind == FileType::Directory {
            names.push(name.to_owned());
        }
    })?;
    Ok(names)
}

/// The entries of a folder: name, kind, name, kind, …
pub(super) fn entries(at: &At) -> Result<Reply, Failure> {
    let mut reply = Vec::new();
    each_entry(at, |name, what| {
        reply.push(name_reply(name));
        reply.push(Reply::Number(kind(what)));
    })?;
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
