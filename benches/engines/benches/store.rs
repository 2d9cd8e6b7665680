//! What single calls of the block store cost where the disk does not decide: `cargo bench -p pome-bench-engines`. What the disk decides is measured by the
//! program beside this, in turns with other engines.
#![allow(clippy::unwrap_used, reason = "a benchmark that fails says where")]
#![allow(missing_docs, reason = "criterion writes the main function")]

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pome_storage::{Batch, Durability, Options, Space, Store};
use std::hint::black_box;
use tempfile::TempDir;

const SPACE: Space = Space(7);
/// Keys in a store that is read.
const KEYS: u64 = 100_000;
const LARGE: usize = 64 << 10;

/// A key of 32 bytes; neighbours in number are far from each other in order.
fn key(n: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key[8..16].copy_from_slice(&n.to_be_bytes());
    key
}

fn open(background: bool) -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.background = background;
    let store = Store::open(dir.path(), options).unwrap();
    (dir, store)
}

/// A store with `KEYS` small values, in the memtable or in a table.
fn filled(checkpoint: bool) -> (TempDir, Store) {
    let (dir, store) = open(false);
    for start in (0..KEYS).step_by(1000) {
        let mut batch = Batch::new();
        (start..start + 1000).for_each(|n| {
            batch.put(SPACE, key(n), vec![n as u8; 100]);
        });
        store.commit(batch, Durability::Buffered).unwrap();
    }
    if checkpoint {
        store.checkpoint().unwrap();
    }
    (dir, store)
}

/// The next of the numbers below `end`, in no order.
fn next(state: &mut u64, end: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 33) % end
}

fn commits(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit, buffered");
    let shapes = [
        ("100 B", 1, 100),
        ("1,000 × 100 B", 1000, 100),
        ("64 KiB", 1, LARGE),
    ];
    for (name, values, bytes) in shapes {
        let (_dir, store) = open(true);
        let value = vec![7; bytes];
        let mut n = 0;
        group.throughput(Throughput::Elements(values));
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    let mut batch = Batch::new();
                    for _ in 0..values {
                        n += 1;
                        batch.put(SPACE, key(n % KEYS), value.clone());
                    }
                    batch
                },
                |batch| store.commit(batch, Durability::Buffered).unwrap(),
                BatchSize::SmallInput,
            );
        });
    }
}

fn reads(c: &mut Criterion) {
    for (place, checkpoint) in [("memory", false), ("a table", true)] {
        let (_dir, store) = filled(checkpoint);
        let mut state = 1;
        let mut group = c.benchmark_group(format!("100 B values in {place}"));
        group.bench_function("get", |b| {
            b.iter(|| {
                store
                    .get(SPACE, &key(next(&mut state, KEYS)))
                    .unwrap()
                    .unwrap()
            });
        });
        group.bench_function("get of a key that is not there", |b| {
            b.iter(|| {
                let absent = key(KEYS + next(&mut state, KEYS));
                assert!(store.get(SPACE, &absent).unwrap().is_none());
            });
        });
        group.bench_function("snapshot", |b| b.iter(|| black_box(store.snapshot())));
        group.throughput(Throughput::Elements(1000));
        group.bench_function("scan of 1,000", |b| {
            let snapshot = store.snapshot();
            b.iter(|| {
                let from = key(next(&mut state, KEYS / 2));
                let entries = snapshot.range(SPACE, &from[..]..).take(1000);
                entries.map(|entry| entry.unwrap().1.len()).sum::<usize>()
            });
        });
    }
    let (_dir, store) = open(false);
    let mut batch = Batch::new();
    (0..64).for_each(|n| {
        batch.put(SPACE, key(n), vec![n as u8; LARGE]);
    });
    store.commit(batch, Durability::Buffered).unwrap();
    let mut state = 1;
    let mut group = c.benchmark_group("64 KiB values");
    group.throughput(Throughput::Bytes(LARGE as u64));
    group.bench_function("get", |b| {
        b.iter(|| {
            store
                .get(SPACE, &key(next(&mut state, 64)))
                .unwrap()
                .unwrap()
        });
    });
}

fn opening(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    for (name, checkpoint) in [
        ("100,000 values in the log", false),
        ("100,000 values in a table", true),
    ] {
        let (dir, store) = filled(checkpoint);
        store.close().unwrap();
        drop(store);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let mut options = Options::default();
                options.background = false;
                options.read_only = true;
                Store::open(dir.path(), options).unwrap()
            });
        });
    }
}

criterion_group!(benches, commits, reads, opening);
criterion_main!(benches);
