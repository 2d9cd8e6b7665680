//! What a rule keeps stays byte for byte; what it drops goes, and says so.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod files;

use files::{Files, blocks_here, content, put, read};
use futures_util::{StreamExt, TryStreamExt};
use pome_bee::HistoryOptions;
use pome_cores::{Corestore, Durability, GetOptions};
use pome_drive_fs::{DriveOptions, EntryValue, Error, Hyperdrive, Keep, ListOptions, PutOptions};
use pome_storage::{Options, Store};
use proptest::prelude::*;
use std::time::Duration;

fn small() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.payload_segment_bytes = 256 << 10;
    options.log_segment_bytes = 64 << 10;
    options
}

async fn open(folder: &std::path::Path) -> Hyperdrive {
    let store = Store::open(folder, small()).unwrap();
    let store = Corestore::open(store).unwrap();
    Hyperdrive::open(store, DriveOptions::default())
        .await
        .unwrap()
}

#[tokio::test]
async fn only_what_kept_versions_need_stays() {
    let folder = tempfile::tempdir().unwrap();
    let drive = open(folder.path()).await;
    assert_eq!(drive.retention().unwrap().keep, Keep::All);
    assert_eq!(drive.gc().await.unwrap().blocks, 0);
    put(&drive, "/stays", &content(0, 200_000)).await;
    let mut versions = vec![];
    for n in 1..=10 {
        put(&drive, "/a", &content(n, 100_000)).await;
        put(&drive, "/gone", &content(100 + n, 70_000)).await;
        drive.del("/gone").await.unwrap();
        versions.push((drive.version(), read(&drive).await));
    }
    // Versions from before the rule count too, each block of the database one of them.
    drive.set_retention(Keep::Versions(4)).await.unwrap();
    let before = blocks_here(&drive).await;
    let collected = drive.gc().await.unwrap();
    let after = blocks_here(&drive).await;
    assert_eq!(before - after, collected.blocks);
    assert_eq!(collected.oldest, drive.version() - 3);
    // Both `/a` of the last two rounds, the last `/gone`, and what stays.
    assert_eq!(after, 4 + 2 + 2 + 2);
    assert!(collected.db_blocks > 10, "{collected:?}");
    assert_eq!(drive.gc().await.unwrap().blocks, 0, "nothing more to do");

    for (version, files) in &versions[8..] {
        assert_eq!(&read(&drive.checkout(*version).unwrap()).await, files);
    }
    for (version, _) in &versions[..8] {
        let Err(error) = drive.checkout(*version) else {
            panic!("version {version} was dropped");
        };
        assert!(matches!(error, Error::VersionDropped { .. }), "{error}");
        assert_eq!(error.code(), "VERSION_DROPPED");
        let diff: Result<Vec<_>, _> = drive.diff(*version, "/").try_collect().await;
        assert_eq!(diff.unwrap_err().code(), "VERSION_DROPPED");
    }
    assert!(drive.truncate(versions[0].0).await.is_err());
    let oldest = collected.oldest;
    let changes = drive.history(HistoryOptions::default());
    let changes: Vec<_> = changes.try_collect().await.unwrap();
    assert_eq!(changes.first().unwrap().seq, oldest);
    assert_eq!(changes.len() as u64, drive.version() - oldest);
    let whole = drive.whole_versions().await.unwrap();
    assert_eq!(whole, (oldest..=drive.version()).collect::<Vec<_>>());

    // The store gives the space back.
    let files = read(&drive).await;
    let freed = drive.corestore().store().compact().unwrap();
    assert!(freed.bytes > 1_000_000, "{freed:?}");
    drop(drive);
    let drive = open(folder.path()).await;
    assert_eq!(read(&drive).await, files);
    assert_eq!(drive.retention().unwrap().keep, Keep::Versions(4));
    assert_eq!(drive.retention().unwrap().oldest, oldest);
    assert!(drive.checkout(1).is_err());
    // Writing goes on as ever.
    put(&drive, "/a", b"new").await;
    put(&drive, "/b", b"more").await;
    drive.note_version().unwrap();
    assert_eq!(read(&drive).await.len(), 3);
    drive.set_retention(Keep::All).await.unwrap();
    assert_eq!(drive.gc().await.unwrap().blocks, 0);
}

#[tokio::test]
async fn blocks_that_are_shared_stay() {
    let folder = tempfile::tempdir().unwrap();
    let drive = open(folder.path()).await;
    drive.set_retention(Keep::Versions(1)).await.unwrap();
    // The same content under another name.
    put(&drive, "/old", &content(1, 150_000)).await;
    let entry = drive.entry("/old").await.unwrap().unwrap();
    drive
        .put_entry("/new", entry.value, Durability::Buffered)
        .await
        .unwrap();
    drive.del("/old").await.unwrap();
    // A block map over blocks of older versions of the file, which were block maps themselves.
    let piece = |n: u64| content(n, 10_000);
    let mut expected = vec![];
    for round in 0..4u64 {
        let mut stream = drive
            .dedup_stream("/map", PutOptions::default())
            .await
            .unwrap();
        expected.clear();
        for n in 0..6 {
            let part = piece(if n == round { 50 + round } else { n });
            stream.write(part.clone()).await.unwrap();
            expected.extend(part);
        }
        stream.finish().await.unwrap();
    }
    let files = read(&drive).await;
    assert_eq!(files["/map"], expected);
    let collected = drive.gc().await.unwrap();
    assert!(collected.blocks >= 6, "{collected:?}");
    assert_eq!(read(&drive).await, files);
    // What only the dropped maps named is gone: three pieces of rounds, and three maps.
    let here = blocks_here(&drive).await;
    assert_eq!(here, 3 + 6 + 1);
}

#[tokio::test]
async fn content_on_its_way_to_an_entry_stays() {
    let folder = tempfile::tempdir().unwrap();
    let drive = open(folder.path()).await;
    drive.set_retention(Keep::Versions(1)).await.unwrap();
    put(&drive, "/a", &content(1, 100_000)).await;
    let mut writer = drive.blob_writer().await.unwrap();
    writer.write(content(2, 100_000)).await.unwrap();
    let id = writer.finish().await.unwrap();
    put(&drive, "/a", &content(3, 100_000)).await;
    assert_eq!(drive.gc().await.unwrap().blocks, 2);
    drive
        .put_entry("/late", EntryValue::file(id), Durability::Buffered)
        .await
        .unwrap();
    assert_eq!(read(&drive).await["/late"], content(2, 100_000));
}

#[tokio::test]
async fn a_time_keeps_what_was_current_within_it() {
    let folder = tempfile::tempdir().unwrap();
    let drive = open(folder.path()).await;
    put(&drive, "/a", &content(1, 10)).await;
    drive
        .set_retention(Keep::Duration(Duration::from_secs(3600)))
        .await
        .unwrap();
    let first = drive.version();
    put(&drive, "/a", &content(2, 10)).await;
    assert_eq!(drive.gc().await.unwrap().blocks, 0);
    assert_eq!(
        read(&drive.checkout(first).unwrap()).await["/a"],
        content(1, 10)
    );
    // A time of nothing: only the newest was current within it.
    drive
        .set_retention(Keep::Duration(Duration::ZERO))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(drive.gc().await.unwrap().blocks, 1);
    assert!(drive.checkout(first).is_err());
    assert_eq!(read(&drive).await["/a"], content(2, 10));
}

#[tokio::test]
async fn a_block_that_was_dropped_is_not_waited_for_by_a_reader_who_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let drive = open(folder.path()).await;
    drive.set_retention(Keep::Versions(1)).await.unwrap();
    put(&drive, "/a", &content(1, 10)).await;
    put(&drive, "/a", &content(2, 10)).await;
    let held = drive.checkout(drive.version() - 1).unwrap();
    drive.gc().await.unwrap();
    let now = pome_drive_fs::GetOptions {
        no_wait: true,
        ..Default::default()
    };
    let error = held.get_with("/a", &now).await.unwrap_err();
    assert_eq!(error.code(), "BLOCK_NOT_AVAILABLE");
    let blobs = drive.blobs().await.unwrap().core().clone();
    let get = GetOptions {
        no_wait: true,
        ..GetOptions::default()
    };
    assert_eq!(blobs.get_with(0, get).await.unwrap(), None);
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u32),
    Del(u8),
    Move(u8, u8),
    Dedup(u8, Vec<u8>),
    Gc,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..6, 0u32..150_000).prop_map(|(path, len)| Step::Put(path, len)),
        2 => (0u8..6).prop_map(Step::Del),
        2 => (0u8..6, 0u8..6).prop_map(|(a, b)| Step::Move(a, b)),
        2 => (0u8..6, prop::collection::vec(0u8..12, 0..8)).prop_map(|(p, parts)| Step::Dedup(p, parts)),
        3 => Just(Step::Gc),
    ]
}

async fn any_history(steps: Vec<Step>, keep: u64) {
    let folder = tempfile::tempdir().unwrap();
    let drive = open(folder.path()).await;
    drive.set_retention(Keep::Versions(keep)).await.unwrap();
    let mut states: Vec<(u64, Files)> = vec![(drive.version(), Files::new())];
    for (seed, step) in (0u64..).zip(steps) {
        let mut now = states.last().unwrap().1.clone();
        let path = |n: u8| format!("/{n}");
        match step {
            Step::Put(n, len) => {
                let bytes = content(seed, len as usize);
                put(&drive, &path(n), &bytes).await;
                now.insert(path(n), bytes);
            }
            Step::Del(n) => {
                drive.del(&path(n)).await.unwrap();
                now.remove(&path(n));
            }
            Step::Move(a, b) => {
                if let Some(entry) = drive.entry(&path(a)).await.unwrap() {
                    let mut batch = drive.batch().unwrap();
                    batch.del(&path(a)).unwrap();
                    batch.put_entry(&path(b), entry.value).unwrap();
                    batch.flush(Durability::Buffered).await.unwrap();
                    let bytes = now.remove(&path(a)).unwrap();
                    now.insert(path(b), bytes);
                }
            }
            Step::Dedup(n, parts) => {
                let mut stream = drive
                    .dedup_stream(&path(n), PutOptions::default())
                    .await
                    .unwrap();
                let mut all = vec![];
                for part in parts {
                    let part = content(1_000 + u64::from(part), 9_000);
                    stream.write(part.clone()).await.unwrap();
                    all.extend(part);
                }
                stream.finish().await.unwrap();
                now.insert(path(n), all);
            }
            Step::Gc => {
                let collected = drive.gc().await.unwrap();
                let kept = states.len().saturating_sub(keep as usize);
                assert_eq!(collected.oldest, states[kept].0);
                for (at, (version, files)) in states.iter().enumerate() {
                    match drive.checkout(*version) {
                        Ok(old) => assert_eq!(&read(&old).await, files, "version {version}"),
                        Err(error) => {
                            assert!(at < kept, "{error}");
                            assert_eq!(error.code(), "VERSION_DROPPED");
                        }
                    }
                }
            }
        }
        drive.note_version().unwrap();
        let version = drive.version();
        if states.last().unwrap().0 != version {
            states.push((version, now));
        }
    }
    let now = &states.last().unwrap().1;
    drive.set_retention(Keep::Versions(1)).await.unwrap();
    drive.gc().await.unwrap();
    assert_eq!(&read(&drive).await, now);
    // Nothing is left but what the files need.
    let blobs = drive.blobs().await.unwrap();
    let mut needed = std::collections::BTreeSet::new();
    let mut maps = 0;
    let mut entries = drive.list("/", ListOptions::default()).boxed();
    while let Some(entry) = entries.try_next().await.unwrap() {
        let blob = entry.value.blob.unwrap();
        needed.extend(blob.block_offset..blob.block_offset + blob.block_length);
        maps += u64::from(blob.block_map);
    }
    drop(entries);
    let mapped = blocks_here(&drive).await - needed.len() as u64;
    // Of each file that is a list of blocks, each of the twelve pieces at most once.
    assert!(mapped <= 12 * maps, "{mapped} blocks for {maps} maps");
    for index in needed {
        assert!(blobs.core().has(index..index + 1).await.unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 100, ..ProptestConfig::default() })]
    #[test]
    fn kept_versions_read_as_they_were(steps in prop::collection::vec(step(), 1..40), keep in 1u64..5) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(any_history(steps, keep));
    }
}
