//! The rest of npm's face of drives: downloads, closing, mirrors that store a thing once; and how much of a drive is read.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

#[path = "../../cores/tests/net/mod.rs"]
mod net;

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use net::{Pair, Place, idle};
use pome_cores::{Corestore, Durability};
use pome_drive_fs::{
    Blobs, DriveDownload, DriveOptions, Error, Hyperdrive, Ignore, ListOptions, LocalOptions,
    Localdrive, MirrorOptions, Mirrordrive, Monitor, PutOptions,
};

async fn open(cores: &Corestore) -> Hyperdrive {
    Hyperdrive::open(cores.clone(), DriveOptions::default())
        .await
        .unwrap()
}

async fn put(drive: &Hyperdrive, path: &str, content: impl Into<bytes::Bytes>) {
    let content = content.into();
    drive
        .put(path, content, PutOptions::default())
        .await
        .unwrap();
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = pome_test_support::PATIENCE;
    tokio::time::timeout(limit, future).await.unwrap()
}

struct Peers {
    pair: Pair,
    writer: Hyperdrive,
    reader: Hyperdrive,
}

impl Peers {
    /// A drive and a reader of it that has nothing yet.
    async fn new(fill: impl AsyncFnOnce(&Hyperdrive)) -> Self {
        let (a, b) = (Place::new(), Place::new());
        let writer = open(&a.cores).await;
        fill(&writer).await;
        let reader = Self::reader(&b, &writer).await;
        Self {
            pair: Pair::new(a, b),
            writer,
            reader,
        }
    }

    async fn reader(at: &Place, of: &Hyperdrive) -> Hyperdrive {
        let options = DriveOptions {
            key: Some(of.key()),
            ..DriveOptions::default()
        };
        Hyperdrive::open(at.cores.clone(), options).await.unwrap()
    }

    async fn fetched(&mut self, mut download: DriveDownload) {
        self.pair
            .run(async move { download.done().await })
            .await
            .unwrap();
    }

    async fn has(&mut self, path: &str) -> bool {
        let (drive, path) = (self.reader.clone(), path.to_owned());
        self.pair
            .run(async move { drive.has(&path).await })
            .await
            .unwrap()
    }
}

async fn blobs(drive: &Hyperdrive) -> Blobs {
    drive.blobs().await.unwrap().clone()
}

#[tokio::test]
async fn files_folders_and_changes_are_downloaded() {
    let mut peers = Peers::new(async |drive: &Hyperdrive| {
        for path in ["/a/1", "/a/2", "/a/b/3", "/c"] {
            put(drive, path, vec![7; 200_000]).await;
        }
        drive.symlink("/a/link", "../c", None).await.unwrap();
        let mut stream = drive
            .dedup_stream("/mapped", PutOptions::default())
            .await
            .unwrap();
        for n in [1, 2, 1] {
            stream.write(vec![n; 1000]).await.unwrap();
        }
        stream.finish().await.unwrap();
    })
    .await;
    let drive = peers.reader.clone();
    assert!(!peers.has("/c").await);
    let of = drive.clone();
    let one = peers
        .pair
        .run(async move { of.download("/c", ListOptions::default()).await });
    let one = one.await.unwrap();
    peers.fetched(one).await;
    assert!(peers.has("/c").await && !peers.has("/a").await);

    let options = ListOptions {
        ignore: Ignore::paths(["/a/b"]).unwrap(),
        ..ListOptions::default()
    };
    let of = drive.clone();
    let folder = peers
        .pair
        .run(async move { of.download("/a/", options).await });
    let folder = folder.await.unwrap();
    peers.fetched(folder).await;
    assert!(peers.has("/a/1").await && peers.has("/a/2").await);
    assert!(!peers.has("/a/b/3").await);
    let of = drive.clone();
    let mapped = peers
        .pair
        .run(async move { of.download("/mapped", ListOptions::default()).await });
    let mapped = mapped.await.unwrap();
    peers.fetched(mapped).await;
    assert!(peers.has("/mapped").await);
    let of = drive.clone();
    let none = peers
        .pair
        .run(async move { of.download("/none", ListOptions::default()).await });
    soon(none.await.unwrap().done()).await.unwrap();

    // what was written since a version, and nothing else
    let version = peers.writer.version();
    put(&peers.writer, "/new/1", vec![1; 100_000]).await;
    put(&peers.writer, "/else", vec![1; 100_000]).await;
    peers.writer.del("/c").await.unwrap();
    peers.pair.settle();
    let of = drive.clone();
    let diff = peers
        .pair
        .run(async move { of.download_diff(version, "/new").await });
    let diff = diff.await.unwrap();
    peers.fetched(diff).await;
    assert!(peers.has("/new/1").await && !peers.has("/else").await);

    let (of, length) = (drive.clone(), drive.core().length());
    let contents = blobs(&drive).await.core().length();
    let all = peers.pair.run(async move {
        let (database, contents) = (vec![0..3, 2..length], vec![0..1, 1..contents]);
        of.download_range(database, contents).await
    });
    let all = all.await.unwrap();
    peers.fetched(all).await;
    assert!(peers.has("/").await);
    assert!(drive.core().has(0..length).await.unwrap());
}

#[tokio::test]
async fn a_download_that_is_dropped_fetches_no_more() {
    let mut peers = Peers::new(async |drive: &Hyperdrive| {
        for n in 0..100 {
            put(drive, &format!("/{n}"), vec![n; 70_000]).await;
        }
    })
    .await;
    let drive = peers.reader.clone();
    let of = drive.clone();
    let download = peers
        .pair
        .run(async move { of.download("/", ListOptions::default()).await });
    let download = download.await.unwrap();
    let before = blobs(&drive).await.core().contiguous_length();
    assert!(before < 200);
    drop(download);
    peers.pair.settle();
    let core = blobs(&drive).await.core().clone();
    assert!(core.contiguous_length() < core.length());
    let (of, ignore) = (drive.clone(), Ignore::test(|path| path != "/7"));
    let options = ListOptions {
        ignore,
        ..ListOptions::default()
    };
    let one = peers
        .pair
        .run(async move { of.download("/", options).await });
    let one = one.await.unwrap();
    peers.fetched(one).await;
    assert!(peers.has("/7").await);
}

#[tokio::test]
async fn updates_searches_and_activity() {
    let mut peers = Peers::new(async |drive: &Hyperdrive| put(drive, "/a", "1").await).await;
    let drive = peers.reader.clone();
    assert_eq!(drive.version(), 2);
    let of = drive.clone();
    assert!(
        !peers
            .pair
            .run(async move { of.update().await })
            .await
            .unwrap()
    );
    assert!(!drive.snapshot().unwrap().update().await.unwrap());
    assert_eq!(
        Hyperdrive::drive_key(&peers.pair.a.cores).await.unwrap(),
        peers.writer.key()
    );
    let of = drive.clone();
    let get = peers.pair.run(async move { of.get("/a").await });
    assert_eq!(get.await.unwrap().unwrap(), "1");
    for drive in [&peers.reader, &peers.writer] {
        drive.set_active(false).await.unwrap();
    }
    peers.pair.settle();
    let now = peers.pair.clock.pass(Duration::from_secs(60));
    for end in &peers.pair.wire.ends {
        end.connection.handle_timeout(now);
    }
    peers.pair.settle();
    assert_eq!(peers.pair.wire.open_channels(), [0, 0]);
    peers.reader.set_active(true).await.unwrap();
    peers.pair.settle();
    assert_eq!(peers.pair.wire.open_channels(), [2, 2]);

    let lonely = Place::new();
    let drive = Peers::reader(&lonely, &peers.writer).await;
    let finding = drive.finding_peers();
    let mut update = pin!(drive.update());
    assert!(update.as_mut().now_or_never().is_none());
    drop(finding);
    assert!(!soon(update).await.unwrap());
}

#[tokio::test]
async fn transfers_are_watched() {
    let mut peers = Peers::new(async |drive: &Hyperdrive| {
        put(drive, "/a", vec![1; 200_000]).await;
        put(drive, "/b", vec![2; 100_000]).await;
        let mut stream = drive
            .dedup_stream("/mapped", PutOptions::default())
            .await
            .unwrap();
        for n in [1, 2, 1] {
            stream.write(vec![n; 1000]).await.unwrap();
        }
        stream.finish().await.unwrap();
    })
    .await;
    let (reader, writer) = (peers.reader.clone(), peers.writer.clone());
    let of = reader.clone();
    let watched = async move {
        let mut monitors = Vec::new();
        for path in [Some("/a"), Some("/mapped"), Some("/nothing"), None] {
            monitors.push(of.monitor(path).await.unwrap());
        }
        <[Monitor; 4]>::try_from(monitors).unwrap()
    };
    let [mut a, mapped, nothing, whole] = peers.pair.run(watched).await;
    let sent = writer.monitor(None).await.unwrap();
    assert_eq!(
        (a.download().target_blocks, a.download().target_bytes),
        (Some(4), Some(200_000))
    );
    assert_eq!(mapped.download().target_bytes, Some(3000));
    assert_eq!(nothing.download().percentage(), None);
    assert_eq!(
        (a.download().percentage(), a.download().started),
        (Some(0.0), None)
    );
    assert_eq!(a.peers(), 1);

    // a mirror fetches what it copies
    let (target, folder) = (tempfile::tempdir().unwrap(), reader.clone());
    let local = Localdrive::open(target.path(), LocalOptions::default()).unwrap();
    let copied = peers.pair.run(async move {
        folder
            .mirror(local, MirrorOptions::default())
            .run(|_| ())
            .await
    });
    assert_eq!(copied.await.unwrap().add, 3);
    soon(a.changed()).await;
    let came = a.download();
    assert_eq!(
        (came.blocks, came.bytes, came.percentage()),
        (4, 200_000, Some(100.0))
    );
    assert!(came.started.is_some() && came.speed > 0.0);
    assert_eq!((a.upload().blocks, a.upload().started), (0, None));
    let came = mapped.download();
    assert_eq!(came.percentage(), Some(100.0), "{came:?}");
    let all = whole.download();
    assert_eq!((all.blocks, all.bytes), (8, 302_000), "{all:?}");
    assert_eq!((all.target_blocks, all.percentage()), (None, None));
    // one that did not fit in yet is sent again
    assert!(sent.upload().blocks >= 8 && sent.upload().bytes >= 302_000);
    // of the whole drive the database counts too
    put(&writer, "/later", "").await;
    peers.pair.settle();
    let later = peers.pair.run(async move { reader.entry("/later").await });
    assert!(later.await.unwrap().is_some());
    assert!(whole.download().blocks > 8 && mapped.download().blocks == 2);
}

#[tokio::test]
async fn a_closed_drive_is_closed_and_its_store_is_not() {
    let place = Place::new();
    let drive = open(&place.cores).await;
    put(&drive, "/a", "1").await;
    let old = drive.checkout(2).unwrap();
    let mut changes = drive.watch("/").boxed();
    assert!(changes.next().now_or_never().is_none());
    drive.core().truncate(1).await.unwrap();
    assert!(soon(changes.try_next()).await.unwrap().is_some());
    let watching = tokio::spawn(async move { changes.next().await.is_none() });
    idle().await;
    drive.close().await.unwrap();
    assert!(soon(watching).await.unwrap());
    for drive in [&drive, &drive.clone(), &old] {
        assert_eq!(drive.get("/a").await.unwrap_err().code(), "SESSION_CLOSED");
    }
    let put = drive.put("/b", "2", PutOptions::default()).await;
    assert!(put.is_err());
    let again = open(&place.cores).await;
    assert_eq!(again.key(), drive.key());
    again.put("/b", "2", PutOptions::default()).await.unwrap();
}

/// Content as a program would see it: not the same anywhere.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

#[tokio::test]
async fn a_mirror_stores_a_thing_once() {
    let (place, folder) = (Place::new(), tempfile::tempdir().unwrap());
    let drive = open(&place.cores).await;
    let file = folder.path().join("large");
    let first = noise(12 << 20, 3);
    std::fs::write(&file, &first).unwrap();
    std::fs::write(folder.path().join("small"), "s").unwrap();
    let local = Localdrive::open(folder.path(), LocalOptions::default()).unwrap();
    let options = MirrorOptions {
        dedup: true,
        ..MirrorOptions::default()
    };
    let import = Mirrordrive::new(local.clone(), drive.clone(), options.clone());
    let count = import.run(|_| ()).await.unwrap();
    assert_eq!((count.add, count.change), (2, 0));
    let bytes = async || blobs(&drive).await.core().byte_length();
    let before = bytes().await;
    let entry = drive.entry("/large").await.unwrap().unwrap();
    assert!(entry.value.blob.unwrap().block_map);
    assert!(
        !(drive
            .entry("/small")
            .await
            .unwrap()
            .unwrap()
            .value
            .blob
            .unwrap())
        .block_map
    );

    let second = [b"in front".as_slice(), &first, b"behind"].concat();
    std::fs::write(&file, &second).unwrap();
    let count = import.run(|_| ()).await.unwrap();
    assert_eq!((count.add, count.change), (0, 1));
    let grown = bytes().await - before;
    assert!(grown < 9 << 20, "{grown} of {}", second.len());
    assert_eq!(drive.get("/large").await.unwrap().unwrap(), second);
    let again = import.run(|_| ()).await.unwrap();
    assert_eq!((again.add, again.change, again.remove), (0, 0, 0));

    // the other way round, by the drive's own word
    let out = tempfile::tempdir().unwrap();
    let target = Localdrive::open(out.path(), LocalOptions::default()).unwrap();
    let export = drive.mirror(target, options);
    assert_eq!(export.run(|_| ()).await.unwrap().add, 2);
    assert_eq!(std::fs::read(out.path().join("large")).unwrap(), second);
}

/// A folder of 10,000 names beside others, listed by a reader that has nothing: what is fetched are the blocks of those names and the ways to them, and
/// not one after another.
#[tokio::test]
async fn a_large_folder_is_one_walk() {
    const NAMES: u64 = 10_000;
    let mut peers = Peers::new(async |drive: &Hyperdrive| {
        let mut batch = drive.batch().unwrap();
        for n in 0..NAMES {
            let value = Default::default();
            batch.put_entry(&format!("/big/{n:05}"), value).unwrap();
        }
        for n in 0..2000 {
            let (before, after) = (format!("/a/{n:04}"), format!("/z/{n:04}"));
            batch.put_entry(&before, Default::default()).unwrap();
            batch.put_entry(&after, Default::default()).unwrap();
        }
        batch.flush(Durability::Buffered).await.unwrap();
    })
    .await;
    let held = async |drive: &Hyperdrive| {
        let core = drive.core().clone();
        let mut held = 0;
        for seq in 0..core.length() {
            held += u64::from(core.has(seq..seq + 1).await.unwrap());
        }
        held
    };
    let drive = peers.reader.clone();
    // the names of the root take a look into each folder, not the folders
    let of = drive.clone();
    let names: Vec<String> = peers
        .pair
        .run(async move { of.readdir("/").try_collect().await })
        .await
        .unwrap();
    assert_eq!(names, ["a", "big", "z"]);
    let before = held(&drive).await;
    assert!(before < 500, "{before}");

    let turns = peers.pair.turns;
    let of = drive.clone();
    let names: Vec<String> = peers
        .pair
        .run(async move { of.readdir("/big").try_collect().await })
        .await
        .unwrap();
    assert_eq!(names.len() as u64, NAMES);
    let read = held(&drive).await - before;
    assert!(read < NAMES + NAMES / 10, "{read}");
    assert!(
        peers.pair.turns - turns < NAMES / 16,
        "{}",
        peers.pair.turns - turns
    );
}

/// A future that is polled a few times and then dropped, whatever it waits for at that moment, leaves nothing half done.
#[tokio::test]
async fn futures_can_be_dropped_wherever_they_wait() {
    for polls in 0..40 {
        let mut peers = Peers::new(async |drive: &Hyperdrive| {
            put(drive, "/f", noise(300_000, 1)).await;
            for n in 0..40 {
                put(drive, &format!("/n/{n}"), "x").await;
            }
        })
        .await;
        let drive = peers.reader.clone();
        let mut finished = false;
        {
            let read = async {
                let _ = drive.get("/f").await;
                let _ = drive.readdir("/n").try_collect::<Vec<_>>().await;
                if let Ok(mut download) = drive.download("/", ListOptions::default()).await {
                    let _ = download.done().await;
                }
            };
            let mut read = pin!(read);
            for _ in 0..polls {
                finished = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_ready())).await;
                if finished {
                    break;
                }
                peers.pair.clock.pass(Duration::from_millis(20));
                peers.pair.settle();
            }
        }
        let of = drive.clone();
        let content = peers.pair.run(async move { of.get("/f").await });
        assert_eq!(content.await.unwrap().unwrap(), noise(300_000, 1));
        let of = drive.clone();
        let names = peers
            .pair
            .run(async move { of.readdir("/n").try_collect::<Vec<_>>().await });
        assert_eq!(names.await.unwrap().len(), 40);
        let audit = drive.core().audit(|_| ()).await.unwrap();
        assert!(audit.problems.is_empty());
        if finished {
            assert!(polls > 3, "it waited in between");
            return;
        }
    }
}

/// Writes are whole or not made, wherever they are given up: here while others hold the locks that they need.
#[tokio::test]
async fn writes_can_be_dropped_while_they_wait() {
    let place = Place::new();
    let drive = open(&place.cores).await;
    put(&drive, "/kept", "1").await;
    let blobs = blobs(&drive).await;
    let held: [&[&pome_cores::Hypercore]; 3] = [
        &[drive.core()],
        &[blobs.core()],
        &[drive.core(), blobs.core()],
    ];
    for (round, cores) in held.into_iter().enumerate() {
        let mut transaction = place.cores.transaction();
        transaction.lock(cores).await.unwrap();
        let version = drive.version();
        {
            let mut put = pin!(drive.put("/never", "x", PutOptions::default()));
            let mut del = pin!(drive.del("/kept"));
            let mut cut = pin!(drive.truncate(1));
            let mut removed = false;
            for _ in 0..3 {
                assert!(put.as_mut().now_or_never().is_none());
                removed = removed || del.as_mut().now_or_never().is_some();
                assert!(cut.as_mut().now_or_never().is_none());
            }
        }
        drop(transaction);
        let there = drive.get("/kept").await.unwrap();
        match there {
            // only the database's lock keeps a removal waiting
            None if round == 1 => put(&drive, "/kept", "1").await,
            there => {
                assert_eq!(there.unwrap(), "1");
                assert_eq!(drive.version(), version);
            }
        }
        assert!(!drive.exists("/never").await.unwrap());
        let path = format!("/after/{round}");
        soon(drive.put(&path, "y", PutOptions::default()))
            .await
            .unwrap();
        for core in [drive.core(), blobs.core()] {
            assert!(core.audit(|_| ()).await.unwrap().problems.is_empty());
        }
    }
}

#[test]
fn handles_go_anywhere() {
    fn any<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send>(_: T) {}
    any::<Corestore>();
    any::<pome_cores::Hypercore>();
    any::<pome_cores::TypedCore<pome_encoding::Raw>>();
    any::<pome_bee::Hyperbee>();
    any::<Hyperdrive>();
    any::<Blobs>();
    any::<Localdrive>();
    any::<Mirrordrive>();
    fn futures(drive: &Hyperdrive, mirror: &Mirrordrive) {
        let (core, bee, store) = (drive.core(), drive.db(), drive.corestore());
        sent(core.append(""));
        sent(core.get(0));
        sent(core.update());
        sent(core.commit(core, Default::default()));
        sent(core.read_stream(Default::default()));
        sent(core.byte_stream(Default::default()));
        sent(bee.get(b""));
        sent(bee.put(b"", ""));
        sent(bee.range(Default::default()));
        sent(bee.watch(Default::default()));
        sent(bee.clone().with_extension().1.run());
        sent(store.get(pome_cores::CoreOptions::name("")));
        sent(store.suspend());
        sent(drive.get(""));
        sent(drive.put("", "", PutOptions::default()));
        sent(drive.list("", ListOptions::default()));
        sent(drive.watch(""));
        sent(drive.download("", ListOptions::default()));
        sent(drive.close());
        sent(mirror.run(|_| ()));
        let _: fn(Error) = |error| sent(error);
    }
    let _ = futures;
}
