//! The block: some sorted entries of a table in about 4 KiB, with direct access to each.
//!
//! ```text
//! prefix │ entry … │ entry offsets u16 × count │ fingerprints u8 × count │ prefix length u16 │ count u16 │ tag 16, if encrypted │ crc32 u32
//! entry = suffix length varint │ suffix │ slot
//! ```
//! All integers are little-endian. The prefix is what all keys of the block share, stored once: keys of one core differ only in their last bytes, so
//! this saves what restart points would, and a search needs no decoding of neighbours. A fingerprint is the low byte of the key's hash: who asks for one
//! key looks at those, which lie together, and then at one entry, and so waits for memory twice where a search by halves waits at each step. The crc32 covers the table's number and the block's offset
//! before the content (and the tag), so that a block from elsewhere (a misdirected write) does not pass.

use super::{Slot, SlotRef, bloom};
use crate::format::{Input, put_varint};
use bytes::Bytes;
use std::cmp::Ordering;

/// A block is closed when it has grown to this many bytes.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Lengths of the prefix and of the lists of offsets and fingerprints.
const LENGTHS_BYTES: usize = 4;
/// Of an entry in those lists.
const LISTED_BYTES: usize = 3;
/// Bytes of a crc.
pub(crate) const CRC_BYTES: usize = 4;

/// The crc32 of a block with this content at this place.
pub(crate) fn block_crc(table: u64, offset: u64, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&table.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(content);
    hasher.finalize()
}

/// Splits a block with its trailer into content, stored crc and computed crc.
pub(crate) fn checked_content(table: u64, offset: u64, block: &[u8]) -> Option<(&[u8], u32, u32)> {
    let at = block.len().checked_sub(CRC_BYTES)?;
    let (content, crc) = block.split_at_checked(at)?;
    let stored = u32::from_le_bytes(crc.try_into().ok()?);
    Some((content, stored, block_crc(table, offset, content)))
}

/// Collects entries in key order and encodes them.
#[derive(Default)]
pub(crate) struct BlockBuilder {
    keys: Vec<Bytes>,
    slots: Vec<u8>,
    ends: Vec<usize>,
    fingerprints: Vec<u8>,
    key_bytes: usize,
}

impl BlockBuilder {
    pub(crate) fn push(&mut self, key: Bytes, slot: &SlotRef<'_>) {
        slot.encode(&mut self.slots);
        self.ends.push(self.slots.len());
        self.fingerprints.push(fingerprint(bloom::hash(&key)));
        self.key_bytes += key.len() + 2;
        self.keys.push(key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn last(&self) -> Option<&Bytes> {
        self.keys.last()
    }

    fn prefix_len(&self) -> usize {
        match (self.keys.first(), self.keys.last()) {
            (Some(first), Some(last)) => common_prefix(first, last),
            _ => 0,
        }
    }

    /// About how many bytes [`finish`](Self::finish) would write.
    pub(crate) fn size(&self) -> usize {
        let shared = self.prefix_len() * self.keys.len().saturating_sub(1);
        let lists = LISTED_BYTES * self.keys.len();
        LENGTHS_BYTES + CRC_BYTES + self.slots.len() + self.key_bytes - shared + lists
    }

    /// Appends the content of the block to `out`, and starts anew.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        let begin = out.len();
        let prefix_len = self.prefix_len();
        let prefix = self.keys.first().map_or(&[][..], |k| &k[..prefix_len]);
        out.extend_from_slice(prefix);
        let mut offsets = Vec::with_capacity(self.keys.len() * 2);
        let mut from = 0;
        for (key, &end) in self.keys.iter().zip(&self.ends) {
            let at = u16::try_from(out.len() - begin).expect("a block is far below 64 KiB");
            offsets.extend_from_slice(&at.to_le_bytes());
            put_varint(out, (key.len() - prefix_len) as u64);
            out.extend_from_slice(&key[prefix_len..]);
            out.extend_from_slice(&self.slots[from..end]);
            from = end;
        }
        out.extend_from_slice(&offsets);
        out.extend_from_slice(&self.fingerprints);
        out.extend_from_slice(&(prefix_len as u16).to_le_bytes());
        out.extend_from_slice(&(self.keys.len() as u16).to_le_bytes());
        *self = Self::default();
    }
}

/// What is kept in a block of the [hash](bloom::hash) of a key.
pub(crate) fn fingerprint(hash: u64) -> u8 {
    hash as u8
}

/// How many leading bytes two keys share.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// The order of two keys. Most differ in their first eight bytes, and are not worth a call.
#[inline]
pub(crate) fn order(a: &[u8], b: &[u8]) -> Ordering {
    if let (Some((x, a)), Some((y, b))) = (a.split_first_chunk(), b.split_first_chunk()) {
        let (x, y) = (u64::from_be_bytes(*x), u64::from_be_bytes(*y));
        return x.cmp(&y).then_with(|| a.cmp(b));
    }
    a.cmp(b)
}

/// A block whose crc was checked, open for reading. Every access is bounds-checked all the same: `None` means that the content breaks the format.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    content: &'a [u8],
    prefix: &'a [u8],
    offsets: &'a [u8],
    fingerprints: &'a [u8],
}

impl<'a> Block<'a> {
    /// `content` is the block without tag and crc.
    pub(crate) fn parse(content: &'a [u8]) -> Option<Self> {
        let (lists, lengths) = content.split_last_chunk::<LENGTHS_BYTES>()?;
        let prefix_len = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
        let count = usize::from(u16::from_le_bytes([lengths[2], lengths[3]]));
        let lists = lists.get(lists.len().checked_sub(count * LISTED_BYTES)?..)?;
        let (offsets, fingerprints) = lists.split_at_checked(count * 2)?;
        Some(Self {
            content,
            prefix: content.get(..prefix_len)?,
            offsets,
            fingerprints,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.fingerprints.len()
    }

    fn input(&self, index: usize) -> Option<Input<'a>> {
        let raw = self.offsets.get(index * 2..index * 2 + 2)?;
        let at = usize::from(u16::from_le_bytes(raw.try_into().ok()?));
        Some(Input::new(self.content.get(at..)?))
    }

    /// The part of the key after the shared prefix, and what follows it.
    fn split(&self, index: usize) -> Option<(&'a [u8], Input<'a>)> {
        let mut input = self.input(index)?;
        let len = input.varint()?;
        let suffix = input.bytes(usize::try_from(len).ok()?)?;
        Some((suffix, input))
    }

    /// Appends the whole key of an entry to `out`.
    pub(crate) fn key_into(&self, index: usize, out: &mut Vec<u8>) -> Option<()> {
        let (suffix, _) = self.split(index)?;
        out.extend_from_slice(self.prefix);
        out.extend_from_slice(suffix);
        Some(())
    }

    pub(crate) fn slot(&self, index: usize) -> Option<SlotRef<'a>> {
        let (_, mut input) = self.split(index)?;
        SlotRef::decode(&mut input)
    }

    /// The key of an entry in two parts, and what it has.
    #[inline]
    pub(crate) fn entry(&self, index: usize) -> Option<(&'a [u8], &'a [u8], SlotRef<'a>)> {
        let (suffix, mut input) = self.split(index)?;
        Some((self.prefix, suffix, SlotRef::decode(&mut input)?))
    }

    /// What `key`, which has this hash, has here; `Some(None)` when it is not in this block.
    #[inline]
    pub(crate) fn find(&self, key: &[u8], hash: u64) -> Option<Option<SlotRef<'a>>> {
        for index in memchr::memchr_iter(fingerprint(hash), self.fingerprints) {
            let (suffix, mut slot) = self.split(index)?;
            if key.strip_prefix(self.prefix) == Some(suffix) {
                return Some(Some(SlotRef::decode(&mut slot)?));
            }
        }
        Some(None)
    }

    /// True when the fingerprint of this entry is that of its key.
    pub(crate) fn is_marked(&self, index: usize, key: &[u8]) -> bool {
        self.fingerprints.get(index) == Some(&fingerprint(bloom::hash(key)))
    }

    /// Where `key` is, or where it would be.
    pub(crate) fn search(&self, key: &[u8]) -> Option<Result<usize, usize>> {
        let shared = key.len().min(self.prefix.len());
        match key.get(..shared)?.cmp(self.prefix.get(..shared)?) {
            Ordering::Less => return Some(Err(0)),
            Ordering::Greater => return Some(Err(self.count())),
            Ordering::Equal if key.len() < self.prefix.len() => return Some(Err(0)),
            Ordering::Equal => {}
        }
        let wanted = key.get(self.prefix.len()..)?;
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = (low + high) / 2;
            match order(self.split(middle)?.0, wanted) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(Ok(middle)),
            }
        }
        Some(Err(low))
    }
}

impl SlotRef<'_> {
    /// The slot with its bytes made a part of `whole`, which they lie in.
    pub(crate) fn to_slot(self, whole: &Bytes) -> Slot {
        match self {
            SlotRef::Deleted => Slot::Deleted,
            SlotRef::Inline(bytes) => Slot::Inline(whole.slice_ref(bytes)),
            SlotRef::Payload(at) => Slot::Payload(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_of(keys: &[&[u8]]) -> Vec<u8> {
        let mut builder = BlockBuilder::default();
        for key in keys {
            builder.push(Bytes::copy_from_slice(key), &SlotRef::Inline(key));
        }
        let mut out = vec![];
        builder.finish(&mut out);
        let crc = block_crc(1, 0, &out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    #[test]
    fn finds_each_key_and_the_gaps() {
        let raw = block_of(&[b"core-a", b"core-ab", b"core-c"]);
        let (content, stored, computed) = checked_content(1, 0, &raw).unwrap();
        assert_eq!(stored, computed);
        let block = Block::parse(content).unwrap();
        assert_eq!(block.search(b"core-a"), Some(Ok(0)));
        assert_eq!(block.search(b"core-ab"), Some(Ok(1)));
        assert_eq!(block.search(b"core-b"), Some(Err(2)));
        assert_eq!(block.search(b"c"), Some(Err(0)));
        assert_eq!(block.search(b"b"), Some(Err(0)));
        assert_eq!(block.search(b"d"), Some(Err(3)));
        assert_eq!(block.search(b"core-z"), Some(Err(3)));
        let mut key = vec![];
        block.key_into(2, &mut key).unwrap();
        assert_eq!(key, b"core-c");
        let find = |key: &[u8]| block.find(key, bloom::hash(key)).unwrap();
        for key in [&b"core-a"[..], b"core-ab", b"core-c"] {
            assert_eq!(find(key), Some(SlotRef::Inline(key)));
        }
        for key in [&b""[..], b"c", b"core-", b"core-b", b"core-cc"] {
            assert_eq!(find(key), None);
        }
    }

    #[test]
    fn keys_with_one_fingerprint_are_told_apart() {
        let mut alike: Vec<Vec<u8>> = (0..3_000u32).map(|n| n.to_be_bytes().to_vec()).collect();
        alike.retain(|key| fingerprint(bloom::hash(key)) == 7);
        assert!(alike.len() > 3);
        let absent = alike.pop().unwrap();
        let keys: Vec<&[u8]> = alike.iter().map(|key| &key[..]).collect();
        let raw = block_of(&keys);
        let block = Block::parse(&raw[..raw.len() - CRC_BYTES]).unwrap();
        for key in keys {
            let slot = block.find(key, bloom::hash(key)).unwrap();
            assert_eq!(slot, Some(SlotRef::Inline(key)));
        }
        assert_eq!(block.find(&absent, bloom::hash(&absent)), Some(None));
        let mut other = raw.clone();
        let first = raw.len() - CRC_BYTES - LENGTHS_BYTES - block.count();
        other[first] ^= 1;
        let other = Block::parse(&other[..other.len() - CRC_BYTES]).unwrap();
        for (block, marked) in [(block, true), (other, false)] {
            assert_eq!(block.is_marked(0, &alike[0]), marked);
        }
    }

    #[test]
    fn the_order_is_that_of_bytes() {
        let keys: [&[u8]; 8] = [
            b"",
            b"a",
            b"a\0",
            b"aaaaaaa",
            b"aaaaaaaa",
            b"aaaaaaaa\0",
            b"aaaaaaaab",
            b"\xff\0\0\0\0\0\0\0",
        ];
        for a in keys {
            for b in keys {
                assert_eq!(order(a, b), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn the_crc_binds_the_place() {
        let raw = block_of(&[b"a"]);
        for (table, offset) in [(2, 0), (1, 4096)] {
            let (_, stored, computed) = checked_content(table, offset, &raw).unwrap();
            assert_ne!(stored, computed);
        }
    }

    #[test]
    fn hostile_content_is_no_panic() {
        let raw = block_of(&[b"alpha", b"beta", b"gamma"]);
        let content = &raw[..raw.len() - 4];
        for at in 0..content.len() {
            for bit in 0..8 {
                let mut bad = content.to_vec();
                bad[at] ^= 1 << bit;
                if let Some(block) = Block::parse(&bad) {
                    for i in 0..block.count() {
                        let _ = block.slot(i);
                        let _ = block.key_into(i, &mut vec![]);
                    }
                    let _ = block.search(b"beta");
                    let _ = block.find(b"beta", bloom::hash(b"beta"));
                }
            }
        }
        for len in 0..content.len() {
            if let Some(block) = Block::parse(&content[..len]) {
                let _ = block.search(b"beta");
            }
        }
    }
}
