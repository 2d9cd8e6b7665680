//! The ordered index: a memtable of what is new, sorted tables of what a checkpoint wrote, and the merge of both into one view.
//!
//! Keys here are whole: eight bytes of space, big-endian, then the caller's key. Layers are asked from the newest to the oldest; the first that knows
//! the key decides. A layer knows a key when it has a point for it (a value or a deletion) or a deleted range over it.

mod block;
mod bloom;
mod leaf;
mod lend;
mod memtable;
mod merge;
mod ranges;
mod table;
mod table_writer;

pub(crate) use bloom::hash as key_hash;
pub(crate) use lend::Lender;
pub(crate) use memtable::{Found, Memtable};
pub(crate) use merge::{Cursor, Layer, Merge};
pub(crate) use ranges::RangeSet;
pub(crate) use table::{KeyRange, Table, TablePart};
pub(crate) use table_writer::TableWriter;

use crate::format::{Input, put_varint};
use bytes::Bytes;
use pome_wal::PayloadRef;
use std::ops::Bound;

/// What a key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nothing, whatever older layers say.
    Deleted,
    /// A value, here.
    Inline(Bytes),
    /// A value in a payload segment.
    Payload(PayloadRef),
}

/// A key and what it has.
pub(crate) type Entry = (Bytes, Slot);

/// A [`Slot`] that borrows its bytes: what is encoded into blocks.
///
/// ```text
/// 0 │                                                               deleted
/// 1 │ length varint │ bytes                                         inline
/// 2 │ segment varint │ offset varint │ length varint │ crc32 u32    payload
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotRef<'a> {
    /// See [`Slot::Deleted`].
    Deleted,
    /// See [`Slot::Inline`].
    Inline(&'a [u8]),
    /// See [`Slot::Payload`].
    Payload(PayloadRef),
}

const TAG_DELETED: u8 = 0;
const TAG_INLINE: u8 = 1;
const TAG_PAYLOAD: u8 = 2;

impl<'a> SlotRef<'a> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            SlotRef::Deleted => out.push(TAG_DELETED),
            SlotRef::Inline(bytes) => {
                out.push(TAG_INLINE);
                put_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            SlotRef::Payload(at) => {
                out.push(TAG_PAYLOAD);
                put_varint(out, u64::from(at.segment));
                put_varint(out, at.offset);
                put_varint(out, u64::from(at.len));
                out.extend_from_slice(&at.crc.to_le_bytes());
            }
        }
    }

    pub(crate) fn decode(input: &mut Input<'a>) -> Option<Self> {
        match input.u8()? {
            TAG_DELETED => Some(SlotRef::Deleted),
            TAG_INLINE => {
                let len = input.varint()?;
                Some(SlotRef::Inline(input.bytes(usize::try_from(len).ok()?)?))
            }
            TAG_PAYLOAD => Some(SlotRef::Payload(PayloadRef {
                segment: u32::try_from(input.varint()?).ok()?,
                offset: input.varint()?,
                len: u32::try_from(input.varint()?).ok()?,
                crc: input.u32()?,
            })),
            _ => None,
        }
    }
}

impl SlotRef<'_> {
    /// The slot with its bytes copied: keeping it keeps no commit and no table in memory.
    pub(crate) fn detached(self) -> Slot {
        match self {
            SlotRef::Deleted => Slot::Deleted,
            SlotRef::Inline(bytes) => Slot::Inline(Bytes::copy_from_slice(bytes)),
            SlotRef::Payload(at) => Slot::Payload(at),
        }
    }
}

impl Slot {
    pub(crate) fn as_ref(&self) -> SlotRef<'_> {
        match self {
            Slot::Deleted => SlotRef::Deleted,
            Slot::Inline(bytes) => SlotRef::Inline(bytes),
            Slot::Payload(at) => SlotRef::Payload(*at),
        }
    }
}

/// True when no key can lie between the bounds (ordered maps panic on some of these).
pub(crate) fn is_empty_range(low: Bound<&[u8]>, high: Bound<&[u8]>) -> bool {
    match (low, high) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b))
        | (Bound::Excluded(a), Bound::Included(b)) => a >= b,
    }
}

/// True when `key` is not before the lower bound.
pub(crate) fn above(low: Bound<&[u8]>, key: &[u8]) -> bool {
    match low {
        Bound::Unbounded => true,
        Bound::Included(a) => key >= a,
        Bound::Excluded(a) => key > a,
    }
}

/// True when `key` is not after the upper bound.
pub(crate) fn below(high: Bound<&[u8]>, key: &[u8]) -> bool {
    match high {
        Bound::Unbounded => true,
        Bound::Included(b) => key <= b,
        Bound::Excluded(b) => key < b,
    }
}
