//! What the log and the store need of a disk: one folder of files.
//!
//! Neither `wal` nor `storage` calls the filesystem except through these traits, reads by mmap included, so that the simulated disk
//! stands below everything.

mod pwrite;
#[cfg(feature = "sim")]
mod sim;
#[allow(unsafe_code)]
mod uring;
#[allow(unsafe_code)]
mod view;
#[allow(unsafe_code)]
mod write_back;

pub use pwrite::PwriteDevice;
#[cfg(feature = "sim")]
pub use sim::{Faults, SimDevice};
pub use uring::UringDevice;

use bytes::Bytes;
use std::{
    io::{self, IoSlice},
    ops::Range,
    os::fd::BorrowedFd,
    path::Path,
    sync::Arc,
};

/// One folder of files. Names are plain file names.
pub trait Device: Send + Sync + 'static {
    /// Opens a file for reading and writing; `create` makes it where there is none (its name is on disk after the next
    /// [`sync_dir`](Self::sync_dir)). Without `create` a missing file is `NotFound`.
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>>;
    /// The names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Removes a file. Open handles and views of it stay valid.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives `from` the name `to`, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Returns when all creations, renames and removals so far are on disk.
    fn sync_dir(&self) -> io::Result<()>;
    /// Syncs several files; on an error answers which failed, and nothing is known of the others.
    fn sync_many(&self, files: &[Arc<dyn File>]) -> Result<(), (usize, io::Error)> {
        for (i, file) in files.iter().enumerate() {
            file.sync().map_err(|e| (i, e))?;
        }
        Ok(())
    }
    /// Names this run of the machine: it changes whenever a power cut may have eaten the page cache. All zeros: unknown, and then
    /// nothing is concluded from it.
    fn boot_id(&self) -> [u8; 16];
    /// Takes the exclusive lock of the folder (the file `lock`); `WouldBlock` when another holder has it. Released on drop.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;
    /// What tells the file from a copy of it. All zeros where the device cannot say.
    fn stamp(&self, name: &str) -> io::Result<FileStamp> {
        let _ = name;
        Ok(FileStamp::default())
    }
    /// Gives the file a nonce beside its bytes (the extended attribute `user.pome.stamp`), on disk when this returns. False where
    /// the filesystem has no place for it.
    fn set_nonce(&self, name: &str, nonce: [u8; 16]) -> io::Result<bool> {
        let _ = (name, nonce);
        Ok(false)
    }
}

/// What tells a file from a copy of it. A move within the filesystem keeps all three; a copy has another inode and another birth,
/// and mostly no nonce. Where the filesystem does not have one of them it stays 0, and nothing is to be concluded from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileStamp {
    /// Number of the inode (0: unknown).
    pub inode: u64,
    /// When the file was made, in nanoseconds since 1970 (0: unknown).
    pub birth_ns: u64,
    /// What [`Device::set_nonce`] gave to it (zeros: nothing).
    pub nonce: [u8; 16],
}

/// An open file.
pub trait File: Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// What it takes of the disk in bytes, as the filesystem counts it; its length where nothing better is known.
    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }
    /// Reads at `offset` until `buf` is full or the file ends; answers how many bytes were read.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all parts, one after the other, at `offset`; the file grows as needed. After an error any part may have been written.
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Returns when all bytes written so far, and the length, are on disk (fdatasync).
    fn sync(&self) -> io::Result<()>;
    /// A hint: somebody will [`sync`](Self::sync) soon, and waits for less then. A device may begin to write what is not on the disk; nothing is on it for sure.
    fn write_back(&self) {}
    /// Cuts the file, or grows it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The bytes of `range`, which must lie within the file, without a copy where the device can. The view stays valid after the
    /// file was closed or removed; its bytes must not be written again while it lives. What cannot be read comes as zeros, so
    /// check a checksum.
    fn view(&self, range: Range<u64>) -> io::Result<Bytes>;
    /// A hint: the bytes of `range` will be looked at soon, all of them. A device may fetch what is not in memory in one go; asking again costs
    /// next to nothing.
    fn ahead(&self, range: Range<u64>) {
        let _ = range;
    }
    /// [`view`](Self::view) of many ranges, in order. A device that can asks the disk for all of them at once.
    fn view_many(&self, ranges: &[Range<u64>]) -> Vec<io::Result<Bytes>> {
        ranges
            .iter()
            .map(|range| self.view(range.clone()))
            .collect()
    }
    /// The descriptor, where there is one.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Which device a store stands on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceKind {
    /// io_uring where the kernel lets us, else plain calls. The default.
    #[default]
    Auto,
    /// Plain calls only.
    Pwrite,
    /// io_uring, or an error.
    Uring,
}

impl DeviceKind {
    /// What the environment's `POME_DEVICE` says: `auto`, `pwrite` or `uring`; `Auto` when it is not set.
    ///
    /// # Errors
    /// `InvalidInput` for any other value.
    pub fn from_env() -> io::Result<Self> {
        let Some(value) = std::env::var_os("POME_DEVICE") else {
            return Ok(Self::Auto);
        };
        match value.to_str() {
            Some("auto") => Ok(Self::Auto),
            Some("pwrite") => Ok(Self::Pwrite),
            Some("uring") => Ok(Self::Uring),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "POME_DEVICE is {:?}; it may be auto, pwrite or uring",
                    value.display()
                ),
            )),
        }
    }

    /// Opens the folder `dir`, which must exist.
    ///
    /// # Errors
    /// What the folder says; with [`Uring`](Self::Uring) also what the kernel says when it refuses a ring.
    pub fn open(self, dir: impl AsRef<Path>) -> io::Result<Arc<dyn Device>> {
        match self {
            Self::Pwrite => Ok(Arc::new(PwriteDevice::open(dir)?)),
            Self::Uring => Ok(Arc::new(UringDevice::open(dir)?)),
            Self::Auto => match UringDevice::open(&dir) {
                Ok(device) => Ok(Arc::new(device)),
                Err(e) => {
                    tracing::debug!(error = %e, "no io_uring here; plain calls do the work");
                    Self::Pwrite.open(dir)
                }
            },
        }
    }

    /// The folder that is open here, which must be open for reading: wherever its path leads by now, this is the one. Files in it that are links are not
    /// opened.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(self, folder: std::fs::File) -> io::Result<Arc<dyn Device>> {
        match self {
            Self::Pwrite => Ok(Arc::new(PwriteDevice::open_in(folder))),
            Self::Uring => Ok(Arc::new(UringDevice::open_in(&folder)?)),
            Self::Auto => match UringDevice::open_in(&folder) {
                Ok(device) => Ok(Arc::new(device)),
                Err(e) => {
                    tracing::debug!(error = %e, "no io_uring here; plain calls do the work");
                    Self::Pwrite.open_in(folder)
                }
            },
        }
    }
}
