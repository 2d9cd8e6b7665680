//! Encrypted stores: what opens them, what lies on disk, what is noticed, and that another program can read them.
#![allow(
    clippy::unwrap_used,
    reason = "a test that panics says where; what is unwrapped is what it checks"
)]

mod hidden;
mod keys;
mod reader;
mod rekey;
mod tamper;

use bytes::Bytes;
use pome_storage::{Batch, Durability, Key, Options, Space, Store};
use pome_wal::{Device, SimDevice};
use std::{collections::BTreeMap, io::IoSlice, path::Path, sync::Arc};

/// All files of a folder.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// All that a store holds: by space and key.
pub(crate) type State = BTreeMap<(u64, Vec<u8>), Bytes>;

pub(crate) const KEY: [u8; 32] = [7; 32];

pub(crate) fn key() -> Key {
    Key::from_key_file(&KEY).unwrap()
}

pub(crate) fn other_key() -> Key {
    Key::from_key_file(&[8; 32]).unwrap()
}

pub(crate) fn options(key: Option<Key>) -> Options {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(3);
    options.log_segment_bytes = 4096;
    options.payload_segment_bytes = 16 << 10;
    options.cache_bytes = 64 << 10;
    options.key = key;
    options
}

pub(crate) fn open(device: &SimDevice, key: Option<Key>) -> Result<Store, pome_storage::Error> {
    Store::open_on(Arc::new(device.clone()), options(key))
}

pub(crate) fn files(device: &SimDevice) -> Files {
    let names = device.list().unwrap();
    names
        .into_iter()
        .map(|name| (name.clone(), device.bytes(&name).unwrap()))
        .collect()
}

/// A copy of a store that was written once. `POME_BLESS=1` writes the one that is as stores are written now, if it is not there.
pub(crate) fn golden(name: &str) -> SimDevice {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/encrypted")
        .join(name);
    if std::env::var_os("POME_BLESS").is_some() && !folder.exists() {
        let device = SimDevice::new(1);
        live(&device, Some(key()), 20);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in files(&device) {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let device = SimDevice::new(2);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let bytes = std::fs::read(entry.path()).unwrap();
        let file = device.open(&name, true).unwrap();
        file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
        file.sync().unwrap();
    }
    device.sync_dir().unwrap();
    device
}

/// Everything the store shows of its first few spaces.
pub(crate) fn read(store: &Store) -> State {
    let snapshot = store.snapshot();
    let mut state = State::new();
    for space in 0..4 {
        for entry in snapshot.range(Space(space), ..) {
            let (key, value) = entry.unwrap();
            state.insert((space, key.to_vec()), value);
        }
        let mut scan = snapshot.scan(Space(space), ..);
        let mut lent = 0;
        while let Some((key, value)) = scan.next_entry().unwrap() {
            let known = state.get(&(space, key.to_vec()));
            assert_eq!(known.map(|known| &known[..]), Some(value));
            lent += 1;
        }
        let own = state.keys().filter(|(own, _)| *own == space);
        assert_eq!(own.count(), lent);
    }
    state
}

/// A value that is compared, not guessed: of `len` bytes, another for each name.
pub(crate) fn value(name: &str, len: usize) -> Bytes {
    name.bytes().cycle().take(len).collect::<Vec<_>>().into()
}

/// A life with everything in it: small and large values, deletions of points and ranges, two checkpoints, a reopening, and commits after it.
pub(crate) fn live(device: &SimDevice, key: Option<Key>, keys: u64) {
    let store = open(device, key.clone()).unwrap();
    for part in 0..3 {
        for n in 0..keys {
            let mut batch = Batch::new();
            let name = format!("quince-{part}-{n}");
            batch.put(Space(1), name.as_bytes(), value(&name, n as usize % 90));
            if n % 16 == 3 {
                batch.put(Space(2), name.as_bytes(), value(&name, 1024 + n as usize));
                batch.put(Space(2), &b"last"[..], value(&name, 3000));
            }
            if n % 7 == 5 {
                batch.delete(Space(1), format!("quince-{part}-{}", n - 1));
            }
            store.commit(batch, Durability::Buffered).unwrap();
        }
        let mut batch = Batch::new();
        batch.delete_range(Space(1), &b"quince-0-1"[..], &b"quince-0-2"[..]);
        batch.put(Space(3), vec![part; 700], Bytes::new());
        store.commit(batch, Durability::Synced).unwrap();
        if part < 2 {
            store.checkpoint().unwrap();
        }
    }
    store.close().unwrap();
    drop(store);
    let store = open(device, key).unwrap();
    for twin in ["twin-1", "twin-2"] {
        let mut batch = Batch::new();
        batch.put(Space(0), twin.as_bytes(), value(twin, 40));
        store.commit(batch, Durability::Buffered).unwrap();
    }
    let mut batch = Batch::new();
    batch.put(Space(0), &b"after"[..], value("reopening", 40));
    batch.put(Space(2), &b"after"[..], value("reopening", 5000));
    batch.delete_range(Space(1), &b"quince-2-0"[..], &b"quince-2-1"[..]);
    store.commit(batch, Durability::Synced).unwrap();
    store.close().unwrap();
}
