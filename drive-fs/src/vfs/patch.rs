//! How a content is stored so that little is written: blocks that an older content has already are named again, zeros are stored once, and what
//! only grew goes behind the old content. What would not become smaller by that is written as a whole.

use super::{
    error::Result,
    file::{Copy, Piece, pieces},
    lower::{Block, Content, Drive, Tree},
    overlay::Reader,
};
use std::sync::Arc;

/// Bytes in a block.
const BLOCK_BYTES: u64 = crate::blobs::BLOCK_SIZE as u64;
/// Bytes that are written at once where no blocks are kept.
const PIECE_BYTES: u64 = 1024 * 1024;
/// Blocks that readers take in one map: 64 blocks of 8,192 entries.
const MAP_ENTRIES_MAX: u64 = 64 * 8192;
/// About what a block of the map and one of its entries take.
const MAP_BYTES: u64 = 64;
const ENTRY_BYTES: u64 = 10;
/// After so many blocks in a row that differ from the old content's, the rest counts as different too.
const MISSES_MAX: u64 = 16;
/// Blocks by which a content that grew in small steps may have more than it would have written at once …
const CRUMBS: u64 = 16;
/// … besides this many times what it would have.
const CRUMBS_PART: u64 = 2;

/// A stretch of the new content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// These blocks of the old content, counted from its first.
    Keep { first: usize, count: usize },
    /// Zeros.
    Zero { len: u64 },
    /// Bytes to be stored.
    New { offset: u64, len: u64 },
}

/// The new content as stretches, and what they add up to.
#[derive(Debug, Default)]
struct Parts {
    parts: Vec<Part>,
    kept: u64,
    zeros: u64,
    new: u64,
}

impl Parts {
    fn keep(&mut self, at: usize) {
        self.kept += 1;
        match self.parts.last_mut() {
            Some(Part::Keep { first, count }) if *first + *count == at => *count += 1,
            _ => self.parts.push(Part::Keep {
                first: at,
                count: 1,
            }),
        }
    }

    fn zero(&mut self, more: u64) {
        self.zeros += more;
        match self.parts.last_mut() {
            Some(Part::Zero { len }) => *len += more,
            _ => self.parts.push(Part::Zero { len: more }),
        }
    }

    fn store(&mut self, offset: u64, more: u64) {
        self.new += more;
        match self.parts.last_mut() {
            Some(Part::New { len, .. }) => *len += more,
            _ => self.parts.push(Part::New { offset, len: more }),
        }
    }

    /// Bytes of a block of zeros, so that the map stays in bounds.
    fn zero_block(&self) -> u64 {
        match self.zeros >> 30 {
            0 => BLOCK_BYTES,
            1..256 => 1024 * 1024,
            _ => 4 * 1024 * 1024,
        }
    }

    /// Entries of the map that would say this, at most.
    fn entries(&self) -> u64 {
        let runs = self.parts.len() as u64;
        let rest = self.zero_block() / BLOCK_BYTES;
        self.kept + self.zeros / self.zero_block() + self.new / BLOCK_BYTES + runs * (rest + 1)
    }

    /// Bytes that a map costs, at most.
    fn map_bytes(&self) -> u64 {
        let zero = if self.zeros > 0 { self.zero_block() } else { 0 };
        self.new + zero + MAP_BYTES + ENTRY_BYTES * self.entries()
    }

    /// Only something behind the old content's `blocks`, few zeros among it, and the old content is all there.
    fn grown(&self, blocks: usize) -> bool {
        let all = Part::Keep {
            first: 0,
            count: blocks,
        };
        self.parts.first() == Some(&all)
            && self.zeros <= PIECE_BYTES
            && self.parts[1..]
                .iter()
                .all(|part| !matches!(part, Part::Keep { .. }))
    }
}

/// A copy of a file, and where its bytes come from.
pub(crate) struct Upload<'a> {
    pub(crate) drive: &'a dyn Drive,
    pub(crate) copy: &'a Copy,
    pub(crate) reader: &'a Reader,
    pub(crate) tree: &'a Arc<dyn Tree>,
}

impl Upload<'_> {
    /// True when the content is `old`, byte for byte.
    pub(crate) async fn is(&self, old: &Content) -> Result<bool> {
        if self.copy.size != old.size {
            return Ok(false);
        }
        let mut at = 0;
        while at < old.size {
            let len = PIECE_BYTES.min(old.size - at);
            if !self.same(old, at, len).await? {
                return Ok(false);
            }
            at += len;
        }
        Ok(true)
    }

    /// The content of the drive that it is a copy of, if it is one as a whole.
    pub(crate) fn copied(&self) -> Option<Content> {
        let copy = self.copy;
        let pieces = pieces(&copy.extents, copy.base, copy.base_shown, 0, copy.size);
        let mut at = 0;
        let mut whole = None;
        for piece in pieces {
            let Piece::Base {
                content,
                offset,
                len,
            } = piece
            else {
                return None;
            };
            if offset != at || whole.is_some_and(|whole| whole != content) {
                return None;
            }
            whole = Some(content);
            at += len;
        }
        whole.filter(|content| content.size == copy.size)
    }

    /// True when only something was added behind `old`.
    pub(crate) fn only_grew(&self, old: &Content) -> bool {
        let copy = self.copy;
        copy.base == Some(*old)
            && copy.base_shown == old.size
            && copy.size > old.size
            && self.untouched(0, old.size)
    }

    /// No write covers any of it.
    fn untouched(&self, offset: u64, end: u64) -> bool {
        let copy = self.copy;
        let pieces = pieces(&copy.extents, copy.base, copy.base_shown, offset, end);
        let mut at = offset;
        pieces.iter().all(|piece| match piece {
            Piece::Base {
                content,
                offset,
                len,
            } => {
                let own = copy.base == Some(*content) && *offset == at;
                at += len;
                own
            }
            Piece::Journal { .. } | Piece::Zero { .. } => false,
        })
    }

    fn is_hole(&self, offset: u64, end: u64) -> bool {
        let copy = self.copy;
        let pieces = pieces(&copy.extents, copy.base, copy.base_shown, offset, end);
        pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Zero { .. }))
    }

    async fn same(&self, old: &Content, offset: u64, len: u64) -> Result<bool> {
        let mut at = offset;
        let new = self.copy.read(offset, len, self.reader, self.tree).await?;
        let mut rest = &new[..];
        while !rest.is_empty() {
            // What cannot be read is written anew, and stops nobody.
            let Ok(part) = self.tree.read(old, at, rest.len()).await else {
                return Ok(false);
            };
            if part.is_empty() || !rest.starts_with(&part) {
                return Ok(false);
            }
            at += part.len() as u64;
            rest = rest.get(part.len()..).unwrap_or_default();
        }
        Ok(true)
    }

    /// Compares the copy with the blocks of the older content.
    async fn parts(&self, old: Option<&Content>, blocks: &[Block]) -> Result<Parts> {
        let copy = self.copy;
        let mut parts = Parts::default();
        let (mut at, mut misses) = (0, 0);
        for (number, block) in blocks.iter().enumerate() {
            let end = at + block.len;
            if at >= copy.size {
                break;
            }
            if let Some(old) = old
                && end <= copy.size
            {
                if copy.base == Some(*old) && end <= copy.base_shown && self.untouched(at, end) {
                    parts.keep(number);
                    at = end;
                    continue;
                }
                if misses < MISSES_MAX && !self.is_hole(at, end) {
                    if self.same(old, at, block.len).await? {
                        misses = 0;
                        parts.keep(number);
                        at = end;
                        continue;
                    }
                    misses += 1;
                }
            }
            let end = end.min(copy.size);
            self.fresh(&mut parts, at, end);
            at = end;
        }
        if at < copy.size {
            self.fresh(&mut parts, at, copy.size);
        }
        Ok(parts)
    }

    /// Cuts what no older content has into blocks, and those of zeros from the others.
    fn fresh(&self, parts: &mut Parts, offset: u64, end: u64) {
        let copy = self.copy;
        let pieces = pieces(&copy.extents, copy.base, copy.base_shown, offset, end);
        let mut at = offset;
        // Of a hole only whole blocks count: what is left of it at its ends is stored with its neighbours.
        let mut start = offset;
        for piece in pieces {
            let (len, hole) = match piece {
                Piece::Zero { len } => (len, true),
                Piece::Journal { len, .. } | Piece::Base { len, .. } => (len, false),
            };
            let next = at + len;
            if hole {
                let first = at.next_multiple_of(BLOCK_BYTES).max(start);
                let last = if next == copy.size {
                    next
                } else {
                    next / BLOCK_BYTES * BLOCK_BYTES
                };
                if first < last {
                    if start < first {
                        parts.store(start, first - start);
                    }
                    parts.zero(last - first);
                    start = last;
                }
            }
            at = next;
        }
        if start < end {
            parts.store(start, end - start);
        }
    }

    /// Stores the content with as few bytes as it takes, where `old` is what the file was before, and answers where it lies.
    pub(crate) async fn store(&self, old: Option<Content>) -> Result<Content> {
        let drive = self.drive;
        let blocks = match &old {
            Some(old) => drive.blocks_of(old).await.unwrap_or_default(),
            None => None,
        };
        let parts = match (&old, &blocks) {
            (Some(old), Some(blocks)) => self.parts(Some(old), blocks).await?,
            _ => self.parts(None, &[]).await?,
        };
        let blocks = blocks.unwrap_or_default();
        let count = blocks.len();
        if let Some(old) = old
            && count > 0
            && parts.grown(count)
        {
            if parts.parts.len() == 1 {
                return Ok(old);
            }
            if let Some(content) = self.grow(&old).await? {
                return Ok(content);
            }
        }
        let saves = parts.map_bytes().saturating_add(BLOCK_BYTES) <= self.copy.size;
        if saves
            && parts.entries() <= MAP_ENTRIES_MAX
            && let Some(content) = self.map(&parts, &blocks).await?
        {
            return Ok(content);
        }
        let mut writer = drive.content_writer().await?;
        let mut at = 0;
        while at < self.copy.size {
            let len = PIECE_BYTES.min(self.copy.size - at);
            writer.write(self.bytes(at, len).await?).await?;
            at += len;
        }
        Ok(writer.finish().await?)
    }

    /// Stores what is behind the old content there, if nothing else is there yet.
    pub(crate) async fn grow(&self, old: &Content) -> Result<Option<Content>> {
        let size = self.copy.size;
        let more = (size - old.size).div_ceil(BLOCK_BYTES);
        if old.block_map
            || old.block_length + more > CRUMBS + CRUMBS_PART * size.div_ceil(BLOCK_BYTES)
        {
            return Ok(None);
        }
        let Some(mut writer) = self.drive.extending_writer(old).await? else {
            return Ok(None);
        };
        let mut at = old.size;
        while at < size {
            let len = PIECE_BYTES.min(size - at);
            writer.write(self.bytes(at, len).await?).await?;
            at += len;
        }
        Ok(Some(writer.finish().await?))
    }

    async fn map(&self, parts: &Parts, blocks: &[Block]) -> Result<Option<Content>> {
        let Some(mut writer) = self.drive.map_writer().await? else {
            return Ok(None);
        };
        for part in &parts.parts {
            match *part {
                Part::Keep { first, count } => {
                    for block in blocks.iter().skip(first).take(count) {
                        writer.keep(*block);
                    }
                }
                Part::Zero { len } => {
                    let mut left = len;
                    while left > 0 {
                        let block = match parts.zero_block() {
                            block if block <= left => block,
                            _ => BLOCK_BYTES.min(left),
                        };
                        writer.zeros(block);
                        left -= block;
                    }
                }
                Part::New { offset, len } => {
                    let (mut at, end) = (offset, offset + len);
                    while at < end {
                        // Blocks stand where they would in a content that is written as a whole.
                        let next = ((at / BLOCK_BYTES + 1) * BLOCK_BYTES).min(end);
                        writer.write(self.bytes(at, next - at).await?).await?;
                        at = next;
                    }
                }
            }
        }
        Ok(Some(writer.finish().await?))
    }

    async fn bytes(&self, offset: u64, len: u64) -> Result<bytes::Bytes> {
        self.copy.read(offset, len, self.reader, self.tree).await
    }
}
