//! Puts right what a check has found, as far as that is possible without a guess.
//!
//! Nothing is dropped that may be whole. What is written anew is what the open store knows (superblock, manifest), what can be counted again (live bytes),
//! and tables whose readable part is all that anybody needs. A table with lost entries is written anew only when the caller says that it can do without
//! these keys: older tables may show through, and nobody else can tell whether what shows is right. Until the caller has looked, the store is
//! [damaged](Store::is_damaged).

use crate::{
    Finding, Space, Store,
    check::{Checked, Fault, count, readable_beside, split_key},
    error::Error,
    format::{TABLE_PREFIX, TableMeta, file_name},
    index::{KeyRange, Layer, Merge, RangeSet, Slot, Table, TablePart, TableWriter},
    store::{Inner, whole_key},
    view::Lower,
};
use bytes::Bytes;
use pome_wal::Damage;
use std::{fmt, ops::Bound, sync::Arc};

/// Something that a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Superblock and manifest were written again.
    Head,
    /// The live bytes of the payload segments were counted again.
    Counts,
    /// A table was written anew.
    Table {
        /// Its file.
        file: String,
        /// How many stretches of keys were left out, since they cannot be read.
        lost: u64,
    },
    /// Bytes that nothing pointed at were dropped with their payload segment.
    Segment {
        /// Its number.
        segment: u32,
    },
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("superblock and manifest were written again"),
            Self::Counts => f.write_str("live bytes were counted again"),
            Self::Table { file, lost: 0 } => write!(f, "{file} was written anew; nothing is lost"),
            Self::Table { file, lost } => write!(
                f,
                "{file} was written anew without {lost} unreadable stretches of keys"
            ),
            Self::Segment { segment } => {
                write!(f, "the dead bytes of payload-{segment} were dropped")
            }
        }
    }
}

/// What a repair did, and what it could not do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Repair {
    /// What was done, in order.
    pub actions: Vec<Action>,
    /// What is still wrong: lost values (whoever owns the keys must decide), tables that cannot be read, lost commits.
    pub left: Vec<Finding>,
}

/// A stretch of keys of one space: from the first to before the second; without a second to the end of the space.
pub type LostKeys<'a> = (Space, &'a [u8], Option<&'a [u8]>);

impl Store {
    /// Checks everything, and repairs what can be repaired; each step is on disk before the next, and one that is cut short has changed nothing. Asked
    /// about each stretch of keys that cannot be read any more, `may_lose` says whether the caller can do without them *and* will verify what is there
    /// afterwards: keys that were deleted may be there again, and older values. The store is [damaged](Self::is_damaged) from then on, until
    /// [`accept_damage`](Self::accept_damage).
    ///
    /// # Errors
    /// `ReadOnly`; `Full`, `Io`: what was done is done. `Poisoned`, `Closed`.
    pub fn repair(
        &self,
        may_lose: &mut dyn FnMut(LostKeys<'_>) -> bool,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Repair, Error> {
        let inner = self.inner();
        if inner.options.read_only {
            return Err(Error::ReadOnly {
                store: inner.name.clone(),
            });
        }
        let Checked {
            report,
            tables,
            dead,
        } = self.check_all(progress)?;
        let mut repair = Repair::default();
        let (head, findings): (Vec<_>, Vec<_>) = report
            .findings
            .into_iter()
            .partition(|finding| finding.fault == Fault::Head);
        if !head.is_empty() {
            inner.write_head()?;
            repair.actions.push(Action::Head);
        }
        let mut unreadable = vec![];
        for table in bad_tables(&tables) {
            let parts = tables.iter().filter(|(t, _)| t.meta == table.meta);
            let parts: Vec<_> = parts.map(|(_, part)| part.clone()).collect();
            match inner.rebuild(&table, &parts, may_lose)? {
                Some(lost) => repair.actions.push(Action::Table {
                    file: table.name(),
                    lost,
                }),
                None => unreadable.push(table.name()),
            }
        }
        let rebuilt = !tables.is_empty() && unreadable.is_empty();
        if rebuilt || findings.iter().any(|f| f.fault == Fault::Counts) {
            inner.recount()?;
            repair.actions.push(Action::Counts);
        }
        if rebuilt {
            inner.retry_stuck();
        }
        for segment in dead {
            if inner.empty_segment(segment)? {
                repair.actions.push(Action::Segment { segment });
            }
        }
        let is_left = |finding: &Finding| match finding.fault {
            Fault::Table => match &finding.error {
                Error::Corrupt { file, .. } => unreadable.contains(file),
                _ => true,
            },
            Fault::Counts => false,
            _ => true,
        };
        repair.left = findings.into_iter().filter(is_left).collect();
        Ok(repair)
    }

    /// True when the value of `key` is lost: the key is there, and the disk hands out, twice, bytes that are not what was written.
    ///
    /// # Errors
    /// `Io` when the disk refuses to read them: they may be there all the same. `Corrupt` when the index cannot be read; `Closed`.
    pub fn is_lost(&self, space: Space, key: &[u8]) -> Result<bool, Error> {
        let inner = self.inner();
        inner.open_for_reads()?;
        let view = inner.state.read().view();
        match view.get(&whole_key(space, key))? {
            Slot::Payload(at) => inner.is_lost(&at),
            Slot::Deleted | Slot::Inline(_) => Ok(false),
        }
    }

    /// Makes the store [recovering](Self::is_recovering): what was signed with its keys may be more than it knows of. False when it is already.
    ///
    /// # Errors
    /// As [`adopt`](Self::adopt).
    pub fn begin_recovering(&self) -> Result<bool, Error> {
        self.set_recovering(true)
    }
}

/// Each table of which something is bad, once.
fn bad_tables(tables: &[(Arc<Table>, TablePart)]) -> Vec<Arc<Table>> {
    let mut all: Vec<Arc<Table>> = vec![];
    for (table, _) in tables {
        if !all.iter().any(|other| other.meta == table.meta) {
            all.push(table.clone());
        }
    }
    all
}

/// A range of whole keys as one of a space, if it is.
fn in_one_space((low, high): &KeyRange) -> Option<(Space, Bytes, Option<Bytes>)> {
    let (space, from) = split_key(low)?;
    let high = high.as_ref()?;
    let (end, to) = split_key(high)?;
    if end == space {
        return Some((space, from, Some(to)));
    }
    (to.is_empty() && Some(end.0) == space.0.checked_add(1)).then_some((space, from, None))
}

impl Inner {
    /// Writes both slots of the superblock and the manifest again.
    fn write_head(&self) -> Result<(), Error> {
        let mut switch = self.switch.lock();
        switch.change(|_| {}).map_err(|e| self.poison(e))
    }

    /// True when the newest layers above a table delete all of these keys, so that nobody asks the table about them.
    fn is_hidden(&self, table: &Table, (low, high): &KeyRange) -> Result<bool, Error> {
        let Some(high) = high else {
            return Ok(false);
        };
        let lower = self.state.read().lower.clone();
        for newer in lower.tables.iter().take_while(|t| t.meta != table.meta) {
            match newer.covering(low) {
                Ok(Some((_, end))) if end >= *high => return Ok(true),
                // One that cannot be read hides nothing for certain.
                Ok(_) | Err(Error::Corrupt { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(lower.frozen.iter().any(|memtable| {
            let covering = memtable.ranges().covering(low);
            covering.is_some_and(|(_, end)| end >= high)
        }))
    }

    /// Writes a table anew from what can be read of it; answers how many stretches of keys are lost. `None`: it must stay as it is.
    fn rebuild(
        &self,
        table: &Arc<Table>,
        parts: &[TablePart],
        may_lose: &mut dyn FnMut(LostKeys<'_>) -> bool,
    ) -> Result<Option<u64>, Error> {
        let _one = self.merging.lock();
        self.alive()?;
        let mut holes = vec![];
        let mut lost = 0;
        for part in parts {
            match part {
                TablePart::Whole | TablePart::Ranges => return Ok(None),
                TablePart::Filter => {}
                TablePart::Points(keys) => {
                    if !self.is_hidden(table, keys)? {
                        let Some((space, low, high)) = in_one_space(keys) else {
                            return Ok(None);
                        };
                        if !may_lose((space, &low, high.as_deref())) {
                            return Ok(None);
                        }
                        lost += 1;
                    }
                    holes.push(keys.clone());
                }
            }
        }
        let id = {
            let mut switch = self.switch.lock();
            switch.manifest.next_table += 1;
            switch.manifest.next_table - 1
        };
        let written = self.write_readable(id, table, &readable_beside(holes));
        let new = match written {
            Ok(new) => new,
            Err(e) => {
                let _ = self.device.remove(&file_name(TABLE_PREFIX, id));
                // Something in it went bad since it was checked.
                return match e {
                    Error::Corrupt { .. } => Ok(None),
                    e => Err(e),
                };
            }
        };
        let mut switch = self.switch.lock();
        let mut manifest = switch.manifest.clone();
        let place = manifest.tables.iter().position(|meta| *meta == table.meta);
        let Some(place) = place else {
            let _ = self.device.remove(&file_name(TABLE_PREFIX, id));
            return Ok(None);
        };
        manifest.tables.splice(place..=place, new);
        if lost > 0 {
            manifest.damage.push(Damage {
                file: Some(table.name()),
                offset: 0,
                seqs: 0..0,
            });
            self.damaged
                .store(true, std::sync::atomic::Ordering::Release);
        }
        let switched = self.switch_to(&mut switch, manifest);
        self.unless_switched(switched, id)?;
        let garbage = crate::checkpoint::Garbage {
            tables: vec![table.meta.id],
            segments: vec![],
        };
        self.install(garbage, |now| {
            let mut tables = now.tables.clone();
            let place = tables.iter().position(|t| t.meta == table.meta);
            let open = |meta| Arc::new(Table::new(self.device.clone(), self.seal.clone(), meta));
            let new = new.map(open);
            if let Some(place) = place {
                tables.splice(place..=place, new);
            }
            Lower::new(now.frozen.clone(), tables)
        });
        drop(switch);
        self.collect();
        Ok(Some(lost))
    }

    fn write_readable(
        &self,
        id: u64,
        table: &Arc<Table>,
        walks: &[KeyRange],
    ) -> Result<Option<TableMeta>, Error> {
        let mut ranges = RangeSet::default();
        for (start, end) in table.ranges()? {
            ranges.insert(start, end);
        }
        let mut writer =
            TableWriter::new(&*self.device, self.seal.clone(), id, table.meta.entries)?;
        let table = Arc::new(table.reopened());
        let layers = [Layer::Table(table)];
        let mut count = 0;
        for (low, high) in walks {
            let high = high.clone().map_or(Bound::Unbounded, Bound::Excluded);
            let mut merge = Merge::new(&layers, Bound::Included(low.clone()), high, false);
            while let Some((key, slot)) = merge.next()? {
                writer.push(key, &slot.as_ref())?;
                count += 1;
            }
        }
        if count == 0 && ranges.is_empty() {
            let _ = self.device.remove(&file_name(TABLE_PREFIX, id));
            return Ok(None);
        }
        writer.finish(ranges.iter()).map(Some)
    }

    /// Counts what lives in each segment again, and writes it down.
    fn recount(&self) -> Result<(), Error> {
        let _checkpoint = self.checkpointing.lock();
        let _merge = self.merging.lock();
        let lower = self.state.read().lower.clone();
        let (live, keys) = count(&lower)?;
        let mut switch = self.switch.lock();
        let mut manifest = switch.manifest.clone();
        manifest.live = live.into_iter().collect();
        manifest.keys = keys;
        self.switch_to(&mut switch, manifest)
    }
}
