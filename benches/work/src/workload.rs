//! What there is to measure, as data.

use pome_bench_support::{LIMIT, Measure};

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writes {
    /// Nothing is written while the clock runs, or nobody waits for it.
    None,
    /// When the kernel has the bytes.
    Buffered,
    /// When they are on disk.
    Synced,
}

/// One thing to measure. The data that it works on follow from its numbers; they are the same for each peer, each time.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Its name, as it can be typed.
    pub name: &'static str,
    /// What is measured.
    pub what: &'static str,
    /// How a run becomes a number.
    pub measure: Measure,
    /// How many items it works on, and how many of them are timed.
    pub full: (u64, u64),
    /// The same where it is to be quick.
    pub quick: (u64, u64),
    /// When a write is answered.
    pub writes: Writes,
    /// How many times as good as npm on node it is to be at least.
    pub goal: Option<f64>,
    /// What part of the physical limit it is to reach at least.
    pub limit_goal: Option<f64>,
    /// True when it is also measured at 10², 10⁴ and 10⁶ items.
    pub grows: bool,
    /// Who else does it.
    pub peers: &'static [&'static str],
}

impl Workload {
    /// True when it is done in a network of its own, with nothing but loopback.
    pub fn has_network(&self) -> bool {
        matches!(self.name, "connect" | "replicate-dht" | "replicate-dht-64k")
    }

    /// True when it is done on a folder of files.
    pub fn has_files(&self) -> bool {
        matches!(self.name.split_once('-'), Some(("drive", _))) || self.name == "mount-copy"
    }

    /// Sizes at which it is measured for its growth.
    pub fn sizes(&self) -> &'static [u64] {
        if self.grows {
            &[100, 10_000, 1_000_000]
        } else {
            &[]
        }
    }

    /// How many items it works on, and how many of them are timed.
    pub fn amount(&self, quick: bool) -> (u64, u64) {
        if quick { self.quick } else { self.full }
    }

    /// How many items are timed where it works on so many: all of them where that is so otherwise, else as many as otherwise, and 20,000 at the most.
    pub fn ops_at(&self, size: u64, quick: bool) -> u64 {
        let (items, ops) = self.amount(quick);
        match items == ops {
            true => size,
            false => ops.min(20_000),
        }
    }

    const fn goal(mut self, goal: f64) -> Self {
        self.goal = Some(goal);
        self
    }

    const fn of_limit(mut self, goal: f64) -> Self {
        self.limit_goal = Some(goal);
        self
    }

    const fn grows(mut self) -> Self {
        self.grows = true;
        self
    }

    const fn buffered(mut self) -> Self {
        self.writes = Writes::Buffered;
        self
    }

    const fn synced(mut self) -> Self {
        self.writes = Writes::Synced;
        self
    }

    const fn beside(mut self, peers: &'static [&'static str]) -> Self {
        self.peers = peers;
        self
    }
}

const NPM: &[&str] = &["npm", "bare"];
/// Who does what is done with one core.
const CORES: &[&str] = &["npm", "bare", "npm10", "hypercore-rs"];
/// Who does that with blocks of 64 KiB, and what the machine gives.
const LARGE_CORES: &[&str] = &["npm", "bare", "npm10", "hypercore-rs", LIMIT];
const BEES: &[&str] = &["npm", "bare", "hyperbee-rs"];
const NODE: &[&str] = &["npm"];
const ENGINES: &[&str] = &["fjall", "redb", "lmdb", "sqlite"];
/// Who commits, and what the disk gives.
const COMMITS: &[&str] = &["fjall", "redb", "lmdb", "sqlite", LIMIT];
const FOLDERS: &[&str] = &["disk", "bindfs", "gocryptfs"];

const fn work(
    name: &'static str,
    what: &'static str,
    measure: Measure,
    full: (u64, u64),
    quick: (u64, u64),
) -> Workload {
    Workload {
        name,
        what,
        measure,
        full,
        quick,
        writes: Writes::None,
        goal: None,
        limit_goal: None,
        grows: false,
        peers: NPM,
    }
}

const fn all(count: u64) -> (u64, u64) {
    (count, count)
}

use Measure::{Millis, Rate, Throughput};

/// All there is, in the order in which it is measured.
pub const ALL: &[Workload] = &[
    work(
        "core-append",
        "append 100 B, one by one",
        Rate,
        all(20_000),
        all(1_000),
    )
    .buffered()
    .goal(18.0)
    .grows()
    .beside(CORES),
    work(
        "core-append-64k",
        "append 64 KiB, one by one",
        Throughput,
        all(2_000),
        all(256),
    )
    .buffered()
    .beside(LARGE_CORES),
    work(
        "core-batch",
        "append 100 B, batches of 1,000",
        Rate,
        all(200_000),
        all(10_000),
    )
    .buffered()
    .goal(15.0)
    .grows()
    .beside(CORES),
    work(
        "core-batch-64k",
        "append 64 KiB, batches of 64",
        Throughput,
        all(4_096),
        all(512),
    )
    .buffered()
    .goal(5.0)
    .of_limit(0.8)
    .beside(LARGE_CORES),
    work(
        "core-get",
        "random get of 100 B",
        Rate,
        (100_000, 50_000),
        (5_000, 4_000),
    )
    .goal(80.0)
    .grows()
    .beside(CORES),
    work(
        "core-get-64k",
        "random get of 64 KiB",
        Throughput,
        (1_024, 10_000),
        (256, 1_000),
    )
    .beside(LARGE_CORES),
    work(
        "core-stream",
        "read stream of 100 B blocks",
        Rate,
        all(100_000),
        all(8_000),
    )
    .beside(&["npm", "bare", "npm10"]),
    work(
        "core-reopen",
        "open a store and a core, and get its last block",
        Millis,
        (20_000, 20),
        (3_000, 5),
    )
    .beside(CORES),
    work("bee-put", "bee put, one by one", Rate, all(5_000), all(500))
        .buffered()
        .goal(25.0)
        .beside(BEES),
    work(
        "bee-batch",
        "bee put, batches of 1,000",
        Rate,
        all(50_000),
        all(2_000),
    )
    .buffered()
    .goal(60.0)
    .grows(),
    work(
        "bee-get",
        "random bee get",
        Rate,
        (20_000, 10_000),
        (2_000, 1_500),
    )
    .goal(100.0)
    .grows()
    .beside(BEES),
    work(
        "bee-scan",
        "read stream of a bee",
        Rate,
        all(20_000),
        all(2_000),
    )
    .goal(30.0)
    .grows()
    .beside(BEES),
    work(
        "bee-diff",
        "diff of a bee to 1 of 20 changed entries",
        Rate,
        (20_000, 1_000),
        (2_000, 100),
    ),
    work(
        "cores-make",
        "cores made and closed",
        Rate,
        all(10_000),
        all(300),
    )
    .buffered()
    .goal(20.0),
    work(
        "cores-open",
        "cores opened in a store that was closed",
        Rate,
        all(10_000),
        all(300),
    ),
    work(
        "drive-import",
        "import of files into a drive",
        Rate,
        all(2_000),
        all(100),
    )
    .buffered()
    .goal(20.0),
    work(
        "drive-export",
        "export of a drive into a folder",
        Rate,
        all(2_000),
        all(100),
    )
    .buffered(),
    work(
        "drive-mirror",
        "mirror of a folder where nothing changed",
        Rate,
        all(2_000),
        all(100),
    )
    .goal(15.0),
    work(
        "drive-list",
        "entries of a drive",
        Rate,
        all(2_000),
        all(100),
    ),
    work(
        "replicate-pipe",
        "replicate 100 B blocks in one process",
        Rate,
        all(100_000),
        all(3_000),
    )
    .beside(NODE),
    work(
        "replicate-pipe-64k",
        "replicate 64 KiB blocks in one process",
        Throughput,
        all(2_048),
        all(192),
    )
    .beside(&["npm", LIMIT]),
    work(
        "replicate-tcp",
        "replicate 100 B blocks over TCP",
        Rate,
        all(100_000),
        all(3_000),
    )
    .goal(20.0)
    .beside(NODE),
    work(
        "replicate-tcp-64k",
        "replicate 64 KiB blocks over TCP",
        Throughput,
        all(4_096),
        all(192),
    )
    .goal(6.0)
    .beside(&["npm", "iroh", LIMIT]),
    work(
        "replicate-dht",
        "replicate 100 B blocks over the DHT",
        Rate,
        all(50_000),
        all(2_500),
    )
    .goal(20.0)
    .beside(NODE),
    work(
        "replicate-dht-64k",
        "replicate 64 KiB blocks over the DHT",
        Throughput,
        all(1_024),
        all(96),
    )
    .goal(6.0)
    .beside(&["npm", "iroh"]),
    work(
        "udx",
        "UDX stream on loopback",
        Throughput,
        all(2_000),
        all(100),
    )
    .goal(3.0)
    .beside(&["npm", LIMIT]),
    work("connect", "connect by key", Millis, all(50), all(8)).beside(NODE),
    work(
        "noise",
        "Noise handshakes (IK), both sides on one core",
        Rate,
        all(6_000),
        all(500),
    )
    .goal(2.0)
    .beside(NODE),
    work(
        "stream-64k",
        "secret stream in memory, messages of 64 KiB",
        Throughput,
        all(4_096),
        all(512),
    )
    .beside(&["npm", LIMIT]),
    work(
        "mount-write",
        "write 1 MiB pieces and fsync, in a mount",
        Throughput,
        all(512),
        all(64),
    )
    .synced()
    .beside(FOLDERS),
    work(
        "mount-read",
        "read 1 MiB pieces, in a mount",
        Throughput,
        all(512),
        all(64),
    )
    .beside(FOLDERS),
    work(
        "mount-create",
        "create files of 100 B, in a mount",
        Rate,
        all(10_000),
        all(500),
    )
    .buffered()
    .beside(FOLDERS),
    work(
        "mount-walk",
        "walk and stat files, in a mount",
        Rate,
        all(10_000),
        all(500),
    )
    .beside(FOLDERS),
    work(
        "store-put",
        "durable puts of 100 B",
        Rate,
        all(3_000),
        all(300),
    )
    .synced()
    .beside(COMMITS),
    work(
        "store-batch",
        "durable batches of 1,000 × 100 B",
        Rate,
        all(200_000),
        all(20_000),
    )
    .synced()
    .grows()
    .beside(COMMITS),
    work(
        "store-get",
        "random get of 100 B from an engine",
        Rate,
        (200_000, 400_000),
        (20_000, 40_000),
    )
    .beside(ENGINES)
    .grows(),
    work(
        "store-scan",
        "scan of 100 B values",
        Rate,
        all(200_000),
        all(20_000),
    )
    .beside(ENGINES),
    work(
        "store-compact",
        "compaction after every second value was deleted",
        Millis,
        (200_000, 1),
        (20_000, 1),
    )
    .synced()
    .beside(ENGINES),
    work(
        "store-check",
        "check of every byte of a store",
        Throughput,
        all(200_000),
        all(20_000),
    )
    .beside(&[LIMIT]),
    work(
        "store-check-64k",
        "check of every byte of a store with values of 64 KiB",
        Throughput,
        all(8_192),
        all(2_048),
    )
    .beside(&[LIMIT])
    .of_limit(0.8),
    work(
        "runtime-start",
        "a program starts, says hello and ends",
        Millis,
        all(20),
        all(5),
    )
    .beside(&["bare", "npm"]),
];

/// The workload of this name.
pub fn named(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_quick_is_less() {
        let names: BTreeSet<_> = ALL.iter().map(|workload| workload.name).collect();
        assert_eq!(names.len(), ALL.len());
        for workload in ALL {
            assert!(
                workload.quick.0 <= workload.full.0 && workload.quick.1 <= workload.full.1,
                "{}",
                workload.name
            );
            assert!(
                workload.goal.is_none() || workload.peers.contains(&"npm"),
                "{}",
                workload.name
            );
            assert!(
                workload.limit_goal.is_none() || workload.peers.contains(&LIMIT),
                "{}",
                workload.name
            );
        }
    }

    #[test]
    fn what_is_written_grows_with_the_size_and_what_is_read_does_not() {
        let ops = |name: &str, size| named(name).map(|workload| workload.ops_at(size, false));
        assert_eq!(ops("core-append", 1_000_000), Some(1_000_000));
        assert_eq!(ops("core-get", 1_000_000), Some(20_000));
        assert_eq!(ops("core-get", 100), Some(20_000));
        let quick = named("core-get").map(|workload| workload.ops_at(100, true));
        assert_eq!(quick, Some(4_000));
    }
}
