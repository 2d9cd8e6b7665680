//! Every number of the format: magic words, versions, limits, the superblock and the manifest; and the checked reader all decoders use.
//!
//! A store is one folder:
//! ```text
//! superblock          two slots of 4 KiB: which manifest is current
//! manifest-<n>        which tables there are, from where the log is read, live bytes of each payload segment; twice in one file
//! table-<n>           a sorted table of the index
//! lock, log and payload files    see pome-wal
//! ```
//! `<n>` is eight or more digits of hexadecimal. All integers are little-endian; *varint* is LEB128.

use pome_wal::{Damage, Start, mutation::fits};

/// The one version this code reads and writes.
pub const FORMAT_VERSION: u32 = 4;
/// Longest key a caller may use, in bytes.
pub const KEY_BYTES_MAX: usize = 1024;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 << 20;
/// Values of at least this many bytes go into payload segments; smaller ones into the log and the index.
pub const PAYLOAD_BYTES_MIN: usize = 1024;

/// Bytes in front of each key: its space.
pub(crate) const SPACE_BYTES: usize = 8;
/// The name of the superblock's file.
pub(crate) const SUPERBLOCK: &str = "superblock";
/// Its name while it is made.
pub(crate) const SUPERBLOCK_NEW: &str = "superblock.new";
/// What comes before a table's number in its name.
pub(crate) const TABLE_PREFIX: &str = "table-";
/// What comes before a manifest's number in its name.
pub(crate) const MANIFEST_PREFIX: &str = "manifest-";
/// Bytes of one slot of the superblock; there are two.
pub(crate) const SLOT_BYTES: usize = 4096;
pub(crate) const SUPERBLOCK_MAGIC: [u8; 8] = *b"pomestor";
/// The copies of a manifest begin at multiples of this.
const COPY_ALIGN: u64 = 4096;
pub(crate) const MANIFEST_MAGIC: [u8; 8] = *b"pomemani";
pub(crate) const TABLE_MAGIC: [u8; 8] = *b"pometabl";

// A block addresses its entries with 16 bits.
const _: () = assert!(4 * (KEY_BYTES_MAX + PAYLOAD_BYTES_MIN) + 4096 < u16::MAX as usize);

/// The name of a numbered file.
pub(crate) fn file_name(prefix: &str, number: u64) -> String {
    format!("{prefix}{number:08x}")
}

/// The number in a file's name, if it has this prefix and is written as [`file_name`] does.
pub(crate) fn file_number(prefix: &str, name: &str) -> Option<u64> {
    let number = u64::from_str_radix(name.strip_prefix(prefix)?, 16).ok()?;
    (file_name(prefix, number) == name).then_some(number)
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from bytes that may be anything; `None` where they end too early or make no sense.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// At most ten bytes; more than 64 bits is nonsense.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        match self.rest.split_first() {
            Some((byte, rest)) if *byte < 0x80 => {
                self.rest = rest;
                Some(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for index in 0..10 {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return None;
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A varint length, then as many bytes.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()?;
        self.bytes(usize::try_from(len).ok()?)
    }
}

/// Where a store was when it was written to last: a copy of it is somewhere else.
///
/// `inode u64 │ birth time u64, in ns since 1970 │ nonce 16`; all zeros in the superblock stand for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) inode: u64,
    pub(crate) born_ns: u64,
    /// The same as in the attribute of the file.
    pub(crate) nonce: [u8; 16],
}

/// What the data key of an encrypted store is wrapped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// The 32 bytes of a key file.
    File,
    /// Argon2id of a passphrase, with this many lanes, KiB of memory, and passes.
    Passphrase {
        lanes: u8,
        memory_kib: u32,
        passes: u32,
    },
}

/// The wrapped data key of an encrypted store.
///
/// ```text
/// kind u8 (0 none, 1 key file, 2 passphrase) │ lanes u8 │ values u8 (0 whole, 1 in pieces) │ zero │ memory in KiB u32 │ passes u32 │ salt 16 │ nonce 24 │ wrapped key 48
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeySlot {
    pub(crate) kind: KeyKind,
    /// Large values are sealed in pieces. In stores of before that was so they are sealed whole.
    pub(crate) in_pieces: bool,
    pub(crate) salt: [u8; 16],
    pub(crate) nonce: [u8; 24],
    /// Ciphertext and tag.
    pub(crate) wrapped: [u8; 48],
}

impl KeySlot {
    /// What comes before the nonce; authenticated with the wrapped key.
    pub(crate) fn head(&self) -> [u8; KEY_SLOT_HEAD_BYTES] {
        let (kind, lanes, memory_kib, passes) = match self.kind {
            KeyKind::File => (1, 0, 0, 0),
            KeyKind::Passphrase {
                lanes,
                memory_kib,
                passes,
            } => (2, lanes, memory_kib, passes),
        };
        let mut head = [0; KEY_SLOT_HEAD_BYTES];
        head[0] = kind;
        head[1] = lanes;
        head[2] = self.in_pieces.into();
        head[4..8].copy_from_slice(&memory_kib.to_le_bytes());
        head[8..12].copy_from_slice(&passes.to_le_bytes());
        head[12..].copy_from_slice(&self.salt);
        head
    }

    fn encode(slot: Option<&Self>, out: &mut Vec<u8>) {
        let Some(slot) = slot else {
            out.extend_from_slice(&[0; KEY_SLOT_BYTES]);
            return;
        };
        out.extend_from_slice(&slot.head());
        out.extend_from_slice(&slot.nonce);
        out.extend_from_slice(&slot.wrapped);
    }

    /// `None`: of a kind that this code does not know.
    fn decode(raw: &[u8; KEY_SLOT_BYTES]) -> Option<Option<Self>> {
        let mut input = Input::new(raw);
        let [kind, lanes, values, _] = input.array()?;
        let memory_kib = input.u32()?;
        let passes = input.u32()?;
        let kind = match kind {
            0 => return Some(None),
            1 => KeyKind::File,
            2 => KeyKind::Passphrase {
                lanes,
                memory_kib,
                passes,
            },
            _ => return None,
        };
        Some(Some(Self {
            kind,
            in_pieces: match values {
                0 => false,
                1 => true,
                _ => return None,
            },
            salt: input.array()?,
            nonce: input.array()?,
            wrapped: input.array()?,
        }))
    }
}

/// One slot of the superblock.
///
/// ```text
/// magic 8 │ version u32 │ flags u32 │ store id 16 │ generation u64 │ manifest length u64 │ manifest crc32 u32 │ recoveries u32
///         │ stamp 32 │ key slot 100 │ crc32 u32 │ zeros
/// ```
/// The valid slot with the higher generation holds; a switch writes the other one. The manifest's number is the generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// Random, from the store's making.
    pub(crate) store_id: [u8; 16],
    /// Grows by one with each switch. 0 means that the store's making was not finished: nothing was ever committed.
    pub(crate) generation: u64,
    pub(crate) manifest_len: u64,
    pub(crate) manifest_crc: u32,
    /// The store is a copy, or was restored: its own cores do not sign.
    pub(crate) recovering: bool,
    /// How often it began to be: what was found out while it was, holds for that time alone.
    pub(crate) recoveries: u32,
    pub(crate) stamp: Option<Stamp>,
    /// The store is encrypted, with this key.
    pub(crate) key: Option<KeySlot>,
}

/// Why a slot is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadSlot {
    /// Nothing was ever written there.
    Empty,
    /// Of a version this code does not know, or with a flag or key of such.
    Version(u32),
    /// Bytes that no version writes.
    Garbage,
    /// Its crc does not fit.
    Crc { expected: u32, found: u32 },
}

const FLAG_ENCRYPTED: u32 = 1;
const FLAG_RECOVERING: u32 = 2;
/// Says what the key slot says: who does not know of pieces sees the flag, and refuses.
const FLAG_IN_PIECES: u32 = 4;
const FLAGS: u32 = FLAG_ENCRYPTED | FLAG_RECOVERING | FLAG_IN_PIECES;
const KEY_SLOT_HEAD_BYTES: usize = 28;
const KEY_SLOT_BYTES: usize = 100;
/// No store gets so far: with commits, generations, tables or keys.
const NUMBER_END: u64 = 1 << 62;
/// Nor so far with segments.
const SEGMENT_END: u32 = 1 << 31;
/// A slot without its crc.
const SLOT_CONTENT_BYTES: usize = 188;

impl Superblock {
    /// That of a new store of which nothing is there yet.
    pub(crate) fn new(store_id: [u8; 16]) -> Self {
        Self {
            store_id,
            generation: 0,
            manifest_len: 0,
            manifest_crc: 0,
            recovering: false,
            recoveries: 0,
            stamp: None,
            key: None,
        }
    }

    pub(crate) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut flags = 0;
        if self.key.is_some() {
            flags |= FLAG_ENCRYPTED;
        }
        if self.recovering {
            flags |= FLAG_RECOVERING;
        }
        if self.key.is_some_and(|key| key.in_pieces) {
            flags |= FLAG_IN_PIECES;
        }
        let mut out = Vec::with_capacity(SLOT_BYTES);
        out.extend_from_slice(&SUPERBLOCK_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&self.store_id);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.manifest_len.to_le_bytes());
        out.extend_from_slice(&self.manifest_crc.to_le_bytes());
        out.extend_from_slice(&self.recoveries.to_le_bytes());
        let (inode, born_ns, nonce) = self
            .stamp
            .map(|stamp| (stamp.inode, stamp.born_ns, stamp.nonce))
            .unwrap_or_default();
        out.extend_from_slice(&inode.to_le_bytes());
        out.extend_from_slice(&born_ns.to_le_bytes());
        out.extend_from_slice(&nonce);
        KeySlot::encode(self.key.as_ref(), &mut out);
        debug_assert_eq!(out.len(), SLOT_CONTENT_BYTES);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        let mut slot = [0; SLOT_BYTES];
        slot[..out.len()].copy_from_slice(&out);
        slot
    }

    pub(crate) fn decode(slot: &[u8]) -> Result<Self, BadSlot> {
        if slot.iter().all(|b| *b == 0) {
            return Err(BadSlot::Empty);
        }
        let mut input = Input::new(slot);
        let magic: [u8; 8] = input.array().ok_or(BadSlot::Garbage)?;
        let version = input.u32().ok_or(BadSlot::Garbage)?;
        if magic != SUPERBLOCK_MAGIC {
            return Err(BadSlot::Garbage);
        }
        if version != FORMAT_VERSION {
            // A later version may lay out the rest in another way, so its crc cannot be asked for.
            return Err(BadSlot::Version(version));
        }
        let (content, mut rest) = slot
            .split_at_checked(SLOT_CONTENT_BYTES)
            .map(|(content, rest)| (content, Input::new(rest)))
            .ok_or(BadSlot::Garbage)?;
        let expected = rest.u32().ok_or(BadSlot::Garbage)?;
        let found = crc32fast::hash(content);
        if !fits(found, expected) {
            return Err(BadSlot::Crc { expected, found });
        }
        let mut read = || {
            let flags = input.u32()?;
            let store_id = input.array()?;
            let generation = input.u64()?;
            let manifest_len = input.u64()?;
            let manifest_crc = input.u32()?;
            let recoveries = input.u32()?;
            let stamp = Stamp {
                inode: input.u64()?,
                born_ns: input.u64()?,
                nonce: input.array()?,
            };
            let none = (0, 0, [0; 16]);
            let stamp = ((stamp.inode, stamp.born_ns, stamp.nonce) != none).then_some(stamp);
            let key = KeySlot::decode(&input.array()?)?;
            let known = flags & !FLAGS == 0
                && key.is_some() == (flags & FLAG_ENCRYPTED != 0)
                && key.is_some_and(|key| key.in_pieces) == (flags & FLAG_IN_PIECES != 0);
            known.then_some(Self {
                store_id,
                generation,
                manifest_len,
                manifest_crc,
                recovering: flags & FLAG_RECOVERING != 0,
                recoveries,
                stamp,
                key,
            })
        };
        read().ok_or(BadSlot::Version(version))
    }
}

/// A table, as the manifest knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableMeta {
    pub(crate) id: u64,
    /// Bytes of its file.
    pub(crate) len: u64,
    /// Points, deletions among them.
    pub(crate) entries: u64,
}

/// What of a payload segment is still in use, by the index of the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Live {
    pub(crate) bytes: u64,
    pub(crate) values: u64,
}

/// Where the second copy in the file of a manifest begins, which has so many bytes: no sector holds bytes of both.
pub(crate) fn second_copy(len: u64) -> u64 {
    len.next_multiple_of(COPY_ALIGN)
}

/// The length of the file of a manifest of so many bytes: a copy, zeros, a copy.
pub(crate) fn manifest_file_bytes(len: u64) -> u64 {
    second_copy(len) + len
}

/// A manifest larger than this is not read: nobody has so many tables and segments.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// The reverse of [`manifest_file_bytes`]; `None` when no manifest has a file of this length.
pub(crate) fn manifest_bytes(file: u64) -> Option<u64> {
    let second = file.div_ceil(2 * COPY_ALIGN) * COPY_ALIGN;
    let len = file.checked_sub(second)?;
    let fits = (1..=MANIFEST_BYTES_MAX).contains(&len) && second_copy(len) == second;
    fits.then_some(len)
}

/// What a checkpoint leaves behind: a file of its own, written whole, never changed.
///
/// ```text
/// magic 8 │ version u32 │ generation │ next table │ log start 40 │ tables: count, (number, length, entries)… │
/// live: count, (segment, bytes, values)… │ keys │ damage: count, (file, offset, first lost, past last lost)… │ crc32 u32
/// ```
/// All numbers without a type are varints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) generation: u64,
    /// The number the next table will have.
    pub(crate) next_table: u64,
    /// Where the log is read from on open.
    pub(crate) start: Start,
    /// Newest first.
    pub(crate) tables: Vec<TableMeta>,
    /// Ordered by segment.
    pub(crate) live: Vec<(u32, Live)>,
    /// Keys that have a value.
    pub(crate) keys: u64,
    pub(crate) damage: Vec<Damage>,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MANIFEST_MAGIC.to_vec();
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        put_varint(&mut out, self.generation);
        put_varint(&mut out, self.next_table);
        out.extend_from_slice(&self.start.to_bytes());
        put_varint(&mut out, self.tables.len() as u64);
        for table in &self.tables {
            put_varint(&mut out, table.id);
            put_varint(&mut out, table.len);
            put_varint(&mut out, table.entries);
        }
        put_varint(&mut out, self.live.len() as u64);
        for (segment, live) in &self.live {
            put_varint(&mut out, u64::from(*segment));
            put_varint(&mut out, live.bytes);
            put_varint(&mut out, live.values);
        }
        put_varint(&mut out, self.keys);
        put_varint(&mut out, self.damage.len() as u64);
        for damage in &self.damage {
            put_bytes(
                &mut out,
                damage.file.as_deref().unwrap_or_default().as_bytes(),
            );
            put_varint(&mut out, damage.offset);
            put_varint(&mut out, damage.seqs.start);
            put_varint(&mut out, damage.seqs.end);
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` when the crc does not fit or the bytes make no sense.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if !fits(
            crc32fast::hash(content),
            u32::from_le_bytes(crc.try_into().ok()?),
        ) {
            return None;
        }
        let mut input = Input::new(content);
        if input.array()? != MANIFEST_MAGIC || input.u32()? != FORMAT_VERSION {
            return None;
        }
        let generation = input.varint()?;
        let next_table = input.varint()?;
        let start = Start::from_bytes(&input.array()?);
        let mut tables = vec![];
        for _ in 0..input.varint()? {
            tables.push(TableMeta {
                id: input.varint()?,
                len: input.varint()?,
                entries: input.varint()?,
            });
        }
        let mut live = vec![];
        for _ in 0..input.varint()? {
            let segment = u32::try_from(input.varint()?).ok()?;
            live.push((
                segment,
                Live {
                    bytes: input.varint()?,
                    values: input.varint()?,
                },
            ));
        }
        let keys = input.varint()?;
        let mut damage = vec![];
        for _ in 0..input.varint()? {
            let file = String::from_utf8(input.counted()?.to_vec()).ok()?;
            damage.push(Damage {
                file: (!file.is_empty()).then_some(file),
                offset: input.varint()?,
                seqs: input.varint()?..input.varint()?,
            });
        }
        let manifest = Self {
            generation,
            next_table,
            start,
            tables,
            live,
            keys,
            damage,
        };
        (input.is_empty() && manifest.can_be()).then_some(manifest)
    }

    /// False when a number is in it that no store gets to: what is reckoned with them has room below 2^64.
    fn can_be(&self) -> bool {
        let (segment, offset) = self.start.payload.unwrap_or_default();
        let tables = self.tables.len() < 1 << 16
            // An entry takes bytes: what is made for so many entries is bounded by what is there.
            && (self.tables.iter())
                .all(|t| t.len < 1 << 46 && t.entries <= t.len && t.id < NUMBER_END);
        let live = self.live.len() < 1 << 24
            && (self.live.iter()).all(|(n, l)| *n < SEGMENT_END && l.bytes.max(l.values) < 1 << 38);
        let numbers = [
            self.generation,
            self.next_table,
            self.start.seq,
            self.keys,
            offset,
        ];
        tables
            && live
            && numbers.iter().all(|n| *n < NUMBER_END)
            && self.start.log.max(segment) < SEGMENT_END
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblocks() -> Vec<Superblock> {
        let plain = Superblock {
            generation: 7,
            manifest_len: 99,
            manifest_crc: 0x1234_5678,
            ..Superblock::new([3; 16])
        };
        let stamp = Some(Stamp {
            inode: 42,
            born_ns: 1_700_000_000_000_000_000,
            nonce: [5; 16],
        });
        let kinds = [
            KeyKind::File,
            KeyKind::Passphrase {
                lanes: 1,
                memory_kib: 65_536,
                passes: 3,
            },
        ];
        let mut all = vec![
            plain,
            Superblock {
                stamp,
                recovering: true,
                ..plain
            },
        ];
        all.extend(kinds.map(|kind| Superblock {
            stamp,
            key: Some(KeySlot {
                kind,
                in_pieces: kind == KeyKind::File,
                salt: [6; 16],
                nonce: [7; 24],
                wrapped: [8; 48],
            }),
            ..plain
        }));
        all
    }

    fn with_crc(mut slot: [u8; SLOT_BYTES]) -> [u8; SLOT_BYTES] {
        let crc = crc32fast::hash(&slot[..SLOT_CONTENT_BYTES]);
        slot[SLOT_CONTENT_BYTES..][..4].copy_from_slice(&crc.to_le_bytes());
        slot
    }

    #[test]
    fn a_superblock_reads_as_written() {
        for superblock in superblocks() {
            assert_eq!(Superblock::decode(&superblock.encode()), Ok(superblock));
        }
        assert_eq!(Superblock::decode(&[0; SLOT_BYTES]), Err(BadSlot::Empty));
    }

    #[test]
    fn the_fields_lie_where_the_format_says() {
        let [.., full] = <[Superblock; 4]>::try_from(superblocks()).unwrap();
        let raw = Superblock {
            recovering: true,
            ..full
        }
        .encode();
        assert_eq!(&raw[..8], b"pomestor");
        assert_eq!(raw[8..16], [4, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(raw[16..32], [3; 16]);
        assert_eq!(raw[32..40], 7u64.to_le_bytes());
        assert_eq!(raw[40..48], 99u64.to_le_bytes());
        assert_eq!(raw[48..52], 0x1234_5678u32.to_le_bytes());
        assert_eq!(raw[52..56], [0; 4]);
        assert_eq!(raw[56..64], 42u64.to_le_bytes());
        assert_eq!(raw[64..72], 1_700_000_000_000_000_000u64.to_le_bytes());
        assert_eq!(raw[72..88], [5; 16]);
        assert_eq!(raw[88..92], [2, 1, 0, 0]);
        assert_eq!(raw[92..96], 65_536u32.to_le_bytes());
        assert_eq!(raw[96..100], 3u32.to_le_bytes());
        assert_eq!(raw[100..116], [6; 16]);
        assert_eq!(raw[116..140], [7; 24]);
        assert_eq!(raw[140..188], [8; 48]);
        assert_eq!(raw[188..192], crc32fast::hash(&raw[..188]).to_le_bytes());
        assert_eq!(raw[192..], [0; SLOT_BYTES - 192]);
    }

    /// Memory is taken for the entries of tables that are merged.
    #[test]
    fn a_table_has_no_more_entries_than_bytes() {
        let with = |entries| Manifest {
            generation: 1,
            next_table: 2,
            start: Start::from_bytes(&[0; 40]),
            tables: vec![TableMeta {
                id: 1,
                len: 1_000,
                entries,
            }],
            live: vec![],
            keys: 0,
            damage: vec![],
        };
        assert_eq!(Manifest::decode(&with(1_000).encode()), Some(with(1_000)));
        assert_eq!(Manifest::decode(&with(1_001).encode()), None);
    }

    #[test]
    fn the_length_of_a_file_tells_that_of_the_manifest() {
        let mut last = 0;
        for len in 1..20_000 {
            let file = manifest_file_bytes(len);
            assert_eq!(manifest_bytes(file), Some(len));
            assert!((last + 1..file).all(|other| manifest_bytes(other).is_none()));
            last = file;
        }
        assert_eq!(manifest_bytes(0), None);
        assert_eq!(manifest_bytes(u64::MAX), None);
    }

    #[test]
    fn what_no_one_knows_is_not_guessed() {
        let raw = superblocks()[0].encode();
        for (at, value) in [(12, 4), (12, 1), (88, 1), (88, 3)] {
            let mut changed = raw;
            changed[at] = value;
            let read = Superblock::decode(&with_crc(changed));
            assert_eq!(read, Err(BadSlot::Version(FORMAT_VERSION)), "byte {at}");
        }
        for len in 1..SLOT_CONTENT_BYTES + 4 {
            assert!(Superblock::decode(&raw[..len]).is_err(), "cut at {len}");
        }
        for bit in 0..8 * (SLOT_CONTENT_BYTES + 4) {
            let mut changed = raw;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&changed).is_err(), "bit {bit}");
        }
    }
}
