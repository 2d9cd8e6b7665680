//! Writes what is in memory into a sorted table, so that recovery starts after it and the log can be used again; merges tables when there are many.
//!
//! Both make new files first, then switch the superblock, then remove what the switch made useless. Removal waits for the last reader that may still
//! look there. A crash at any point leaves files that the next open finds named by no manifest, and removes.
//!
//! A compaction wants both, and has them in one pass where the tables are not much larger than what is new.

use crate::{
    error::Error,
    format::{TABLE_PREFIX, TableMeta, file_name},
    index::{Layer, Merge, RangeSet, Slot, Table, TableWriter},
    payload::{LiveCounts, Older},
    store::Inner,
    view::Lower,
};
use pome_wal::mutation::{Mutation, is_on};
use std::{
    collections::VecDeque,
    ops::Bound,
    sync::{Arc, Weak},
};

/// Tables of about one size that are merged into one.
const FANOUT: usize = 4;
/// Tables up to this many bytes count as one size.
const TIER_BYTES: u64 = 1 << 20;
/// So many entries that hide or are hidden are always put up with.
const DEAD_ENTRIES_MAX: u64 = 10_000;
/// Entries of tables that one pass takes along for each new one, at most: what a compaction makes others wait for stays a few times what they wrote.
const TAKEN_ALONG: u64 = 4;

/// Files that a switch made useless.
#[derive(Default)]
pub(crate) struct Garbage {
    pub(crate) tables: Vec<u64>,
    pub(crate) segments: Vec<u32>,
}

/// Garbage, and the view that must be gone before it may be removed. Those queued earlier go first, since an older view sees more.
pub(crate) type Retired = (Weak<Lower>, Garbage);

fn tier(len: u64) -> u32 {
    let mut tier = 0;
    let mut len = len / TIER_BYTES;
    while len >= FANOUT as u64 {
        len /= FANOUT as u64;
        tier += 1;
    }
    tier
}

/// How many of the newest tables to merge, if any.
fn merge_run(tables: &[TableMeta], keys: u64) -> Option<usize> {
    let entries: u64 = tables.iter().map(|t| t.entries).sum();
    if tables.len() > 1 && entries > 2 * keys + DEAD_ENTRIES_MAX {
        return Some(tables.len());
    }
    // A small table behind a large one counts as large: only neighbours can be merged.
    let mut highest = 0;
    let tiers: Vec<u32> = tables
        .iter()
        .map(|table| {
            highest = highest.max(tier(table.len));
            highest
        })
        .collect();
    let full = |level: &u32| tiers.iter().filter(|t| *t == level).count() >= FANOUT;
    let level = (0..=highest).find(full)?;
    Some(tiers.iter().take_while(|t| **t <= level).count())
}

/// A table's bytes are written; the points that went in were shown to `each`.
fn write_table(
    inner: &Inner,
    id: u64,
    layers: &[Layer],
    expected: u64,
    ranges: &RangeSet,
    bottom: bool,
    mut each: impl FnMut(&[u8], &Slot),
) -> Result<Option<TableMeta>, Error> {
    let mut write = || {
        let mut writer = TableWriter::new(&*inner.device, inner.seal.clone(), id, expected)?;
        let mut merge = Merge::new(layers, Bound::Unbounded, Bound::Unbounded, false);
        let mut count = 0u64;
        while let Some((key, slot)) = merge.next()? {
            each(&key, &slot);
            if !(bottom && slot == Slot::Deleted) {
                writer.push(key, &slot.as_ref())?;
                count += 1;
            }
        }
        if count == 0 && (bottom || ranges.is_empty()) {
            return Ok(None);
        }
        let none = RangeSet::default();
        writer
            .finish(if bottom { &none } else { ranges }.iter())
            .map(Some)
    };
    let result = write();
    if !matches!(result, Ok(Some(_))) {
        let _ = inner.device.remove(&file_name(TABLE_PREFIX, id));
    }
    result
}

impl Inner {
    /// Writes a checkpoint of everything committed so far. False when there was nothing new.
    pub(crate) fn checkpoint(&self) -> Result<bool, Error> {
        self.checkpoint_taking(0)
    }

    /// As [`checkpoint`](Self::checkpoint), for who merges all tables next: unless they are much larger than what is new, they are merged with it.
    pub(crate) fn checkpoint_and_merge(&self) -> Result<bool, Error> {
        self.checkpoint_taking(TAKEN_ALONG)
    }

    /// `along`: tables are merged with what is new when they have at most so many entries for each new one.
    fn checkpoint_taking(&self, along: u64) -> Result<bool, Error> {
        let _one = self.checkpointing.lock();
        // Who merges now may take long, and keeps no checkpoint from being made.
        let merge = match along {
            0 => None,
            _ => self.merging.try_lock(),
        };
        self.alive()?;
        let (position, written, lower) = {
            let mut writer = self.writer.lock();
            let position = self.log.position();
            let start = self.switch.lock().manifest.start;
            let segment = |start: &pome_wal::Start| start.payload.map(|(number, _)| number);
            if position.seq == start.seq && segment(&position) == segment(&start) {
                return Ok(false);
            }
            let written = std::mem::take(&mut *writer);
            let mut state = self.state.write();
            self.freeze(&mut state);
            (position, written, state.lower.clone())
        };
        let fresh: u64 = lower.frozen.iter().map(|m| m.len() as u64).sum();
        let old: u64 = lower.tables.iter().map(|t| t.meta.entries).sum();
        let whole = merge.is_some() && old <= along * fresh;
        let result = match self.checkpoint_to(position, &lower, whole) {
            // What cannot be read stays in its table, where a reader is told and a repair finds it.
            Err(Error::Corrupt { .. }) if whole => self.checkpoint_to(position, &lower, false),
            done => done,
        };
        if result.is_err() {
            let mut writer = self.writer.lock();
            writer.body_bytes += written.body_bytes;
            writer.payload_bytes += written.payload_bytes;
            writer.deletes |= written.deletes;
        }
        // What it read is now garbage itself.
        drop(lower);
        self.collect();
        result.map(|()| true)
    }

    /// Writes the frozen memtables into a table; `whole`: and all tables with them, for which the caller holds `merging`.
    fn checkpoint_to(
        &self,
        position: pome_wal::Start,
        lower: &Lower,
        whole: bool,
    ) -> Result<(), Error> {
        // The table will point at payloads, so they must be on disk before it is.
        if !is_on(Mutation::LogNotSynced) {
            self.wait_synced(position.seq)?;
        }
        let merged = if whole { &lower.tables[..] } else { &[] };
        let (layers, older) = lower.layers().split_at(lower.frozen.len() + merged.len());
        let bottom = older.is_empty();
        let mut ranges = RangeSet::default();
        let mut points = merged.iter().map(|table| table.meta.entries).sum();
        for memtable in &lower.frozen {
            points += memtable.len() as u64;
            for (start, end) in memtable.ranges().iter() {
                ranges.insert(start.clone(), end.clone());
            }
        }
        let (mut live, id) = {
            let mut switch = self.switch.lock();
            switch.manifest.next_table += 1;
            let live = if whole {
                LiveCounts::default()
            } else {
                LiveCounts::of(&switch.manifest)
            };
            (live, switch.manifest.next_table - 1)
        };
        let mut counted = Ok(());
        let mut hidden = Older::new(older);
        let table = if layers.is_empty() {
            None
        } else {
            write_table(self, id, layers, points, &ranges, bottom, |key, slot| {
                // What goes in is counted in any case: a segment with too low a count would be removed with living values.
                live.add(slot);
                if counted.is_ok() && !bottom {
                    counted = live.replace(key, &ranges, &mut hidden);
                }
            })?
        };
        let counted = match counted.and_then(|()| live.delete(&ranges, older)) {
            // Counts too high give nothing back; counts too low would. That a table is damaged is told to whoever reads it, and to a check.
            Err(e @ Error::Corrupt { .. }) => {
                tracing::warn!(error = %e, "live bytes are counted too high until the damage is repaired");
                Ok(())
            }
            counted => counted,
        };

        self.break_rules(&position, &live)?;
        let mut switch = self.switch.lock();
        let mut manifest = switch.manifest.clone();
        manifest.start = position;
        manifest.tables.splice(0..merged.len(), table);
        manifest.live = live.to_manifest();
        manifest.keys = live.keys;
        let switched = counted.and_then(|()| self.switch_to(&mut switch, manifest));
        self.unless_switched(switched, id)?;
        let mut garbage = Garbage {
            tables: merged.iter().map(|table| table.meta.id).collect(),
            segments: vec![],
        };
        if let Some((current, _)) = position.payload {
            for (segment, _) in self.log.payload_segments() {
                let alive = live.segments.get(&segment).is_some_and(|l| l.values > 0);
                if segment < current && !alive && self.retiring.lock().insert(segment) {
                    garbage.segments.push(segment);
                }
            }
        }
        self.install(garbage, |now| {
            let flushed = lower.frozen.len();
            let newer = now.frozen.len().saturating_sub(flushed);
            let mut tables = now.tables.clone();
            let table = table
                .map(|meta| Arc::new(Table::new(self.device.clone(), self.seal.clone(), meta)));
            tables.splice(0..merged.len(), table);
            Lower::new(now.frozen[..newer].to_vec(), tables)
        });
        drop(switch);
        // The checkpoint is made, whatever becomes of the log's old segments: said as a failure, it would be counted twice.
        if let Err(e) = self.log.release(&position) {
            tracing::warn!(store = self.name, error = %e, "the log gives no segments back");
        }
        self.collect();
        Ok(())
    }

    /// Merges tables if there are too many, or too much in them is dead. False when there was nothing to do.
    pub(crate) fn merge_tables(&self) -> Result<bool, Error> {
        self.merge(merge_run)
    }

    /// Merges so many of the newest tables as `run` says, given the tables and how many keys have a value.
    pub(crate) fn merge(
        &self,
        run: impl FnOnce(&[TableMeta], u64) -> Option<usize>,
    ) -> Result<bool, Error> {
        let _one = self.merging.lock();
        self.alive()?;
        let (lower, metas, id) = {
            let mut switch = self.switch.lock();
            let Some(run) = run(&switch.manifest.tables, switch.manifest.keys) else {
                return Ok(false);
            };
            switch.manifest.next_table += 1;
            let metas = switch.manifest.tables[..run].to_vec();
            let lower = self.state.read().lower.clone();
            (lower, metas, switch.manifest.next_table - 1)
        };
        let run: Vec<Arc<Table>> = lower
            .tables
            .iter()
            .filter(|table| metas.contains(&table.meta))
            .cloned()
            .collect();
        let bottom = run.len() == lower.tables.len();
        let mut ranges = RangeSet::default();
        for table in &run {
            for (start, end) in table.ranges()? {
                ranges.insert(start, end);
            }
        }
        let layers: Vec<Layer> = run.iter().cloned().map(Layer::Table).collect();
        let expected = run.iter().map(|table| table.meta.entries).sum();
        let table = write_table(self, id, &layers, expected, &ranges, bottom, |_, _| {})?;

        let mut switch = self.switch.lock();
        let mut manifest = switch.manifest.clone();
        let place = manifest
            .tables
            .iter()
            .position(|meta| *meta == metas[0])
            .expect("only a merge removes tables, and there is one at a time");
        manifest.tables.splice(place..place + metas.len(), table);
        let switched = self.switch_to(&mut switch, manifest);
        self.unless_switched(switched, id)?;
        let garbage = Garbage {
            tables: metas.iter().map(|meta| meta.id).collect(),
            segments: vec![],
        };
        self.install(garbage, |now| {
            let mut tables = now.tables.clone();
            let merged = table
                .map(|meta| Arc::new(Table::new(self.device.clone(), self.seal.clone(), meta)));
            tables.splice(place..place + metas.len(), merged);
            Lower::new(now.frozen.clone(), tables)
        });
        drop(switch);
        self.collect();
        Ok(true)
    }

    /// What a checkpoint may do only after the switch, done before it: see [`Mutation`].
    fn break_rules(&self, position: &pome_wal::Start, live: &LiveCounts) -> Result<(), Error> {
        if is_on(Mutation::EarlyRelease) {
            self.log.release(position)?;
        }
        if let Some((current, _)) = position.payload
            && is_on(Mutation::EarlyRemoval)
        {
            for (segment, _) in self.log.payload_segments() {
                let alive = live.segments.get(&segment).is_some_and(|l| l.values > 0);
                if segment < current && !alive {
                    let _ = self.device.remove(&format!("payload-{segment}"));
                }
            }
        }
        Ok(())
    }

    /// Removes the new table when the switch to it did not happen (if it may have happened, the table stays).
    pub(crate) fn unless_switched(
        &self,
        switched: Result<(), Error>,
        table: u64,
    ) -> Result<(), Error> {
        if let Err(e) = &switched
            && !matches!(e, Error::Poisoned { .. })
        {
            let _ = self.device.remove(&file_name(TABLE_PREFIX, table));
        }
        switched
    }

    /// Shows readers the new layers; the garbage waits for those that look at the old ones.
    pub(crate) fn install(&self, garbage: Garbage, change: impl FnOnce(&Lower) -> Lower) {
        let mut state = self.state.write();
        let next = Arc::new(change(&state.lower));
        let old = std::mem::replace(&mut state.lower, next);
        self.retired
            .lock()
            .push_back((Arc::downgrade(&old), garbage));
        drop(state);
        drop(old);
    }

    /// Removes garbage that nobody can look at any more. What cannot be removed is left for the next open.
    pub(crate) fn collect(&self) {
        // Commits and switches take `retired` while readers wait for them: nothing is removed from the disk under it.
        let free = |retired: &mut VecDeque<Retired>| {
            let (view, _) = retired.front()?;
            (view.strong_count() == 0).then(|| retired.pop_front())?
        };
        loop {
            let next = free(&mut self.retired.lock());
            let Some((_, garbage)) = next else {
                return;
            };
            for id in garbage.tables {
                let name = file_name(TABLE_PREFIX, id);
                if let Err(e) = self.device.remove(&name) {
                    tracing::warn!(file = name, error = %e, "a table that is no longer used stays");
                }
            }
            for segment in garbage.segments {
                self.retiring.lock().remove(&segment);
                if let Err(e) = self.log.remove_payload_segment(segment) {
                    tracing::warn!(segment, error = %e, "an empty payload segment stays");
                }
            }
        }
    }

    /// True while files wait for a reader to be done.
    pub(crate) fn has_garbage(&self) -> bool {
        !self.retired.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(lens: &[u64]) -> Vec<TableMeta> {
        lens.iter()
            .map(|mib| TableMeta {
                id: 1,
                len: mib << 20,
                entries: 100,
            })
            .collect()
    }

    #[test]
    fn merges_four_of_a_size_and_no_fewer() {
        assert_eq!(merge_run(&tables(&[1, 1, 1]), 1_000), None);
        assert_eq!(merge_run(&tables(&[1, 1, 1, 1]), 1_000), Some(4));
        assert_eq!(merge_run(&tables(&[1, 1, 4, 4, 4]), 1_000), None);
        assert_eq!(merge_run(&tables(&[1, 4, 4, 4, 4]), 1_000), Some(5));
        assert_eq!(merge_run(&tables(&[4, 1, 1, 1]), 1_000), Some(4));
        assert_eq!(merge_run(&tables(&[1, 4, 20, 70]), 1_000), None);
        assert_eq!(merge_run(&tables(&[1, 1, 1, 1, 300]), 1_000), Some(4));
    }

    #[test]
    fn merges_all_when_most_is_dead() {
        let mut all = tables(&[1, 300]);
        all[1].entries = 100_000;
        assert_eq!(merge_run(&all, 100), Some(2));
        assert_eq!(merge_run(&all, 90_000), None);
    }
}
