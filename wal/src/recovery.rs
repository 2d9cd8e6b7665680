//! What is on disk, what of it counts, and putting it right.
//!
//! *Mark*: the newest commit of which any valid header says that it was synced. *Gap*: a commit that is missing, or whose header,
//! body or (past the mark) payload fails its crc. Frames name their boot, and a frame past the mark was written in the same boot as
//! every missing one before it.
//!
//! | what is found | what recovery does | test |
//! | --- | --- | --- |
//! | nothing past the start | starts there | `row_nothing` |
//! | frames to the end of the log | replays them | `row_whole` |
//! | whole frames past the mark | replays, writes them again in place, syncs | `row_tail_is_rewritten` |
//! | a bad last frame past the mark | torn: cuts it | `row_torn_tail` |
//! | a gap past the mark, valid frames after it, **another boot** | torn: a power cut; cuts from the gap on | `row_power_cut_gap` |
//! | a gap past the mark, valid frames after it, **the same boot** | damage: names the lost commits, replays the others | `row_same_boot_gap` |
//! | a gap at or below the mark | damage: names the lost commits, replays the others | `row_gap_below_mark` |
//! | the log ends below the mark | damage: names the lost commits; their numbers are not used again | `row_end_below_mark` |
//! | a bad payload past the mark, a whole later commit of the same boot | damage; replays; reading the payload answers `Corrupt` | `row_bad_payload_same_boot` |
//! | a bad payload at or below the mark | replays; reading the payload answers `Corrupt` | `row_bad_payload_below_mark` |
//! | the segments that the start names are missing or too short | damage | `row_missing_files` |
//! | a file header is bad | damage, written again; the frames count (they name their place themselves) | `row_bad_file_header` |
//! | a segment without header and frames (its making was cut short) | uses or deletes it | `row_unfinished_segment` |
//! | a frame of an earlier epoch past the begin of a later one | void: recovery cut it once | `row_void` |
//! | a file of another log, or with another number | names it at each open; leaves it alone | `row_foreign_file` |
//! | a log segment that is longer than one can be | damage; what lies past 1 GiB is not looked at | `row_too_long` |
//! | a file of a newer version | refuses to open | `row_newer_version` |
//! | frames of an earlier use, frames in a payload, frames that were moved | not frames | `row_not_frames` |
//!
//! A damaged frame stays where it is, for a person or a later repair, and commits go on in new segments.

mod repair;

use crate::{
    Bytes, Damage, Device, Error, File, Recovery, Replayed, Start, Torn,
    frame::{
        self, ALIGN, Entry, FILE_HEADER, FileHeader, FileId, FileKind, Header, Kind, Place, aligned,
    },
    mutation::{Mutation, fits, is_on},
    segment::{MAX_LOG_SEGMENT, MIN_LOG_SEGMENT, at},
    writer::refs,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// A frame header that was found, past the start.
struct Found {
    /// Index into [`Scan::files`].
    file: usize,
    offset: u64,
    header: Header,
    /// The payload table; `None` when body or length are bad.
    entries: Option<Vec<Entry>>,
    /// Header, table and body; empty when they are bad.
    head: Bytes,
}

impl Found {
    fn end(&self) -> u64 {
        self.offset + self.header.frame_len()
    }
    fn is_commit(&self) -> bool {
        self.header.kind == Kind::Commit
    }
}

/// One file, read.
struct Scanned {
    id: FileId,
    file: Arc<dyn File>,
    len: u64,
    /// Where scanning began.
    base: u64,
    /// The bytes of a payload segment from `base` on.
    bytes: Bytes,
    header: FileHeader,
    /// The header was not written to its end.
    blank: bool,
}

impl Scanned {
    /// A log segment that can be written over, whatever its size.
    fn is_usable(&self) -> bool {
        !self.blank && (MIN_LOG_SEGMENT..=MAX_LOG_SEGMENT).contains(&self.len)
    }
}

/// What the files say.
pub(crate) struct Scan {
    start: Start,
    boot: u32,
    /// The epoch that begins with this recovery.
    epoch: u32,
    files: Vec<Scanned>,
    /// Payload segments below the start, and their lengths.
    older: BTreeMap<u32, u64>,
    /// Good commits that count, in order.
    kept: Vec<Found>,
    /// All other headers that were found.
    rest: Vec<Found>,
    next_log: u32,
    next_payload: u32,
    next_seq: u64,
    pub(crate) recovery: Recovery,
}

/// What a frame carries of the boot id. 0: unknown.
pub(crate) fn boot(id: [u8; 16]) -> u32 {
    if id == [0; 16] {
        0
    } else {
        crc32fast::hash(&id).max(1)
    }
}

/// True when a process ended while it wrote this header: a part of the right bytes, then zeros.
fn is_unfinished(head: &[u8; FILE_HEADER], id: FileId, log_id: u64) -> bool {
    let whole = frame::encode_file_header(id, log_id);
    let same = head.iter().zip(&whole).take_while(|(a, b)| a == b).count();
    same < FILE_HEADER && head.iter().skip(same).all(|b| *b == 0)
}

impl Scan {
    /// Reads the files and decides; writes nothing.
    pub(crate) fn new(device: &dyn Device, start: Start) -> Result<Self, Error> {
        let mut scan = Self {
            start,
            boot: boot(device.boot_id()),
            epoch: 0,
            files: Vec::new(),
            older: BTreeMap::new(),
            kept: Vec::new(),
            rest: Vec::new(),
            next_log: start.log.saturating_add(1),
            next_payload: start.payload.map_or(1, |(n, _)| n.saturating_add(1)),
            next_seq: 0,
            recovery: Recovery::default(),
        };
        let mut found = Vec::new();
        for id in FileId::list(device)? {
            let next = match id.kind {
                FileKind::Log => &mut scan.next_log,
                FileKind::Payload => &mut scan.next_payload,
            };
            *next = (*next).max(id.number.saturating_add(1));
            scan.read(device, id, &mut found)?;
        }
        scan.check_start();
        scan.decide(found);
        Ok(scan)
    }

    fn read(
        &mut self,
        device: &dyn Device,
        id: FileId,
        found: &mut Vec<Found>,
    ) -> Result<(), Error> {
        let file = at("open", id, device.open(&id.to_string(), false))?;
        let len = at("measure", id, file.len())?;
        let first = FILE_HEADER as u64;
        let base = match (id.kind, self.start.payload) {
            (FileKind::Payload, Some((segment, _))) if id.number < segment => {
                self.older.insert(id.number, len);
                return Ok(());
            }
            (FileKind::Payload, Some((segment, offset))) if id.number == segment => {
                aligned(offset.clamp(first, len.max(first)))
            }
            _ => first,
        };
        let mut head = [0; FILE_HEADER];
        at("read", id, file.read_at(&mut head, 0))?;
        let header = frame::decode_file_header(&head, id.kind);
        match header {
            FileHeader::Newer { version } => {
                return Err(Error::UnknownVersion {
                    file: id.to_string(),
                    found: version,
                    known: frame::VERSION,
                });
            }
            FileHeader::Valid { number, log_id }
                if log_id != self.start.log_id || number != id.number =>
            {
                tracing::warn!(file = %id, "is not of this log, and is left alone; move it away");
                self.recovery.foreign.push(id.to_string());
                return Ok(());
            }
            _ => {}
        }
        let index = self.files.len();
        let bytes = match id.kind {
            _ if base >= len => Bytes::new(),
            FileKind::Payload => {
                let bytes = at("read", id, file.view(base..len))?;
                self.find(index, id, base, &bytes, true, found);
                bytes
            }
            // Log segments are written over while they are open, and a view must not change.
            FileKind::Log => {
                if len > MAX_LOG_SEGMENT {
                    self.damage(Some(id), MAX_LOG_SEGMENT, 0..0);
                }
                self.find_in_log(index, id, &*file, len.min(MAX_LOG_SEGMENT), found)?;
                Bytes::new()
            }
        };
        let blank = is_unfinished(&head, id, self.start.log_id);
        if header == FileHeader::Bad && !blank {
            self.damage(Some(id), 0, 0..0);
        }
        self.files.push(Scanned {
            id,
            file,
            len,
            base,
            bytes,
            header,
            blank,
        });
        Ok(())
    }

    /// Finds all frame headers of a log segment; in memory is no more of it than a window, and the frames that were found.
    fn find_in_log(
        &self,
        index: usize,
        id: FileId,
        file: &dyn File,
        len: u64,
        found: &mut Vec<Found>,
    ) -> Result<(), Error> {
        const WINDOW: u64 = 4 << 20;
        let mut from = FILE_HEADER as u64;
        let mut size = WINDOW;
        while from < len {
            let mut bytes = vec![0; (len - from).min(size) as usize];
            let n = at("read", id, file.read_at(&mut bytes, from))?;
            let last = n < bytes.len() || from + n as u64 >= len;
            bytes.truncate(n);
            let next = self.find(index, id, from, &bytes.into(), last, found);
            if last {
                break;
            }
            // The frame at this place is longer than the window.
            size = if next == from { size * 2 } else { WINDOW };
            from = next;
        }
        Ok(())
    }

    /// Finds all frame headers past the start, in bytes that lie at `base`. After a good frame the search goes on behind it, else
    /// at the next aligned byte: the length of a bad or old frame says nothing about what lies in it now. When the bytes are not the
    /// `last` ones, answers the place from which more of them are needed.
    fn find(
        &self,
        file: usize,
        id: FileId,
        base: u64,
        bytes: &Bytes,
        last: bool,
        found: &mut Vec<Found>,
    ) -> u64 {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|r| r.len() >= frame::HEADER) {
            // Nearly all of a segment that is not full is passed over here.
            if !frame::may_start(rest) {
                at += ALIGN as usize;
                continue;
            }
            let offset = base + at as u64;
            let place = Place {
                log_id: self.start.log_id,
                file: id,
                offset,
            };
            let fresh = Header::decode(rest, &place).filter(|h| match h.kind {
                _ if h.seq.max(h.synced) >= frame::SEQ_END => false,
                Kind::Commit => h.seq > self.start.seq,
                Kind::Mark => true,
            });
            let mut step = ALIGN;
            if let Some(header) = fresh {
                if header.frame_len() > rest.len() as u64 && !last {
                    break;
                }
                let entries = header
                    .decode_table(rest)
                    .filter(|_| header.frame_len() <= rest.len() as u64);
                let mut head = Bytes::new();
                if entries.is_some() {
                    step = header.frame_len();
                    let end = header.body_at() + u64::from(header.body_len);
                    head = bytes.slice(at..at + end as usize);
                }
                found.push(Found {
                    file,
                    offset,
                    header,
                    entries,
                    head,
                });
            }
            at += step as usize;
        }
        base + at as u64
    }

    fn check_start(&mut self) {
        let log = FileId::log(self.start.log);
        if !self.files.iter().any(|f| f.id == log) {
            self.damage_once(log);
        }
        if let Some((number, offset)) = self.start.payload {
            let id = FileId::payload(number);
            if !self.files.iter().any(|f| f.id == id && f.len >= offset) {
                self.damage_once(id);
            }
        }
    }

    fn damage_once(&mut self, id: FileId) {
        let name = id.to_string();
        if !self
            .recovery
            .damage
            .iter()
            .any(|d| d.file.as_ref() == Some(&name))
        {
            self.damage(Some(id), 0, 0..0);
        }
    }

    fn damage(&mut self, file: Option<FileId>, offset: u64, seqs: Range<u64>) {
        self.recovery.damage.push(Damage {
            file: file.map(|f| f.to_string()),
            offset,
            seqs,
        });
    }

    /// True when all payloads have the crc of the table.
    fn payloads_good(&self, found: &Found) -> bool {
        let (Some(entries), Some(file)) = (&found.entries, self.files.get(found.file)) else {
            return false;
        };
        let start = found.offset - file.base;
        entries.iter().all(|e| {
            let from = (start + e.at) as usize;
            file.bytes
                .get(from..from + e.len as usize)
                .is_some_and(|bytes| {
                    fits(crc32fast::hash(bytes), e.crc) || is_on(Mutation::TrustPayload)
                })
        })
    }

    /// Drops the frames that are void and begins an epoch past all that were seen.
    fn drop_void(&mut self, found: &mut Vec<Found>) {
        // For each epoch: a seq at or past which it began.
        let mut begins = BTreeMap::from([(self.start.epoch, self.start.seq)]);
        for f in found.iter() {
            let before = match f.header.kind {
                Kind::Commit => f.header.seq.saturating_sub(1),
                Kind::Mark => f.header.seq,
            };
            let begin = begins.entry(f.header.epoch).or_insert(before);
            *begin = before.min(*begin);
        }
        let newest = begins.last_key_value().map_or(0, |(epoch, _)| *epoch);
        self.epoch = newest.saturating_add(1);
        // For each epoch: where the first later one began.
        let mut first = u64::MAX;
        for begin in begins.values_mut().rev() {
            let later = first;
            first = first.min(*begin);
            *begin = later;
        }
        if is_on(Mutation::TrustOldEpoch) {
            return;
        }
        found.retain(|f| {
            let end = begins.get(&f.header.epoch).copied().unwrap_or(u64::MAX);
            !f.is_commit() || f.header.seq <= end
        });
    }

    /// Sorts what was found into what counts and what does not.
    fn decide(&mut self, mut found: Vec<Found>) {
        self.drop_void(&mut found);
        let mark = found
            .iter()
            .map(|f| f.header.synced)
            .fold(self.start.seq, u64::max);
        let (good, mut rest): (Vec<_>, Vec<_>) = found
            .into_iter()
            .partition(|f| f.is_commit() && f.entries.is_some());
        // Past the mark a bad payload may be a write that did not reach the disk whole; then the commit is bad.
        let (mut good, weak): (Vec<_>, Vec<_>) = good
            .into_iter()
            .partition(|f| f.header.seq <= mark || self.payloads_good(f));
        // Unless a later commit of this boot is whole: then it was whole once, and only the payload is damaged.
        let whole_until = good
            .iter()
            .filter(|f| self.boot != 0 && f.header.boot == self.boot)
            .map(|f| f.header.seq)
            .max();
        for bad in weak {
            if whole_until.is_some_and(|newest| bad.header.seq < newest) {
                let id = self.files.get(bad.file).map(|f| f.id);
                self.damage(id, bad.offset, 0..0);
                good.push(bad);
            } else {
                rest.push(bad);
            }
        }
        good.sort_by_key(|f| f.header.seq);
        let mut expected = self.start.seq + 1;
        let mut kept: Vec<Found> = Vec::with_capacity(good.len());
        let mut cut: Vec<Found> = Vec::new();
        for next in good {
            let seq = next.header.seq;
            if !cut.is_empty() {
                cut.push(next);
                continue;
            }
            if seq < expected {
                rest.push(next);
                continue;
            }
            if seq > expected && !is_on(Mutation::IgnoreGap) {
                let same_boot = self.boot != 0 && next.header.boot == self.boot;
                // The part of the gap at or below the mark is damage in any case; what is past it only when the page
                // cache that held it was never lost.
                let lost = if same_boot { seq } else { seq.min(mark + 1) };
                if lost > expected {
                    let (file, offset) = self.locate(expected, &kept, &rest, Some(&next));
                    self.damage(file, offset, expected..lost);
                    expected = lost;
                }
                if seq > expected {
                    cut.push(next);
                    continue;
                }
            }
            expected = seq + 1;
            kept.push(next);
        }
        if cut.is_empty() && expected <= mark {
            let (file, offset) = self.locate(expected, &kept, &rest, None);
            self.damage(file, offset, expected..mark + 1);
            expected = mark + 1;
        }
        let traces = cut
            .iter()
            .chain(
                rest.iter()
                    .filter(|f| f.is_commit() && f.header.seq >= expected),
            )
            .map(|f| f.header.seq);
        if let Some(newest) = traces.max() {
            let (file, offset) = self.locate(expected, &kept, &rest, cut.first());
            self.recovery.torn = Some(Torn {
                file: file.map(|f| f.to_string()),
                offset,
                seqs: expected..newest.saturating_add(1),
            });
        }
        rest.append(&mut cut);
        self.recovery.mark = mark;
        self.recovery.last_seq = expected - 1;
        self.recovery.replayed = kept.len() as u64;
        self.next_seq = expected;
        self.kept = kept;
        self.rest = rest;
        self.find_torn_payload();
    }

    /// Where the missing commit `seq` is, or most likely was.
    fn locate(
        &self,
        seq: u64,
        kept: &[Found],
        rest: &[Found],
        next: Option<&Found>,
    ) -> (Option<FileId>, u64) {
        let id = |f: &Found| self.files.get(f.file).map(|s| s.id);
        if let Some(bad) = rest.iter().find(|f| f.is_commit() && f.header.seq == seq) {
            return (id(bad), bad.offset);
        }
        // A hole in a file: behind a frame before it, in front of the frame after it.
        if let Some(next) = next {
            let before = kept.iter().rev().find(|f| f.file == next.file);
            let end = before.map_or(FILE_HEADER as u64, Found::end);
            let base = self.files.get(next.file).map_or(end, |f| f.base.max(end));
            if base < next.offset {
                return (id(next), base);
            }
        }
        kept.last().map_or((None, 0), |f| (id(f), f.end()))
    }

    /// Where the frames that count end in a file.
    fn kept_end(&self, index: usize) -> u64 {
        let base = self.files.get(index).map_or(FILE_HEADER as u64, |f| f.base);
        self.kept
            .iter()
            .filter(|f| f.file == index)
            .map(Found::end)
            .fold(base, u64::max)
    }

    /// Where writing goes on in a log segment: behind the frames that count, and the marks that follow them. And where the last of
    /// these marks lies.
    fn log_end(&self, index: usize) -> (u64, Option<u64>) {
        let mut end = self.kept_end(index);
        let mut last = None;
        let marks = self.rest.iter().filter(|f| f.file == index);
        for mark in marks.filter(|f| !f.is_commit() && f.entries.is_some()) {
            if mark.offset == end {
                last = Some(end);
                end = mark.end();
            }
        }
        (end, last)
    }

    /// Bytes behind the last frame of the last payload segment are a torn end, even when no header is left of it.
    fn find_torn_payload(&mut self) {
        if self.recovery.torn.is_some() || !self.recovery.damage.is_empty() {
            return;
        }
        for index in 0..self.files.len() {
            let end = self.kept_end(index);
            let file = &self.files[index];
            if file.id.kind == FileKind::Payload && file.len > end {
                self.recovery.torn = Some(Torn {
                    file: Some(file.id.to_string()),
                    offset: end,
                    seqs: self.next_seq..self.next_seq,
                });
                return;
            }
        }
    }

    /// Hands over all commits that count, in order.
    pub(crate) fn replay<E>(
        &self,
        mut each: impl FnMut(Replayed<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        for found in &self.kept {
            let file = &self.files[found.file];
            let body = found.head.get(found.header.body_at() as usize..);
            let body = body.unwrap_or_default();
            let entries = found.entries.as_deref().unwrap_or_default();
            each(Replayed {
                seq: found.header.seq,
                body,
                payloads: refs(entries, file.id, found.offset),
                damaged: !self.recovery.damage.is_empty(),
                bytes: &file.bytes,
                base: file.base,
            })?;
        }
        Ok(())
    }
}
