//! Bytes that were changed by somebody who can compute a crc, and has no key.

use crate::{
    Files, KEY, files, key, live, open, read,
    reader::{Frame, frames_of, log_id},
};
use pome_wal::{Device, SimDevice};
use std::io::IoSlice;

fn device_of(files: &Files) -> SimDevice {
    let device = SimDevice::new(6);
    for (name, bytes) in files {
        let file = device.open(name, true).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
        file.sync().unwrap();
    }
    device.sync_dir().unwrap();
    device
}

fn put_u32(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// The store says `CORRUPT`, at the open or at the check and when it is read; it never hands out anything else than what was put in.
fn is_noticed(files: &Files, want: &crate::State, what: &str) {
    let device = device_of(files);
    let store = match open(&device, Some(key())) {
        Ok(store) => store,
        Err(e) => {
            assert_eq!(e.code(), "CORRUPT", "{what}: {e}");
            return;
        }
    };
    for ((space, key), value) in want {
        match store.get(pome_storage::Space(*space), key) {
            Ok(found) => assert_eq!(found.as_ref(), Some(value), "{what}"),
            Err(e) => assert_eq!(e.code(), "CORRUPT", "{what}: {e}"),
        }
    }
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(!report.is_clean(), "{what}: the check is content");
    for finding in report.findings {
        assert_eq!(finding.error.code(), "CORRUPT", "{what}");
    }
}

/// The crcs of a frame, after its bytes were changed.
fn mend_frame(files: &mut Files, frame: &Frame) {
    let file = files.get_mut(&frame.file).unwrap();
    for (index, (at, len)) in frame.payloads.iter().enumerate() {
        let crc = crc32fast::hash(&file[*at..at + len]);
        put_u32(file, frame.at + 56 + 8 * index + 4, crc);
    }
    let end = frame.body.0 + frame.body.1;
    let crc = crc32fast::hash(&file[frame.at + 56..end]);
    put_u32(file, frame.at + 48, crc);
    let log_id = log_id(files, KEY);
    let kind: u8 = if frame.file.starts_with("log-") { 1 } else { 2 };
    let number: u32 = frame.file.split('-').next_back().unwrap().parse().unwrap();
    let file = files.get_mut(&frame.file).unwrap();
    let crc = crc32fast::hash(
        &[
            &file[frame.at..frame.at + 52],
            &log_id.to_le_bytes(),
            &number.to_le_bytes(),
            &[kind, 0, 0, 0],
            &(frame.at as u64).to_le_bytes(),
        ]
        .concat(),
    );
    put_u32(file, frame.at + 52, crc);
}

/// Files of a store, one of which is `of`, with its frames of the newest life.
fn prepared() -> (Files, crate::State) {
    let device = SimDevice::new(1);
    live(&device, Some(key()), 100);
    let files = files(&device);
    let store = open(&device, Some(key())).unwrap();
    (files, read(&store))
}

fn all_frames(files: &Files) -> Vec<Frame> {
    let log_id = log_id(files, KEY);
    files
        .iter()
        .filter(|(name, _)| name.starts_with("log-") || name.starts_with("payload-"))
        .flat_map(|(name, file)| frames_of(name, file, log_id, 32))
        .filter(|frame| !frame.mark)
        .collect()
}

#[test]
fn what_was_changed_with_its_crc_is_corrupt() {
    let (clean, want) = prepared();
    let frames = all_frames(&clean);
    let newest = frames.iter().map(|frame| frame.seq).max().unwrap();
    let last = frames.iter().position(|frame| frame.seq == newest).unwrap();
    assert!(!frames[last].payloads.is_empty());

    let mut bad = clean.clone();
    let (at, len) = frames[last].body;
    bad.get_mut(&frames[last].file).unwrap()[at + len / 2] ^= 1;
    mend_frame(&mut bad, &frames[last]);
    is_noticed(&bad, &want, "a body");

    let mut bad = clean.clone();
    let (at, len) = frames[last].payloads[0];
    bad.get_mut(&frames[last].file).unwrap()[at + len / 2] ^= 1;
    mend_frame(&mut bad, &frames[last]);
    is_noticed(&bad, &want, "a payload");

    // The value has two pieces: each of them, and both in each other's place.
    assert!(len > 24 + 4096 + 16, "one has pieces");
    for part in [24..24 + 4096 + 16, 24 + 4096 + 16..len] {
        for from_its_end in [1, 10, part.len() - 1] {
            let mut bad = clean.clone();
            let file = bad.get_mut(&frames[last].file).unwrap();
            file[at + part.end - from_its_end] ^= 1;
            mend_frame(&mut bad, &frames[last]);
            is_noticed(&bad, &want, "a piece");
        }
    }
    let mut bad = clean.clone();
    let file = bad.get_mut(&frames[last].file).unwrap();
    file[at + 24..at + len].rotate_left(4096 + 16);
    mend_frame(&mut bad, &frames[last]);
    is_noticed(&bad, &want, "pieces in another order");

    // Two bodies of one length in one file, neither of which a checkpoint covers.
    let recent: Vec<&Frame> = frames
        .iter()
        .filter(|frame| frame.seq > newest - 90 && frame.payloads.is_empty())
        .collect();
    let (one, two) = recent
        .iter()
        .enumerate()
        .find_map(|(index, one)| {
            let same = |two: &&&Frame| two.body.1 == one.body.1 && two.file == one.file;
            recent[index + 1..]
                .iter()
                .find(same)
                .map(|two| (*one, *two))
        })
        .expect("two are alike");
    let mut bad = clean.clone();
    let file = bad.get_mut(&one.file).unwrap();
    for offset in 0..one.body.1 {
        file.swap(one.body.0 + offset, two.body.0 + offset);
    }
    mend_frame(&mut bad, one);
    mend_frame(&mut bad, two);
    is_noticed(&bad, &want, "two bodies");
}

#[test]
fn a_manifest_or_superblock_of_somebody_else_is_corrupt() {
    let (clean, want) = prepared();
    let name = clean
        .keys()
        .find(|name| name.starts_with("manifest-"))
        .unwrap();
    let second = clean[name].len().div_ceil(8192) * 4096;
    let len = clean[name].len() - second;
    let superblock_for = |files: &mut Files| {
        let manifest = crc32fast::hash(&files[name][..len]);
        let file = files.get_mut("superblock").unwrap();
        for slot in file.chunks_mut(4096).filter(|slot| slot[0] != 0) {
            put_u32(slot, 48, manifest);
            let crc = crc32fast::hash(&slot[..188]);
            put_u32(slot, 188, crc);
        }
    };
    for at in [0, 30, len - 1] {
        let mut bad = clean.clone();
        let file = bad.get_mut(name).unwrap();
        file[at] ^= 1;
        file[second + at] ^= 1;
        superblock_for(&mut bad);
        is_noticed(&bad, &want, "a manifest");
        // The one that is not sealed is none.
        bad.get_mut(name).unwrap()[second + at] ^= 1;
        is_noticed(&bad, &want, "the manifest that the superblock names");
    }
    // As if it had never been encrypted.
    let mut bad = clean.clone();
    let file = bad.get_mut("superblock").unwrap();
    for slot in file.chunks_mut(4096).filter(|slot| slot[0] != 0) {
        slot[12] = 0;
        slot[88..188].fill(0);
        let crc = crc32fast::hash(&slot[..188]);
        put_u32(slot, 188, crc);
    }
    let error = open(&device_of(&bad), Some(key())).unwrap_err();
    assert_eq!(error.code(), "NOT_ENCRYPTED");
    let error = open(&device_of(&bad), None).unwrap_err();
    assert_eq!(error.code(), "CORRUPT");
}

#[test]
fn a_part_of_a_table_is_corrupt_when_it_was_changed_or_moved() {
    let (clean, want) = prepared();
    let tables: Vec<&String> = clean.keys().filter(|n| n.starts_with("table-")).collect();
    assert!(tables.len() >= 2);
    let number_of = |name: &str| u64::from_str_radix(&name[6..], 16).unwrap();
    let mend = |file: &mut [u8], number: u64, offset: usize, len: usize| {
        let part = &file[offset..offset + len - 4];
        let place = [number.to_le_bytes(), (offset as u64).to_le_bytes()].concat();
        let crc = crc32fast::hash(&[&place, part].concat());
        put_u32(file, offset + len - 4, crc);
    };
    let u64_at =
        |file: &[u8], at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
    for name in &tables {
        let number = number_of(name);
        let file = &clean[*name];
        let footer = file.len() - 128;
        let root = (
            u64_at(file, footer + 40),
            u64_at(file, footer + 36) & 0xffff_ffff,
        );
        let filter = u64_at(file, footer + 72);
        for (what, offset, len, at) in [
            ("a root block", root.0, root.1, 5),
            ("a filter page", filter, 4096, 100),
            ("a nonce", footer, 128, 90),
            ("a tag", footer, 128, 110),
            ("a count of entries", footer, 128, 16),
            ("a place of the root", footer, 128, 41),
        ] {
            let mut bad = clean.clone();
            let file = bad.get_mut(*name).unwrap();
            file[offset + at] ^= 1;
            mend(file, number, offset, len);
            is_noticed(&bad, &want, what);
        }
    }
    // One table in the place of another, with all its crcs made to fit.
    let (one, two) = (tables[0], tables[1]);
    let mut bad = clean.clone();
    let mut moved = clean[one].clone();
    let footer = moved.len() - 128;
    mend(&mut moved, number_of(two), footer, 128);
    moved.resize(clean[two].len().max(moved.len()), 0);
    bad.insert(two.clone(), moved);
    is_noticed(&bad, &want, "a table");
}
