//! A store whose folder was copied is noticed; one that was moved is not.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_storage::{Batch, Durability, Options, Space, Store};
use pome_test_support::skipped;
use pome_wal::{Faults, SimDevice};
use std::{fs, path::Path, process::Command, sync::Arc};

fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.log_segment_bytes = 4096;
    options
}

fn put(store: &Store, key: &[u8], value: impl Into<bytes::Bytes>) {
    let mut batch = Batch::new();
    batch.put(Space(1), key, value);
    store.commit(batch, Durability::Synced).unwrap();
}

fn make(dir: &Path) {
    let store = Store::open(dir, quiet()).unwrap();
    put(&store, b"a", &b"1"[..]);
    assert!(!store.is_recovering());
    assert_eq!(store.recovering(), None);
    assert!(!store.adopt().unwrap(), "there is nothing to adopt");
    store.close().unwrap();
}

fn is_recovering(dir: &Path) -> bool {
    let store = Store::open(dir, quiet()).unwrap();
    assert_eq!(store.get(Space(1), b"a").unwrap().unwrap(), "1");
    let is = store.is_recovering();
    store.close().unwrap();
    is
}

fn copy(from: &Path, to: &Path, how: &[&str]) {
    let done = Command::new(how[0])
        .args(&how[1..])
        .arg(from)
        .arg(to)
        .status();
    assert!(done.unwrap().success());
}

#[test]
fn a_copy_is_noticed_and_a_move_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (original, moved) = (dir.path().join("original"), dir.path().join("moved"));
    make(&original);
    assert!(!is_recovering(&original));
    fs::rename(&original, &moved).unwrap();
    assert!(!is_recovering(&moved), "a move is no copy");
    for (n, how) in [&["cp", "-a"][..], &["cp", "-r"]].into_iter().enumerate() {
        let copied = dir.path().join(format!("copy-{n}"));
        copy(&moved, &copied, how);
        assert!(is_recovering(&copied), "{how:?}");
        assert!(is_recovering(&copied), "it stays so");
        assert!(!is_recovering(&moved), "the original has nothing of it");
        let store = Store::open(&copied, quiet()).unwrap();
        assert_eq!(store.recovering(), Some(1));
        put(&store, b"b", vec![7; 5000]);
        assert!(store.adopt().unwrap());
        assert!(!store.is_recovering());
        store.close().unwrap();
        assert!(!is_recovering(&copied), "adopted once and for all");
        let again = dir.path().join(format!("copy-{n}-copied"));
        copy(&copied, &again, how);
        let store = Store::open(&again, quiet()).unwrap();
        assert_eq!(store.recovering(), Some(2), "another time");
        let report = store.check(&mut |_, _| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
    }
}

#[test]
fn a_copy_to_another_filesystem_is_noticed() {
    let Ok(shm) = tempfile::tempdir_in("/dev/shm") else {
        skipped(
            "a_copy_to_another_filesystem_is_noticed",
            "there is no /dev/shm",
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    make(&original);
    let copied = shm.path().join("copy");
    copy(&original, &copied, &["cp", "-a"]);
    assert!(is_recovering(&copied));
}

#[test]
fn one_that_is_only_read_is_recovering_as_well() {
    let device = SimDevice::new(1);
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    put(&store, b"a", &b"1"[..]);
    store.close().unwrap();
    let copied = device.copy(2, true);
    let before = copied.bytes("superblock").unwrap();
    let mut look = quiet();
    look.read_only = true;
    let store = Store::open_on(Arc::new(copied.clone()), look).unwrap();
    assert!(store.is_recovering());
    assert_eq!(store.adopt().unwrap_err().code(), "EROFS");
    drop(store);
    assert_eq!(
        copied.bytes("superblock").unwrap(),
        before,
        "nothing was written"
    );
}

#[test]
fn a_copy_on_a_full_disk_is_recovering() {
    let device = SimDevice::new(3);
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    put(&store, b"a", &b"1"[..]);
    store.close().unwrap();
    let copied = device.copy(4, false);
    let mut faults = Faults::default();
    faults.space_bytes = Some(0);
    copied.set_faults(faults);
    let store = Store::open_on(Arc::new(copied.clone()), quiet()).unwrap();
    assert!(store.is_recovering());
    assert_eq!(store.get(Space(1), b"a").unwrap().unwrap(), "1");
    assert_eq!(store.adopt().unwrap_err().code(), "ENOSPC");
    assert!(store.is_recovering());
    copied.set_faults(Faults::default());
    assert!(store.adopt().unwrap());
    std::mem::forget(store);
    let store = Store::open_on(Arc::new(copied.power_cut()), quiet()).unwrap();
    assert!(!store.is_recovering());
}

/// Crashes in every device call of `act` on a device that `make` makes, and shows what is left to `look`.
fn crash_everywhere(
    make: impl Fn(u64) -> SimDevice,
    act: impl Fn(&SimDevice) -> bool,
    look: impl Fn(Store, bool),
) {
    for cut in [false, true] {
        for stop in 1.. {
            let device = make(stop);
            let mut faults = Faults::default();
            faults.stop_at = Some(stop);
            device.set_faults(faults);
            let done = act(&device);
            let stopped = device.faults_fired() > 0;
            let device = if cut {
                device.power_cut()
            } else {
                device.kill()
            };
            let store = Store::open_on(Arc::new(device), quiet()).unwrap();
            assert_eq!(store.get(Space(1), b"a").unwrap().unwrap(), "1");
            let report = store.check(&mut |_, _| {}).unwrap();
            assert!(report.is_clean(), "{:?}", report.findings);
            look(store, done);
            if !stopped {
                assert!(stop > 10);
                break;
            }
        }
    }
}

fn copied(seed: u64) -> SimDevice {
    let device = SimDevice::new(seed);
    let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
    put(&store, b"a", &b"1"[..]);
    store.close().unwrap();
    device.copy(seed + 1, seed.is_multiple_of(2))
}

#[test]
fn a_crash_while_a_copy_is_noticed_hides_nothing() {
    crash_everywhere(
        copied,
        |device| {
            let store = Store::open_on(Arc::new(device.clone()), quiet());
            let opened = store.is_ok();
            std::mem::forget(store);
            opened
        },
        |store, _| {
            assert!(store.is_recovering());
            assert!(store.adopt().unwrap());
        },
    );
}

#[test]
fn a_crash_while_a_store_is_adopted() {
    crash_everywhere(
        |seed| {
            let device = copied(seed);
            let store = Store::open_on(Arc::new(device.clone()), quiet()).unwrap();
            store.close().unwrap();
            device
        },
        |device| {
            let Ok(store) = Store::open_on(Arc::new(device.clone()), quiet()) else {
                return false;
            };
            assert!(store.is_recovering());
            let adopted = store.adopt().is_ok();
            std::mem::forget(store);
            adopted
        },
        |store, adopted| {
            if adopted {
                assert!(!store.is_recovering(), "it was answered, so it is on disk");
            }
        },
    );
}
