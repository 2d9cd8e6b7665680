//! Another key: the old one or the new one opens, whatever happens, and in the end only the new one.

use crate::{key, live, open, other_key, read};
use pome_storage::{Key, Store};
use pome_wal::{Device, Faults, SimDevice};
use std::io::IoSlice;

/// Which of the two keys open the store; what is in it must be there.
fn openers(device: &SimDevice, want: &crate::State) -> (bool, bool) {
    // Each gets a disk of its own, since an open writes.
    let opens = |key: Key| match open(&device.copy(1, true), Some(key)) {
        Ok(store) => {
            assert_eq!(&read(&store), want);
            true
        }
        Err(e) => {
            assert_eq!(e.code(), "WRONG_KEY");
            false
        }
    };
    (opens(key()), opens(other_key()))
}

fn prepared() -> (SimDevice, crate::State) {
    let device = SimDevice::new(5);
    live(&device, Some(key()), 12);
    let store = open(&device, Some(key())).unwrap();
    let state = read(&store);
    store.close().unwrap();
    (device, state)
}

#[test]
fn only_the_new_key_opens_afterwards() {
    let (device, state) = prepared();
    let store = open(&device, Some(key())).unwrap();
    store.rekey(&other_key()).unwrap();
    assert_eq!(read(&store), state);
    store.close().unwrap();
    assert_eq!(openers(&device, &state), (false, true));
    // Neither slot has the old key, so a broken one does not bring it back.
    for slot in 0..2u64 {
        let device = device.copy(1, true);
        let file = device.open("superblock", false).unwrap();
        file.write_at(&[IoSlice::new(&[9; 192])], slot * 4096)
            .unwrap();
        let error = open(&device, Some(key())).unwrap_err();
        assert!(["WRONG_KEY", "CORRUPT"].contains(&error.code()), "{error}");
    }
    let passphrase = Key::from_passphrase(b"a new one").unwrap();
    let store = open(&device, Some(other_key())).unwrap();
    store.rekey(&passphrase).unwrap();
    store.rekey(&key()).unwrap();
    drop(store);

    let plain = SimDevice::new(5);
    let store = open(&plain, None).unwrap();
    assert_eq!(store.rekey(&key()).unwrap_err().code(), "NOT_ENCRYPTED");
}

fn rekey_with(faults: Faults, device: &SimDevice) -> (Option<Store>, bool) {
    let store = open(device, Some(key())).unwrap();
    device.set_faults(faults);
    let done = store.rekey(&other_key()).is_ok();
    (Some(store), done)
}

#[test]
fn a_crash_at_any_call_leaves_one_key_that_opens() {
    let mut tally = std::collections::BTreeMap::<_, u64>::new();
    for stop in 1.. {
        let mut fired = false;
        for cut in 0..6 {
            let (device, state) = prepared();
            let mut faults = Faults::default();
            faults.stop_at = Some(stop);
            let (store, done) = rekey_with(faults, &device);
            fired |= device.faults_fired() > 0;
            let next = match cut {
                0 => device.kill(),
                _ => device.power_cut(),
            };
            std::mem::forget(store);
            let opens = openers(&next, &state);
            assert_ne!(
                opens.0, opens.1,
                "stopped at {stop}: one key opens, not {opens:?}"
            );
            assert!(!done || opens.1, "stopped at {stop}: it was answered");
            *tally.entry(opens).or_default() += 1;
        }
        if !fired {
            break;
        }
    }
    assert_eq!(
        tally.len(),
        2,
        "crashes before and after the change: {tally:?}"
    );
}

#[test]
fn an_error_at_any_call_leaves_one_key_that_opens() {
    for nth in 1.. {
        let (device, state) = prepared();
        let mut faults = Faults::default();
        faults.fail_call = Some(nth);
        let (store, done) = rekey_with(faults, &device);
        let fired = device.faults_fired() > 0;
        assert!(fired || done);
        std::mem::forget(store);
        let next = device.kill();
        let opens = openers(&next, &state);
        assert_ne!(
            opens.0, opens.1,
            "failed at {nth}: one key opens, not {opens:?}"
        );
        assert!(!done || opens.1, "failed at {nth}: it was answered");
        if !fired {
            break;
        }
    }
}
