//! The same folder, with io_uring where that pays: several files are synced at once. Everything else is the plain device's.
//!
//! One writer gains nothing by a ring, and reads in number gain more by asking the kernel to read ahead than by a ring over the page
//! cache (`docs/performance.md` has the figures); but files that are synced at once are on disk sooner than one after the other.
//!
//! This room has `unsafe` for one thing: the kernel reads file descriptors by number. The files are borrowed until
//! [`Rings::sync`] returns, and an operation that is under way keeps its own hold of the open file. No operation points to memory.
//!
//! A ring that the kernel refuses (seccomp, limits) is no error: the plain device does the work.

use super::{Device, File, FileStamp, pwrite::PwriteDevice};
use io_uring::{IoUring, opcode, types};
use parking_lot::Mutex;
use rustix::{fs::fdatasync, io::retry_on_intr};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    path::Path,
    sync::Arc,
};

/// So many syncs are under way at most, in one ring.
const DEPTH: u32 = 16;
/// So many rings are kept for reuse.
const KEPT: usize = 4;

/// A folder of the filesystem, with io_uring for what gains by it.
pub struct UringDevice {
    plain: PwriteDevice,
    rings: Rings,
}

impl UringDevice {
    /// The folder `dir`, which must exist.
    ///
    /// # Errors
    /// What the kernel says when it refuses a ring, so that the caller may take the plain device.
    pub fn open(dir: impl AsRef<Path>) -> io::Result<Self> {
        let rings = Rings::checked()?;
        Ok(Self {
            plain: PwriteDevice::open(dir)?,
            rings,
        })
    }

    /// The folder that is open here, as [`PwriteDevice::open_in`] has it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(folder: &std::fs::File) -> io::Result<Self> {
        let rings = Rings::checked()?;
        Ok(Self {
            plain: PwriteDevice::open_in(folder.try_clone()?),
            rings,
        })
    }
}

/// Rings that nobody uses now.
#[derive(Default)]
struct Rings(Mutex<Vec<IoUring>>);

enum SyncFailed {
    /// Nothing was tried.
    Refused(io::Error),
    /// This file; of the others nothing is known.
    File(usize, io::Error),
}

impl Rings {
    /// With a ring that the kernel has let us have.
    fn checked() -> io::Result<Self> {
        let rings = Self::default();
        let ring = rings.take()?;
        rings.0.lock().push(ring);
        Ok(rings)
    }

    fn take(&self) -> io::Result<IoUring> {
        match self.0.lock().pop() {
            Some(ring) => Ok(ring),
            None => IoUring::new(DEPTH),
        }
    }

    /// Syncs all files: the last of them on this thread, which is awake, and meanwhile the others.
    fn sync(&self, files: &[BorrowedFd<'_>]) -> Result<(), SyncFailed> {
        let Some((mine, files)) = files.split_last() else {
            return Ok(());
        };
        let mut ring = self.take().map_err(SyncFailed::Refused)?;
        let mut failed: Option<(usize, io::Error)> = None;
        let (mut next, mut done, mut submitted) = (0, 0, 0);
        let mut mine = Some(mine);
        while done < files.len() {
            let mut queue = ring.submission();
            while next < files.len() && next - done < DEPTH as usize {
                let entry = opcode::Fsync::new(types::Fd(files[next].as_raw_fd()))
                    .flags(types::FsyncFlags::DATASYNC)
                    .build()
                    .user_data(next as u64);
                // SAFETY: a sync points to no memory, and its file is open: it is borrowed.
                if unsafe { queue.push(&entry) }.is_err() {
                    break;
                }
                next += 1;
            }
            drop(queue);
            // What has ended meanwhile is not asked for.
            let wanted = usize::from(mine.is_none() && ring.completion().is_empty());
            match ring.submit_and_wait(wanted) {
                Ok(n) => submitted += n,
                Err(e) => match e.raw_os_error() {
                    // A signal, or the kernel is short of memory: what is under way ends, then there is room.
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN | libc::EBUSY) if submitted > done => {
                        std::thread::yield_now();
                    }
                    _ if submitted == 0 => return Err(SyncFailed::Refused(e)),
                    // What became of those that are under way is not known: as bad as a sync that failed.
                    _ => return Err(SyncFailed::File(0, e)),
                },
            }
            // Not before the ring has taken one: whether a sync has failed is told once.
            if submitted > 0
                && let Some(mine) = mine.take()
                && let Err(e) = retry_on_intr(|| fdatasync(mine))
            {
                failed = Some((files.len(), e.into()));
            }
            for completed in ring.completion() {
                done += 1;
                if completed.result() < 0 && failed.is_none() {
                    let error = io::Error::from_raw_os_error(-completed.result());
                    failed = Some((completed.user_data() as usize, error));
                }
            }
        }
        let mut kept = self.0.lock();
        if kept.len() < KEPT {
            kept.push(ring);
        }
        match failed {
            Some((file, error)) => Err(SyncFailed::File(file, error)),
            None => Ok(()),
        }
    }
}

impl Device for UringDevice {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>> {
        self.plain.open(name, create)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.plain.list()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.plain.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.plain.rename(from, to)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.plain.sync_dir()
    }
    fn sync_many(&self, files: &[Arc<dyn File>]) -> Result<(), (usize, io::Error)> {
        let fds: Option<Vec<_>> = files.iter().map(|file| file.fd()).collect();
        if let Some(fds) = fds.filter(|fds| fds.len() > 1) {
            match self.rings.sync(&fds) {
                Ok(()) => return Ok(()),
                Err(SyncFailed::File(file, source)) => return Err((file, source)),
                Err(SyncFailed::Refused(e)) => {
                    tracing::debug!(error = %e, "no ring; syncing one file after the other");
                }
            }
        }
        self.plain.sync_many(files)
    }
    fn boot_id(&self) -> [u8; 16] {
        self.plain.boot_id()
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.plain.lock()
    }
    fn stamp(&self, name: &str) -> io::Result<FileStamp> {
        self.plain.stamp(name)
    }
    fn set_nonce(&self, name: &str, nonce: [u8; 16]) -> io::Result<bool> {
        self.plain.set_nonce(name, nonce)
    }
}
