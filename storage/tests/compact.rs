//! Space comes back: under readers, across crashes at every step, and without being asked.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

use bytes::Bytes;
use pome_storage::{Batch, Device, Durability, Error, Key, Options, Snapshot, Space, Store};
use pome_wal::{Faults, SimDevice};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

type Model = BTreeMap<Vec<u8>, Bytes>;

const SPACE: Space = Space(3);

fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(1);
    options.log_segment_bytes = 4 << 10;
    options.payload_segment_bytes = 64 << 10;
    options
}

/// As [`quiet`], with smaller segments, encrypted or not.
fn tiny(payload_segment_bytes: u64, sealed: bool) -> Options {
    let mut options = quiet();
    options.payload_segment_bytes = payload_segment_bytes;
    options.key = sealed.then(|| Key::from_key_file(&[7; 32]).unwrap());
    options
}

fn bytes_in(dir: &Path, prefix: &str) -> u64 {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().starts_with(prefix))
        // A file may go between the listing and the question.
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

fn value(rng: &mut ChaCha8Rng, len: usize) -> Bytes {
    let mut value = vec![0; len];
    rng.fill(&mut value[..]);
    value.into()
}

fn put(store: &Store, model: &mut Model, key: &[u8], value: Bytes) {
    let mut batch = Batch::new();
    batch.put(SPACE, key, value.clone());
    store.commit(batch, Durability::Buffered).unwrap();
    model.insert(key.to_vec(), value);
}

fn read(snapshot: &Snapshot) -> Model {
    let entries = snapshot.range(SPACE, ..);
    entries
        .map(|entry| entry.map(|(key, value)| (key.to_vec(), value)).unwrap())
        .collect()
}

fn assert_same(got: &Model, want: &Model) {
    assert!(got.keys().eq(want.keys()), "the keys are the same");
    for (key, value) in want {
        assert_eq!(got[key], *value, "the value of {key:?}");
    }
}

/// Values in many segments of which most are overwritten or deleted.
fn worn(store: &Store, rng: &mut ChaCha8Rng) -> Model {
    let mut model = Model::new();
    for n in 0..200_u16 {
        let len = rng.random_range(1_024..6_000);
        put(store, &mut model, &n.to_be_bytes(), value(rng, len));
    }
    store.checkpoint().unwrap();
    for n in (0..200_u16).filter(|n| n % 4 != 0) {
        if n % 3 == 0 {
            put(store, &mut model, &n.to_be_bytes(), value(rng, 30));
        } else {
            let mut batch = Batch::new();
            batch.delete(SPACE, n.to_be_bytes());
            store.commit(batch, Durability::Buffered).unwrap();
            model.remove(&n.to_be_bytes()[..]);
        }
    }
    model
}

#[test]
fn compacting_gives_back_what_is_dead_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let store = Store::open(dir.path(), quiet()).unwrap();
    let model = worn(&store, &mut rng);
    let before = bytes_in(dir.path(), "");
    let freed = store.compact().unwrap();
    let after = bytes_in(dir.path(), "");
    let live: u64 = model.values().map(|v| v.len() as u64).sum();
    assert!(freed.bytes > 300_000, "{freed:?}");
    assert!(
        freed.bytes.abs_diff(before - after) < 64 * 4096,
        "{freed:?}"
    );
    let payloads = bytes_in(dir.path(), "payload-");
    assert!(
        payloads < live + live / 10,
        "{payloads} for {live} live bytes"
    );
    assert_same(&read(&store.snapshot()), &model);
    assert!(
        !store.compact_step().unwrap(),
        "there is nothing more to do"
    );
    assert!(store.check(&mut |_, _| {}).unwrap().is_clean());

    let info = store.info().unwrap();
    let large: u64 = model
        .values()
        .map(Bytes::len)
        .filter(|len| *len >= 1024)
        .sum::<usize>() as u64;
    assert_eq!(info.live_payload_bytes, large);
    assert!(info.dead_bytes < live / 10, "{info:?}");
    let usage = store.space_usage(SPACE).unwrap();
    assert_eq!((usage.keys, usage.value_bytes), (model.len() as u64, live));
    assert_eq!(store.usage().unwrap(), [(SPACE, usage)]);
    assert_eq!(store.space_usage(Space(4)).unwrap().keys, 0);

    store.close().unwrap();
    let store = Store::open(dir.path(), quiet()).unwrap();
    assert_same(&read(&store.snapshot()), &model);
}

#[test]
fn a_store_that_was_emptied_takes_next_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut options = quiet();
    // Everything lies in the segment that is written to.
    options.payload_segment_bytes = 64 << 20;
    let store = Store::open(dir.path(), options).unwrap();
    worn(&store, &mut rng);
    let mut batch = Batch::new();
    batch.delete_range(SPACE, vec![], vec![0xff; 4]);
    store.commit(batch, Durability::Buffered).unwrap();
    store.compact().unwrap();
    assert!(bytes_in(dir.path(), "payload-") < 4096);
    assert_eq!(bytes_in(dir.path(), "table-"), 0);
    assert!(store.usage().unwrap().is_empty());
}

/// A store with a table of so many small values, of which the first ones were deleted since.
fn thinned(device: &SimDevice, values: u64, deleted: u64) -> Store {
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    let mut batch = Batch::new();
    for n in 0..values {
        batch.put(SPACE, n.to_be_bytes(), vec![n as u8; 20]);
    }
    store.commit(batch, Durability::Buffered).unwrap();
    store.checkpoint().unwrap();
    let mut batch = Batch::new();
    for n in 0..deleted {
        batch.delete(SPACE, n.to_be_bytes());
    }
    store.commit(batch, Durability::Buffered).unwrap();
    store
}

#[test]
fn what_is_new_is_merged_as_it_is_written_unless_the_tables_are_much_larger() {
    for (values, deleted, one_pass) in [(1_000, 500, true), (10_000, 500, false)] {
        let store = thinned(&SimDevice::new(12), values, deleted);
        let left = values - deleted;
        assert!(store.compact_step().unwrap());
        let info = store.info().unwrap();
        assert_eq!((info.keys, info.memory_entries), (left, 0));
        let written = if one_pass {
            (1, left)
        } else {
            (2, values + deleted)
        };
        assert_eq!((info.tables, info.table_entries), written);
        store.compact().unwrap();
        let info = store.info().unwrap();
        assert_eq!((info.tables, info.table_entries), (1, left));
        assert_eq!(read(&store.snapshot()).len() as u64, left);
        assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
    }
}

#[test]
fn a_damaged_table_keeps_nothing_new_from_being_written() {
    let device = SimDevice::new(13);
    let store = thinned(&device, 1_000, 500);
    let tables = device.list().unwrap();
    let table = tables.iter().find(|name| name.starts_with("table-"));
    // Somewhere in its entries, which nobody has read yet.
    assert!(device.flip_bit(table.unwrap(), 8 * 5_000));
    assert!(matches!(store.compact(), Err(Error::Corrupt { .. })));
    let info = store.info().unwrap();
    assert_eq!((info.tables, info.memory_entries), (2, 0));
    assert_eq!(info.checkpoint_seq, info.committed_seq);
}

#[test]
fn a_snapshot_keeps_what_it_shows_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let store = Store::open(dir.path(), quiet()).unwrap();
    let before = worn(&store, &mut rng);
    let snapshot = store.snapshot();
    let mut after = before.clone();
    for n in (0..200_u16).step_by(4) {
        put(&store, &mut after, &n.to_be_bytes(), value(&mut rng, 10));
    }
    store.compact().unwrap();
    assert_same(&read(&snapshot), &before);
    assert_same(&read(&store.snapshot()), &after);
    let held = bytes_in(dir.path(), "payload-");
    drop(snapshot);
    store.compact().unwrap();
    assert!(bytes_in(dir.path(), "payload-") < held / 4);
    assert_same(&read(&store.snapshot()), &after);
}

#[test]
fn writers_and_readers_go_on_while_values_move() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    // Large segments: many values are read before they are committed again, and some are overwritten meanwhile.
    let store = Store::open(dir.path(), tiny(2 << 20, false)).unwrap();
    let mut model = worn(&store, &mut rng);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Acquire) {
                store.compact().unwrap();
            }
        });
        for round in 0..2_000_u32 {
            let key = rng.random_range(0..200_u16).to_be_bytes();
            let len = rng.random_range(900..3_000);
            put(&store, &mut model, &key, value(&mut rng, len));
            let other = rng.random_range(0..200_u16).to_be_bytes();
            assert_eq!(
                store.get(SPACE, &other).unwrap().as_ref(),
                model.get(&other[..])
            );
            if round % 400 == 0 {
                assert_same(&read(&store.snapshot()), &model);
            }
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        mover.join().unwrap();
    });
    store.compact().unwrap();
    assert_same(&read(&store.snapshot()), &model);
    assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
}

/// A small worn store on a simulated disk, synced.
fn small(device: &SimDevice, sealed: bool) -> Model {
    let options = tiny(8 << 10, sealed);
    let store = Store::open_on(Arc::new(device.clone()), options).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut model = Model::new();
    for n in 0..12_u8 {
        put(&store, &mut model, &[n], value(&mut rng, 2_000));
    }
    store.checkpoint().unwrap();
    for n in (0..12_u8).filter(|n| n % 3 != 0) {
        put(&store, &mut model, &[n], value(&mut rng, 3));
    }
    store.sync().unwrap();
    std::mem::forget(store);
    model
}

#[test]
fn a_crash_at_any_call_loses_nothing() {
    // Each call four times: a kill and a power cut, plain and encrypted.
    let mut at = 0;
    let mut unfinished = 4;
    while unfinished > 0 {
        at += 1;
        let (power_cut, sealed) = (at % 2 == 0, at % 4 < 2);
        let options = tiny(8 << 10, sealed);
        let device = SimDevice::new(at);
        let model = small(&device, sealed);
        let device = device.kill();
        let mut faults = Faults::default();
        faults.stop_at = Some(at.div_ceil(4));
        device.set_faults(faults);
        let opened = Store::open_on(Arc::new(device.clone()), options.clone());
        let finished = opened.is_ok_and(|store| {
            let done = store.compact().is_ok();
            std::mem::forget(store);
            done
        });
        let next = match power_cut {
            true => device.power_cut(),
            false => device.kill(),
        };
        let store = Store::open_on(Arc::new(next.clone()), options.clone()).unwrap();
        assert!(store.damage().is_empty(), "call {at}: {:?}", store.damage());
        assert_same(&read(&store.snapshot()), &model);
        store.compact().unwrap();
        assert_same(&read(&store.snapshot()), &model);
        let report = store.check(&mut |_, _| {}).unwrap();
        assert!(report.is_clean(), "call {at}: {:?}", report.findings);
        let names = next.list().unwrap();
        let payloads = names.iter().filter(|name| name.starts_with("payload-"));
        let left: usize = payloads.map(|name| next.bytes(name).unwrap().len()).sum();
        assert!(left < 4 * 2_000 + 3_000, "call {at}: {left} bytes stay");
        unfinished -= u64::from(finished);
    }
    assert!(at > 200, "compaction makes more than {at} calls");
}

#[test]
fn a_full_disk_stops_compaction_and_nothing_else() {
    let device = SimDevice::new(10);
    let model = small(&device, false);
    let options = tiny(8 << 10, false);
    let device = device.kill();
    let store = Store::open_on(Arc::new(device.clone()), options).unwrap();
    let used: usize = device
        .list()
        .unwrap()
        .iter()
        .filter_map(|name| device.bytes(name))
        .map(|b| b.len())
        .sum();
    let mut faults = Faults::default();
    faults.space_bytes = Some(used as u64 + 100);
    device.set_faults(faults);
    assert!(matches!(store.compact(), Err(Error::Full { .. })));
    assert_same(&read(&store.snapshot()), &model);
    device.set_faults(Faults::default());
    store.compact().unwrap();
    assert_same(&read(&store.snapshot()), &model);
    assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
}

#[test]
fn a_damaged_value_stays_and_the_others_move() {
    let whole = SimDevice::new(11);
    let model = small(&whole, false);
    let device = whole.kill();
    let options = tiny(8 << 10, false);
    // The first byte of the first value.
    let name = "payload-1";
    let first = &model[&vec![0]];
    let bytes = device.bytes(name).unwrap();
    let at = bytes.windows(first.len()).position(|w| w == first).unwrap();
    assert!(device.flip_bit(name, at as u64 * 8));
    let store = Store::open_on(Arc::new(device.clone()), options).unwrap();
    store.compact().unwrap();
    assert!(matches!(store.get(SPACE, &[0]), Err(Error::Corrupt { .. })));
    for (key, value) in model.iter().skip(1) {
        assert_eq!(store.get(SPACE, key).unwrap().as_ref(), Some(value));
    }
    assert!(
        device.list().unwrap().contains(&name.to_owned()),
        "the damaged value is kept for a repair"
    );
    assert!(!store.compact_step().unwrap(), "it is not tried for ever");
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, usize),
    Delete(u8),
    DeleteRange(u8, u8),
    Checkpoint,
    Compact(u8),
    Snapshot,
    Forget,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![3 => 1_024usize..4_000, 1 => 0usize..100];
    prop_oneof![
        10 => (0u8..30, len).prop_map(|(k, n)| Step::Put(k, n)),
        2 => (0u8..30).prop_map(Step::Delete),
        1 => (0u8..30, 0u8..30).prop_map(|(a, b)| Step::DeleteRange(a, b)),
        1 => Just(Step::Checkpoint),
        5 => (1u8..6).prop_map(Step::Compact),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Forget),
        1 => Just(Step::Reopen),
    ]
}

fn run(steps: Vec<Step>, sealed: bool) {
    let device = SimDevice::new(12);
    let options = tiny(16 << 10, sealed);
    let open = || Store::open_on(Arc::new(device.clone()), options.clone()).unwrap();
    let mut store = open();
    let mut model = Model::new();
    let mut rng = ChaCha8Rng::seed_from_u64(6);
    let mut snapshots: Vec<(Snapshot, Model)> = vec![];
    for step in steps {
        let mut batch = Batch::new();
        match step {
            Step::Put(key, len) => put(&store, &mut model, &[key], value(&mut rng, len)),
            Step::Delete(key) => {
                batch.delete(SPACE, [key]);
                model.remove(&[key][..]);
            }
            Step::DeleteRange(from, to) => {
                batch.delete_range(SPACE, [from], [to]);
                model.retain(|key, _| !(from..to.max(from)).contains(&key[0]));
            }
            Step::Checkpoint => drop(store.checkpoint().unwrap()),
            Step::Compact(steps) => {
                for _ in 0..steps {
                    store.compact_step().unwrap();
                }
            }
            Step::Snapshot => snapshots.push((store.snapshot(), model.clone())),
            Step::Forget => {
                if let Some((snapshot, model)) = snapshots.pop() {
                    assert_same(&read(&snapshot), &model);
                }
            }
            Step::Reopen => {
                snapshots.clear();
                store.close().unwrap();
                store = open();
            }
        }
        store.commit(batch, Durability::Buffered).unwrap();
    }
    for (snapshot, model) in snapshots.drain(..) {
        assert_same(&read(&snapshot), &model);
    }
    assert_same(&read(&store.snapshot()), &model);
    store.compact().unwrap();
    assert_same(&read(&store.snapshot()), &model);
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    let live: usize = model.values().map(Bytes::len).sum();
    let names = device.list().unwrap();
    let payloads = names.iter().filter(|name| name.starts_with("payload-"));
    let left: usize = payloads.map(|name| device.bytes(name).unwrap().len()).sum();
    assert!(
        left <= live + live / 5 + 8_500,
        "{left} bytes for {live} live ones"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_history_reads_the_same_and_ends_small(steps in prop::collection::vec(step(), 1..80), sealed: bool) {
        run(steps, sealed);
    }
}

/// Polls, since the store does it in its own time; the bound is generous.
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + pome_test_support::PATIENCE;
    while !done() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_idle_store_gives_space_back_by_itself() {
    const MIB: u64 = 1 << 20;
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut options = Options::default();
    options.idle_after = Duration::from_millis(100);
    options.log_segment_bytes = 64 << 10;
    // However long the disk takes.
    options.close_budget = pome_test_support::PATIENCE;
    let store = Store::open(dir.path(), options.clone()).unwrap();
    let mut model = Model::new();
    put(&store, &mut model, b"kept", value(&mut rng, 100_000));
    for _ in 0..40 {
        put(&store, &mut model, b"a", value(&mut rng, MIB as usize));
    }
    wait_until("overwritten values stay", || {
        bytes_in(dir.path(), "") < MIB * 12 / 10 + 4 * MIB
    });
    let mut batch = Batch::new();
    batch.delete_range(SPACE, b"a", b"b");
    store.commit(batch, Durability::Buffered).unwrap();
    model.remove(&b"a"[..]);
    wait_until("deleted values stay", || bytes_in(dir.path(), "") < 2 * MIB);
    assert_same(&read(&store.snapshot()), &model);

    // A short command: the store is closed at once.
    for _ in 0..20 {
        put(&store, &mut model, b"a", value(&mut rng, MIB as usize));
    }
    store.close().unwrap();
    assert!(bytes_in(dir.path(), "") < MIB * 12 / 10 + 4 * MIB);
    let store = Store::open(dir.path(), options).unwrap();
    assert_same(&read(&store.snapshot()), &model);
}
