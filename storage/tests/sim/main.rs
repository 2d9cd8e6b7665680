//! The store on a simulated disk that tears, reorders and loses what was not synced, fills up, fails, and flips bits.
//!
//! Every test runs many seeds. A failing one prints its seed; `POME_SEED=<n> cargo test -p pome-storage --test sim -- <test>` runs that one alone;
//! `POME_SEEDS=<n>` runs so many of each kind.
#![allow(clippy::unwrap_used)]

mod faults;
mod flips;
mod history;
mod oracle;

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

/// Runs `one` for many seeds, on all cores.
fn seeds(default: u64, one: impl Fn(u64) + Sync) {
    let number = |name: &str| env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    if let Some(seed) = number("POME_SEED") {
        return one(seed);
    }
    let count = number("POME_SEEDS").unwrap_or(default);
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(2, |n| n.get());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= count {
                        return;
                    }
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| one(seed))) {
                        next.store(count, Ordering::Relaxed);
                        eprintln!("POME_SEED={seed} shows this failure again");
                        resume_unwind(panic);
                    }
                }
            });
        }
    });
}
