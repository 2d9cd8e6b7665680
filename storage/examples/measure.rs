//! Measures the store on a folder: `cargo run --release -p pome-storage --example measure [folder] [encrypted]`.
//!
//! The work is that of the table in `docs/performance.md`: 32-byte keys with 100-byte values, and values of 64 KiB. Prints one line per figure.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pome_storage::{Batch, Durability, Key, Options, Space, Store};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    path::Path,
    time::{Duration, Instant},
};

const SPACE: Space = Space(1);

fn encrypted() -> bool {
    std::env::args().any(|arg| arg == "encrypted")
}

fn options() -> Options {
    let mut options = Options::default();
    options.key = encrypted().then(|| Key::from_key_file(&[7; 32]).unwrap());
    options
}

fn key(n: u64) -> [u8; 32] {
    let mut key = [0; 32];
    ChaCha8Rng::seed_from_u64(n).fill_bytes(&mut key[..24]);
    key[24..].copy_from_slice(&n.to_be_bytes());
    key
}

fn value() -> Bytes {
    let mut value = vec![0; 100];
    ChaCha8Rng::seed_from_u64(9).fill_bytes(&mut value);
    value.into()
}

fn report(what: &str, count: u64, took: Duration) {
    println!("{what:<46} {:>12.0}/s", count as f64 / took.as_secs_f64());
}

fn puts(store: &Store, from: u64, count: u64, per_batch: u64, durability: Durability) -> Duration {
    let value = value();
    let keys: Vec<_> = (from..from + count).map(key).collect();
    let begin = Instant::now();
    for keys in keys.chunks(per_batch as usize) {
        let mut batch = Batch::new();
        for key in keys {
            batch.put(SPACE, key, value.clone());
        }
        store.commit(batch, durability).unwrap();
    }
    begin.elapsed()
}

fn gets(store: &Store, among: u64, count: u64) -> Duration {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let keys: Vec<_> = (0..count)
        .map(|_| key(rng.random_range(0..among)))
        .collect();
    let begin = Instant::now();
    for key in &keys {
        assert!(store.get(SPACE, key).unwrap().is_some());
    }
    begin.elapsed()
}

fn settle(store: &Store) {
    store.sync().unwrap();
    while store.checkpoint().unwrap() {}
}

fn small(dir: &Path) {
    let store = Store::open(dir, options()).unwrap();
    let count = 100_000;
    report(
        "buffered puts of 100 B",
        count,
        puts(&store, 0, count, 1, Durability::Buffered),
    );
    report(
        "random get, from memory",
        200_000,
        gets(&store, count, 200_000),
    );
    report(
        "durable puts, one thread",
        5_000,
        puts(&store, 0, 5_000, 1, Durability::Synced),
    );
    let begin = Instant::now();
    let before = store.info().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16u64 {
            let store = &store;
            scope.spawn(move || puts(store, thread * 2_000, 2_000, 1, Durability::Synced));
        }
    });
    report("durable puts, 16 threads", 32_000, begin.elapsed());
    let after = store.info().unwrap();
    println!(
        "{:<46} {:>12.1}",
        "  commits per sync",
        (after.commits_since_open - before.commits_since_open) as f64
            / (after.syncs_since_open - before.syncs_since_open) as f64
    );
    let count = 1_000_000;
    report(
        "puts in batches of 1,000, buffered",
        count,
        puts(&store, 0, count, 1_000, Durability::Buffered),
    );
    report(
        "puts in batches of 1,000, durable",
        200_000,
        puts(&store, 0, 200_000, 1_000, Durability::Synced),
    );
    settle(&store);
    report(
        "random get, from tables",
        200_000,
        gets(&store, count, 200_000),
    );
    report(
        "random get, from tables, again",
        500_000,
        gets(&store, count, 500_000),
    );
    let begin = Instant::now();
    let missing = (0..200_000u64).filter(|n| store.contains(SPACE, &key(n + (1 << 40))).unwrap());
    assert_eq!(missing.count(), 0);
    report("random get of missing keys", 200_000, begin.elapsed());
    let begin = Instant::now();
    let snapshot = store.snapshot();
    assert_eq!(
        snapshot.range(SPACE, ..).map(Result::unwrap).count() as u64,
        count
    );
    report("scan", count, begin.elapsed());
    drop(snapshot);
    let info = store.info().unwrap();
    println!(
        "{:<46} {:>12.1} MiB",
        "disk, 1M keys (126 MiB of data)",
        info.file_bytes as f64 / 1048576.0
    );
    store.close().unwrap();
    drop(store);
    let begin = Instant::now();
    let store = Store::open(dir, options()).unwrap();
    println!(
        "{:<46} {:>12.2} ms",
        "reopen, 1M keys",
        begin.elapsed().as_secs_f64() * 1e3
    );
    assert!(store.get(SPACE, &key(5)).unwrap().is_some());
    println!(
        "{:<46} {:>12.2} ms",
        "reopen and first get",
        begin.elapsed().as_secs_f64() * 1e3
    );
    puts(&store, 0, 60_000, 1_000, Durability::Buffered);
    store.sync().unwrap();
    std::mem::forget(store);
}

fn large(dir: &Path) {
    let store = Store::open(dir, options()).unwrap();
    let mut bytes = vec![0; 64 << 10];
    ChaCha8Rng::seed_from_u64(9).fill_bytes(&mut bytes);
    let value = Bytes::from(bytes);
    let mib = |count: u64, took: Duration| count as f64 / 16.0 / took.as_secs_f64();
    let begin = Instant::now();
    for round in 0..64u64 {
        let mut batch = Batch::new();
        for n in 0..64 {
            batch.put(SPACE, key(round * 64 + n), value.clone());
        }
        store.commit(batch, Durability::Synced).unwrap();
    }
    println!(
        "{:<46} {:>12.0} MiB/s",
        "64 KiB values, durable batches of 64",
        mib(4096, begin.elapsed())
    );
    let begin = Instant::now();
    for n in 0..512u64 {
        let mut batch = Batch::new();
        batch.put(SPACE, key(n), value.clone());
        store.commit(batch, Durability::Synced).unwrap();
    }
    println!(
        "{:<46} {:>12.0} MiB/s",
        "64 KiB values, each durable",
        mib(512, begin.elapsed())
    );
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let keys: Vec<_> = (0..8_000).map(|_| key(rng.random_range(0..4096))).collect();
    for round in ["first", "warm"] {
        let begin = Instant::now();
        for key in &keys {
            assert_eq!(store.get(SPACE, key).unwrap().unwrap().len(), 64 << 10);
        }
        println!(
            "{:<46} {:>12.0} MiB/s",
            format!("64 KiB values, random get, {round}"),
            mib(8_000, begin.elapsed())
        );
    }
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let parts: Vec<_> = (0..100_000)
        .map(|_| (rng.random_range(0..4096), rng.random_range(0..16) * 4096))
        .map(|(n, start)| (key(n), start..start + 4096))
        .collect();
    let begin = Instant::now();
    for (key, part) in &parts {
        let part = store.get_part(SPACE, key, part.clone()).unwrap().unwrap();
        assert_eq!(part.bytes.len(), 4096);
    }
    report("4 KiB of 64 KiB values, random", 100_000, begin.elapsed());
    settle(&store);
    let info = store.info().unwrap();
    println!(
        "{:<46} {:>12.1} MiB",
        "disk, 256 MiB of data",
        info.file_bytes as f64 / 1048576.0
    );
    store.close().unwrap();
}

fn main() {
    let root = std::env::args().nth(1).filter(|arg| arg != "encrypted");
    let dir = match root {
        Some(root) => tempfile::tempdir_in(root).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    small(&dir.path().join("small"));
    large(&dir.path().join("large"));
}
