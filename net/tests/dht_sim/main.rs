//! Networks of nodes in one process, on simulated time, through loss and churn: what was left at the nodes closest to a target is found there.
//!
//! A lookup *succeeds* when it finds the value that another node left at its target before. Beside that each tells how many of the 20 living nodes that are
//! truly closest it found. As in npm a query does not wait for a node that let one second pass when 20 others have answered: at 10 % loss about one in five
//! first tries fails, so some of the 20 are missed, and 20 copies are why that does no harm.
//!
//! `POME_DHT_NODES=100,1000,10000` sets the sizes (the nightly run), `POME_SEED` the seed.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod world;

use bytes::Bytes;
use rand::RngExt;
use std::{env, time::Duration};
use world::{BOOTSTRAP, Walk, World};

/// Nodes that one holds, and how many share a value.
const K: usize = 20;

fn seed() -> u64 {
    env::var("POME_SEED").map_or(1, |seed| seed.parse().unwrap())
}

/// A network of so many nodes, which came one after the other.
fn network(seed: u64, loss: f64, count: usize) -> World {
    let mut world = World::new(seed, loss);
    // A network of 10,000 is filled in ten minutes.
    let most = (1_200_000 / count as u64).min(300);
    for _ in 0..count {
        world.add();
        let pause = world.rng.random_range(most / 20 + 1..=most / 10 + 10);
        world.run(Duration::from_millis(pause));
    }
    world.run(Duration::from_secs(60));
    let lasting = world.lasting();
    assert!(lasting * 100 >= count * 95, "{lasting} of {count} last");
    world
}

/// What a set of lookups led to.
#[derive(Debug, Default)]
struct Figures {
    lookups: usize,
    found: usize,
    /// Of the 20 closest, on average, and in the worst case.
    closest: f64,
    fewest: usize,
    hops: f64,
    most_hops: u32,
    datagrams: f64,
    median: Duration,
    slowest: Duration,
}

impl Figures {
    fn of(world: &World, walks: &[Walk]) -> Self {
        let mut figures = Self {
            lookups: walks.len(),
            fewest: K,
            ..Self::default()
        };
        let mut times = Vec::new();
        for walk in walks {
            let truly = world.closest(&walk.target, K, walk.from);
            let met = truly.iter().filter(|at| walk.closest.contains(at)).count();
            figures.found += usize::from(walk.values > 0);
            figures.closest += met as f64 / walks.len() as f64;
            figures.fewest = figures.fewest.min(met);
            figures.hops += f64::from(walk.hops()) / walks.len() as f64;
            figures.most_hops = figures.most_hops.max(walk.hops());
            figures.datagrams += walk.datagrams as f64 / walks.len() as f64;
            times.push(walk.took.unwrap());
        }
        times.sort_unstable();
        figures.median = times[times.len() / 2];
        figures.slowest = times[times.len() - 1];
        figures
    }

    fn print(&self, what: &str) {
        println!(
            "nightly: {what}: {} of {} found; {:.1} of the 20 closest (fewest {}); hops {:.2} (most {}); {:.0} datagrams; {:.1} s (slowest {:.1} s)",
            self.found,
            self.lookups,
            self.closest,
            self.fewest,
            self.hops,
            self.most_hops,
            self.datagrams,
            self.median.as_secs_f64(),
            self.slowest.as_secs_f64(),
        );
    }

    /// At least 99 % succeed.
    fn check(&self, nodes: usize) {
        assert!(self.found * 100 >= self.lookups * 99, "{self:?}");
        assert!(self.closest >= 0.85 * K as f64, "{self:?}");
        let most = 1.0 + (nodes as f64).log2() / 4.0;
        assert!(self.hops <= most, "{} hops of {most}", self.hops);
    }
}

/// Leaves a value at each target, and comes back for it from elsewhere.
fn measure(world: &mut World, count: usize, what: &str) -> Figures {
    let targets = world.random_targets(count);
    leave(world, &targets);
    find(world, &targets, what)
}

fn leave(world: &mut World, targets: &[[u8; 32]]) {
    let value = Bytes::from_static(b"left here");
    for walk in world.walks(targets, Some(&value)) {
        assert!(walk.committed >= K / 2, "{} took it", walk.committed);
    }
}

fn find(world: &mut World, targets: &[[u8; 32]], what: &str) -> Figures {
    let walks = world.walks(targets, None);
    let figures = Figures::of(world, &walks);
    figures.print(what);
    figures
}

#[test]
fn what_was_left_is_found_through_loss_and_churn() {
    let sizes = env::var("POME_DHT_NODES").unwrap_or("100,1000".into());
    let mut hops = Vec::new();
    for size in sizes.split(',') {
        let count: usize = size.parse().unwrap();
        let lookups = (count / 3).min(300);
        let mut world = network(seed(), 0.1, count);
        let joined = world.sent;
        let before = measure(&mut world, lookups, &format!("{count} nodes, 10 % loss"));
        before.check(count);
        hops.push((count, before.hops));
        // Ten minutes in which, every minute, one node in fifty goes without a word and another comes.
        let targets = world.random_targets(lookups);
        leave(&mut world, &targets);
        let begun = world.sent;
        let per_minute = (count / 50).max(1);
        for _ in 0..10 {
            for _ in 0..per_minute {
                let alive = world.alive();
                let gone = alive[world.rng.random_range(BOOTSTRAP..alive.len())];
                world.kill(gone);
                world.add();
                world.run(Duration::from_secs(60) / per_minute as u32);
            }
        }
        let upkeep = (world.sent - begun) as f64 / count as f64 / 10.0;
        println!(
            "nightly: {count} nodes: {:.0} datagrams a node to join, {upkeep:.1} a minute after that",
            joined as f64 / count as f64
        );
        find(
            &mut world,
            &targets,
            &format!("{count} nodes, left ten minutes of churn before"),
        )
        .check(count);
        measure(&mut world, lookups, &format!("{count} nodes, after churn")).check(count);
    }
    // Ten times the nodes: not one hop more than the logarithm allows.
    for pair in hops.windows(2) {
        let [(few, before), (many, after)] = pair else {
            continue;
        };
        let allowed = (*many as f64 / *few as f64).log2() / 2.0;
        assert!(after - before <= allowed, "{hops:?}");
    }
}

#[test]
fn without_loss_the_closest_are_found() {
    let mut world = network(seed(), 0.0, 150);
    let figures = measure(&mut world, 50, "150 nodes, no loss");
    figures.check(150);
    assert!(figures.closest >= 19.5, "{figures:?}");
    // A third of the nodes go away at once.
    for at in (BOOTSTRAP..150).step_by(3) {
        world.kill(at);
    }
    world.run(Duration::from_secs(300));
    let figures = measure(
        &mut world,
        50,
        "150 nodes, a third of them gone for five minutes",
    );
    figures.check(100);
    assert!(figures.closest >= 18.0, "{figures:?}");
}
