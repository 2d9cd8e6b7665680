//! Backups of a store in use, and stores that are made from them.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_storage::{Batch, Durability, Error, Options, Space, Store};
use pome_wal::{Device, Faults, SimDevice};
use std::{collections::BTreeMap, fs, sync::Arc};

fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.log_segment_bytes = 4096;
    options.payload_segment_bytes = 64 << 10;
    options
}

fn put(store: &Store, key: &[u8], value: impl Into<Bytes>) {
    let mut batch = Batch::new();
    batch.put(Space(1), key, value);
    store.commit(batch, Durability::Buffered).unwrap();
}

type State = BTreeMap<Vec<u8>, Bytes>;

fn read_all(store: &Store) -> State {
    let entries = store.snapshot().range(Space(1), ..);
    entries
        .map(|entry| entry.map(|(k, v)| (k.to_vec(), Bytes::copy_from_slice(&v))))
        .collect::<Result<_, _>>()
        .unwrap()
}

fn fill(store: &Store, from: u8, to: u8) {
    for n in from..to {
        put(store, &[b's', n], vec![n; 100]);
        put(store, &[b'l', n], vec![n; 10_000]);
    }
}

fn none(_: u64, _: u64) {}

#[test]
fn a_backup_is_a_store_again() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copy, back) = (
        dir.path().join("home"),
        dir.path().join("copy"),
        dir.path().join("back"),
    );
    let store = Store::open(&home, quiet()).unwrap();
    fill(&store, 0, 30);
    let mut steps = vec![];
    let first = store
        .backup(&copy, &mut |done, total| steps.push((done, total)))
        .unwrap();
    assert!(steps.len() > 3 && steps.windows(2).all(|w| w[0].0 <= w[1].0));
    let (done, total) = steps.last().unwrap();
    assert!(done == total && *total == first.bytes);
    assert_eq!((first.copied_files, first.seq), (first.files, 60));
    let want = read_all(&store);
    fill(&store, 30, 33);
    assert_ne!(read_all(&store), want);

    let restored = Store::restore(&copy, &back, &mut none).unwrap();
    assert_eq!((restored.seq, restored.bytes), (60, first.bytes));
    let other = Store::open(&back, quiet()).unwrap();
    assert!(other.is_recovering(), "it may not sign");
    assert_eq!(read_all(&other), want);
    assert!(other.recovery().damage.is_empty() && other.recovery().torn.is_none());
    let report = other.check(&mut none).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    fill(&other, 40, 45);
    other.close().unwrap();
    let other = Store::open(&back, quiet()).unwrap();
    assert!(other.is_recovering());
    assert_eq!(read_all(&other).len(), 70);
    assert!(!store.is_recovering());
}

#[test]
fn a_second_run_copies_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copy) = (dir.path().join("home"), dir.path().join("copy"));
    let store = Store::open(&home, quiet()).unwrap();
    fill(&store, 0, 60);
    let first = store.backup(&copy, &mut none).unwrap();
    let nothing = store.backup(&copy, &mut none).unwrap();
    assert_eq!((nothing.copied_files, nothing.removed_files), (0, 0));
    fill(&store, 60, 62);
    let second = store.backup(&copy, &mut none).unwrap();
    assert!(second.copied_bytes < first.bytes / 4, "{second:?}");
    assert!(second.copied_files >= 2);
    for n in 0..60 {
        let mut batch = Batch::new();
        batch.delete(Space(1), vec![b'l', n]);
        store.commit(batch, Durability::Buffered).unwrap();
    }
    let third = store.backup(&copy, &mut none).unwrap();
    assert!(third.removed_files > 5, "{third:?}");
    assert!(third.bytes < first.bytes / 4);
    let on_disk = fs::read_dir(&copy).unwrap().count() as u64;
    assert_eq!(on_disk, third.files + 2, "the index and the lock besides");
    let back = dir.path().join("back");
    Store::restore(&copy, &back, &mut none).unwrap();
    let other = Store::open(&back, quiet()).unwrap();
    assert_eq!(read_all(&other), read_all(&store));
}

#[test]
fn a_backup_is_of_one_moment_while_others_commit() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.checkpoint_log_bytes = 64 << 10;
    options.payload_segment_bytes = 256 << 10;
    let store = Store::open(dir.path().join("home"), options).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0u64;
            while !stop.load(std::sync::atomic::Ordering::Acquire) {
                let mut batch = Batch::new();
                for key in 0..4u8 {
                    batch.put(
                        Space(1),
                        vec![key],
                        [&n.to_be_bytes()[..], &[key; 3000]].concat(),
                    );
                }
                batch.put(Space(1), vec![9], n.to_be_bytes().to_vec());
                store.commit(batch, Durability::Buffered).unwrap();
                n += 1;
            }
        });
        for run in 0..6 {
            let copy = dir.path().join("copy");
            store.backup(&copy, &mut none).unwrap();
            let back = dir.path().join(format!("back-{run}"));
            Store::restore(&copy, &back, &mut none).unwrap();
            let other = Store::open(&back, quiet()).unwrap();
            let state = read_all(&other);
            let Some(n) = state.get(&vec![9]) else {
                continue;
            };
            for key in 0..4u8 {
                assert_eq!(&state[&vec![key]][..8], &n[..], "run {run}");
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Release);
    });
}

#[test]
fn what_rots_later_does_not_harm_the_backup() {
    let source = SimDevice::new(1);
    let store = Store::open_on(Arc::new(source.clone()), quiet()).unwrap();
    fill(&store, 0, 20);
    let target = SimDevice::new(2);
    store.backup_on(&target, &mut none).unwrap();
    let want = read_all(&store);
    fill(&store, 20, 22);
    store.checkpoint().unwrap();
    // The newest segment, which the backup does not have in full.
    let names = source.list().unwrap();
    let newest = names.iter().filter(|n| n.starts_with("payload-"));
    let newest = newest
        .max_by_key(|n| n["payload-".len()..].parse::<u32>().unwrap())
        .unwrap();
    let bits = source.bytes(newest).unwrap().len() as u64 * 8;
    assert!(source.flip_bit(newest, bits - 5000));
    let refused = store.backup_on(&target, &mut none).unwrap_err();
    assert!(
        matches!(&refused, Error::Corrupt { file, .. } if file == newest),
        "{refused}"
    );
    let back = SimDevice::new(3);
    Store::restore_on(&target, &back, &mut none).unwrap();
    let other = Store::open_on(Arc::new(back), quiet()).unwrap();
    assert_eq!(read_all(&other), want);
}

#[test]
fn a_bad_backup_is_named() {
    let source = SimDevice::new(1);
    let store = Store::open_on(Arc::new(source), quiet()).unwrap();
    fill(&store, 0, 5);
    let target = SimDevice::new(2);
    store.backup_on(&target, &mut none).unwrap();
    for name in target.list().unwrap() {
        let bits = target.bytes(&name).unwrap().len() as u64 * 8;
        if bits == 0 {
            continue;
        }
        for bit in [3, bits / 2, bits - 1] {
            assert!(target.flip_bit(&name, bit));
            let back = SimDevice::new(3);
            let refused = Store::restore_on(&target, &back, &mut none).unwrap_err();
            let known = ["CORRUPT", "UNKNOWN_VERSION"].contains(&refused.code());
            assert!(known, "{name} bit {bit}: {refused}");
            let mut options = quiet();
            options.create = false;
            let opened = Store::open_on(Arc::new(back), options);
            assert!(opened.is_err(), "what was not restored whole is no store");
            assert!(target.flip_bit(&name, bit));
        }
    }
    // And a run makes good what is bad.
    let name = target.list().unwrap();
    let name = name.iter().find(|n| n.starts_with("payload-")).unwrap();
    assert!(target.flip_bit(name, 999));
    let run = store.backup_on(&target, &mut none).unwrap();
    assert!(run.copied_files > 0, "{run:?}");
    Store::restore_on(&target, &SimDevice::new(4), &mut none).unwrap();
}

#[test]
fn other_folders_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path().join("home"), quiet()).unwrap();
    fill(&store, 0, 3);
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter.txt"), "dear").unwrap();
    let refused = store.backup(&full, &mut none).unwrap_err();
    assert_eq!(refused.code(), "NOT_A_BACKUP");
    let home = store.backup(dir.path().join("home"), &mut none);
    assert_eq!(home.unwrap_err().code(), "NOT_A_BACKUP", "the store itself");
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1);

    let copy = dir.path().join("copy");
    store.backup(&copy, &mut none).unwrap();
    let refused = Store::restore(&copy, &full, &mut none).unwrap_err();
    assert_eq!(refused.code(), "NOT_A_STORE");
    let refused = Store::restore(&copy, dir.path().join("home"), &mut none).unwrap_err();
    assert_eq!(refused.code(), "NOT_A_STORE");
    let refused = Store::restore(&full, dir.path().join("new"), &mut none).unwrap_err();
    assert_eq!(refused.code(), "NOT_A_BACKUP");
    let refused = Store::restore(dir.path().join("none"), dir.path().join("new"), &mut none);
    assert_eq!(refused.unwrap_err().code(), "NOT_A_BACKUP");
    assert!(!dir.path().join("new").exists());
    assert!(!dir.path().join("none").exists());

    let other = Store::open(dir.path().join("other"), quiet()).unwrap();
    let refused = other.backup(&copy, &mut none).unwrap_err();
    assert_eq!(refused.code(), "NOT_A_BACKUP");
    Store::restore(&copy, dir.path().join("new"), &mut none).unwrap();
}

/// A store that was backed up once, and has changed since; what it held then, and what it holds now.
fn backed_up_once(seed: u64) -> (Store, SimDevice, State, State) {
    let source = SimDevice::new(seed);
    let store = Store::open_on(Arc::new(source), quiet()).unwrap();
    fill(&store, 0, 6);
    let target = SimDevice::new(seed + 1);
    store.backup_on(&target, &mut none).unwrap();
    let before = read_all(&store);
    fill(&store, 4, 12);
    let mut batch = Batch::new();
    batch.delete_range(Space(1), b"l".to_vec(), vec![b'l', 3]);
    store.commit(batch, Durability::Buffered).unwrap();
    let now = read_all(&store);
    (store, target, before, now)
}

#[test]
fn a_run_that_is_cut_short_leaves_the_backup_before_it() {
    for cut in [false, true] {
        let mut outcomes = BTreeMap::new();
        for stop in 1.. {
            let (store, target, before, now) = backed_up_once(stop);
            let mut faults = Faults::default();
            faults.stop_at = Some(stop);
            target.set_faults(faults);
            let done = store.backup_on(&target, &mut none).is_ok();
            let stopped = target.faults_fired() > 0;
            let target = if cut {
                target.power_cut()
            } else {
                target.kill()
            };
            let back = SimDevice::new(9);
            Store::restore_on(&target, &back, &mut none).unwrap();
            let other = Store::open_on(Arc::new(back), quiet()).unwrap();
            let state = read_all(&other);
            assert!(
                state == now || (state == before && !done),
                "stopped at {stop}"
            );
            *outcomes.entry(state == now).or_insert(0) += 1;
            // The next run goes on from what is there.
            store.backup_on(&target, &mut none).unwrap();
            let back = SimDevice::new(9);
            Store::restore_on(&target, &back, &mut none).unwrap();
            let other = Store::open_on(Arc::new(back), quiet()).unwrap();
            assert_eq!(read_all(&other), now, "stopped at {stop}");
            assert!(other.check(&mut none).unwrap().is_clean());
            if !stopped {
                break;
            }
        }
        assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    }
}

#[test]
fn a_failing_disk_leaves_the_backup_before_it() {
    for fail in 1.. {
        let (store, target, before, now) = backed_up_once(fail);
        let mut faults = Faults::default();
        faults.fail_call = Some(fail);
        target.set_faults(faults);
        let done = store.backup_on(&target, &mut none).is_ok();
        let fired = target.faults_fired() > 0;
        target.set_faults(Faults::default());
        let back = SimDevice::new(9);
        Store::restore_on(&target, &back, &mut none).unwrap();
        let other = Store::open_on(Arc::new(back), quiet()).unwrap();
        let state = read_all(&other);
        assert!(
            state == now || (state == before && !done),
            "failed at {fail}"
        );
        if !fired {
            break;
        }
    }
}

#[test]
fn a_full_target_leaves_the_backup_before_it() {
    let (store, target, before, now) = backed_up_once(1);
    let mut faults = Faults::default();
    let used: usize = target
        .list()
        .unwrap()
        .iter()
        .map(|n| target.bytes(n).unwrap().len())
        .sum();
    faults.space_bytes = Some(used as u64 + 20_000);
    target.set_faults(faults);
    assert_eq!(
        store.backup_on(&target, &mut none).unwrap_err().code(),
        "ENOSPC"
    );
    let restored = |target: &SimDevice| {
        let back = SimDevice::new(9);
        Store::restore_on(target, &back, &mut none).unwrap();
        read_all(&Store::open_on(Arc::new(back), quiet()).unwrap())
    };
    target.set_faults(Faults::default());
    assert_eq!(restored(&target), before);
    store.backup_on(&target, &mut none).unwrap();
    assert_eq!(restored(&target), now);
}

#[test]
fn a_restore_that_is_cut_short_is_no_store_and_runs_again() {
    let (_store, target, before, _) = backed_up_once(1);
    for cut in [false, true] {
        for stop in 1.. {
            let back = SimDevice::new(stop);
            let mut faults = Faults::default();
            faults.stop_at = Some(stop);
            back.set_faults(faults);
            let done = Store::restore_on(&target, &back, &mut none).is_ok();
            let stopped = back.faults_fired() > 0;
            let back = if cut { back.power_cut() } else { back.kill() };
            let mut options = quiet();
            options.create = false;
            match Store::open_on(Arc::new(back.clone()), options) {
                Ok(store) => {
                    assert_eq!(read_all(&store), before);
                    assert!(store.is_recovering());
                    store.close().unwrap();
                }
                Err(e) => {
                    assert!(!done);
                    assert_eq!(e.code(), "NOT_A_STORE", "stopped at {stop}: {e}");
                    Store::restore_on(&target, &back, &mut none).unwrap();
                    let store = Store::open_on(Arc::new(back), quiet()).unwrap();
                    assert_eq!(read_all(&store), before);
                }
            }
            if !stopped {
                assert!(stop > 20);
                break;
            }
        }
    }
}

#[test]
fn a_store_that_went_another_way_shares_no_file_by_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copy, other) = (
        dir.path().join("home"),
        dir.path().join("copy"),
        dir.path().join("other"),
    );
    let store = Store::open(&home, quiet()).unwrap();
    fill(&store, 0, 20);
    store.backup(&copy, &mut none).unwrap();
    Store::restore(&copy, &other, &mut none).unwrap();
    // The same file names, another content.
    fill(&store, 20, 40);
    store.backup(&copy, &mut none).unwrap();
    let other = Store::open(&other, quiet()).unwrap();
    for n in 20..40u8 {
        put(&other, &[b's', n], vec![n + 1; 100]);
        put(&other, &[b'l', n], vec![n + 1; 10_000]);
    }
    other.backup(&copy, &mut none).unwrap();
    let back = dir.path().join("back");
    Store::restore(&copy, &back, &mut none).unwrap();
    assert_eq!(
        read_all(&Store::open(&back, quiet()).unwrap()),
        read_all(&other)
    );
}

/// A store on a disk that is full, with commits that no checkpoint covers: values in the log, and large ones.
fn full(seed: u64) -> (Store, SimDevice, State) {
    let device = SimDevice::new(seed);
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    fill(&store, 0, 6);
    store.checkpoint().unwrap();
    fill(&store, 4, 12);
    let mut batch = Batch::new();
    batch.delete_range(Space(1), b"l".to_vec(), vec![b'l', 3]);
    store.commit(batch, Durability::Buffered).unwrap();
    let used: usize = device
        .list()
        .unwrap()
        .iter()
        .map(|n| device.bytes(n).unwrap().len())
        .sum();
    let mut faults = Faults::default();
    faults.space_bytes = Some(used as u64);
    device.set_faults(faults);
    assert_eq!(store.checkpoint().unwrap_err().code(), "ENOSPC");
    let state = read_all(&store);
    (store, device, state)
}

fn restored(target: &SimDevice) -> State {
    let back = SimDevice::new(9);
    Store::restore_on(target, &back, &mut none).unwrap();
    let store = Store::open_on(Arc::new(back.clone()), quiet()).unwrap();
    assert!(store.damage().is_empty() && store.is_recovering());
    assert!(store.check(&mut none).unwrap().is_clean());
    let state = read_all(&store);
    // It goes on, and its log too.
    fill(&store, 20, 24);
    store.checkpoint().unwrap();
    store.close().unwrap();
    let store = Store::open_on(Arc::new(back), quiet()).unwrap();
    assert!(read_all(&store).len() > state.len());
    state
}

#[test]
fn a_store_on_a_full_disk_is_backed_up() {
    let (store, device, before) = full(1);
    let target = SimDevice::new(2);
    // What is committed meanwhile is in the next one.
    let mut meanwhile = |done: u64, _| {
        if done > 0 {
            put(&store, b"meanwhile", vec![1; 10]);
        }
    };
    let first = store.backup_on(&target, &mut meanwhile).unwrap();
    let now = read_all(&store);
    assert!(now.len() > before.len(), "there was room in the log");
    assert_eq!(restored(&target), before);
    assert!(first.copied_bytes > 0 && first.seq < store.committed_seq().0);
    store.backup_on(&target, &mut none).unwrap();
    assert_eq!(restored(&target), now);
    // Space returns: a checkpoint goes into the next one.
    device.set_faults(Faults::default());
    fill(&store, 30, 33);
    let next = store.backup_on(&target, &mut none).unwrap();
    assert_eq!(next.seq, store.committed_seq().0);
    assert_eq!(restored(&target), read_all(&store));
    assert!(
        !target
            .list()
            .unwrap()
            .iter()
            .any(|name| name.starts_with("log-"))
    );
}

#[test]
fn a_bad_log_or_segment_of_a_full_disk_is_no_backup() {
    for prefix in ["log-", "payload-"] {
        let (store, device, _) = full(3);
        let names = device.list().unwrap();
        let name = names.iter().rfind(|name| name.starts_with(prefix)).unwrap();
        // In the middle of what was written.
        let bytes = device.bytes(name).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        assert!(device.flip_bit(name, end / 2 * 8));
        let target = SimDevice::new(4);
        let refused = store.backup_on(&target, &mut none).unwrap_err();
        assert_eq!(refused.code(), "CORRUPT", "{name}: {refused}");
        std::mem::forget(store);
    }
}

#[test]
fn a_run_on_a_full_disk_that_is_cut_short_leaves_the_backup_before_it() {
    for cut in [false, true] {
        let mut outcomes = BTreeMap::new();
        for stop in 1.. {
            let (store, _device, before) = full(stop);
            let target = SimDevice::new(stop + 1);
            store.backup_on(&target, &mut none).unwrap();
            put(&store, b"more", vec![2; 10]);
            let now = read_all(&store);
            let mut faults = Faults::default();
            faults.stop_at = Some(stop);
            target.set_faults(faults);
            let done = store.backup_on(&target, &mut none).is_ok();
            let stopped = target.faults_fired() > 0;
            let target = if cut {
                target.power_cut()
            } else {
                target.kill()
            };
            let state = restored(&target);
            assert!(
                state == now || (state == before && !done),
                "stopped at {stop}"
            );
            *outcomes.entry(state == now).or_insert(0) += 1;
            if !stopped {
                break;
            }
        }
        assert_eq!(outcomes.len(), 2, "{outcomes:?}");
    }
}
