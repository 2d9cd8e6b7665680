//! What a check finds, and what a repair makes of it.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_storage::{Action, Batch, Durability, Error, Fault, LostKeys, Options, Space, Store};
use pome_wal::{Device, Faults, Log, LogOptions, SimDevice, Start};
use std::{collections::BTreeMap, sync::Arc};

fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.log_segment_bytes = 64 << 10;
    options.payload_segment_bytes = 64 << 10;
    options
}

fn open(device: &SimDevice) -> Store {
    Store::open_on(Arc::new(device.clone()), quiet()).unwrap()
}

fn key(n: u32) -> Vec<u8> {
    [b"k".as_slice(), &n.to_be_bytes()].concat()
}

fn put(store: &Store, key: Vec<u8>, value: impl Into<Bytes>) {
    let mut batch = Batch::new();
    batch.put(Space(1), key, value);
    store.commit(batch, Durability::Buffered).unwrap();
}

/// A store with one table of a few hundred small values, and a few large values.
fn filled(seed: u64) -> SimDevice {
    let device = SimDevice::new(seed);
    let store = open(&device);
    for hundred in 0..6 {
        let mut batch = Batch::new();
        for n in hundred * 100..(hundred + 1) * 100 {
            batch.put(Space(1), key(n), vec![n as u8; 60]);
        }
        store.commit(batch, Durability::Buffered).unwrap();
    }
    for n in 1000..1010 {
        put(&store, key(n), vec![n as u8; 5000]);
    }
    store.checkpoint().unwrap();
    put(&store, key(5000), vec![1; 10]);
    store.close().unwrap();
    device
}

fn find(device: &SimDevice, prefix: &str) -> String {
    let names = device.list().unwrap();
    names.into_iter().find(|n| n.starts_with(prefix)).unwrap()
}

fn none(_: u64, _: u64) {}

fn never(_: LostKeys<'_>) -> bool {
    false
}

fn faults(store: &Store) -> Vec<Fault> {
    let report = store.check(&mut none).unwrap();
    let all = report.findings.iter().chain(&report.dead);
    all.map(|f| f.fault).collect()
}

/// All keys that can be read.
fn readable(store: &Store) -> BTreeMap<Vec<u8>, Bytes> {
    let all = (0..600).chain(1000..1010).chain([5000]).map(key);
    let read = all.filter_map(|key| {
        let value = store.get(Space(1), &key).ok().flatten()?;
        Some((key, value))
    });
    read.collect()
}

#[test]
fn every_byte_is_read_and_told() {
    let device = filled(1);
    let store = open(&device);
    let mut last = (0, 0);
    let report = store.check(&mut |done, total| {
        assert!(done >= last.0 && done <= total);
        last = (done, total);
    });
    let report = report.unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(last.0, last.1);
    assert_eq!((report.keys, report.payloads), (611, 10));
    assert_eq!((report.tables, report.segments), (1, 1));
    drop(store);
    // Each bit of superblock, manifest, table and payload segment, but for what lies behind the slots.
    for prefix in ["superblock", "manifest-", "table-", "payload-"] {
        let name = find(&device, prefix);
        let bits = device.bytes(&name).unwrap().len() as u64 * 8;
        let step = match prefix {
            "table-" | "payload-" => 1013,
            "manifest-" => 29,
            _ => 7,
        };
        for bit in (0..bits).step_by(step) {
            let copy = device.copy(9, true);
            let store = open(&copy);
            let name = find(&copy, prefix);
            let bits = copy.bytes(&name).unwrap().len() as u64 * 8;
            if bit >= bits {
                break;
            }
            assert!(copy.flip_bit(&name, bit));
            assert!(!faults(&store).is_empty(), "{name} bit {bit}");
            std::mem::forget(store);
        }
    }
}

#[test]
fn superblock_and_manifest_are_written_again() {
    for (prefix, at) in [
        ("superblock", 50),
        ("superblock", 4096 + 50),
        ("superblock", 3000),
        ("manifest-", 20),
        ("manifest-", 4096 + 20),
        ("manifest-", 3000),
    ] {
        let device = filled(1);
        let store = open(&device);
        let name = find(&device, prefix);
        assert!(device.flip_bit(&name, at * 8));
        assert_eq!(faults(&store), [Fault::Head], "{prefix} {at}");
        let repair = store.repair(&mut never, &mut none).unwrap();
        assert_eq!(repair.actions, [Action::Head]);
        assert!(repair.left.is_empty());
        assert!(faults(&store).is_empty());
        std::mem::forget(store);
        assert_eq!(readable(&open(&device.power_cut())).len(), 611);
    }
}

#[test]
fn a_lost_value_is_told_with_its_key_and_stays() {
    let device = filled(2);
    let store = open(&device);
    let name = find(&device, "payload-");
    let len = device.bytes(&name).unwrap().len() as u64;
    assert!(device.flip_bit(&name, (len - 100) * 8));
    let report = store.check(&mut none).unwrap();
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    let finding = &report.findings[0];
    assert_eq!(finding.fault, Fault::Value);
    let (space, lost) = finding.key.clone().unwrap();
    assert_eq!((space, &lost[..]), (Space(1), &key(1009)[..]));
    assert!(store.is_lost(space, &lost).unwrap());
    assert!(!store.is_lost(space, &key(1008)).unwrap());
    assert!(!store.is_lost(space, &key(3)).unwrap());
    let repair = store.repair(&mut |_| true, &mut none).unwrap();
    assert_eq!((repair.actions.len(), repair.left.len()), (0, 1));
    assert_eq!(store.get(space, &lost).unwrap_err().code(), "CORRUPT");
    assert_eq!(readable(&store).len(), 610);
    // The disk refuses: nobody knows.
    let mut eio = Faults::default();
    eio.fail_call = Some(2);
    device.set_faults(eio);
    assert_eq!(store.is_lost(space, &lost).unwrap_err().code(), "EIO");
}

#[test]
fn bad_bytes_that_nothing_needs_are_told_as_such() {
    let device = filled(3);
    let store = open(&device);
    put(&store, key(1009), vec![0; 10]);
    let name = find(&device, "payload-");
    let len = device.bytes(&name).unwrap().len() as u64;
    assert!(device.flip_bit(&name, (len - 100) * 8));
    assert_eq!(faults(&store), [Fault::Dead]);
    // A bad frame around good values: they are not lost.
    assert!(device.flip_bit(&name, 40 * 8));
    let told = faults(&store);
    assert_eq!(told, [Fault::Dead, Fault::Dead], "{told:?}");
    assert!(
        store.check(&mut none).unwrap().is_clean(),
        "nothing is lost"
    );
    assert_eq!(readable(&store).len(), 611);
    // A backup leaves nobody without one because of them.
    let target = SimDevice::new(4);
    store.backup_on(&target, &mut none).unwrap();
    let repair = store.repair(&mut never, &mut none).unwrap();
    assert_eq!(repair.actions, [Action::Segment { segment: 1 }]);
    assert!(faults(&store).is_empty());
    assert!(device.bytes(&name).is_none(), "the segment is gone");
    assert_eq!(readable(&store).len(), 611);
}

/// The first byte of a filter page, and of a leaf in the middle of the table with `filled`.
fn places(device: &SimDevice) -> (String, u64, u64) {
    let name = find(device, "table-");
    let bytes = device.bytes(&name).unwrap();
    let footer = bytes.len() - 128;
    let filter = u64::from_le_bytes(bytes[footer + 72..footer + 80].try_into().unwrap());
    (name, filter, 10_000)
}

#[test]
fn a_table_with_a_bad_filter_is_written_anew() {
    let device = filled(4);
    let store = open(&device);
    let (name, filter, _) = places(&device);
    assert!(device.flip_bit(&name, (filter + 9) * 8));
    assert_eq!(faults(&store), [Fault::Table]);
    let repair = store.repair(&mut never, &mut none).unwrap();
    assert!(
        matches!(
            &repair.actions[..],
            [Action::Table { lost: 0, .. }, Action::Counts]
        ),
        "{:?}",
        repair.actions
    );
    assert!(repair.left.is_empty());
    assert!(faults(&store).is_empty() && !store.is_damaged());
    assert_eq!(readable(&store).len(), 611);
    assert!(device.bytes(&name).is_none(), "the bad one is gone");
}

#[test]
fn a_table_with_lost_keys_is_written_anew_where_they_can_be_spared() {
    let device = filled(5);
    let store = open(&device);
    let (name, _, leaf) = places(&device);
    assert!(device.flip_bit(&name, leaf * 8));
    let before = readable(&store);
    assert!((540..600).contains(&before.len()), "{}", before.len());
    assert_eq!(faults(&store), [Fault::Table]);

    let repair = store.repair(&mut never, &mut none).unwrap();
    assert!(repair.actions.is_empty());
    assert_eq!(repair.left.len(), 1);
    assert_eq!(readable(&store), before);
    assert!(!store.is_damaged());

    let mut asked = vec![];
    let mut spare = |(space, low, high): LostKeys<'_>| {
        asked.push((space, low.to_vec(), high.unwrap().to_vec()));
        true
    };
    let repair = store.repair(&mut spare, &mut none).unwrap();
    assert!(matches!(&repair.actions[0], Action::Table { lost: 1, .. }));
    let (space, low, high) = &asked[0];
    assert_eq!(*space, Space(1));
    for n in 0..600 {
        let inside = &key(n) >= low && &key(n) < high;
        assert_eq!(before.contains_key(&key(n)), !inside, "key {n}");
    }
    assert!(store.is_damaged(), "until the caller has looked");
    assert_eq!(readable(&store), before);
    assert!(faults(&store).is_empty());
    store.accept_damage().unwrap();
    std::mem::forget(store);
    let store = open(&device.power_cut());
    assert!(!store.is_damaged());
    assert_eq!(readable(&store), before);
    for n in 0..600 {
        let there = store.get(Space(1), &key(n)).unwrap().is_some();
        assert_eq!(there, before.contains_key(&key(n)));
    }
}

#[test]
fn keys_that_a_newer_table_deletes_are_no_loss() {
    let device = filled(6);
    let store = open(&device);
    let (name, _, leaf) = places(&device);
    let mut batch = Batch::new();
    batch.delete_range(Space(1), key(0), key(500));
    store.commit(batch, Durability::Buffered).unwrap();
    store.checkpoint().unwrap();
    assert!(device.bytes(&name).is_some(), "it was not merged away");
    assert!(device.flip_bit(&name, leaf * 8));
    let repair = store.repair(&mut never, &mut none).unwrap();
    assert!(
        matches!(
            &repair.actions[..],
            [Action::Table { lost: 0, .. }, Action::Counts]
        ),
        "{repair:?}"
    );
    assert!(!store.is_damaged() && faults(&store).is_empty());
    assert_eq!(readable(&store).len(), 111);
}

#[test]
fn a_table_without_its_footer_is_told_and_left_alone() {
    let device = filled(7);
    let store = open(&device);
    store.close().unwrap();
    let (name, ..) = places(&device);
    let len = device.bytes(&name).unwrap().len() as u64;
    assert!(device.flip_bit(&name, (len - 60) * 8));
    let store = open(&device);
    let repair = store.repair(&mut |_| true, &mut none).unwrap();
    assert!(repair.actions.is_empty());
    assert!(repair.left.iter().any(|f| f.fault == Fault::Table));
    assert!(device.flip_bit(&name, (len - 60) * 8));
    assert_eq!(readable(&store).len(), 611);
}

#[test]
fn a_crash_in_a_repair_loses_nothing() {
    for what in 0..3 {
        for cut in [false, true] {
            for stop in 1.. {
                let device = filled(stop);
                let (name, filter, leaf) = places(&device);
                let flip = match what {
                    0 => (name, filter + 9),
                    1 => (name, leaf),
                    _ => ("superblock".to_owned(), 50),
                };
                let store = open(&device);
                assert!(device.flip_bit(&flip.0, flip.1 * 8));
                let before = readable(&store);
                let mut faults = Faults::default();
                faults.stop_at = Some(stop);
                device.set_faults(faults);
                let done = store.repair(&mut |_| true, &mut none).is_ok();
                let stopped = device.faults_fired() > 0;
                std::mem::forget(store);
                let device = if cut {
                    device.power_cut()
                } else {
                    device.kill()
                };
                let store = match Store::open_on(Arc::new(device.clone()), quiet()) {
                    Ok(store) => store,
                    Err(e) => panic!("{what}, stopped at {stop}: {e}"),
                };
                let after = readable(&store);
                if what == 2 || after.len() >= before.len() {
                    assert!(before.iter().all(|(k, v)| after.get(k) == Some(v)));
                } else {
                    panic!(
                        "{what}, stopped at {stop}: {} of {}",
                        after.len(),
                        before.len()
                    );
                }
                let again = store.repair(&mut |_| true, &mut none).unwrap();
                assert!(
                    !done || again.actions.is_empty(),
                    "{what}: {:?}",
                    again.actions
                );
                assert!(store.check(&mut none).unwrap().is_clean());
                assert_eq!(store.is_damaged(), what == 1);
                if !stopped {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_missing_table_is_refused_by_name() {
    let device = filled(8);
    let name = find(&device, "table-");
    device.remove(&name).unwrap();
    let refused = Store::open_on(Arc::new(device), quiet()).unwrap_err();
    assert!(
        matches!(&refused, Error::Corrupt { what: "table (missing)", file, .. } if *file == name),
        "{refused}"
    );
}

#[test]
fn a_folder_that_lost_its_superblock_is_not_made_anew() {
    // Whichever of its files is left.
    let device = filled(9);
    for name in device.list().unwrap() {
        if name == "lock" || name == "superblock" {
            continue;
        }
        let left = device.copy(1, true);
        for other in left.list().unwrap() {
            if other != name {
                left.remove(&other).unwrap();
            }
        }
        let refused = Store::open_on(Arc::new(left.clone()), quiet()).unwrap_err();
        assert_eq!(refused.code(), "CORRUPT", "{name}");
        assert_eq!(left.list().unwrap(), [name]);
    }
}

#[test]
fn one_bad_copy_of_the_manifest_costs_nothing() {
    let clean = filled(10);
    let name = find(&clean, "manifest-");
    let len = clean.bytes(&name).unwrap().len() as u64;
    let second = len.div_ceil(8192) * 4096;
    let copy = len - second;
    for bit in (0..copy * 8).step_by(11) {
        for at in [0, second] {
            let device = clean.copy(9, true);
            assert!(device.flip_bit(&name, at * 8 + bit));
            device.evict();
            if bit % 10 == 0 {
                let mut options = quiet();
                options.read_only = true;
                let store = Store::open_on(Arc::new(device.clone()), options).unwrap();
                assert_eq!(faults(&store), [Fault::Head], "bit {bit}");
                assert_eq!(readable(&store).len(), 611);
            }
            let store = open(&device);
            assert!(faults(&store).is_empty(), "it is mended, bit {bit}");
            std::mem::forget(store);
            let device = device.power_cut();
            let now = find(&device, "manifest-");
            let bytes = device.bytes(&now).unwrap();
            let (one, two) = (&bytes[..copy as usize], &bytes[second as usize..]);
            assert_eq!((one, now == name), (two, false));
            assert_eq!(readable(&open(&device)).len(), 611);
        }
        let device = clean.copy(9, true);
        assert!(device.flip_bit(&name, bit));
        assert!(device.flip_bit(&name, (second + 5) * 8));
        device.evict();
        let refused = Store::open_on(Arc::new(device), quiet()).unwrap_err();
        assert_eq!(refused.code(), "CORRUPT", "bit {bit} and another");
    }
}

/// A disk without a free byte is no reason not to open: the copy stays bad, and is told.
#[test]
fn a_bad_copy_of_the_manifest_waits_on_a_full_disk() {
    let device = filled(10);
    let name = find(&device, "manifest-");
    assert!(device.flip_bit(&name, 100));
    device.evict();
    let mut full = Faults::default();
    full.full_from = Some(0);
    full.full_calls = u64::MAX;
    device.set_faults(full);
    let store = open(&device);
    device.set_faults(Faults::default());
    assert_eq!(faults(&store), [Fault::Head]);
    assert_eq!(readable(&store).len(), 611);
    store.repair(&mut never, &mut none).unwrap();
    assert!(faults(&store).is_empty());
}

#[test]
fn a_manifest_that_grew_is_not_read_into_memory() {
    let device = filled(10);
    let name = find(&device, "manifest-");
    let grow = |len| device.open(&name, false).unwrap().set_len(len).unwrap();
    grow(300 << 20);
    let store = open(&device);
    assert_eq!(readable(&store).len(), 611);
    assert!(device.bytes(&name).is_none(), "another is there instead");
    drop(store);
    // A superblock that says so.
    let mut raw = device.bytes("superblock").unwrap();
    for slot in raw.chunks_mut(4096) {
        slot[40..48].copy_from_slice(&(300u64 << 20).to_le_bytes());
        let crc = crc32fast::hash(&slot[..188]);
        slot[188..192].copy_from_slice(&crc.to_le_bytes());
    }
    let file = device.open("superblock", false).unwrap();
    file.write_at(&[std::io::IoSlice::new(&raw)], 0).unwrap();
    let refused = Store::open_on(Arc::new(device), quiet()).unwrap_err();
    let what = "manifest (length)";
    assert!(
        matches!(&refused, Error::Corrupt { what: said, .. } if *said == what),
        "{refused}"
    );
}

#[test]
fn operations_that_make_no_sense_are_refused() {
    let bodies: [&[u8]; 5] = [
        b"\x09",
        b"\x01\x02ab\x00",
        b"\x03\xff\xff\xff\xff\x0f",
        b"\x02\x09\0\0\0\0\0\0\0\x01k\x80\x10",
        b"\x05\x09\0\0\0\0\0\0\0\x01k\x80\x10\xff\xff\xff\xff\x1f\x20",
    ];
    for body in bodies {
        let device = SimDevice::new(1);
        let mut options = quiet();
        options.seed = Some(7);
        let store = Store::open_on(Arc::new(device.clone()), options.clone()).unwrap();
        store.close().unwrap();
        let start = Start {
            seq: 0,
            log_id: !7,
            epoch: 1,
            log: 1,
            payload: None,
        };
        let log = Log::open(
            Arc::new(device.clone()),
            LogOptions::default(),
            start,
            |_| Ok::<(), pome_wal::Error>(()),
        );
        let (log, _) = log.unwrap();
        log.commit(body, &[]).unwrap();
        log.close().unwrap();
        let refused = Store::open_on(Arc::new(device), options).unwrap_err();
        assert!(
            matches!(&refused, Error::Corrupt { what, .. } if what.contains("make no sense")),
            "{refused}"
        );
    }
}
