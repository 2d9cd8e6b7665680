//! A drive whose blocks are with a peer: how often one has to ask for them. Two stores in one process, joined by a wire that goes to and fro only when
//! both sides have nothing more to do, so that round trips can be counted.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use futures_util::{StreamExt, TryStreamExt};
use pome_cores::{
    Corestore, DiscoveryKey, Key, Store,
    replication::{Connection, ConnectionOptions, Message, Output},
};
use pome_drive_fs::{
    DriveOptions, Hyperdrive, PutOptions,
    vfs::{ROOT, Vfs, VfsOptions, lower},
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// One side of the wire, and its channels as a muxer would pair them.
struct End {
    connection: Connection,
    keys: HashMap<u64, DiscoveryKey>,
    channels: HashMap<DiscoveryKey, u64>,
    /// What the other side opened and this one has not yet.
    waiting: HashMap<DiscoveryKey, Vec<u8>>,
}

enum Frame {
    Open(DiscoveryKey, Vec<u8>),
    Message(DiscoveryKey, u64, Vec<u8>),
    Close(DiscoveryKey),
}

impl End {
    fn new(cores: &Corestore, is_initiator: bool, now: Instant) -> Self {
        let options = ConnectionOptions::new(is_initiator, [7; 64], [u8::from(is_initiator); 32]);
        Self {
            connection: Connection::open(cores, options, now).unwrap(),
            keys: HashMap::new(),
            channels: HashMap::new(),
            waiting: HashMap::new(),
        }
    }

    /// Takes a frame of the other side; what comes back is a channel that is not wanted here.
    fn take(&mut self, frame: Frame, now: Instant) -> Option<Frame> {
        match frame {
            Frame::Open(key, handshake) => match self.channels.get(&key) {
                Some(channel) => self.connection.handle_open(*channel, &handshake, now),
                None if self.connection.handle_pair(&key.0, now) => {
                    self.waiting.insert(key, handshake);
                }
                None => return Some(Frame::Close(key)),
            },
            Frame::Message(key, kind, payload) => {
                if let Some(channel) = self.channels.get(&key) {
                    let payload = payload.into();
                    self.connection
                        .handle_message(*channel, kind, &payload, now);
                }
            }
            Frame::Close(key) => {
                if let Some(channel) = self.channels.remove(&key) {
                    self.connection.handle_close(channel, now);
                }
            }
        }
        None
    }

    fn say(&mut self, now: Instant) -> Vec<Frame> {
        let mut said = Vec::new();
        while let Some(output) = self.connection.poll(now) {
            match output {
                Output::Open {
                    channel,
                    discovery_key,
                    handshake,
                } => {
                    self.keys.insert(channel, discovery_key);
                    self.channels.insert(discovery_key, channel);
                    if let Some(theirs) = self.waiting.remove(&discovery_key) {
                        self.connection.handle_open(channel, &theirs, now);
                    }
                    said.push(Frame::Open(discovery_key, handshake));
                }
                Output::Message {
                    channel,
                    kind,
                    payload,
                } => said.push(Frame::Message(self.keys[&channel], kind, payload)),
                Output::Close { channel } => {
                    let key = self.keys[&channel];
                    self.channels.remove(&key);
                    said.push(Frame::Close(key));
                }
                Output::Destroy { reason } => panic!("{reason}"),
            }
        }
        said
    }
}

/// What went over the wire.
#[derive(Debug, Default)]
struct Counts {
    /// How often requests went there, all that were made at a time together.
    round_trips: u64,
    requests: u64,
    /// What came back.
    bytes: u64,
}

/// A writer's drive, and a reader that has nothing of it.
struct Remote {
    _folders: [tempfile::TempDir; 2],
    written: Hyperdrive,
    drive: Hyperdrive,
    ends: [End; 2],
    now: Instant,
}

fn store() -> (tempfile::TempDir, Corestore) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Default::default()).unwrap();
    (folder, Corestore::open(store).unwrap())
}

impl Remote {
    async fn new() -> Self {
        let ((a, ours), (b, theirs)) = (store(), store());
        let written = Hyperdrive::open(ours.clone(), DriveOptions::default())
            .await
            .unwrap();
        let key: Key = written.key();
        let options = DriveOptions {
            key: Some(key),
            ..DriveOptions::default()
        };
        let drive = Hyperdrive::open(theirs.clone(), options).await.unwrap();
        let [written, drive] = [written, drive].map(|drive| {
            let (drive, answers) = drive.with_extension();
            tokio::spawn(answers.run());
            drive
        });
        let now = Instant::now();
        let ends = [End::new(&theirs, true, now), End::new(&ours, false, now)];
        Self {
            _folders: [a, b],
            written,
            drive,
            ends,
            now,
        }
    }

    /// Does `work` at the reader's, over the wire.
    async fn at_the_reader<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> (T, Counts) {
        self.written.corestore().store().sync().unwrap();
        let mut counts = Counts::default();
        let work = tokio::spawn(work);
        for _ in 0..1_000_000 {
            // One thread does everything: what waits for nobody else is done after these turns, each of which takes in a hundred blocks or so.
            for _ in 0..512 {
                tokio::task::yield_now().await;
            }
            if work.is_finished() {
                return (work.await.unwrap(), counts);
            }
            self.now += Duration::from_millis(1);
            let asked = self.ends[0].say(self.now);
            let requests = asked
                .iter()
                .filter(|frame| matches!(frame, Frame::Message(_, kind, payload)
                    if matches!(Message::decode(*kind, &payload.clone().into()), Ok(Some(Message::Request(_))))))
                .count() as u64;
            counts.requests += requests;
            counts.round_trips += u64::from(requests > 0);
            let [reader, writer] = &mut self.ends;
            for frame in asked {
                if let Some(close) = writer.take(frame, self.now) {
                    reader.take(close, self.now);
                }
            }
            for frame in writer.say(self.now) {
                if let Frame::Message(_, _, payload) = &frame {
                    counts.bytes += payload.len() as u64;
                }
                if let Some(close) = reader.take(frame, self.now) {
                    writer.take(close, self.now);
                }
            }
        }
        panic!("it does not end: {counts:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_large_folder_is_listed_in_few_round_trips() {
    const FILES: u64 = 3000;
    let mut remote = Remote::new().await;
    let mut batch = remote.written.batch().unwrap();
    for n in 0..FILES {
        let path = format!("/many/file-{:04}", n * 7919 % FILES);
        batch
            .put(&path, format!("content {n}"), PutOptions::default())
            .unwrap();
    }
    batch.put("/one", "1", PutOptions::default()).unwrap();
    batch.flush(Default::default()).await.unwrap();
    let drive = remote.drive.clone();
    let (updated, counts) = remote
        .at_the_reader(async move { drive.core().update().await.unwrap() })
        .await;
    assert!(updated, "{counts:?}");

    let drive = remote.drive.clone();
    let (one, counts) = remote
        .at_the_reader(async move { drive.entry("/one").await.unwrap() })
        .await;
    assert!(one.is_some());
    println!("one entry: {counts:?}");
    assert!(counts.round_trips <= 4, "{counts:?}");
    assert!(counts.requests <= 64, "{counts:?}");

    let drive = remote.drive.clone();
    let (names, counts) = remote
        .at_the_reader(async move {
            let names: Vec<_> = drive.children("/many").try_collect().await.unwrap();
            names
        })
        .await;
    assert_eq!(names.len() as u64, FILES);
    println!("{FILES} names: {counts:?}");
    assert!(counts.round_trips <= 20, "{counts:?}");
    // Nothing is asked for that the listing does not need, but for a few at its end.
    assert!(counts.requests <= FILES + 600, "{counts:?}");

    // What is here is listed without asking.
    let drive = remote.drive.clone();
    let (again, counts) = remote
        .at_the_reader(async move {
            let names: Vec<_> = drive.children("/many").try_collect().await.unwrap();
            names
        })
        .await;
    assert!(again == names && counts.requests == 0, "{counts:?}");
}

fn setting(name: &str, default: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Writes a file of `mib` MiB at the writer's; each has its number in all of its bytes.
async fn film(remote: &Remote, mib: u64) {
    let mut to = remote
        .written
        .put_stream("/film", PutOptions::default())
        .await
        .unwrap();
    for n in 0..mib {
        to.write(vec![n as u8; 1 << 20]).await.unwrap();
    }
    to.finish().await.unwrap();
}

/// `POME_REMOTE_MIB` says how large (default 64; 4096 is what docs/proofs has).
#[tokio::test(flavor = "current_thread")]
async fn a_byte_in_the_middle_of_a_large_file() {
    let mib = setting("POME_REMOTE_MIB", 64);
    let mut remote = Remote::new().await;
    let mut batch = remote.written.batch().unwrap();
    for n in 0..2000 {
        let path = format!("/around/file-{n}");
        batch.put(&path, "x", PutOptions::default()).unwrap();
    }
    batch.flush(Default::default()).await.unwrap();
    film(&remote, mib).await;
    let drive = remote.drive.clone();
    remote
        .at_the_reader(async move { drive.core().update().await.unwrap() })
        .await;
    let middle = (mib << 19) + 12_345;
    let drive = remote.drive.clone();
    let (entry, path) = remote
        .at_the_reader(async move { drive.entry("/film").await.unwrap().unwrap() })
        .await;
    let drive = remote.drive.clone();
    let (byte, read) = remote
        .at_the_reader(async move {
            let blobs = drive.blobs().await.unwrap();
            let blob = entry.value.blob.unwrap();
            blobs.read_at(&blob, middle, 1).await.unwrap()
        })
        .await;
    assert_eq!(byte[0], (mib / 2) as u8);
    println!("its entry: {path:?}; a byte of {mib} MiB: {read:?}");
    assert!(read.bytes < 1 << 20, "{read:?}");
    assert!(read.round_trips <= 3, "{read:?}");
    assert!(
        path.round_trips + read.round_trips <= 4,
        "{path:?}, {read:?}"
    );
}

/// `POME_REMOTE_FILES` says how many (default 20,000; 200,000 is what docs/proofs has).
#[tokio::test(flavor = "current_thread")]
async fn a_very_large_folder_begins_at_once() {
    let files = setting("POME_REMOTE_FILES", 20_000);
    let mut remote = Remote::new().await;
    let mut batch = remote.written.batch().unwrap();
    for n in 0..files {
        let path = format!("/many/file-{:06}", n * 7919 % files);
        batch.put(&path, "x", PutOptions::default()).unwrap();
    }
    batch.flush(Default::default()).await.unwrap();
    let drive = remote.drive.clone();
    remote
        .at_the_reader(async move { drive.core().update().await.unwrap() })
        .await;
    let drive = remote.drive.clone();
    let (mut names, page) = remote
        .at_the_reader(async move {
            let mut names = drive.children("/many").boxed();
            for _ in 0..100 {
                names.try_next().await.unwrap().unwrap();
            }
            names
        })
        .await;
    let (rest, all) = remote
        .at_the_reader(async move {
            let mut rest = 0;
            while names.try_next().await.unwrap().is_some() {
                rest += 1;
            }
            rest
        })
        .await;
    assert_eq!(rest + 100, files);
    println!("100 names of {files}: {page:?}; all: {all:?}");
    assert!(page.round_trips <= 4, "{page:?}");
    assert!(page.round_trips + all.round_trips <= 100, "{all:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_limited_range_asks_for_little() {
    let mut remote = Remote::new().await;
    let mut batch = remote.written.batch().unwrap();
    for n in 0..3000 {
        batch
            .put(&format!("/f{n:04}"), "x", PutOptions::default())
            .unwrap();
    }
    batch.flush(Default::default()).await.unwrap();
    let drive = remote.drive.clone();
    remote
        .at_the_reader(async move { drive.core().update().await.unwrap() })
        .await;
    let drive = remote.drive.clone();
    let (first, counts) = remote
        .at_the_reader(async move {
            let range = pome_bee::RangeOptions::new().with_limit(3);
            let first: Vec<_> = drive.entries(range).try_collect().await.unwrap();
            first
        })
        .await;
    assert_eq!(first.len(), 3);
    println!("3 of 3000: {counts:?}");
    assert!(counts.requests <= 80, "{counts:?}");
}

/// A file of `mib` MiB at the writer's, shown at the reader's as a mount shows it: its inode there.
async fn shown(remote: &mut Remote, mib: u64) -> (Arc<Vfs>, u64) {
    film(remote, mib).await;
    let drive = remote.drive.clone();
    let (shown, _) = remote
        .at_the_reader(async move {
            drive.core().update().await.unwrap();
            let options = VfsOptions::default();
            let vfs = Vfs::open(lower(&drive), drive.corestore(), "shown", options)
                .await
                .unwrap();
            let ino = vfs.lookup(ROOT, "film".as_ref()).await.unwrap().ino;
            (vfs, ino)
        })
        .await;
    shown
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_read_on_and_on_comes_ahead_of_it() {
    const MIB: u64 = 64;
    const PART: u64 = 128 << 10;
    let mut remote = Remote::new().await;
    let (vfs, ino) = shown(&mut remote, MIB).await;
    let reader = vfs.clone();
    let ((), read) = remote
        .at_the_reader(async move {
            for part in 0..(MIB << 20) / PART {
                let bytes = reader.read(ino, part * PART, PART as usize).await.unwrap();
                assert_eq!(bytes.len() as u64, PART);
                assert!(bytes.iter().all(|byte| *byte == (part / 8) as u8));
            }
        })
        .await;
    println!("{MIB} MiB in parts of 128 KiB: {read:?}");
    // 512 parts, of which each would be a round trip, and no block twice.
    assert!(read.round_trips <= 60, "{read:?}");
    let blocks = MIB * 16;
    // Beside each block's, those that ask which one has a byte.
    assert!((blocks..blocks + 64).contains(&read.requests), "{read:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_read_here_and_there_brings_nothing_else() {
    const MIB: u64 = 64;
    const READS: u64 = 100;
    let mut remote = Remote::new().await;
    let (vfs, ino) = shown(&mut remote, MIB).await;
    let reader = vfs.clone();
    let ((), read) = remote
        .at_the_reader(async move {
            for n in 0..READS {
                // Some way from each other, and each in one block.
                let offset = n * 37 % READS * (600 << 10) + 1000;
                let bytes = reader.read(ino, offset, 4096).await.unwrap();
                assert_eq!(bytes.len(), 4096);
            }
        })
        .await;
    println!("{READS} reads of 4 KiB: {read:?}");
    // A block each, and where the reader had to be told which block that is, its place.
    assert!(read.bytes < READS * (66 << 10) + (256 << 10), "{read:?}");
}
