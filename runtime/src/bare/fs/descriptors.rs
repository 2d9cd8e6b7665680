//! The files that a program has open, by their number.
//!
//! A program names a file by a bare number. Numbers are looked up here and nowhere else, so that a program can neither use a file after it closed it
//! (a call that runs meanwhile keeps it open until it ends) nor reach the files of the store, or those of another program in the same process.

use std::{
    collections::HashMap,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::Arc,
};

use parking_lot::Mutex;

use rquickjs::Ctx;

use crate::{bare::failure::Failure, engine::host::Host};

/// What one program has open, in all of its threads.
#[derive(Default)]
pub(crate) struct Descriptors {
    open: Mutex<HashMap<i32, Arc<OwnedFd>>>,
}

/// The table of the code that is running.
pub(crate) fn of(ctx: &Ctx<'_>) -> Arc<Descriptors> {
    Host::get(ctx).descriptors.clone()
}

impl Descriptors {
    /// Enters an open file; its number is the system's.
    pub(crate) fn enter(&self, fd: OwnedFd) -> i32 {
        let number = fd.as_raw_fd();
        self.open.lock().insert(number, Arc::new(fd));
        number
    }

    /// The file with this number: one that was entered, or one of the three that a process starts with.
    ///
    /// # Errors
    /// `EBADF` when there is none.
    pub(crate) fn get(&self, number: i64) -> Result<Arc<OwnedFd>, Failure> {
        let bad = || Failure::named("EBADF");
        let number = i32::try_from(number).map_err(|_| bad())?;
        let mut open = self.open.lock();
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
    pub(crate) fn take(&self, number: i64) -> Result<Arc<OwnedFd>, Failure> {
        let fd = self.get(number)?;
        self.open.lock().remove(&(number as i32));
        Ok(fd)
    }
}
