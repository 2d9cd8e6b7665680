//! Walking through what lies in a segment, in order of place: for compaction, and for a check of every byte.
//!
//! Nothing here looks at what counts: a frame that recovery left aside lies in its segment as any other. Whoever asks whether a
//! value lives compares with the index.

use crate::{
    Bytes, Error, File, PayloadRef,
    frame::{self, ALIGN, Entry, FILE_HEADER, FileHeader, FileId, Header, Kind, Place},
    segment::at,
    writer::refs,
};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// How much is read at a time where frames are looked for, in bytes.
const WINDOW: u64 = 256 << 10;

/// A commit as it lies in a payload segment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SegmentFrame {
    /// The number of the commit.
    pub seq: u64,
    /// Where the frame starts in the segment, in bytes.
    pub offset: u64,
    /// Its length in bytes, payloads included.
    pub len: u64,
    /// What was given to [`Log::commit`](crate::Log::commit); its crc was checked.
    pub body: Bytes,
    /// Where its payloads lie, in the order in which they were given. Their bytes were looked at only by a
    /// [checked](Frames::checked) walk.
    pub payloads: Vec<PayloadRef>,
}

/// Bytes of a segment that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadRange {
    /// In which file.
    pub file: String,
    /// What should be there: `file header`, `frame`, `payload` or `padding`.
    pub what: &'static str,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// How many bytes cannot be told from bad ones.
    pub len: u64,
    /// The payload that the bytes belong to, if they are one's. An index may point at it.
    pub payload: Option<PayloadRef>,
}

/// One step of [`Frames`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SegmentPart {
    /// A frame with a good header and body.
    Frame(SegmentFrame),
    /// A stretch that is no frame; or, in a [checked](Frames::checked) walk, a bad part of the frame that came before it.
    Bad(BadRange),
}

/// Where a walk reads.
pub(crate) enum Source {
    File(Arc<dyn File>),
    /// The first bytes of a file that may change.
    Memory(Bytes),
}

/// What lies in a segment, in order of place. Made by [`Log::frames`](crate::Log::frames).
///
/// Memory is bounded by one frame without its payloads (and one payload, when checked). After an error it ends.
pub struct Frames {
    source: Source,
    id: FileId,
    log_id: u64,
    at: u64,
    end: u64,
    checked: bool,
    ready: VecDeque<SegmentPart>,
}

impl Frames {
    /// Walks from the file header to byte `end`.
    pub(crate) fn new(source: Source, id: FileId, log_id: u64, end: u64) -> Self {
        Self {
            source,
            id,
            log_id,
            at: 0,
            end,
            checked: false,
            ready: VecDeque::new(),
        }
    }

    /// Reads payloads and padding as well, so that every byte is checked; what is bad follows its frame.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// How far the walk has come, in bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// Where it ends, in bytes.
    pub fn end(&self) -> u64 {
        self.end
    }

    fn bad(&self, what: &'static str, range: Range<u64>, payload: Option<PayloadRef>) -> BadRange {
        BadRange {
            file: self.id.to_string(),
            what,
            offset: range.start,
            len: range.end - range.start,
            payload,
        }
    }

    fn view(&self, range: Range<u64>) -> Result<Bytes, Error> {
        match &self.source {
            Source::File(file) => at("read", self.id, file.view(range)),
            Source::Memory(bytes) => Ok(bytes.slice(range.start as usize..range.end as usize)),
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        if self.at == 0 {
            self.at = FILE_HEADER as u64;
            let head = match self.end >= self.at {
                true => self.view(0..self.at)?,
                false => Bytes::new(),
            };
            let good = FileHeader::Valid {
                number: self.id.number,
                log_id: self.log_id,
            };
            if frame::decode_file_header(&head, self.id.kind) != good {
                let bad = self.bad("file header", 0..self.at.min(self.end), None);
                self.ready.push_back(SegmentPart::Bad(bad));
            }
            return Ok(());
        }
        let from = self.at;
        let Some((header, entries, body)) = self.frame_at(from)? else {
            self.at = self.next_frame(from + ALIGN)?;
            let bad = self.bad("frame", from..self.at, None);
            self.ready.push_back(SegmentPart::Bad(bad));
            return Ok(());
        };
        self.at = from + header.frame_len();
        if header.kind == Kind::Commit {
            self.ready.push_back(SegmentPart::Frame(SegmentFrame {
                seq: header.seq,
                offset: from,
                len: header.frame_len(),
                body,
                payloads: refs(&entries, self.id, from),
            }));
        }
        if self.checked {
            self.check(from, &header, &entries)?;
        }
        Ok(())
    }

    /// The frame at this place, if there is a good one.
    fn frame_at(&self, from: u64) -> Result<Option<(Header, Vec<Entry>, Bytes)>, Error> {
        let Some(body) = from
            .checked_add(frame::HEADER as u64)
            .filter(|e| *e <= self.end)
        else {
            return Ok(None);
        };
        let place = Place {
            log_id: self.log_id,
            file: self.id,
            offset: from,
        };
        let Some(header) = Header::decode(&self.view(from..body)?, &place) else {
            return Ok(None);
        };
        if from + header.frame_len() > self.end {
            return Ok(None);
        }
        let head = self.view(from..from + header.body_at() + u64::from(header.body_len))?;
        let entries = header.decode_table(&head);
        Ok(entries.map(|entries| {
            let body = head.slice(header.body_at() as usize..);
            (header, entries, body)
        }))
    }

    /// Where the next good frame starts, at or past `from`; the end when there is none.
    fn next_frame(&self, from: u64) -> Result<u64, Error> {
        let mut from = from;
        while from + frame::HEADER as u64 <= self.end {
            let to = self.end.min(from + WINDOW);
            let window = self.view(from..to)?;
            for (i, word) in window.chunks(ALIGN as usize).enumerate() {
                let place = from + i as u64 * ALIGN;
                if frame::may_start(word) && self.frame_at(place)?.is_some() {
                    return Ok(place);
                }
            }
            from = to.next_multiple_of(ALIGN);
        }
        Ok(self.end)
    }

    /// Checks what the crcs of header and body do not cover.
    fn check(&mut self, from: u64, header: &Header, entries: &[Entry]) -> Result<(), Error> {
        let body_end = from + header.body_at() + u64::from(header.body_len);
        self.check_padding(body_end..from + header.payloads_at())?;
        for (entry, payload) in entries.iter().zip(refs(entries, self.id, from)) {
            let range = payload.offset..payload.offset + u64::from(payload.len);
            if crc32fast::hash(&self.view(range.clone())?) != entry.crc {
                let bad = self.bad("payload", range.clone(), Some(payload));
                self.ready.push_back(SegmentPart::Bad(bad));
            }
            self.check_padding(range.end..frame::aligned(range.end))?;
        }
        Ok(())
    }

    fn check_padding(&mut self, range: Range<u64>) -> Result<(), Error> {
        if self.view(range.clone())?.iter().any(|b| *b != 0) {
            let bad = self.bad("padding", range, None);
            self.ready.push_back(SegmentPart::Bad(bad));
        }
        Ok(())
    }
}

impl Iterator for Frames {
    type Item = Result<SegmentPart, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Some(Ok(part));
            }
            if self.at >= self.end {
                return None;
            }
            if let Err(e) = self.step() {
                self.at = self.end;
                self.ready.clear();
                return Some(Err(e));
            }
        }
    }
}
