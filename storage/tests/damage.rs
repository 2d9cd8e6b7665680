//! Damage that is told, kept, accepted; and a damaged table that costs no living value.
#![allow(clippy::unwrap_used)]

use pome_storage::{Batch, Durability, Error, Options, Space, Store};
use pome_wal::{Device, SimDevice};
use std::{fs, sync::Arc, time::Duration};

fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options
}

fn put(store: &Store, key: &[u8], value: Vec<u8>) {
    let mut batch = Batch::new();
    batch.put(Space(1), key, value);
    store.commit(batch, Durability::Synced).unwrap();
}

#[test]
fn living_values_stay_when_an_older_table_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quiet();
    options.payload_segment_bytes = 64 << 10;
    let store = Store::open(dir.path(), options.clone()).unwrap();
    for key in 0..50u8 {
        put(&store, &[key], vec![key; 20]);
    }
    store.checkpoint().unwrap();
    store.close().unwrap();
    let name = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.to_string_lossy().contains("table-"))
        .unwrap();
    let mut bytes = fs::read(&name).unwrap();
    bytes[100] ^= 1;
    fs::write(&name, bytes).unwrap();

    let store = Store::open(dir.path(), options).unwrap();
    let refused = store.get(Space(1), &[0]).unwrap_err();
    assert_eq!(refused.code(), "CORRUPT");
    put(&store, &[0], vec![1; 20]);
    for key in 100..110u8 {
        put(&store, &[key], vec![key; 40_000]);
    }
    store.checkpoint().unwrap();
    put(&store, &[200], vec![2; 20]);
    drop(store.checkpoint());
    for key in 100..110u8 {
        assert_eq!(
            store.get(Space(1), &[key]).unwrap().unwrap(),
            vec![key; 40_000]
        );
    }
}

#[test]
fn damage_is_told_until_it_is_accepted() {
    let device = SimDevice::new(7);
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    for key in 0..20u8 {
        put(&store, &[key], vec![key; 100]);
    }
    std::mem::forget(store);
    let device = device.kill();
    let log = device
        .list()
        .unwrap()
        .into_iter()
        .find(|n| n.starts_with("log-"))
        .unwrap();
    assert!(device.flip_bit(&log, 8 * 1000));

    let mut look = quiet();
    look.read_only = true;
    let store = Store::open_on(Arc::new(device.clone()), look).unwrap();
    assert_eq!(store.damage().len(), 1);
    assert_eq!(store.accept_damage().unwrap_err().code(), "EROFS");
    drop(store);
    for _ in 0..2 {
        let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
        assert!(store.is_damaged());
        store.close().unwrap();
    }
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    let accepted = store.accept_damage().unwrap();
    assert_eq!(accepted.len(), 1);
    assert!(!accepted[0].seqs.is_empty());
    assert!(!store.is_damaged() && store.damage().is_empty());
    std::mem::forget(store);
    let store = Store::open_on(Arc::new(device.power_cut()), quiet()).unwrap();
    assert!(!store.is_damaged());
    assert_eq!(store.get(Space(1), &[19]).unwrap().unwrap(), vec![19; 100]);
    put(&store, &[0], vec![9; 9]);
}

#[test]
fn without_a_background_no_commit_is_held() {
    let mut options = quiet();
    options.checkpoint_log_bytes = 1000;
    let store = Store::open_on(Arc::new(SimDevice::new(1)), options).unwrap();
    let begun = std::time::Instant::now();
    for key in 0..100u8 {
        put(&store, &[key], vec![key; 500]);
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    store.close().unwrap();
    assert!(matches!(store.accept_damage(), Err(Error::Closed)));
}
