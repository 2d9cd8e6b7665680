//! Changes that are committed together, and the bytes they are in the log.
//!
//! ```text
//! body = op …
//! 1 │ key │ value                          put, the value inline
//! 2 │ key │ length varint                  put, the value is the next payload of the frame
//! 3 │ key                                  delete
//! 4 │ key │ key                            delete range: first, past the last
//! 5 │ key │ length varint │ segment varint │ offset varint
//!                                          move: as 2, of a value that lay there
//! key, value = length varint │ bytes       (a key begins with its space: u64, big-endian)
//! ```

use crate::{
    Space,
    error::Error,
    format::{Input, KEY_BYTES_MAX, PAYLOAD_BYTES_MIN, SPACE_BYTES, VALUE_BYTES_MAX, put_varint},
};
use bytes::Bytes;
use pome_wal::PayloadRef;

const PUT: u8 = 1;
const PUT_PAYLOAD: u8 = 2;
const DELETE: u8 = 3;
const DELETE_RANGE: u8 = 4;
const MOVE: u8 = 5;

/// Changes that become visible and durable together, or not at all. Applied in the order in which they were added.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) body: Vec<u8>,
    pub(crate) payloads: Vec<Bytes>,
    refused: Option<Error>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// True when nothing was added.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty() && self.refused.is_none()
    }

    /// Bytes the commit will write, about.
    pub fn byte_length(&self) -> usize {
        self.body.len() + self.payloads.iter().map(Bytes::len).sum::<usize>()
    }

    /// Sets `key` (at most 1 KiB) to `value` (at most 64 MiB). Large values are written once, into a payload segment. A key or value that is too long
    /// is refused by the commit.
    pub fn put(&mut self, space: Space, key: impl AsRef<[u8]>, value: impl Into<Bytes>) {
        let (key, value) = (key.as_ref(), value.into());
        if value.len() > VALUE_BYTES_MAX {
            return self.refuse(Error::ValueTooLong {
                len: value.len() as u64,
                max: VALUE_BYTES_MAX as u64,
            });
        }
        if value.len() >= PAYLOAD_BYTES_MIN {
            self.body.push(PUT_PAYLOAD);
            self.key(space, key);
            put_varint(&mut self.body, value.len() as u64);
            self.payloads.push(value);
        } else {
            self.put_inline(space, key, &value);
        }
    }

    /// As [`put`](Self::put), for a value that is not in memory of its own: a small one is copied once.
    pub fn put_slice(&mut self, space: Space, key: impl AsRef<[u8]>, value: &[u8]) {
        if value.len() >= PAYLOAD_BYTES_MIN {
            return self.put(space, key, Bytes::copy_from_slice(value));
        }
        self.put_inline(space, key.as_ref(), value);
    }

    fn put_inline(&mut self, space: Space, key: &[u8], value: &[u8]) {
        self.body.push(PUT);
        self.key(space, key);
        put_varint(&mut self.body, value.len() as u64);
        self.body.extend_from_slice(value);
    }

    /// Removes `key`; no error if it is not there.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.body.push(DELETE);
        self.key(space, &key.into());
    }

    /// Removes all keys in `start..end` (end excluded) in time that does not grow with their number.
    pub fn delete_range(
        &mut self,
        space: Space,
        start: impl Into<Vec<u8>>,
        end: impl Into<Vec<u8>>,
    ) {
        self.body.push(DELETE_RANGE);
        self.key(space, &start.into());
        self.key(space, &end.into());
    }

    /// Adds all of `other` after what is here.
    pub fn extend(&mut self, other: Batch) {
        self.body.extend_from_slice(&other.body);
        self.payloads.extend(other.payloads);
        if self.refused.is_none() {
            self.refused = other.refused;
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.refused.clone().map_or(Ok(()), Err)
    }

    /// Adds to a body that the value of a whole key, which lies at `from` and has `len` bytes, is the next payload as well, and shall be looked for there.
    pub(crate) fn move_payload(body: &mut Vec<u8>, whole_key: &[u8], len: u64, from: &PayloadRef) {
        body.push(MOVE);
        put_varint(body, whole_key.len() as u64);
        body.extend_from_slice(whole_key);
        put_varint(body, len);
        put_varint(body, u64::from(from.segment));
        put_varint(body, from.offset);
    }

    fn refuse(&mut self, error: Error) {
        self.refused.get_or_insert(error);
    }

    fn key(&mut self, space: Space, key: &[u8]) {
        if key.len() > KEY_BYTES_MAX {
            self.refuse(Error::KeyTooLong {
                len: key.len(),
                max: KEY_BYTES_MAX,
            });
        }
        put_varint(&mut self.body, (SPACE_BYTES + key.len()) as u64);
        self.body.extend_from_slice(&space.0.to_be_bytes());
        self.body.extend_from_slice(key);
    }
}

/// One change, as the log has it; its bytes are parts of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Bytes, Bytes),
    /// Takes the next payload of the frame, which has this many bytes.
    PutPayload(Bytes, u64),
    /// The same, of a value that the key has already: it lies in this segment, at this offset. Nothing changes for readers.
    Move(Bytes, u64, (u32, u64)),
    Delete(Bytes),
    DeleteRange(Bytes, Bytes),
}

impl Change {
    /// The key whose value is the next payload of the frame, if that is what this says.
    pub(crate) fn payload_key(&self) -> Option<&Bytes> {
        match self {
            Self::PutPayload(key, _) | Self::Move(key, ..) => Some(key),
            _ => None,
        }
    }
}

/// The changes in a body, in order; `None` in place of one that breaks the format, and then no more.
pub(crate) fn changes(body: &Bytes) -> impl Iterator<Item = Option<Change>> {
    let mut input = Some(Input::new(body));
    std::iter::from_fn(move || {
        let mut rest = input.take()?;
        if rest.is_empty() {
            return None;
        }
        let change = change(body, &mut rest);
        if change.is_some() {
            input = Some(rest);
        }
        Some(change)
    })
}

fn change(body: &Bytes, input: &mut Input<'_>) -> Option<Change> {
    let own = |bytes: &[u8]| body.slice_ref(bytes);
    let key = |input: &mut Input<'_>| {
        let bytes = input.counted()?;
        let fits = (SPACE_BYTES..=SPACE_BYTES + KEY_BYTES_MAX).contains(&bytes.len());
        fits.then(|| body.slice_ref(bytes))
    };
    Some(match input.u8()? {
        PUT => Change::Put(key(input)?, own(input.counted()?)),
        PUT_PAYLOAD => Change::PutPayload(key(input)?, input.varint()?),
        MOVE => {
            let (key, len) = (key(input)?, input.varint()?);
            let segment = u32::try_from(input.varint()?).ok()?;
            Change::Move(key, len, (segment, input.varint()?))
        }
        DELETE => Change::Delete(key(input)?),
        DELETE_RANGE => Change::DeleteRange(key(input)?, key(input)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Batch {
        let mut batch = Batch::new();
        batch.put(Space(1), b"small", &b"value"[..]);
        batch.put(Space(1), b"large", vec![7; PAYLOAD_BYTES_MIN]);
        batch.delete(Space(2), b"gone");
        batch.delete_range(Space(3), b"a", b"b");
        batch
    }

    #[test]
    fn changes_read_as_added() {
        let batch = sample();
        let body = Bytes::from(batch.body);
        let all: Vec<_> = changes(&body).map(Option::unwrap).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(
            all[0],
            Change::Put(
                Bytes::from_static(b"\0\0\0\0\0\0\0\x01small"),
                Bytes::from_static(b"value")
            )
        );
        assert!(matches!(&all[1], Change::PutPayload(_, len) if *len == PAYLOAD_BYTES_MIN as u64));
    }

    #[test]
    fn a_move_says_from_where() {
        let mut body = vec![];
        let from = PayloadRef {
            segment: 300,
            offset: 1 << 20,
            len: 2_000,
            crc: 1,
        };
        Batch::move_payload(&mut body, b"\0\0\0\0\0\0\0\x01key", 2_000, &from);
        let body = Bytes::from(body);
        let key = Bytes::from_static(b"\0\0\0\0\0\0\0\x01key");
        let all: Vec<_> = changes(&body).map(Option::unwrap).collect();
        assert_eq!(all, [Change::Move(key, 2_000, (300, 1 << 20))]);
        for len in 1..body.len() {
            assert_eq!(changes(&body.slice(..len)).collect::<Vec<_>>(), [None]);
        }
    }

    #[test]
    fn a_cut_body_says_so() {
        let body = Bytes::from(sample().body);
        for len in 1..body.len() {
            let cut = body.slice(..len);
            let whole = changes(&cut).flatten().count();
            let ends_bad = changes(&cut).any(|c| c.is_none());
            assert!(ends_bad || whole < 4, "cut at {len}");
        }
    }

    #[test]
    fn too_long_is_refused() {
        let mut batch = Batch::new();
        batch.put(Space(0), vec![0; KEY_BYTES_MAX + 1], Bytes::new());
        assert!(matches!(batch.check(), Err(Error::KeyTooLong { .. })));
    }
}
