//! The folder of a real filesystem: pread, pwritev, fdatasync, mmap.

use super::{Device, File, FileStamp, view::Mapping, write_back::write_back};
use bytes::Bytes;
use parking_lot::RwLock;
use rustix::{
    fs::{Advice, FlockOperation, OFlags, XattrFlags, fadvise, fgetxattr, flock, fsetxattr},
    io::Errno,
};
use std::{
    fs,
    io::{self, IoSlice},
    num::NonZeroU64,
    ops::Range,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};

/// The extended attribute with the nonce of a file.
const NONCE: &str = "user.pome.stamp";

/// A folder of the filesystem.
#[derive(Debug)]
pub struct PwriteDevice {
    dir: PathBuf,
    handle: fs::File,
    /// How its files are opened besides.
    flags: OFlags,
    boot_id: [u8; 16],
}

impl PwriteDevice {
    /// The folder `dir`, which must exist.
    pub fn open(dir: impl AsRef<Path>) -> io::Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        Ok(Self {
            handle: fs::File::open(&dir)?,
            flags: OFlags::empty(),
            boot_id: boot_id(),
            dir,
        })
    }

    /// The folder that is open here, wherever its path leads by now. Its files are no links.
    pub fn open_in(folder: fs::File) -> Self {
        Self {
            dir: format!("/proc/self/fd/{}", folder.as_raw_fd()).into(),
            handle: folder,
            flags: OFlags::NOFOLLOW,
            boot_id: boot_id(),
        }
    }

    /// How a file of it is opened.
    fn options(&self) -> fs::OpenOptions {
        let mut options = fs::OpenOptions::new();
        options.custom_flags(self.flags.bits().cast_signed());
        options
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

/// All zeros where the kernel does not tell.
fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16)
        .unwrap_or_default()
        .to_be_bytes()
}

/// The lock of a folder. Given up in so many words: a process that was just forked has this file open until it runs its own program, and a lock that is only
/// closed is held for as long.
struct Held(fs::File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file gives it up too.
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

impl Device for PwriteDevice {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>> {
        let file = self
            .options()
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .mode(0o600)
            .open(self.dir.join(name))?;
        Ok(Arc::new(PwriteFile {
            len: AtomicU64::new(file.metadata()?.len()),
            asked: Default::default(),
            mapping: RwLock::new(None),
            file,
        }))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.dir.join(name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.dir.join(from), self.dir.join(to))
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
    fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let file = self
            .options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.dir.join("lock"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(Held(file)))
    }
    fn stamp(&self, name: &str) -> io::Result<FileStamp> {
        let file = self.options().read(true).open(self.dir.join(name))?;
        let metadata = file.metadata()?;
        let birth = metadata.created().ok();
        let birth = birth.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let mut nonce = [0; 16];
        match fgetxattr(&file, NONCE, &mut nonce) {
            Ok(16) => {}
            // Not there, of another length, or not possible here.
            Ok(_) | Err(Errno::NODATA | Errno::RANGE | Errno::NOTSUP | Errno::NOSYS) => {
                nonce = [0; 16];
            }
            Err(e) => return Err(e.into()),
        }
        Ok(FileStamp {
            inode: metadata.ino(),
            birth_ns: birth.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(0)),
            nonce,
        })
    }
    fn set_nonce(&self, name: &str, nonce: [u8; 16]) -> io::Result<bool> {
        let file = self.options().read(true).open(self.dir.join(name))?;
        match fsetxattr(&file, NONCE, &nonce, XattrFlags::empty()) {
            Ok(()) => file.sync_all().map(|()| true),
            // Not possible here, or no room for it.
            Err(
                Errno::NOTSUP
                | Errno::NOSYS
                | Errno::PERM
                | Errno::ACCESS
                | Errno::NOSPC
                | Errno::TOOBIG,
            ) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// Which parts of a file were asked of the disk, or written, through a handle: a bit for each, which parts far from each other share.
#[derive(Default)]
struct Asked([AtomicU64; 32]);

impl Asked {
    /// Bytes of a part.
    const PART: u64 = 32 << 10;

    /// Sets the bits of a range; true when they all were.
    fn set(&self, range: &Range<u64>) -> bool {
        let bits = self.0.len() as u64 * 64;
        let first = range.start / Self::PART;
        let last = range.end.saturating_sub(1) / Self::PART;
        let mut all = true;
        for part in first..=last.min(first.saturating_add(bits)) {
            let (word, mask) = ((part % bits / 64) as usize, 1 << (part % 64));
            // Mostly it is set: then nothing is written to what other threads read.
            if self.0[word].load(Ordering::Relaxed) & mask == 0 {
                self.0[word].fetch_or(mask, Ordering::Relaxed);
                all = false;
            }
        }
        all
    }
}

struct PwriteFile {
    file: fs::File,
    asked: Asked,
    /// The length as this handle last saw it.
    len: AtomicU64,
    mapping: RwLock<Option<Arc<Mapping>>>,
}

impl PwriteFile {
    /// A view through the mapping, which is made anew when the file has grown past it.
    fn mapped(&self, range: &Range<u64>) -> Option<Bytes> {
        if let Some(mapping) = &*self.mapping.read()
            && let Some(bytes) = mapping.view(range.clone())
        {
            return Some(bytes);
        }
        let mapping = Mapping::new(&self.file, range.end)?;
        let bytes = mapping.view(range.clone());
        *self.mapping.write() = Some(mapping);
        bytes
    }
}

/// Writes are cut at multiples of this in the file, in bytes. For a longer write the kernel takes larger pages into its cache, and large ones are rarely lying
/// about: on a virtual machine that gives free memory back to its host, writing 256 MiB in pieces of 256 KiB takes ten times as long as in pieces of 32 KiB.
const PIECE: u64 = 32 << 10;

/// Linux takes at most this many parts in one call.
const IOV_MAX: usize = 1024;

impl PwriteFile {
    fn write_piece(&self, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        if parts.is_empty() {
            return Ok(());
        }
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        let mut done =
            rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.file, parts, offset))?;
        if done == whole {
            return Ok(());
        }
        // A short write: a signal, or a disk that is nearly full. The plain call says which.
        for part in parts {
            if done >= part.len() {
                done -= part.len();
            } else {
                self.file
                    .write_all_at(&part[done..], offset + done as u64)?;
                done = 0;
            }
            offset += part.len() as u64;
        }
        Ok(())
    }
}

impl File for PwriteFile {
    fn len(&self) -> io::Result<u64> {
        let len = self.file.metadata()?.len();
        self.len.store(len, Ordering::Release);
        Ok(len)
    }
    fn allocated(&self) -> io::Result<u64> {
        /// What `st_blocks` counts in, whatever the filesystem's own blocks are.
        const BLOCK: u64 = 512;
        Ok(self.file.metadata()?.blocks() * BLOCK)
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }
    fn write_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.asked.set(&(offset..offset + len as u64));
        let (mut piece, mut start, mut end) = (Vec::with_capacity(parts.len()), offset, offset);
        for part in parts {
            let mut rest = &part[..];
            while !rest.is_empty() {
                let room = (PIECE - end % PIECE) as usize;
                let (taken, later) = rest.split_at(rest.len().min(room));
                piece.push(IoSlice::new(taken));
                end += taken.len() as u64;
                rest = later;
                if end % PIECE == 0 || piece.len() == IOV_MAX {
                    self.write_piece(&piece, start)?;
                    piece.clear();
                    start = end;
                }
            }
        }
        self.write_piece(&piece, start)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn write_back(&self) {
        write_back(&self.file);
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len.store(len, Ordering::Release);
        Ok(())
    }
    fn view(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.end > self.len.load(Ordering::Acquire) && range.end > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(bytes) = self.mapped(&range) {
            return Ok(bytes);
        }
        let len = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut buf = Vec::new();
        buf.try_reserve_exact(len)
            .map_err(|_| io::ErrorKind::OutOfMemory)?;
        buf.resize(len, 0);
        self.read_at(&mut buf, range.start)?;
        Ok(buf.into())
    }
    fn ahead(&self, range: Range<u64>) {
        /// Less is left to the kernel, which reads what lies around as well.
        const LEAST: u64 = 16 << 10;
        let len = range.end.saturating_sub(range.start);
        if len < LEAST || self.asked.set(&range) {
            return;
        }
        // A hint: without it the reads are only slower.
        let _ = fadvise(
            &self.file,
            range.start,
            NonZeroU64::new(len),
            Advice::WillNeed,
        );
    }
    fn view_many(&self, ranges: &[Range<u64>]) -> Vec<io::Result<Bytes>> {
        /// Fewer than this are read one after the other.
        const AHEAD_MIN: usize = 4;
        if ranges.len() >= AHEAD_MIN {
            // All are asked of the disk at once; then nearly every page is there, or on its way, when it is looked at.
            for range in ranges {
                let len = NonZeroU64::new(range.end.saturating_sub(range.start));
                // A hint: without it the reads are only slower.
                let _ =
                    len.map(|len| fadvise(&self.file, range.start, Some(len), Advice::WillNeed));
            }
        }
        ranges
            .iter()
            .map(|range| self.view(range.clone()))
            .collect()
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_in_pieces_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let device = PwriteDevice::open(dir.path()).unwrap();
        let file = device.open("file", true).unwrap();
        let piece = PIECE as usize;
        let bytes: Vec<u8> = (0..4 * piece).map(|at| (at % 251) as u8).collect();
        let cuts: [&[usize]; 5] = [
            &[4 * piece],
            &[piece, 2 * piece],
            &[1, piece - 1, piece + 1, 7],
            &[0, 3 * piece + 5, 0, 9],
            &[3; 3000],
        ];
        for start in [0, 1, piece - 1, piece, piece + 100] {
            for lens in cuts {
                let mut rest = &bytes[..];
                let parts: Vec<IoSlice<'_>> = (lens.iter())
                    .map(|len| IoSlice::new(rest.split_off(..*len).unwrap()))
                    .collect();
                let whole = bytes.len() - rest.len();
                file.set_len(0).unwrap();
                file.write_at(&parts, start as u64).unwrap();
                let mut read = vec![0; bytes.len() + 1];
                let n = file.read_at(&mut read, start as u64).unwrap();
                assert!(read[..n] == bytes[..whole], "{start} {}", lens.len());
            }
        }
    }

    #[test]
    fn what_was_asked_for_is_not_asked_for_again() {
        let asked = Asked::default();
        let part = Asked::PART;
        assert!(!asked.set(&(part - 1..part + 1)), "two parts");
        assert!(asked.set(&(0..2 * part)));
        assert!(!asked.set(&(0..2 * part + 1)), "a third");
        assert!(asked.set(&(0..3 * part)));
        // Whatever the range is, the work is bounded.
        assert!(!asked.set(&(0..u64::MAX)));
        assert!(asked.set(&(u64::MAX - part..u64::MAX)));
    }
}
