//! Descriptors that tokio says are ready.

use std::{io, os::fd::OwnedFd};

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
