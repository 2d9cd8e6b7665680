//! Gives back the space of what is dead: values that were overwritten or deleted, and entries of the index that nothing needs any more.
//!
//! How much of each payload segment is alive is counted by checkpoints. A segment in which much is dead is emptied: each living value is committed again
//! under its key, which changes nothing for readers, and so goes to the end of the newest segment. After the next checkpoint nothing
//! points at the old segment, and it is removed once no reader can look there. The segment that is written to is sealed first when it is its turn.
//!
//! A crash at any point leaves either the old values or both: what is written here is a commit like any other. But it is no new value, and must not be
//! lost as one: where the log is damaged, recovery takes a move only when the new copy is whole and the key still has the value that was moved
//! (`replay.rs`). A value that is damaged stays where it is, and with it its segment.

use crate::{
    Batch, Options, Store,
    batch::changes,
    error::{Error, Op},
    format::{Live, TableMeta},
    index::{Found, Slot},
    seal::SEAL_BYTES as SEALED_BYTES,
    store::{Inner, body_of},
    view,
};
use bytes::Bytes;
use pome_wal::{PayloadRef, SegmentPart};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// About so many bytes are moved in one commit.
const MOVE_BYTES: u64 = 1 << 20;
/// What so many commits move is read ahead.
const AHEAD_STEPS: u64 = 4;
/// Smaller values are left to what the kernel reads ahead by itself.
const LARGE: u32 = 16 << 10;
/// So many values are looked up for it at most.
const LOOKUPS: usize = 16 << 10;
/// So many values at most.
const MOVE_VALUES: usize = 4096;
/// The segment that is written to is not sealed before it has this many bytes (or half its size).
const SEAL_BYTES: u64 = 64 << 10;
/// What a value costs besides its bytes: entry, operation, key and padding. Corrected by what is measured.
const OVERHEAD: u64 = 64;
/// So many values in one commit tell what one costs.
const OVERHEAD_VALUES: u64 = 16;
/// A round must gain this part of what it emptied.
const GAIN_PART: u64 = 32;
/// Length of a file header: there is nothing to gain from it.
const HEADER: u64 = 32;

/// What [`Store::compact`] gave back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Freed {
    /// Bytes that the folder takes less than before, as the filesystem counts them (whole blocks).
    pub bytes: u64,
    /// Bytes that the folder takes now.
    pub left: u64,
}

/// How much is put up with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    /// Dead bytes for each 100 live ones.
    dead_percent: u64,
    /// Dead bytes in any case.
    dead_bytes: u64,
    /// Bytes of commits that no checkpoint has seen: how much of them is dead is unknown.
    fresh_body: u64,
    fresh_payload: u64,
    /// Deletions that no checkpoint has seen, however few.
    fresh_deletes: bool,
    /// Somebody waits until all is given back, and no longer than that takes.
    all: bool,
}

impl Aim {
    pub(crate) fn idle(options: &Options) -> Self {
        Self {
            dead_percent: options.dead_percent,
            dead_bytes: options.dead_bytes,
            fresh_body: options.dead_bytes / 4,
            fresh_payload: options.dead_bytes / 2,
            fresh_deletes: false,
            all: false,
        }
    }

    pub(crate) fn busy(options: &Options) -> Self {
        let dead_bytes = options.dead_bytes.saturating_mul(16);
        Self {
            dead_percent: options.dead_percent.saturating_mul(4),
            dead_bytes,
            // Of a log that is written without a pause the checkpoints see to that.
            fresh_body: dead_bytes,
            fresh_payload: dead_bytes,
            fresh_deletes: true,
            all: false,
        }
    }

    /// All that is worth the work.
    fn all() -> Self {
        Self {
            dead_percent: 2,
            dead_bytes: 0,
            fresh_body: 0,
            fresh_payload: 0,
            fresh_deletes: false,
            all: true,
        }
    }

    fn bears(&self, dead: u64, live: u64) -> bool {
        dead <= self.dead_bytes + live / 100 * self.dead_percent
    }
}

/// A segment on its way out.
struct Victim {
    segment: u32,
    /// What lived in it when it was chosen, and was not looked at since.
    todo: Vec<(Bytes, PayloadRef)>,
    /// Its length in bytes.
    len: u64,
    /// Bytes that moving cost so far.
    moved: u64,
}

/// Values that were read, to be committed again.
struct Moves {
    /// The newest commit at that moment, and what was true then.
    seen: u64,
    view: view::View,
    values: Vec<(Bytes, PayloadRef, Bytes)>,
    /// How many of the victim's are left to be looked at afterwards.
    left: usize,
    /// Some could not be read.
    damaged: bool,
}

/// Bytes that were written for values: all of them, and what was not the values themselves.
struct Cost {
    all: u64,
    besides: u64,
}

/// What compaction remembers between its steps.
#[derive(Default)]
pub(crate) struct Compacting {
    victim: Option<Victim>,
    /// Segments that cannot be emptied: damaged values lie there.
    stuck: BTreeSet<u32>,
    /// What a value was last seen to cost besides its bytes; 0: not yet seen.
    overhead: u64,
    /// The last round gained nothing; nothing is tried before somebody commits.
    gave_up_at: Option<u64>,
    /// Commits made here.
    commits: AtomicU64,
}

/// One payload segment, as the last checkpoint counted it.
#[derive(Debug, Clone, Copy)]
struct Segment {
    number: u32,
    live: u64,
    dead: u64,
}

/// The segment from which most is to be gained, unless what is dead can be borne.
fn pick(segments: &[Segment], aim: &Aim, out: impl Fn(u32) -> bool) -> Option<u32> {
    let sum = |of: fn(&Segment) -> u64| segments.iter().map(of).sum::<u64>();
    if aim.bears(sum(|s| s.dead), sum(|s| s.live)) {
        return None;
    }
    let share = |s: &Segment| s.dead.saturating_mul(1_000_000) / (s.dead + s.live).max(1);
    segments
        .iter()
        .filter(|s| s.dead > 0 && !out(s.number))
        .max_by_key(|s| (share(s), std::cmp::Reverse(s.number)))
        .filter(|s| share(s) >= 10_000)
        .map(|s| s.number)
}

/// Bytes of the tables that nothing needs, if all entries have one size.
fn dead_in(tables: &[TableMeta], keys: u64) -> u64 {
    let bytes: u64 = tables.iter().map(|t| t.len).sum();
    let entries: u64 = tables.iter().map(|t| t.entries).sum();
    let dead = u128::from(entries.saturating_sub(keys)) * u128::from(bytes);
    (dead / u128::from(entries.max(1))) as u64
}

/// Merges all tables when more of them is dead than can be borne.
fn dead_tables(aim: &Aim) -> impl FnOnce(&[TableMeta], u64) -> Option<usize> {
    let aim = *aim;
    move |tables, keys| {
        let bytes: u64 = tables.iter().map(|t| t.len).sum();
        let dead = dead_in(tables, keys);
        let many = tables.len() > 1 && dead > 0 && !aim.bears(dead, bytes - dead);
        many.then_some(tables.len())
    }
}

impl Store {
    /// Gives back all space that can be, now: writes a checkpoint, moves what lives out of segments with much that is dead, merges tables. A store with
    /// a background does this by itself, at leisure; readers and commits go on meanwhile. What an open [`Snapshot`](crate::Snapshot) shows stays until it is dropped.
    ///
    /// # Errors
    /// `Full`, `Io`: nothing is lost. `Poisoned`, `Closed`, `ReadOnly`.
    pub fn compact(&self) -> Result<Freed, Error> {
        let inner = self.inner();
        let before = inner.allocated()?;
        while self.compact_step()? {}
        inner.collect();
        let left = inner.allocated()?;
        Ok(Freed {
            bytes: before.saturating_sub(left),
            left,
        })
    }

    /// As [`compact`](Self::compact), as far as an idle store would go by itself, and for about `time` at most: what is left is done in the background, or
    /// the next time.
    ///
    /// # Errors
    /// As [`compact`](Self::compact).
    pub fn compact_for(&self, time: Duration) -> Result<Freed, Error> {
        let inner = self.inner();
        let before = inner.allocated()?;
        let (until, aim) = (Instant::now() + time, Aim::idle(&inner.options));
        while inner.compact_step(&aim)? && Instant::now() < until {}
        inner.collect();
        let left = inner.allocated()?;
        Ok(Freed {
            bytes: before.saturating_sub(left),
            left,
        })
    }

    /// One bounded step of [`compact`](Self::compact); false when nothing is left to do. With `background: false` the steps depend on nothing but what
    /// the store holds: for simulations.
    ///
    /// # Errors
    /// As [`compact`](Self::compact).
    pub fn compact_step(&self) -> Result<bool, Error> {
        self.inner().compact_step(&Aim::all())
    }
}

impl Inner {
    /// One step towards the aim. False when it is reached.
    pub(crate) fn compact_step(&self, aim: &Aim) -> Result<bool, Error> {
        let mut work = self.compacting.lock();
        self.alive()?;
        if self.options.read_only {
            return Err(Error::ReadOnly {
                store: self.name.clone(),
            });
        }
        if let Some(victim) = &mut work.victim {
            if !victim.todo.is_empty() {
                self.move_some(&mut work)?;
                return Ok(true);
            }
            self.checkpoint()?;
            let manifest_names = |segment| {
                let switch = self.switch.lock();
                switch.manifest.live.iter().any(|(s, _)| *s == segment)
            };
            if let Some(victim) = work.victim.take() {
                if manifest_names(victim.segment) || !self.goes(victim.segment) {
                    work.stuck.insert(victim.segment);
                }
                // What was moved counts as worth it only when it took clearly less room: else one round gains what the next one costs, and there is
                // no end.
                if victim.moved + victim.len / GAIN_PART >= victim.len {
                    work.gave_up_at = Some(self.log.committed_seq());
                }
            }
            return Ok(true);
        }
        if self.is_fresh(aim) {
            let written = if aim.all {
                self.checkpoint_and_merge()?
            } else {
                self.checkpoint()?
            };
            if written {
                return Ok(true);
            }
        }
        if work.gave_up_at != Some(self.log.committed_seq())
            && let Some(segment) = self.pick_segment(&work, aim)
        {
            let files = self.log.payload_segments();
            let len = files.iter().find(|(n, _)| *n == segment).map_or(0, |f| f.1);
            if self.log.active_payload_segment() == Some(segment) {
                self.log
                    .seal_payload_segment()
                    .map_err(|e| self.poison(e.into()))?;
            }
            self.choose(&mut work, segment, len)?;
            return Ok(true);
        }
        self.merge(dead_tables(aim))
    }

    /// Makes a segment the one that is emptied, unless nobody can say what lives in it.
    fn choose(&self, work: &mut Compacting, segment: u32, len: u64) -> Result<(), Error> {
        match self.values_in(segment) {
            Ok(todo) => {
                work.victim = Some(Victim {
                    segment,
                    todo,
                    len,
                    moved: 0,
                });
            }
            Err(e @ Error::Corrupt { .. }) => {
                tracing::warn!(store = self.name, segment, error = %e, "a segment is not emptied");
                work.stuck.insert(segment);
            }
            // Somebody was faster: it was found empty, and is gone.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Empties this segment now, however much of it lives. False when something stays: a value that cannot be read, or may not live, lies in it.
    pub(crate) fn empty_segment(&self, segment: u32) -> Result<bool, Error> {
        let finish = || -> Result<(), Error> {
            while self.compacting.lock().victim.is_some() {
                self.compact_step(&Aim::all())?;
            }
            Ok(())
        };
        finish()?;
        {
            let mut work = self.compacting.lock();
            if self.log.active_payload_segment() == Some(segment) {
                self.log
                    .seal_payload_segment()
                    .map_err(|e| self.poison(e.into()))?;
            }
            // What kept it may have been repaired.
            work.stuck.remove(&segment);
            self.choose(&mut work, segment, u64::MAX)?;
        }
        finish()?;
        self.collect();
        Ok(!self.compacting.lock().stuck.contains(&segment))
    }

    /// Segments that could not be emptied are tried again: what could not be read was repaired.
    pub(crate) fn retry_stuck(&self) {
        let mut work = self.compacting.lock();
        work.stuck.clear();
        work.gave_up_at = None;
    }

    /// True when a segment in which nothing lives is gone, or goes when its readers do. One that an earlier removal has left is tried once more; if it
    /// stays, a later checkpoint or open removes it.
    fn goes(&self, segment: u32) -> bool {
        let there = self
            .log
            .payload_segments()
            .iter()
            .any(|(n, _)| *n == segment);
        let waits = self.retiring.lock().contains(&segment);
        !there || waits || self.log.remove_payload_segment(segment).is_ok()
    }

    /// True when so much was committed since the last checkpoint that it must be counted first.
    fn is_fresh(&self, aim: &Aim) -> bool {
        let fresh = self.writer.lock();
        fresh.body_bytes > aim.fresh_body
            || fresh.payload_bytes > aim.fresh_payload
            || (fresh.deletes && !aim.fresh_deletes)
    }

    fn pick_segment(&self, work: &Compacting, aim: &Aim) -> Option<u32> {
        let files = self.log.payload_segments();
        let active = self.log.active_payload_segment();
        let large = SEAL_BYTES.min(self.options.payload_segment_bytes / 2);
        let segments = self.segments(&files, work.overhead);
        let small = |number| {
            let len = files.iter().find(|(n, _)| *n == number).map_or(0, |f| f.1);
            active == Some(number) && len < large
        };
        pick(&segments, aim, |number| {
            work.stuck.contains(&number) || small(number)
        })
    }

    /// What the last checkpoint counted in these segments; what came after it is left out.
    fn segments(&self, files: &[(u32, u64)], overhead: u64) -> Vec<Segment> {
        let overhead = if overhead == 0 { OVERHEAD } else { overhead };
        let switch = self.switch.lock();
        let retiring = self.retiring.lock();
        let Some((current, upto)) = switch.manifest.start.payload else {
            return vec![];
        };
        let counted: BTreeMap<u32, Live> = switch.manifest.live.iter().copied().collect();
        files
            .iter()
            .filter(|(number, _)| *number <= current && !retiring.contains(number))
            .map(|&(number, len)| {
                let len = if number == current {
                    upto.min(len)
                } else {
                    len
                };
                let live = counted.get(&number).copied().unwrap_or_default();
                let used = HEADER + live.bytes + live.values * overhead;
                Segment {
                    number,
                    live: live.bytes,
                    dead: len.saturating_sub(used),
                }
            })
            .collect()
    }

    /// Bytes in payload segments and tables that nothing needs, about, as of the last checkpoint.
    pub(crate) fn dead_bytes(&self) -> u64 {
        let files = self.log.payload_segments();
        let payloads: u64 = self.segments(&files, 0).iter().map(|s| s.dead).sum();
        let switch = self.switch.lock();
        payloads + dead_in(&switch.manifest.tables, switch.manifest.keys)
    }

    /// The values that were written to a segment, with their keys, the first last: those that live are among them.
    fn values_in(&self, segment: u32) -> Result<Vec<(Bytes, PayloadRef)>, Error> {
        let mut values = match self.values_by_frames(segment)? {
            Some(values) => values,
            None => self.values_by_index(segment)?,
        };
        values.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(at.offset));
        Ok(values)
    }

    /// The frames name the keys. `None` where a frame is bad.
    fn values_by_frames(&self, segment: u32) -> Result<Option<Vec<(Bytes, PayloadRef)>>, Error> {
        let mut values = vec![];
        for part in self.log.frames(segment)? {
            let frame = match part? {
                SegmentPart::Frame(frame) => frame,
                SegmentPart::Bad(bad) if bad.what == "file header" => continue,
                _ => return Ok(None),
            };
            if frame.payloads.is_empty() {
                continue;
            }
            // A copy, so that no key keeps the whole body.
            let Ok(body) = body_of(self.seal.as_deref(), frame.seq, &frame.body) else {
                return Ok(None);
            };
            let keys = changes(&body)
                .flatten()
                .filter_map(|change| change.payload_key().map(|key| Bytes::copy_from_slice(key)));
            let before = values.len();
            values.extend(keys.zip(frame.payloads.iter().copied()));
            if values.len() - before != frame.payloads.len() {
                return Ok(None);
            }
        }
        Ok(Some(values))
    }

    fn values_by_index(&self, segment: u32) -> Result<Vec<(Bytes, PayloadRef)>, Error> {
        let mut values = vec![];
        let view = self.state.read().view();
        let mut all = view.cursor(Bound::Unbounded, Bound::Unbounded);
        while let Some(entry) = all.next(false) {
            let (key, slot) = entry?;
            if let Slot::Payload(at) = slot
                && at.segment == segment
            {
                values.push((Bytes::copy_from_slice(&key), at));
            }
        }
        Ok(values)
    }

    /// Commits the next few values again, if they are still what their keys have.
    fn move_some(&self, work: &mut Compacting) -> Result<(), Error> {
        let Some(victim) = &mut work.victim else {
            return Ok(());
        };
        let batch = self.read_some(victim)?;
        if batch.damaged {
            work.stuck.insert(victim.segment);
        }
        let left = batch.left;
        let (values, cost) = self.commit_again(batch)?;
        if values > 0 {
            victim.moved += cost.all;
            work.commits.fetch_add(1, Ordering::Relaxed);
        }
        if values >= OVERHEAD_VALUES {
            work.overhead = cost.besides.div_ceil(values);
        }
        victim.todo.truncate(left);
        Ok(())
    }

    /// Reads the next few values that live.
    fn read_some(&self, victim: &Victim) -> Result<Moves, Error> {
        let limit = MOVE_BYTES.min(self.options.payload_segment_bytes / 2);
        let mut bytes = 0;
        // The view is held until all is read: it keeps the segment on disk.
        let (seen, view) = {
            let _writer = self.writer.lock();
            (self.log.committed_seq(), self.state.read().view())
        };
        let mut moves = Moves {
            seen,
            view,
            values: vec![],
            left: victim.todo.len(),
            damaged: false,
        };
        // Those that live of what comes now and in the next steps are asked of the disk, where it pays to ask for each.
        let mut asked = 0;
        for (key, at) in victim.todo.iter().rev().take(LOOKUPS) {
            if at.len < LARGE || asked >= AHEAD_STEPS * limit {
                break;
            }
            let slot = moves.view.get(key);
            if slot.is_ok_and(|slot| slot == Slot::Payload(*at)) {
                self.log.ahead(at, 1);
                asked += u64::from(at.len);
            }
        }
        for (key, at) in victim.todo.iter().rev().take(LOOKUPS) {
            let full = bytes + u64::from(at.len) > limit || moves.values.len() >= MOVE_VALUES;
            if full && !moves.values.is_empty() {
                break;
            }
            moves.left -= 1;
            let value = match moves.view.get(key) {
                Ok(slot) if slot != Slot::Payload(*at) => continue,
                Ok(_) => self.log.read(at).map_err(Error::from),
                Err(e) => Err(e),
            };
            match value {
                Ok(value) => {
                    bytes += u64::from(at.len);
                    moves.values.push((key.clone(), *at, value));
                }
                Err(e @ Error::Corrupt { .. }) => {
                    tracing::warn!(store = self.name, error = %e, "a value that cannot be read, or may not live, stays where it is");
                    moves.damaged = true;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(moves)
    }

    /// Commits values again whose keys were not written to meanwhile. Answers how many, and what they cost.
    fn commit_again(&self, moves: Moves) -> Result<(u64, Cost), Error> {
        self.wake.wait_for_room();
        let mut fresh = self.writer.lock();
        self.alive()?;
        let same = self.log.committed_seq() == moves.seen;
        let seal = self.seal.as_deref();
        let sealed = seal.map_or(0, |_| SEALED_BYTES as u64);
        let (mut body, mut payloads, mut bytes) = (vec![], vec![], 0);
        for (key, at, value) in moves.values {
            if same || self.has_at(&moves.view, &key, &at) {
                let len = u64::from(at.len);
                // One that cannot be a value stays where it is.
                let Some(plain) = seal.map_or(Some(len), |seal| seal.plain_bytes(len)) else {
                    continue;
                };
                bytes += len;
                Batch::move_payload(&mut body, &key, plain, &at);
                payloads.push(value);
            }
        }
        let values = payloads.len() as u64;
        // Frame header, entries with padding, operations.
        let besides = 56 + 15 * values + body.len() as u64 + sealed;
        if values > 0 {
            self.commit_stored(&mut fresh, &body.into(), &payloads)?;
            self.tell(&fresh);
        }
        let all = besides + bytes;
        Ok((values, Cost { all, besides }))
    }

    /// True when `key` still has what it had in `view`, there, as far as can be read; the caller holds the writer lock.
    fn has_at(&self, view: &view::View, key: &[u8], at: &PayloadRef) -> bool {
        let lower = {
            let state = self.state.read();
            match state.memtable.get(key) {
                Found::Here(slot) => return slot == Slot::Payload(*at),
                Found::Unknown if Arc::ptr_eq(&state.lower, view.lower()) => return true,
                Found::Unknown => state.lower.clone(),
            }
        };
        // What is not moved stays.
        view::get(lower.layers(), key).is_ok_and(|slot| slot == Slot::Payload(*at))
    }

    /// Commits that were made by others than compaction.
    pub(crate) fn foreign_commits(&self) -> u64 {
        let own = self.compacting.lock().commits.load(Ordering::Relaxed);
        self.log.commits().saturating_sub(own)
    }

    /// What is worth doing before the store is closed: a checkpoint when much was committed, and, with a background, space given back for a while.
    pub(crate) fn tidy_at_close(&self) -> Result<(), Error> {
        if self.options.background {
            let until = Instant::now() + self.options.close_budget;
            let aim = Aim::idle(&self.options);
            while Instant::now() < until && self.compact_step(&aim)? {}
            return Ok(());
        }
        let much = {
            let fresh = self.writer.lock();
            fresh.body_bytes * 64 >= self.options.checkpoint_log_bytes
                || fresh.payload_bytes * 64 >= self.options.checkpoint_payload_bytes
        };
        if much {
            self.checkpoint()?;
        }
        Ok(())
    }

    /// Bytes that the folder takes, as the filesystem counts them.
    pub(crate) fn allocated(&self) -> Result<u64, Error> {
        let names = self
            .device
            .list()
            .map_err(|e| Error::io(Op::List, &self.name, e))?;
        let sizes = names.iter().filter_map(|name| {
            // A file may go between the listing and the question.
            let file = self.device.open(name, false).ok()?;
            file.allocated().ok()
        });
        Ok(sizes.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(of: &[(u64, u64)]) -> Vec<Segment> {
        let numbered = of.iter().zip(1..);
        numbered
            .map(|(&(live, dead), number)| Segment { number, live, dead })
            .collect()
    }

    fn aim(dead_percent: u64, dead_bytes: u64) -> Aim {
        Aim {
            dead_percent,
            dead_bytes,
            ..Aim::all()
        }
    }

    #[test]
    fn takes_the_segment_with_the_least_alive() {
        let all = segments(&[(900, 100), (100, 900), (0, 50), (500, 500)]);
        assert_eq!(pick(&all, &aim(10, 0), |_| false), Some(3));
        assert_eq!(pick(&all, &aim(10, 0), |n| n == 3), Some(2));
    }

    #[test]
    fn bears_what_it_is_told_to() {
        let all = segments(&[(1_000, 150), (0, 50)]);
        assert_eq!(pick(&all, &aim(10, 100), |_| false), None);
        assert_eq!(pick(&all, &aim(10, 99), |_| false), Some(2));
        assert_eq!(pick(&all, &aim(20, 0), |_| false), None);
    }

    #[test]
    fn leaves_alone_where_nothing_is_to_be_gained() {
        let all = segments(&[(1_000_000, 9_999), (1_000_000, 0)]);
        assert_eq!(pick(&all, &aim(0, 0), |_| false), None);
    }

    #[test]
    fn tables_are_merged_when_much_in_them_is_dead() {
        let table = |len, entries| TableMeta {
            id: 1,
            len,
            entries,
        };
        let tables = [table(1_000, 10), table(9_000, 90)];
        assert_eq!(dead_tables(&aim(10, 0))(&tables, 50), Some(2));
        assert_eq!(dead_tables(&aim(10, 5_000))(&tables, 50), None);
        assert_eq!(dead_tables(&aim(10, 0))(&tables, 95), None);
        assert_eq!(dead_tables(&aim(10, 0))(&tables[..1], 0), None);
    }

    /// The commit that wrote a value is lost, and the one that moved it is there.
    #[test]
    fn a_move_brings_nothing_back_that_is_lost() {
        let device = pome_wal::SimDevice::new(1);
        let options = Options {
            background: false,
            ..Options::default()
        };
        let open = |device: &pome_wal::SimDevice| {
            Store::open_on(Arc::new(device.clone()), options.clone()).unwrap()
        };
        let store = open(&device);
        let space = crate::Space(1);
        let mut batch = Batch::new();
        batch.put(space, b"large", vec![1; 2_000]);
        batch.put(space, b"small", &b"of the same commit"[..]);
        store.commit(batch, crate::Durability::Buffered).unwrap();
        let inner = store.inner();
        inner.log.seal_payload_segment().unwrap();
        let victim = Victim {
            segment: 1,
            todo: inner.values_in(1).unwrap(),
            len: 0,
            moved: 0,
        };
        let moves = inner.read_some(&victim).unwrap();
        assert_eq!(inner.commit_again(moves).unwrap().0, 1);
        let mut device = device.kill();
        std::mem::forget(store);
        let whole = open(&device.fork(1));
        assert!(!whole.is_damaged());
        assert!(whole.get(space, b"large").unwrap().is_some());
        // The header of the first frame.
        let file = pome_wal::Device::open(&device, "payload-1", false).unwrap();
        file.write_at(&[std::io::IoSlice::new(&[0; 56])], HEADER)
            .unwrap();
        for _ in 0..2 {
            let store = open(&device);
            assert_eq!(store.damage()[0].seqs, 1..2);
            assert_eq!(store.committed_seq().0, 2);
            assert_eq!(store.get(space, b"large").unwrap(), None);
            assert_eq!(store.get(space, b"small").unwrap(), None);
            device = device.kill();
            std::mem::forget(store);
        }
    }

    /// Between the reading of a value and its new commit, others commit: what they wrote stays.
    #[test]
    fn what_was_written_meanwhile_is_not_undone() {
        let device = pome_wal::SimDevice::new(1);
        let options = Options {
            background: false,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(device), options).unwrap();
        let space = crate::Space(1);
        let put = |key: &[u8], byte: u8| {
            let mut batch = Batch::new();
            batch.put(space, key, vec![byte; 2_000]);
            store.commit(batch, crate::Durability::Buffered).unwrap();
        };
        for (between, checkpoint) in [(false, false), (true, false), (true, true)] {
            for key in [b"a", b"b", b"c", b"d"] {
                put(key, 1);
            }
            let inner = store.inner();
            inner.checkpoint().unwrap();
            let segment = inner.log.active_payload_segment().unwrap();
            let victim = Victim {
                segment,
                todo: inner.values_in(segment).unwrap(),
                len: 0,
                moved: 0,
            };
            let moves = inner.read_some(&victim).unwrap();
            assert_eq!(moves.values.len(), 4);
            if between {
                put(b"a", 2);
                let mut batch = Batch::new();
                batch.delete(space, b"b");
                batch.delete_range(space, b"c", b"d");
                store.commit(batch, crate::Durability::Buffered).unwrap();
            }
            if checkpoint {
                inner.checkpoint().unwrap();
            }
            let (values, _) = inner.commit_again(moves).unwrap();
            assert_eq!(values, if between { 1 } else { 4 });
            let byte = |key: &[u8]| store.get(space, key).unwrap().map(|value| value[0]);
            let all = [byte(b"a"), byte(b"b"), byte(b"c"), byte(b"d")];
            match between {
                true => assert_eq!(all, [Some(2), None, None, Some(1)]),
                false => assert_eq!(all, [Some(1); 4]),
            }
        }
    }
}
