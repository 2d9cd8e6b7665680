//! The newest changes, in memory: a persistent ordered map, so that a snapshot is a clone that costs nothing.
//!
//! A point always wins over a deleted range of the same memtable: a range delete removes the points it covers, so what is there came later.

use super::{Entry, RangeSet, Slot, SlotRef};
use bytes::Bytes;
use equivalent::{Comparable, Equivalent};
use imbl::{OrdMap, ordmap::RangedIter, shared_ptr::DefaultSharedPtr};
use std::{cmp::Ordering, ops::Bound};

/// How many entries [`Memtable::entries`] hands out at once.
const CHUNK: usize = 64;
/// A range delete that finds more points than this asks for a fresh memtable instead of removing them one by one.
pub(crate) const RANGE_DELETE_POINTS_MAX: usize = 1024;

/// What a lookup in one layer of the index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// The layer has this (a value, or that the key is deleted). The bytes are a copy: keeping them keeps no commit and no table in memory.
    Here(Slot),
    /// The layer knows nothing: ask the older one.
    Unknown,
}

/// The first bytes of a key, filled up with zeros: they lie in the map itself, and spare most comparisons a look at the key. The keys of a core fit.
type Head = [u64; 3];

fn head(key: &[u8]) -> Head {
    let mut bytes = [0; 24];
    let len = key.len().min(bytes.len());
    bytes[..len].copy_from_slice(&key[..len]);
    let (words, _) = bytes.as_chunks::<8>();
    [words[0], words[1], words[2]].map(u64::from_be_bytes)
}

/// A key in the map. Ordered as its bytes are: where heads differ they decide, for a zero that was filled in comes before whatever follows in a longer key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    head: Head,
    bytes: Bytes,
}

impl Key {
    fn new(bytes: Bytes) -> Self {
        Self {
            head: head(&bytes),
            bytes,
        }
    }
}

/// A key that is looked for.
struct Probe<'a> {
    head: Head,
    bytes: &'a [u8],
}

impl<'a> Probe<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            head: head(bytes),
            bytes,
        }
    }
}

impl Equivalent<Key> for Probe<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.compare(key) == Ordering::Equal
    }
}

impl Comparable<Key> for Probe<'_> {
    fn compare(&self, key: &Key) -> Ordering {
        let heads = self.head.cmp(&key.head);
        heads.then_with(|| self.bytes.cmp(&key.bytes[..]))
    }
}

/// See the module.
#[derive(Clone, Default)]
pub(crate) struct Memtable {
    points: OrdMap<Key, Slot>,
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
        self.points.insert(Key::new(key), slot);
    }

    /// False, and nothing done, when so many points lie in the range that the caller should start a fresh memtable.
    #[must_use]
    pub(crate) fn delete_range(&mut self, start: &Bytes, end: &Bytes) -> bool {
        if start >= end {
            return true;
        }
        let doomed: Vec<Key> = self
            .points
            .range((
                Bound::Included(Probe::new(start)),
                Bound::Excluded(Probe::new(end)),
            ))
            .map(|(key, _)| key.clone())
            .take(RANGE_DELETE_POINTS_MAX + 1)
            .collect();
        if doomed.len() > RANGE_DELETE_POINTS_MAX {
            return false;
        }
        for key in doomed {
            self.points.remove(&key);
        }
        self.ranges.insert(start.clone(), end.clone());
        true
    }

    pub(crate) fn get(&self, key: &[u8]) -> Found {
        if let Some(slot) = self.points.get(&Probe::new(key)) {
            return Found::Here(slot.as_ref().detached());
        }
        if !self.ranges.is_empty() && self.ranges.covering(key).is_some() {
            return Found::Here(Slot::Deleted);
        }
        Found::Unknown
    }

    pub(crate) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// The points between two bounds, which must not be an [empty range](super::is_empty_range).
    pub(super) fn points(&self, low: Bound<&[u8]>, high: Bound<&[u8]>) -> Points<'_> {
        let bounds = (low.map(Probe::new), high.map(Probe::new));
        Points(self.points.range(bounds))
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
        let range = self
            .points
            .range((low.map(Probe::new), high.map(Probe::new)));
        let own = |(key, slot): (&Key, &Slot)| (key.bytes.clone(), slot.clone());
        if reverse {
            range.rev().map(own).take(CHUNK).collect()
        } else {
            range.map(own).take(CHUNK).collect()
        }
    }
}

/// See [`Memtable::points`].
pub(super) struct Points<'a>(RangedIter<'a, Key, Slot, DefaultSharedPtr>);

impl<'a> Iterator for Points<'a> {
    type Item = (&'a [u8], SlotRef<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, slot) = self.0.next()?;
        Some((&key.bytes, slot.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_their_bytes() {
        let mut keys: Vec<Vec<u8>> = vec![];
        for len in [0, 1, 7, 8, 9, 23, 24, 25, 40] {
            for last in [0, 1, 0xff] {
                let mut key = vec![7; len];
                keys.push(key.clone());
                if let Some(byte) = key.last_mut() {
                    *byte = last;
                }
                keys.push(key);
            }
        }
        for a in &keys {
            for b in &keys {
                let key = Key::new(Bytes::copy_from_slice(b));
                assert_eq!(Probe::new(a).compare(&key), a.cmp(b), "{a:?} {b:?}");
                assert_eq!(Key::new(Bytes::copy_from_slice(a)).cmp(&key), a.cmp(b));
            }
        }
    }
}
