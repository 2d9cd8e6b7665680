//! `fs-native-extensions`: locks, attributes and holes of open files.

use super::super::{
    bridge::{Failure, Out, coded, now, promise},
    functions,
};
use crate::{bare::fs::descriptors, engine::bytes as views, permissions};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};
use rquickjs::{Ctx, Object, Result, Value};
use rustix::fs::{FallocateFlags, RenameFlags, XattrFlags};
use std::{io, os::fd::OwnedFd, sync::Arc};

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "tryLock" => try_lock,
        "lock" => lock,
        "lockLater" => lock_later,
        "unlock" => unlock,
        "trim" => trim,
        "swap" => swap,
        "getAttribute" => get_attribute,
        "setAttribute" => set_attribute,
        "removeAttribute" => remove_attribute,
        "listAttributes" => list_attributes,
    });
    Ok(())
}

fn file(ctx: &Ctx<'_>, fd: f64) -> Result<Arc<OwnedFd>> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "others are not in the table"
    )]
    descriptors::of(ctx)
        .get(fd as i64)
        .map_err(|failure| failure.throw(ctx))
}

/// A range of a file; a length of 0 goes to its end.
fn range(kind: i32, offset: f64, length: f64) -> libc::flock {
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    let (start, len) = (offset as i64, length as i64);
    libc::flock {
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: 0,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

fn kind(exclusive: bool) -> i32 {
    match exclusive {
        true => libc::F_WRLCK,
        false => libc::F_RDLCK,
    }
}

/// Locks belong to the open file, not to the process.
fn set(file: &OwnedFd, lock: &libc::flock, wait: bool) -> io::Result<bool> {
    loop {
        let argument = match wait {
            true => FcntlArg::F_OFD_SETLKW(lock),
            false => FcntlArg::F_OFD_SETLK(lock),
        };
        return match fcntl(file, argument) {
            Ok(_) => Ok(true),
            Err(Errno::EINTR) => continue,
            Err(Errno::EAGAIN | Errno::EACCES) if !wait => Ok(false),
            Err(error) => Err(error.into()),
        };
    }
}

fn failed(error: io::Error, call: &'static str) -> Failure {
    Failure::os(&error, call, None)
}

fn try_lock(ctx: Ctx<'_>, fd: f64, offset: f64, length: f64, exclusive: bool) -> Result<bool> {
    let file = file(&ctx, fd)?;
    let locked = set(&file, &range(kind(exclusive), offset, length), false);
    now(&ctx, locked.map_err(|error| failed(error, "lock")))
}

fn lock(ctx: Ctx<'_>, fd: f64, offset: f64, length: f64, exclusive: bool) -> Result<()> {
    let file = file(&ctx, fd)?;
    let locked = set(&file, &range(kind(exclusive), offset, length), true);
    now(&ctx, locked.map_err(|error| failed(error, "lock")))?;
    Ok(())
}

fn lock_later(
    ctx: Ctx<'_>,
    fd: f64,
    offset: f64,
    length: f64,
    exclusive: bool,
) -> Result<Value<'_>> {
    let file = file(&ctx, fd)?;
    promise(&ctx, async move {
        let work = move || set(&file, &range(kind(exclusive), offset, length), true);
        let locked = tokio::task::spawn_blocking(work).await;
        let locked = locked.map_err(|_| coded("SESSION_CLOSED", "the process ends"))?;
        locked.map_err(|error| failed(error, "lock"))?;
        Ok(Out::Undefined)
    })
}

fn unlock(ctx: Ctx<'_>, fd: f64, offset: f64, length: f64) -> Result<()> {
    let file = file(&ctx, fd)?;
    let unlocked = set(&file, &range(libc::F_UNLCK, offset, length), false);
    now(&ctx, unlocked.map_err(|error| failed(error, "unlock")))?;
    Ok(())
}

fn done<T>(ctx: &Ctx<'_>, result: rustix::io::Result<T>, call: &'static str) -> Result<T> {
    now(ctx, result.map_err(|error| failed(error.into(), call)))
}

/// Gives the space of a range back: it reads as zeros.
fn trim(ctx: Ctx<'_>, fd: f64, offset: f64, length: f64) -> Result<()> {
    let file = file(&ctx, fd)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it saturates"
    )]
    let (offset, length) = (offset as u64, length as u64);
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let trimmed = rustix::fs::fallocate(&*file, flags, offset, length);
    done(&ctx, trimmed, "trim")
}

fn swap(ctx: Ctx<'_>, from: String, to: String) -> Result<()> {
    let place = |path| permissions::entry(&ctx, path).map_err(|refused| refused.throw(&ctx));
    let (from, to) = (place(from)?, place(to)?);
    let swap = || {
        let (from, to) = (from.at()?, to.at()?);
        let flags = RenameFlags::EXCHANGE;
        rustix::fs::renameat_with(from.folder(), from.name(), to.folder(), to.name(), flags)
    };
    done(&ctx, swap(), "swap")
}

fn get_attribute(ctx: Ctx<'_>, fd: f64, name: String) -> Result<Out> {
    let file = file(&ctx, fd)?;
    // What an attribute may have at most.
    let mut value = vec![0_u8; 64 << 10];
    match rustix::fs::fgetxattr(&*file, &name, &mut value[..]) {
        Ok(length) => Ok(Out::bytes(&value[..length])),
        Err(rustix::io::Errno::NODATA) => Ok(Out::Null),
        Err(error) => done(&ctx, Err(error), "getAttr"),
    }
}

fn set_attribute<'js>(ctx: Ctx<'js>, fd: f64, name: String, value: Value<'js>) -> Result<()> {
    let (file, value) = (file(&ctx, fd)?, views::copy(&value)?);
    let set = rustix::fs::fsetxattr(&*file, &name, &value, XattrFlags::empty());
    done(&ctx, set, "setAttr")
}

fn remove_attribute(ctx: Ctx<'_>, fd: f64, name: String) -> Result<()> {
    let file = file(&ctx, fd)?;
    done(&ctx, rustix::fs::fremovexattr(&*file, &name), "removeAttr")
}

fn list_attributes(ctx: Ctx<'_>, fd: f64) -> Result<Vec<String>> {
    let file = file(&ctx, fd)?;
    let mut names = vec![0_u8; 64 << 10];
    let length = done(
        &ctx,
        rustix::fs::flistxattr(&*file, &mut names[..]),
        "listAttrs",
    )?;
    let names = names[..length].split(|byte| *byte == 0);
    let names = names.filter(|name| !name.is_empty());
    Ok(names
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect())
}
