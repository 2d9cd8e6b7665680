//! Writing content piece by piece, with bounded memory.

use crate::{
    BlobId, Blobs, Error,
    blobs::total,
    block_map::{BlockMap, MappedBlock},
};
use bytes::{Bytes, BytesMut};
use pome_cores::{Appended, Durability, Transaction, crypto::hash};
use std::collections::{HashMap, hash_map::Entry};
use tokio::sync::OwnedMutexGuard;

/// Bytes that a writer keeps before it appends them as one batch: fewer, larger commits are faster, and the core's bytes are the same.
const PART_BYTES: u64 = 2 * 1024 * 1024;
/// Blocks that a writer keeps, for a caller who writes a byte at a time.
const PART_BLOCKS: usize = 4096;

/// Part of a file to read. The default is all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// First byte.
    pub start: u64,
    /// Last byte (inclusive). `length` wins over it; but in a block-map blob it wins over `length`, as in npm.
    pub end: Option<u64>,
    /// How many bytes.
    pub length: Option<u64>,
}

impl ReadOptions {
    /// Offset and length in a blob.
    pub(crate) fn range(&self, block_map: bool) -> (u64, u64) {
        let by_end = self
            .end
            .map(|end| end.saturating_add(1).saturating_sub(self.start));
        let length = match block_map {
            true => by_end.or(self.length),
            false => self.length.or(by_end),
        };
        (self.start, length.unwrap_or(u64::MAX))
    }
}

/// Writes one blob. What was written without a [`finish`](Self::finish) has no id and is never seen, though its blocks stay in the core.
///
/// Nothing is appended, and nobody kept waiting, before 2 MiB have been written.
pub struct BlobWriter {
    blobs: Blobs,
    /// Cut into blocks of so many bytes; `None`: each write is a block.
    block_size: Option<usize>,
    /// The beginning of the next block, where blocks are cut.
    rest: BytesMut,
    /// Blocks that are not appended yet.
    part: Vec<Bytes>,
    part_bytes: u64,
    /// What is appended so far.
    id: Option<BlobId>,
    dedup: Option<Dedup>,
    /// Held from the first append to the end.
    lock: Option<OwnedMutexGuard<()>>,
}

#[derive(Default)]
struct Dedup {
    known: HashMap<[u8; 32], Place>,
    /// Blocks of zeros, by their length.
    zeros: HashMap<u64, Place>,
    places: Vec<Place>,
    appended: u64,
}

/// Where a block of a deduplicated blob stands.
#[derive(Clone, Copy)]
enum Place {
    /// In an older blob.
    Old(MappedBlock),
    /// Among the blocks that this writer appends, counted from its first.
    New { index: u64, byte_length: u64 },
}

impl BlobWriter {
    pub(crate) fn new(blobs: Blobs, block_size: Option<usize>) -> Self {
        Self {
            blobs,
            block_size,
            rest: BytesMut::new(),
            part: Vec::new(),
            part_bytes: 0,
            id: None,
            dedup: None,
            lock: None,
        }
    }

    /// A writer of block-map blobs whose older blocks are named by [`keep`](Self::keep).
    pub(crate) fn mapped(blobs: Blobs) -> Self {
        Self {
            dedup: Some(Dedup::default()),
            ..Self::new(blobs, None)
        }
    }

    /// A writer that goes on with a blob which ends where the core does; `None` where something else comes after it.
    pub(crate) async fn behind(blobs: Blobs, id: BlobId) -> Option<Self> {
        let lock = blobs.lock().await;
        let (end, size) = (id.block_offset + id.block_length, blobs.block_size());
        if id.block_map || id.block_length == 0 || blobs.core().length() != end {
            return None;
        }
        Some(Self {
            id: Some(id),
            lock: Some(lock),
            ..Self::new(blobs, Some(size))
        })
    }

    /// A block that is in the core comes next. Only for a writer of block-map blobs.
    pub(crate) fn keep(&mut self, block: MappedBlock) {
        if let Some(dedup) = &mut self.dedup {
            dedup.places.push(Place::Old(block));
        }
    }

    /// A block of zeros comes next, stored once for each length. Only for a writer of block-map blobs.
    pub(crate) fn zeros(&mut self, len: u64) {
        let Some(dedup) = &mut self.dedup else { return };
        if let Some(place) = dedup.zeros.get(&len) {
            dedup.places.push(*place);
            return;
        }
        let Ok(bytes) = usize::try_from(len) else {
            return;
        };
        self.push(BytesMut::zeroed(bytes).freeze());
        if let Some(dedup) = &mut self.dedup
            && let Some(place) = dedup.places.last().copied()
        {
            dedup.zeros.insert(len, place);
        }
    }

    /// A writer of block-map blobs: a write that equals a block of `previous`, or an earlier write, is not stored again.
    pub(crate) async fn dedup(blobs: Blobs, previous: Option<BlobId>) -> Result<Self, Error> {
        let mut dedup = Dedup::default();
        if let Some(id) = previous {
            let map = match id.block_map {
                true => Some(blobs.map(&id).await?),
                false => None,
            };
            // one of them is empty; the length of the run is what the entry says, and not worth any memory
            let mapped = map.iter().flat_map(|map| map.blocks()).map(|b| b.index);
            let own = match map {
                Some(_) => 0..0,
                None => id.block_offset..id.block_offset + id.block_length,
            };
            for index in mapped.chain(own) {
                let block = blobs.core().get(index).await?;
                let byte_length = block.len() as u64;
                let place = Place::Old(MappedBlock { index, byte_length });
                dedup.known.insert(hash(&[&block]), place);
            }
        }
        Ok(Self {
            dedup: Some(dedup),
            ..Self::new(blobs, None)
        })
    }

    /// Adds to the content. Appends once 2 MiB have come together. When that fails, or the future is dropped on the way, the content counts as
    /// written all the same: it is appended with the next call.
    ///
    /// # Errors
    /// [`Error::Core`], for example when the core is not writable here or the disk is full.
    pub async fn write(&mut self, content: impl Into<Bytes>) -> Result<(), Error> {
        let content = content.into();
        match self.block_size {
            None => self.push(content),
            Some(size) => self.push_cut(content, size),
        }
        if self.part_bytes >= PART_BYTES || self.part.len() >= PART_BLOCKS {
            self.append_part(None, Vec::new()).await?;
        }
        Ok(())
    }

    fn push_cut(&mut self, mut content: Bytes, size: usize) {
        if !self.rest.is_empty() {
            let missing = (size - self.rest.len()).min(content.len());
            self.rest.extend_from_slice(&content.split_to(missing));
            if self.rest.len() < size {
                return;
            }
            let block = self.rest.split().freeze();
            self.push(block);
        }
        while content.len() >= size {
            let block = content.split_to(size);
            self.push(block);
        }
        if !content.is_empty() {
            self.rest.reserve(size);
            self.rest.extend_from_slice(&content);
        }
    }

    fn push(&mut self, block: Bytes) {
        if let Some(dedup) = &mut self.dedup {
            let new = Place::New {
                index: dedup.appended,
                byte_length: block.len() as u64,
            };
            match dedup.known.entry(hash(&[&block])) {
                Entry::Occupied(place) => {
                    dedup.places.push(*place.get());
                    return;
                }
                Entry::Vacant(vacant) => {
                    vacant.insert(new);
                    dedup.places.push(new);
                    dedup.appended += 1;
                }
            }
        }
        self.part_bytes += block.len() as u64;
        self.part.push(block);
    }

    /// Appends what has come together, and `more` behind it; answers the blob of `more`.
    async fn append_part(
        &mut self,
        transaction: Option<&mut Transaction>,
        more: Vec<Bytes>,
    ) -> Result<Option<BlobId>, Error> {
        // They stay here until they are appended, for a caller who gives up waiting or whose disk is full for a while.
        let mut blocks = self.part.clone();
        let (count, byte_length) = (blocks.len() as u64, self.part_bytes);
        let (more_count, more_bytes) = (more.len() as u64, total(&more));
        blocks.extend(more);
        if blocks.is_empty() {
            return Ok(None);
        }
        if self.lock.is_none() {
            self.lock = Some(self.blobs.lock().await);
        }
        let core = self.blobs.core();
        let appended: Appended = match transaction {
            Some(transaction) => transaction.append(core, blocks).await?,
            None => core.append_with(blocks, Durability::Buffered).await?,
        };
        self.part.clear();
        self.part_bytes = 0;
        let part = self
            .blobs
            .id_of(&appended, count + more_count, byte_length + more_bytes);
        let id = self.id.get_or_insert(BlobId {
            block_length: 0,
            byte_length: 0,
            ..part
        });
        let expected = id.block_offset + id.block_length;
        if part.block_offset != expected {
            return Err(Error::BlobInterrupted {
                key: self.blobs.key(),
                expected,
                found: part.block_offset,
            });
        }
        id.block_length += count;
        id.byte_length += byte_length;
        Ok(Some(BlobId {
            block_offset: part.block_offset + count,
            byte_offset: part.byte_offset + byte_length,
            block_length: more_count,
            byte_length: more_bytes,
            block_map: false,
        }))
    }

    /// Appends what is left, `Buffered`, and answers where the content is.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<BlobId, Error> {
        self.complete(None).await
    }

    /// As [`finish`](Self::finish), with what is left in a transaction: the answer holds once that commits. Keep the writer until then.
    pub(crate) async fn complete(
        &mut self,
        mut transaction: Option<&mut Transaction>,
    ) -> Result<BlobId, Error> {
        let rest = self.rest.split().freeze();
        if !rest.is_empty() {
            self.push(rest);
        }
        let Some(mut dedup) = self.dedup.take() else {
            self.append_part(transaction, Vec::new()).await?;
            if let Some(id) = self.id {
                return Ok(id);
            }
            let _lock = self.blobs.lock().await;
            return Ok(self.blobs.empty());
        };
        // The map names the blocks by their index in the core, so the first of them must have its place.
        if self.id.is_none() && !self.part.is_empty() {
            self.append_part(transaction.as_deref_mut(), Vec::new())
                .await?;
        }
        let first = self.id.map_or(0, |id| id.block_offset);
        let mut map = BlockMap::default();
        for place in dedup.places.drain(..) {
            let block = match place {
                Place::Old(block) => block,
                Place::New { index, byte_length } => MappedBlock {
                    index: first + index,
                    byte_length,
                },
            };
            map.push(block).map_err(|what| Error::BadBlockMap {
                key: self.blobs.key(),
                block_offset: first,
                what,
            })?;
        }
        let id = match self.append_part(transaction, map.encode()).await? {
            Some(id) => id,
            None => {
                let _lock = self.blobs.lock().await;
                self.blobs.empty()
            }
        };
        Ok(BlobId {
            block_map: true,
            ..id
        })
    }
}
