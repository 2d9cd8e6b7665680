//! A drive whose blocks are with a peer: how often one has to ask for them. Two stores in one process, joined by a wire that goes to and fro only when
//! both sides have nothing more to do, so that round trips can be counted.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use futures_util::TryStreamExt;
use pome_cores::{
    Corestore, DiscoveryKey, Key, Store,
    replication::{Connection, ConnectionOptions, Message, Output},
};
use pome_drive_fs::{DriveOptions, Hyperdrive, PutOptions};
use std::{
    collections::HashMap,
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
            // One thread does everything: what waits for nobody else is done after a few turns.
            for _ in 0..64 {
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
    assert!(counts.round_trips <= 16, "{counts:?}");
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
    assert!(counts.round_trips <= 60, "{counts:?}");
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
