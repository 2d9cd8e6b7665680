//! SKELETON: the agreed face of the block store, over memory. The storage engineer replaces the inside and keeps the words.
use bytes::Bytes;
use parking_lot::RwLock;
use std::{
    ops::{Bound, RangeBounds},
    path::Path,
    sync::Arc,
};

/// Which keyspace a key belongs to. Each core has its own, each local keyspace has its own. Ordered by (space, key bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(pub u64);

/// Number of a commit; they start at 1 and grow by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// When a commit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the kernel has it: survives the end of this process, not a power cut; synced in the background within 200 ms.
    #[default]
    Buffered,
    /// When the disk has it.
    Synced,
}

/// What went wrong in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device said no. (The finished crate has Corrupt, Poisoned, Locked, NotAStore, UnknownVersion, Full, ReadOnly, Closed …)
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the device said.
        #[source]
        source: Arc<std::io::Error>,
    },
}

/// How to open a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Make a store where there is none (default true).
    pub create: bool,
    /// Refuse to write (default false).
    pub read_only: bool,
}
impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
        }
    }
}

type Map = imbl::OrdMap<(u64, Vec<u8>), Bytes>;

/// An open store. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Store {
    map: Arc<RwLock<(Map, u64)>>,
}

/// Changes that become visible and durable together, or not at all. Applied in the order in which they were added.
#[derive(Debug, Default)]
pub struct Batch {
    ops: Vec<Op>,
}
#[derive(Debug)]
enum Op {
    Put(Space, Vec<u8>, Bytes),
    Delete(Space, Vec<u8>),
    DeleteRange(Space, Vec<u8>, Vec<u8>),
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }
    /// True when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
    /// Sets `key` (at most 1 KiB) to `value` (at most 64 MiB). Large values are written once, into a payload segment.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.ops.push(Op::Put(space, key.into(), value.into()));
    }
    /// Removes `key`; no error if it is not there.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.ops.push(Op::Delete(space, key.into()));
    }
    /// Removes all keys in `start..end` (end excluded) in time that does not grow with their number.
    pub fn delete_range(
        &mut self,
        space: Space,
        start: impl Into<Vec<u8>>,
        end: impl Into<Vec<u8>>,
    ) {
        self.ops
            .push(Op::DeleteRange(space, start.into(), end.into()));
    }
    /// Adds all of `other` after what is here.
    pub fn extend(&mut self, other: Batch) {
        self.ops.extend(other.ops);
    }
}

impl Store {
    /// Opens (or makes) the store in `dir`. Blocking: recovery runs here.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let _ = (dir.as_ref(), options);
        Ok(Self {
            map: Arc::default(),
        })
    }
    /// Commits. `Buffered` costs one write and does not block for the disk; `Synced` blocks until the shared fdatasync is done.
    pub fn commit(&self, batch: Batch, durability: Durability) -> Result<Seq, Error> {
        let _ = durability;
        let mut guard = self.map.write();
        let (map, seq) = &mut *guard;
        for op in batch.ops {
            match op {
                Op::Put(s, k, v) => {
                    map.insert((s.0, k), v);
                }
                Op::Delete(s, k) => {
                    map.remove(&(s.0, k));
                }
                Op::DeleteRange(s, a, b) => {
                    let keys: Vec<_> = map
                        .range((s.0, a)..(s.0, b))
                        .map(|(k, _)| k.clone())
                        .collect();
                    for k in keys {
                        map.remove(&k);
                    }
                }
            }
        }
        *seq += 1;
        Ok(Seq(*seq))
    }
    /// Resolves when commit `seq` is on disk (never blocks the thread; the background sync serves all that wait).
    pub async fn synced(&self, seq: Seq) -> Result<(), Error> {
        let _ = seq;
        Ok(())
    }
    /// Blocks until everything committed so far is on disk.
    pub fn sync(&self) -> Result<(), Error> {
        Ok(())
    }
    /// The newest commit that is known to be on disk.
    pub fn synced_seq(&self) -> Seq {
        Seq(self.map.read().1)
    }
    /// The value of `key` now.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.map.read().0.get(&(space.0, key.to_vec())).cloned())
    }
    /// True when `key` is there; does not read the value.
    pub fn contains(&self, space: Space, key: &[u8]) -> Result<bool, Error> {
        Ok(self.map.read().0.contains_key(&(space.0, key.to_vec())))
    }
    /// A view of this moment, unmoved by later commits. Keeps what it shows alive on disk; drop it when done.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            map: self.map.read().0.clone(),
        }
    }
    /// Syncs, checkpoints, marks the store clean, and gives up the lock. Further calls answer `Closed`.
    pub fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// The store as it was at one moment.
#[derive(Clone)]
pub struct Snapshot {
    map: Map,
}

impl Snapshot {
    /// The value of `key`.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.map.get(&(space.0, key.to_vec())).cloned())
    }
    /// True when `key` is there.
    pub fn contains(&self, space: Space, key: &[u8]) -> Result<bool, Error> {
        Ok(self.map.contains_key(&(space.0, key.to_vec())))
    }
    /// The entries of one space whose keys lie in `range`, in key order; `DoubleEndedIterator`; values are read when the item is taken.
    pub fn range<'a>(&self, space: Space, range: impl RangeBounds<&'a [u8]>) -> Range {
        let own = |b: Bound<&&[u8]>| match b {
            Bound::Included(k) => Bound::Included((space.0, k.to_vec())),
            Bound::Excluded(k) => Bound::Excluded((space.0, k.to_vec())),
            Bound::Unbounded => Bound::Unbounded,
        };
        let start = match own(range.start_bound()) {
            Bound::Unbounded => Bound::Included((space.0, vec![])),
            b => b,
        };
        let end = match own(range.end_bound()) {
            Bound::Unbounded => Bound::Excluded((space.0 + 1, vec![])),
            b => b,
        };
        let items: Vec<_> = self
            .map
            .range((start, end))
            .map(|((_, k), v)| Ok((Bytes::from(k.clone()), v.clone())))
            .collect();
        Range {
            items: items.into_iter(),
        }
    }
    /// As [`range`](Self::range), keys only: no value is read from disk.
    pub fn keys<'a>(
        &self,
        space: Space,
        range: impl RangeBounds<&'a [u8]>,
    ) -> impl DoubleEndedIterator<Item = Result<Bytes, Error>> + Send + 'static {
        self.range(space, range).map(|r| r.map(|(k, _)| k))
    }
}

/// See [`Snapshot::range`].
pub struct Range {
    items: std::vec::IntoIter<Result<(Bytes, Bytes), Error>>,
}
impl Iterator for Range {
    type Item = Result<(Bytes, Bytes), Error>;
    fn next(&mut self) -> Option<Self::Item> {
        self.items.next()
    }
}
impl DoubleEndedIterator for Range {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.items.next_back()
    }
}

/// An append-only run of bytes in a keyspace of its own, addressed by offset; written through [`Batch`], so that bytes and the
/// entries that point at them commit together.
#[derive(Clone)]
pub struct Journal {
    store: Store,
    space: Space,
    tail: Arc<parking_lot::Mutex<u64>>,
}

impl Journal {
    /// The journal in `space` (empty when nothing is there). At most one handle per space should append.
    pub fn open(store: &Store, space: Space) -> Result<Self, Error> {
        let mut tail = 0;
        if let Some(last) = store.snapshot().range(space, ..).next_back() {
            let (k, v) = last?;
            let mut at = [0; 8];
            at.copy_from_slice(&k);
            tail = u64::from_be_bytes(at) + v.len() as u64;
        }
        Ok(Self {
            store: store.clone(),
            space,
            tail: Arc::new(parking_lot::Mutex::new(tail)),
        })
    }
    /// One past the last byte.
    pub fn len(&self) -> u64 {
        *self.tail.lock()
    }
    /// True when nothing was ever appended, or all was cleared.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Adds `bytes` to the batch and says at which offset they will be.
    pub fn append(&self, batch: &mut Batch, bytes: Bytes) -> u64 {
        let mut tail = self.tail.lock();
        let at = *tail;
        *tail += bytes.len() as u64;
        batch.put(self.space, at.to_be_bytes().to_vec(), bytes);
        at
    }
    /// Reads `buf.len()` bytes at `offset` (all of them must have been committed).
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let snap = self.store.snapshot();
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let Some(item) = snap.range(self.space, ..=&at.to_be_bytes()[..]).next_back() else {
                break;
            };
            let (k, v) = item?;
            let mut start = [0; 8];
            start.copy_from_slice(&k);
            let skip = (at - u64::from_be_bytes(start)) as usize;
            let Some(part) = v.get(skip..).filter(|p| !p.is_empty()) else {
                break;
            };
            let n = part.len().min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&part[..n]);
            done += n;
        }
        Ok(())
    }
    /// Adds the removal of all bytes to the batch; the next append starts at 0 again.
    pub fn clear(&self, batch: &mut Batch) {
        *self.tail.lock() = 0;
        batch.delete_range(self.space, vec![], vec![0xff; 9]);
    }
}
