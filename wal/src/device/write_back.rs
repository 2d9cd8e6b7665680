//! The kernel begins to write the pages of a file to the disk.
//!
//! This room has `unsafe` for one call, for which no crate has a safe one. It takes no memory, and the file is borrowed while it lasts. It does not take the file's
//! errors from whoever syncs: the kernel tells them to those that wait for the pages, which this does not.

use std::{fs::File, os::fd::AsRawFd};

/// Begins with the whole file; what is under way already is not written twice. Does not wait, and is a hint: what the kernel refuses is left to the sync.
pub(super) fn write_back(file: &File) {
    // SAFETY: four numbers; the descriptor is open, since the file is borrowed. A length of 0 means up to the end.
    unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
