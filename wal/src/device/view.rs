//! Views of files through mmap, and what happens when the file gives way under one.
//!
//! A page of a mapping that cannot be read (the file was cut by somebody else, the disk answers EIO) raises SIGBUS, which would end
//! the process. A handler for the whole process, put in place with the first mapping, lays a page of zeros there if the address lies
//! in one of our mappings: the read goes on, the crc above does not fit, and the caller gets `Corrupt`. Any other SIGBUS goes to
//! whoever handled it before.
//!
//! What the soundness of the `unsafe` here rests on:
//! - bytes that were handed out are not written again: frames that count are never changed (recovery, which writes them again, writes
//!   the same bytes, before anything is handed out), and a slice is only made of the range that was asked for, never of a whole
//!   mapping, whose other bytes may still be written;
//! - a view keeps its mapping alive, so no address of it can belong to anything else while it is read;
//! - the handler touches atomics and system calls only.
//!
//! What it cannot rest on: another process that writes into the files. The store's lock is against that.

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use parking_lot::Mutex;
use std::{
    fs, io,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicPtr, AtomicUsize, Ordering::SeqCst},
    },
};

/// A file is mapped in steps of this many bytes, so past its end: what it grows by is then seen without mapping it again.
const STEP: u64 = 64 << 20;
/// The most mappings at a time; beyond it files are read instead. (Linux allows 65,530 for the whole process.)
const SLOTS: usize = 8192;

/// A mapping of the first bytes of a file.
pub(super) struct Mapping {
    map: Mmap,
    slot: usize,
}

/// A part of a mapping.
struct View {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl Mapping {
    /// Maps at least the first `len` bytes. `None`: not possible now; read instead.
    pub(super) fn new(file: &fs::File, len: u64) -> Option<Arc<Self>> {
        let len = usize::try_from(len.checked_next_multiple_of(STEP)?).ok()?;
        handle_sigbus().ok()?;
        let slot = FREE.lock().pop()?;
        // SAFETY: a mapping is only read through `View`, of ranges that nobody writes (see above); a page that is not there
        // is handled by the handler, which is in place.
        let map = match unsafe { MmapOptions::new().len(len).map(file) } {
            Ok(map) => map,
            Err(_) => {
                FREE.lock().push(slot);
                return None;
            }
        };
        let start = map.as_ptr() as usize;
        REGISTRY[slot].set(start..start + len);
        Some(Arc::new(Self { map, slot }))
    }

    /// The bytes of `range`, which must lie within the file. `None` when it is not mapped.
    pub(super) fn view(self: &Arc<Self>, range: Range<u64>) -> Option<Bytes> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        (range.start <= range.end && range.end <= self.map.len()).then(|| {
            Bytes::from_owner(View {
                mapping: self.clone(),
                range,
            })
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        REGISTRY[self.slot].set(0..0);
        FREE.lock().push(self.slot);
    }
}

impl AsRef<[u8]> for View {
    fn as_ref(&self) -> &[u8] {
        let Range { start, end } = self.range;
        // SAFETY: `start <= end <= map.len()` was checked when the view was made; the mapping lives as long as the view.
        unsafe { std::slice::from_raw_parts(self.mapping.map.as_ptr().add(start), end - start) }
    }
}

/// The addresses of one mapping, written under [`FREE`]'s protocol (one owner per slot) and read by the handler.
struct Slot {
    /// Odd while the other two are being changed.
    version: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
}

static REGISTRY: [Slot; SLOTS] = [const {
    Slot {
        version: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
    }
}; SLOTS];
static FREE: Free = Free(OnceLock::new());
static PAGE: AtomicUsize = AtomicUsize::new(0);
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// The slots that no mapping has.
struct Free(OnceLock<Mutex<Vec<usize>>>);

impl Free {
    fn lock(&self) -> parking_lot::MutexGuard<'_, Vec<usize>> {
        let all = || Mutex::new((0..SLOTS).rev().collect());
        self.0.get_or_init(all).lock()
    }
}

impl Slot {
    fn set(&self, range: Range<usize>) {
        self.version.fetch_add(1, SeqCst);
        self.start.store(range.start, SeqCst);
        self.end.store(range.end, SeqCst);
        self.version.fetch_add(1, SeqCst);
    }
    fn contains(&self, address: usize) -> bool {
        // The slot of the mapping that is being read does not change meanwhile: the reader keeps it alive.
        let before = self.version.load(SeqCst);
        let found = (self.start.load(SeqCst)..self.end.load(SeqCst)).contains(&address);
        found && before.is_multiple_of(2) && self.version.load(SeqCst) == before
    }
}

/// Puts the handler in place, once.
fn handle_sigbus() -> io::Result<()> {
    static DONE: Mutex<bool> = Mutex::new(false);
    let mut done = DONE.lock();
    if *done {
        return Ok(());
    }
    // SAFETY: an all-zero `sigaction` is a valid value, and both calls get pointers to live ones. What was there before is
    // stored before our handler can run, and never freed.
    unsafe {
        let page = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE));
        PAGE.store(page.map_err(io::Error::other)?, SeqCst);
        let mut before: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before) != 0 {
            return Err(io::Error::last_os_error());
        }
        BEFORE.store(Box::into_raw(Box::new(before)), SeqCst);
        let mut ours: libc::sigaction = std::mem::zeroed();
        ours.sa_sigaction = on_sigbus as *const () as usize;
        ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGBUS, &ours, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    *done = true;
    Ok(())
}

/// Runs on the thread that touched the page.
extern "C" fn on_sigbus(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel hands a valid `info` to a handler with SA_SIGINFO.
    let address = unsafe { (*info).si_addr() } as usize;
    if REGISTRY.iter().any(|slot| slot.contains(address)) && lay_zeros(address) {
        return;
    }
    // SAFETY: `BEFORE` was set before this handler was put in place, and is never freed or changed. The function in it was
    // registered by others for exactly this call.
    unsafe {
        let before = &*BEFORE.load(SeqCst);
        match before.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                // The access is repeated when this returns, and then ends the process as it would have without us.
                libc::sigaction(signal, before, std::ptr::null_mut());
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                handler(signal, info, context);
            }
            handler => {
                let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                handler(signal);
            }
        }
    }
}

/// Replaces the page at `address`, which lies in one of our mappings, by zeros.
fn lay_zeros(address: usize) -> bool {
    let size = PAGE.load(SeqCst);
    let page = address & !(size - 1);
    // SAFETY: the page belongs to a mapping of ours that is being read, so it stays ours during the call, and it is unmapped with
    // it. errno is put back, since the code that was interrupted may be about to look at it.
    unsafe {
        let errno = libc::__errno_location();
        let saved = *errno;
        let laid = libc::mmap(
            page as *mut libc::c_void,
            size,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        );
        *errno = saved;
        laid != libc::MAP_FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Device, PwriteDevice};
    use std::io::IoSlice;

    #[test]
    fn a_file_that_is_cut_under_a_view_reads_as_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let device = PwriteDevice::open(dir.path()).unwrap();
        let file = device.open("a", true).unwrap();
        let content = vec![7; 100_000];
        file.write_at(&[IoSlice::new(&content)], 0).unwrap();
        let view = file.view(10..90_000).unwrap();
        assert!(view.iter().all(|b| *b == 7));
        // Somebody else cuts it.
        let other = fs::OpenOptions::new()
            .write(true)
            .open(dir.path().join("a"));
        other.unwrap().set_len(5000).unwrap();
        assert_eq!(view[..4990], content[..4990]);
        assert!(view[8190..].iter().all(|b| *b == 0));
        // A page that is there again is seen through a new handle.
        file.write_at(&[IoSlice::new(&content)], 0).unwrap();
        let again = device.open("a", false).unwrap().view(0..100_000).unwrap();
        assert!(again == content);
    }

    #[test]
    fn views_outlive_file_and_name_and_see_growth() {
        let dir = tempfile::tempdir().unwrap();
        let device = PwriteDevice::open(dir.path()).unwrap();
        let file = device.open("a", true).unwrap();
        assert_eq!(
            file.view(0..1).unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof
        );
        let mut views = Vec::new();
        for i in 0..50u8 {
            file.write_at(&[IoSlice::new(&[i; 5000])], u64::from(i) * 5000)
                .unwrap();
            let at = u64::from(i) * 5000;
            views.push(file.view(at..at + 5000).unwrap());
        }
        device.remove("a").unwrap();
        drop(file);
        for (i, view) in views.iter().enumerate() {
            assert_eq!(view[..], [i as u8; 5000]);
        }
    }
}
