//! A drive on a real store, through its public face.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use futures_util::TryStreamExt;
use pome_cores::{Corestore, Durability};
use pome_drive_fs::{
    BlobId, DriveOptions, EntryValue, Error, GetOptions, Hyperdrive, ListOptions, PosixMetadata,
    PutOptions, ReadOptions,
};
use pome_storage::{Options, Store};

struct Fixture {
    drive: Hyperdrive,
    _folder: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let store = Corestore::open(store).unwrap();
    let drive = Hyperdrive::open(store, DriveOptions::default())
        .await
        .unwrap();
    Fixture {
        drive,
        _folder: folder,
    }
}

async fn put(drive: &Hyperdrive, path: &str, content: &str) {
    let content = content.as_bytes().to_vec();
    drive
        .put(path, content, PutOptions::default())
        .await
        .unwrap();
}

async fn names(drive: &Hyperdrive, folder: &str) -> Vec<String> {
    drive.readdir(folder).try_collect().await.unwrap()
}

async fn paths(drive: &Hyperdrive, folder: &str) -> Vec<String> {
    let entries = drive.list(folder, ListOptions::default());
    entries.map_ok(|e| e.path).try_collect().await.unwrap()
}

#[tokio::test]
async fn files_come_and_go() {
    let Fixture { drive, _folder } = fixture().await;
    assert_eq!(drive.get("/a").await.unwrap(), None);
    put(&drive, "/a", "one").await;
    put(&drive, "b/c", "two").await;
    assert_eq!(drive.version(), 3);
    assert_eq!(drive.get("a").await.unwrap().unwrap(), "one");
    assert!(drive.exists("/b/c").await.unwrap());
    assert!(!drive.exists("/b").await.unwrap());
    drive.del("/nothing").await.unwrap();
    assert_eq!(drive.version(), 3);
    drive.del("/a").await.unwrap();
    assert_eq!(drive.version(), 4);
    assert_eq!(paths(&drive, "/").await, ["/b/c"]);
    let old = drive.checkout(3).unwrap();
    assert_eq!(old.get("/a").await.unwrap().unwrap(), "one");
    assert!(matches!(
        old.put("/x", "y", PutOptions::default()).await,
        Err(Error::Checkout { version: 3, .. })
    ));
    assert!(matches!(
        drive.checkout(9),
        Err(Error::NoSuchVersion { newest: 4, .. })
    ));
}

#[tokio::test]
async fn large_files_are_read_in_ranges() {
    let Fixture { drive, _folder } = fixture().await;
    let content: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    drive
        .put("/f", content.clone(), PutOptions::default())
        .await
        .unwrap();
    let mut stream = drive
        .write_stream("/s", PutOptions::default())
        .await
        .unwrap();
    for part in content.chunks(70_001) {
        stream.write(part.to_vec()).await.unwrap();
    }
    stream.finish().await.unwrap();
    for path in ["/f", "/s"] {
        let entry = drive.entry(path).await.unwrap().unwrap();
        assert_eq!(drive.get(path).await.unwrap().unwrap(), content);
        for (offset, len) in [
            (0, 1),
            (65_535, 2),
            (65_536, 70_000),
            (299_999, 10),
            (300_000, 1),
            (1 << 40, 5),
        ] {
            let read = drive.read_at(&entry, offset, len).await.unwrap();
            let from = content.len().min(offset as usize);
            let to = content.len().min(from + len);
            assert_eq!(read, content[from..to], "{path} {offset} {len}");
        }
        let options = ReadOptions {
            start: 5,
            end: Some(70_000),
            length: None,
        };
        let read: Vec<_> = drive
            .read_stream(path, options)
            .try_collect()
            .await
            .unwrap();
        assert_eq!(read.concat(), content[5..=70_000]);
    }
    let missing = drive
        .read_stream("/none", ReadOptions::default())
        .try_collect::<Vec<_>>();
    assert!(matches!(missing.await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn a_batch_is_one_commit_and_reads_its_own_writes() {
    let Fixture { drive, _folder } = fixture().await;
    put(&drive, "/old", "old").await;
    let mut batch = drive.batch().unwrap();
    batch.put("/a", "1", PutOptions::default()).unwrap();
    batch
        .put(
            "/a",
            "2",
            PutOptions {
                executable: true,
                ..PutOptions::default()
            },
        )
        .unwrap();
    batch.del("/old").unwrap();
    batch.symlink("/l", "../a", None).unwrap();
    assert_eq!(batch.get("/a").await.unwrap().unwrap(), "2");
    assert_eq!(batch.entry("/old").await.unwrap(), None);
    assert_eq!(paths(&drive, "/").await, ["/old"]);
    batch.flush(Durability::Synced).await.unwrap();
    assert_eq!(paths(&drive, "/").await, ["/a", "/l"]);
    assert_eq!(drive.get("/a").await.unwrap().unwrap(), "2");
    assert!(drive.entry("/a").await.unwrap().unwrap().value.executable);
    // npm's view of relative links: the link itself is the folder they start from
    let follow = GetOptions {
        follow: true,
        ..GetOptions::default()
    };
    assert_eq!(drive.get_with("/l", &follow).await.unwrap().unwrap(), "2");
    assert_eq!(drive.get("/l").await.unwrap(), None);
}

#[tokio::test]
async fn a_name_is_listed_once() {
    let Fixture { drive, _folder } = fixture().await;
    for path in [
        "/dd", "/dd-x", "/dd.txt", "/dd/e", "/dd/f/g", "/dd0", "/e/x", "/e0",
    ] {
        put(&drive, path, path).await;
    }
    assert_eq!(
        names(&drive, "/").await,
        ["dd", "dd-x", "dd.txt", "dd0", "e", "e0"]
    );
    assert_eq!(names(&drive, "/dd").await, ["e", "f"]);
    assert_eq!(names(&drive, "/none").await, [""; 0]);
    let children: Vec<_> = drive.children("/").try_collect().await.unwrap();
    let again: Vec<_> = children
        .iter()
        .filter(|c| c.again)
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(again, ["dd"]);
}

#[tokio::test]
async fn a_large_subfolder_is_skipped() {
    let Fixture { drive, _folder } = fixture().await;
    let mut batch = drive.batch().unwrap();
    for n in 0..500 {
        batch
            .put(&format!("/big/{n:04}"), "", PutOptions::default())
            .unwrap();
    }
    for path in ["/a", "/big0", "/z/1"] {
        batch.put(path, "", PutOptions::default()).unwrap();
    }
    batch.flush(Durability::Buffered).await.unwrap();
    assert_eq!(names(&drive, "/").await, ["a", "big", "big0", "z"]);
    assert_eq!(names(&drive, "/big").await.len(), 500);
    assert_eq!(paths(&drive, "/").await.len(), 503);
}

#[tokio::test]
async fn described_folders_are_children_but_not_entries() {
    let Fixture { drive, _folder } = fixture().await;
    put(&drive, "/d/x", "x").await;
    put(&drive, "/d-x", "x").await;
    let posix = PosixMetadata {
        mode: Some(0o700),
        ..PosixMetadata::default()
    };
    let mut batch = drive.batch().unwrap();
    for folder in ["/d", "/d/empty", "/a/b/c", "/", "/e"] {
        batch.put_folder(folder, &posix).unwrap();
    }
    batch.flush(Durability::Buffered).await.unwrap();
    assert_eq!(paths(&drive, "/").await, ["/d-x", "/d/x"]);
    assert_eq!(names(&drive, "/").await, ["d-x", "d"]);
    let children: Vec<_> = drive.children("/").try_collect().await.unwrap();
    let view: Vec<_> = children
        .iter()
        .map(|c| (c.name.as_str(), c.is_folder, c.posix.is_some()))
        .collect();
    assert_eq!(
        view,
        [
            ("a", true, false),
            ("d-x", false, false),
            ("d", true, true),
            ("e", true, true)
        ]
    );
    assert_eq!(drive.folder("/").await.unwrap().unwrap().mode, Some(0o700));
    assert!(drive.folder("/d").await.unwrap().unwrap().dir);
    assert_eq!(drive.folder("/a").await.unwrap(), None);
    for (folder, there) in [
        ("/a", true),
        ("/a/b/c", true),
        ("/d", true),
        ("/d-x", false),
        ("/d/x", false),
    ] {
        assert_eq!(drive.is_folder(folder).await.unwrap(), there, "{folder}");
    }
    let folders: Vec<_> = drive
        .folders("/d")
        .map_ok(|f| f.0)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(folders, ["/d", "/d/empty"]);
    let mut batch = drive.batch().unwrap();
    batch.del_folder("/e").unwrap();
    batch.flush(Durability::Buffered).await.unwrap();
    assert!(!drive.is_folder("/e").await.unwrap());
}

#[tokio::test]
async fn bad_paths_are_refused_before_anything_is_written() {
    let Fixture { drive, _folder } = fixture().await;
    for (path, code) in [
        ("/", "INVALID_FILENAME"),
        ("/a/../..", "PATH_ABOVE_ROOT"),
        ("/a\0b", "PATH_HAS_NUL"),
    ] {
        let put = drive
            .put(path, "x", PutOptions::default())
            .await
            .unwrap_err();
        assert_eq!(put.code(), code);
        assert_eq!(drive.get(path).await.unwrap_err().code(), code);
        assert_eq!(drive.del(path).await.unwrap_err().code(), code);
        let stream = drive.write_stream(path, PutOptions::default()).await;
        assert_eq!(stream.err().unwrap().code(), code);
    }
    assert_eq!(drive.version(), 1);
    let value = EntryValue::symlink("/loop");
    drive
        .put_entry("/loop", value, Durability::Buffered)
        .await
        .unwrap();
    let follow = GetOptions {
        follow: true,
        ..GetOptions::default()
    };
    assert!(matches!(
        drive.get_with("/loop", &follow).await,
        Err(Error::RecursiveSymlink { .. })
    ));
}

#[tokio::test]
async fn history_and_differences() {
    let Fixture { drive, _folder } = fixture().await;
    put(&drive, "/a", "1").await;
    put(&drive, "/b", "1").await;
    put(&drive, "/a", "2").await;
    drive.del("/b").await.unwrap();
    let changes: Vec<_> = drive
        .history(Default::default())
        .try_collect()
        .await
        .unwrap();
    let changes: Vec<_> = changes
        .iter()
        .map(|c| (c.seq, c.path.as_str(), c.entry.is_some()))
        .collect();
    assert_eq!(
        changes,
        [
            (1, "/a", true),
            (2, "/b", true),
            (3, "/a", true),
            (4, "/b", false)
        ]
    );
    let versions: Vec<_> = drive
        .versions("/a")
        .map_ok(|v| v.seq)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(versions, [3, 1]);
    let differences: Vec<_> = drive.diff(3, "/").try_collect().await.unwrap();
    let view: Vec<_> = differences
        .iter()
        .map(|d| (d.path(), d.left.is_some(), d.right.is_some()))
        .collect();
    assert_eq!(view, [("/a", true, true), ("/b", false, true)]);
}

#[tokio::test]
async fn watching_tells_of_changes_below_a_folder() {
    let Fixture { drive, _folder } = fixture().await;
    put(&drive, "/a/x", "1").await;
    let mut changes = std::pin::pin!(drive.watch("/a"));
    put(&drive, "/b/x", "1").await;
    put(&drive, "/a/x", "2").await;
    let change = changes.try_next().await.unwrap().unwrap();
    assert_eq!(change.previous.get("/a/x").await.unwrap().unwrap(), "1");
    assert_eq!(change.current.get("/a/x").await.unwrap().unwrap(), "2");
    drive.del("/a/x").await.unwrap();
    let change = changes.try_next().await.unwrap().unwrap();
    assert!(!change.current.exists("/a/x").await.unwrap());
    put(&drive, "/b/y", "1").await;
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(50), changes.try_next());
    assert!(quiet.await.is_err());
}

/// The blocks of one blob follow each other, whoever else writes meanwhile, and through whichever handle.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_do_not_mix() {
    let Fixture { drive, _folder } = fixture().await;
    let piece = |n: u32, i: usize| vec![(n as usize + i) as u8; 300_000];
    let mut tasks = Vec::new();
    for n in 0..8u32 {
        let drive = drive.clone();
        tasks.push(tokio::spawn(async move {
            if n % 2 == 0 {
                for i in 0..20 {
                    let content = vec![i as u8; 1000 * i];
                    let path = format!("/small/{n}/{i}");
                    drive
                        .put(&path, content, PutOptions::default())
                        .await
                        .unwrap();
                }
                return;
            }
            let path = format!("/large/{n}");
            let mut stream = drive
                .put_stream(&path, PutOptions::default())
                .await
                .unwrap();
            for i in 0..20 {
                stream.write(piece(n, i)).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream.finish().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for n in 0..8u32 {
        if n % 2 == 0 {
            for i in 0..20 {
                let content = drive
                    .get(&format!("/small/{n}/{i}"))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(content, vec![i as u8; 1000 * i]);
            }
        } else {
            let content = drive.get(&format!("/large/{n}")).await.unwrap().unwrap();
            assert_eq!(
                content,
                (0..20).flat_map(|i| piece(n, i)).collect::<Vec<_>>()
            );
        }
    }
}

/// An entry from somebody else whose numbers lie is an error, at once: not a panic, not a wait.
#[tokio::test]
async fn blobs_that_do_not_fit_are_errors() {
    let Fixture { drive, _folder } = fixture().await;
    drive
        .put("/f", vec![1; 200_000], PutOptions::default())
        .await
        .unwrap();
    let good = drive
        .entry("/f")
        .await
        .unwrap()
        .unwrap()
        .value
        .blob
        .unwrap();
    for blob in [
        BlobId {
            byte_length: 300_000,
            ..good
        },
        BlobId {
            byte_offset: 100_000,
            ..good
        },
        BlobId {
            block_length: 1,
            ..good
        },
        BlobId {
            block_map: true,
            ..good
        },
        BlobId {
            block_length: 3,
            ..good
        },
    ] {
        drive
            .put_entry("/bad", EntryValue::file(blob), Durability::Buffered)
            .await
            .unwrap();
        let entry = drive.entry("/bad").await.unwrap().unwrap();
        for (offset, len) in [(0, usize::MAX), (150_000, 100_000)] {
            let read = drive.read_at(&entry, offset, len).await;
            let named = matches!(read, Err(Error::BadBlob { .. } | Error::BadBlockMap { .. }));
            assert!(
                named || read.is_ok_and(|r| r.len() <= 200_000),
                "{blob:?} {offset}"
            );
        }
        let whole = drive.get("/bad").await;
        assert!(
            matches!(
                whole,
                Err(Error::BadBlob { .. } | Error::BadBlockMap { .. })
            ),
            "{blob:?}"
        );
    }
}

#[tokio::test]
async fn what_is_written_after_a_truncation_takes_nothing_from_earlier_versions() {
    let Fixture { drive, .. } = fixture().await;
    let put = async |path: &str, content: &str| {
        let content = content.to_owned();
        drive
            .put(path, content, PutOptions::default())
            .await
            .unwrap();
        drive.version()
    };
    let first = put("/a", "the first").await;
    drive.del("/a").await.unwrap();
    let empty = drive.version();
    put("/b", "cut off").await;
    drive.truncate(empty).await.unwrap();
    put("/c", "another").await;
    let then = drive.checkout(first).unwrap();
    assert_eq!(
        then.get("/a").await.unwrap().as_deref(),
        Some(&b"the first"[..])
    );
}

#[tokio::test]
async fn a_drive_whose_key_is_not_ours_is_read_only() {
    let (ours, theirs) = (fixture().await, fixture().await);
    let options = DriveOptions {
        key: Some(theirs.drive.key()),
        encryption_key: None,
        ..DriveOptions::default()
    };
    let drive = Hyperdrive::open(ours.drive.corestore().clone(), options)
        .await
        .unwrap();
    assert!(!drive.writable());
    assert!(matches!(drive.batch(), Err(Error::NotWritable { .. })));
    for error in [
        drive
            .put("/a", "1", PutOptions::default())
            .await
            .unwrap_err(),
        drive.del("/a").await.unwrap_err(),
        drive.truncate(1).await.unwrap_err(),
        drive
            .write_stream("/a", PutOptions::default())
            .await
            .err()
            .unwrap(),
    ] {
        assert_eq!(error.code(), "SESSION_NOT_WRITABLE");
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_half_way_loses_nothing() {
    let fixture = fixture().await;
    let drive = &fixture.drive;
    let blobs = drive.blobs().await.unwrap();
    let part: Vec<u8> = (0..3 << 20).map(|i: u32| (i / 1000) as u8).collect();
    let mut writer = drive.blob_writer().await.unwrap();
    let mut transaction = drive.corestore().transaction();
    transaction.lock(&[blobs.core()]).await.unwrap();
    let short = std::time::Duration::from_millis(30);
    let given_up = tokio::time::timeout(short, writer.write(part.clone())).await;
    assert!(given_up.is_err());
    drop(transaction);
    writer.write("end").await.unwrap();
    let id = writer.finish().await.unwrap();
    let content = blobs.get(&id).await.unwrap();
    assert_eq!(content.len(), part.len() + 3);
    assert_eq!(content[..part.len()], part[..]);
}

/// What a mount reads of an encrypted store, in pieces of all kinds: large ones are read on two threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_an_encrypted_store_reads_as_it_was_written() {
    use pome_drive_fs::vfs::{ROOT, Vfs, VfsOptions, lower};
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.key = Some(pome_storage::Key::generate().unwrap());
    let cores = Corestore::open(Store::open(dir.path(), options).unwrap()).unwrap();
    let drive = Hyperdrive::open(cores.clone(), DriveOptions::default())
        .await
        .unwrap();
    let content: Vec<u8> = (0..3_000_001_u32).map(|n| ((n * 7) >> 3) as u8).collect();
    drive
        .put("/large", content.clone(), PutOptions::default())
        .await
        .unwrap();
    let vfs = Vfs::open(lower(&drive), &cores, "shown", VfsOptions::default())
        .await
        .unwrap();
    let ino = vfs.lookup(ROOT, "large".as_ref()).await.unwrap().ino;
    for len in [1, 65_536, 262_143, 262_144, 300_000, 1 << 20, 4 << 20] {
        for offset in [0, 1, 65_535, 65_536, 131_073, 1_999_999, 2_900_000] {
            let read = vfs.read(ino, offset as u64, len).await.unwrap();
            let end = content.len().min(offset + len);
            assert!(read == content[offset..end], "{len} bytes at {offset}");
        }
    }
}
