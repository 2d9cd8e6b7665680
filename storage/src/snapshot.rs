//! Reading one moment of the store.

use crate::{
    Space,
    error::Error,
    format::SPACE_BYTES,
    index::{Cursor, Slot, SlotRef},
    read::Part,
    scan::{ReadAhead, Scan},
    store::{Inner, whole_key},
    view::View,
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

/// The store as it was at one moment.
///
/// ```
/// use pome_storage::{Batch, Durability, Options, Space, Store};
///
/// let dir = tempfile::tempdir()?;
/// let store = Store::open(dir.path(), Options::default())?;
/// let mut batch = Batch::new();
/// for name in ["apple", "pear", "quince"] {
///     batch.put(Space(1), name.as_bytes(), &b"fruit"[..]);
/// }
/// store.commit(batch, Durability::Buffered)?;
/// let snapshot = store.snapshot();
/// let last = snapshot.keys(Space(1), &b"b"[..]..).next_back().expect("two of three")?;
/// assert_eq!(last, "quince");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Snapshot {
    inner: Arc<Inner>,
    view: View,
}

impl Snapshot {
    pub(crate) fn new(inner: Arc<Inner>, view: View) -> Self {
        Self { inner, view }
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// `Corrupt` (never wrong bytes), `Io`, `Closed`.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.inner.open_for_reads()?;
        let whole = whole_key(space, key);
        self.inner.value([&whole, &[]], self.view.get(&whole)?)
    }

    /// What of the value of `key` lies in `wanted`, in bytes: see [`Store::get_part`](crate::Store::get_part).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_part(
        &self,
        space: Space,
        key: &[u8],
        wanted: std::ops::Range<usize>,
    ) -> Result<Option<Part>, Error> {
        self.inner.open_for_reads()?;
        let whole = whole_key(space, key);
        let slot = self.view.get(&whole)?;
        self.inner.part([&whole, &[]], slot, wanted)
    }

    /// True when `key` is there.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, space: Space, key: &[u8]) -> Result<bool, Error> {
        self.inner.open_for_reads()?;
        Ok(self.view.get(&whole_key(space, key))? != Slot::Deleted)
    }

    /// The entries of one space whose keys lie in `range`, in key order; from both ends. Values are read when the item is taken. An error ends it.
    /// Small values share memory with what they were read from: copy what is kept for long.
    pub fn range<'a>(&self, space: Space, range: impl RangeBounds<&'a [u8]>) -> Range {
        Range {
            inner: self.inner.clone(),
            cursor: self.cursor(space, range),
            view: self.view.clone(),
            ahead: ReadAhead::default(),
            front: VecDeque::new(),
            back: VecDeque::new(),
        }
    }

    /// As [`range`](Self::range), keys only: no value is read from disk.
    pub fn keys<'a>(
        &self,
        space: Space,
        range: impl RangeBounds<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<Bytes, Error>> + Send + 'static {
        Keys(self.range(space, range))
    }

    /// As [`range`](Self::range), from the front only, without an allocation for each entry: for who looks at many and keeps few.
    pub fn scan<'a>(&self, space: Space, range: impl RangeBounds<&'a [u8]>) -> Scan<'_> {
        let (low, high) = bounds(space, range);
        Scan::new(&self.inner, &self.view, &low, high)
    }

    fn cursor<'a>(&self, space: Space, range: impl RangeBounds<&'a [u8]>) -> Cursor {
        let (low, high) = bounds(space, range);
        self.view.cursor(low, high)
    }
}

/// The same bounds, of whole keys.
fn bounds<'a>(space: Space, range: impl RangeBounds<&'a [u8]>) -> (Bound<Bytes>, Bound<Bytes>) {
    let whole = |key: &[u8]| Bytes::from(whole_key(space, key));
    let low = match range.start_bound() {
        Bound::Included(key) => Bound::Included(whole(key)),
        Bound::Excluded(key) => Bound::Excluded(whole(key)),
        Bound::Unbounded => Bound::Included(whole(&[])),
    };
    let high = match range.end_bound() {
        Bound::Included(key) => Bound::Included(whole(key)),
        Bound::Excluded(key) => Bound::Excluded(whole(key)),
        Bound::Unbounded => match space.0.checked_add(1) {
            Some(next) => Bound::Excluded(Bytes::from(whole_key(Space(next), &[]))),
            None => Bound::Unbounded,
        },
    };
    (low, high)
}

/// See [`Snapshot::range`].
pub struct Range {
    inner: Arc<Inner>,
    cursor: Cursor,
    /// Keeps the files of what is read on disk.
    view: View,
    ahead: ReadAhead,
    /// Entries that were asked for, from the front and from the back, the next first.
    front: VecDeque<Entry>,
    back: VecDeque<Entry>,
}

/// A whole key and what it has, or why the walk ends there.
type Entry = Result<(Bytes, Slot), Error>;

impl Range {
    /// The next whole key.
    fn step(&mut self, reverse: bool) -> Option<Result<(Bytes, Slot), Error>> {
        if let Err(e) = self.inner.open_for_reads() {
            return Some(Err(e));
        }
        self.cursor.next(reverse)
    }

    /// The next whole key. While values are large, those behind it are on their way to memory when it is answered.
    fn ahead(&mut self, reverse: bool) -> Option<Entry> {
        let wanted = self.ahead.wanted();
        while self.side(reverse).len() < wanted {
            let Some(entry) = self.step(reverse) else {
                break;
            };
            let slot = match &entry {
                Ok((_, slot)) => slot.as_ref(),
                Err(_) => SlotRef::Deleted,
            };
            self.ahead.note(slot);
            if wanted == 1 {
                return Some(entry);
            }
            self.ahead.ask(&self.inner, slot);
            let is_over = entry.is_err();
            self.side(reverse).push_back(entry);
            if is_over {
                break;
            }
        }
        // What the other end has asked for lies between the two.
        let own = self.side(reverse).pop_front();
        own.or_else(|| self.side(!reverse).pop_back())
    }

    fn side(&mut self, reverse: bool) -> &mut VecDeque<Entry> {
        match reverse {
            true => &mut self.back,
            false => &mut self.front,
        }
    }

    fn read(&mut self, reverse: bool) -> Option<Result<(Bytes, Bytes), Error>> {
        let _kept = &self.view;
        let entry = self.ahead(reverse)?;
        if entry.is_err() {
            self.front.clear();
            self.back.clear();
        }
        Some(entry.and_then(|(whole, slot)| {
            let value = match slot {
                Slot::Payload(at) => self.inner.payload([&whole, &[]], &at)?,
                Slot::Inline(bytes) => bytes,
                Slot::Deleted => Bytes::new(),
            };
            Ok((whole.slice(SPACE_BYTES.min(whole.len())..), value))
        }))
    }
}

impl Iterator for Range {
    type Item = Result<(Bytes, Bytes), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read(false)
    }
}

impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.read(true)
    }
}

struct Keys(Range);

fn user_key((whole, _): (Bytes, Slot)) -> Bytes {
    whole.slice(SPACE_BYTES.min(whole.len())..)
}

impl Iterator for Keys {
    type Item = Result<Bytes, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.step(false)?.map(user_key))
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        Some(self.0.step(true)?.map(user_key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Durability, Options, Store, scan::LARGE};

    /// Large values are asked for ahead of their turn, from both ends: however the two ends take turns, each entry comes once, in order.
    #[test]
    fn both_ends_meet_whatever_was_asked_for_ahead() {
        let options = Options {
            background: false,
            ..Options::default()
        };
        let store = Store::open_on(std::sync::Arc::new(pome_wal::SimDevice::new(1)), options);
        let store = store.unwrap();
        let space = Space(1);
        let mut batch = Batch::new();
        let mut expected = vec![];
        for n in 0..90_u8 {
            // Large ones in a row, small ones in a row, and both mixed.
            let large = (n / 30 == 0) || (n / 30 == 2 && n % 3 == 0);
            let value = vec![n; if large { LARGE as usize } else { 10 }];
            batch.put(space, vec![n], value.clone());
            expected.push((vec![n], value));
        }
        store.commit(batch, Durability::Buffered).unwrap();
        let snapshot = store.snapshot();
        let mut scan = snapshot.scan(space, ..);
        for (key, value) in &expected {
            assert_eq!(scan.next_entry().unwrap(), Some((&key[..], &value[..])));
        }
        assert_eq!(scan.next_entry().unwrap(), None);
        for seed in 0..200_u64 {
            let mut draw = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut range = snapshot.range(space, ..);
            let (mut front, mut back) = (vec![], vec![]);
            loop {
                draw ^= draw << 13;
                draw ^= draw >> 7;
                draw ^= draw << 17;
                // Some seeds prefer one end.
                let from_back = draw % 8 < seed % 9;
                let next = match from_back {
                    true => range.next_back(),
                    false => range.next(),
                };
                let Some(entry) = next else { break };
                let (key, value) = entry.unwrap();
                match from_back {
                    true => back.push((key.to_vec(), value.to_vec())),
                    false => front.push((key.to_vec(), value.to_vec())),
                }
            }
            assert!(range.next().is_none() && range.next_back().is_none());
            front.extend(back.into_iter().rev());
            assert!(front == expected, "seed {seed}");
        }
        let mut scan = snapshot.scan(space, ..);
        store.close().unwrap();
        assert!(matches!(scan.next_entry(), Err(Error::Closed)));
        assert_eq!(scan.next_entry().unwrap(), None);
        let closed = snapshot.range(space, ..).next().unwrap();
        assert!(matches!(closed, Err(Error::Closed)));
    }
}
