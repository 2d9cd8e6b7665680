//! The contents of files, one after another in a core: Hyperblobs.
//!
//! A blob is a run of blocks; its [`BlobId`] says where. Contents given whole are cut into blocks of 64 KiB. Since the blocks of a
//! blob must follow each other, one blob is written at a time per core: a writer that has begun to append keeps the others waiting.
//! Source: hyperblobs 2.12.1. Vectors: `drive.json`, `hyperblobs` and `scenarios`.

use crate::{
    BlobId, BlobWriter, Error,
    block_map::{BLOCKS_MAX, BlockMap},
    error,
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::future::try_join_all;
use parking_lot::Mutex;
use pome_cores::{
    Appended, Durability, GetOptions, Hypercore, Key, Part, Transaction, replication::Download,
};
use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, LazyLock, Weak},
};
use tokio::sync::OwnedMutexGuard;

/// Bytes in a block of a blob that is given whole.
pub const BLOCK_SIZE: usize = 64 * 1024;
/// How many blocks a read asks for at once.
const READ_AHEAD: u64 = 4;
/// How many block maps are kept for the next read.
const MAPS_KEPT: usize = 8;

/// A core of blobs. Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    core: Hypercore,
    block_size: usize,
    lock: Arc<tokio::sync::Mutex<()>>,
    maps: Arc<Mutex<Maps>>,
}

/// The block maps that were read last, oldest first.
type Maps = Vec<(BlobId, Arc<BlockMap>)>;
type Locks = HashMap<Key, Weak<tokio::sync::Mutex<()>>>;

/// One lock per core in this process, whoever opened it: two writers of one core must not mix their blocks.
static LOCKS: LazyLock<Mutex<Locks>> = LazyLock::new(Mutex::default);

fn lock_of(key: Key) -> Arc<tokio::sync::Mutex<()>> {
    let mut locks = LOCKS.lock();
    if let Some(lock) = locks.get(&key).and_then(Weak::upgrade) {
        return lock;
    }
    locks.retain(|_, lock| lock.strong_count() > 0);
    let lock = Arc::<tokio::sync::Mutex<()>>::default();
    locks.insert(key, Arc::downgrade(&lock));
    lock
}

impl Blobs {
    /// Blobs in `core`, in blocks of 64 KiB.
    pub fn new(core: Hypercore) -> Self {
        Self::with_block_size(core, BLOCK_SIZE)
    }

    /// Blobs in `core`, in blocks of `block_size` bytes (at least 1).
    pub fn with_block_size(core: Hypercore, block_size: usize) -> Self {
        Self {
            lock: lock_of(core.key()),
            core,
            block_size: block_size.max(1),
            maps: Arc::default(),
        }
    }

    /// The core.
    pub fn core(&self) -> &Hypercore {
        &self.core
    }

    /// The core's key.
    pub fn key(&self) -> Key {
        self.core.key()
    }

    /// Bytes in a block of a blob that is given whole.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Appends a blob, `Buffered`.
    ///
    /// # Errors
    /// [`Error::Core`], for example when the core is not writable here.
    pub async fn put(&self, content: impl Into<Bytes>) -> Result<BlobId, Error> {
        let blocks = self.cut(content.into());
        let _lock = self.lock().await;
        if blocks.is_empty() {
            return Ok(self.empty());
        }
        let byte_length = total(&blocks);
        let count = blocks.len() as u64;
        let appended = self.core.append_with(blocks, Durability::Buffered).await?;
        Ok(self.id_of(&appended, count, byte_length))
    }

    /// Waits until no blob is being written and keeps others from writing.
    pub(crate) async fn lock(&self) -> OwnedMutexGuard<()> {
        self.lock.clone().lock_owned().await
    }

    /// Stages several blobs in a transaction, as one append. The answers hold once it commits.
    pub(crate) async fn stage(
        &self,
        transaction: &mut Transaction,
        contents: Vec<Bytes>,
    ) -> Result<Vec<BlobId>, Error> {
        let cuts: Vec<Vec<Bytes>> = contents.into_iter().map(|c| self.cut(c)).collect();
        let blocks: Vec<Bytes> = cuts.iter().flatten().cloned().collect();
        // Held until the transaction holds the core's own write lock.
        let _lock = self.lock().await;
        let mut next = if blocks.is_empty() {
            self.empty()
        } else {
            let (count, byte_length) = (blocks.len() as u64, total(&blocks));
            let appended = transaction.append(&self.core, blocks).await?;
            self.id_of(&appended, count, byte_length)
        };
        let mut ids = Vec::with_capacity(cuts.len());
        for blocks in cuts {
            next.block_length = blocks.len() as u64;
            next.byte_length = total(&blocks);
            ids.push(next);
            next.block_offset += next.block_length;
            next.byte_offset += next.byte_length;
        }
        Ok(ids)
    }

    fn cut(&self, mut content: Bytes) -> Vec<Bytes> {
        let mut blocks = Vec::with_capacity(content.len().div_ceil(self.block_size));
        while !content.is_empty() {
            blocks.push(content.split_to(self.block_size.min(content.len())));
        }
        blocks
    }

    /// An empty blob at the end of the core.
    pub(crate) fn empty(&self) -> BlobId {
        BlobId {
            block_offset: self.core.length(),
            byte_offset: self.core.byte_length(),
            ..BlobId::default()
        }
    }

    /// The blob that is the last `count` blocks of what was appended.
    pub(crate) fn id_of(&self, appended: &Appended, count: u64, byte_length: u64) -> BlobId {
        let padding = self.core.padding().saturating_mul(appended.length);
        let plain = appended.byte_length.saturating_sub(padding);
        BlobId {
            block_offset: appended.length.saturating_sub(count),
            byte_offset: plain.saturating_sub(byte_length),
            block_length: count,
            byte_length,
            block_map: false,
        }
    }

    /// The whole content, in one buffer. Waits for blocks that are not here.
    ///
    /// # Errors
    /// [`Error::BadBlob`] when the id does not fit the core; [`Error::Core`].
    pub async fn get(&self, id: &BlobId) -> Result<Bytes, Error> {
        self.get_with(id, &GetOptions::default()).await
    }

    pub(crate) async fn get_with(&self, id: &BlobId, options: &GetOptions) -> Result<Bytes, Error> {
        let mut cursor = Cursor::open(self, id, 0, u64::MAX, options).await?;
        cursor.rest().await
    }

    /// How many bytes the content has. For a block-map blob the map is read.
    ///
    /// # Errors
    /// [`Error::BadBlockMap`]; [`Error::Core`].
    pub async fn len(&self, id: &BlobId) -> Result<u64, Error> {
        if !id.block_map {
            return Ok(id.byte_length);
        }
        Ok(self.map(id).await?.byte_length())
    }

    /// Up to `len` bytes of the content from `offset`; fewer only at its end. Waits for blocks that are not here. What lies in one
    /// block is not copied.
    ///
    /// # Errors
    /// [`Error::BadBlob`] when the id does not fit the core; [`Error::Core`].
    pub async fn read_at(&self, id: &BlobId, offset: u64, len: usize) -> Result<Bytes, Error> {
        let options = GetOptions::default();
        let mut cursor = Cursor::open(self, id, offset, len as u64, &options).await?;
        cursor.rest().await
    }

    /// As [`read_at`](Self::read_at), on two threads: for blocks that cost more to read than to hand over. Only where all of them are here.
    pub(crate) async fn read_in_halves(
        &self,
        id: &BlobId,
        offset: u64,
        len: usize,
    ) -> Result<Bytes, Error> {
        let usual = id.usual_block_size();
        // At the edge of a block, so that none is read twice.
        let middle = offset.saturating_add(len as u64 / 2) / usual * usual;
        let first = usize::try_from(middle.saturating_sub(offset)).unwrap_or(len);
        if first == 0 || first >= len {
            return self.read_at(id, offset, len).await;
        }
        let (blobs, other) = (self.clone(), *id);
        let rest = async move { blobs.read_at(&other, middle, len - first).await };
        let rest = tokio::spawn(rest);
        let first = self.read_at(id, offset, first).await?;
        let rest = error::finished(rest.await)?;
        Ok(join(vec![first, rest]))
    }

    /// The content from `offset`, at most `len` bytes, in pieces no larger than a block.
    pub fn stream(
        &self,
        id: BlobId,
        offset: u64,
        len: u64,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static + use<> {
        let blobs = self.clone();
        async_stream::try_stream! {
            let options = GetOptions::default();
            let mut cursor = Cursor::open(&blobs, &id, offset, len, &options).await?;
            while let Some(pieces) = cursor.next().await? {
                for piece in pieces {
                    yield piece;
                }
            }
        }
    }

    /// True when every block of the content is here (and, for a block-map blob, the map).
    ///
    /// # Errors
    /// [`Error::BadBlockMap`]; [`Error::Core`].
    pub async fn has(&self, id: &BlobId) -> Result<bool, Error> {
        let own = id.block_offset..id.block_offset + id.block_length;
        if own.is_empty() {
            return Ok(true);
        }
        if !self.core.has(own).await? {
            return Ok(false);
        }
        if id.block_map {
            for block in self.map(id).await?.blocks() {
                if !self.core.has(one(block.index)).await? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// How many bytes of the content are here, to the block. Of a block-map blob whose map is not, none.
    ///
    /// # Errors
    /// [`Error::BadBlockMap`]; [`Error::Core`].
    pub async fn bytes_here(&self, id: &BlobId) -> Result<u64, Error> {
        let own = id.block_offset..id.block_offset.saturating_add(id.block_length);
        let mut here = 0;
        if id.block_map {
            if self.core.has(own).await? {
                for block in self.map(id).await?.blocks() {
                    if self.core.has(one(block.index)).await? {
                        here += block.byte_length;
                    }
                }
            }
            return Ok(here);
        }
        if self.core.has(own.clone()).await? {
            return Ok(id.byte_length);
        }
        let usual = id.usual_block_size();
        let mut left = id.byte_length;
        // What the core does not have is not looked for one by one: an entry may say anything.
        for index in own.start..own.end.min(self.core.length()) {
            if index % 4096 == 4095 {
                // So may the core's length: whoever waits no longer must be able to leave.
                tokio::task::yield_now().await;
            }
            let bytes = left.min(usual);
            left -= bytes;
            if self.core.has(one(index)).await? {
                here += bytes;
            }
        }
        Ok(here)
    }

    /// The runs of blocks that a blob takes: its own, and those that its block map names. Waits for a map that is not here.
    ///
    /// # Errors
    /// [`Error::BadBlockMap`]; [`Error::Core`].
    pub async fn ranges(&self, id: &BlobId) -> Result<Vec<Range<u64>>, Error> {
        let own = id.block_offset..id.block_offset.saturating_add(id.block_length);
        let mut runs = vec![own];
        if id.block_map {
            runs.extend(self.map(id).await?.blocks().iter().map(|b| one(b.index)));
        }
        Ok(crate::download::merged(runs))
    }

    /// Has the blocks with a part of the content fetched, in order, until what is answered is dropped; `None` where they are here, or the map is not.
    pub(crate) async fn fetch(
        &self,
        id: &BlobId,
        offset: u64,
        len: u64,
    ) -> Result<Option<Download>, Error> {
        let own = id.block_offset..id.block_offset.saturating_add(id.block_length);
        let end = offset.saturating_add(len);
        if id.block_map {
            if !self.core.has(own).await? {
                return Ok(None);
            }
            let map = self.map(id).await?;
            let (first, last) = (map.seek(offset).0, map.seek(end.saturating_sub(1)).0);
            let blocks = map.blocks().iter().take(last + 1).skip(first);
            let blocks = blocks.map(|block| block.index).collect();
            return Ok(Some(self.core.download_blocks(blocks)?));
        }
        let usual = id.usual_block_size();
        let at = |bytes: u64| own.start.saturating_add(bytes).min(own.end);
        let blocks = at(offset / usual)..at(end.div_ceil(usual)).min(self.core.length());
        match blocks.is_empty() || self.core.has(blocks.clone()).await? {
            true => Ok(None),
            false => Ok(Some(self.core.download_linear(blocks)?)),
        }
    }

    /// Drops the blocks of a blob from this store; answers how many were there. Where this is the only copy, the content is lost.
    /// Of a block-map blob every block that the map names is dropped, those shared with other blobs too, as npm does.
    ///
    /// # Errors
    /// [`Error::BadBlockMap`]; [`Error::Core`].
    pub async fn clear(&self, id: &BlobId) -> Result<u64, Error> {
        let own = id.block_offset..id.block_offset + id.block_length;
        let mut cleared = 0;
        if id.block_map && self.core.has(own.clone()).await? {
            for block in self.map(id).await?.blocks() {
                cleared += self.core.clear(one(block.index)).await?;
            }
        }
        self.maps.lock().retain(|(kept, _)| kept != id);
        if !own.is_empty() {
            cleared += self.core.clear(own).await?;
        }
        Ok(cleared)
    }

    /// A writer that cuts what it is given into blocks of [`block_size`](Self::block_size) bytes: the same blob as [`put`](Self::put),
    /// with bounded memory.
    pub fn writer(&self) -> BlobWriter {
        BlobWriter::new(self.clone(), Some(self.block_size))
    }

    /// A writer that keeps each write as a block of its own, as npm's write stream does.
    pub fn block_writer(&self) -> BlobWriter {
        BlobWriter::new(self.clone(), None)
    }

    /// The list of blocks of a block-map blob.
    pub(crate) async fn map(&self, id: &BlobId) -> Result<Arc<BlockMap>, Error> {
        let kept = self
            .maps
            .lock()
            .iter()
            .find(|(kept, _)| kept == id)
            .cloned();
        if let Some((_, map)) = kept {
            return Ok(map);
        }
        let bad = |what| Error::BadBlockMap {
            key: self.key(),
            block_offset: id.block_offset,
            what,
        };
        if id.block_length > BLOCKS_MAX {
            return Err(bad("it has more than 64 blocks"));
        }
        let indexes = id.block_offset..id.block_offset + id.block_length;
        let buffers = try_join_all(indexes.map(|index| self.core.get(index))).await?;
        let map = Arc::new(BlockMap::decode(&buffers).map_err(bad)?);
        let mut maps = self.maps.lock();
        if maps.len() >= MAPS_KEPT {
            maps.remove(0);
        }
        maps.push((*id, map.clone()));
        Ok(map)
    }

    /// Refuses a blob whose blocks are below the core's end and whose bytes are not: looking for those would wait for ever.
    fn check(&self, id: &BlobId) -> Result<(), Error> {
        let core = &self.core;
        let inside = id.block_offset + id.block_length <= core.length();
        if inside && id.byte_offset + id.byte_length > core.byte_length() {
            return Err(self.bad(id, "byteLength"));
        }
        Ok(())
    }

    fn bad(&self, id: &BlobId, field: &'static str) -> Error {
        Error::BadBlob {
            key: self.key(),
            block_offset: id.block_offset,
            field,
        }
    }
}

fn one(index: u64) -> Range<u64> {
    index..index.saturating_add(1)
}

pub(crate) fn total(blocks: &[Bytes]) -> u64 {
    blocks.iter().map(|b| b.len() as u64).sum()
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() <= 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut out = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        out.extend_from_slice(&part);
    }
    out.freeze()
}

/// Reads on through a blob, a few blocks at a time.
struct Cursor<'a> {
    blobs: &'a Blobs,
    id: &'a BlobId,
    options: &'a GetOptions,
    map: Option<Arc<BlockMap>>,
    /// The next block: its place in the map, or its index in the core.
    at: u64,
    /// One past the last block.
    end: u64,
    /// Bytes to leave out at the beginning of what comes.
    skip: u64,
    /// Bytes still wanted.
    left: u64,
    /// About how many bytes a block has.
    usual: u64,
}

impl<'a> Cursor<'a> {
    async fn open(
        blobs: &'a Blobs,
        id: &'a BlobId,
        offset: u64,
        len: u64,
        options: &'a GetOptions,
    ) -> Result<Self, Error> {
        blobs.check(id)?;
        let map = match id.block_map {
            true => Some(blobs.map(id).await?),
            false => None,
        };
        let size = map.as_ref().map_or(id.byte_length, |m| m.byte_length());
        let mut cursor = Self {
            blobs,
            id,
            options,
            at: id.block_offset,
            end: id.block_offset + id.block_length,
            skip: offset,
            left: len.min(size.saturating_sub(offset)),
            usual: id.usual_block_size(),
            map,
        };
        if let Some(map) = &cursor.map {
            let (at, skip) = map.seek(offset);
            cursor.at = at as u64;
            cursor.skip = skip;
            cursor.end = map.blocks().len() as u64;
            cursor.usual = map.byte_length().div_ceil(cursor.end.max(1)).max(1);
        } else if cursor.left > 0 && offset > 0 && id.block_length > 1 {
            let (index, skip) = blobs.core.seek(id.byte_offset + offset).await?;
            if !(cursor.at..cursor.end).contains(&index) {
                return Err(blobs.bad(id, "byteOffset"));
            }
            (cursor.at, cursor.skip) = (index, skip);
        }
        Ok(cursor)
    }

    /// The next few pieces; `None` at the end. A piece is never empty.
    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.at >= self.end {
            return Err(self.blobs.bad(self.id, "byteLength"));
        }
        let wanted = (self.skip.saturating_add(self.left)).div_ceil(self.usual);
        let count = wanted.clamp(1, READ_AHEAD).min(self.end - self.at);
        // Of one block by itself only what is wanted is read.
        let part = match count {
            1 => self.skip..self.skip.saturating_add(self.left),
            _ => 0..u64::MAX,
        };
        let of = |at| self.block(at, part.clone());
        let blocks = try_join_all((self.at..self.at + count).map(of)).await?;
        self.at += count;
        let mut pieces = Vec::with_capacity(blocks.len());
        for block in blocks {
            let whole = block.whole as u64;
            let skipped = self.skip.min(whole);
            // Of what was read; it fits: it is at most the length of the block.
            let from = skipped - part.start.min(whole);
            let piece = block.bytes.slice(from as usize..);
            self.skip -= skipped;
            let taken = self.left.min(piece.len() as u64);
            if taken > 0 {
                self.left -= taken;
                pieces.push(piece.slice(..taken as usize));
            }
        }
        Ok(Some(pieces))
    }

    /// What of a block lies in `part`.
    async fn block(&self, at: u64, part: Range<u64>) -> Result<Part, Error> {
        let mapped = self.map.as_ref().map(|map| map.blocks()[at as usize]);
        let index = mapped.map_or(at, |m| m.index);
        let core = &self.blobs.core;
        // No block is so long that this cuts anything off.
        let bytes = |n| usize::try_from(n).unwrap_or(usize::MAX);
        let part = bytes(part.start)..bytes(part.end);
        let block = core.get_part(index, part, self.options.clone()).await?;
        let block = block.ok_or_else(|| pome_cores::Error::BlockNotAvailable {
            key: core.key(),
            index,
        })?;
        match mapped {
            Some(m) if m.byte_length != block.whole as u64 => {
                Err(self.blobs.bad(self.id, "blockMap"))
            }
            _ => Ok(block),
        }
    }

    async fn rest(&mut self) -> Result<Bytes, Error> {
        let mut all = Vec::new();
        while let Some(pieces) = self.next().await? {
            all.extend(pieces);
        }
        Ok(join(all))
    }
}
