//! The bytes of a bee's blocks: protobuf, written and read by hand.
//!
//! ```text
//! block 0   Header { 1: protocol "hyperbee", 2?: Metadata { 1?: content feed, 2?: user data } }
//! block n   Node   { 1: index, 2: key, 3?: value }
//! index            { 1*: Level { 1?: keys, packed varints; 2?: children, packed pairs of varints (seq, offset) } }
//! ```
//! A key is the seq of the block that has it; a child is a level of an index: which block, and which of its levels. Level 0 of a block's index is the root
//! of the tree at that version (in a batch, only in its last block).
//! Source: hyperbee 2.27.3, `lib/messages.js` and `index.js` (`deflate`, `inflate`, `BlockEntry`). Vectors: `bee.json`.
use bytes::{BufMut, Bytes, BytesMut};
use once_cell::sync::OnceCell;
use std::sync::OnceLock;

/// Fewest keys of a node other than the root.
pub(crate) const MIN_KEYS: usize = 4;
/// Most keys of a node.
pub(crate) const MAX_KEYS: usize = 8;
/// Deepest tree: with at least five children per node, 32 levels hold more keys than a core can have blocks.
pub(crate) const MAX_DEPTH: usize = 32;

/// Values above this many bytes are not kept in memory.
const KEPT_VALUE_BYTES_MAX: usize = 4096;

/// What is wrong with a block.
pub(crate) type Fault = &'static str;

/// One node of the tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Level {
    /// In key order.
    pub(crate) keys: Vec<LevelKey>,
    /// Where each child is: block and level. Empty in a leaf, else one more than keys.
    pub(crate) children: Vec<(u64, u64)>,
}

/// A key of a node: the seq of the block that has it, and its bytes once somebody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LevelKey {
    pub(crate) seq: u64,
    /// Not std's `OnceLock`, which goes through its `Once` even when it is made of a value.
    pub(crate) bytes: OnceCell<Bytes>,
}

impl LevelKey {
    pub(crate) fn new(seq: u64, bytes: Option<Bytes>) -> Self {
        Self {
            seq,
            bytes: bytes.map_or_else(OnceCell::new, OnceCell::with_value),
        }
    }
}

/// The value of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// A deletion, or a put of nothing.
    None,
    /// Here.
    Here(Bytes),
    /// Too large to be kept in memory: read the block again.
    InCore,
}

/// A block of the bee, 1 and up.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) seq: u64,
    pub(crate) key: Bytes,
    pub(crate) value: Value,
    index: Bytes,
    levels: OnceLock<Vec<LazyLevel>>,
}

/// A node that is read when it is first used: of most blocks only the key is.
#[derive(Debug)]
struct LazyLevel {
    bytes: Bytes,
    node: OnceLock<Level>,
}

impl Block {
    /// A block that is not encoded (yet): one that waits in a batch.
    pub(crate) fn pending(seq: u64, key: Bytes, value: Option<Bytes>) -> Self {
        Self {
            seq,
            key,
            value: value.map_or(Value::None, Value::Here),
            index: Bytes::new(),
            levels: OnceLock::new(),
        }
    }

    /// Reads a block; value and index are slices of `raw`. The index is read when it is first used.
    pub(crate) fn decode(seq: u64, raw: &Bytes) -> Result<Self, Fault> {
        let (mut index, mut key, mut value) = (None, None, Value::None);
        let mut fields = Fields(raw);
        while let Some((tag, bytes)) = fields.next()? {
            match tag {
                1 => index = Some(raw.slice_ref(bytes)),
                2 => key = Some(bytes),
                3 => value = Value::Here(raw.slice_ref(bytes)),
                _ => {}
            }
        }
        Ok(Self {
            seq,
            // nodes remember keys for longer than blocks are kept
            key: Bytes::copy_from_slice(key.ok_or("it has no key")?),
            value,
            index: index.ok_or("it has no index")?,
            levels: OnceLock::new(),
        })
    }

    /// A block that waited, as [`decode`](Self::decode) reads it of `raw`, the bytes that it was just encoded to with an index of so many bytes.
    pub(crate) fn written(&self, index_bytes: usize, raw: &Bytes) -> Self {
        let index = 1 + varint_len(index_bytes as u64);
        Self {
            seq: self.seq,
            key: self.key.clone(),
            value: match &self.value {
                Value::Here(value) => Value::Here(raw.slice(raw.len() - value.len()..)),
                _ => Value::None,
            },
            index: raw.slice(index..index + index_bytes),
            levels: OnceLock::new(),
        }
    }

    /// The same block with its nodes, which the caller has just encoded.
    pub(crate) fn with_levels(mut self, levels: Vec<Level>) -> Self {
        let nodes = levels.into_iter().map(|node| LazyLevel {
            bytes: Bytes::new(),
            node: node.into(),
        });
        self.levels = OnceLock::from(nodes.collect::<Vec<_>>());
        self
    }

    /// What is worth keeping of it in memory.
    pub(crate) fn kept(self) -> Self {
        match &self.value {
            Value::Here(value) if value.len() > KEPT_VALUE_BYTES_MAX => Self {
                value: Value::InCore,
                index: Bytes::copy_from_slice(&self.index),
                levels: OnceLock::new(),
                ..self
            },
            _ => self,
        }
    }

    /// How much memory the block holds, about, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let value = match &self.value {
            Value::Here(value) => value.len(),
            _ => 0,
        };
        // about one of its nodes is used by later versions, and read
        400 + self.key.len() + value + self.index.len()
    }

    fn levels(&self) -> Result<&[LazyLevel], Fault> {
        if let Some(levels) = self.levels.get() {
            return Ok(levels);
        }
        let mut levels = Vec::new();
        let mut fields = Fields(&self.index);
        while let Some((tag, bytes)) = fields.next()? {
            if tag == 1 {
                levels.push(LazyLevel {
                    bytes: self.index.slice_ref(bytes),
                    node: OnceLock::new(),
                });
            }
        }
        Ok(self.levels.get_or_init(|| levels))
    }

    /// All tree nodes of the index, each checked as [`level`](Self::level) does.
    pub(crate) fn all_levels(&self) -> Result<Vec<&Level>, Fault> {
        (0..self.levels()?.len() as u64)
            .map(|offset| self.level(offset))
            .collect()
    }

    /// The tree node at `offset`, with every reference checked to point at this block or an earlier one.
    pub(crate) fn level(&self, offset: u64) -> Result<&Level, Fault> {
        let lazy = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.levels().map(|l| l.get(offset)).transpose())
            .ok_or("a child points at a level that is not there")??;
        if let Some(level) = lazy.node.get() {
            return Ok(level);
        }
        let level = Level::decode(&lazy.bytes)?;
        if level.keys.len() > MAX_KEYS {
            return Err("a node has too many keys");
        }
        if !level.children.is_empty() && level.children.len() != level.keys.len() + 1 {
            return Err("the counts of keys and children of a node do not match");
        }
        let bad = |seq: u64| seq == 0 || seq > self.seq;
        if level.keys.iter().any(|key| bad(key.seq))
            || level.children.iter().any(|(seq, _)| bad(*seq))
        {
            return Err("a node points at no earlier block");
        }
        Ok(lazy.node.get_or_init(|| level))
    }

    /// True for the block of a `del`: no value, and no node of its own index lists it.
    pub(crate) fn is_deletion(&self) -> Result<bool, Fault> {
        if self.value != Value::None {
            return Ok(false);
        }
        let mut fields = Fields(&self.index);
        while let Some((tag, bytes)) = fields.next()? {
            if tag == 1 && Level::decode(bytes)?.keys.iter().any(|k| k.seq == self.seq) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Level {
    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let mut level = Self::default();
        let mut fields = Fields(bytes);
        while let Some((tag, mut packed)) = fields.next()? {
            match tag {
                1 => {
                    level.keys.reserve(packed.len().min(MAX_KEYS));
                    while !packed.is_empty() {
                        level.keys.push(LevelKey::new(varint(&mut packed)?, None));
                    }
                }
                2 => {
                    level.children.reserve(packed.len().min(MAX_KEYS + 1));
                    while !packed.is_empty() {
                        let seq = varint(&mut packed)?;
                        level.children.push((seq, varint(&mut packed)?));
                    }
                }
                _ => {}
            }
        }
        Ok(level)
    }
}

/// Adds a node to an index: its keys, and where its children are.
pub(crate) fn put_level(
    index: &mut Vec<u8>,
    keys: impl Iterator<Item = u64> + Clone,
    children: impl Iterator<Item = (u64, u64)> + Clone,
) {
    let keys_len: usize = keys.clone().map(varint_len).sum();
    let children_len: usize = children
        .clone()
        .map(|(seq, offset)| varint_len(seq) + varint_len(offset))
        .sum();
    index.put_u8(0x0a);
    put_varint(
        index,
        (field_len(keys_len) + field_len(children_len)) as u64,
    );
    if keys_len > 0 {
        index.put_u8(0x0a);
        put_varint(index, keys_len as u64);
        for seq in keys {
            put_varint(index, seq);
        }
    }
    if children_len > 0 {
        index.put_u8(0x12);
        put_varint(index, children_len as u64);
        for (seq, offset) in children {
            put_varint(index, seq);
            put_varint(index, offset);
        }
    }
}

/// The bytes of a block.
pub(crate) fn encode_block(index: &[u8], key: &[u8], value: Option<&[u8]>) -> Bytes {
    let length = index.len() + key.len() + value.map_or(0, <[u8]>::len) + 33;
    let mut out = BytesMut::with_capacity(length);
    put_bytes(&mut out, 0x0a, index);
    put_bytes(&mut out, 0x12, key);
    if let Some(value) = value {
        put_bytes(&mut out, 0x1a, value);
    }
    out.freeze()
}

/// Length of a packed field with its tag; an empty one is left out.
fn field_len(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        n => 1 + varint_len(n as u64) + n,
    }
}

/// Block 0 of a bee.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// What the core is; `hyperbee` in a bee.
    pub protocol: String,
    /// What its maker noted (a drive: an empty one).
    pub metadata: Option<Metadata>,
}

/// What the maker of a bee noted in its header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The key of a core that belongs to this bee (drives of version 0 put that of their content here).
    pub content_feed: Option<Bytes>,
    /// Anything.
    pub user_data: Option<Bytes>,
}

impl Header {
    /// The header of a bee.
    pub fn new(metadata: Option<Metadata>) -> Self {
        Self {
            protocol: "hyperbee".into(),
            metadata,
        }
    }

    /// The bytes of block 0.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(32);
        put_bytes(&mut out, 0x0a, self.protocol.as_bytes());
        if let Some(metadata) = &self.metadata {
            let mut inner = BytesMut::new();
            if let Some(feed) = &metadata.content_feed {
                put_bytes(&mut inner, 0x0a, feed);
            }
            if let Some(data) = &metadata.user_data {
                put_bytes(&mut inner, 0x12, data);
            }
            put_bytes(&mut out, 0x12, &inner);
        }
        out.freeze()
    }

    /// Reads block 0; `None` when it is no such message (whatever the protocol).
    pub fn decode(block: &[u8]) -> Option<Self> {
        let (mut protocol, mut metadata) = (None, None);
        let mut fields = Fields(block);
        while let Some((tag, bytes)) = fields.next().ok()? {
            match tag {
                1 => protocol = Some(String::from_utf8_lossy(bytes).into_owned()),
                2 => {
                    let mut inner = Metadata::default();
                    let mut fields = Fields(bytes);
                    while let Some((tag, bytes)) = fields.next().ok()? {
                        match tag {
                            1 => inner.content_feed = Some(Bytes::copy_from_slice(bytes)),
                            2 => inner.user_data = Some(Bytes::copy_from_slice(bytes)),
                            _ => {}
                        }
                    }
                    metadata = Some(inner);
                }
                _ => {}
            }
        }
        Some(Self {
            protocol: protocol?,
            metadata,
        })
    }
}

/// The fields of a protobuf message.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

/// What is in a field. Numbers of fixed size are skipped.
pub(crate) enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field that is a run of bytes.
    fn next(&mut self) -> Result<Option<(u64, &'a [u8])>, Fault> {
        while let Some((tag, field)) = self.any()? {
            if let Field::Bytes(bytes) = field {
                return Ok(Some((tag, bytes)));
            }
        }
        Ok(None)
    }

    /// The next field.
    pub(crate) fn any(&mut self) -> Result<Option<(u64, Field<'a>)>, Fault> {
        while !self.0.is_empty() {
            let prefix = varint(&mut self.0)?;
            let tag = prefix >> 3;
            let skip = match prefix & 7 {
                0 => return Ok(Some((tag, Field::Number(varint(&mut self.0)?)))),
                1 => 8,
                2 => {
                    let n = varint(&mut self.0)?;
                    return Ok(Some((tag, Field::Bytes(self.take(n)?))));
                }
                5 => 4,
                _ => return Err("a field is of an unknown type"),
            };
            self.take(skip)?;
        }
        Ok(None)
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Fault> {
        let (head, rest) = usize::try_from(n)
            .ok()
            .and_then(|n| self.0.split_at_checked(n))
            .ok_or("a field is longer than the block")?;
        self.0 = rest;
        Ok(head)
    }
}

pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, Fault> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or("a number is cut off")?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            break;
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number is too large")
}

fn varint_len(n: u64) -> usize {
    (64 - (n | 1).leading_zeros() as usize).div_ceil(7)
}

pub(crate) fn put_varint(out: &mut impl BufMut, mut n: u64) {
    while n > 0x7f {
        out.put_u8(n as u8 | 0x80);
        n >>= 7;
    }
    out.put_u8(n as u8);
}

pub(crate) fn put_bytes(out: &mut impl BufMut, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    put_varint(out, bytes.len() as u64);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_come_back(n in any::<u64>()) {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            prop_assert_eq!(out.len(), varint_len(n));
            prop_assert_eq!(varint(&mut &out[..]), Ok(n));
        }

        #[test]
        fn blocks_come_back(
            key in prop::collection::vec(any::<u8>(), 0..9),
            value in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
            levels in prop::collection::vec((prop::collection::vec(any::<u64>(), 0..9), prop::collection::vec(any::<(u64, u64)>(), 0..9)), 0..4),
        ) {
            let keyed = |keys: Vec<u64>| keys.into_iter().map(|seq| LevelKey::new(seq, None)).collect();
            let levels: Vec<_> = levels.into_iter().map(|(keys, children)| Level { keys: keyed(keys), children }).collect();
            let mut index = Vec::new();
            for level in &levels {
                put_level(&mut index, level.keys.iter().map(|key| key.seq), level.children.iter().copied());
            }
            let raw = encode_block(&index, &key, value.as_deref());
            let block = Block::decode(1, &raw).unwrap();
            let written = Block::pending(1, key.clone().into(), value.clone().map(Bytes::from)).written(index.len(), &raw);
            prop_assert_eq!((&written.key, &written.value, &written.index), (&block.key, &block.value, &block.index));
            prop_assert_eq!(&block.key[..], &key[..]);
            prop_assert_eq!(&block.value, &value.map_or(Value::None, |v| Value::Here(v.into())));
            let read: Vec<_> = block.levels().unwrap().iter().map(|l| Level::decode(&l.bytes).unwrap()).collect();
            prop_assert_eq!(read, levels);
        }

        #[test]
        fn any_bytes_are_an_answer(raw in prop::collection::vec(any::<u8>(), 0..99)) {
            if let Ok(block) = Block::decode(1, &raw.clone().into()) {
                let _ = (block.level(0), block.is_deletion());
            }
            let _ = Header::decode(&raw);
        }
    }

    #[test]
    fn a_number_ends_within_ten_bytes_and_64_bits() {
        assert_eq!(varint(&mut &[0xff; 20][..]), Err("a number is too large"));
        assert!(
            varint(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2][..]).is_err()
        );
        assert_eq!(varint(&mut &[0x80][..]), Err("a number is cut off"));
    }
}
