//! Descriptors that tokio says are ready, and the one that a process may get from its starter.

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::io::unix::AsyncFd;

use crate::event_loop;

/// Watches a descriptor that does not wait.
///
/// # Errors
/// What the system says; a plain file cannot be watched (`EPERM`).
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let _reactor = event_loop::pool().enter();
    // SAFETY: an `OwnedFd` answers with the same descriptor for as long as it lives, and keeps it open; the `AsyncFd` owns it and hands out
    // nothing but shared references to it.
    let watched = unsafe { AsyncFd::register(fd) };
    watched.map_err(io::Error::from)
}

/// Takes over the descriptor that whoever started this process left open for it, once; nothing where there is none of that number.
pub(crate) fn inherited(fd: RawFd) -> Option<OwnedFd> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    if fd < 3 || IS_TAKEN.swap(true, Ordering::AcqRel) {
        return None;
    }
    // SAFETY: the number was given to this process from outside to use as its own, nothing in here opened it, and it is taken over once. What is not
    // open is not taken.
    unsafe {
        rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(fd)).ok()?;
        Some(OwnedFd::from_raw_fd(fd))
    }
}
