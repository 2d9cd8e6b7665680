//! Random histories of the log on the simulated disk: whatever happens, recovery gives a prefix of the commits that contains all
//! that was synced, and nothing is reported as damage when the disk kept its word.
//!
//! A failing seed is printed; `POME_SEED=<seed> cargo test -p pome-wal --test histories` replays it alone, and `POME_HISTORIES=<n>`
//! sets how many are run.
#![allow(clippy::unwrap_used)]

use pome_wal::{
    Bytes, Device, Error, Faults, Log, LogOptions, PayloadRef, Recovery, SimDevice, Start,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

#[derive(Clone, PartialEq, Debug)]
struct Commit {
    body: Vec<u8>,
    payloads: Vec<Bytes>,
}

/// What the log should hold.
struct Model {
    /// From seq 1 on.
    commits: Vec<Commit>,
    /// All up to here were synced.
    synced: u64,
    /// Commits, of one write, that failed so badly that they may be there or not: the first few of them.
    perhaps: Vec<Commit>,
    /// The last checkpoint.
    start: Start,
    /// A sync failed in this life: the page cache may show what is not on disk.
    sync_failed: bool,
    /// A sync failed in some life: what was cut may be there again, and be cut again.
    sync_ever_failed: bool,
    /// A recovery was interrupted since the last one that was not.
    recovery_failed: bool,
    refs: BTreeMap<u64, Vec<PayloadRef>>,
}

struct History {
    seed: u64,
    rng: ChaCha8Rng,
    disk: SimDevice,
    options: LogOptions,
    model: Model,
    /// Histories that saw it.
    seen: Seen,
}

#[derive(Default, Debug, Clone, Copy)]
struct Seen {
    commits: u64,
    cuts: u64,
    kills: u64,
    torn: u64,
    lost: u64,
    rewritten: u64,
    full: u64,
    failed_writes: u64,
    poisoned: u64,
    recovery_interrupted: u64,
    damage: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut options = LogOptions::default();
        options.log_segment_bytes = 4096 << rng.random_range(0..3);
        options.first_segment_bytes = options.log_segment_bytes >> rng.random_range(0..2);
        options.payload_segment_bytes = 4096 << rng.random_range(0..5);
        options.free_segments = rng.random_range(0..3);
        let start = Start {
            seq: 0,
            log_id: 0,
            epoch: 1,
            log: 1,
            payload: None,
        };
        Self {
            seed,
            rng,
            disk: SimDevice::new(seed),
            options,
            model: Model {
                commits: Vec::new(),
                synced: 0,
                perhaps: Vec::new(),
                start,
                sync_failed: false,
                sync_ever_failed: false,
                recovery_failed: false,
                refs: BTreeMap::new(),
            },
            seen: Seen::default(),
        }
    }

    fn device(&self) -> Arc<dyn Device> {
        Arc::new(self.disk.clone())
    }

    fn run(&mut self) -> Seen {
        let id = self.rng.random();
        let mut log = Log::create(self.device(), self.options.clone(), id).unwrap();
        self.model.start = log.position();
        for _ in 0..self.rng.random_range(10..80) {
            let alive = self.step(&log);
            if !alive {
                match self.restart(log) {
                    Some(next) => log = next,
                    None => return self.seen,
                }
            }
        }
        if let Some(log) = self.restart(log) {
            self.close(&log);
        }
        self.seen
    }

    fn commit(&mut self) -> Commit {
        let longest = if self.rng.random_ratio(1, 20) {
            6000
        } else {
            500
        };
        let mut bytes = |max: usize| -> Vec<u8> {
            let (len, fill): (usize, u8) = (self.rng.random_range(0..=max), self.rng.random());
            (0..len).map(|i| fill.wrapping_add(i as u8)).collect()
        };
        let body = bytes(longest);
        let payloads = match self.rng.random_range(0..10) {
            0..=6 => 0,
            n => n - 6,
        };
        let mut payload = || {
            let len = self.rng.random_range(0..4000usize);
            let fill: u8 = self.rng.random();
            Bytes::from((0..len).map(|i| fill ^ (i as u8)).collect::<Vec<_>>())
        };
        let payloads = (0..payloads).map(|_| payload()).collect();
        Commit { body, payloads }
    }

    /// One random thing. False when the process has to be started again.
    fn step(&mut self, log: &Log) -> bool {
        match self.rng.random_range(0..100) {
            0..=12 => self.run_of_commits(log),
            13..=64 => {
                let commit = self.commit();
                match log.commit(&commit.body, &commit.payloads) {
                    Ok(done) => {
                        self.model.commits.push(commit);
                        self.seen.commits += 1;
                        assert_eq!(done.seq, self.model.commits.len() as u64);
                        self.model.refs.insert(done.seq, done.payloads);
                        true
                    }
                    Err(e) => {
                        let goes_on = self.failed(&e, log);
                        self.model.perhaps.extend((!goes_on).then_some(commit));
                        goes_on
                    }
                }
            }
            65..=75 => match log.sync() {
                Ok(()) => {
                    self.model.synced = self.model.commits.len() as u64;
                    assert_eq!(log.synced_seq(), self.model.synced);
                    true
                }
                Err(e) => self.failed(&e, log),
            },
            76..=78 => match log.mark() {
                Ok(()) => true,
                Err(e) => self.failed(&e, log),
            },
            79..=83 => self.checkpoint(log),
            84..=87 => self.read(log),
            88..=92 => {
                let mut faults = Faults::default();
                let n = Some(self.rng.random_range(1..12));
                match self.rng.random_range(0..5) {
                    0 => {
                        let Ok(names) = self.disk.list() else {
                            return false;
                        };
                        let used: usize = names
                            .iter()
                            .map(|n| self.disk.bytes(n).map_or(0, |b| b.len()))
                            .sum();
                        faults.space_bytes = Some(used as u64 + self.rng.random_range(0..20_000));
                    }
                    1 => faults.fail_write = n,
                    2 => faults.fail_sync = n,
                    3 => faults.fail_call = n,
                    _ => faults.stop_at = n,
                }
                self.disk.set_faults(faults);
                true
            }
            93..=94 => {
                self.disk.set_faults(Faults::default());
                true
            }
            _ => false,
        }
    }

    /// Small commits that one call writes: as many as fit, and all of them or none. False when the process has to be started again.
    fn run_of_commits(&mut self, log: &Log) -> bool {
        let mut run = match log.run() {
            Ok(run) => run,
            Err(e) => return self.failed(&e, log),
        };
        let mut added = Vec::new();
        for _ in 0..self.rng.random_range(1..8) {
            let mut commit = self.commit();
            commit.payloads.clear();
            let seq = (self.model.commits.len() + added.len() + 1) as u64;
            assert_eq!(run.next_seq(), seq);
            match run.add(&commit.body) {
                Ok(true) => added.push(commit),
                Ok(false) => {
                    assert!(!added.is_empty(), "the first always fits");
                    break;
                }
                Err(e) => {
                    assert!(added.is_empty(), "room was made for the first");
                    drop(run);
                    let goes_on = self.failed(&e, log);
                    self.model.perhaps.extend((!goes_on).then_some(commit));
                    return goes_on;
                }
            }
        }
        if self.rng.random_ratio(1, 20) {
            // Not written: if the first was too large for the log itself, that is.
            drop(run);
            let alone = log.committed_seq() as usize - self.model.commits.len();
            added.truncate(alone);
            assert!(alone <= 1);
        } else if let Err(e) = run.write() {
            let goes_on = self.failed(&e, log);
            if !goes_on {
                self.model.perhaps = added;
            }
            return goes_on;
        }
        for commit in added {
            self.model.commits.push(commit);
            self.seen.commits += 1;
            let seq = self.model.commits.len() as u64;
            self.model.refs.insert(seq, Vec::new());
        }
        assert_eq!(log.committed_seq(), self.model.commits.len() as u64);
        true
    }

    /// True when the log goes on.
    fn failed(&mut self, error: &Error, log: &Log) -> bool {
        match error {
            Error::Io { .. } if error.is_full() => self.seen.full += 1,
            Error::Io { .. } => self.seen.failed_writes += 1,
            Error::Poisoned { .. } => {
                self.seen.poisoned += 1;
                self.model.sync_failed = true;
                self.model.sync_ever_failed = true;
                assert!(matches!(log.commit(b"", &[]), Err(Error::Poisoned { .. })));
                assert!(matches!(log.close(), Err(Error::Poisoned { .. })));
                return false;
            }
            e => panic!("{e}"),
        }
        true
    }

    fn checkpoint(&mut self, log: &Log) -> bool {
        let start = log.position();
        if let Err(e) = log.sync() {
            return self.failed(&e, log);
        }
        self.model.synced = self.model.commits.len() as u64;
        self.model.start = start;
        if let Err(e) = log.release(&start) {
            return self.failed(&e, log);
        }
        assert_eq!(log.log_bytes(), 0);
        assert_eq!(log.payload_bytes_since(&start), 0);
        if let Some((current, _)) = start.payload
            && self.rng.random()
        {
            for (segment, _) in log.payload_segments() {
                let result = log.remove_payload_segment(segment);
                match result {
                    Ok(()) => assert!(segment < current),
                    Err(Error::StillNeeded { .. }) => assert!(segment >= current),
                    Err(e) => return self.failed(&e, log),
                }
                if segment < current {
                    self.model
                        .refs
                        .retain(|_, r| r.iter().all(|r| r.segment != segment));
                }
            }
        }
        true
    }

    fn read(&mut self, log: &Log) -> bool {
        let n = self.model.refs.len();
        if n == 0 {
            return true;
        }
        let at = self.rng.random_range(0..n);
        let (seq, refs) = self.model.refs.iter().nth(at).unwrap();
        let commit = &self.model.commits[*seq as usize - 1];
        for (at, payload) in refs.iter().zip(&commit.payloads) {
            match log.read(at) {
                Ok(bytes) => assert_eq!(bytes, payload),
                Err(Error::Io { .. }) => return true,
                Err(e) => panic!("{e}"),
            }
        }
        true
    }

    /// Ends this life in some way and opens again. `None` when there was damage, of the allowed kind: the history ends.
    fn restart(&mut self, log: Log) -> Option<Log> {
        if self.rng.random_ratio(1, 8) {
            match log.close() {
                Ok(()) => self.model.synced = self.model.commits.len() as u64,
                Err(Error::Poisoned { .. }) => {
                    self.model.sync_failed = true;
                    self.model.sync_ever_failed = true;
                }
                Err(_) => {}
            }
        }
        self.end_life();
        drop(log);
        for _ in 0..3 {
            if !self.rng.random_ratio(1, 3) {
                break;
            }
            // Recovery itself is interrupted, at some call.
            let mut faults = Faults::default();
            let n = Some(self.rng.random_range(1..60));
            match self.rng.random_range(0..3) {
                0 => faults.fail_call = n,
                1 => faults.fail_sync = Some(self.rng.random_range(1..4)),
                _ => faults.stop_at = n,
            }
            let sync = faults.fail_sync.is_some() || faults.fail_call.is_some();
            self.disk.set_faults(faults);
            let start = self.model.start;
            match Log::open(self.device(), self.options.clone(), start, |_| {
                Ok::<_, Error>(())
            }) {
                Ok((_, recovery)) if !recovery.damage.is_empty() => {
                    assert!(self.model.sync_failed, "damage: {recovery:?}");
                    self.seen.damage += 1;
                    return None;
                }
                Ok(_) => {}
                Err(_) => {
                    self.seen.recovery_interrupted += 1;
                    self.model.recovery_failed = true;
                    self.model.sync_failed |= sync;
                    self.model.sync_ever_failed |= sync;
                }
            }
            self.end_life();
        }
        self.reopen()
    }

    fn end_life(&mut self) {
        self.disk = if self.rng.random() {
            self.seen.cuts += 1;
            // An interrupted recovery may have seen what the failed sync left, and written down the damage.
            self.model.sync_failed &= self.model.recovery_failed;
            self.disk.power_cut()
        } else {
            self.seen.kills += 1;
            self.disk.kill()
        };
    }

    fn reopen(&mut self) -> Option<Log> {
        let mut replayed = Vec::new();
        let start = self.model.start;
        let (log, recovery): (Log, Recovery) =
            Log::open(self.device(), self.options.clone(), start, |r| {
                replayed.push((r.seq, r.body.to_vec(), r.payloads));
                Ok::<_, Error>(())
            })
            .unwrap();
        let model = &mut self.model;
        let answered = model.commits.len() as u64;
        model.commits.append(&mut model.perhaps);
        for (seq, body, refs) in &replayed {
            let expected = model
                .commits
                .get(*seq as usize - 1)
                .unwrap_or_else(|| panic!("commit {seq} was never made"));
            let payloads: Result<_, _> = refs.iter().map(|r| log.read(r)).collect();
            let payloads = match payloads {
                Ok(payloads) => payloads,
                Err(Error::Corrupt { .. }) if model.sync_failed && *seq > model.synced => {
                    // Reported by a recovery that was interrupted afterwards; now the read reports it.
                    self.seen.damage += 1;
                    return None;
                }
                Err(e) => panic!("commit {seq}: {e}"),
            };
            let found = Commit {
                body: body.clone(),
                payloads,
            };
            assert!(found == *expected, "commit {seq} has other bytes");
        }
        assert_eq!(recovery.replayed, replayed.len() as u64);
        if !recovery.damage.is_empty() {
            // The kernel dropped what a failed sync left in the page cache: commits that were answered are gone in the same
            // boot. That is reported, and what was synced is there.
            assert!(model.sync_failed, "damage: {recovery:?}");
            let seqs: Vec<u64> = replayed.iter().map(|r| r.0).collect();
            for seq in start.seq + 1..=model.synced {
                assert!(seqs.contains(&seq), "synced commit {seq} is lost");
            }
            self.seen.damage += 1;
            return None;
        }
        for (i, (seq, ..)) in replayed.iter().enumerate() {
            assert_eq!(*seq, start.seq + 1 + i as u64, "not a prefix");
        }
        let last = recovery.last_seq;
        assert_eq!(last, start.seq + replayed.len() as u64);
        assert!(last >= model.synced, "{last} of {} synced", model.synced);
        assert!(recovery.mark <= last);
        assert_eq!((log.committed_seq(), log.synced_seq()), (last, last));
        self.seen.torn += u64::from(recovery.torn.is_some());
        self.seen.lost += u64::from(last < answered);
        self.seen.rewritten += recovery.rewritten;
        model.commits.truncate(last as usize);
        model.refs.retain(|seq, _| *seq <= start.seq);
        model
            .refs
            .extend(replayed.into_iter().map(|(seq, _, r)| (seq, r)));
        model.synced = last;
        model.sync_failed = false;
        model.recovery_failed = false;
        Some(log)
    }

    /// After a close everything is known to be on disk: nothing is written again.
    fn close(&mut self, log: &Log) {
        self.disk.set_faults(Faults::default());
        log.close().unwrap();
        self.model.synced = self.model.commits.len() as u64;
        self.disk = self.disk.power_cut();
        let mut last = self.model.start.seq;
        let (_, recovery) = Log::open(self.device(), self.options.clone(), self.model.start, |r| {
            last = r.seq;
            Ok::<_, Error>(())
        })
        .unwrap();
        assert_eq!(last, self.model.synced);
        assert_eq!(recovery.mark, last);
        assert_eq!(recovery.rewritten, 0);
        if !self.model.sync_ever_failed {
            assert_eq!(recovery.torn, None);
        }
        assert_eq!(recovery.damage, []);
    }
}

fn run(seed: u64) -> (Seen, u64) {
    let mut history = History::new(seed);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| history.run()));
    match result {
        Ok(seen) => (seen, history.disk.trace_hash()),
        Err(panic) => {
            eprintln!("failed with POME_SEED={}", history.seed);
            std::panic::resume_unwind(panic)
        }
    }
}

fn wanted(default: u64) -> (u64, u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse().ok());
    match number("POME_SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, number("POME_HISTORIES").unwrap_or(default)),
    }
}

#[test]
fn recovery_is_a_prefix_that_contains_all_that_was_synced() {
    let (first, end) = wanted(10_000);
    let next = AtomicU64::new(first);
    let total = parking_lot::Mutex::new(Seen::default());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, |n| n.get()) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let (seen, _) = run(seed);
                    let mut t = total.lock();
                    t.commits += seen.commits;
                    t.cuts += seen.cuts;
                    t.kills += seen.kills;
                    t.torn += seen.torn;
                    t.lost += seen.lost;
                    t.rewritten += seen.rewritten;
                    t.full += seen.full;
                    t.failed_writes += seen.failed_writes;
                    t.poisoned += seen.poisoned;
                    t.recovery_interrupted += seen.recovery_interrupted;
                    t.damage += seen.damage;
                }
            });
        }
    });
    let t = total.into_inner();
    println!("{t:?}");
    if end - first >= 10_000 {
        // Histories in which nothing happens prove nothing.
        for (what, count) in [
            ("cuts", t.cuts),
            ("kills", t.kills),
            ("torn", t.torn),
            ("lost", t.lost),
            ("rewritten", t.rewritten),
            ("full", t.full),
            ("failed writes", t.failed_writes),
            ("poisoned", t.poisoned),
            ("recovery interrupted", t.recovery_interrupted),
            ("damage", t.damage),
        ] {
            assert!(count > 50, "{what} happened {count} times");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let hashes: Vec<u64> = (0..50).map(|seed| run(seed).1).collect();
    for (seed, hash) in hashes.iter().enumerate() {
        assert_eq!(run(seed as u64).1, *hash, "seed {seed}");
    }
    let mut distinct = hashes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), hashes.len());
}
