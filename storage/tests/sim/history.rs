//! Histories of commits, syncs, checkpoints, merges, snapshots and reopens, each life ended by a kill, a power cut or a close at any call.

use crate::{
    oracle::{Chance, Oracle, State, batch_of, read_all, same},
    seeds,
};
use pome_storage::{Durability, Key, Options, Snapshot, Space, Store};
use pome_wal::{Faults, SimDevice};
use std::sync::Arc;

pub(crate) fn options(seed: u64) -> Options {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(seed);
    if seed % 2 == 1 {
        options.key = Some(Key::from_key_file(&[7; 32]).unwrap());
        options.cache_bytes = 64 << 10;
    }
    options.log_segment_bytes = 4096 << (seed % 3);
    options.payload_segment_bytes = 8192 << (seed % 3);
    options
}

/// One step of a life. False when the process died in it.
pub(crate) fn step(
    store: &Store,
    oracle: &mut Oracle,
    chance: &mut Chance,
    snapshots: &mut Vec<(Snapshot, State)>,
) -> bool {
    let dice = chance.below(20);
    match dice {
        0 => {
            let upto = oracle.last();
            if store.sync().is_err() {
                return false;
            }
            oracle.synced = upto;
        }
        1..=3 => {
            if store.checkpoint().is_err() {
                return false;
            }
        }
        4 => snapshots.push((store.snapshot(), oracle.now().clone())),
        5 => {
            if let Some((snapshot, state)) = snapshots.pop() {
                match read_all(&snapshot) {
                    Ok(read) => assert_eq!(read, state, "an old snapshot"),
                    Err(_) => return false,
                }
            }
        }
        6 => match read_all(&store.snapshot()) {
            Ok(read) => assert_eq!(&read, oracle.now()),
            Err(_) => return false,
        },
        7 => {
            let Some(((space, key), value)) = oracle.now().iter().next() else {
                return true;
            };
            match store.get(Space(*space), key) {
                Ok(read) => assert_eq!(read.as_ref(), Some(value)),
                Err(_) => return false,
            }
        }
        n => {
            let ops = chance.ops();
            let batch = batch_of(&ops);
            oracle.push(ops);
            let durability = match n {
                8..=10 => Durability::Synced,
                _ => Durability::Buffered,
            };
            match store.commit(batch, durability) {
                Ok(seq) => assert_eq!(seq.0, oracle.last()),
                Err(_) => {
                    oracle.in_doubt = store.committed_seq().0 < oracle.last();
                    return false;
                }
            }
            if durability == Durability::Synced {
                oracle.synced = oracle.last();
            }
        }
    }
    true
}

fn history(seed: u64) -> u64 {
    let mut chance = Chance::new(seed);
    let mut device = SimDevice::new(seed);
    let mut oracle = Oracle::new();
    for _ in 0..1 + chance.below(4) {
        if !chance.one_in(3) {
            let mut faults = Faults::default();
            let calls = if chance.one_in(2) { 40 } else { 250 };
            faults.stop_at = Some(1 + chance.below(calls));
            device.set_faults(faults);
        }
        // Until the store is open nothing new can be made, and nothing that was there may be lost.
        if let Ok(store) = Store::open_on(Arc::new(device.clone()), options(seed)) {
            let read = read_all(&store.snapshot());
            let steps = if read.is_ok() { chance.below(40) } else { 0 };
            match &read {
                Ok(read) => oracle.recovered(&store, read),
                Err(e) => assert!(device.faults_fired() > 0, "{e}"),
            }
            let mut snapshots = vec![];
            for _ in 0..steps {
                if !step(&store, &mut oracle, &mut chance, &mut snapshots) {
                    break;
                }
            }
            drop(snapshots);
            if read.is_ok() && chance.one_in(5) {
                let upto = oracle.last() - u64::from(oracle.in_doubt);
                if store.close().is_ok() {
                    oracle.synced = upto;
                }
            }
            // The process is gone before it could close; what it was told is in the page cache.
            let (next, cut) = chance.crash(&device);
            let answered = match read.is_ok() {
                true => oracle.last() - u64::from(oracle.in_doubt),
                false => oracle.synced,
            };
            oracle.crashed(cut, answered);
            device = next;
        } else {
            let (next, cut) = chance.crash(&device);
            oracle.crashed(cut, 0);
            device = next;
        }
    }
    let store = Store::open_on(Arc::new(device.clone()), options(seed)).unwrap();
    oracle.recovered(&store, &read_all(&store.snapshot()).unwrap());
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.keys, oracle.now().len() as u64);
    store.checkpoint().unwrap();
    same(&store.snapshot(), oracle.now());
    store.close().unwrap();
    device.trace_hash()
}

#[test]
fn every_crash_leaves_a_prefix_with_all_that_was_synced() {
    seeds(10_000, |seed| {
        history(seed);
    });
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..20 {
        assert_eq!(history(seed), history(seed), "seed {seed}");
    }
}
