//! The face of the log.

use crate::{
    Device, Error,
    frame::{FILE_HEADER, FileId},
    group::Group,
    mutation::{Mutation, fits, is_on},
    poison::Poison,
    recovery::{self, Scan},
    run::Run,
    segment::{self, MAX_LOG_SEGMENT, MIN_LOG_SEGMENT, Readers, at},
    walk::{BadRange, Frames, SegmentPart, Source},
    writer::{Dirty, LogSegment, Shared, Staged, Writer},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// How the log uses the disk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogOptions {
    /// Size of a log segment in bytes, written full of zeros when it is made (default 2 MiB, at least 4 KiB).
    pub log_segment_bytes: u64,
    /// Size of the first log segment of a new log in bytes, so that a small store is small (default 256 KiB, at most
    /// `log_segment_bytes`). It is deleted when others have come.
    pub first_segment_bytes: u64,
    /// Size in bytes at which a payload segment is sealed and the next begun (default 64 MiB). A larger frame gets a segment of its own.
    pub payload_segment_bytes: u64,
    /// How many unused log segments are kept for reuse while commits are made (default 1); the others are deleted, and at rest
    /// (see [`Log::mark`]) all of them.
    pub free_segments: usize,
    /// Recover in memory only and write nothing; commits answer [`Error::ReadOnly`] (default false).
    pub read_only: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            log_segment_bytes: 2 << 20,
            first_segment_bytes: 256 << 10,
            payload_segment_bytes: 64 << 20,
            free_segments: 1,
            read_only: false,
        }
    }
}

impl LogOptions {
    /// With segments of at least 4 KiB, in whole sectors.
    fn checked(mut self) -> Self {
        const SECTOR: u64 = 512;
        self.log_segment_bytes = self
            .log_segment_bytes
            .clamp(MIN_LOG_SEGMENT, MAX_LOG_SEGMENT)
            .next_multiple_of(SECTOR);
        self.first_segment_bytes = self
            .first_segment_bytes
            .clamp(MIN_LOG_SEGMENT, self.log_segment_bytes)
            .next_multiple_of(SECTOR);
        self
    }
}

/// Where a payload lies. What an index stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadRef {
    /// Number of the payload segment (from 1).
    pub segment: u32,
    /// Where it starts in the segment, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
    /// Its crc32.
    pub crc: u32,
}

impl PayloadRef {
    fn corrupt(&self, found: u32) -> Error {
        Error::Corrupt {
            what: "payload",
            file: FileId::payload(self.segment).to_string(),
            offset: self.offset,
            expected: self.crc,
            found,
        }
    }

    fn range(&self) -> Result<Range<u64>, Error> {
        let end = self.offset.checked_add(u64::from(self.len));
        Ok(self.offset..end.ok_or_else(|| self.corrupt(0))?)
    }

    /// What a device answered for the range, if it is what was committed.
    fn check(&self, bytes: io::Result<Bytes>) -> Result<Bytes, Error> {
        let bytes = bytes.map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(0),
            _ => Error::io("read", &FileId::payload(self.segment).to_string(), e),
        })?;
        match crc32fast::hash(&bytes) {
            crc if fits(crc, self.crc) || is_on(Mutation::TrustPayload) => Ok(bytes),
            found => Err(self.corrupt(found)),
        }
    }
}

/// Where recovery starts: what a checkpoint must remember of the log. Store all fields (or [`to_bytes`](Self::to_bytes)) in the
/// superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The newest commit that the checkpoint covers; replay begins with the next.
    pub seq: u64,
    /// Names this log, so that files of another are not taken for its own. Random, chosen at [`Log::create`].
    pub log_id: u64,
    /// How often the log had been opened: frames past `seq` of an earlier opening are void.
    pub epoch: u32,
    /// The log segment that was written to at that moment: it must exist.
    pub log: u32,
    /// The payload segment that was written to and its length then: where scanning starts. `None`: there was none yet.
    pub payload: Option<(u32, u64)>,
}

impl Start {
    /// The 40 bytes of it: `seq u64 ‖ log_id u64 ‖ payload offset u64 ‖ payload segment u32 (0: none) ‖ log u32 ‖ epoch u32 ‖ zero
    /// u32`, little-endian.
    pub fn to_bytes(&self) -> [u8; 40] {
        let (segment, offset) = self.payload.unwrap_or((0, 0));
        let mut out = [0; 40];
        out[..8].copy_from_slice(&self.seq.to_le_bytes());
        out[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        out[16..24].copy_from_slice(&offset.to_le_bytes());
        out[24..28].copy_from_slice(&segment.to_le_bytes());
        out[28..32].copy_from_slice(&self.log.to_le_bytes());
        out[32..36].copy_from_slice(&self.epoch.to_le_bytes());
        out
    }
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8; 40]) -> Self {
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let segment = u32_at(24);
        Self {
            seq: u64_at(0),
            log_id: u64_at(8),
            epoch: u32_at(32),
            log: u32_at(28),
            payload: (segment != 0).then(|| (segment, u64_at(16))),
        }
    }
}

/// One commit, as recovery hands it over; in order of `seq`.
#[derive(Debug)]
pub struct Replayed<'a> {
    /// Its number.
    pub seq: u64,
    /// What was given to [`Log::commit`].
    pub body: &'a [u8],
    /// Where its payloads lie, in the order in which they were given.
    pub payloads: Vec<PayloadRef>,
    /// This recovery found [damage](Recovery::damage): commits before this one may be lost, and payloads of any.
    pub damaged: bool,
    /// The file that the payloads lie in, from `base` on.
    pub(crate) bytes: &'a Bytes,
    pub(crate) base: u64,
}

impl Replayed<'_> {
    /// True when the payload of this index is what was committed; reads it.
    pub fn is_whole(&self, index: usize) -> bool {
        let Some(at) = self.payloads.get(index) else {
            return false;
        };
        let from = at.offset.checked_sub(self.base).map(usize::try_from);
        let Some(Ok(from)) = from else {
            return false;
        };
        self.bytes
            .get(from..from.saturating_add(at.len as usize))
            .is_some_and(|bytes| {
                fits(crc32fast::hash(bytes), at.crc) || is_on(Mutation::TrustPayload)
            })
    }
}

/// What [`Log::commit`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The number of the commit.
    pub seq: u64,
    /// Where its payloads lie, in the order in which they were given.
    pub payloads: Vec<PayloadRef>,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How many commits were handed to `replay`.
    pub replayed: u64,
    /// The newest commit (that of the start when none was replayed).
    pub last_seq: u64,
    /// The newest commit known to have been on disk before.
    pub mark: u64,
    /// How many commits past the mark were written again and synced.
    pub rewritten: u64,
    /// The bad end that was cut, if there was one. Normal after a crash.
    pub torn: Option<Torn>,
    /// Files that have the name of a segment and are of another log, or of another number. They are left alone; a warning at each open
    /// says so.
    pub foreign: Vec<String>,
    /// What is lost though it should be there, in order. Empty unless the disk failed or somebody changed the files.
    pub damage: Vec<Damage>,
}

/// A bad end of the log: never synced, cut at recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Where the first bad frame lies, if a part of it was there.
    pub file: Option<String>,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// The commits that were cut: from the first that is missing or bad to past the newest of which a trace was seen.
    pub seqs: Range<u64>,
}

/// Commits that should be there and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file with the bad bytes, where one was found.
    pub file: Option<String>,
    /// Where the bad frame starts in the file, in bytes (0 when there is no file).
    pub offset: u64,
    /// The lost commits. Empty when a file is missing or too long but no commit is known to be lost with it.
    pub seqs: Range<u64>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}: a bad frame at byte {}", self.offset)?,
            None => f.write_str("no trace of a frame that was there")?,
        }
        match self.seqs.end.saturating_sub(self.seqs.start) {
            0 => f.write_str("; no commit is known to be lost"),
            1 => write!(f, "; commit {} is lost", self.seqs.start),
            n => write!(f, "; {n} commits from {} are lost", self.seqs.start),
        }
    }
}

/// An open log. See the [crate] docs for what it promises.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use pome_wal::{Bytes, Error, Log, LogOptions, PwriteDevice};
/// use std::sync::Arc;
///
/// let folder = tempfile::tempdir()?;
/// let device = Arc::new(PwriteDevice::open(folder.path())?);
/// let log = Log::create(device.clone(), LogOptions::default(), 42)?;
/// let start = log.position(); // what a checkpoint would store
/// let commit = log.commit(b"operations", &[Bytes::from_static(b"a large value")])?;
/// log.wait_synced(commit.seq)?;
/// drop(log); // no close: as after a crash
///
/// let (log, recovery) = Log::open(device, LogOptions::default(), start, |commit| {
///     assert_eq!(commit.body, b"operations");
///     Ok::<_, Error>(())
/// })?;
/// assert_eq!((recovery.replayed, recovery.damage.len()), (1, 0));
/// assert_eq!(log.read(&commit.payloads[0])?, "a large value");
/// # Ok(()) }
/// ```
pub struct Log {
    shared: Shared,
    writer: Mutex<Writer>,
    group: Group,
    closed: AtomicBool,
}

impl Log {
    /// Makes a new log in the folder; `log_id` is a random number. Its files are on disk when this returns, so store
    /// [`position`](Self::position) afterwards. Leftovers of a creation that was cut short are replaced.
    ///
    /// # Errors
    /// [`Error::Exists`] when there are segments with more than a header in them; [`Error::Io`].
    pub fn create(
        device: Arc<dyn Device>,
        options: LogOptions,
        log_id: u64,
    ) -> Result<Self, Error> {
        if options.read_only {
            return Err(Error::ReadOnly);
        }
        let options = options.checked();
        for id in FileId::list(&*device)? {
            if !is_blank(&*device, id)? {
                return Err(Error::Exists {
                    file: id.to_string(),
                });
            }
            at("remove", id, device.remove(&id.to_string()))?;
        }
        let number = 1;
        let id = FileId::log(number);
        let file = segment::create_log(&*device, number, log_id, options.first_segment_bytes)?;
        at("sync", id, file.sync())?;
        device
            .sync_dir()
            .map_err(|e| Error::io("sync", "folder", e))?;
        let writer = Writer {
            next_seq: 1,
            boot: recovery::boot(device.boot_id()),
            epoch: 1,
            marked: 0,
            log: LogSegment::begin(number, file, options.first_segment_bytes),
            sealed: Vec::new(),
            free: Vec::new(),
            next_log: number + 1,
            payload: None,
            next_payload: 1,
            payload_lens: BTreeMap::new(),
            released: Start {
                seq: 0,
                log_id,
                epoch: 1,
                log: number,
                payload: None,
            },
            log_written: 0,
            log_released: 0,
            positions: VecDeque::new(),
            dirty: Dirty::default(),
            buf: Vec::new(),
            staged: Staged::default(),
        };
        Ok(Self::with(device, options, log_id, writer))
    }

    /// Opens the log and hands every commit past `start` to `replay`, in order. What was not known to be on disk is written
    /// again and synced before this returns; [`Recovery`] says what was cut and what is damaged.
    ///
    /// # Errors
    /// What `replay` answers; [`Error::UnknownVersion`]; [`Error::Io`]. Damage is no error: look at [`Recovery::damage`].
    pub fn open<E: From<Error>>(
        device: Arc<dyn Device>,
        options: LogOptions,
        start: Start,
        replay: impl FnMut(Replayed<'_>) -> Result<(), E>,
    ) -> Result<(Self, Recovery), E> {
        Self::open_with(device, options, start, replay, |_| Ok(()))
    }

    /// As [`open`](Self::open); `found` is told what recovery found after everything was replayed and before anything is written, so
    /// that damage can be written down before it is covered up.
    ///
    /// # Errors
    /// As [`open`](Self::open), and what `found` answers.
    pub fn open_with<E: From<Error>>(
        device: Arc<dyn Device>,
        options: LogOptions,
        start: Start,
        replay: impl FnMut(Replayed<'_>) -> Result<(), E>,
        found: impl FnOnce(&Recovery) -> Result<(), E>,
    ) -> Result<(Self, Recovery), E> {
        let options = options.checked();
        let scan = Scan::new(&*device, start)?;
        scan.replay(replay)?;
        found(&scan.recovery)?;
        let (writer, recovery) = scan.finish(&*device, &options)?;
        let read_only = options.read_only;
        let log = Self::with(device, options, start.log_id, writer);
        if !read_only && !is_on(Mutation::NoEpochMark) {
            // The first frame of this epoch makes void what was cut. It must be on disk before a commit can be, and after all
            // that it says to be synced.
            log.writer.lock().write_mark(&log.shared)?;
            log.group.flush(&log.shared, &log.writer)?;
        }
        Ok((log, recovery))
    }

    fn with(device: Arc<dyn Device>, options: LogOptions, log_id: u64, writer: Writer) -> Self {
        let last = writer.next_seq - 1;
        Self {
            shared: Shared {
                device,
                options,
                log_id,
                poison: Poison::default(),
                readers: Readers::default(),
                committed: AtomicU64::new(last),
                synced: AtomicU64::new(last),
                commits: AtomicU64::new(0),
                syncs: AtomicU64::new(0),
            },
            writer: Mutex::new(writer),
            group: Group::default(),
            closed: AtomicBool::new(false),
        }
    }

    fn check_writable(&self) -> Result<(), Error> {
        self.shared.poison.check()?;
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        if self.shared.options.read_only {
            return Err(Error::ReadOnly);
        }
        Ok(())
    }

    /// Appends one commit: one write into the page cache, so it survives the end of this process but not a power cut until
    /// [`wait_synced`](Self::wait_synced). The caller serialises commits.
    ///
    /// # Errors
    /// [`Error::TooLarge`] past 256 MiB of body, 64 MiB in one payload, 2^20 payloads or 2 GiB in all. [`Error::Io`] (a full disk)
    /// fails this commit alone. [`Error::Poisoned`], [`Error::Closed`], [`Error::ReadOnly`].
    pub fn commit(&self, body: &[u8], payloads: &[Bytes]) -> Result<Committed, Error> {
        self.check_writable()?;
        let (seq, payloads) = self.writer.lock().commit(&self.shared, body, payloads)?;
        Ok(Committed { seq, payloads })
    }

    /// Begins a run of small commits, which one call writes.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`], [`Error::ReadOnly`].
    pub fn run(&self) -> Result<Run<'_>, Error> {
        self.check_writable()?;
        Ok(Run::new(&self.shared, self.writer.lock()))
    }

    /// Blocks until commit `seq`, which was made, is on disk; all that wait at the same time share one fdatasync.
    ///
    /// # Errors
    /// [`Error::Poisoned`] when it could not be synced: whether it is on disk is then unknown.
    pub fn wait_synced(&self, seq: u64) -> Result<(), Error> {
        let made = || Some(Ok::<_, Error>(seq));
        self.group
            .wait(&self.shared, &self.writer, made, || ())
            .map(drop)
    }

    /// As [`wait_synced`](Self::wait_synced), for a commit that may still be to be written: `made` answers its number once it is, or why it is not.
    /// Of all that wait, the one that leads the next sync calls its `write` before; that writes what everyone waits for. No lock that `write` takes
    /// may be held by who waits.
    ///
    /// # Errors
    /// What `made` answers; as [`wait_synced`](Self::wait_synced).
    pub fn write_and_wait<E: From<Error>>(
        &self,
        made: impl Fn() -> Option<Result<u64, E>>,
        write: impl Fn(),
    ) -> Result<u64, E> {
        self.group.wait(&self.shared, &self.writer, made, write)
    }

    /// Blocks until everything committed so far is on disk.
    ///
    /// # Errors
    /// As [`wait_synced`](Self::wait_synced).
    pub fn sync(&self) -> Result<(), Error> {
        self.wait_synced(self.committed_seq())
    }

    /// The disk begins to write what was committed and is not on it; this does not wait. For whoever syncs in a moment, and goes on committing until then.
    pub fn write_back(&self) {
        // Not under the lock: the kernel may have no room for more at once.
        let files = self.writer.lock().dirty.files();
        for file in files {
            file.write_back();
        }
    }

    /// The newest commit that is known to be on disk.
    pub fn synced_seq(&self) -> u64 {
        self.shared.synced.load(Ordering::Acquire)
    }

    /// The newest commit.
    pub fn committed_seq(&self) -> u64 {
        self.shared.committed.load(Ordering::Acquire)
    }

    /// How many commits were made since this log was opened.
    pub fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::Relaxed)
    }

    /// How many syncs (each of one or two files) served them.
    pub fn syncs(&self) -> u64 {
        self.shared.syncs.load(Ordering::Relaxed)
    }

    /// Writes down how far the log is synced, when the newest frame does not say it: below that point recovery has nothing to
    /// write again, and tells damage from a torn end. It reaches the disk with the next sync. Call it when idle: log segments that are
    /// kept for reuse are deleted as well.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn mark(&self) -> Result<(), Error> {
        self.check_writable()?;
        let mut writer = self.writer.lock();
        writer.free_down_to(&self.shared, 0);
        writer.mark(&self.shared)
    }

    /// Syncs, marks, syncs the mark. Later commits answer [`Error::Closed`]; reads go on. Closing twice is fine.
    ///
    /// # Errors
    /// As [`commit`](Self::commit) and [`wait_synced`](Self::wait_synced).
    pub fn close(&self) -> Result<(), Error> {
        self.shared.poison.check()?;
        if self.shared.options.read_only || self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.group.flush(&self.shared, &self.writer)?;
        self.writer.lock().mark(&self.shared)?;
        self.group.flush(&self.shared, &self.writer)
    }

    /// The bytes of a payload, checked, without a copy. Reads need no lock that commits hold.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when they are not what was committed.
    pub fn read(&self, at: &PayloadRef) -> Result<Bytes, Error> {
        let range = at.range()?;
        let file = self.shared.readers.get(&*self.shared.device, at.segment)?;
        // One request for all of it, where page faults would ask for a part at a time, or for far too much.
        file.ahead(range.clone());
        at.check(file.view(range))
    }

    /// A hint: this payload will be read soon. The disk is asked for it now, where the device can and it is large; and for what lies around, up to
    /// multiples of `around` bytes in the file, where that is likely to be wanted as well (1: no more than the payload).
    pub fn ahead(&self, at: &PayloadRef, around: u64) {
        let around = around.max(1);
        if let Ok(range) = at.range()
            && let Some(end) = range.end.checked_next_multiple_of(around)
            && let Ok(file) = self.shared.readers.get(&*self.shared.device, at.segment)
        {
            file.ahead(range.start / around * around..end);
        }
    }

    /// The bytes of many payloads, in the order in which they are asked for; each as [`read`](Self::read) answers it. What is not in
    /// the page cache is asked of the disk at once, where the device can.
    pub fn read_many(&self, refs: &[PayloadRef]) -> Vec<Result<Bytes, Error>> {
        let mut by_segment: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, at) in refs.iter().enumerate() {
            by_segment.entry(at.segment).or_default().push(i);
        }
        let mut answers: Vec<Option<Result<Bytes, Error>>> = refs.iter().map(|_| None).collect();
        for (segment, asked) in by_segment {
            let ranges: Result<Vec<_>, _> = asked.iter().map(|i| refs[*i].range()).collect();
            let file = self.shared.readers.get(&*self.shared.device, segment);
            let (Ok(ranges), Ok(file)) = (ranges, file) else {
                // One by one, so that each has its own answer.
                for i in asked {
                    answers[i] = Some(self.read(&refs[i]));
                }
                continue;
            };
            for (i, bytes) in asked.into_iter().zip(file.view_many(&ranges)) {
                answers[i] = Some(refs[i].check(bytes));
            }
        }
        let answered = answers.into_iter();
        let answered = answered.map(|a| a.expect("each was asked for in its segment"));
        answered.collect()
    }

    /// Where a checkpoint that covers every commit so far would start. Take it with commits held off, sync, write the checkpoint,
    /// store this in it, and give it to [`release`](Self::release) when all that is on disk.
    pub fn position(&self) -> Start {
        let mut writer = self.writer.lock();
        let seq = writer.next_seq - 1;
        let written = writer.log_written;
        writer.positions.retain(|(s, _)| *s != seq);
        writer.positions.push_back((seq, written));
        if writer.positions.len() > 8 {
            writer.positions.pop_front();
        }
        // Only segments that hold a commit: a sync has made sure of their names.
        let log = match (writer.log.last_seq, writer.sealed.last()) {
            (1.., _) => writer.log.number,
            (0, Some(sealed)) => sealed.number,
            (0, None) => writer.released.log,
        };
        let mut payloads = writer.payload_lens.iter().rev();
        let named = writer.payload.as_ref().filter(|p| p.named);
        let named = named.map(|p| p.number);
        let payload = payloads.find(|(n, len)| **len > FILE_HEADER as u64 || named == Some(**n));
        Start {
            seq,
            log_id: self.shared.log_id,
            epoch: writer.epoch,
            log,
            payload: payload.map(|(number, len)| (*number, *len)),
        }
    }

    /// Tells that a checkpoint with this start is on disk: log segments wholly at or below it are used again, beyond
    /// [`LogOptions::free_segments`] they are deleted. Commits that it covers are synced first if they are not.
    ///
    /// # Errors
    /// As [`commit`](Self::commit) and [`wait_synced`](Self::wait_synced).
    pub fn release(&self, checkpointed: &Start) -> Result<(), Error> {
        self.check_writable()?;
        if self.synced_seq() < checkpointed.seq {
            self.wait_synced(checkpointed.seq)?;
        }
        self.writer.lock().release(&self.shared, checkpointed)
    }

    /// The payload segment that the next large commit goes into, unless it would grow too long. `None`: a new one will be made.
    pub fn active_payload_segment(&self) -> Option<u32> {
        self.writer.lock().payload.as_ref().map(|p| p.number)
    }

    /// Begins a new payload segment and answers the number of the one that was written to until now: the next checkpoint starts past
    /// it, so that it can be removed when nothing in it lives. `None` when there was nothing to seal. On disk when this returns.
    ///
    /// # Errors
    /// As [`commit`](Self::commit) and [`wait_synced`](Self::wait_synced).
    pub fn seal_payload_segment(&self) -> Result<Option<u32>, Error> {
        self.check_writable()?;
        let (sealed, begun) = {
            let mut writer = self.writer.lock();
            let newest = writer.payload_lens.last_key_value();
            let Some((sealed, len)) = newest.map(|(n, l)| (*n, *l)) else {
                return Ok(None);
            };
            if len <= FILE_HEADER as u64 {
                return Ok(None);
            }
            (sealed, writer.begin_payload(&self.shared)?)
        };
        self.group.flush(&self.shared, &self.writer)?;
        let mut writer = self.writer.lock();
        if let Some(active) = writer.payload.as_mut().filter(|p| p.number == begun) {
            active.named = true;
        }
        Ok(Some(sealed))
    }

    /// Walks through a payload segment, in order of place: every frame with a good body, and every stretch that is none. Frames that
    /// recovery left aside are among them, and nothing is said about which values live: compare with the index. What is committed
    /// meanwhile is not seen; a segment that is removed meanwhile is read to its end.
    ///
    /// # Errors
    /// [`Error::Io`]: of kind `NotFound` when there is no such segment.
    pub fn frames(&self, segment: u32) -> Result<Frames, Error> {
        let id = FileId::payload(segment);
        let end = self.writer.lock().payload_lens.get(&segment).copied();
        let file = self.shared.readers.get(&*self.shared.device, segment)?;
        let len = at("measure", id, file.len())?;
        let end = end.map_or(len, |end| end.min(len));
        Ok(Frames::new(Source::File(file), id, self.shared.log_id, end))
    }

    /// Reads every byte of the log segments that recovery would need now, frames that a checkpoint covers included, and answers what
    /// is not as it was written. (What lies behind the frames of a recycled segment is of no meaning.) Commits wait meanwhile, for a
    /// millisecond or so.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn check_log(&self) -> Result<Vec<BadRange>, Error> {
        let writer = self.writer.lock();
        let current = (writer.log.number, writer.log.offset);
        let segments = writer.sealed.iter().map(|s| (s.number, s.end));
        let mut bad = Vec::new();
        for (number, end) in segments.chain([current]) {
            let id = FileId::log(number);
            let file = at("open", id, self.shared.device.open(&id.to_string(), false))?;
            let mut bytes = vec![0; end as usize];
            let n = at("read", id, file.read_at(&mut bytes, 0))?;
            bytes.truncate(n);
            let source = Source::Memory(bytes.into());
            for part in Frames::new(source, id, self.shared.log_id, n as u64).checked() {
                if let SegmentPart::Bad(range) = part? {
                    bad.push(range);
                }
            }
            if (n as u64) < end {
                bad.push(BadRange {
                    file: id.to_string(),
                    what: "frame",
                    offset: n as u64,
                    len: end - n as u64,
                    payload: None,
                });
            }
        }
        Ok(bad)
    }

    /// The log segments that recovery would read frames of now, oldest first, and how many bytes of each: what lies behind is of no meaning. Their bytes up to
    /// there do not change before the next [`release`](Self::release).
    pub fn log_segments(&self) -> Vec<(u32, u64)> {
        let writer = self.writer.lock();
        let sealed = writer.sealed.iter().map(|s| (s.number, s.end));
        let current = (writer.log.number, writer.log.offset);
        sealed.chain([current]).collect()
    }

    /// The payload segments and their lengths in bytes, in order. See
    /// [`active_payload_segment`](Self::active_payload_segment) for the one being written.
    pub fn payload_segments(&self) -> Vec<(u32, u64)> {
        let writer = self.writer.lock();
        writer.payload_lens.iter().map(|(n, l)| (*n, *l)).collect()
    }

    /// Deletes a payload segment in which nothing is alive; views of it stay valid. No error when it is gone already.
    ///
    /// # Errors
    /// [`Error::StillNeeded`] when it does not lie below the segment of the last released start, since its frames hold commits.
    pub fn remove_payload_segment(&self, segment: u32) -> Result<(), Error> {
        self.check_writable()?;
        let mut writer = self.writer.lock();
        if writer.released.payload.is_none_or(|(n, _)| segment >= n) {
            return Err(Error::StillNeeded { segment });
        }
        let id = FileId::payload(segment);
        match self.shared.device.remove(&id.to_string()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &id.to_string(), e));
            }
            _ => {}
        }
        writer.payload_lens.remove(&segment);
        writer.dirty.add_dir();
        self.shared.readers.forget(segment);
        Ok(())
    }

    /// Bytes of log frames past the last released start: what recovery would replay of the recycled log.
    pub fn log_bytes(&self) -> u64 {
        let writer = self.writer.lock();
        writer.log_written.saturating_sub(writer.log_released)
    }

    /// Bytes written to payload segments since `start`: what recovery would walk through of them.
    pub fn payload_bytes_since(&self, start: &Start) -> u64 {
        let (segment, offset) = start.payload.unwrap_or((0, 0));
        let writer = self.writer.lock();
        writer
            .payload_lens
            .range(segment..)
            .map(|(n, len)| match *n == segment {
                true => len.saturating_sub(offset),
                false => len.saturating_sub(FILE_HEADER as u64),
            })
            .sum()
    }
}

/// True for a segment in which nothing but a header was written.
fn is_blank(device: &dyn Device, id: FileId) -> Result<bool, Error> {
    let file = at("open", id, device.open(&id.to_string(), false))?;
    let mut buf = [0; 16 << 10];
    let mut offset = FILE_HEADER as u64;
    loop {
        let n = at("read", id, file.read_at(&mut buf, offset))?;
        if buf[..n].iter().any(|b| *b != 0) {
            return Ok(false);
        }
        if n < buf.len() {
            return Ok(true);
        }
        offset += n as u64;
    }
}
