//! Reads: where the value of a key stands, and its bytes or a part of them.

use crate::{
    Space,
    error::Error,
    format::{KEY_BYTES_MAX, SPACE_BYTES},
    index::{Found, Slot},
    store::{Inner, whole_key},
    view::{self, Lower},
};
use bytes::{Buf, Bytes};
use pome_wal::PayloadRef;
use std::{ops::Range, sync::Arc};

/// A part of a value.
///
/// ```
/// let part = pome_storage::Part::of("quince".into(), 1..3);
/// assert_eq!((&part.bytes[..], part.whole), (&b"ui"[..], 6));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// Those of the bytes that were wanted that are there.
    pub bytes: Bytes,
    /// How many bytes the whole value has.
    pub whole: usize,
}

impl Part {
    /// What of a value lies in `wanted`. Not a copy.
    pub fn of(value: Bytes, wanted: Range<usize>) -> Self {
        let whole = value.len();
        let end = wanted.end.min(whole);
        let mut bytes = value;
        bytes.truncate(end);
        bytes.advance(wanted.start.min(end));
        Self { bytes, whole }
    }
}

impl Inner {
    pub(crate) fn slot(
        &self,
        space: Space,
        key: &[u8],
    ) -> Result<(Slot, Option<Arc<Lower>>), Error> {
        self.open_for_reads()?;
        let mut short = [0; 128];
        let long;
        let whole = match short.get_mut(..SPACE_BYTES + key.len()) {
            Some(whole) => {
                whole[..SPACE_BYTES].copy_from_slice(&space.0.to_be_bytes());
                whole[SPACE_BYTES..].copy_from_slice(key);
                &*whole
            }
            None if key.len() > KEY_BYTES_MAX => return Ok((Slot::Deleted, None)),
            None => {
                long = whole_key(space, key);
                &long
            }
        };
        let lower = {
            let state = self.state.read();
            match state.memtable.get(whole) {
                Found::Here(slot @ Slot::Payload(_)) => {
                    return Ok((slot, Some(state.lower.clone())));
                }
                Found::Here(slot) => return Ok((slot, None)),
                Found::Unknown => state.lower.clone(),
            }
        };
        let slot = view::get(lower.layers(), whole)?;
        Ok((slot, Some(lower)))
    }

    /// The bytes of a slot; the whole key may come in parts.
    pub(crate) fn value(&self, key: [&[u8]; 2], slot: Slot) -> Result<Option<Bytes>, Error> {
        Ok(match slot {
            Slot::Deleted => None,
            Slot::Inline(bytes) => Some(bytes),
            Slot::Payload(at) => Some(self.payload(key, &at)?),
        })
    }

    /// As [`value`](Self::value), what of it lies in `wanted`.
    pub(crate) fn part(
        &self,
        key: [&[u8]; 2],
        slot: Slot,
        wanted: Range<usize>,
    ) -> Result<Option<Part>, Error> {
        Ok(match slot {
            Slot::Deleted => None,
            Slot::Inline(bytes) => Some(Part::of(bytes, wanted)),
            Slot::Payload(at) => Some(self.payload_part(key, &at, wanted)?),
        })
    }

    /// The value that lies in a payload; the whole key may come in parts. Without a copy when the store is not encrypted.
    pub(crate) fn payload(&self, key: [&[u8]; 2], at: &PayloadRef) -> Result<Bytes, Error> {
        Ok(self.payload_part(key, at, 0..usize::MAX)?.bytes)
    }

    /// The crc is looked at whole, whatever is wanted: it tells a value from an older one of the same key, which would open as well.
    fn payload_part(
        &self,
        key: [&[u8]; 2],
        at: &PayloadRef,
        wanted: Range<usize>,
    ) -> Result<Part, Error> {
        self.open_for_reads()?;
        let stored = self.log.read(at)?;
        let Some(seal) = &self.seal else {
            return Ok(Part::of(stored, wanted));
        };
        let whole = seal.plain_bytes(stored.len() as u64);
        match seal.open_value(key, &stored, wanted).zip(whole) {
            Some((part, whole)) => Ok(Part {
                bytes: part.into(),
                whole: whole as usize,
            }),
            None => Err(Error::Corrupt {
                what: "payload (not what was sealed for its key)",
                file: format!("payload-{}", at.segment),
                offset: at.offset,
                expected: 0,
                found: 0,
            }),
        }
    }
}
