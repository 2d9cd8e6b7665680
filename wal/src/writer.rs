//! Where the next frame goes. Committers hold [`Writer`] for one write into the page cache: of one commit, or of many small ones.

use crate::{
    Bytes, Device, Error, File, LogOptions, PayloadRef, Start,
    frame::{self, FILE_HEADER, FileId, Kind, Place, Plan, Stamp},
    mutation::{Mutation, is_on},
    poison::Poison,
    segment::{self, Readers, at},
};
use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, IoSlice},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A body larger than this part of a log segment goes into a payload segment, so that the recycled log stays small.
const LARGE_BODY_PART: u64 = 4;
/// Length of a mark.
const MARK_BYTES: u64 = frame::HEADER as u64;

/// The log segment that is written to.
pub(crate) struct LogSegment {
    pub number: u32,
    pub file: Arc<dyn File>,
    /// Where the next frame goes.
    pub offset: u64,
    /// Its size.
    pub capacity: u64,
    /// The newest commit in it (0: none since it was begun).
    pub last_seq: u64,
    /// Where its newest frame lies, if that is a mark.
    pub last_mark: Option<u64>,
}

impl LogSegment {
    /// To be written from its beginning.
    pub(crate) fn begin(number: u32, file: Arc<dyn File>, capacity: u64) -> Self {
        Self {
            number,
            file,
            offset: FILE_HEADER as u64,
            capacity,
            last_seq: 0,
            last_mark: None,
        }
    }
}

/// The payload segment that is written to.
pub(crate) struct PayloadSegment {
    pub number: u32,
    pub file: Arc<dyn File>,
    /// Where the next frame goes.
    pub offset: u64,
    /// Its name is known to be on disk, though no commit in it has been synced: a checkpoint may name it.
    pub named: bool,
}

/// A full log segment that recovery still needs.
pub(crate) struct Sealed {
    pub number: u32,
    pub last_seq: u64,
    pub capacity: u64,
    /// Where its frames end.
    pub end: u64,
}

/// What the next commit needs to know.
pub(crate) struct Writer {
    pub next_seq: u64,
    pub boot: u32,
    pub epoch: u32,
    /// The newest synced seq that a written frame carries.
    pub marked: u64,
    pub log: LogSegment,
    pub sealed: Vec<Sealed>,
    /// Log segments to be written over.
    pub free: Vec<u32>,
    /// One past the greatest number of a log segment ever seen.
    pub next_log: u32,
    pub payload: Option<PayloadSegment>,
    /// One past the greatest number of a payload segment ever seen.
    pub next_payload: u32,
    /// Lengths of all payload segments.
    pub payload_lens: BTreeMap<u32, u64>,
    /// The newest released start.
    pub released: Start,
    /// Bytes of log frames ever written, and how many of them a checkpoint covers.
    pub log_written: u64,
    pub log_released: u64,
    /// `log_written` at the positions that were handed out last.
    pub positions: VecDeque<(u64, u64)>,
    pub dirty: Dirty,
    /// Frames that will be written next, as they will lie behind each other at the end of the log.
    pub buf: Vec<u8>,
    pub staged: Staged,
}

/// Commits whose frames are in the buffer and not yet in the log.
#[derive(Default)]
pub(crate) struct Staged {
    pub commits: u64,
    /// What the newest of their frames carries.
    synced: u64,
}

/// What the next sync has to sync.
#[derive(Default)]
pub(crate) struct Dirty {
    files: Vec<(FileId, Arc<dyn File>)>,
    dir: bool,
}

impl Dirty {
    pub(crate) fn add(&mut self, id: FileId, file: &Arc<dyn File>) {
        if !self.files.iter().any(|(known, _)| *known == id) {
            self.files.push((id, file.clone()));
        }
    }
    pub(crate) fn add_dir(&mut self) {
        self.dir = true;
    }
    /// The files that have something to sync.
    pub(crate) fn files(&self) -> Vec<Arc<dyn File>> {
        self.files.iter().map(|(_, file)| file.clone()).collect()
    }
    /// Syncs everything. A failure is final.
    pub(crate) fn sync(&self, device: &dyn Device, poison: &Poison) -> Result<(), Error> {
        device.sync_many(&self.files()).map_err(|(i, e)| {
            let name = self.files.get(i).map(|(id, _)| id.to_string());
            poison.set("sync", name.as_deref().unwrap_or("log"), e)
        })?;
        if self.dir && !is_on(Mutation::SkipDirSync) {
            device
                .sync_dir()
                .map_err(|e| poison.set("sync", "folder", e))?;
        }
        Ok(())
    }
}

/// What all parts of an open log share.
pub(crate) struct Shared {
    pub device: Arc<dyn Device>,
    pub options: LogOptions,
    pub log_id: u64,
    pub poison: Poison,
    pub readers: Readers,
    pub committed: AtomicU64,
    pub synced: AtomicU64,
    pub commits: AtomicU64,
    pub syncs: AtomicU64,
}

impl Writer {
    /// Writes one commit; it is in the page cache when this returns.
    pub(crate) fn commit(
        &mut self,
        shared: &Shared,
        body: &[u8],
        payloads: &[Bytes],
    ) -> Result<(u64, Vec<PayloadRef>), Error> {
        let seq = self.next_seq;
        let mut plan = Plan::new(Kind::Commit, body, payloads)?;
        if payloads.is_empty() && Self::is_small(shared, &plan) {
            self.unstage();
            self.make_room(shared, plan.len() + MARK_BYTES)?;
            self.stage(shared, &mut plan, body);
            self.write_staged(shared)?;
            return Ok((seq, Vec::new()));
        }
        let stamp = self.stamp(shared, seq);
        let refs = self.write_payload_frame(shared, &mut plan, stamp, body, payloads)?;
        self.committed(shared, 1, stamp.synced);
        Ok((seq, refs))
    }

    /// True for what goes into the log itself.
    fn is_small(shared: &Shared, plan: &Plan) -> bool {
        plan.len() <= shared.options.log_segment_bytes / LARGE_BODY_PART
    }

    /// Forgets what was not written.
    pub(crate) fn unstage(&mut self) {
        self.buf.clear();
        self.staged = Staged::default();
    }

    /// Stages a commit without payloads behind the others. False, and nothing is done: it does not fit behind them, or is too large for the log itself.
    pub(crate) fn add(&mut self, shared: &Shared, body: &[u8]) -> Result<bool, Error> {
        let mut plan = Plan::new(Kind::Commit, body, &[])?;
        if !Self::is_small(shared, &plan) {
            return Ok(false);
        }
        let len = plan.len() + MARK_BYTES;
        if self.staged.commits == 0 {
            self.make_room(shared, len)?;
        }
        let end = self.log.offset + self.buf.len() as u64;
        if end + len > self.log.capacity {
            return Ok(false);
        }
        self.stage(shared, &mut plan, body);
        Ok(true)
    }

    fn stage(&mut self, shared: &Shared, plan: &mut Plan, body: &[u8]) {
        let stamp = self.stamp(shared, self.next_seq + self.staged.commits);
        let place = Place {
            log_id: shared.log_id,
            file: FileId::log(self.log.number),
            offset: self.log.offset + self.buf.len() as u64,
        };
        plan.encode(&place, stamp, body, &mut self.buf);
        self.staged.commits += 1;
        self.staged.synced = stamp.synced;
    }

    /// Writes what is staged: all of it, or nothing.
    pub(crate) fn write_staged(&mut self, shared: &Shared) -> Result<(), Error> {
        let Staged { commits, synced } = std::mem::take(&mut self.staged);
        if commits == 0 {
            return Ok(());
        }
        self.write_log(shared)?;
        self.log.last_seq = self.next_seq + commits - 1;
        self.log.last_mark = None;
        self.committed(shared, commits, synced);
        Ok(())
    }

    /// So many more are written, the newest with this stamp.
    fn committed(&mut self, shared: &Shared, commits: u64, synced: u64) {
        self.marked = synced;
        self.next_seq += commits;
        shared.committed.store(self.next_seq - 1, Ordering::Release);
        shared.commits.fetch_add(commits, Ordering::Relaxed);
    }

    fn stamp(&self, shared: &Shared, seq: u64) -> Stamp {
        Stamp {
            seq,
            synced: shared.synced.load(Ordering::Acquire),
            boot: self.boot,
            epoch: self.epoch,
        }
    }

    /// Writes a mark frame when the newest frame does not say how far the log is synced.
    pub(crate) fn mark(&mut self, shared: &Shared) -> Result<(), Error> {
        if shared.synced.load(Ordering::Acquire) <= self.marked {
            return Ok(());
        }
        self.write_mark(shared)
    }

    /// Writes a mark frame.
    pub(crate) fn write_mark(&mut self, shared: &Shared) -> Result<(), Error> {
        let stamp = self.stamp(shared, self.next_seq - 1);
        let mut plan = Plan::new(Kind::Mark, &[], &[])?;
        match (self.make_room(shared, plan.len()), self.log.last_mark) {
            (Ok(()), _) => {}
            // The log must be able to open on a full disk, however often: this mark says all that the last one does.
            (Err(e), Some(last)) if e.is_full() => self.log.offset = last,
            (Err(e), _) => return Err(e),
        }
        let place = Place {
            log_id: shared.log_id,
            file: FileId::log(self.log.number),
            offset: self.log.offset,
        };
        self.unstage();
        plan.encode(&place, stamp, &[], &mut self.buf);
        self.write_log(shared)?;
        self.log.last_mark = Some(place.offset);
        self.marked = stamp.synced;
        Ok(())
    }

    /// Goes to the next log segment when `len` bytes do not fit into this one. Commits leave room for a mark, so that the next open can
    /// write its own without space for a new segment.
    fn make_room(&mut self, shared: &Shared, len: u64) -> Result<(), Error> {
        if self.log.offset + len <= self.log.capacity {
            return Ok(());
        }
        let next = match self.take_free(shared, FILE_HEADER as u64 + len)? {
            Some(free) => free,
            None => {
                let number = self.next_log;
                let capacity = shared.options.log_segment_bytes;
                let file = segment::create_log(&*shared.device, number, shared.log_id, capacity)?;
                self.next_log += 1;
                self.dirty.add_dir();
                LogSegment::begin(number, file, capacity)
            }
        };
        let full = std::mem::replace(&mut self.log, next);
        if full.last_seq > self.released.seq {
            self.sealed.push(Sealed {
                number: full.number,
                last_seq: full.last_seq,
                capacity: full.capacity,
                end: full.offset,
            });
        } else {
            self.free.push(full.number);
        }
        Ok(())
    }

    /// A segment to be written over, of at least so many bytes: the first one, or one that an earlier option made, may be too small.
    fn take_free(&mut self, shared: &Shared, least: u64) -> Result<Option<LogSegment>, Error> {
        for (place, number) in self.free.iter().copied().enumerate().rev() {
            let id = FileId::log(number);
            let file = at("open", id, shared.device.open(&id.to_string(), false))?;
            let capacity = at("measure", id, file.len())?;
            if capacity >= least {
                self.free.remove(place);
                return Ok(Some(LogSegment::begin(number, file, capacity)));
            }
        }
        Ok(None)
    }

    /// Writes the buffer at the end of the log.
    fn write_log(&mut self, shared: &Shared) -> Result<(), Error> {
        let id = FileId::log(self.log.number);
        let (offset, len) = (self.log.offset, self.buf.len());
        self.dirty.add(id, &self.log.file);
        let file = &self.log.file;
        if let Err(e) = file.write_at(&[IoSlice::new(&self.buf)], offset) {
            // Each of its frames, since the next one that is written may end where another of them begins.
            let gone = || {
                if is_on(Mutation::NoUndo) {
                    return Ok(());
                }
                file.write_at(&[IoSlice::new(&vec![0; len])], offset)?;
                file.sync()
            };
            return Err(undo(shared, id, e, gone()));
        }
        self.log.offset += len as u64;
        self.log_written += len as u64;
        Ok(())
    }

    fn write_payload_frame(
        &mut self,
        shared: &Shared,
        plan: &mut Plan,
        stamp: Stamp,
        body: &[u8],
        payloads: &[Bytes],
    ) -> Result<Vec<PayloadRef>, Error> {
        let mut buf = std::mem::take(&mut self.buf);
        let result = self
            .payload_segment(shared, plan.len())
            .and_then(|segment| {
                let id = FileId::payload(segment.number);
                let offset = segment.offset;
                let place = Place {
                    log_id: shared.log_id,
                    file: id,
                    offset,
                };
                buf.clear();
                plan.encode(&place, stamp, body, &mut buf);
                let mut parts = Vec::with_capacity(1 + 2 * payloads.len());
                parts.push(IoSlice::new(&buf));
                for payload in payloads {
                    parts.push(IoSlice::new(payload));
                    let padding = frame::padding(payload.len());
                    if !padding.is_empty() {
                        parts.push(IoSlice::new(padding));
                    }
                }
                if let Err(e) = segment.file.write_at(&parts, offset) {
                    let gone = segment
                        .file
                        .set_len(offset)
                        .and_then(|()| segment.file.sync());
                    return Err(undo(shared, id, e, gone));
                }
                segment.offset += plan.len();
                Ok((id, segment.offset, segment.file.clone(), offset))
            });
        self.buf = buf;
        let (id, end, file, offset) = result?;
        self.dirty.add(id, &file);
        self.payload_lens.insert(id.number, end);
        Ok(refs(&plan.entries, id, offset))
    }

    /// The payload segment for a frame of `len` bytes: this one, or a new one when it would grow past its size.
    fn payload_segment(&mut self, shared: &Shared, len: u64) -> Result<&mut PayloadSegment, Error> {
        let fits = self.payload.as_ref().is_some_and(|segment| {
            segment.offset == FILE_HEADER as u64
                || segment.offset + len <= shared.options.payload_segment_bytes
        });
        if !fits {
            self.begin_payload(shared)?;
        }
        Ok(self.payload.as_mut().expect("it fits, or was just made"))
    }

    /// Makes the next payload segment; the one before it is written to no more.
    pub(crate) fn begin_payload(&mut self, shared: &Shared) -> Result<u32, Error> {
        let number = self.next_payload;
        let file = segment::create_payload(&*shared.device, number, shared.log_id)?;
        self.next_payload += 1;
        self.dirty.add_dir();
        self.dirty.add(FileId::payload(number), &file);
        self.payload_lens.insert(number, FILE_HEADER as u64);
        shared.readers.insert(number, file.clone());
        self.payload = Some(PayloadSegment {
            number,
            file,
            offset: FILE_HEADER as u64,
            named: false,
        });
        Ok(number)
    }

    /// Gives back the log segments that a checkpoint has made superfluous.
    pub(crate) fn release(&mut self, shared: &Shared, start: &Start) -> Result<(), Error> {
        if start.seq < self.released.seq {
            return Ok(());
        }
        self.released = *start;
        if let Some((_, written)) = self.positions.iter().find(|(seq, _)| *seq == start.seq) {
            self.log_released = *written;
        }
        let (done, needed): (Vec<_>, Vec<_>) = std::mem::take(&mut self.sealed)
            .into_iter()
            .partition(|s| s.last_seq <= start.seq);
        self.sealed = needed;
        let size = shared.options.log_segment_bytes;
        let (odd, usual): (Vec<_>, Vec<_>) = done.iter().partition(|s| s.capacity != size);
        // The last of them is used first.
        self.free.splice(0..0, odd.iter().map(|s| s.number));
        self.free.extend(usual.iter().map(|s| s.number));
        let mut keep = self.free.len() - odd.len();
        if self.log.last_seq <= start.seq {
            // Nothing in it is needed: write over it from its beginning, so that a small store keeps to one segment.
            self.log.offset = FILE_HEADER as u64;
            self.log.last_seq = 0;
            self.log.last_mark = None;
            // And nobody commits just now.
            keep = 0;
        }
        self.free_down_to(shared, keep.min(shared.options.free_segments));
        Ok(())
    }

    /// Deletes unused log segments until there are so many; but the segment that the last checkpoint names must be found at the next
    /// open.
    pub(crate) fn free_down_to(&mut self, shared: &Shared, keep: usize) {
        let surplus = self.free.len().saturating_sub(keep);
        let mut stay = Vec::new();
        for number in self.free.drain(..surplus) {
            if number == self.released.log {
                stay.push(number);
                continue;
            }
            let id = FileId::log(number);
            self.dirty.files.retain(|(known, _)| *known != id);
            match shared.device.remove(&id.to_string()) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(file = %id, error = %e, "a log segment that is not used stays");
                    stay.push(number);
                }
                _ => {}
            }
        }
        self.free.splice(0..0, stay);
    }
}

pub(crate) fn refs(entries: &[frame::Entry], file: FileId, offset: u64) -> Vec<PayloadRef> {
    entries
        .iter()
        .map(|e| PayloadRef {
            segment: file.number,
            offset: offset + e.at,
            len: e.len,
            crc: e.crc,
        })
        .collect()
}

/// After a failed write: what it left behind must be gone, and known to be gone, before the seq is used again.
fn undo(shared: &Shared, id: FileId, failed: std::io::Error, gone: std::io::Result<()>) -> Error {
    match gone {
        _ if is_on(Mutation::NoUndo) => Error::io("write", &id.to_string(), failed),
        Ok(()) => Error::io("write", &id.to_string(), failed),
        Err(e) => shared.poison.set("undo a failed write", &id.to_string(), e),
    }
}
