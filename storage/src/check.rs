//! Reads and verifies every byte: superblock, manifest, tables, log, and payload segments with all that is dead in them; every entry of the index against
//! the frame that it points into.

mod log;

use crate::{
    Space, Store,
    error::{Error, Op},
    format::{
        Live, MANIFEST_PREFIX, Manifest, SLOT_BYTES, SPACE_BYTES, file_name, manifest_file_bytes,
    },
    index::{Cursor, KeyRange, Layer, Slot, Table, TablePart},
    store::Inner,
    view::{Lower, View},
};
use bytes::Bytes;
use pome_wal::{PayloadRef, SegmentPart};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::ErrorKind,
    ops::Bound,
    sync::Arc,
};

/// So many values are compared with their segments at a time; more take another walk through the index.
const GROUP_VALUES: u64 = 1 << 22;

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The superblock or the manifest. The open store knows what should be there.
    Head,
    /// Commits that recovery could not read, or will not.
    Log,
    /// A part of a table of the index.
    Table,
    /// The value of a key.
    Value,
    /// Bytes of a payload segment that nothing points at: nothing is lost with them.
    Dead,
    /// How much of a payload segment is alive.
    Counts,
}

/// Something that is not as it should be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finding {
    /// Of which kind it is.
    pub fault: Fault,
    /// What is wrong, where; `Corrupt` as a rule, `Io` where the disk refuses to read.
    pub error: Error,
    /// The key whose value is lost by it, when it is one.
    pub key: Option<(Space, Bytes)>,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Bytes read.
    pub bytes: u64,
    /// Keys that have a value.
    pub keys: u64,
    /// Values in payload segments that were verified.
    pub payloads: u64,
    /// Payload segments that were read, dead bytes included.
    pub segments: u64,
    /// Sorted tables that were read.
    pub tables: u64,
    /// Commits that were read from the log.
    pub commits: u64,
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// Bytes of payload segments that are not what was written, and that nothing needs: a sign of a disk that fails, or what is left of damage that was
    /// accepted. All of [`Fault::Dead`].
    pub dead: Vec<Finding>,
}

impl Report {
    /// True when nothing is wrong with what the store holds; there may be bad [dead](Self::dead) bytes.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, fault: Fault, error: Error) {
        let finding = Finding {
            fault,
            error,
            key: None,
        };
        match fault {
            Fault::Dead => self.dead.push(finding),
            _ => self.findings.push(finding),
        }
    }
}

/// A report, and what a repair wants to know besides.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) report: Report,
    pub(crate) tables: Vec<(Arc<Table>, TablePart)>,
    /// Segments with bad bytes that nothing points at.
    pub(crate) dead: BTreeSet<u32>,
}

/// A living value in a segment.
struct LiveValue {
    offset: u64,
    len: u32,
    crc: u32,
    verified: bool,
}

struct Check<'a> {
    inner: &'a Inner,
    manifest: Manifest,
    view: View,
    lower: Arc<Lower>,
    /// Number and length of each payload segment.
    segments: Vec<(u32, u64)>,
    total: u64,
    checked: Checked,
    /// Where values are that cannot be read.
    lost: BTreeMap<(u32, u64), Error>,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Store {
    /// Verifies every byte of the store as it is now; `progress` is told bytes done and in all. Commits and reads go on meanwhile, save while the log is
    /// read.
    ///
    /// # Errors
    /// Only when the check itself cannot go on (`Closed`, `Poisoned`, `Io`); what is wrong with the store is in the [`Report`].
    pub fn check(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, Error> {
        Ok(self.check_all(progress)?.report)
    }

    pub(crate) fn check_all(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Checked, Error> {
        let inner = self.inner();
        inner.alive()?;
        let mut check = Check::begin(inner, progress)?;
        check.tables()?;
        let walks = check.readable();
        check.values(&walks)?;
        if check.checked.tables.is_empty() {
            check.counts()?;
        }
        (check.progress)(check.total, check.total);
        Ok(check.checked)
    }
}

impl<'a> Check<'a> {
    /// Verifies what may change meanwhile, and holds on to the rest as it is.
    fn begin(inner: &'a Inner, progress: &'a mut dyn FnMut(u64, u64)) -> Result<Self, Error> {
        // No switch may come in between: the counts, the tables and the log are compared with each other.
        let _checkpoint = inner.checkpointing.lock();
        let _merge = inner.merging.lock();
        let mut checked = Checked::default();
        let (manifest, head_bytes) = {
            let switch = inner.switch.lock();
            for error in switch.verify()? {
                checked.report.add(Fault::Head, error);
            }
            let manifest_bytes = manifest_file_bytes(switch.superblock().manifest_len);
            let head_bytes = 2 * SLOT_BYTES as u64 + manifest_bytes;
            (switch.manifest.clone(), head_bytes)
        };
        let log_bytes = inner.log.log_bytes();
        log::check_log(inner, &manifest, &mut checked.report)?;
        let (view, lower) = {
            let _writer = inner.writer.lock();
            let state = inner.state.read();
            (state.view(), state.lower.clone())
        };
        let segments = inner.log.payload_segments();
        let tables: u64 = manifest.tables.iter().map(|table| table.len).sum();
        let payloads: u64 = segments.iter().map(|(_, len)| len).sum();
        let mut check = Self {
            inner,
            manifest,
            view,
            lower,
            segments,
            total: head_bytes + log_bytes + tables + payloads,
            checked,
            lost: BTreeMap::new(),
            progress,
        };
        check.read(head_bytes + log_bytes);
        Ok(check)
    }

    fn read(&mut self, bytes: u64) {
        let report = &mut self.checked.report;
        report.bytes += bytes;
        (self.progress)(report.bytes.min(self.total), self.total);
    }

    fn tables(&mut self) -> Result<(), Error> {
        for table in self.lower.clone().tables.iter() {
            self.inner.alive()?;
            let mut bytes = self.checked.report.bytes;
            let (progress, total) = (&mut *self.progress, self.total);
            let mut faults = vec![];
            // Opened anew: what lies on the disk now is looked at, not what was seen before.
            table.reopened().verify(
                &mut |n| {
                    bytes += n;
                    progress(bytes.min(total), total);
                },
                &mut |fault| faults.push(fault),
            );
            self.checked.report.bytes = bytes;
            self.checked.report.tables += 1;
            for fault in faults {
                self.checked.report.add(Fault::Table, fault.error);
                self.checked.tables.push((table.clone(), fault.part));
            }
        }
        Ok(())
    }

    /// The ranges of keys between those that damage in a table hides.
    fn readable(&self) -> Vec<KeyRange> {
        let mut holes: Vec<KeyRange> = vec![];
        for (_, part) in &self.checked.tables {
            match part {
                TablePart::Filter => {}
                TablePart::Whole | TablePart::Ranges => return vec![],
                TablePart::Points(keys) => holes.push(keys.clone()),
            }
        }
        readable_beside(holes)
    }

    /// Shows each living entry to `each`.
    fn walk(&self, walks: &[KeyRange], mut each: impl FnMut(Bytes, Slot)) -> Result<(), Error> {
        for (low, high) in walks {
            let high = high.clone().map_or(Bound::Unbounded, Bound::Excluded);
            let mut cursor = self.view.cursor(Bound::Included(low.clone()), high);
            while let Some(entry) = cursor.next(false) {
                self.inner.alive()?;
                match entry {
                    Ok((key, slot)) => each(key, slot),
                    // The tables were read before: what is bad in them is told already.
                    Err(Error::Corrupt { .. }) => break,
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// Every byte of every payload segment, and every entry that points into one.
    fn values(&mut self, walks: &[KeyRange]) -> Result<(), Error> {
        let mut counted: BTreeMap<u32, u64> = BTreeMap::new();
        for (segment, live) in &self.manifest.live {
            counted.insert(*segment, live.values);
        }
        let mut groups: Vec<(BTreeSet<u32>, u64)> = vec![(BTreeSet::new(), 0)];
        for (segment, _) in self.segments.clone() {
            let values = counted.get(&segment).copied().unwrap_or_default();
            match groups.last_mut() {
                Some((group, sum)) if group.is_empty() || *sum + values <= GROUP_VALUES => {
                    group.insert(segment);
                    *sum += values;
                }
                _ => groups.push((BTreeSet::from([segment]), values)),
            }
        }
        for (at, (group, _)) in groups.iter().enumerate() {
            let mut keys = 0;
            let mut live: BTreeMap<u32, Vec<LiveValue>> = BTreeMap::new();
            let mut astray = vec![];
            self.walk(walks, |_, slot| {
                keys += 1;
                let Slot::Payload(value) = slot else {
                    return;
                };
                if group.contains(&value.segment) {
                    live.entry(value.segment).or_default().push(LiveValue {
                        offset: value.offset,
                        len: value.len,
                        crc: value.crc,
                        verified: false,
                    });
                } else if at == 0 && !self.segments.iter().any(|(s, _)| *s == value.segment) {
                    astray.push(value);
                }
            })?;
            self.checked.report.keys = keys;
            for value in astray {
                self.value(&value);
            }
            for segment in group {
                self.inner.alive()?;
                self.segment(*segment, live.remove(segment).unwrap_or_default())?;
            }
        }
        self.sealed(walks)?;
        if self.lost.is_empty() {
            return Ok(());
        }
        let mut keys = vec![];
        self.walk(walks, |key, slot| {
            if let Slot::Payload(at) = slot
                && self.lost.contains_key(&(at.segment, at.offset))
            {
                keys.push((key, (at.segment, at.offset)));
            }
        })?;
        for (key, at) in keys {
            if let Some(error) = self.lost.remove(&at) {
                self.checked.report.findings.push(Finding {
                    fault: Fault::Value,
                    error,
                    key: split_key(&key),
                });
            }
        }
        for (_, error) in std::mem::take(&mut self.lost) {
            self.checked.report.add(Fault::Value, error);
        }
        Ok(())
    }

    /// What is sealed is opened, each value under its key: a crc does not tell one value from another of the same store.
    fn sealed(&mut self, walks: &[KeyRange]) -> Result<(), Error> {
        if self.inner.seal.is_none() {
            return Ok(());
        }
        let (inner, known) = (self.inner, std::mem::take(&mut self.lost));
        let mut lost = BTreeMap::new();
        self.walk(walks, |key, slot| {
            if let Slot::Payload(at) = slot
                && !known.contains_key(&(at.segment, at.offset))
                && let Err(error) = inner.payload([&key, &[]], &at)
            {
                lost.insert((at.segment, at.offset), error);
            }
        })?;
        self.lost = known;
        self.lost.extend(lost);
        Ok(())
    }

    /// Reads a value by itself.
    fn value(&mut self, at: &PayloadRef) {
        if let Err(error) = self.inner.log.read(at) {
            self.lost.insert((at.segment, at.offset), error.into());
        }
    }

    /// Every byte of a payload segment. Without its file all that lived in it is lost, although an open handle may still show it; where nothing lives, it may
    /// have gone for good reason.
    fn segment(&mut self, segment: u32, mut live: Vec<LiveValue>) -> Result<(), Error> {
        let name = format!("payload-{segment}");
        if let Err(e) = self.inner.device.open(&name, false)
            && e.kind() == ErrorKind::NotFound
        {
            let error = Error::io(Op::Open, &name, e);
            let places = live.iter().map(|value| (segment, value.offset));
            self.lost.extend(places.map(|at| (at, error.clone())));
            return Ok(());
        }
        live.sort_unstable_by_key(|value| value.offset);
        self.checked.report.segments += 1;
        self.checked.report.payloads += live.len() as u64;
        let find = |live: &[LiveValue], at: &PayloadRef| {
            live.binary_search_by_key(&at.offset, |value| value.offset)
                .ok()
        };
        match self.inner.log.frames(segment) {
            Ok(frames) => {
                let mut frames = frames.checked();
                let mut done = 0;
                while let Some(part) = frames.next() {
                    let now = frames.offset();
                    self.read(now.saturating_sub(done));
                    done = now;
                    match part.map_err(Error::from)? {
                        SegmentPart::Frame(frame) => {
                            for at in &frame.payloads {
                                if let Some(index) = find(&live, at) {
                                    let value = &mut live[index];
                                    value.verified = value.len == at.len && value.crc == at.crc;
                                }
                            }
                        }
                        SegmentPart::Bad(bad) => {
                            let value = bad.payload.and_then(|at| find(&live, &at));
                            match value {
                                // It is read once more below, and told with its key.
                                Some(index) => live[index].verified = false,
                                None => {
                                    self.checked.dead.insert(segment);
                                    let error = Error::Corrupt {
                                        what: bad.what,
                                        file: bad.file,
                                        offset: bad.offset,
                                        expected: bad.len,
                                        found: 0,
                                    };
                                    self.checked.report.add(Fault::Dead, error);
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            // It went just now: nothing lives in it.
            Err(pome_wal::Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
        for value in live.iter().filter(|value| !value.verified) {
            self.value(&PayloadRef {
                segment,
                offset: value.offset,
                len: value.len,
                crc: value.crc,
            });
        }
        Ok(())
    }

    /// The counts decide which segments are removed; they must be those of the tables.
    fn counts(&mut self) -> Result<(), Error> {
        let (live, keys) = count(&self.lower)?;
        let counted: BTreeMap<u32, Live> = self.manifest.live.iter().copied().collect();
        let sum = |map: &BTreeMap<u32, Live>| map.values().map(|l| l.bytes).sum::<u64>();
        if counted != live || keys != self.manifest.keys {
            let error = Error::Corrupt {
                what: "count of live bytes",
                file: file_name(MANIFEST_PREFIX, self.manifest.generation),
                offset: 0,
                expected: sum(&live),
                found: sum(&counted),
            };
            self.checked.report.add(Fault::Counts, error);
        }
        Ok(())
    }
}

/// What lives in each payload segment, by the tables alone; and how many keys have a value.
pub(crate) fn count(lower: &Lower) -> Result<(BTreeMap<u32, Live>, u64), Error> {
    let mut live: BTreeMap<u32, Live> = BTreeMap::new();
    let mut keys = 0;
    let layers = lower.table_layers().to_vec();
    let mut cursor = Cursor::new(layers, Bound::Unbounded, Bound::Unbounded);
    while let Some(entry) = cursor.next(false) {
        keys += 1;
        if let Slot::Payload(at) = entry?.1 {
            let live = live.entry(at.segment).or_default();
            live.bytes += u64::from(at.len);
            live.values += 1;
        }
    }
    Ok((live, keys))
}

/// What is left of all keys without these ranges.
pub(crate) fn readable_beside(mut holes: Vec<KeyRange>) -> Vec<KeyRange> {
    holes.sort();
    let mut walks: Vec<KeyRange> = vec![];
    let mut from = Bytes::new();
    for (low, high) in holes {
        if from < low {
            walks.push((from.clone(), Some(low)));
        }
        match high {
            Some(high) => from = from.max(high),
            None => return walks,
        }
    }
    walks.push((from, None));
    walks
}

impl Inner {
    /// Verifies a payload segment up to a length: every byte, but for those that none of these layers points at. The first that is bad is the error.
    pub(crate) fn verify_segment(
        &self,
        segment: u32,
        len: u64,
        layers: &[Layer],
    ) -> Result<(), Error> {
        let mut sound = true;
        for part in self.log.frames(segment)?.checked() {
            match part? {
                SegmentPart::Frame(frame) if frame.offset >= len => break,
                SegmentPart::Bad(bad) if bad.offset < len => {
                    sound = false;
                    break;
                }
                _ => {}
            }
        }
        if sound {
            return Ok(());
        }
        let mut cursor = Cursor::new(layers.to_vec(), Bound::Unbounded, Bound::Unbounded);
        while let Some(entry) = cursor.next(false) {
            if let Slot::Payload(at) = entry?.1
                && at.segment == segment
            {
                self.log.read(&at)?;
            }
        }
        Ok(())
    }

    /// True when the value at this place is lost: the disk hands its bytes out, twice, and they are not what was written. False when they are.
    ///
    /// # Errors
    /// `Io` when the disk refuses to read them: they may be there all the same.
    pub(crate) fn is_lost(&self, at: &PayloadRef) -> Result<bool, Error> {
        let name = format!("payload-{}", at.segment);
        // Not through the mapping: where the disk refuses, that shows zeros.
        for _ in 0..2 {
            let file = match self.device.open(&name, false) {
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(true),
                file => file.map_err(|e| Error::io(Op::Open, &name, e))?,
            };
            let mut bytes = vec![0; at.len as usize];
            let n = file
                .read_at(&mut bytes, at.offset)
                .map_err(|e| Error::io(Op::Read, &name, e))?;
            if n == bytes.len() && crc32fast::hash(&bytes) == at.crc {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

pub(crate) fn split_key(whole: &Bytes) -> Option<(Space, Bytes)> {
    let space = whole.get(..SPACE_BYTES)?.try_into().ok()?;
    Some((Space(u64::from_be_bytes(space)), whole.slice(SPACE_BYTES..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_lie_between_the_holes() {
        let range = |low: &'static [u8], high: Option<&'static [u8]>| {
            (Bytes::from_static(low), high.map(Bytes::from_static))
        };
        assert_eq!(readable_beside(vec![]), [range(b"", None)]);
        let holes = vec![range(b"m", Some(b"p")), range(b"b", Some(b"d"))];
        let walks = [
            range(b"", Some(b"b")),
            range(b"d", Some(b"m")),
            range(b"p", None),
        ];
        assert_eq!(readable_beside(holes), walks);
        let holes = vec![
            range(b"b", Some(b"x")),
            range(b"c", Some(b"d")),
            range(b"y", None),
        ];
        let walks = [range(b"", Some(b"b")), range(b"x", Some(b"y"))];
        assert_eq!(readable_beside(holes), walks);
        assert_eq!(readable_beside(vec![range(b"", None)]), []);
    }
}
