//! Counts what is alive in each payload segment, so that one in which nothing is can go.
//!
//! The counts are those of the tables of a checkpoint: exact, whatever is in memory meanwhile. A checkpoint adds the values it writes and takes away
//! those they replace or delete, which it looks up in the older tables; so commits do not pay for it.

use crate::{
    error::Error,
    format::{Live, Manifest},
    index::{Cursor, Layer, RangeSet, Slot},
    view,
};
use std::{collections::BTreeMap, ops::Bound};

/// Live bytes and values of each payload segment, and how many keys have a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LiveCounts {
    pub(crate) segments: BTreeMap<u32, Live>,
    pub(crate) keys: u64,
}

impl LiveCounts {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self {
            segments: manifest.live.iter().copied().collect(),
            keys: manifest.keys,
        }
    }

    /// For the manifest: segments in which nothing is alive are left out.
    pub(crate) fn to_manifest(&self) -> Vec<(u32, Live)> {
        self.segments
            .iter()
            .filter(|(_, live)| live.values > 0)
            .map(|(segment, live)| (*segment, *live))
            .collect()
    }

    pub(crate) fn add(&mut self, slot: &Slot) {
        if *slot == Slot::Deleted {
            return;
        }
        self.keys += 1;
        if let Slot::Payload(at) = slot {
            let live = self.segments.entry(at.segment).or_default();
            live.bytes += u64::from(at.len);
            live.values += 1;
        }
    }

    fn take(&mut self, slot: &Slot) {
        if *slot == Slot::Deleted {
            return;
        }
        self.keys = self.keys.saturating_sub(1);
        if let Slot::Payload(at) = slot {
            let live = self.segments.entry(at.segment).or_default();
            live.bytes = live.bytes.saturating_sub(u64::from(at.len));
            live.values = live.values.saturating_sub(1);
        }
    }

    /// A point that was [added](Self::add) hides what `older` has there.
    pub(crate) fn replace(
        &mut self,
        key: &[u8],
        deleted: &RangeSet,
        older: &[Layer],
    ) -> Result<(), Error> {
        if deleted.covering(key).is_none() {
            self.take(&view::get(older, key)?);
        }
        Ok(())
    }

    /// These ranges of a new table hide what `older` has there.
    pub(crate) fn delete(&mut self, deleted: &RangeSet, older: &[Layer]) -> Result<(), Error> {
        for (start, end) in deleted.iter() {
            let mut cursor = Cursor::new(
                older.to_vec(),
                Bound::Included(start.clone()),
                Bound::Excluded(end.clone()),
            );
            while let Some(entry) = cursor.next(false) {
                self.take(&entry?.1);
            }
        }
        Ok(())
    }
}
