//! The store on a simulated disk that tears, reorders and loses what was not synced, fills up, fails, and lies.
//!
//! | room | what runs | what must hold |
//! | --- | --- | --- |
//! | `history` | random operations, repairs and changes of the key among them; kills, power cuts, full disks, I/O errors at any call | the state is a prefix of the history with all that was synced, and the store goes on |
//! | `media` | random operations, then a disk at rest that lies: flipped bits, sectors of an earlier day, sectors in the wrong place; then a repair that is cut short | nothing wrong handed out, nothing undamaged lost, nothing silent |
//! | `exhaustive` | every sequence of one, two and three operations, an end at every device call, an error at every device call | as `history` |
//! | `mutations` | `history` (that of moves too) and `media` on an engine that was broken on purpose | the oracles notice |
//!
//! A failing seed prints the command that runs it again, bit for bit. `POME_SEED=<n>` runs one seed, `POME_SEEDS=<n>` so many of each kind,
//! `POME_OPS=<n>` goes on with further seeds until so many operations were made, `POME_DEPTH=<n>` sets the longest sequence of the exhaustive part.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod chance;
mod exhaustive;
mod history;
mod media;
mod mutations;
mod oracle;
mod world;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|n| n.parse::<u64>().unwrap())
}

/// Says what happens, when one seed is run alone.
macro_rules! say {
    ($($what:tt)*) => {
        if $crate::alone() {
            println!($($what)*);
        }
    };
}
use say;

/// True when one seed is run alone.
fn alone() -> bool {
    static ALONE: OnceLock<bool> = OnceLock::new();
    *ALONE.get_or_init(|| env::var_os("POME_SEED").is_some())
}

/// How many threads to use.
fn threads() -> usize {
    match setting("POME_THREADS") {
        Some(n) => n as usize,
        None => thread::available_parallelism().map_or(2, |n| n.get()),
    }
}

/// Runs `one` for many seeds, on all cores; it answers how many operations it made.
fn seeds(default: u64, one: impl Fn(u64) -> u64 + Sync) {
    if let Some(seed) = setting("POME_SEED") {
        one(seed);
        return;
    }
    let test = thread::current().name().unwrap_or_default().to_owned();
    let count = setting("POME_SEEDS").unwrap_or(default);
    let least = setting("POME_OPS").unwrap_or(0);
    let (next, made, failed) = (
        AtomicU64::new(0),
        AtomicU64::new(0),
        AtomicU64::new(u64::MAX),
    );
    thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let done = seed >= count && made.load(Ordering::Relaxed) >= least;
                    if done || failed.load(Ordering::Relaxed) != u64::MAX {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| one(seed))) {
                        Ok(ops) => {
                            made.fetch_add(ops, Ordering::Relaxed);
                        }
                        Err(panic) => {
                            failed.fetch_min(seed, Ordering::Relaxed);
                            eprintln!(
                                "POME_SEED={seed} cargo test -p pome-storage --test sim -- --exact {test} --nocapture"
                            );
                            resume_unwind(panic);
                        }
                    }
                }
            });
        }
    });
    println!(
        "nightly: {test}: {} seeds, {} operations",
        next.into_inner() - threads() as u64,
        made.into_inner()
    );
}
