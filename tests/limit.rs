//! `pome store limit`: the store takes no more of the disk than that, whatever comes from peers; what is its own or pinned stays; and what was cleared, or purged, comes again.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use pome_cores::{CoreOptions, Corestore, KeyPair, Store};
use pome_net::driver::{ConnectionOptions, ReplicateOptions, tcp};
use process::{
    Pome, fuse_works, lines,
    talk::{share, share_at},
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 32 * MIB;

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

fn key_of(rows: &[Value]) -> String {
    rows[0]["key"].as_str().unwrap().to_owned()
}

/// What the store takes, as `du -s` counts it.
fn du(store: &Path) -> u64 {
    let mut blocks = fs::metadata(store).map_or(0, |folder| folder.blocks());
    for entry in fs::read_dir(store).into_iter().flatten().flatten() {
        // A file may go between the listing and the question.
        blocks += entry.metadata().map_or(0, |file| file.blocks());
    }
    blocks * 512
}

/// Looks at what a store takes, all the time, until it is asked what the most was.
struct Watch {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Watch {
    fn new(store: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut most = 0;
            while !told.load(Ordering::Acquire) {
                most = most.max(du(&store));
                std::thread::sleep(Duration::from_millis(3));
            }
            most
        });
        Self { stop, thread }
    }

    fn most(self) -> u64 {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap()
    }
}

/// A block that no other is like.
fn block(index: u64, size: usize) -> Vec<u8> {
    let mut x = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..size)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            x as u8
        })
        .collect()
}

/// A core of `count` such blocks in a store.
fn write(pome: &Pome, count: u64, size: usize) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let cores = Corestore::open(Store::open(&pome.store, Default::default()).unwrap()).unwrap();
        let core = cores.get(CoreOptions::name("large")).await.unwrap();
        for start in (0..count).step_by(64) {
            let blocks = (start..count.min(start + 64)).map(|index| block(index, size).into());
            core.append_batch(blocks.collect()).await.unwrap();
        }
        let key = core.key().to_string();
        cores.close().await.unwrap();
        key
    })
}

fn limit(pome: &Pome) -> Value {
    pome.json(&["store", "limit"])[0].clone()
}

#[test]
fn a_download_of_ten_times_the_limit() {
    let ((_a, writer), (_b, reader)) = (pome(), pome());
    let (count, size) = (10 * LIMIT / 65_536, 65_536);
    let key = write(&writer, count, size);
    let (sharing, address) = share(&writer, &[&key]);
    // Its own core, which nobody else has.
    let own = write(&reader, 64, size);
    assert_eq!(limit(&reader)["limit"], Value::Null);
    let set = reader.json(&["store", "limit", "32M"]);
    assert_eq!(
        (&set[0]["limit"], &set[0]["over"]),
        (&json!(LIMIT), &json!(false))
    );
    assert_eq!(limit(&reader)["limit"], LIMIT, "it persists");
    let watch = Watch::new(reader.store.clone());
    let download = ["core", "download", &key, "--peer", &address];
    let done = reader.json(&download);
    assert_eq!(done, [json!({ "length": count, "downloaded": count })]);
    let most = watch.most();
    println!(
        "at most {} of {LIMIT} bytes ({} %)",
        most,
        most * 100 / LIMIT
    );
    assert!(most <= LIMIT, "{most}");
    assert!(
        most > LIMIT / 4 * 3,
        "it made use of what it may have: {most}"
    );
    // What came last is here, what came first is not, and comes again when it is asked for.
    let last = (count - 1).to_string();
    assert!(reader.ok(&["core", "get", &key, &last]) == block(count - 1, size));
    assert_eq!(reader.fails(&["core", "get", &key, "0"]).0, 3);
    assert!(reader.ok(&["core", "get", &key, "0", "--peer", &address]) == block(0, size));
    assert!(reader.ok(&["core", "get", &key, "0"]) == block(0, size));
    assert_eq!(reader.json(&["core", "audit", &key])[0]["ok"], true);
    // What is its own is whole.
    let audit = &reader.json(&["core", "audit", &own])[0];
    assert_eq!((&audit["ok"], &audit["blocks"]), (&json!(true), &json!(64)));
    assert_eq!(reader.json(&["store", "check"]).last().unwrap()["ok"], true);
    // Without a limit all of it fits.
    assert_eq!(
        reader.json(&["store", "limit", "none"])[0]["limit"],
        Value::Null
    );
    reader.ok(&download);
    let info = &reader.json(&["core", "info", &key])[0];
    assert_eq!(info["contiguousLength"], count);
    // A limit that is set later makes room at once, and keeps what was used last.
    assert!(reader.ok(&["core", "get", &key, "7"]) == block(7, size));
    let set = &reader.json(&["store", "limit", "64M"])[0];
    assert!(set["bytes"].as_u64().unwrap() <= 64 * MIB, "{set}");
    assert!(du(&reader.store) <= 64 * MIB);
    sharing.stop();
}

#[test]
fn small_blocks_and_words() {
    let ((_a, writer), (_b, reader)) = (pome(), pome());
    let (count, size) = (400_000, 100);
    let key = write(&writer, count, size);
    let (_sharing, address) = share(&writer, &[&key]);
    reader.ok(&["store", "init"]);
    for bad in ["1M", "x", "12Q", "-1", "99999999999T"] {
        assert_eq!(reader.fails(&["store", "limit", bad]).0, 2, "{bad}");
    }
    assert_eq!(
        reader.json(&["store", "limit", "20MB"])[0]["limit"],
        20_000_000
    );
    reader.ok(&["store", "limit", "48M"]);
    let watch = Watch::new(reader.store.clone());
    let done = reader.json(&["core", "download", &key, "--peer", &address]);
    assert_eq!(done[0]["downloaded"], count);
    let most = watch.most();
    println!("at most {} of {} bytes", most, 48 * MIB);
    assert!(most <= 48 * MIB, "{most}");
    assert!(reader.ok(&["core", "get", &key, "399999"]) == block(399_999, size));
}

#[test]
fn a_store_of_its_own_is_not_cleared() {
    let ((_a, writer), (_b, reader)) = (pome(), pome());
    let theirs = write(&writer, 4, 1000);
    let (_sharing, address) = share(&writer, &[&theirs]);
    let own = write(&reader, 512, 65_536);
    let output = reader.run(&["--json", "store", "limit", "16M"]);
    assert!(output.status.success());
    let set = &lines(&output.stdout)[0];
    assert_eq!(
        (&set["limit"], &set["over"]),
        (&json!(16 * MIB), &json!(true))
    );
    assert!(!output.stderr.is_empty(), "it says so");
    let audit = &reader.json(&["core", "audit", &own])[0];
    assert_eq!(
        (&audit["ok"], &audit["blocks"]),
        (&json!(true), &json!(512))
    );
    // There is no room for others', and nobody waits for it.
    let get = ["core", "get", &theirs, "1", "--peer", &address];
    assert_eq!(reader.fails(&get), (1, "STORE_LIMIT".into()));
    reader.ok(&["store", "limit", "64M"]);
    assert!(reader.ok(&get) == block(1, 1000));
}

#[test]
fn a_mount_reads_more_than_the_limit() {
    if !fuse_works("a_mount_reads_more_than_the_limit") {
        return;
    }
    let ((a, writer), (b, reader)) = (pome(), pome());
    let (film, at) = (a.path().join("film"), b.path().join("mnt"));
    let content: Vec<u8> = (0..1600).flat_map(|n| block(n, 65_536)).collect();
    fs::write(&film, &content).unwrap();
    writer.ok(&["drive", "create", "home"]);
    writer.ok(&["drive", "put", "home", "/film", film.to_str().unwrap()]);
    writer.ok(&["drive", "put", "home", "/kept", film.to_str().unwrap()]);
    let key = key_of(&writer.json(&["drive", "info", "home"]));
    let (sharing, address) = share(&writer, &["home"]);
    reader.ok(&["store", "init"]);
    reader.ok(&["store", "limit", "32M"]);
    let mounted = reader.mount(&at, &["--drive", &key, "--peer", &address]);
    let watch = Watch::new(reader.store.clone());
    assert!(fs::read(at.join("film")).unwrap() == content);
    assert!(fs::read(at.join("kept")).unwrap() == content);
    let most = watch.most();
    println!(
        "at most {} of {LIMIT} bytes ({} %)",
        most,
        most * 100 / LIMIT
    );
    assert!(most <= LIMIT, "{most}");
    // Read once more, from the peer; the names never went.
    assert!(fs::read(at.join("film")).unwrap() == content);
    sharing.stop();
    assert_eq!(fs::read_dir(&at).unwrap().count(), 2);
    let (again, _) = share_at(&writer, &["home"], &address);
    mounted.stop();
    again.stop();
}

#[test]
fn pinned_contents_stay() {
    let ((a, writer), (_b, reader)) = (pome(), pome());
    let files: Vec<Vec<u8>> = (0..3)
        .map(|n| (0..32).flat_map(|i| block(1000 * n + i, 65_536)).collect())
        .collect();
    writer.ok(&["drive", "create", "home"]);
    for (path, content) in ["/kept/a", "/kept/b", "/other"].iter().zip(&files) {
        let file = a.path().join("file");
        fs::write(&file, content).unwrap();
        writer.ok(&["drive", "put", "home", path, file.to_str().unwrap()]);
    }
    let key = key_of(&writer.json(&["drive", "info", "home"]));
    let large = write(&writer, 1024, 65_536);
    let (_sharing, address) = share(&writer, &["home", &large]);
    let peer = ["--peer", &address];
    let with = |words: &[&str]| reader.json(&[words, &peer[..]].concat());
    reader.ok(&["store", "init"]);
    reader.ok(&["store", "limit", "24M"]);
    let pinned = with(&["drive", "pin", &key, "/kept"]);
    assert_eq!(
        (&pinned[0]["files"], &pinned[0]["blocks"]),
        (&json!(2), &json!(64))
    );
    assert_eq!(
        with(&["drive", "prefetch", &key, "/other"])[0]["blocks"],
        32
    );
    assert_eq!(with(&["drive", "prefetch", &key, "/other"])[0]["blocks"], 0);
    let watch = Watch::new(reader.store.clone());
    with(&["core", "download", &large]);
    let most = watch.most();
    assert!(most <= 24 * MIB, "{most}");
    // 64 MiB later: what is pinned is here, the other file is not.
    let local = |path: &str| reader.run(&["drive", "get", &key, path]);
    let gone = |path: &str| {
        let words = ["drive", "get", &key, path, "--timeout", "1"];
        !reader.run(&words).status.success()
    };
    with(&["drive", "ls", &key]);
    assert!(local("/kept/a").stdout == files[0]);
    assert!(local("/kept/b").stdout == files[1]);
    assert!(gone("/other"));
    let evicted = reader.json(&["drive", "evict", &key, "/kept/a"]);
    assert_eq!(evicted[0]["blocks"], 32);
    assert!(evicted[0]["freed"].is_u64(), "{evicted:?}");
    assert!(gone("/kept/a"));
    assert!(local("/kept/b").stdout == files[1]);
    assert_eq!(
        writer.fails(&["drive", "evict", "home", "/other"]),
        (1, "ONLY_COPY".into())
    );
}

#[test]
fn purged_and_synced_again() {
    let ((_a, writer), (b, _)) = (pome(), pome());
    let (count, size) = (300, 5000);
    let key = write(&writer, count, size);
    let (_sharing, address) = share(&writer, &[&key]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = Store::open(b.path().join("mine"), Default::default()).unwrap();
        let cores = Corestore::open(store).unwrap();
        let options = ConnectionOptions::default();
        let connection = tcp::connect(&address, &KeyPair::random(), &options)
            .await
            .unwrap();
        connection.opened().await.unwrap();
        let _replication = connection.replicate(&cores, ReplicateOptions::default());
        let whole = async || {
            let core = cores
                .get(CoreOptions::key(key.parse().unwrap()))
                .await
                .unwrap();
            // Until the length is known there is nothing to download.
            assert!(core.get(count - 1).await.unwrap() == block(count - 1, size));
            core.download(0..count).unwrap().done().await.unwrap();
            for index in 0..count {
                assert!(core.get(index).await.unwrap() == block(index, size));
            }
            core
        };
        let whole = async || {
            let whole = tokio::time::timeout(pome_test_support::PATIENCE, whole());
            whole.await.expect("it comes")
        };
        let core = whole().await;
        // With the peer connected, once on the same connection, once on another.
        core.purge().await.unwrap();
        assert!(cores.list().unwrap().is_empty());
        let core = whole().await;
        core.purge().await.unwrap();
        drop(core);
        connection.end();
        let connection = tcp::connect(&address, &KeyPair::random(), &options)
            .await
            .unwrap();
        let _replication = connection.replicate(&cores, ReplicateOptions::default());
        let core = whole().await;
        assert!(core.audit(|_| {}).await.unwrap().problems.is_empty());
        cores.close().await.unwrap();
    });
}
