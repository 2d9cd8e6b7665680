//! The process that works on the store until it is ended, and what must be there afterwards.
//!
//! Two writers, each in a space of its own, commit batch after batch: three values under the number of the batch, and the removal of the batch that is
//! [`KEPT`] older. The first waits for the disk and writes small values, the second does not and writes large ones. What was answered is told line by line.

use pome_storage::{Batch, Durability, Options, Space, Store};
use pome_wal::{Device, DeviceKind, File, FileStamp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Batches of each writer that are there.
const KEPT: u64 = 200;
/// Values of a batch.
const VALUES: u8 = 3;
const FOLDER: &str = "POME_REAL_CHILD";
const FILL: &str = "POME_REAL_FILL";

fn key(batch: u64, index: u8) -> Vec<u8> {
    let mut key = batch.to_be_bytes().to_vec();
    key.push(index);
    key
}

/// What lies under a key: its length and bytes follow from it.
fn value(writer: u64, batch: u64, index: u8) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(writer << 60 | batch << 8 | u64::from(index));
    let len = match writer {
        0 => random.next_u32() % 120,
        _ => 500 + random.next_u32() % 30_000,
    };
    let mut value = vec![0; len as usize];
    random.fill_bytes(&mut value);
    value
}

fn options() -> Options {
    let mut options = Options::default();
    // Much happens in a short life: checkpoints, sealed segments, compaction.
    options.checkpoint_log_bytes = 64 << 10;
    options.checkpoint_payload_bytes = 1 << 20;
    options.payload_segment_bytes = 512 << 10;
    options.log_segment_bytes = 64 << 10;
    options
}

fn write(store: &Store, writer: u64) {
    let space = Space(writer + 1);
    let last = store.snapshot().keys(space, ..).next_back();
    let mut batch = match last {
        Some(key) => u64::from_be_bytes(key.unwrap()[..8].try_into().unwrap()),
        None => 0,
    };
    loop {
        batch += 1;
        let mut changes = Batch::new();
        for index in 0..VALUES {
            changes.put(space, key(batch, index), value(writer, batch, index));
        }
        if let Some(old) = batch.checked_sub(KEPT) {
            changes.delete_range(space, key(old, 0), key(old, VALUES));
        }
        let durability = match writer {
            0 => Durability::Synced,
            _ => Durability::Buffered,
        };
        store.commit(changes, durability).unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{writer} {batch}").unwrap();
    }
}

/// Writes values of 64 KiB until there are so many bytes, and goes on.
fn fill(store: &Store, bytes: u64) {
    let mut content = vec![0; 64 << 10];
    ChaCha8Rng::seed_from_u64(0).fill_bytes(&mut content);
    for number in 0.. {
        let mut batch = Batch::new();
        for index in 0..64u64 {
            let at = number * 64 + index;
            content[..8].copy_from_slice(&at.to_be_bytes());
            batch.put(Space(1), at.to_be_bytes(), content.clone());
        }
        store.commit(batch, Durability::Synced).unwrap();
        println!("0 {}", (number + 1) * 64);
        if number * 64 * content.len() as u64 >= bytes {
            println!("1 1");
        }
    }
}

/// The other process; a test by name only.
#[test]
fn child() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    if let Ok(bytes) = env::var(FILL) {
        let store = Store::open(folder, Options::default()).unwrap();
        return fill(&store, bytes.parse().unwrap());
    }
    let store = Store::open(folder, options()).unwrap();
    thread::scope(|scope| {
        for writer in 0..2 {
            let store = &store;
            scope.spawn(move || write(store, writer));
        }
    });
}

/// A running child, and what it has answered.
pub(crate) struct Worker {
    pub(crate) child: Child,
    pub(crate) answered: Arc<[AtomicU64; 2]>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn new(folder: &Path, device: &str, fill: Option<u64>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "child::child", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder)
            .env("POME_DEVICE", device)
            .stdout(Stdio::piped());
        if let Some(bytes) = fill {
            command.env(FILL, bytes.to_string());
        }
        let mut child = command.spawn().unwrap();
        let answered = Arc::new([const { AtomicU64::new(0) }; 2]);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = answered.clone();
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some((writer, batch)) = line.split_once(' ') else {
                    continue;
                };
                if let (Ok(writer), Ok(batch)) = (writer.parse::<usize>(), batch.parse()) {
                    told[writer].fetch_max(batch, Ordering::SeqCst);
                }
            }
        });
        Self {
            child,
            answered,
            reader: Some(reader),
        }
    }

    pub(crate) fn answered(&self) -> [u64; 2] {
        [0, 1].map(|writer| self.answered[writer].load(Ordering::SeqCst))
    }

    /// `kill -9`; answers all that was answered.
    pub(crate) fn kill(mut self) -> [u64; 2] {
        self.child.kill().unwrap();
        let end = self.child.wait().unwrap();
        assert!(end.code().is_none(), "it ended by itself: {end}");
        self.reader.take().unwrap().join().unwrap();
        self.answered()
    }

    /// Waits for the first answer of a writer.
    pub(crate) fn wait_for(&mut self, writer: usize) {
        self.wait_until(writer, 1);
    }

    /// Waits until a writer has written so many batches, those of before included.
    pub(crate) fn wait_until(&mut self, writer: usize, batches: u64) {
        while self.answered()[writer] < batches {
            thread::sleep(Duration::from_millis(1));
            let end = self.child.try_wait().unwrap();
            assert!(end.is_none(), "it ended by itself: {end:?}");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder on a machine that was started again: the copy of a disk is opened on the machine that goes on, which a power cut does not.
struct Rebooted(Arc<dyn Device>);

impl Device for Rebooted {
    fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn File>> {
        self.0.open(name, create)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
    fn boot_id(&self) -> [u8; 16] {
        self.0.boot_id().map(|byte| !byte)
    }
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock()
    }
    fn stamp(&self, name: &str) -> io::Result<FileStamp> {
        self.0.stamp(name)
    }
}

/// What is there after a power cut; see [`compare`].
pub(crate) fn verify_rebooted(folder: &Path, at_least: [u64; 2]) -> [u64; 2] {
    let device = DeviceKind::Auto.open(folder).unwrap();
    compare(
        &Store::open_on(Arc::new(Rebooted(device)), options()).unwrap(),
        at_least,
    )
}

/// What is there after a kill; see [`compare`].
pub(crate) fn verify(folder: &Path, at_least: [u64; 2]) -> [u64; 2] {
    compare(&Store::open(folder, options()).unwrap(), at_least)
}

/// Looks through an open store and closes it: each writer's newest batches are there, whole, none is missing among them, and the newest is not older than
/// `at_least`. Answers the newest of each.
fn compare(store: &Store, at_least: [u64; 2]) -> [u64; 2] {
    assert!(store.damage().is_empty(), "{:?}", store.damage());
    let newest = [0, 1].map(|writer: u64| {
        let space = Space(writer + 1);
        let snapshot = store.snapshot();
        let last = snapshot.keys(space, ..).next_back();
        let newest = last.map_or(0, |key| {
            u64::from_be_bytes(key.unwrap()[..8].try_into().unwrap())
        });
        let at_least = at_least[writer as usize];
        assert!(
            newest >= at_least,
            "writer {writer}: batch {at_least} was answered, {newest} is the newest"
        );
        let mut entries = snapshot.range(space, ..);
        for batch in (newest + 1).saturating_sub(KEPT).max(1)..=newest {
            for index in 0..VALUES {
                let (found, bytes) = entries.next().unwrap().unwrap();
                assert_eq!(found[..], key(batch, index), "writer {writer}");
                assert!(
                    bytes[..] == value(writer, batch, index),
                    "writer {writer}, batch {batch}"
                );
            }
        }
        assert!(entries.next().is_none());
        newest
    });
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    store.close().unwrap();
    newest
}

/// A large store, after its process was killed: only the opening is timed by the caller.
pub(crate) fn open_filled(folder: &Path) -> Store {
    Store::open(folder, Options::default()).unwrap()
}

/// All that was answered is there, by samples.
pub(crate) fn verify_filled(store: &Store, answered: u64) {
    for at in [0, answered / 3, answered / 2, answered - 1] {
        let value = store.get(Space(1), &at.to_be_bytes()).unwrap().unwrap();
        assert_eq!(value.len(), 64 << 10);
        assert_eq!(value[..8], at.to_be_bytes());
    }
    let last = store.snapshot().keys(Space(1), ..).next_back();
    let last = u64::from_be_bytes(last.unwrap().unwrap()[..].try_into().unwrap());
    assert!(last + 1 >= answered && (last + 1).is_multiple_of(64));
}
