//! The store on real files, in a process of its own that ends as processes and machines do: by `kill -9`, and by a power cut (the backing file of a loop
//! device, copied while the store works).
//!
//! | variable | |
//! | --- | --- |
//! | `POME_KILL_ROUNDS` | kills for each device (10; nightly 500) |
//! | `POME_LOOP_ROUNDS` | power cuts (3; nightly 50) |
//! | `POME_BIG_GIB` | size of the store whose recovery is timed (0: 64 MiB, and the time is only told; nightly 10) |
//! | `POME_SEED` | the seed of the moments |
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod child;
mod cut;
mod kill;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => default,
    }
}

/// The dice of the moments.
fn chance() -> ChaCha8Rng {
    let seed = setting("POME_SEED", 1);
    println!("POME_SEED={seed}");
    ChaCha8Rng::seed_from_u64(seed)
}
