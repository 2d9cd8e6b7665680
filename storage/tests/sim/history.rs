//! Random histories. Each life of the process ends by itself, by a kill or by a power cut, at any call; or the disk fills up or fails on the way.

use crate::{
    chance::Chance,
    oracle::Op,
    seeds,
    world::{ALL_STEPS, Life, World},
};
use pome_storage::Durability;
use pome_wal::{Faults, SimDevice};

/// What becomes of the disk in one life.
#[derive(Clone, Copy, PartialEq)]
enum Luck {
    Good,
    /// The process dies in a call.
    Stop,
    /// The disk fills up, or fails a call.
    Bad,
}

/// Answers how many operations were made, and the hash of all that the disk saw.
pub(crate) fn history(seed: u64) -> (u64, u64) {
    let mut chance = Chance::new(seed);
    let options = chance.options(seed);
    let mut world = World::new(SimDevice::new(seed), options);
    for _ in 0..1 + chance.below(4) {
        let luck = match chance.below(5) {
            0 => Luck::Good,
            1..=2 => Luck::Stop,
            _ => Luck::Bad,
        };
        let early = chance.one_in(4);
        if luck == Luck::Stop {
            let mut faults = Faults::default();
            faults.stop_at = Some(chance.soon());
            world.set_faults(faults);
        } else if luck == Luck::Bad && early {
            let faults = chance.faults(&world.device);
            world.set_faults(faults);
        }
        if world.open() {
            live(&mut world, &mut chance, luck);
        }
        let cut = !chance.one_in(3);
        world.crash(cut);
    }
    world.verify();
    (world.made, world.device.trace_hash())
}

/// Works until something ends it.
fn live(world: &mut World, chance: &mut Chance, luck: Luck) {
    if luck == Luck::Bad {
        let faults = chance.faults(&world.device);
        world.set_faults(faults);
    }
    for _ in 0..chance.below(50) {
        if luck == Luck::Bad && chance.one_in(12) {
            // Space returns, or the next misfortune is planned.
            let faults = match chance.one_in(2) {
                true => Faults::default(),
                false => chance.faults(&world.device),
            };
            world.set_faults(faults);
        }
        world.step(chance);
        if world.life == Life::Closed && luck == Luck::Bad {
            // The disk did not let the store be opened again; it gets well.
            world.heal();
            world.open_again();
        }
        if world.life == Life::Poisoned && chance.one_in(3) {
            world.open_again();
        }
        if !world.alive() {
            return;
        }
    }
    if luck == Luck::Bad && chance.one_in(2) {
        world.heal();
        let ops = chance.ops();
        assert!(world.commit(ops, Durability::Synced), "the disk is well");
        world.read();
    }
    world.read_snapshots();
    if world.alive() && chance.one_in(5) {
        world.close();
    }
}

/// Large values that compaction moves, and a disk that fails or a process that ends before the moves are on disk. Answers how many operations were made.
pub(crate) fn moved(seed: u64) -> u64 {
    let mut chance = Chance::new(seed ^ 0x6d6f_7665);
    let mut options = chance.options(seed);
    options.payload_segment_bytes = 4096 << chance.below(3);
    let mut world = World::new(SimDevice::new(seed), options);
    assert!(world.open());
    for _ in 0..1 + chance.below(3) {
        for _ in 0..3 + chance.below(8) {
            let len = 1024 + chance.below(2000);
            let key = vec![b'm', chance.below(6) as u8];
            let put = Op::Put(1, key.into(), chance.bytes(len));
            let more = match chance.one_in(4) {
                true => chance.ops(),
                false => vec![],
            };
            let ops = [vec![put], more].concat();
            world.commit(ops, chance.durability());
        }
        if !chance.one_in(4) {
            world.checkpoint();
        }
        let steps = match chance.one_in(4) {
            true => ALL_STEPS,
            false => 1 + chance.below(5),
        };
        world.compact(steps);
        let mut faults = Faults::default();
        match chance.below(6) {
            0 => faults.fail_call = Some(chance.soon()),
            1 => faults.stop_at = Some(chance.soon()),
            _ => faults.fail_sync = Some(1 + chance.below(2)),
        }
        world.set_faults(faults);
        for _ in 0..chance.below(4) {
            let ops = chance.ops();
            if world.alive() {
                world.commit(ops, Durability::Buffered);
            }
        }
        if world.alive() {
            match chance.below(3) {
                0 => world.checkpoint(),
                1 => world.compact(ALL_STEPS),
                _ => world.sync(),
            }
        }
        let cut = chance.one_in(4);
        world.crash(cut);
        if chance.one_in(4) {
            let faults = chance.faults(&world.device);
            world.set_faults(faults);
        }
        if !world.open() {
            let cut = chance.one_in(2);
            world.crash(cut);
            assert!(world.open());
        }
        world.heal();
        if !world.alive() {
            world.crash(false);
            assert!(world.open());
        }
        if world.scarred || chance.one_in(8) {
            scars(&mut world, &mut chance);
        }
    }
    world.crash(chance.one_in(2));
    world.verify();
    world.made
}

/// A repair that may be cut short at any call.
fn scars(world: &mut World, chance: &mut Chance) {
    let mut faults = Faults::default();
    match chance.below(4) {
        0 => {}
        1 => faults.fail_call = Some(chance.soon()),
        _ => faults.stop_at = Some(chance.soon()),
    }
    let stops = faults.stop_at.is_some();
    world.set_faults(faults);
    world.repair();
    if !world.alive() || stops || chance.one_in(2) {
        let cut = chance.one_in(2);
        world.crash(cut);
        assert!(world.open());
    }
    world.heal();
    world.repair();
    world.read();
}

#[test]
fn what_compaction_moves_is_never_lost() {
    seeds(5_000, moved);
}

#[test]
fn every_crash_leaves_a_prefix_with_all_that_was_synced() {
    seeds(15_000, |seed| history(seed).0);
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..20 {
        assert_eq!(history(seed), history(seed), "seed {seed}");
    }
}
