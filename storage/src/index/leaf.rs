//! The way to the leaf of a table that has the next entries between two bounds, and these entries.

use super::{
    Entry, SlotRef, above, below,
    block::Block,
    table::{Content, Opened, Table},
    table_writer::BlockAt,
};
use crate::error::Error;
use bytes::Bytes;
use std::ops::{Bound, Range};

/// A walk to the first leaf (or last, in reverse) that has entries between the bounds.
pub(super) struct Walk<'t, 'b> {
    pub(super) table: &'t Table,
    pub(super) opened: &'t Opened,
    pub(super) low: Bound<&'b [u8]>,
    pub(super) high: Bound<&'b [u8]>,
    pub(super) reverse: bool,
}

/// What a walk has found in a block and below it.
pub(super) enum Visit<'t> {
    Found(Leaf<'t>),
    /// The bound was passed: nothing further on lies between the two.
    Passed,
    /// All of it lies before the bounds.
    Before,
}

impl<'t> Walk<'t, '_> {
    pub(super) fn visit(&self, at: &BlockAt, levels: u8) -> Result<Visit<'t>, Error> {
        let table = self.table;
        let content = table.block(self.opened, at)?;
        if levels == 0 {
            return self.leaf(at, content);
        }
        let block = table.parse(at, &content)?;
        let edge = if self.reverse { self.high } else { self.low };
        let first = match edge {
            Bound::Unbounded if self.reverse => block.count().saturating_sub(1),
            Bound::Unbounded => 0,
            Bound::Included(key) | Bound::Excluded(key) => {
                match block.search(key).ok_or_else(|| table.malformed(at))? {
                    Ok(index) => index,
                    Err(index) => index.saturating_sub(1),
                }
            }
        };
        let order: &mut dyn Iterator<Item = usize> = if self.reverse {
            &mut (0..=first).rev()
        } else {
            &mut (first..block.count())
        };
        let mut separator = vec![];
        for index in order {
            if !self.reverse && index != first {
                separator.clear();
                block
                    .key_into(index, &mut separator)
                    .ok_or_else(|| table.malformed(at))?;
                // What lies past the bound is not read: it may be damaged.
                if !below(self.high, &separator) {
                    return Ok(Visit::Passed);
                }
            }
            let child = table.child(&block, index, at)?;
            match self.visit(&child, levels - 1)? {
                // A leaf beyond the first that gave nothing lies outside the bounds, so all after it do too.
                Visit::Before if index != first => return Ok(Visit::Passed),
                Visit::Before => {}
                over => return Ok(over),
            }
        }
        Ok(Visit::Before)
    }

    fn leaf(&self, at: &BlockAt, content: Content<'t>) -> Result<Visit<'t>, Error> {
        let malformed = || self.table.malformed(at);
        let block = self.table.parse(at, &content)?;
        let position = |key: &[u8]| block.search(key).ok_or_else(malformed);
        let from = match self.low {
            Bound::Unbounded => 0,
            Bound::Included(key) => position(key)?.unwrap_or_else(|i| i),
            Bound::Excluded(key) => position(key)?.map_or_else(|i| i, |i| i + 1),
        };
        let to = match self.high {
            Bound::Unbounded => block.count(),
            Bound::Included(key) => position(key)?.map_or_else(|i| i, |i| i + 1),
            Bound::Excluded(key) => position(key)?.unwrap_or_else(|i| i),
        };
        if from >= to {
            return Ok(Visit::Before);
        }
        // Blocks whose crc fits may still be out of order; a walk goes on where the last entry was, so that one must lie ahead.
        let mut key = vec![];
        for edge in [from, to - 1] {
            key.clear();
            block.key_into(edge, &mut key).ok_or_else(malformed)?;
            if !(above(self.low, &key) && below(self.high, &key)) {
                return Err(malformed());
            }
        }
        Ok(Visit::Found(Leaf {
            table: self.table,
            at: *at,
            content,
            entries: from..to,
        }))
    }
}

/// Some entries of a table that lie together.
pub(super) struct Leaf<'t> {
    table: &'t Table,
    at: BlockAt,
    content: Content<'t>,
    /// Those that are still ahead.
    entries: Range<usize>,
}

/// Where the slot of an entry of a leaf is.
pub(super) enum Taken {
    /// These bytes of the leaf are the value.
    Inline(Range<usize>),
    /// No bytes of the leaf.
    Bare(SlotRef<'static>),
}

impl Leaf<'_> {
    fn malformed(&self) -> Error {
        self.table.malformed(&self.at)
    }

    fn block(&self) -> Result<Block<'_>, Error> {
        self.table.parse(&self.at, &self.content)
    }

    /// Takes the next entry: its whole key is put into `key`.
    pub(super) fn take(&mut self, key: &mut Vec<u8>) -> Result<Option<Taken>, Error> {
        let Some(index) = self.entries.next() else {
            return Ok(None);
        };
        let content = self.content.bytes();
        let (prefix, suffix, slot) = self.block()?.entry(index).ok_or_else(|| self.malformed())?;
        key.clear();
        key.extend_from_slice(prefix);
        key.extend_from_slice(suffix);
        Ok(Some(match slot {
            SlotRef::Inline(bytes) => {
                let at = bytes.as_ptr().addr() - content.as_ptr().addr();
                Taken::Inline(at..at + bytes.len())
            }
            SlotRef::Payload(at) => Taken::Bare(SlotRef::Payload(at)),
            SlotRef::Deleted => Taken::Bare(SlotRef::Deleted),
        }))
    }

    /// Leaves out what comes before `to`, which is further on. False: nothing is left, or the order cannot be told.
    pub(super) fn skip_to(&mut self, to: &[u8]) -> bool {
        let Some(place) = self.block().ok().and_then(|block| block.search(to)) else {
            return false;
        };
        let (Ok(index) | Err(index)) = place;
        self.entries.start = self.entries.start.max(index);
        !self.entries.is_empty()
    }

    /// What was taken.
    pub(super) fn slot(&self, lent: &Taken) -> SlotRef<'_> {
        match lent {
            Taken::Inline(at) => SlotRef::Inline(&self.content.bytes()[at.clone()]),
            Taken::Bare(slot) => *slot,
        }
    }

    /// The entries with memory of their own for the keys, at most `limit`: the first of them, or in reverse the last, that one first.
    pub(super) fn entries(self, reverse: bool, limit: usize) -> Result<Vec<Entry>, Error> {
        let Range {
            start: mut from,
            end: mut to,
        } = self.entries;
        if reverse {
            from = from.max(to.saturating_sub(limit));
        } else {
            to = to.min(from.saturating_add(limit));
        }
        let block = self.block()?;
        let malformed = || self.malformed();
        let mut keys = Vec::with_capacity(key_bytes(&block, to - from));
        let mut ends = Vec::with_capacity(to - from);
        for index in from..to {
            block.key_into(index, &mut keys).ok_or_else(malformed)?;
            ends.push(keys.len());
        }
        let keys = Bytes::from(keys);
        let mut out = Vec::with_capacity(to - from);
        let mut begin = 0;
        for (index, end) in (from..to).zip(ends) {
            let slot = block.slot(index).ok_or_else(malformed)?;
            out.push((keys.slice(begin..end), slot.to_slot(self.content.owner())));
            begin = end;
        }
        if reverse {
            out.reverse();
        }
        Ok(out)
    }
}

/// A guess at the bytes of this many whole keys, to allocate once.
fn key_bytes(block: &Block<'_>, count: usize) -> usize {
    let mut first = vec![];
    let _ = block.key_into(0, &mut first);
    (first.len() + 4) * count
}
