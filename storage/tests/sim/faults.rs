//! Disks that fill up and disks that answer EIO: a commit that failed is not there, one that was answered is; after a failed sync nothing more is
//! written.

use crate::{
    history::options,
    oracle::{Chance, Oracle, assert_same, batch_of, read_all, same},
    seeds,
};
use pome_storage::{Batch, Durability, Error, Space, Store};
use pome_wal::{Device, Faults, SimDevice};
use std::sync::Arc;

fn bytes_used(device: &SimDevice) -> u64 {
    let names = device.list().unwrap_or_default();
    names
        .iter()
        .filter_map(|name| device.bytes(name))
        .map(|bytes| bytes.len() as u64)
        .sum()
}

fn plan(chance: &mut Chance, device: &SimDevice) -> Faults {
    let mut faults = Faults::default();
    let soon = match chance.below(3) {
        0 => 8,
        1 => 40,
        _ => 200,
    };
    match chance.below(4) {
        0 => faults.space_bytes = Some(bytes_used(device) + chance.below(32 << 10)),
        1 => faults.fail_write = Some(1 + chance.below(soon)),
        2 => faults.fail_sync = Some(1 + chance.below(soon)),
        _ => faults.fail_call = Some(1 + chance.below(soon)),
    }
    faults
}

/// A life on a disk that fails. True: a sync failed.
fn live(store: &Store, oracle: &mut Oracle, chance: &mut Chance, device: &SimDevice) -> bool {
    for _ in 0..chance.below(40) {
        match chance.below(12) {
            0 => match store.sync() {
                Ok(()) => oracle.synced = oracle.last(),
                Err(Error::Poisoned { .. }) => return true,
                Err(e) => panic!("a sync fails as `Poisoned` or not at all: {e:?}"),
            },
            1 | 2 => {
                if let Err(Error::Poisoned { .. }) = store.checkpoint() {
                    return true;
                }
            }
            3 => {
                // A read may fail, but not lie.
                if let Ok(read) = read_all(&store.snapshot()) {
                    assert_same(&read, oracle.now());
                }
            }
            4 => device.set_faults(Faults::default()),
            n => {
                let ops = chance.ops();
                let batch = batch_of(&ops);
                oracle.push(ops);
                let durability = match n {
                    5..=7 => Durability::Synced,
                    _ => Durability::Buffered,
                };
                match store.commit(batch, durability) {
                    Ok(seq) => {
                        assert_eq!(seq.0, oracle.last());
                        if durability == Durability::Synced {
                            oracle.synced = seq.0;
                        }
                    }
                    Err(Error::Poisoned { .. }) => {
                        oracle.in_doubt = true;
                        return true;
                    }
                    Err(_) => oracle.pop(),
                }
            }
        }
    }
    false
}

/// After a failed sync in a machine that went on, a hole in what was never promised is damage: it is named, and what follows it is kept.
fn damaged(store: &Store, oracle: &Oracle, dropped: bool) {
    let lost: Vec<_> = store.damage().iter().map(|d| d.seqs.clone()).collect();
    assert!(dropped, "damage where no sync failed: {:?}", store.damage());
    assert!(
        lost.iter().all(|range| range.start > oracle.synced),
        "synced commits are lost: {lost:?}"
    );
    let want = oracle.without(store.committed_seq().0, &lost);
    same(&store.snapshot(), &want);
}

fn faulty(seed: u64) {
    let mut chance = Chance::new(seed ^ 0xfa);
    let mut device = SimDevice::new(seed);
    let mut oracle = Oracle::new();
    // A sync failed, and the machine went on: the kernel may have dropped what it could not write.
    let mut dropped = false;
    for _ in 0..1 + chance.below(4) {
        let early = chance.one_in(4);
        if early {
            device.set_faults(plan(&mut chance, &device));
        }
        let mut poisoned = false;
        let mut answered = oracle.synced;
        if let Ok(store) = Store::open_on(Arc::new(device.clone()), options(seed)) {
            if !store.damage().is_empty() {
                return damaged(&store, &oracle, dropped);
            }
            if !early {
                oracle.recovered(&store, &read_all(&store.snapshot()).unwrap());
                dropped = false;
                device.set_faults(plan(&mut chance, &device));
                poisoned = live(&store, &mut oracle, &mut chance, &device);
                if poisoned {
                    let mut batch = Batch::new();
                    batch.put(Space(0), b"late", &b"x"[..]);
                    let late = store.commit(batch, Durability::Buffered);
                    assert!(matches!(late, Err(Error::Poisoned { .. })), "{late:?}");
                } else if chance.one_in(2) {
                    device.set_faults(Faults::default());
                    let ops = chance.ops();
                    let batch = batch_of(&ops);
                    oracle.push(ops);
                    store
                        .commit(batch, Durability::Synced)
                        .expect("the disk is well again");
                    oracle.synced = oracle.last();
                    same(&store.snapshot(), oracle.now());
                    if chance.one_in(3) {
                        store.close().unwrap();
                    }
                }
                answered = match poisoned {
                    // A kernel that could not write a page may drop it.
                    true => oracle.synced,
                    false => oracle.last(),
                };
            }
        }
        let (next, cut) = chance.crash(&device);
        if poisoned {
            oracle.at_least = oracle.synced;
        }
        dropped |= poisoned && !cut;
        oracle.crashed(cut, answered);
        device = next;
    }
    let store = Store::open_on(Arc::new(device.clone()), options(seed)).unwrap();
    if !store.damage().is_empty() {
        return damaged(&store, &oracle, dropped);
    }
    oracle.recovered(&store, &read_all(&store.snapshot()).unwrap());
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    store.checkpoint().unwrap();
    same(&store.snapshot(), oracle.now());
}

#[test]
fn full_and_failing_disks_lose_nothing_that_was_synced() {
    seeds(5_000, faulty);
}
