//! Files of a drive, written and read.

use futures_util::TryStreamExt;
use pome_drive_fs::{GetOptions, Hyperdrive, ListOptions, PutOptions};
use std::collections::BTreeMap;

/// Paths and contents.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) async fn put(drive: &Hyperdrive, path: &str, bytes: &[u8]) {
    drive
        .put(path, bytes.to_vec(), PutOptions::default())
        .await
        .unwrap();
}

/// All files of a version. Nothing is waited for.
pub(crate) async fn read(drive: &Hyperdrive) -> Files {
    let now = GetOptions {
        no_wait: true,
        ..Default::default()
    };
    let mut files = Files::new();
    let mut entries = Box::pin(drive.list("/", ListOptions::default()));
    while let Some(entry) = entries.try_next().await.unwrap() {
        let bytes = drive.get_with(&entry.path, &now).await.unwrap();
        files.insert(entry.path, bytes.unwrap_or_default().to_vec());
    }
    files
}

pub(crate) async fn blocks_here(drive: &Hyperdrive) -> u64 {
    let core = drive.blobs().await.unwrap().core();
    let mut here = 0;
    for index in 0..core.length() {
        here += u64::from(core.has(index..index + 1).await.unwrap());
    }
    here
}
