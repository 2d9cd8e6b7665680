//! Writes a sorted table, front to back, in one pass.
//!
//! ```text
//! blocks of the points, their index blocks mixed in │ the same for deleted ranges │ filter pages │ footer
//! ```
//! Points and deleted ranges are each a tree of [blocks](super::block): a leaf holds entries (of a deleted range: start → inline end), an index block
//! holds `separator → child` where every key of the child is at or after the separator. A child lies before its parent in the file; so a walk down
//! always ends. The footer is the last [`FOOTER_BYTES`] of the file.

use super::{
    SlotRef,
    block::{BLOCK_BYTES, BlockBuilder, CRC_BYTES, block_crc, common_prefix},
    bloom::{BloomBuilder, PAGE_BYTES},
};
use crate::{
    aead::TAG_BYTES,
    error::{Error, Op},
    format::{FORMAT_VERSION, Input, TABLE_MAGIC, TABLE_PREFIX, TableMeta, file_name, put_varint},
    seal::{Seal, TABLE_NONCE_BYTES},
};
use bytes::Bytes;
use pome_wal::{
    Device, File,
    mutation::{Mutation, is_on},
};
use std::{io::IoSlice, sync::Arc};

/// Bytes of the footer.
pub(crate) const FOOTER_BYTES: usize = 128;
/// Bytes are handed to the device in pieces of at least this size.
const WRITE_BYTES: usize = 512 << 10;

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockAt {
    /// Blocks of a table are numbered in the order in which they lie.
    pub(crate) ordinal: u32,
    pub(crate) offset: u64,
    /// With tag and crc.
    pub(crate) len: u32,
}

impl BlockAt {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        put_varint(&mut out, u64::from(self.ordinal));
        put_varint(&mut out, self.offset);
        put_varint(&mut out, u64::from(self.len));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        Some(Self {
            ordinal: u32::try_from(input.varint()?).ok()?,
            offset: input.varint()?,
            len: u32::try_from(input.varint()?).ok()?,
        })
    }
}

/// A tree of blocks: its root, and how many levels of index blocks are above the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) root: BlockAt,
    pub(crate) levels: u8,
}

/// The last bytes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) entries: u64,
    pub(crate) ranges_count: u64,
    pub(crate) blocks: u32,
    pub(crate) points: Option<Tree>,
    pub(crate) ranges: Option<Tree>,
    pub(crate) bloom_offset: u64,
    pub(crate) bloom_pages: u64,
    /// The random part of the nonces; zeros when the store is not encrypted.
    pub(crate) nonce: [u8; TABLE_NONCE_BYTES],
    /// Over the bytes before it; zeros when the store is not encrypted.
    pub(crate) tag: [u8; TAG_BYTES],
}

/// Bytes of the footer that its tag is over.
pub(crate) const FOOTER_TAGGED_BYTES: usize = 88 + TABLE_NONCE_BYTES;

fn put_tree(out: &mut Vec<u8>, tree: Option<&Tree>) {
    let none = Tree {
        root: BlockAt {
            ordinal: 0,
            offset: 0,
            len: 0,
        },
        levels: 0,
    };
    let tree = tree.unwrap_or(&none);
    out.extend_from_slice(&tree.root.ordinal.to_le_bytes());
    out.extend_from_slice(&tree.root.len.to_le_bytes());
    out.extend_from_slice(&tree.root.offset.to_le_bytes());
    out.extend_from_slice(&u32::from(tree.levels).to_le_bytes());
}

fn take_tree(input: &mut Input<'_>) -> Option<Option<Tree>> {
    let ordinal = input.u32()?;
    let len = input.u32()?;
    let offset = input.u64()?;
    let levels = u8::try_from(input.u32()?).ok()?;
    let root = BlockAt {
        ordinal,
        offset,
        len,
    };
    Some((len != 0).then_some(Tree { root, levels }))
}

impl Footer {
    /// `magic 8 │ version u32 │ blocks u32 │ entries u64 │ ranges u64 │ two trees of 20 │ filter offset u64 │ filter pages u64 │ nonce 16 │ tag 16 │ zeros 4 │
    /// crc32 u32`; the tag is put in when there is something to seal with.
    fn encode(&self, table: u64, offset: u64, seal: Option<&Seal>) -> Vec<u8> {
        let mut out = TABLE_MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&self.entries.to_le_bytes());
        out.extend_from_slice(&self.ranges_count.to_le_bytes());
        put_tree(&mut out, self.points.as_ref());
        put_tree(&mut out, self.ranges.as_ref());
        out.extend_from_slice(&self.bloom_offset.to_le_bytes());
        out.extend_from_slice(&self.bloom_pages.to_le_bytes());
        out.extend_from_slice(&self.nonce);
        debug_assert_eq!(out.len(), FOOTER_TAGGED_BYTES);
        match seal {
            Some(seal) => {
                let tag = seal.footer_tag(table, &self.nonce, offset, &out);
                out.extend_from_slice(&tag);
            }
            None => out.extend_from_slice(&self.tag),
        }
        out.resize(FOOTER_BYTES - 4, 0);
        let crc = block_crc(table, offset, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `content` is the footer without its crc.
    pub(crate) fn decode(content: &[u8]) -> Option<Self> {
        let mut input = Input::new(content);
        if input.array()? != TABLE_MAGIC || input.u32()? != FORMAT_VERSION {
            return None;
        }
        let blocks = input.u32()?;
        let entries = input.u64()?;
        let ranges_count = input.u64()?;
        let points = take_tree(&mut input)?;
        let ranges = take_tree(&mut input)?;
        Some(Self {
            entries,
            ranges_count,
            blocks,
            points,
            ranges,
            bloom_offset: input.u64()?,
            bloom_pages: input.u64()?,
            nonce: input.array()?,
            tag: input.array()?,
        })
    }
}

/// The file as it grows.
struct Out {
    file: Arc<dyn File>,
    name: String,
    table: u64,
    seal: Option<Arc<Seal>>,
    nonce: [u8; TABLE_NONCE_BYTES],
    buffer: Vec<u8>,
    written: u64,
    blocks: u32,
}

impl Out {
    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self, at_least: usize) -> Result<(), Error> {
        if self.buffer.len() >= at_least && !self.buffer.is_empty() {
            self.file
                .write_at(&[IoSlice::new(&self.buffer)], self.written)
                .map_err(|e| Error::io(Op::Write, &self.name, e))?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Seals what was put into the buffer from `begin` on, if the store is encrypted, and puts the crc behind it.
    fn part(&mut self, begin: usize) {
        let offset = self.written + begin as u64;
        if let Some(seal) = &self.seal {
            let part = &mut self.buffer[begin..];
            let tag = seal.seal_part(self.table, &self.nonce, offset, part);
            self.buffer.extend_from_slice(&tag);
        }
        let crc = block_crc(self.table, offset, &self.buffer[begin..]);
        self.buffer.extend_from_slice(&crc.to_le_bytes());
    }

    fn block(&mut self, builder: &mut BlockBuilder) -> Result<BlockAt, Error> {
        let offset = self.offset();
        let begin = self.buffer.len();
        builder.finish(&mut self.buffer);
        self.part(begin);
        let at = BlockAt {
            ordinal: self.blocks,
            offset,
            len: (self.offset() - offset) as u32,
        };
        self.blocks += 1;
        self.flush(WRITE_BYTES)?;
        Ok(at)
    }
}

/// One tree as it grows: the open block of each level.
#[derive(Default)]
struct TreeWriter {
    leaf: BlockBuilder,
    /// The separator the open leaf will have in its parent.
    separator: Bytes,
    index: Vec<(BlockBuilder, Bytes)>,
}

impl TreeWriter {
    fn push(&mut self, out: &mut Out, key: Bytes, slot: &SlotRef<'_>) -> Result<(), Error> {
        if self.leaf.size() >= BLOCK_BYTES {
            let next = match self.leaf.last() {
                Some(last) => key.slice(..(common_prefix(last, &key) + 1).min(key.len())),
                None => Bytes::new(),
            };
            let at = out.block(&mut self.leaf)?;
            let separator = std::mem::replace(&mut self.separator, next);
            self.push_child(out, 0, separator, at)?;
        }
        self.leaf.push(key, slot);
        Ok(())
    }

    fn push_child(
        &mut self,
        out: &mut Out,
        level: usize,
        separator: Bytes,
        at: BlockAt,
    ) -> Result<(), Error> {
        if self.index.len() == level {
            self.index
                .push((BlockBuilder::default(), separator.clone()));
        }
        let (builder, first) = &mut self.index[level];
        if builder.size() >= BLOCK_BYTES && builder.count() >= 2 {
            let block = out.block(builder)?;
            let own = std::mem::replace(first, separator.clone());
            self.push_child(out, level + 1, own, block)?;
        }
        let (builder, _) = &mut self.index[level];
        builder.push(separator, &SlotRef::Inline(&at.encode()));
        Ok(())
    }

    fn finish(mut self, out: &mut Out) -> Result<Option<Tree>, Error> {
        if self.leaf.is_empty() {
            return Ok(None);
        }
        let mut at = out.block(&mut self.leaf)?;
        let mut separator = self.separator.clone();
        let mut level = 0;
        while level < self.index.len() {
            self.push_child(out, level, separator, at)?;
            let (builder, first) = &mut self.index[level];
            separator = first.clone();
            at = out.block(builder)?;
            level += 1;
        }
        let levels =
            u8::try_from(level).expect("each level is at least twice as wide as the one above");
        Ok(Some(Tree { root: at, levels }))
    }
}

/// Takes points in key order, then deleted ranges in order, then writes the rest.
pub(crate) struct TableWriter {
    out: Out,
    points: TreeWriter,
    bloom: BloomBuilder,
    entries: u64,
    last: Option<Bytes>,
}

impl TableWriter {
    /// A table with this number and about this many entries (the filter is sized by it).
    pub(crate) fn new(
        device: &dyn Device,
        seal: Option<Arc<Seal>>,
        table: u64,
        expected_entries: u64,
    ) -> Result<Self, Error> {
        let nonce = match &seal {
            Some(seal) => seal.new_table()?,
            None => Default::default(),
        };
        let name = file_name(TABLE_PREFIX, table);
        let file = device
            .open(&name, true)
            .and_then(|file| file.set_len(0).map(|()| file))
            .map_err(|e| Error::io(Op::Create, &name, e))?;
        Ok(Self {
            out: Out {
                file,
                name,
                table,
                seal,
                nonce,
                buffer: Vec::with_capacity(WRITE_BYTES + 2 * BLOCK_BYTES),
                written: 0,
                blocks: 0,
            },
            points: TreeWriter::default(),
            bloom: BloomBuilder::new(expected_entries),
            entries: 0,
            last: None,
        })
    }

    /// Adds a point. Keys must come in strictly ascending order.
    ///
    /// # Errors
    /// `Full`, `Io`; `Corrupt` when they do not ascend: they come from a table whose crcs fit and that is out of order all the same.
    pub(crate) fn push(&mut self, key: Bytes, slot: &SlotRef<'_>) -> Result<(), Error> {
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(Error::Corrupt {
                what: "order of keys (in a table that is merged)",
                file: self.out.name.clone(),
                offset: 0,
                expected: 0,
                found: 0,
            });
        }
        self.last = Some(key.clone());
        self.bloom.add(&key);
        self.entries += 1;
        self.points.push(&mut self.out, key, slot)
    }

    /// Writes the ranges, filter and footer, and syncs the file. (Its name is on disk after the next `sync_dir`.)
    pub(crate) fn finish<'a>(
        mut self,
        deleted: impl Iterator<Item = (&'a Bytes, &'a Bytes)>,
    ) -> Result<TableMeta, Error> {
        let points = self.points.finish(&mut self.out)?;
        let mut tree = TreeWriter::default();
        let mut ranges_count = 0;
        for (start, end) in deleted {
            tree.push(&mut self.out, start.clone(), &SlotRef::Inline(end))?;
            ranges_count += 1;
        }
        let ranges = tree.finish(&mut self.out)?;
        let bloom_offset = self.out.offset();
        let room = match self.out.seal {
            Some(_) => TAG_BYTES + CRC_BYTES,
            None => CRC_BYTES,
        };
        let mut bloom_pages = 0;
        for page in self.bloom.pages() {
            let begin = self.out.buffer.len();
            self.out
                .buffer
                .extend_from_slice(&page[..PAGE_BYTES - room]);
            self.out.part(begin);
            self.out.flush(WRITE_BYTES)?;
            bloom_pages += 1;
        }
        let footer = Footer {
            entries: self.entries,
            ranges_count,
            blocks: self.out.blocks,
            points,
            ranges,
            bloom_offset,
            bloom_pages,
            nonce: self.out.nonce,
            tag: [0; TAG_BYTES],
        };
        let offset = self.out.offset();
        let footer = footer.encode(self.out.table, offset, self.out.seal.as_deref());
        self.out.buffer.extend_from_slice(&footer);
        self.out.flush(0)?;
        if !is_on(Mutation::TableNotSynced) {
            self.out
                .file
                .sync()
                .map_err(|e| Error::io(Op::Sync, &self.out.name, e))?;
        }
        Ok(TableMeta {
            id: self.out.table,
            len: self.out.written,
            entries: self.entries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_footer_reads_as_written() {
        let footer = Footer {
            entries: 5,
            ranges_count: 1,
            blocks: 2,
            points: Some(Tree {
                root: BlockAt {
                    ordinal: 1,
                    offset: 4096,
                    len: 99,
                },
                levels: 1,
            }),
            ranges: None,
            bloom_offset: 8192,
            bloom_pages: 1,
            nonce: [1; TABLE_NONCE_BYTES],
            tag: [2; TAG_BYTES],
        };
        let raw = footer.encode(3, 12288, None);
        assert_eq!(raw.len(), FOOTER_BYTES);
        assert_eq!(Footer::decode(&raw[..FOOTER_BYTES - 4]), Some(footer));
    }
}
