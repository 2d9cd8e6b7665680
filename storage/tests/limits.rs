//! A disk that is full, a sync that fails, and how many files are open: on a real filesystem where one can be had.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_storage::{Batch, Durability, Error, Options, Space, Store};
use pome_test_support::skipped;
use pome_wal::{Device, Faults, SimDevice};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.log_segment_bytes = 64 << 10;
    options.payload_segment_bytes = 1 << 20;
    options
}

fn try_put(store: &Store, key: u32, len: usize, durability: Durability) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.put(Space(1), key.to_be_bytes(), vec![key as u8; len]);
    store.commit(batch, durability).map(drop)
}

/// What the store holds, checked to be what was put.
fn lengths(store: &Store) -> BTreeMap<Vec<u8>, usize> {
    let entries = store.snapshot().range(Space(1), ..);
    entries
        .map(|entry| {
            let (key, value) = entry.unwrap();
            assert!(value.iter().all(|byte| *byte == key[3]));
            (key.to_vec(), value.len())
        })
        .collect()
}

/// A filesystem of a few MiB in memory, gone when dropped. `None` where nobody may mount.
struct Small(PathBuf);

impl Small {
    fn new(dir: &Path) -> Option<Self> {
        let at = dir.join("small");
        fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m,mode=700", "pome-test"])
            .arg(&at)
            .output()
            .ok()?;
        mounted.status.success().then_some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_filesystem_fails_the_commit_alone() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Small::new(dir.path()) else {
        skipped(
            "a_full_filesystem_fails_the_commit_alone",
            "a tmpfs cannot be mounted here (it takes root)",
        );
        return;
    };
    let home = small.0.join("store");
    let store = Store::open(&home, quiet()).unwrap();
    let ballast = small.0.join("ballast");
    fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let mut wanted = BTreeMap::new();
    let mut put = |store: &Store, key: u32, len| {
        let done = try_put(store, key, len, Durability::Synced);
        if done.is_ok() {
            wanted.insert(key.to_be_bytes().to_vec(), len);
        }
        done
    };
    let mut key = 0;
    let full = loop {
        key += 1;
        if let Err(e) = put(&store, key, 100_000) {
            break e;
        }
        assert!(key < 200, "a disk of 8 MiB is never full");
    };
    assert_eq!(full.code(), "ENOSPC", "{full}");
    for _ in 0..5 {
        key += 1;
        assert_eq!(put(&store, key, 100_000).unwrap_err().code(), "ENOSPC");
    }
    // Small ones still have room in the log, which was written full beforehand.
    for _ in 0..20 {
        key += 1;
        put(&store, key, 50).unwrap();
    }
    let held = |store: &Store| {
        let mut held = lengths(store);
        held.retain(|_, len| *len > 0);
        held
    };
    // Nothing is lost by closing and opening it now, and it can be read.
    let before = held(&store);
    store.close().unwrap();
    let mut look = quiet();
    look.read_only = true;
    let store = Store::open(&home, look).unwrap();
    assert_eq!(held(&store), before);
    drop(store);
    let store = Store::open(&home, quiet()).unwrap();
    assert_eq!(held(&store), before);
    assert!(store.damage().is_empty());
    // Space returns.
    fs::remove_file(&ballast).unwrap();
    for _ in 0..5 {
        key += 1;
        put(&store, key, 100_000).unwrap();
    }
    store.checkpoint().unwrap();
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(held(&store), wanted);
    store.close().unwrap();
    let store = Store::open(&home, quiet()).unwrap();
    assert_eq!(held(&store), wanted);
}

#[test]
fn a_full_disk_fails_the_commit_alone() {
    let device = SimDevice::new(1);
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    let mut wanted = BTreeMap::new();
    let used: usize = device
        .list()
        .unwrap()
        .iter()
        .map(|name| device.bytes(name).unwrap().len())
        .sum();
    for round in 0..4u32 {
        let mut faults = Faults::default();
        faults.space_bytes = Some(used as u64 + u64::from(round + 1) * 300_000);
        device.set_faults(faults);
        let mut failed = 0;
        for n in 0..20 {
            let key = round * 100 + n;
            match try_put(&store, key, 50_000, Durability::Synced) {
                Ok(()) => {
                    wanted.insert(key.to_be_bytes().to_vec(), 50_000);
                }
                Err(e) => {
                    assert_eq!(e.code(), "ENOSPC", "{e}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 5);
        assert_eq!(lengths(&store), wanted);
    }
    device.set_faults(Faults::default());
    try_put(&store, 9999, 50_000, Durability::Synced).unwrap();
    std::mem::forget(store);
    let store = Store::open_on(Arc::new(device.power_cut()), quiet()).unwrap();
    wanted.insert(9999u32.to_be_bytes().to_vec(), 50_000);
    assert_eq!(lengths(&store), wanted);
}

/// Many threads whose commits one of them writes, while the disk is full now and then: each is told what became of its own.
#[test]
fn each_of_many_committers_is_told_what_became_of_its_commit() {
    for seed in 0..10 {
        let device = SimDevice::new(seed);
        let mut options = quiet();
        options.log_segment_bytes = 4 << 10;
        let store = Store::open_on(Arc::new(device.clone()), options.clone()).unwrap();
        let done = AtomicU32::new(0);
        let told: Vec<_> = thread::scope(|scope| {
            let committers: Vec<_> = (0..16u32)
                .map(|committer| {
                    let (store, done, device) = (&store, &done, &device);
                    scope.spawn(move || {
                        let mut put = BTreeMap::new();
                        for n in 0..40 {
                            let key = committer * 1000 + n;
                            // The longest are too large for a segment of the log.
                            let len = [10, 200, 700, 1500][n as usize % 4];
                            match try_put(store, key, len, Durability::Synced) {
                                Ok(()) => {
                                    let value = store.get(Space(1), &key.to_be_bytes()).unwrap();
                                    assert_eq!(value.map(|v| v.len()), Some(len));
                                    put.insert(key.to_be_bytes().to_vec(), len);
                                }
                                Err(e) => assert_eq!(e.code(), "ENOSPC", "{e}"),
                            }
                            let mut faults = Faults::default();
                            if done.fetch_add(1, Ordering::Relaxed) % 64 < 16 {
                                faults.space_bytes = Some(1);
                            }
                            device.set_faults(faults);
                        }
                        put
                    })
                })
                .collect();
            committers
                .into_iter()
                .map(|committer| committer.join().unwrap())
                .collect()
        });
        let wanted: BTreeMap<_, _> = told.into_iter().flatten().collect();
        assert!(
            (1..640).contains(&wanted.len()),
            "{} went well",
            wanted.len()
        );
        assert_eq!(lengths(&store), wanted);
        std::mem::forget(store);
        let store = Store::open_on(Arc::new(device.power_cut()), options).unwrap();
        assert_eq!(lengths(&store), wanted);
    }
}

#[test]
fn a_failed_sync_poisons_until_the_store_is_opened_again() {
    for seed in 0..50 {
        let device = SimDevice::new(seed);
        let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
        try_put(&store, 1, 3000, Durability::Synced).unwrap();
        let mut faults = Faults::default();
        faults.fail_sync = Some(1);
        device.set_faults(faults);
        let failed = try_put(&store, 2, 3000, Durability::Synced).unwrap_err();
        assert_eq!(failed.code(), "POISONED");
        // A second sync would answer "fine" though nothing is on disk: it is not asked.
        for durability in [Durability::Buffered, Durability::Synced] {
            let refused = try_put(&store, 3, 10, durability).unwrap_err();
            assert_eq!(refused.code(), "POISONED");
        }
        assert_eq!(store.sync().unwrap_err().code(), "POISONED");
        assert_eq!(store.checkpoint().unwrap_err().code(), "POISONED");
        assert_eq!(store.adopt().unwrap_err().code(), "POISONED");
        assert!(store.synced_seq().0 < 2);
        assert_eq!(lengths(&store)[&1u32.to_be_bytes().to_vec()], 3000);
        drop(store);
        let store = Store::open_on(Arc::new(device.power_cut()), quiet()).unwrap();
        let held = lengths(&store);
        assert_eq!(held[&1u32.to_be_bytes().to_vec()], 3000);
        assert!(!held.contains_key(3u32.to_be_bytes().as_slice()));
        try_put(&store, 4, 3000, Durability::Synced).unwrap();
    }
}

/// Descriptors of this process that lead into a folder.
fn descriptors(dir: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| fs::read_link(link.unwrap().path()).ok())
        .filter(|target| target.starts_with(dir))
        .count()
}

#[test]
fn the_files_that_are_open_do_not_grow_with_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quiet();
    options.payload_segment_bytes = 4096;
    options.log_segment_bytes = 4096;
    let store = Store::open(dir.path(), options).unwrap();
    // 100,000 spaces, as so many cores have, and a thousand segments with a value each.
    for thousand in 0..100u64 {
        let mut batch = Batch::new();
        for space in 0..1000 {
            batch.put(Space(2 + thousand * 1000 + space), *b"head", vec![7; 20]);
        }
        store.commit(batch, Durability::Buffered).unwrap();
        if thousand % 10 == 0 {
            store.checkpoint().unwrap();
        }
    }
    for n in 0..1000u32 {
        try_put(&store, n, 4000, Durability::Buffered).unwrap();
    }
    store.checkpoint().unwrap();
    assert!(store.info().unwrap().payload_segments > 900);
    for space in (2..100_002).step_by(7) {
        assert!(store.get(Space(space), b"head").unwrap().is_some());
    }
    assert_eq!(lengths(&store).len(), 1000);
    let open = descriptors(dir.path());
    assert!(open < 300, "{open} files are open");
}
