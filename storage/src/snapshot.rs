//! Reading one moment of the store.

use crate::{
    Space,
    error::Error,
    format::SPACE_BYTES,
    index::{Cursor, Slot},
    store::{Inner, whole_key},
    view::View,
};
use bytes::Bytes;
use std::{
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

    fn cursor<'a>(&self, space: Space, range: impl RangeBounds<&'a [u8]>) -> Cursor {
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
        self.view.cursor(low, high)
    }
}

/// See [`Snapshot::range`].
pub struct Range {
    inner: Arc<Inner>,
    cursor: Cursor,
    /// Keeps the files of what is read on disk.
    view: View,
}

impl Range {
    /// The next whole key.
    fn step(&mut self, reverse: bool) -> Option<Result<(Bytes, Slot), Error>> {
        if let Err(e) = self.inner.open_for_reads() {
            return Some(Err(e));
        }
        self.cursor.next(reverse)
    }

    fn read(&mut self, reverse: bool) -> Option<Result<(Bytes, Bytes), Error>> {
        let _kept = &self.view;
        let entry = self.step(reverse)?;
        Some(entry.and_then(|(whole, slot)| {
            let value = match slot {
                Slot::Payload(at) => self.inner.payload([&whole, &[]], &at)?,
                Slot::Inline(bytes) => bytes,
                Slot::Deleted => Bytes::new(),
            };
            Ok((whole.slice(SPACE_BYTES..), value))
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
    whole.slice(SPACE_BYTES..)
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
