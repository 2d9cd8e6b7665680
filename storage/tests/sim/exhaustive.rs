//! Every sequence of one, two and three operations, as CrashMonkey's ACE makes them: with an end of the process or of the machine at every device call,
//! and with an I/O error at every device call, until a run has none left to fail.
//!
//! Each sequence begins on a store that holds a table, a payload, and commits that no checkpoint has seen; the process before it was killed. What is
//! left out: an end in an operation that is not the last (the shorter sequence that ends there is run too); a sync after synced commits (it does
//! nothing); a read of a snapshot as an operation (each sequence ends with it). In CI, errors at every call are run for sequences of up to two
//! operations; of three with `POME_DEPTH=3`.

use crate::{
    chance::options,
    oracle::{Key, Op},
    setting, threads,
    world::{ALL_STEPS, Life, World},
};
use bytes::Bytes;
use pome_storage::Durability;
use pome_wal::{Faults, SimDevice};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Put,
    PutPayload,
    Overwrite,
    Delete,
    DeleteRange,
    Checkpoint,
    Compact,
    Snapshot,
    Sync,
    /// Closes the store and opens it.
    Reopen,
    /// Kills the process and opens the store in the next.
    Restart,
}

const KINDS: [Kind; 11] = [
    Kind::Put,
    Kind::PutPayload,
    Kind::Overwrite,
    Kind::Delete,
    Kind::DeleteRange,
    Kind::Checkpoint,
    Kind::Compact,
    Kind::Snapshot,
    Kind::Sync,
    Kind::Reopen,
    Kind::Restart,
];

/// How a store is made and written to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Variant {
    durability: Durability,
    encrypted: bool,
}

fn variants() -> impl Iterator<Item = Variant> {
    [Durability::Buffered, Durability::Synced]
        .into_iter()
        .flat_map(|durability| {
            [false, true].map(|encrypted| Variant {
                durability,
                encrypted,
            })
        })
}

fn key(name: &'static str) -> Key {
    Bytes::from_static(name.as_bytes())
}

/// A disk with a store on it, after a kill.
struct Base {
    variant: Variant,
    world: World,
}

impl Base {
    fn new(variant: Variant) -> Self {
        let mut world = World::new(SimDevice::new(1), options(7, variant.encrypted));
        assert!(world.open());
        let first = vec![
            Op::Put(1, key("a"), key("one")),
            Op::Put(1, key("large"), vec![1; 1100].into()),
            Op::Put(2, key("b"), key("two")),
        ];
        world.commit(first, Durability::Synced);
        world.checkpoint();
        world.commit(vec![Op::Put(1, key("c"), key("three"))], Durability::Synced);
        let tail = vec![Op::Put(2, key("tail"), vec![2; 1200].into())];
        world.commit(tail, Durability::Buffered);
        world.crash(false);
        Self { variant, world }
    }

    fn fork(&self, seed: u64) -> World {
        self.world.fork(seed)
    }
}

fn run(world: &mut World, kind: Kind, variant: Variant, step: u8) {
    let mut commit = |ops| {
        world.commit(ops, variant.durability);
    };
    let fill = |len: usize| Bytes::from(vec![step + 10; len]);
    match kind {
        Kind::Put => commit(vec![Op::Put(1, vec![b'n', step].into(), fill(30))]),
        Kind::PutPayload => commit(vec![
            Op::Put(1, vec![b'p', step].into(), fill(1500)),
            Op::Put(2, vec![b'p', step].into(), fill(20)),
        ]),
        Kind::Overwrite => commit(vec![
            Op::Put(1, key("large"), fill(1300)),
            Op::Put(1, key("a"), fill(5)),
        ]),
        Kind::Delete => commit(vec![Op::Delete(1, key("large")), Op::Delete(2, key("b"))]),
        Kind::DeleteRange => commit(vec![Op::DeleteRange(1, key("b"), key("z"))]),
        Kind::Checkpoint => world.checkpoint(),
        Kind::Compact => world.compact(ALL_STEPS),
        Kind::Snapshot => world.take_snapshot(),
        Kind::Sync => world.sync(),
        Kind::Reopen => {
            world.close();
            if world.life == Life::Closed {
                world.open_again();
            }
        }
        Kind::Restart => {
            world.restart();
            world.open();
        }
    }
}

/// A fault at call `n` of the whole run, or of its last operation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The process ends in the call; then a kill, or one of some power cuts.
    End { cut: bool, seed: u64 },
    /// The call fails; the sequence goes on if the store does; then a kill or a power cut.
    Error { cut: bool },
}

/// True when the fault had no call to hit any more.
fn one(base: &Base, sequence: &[Kind], fault: Fault, n: u64) -> bool {
    let seed = match fault {
        Fault::End { seed, .. } => n ^ (seed << 32),
        Fault::Error { .. } => n,
    };
    let mut world = base.fork(seed);
    let mut faults = Faults::default();
    let (at, cut) = match fault {
        Fault::End { cut, .. } => {
            faults.stop_at = Some(n);
            (sequence.len() - 1, cut)
        }
        Fault::Error { cut } => {
            faults.fail_call = Some(n);
            (0, cut)
        }
    };
    let fired = world.device.faults_fired();
    // An end in the opening itself is that of the sequence that ends with a restart.
    if matches!(fault, Fault::Error { .. }) {
        world.set_faults(faults.clone());
    }
    let mut open = world.open();
    if !open && matches!(fault, Fault::Error { .. }) {
        world.heal();
        open = world.open_again();
    }
    assert!(open);
    for (step, kind) in sequence.iter().enumerate() {
        if step == at && matches!(fault, Fault::End { .. }) {
            world.set_faults(faults.clone());
        }
        run(&mut world, *kind, base.variant, step as u8);
        if world.life == Life::Closed && matches!(fault, Fault::Error { .. }) {
            world.heal();
            world.open_again();
        }
        if !world.alive() {
            break;
        }
    }
    let spent = world.device.faults_fired() == fired;
    if world.alive() {
        world.read_snapshots();
    }
    world.crash(cut);
    world.verify();
    spent
}

/// All sequences of a length, without those that a shorter one covers.
fn sequences(len: usize, variant: Variant) -> Vec<Vec<Kind>> {
    let mut all = vec![vec![]];
    for _ in 0..len {
        all = all
            .into_iter()
            .flat_map(|sequence: Vec<Kind>| {
                KINDS.iter().map(move |kind| {
                    let mut longer = sequence.clone();
                    longer.push(*kind);
                    longer
                })
            })
            .collect();
    }
    all.retain(|sequence| {
        let synced = variant.durability == Durability::Synced;
        !(synced && sequence.contains(&Kind::Sync))
    });
    all
}

/// Runs every sequence with every fault; answers how many runs there were.
fn exhaust(depth: usize, faults: &[Fault]) -> u64 {
    let runs = AtomicU64::new(0);
    for variant in variants() {
        let base = Base::new(variant);
        let all: Vec<_> = (1..=depth)
            .flat_map(|len| sequences(len, variant))
            .collect();
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..threads() {
                scope.spawn(|| {
                    while let Some(sequence) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                        for fault in faults {
                            for n in 1.. {
                                let spent = catch_unwind(AssertUnwindSafe(|| {
                                    one(&base, sequence, *fault, n)
                                }))
                                .unwrap_or_else(|panic| {
                                    eprintln!("{variant:?} {sequence:?}, {fault:?} at call {n}");
                                    next.store(usize::MAX / 2, Ordering::Relaxed);
                                    resume_unwind(panic)
                                });
                                runs.fetch_add(1, Ordering::Relaxed);
                                if spent {
                                    break;
                                }
                            }
                        }
                    }
                });
            }
        });
    }
    runs.into_inner()
}

#[test]
fn an_end_at_every_call_of_every_sequence() {
    let depth = setting("POME_DEPTH").unwrap_or(3) as usize;
    let faults = [
        Fault::End {
            cut: false,
            seed: 0,
        },
        Fault::End { cut: true, seed: 1 },
        Fault::End { cut: true, seed: 2 },
    ];
    let runs = exhaust(depth, &faults);
    println!("nightly: {runs} runs that ended at a call, sequences of up to {depth} operations");
}

#[test]
fn an_error_at_every_call_of_every_sequence() {
    let depth = setting("POME_DEPTH").unwrap_or(2) as usize;
    let faults = [Fault::Error { cut: true }, Fault::Error { cut: false }];
    let runs = exhaust(depth, &faults);
    println!("nightly: {runs} runs with an error at a call, sequences of up to {depth} operations");
}
