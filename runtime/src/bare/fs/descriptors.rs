//! The files that programs have open, by their number.
//!
//! A program names a file by a bare number. Numbers are looked up here and nowhere else, so that a program can neither use a file after it closed it
//! (a call that runs meanwhile keeps it open until it ends) nor reach the files of the store.

use std::{
    collections::HashMap,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{Arc, LazyLock},
};

use parking_lot::Mutex;

use crate::bare::failure::Failure;

static OPEN: LazyLock<Mutex<HashMap<i32, Arc<OwnedFd>>>> = LazyLock::new(Mutex::default);

/// Enters an open file; its number is the system's.
pub(crate) fn enter(fd: OwnedFd) -> i32 {
    let number = fd.as_raw_fd();
    OPEN.lock().insert(number, Arc::new(fd));
    number
}

/// The file with this number: one that was entered, or one of the three that a process starts with.
///
/// # Errors
/// `EBADF` when there is none.
pub(crate) fn get(number: i64) -> Result<Arc<OwnedFd>, Failure> {
    let bad = || Failure::named("EBADF");
    let number = i32::try_from(number).map_err(|_| bad())?;
    let mut open = OPEN.lock();
    if let Some(fd) = open.get(&number) {
        return Ok(fd.clone());
    }
    let inherited = match number {
        0 => std::io::stdin().as_fd().try_clone_to_owned(),
        1 => std::io::stdout().as_fd().try_clone_to_owned(),
        2 => std::io::stderr().as_fd().try_clone_to_owned(),
        _ => return Err(bad()),
    };
    let fd = Arc::new(inherited.map_err(|_| bad())?);
    open.insert(number, fd.clone());
    Ok(fd)
}

/// Takes the file with this number out: it is closed when the last call that uses it has ended.
///
/// # Errors
/// `EBADF` when there is none.
pub(crate) fn take(number: i64) -> Result<Arc<OwnedFd>, Failure> {
    let fd = get(number)?;
    OPEN.lock().remove(&(number as i32));
    Ok(fd)
}
