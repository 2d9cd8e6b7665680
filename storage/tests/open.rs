//! Opening, closing, and what a folder may hold; space that comes back; the disk in the background.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pome_storage::{Batch, Durability, Error, Journal, Options, Seq, Space, Store};
use std::{
    fs,
    path::Path,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options
}

fn put(store: &Store, key: &[u8], value: impl Into<Bytes>, durability: Durability) -> Seq {
    let mut batch = Batch::new();
    batch.put(Space(1), key, value);
    store.commit(batch, durability).unwrap()
}

fn payload_files(dir: &Path) -> usize {
    let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    names
        .filter(|n| n.to_str().unwrap().starts_with("payload-"))
        .count()
}

/// It is the folder that was opened, not what has its name now; and its files are its own.
#[test]
fn a_folder_that_is_open_stays_the_one() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::create_dir(at("store")).unwrap();
    fs::create_dir(at("other")).unwrap();
    let open = |name: &str| {
        let folder = fs::File::open(at(name)).unwrap();
        Store::open_in(folder, name.to_owned(), Options::default())
    };
    let store = open("store").unwrap();
    fs::rename(at("store"), at("moved")).unwrap();
    std::os::unix::fs::symlink(at("other"), at("store")).unwrap();
    put(&store, b"a", vec![1; 100_000], Durability::Synced);
    store.checkpoint().unwrap();
    store.close().unwrap();
    assert_eq!(fs::read_dir(at("other")).unwrap().count(), 0);

    let store = open("moved").unwrap();
    assert_eq!(
        store.get(Space(1), b"a").unwrap().unwrap(),
        vec![1; 100_000]
    );
    assert!(matches!(open("moved"), Err(Error::Locked { store }) if store == "moved"));
    store.close().unwrap();
    for entry in fs::read_dir(at("moved")).unwrap() {
        let name = entry.unwrap().file_name();
        fs::rename(at("moved").join(&name), at("other").join(&name)).unwrap();
        std::os::unix::fs::symlink(at("other").join(&name), at("moved").join(&name)).unwrap();
    }
    assert!(open("moved").is_err());
    assert!(open("other").is_ok());
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made/as/needed");
    let store = Store::open(&dir, Options::default()).unwrap();
    put(&store, b"a", &b"1"[..], Durability::Buffered);
    put(&store, b"big", vec![9; 100_000], Durability::Buffered);
    store.close().unwrap();
    assert!(matches!(store.get(Space(1), b"a"), Err(Error::Closed)));
    assert!(matches!(
        store.commit(Batch::new(), Durability::Synced),
        Err(Error::Closed)
    ));
    store.close().unwrap();
    let store = Store::open(&dir, Options::default()).unwrap();
    assert_eq!(store.get(Space(1), b"a").unwrap().unwrap(), "1");
    assert_eq!(store.get(Space(1), b"big").unwrap().unwrap().len(), 100_000);
    assert_eq!(store.committed_seq(), Seq(2));
    assert!(store.damage().is_empty());
    assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
}

#[test]
fn one_owner_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), quiet()).unwrap();
    let error = Store::open(dir.path(), quiet()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()));
    drop(store);
    Store::open(dir.path(), quiet()).unwrap();
}

#[test]
fn a_folder_of_other_things_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let error = Store::open(dir.path(), quiet()).unwrap_err();
    assert!(matches!(error, Error::NotAStore { .. }), "{error}");
    assert_eq!(
        fs::read_dir(dir.path()).unwrap().count(),
        1,
        "nothing was added"
    );
    let mut options = quiet();
    options.create = false;
    let missing = dir.path().join("none");
    assert!(matches!(
        Store::open(&missing, options),
        Err(Error::NotAStore { .. })
    ));
    assert!(!missing.exists());
    let file = dir.path().join("letter.txt");
    assert!(matches!(
        Store::open(file, quiet()),
        Err(Error::NotAStore { .. })
    ));
}

#[test]
fn another_version_is_named() {
    for version in [3, 9] {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path(), quiet()).unwrap().close().unwrap();
        let path = dir.path().join("superblock");
        let mut bytes = fs::read(&path).unwrap();
        for slot in [0, 4096] {
            bytes[slot + 8] = version;
        }
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(dir.path(), quiet()).unwrap_err();
        assert_eq!(error.code(), "UNKNOWN_VERSION");
        let said = error.to_string();
        let wanted = format!("superblock has format version {version}; this program knows 4:");
        assert!(said.starts_with(&wanted), "{said}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was touched");
    }
}

#[test]
fn a_store_without_its_superblock_is_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), quiet()).unwrap();
    put(&store, b"a", &b"1"[..], Durability::Synced);
    store.close().unwrap();
    let path = dir.path().join("superblock");
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    assert!(matches!(
        Store::open(dir.path(), quiet()),
        Err(Error::Corrupt { .. })
    ));
    fs::write(&path, [0; 8192]).unwrap();
    assert!(matches!(
        Store::open(dir.path(), quiet()),
        Err(Error::Corrupt { .. })
    ));
    fs::write(&path, bytes).unwrap();
    let store = Store::open(dir.path(), quiet()).unwrap();
    assert_eq!(store.get(Space(1), b"a").unwrap().unwrap(), "1");
}

#[test]
fn a_read_only_store_reads() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), quiet()).unwrap();
    put(&store, b"a", &b"1"[..], Durability::Buffered);
    store.close().unwrap();
    let mut options = Options::default();
    options.read_only = true;
    let store = Store::open(dir.path(), options).unwrap();
    assert_eq!(store.get(Space(1), b"a").unwrap().unwrap(), "1");
    let mut batch = Batch::new();
    batch.delete(Space(1), b"a");
    let error = store.commit(batch, Durability::Buffered).unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
}

#[test]
fn a_cleared_journal_gives_its_segments_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quiet();
    options.payload_segment_bytes = 256 << 10;
    let store = Store::open(dir.path(), options.clone()).unwrap();
    let journal = Journal::open(&store, Space(7)).unwrap();
    for round in 0..40u8 {
        let mut batch = Batch::new();
        journal.append(&mut batch, vec![round; 64 << 10].into());
        store.commit(batch, Durability::Buffered).unwrap();
    }
    let mut middle = [0; 10];
    journal.read_at((64 << 10) - 5, &mut middle).unwrap();
    assert_eq!(middle, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
    assert!(matches!(
        journal.read_at(40 * (64 << 10) - 5, &mut middle),
        Err(Error::Gap { .. })
    ));
    store.checkpoint().unwrap();
    let before = payload_files(dir.path());
    assert!(before >= 10);
    let snapshot = store.snapshot();
    let mut batch = Batch::new();
    journal.clear(&mut batch);
    store.commit(batch, Durability::Buffered).unwrap();
    store.checkpoint().unwrap();
    assert_eq!(
        payload_files(dir.path()),
        before,
        "the snapshot still needs them"
    );
    assert_eq!(snapshot.range(Space(7), ..).map(Result::unwrap).count(), 40);
    drop(snapshot);
    put(&store, b"x", &b"y"[..], Durability::Buffered);
    store.checkpoint().unwrap();
    assert!(payload_files(dir.path()) <= 1);
    assert_eq!(store.info().unwrap().live_payload_bytes, 0);
    assert!(journal.is_empty());
    assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
}

#[test]
fn overwritten_payloads_give_their_segments_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = quiet();
    options.payload_segment_bytes = 256 << 10;
    let store = Store::open(dir.path(), options.clone()).unwrap();
    for round in 0..60u8 {
        for key in 0..4u8 {
            put(&store, &[key], vec![round; 20_000], Durability::Buffered);
        }
        if round % 7 == 0 {
            store.checkpoint().unwrap();
        }
    }
    store.checkpoint().unwrap();
    assert!(payload_files(dir.path()) <= 2);
    store.close().unwrap();
    let store = Store::open(dir.path(), options).unwrap();
    for key in 0..4u8 {
        assert_eq!(
            store.get(Space(1), &[key]).unwrap().unwrap(),
            vec![59; 20_000]
        );
    }
    assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
}

#[test]
fn buffered_commits_reach_the_disk_by_themselves() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Options::default()).unwrap();
    let seq = put(&store, b"a", &b"1"[..], Durability::Buffered);
    let until = Instant::now() + pome_test_support::PATIENCE;
    while store.synced_seq() < seq {
        assert!(Instant::now() < until, "not synced");
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Unpark(std::thread::Thread);
impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(10)),
        }
    }
}

#[test]
fn waiting_for_the_disk_is_served_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    // Far longer than a disk that is busy takes.
    options.sync_interval = Duration::from_secs(3600);
    let store = Store::open(dir.path(), options).unwrap();
    for _ in 0..3 {
        let begin = Instant::now();
        let seq = put(&store, b"a", &b"1"[..], Durability::Buffered);
        block_on(store.synced(seq)).unwrap();
        assert!(store.synced_seq() >= seq);
        assert!(begin.elapsed() < pome_test_support::PATIENCE);
    }
    let other = store.clone();
    let closing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        other.close().unwrap();
    });
    let never = block_on(store.synced(Seq(1_000_000)));
    assert!(matches!(never, Err(Error::Closed)));
    closing.join().unwrap();
}

#[test]
fn many_threads_commit_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::default();
    options.checkpoint_log_bytes = 64 << 10;
    options.payload_segment_bytes = 256 << 10;
    let store = Store::open(dir.path(), options.clone()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..400u64 {
                    let mut batch = Batch::new();
                    let len = if n % 10 == 0 { 3_000 } else { 100 };
                    batch.put(Space(thread), (n % 100).to_be_bytes(), vec![n as u8; len]);
                    batch.put(Space(thread), b"last", n.to_be_bytes().to_vec());
                    store.commit(batch, Durability::Buffered).unwrap();
                    let snapshot = store.snapshot();
                    let last = snapshot.get(Space(thread), b"last").unwrap().unwrap();
                    assert_eq!(last, n.to_be_bytes().to_vec());
                    let value = snapshot
                        .get(Space(thread), &(n % 100).to_be_bytes())
                        .unwrap();
                    assert_eq!(value.unwrap(), vec![n as u8; len]);
                }
            });
        }
    });
    store.close().unwrap();
    let store = Store::open(dir.path(), options).unwrap();
    for thread in 0..4 {
        assert_eq!(store.snapshot().range(Space(thread), ..).count(), 101);
    }
    assert!(store.check(&mut |_, _| {}).unwrap().is_clean());
}
