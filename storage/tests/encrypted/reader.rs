//! A reader of stores that shares no code with the store: written from `docs/store-format.md` alone. It reads what was closed cleanly; what recovery does is
//! not its matter.

use crate::{Files, KEY, State, files, golden, key, live, open, other_key, read, value};
use aes_gcm::Aes256Gcm;
use chacha20::{R20, hchacha};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use pome_storage::{Batch, Durability, Space};
use pome_wal::SimDevice;
use std::collections::BTreeMap;

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken
    }
    fn number(&mut self, len: usize) -> u64 {
        let mut raw = [0; 8];
        raw[..len].copy_from_slice(self.take(len));
        u64::from_le_bytes(raw)
    }
    fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = self.number(1);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.varint() as usize;
        self.take(len)
    }
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(raw[at..at + 4].try_into().unwrap())
}

fn u64_at(raw: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(raw[at..at + 8].try_into().unwrap())
}

/// The data key and what is needed to open with it.
struct Opener {
    store_id: Vec<u8>,
    cipher: Option<XChaCha20Poly1305>,
    data_key: [u8; 32],
    /// Large values are sealed in pieces.
    in_pieces: bool,
}

impl Opener {
    fn aad(&self, word: &str, place: &[u8]) -> Vec<u8> {
        [&self.store_id, word.as_bytes(), place].concat()
    }
    fn with(cipher: &XChaCha20Poly1305, nonce: &[u8], aad: &[u8], msg: &[u8]) -> Vec<u8> {
        let nonce: [u8; 24] = nonce.try_into().unwrap();
        cipher
            .decrypt(&nonce.into(), Payload { msg, aad })
            .expect("it is sealed")
    }
    /// What begins with its nonce.
    fn open(&self, word: &str, place: &[u8], sealed: &[u8]) -> Vec<u8> {
        match &self.cipher {
            None => sealed.to_vec(),
            Some(cipher) => {
                let (nonce, rest) = sealed.split_at(24);
                Self::with(cipher, nonce, &self.aad(word, place), rest)
            }
        }
    }
    /// A value of a payload.
    fn open_value(&self, key: &[u8], sealed: &[u8]) -> Vec<u8> {
        if !self.in_pieces {
            return self.open("value", key, sealed);
        }
        let (nonce, pieces) = sealed.split_at(24);
        let (first, rest) = nonce.split_at(16);
        let first: [u8; 16] = first.try_into().unwrap();
        let own = hchacha::<R20>(&self.data_key.into(), &first.into());
        let own: [u8; 32] = own.into();
        let cipher = Aes256Gcm::new(&own.into());
        let aad = self.aad("piece", key);
        let count = pieces.len().div_ceil(4096 + 16) as u32;
        let open = |(number, msg): (u32, &[u8])| {
            let last = u32::from(number + 1 == count) << 31;
            let nonce = [&(number | last).to_le_bytes(), rest].concat();
            let nonce: [u8; 12] = nonce.try_into().unwrap();
            let piece = Payload { msg, aad: &aad };
            cipher.decrypt(&nonce.into(), piece).expect("it is sealed")
        };
        (0..).zip(pieces.chunks(4096 + 16)).flat_map(open).collect()
    }
    /// How long a value of `len` bytes is on disk.
    fn stored_len(&self, len: usize) -> usize {
        match (&self.cipher, self.in_pieces) {
            (None, _) => len,
            (_, false) => len + 40,
            (_, true) => len + 24 + 16 * len.div_ceil(4096).max(1),
        }
    }
    /// A part of a table, without its crc.
    fn open_part(&self, table: u64, nonce: &[u8], offset: u64, sealed: &[u8]) -> Vec<u8> {
        match &self.cipher {
            None => sealed.to_vec(),
            Some(cipher) => {
                let nonce = [nonce, &offset.to_le_bytes()].concat();
                let aad = self.aad("table", &table.to_le_bytes());
                Self::with(cipher, &nonce, &aad, sealed)
            }
        }
    }
}

enum Slot {
    Deleted,
    Value(Vec<u8>),
    Payload {
        segment: u64,
        offset: u64,
        len: u64,
        crc: u32,
    },
}

type Map = BTreeMap<Vec<u8>, Slot>;

fn remove_range(map: &mut Map, start: &[u8], end: &[u8]) {
    map.retain(|key, _| &key[..] < start || &key[..] >= end);
}

/// The entries of a tree of blocks: (ordinal, length, offset) of its root, and how many levels are above the leaves.
fn walk(
    part: &dyn Fn(u64, usize) -> Vec<u8>,
    (length, offset): (usize, u64),
    levels: u32,
    out: &mut Vec<(Vec<u8>, Slot)>,
) {
    let block = part(offset, length);
    let mut lengths = Bytes(&block[block.len() - 4..]);
    let prefix_len = lengths.number(2) as usize;
    let count = lengths.number(2) as usize;
    let prefix = block[..prefix_len].to_vec();
    for index in 0..count {
        let place = block.len() - 4 - 3 * count + 2 * index;
        let at = u16::from_le_bytes([block[place], block[place + 1]]) as usize;
        let mut entry = Bytes(&block[at..]);
        let key = [&prefix, entry.bytes()].concat();
        let fingerprint = block[block.len() - 4 - count + index];
        assert_eq!(fingerprint, hash(&key) as u8);
        let slot = match entry.number(1) {
            0 => Slot::Deleted,
            1 => Slot::Value(entry.bytes().to_vec()),
            2 => Slot::Payload {
                segment: entry.varint(),
                offset: entry.varint(),
                len: entry.varint(),
                crc: entry.number(4) as u32,
            },
            other => panic!("slot {other}"),
        };
        if levels == 0 {
            out.push((key, slot));
            continue;
        }
        let Slot::Value(child) = slot else {
            panic!("an index block has children");
        };
        let mut child = Bytes(&child);
        let _ordinal = child.varint();
        let offset = child.varint();
        let length = child.varint() as usize;
        walk(part, (length, offset), levels - 1, out);
    }
}

fn read_table(opener: &Opener, number: u64, file: &[u8], entries: u64, map: &mut Map) {
    let crc_of = |offset: u64, part: &[u8]| {
        let all = [&number.to_le_bytes(), &offset.to_le_bytes(), part].concat();
        crc32fast::hash(&all)
    };
    let checked = |offset: u64, length: usize| {
        let raw = &file[offset as usize..][..length];
        let (part, crc) = raw.split_at(length - 4);
        assert_eq!(crc_of(offset, part), u32_at(crc, 0), "crc at {offset}");
        part
    };
    let footer_at = file.len() as u64 - 128;
    let footer = checked(footer_at, 128);
    assert_eq!(&footer[..8], b"pometabl");
    assert_eq!(u32_at(footer, 8), 4);
    assert_eq!(u64_at(footer, 16), entries);
    let nonce = &footer[88..104];
    match &opener.cipher {
        None => assert_eq!(footer[88..120], [0; 32]),
        Some(cipher) => {
            let nonce = [nonce, &footer_at.to_le_bytes()].concat();
            let place = [&number.to_le_bytes(), &footer[..104]].concat();
            let aad = opener.aad("footer", &place);
            Opener::with(cipher, &nonce, &aad, &footer[104..120]);
        }
    }
    let part = |offset: u64, length: usize| {
        opener.open_part(number, nonce, offset, checked(offset, length))
    };
    let tree = |at: usize| {
        let mut out = vec![];
        let length = u32_at(footer, at + 4) as usize;
        if length > 0 {
            let root = (length, u64_at(footer, at + 8));
            walk(&part, root, u32_at(footer, at + 16), &mut out);
        }
        out
    };
    let (points, ranges) = (tree(32), tree(52));
    assert_eq!(points.len() as u64, entries);
    assert_eq!(ranges.len() as u64, u64_at(footer, 24));
    for (start, end) in ranges {
        let Slot::Value(end) = end else {
            panic!("a range has an end");
        };
        remove_range(map, &start, &end);
    }
    let filter = u64_at(footer, 72);
    let pages = u64_at(footer, 80);
    let pages: Vec<_> = (0..pages).map(|n| part(filter + n * 4096, 4096)).collect();
    for (key, slot) in points {
        assert!(may_hold(&pages, &key), "the filter knows every point");
        map.insert(key, slot);
    }
}

/// The hash of a key, for filter and fingerprints.
fn hash(key: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |h: u64, w: u64| {
        let wide = u128::from(h ^ w ^ K).wrapping_mul(0xd6e8_feb8_6659_fd93_a5a5_a5a5_a5a5_a5a7);
        (wide >> 64) as u64 ^ wide as u64
    };
    let mut h = (key.len() as u64).wrapping_mul(K);
    let whole = key.len() / 8 * 8;
    for word in key[..whole].chunks(8) {
        h = fold(h, u64_at(word, 0));
    }
    let mut rest = [0; 8];
    rest[..key.len() - whole].copy_from_slice(&key[whole..]);
    fold(fold(h, u64::from_le_bytes(rest)), K)
}

fn may_hold(pages: &[Vec<u8>], key: &[u8]) -> bool {
    let hash = hash(key);
    let line = ((u128::from(hash) * (pages.len() as u128 * 63)) >> 64) as usize;
    let page = &pages[line / 63];
    let mut walk = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    walk ^= walk >> 32;
    (0..7).all(|i| {
        let bit = ((walk >> (9 * i)) % 512) as usize;
        page[line % 63 * 64 + bit / 8] & (1 << (bit % 8)) != 0
    })
}

pub(crate) struct Frame {
    pub(crate) file: String,
    pub(crate) at: usize,
    pub(crate) seq: u64,
    pub(crate) mark: bool,
    epoch: u32,
    /// Offset and length.
    pub(crate) body: (usize, usize),
    pub(crate) payloads: Vec<(usize, usize)>,
}

/// The whole frames of a file from an offset on.
pub(crate) fn frames_of(name: &str, file: &[u8], log_id: u64, from: usize) -> Vec<Frame> {
    let kind: u8 = if name.starts_with("log-") { 1 } else { 2 };
    let number: u32 = name.split('-').next_back().unwrap().parse().unwrap();
    let mut out = vec![];
    let mut at = from;
    while at + 56 <= file.len() {
        let head = &file[at..at + 56];
        let place = [
            &log_id.to_le_bytes()[..],
            &number.to_le_bytes(),
            &[kind, 0, 0, 0],
            &(at as u64).to_le_bytes(),
        ]
        .concat();
        let crc = crc32fast::hash(&[&head[..52], &place].concat());
        if &head[..4] != b"pomF" || crc != u32_at(head, 52) {
            at += 8;
            continue;
        }
        let body_len = u32_at(head, 40) as usize;
        let count = u32_at(head, 44) as usize;
        let body_at = at + 56 + 8 * count;
        let table_and_body = &file[at + 56..body_at + body_len];
        assert_eq!(crc32fast::hash(table_and_body), u32_at(head, 48));
        let mut next = (body_at + body_len).next_multiple_of(8);
        let mut payloads = vec![];
        for entry in table_and_body[..8 * count].chunks(8) {
            let len = u32_at(entry, 0) as usize;
            assert_eq!(crc32fast::hash(&file[next..next + len]), u32_at(entry, 4));
            payloads.push((next, len));
            next = (next + len).next_multiple_of(8);
        }
        out.push(Frame {
            file: name.to_owned(),
            at,
            seq: u64_at(head, 8),
            mark: head[5] == 2,
            epoch: u32_at(head, 28),
            body: (body_at, body_len),
            payloads,
        });
        at = next;
    }
    out
}

fn file_header(name: &str, file: &[u8], log_id: u64) {
    let magic = if name.starts_with("log-") {
        b"pomeLog\0"
    } else {
        b"pomePay\0"
    };
    assert_eq!(&file[..8], magic);
    assert_eq!(u64_at(file, 16), log_id);
    assert_eq!(u32_at(file, 28), crc32fast::hash(&file[..28]));
}

/// The commits past the start, in order.
fn commits(files: &Files, start: &[u8]) -> Vec<Frame> {
    let log_id = u64_at(start, 8);
    let (start_offset, start_segment) = (u64_at(start, 16) as usize, u32_at(start, 24));
    let mut frames = vec![];
    for (name, file) in files {
        let from = match name.split_once('-') {
            Some(("log", _)) => 32,
            Some(("payload", number)) => match number.parse::<u32>().unwrap().cmp(&start_segment) {
                std::cmp::Ordering::Less => continue,
                std::cmp::Ordering::Equal => start_offset,
                std::cmp::Ordering::Greater => 32,
            },
            _ => continue,
        };
        file_header(name, file, log_id);
        frames.extend(frames_of(name, file, log_id, from));
    }
    let mut begins = BTreeMap::from([(u32_at(start, 32), u64_at(start, 0))]);
    for frame in &frames {
        let begin = frame.seq - u64::from(!frame.mark);
        let known = begins.entry(frame.epoch).or_insert(begin);
        *known = begin.min(*known);
    }
    let void = |frame: &Frame| {
        let later = begins.range(frame.epoch + 1..);
        later.into_iter().any(|(_, begin)| frame.seq > *begin)
    };
    let mut commits: Vec<Frame> = frames
        .into_iter()
        .filter(|frame| !frame.mark && frame.seq > u64_at(start, 0) && !void(frame))
        .collect();
    commits.sort_by_key(|frame| frame.seq);
    for (index, frame) in commits.iter().enumerate() {
        assert_eq!(frame.seq, u64_at(start, 0) + 1 + index as u64);
    }
    commits
}

fn apply(map: &mut Map, files: &Files, frame: &Frame, body: &[u8], opener: &Opener) {
    let mut payloads = frame.payloads.iter();
    let mut body = Bytes(body);
    while !body.0.is_empty() {
        match body.number(1) {
            1 => {
                let key = body.bytes().to_vec();
                map.insert(key, Slot::Value(body.bytes().to_vec()));
            }
            // Of a log without damage a move is a put.
            operation @ (2 | 5) => {
                let key = body.bytes().to_vec();
                let len = body.varint() as usize;
                if operation == 5 {
                    let (segment, from) = (body.varint(), body.varint());
                    let there = matches!(
                        map.get(&key),
                        Some(Slot::Payload { segment: s, offset: o, .. }) if (*s, *o) == (segment, from)
                    );
                    assert!(there, "it is moved from where it lies");
                }
                let (offset, stored) = *payloads.next().unwrap();
                assert_eq!(opener.stored_len(len), stored);
                let slot = Slot::Payload {
                    segment: frame.file.split('-').next_back().unwrap().parse().unwrap(),
                    offset: offset as u64,
                    len: stored as u64,
                    crc: crc32fast::hash(&files[&frame.file][offset..offset + stored]),
                };
                map.insert(key, slot);
            }
            3 => {
                map.insert(body.bytes().to_vec(), Slot::Deleted);
            }
            4 => {
                let (start, end) = (body.bytes(), body.bytes());
                remove_range(map, start, end);
            }
            other => panic!("operation {other}"),
        }
    }
}

/// The slot that holds, the data key, and the plain manifest.
fn current(files: &Files, key: Option<[u8; 32]>) -> (Opener, Vec<u8>) {
    let slot = files["superblock"]
        .chunks(4096)
        .filter(|slot| {
            &slot[..8] == b"pomestor" && u32_at(slot, 188) == crc32fast::hash(&slot[..188])
        })
        .max_by_key(|slot| u64_at(slot, 32))
        .expect("a slot is whole");
    assert_eq!(u32_at(slot, 8), 4);
    let mut opener = Opener {
        store_id: slot[16..32].to_vec(),
        cipher: None,
        data_key: [0; 32],
        in_pieces: u32_at(slot, 12) & 4 == 4,
    };
    let key_slot = &slot[88..188];
    assert_eq!(u32_at(slot, 12) & 1 == 1, key.is_some());
    assert_eq!(key_slot[0], u8::from(key.is_some()));
    assert_eq!(key_slot[2], u8::from(opener.in_pieces));
    if let Some(key) = key {
        let wrapping = XChaCha20Poly1305::new(&key.into());
        let aad = opener.aad("key", &key_slot[..28]);
        let data = Opener::with(&wrapping, &key_slot[28..52], &aad, &key_slot[52..]);
        let data: [u8; 32] = data.try_into().unwrap();
        opener.cipher = Some(XChaCha20Poly1305::new(&data.into()));
        opener.data_key = data;
    }
    let generation = u64_at(slot, 32);
    let file = &files[&format!("manifest-{generation:08x}")];
    let len = u64_at(slot, 40) as usize;
    let second = len.next_multiple_of(4096);
    assert_eq!(file.len(), second + len);
    assert_eq!(file[len..second], vec![0; second - len]);
    let manifest = &file[..len];
    assert_eq!(manifest, &file[second..]);
    assert_eq!(crc32fast::hash(manifest), u32_at(slot, 48));
    let plain = opener.open("manifest", &generation.to_le_bytes(), manifest);
    (opener, plain)
}

/// Everything a store holds.
pub(crate) fn decode(files: &Files, key: Option<[u8; 32]>) -> State {
    let (opener, manifest) = current(files, key);
    let content = &manifest[..manifest.len() - 4];
    assert_eq!(crc32fast::hash(content), u32_at(&manifest, content.len()));
    let mut input = Bytes(content);
    assert_eq!(input.take(8), b"pomemani");
    assert_eq!(input.number(4), 4);
    let _generation = input.varint();
    let _next_table = input.varint();
    let start = input.take(40);
    let tables: Vec<_> = (0..input.varint())
        .map(|_| (input.varint(), input.varint(), input.varint()))
        .collect();

    let mut map = Map::new();
    for (number, len, entries) in tables.into_iter().rev() {
        let file = &files[&format!("table-{number:08x}")][..len as usize];
        read_table(&opener, number, file, entries, &mut map);
    }
    for frame in commits(files, start) {
        let (at, len) = frame.body;
        let stored = &files[&frame.file][at..at + len];
        let body = opener.open("body", &frame.seq.to_le_bytes(), stored);
        apply(&mut map, files, &frame, &body, &opener);
    }

    let mut state = State::new();
    for (key, slot) in map {
        let value = match slot {
            Slot::Deleted => continue,
            Slot::Value(value) => value,
            Slot::Payload {
                segment,
                offset,
                len,
                crc,
            } => {
                let file = &files[&format!("payload-{segment}")];
                let stored = &file[offset as usize..][..len as usize];
                assert_eq!(crc32fast::hash(stored), crc);
                opener.open_value(&key, stored)
            }
        };
        let (space, rest) = key.split_at(8);
        let space = u64::from_be_bytes(space.try_into().unwrap());
        state.insert((space, rest.to_vec()), value.into());
    }
    state
}

/// The log's name, from the start in the manifest.
pub(crate) fn log_id(files: &Files, key: [u8; 32]) -> u64 {
    let (_, manifest) = current(files, Some(key));
    let mut input = Bytes(&manifest[12..]);
    input.varint();
    input.varint();
    u64_at(input.take(40), 8)
}

#[test]
fn another_reader_finds_the_same() {
    for (seal, keys, moves) in [
        (false, 40, false),
        (true, 40, true),
        (false, 900, true),
        (true, 900, false),
    ] {
        let device = SimDevice::new(1);
        live(&device, seal.then(key), keys);
        if moves {
            let store = open(&device, seal.then(key)).unwrap();
            // Up to the first commit that moves something: no checkpoint has seen it.
            let before = store.committed_seq();
            while store.committed_seq() == before {
                assert!(
                    store.compact_step().unwrap(),
                    "there is something to be moved"
                );
            }
            std::mem::forget(store);
        }
        let device = device.kill();
        let files = files(&device);
        assert!(files.keys().any(|name| name.starts_with("table-")));
        let state = decode(&files, seal.then_some(KEY));
        let store = open(&device, seal.then(key)).unwrap();
        assert_eq!(state, read(&store));
        assert!(state.len() > keys as usize, "{} keys", state.len());
    }
}

/// Stores that were written once, and must be readable for ever: one of before large values were sealed in pieces, and one of since.
#[test]
fn the_golden_stores_still_open() {
    let fresh = SimDevice::new(1);
    live(&fresh, None, 20);
    let want = read(&open(&fresh, None).unwrap());
    for (name, in_pieces) in [("golden", false), ("golden-pieces", true)] {
        let device = golden(name);
        let files = files(&device);
        assert_eq!(u32_at(&files["superblock"], 12) & 4 == 4, in_pieces);
        assert_eq!(decode(&files, Some(KEY)), want);
        let store = open(&device, Some(key())).unwrap();
        assert_eq!(read(&store), want);
        let report = store.check(&mut |_, _| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
    }
}

/// What is written to a store of before is sealed as what is in it; it is read by parts, moved, and opened under another key as any other.
#[test]
fn a_store_of_before_pieces_is_gone_on_with() {
    let device = golden("golden");
    let store = open(&device, Some(key())).unwrap();
    for round in 0..9 {
        let mut batch = Batch::new();
        let name = format!("round {round}");
        batch.put(Space(2), name.as_bytes(), value(&name, 9000));
        batch.put(Space(2), &b"last"[..], value(&name, 5000));
        store.commit(batch, Durability::Synced).unwrap();
    }
    store.checkpoint().unwrap();
    while store.compact_step().unwrap() {}
    store.rekey(&other_key()).unwrap();
    let want = read(&store);
    store.close().unwrap();
    drop(store);
    let files = files(&device);
    assert_eq!(decode(&files, Some([8; 32])), want);
    let store = open(&device, Some(other_key())).unwrap();
    assert_eq!(read(&store), want);
    let part = store.get_part(Space(2), b"round 5", 4090..4105).unwrap();
    let part = part.unwrap();
    assert_eq!(part.bytes, value("round 5", 9000).slice(4090..4105));
    assert_eq!(part.whole, 9000);
}

/// Any part of any value, of any store: what is asked for past the end is not there.
#[test]
fn a_part_is_what_lies_in_the_value() {
    let plain = SimDevice::new(1);
    live(&plain, None, 20);
    let sealed = SimDevice::new(1);
    live(&sealed, Some(key()), 20);
    for (device, key) in [
        (plain, None),
        (sealed, Some(key())),
        (golden("golden"), Some(key())),
    ] {
        let store = open(&device, key).unwrap();
        let (snapshot, state) = (store.snapshot(), read(&store));
        let large = |value: &bytes::Bytes| value.len() > 4096;
        assert!(state.values().any(large), "one has pieces");
        for ((space, key), value) in &state {
            let len = value.len();
            for wanted in [
                0..len,
                0..usize::MAX,
                1..9,
                4000..4200,
                4096..4097,
                len..len + 5,
                9000..9001,
                7..7,
            ] {
                let end = wanted.end.min(len);
                let want = Some((value.slice(wanted.start.min(end)..end), len));
                let now = store.get_part(Space(*space), key, wanted.clone()).unwrap();
                assert_eq!(now.map(|part| (part.bytes, part.whole)), want);
                let then = snapshot.get_part(Space(*space), key, wanted).unwrap();
                assert_eq!(then.map(|part| (part.bytes, part.whole)), want);
            }
        }
        assert_eq!(store.get_part(Space(2), b"nothing", 0..1).unwrap(), None);
    }
}
