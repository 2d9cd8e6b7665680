//! What a publication stores of a content: what is new in it, and what is read afterwards.

use super::rooms::{ME, WRITE, corestore};
use crate::{
    DriveOptions, Hyperdrive,
    vfs::{drive::LiveDrive, node::ROOT, *},
};
use std::{ffi::OsStr, sync::Arc};

const BLOCK: usize = 64 * 1024;
const MIB: usize = 1 << 20;

struct Drive {
    _folder: tempfile::TempDir,
    corestore: pome_cores::Corestore,
    drive: Hyperdrive,
    vfs: Arc<Vfs>,
}

impl Drive {
    async fn new() -> Self {
        let (folder, corestore) = corestore();
        let drive = Hyperdrive::open(corestore.clone(), DriveOptions::default())
            .await
            .unwrap();
        let vfs = show(&corestore, &drive).await;
        Self {
            _folder: folder,
            corestore,
            drive,
            vfs,
        }
    }

    async fn again(&mut self) {
        self.vfs = show(&self.corestore, &self.drive).await;
    }

    async fn stored(&self) -> u64 {
        self.drive.blobs().await.unwrap().core().byte_length()
    }

    /// Opens, lets `change` change, closes, publishes; answers how many bytes the contents grew by.
    async fn change(&self, name: &str, truncate: bool, change: impl AsyncFnOnce(u64)) -> u64 {
        let before = self.stored().await;
        let open = OpenMode { truncate, ..WRITE };
        let made = self.vfs.create(ROOT, OsStr::new(name), 0o644, ME, open);
        let (stat, handle) = made.await.unwrap();
        change(stat.ino).await;
        self.vfs.close(handle).unwrap();
        self.vfs.publish_now().await.unwrap();
        assert_eq!(self.vfs.pending(), Pending::default());
        self.stored().await - before
    }

    async fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> u64 {
        self.change(name, false, async |ino| self.put(ino, offset, bytes))
            .await
    }

    fn put(&self, ino: u64, offset: u64, bytes: &[u8]) {
        for (n, piece) in bytes.chunks(MIB).enumerate() {
            let at = offset + (n * MIB) as u64;
            self.vfs.write(ino, at, piece.to_vec().into()).unwrap();
        }
    }

    /// The content as the mount, and as the drive alone, show it.
    async fn must_be(&self, name: &str, bytes: &[u8]) {
        let stat = self.vfs.lookup(ROOT, OsStr::new(name)).await.unwrap();
        assert_eq!(stat.size, bytes.len() as u64);
        let shown = self.vfs.read(stat.ino, 0, bytes.len() + 1).await.unwrap();
        assert!(shown == bytes, "{name} in the mount");
        let path = format!("/{name}");
        let stored = self.drive.get(&path).await.unwrap().unwrap();
        assert!(stored == bytes, "{name} in the drive");
    }

    async fn is_map(&self, name: &str) -> bool {
        let entry = self.drive.entry(&format!("/{name}")).await.unwrap();
        entry.unwrap().value.blob.unwrap().block_map
    }
}

async fn show(corestore: &pome_cores::Corestore, drive: &Hyperdrive) -> Arc<Vfs> {
    let live = LiveDrive::new(drive.clone());
    Vfs::open(live, corestore, "blocks", VfsOptions::default())
        .await
        .unwrap()
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[tokio::test]
async fn one_block_of_a_large_file_costs_little_more_than_the_block() {
    let mut drive = Drive::new().await;
    let mut all = random(1, 64 * MIB);
    assert_eq!(drive.write("f", 0, &all).await, all.len() as u64);
    assert!(!drive.is_map("f").await);
    let new = random(2, BLOCK);
    all[17 * BLOCK..18 * BLOCK].copy_from_slice(&new);
    let cost = drive.write("f", 17 * BLOCK as u64, &new).await;
    assert_eq!(cost, 73_228, "the block, and a map of 1,024 of them");
    assert!(drive.is_map("f").await);
    drive.must_be("f", &all).await;
    // A map over a map, and a write across two blocks.
    let at = 900 * BLOCK - 5;
    all[at..at + 10].copy_from_slice(b"0123456789");
    let cost = drive.write("f", at as u64, b"0123456789").await;
    assert!(cost <= 2 * BLOCK as u64 + 30_000, "{cost} bytes");
    drive.again().await;
    drive.must_be("f", &all).await;
    // Where all is new, the content is stored as a whole.
    let other = random(3, 64 * MIB);
    let cost = drive.write("f", 0, &other).await;
    assert_eq!(cost, other.len() as u64);
    assert!(!drive.is_map("f").await);
    drive.must_be("f", &other).await;
}

#[tokio::test]
async fn what_grows_at_the_end_costs_what_was_added() {
    let mut drive = Drive::new().await;
    for (name, len) in [("small", 10_000), ("large", 3 * MIB + 100)] {
        let mut all = random(4, len);
        drive.write(name, 0, &all).await;
        for n in 0..5u64 {
            let more = random(10 + n, 100);
            let cost = drive.write(name, all.len() as u64, &more).await;
            all.extend(&more);
            assert_eq!(cost, 100, "{name}");
        }
        assert!(!drive.is_map(name).await);
        drive.must_be(name, &all).await;
        // Something else stands behind it now.
        drive.write("other", 0, b"x").await;
        let cost = drive.write(name, all.len() as u64, b"more").await;
        all.extend(b"more");
        assert!(cost < 11_000, "{name}: {cost} bytes");
        drive.again().await;
        drive.must_be(name, &all).await;
    }
    // A log that grows by crumbs does not become a heap of them.
    let mut all = Vec::new();
    for n in 0..60u64 {
        let line = random(n, 50);
        drive.write("log", all.len() as u64, &line).await;
        all.extend(&line);
    }
    drive.must_be("log", &all).await;
    let entry = drive.drive.entry("/log").await.unwrap().unwrap();
    assert!(entry.value.blob.unwrap().block_length <= 18);
}

#[tokio::test]
async fn a_content_that_did_not_change_is_not_stored_again() {
    let drive = Drive::new().await;
    for (name, len) in [("tiny", 10), ("small", 100_000), ("large", 3 * MIB + 7)] {
        let all = random(5, len);
        drive.write(name, 0, &all).await;
        // Written again over itself, and after it was emptied.
        assert_eq!(drive.write(name, 0, &all).await, 0, "{name}");
        let again = drive.change(name, true, async |ino| drive.put(ino, 0, &all));
        assert_eq!(again.await, 0, "{name}");
        // Beside it and then renamed over it, as careful programs save.
        let before = drive.stored().await;
        let (new, old) = (OsStr::new("new"), OsStr::new(name));
        let made = drive.vfs.create(ROOT, new, 0o644, ME, WRITE).await;
        let (stat, handle) = made.unwrap();
        drive.put(stat.ino, 0, &all);
        drive.vfs.close(handle).unwrap();
        let rename = drive
            .vfs
            .rename((ROOT, new), (ROOT, old), RenameMode::Replace);
        rename.await.unwrap();
        drive.vfs.publish_now().await.unwrap();
        assert_eq!(drive.stored().await, before, "{name}");
        drive.must_be(name, &all).await;
    }
    // The same but for one block, written from the beginning.
    let mut all = random(5, 3 * MIB + 7);
    all[MIB + 3] ^= 1;
    let cost = drive.change("large", true, async |ino| drive.put(ino, 0, &all));
    let cost = cost.await;
    assert!(cost <= BLOCK as u64 + 2_000, "{cost} bytes");
    drive.must_be("large", &all).await;
}

#[tokio::test]
async fn a_copy_of_what_the_drive_has_costs_nothing() {
    let mut drive = Drive::new().await;
    for (name, len) in [("small", 10_000), ("large", 3 * MIB + 7)] {
        let all = random(6, len);
        drive.write(name, 0, &all).await;
        let source = drive.vfs.lookup(ROOT, OsStr::new(name)).await.unwrap().ino;
        let copy = format!("{name}-copy");
        let cost = drive.change(&copy, false, async |ino| {
            let copied = drive.vfs.copy((source, 0), (ino, 0), 1 << 30).await;
            assert_eq!(copied.unwrap(), all.len() as u64);
            // The source goes on without its copy.
            drive.vfs.set_size(source, 5).await.unwrap();
        });
        assert!(cost.await <= 5, "{name}");
        drive.must_be(&copy, &all).await;
        drive.must_be(name, &all[..5]).await;
        // A part, over something else, before a restart and after.
        let mut parts = b"parts".to_vec();
        parts.extend(&all[100..8000]);
        let before = drive.stored().await;
        let part = format!("{name}-part");
        let made = drive
            .vfs
            .create(ROOT, OsStr::new(&part), 0o644, ME, WRITE)
            .await;
        let ino = made.unwrap().0.ino;
        let source = drive.vfs.lookup(ROOT, OsStr::new(&copy)).await.unwrap().ino;
        drive.put(ino, 0, b"parts");
        drive.vfs.copy((source, 100), (ino, 5), 7900).await.unwrap();
        assert_eq!(drive.vfs.read(ino, 0, 10_000).await.unwrap(), parts);
        assert_eq!(drive.stored().await, before);
        drive.again().await;
        drive.vfs.publish_now().await.unwrap();
        drive.must_be(&part, &parts).await;
    }
}

#[tokio::test]
async fn holes_cost_next_to_nothing() {
    let mut drive = Drive::new().await;
    let cost = drive.change("hole", false, async |ino| {
        drive.vfs.set_size(ino, 1 << 30).await.unwrap();
        drive.put(ino, 500 * MIB as u64 + 77, b"here");
    });
    let cost = cost.await;
    assert!(cost < 400_000, "{cost} bytes");
    drive.again().await;
    let stat = drive.vfs.lookup(ROOT, OsStr::new("hole")).await.unwrap();
    assert_eq!(stat.size, 1 << 30);
    let read = |at: u64| drive.vfs.read(stat.ino, at, 200);
    assert_eq!(read(0).await.unwrap(), [0; 200][..]);
    let mut expected = [0; 200];
    expected[77..81].copy_from_slice(b"here");
    assert_eq!(read(500 * MIB as u64).await.unwrap(), expected[..]);
    assert_eq!(read((1 << 30) - 200).await.unwrap(), [0; 200][..]);
    // A terabyte of nothing is a map of larger blocks.
    let cost = drive.change("void", false, async |ino| {
        drive.vfs.set_size(ino, FILE_BYTES_MAX).await.unwrap();
    });
    let cost = cost.await;
    assert!(cost < 8 * MIB as u64, "{cost} bytes");
    let stat = drive.vfs.lookup(ROOT, OsStr::new("void")).await.unwrap();
    let end = drive.vfs.read(stat.ino, FILE_BYTES_MAX - 9, 99).await;
    assert_eq!(end.unwrap(), [0; 9][..]);
}

#[tokio::test]
async fn random_changes_of_a_large_file_are_read_back() {
    let mut drive = Drive::new().await;
    let mut plain: Vec<u8> = Vec::new();
    let mut x = 77u64;
    let mut next = |below: usize| {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) as usize % below
    };
    for round in 0..120u64 {
        let kind = next(7);
        let (at, len) = (next(2 * MIB), next(300_000));
        let bytes = random(round, len);
        let from = plain.len();
        drive
            .change("f", kind == 6, async |ino| match kind {
                0..=2 => drive.put(ino, at as u64, &bytes),
                3 => drive.put(ino, from as u64, &bytes),
                4 => drive.vfs.set_size(ino, at as u64).await.unwrap(),
                5 => {
                    let how = Allocate::PunchHole;
                    let punched = drive.vfs.allocate(ino, at as u64, len as u64, how);
                    punched.await.unwrap();
                }
                _ => drive.put(ino, 0, &plain),
            })
            .await;
        match kind {
            0..=3 if len > 0 => {
                let at = if kind == 3 { from } else { at };
                let size = plain.len().max(at + len);
                plain.resize(size, 0);
                plain[at..at + len].copy_from_slice(&bytes);
            }
            4 => plain.resize(at, 0),
            5 => {
                let end = (at + len).min(plain.len());
                if at < end {
                    plain[at..end].fill(0);
                }
            }
            _ => {}
        }
        if round % 10 == 9 {
            drive.again().await;
        }
        drive.must_be("f", &plain).await;
    }
    // Nothing that a version needs was dropped on the way.
    let blobs = drive.drive.blobs().await.unwrap().core().clone();
    let problems = blobs.audit(|_| {}).await.unwrap().problems;
    assert!(problems.is_empty(), "{problems:?}");
}
