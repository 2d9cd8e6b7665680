//! Byte journals: runs of bytes that are appended, read by offset, and cleared as a whole.
//!
//! Each append is one entry of the journal's space: its key is the offset of its first byte (u64, big-endian), its value the bytes. So large appends are
//! payloads, a clear is one range delete, and the segments of a cleared journal go back to the disk with the next checkpoint.

use crate::{Batch, Space, Store, error::Error};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::Arc;

/// An append-only run of bytes in a keyspace of its own, addressed by offset; written through [`Batch`], so that bytes and the entries that point at
/// them commit together.
///
/// ```
/// use pome_storage::{Batch, Durability, Journal, Options, Space, Store};
///
/// let dir = tempfile::tempdir()?;
/// let store = Store::open(dir.path(), Options::default())?;
/// let journal = Journal::open(&store, Space(9))?;
/// let mut batch = Batch::new();
/// let at = journal.append(&mut batch, "hello".into());
/// store.commit(batch, Durability::Buffered)?;
/// let mut buf = [0; 5];
/// journal.read_at(at, &mut buf)?;
/// assert_eq!(&buf, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Journal {
    store: Store,
    space: Space,
    tail: Arc<Mutex<u64>>,
}

impl Journal {
    /// The journal in `space` (empty when nothing is there). At most one handle per space should append.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`.
    pub fn open(store: &Store, space: Space) -> Result<Self, Error> {
        let mut tail = 0;
        if let Some(last) = store.snapshot().range(space, ..).next_back() {
            let (key, bytes) = last?;
            let start: [u8; 8] = key[..].try_into().map_err(|_| Error::Gap {
                space: space.0,
                offset: 0,
            })?;
            tail = u64::from_be_bytes(start) + bytes.len() as u64;
        }
        Ok(Self {
            store: store.clone(),
            space,
            tail: Arc::new(Mutex::new(tail)),
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

    /// Adds `bytes` (at most 64 MiB) to the batch and says at which offset they will be. A batch that is then not committed leaves a gap, which no
    /// read may cross.
    pub fn append(&self, batch: &mut Batch, bytes: Bytes) -> u64 {
        let mut tail = self.tail.lock();
        let at = *tail;
        if !bytes.is_empty() {
            *tail += bytes.len() as u64;
            batch.put(self.space, at.to_be_bytes(), bytes);
        }
        at
    }

    /// Reads `buf.len()` bytes at `offset` (all of them must have been committed).
    ///
    /// # Errors
    /// `Gap` when some of the bytes are not there; `Corrupt`, `Io`, `Closed`.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        let snapshot = self.store.snapshot();
        let mut done = 0;
        // The entry that holds the first byte, then those that follow it.
        let first = snapshot
            .range(self.space, ..=&offset.to_be_bytes()[..])
            .next_back();
        let rest = snapshot.range(
            self.space,
            (
                std::ops::Bound::Excluded(&offset.to_be_bytes()[..]),
                std::ops::Bound::Unbounded,
            ),
        );
        for entry in first.into_iter().chain(rest) {
            if done == buf.len() {
                break;
            }
            let (key, bytes) = entry?;
            let at = offset + done as u64;
            let gap = || Error::Gap {
                space: self.space.0,
                offset: at,
            };
            let start = u64::from_be_bytes(key[..].try_into().map_err(|_| gap())?);
            let skip = at.checked_sub(start).and_then(|n| usize::try_from(n).ok());
            let part = skip.and_then(|n| bytes.get(n..)).filter(|p| !p.is_empty());
            let part = part.ok_or_else(gap)?;
            let n = part.len().min(buf.len() - done);
            buf[done..done + n].copy_from_slice(&part[..n]);
            done += n;
        }
        if done < buf.len() {
            return Err(Error::Gap {
                space: self.space.0,
                offset: offset + done as u64,
            });
        }
        Ok(())
    }

    /// Adds the removal of all bytes to the batch; the next append starts at 0 again.
    pub fn clear(&self, batch: &mut Batch) {
        *self.tail.lock() = 0;
        batch.delete_range(self.space, [], [0xff; 9]);
    }
}
