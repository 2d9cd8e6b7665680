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
use bytes::Bytes;
use std::{collections::BTreeMap, ops::Bound};

/// So many looked up in vain one after the other, and it is asked how long that goes on.
const MISSES: u32 = 8;
/// At most, where it went on for less than that.
const MISSES_MAX: u32 = 4096;

/// Older layers, for who asks for keys in their order. What is appended, as blocks are, has nothing below it for long: where that goes on is found once, and
/// what lies before is not looked up.
pub(crate) struct Older<'a> {
    layers: &'a [Layer],
    /// Nothing lives from the last key asked for up to this one (excluded; `None`: to the end).
    empty_until: Option<Option<Bytes>>,
    /// Keys that were spared a look-up by that.
    spared: u32,
    misses: u32,
    patience: u32,
}

impl<'a> Older<'a> {
    /// `layers`: newest first.
    pub(crate) fn new(layers: &'a [Layer]) -> Self {
        Self {
            layers,
            empty_until: None,
            spared: 0,
            misses: 0,
            patience: MISSES,
        }
    }

    /// What lives under `key`, which is not below the one asked for before.
    fn get(&mut self, key: &[u8]) -> Result<Slot, Error> {
        if let Some(until) = &self.empty_until {
            if until.as_ref().is_none_or(|until| key < &until[..]) {
                self.spared += 1;
                return Ok(Slot::Deleted);
            }
            self.empty_until = None;
            self.patience = match self.spared < MISSES {
                true => (2 * self.patience).min(MISSES_MAX),
                false => MISSES,
            };
        }
        let slot = view::get(self.layers, key)?;
        if slot != Slot::Deleted {
            self.misses = 0;
            return Ok(slot);
        }
        self.misses += 1;
        if self.misses >= self.patience {
            (self.misses, self.spared) = (0, 0);
            let low = Bound::Excluded(Bytes::copy_from_slice(key));
            let mut cursor = Cursor::new(self.layers.to_vec(), low, Bound::Unbounded);
            // What cannot be read is met by whoever needs it.
            self.empty_until = match cursor.next(false) {
                None => Some(None),
                Some(Ok((next, _))) => Some(Some(next)),
                Some(Err(_)) => None,
            };
        }
        Ok(slot)
    }
}

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
        older: &mut Older<'_>,
    ) -> Result<(), Error> {
        if deleted.covering(key).is_none() {
            self.take(&older.get(key)?);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Memtable;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn key(n: u16) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    /// A layer with values and deletions under some keys, and deleted ranges.
    fn layer(points: &[(u16, bool)], ranges: &[(u16, u16)]) -> Layer {
        let mut layer = Memtable::default();
        for (start, len) in ranges {
            let end = start.saturating_add(*len);
            assert!(layer.delete_range(&key(*start), &key(end)));
        }
        for (at, lives) in points {
            let slot = match lives {
                true => Slot::Inline(key(*at)),
                false => Slot::Deleted,
            };
            layer.set(key(*at), slot);
        }
        Layer::Memory(Arc::new(layer))
    }

    proptest! {
        /// It answers what a look-up of each key answers.
        #[test]
        fn what_is_spared_is_not_there(
            points in prop::collection::vec(prop::collection::vec((0u16..400, any::<bool>()), 0..40), 1..4),
            ranges in prop::collection::vec((0u16..400, 1u16..100), 0..3),
            asked in prop::collection::btree_set(0u16..600, 0..300),
        ) {
            let layers: Vec<Layer> = points
                .iter()
                .enumerate()
                .map(|(at, points)| layer(points, if at == 0 { &ranges } else { &[] }))
                .collect();
            let mut older = Older::new(&layers);
            for n in asked {
                let found = view::get(&layers, &key(n)).unwrap_or(Slot::Deleted);
                prop_assert_eq!(older.get(&key(n)).unwrap_or(Slot::Deleted), found, "{}", n);
            }
        }
    }

    #[test]
    fn what_is_appended_is_looked_up_a_few_times() -> Result<(), Error> {
        let layers = [layer(&[(3, true), (7, true), (50_000, true)], &[])];
        let mut older = Older::new(&layers);
        for n in 8..20_008 {
            assert_eq!(older.get(&key(n))?, Slot::Deleted);
        }
        assert_eq!(older.spared, 20_000 - MISSES);
        assert_ne!(older.get(&key(50_000))?, Slot::Deleted);
        assert_eq!(older.get(&key(50_001))?, Slot::Deleted);
        Ok(())
    }
}
