//! Descriptors that tokio says are ready, and the one that a process may get from its starter.

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::fs::FileType;
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

/// Takes over the socket that whoever started this process left open for it, once; nothing where there is none of that number. To be called before this
/// process opens anything.
pub(crate) fn inherited(fd: RawFd) -> Option<OwnedFd> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    if fd < 3 || IS_TAKEN.swap(true, Ordering::AcqRel) {
        return None;
    }
    // SAFETY: the number was given to this process from outside to use as its own, it is looked at before anything in here was opened, and it is taken over
    // once. What is not open, or no socket, is not taken.
    unsafe {
        let kind = rustix::fs::fstat(BorrowedFd::borrow_raw(fd)).ok()?;
        let is_socket = FileType::from_raw_mode(kind.st_mode) == FileType::Socket;
        is_socket.then(|| OwnedFd::from_raw_fd(fd))
    }
}
