//! What opens a store.

use crate::{files, key, live, open, options, other_key, read};
use pome_storage::{Batch, Durability, Key, Options, Space, Store, VALUE_BYTES_MAX};
use pome_wal::SimDevice;
use std::sync::Arc;

fn refused(device: &SimDevice, key: Option<Key>) -> &'static str {
    for read_only in [false, true] {
        let mut options = options(key.clone());
        options.read_only = read_only;
        let before = files(device);
        let error = Store::open_on(Arc::new(device.clone()), options).unwrap_err();
        assert_eq!(
            files(device),
            before,
            "a store that was refused was touched"
        );
        if read_only {
            return error.code();
        }
    }
    unreachable!()
}

#[test]
fn a_key_opens_its_own_store_and_no_other() {
    let device = SimDevice::new(1);
    live(&device, Some(key()), 30);
    let state = read(&open(&device, Some(key())).unwrap());
    let passphrase = Key::from_passphrase(b"seven sevens").unwrap();
    assert_eq!(refused(&device, None), "KEY_NEEDED");
    assert_eq!(refused(&device, Some(other_key())), "WRONG_KEY");
    assert_eq!(refused(&device, Some(passphrase)), "WRONG_KEY");
    let store = open(&device, Some(key())).unwrap();
    assert_eq!(read(&store), state);
    assert!(store.info().unwrap().encrypted);

    let plain = SimDevice::new(1);
    live(&plain, None, 30);
    assert_eq!(refused(&plain, Some(key())), "NOT_ENCRYPTED");
    let store = open(&plain, None).unwrap();
    assert_eq!(read(&store), state);
    assert!(!store.info().unwrap().encrypted);
}

/// What seals it must not make it too long for the log.
#[test]
fn the_longest_value_can_be_sealed() {
    let device = SimDevice::new(1);
    let longest = crate::value("longest", VALUE_BYTES_MAX);
    let store = open(&device, Some(key())).unwrap();
    let mut batch = Batch::new();
    batch.put(Space(1), &b"longest"[..], longest.clone());
    store.commit(batch, Durability::Buffered).unwrap();
    assert!(store.get(Space(1), b"longest").unwrap() == Some(longest.clone()));
    let end = VALUE_BYTES_MAX - 5;
    let part = store.get_part(Space(1), b"longest", end..usize::MAX);
    assert_eq!(part.unwrap().unwrap().bytes, longest.slice(end..));
}

#[test]
fn a_passphrase_opens_what_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let with = |phrase: &[u8]| {
        let mut options = Options::default();
        options.key = Some(Key::from_passphrase(phrase).unwrap());
        Store::open(folder.path(), options)
    };
    with(b"correct horse").unwrap().close().unwrap();
    with(b"correct horse").unwrap().close().unwrap();
    assert_eq!(with(b"correct horsf").unwrap_err().code(), "WRONG_KEY");
}

#[test]
fn a_backup_is_opened_by_the_key_of_its_day() {
    let (device, backup) = (SimDevice::new(1), SimDevice::new(2));
    live(&device, Some(key()), 30);
    let store = open(&device, Some(key())).unwrap();
    let restored = |seed| {
        let device = SimDevice::new(seed);
        Store::restore_on(&backup, &device, &mut |_, _| {}).unwrap();
        device
    };
    store.backup_on(&backup, &mut |_, _| {}).unwrap();
    let before = restored(3);
    store.rekey(&other_key()).unwrap();
    store.backup_on(&backup, &mut |_, _| {}).unwrap();
    let after = restored(4);
    assert_eq!(refused(&before, Some(other_key())), "WRONG_KEY");
    assert_eq!(refused(&after, Some(key())), "WRONG_KEY");
    assert_eq!(refused(&after, None), "KEY_NEEDED");
    let state = read(&store);
    for (device, key) in [(before, key()), (after, other_key())] {
        let store = open(&device, Some(key)).unwrap();
        assert!(store.is_recovering());
        assert_eq!(read(&store), state);
        assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
    }
}

/// A making that was cut short is begun again, with the key that is given then; never without one.
#[test]
fn an_unfinished_encrypted_store_is_not_made_plain() {
    let mut cut = 0;
    for stop in 1.. {
        let device = SimDevice::new(stop);
        let mut faults = pome_wal::Faults::default();
        faults.stop_at = Some(stop);
        device.set_faults(faults);
        let whole = open(&device, Some(key())).is_ok_and(|store| store.close().is_ok());
        let fired = device.faults_fired() > 0;
        let device = device.power_cut();
        if let Err(e) = open(&device, None) {
            cut += 1;
            assert_eq!(e.code(), "KEY_NEEDED", "stopped at {stop}");
            open(&device, Some(key())).unwrap();
        } else {
            assert!(!whole, "stopped at {stop}");
        }
        if !fired {
            break;
        }
    }
    assert!(
        cut > 3,
        "{cut} makings were cut short after the superblock was there"
    );
}
