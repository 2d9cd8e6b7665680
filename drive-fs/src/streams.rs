//! Writing content piece by piece, with bounded memory.

use crate::{
    BlobId, Blobs, Error,
    blobs::total,
    block_map::{BlockMap, MappedBlock},
};
use bytes::{Bytes, BytesMut};
use pome_cores::{Appended, Durability, Transaction};
use std::collections::{HashMap, VecDeque};
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

struct Dedup {
    /// Blocks by their hash.
    known: HashMap<[u8; 32], MappedBlock>,
    map: BlockMap,
    /// Where in `map` the blocks stand that are not appended yet: their index is counted from the start of the blob until then.
    fresh: VecDeque<usize>,
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
}
