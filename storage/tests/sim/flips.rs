//! Bits that flip on a disk at rest: nothing wrong handed out, nothing undamaged lost, nothing silent.

use crate::{
    history::{options, step},
    oracle::{Chance, Oracle, SPACES, State, assert_same},
    seeds,
};
use pome_storage::{Error, Space, Store};
use pome_wal::{Device, SimDevice};
use std::sync::Arc;

/// What the store hands out for each key that ever was, and whether any of it is refused as corrupt.
fn read_each(store: &Store, oracle: &Oracle) -> (State, Vec<(u64, Vec<u8>)>) {
    let mut read = State::new();
    let mut refused = vec![];
    let ever = oracle.states.iter().flat_map(|state| state.keys());
    for (space, key) in ever.collect::<std::collections::BTreeSet<_>>() {
        match store.get(Space(*space), key) {
            Ok(Some(value)) => {
                read.insert((*space, key.clone()), value);
            }
            Ok(None) => {}
            Err(Error::Corrupt { .. }) => refused.push((*space, key.clone())),
            Err(e) => panic!("a flipped bit is `Corrupt`, not {e:?}"),
        }
    }
    (read, refused)
}

/// Answers what became of the flip, for the tally.
fn flip(seed: u64) -> &'static str {
    let mut chance = Chance::new(seed ^ 0xf11b);
    let device = SimDevice::new(seed);
    let mut oracle = Oracle::new();
    let closed = chance.one_in(2);
    {
        let store = Store::open_on(Arc::new(device.clone()), options(seed)).unwrap();
        for _ in 0..10 + chance.below(50) {
            assert!(step(&store, &mut oracle, &mut chance, &mut vec![]));
        }
        if closed {
            store.close().unwrap();
        } else {
            std::mem::forget(store);
        }
    }
    let device = device.kill();
    let names = device.list().unwrap();
    let name = &names[chance.below(names.len() as u64) as usize];
    let bits = device.bytes(name).unwrap().len() as u64 * 8;
    if bits == 0 {
        return "nothing to flip";
    }
    assert!(device.flip_bit(name, chance.below(bits)));
    let store = match Store::open_on(Arc::new(device.clone()), options(seed)) {
        Ok(store) => store,
        Err(Error::Corrupt { .. } | Error::UnknownVersion { .. }) => return "refused at open",
        Err(e) => panic!("a flipped bit of {name} is named, not {e:?}"),
    };
    let upto = store.committed_seq().0;
    assert!(upto <= oracle.last());
    let lost: Vec<_> = store.damage().iter().map(|d| d.seqs.clone()).collect();
    // What is cut without being called damage is the end: the last frame, when the process died before anything after it could say that it was on
    // disk. If the flip hit its first bytes it looks as if it had never been written.
    if upto < oracle.last() && !lost.iter().any(|range| range.contains(&(upto + 1))) {
        assert!(
            !closed,
            "a closed store knows that {} commits were on disk",
            oracle.last()
        );
        assert_eq!(upto + 1, oracle.last(), "commits after the bad one are cut");
    }
    let mut want = oracle.without(upto, &lost);
    let (mut read, refused) = read_each(&store, &oracle);
    for key in &refused {
        want.remove(key);
        read.remove(key);
    }
    assert_same(&read, &want);
    // A walk gives the same, or the error.
    'spaces: for space in 0..SPACES {
        let mut walked = State::new();
        for entry in store.snapshot().range(Space(space), ..) {
            match entry {
                Ok((key, value)) => walked.insert((space, key.to_vec()), value),
                Err(Error::Corrupt { .. }) => continue 'spaces,
                Err(e) => panic!("{e:?}"),
            };
        }
        walked.retain(|key, _| !refused.contains(key));
        let want = want.clone().into_iter().filter(|((s, _), _)| *s == space);
        assert_same(&walked, &want.collect());
    }
    let report = store.check(&mut |_, _| {}).unwrap();
    if !refused.is_empty() {
        assert!(!report.is_clean(), "the check overlooks what reads refuse");
        return "refused when read";
    }
    match (lost.is_empty(), upto < oracle.last(), report.is_clean()) {
        (false, ..) => "damage",
        (_, true, _) => "cut at the end",
        (_, _, false) => "found by the check",
        _ => "harmless",
    }
}

#[test]
fn a_flipped_bit_is_never_silent_and_never_read() {
    let tally = parking_lot::Mutex::new(std::collections::BTreeMap::<_, u64>::new());
    seeds(6_000, |seed| {
        let outcome = flip(seed);
        *tally.lock().entry(outcome).or_default() += 1;
    });
    println!("{:?}", tally.lock());
}
