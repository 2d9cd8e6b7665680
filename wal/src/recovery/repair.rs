//! Putting right what a scan has found: the tail is written again, what does not count gives its space back, and the segments are
//! sorted into the one that goes on, full ones and free ones.

use super::{Found, Scan, Scanned};
use crate::{
    Bytes, Device, Error, LogOptions, Recovery,
    frame::{self, FILE_HEADER, FileHeader, FileId, FileKind},
    mutation::{Mutation, is_on},
    poison::Poison,
    segment::{self, MAX_LOG_SEGMENT, at},
    writer::{Dirty, LogSegment, PayloadSegment, Sealed, Staged, Writer},
};
use std::{collections::VecDeque, io::IoSlice};

impl Scan {
    /// Writes the tail again, cuts what does not count, syncs all of it, and answers where commits go on.
    pub(crate) fn finish(
        mut self,
        device: &dyn Device,
        options: &LogOptions,
    ) -> Result<(Writer, Recovery), Error> {
        // Views must not be alive while their files are written.
        for file in &mut self.files {
            file.bytes = Bytes::new();
        }
        for found in self.kept.iter_mut().chain(&mut self.rest) {
            found.head = Bytes::new();
        }
        let mut writer = self.writer(device, options)?;
        if !options.read_only {
            self.cut(device, &mut writer)?;
            self.rewrite(&mut writer)?;
            writer.dirty.add_dir();
            let dirty = std::mem::take(&mut writer.dirty);
            let poison = Poison::default();
            dirty.sync(device, &poison)?;
        }
        Ok((writer, self.recovery))
    }

    /// Everything past the mark: an earlier sync may have failed, and then the page cache shows bytes that are not on disk and
    /// that no sync would write. Written again, they are dirty again.
    fn rewrite(&mut self, writer: &mut Writer) -> Result<(), Error> {
        const STEP: u64 = 1 << 20;
        let mut buf = Vec::new();
        for found in self
            .kept
            .iter()
            .filter(|f| f.header.seq > self.recovery.mark && !is_on(Mutation::NoRewrite))
        {
            let Scanned { id, file, .. } = &self.files[found.file];
            let (mut from, end) = (found.offset, found.end());
            while from < end {
                buf.resize((end - from).min(STEP) as usize, 0);
                let n = at("read", *id, file.read_at(&mut buf, from))?;
                if n < buf.len() {
                    let short = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(Error::io("read", &id.to_string(), short));
                }
                at("write", *id, file.write_at(&[IoSlice::new(&buf)], from))?;
                from += n as u64;
            }
            writer.dirty.add(*id, file);
            self.recovery.rewritten += 1;
        }
        for file in &self.files {
            if file.header == FileHeader::Bad && !self.is_leftover(file, writer) {
                let header = frame::encode_file_header(file.id, self.start.log_id);
                at(
                    "write",
                    file.id,
                    file.file.write_at(&[IoSlice::new(&header)], 0),
                )?;
                writer.dirty.add(file.id, &file.file);
            }
        }
        Ok(())
    }

    /// A payload segment that was removed by [`cut`](Self::cut).
    fn is_leftover(&self, file: &Scanned, writer: &Writer) -> bool {
        file.id.kind == FileKind::Payload && !writer.payload_lens.contains_key(&file.id.number)
    }

    /// Gives back the space of payload segments behind the frames that count. In a damaged log a lost commit may lie there.
    fn cut(&mut self, device: &dyn Device, writer: &mut Writer) -> Result<(), Error> {
        if !self.recovery.damage.is_empty() {
            return Ok(());
        }
        for (index, scanned) in self.files.iter().enumerate() {
            let end = self.kept_end(index);
            let Scanned { id, file, len, .. } = scanned;
            if id.kind != FileKind::Payload {
                continue;
            }
            let below = self.start.payload.is_none_or(|(n, _)| id.number > n);
            if end == FILE_HEADER as u64 && below {
                at("remove", *id, device.remove(&id.to_string()))?;
                writer.payload_lens.remove(&id.number);
                continue;
            }
            if *len > end {
                at("cut", *id, file.set_len(end))?;
            }
            // Also when there is nothing to cut: an earlier recovery may have done it and ended before the sync.
            writer.dirty.add(*id, file);
            writer.payload_lens.insert(id.number, end);
        }
        if writer
            .payload
            .as_ref()
            .is_some_and(|p| !writer.payload_lens.contains_key(&p.number))
        {
            writer.payload = None;
        }
        Ok(())
    }

    /// Sorts the segments into the one that goes on, full ones and free ones.
    fn writer(&self, device: &dyn Device, options: &LogOptions) -> Result<Writer, Error> {
        let damaged = !self.recovery.damage.is_empty();
        let size = options.log_segment_bytes;
        let mut sealed = Vec::new();
        let mut free = Vec::new();
        let mut dirty = Dirty::default();
        for (index, file) in self.files.iter().enumerate() {
            if file.id.kind != FileKind::Log {
                continue;
            }
            let number = file.id.number;
            let kept = self.kept.iter().filter(|f| f.file == index);
            // A damaged segment may hold lost commits: it stays until a checkpoint covers all that is there.
            let evidence = damaged && self.rest.iter().any(|f| f.file == index && f.is_commit());
            let last = kept.map(|f| f.header.seq).max();
            if let Some(last_seq) = last.or(evidence.then(|| self.next_seq - 1)) {
                sealed.push(Sealed {
                    number,
                    last_seq,
                    capacity: file.len.min(MAX_LOG_SEGMENT),
                    end: self.log_end(index).0,
                });
            } else if file.len == size && !file.blank || options.read_only {
                free.push(number);
            } else if number == self.start.log && file.is_usable() {
                // Of another size than wanted, but the disk may have no room for a new one.
                free.push(number);
            } else if number == self.start.log {
                let made = segment::create_log(device, number, self.start.log_id, size)?;
                at("cut", file.id, made.set_len(size))?;
                dirty.add(file.id, &made);
                free.push(number);
            } else {
                at("remove", file.id, device.remove(&file.id.to_string()))?;
            }
        }
        sealed.sort_by_key(|s| s.last_seq);
        let mut next_log = self.next_log;
        let last = sealed.pop_if(|_| !damaged || options.read_only);
        let reused = match free.iter().position(|n| *n == self.start.log) {
            Some(at) => Some(free.swap_remove(at)),
            None => free.pop(),
        };
        let log = match (last, reused) {
            (Some(last), reused) => {
                free.extend(reused);
                self.continue_log(&last)
            }
            (None, Some(number)) => Self::begin_log(device, number)?,
            (None, None) if options.read_only => {
                return Err(Error::NotALog {
                    file: FileId::log(self.start.log).to_string(),
                    what: "no log segment is there",
                });
            }
            (None, None) => {
                let number = next_log;
                next_log += 1;
                let file = segment::create_log(device, number, self.start.log_id, size)?;
                dirty.add(FileId::log(number), &file);
                LogSegment::begin(number, file, size)
            }
        };
        let payloads = || {
            let files = self.files.iter().enumerate();
            files.filter(|(_, f)| f.id.kind == FileKind::Payload)
        };
        let mut payload_lens = self.older.clone();
        payload_lens.extend(payloads().map(|(_, f)| (f.id.number, f.len)));
        let payload = payloads()
            .next_back()
            .filter(|_| !damaged)
            .map(|(index, f)| PayloadSegment {
                number: f.id.number,
                file: f.file.clone(),
                offset: self.kept_end(index),
                // Recovery syncs the folder before a commit can be made.
                named: true,
            });
        let in_log = |f: &&Found| self.files[f.file].id.kind == FileKind::Log;
        Ok(Writer {
            next_seq: self.next_seq,
            boot: self.boot,
            epoch: self.epoch,
            // The mark that was found may itself be in the page cache only: write another when asked.
            marked: self.start.seq,
            log,
            sealed,
            free,
            next_log,
            payload,
            next_payload: self.next_payload,
            payload_lens,
            released: self.start,
            log_written: self
                .kept
                .iter()
                .filter(in_log)
                .map(|f| f.header.frame_len())
                .sum(),
            log_released: 0,
            positions: VecDeque::new(),
            dirty,
            buf: Vec::new(),
            staged: Staged::default(),
        })
    }

    fn continue_log(&self, sealed: &Sealed) -> LogSegment {
        let id = FileId::log(sealed.number);
        let index = self.files.iter().position(|f| f.id == id);
        let index = index.expect("a sealed segment is one of the files");
        let (offset, last_mark) = self.log_end(index);
        LogSegment {
            number: sealed.number,
            file: self.files[index].file.clone(),
            offset,
            capacity: sealed.capacity,
            last_seq: sealed.last_seq,
            last_mark,
        }
    }

    fn begin_log(device: &dyn Device, number: u32) -> Result<LogSegment, Error> {
        let id = FileId::log(number);
        let file = at("open", id, device.open(&id.to_string(), false))?;
        let capacity = at("measure", id, file.len())?.min(MAX_LOG_SEGMENT);
        Ok(LogSegment::begin(number, file, capacity))
    }
}
