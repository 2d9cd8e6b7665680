//! Reads a sorted table (written by [`TableWriter`](super::TableWriter)) through a view of its file.
//!
//! Nothing is read until the first question. Then each block is checked against its crc once; that it was is kept as one bit in memory. The blocks of an
//! encrypted store are opened into memory, where a bounded number of them stays.

use super::{
    Entry, Found, Slot, SlotRef,
    block::{Block, checked_content},
    bloom::{self, PAGE_BYTES},
    leaf::{Leaf, Visit, Walk},
    table_writer::{BlockAt, FOOTER_BYTES, FOOTER_TAGGED_BYTES, Footer, Tree},
};
pub(crate) use crate::format::TableMeta;
use crate::{
    aead::TAG_BYTES,
    error::{Error, Op},
    format::{TABLE_PREFIX, file_name},
    seal::Seal,
};
use bytes::Bytes;
use pome_wal::{Device, mutation::fits};
use std::{
    ops::Bound,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// A table that the manifest names.
pub(crate) struct Table {
    pub(crate) meta: TableMeta,
    device: Arc<dyn Device>,
    seal: Option<Arc<Seal>>,
    opened: OnceLock<Opened>,
}

pub(super) struct Opened {
    whole: Bytes,
    footer: Footer,
    /// A bit for each block, then one for each filter page.
    checked: Vec<AtomicU64>,
}

/// The content of a block or page: where it lies in the file, or, of an encrypted one, opened in memory.
pub(super) enum Content<'a> {
    Mapped { whole: &'a Bytes, content: &'a [u8] },
    Opened(Bytes),
}

impl Content<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Mapped { content, .. } => content,
            Self::Opened(content) => content,
        }
    }

    /// What shares memory with all slots of the block.
    pub(super) fn owner(&self) -> &Bytes {
        match self {
            Self::Mapped { whole, .. } => whole,
            Self::Opened(content) => content,
        }
    }
}

/// Which of the two trees of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Points,
    Ranges,
}

impl Table {
    pub(crate) fn new(device: Arc<dyn Device>, seal: Option<Arc<Seal>>, meta: TableMeta) -> Self {
        Self {
            meta,
            device,
            seal,
            opened: OnceLock::new(),
        }
    }

    /// The same table, of which nothing was read yet.
    pub(crate) fn reopened(&self) -> Self {
        Self::new(self.device.clone(), self.seal.clone(), self.meta)
    }

    pub(crate) fn name(&self) -> String {
        file_name(TABLE_PREFIX, self.meta.id)
    }

    fn corrupt(&self, what: &'static str, offset: u64, expected: u64, found: u64) -> Error {
        Error::Corrupt {
            what,
            file: self.name(),
            offset,
            expected,
            found,
        }
    }

    pub(super) fn malformed(&self, at: &BlockAt) -> Error {
        self.corrupt("block content", at.offset, 0, 0)
    }

    fn opened(&self) -> Result<&Opened, Error> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = self.open()?;
        Ok(self.opened.get_or_init(|| opened))
    }

    fn open(&self) -> Result<Opened, Error> {
        let name = self.name();
        let io = |e| Error::io(Op::Open, &name, e);
        let file = self.device.open(&name, false).map_err(io)?;
        let len = file.len().map_err(io)?;
        let footer_at = self.meta.len.saturating_sub(FOOTER_BYTES as u64);
        if len < self.meta.len || self.meta.len < FOOTER_BYTES as u64 {
            return Err(self.corrupt("file length", 0, self.meta.len, len));
        }
        let whole = file.view(0..self.meta.len).map_err(io)?;
        let raw = whole.get(footer_at as usize..).unwrap_or_default();
        let (content, expected, found) = checked_content(self.meta.id, footer_at, raw)
            .ok_or_else(|| self.corrupt("file length", 0, self.meta.len, whole.len() as u64))?;
        if !fits(found, expected) {
            let (expected, found) = (u64::from(expected), u64::from(found));
            return Err(self.corrupt("table footer", footer_at, expected, found));
        }
        let footer = Footer::decode(content)
            .filter(|f| f.bloom_pages > 0 && f.bloom_pages <= self.meta.len / PAGE_BYTES as u64)
            .ok_or_else(|| self.corrupt("table footer", footer_at, 0, 0))?;
        if let Some(seal) = &self.seal {
            let tagged = content.get(..FOOTER_TAGGED_BYTES).unwrap_or_default();
            if !seal.footer_holds(self.meta.id, &footer.nonce, footer_at, tagged, &footer.tag) {
                return Err(self.corrupt("table footer (not what was sealed)", footer_at, 0, 0));
            }
        }
        let bits = u64::from(footer.blocks) + footer.bloom_pages;
        // Each block takes at least 16 bytes, so the file's length bounds this allocation.
        if u64::from(footer.blocks) > self.meta.len / 16 {
            return Err(self.corrupt("table footer", footer_at, 0, 0));
        }
        Ok(Opened {
            whole,
            footer,
            checked: (0..bits.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// The content of a stretch with a crc at its end; the crc is computed the first time (or always, when `again`). What is sealed is opened, unless
    /// it is still in memory and need not be read again.
    #[inline]
    fn content<'a>(
        &self,
        opened: &'a Opened,
        bit: u64,
        offset: u64,
        len: usize,
        what: &'static str,
        again: bool,
    ) -> Result<Content<'a>, Error> {
        let Some(seal) = &self.seal else {
            let content = self.stored(opened, bit, offset, len, what, again)?;
            let whole = &opened.whole;
            return Ok(Content::Mapped { whole, content });
        };
        if !again && let Some(content) = seal.opened_part(self.meta.id, offset) {
            return Ok(Content::Opened(content));
        }
        let sealed = self.stored(opened, bit, offset, len, what, again)?;
        seal.open_part(self.meta.id, &opened.footer.nonce, offset, sealed)
            .map(Content::Opened)
            .ok_or_else(|| self.corrupt(what, offset, 0, 0))
    }

    /// A stretch as it is in the file, without its crc.
    fn stored<'a>(
        &self,
        opened: &'a Opened,
        bit: u64,
        offset: u64,
        len: usize,
        what: &'static str,
        again: bool,
    ) -> Result<&'a [u8], Error> {
        let raw = usize::try_from(offset)
            .ok()
            .and_then(|at| opened.whole.get(at..at.checked_add(len)?))
            .filter(|raw| {
                raw.len()
                    > if self.seal.is_some() {
                        TAG_BYTES + 4
                    } else {
                        4
                    }
            })
            .ok_or_else(|| self.corrupt(what, offset, len as u64, 0))?;
        let word = opened
            .checked
            .get((bit / 64) as usize)
            .ok_or_else(|| self.corrupt(what, offset, 0, 0))?;
        let mask = 1 << (bit % 64);
        if again || word.load(Ordering::Relaxed) & mask == 0 {
            let (_, expected, found) = checked_content(self.meta.id, offset, raw)
                .ok_or_else(|| self.corrupt(what, offset, len as u64, 0))?;
            if !fits(found, expected) {
                return Err(self.corrupt(what, offset, expected.into(), found.into()));
            }
            word.fetch_or(mask, Ordering::Relaxed);
        }
        Ok(&raw[..raw.len() - 4])
    }

    pub(super) fn block<'a>(&self, opened: &'a Opened, at: &BlockAt) -> Result<Content<'a>, Error> {
        let bit = u64::from(at.ordinal);
        self.content(
            opened,
            bit,
            at.offset,
            at.len as usize,
            "index block",
            false,
        )
    }

    pub(super) fn parse<'a>(
        &self,
        at: &BlockAt,
        content: &'a Content<'_>,
    ) -> Result<Block<'a>, Error> {
        Block::parse(content.bytes()).ok_or_else(|| self.malformed(at))
    }

    /// The child an index block has at this place. It must lie before the block itself, so that no walk goes in circles.
    pub(super) fn child(
        &self,
        block: &Block<'_>,
        index: usize,
        parent: &BlockAt,
    ) -> Result<BlockAt, Error> {
        match block.slot(index) {
            Some(SlotRef::Inline(bytes)) => BlockAt::decode(bytes)
                .filter(|child| child.offset < parent.offset && child.ordinal < parent.ordinal),
            _ => None,
        }
        .ok_or_else(|| self.malformed(parent))
    }

    fn tree<'a>(&self, opened: &'a Opened, which: Which) -> Option<&'a Tree> {
        match which {
            Which::Points => opened.footer.points.as_ref(),
            Which::Ranges => opened.footer.ranges.as_ref(),
        }
    }

    /// The leaf in which `key` lies if it is there; `None` when the tree is empty or all its keys are later.
    fn leaf_of<'a>(
        &self,
        opened: &'a Opened,
        which: Which,
        key: &[u8],
    ) -> Result<Option<(BlockAt, Content<'a>)>, Error> {
        let Some(tree) = self.tree(opened, which) else {
            return Ok(None);
        };
        let mut at = tree.root;
        for _ in 0..tree.levels {
            let content = self.block(opened, &at)?;
            let block = self.parse(&at, &content)?;
            let index = match block.search(key).ok_or_else(|| self.malformed(&at))? {
                Ok(index) => index,
                Err(0) => return Ok(None),
                Err(index) => index - 1,
            };
            at = self.child(&block, index, &at)?;
        }
        Ok(Some((at, self.block(opened, &at)?)))
    }

    fn may_hold(&self, opened: &Opened, hash: u64) -> Result<bool, Error> {
        let (page, ask) = bloom::question(hash, opened.footer.bloom_pages);
        let bit = u64::from(opened.footer.blocks) + page;
        let offset = opened.footer.bloom_offset + page * PAGE_BYTES as u64;
        let content = self.content(opened, bit, offset, PAGE_BYTES, "filter page", false)?;
        Ok(ask(content.bytes()))
    }

    /// What this table knows of a key, which has this [hash](bloom::hash).
    pub(crate) fn get(&self, key: &[u8], hash: u64) -> Result<Found, Error> {
        let opened = self.opened()?;
        if self.may_hold(opened, hash)?
            && let Some((at, content)) = self.leaf_of(opened, Which::Points, key)?
        {
            // Begin and end of a block often lie in two pages of memory: they are asked for at once.
            std::hint::black_box(content.bytes().first().copied());
            let block = self.parse(&at, &content)?;
            let found = block.find(key, hash).ok_or_else(|| self.malformed(&at))?;
            if let Some(slot) = found {
                return Ok(Found::Here(slot.detached()));
            }
        }
        Ok(match self.covering(key)? {
            Some(_) => Found::Here(Slot::Deleted),
            None => Found::Unknown,
        })
    }

    /// The deleted range of this table that holds `key`.
    pub(crate) fn covering(&self, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Error> {
        let opened = self.opened()?;
        if opened.footer.ranges.is_none() {
            return Ok(None);
        }
        let last = self.entries_of(
            Which::Ranges,
            Bound::Unbounded,
            Bound::Included(key),
            true,
            1,
        )?;
        Ok(match last.into_iter().next() {
            Some((start, Slot::Inline(end))) if &end[..] > key => Some((start, end)),
            _ => None,
        })
    }

    /// Forward: the first deleted range that ends after `key`. In reverse: the last that starts at or before it.
    pub(crate) fn range_near(
        &self,
        key: &[u8],
        reverse: bool,
    ) -> Result<Option<(Bytes, Bytes)>, Error> {
        if !reverse && let Some(range) = self.covering(key)? {
            return Ok(Some(range));
        }
        let (low, high) = if reverse {
            (Bound::Unbounded, Bound::Included(key))
        } else {
            (Bound::Included(key), Bound::Unbounded)
        };
        let near = self.entries_of(Which::Ranges, low, high, reverse, 1)?;
        near.into_iter()
            .next()
            .map(|entry| self.range_of(entry))
            .transpose()
    }

    /// An entry of the tree of deleted ranges. One that is empty would hold up a walk for ever.
    fn range_of(&self, (start, slot): Entry) -> Result<(Bytes, Bytes), Error> {
        match slot {
            Slot::Inline(end) if start < end => Ok((start, end)),
            _ => Err(self.corrupt("deleted range", 0, 0, 0)),
        }
    }

    /// All deleted ranges, in order.
    pub(crate) fn ranges(&self) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let mut all: Vec<(Bytes, Bytes)> = vec![];
        loop {
            let low = match all.last() {
                Some((start, _)) => Bound::Excluded(&start[..]),
                None => Bound::Unbounded,
            };
            let more = self.entries_of(Which::Ranges, low, Bound::Unbounded, false, usize::MAX)?;
            if more.is_empty() {
                return Ok(all);
            }
            for entry in more {
                all.push(self.range_of(entry)?);
            }
        }
    }

    /// The next few points between two bounds, from the front or from the back. Empty means that there are no more.
    pub(crate) fn entries(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Vec<Entry>, Error> {
        self.entries_of(Which::Points, low, high, reverse, usize::MAX)
    }

    /// The first leaf with points between two bounds.
    pub(super) fn leaf(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
    ) -> Result<Option<Leaf<'_>>, Error> {
        self.leaf_between(Which::Points, low, high, false)
    }

    fn entries_of(
        &self,
        which: Which,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        match self.leaf_between(which, low, high, reverse)? {
            Some(leaf) => leaf.entries(reverse, limit),
            None => Ok(vec![]),
        }
    }

    fn leaf_between(
        &self,
        which: Which,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        reverse: bool,
    ) -> Result<Option<Leaf<'_>>, Error> {
        let opened = self.opened()?;
        let Some(tree) = self.tree(opened, which) else {
            return Ok(None);
        };
        if super::is_empty_range(low, high) {
            return Ok(None);
        }
        let walk = Walk {
            table: self,
            opened,
            low,
            high,
            reverse,
        };
        Ok(match walk.visit(&tree.root, tree.levels)? {
            Visit::Found(leaf) => Some(leaf),
            Visit::Passed | Visit::Before => None,
        })
    }

    /// Reads every block and filter page again and checks crcs and order. `progress` is told the bytes read.
    pub(crate) fn verify(
        &self,
        progress: &mut dyn FnMut(u64),
        finding: &mut dyn FnMut(TableFault),
    ) {
        let opened = match self.opened() {
            Ok(opened) => opened,
            Err(error) => {
                let part = TablePart::Whole;
                return finding(TableFault { error, part });
            }
        };
        for page in 0..opened.footer.bloom_pages {
            let bit = u64::from(opened.footer.blocks) + page;
            let offset = opened.footer.bloom_offset + page * PAGE_BYTES as u64;
            if let Err(error) = self.content(opened, bit, offset, PAGE_BYTES, "filter page", true) {
                let part = TablePart::Filter;
                finding(TableFault { error, part });
            }
            progress(PAGE_BYTES as u64);
        }
        progress(FOOTER_BYTES as u64);
        for which in [Which::Points, Which::Ranges] {
            if let Some(tree) = self.tree(opened, which) {
                let mut check = TreeCheck {
                    table: self,
                    opened,
                    which,
                    last: None,
                    progress,
                    finding,
                };
                check.block(&tree.root, tree.levels, (Bytes::new(), None));
            }
        }
    }
}

/// Something that is bad in a table.
#[derive(Debug)]
pub(crate) struct TableFault {
    pub(crate) error: Error,
    pub(crate) part: TablePart,
}

/// What of a table cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TablePart {
    /// All of it: file or footer.
    Whole,
    /// A page of the filter; nothing is lost with it.
    Filter,
    /// The points from the first key to before the second (none: to the end).
    Points(KeyRange),
    /// Deleted ranges.
    Ranges,
}

/// From the first key to before the second; without a second to the end.
pub(crate) type KeyRange = (Bytes, Option<Bytes>);

/// A walk over all blocks of a tree.
struct TreeCheck<'a, 'b> {
    table: &'a Table,
    opened: &'a Opened,
    which: Which,
    last: Option<Vec<u8>>,
    progress: &'b mut dyn FnMut(u64),
    finding: &'b mut dyn FnMut(TableFault),
}

impl TreeCheck<'_, '_> {
    fn found(&mut self, error: Error, keys: &KeyRange) {
        let part = match self.which {
            Which::Points => TablePart::Points(keys.clone()),
            Which::Ranges => TablePart::Ranges,
        };
        (self.finding)(TableFault { error, part });
    }

    /// Checks a block, in which only these keys may lie, and all below it.
    fn block(&mut self, at: &BlockAt, levels: u8, keys: KeyRange) {
        let table = self.table;
        (self.progress)(u64::from(at.len));
        let bit = u64::from(at.ordinal);
        let len = at.len as usize;
        let content = table.content(self.opened, bit, at.offset, len, "index block", true);
        let content = match content {
            Ok(content) => content,
            Err(e) => return self.found(e, &keys),
        };
        let block = match table.parse(at, &content) {
            Ok(block) => block,
            Err(e) => return self.found(e, &keys),
        };
        let key_of = |index: usize| {
            let mut key = vec![];
            block.key_into(index, &mut key).map(|()| key)
        };
        for index in 0..block.count() {
            let Some(key) = key_of(index) else {
                return self.found(table.malformed(at), &keys);
            };
            if levels > 0 {
                let low = match index {
                    0 => keys.0.clone(),
                    _ => Bytes::from(key),
                };
                let high = match index + 1 < block.count() {
                    true => key_of(index + 1).map(Bytes::from),
                    false => keys.1.clone(),
                };
                match table.child(&block, index, at) {
                    Ok(child) => self.block(&child, levels - 1, (low, high)),
                    Err(e) => self.found(e, &(low, high)),
                }
                continue;
            }
            if block.slot(index).is_none() || !block.is_marked(index, &key) {
                return self.found(table.malformed(at), &keys);
            }
            if self.last.as_ref().is_some_and(|last| *last >= key) {
                let error = table.corrupt("order of keys", at.offset, 0, 0);
                self.found(error, &keys);
            }
            self.last = Some(key);
        }
    }
}
