//! The newest changes, in memory: a persistent ordered map, so that a snapshot is a clone that costs nothing.
//!
//! A point always wins over a deleted range of the same memtable: a range delete removes the points it covers, so what is there came later.

use super::{Entry, RangeSet, Slot};
use bytes::Bytes;
use imbl::OrdMap;
use std::ops::Bound;

/// How many entries [`Memtable::entries`] hands out at once.
const CHUNK: usize = 64;
/// A range delete that finds more points than this asks for a fresh memtable instead of removing them one by one.
pub(crate) const RANGE_DELETE_POINTS_MAX: usize = 1024;

/// What a lookup in one layer of the index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// The layer has this (a value, or that the key is deleted).
    Here(Slot),
    /// The layer knows nothing: ask the older one.
    Unknown,
}

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Memtable {
    points: OrdMap<Bytes, Slot>,
    ranges: RangeSet,
}

impl Memtable {
    pub(crate) fn is_empty(&self) -> bool {
        self.points.is_empty() && self.ranges.is_empty()
    }

    /// Entries, deletions among them.
    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    pub(crate) fn set(&mut self, key: Bytes, slot: Slot) {
        self.points.insert(key, slot);
    }

    /// False, and nothing done, when so many points lie in the range that the caller should start a fresh memtable.
    #[must_use]
    pub(crate) fn delete_range(&mut self, start: &Bytes, end: &Bytes) -> bool {
        if start >= end {
            return true;
        }
        let doomed: Vec<Bytes> = self
            .points
            .range::<_, [u8]>((Bound::Included(&start[..]), Bound::Excluded(&end[..])))
            .map(|(key, _)| key.clone())
            .take(RANGE_DELETE_POINTS_MAX + 1)
            .collect();
        if doomed.len() > RANGE_DELETE_POINTS_MAX {
            return false;
        }
        for key in doomed {
            self.points.remove::<[u8]>(&key);
        }
        self.ranges.insert(start.clone(), end.clone());
        true
    }

    pub(crate) fn get(&self, key: &[u8]) -> Found {
        if let Some(slot) = self.points.get(key) {
            return Found::Here(slot.clone());
        }
        if !self.ranges.is_empty() && self.ranges.covering(key).is_some() {
            return Found::Here(Slot::Deleted);
        }
        Found::Unknown
    }

    pub(crate) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// The next few entries between two bounds, from the front or from the back. Empty means that there are no more.
    pub(crate) fn entries(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        reverse: bool,
    ) -> Vec<Entry> {
        if super::is_empty_range(low, high) {
            return vec![];
        }
        let range = self.points.range::<_, [u8]>((low, high));
        let own = |(key, slot): (&Bytes, &Slot)| (key.clone(), slot.clone());
        if reverse {
            range.rev().map(own).take(CHUNK).collect()
        } else {
            range.map(own).take(CHUNK).collect()
        }
    }
}
