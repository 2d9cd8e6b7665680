//! Reading many entries in a row.

use crate::{
    error::Error,
    format::SPACE_BYTES,
    index::{Lender, Slot, SlotRef},
    store::Inner,
    view::View,
};
use bytes::Bytes;
use std::{collections::VecDeque, ops::Bound};

/// So many large values are asked of the disk at a time.
const AHEAD: usize = 16;
/// Values of so many bytes are large.
pub(crate) const LARGE: u32 = 16 << 10;

/// While values are large, those that come next are asked of the disk before they are read.
#[derive(Default)]
pub(crate) struct ReadAhead {
    /// The last value was a large one.
    large: bool,
    /// Large values so far.
    seen: u32,
}

impl ReadAhead {
    /// How many entries are to be known before the first of them is read.
    pub(crate) fn wanted(&self) -> usize {
        if self.large { AHEAD } else { 1 }
    }

    /// Hears of the next entry.
    pub(crate) fn note(&mut self, slot: SlotRef<'_>) {
        self.large = matches!(slot, SlotRef::Payload(at) if at.len >= LARGE);
        self.seen = self.seen.saturating_add(self.large.into());
    }

    /// Asks for the value of an entry.
    pub(crate) fn ask(&self, inner: &Inner, slot: SlotRef<'_>) {
        if let SlotRef::Payload(at) = slot {
            inner.log.ahead(&at, self.around());
        }
    }

    /// Who has read so many large values in a row is likely to want their neighbours on disk, too: a disk gives many small pieces more slowly than a few
    /// large ones.
    fn around(&self) -> u64 {
        match self.seen {
            0..32 => 1,
            32..128 => 256 << 10,
            _ => 1 << 20,
        }
    }
}

/// A key and its value, lent until the next entry is asked for.
pub type EntryRef<'a> = (&'a [u8], &'a [u8]);

/// The entries of a space in key order, each lent until the next is asked for. See [`Snapshot::scan`](crate::Snapshot::scan).
///
/// ```
/// use pome_storage::{Batch, Durability, Options, Space, Store};
///
/// let dir = tempfile::tempdir()?;
/// let store = Store::open(dir.path(), Options::default())?;
/// let mut batch = Batch::new();
/// batch.put(Space(1), &b"apple"[..], &b"red"[..]);
/// batch.put(Space(1), &b"pear"[..], &b"green"[..]);
/// store.commit(batch, Durability::Buffered)?;
///
/// let snapshot = store.snapshot();
/// let mut scan = snapshot.scan(Space(1), ..);
/// let mut bytes = 0;
/// while let Some((key, value)) = scan.next_entry()? {
///     bytes += key.len() + value.len();
/// }
/// assert_eq!(bytes, "applered".len() + "peargreen".len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Scan<'a> {
    inner: &'a Inner,
    walk: Lender<'a>,
    ahead: ReadAhead,
    /// Entries that were asked for, or why there are no more.
    asked: VecDeque<Result<(Bytes, Slot), Error>>,
    /// The whole key of an entry that was asked for, and a value that was read.
    key: Bytes,
    value: Bytes,
    is_over: bool,
}

/// Where the entry is that is lent.
enum Lent {
    /// The walk has both.
    Walk,
    /// The value was read; the walk has the key.
    Read,
    /// It was asked for before its turn.
    Asked,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(
        inner: &'a Inner,
        view: &'a View,
        low: &Bound<Bytes>,
        high: Bound<Bytes>,
    ) -> Self {
        Self {
            inner,
            walk: view.lender(low, high),
            ahead: ReadAhead::default(),
            asked: VecDeque::new(),
            key: Bytes::new(),
            value: Bytes::new(),
            is_over: false,
        }
    }

    /// The next key and its value; `None` at the end. After an error there is nothing more.
    ///
    /// # Errors
    /// `Corrupt` (never wrong bytes), `Io`, `Closed`.
    pub fn next_entry(&mut self) -> Result<Option<EntryRef<'_>>, Error> {
        if self.is_over {
            return Ok(None);
        }
        let lent = match self.step() {
            Ok(Some(lent)) => lent,
            over => {
                self.is_over = true;
                return over.map(|_| None);
            }
        };
        let (key, value) = match lent {
            Lent::Asked => (&self.key[..], &self.value[..]),
            Lent::Read => (self.walk.entry().0, &self.value[..]),
            Lent::Walk => match self.walk.entry() {
                (key, SlotRef::Inline(value)) => (key, value),
                (key, _) => (key, &[][..]),
            },
        };
        Ok(Some((key.get(SPACE_BYTES..).unwrap_or_default(), value)))
    }

    fn step(&mut self) -> Result<Option<Lent>, Error> {
        self.inner.open_for_reads()?;
        let wanted = self.ahead.wanted();
        if wanted > 1 || !self.asked.is_empty() {
            while self.asked.len() < wanted {
                match self.walk.step() {
                    Ok(true) => {
                        let (key, slot) = self.walk.entry();
                        self.ahead.note(slot);
                        self.ahead.ask(self.inner, slot);
                        let key = Bytes::copy_from_slice(key);
                        self.asked.push_back(Ok((key, slot.detached())));
                    }
                    Ok(false) => break,
                    // What was found before it comes first.
                    Err(e) => {
                        self.asked.push_back(Err(e));
                        break;
                    }
                }
            }
            let Some((key, slot)) = self.asked.pop_front().transpose()? else {
                return Ok(None);
            };
            self.value = self.inner.value([&key, &[]], slot)?.unwrap_or_default();
            self.key = key;
            return Ok(Some(Lent::Asked));
        }
        if !self.walk.step()? {
            return Ok(None);
        }
        let (key, slot) = self.walk.entry();
        self.ahead.note(slot);
        Ok(Some(match slot {
            SlotRef::Payload(at) => {
                self.value = self.inner.payload([key, &[]], &at)?;
                Lent::Read
            }
            SlotRef::Inline(_) | SlotRef::Deleted => Lent::Walk,
        }))
    }
}
