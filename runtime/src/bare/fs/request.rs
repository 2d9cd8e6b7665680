//! Every operation on files: read from a call's arguments on the JavaScript thread, then run anywhere.
//!
//! One request serves both forms of a call, the one that waits and the one that calls back.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags};

use super::{descriptors::Descriptors, stat, tree};
use crate::{
    bare::{args::Args, failure::Failure, reply::Reply},
    engine::error::JsError,
    permissions::{self, Place},
};
use rquickjs::Ctx;

/// The largest single read or write, in bytes: what Linux does in one call at most.
const IO_MAX_BYTES: usize = 0x7fff_f000;

/// A failed operation on files, with what it was about.
pub(crate) struct FileFailure {
    pub(crate) failure: Failure,
    pub(crate) operation: &'static str,
    pub(crate) path: Option<Box<str>>,
    pub(crate) destination: Option<Box<str>>,
    pub(crate) fd: Option<i64>,
}

impl FileFailure {
    /// A failure about one path.
    pub(crate) fn path(
        failure: impl Into<Failure>,
        operation: &'static str,
        path: impl Into<String>,
    ) -> Self {
        Self {
            failure: failure.into(),
            operation,
            path: Some(String::into_boxed_str(path.into())),
            destination: None,
            fd: None,
        }
    }

    fn paths(
        failure: impl Into<Failure>,
        operation: &'static str,
        path: &str,
        destination: &str,
    ) -> Self {
        Self {
            destination: Some(destination.into()),
            ..Self::path(failure, operation, path)
        }
    }

    /// A failure about an open file.
    pub(crate) fn fd(failure: impl Into<Failure>, operation: &'static str, fd: i64) -> Self {
        Self {
            failure: failure.into(),
            operation,
            path: None,
            destination: None,
            fd: Some(fd),
        }
    }
}

/// One operation on files with its arguments, with paths as they were written or, once they were asked about, with places. Names as in the
/// documentation of bare-fs.
pub(crate) enum Request<P = String> {
    /// Operations on one path that answer nothing or one thing.
    Path(&'static str, PathOperation, P),
    /// Operations on two paths.
    Paths(&'static str, PathsOperation, P, P),
    /// Operations on an open file.
    Fd(&'static str, FdOperation, i64),
    /// A whole file read at once.
    ReadFile { path: P, flags: i64 },
    /// A whole file written at once: the data, the flags and the mode.
    WriteFile {
        path: P,
        data: Vec<u8>,
        flags: i64,
        mode: i64,
    },
}

pub(crate) enum PathOperation {
    Open { flags: i64, mode: i64 },
    Access(i64),
    Stat,
    Lstat,
    Statfs,
    Chmod(i64),
    Chown(Owner, AtFlags),
    Utimes(sys::Timestamps, AtFlags),
    Mkdir { mode: i64, recursive: bool },
    Mkdtemp,
    Rmdir,
    Rm { recursive: bool, force: bool },
    Unlink,
    Realpath,
    Readlink,
    Opendir,
    Truncate(i64),
}

/// A user and a group; what is not given stays as it is.
type Owner = (Option<sys::Uid>, Option<sys::Gid>);

pub(crate) enum PathsOperation {
    Link,
    Symlink,
    Rename,
    CopyFile(i64),
    Cp { recursive: bool },
}

pub(crate) enum FdOperation {
    Close,
    Read { length: usize, position: i64 },
    Write { data: Vec<u8>, position: i64 },
    Stat,
    Truncate(i64),
    Chmod(i64),
    Chown(Owner),
    Utimes(sys::Timestamps),
    Sync,
    Datasync,
}

impl Request {
    /// Reads the operation `name` with its arguments; nothing when there is no such operation.
    pub(crate) fn parse(name: &str, args: &Args<'_, '_>) -> rquickjs::Result<Option<Self>> {
        if let Some(request) = Self::parse_fd(name, args)? {
            return Ok(Some(request));
        }
        let on_path = |operation: &'static str, what: PathOperation| {
            Ok(Some(Self::Path(operation, what, args.text(0)?)))
        };
        let on_paths = |operation: &'static str, what: PathsOperation| {
            Ok(Some(Self::Paths(
                operation,
                what,
                args.text(0)?,
                args.text(1)?,
            )))
        };
        match name {
            "open" => on_path(
                "open",
                PathOperation::Open {
                    flags: args.integer(1)?,
                    mode: args.integer(2)?,
                },
            ),
            "access" => on_path("access", PathOperation::Access(args.integer(1)?)),
            "stat" => on_path("stat", PathOperation::Stat),
            "lstat" => on_path("lstat", PathOperation::Lstat),
            "statfs" => on_path("statfs", PathOperation::Statfs),
            "chmod" => on_path("chmod", PathOperation::Chmod(args.integer(1)?)),
            "chown" => on_path(
                "chown",
                PathOperation::Chown(owner(args)?, AtFlags::empty()),
            ),
            "lchown" => on_path(
                "lchown",
                PathOperation::Chown(owner(args)?, AtFlags::SYMLINK_NOFOLLOW),
            ),
            "utimes" => on_path(
                "utimes",
                PathOperation::Utimes(times(args)?, AtFlags::empty()),
            ),
            "lutimes" => on_path(
                "lutimes",
                PathOperation::Utimes(times(args)?, AtFlags::SYMLINK_NOFOLLOW),
            ),
            "mkdir" => on_path(
                "mkdir",
                PathOperation::Mkdir {
                    mode: args.integer(1)?,
                    recursive: args.flag(2),
                },
            ),
            "mkdtemp" => on_path("mkdtemp", PathOperation::Mkdtemp),
            "rmdir" => on_path("rmdir", PathOperation::Rmdir),
            "rm" => on_path(
                "rm",
                PathOperation::Rm {
                    recursive: args.flag(1),
                    force: args.flag(2),
                },
            ),
            "unlink" => on_path("unlink", PathOperation::Unlink),
            "realpath" => on_path("realpath", PathOperation::Realpath),
            "readlink" => on_path("readlink", PathOperation::Readlink),
            "opendir" => on_path("opendir", PathOperation::Opendir),
            "truncate" => on_path("ftruncate", PathOperation::Truncate(args.integer(1)?)),
            "link" => on_paths("link", PathsOperation::Link),
            "symlink" => on_paths("symlink", PathsOperation::Symlink),
            "rename" => on_paths("rename", PathsOperation::Rename),
            "copyFile" => on_paths("copyfile", PathsOperation::CopyFile(args.integer(2)?)),
            "cp" => on_paths(
                "cp",
                PathsOperation::Cp {
                    recursive: args.flag(2),
                },
            ),
            "readFile" => Ok(Some(Self::ReadFile {
                path: args.text(0)?,
                flags: args.integer(1)?,
            })),
            "writeFile" => Ok(Some(Self::WriteFile {
                path: args.text(0)?,
                data: args.bytes(1)?,
                flags: args.integer(2)?,
                mode: args.integer(3)?,
            })),
            _ => Ok(None),
        }
    }

    fn parse_fd(name: &str, args: &Args<'_, '_>) -> rquickjs::Result<Option<Self>> {
        let (operation, what) = match name {
            "close" => ("close", FdOperation::Close),
            "read" => (
                "read",
                FdOperation::Read {
                    length: usize::try_from(args.integer(1)?)
                        .unwrap_or(0)
                        .min(IO_MAX_BYTES),
                    position: args.integer(2)?,
                },
            ),
            "write" => (
                "write",
                FdOperation::Write {
                    data: args.bytes(1)?,
                    position: args.integer(2)?,
                },
            ),
            "fstat" => ("fstat", FdOperation::Stat),
            "ftruncate" => ("ftruncate", FdOperation::Truncate(args.integer(1)?)),
            "fchmod" => ("fchmod", FdOperation::Chmod(args.integer(1)?)),
            "fchown" => ("fchown", FdOperation::Chown(owner(args)?)),
            "futimes" => ("futimes", FdOperation::Utimes(times(args)?)),
            "fsync" => ("fsync", FdOperation::Sync),
            "fdatasync" => ("fdatasync", FdOperation::Datasync),
            _ => return Ok(None),
        };
        Ok(Some(Self::Fd(operation, what, args.integer(0)?)))
    }

    /// Asks whether the program may.
    pub(crate) fn permit(self, ctx: &Ctx<'_>) -> Result<Request<Place>, JsError> {
        Ok(match self {
            Self::Path(operation, what, path) => {
                let place = what.place(ctx, &path)?;
                Request::Path(operation, what, place)
            }
            Self::Paths(operation, what, from, to) => {
                let (from, to) = what.places(ctx, &from, &to)?;
                Request::Paths(operation, what, from, to)
            }
            Self::Fd(operation, what, fd) => Request::Fd(operation, what, fd),
            Self::ReadFile { path, flags } => Request::ReadFile {
                path: permissions::file(ctx, path)?,
                flags,
            },
            Self::WriteFile {
                path,
                data,
                flags,
                mode,
            } => Request::WriteFile {
                path: permissions::file(ctx, path)?,
                data,
                flags,
                mode,
            },
        })
    }
}

impl PathOperation {
    fn place(&self, ctx: &Ctx<'_>, path: &str) -> Result<Place, JsError> {
        match self {
            // What is asked about is what will be made.
            Self::Mkdtemp => permissions::entry(ctx, format!("{path}{}", tree::UNKNOWN_LETTERS)),
            // These do not follow a link at the end.
            Self::Lstat
            | Self::Mkdir { .. }
            | Self::Rmdir
            | Self::Rm { .. }
            | Self::Unlink
            | Self::Readlink
            | Self::Chown(_, AtFlags::SYMLINK_NOFOLLOW)
            | Self::Utimes(_, AtFlags::SYMLINK_NOFOLLOW) => permissions::entry(ctx, path),
            _ => permissions::file(ctx, path),
        }
    }
}

impl PathsOperation {
    fn places(&self, ctx: &Ctx<'_>, from: &str, to: &str) -> Result<(Place, Place), JsError> {
        Ok(match self {
            Self::Symlink => {
                let to = permissions::entry(ctx, to)?;
                permissions::link(ctx, to.written())?;
                // Whoever may make links may make them to anywhere.
                (permissions::entry(ctx, from)?, to)
            }
            Self::Link | Self::Rename | Self::Cp { .. } => {
                let to = permissions::entry(ctx, to)?;
                (permissions::entry(ctx, from)?, to)
            }
            Self::CopyFile(_) => {
                let to = permissions::file(ctx, to)?;
                (permissions::file(ctx, from)?, to)
            }
        })
    }
}

impl Request<Place> {
    /// Does it. Blocks as long as the system does.
    pub(crate) fn run(self, open_files: &Descriptors) -> Result<Reply, FileFailure> {
        match self {
            Self::Path(operation, what, place) => on_path(open_files, operation, what, &place),
            Self::Paths(operation, what, from, to) => {
                if let PathsOperation::Cp { recursive } = what {
                    return tree::copy(from, to, recursive);
                }
                on_paths(what, &from, &to).map_err(|failure| {
                    FileFailure::paths(failure, operation, &from.text(), &to.text())
                })
            }
            Self::Fd(operation, what, fd) => on_fd(open_files, what, fd)
                .map_err(|failure| FileFailure::fd(failure, operation, fd)),
            Self::ReadFile { path, flags } => {
                let file = open(&path, flags, 0o666)
                    .map_err(|failure| FileFailure::path(failure, "open", path.text()))?;
                read_to_end(&file).map_err(|failure| {
                    FileFailure::fd(
                        failure,
                        "read",
                        std::os::fd::AsRawFd::as_raw_fd(&file).into(),
                    )
                })
            }
            Self::WriteFile {
                path,
                data,
                flags,
                mode,
            } => {
                let file = open(&path, flags, mode)
                    .map_err(|failure| FileFailure::path(failure, "open", path.text()))?;
                write_all(&file, &data).map_err(|failure| {
                    FileFailure::fd(
                        failure,
                        "write",
                        std::os::fd::AsRawFd::as_raw_fd(&file).into(),
                    )
                })?;
                Ok(Reply::count(data.len()))
            }
        }
    }
}

fn open(place: &Place, flags: i64, mode: i64) -> Result<OwnedFd, Failure> {
    let flags = OFlags::from_bits_retain(flags as u32);
    Ok(place.at()?.open(flags, file_mode(mode))?)
}

fn file_mode(mode: i64) -> Mode {
    Mode::from_raw_mode((mode as u32) & 0o7777)
}

fn owner(args: &Args<'_, '_>) -> rquickjs::Result<Owner> {
    // -1 leaves it as it is.
    let id = |at| Ok::<_, rquickjs::Error>(u32::try_from(args.integer(at)?).ok());
    Ok((
        id(1)?.map(sys::Uid::from_raw),
        id(2)?.map(sys::Gid::from_raw),
    ))
}

fn times(args: &Args<'_, '_>) -> rquickjs::Result<sys::Timestamps> {
    Ok(stat::timestamps(args.number(1)?, args.number(2)?))
}

fn read_to_end(file: &OwnedFd) -> Result<Reply, Failure> {
    let mut file = std::fs::File::from(file.try_clone()?);
    let mut data = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut data)?;
    Ok(Reply::Bytes(data))
}

fn write_all(file: &OwnedFd, data: &[u8]) -> Result<(), Failure> {
    let mut file = std::fs::File::from(file.try_clone()?);
    Ok(std::io::Write::write_all(&mut file, data)?)
}

fn on_path(
    open_files: &Descriptors,
    operation: &'static str,
    what: PathOperation,
    place: &Place,
) -> Result<Reply, FileFailure> {
    let done = match what {
        PathOperation::Mkdir {
            mode,
            recursive: true,
        } => return tree::make_folders(place, file_mode(mode)).map(Reply::from),
        PathOperation::Rm { recursive, force } => {
            return tree::remove(place, recursive, force).map(Reply::from);
        }
        PathOperation::Mkdtemp => {
            return tree::make_temporary(place).map_err(|failure| {
                let text = place.text();
                let prefix = text.strip_suffix(tree::UNKNOWN_LETTERS).unwrap_or(&text);
                FileFailure::path(failure, operation, prefix)
            });
        }
        PathOperation::Truncate(length) => {
            let file = open(place, i64::from(OFlags::RDWR.bits()), 0o666)
                .map_err(|failure| FileFailure::path(failure, "open", place.text()))?;
            truncate(&file, length)
        }
        other => on_path_itself(open_files, other, place),
    };
    done.map_err(|failure| FileFailure::path(failure, operation, place.text()))
}

fn on_path_itself(
    open_files: &Descriptors,
    what: PathOperation,
    place: &Place,
) -> Result<Reply, Failure> {
    match what {
        PathOperation::Open { flags, mode } => {
            let fd = open_files.enter(open(place, flags, mode)?);
            return Ok(Reply::Number(f64::from(fd)));
        }
        PathOperation::Realpath => return Ok(name_reply(place.canonical()?.as_os_str())),
        _ => {}
    }
    let at = place.at()?;
    match what {
        PathOperation::Access(mode) => {
            let mode = sys::Access::from_bits_retain(mode as u32);
            sys::access(at.reach()?.path(), mode)?;
        }
        PathOperation::Stat => return stat::path(&at, AtFlags::empty()),
        PathOperation::Lstat => return stat::path(&at, AtFlags::SYMLINK_NOFOLLOW),
        PathOperation::Statfs => return stat::filesystem(at.reach()?.path()),
        PathOperation::Chmod(mode) => sys::chmod(at.reach()?.path(), file_mode(mode))?,
        PathOperation::Chown(owner, flags) => {
            sys::chownat(at.folder(), at.name(), owner.0, owner.1, flags | at.flags())?;
        }
        PathOperation::Utimes(times, flags) => {
            sys::utimensat(at.folder(), at.name(), &times, flags | at.flags())?;
        }
        PathOperation::Mkdir { mode, .. } => {
            sys::mkdirat(at.folder(), at.name(), file_mode(mode))?;
        }
        PathOperation::Rmdir => sys::unlinkat(at.folder(), at.name(), AtFlags::REMOVEDIR)?,
        PathOperation::Unlink => sys::unlinkat(at.folder(), at.name(), AtFlags::empty())?,
        PathOperation::Readlink => {
            let target = sys::readlinkat(at.folder(), at.name(), Vec::new())?;
            let target = std::os::unix::ffi::OsStrExt::from_bytes(target.as_bytes());
            return Ok(name_reply(target));
        }
        PathOperation::Opendir => return tree::entries(&at),
        PathOperation::Open { .. }
        | PathOperation::Realpath
        | PathOperation::Mkdtemp
        | PathOperation::Rm { .. }
        | PathOperation::Truncate(_) => return Err(Failure::named("ENOSYS")),
    }
    Ok(Reply::Nothing)
}

/// A name as the face decodes it: text where it is text, else its bytes.
pub(crate) fn name_reply(name: &std::ffi::OsStr) -> Reply {
    match name.to_str() {
        Some(text) => Reply::from(text),
        None => Reply::Bytes(std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec()),
    }
}

fn on_paths(what: PathsOperation, from: &Place, to: &Place) -> Result<Reply, Failure> {
    let at = to.at()?;
    if let PathsOperation::Symlink = what {
        sys::symlinkat(from.written(), at.folder(), at.name())?;
        return Ok(Reply::Nothing);
    }
    let old = from.at()?;
    match what {
        PathsOperation::Link => {
            let flags = AtFlags::empty();
            sys::linkat(old.folder(), old.name(), at.folder(), at.name(), flags)?;
        }
        PathsOperation::Rename => {
            sys::renameat(old.folder(), old.name(), at.folder(), at.name())?;
        }
        PathsOperation::CopyFile(mode) => tree::copy_file(&old, &at, mode)?,
        PathsOperation::Symlink => {}
        PathsOperation::Cp { .. } => return Err(Failure::named("ENOSYS")),
    }
    Ok(Reply::Nothing)
}

fn truncate(file: impl AsFd, length: i64) -> Result<Reply, Failure> {
    let length = u64::try_from(length).map_err(|_| Failure::named("EINVAL"))?;
    sys::ftruncate(file, length)?;
    Ok(Reply::Nothing)
}

fn on_fd(open_files: &Descriptors, what: FdOperation, fd: i64) -> Result<Reply, Failure> {
    if let FdOperation::Close = what {
        open_files.take(fd)?;
        return Ok(Reply::Nothing);
    }
    let file = open_files.get(fd)?;
    match what {
        FdOperation::Close => {}
        FdOperation::Read { length, position } => {
            let mut data = vec![0; length];
            let read = match u64::try_from(position) {
                Ok(position) => rustix::io::pread(&file, &mut data, position)?,
                Err(_) => rustix::io::read(&file, &mut data)?,
            };
            data.truncate(read);
            return Ok(Reply::Bytes(data));
        }
        FdOperation::Write { data, position } => {
            let written = match u64::try_from(position) {
                Ok(position) => rustix::io::pwrite(&file, &data, position)?,
                Err(_) => rustix::io::write(&file, &data)?,
            };
            return Ok(Reply::count(written));
        }
        FdOperation::Stat => return stat::file(&file),
        FdOperation::Truncate(length) => return truncate(&file, length),
        FdOperation::Chmod(mode) => sys::fchmod(&file, file_mode(mode))?,
        FdOperation::Chown(owner) => sys::fchown(&file, owner.0, owner.1)?,
        FdOperation::Utimes(times) => sys::futimens(&file, &times)?,
        FdOperation::Sync => sys::fsync(&file)?,
        FdOperation::Datasync => sys::fdatasync(&file)?,
    }
    Ok(Reply::Nothing)
}
