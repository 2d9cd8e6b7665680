//! Deleted ranges of keys: disjoint, ordered, each `start..end` with the end excluded.

use bytes::Bytes;
use imbl::OrdMap;
use std::ops::Bound;

/// A set of disjoint ranges. Cloning costs nothing that grows.
#[derive(Clone, Default)]
pub(crate) struct RangeSet {
    ranges: OrdMap<Bytes, Bytes>,
}

impl RangeSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.ranges.iter()
    }

    /// Adds a range; what it touches becomes one with it.
    pub(crate) fn insert(&mut self, start: Bytes, end: Bytes) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        if let Some((before, until)) = self.ranges.get_prev::<[u8]>(&start)
            && *until >= start
        {
            if *until >= end {
                return;
            }
            start = before.clone();
        }
        let swallowed: Vec<Bytes> = {
            let bounds = (Bound::Included(&start[..]), Bound::Included(&end[..]));
            self.ranges
                .range::<_, [u8]>(bounds)
                .map(|(s, _)| s.clone())
                .collect()
        };
        for key in swallowed {
            if let Some(until) = self.ranges.remove::<[u8]>(&key)
                && until > end
            {
                end = until;
            }
        }
        self.ranges.insert(start, end);
    }

    /// Forward: the first range that ends after `key`. In reverse: the last that starts at or before it.
    pub(crate) fn near(&self, key: &[u8], reverse: bool) -> Option<(Bytes, Bytes)> {
        let own = |(start, end): (&Bytes, &Bytes)| (start.clone(), end.clone());
        if reverse {
            return self.ranges.get_prev::<[u8]>(key).map(own);
        }
        self.covering(key)
            .or_else(|| self.ranges.get_next::<[u8]>(key))
            .map(own)
    }

    /// The range that holds `key`.
    pub(crate) fn covering(&self, key: &[u8]) -> Option<(&Bytes, &Bytes)> {
        self.ranges
            .get_prev::<[u8]>(key)
            .filter(|(_, end)| &end[..] > key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn behaves_as_a_set_of_keys(ops in prop::collection::vec((0u8..60, 0u8..60), 0..40)) {
            let mut set = RangeSet::default();
            let mut model = [false; 60];
            for (a, b) in ops {
                set.insert(Bytes::copy_from_slice(&[a]), Bytes::copy_from_slice(&[b]));
                for k in a..b.max(a) {
                    model[usize::from(k)] = true;
                }
            }
            for (k, inside) in model.iter().enumerate() {
                prop_assert_eq!(set.covering(&[k as u8]).is_some(), *inside, "key {}", k);
            }
            let all: Vec<_> = set.iter().map(|(s, e)| (s.clone(), e.clone())).collect();
            for pair in all.windows(2) {
                prop_assert!(pair[0].1 < pair[1].0, "disjoint and not even touching");
            }
        }
    }
}
