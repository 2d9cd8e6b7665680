//! A crash, or an error, at every call to the disk while a repair is at work on all that it can put right: nothing that was whole is lost, nothing wrong is
//! handed out, and the next repair ends where one without a crash does.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_storage::{Action, Batch, Durability, Options, Space, Store};
use pome_wal::{Device, Faults, SimDevice};
use std::{collections::BTreeMap, sync::Arc};

type State = BTreeMap<u32, Bytes>;

const SMALL: u32 = 600;
const LARGE: std::ops::Range<u32> = 1_000..1_020;

fn open(device: &SimDevice) -> Store {
    let mut options = Options::default();
    options.background = false;
    options.log_segment_bytes = 64 << 10;
    options.payload_segment_bytes = 64 << 10;
    options.key = None;
    Store::open_on(Arc::new(device.clone()), options).unwrap()
}

fn put(store: &Store, keys: impl IntoIterator<Item = u32>, value: impl Fn(u32) -> Vec<u8>) {
    let mut batch = Batch::new();
    for key in keys {
        batch.put(Space(1), key.to_be_bytes(), value(key));
    }
    store.commit(batch, Durability::Synced).unwrap();
}

/// All keys that can be read. What is there must be right.
fn readable(store: &Store) -> State {
    let mut state = State::new();
    for key in (0..SMALL).chain(LARGE) {
        if let Ok(Some(value)) = store.get(Space(1), &key.to_be_bytes()) {
            let expected = match key {
                0..SMALL => vec![key as u8; 60],
                _ => vec![key as u8; if key % 4 == 0 { 5_001 } else { 5_000 }],
            };
            assert!(value == expected, "key {key}: not what was written");
            state.insert(key, value);
        }
    }
    state
}

fn file(device: &SimDevice, prefix: &str) -> String {
    let names = device.list().unwrap();
    names.into_iter().find(|n| n.starts_with(prefix)).unwrap()
}

/// A store with a damaged superblock, a table with an unreadable leaf and filter, and payload segments with a lost value and with bad dead bytes.
fn damaged() -> SimDevice {
    let device = SimDevice::new(1);
    let store = open(&device);
    put(&store, 0..SMALL, |n| vec![n as u8; 60]);
    for key in LARGE {
        put(&store, [key], |n| vec![n as u8; 5_000]);
    }
    store.checkpoint().unwrap();
    store.close().unwrap();
    let table = file(&device, "table-");
    let segments: Vec<String> = device.list().unwrap();
    let segments: Vec<_> = segments
        .iter()
        .filter(|n| n.starts_with("payload-"))
        .collect();
    assert!(segments.len() > 1, "{segments:?}");
    let store = open(&device);
    // Dead from now on.
    put(&store, LARGE.filter(|key| key % 4 == 0), |n| {
        vec![n as u8; 5_001]
    });
    store.checkpoint().unwrap();
    store.close().unwrap();
    let bytes = device.bytes(&table).unwrap();
    let footer = bytes.len() - 128;
    let filter = u64::from_le_bytes(bytes[footer + 72..footer + 80].try_into().unwrap());
    let find = |name: &str, value: Vec<u8>| {
        let bytes = device.bytes(name).unwrap();
        bytes.windows(value.len()).position(|w| w == value).unwrap() as u64
    };
    let dead = find(segments[0], vec![1_000u32 as u8; 5_000]);
    let lost = find(segments[0], vec![1_001u32 as u8; 5_000]);
    for (name, at) in [
        ("superblock", 50),
        (table.as_str(), filter + 9),
        (table.as_str(), 10_000),
        (segments[0].as_str(), dead + 100),
        (segments[0].as_str(), lost + 100),
    ] {
        assert!(device.flip_bit(name, at * 8), "{name} {at}");
    }
    device
}

fn repair(store: &Store) -> Result<pome_storage::Repair, pome_storage::Error> {
    store.repair(&mut |_| true, &mut |_, _| {})
}

/// What a repair without a crash makes of it.
fn repaired(device: &SimDevice) -> (State, State) {
    let store = open(device);
    let before = readable(&store);
    let done = repair(&store).unwrap();
    let of = |what: fn(&Action) -> bool| done.actions.iter().any(what);
    assert!(
        of(|action| matches!(action, Action::Head)),
        "{:?}",
        done.actions
    );
    assert!(of(|action| matches!(action, Action::Table { lost: 1, .. })));
    assert!(of(|action| matches!(action, Action::Counts)));
    // The lost value stays, and with it its segment.
    assert_eq!(done.left.len(), 1, "{:?}", done.left);
    let after = readable(&store);
    std::mem::forget(store);
    (before, after)
}

/// After a repair that was cut short.
fn is_mended(device: &SimDevice, (before, after): &(State, State), call: &str, done: bool) {
    let store = open(device);
    let now = readable(&store);
    assert!(before.keys().all(|key| now.contains_key(key)), "{call}");
    let again = repair(&store).unwrap();
    assert!(
        !done || again.actions.is_empty(),
        "{call}: {:?}",
        again.actions
    );
    assert_eq!(&readable(&store), after, "{call}");
    assert_eq!(again.left.len(), 1, "{call}: {:?}", again.left);
    assert!(store.is_damaged(), "{call}: somebody must look");
    store.accept_damage().unwrap();
    // The one that is lost is given up; then all is well, and the store is used.
    put(&store, [1_001], |n| vec![n as u8; 5_000]);
    assert!(repair(&store).unwrap().left.is_empty(), "{call}");
    store.compact().unwrap();
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(
        report.is_clean() && report.dead.is_empty(),
        "{call}: {report:?}"
    );
    put(&store, 0..SMALL, |n| vec![n as u8; 60]);
    store.close().unwrap();
    let store = open(device);
    assert_eq!(
        readable(&store).len(),
        SMALL as usize + LARGE.len(),
        "{call}"
    );
    assert!(!store.is_damaged());
}

#[test]
fn a_crash_at_every_call_of_a_repair() {
    let damaged = damaged();
    let expected = repaired(&damaged.fork(1));
    for cut in [false, true] {
        for stop in 1.. {
            let device = damaged.fork(stop);
            let store = open(&device);
            let mut faults = Faults::default();
            faults.stop_at = Some(stop);
            device.set_faults(faults);
            let done = repair(&store).is_ok();
            let stopped = device.faults_fired() > 0;
            std::mem::forget(store);
            let next = if cut {
                device.power_cut()
            } else {
                device.kill()
            };
            is_mended(
                &next,
                &expected,
                &format!("call {stop}, power cut: {cut}"),
                done,
            );
            if !stopped {
                assert!(done && stop > 100, "{stop} calls");
                println!("{stop} calls, power cut: {cut}");
                break;
            }
        }
    }
}

#[test]
fn an_error_at_every_call_of_a_repair() {
    let damaged = damaged();
    let expected = repaired(&damaged.fork(1));
    for fail in 1.. {
        let device = damaged.fork(fail);
        let store = open(&device);
        let mut faults = Faults::default();
        faults.fail_call = Some(fail);
        device.set_faults(faults);
        let done = repair(&store).is_ok_and(|repair| repair.left.len() == 1);
        let failed = device.faults_fired() > 0;
        std::mem::forget(store);
        let next = device.kill();
        is_mended(&next, &expected, &format!("call {fail}"), done && !failed);
        if !failed {
            break;
        }
    }
}
