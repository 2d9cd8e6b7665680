//! A network in memory: stores, connections between them, and a clock that only tests move.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use pome_cores::{
    CoreOptions, Corestore, CorestoreOptions, DiscoveryKey, Hypercore, Store,
    replication::{Connection, ConnectionOptions, Message, Output},
};
use pome_storage::Options;

/// One end of a wire: a connection, and the channels as its muxer would pair them.
pub(crate) struct End {
    pub(crate) connection: Connection,
    /// Channel → discovery key.
    channels: HashMap<u64, DiscoveryKey>,
    by_core: HashMap<DiscoveryKey, u64>,
    /// What the other side opened and this side has not.
    waiting: HashMap<DiscoveryKey, Vec<u8>>,
    pub(crate) destroyed: Option<&'static str>,
}

/// What goes over a wire.
#[derive(Debug, Clone)]
pub(crate) enum Frame {
    Open(DiscoveryKey, Vec<u8>),
    Message(DiscoveryKey, u64, Bytes),
    Close(DiscoveryKey),
}

impl End {
    pub(crate) fn new(cores: &Corestore, is_initiator: bool, now: Instant) -> Self {
        Self::to(cores, is_initiator, [u8::from(is_initiator); 32], now)
    }

    /// To a peer with this static key.
    pub(crate) fn to(cores: &Corestore, is_initiator: bool, peer: [u8; 32], now: Instant) -> Self {
        let options = ConnectionOptions::new(is_initiator, [7; 64], peer);
        Self::with(cores, options, now)
    }

    pub(crate) fn with(cores: &Corestore, options: ConnectionOptions, now: Instant) -> Self {
        Self {
            connection: Connection::open(cores, options, now).unwrap(),
            channels: HashMap::new(),
            by_core: HashMap::new(),
            waiting: HashMap::new(),
            destroyed: None,
        }
    }

    /// Takes a frame of the other side.
    pub(crate) fn take(&mut self, frame: Frame, now: Instant) -> Option<Frame> {
        match frame {
            Frame::Open(key, handshake) => {
                if let Some(channel) = self.by_core.get(&key) {
                    self.connection.handle_open(*channel, &handshake, now);
                } else if self.connection.handle_pair(&key.0, now) {
                    self.waiting.insert(key, handshake);
                } else {
                    return Some(Frame::Close(key));
                }
            }
            Frame::Message(key, kind, payload) => {
                if let Some(channel) = self.by_core.get(&key) {
                    self.connection
                        .handle_message(*channel, kind, &payload, now);
                }
            }
            Frame::Close(key) => {
                self.waiting.remove(&key);
                if let Some(channel) = self.by_core.remove(&key) {
                    self.channels.remove(&channel);
                    self.connection.handle_close(channel, now);
                }
            }
        }
        None
    }

    /// The next frame for the other side.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Frame> {
        loop {
            return Some(match self.connection.poll(now)? {
                Output::Open {
                    channel,
                    discovery_key,
                    handshake,
                } => {
                    self.channels.insert(channel, discovery_key);
                    self.by_core.insert(discovery_key, channel);
                    if let Some(theirs) = self.waiting.remove(&discovery_key) {
                        self.connection.handle_open(channel, &theirs, now);
                    }
                    Frame::Open(discovery_key, handshake)
                }
                Output::Message {
                    channel,
                    kind,
                    payload,
                } => match self.channels.get(&channel) {
                    Some(key) => Frame::Message(*key, kind, payload.into()),
                    None => continue,
                },
                Output::Close { channel } => {
                    let key = self.channels.remove(&channel).unwrap();
                    self.by_core.remove(&key);
                    Frame::Close(key)
                }
                Output::Destroy { reason } => {
                    self.destroyed = Some(reason);
                    return None;
                }
            });
        }
    }
}

/// Two stores and the wire between them.
pub(crate) struct Wire {
    pub(crate) ends: [End; 2],
    /// On the way to each end.
    pub(crate) frames: [VecDeque<Frame>; 2],
    /// Messages that went over it, by type.
    pub(crate) counts: HashMap<u64, u64>,
    /// The first end answers nothing any more.
    pub(crate) frozen: bool,
}

impl Wire {
    pub(crate) fn new(a: &Corestore, b: &Corestore, now: Instant) -> Self {
        Self::keyed(a, b, [1; 32], now)
    }

    /// The first end knows the second by this static key.
    pub(crate) fn keyed(a: &Corestore, b: &Corestore, key: [u8; 32], now: Instant) -> Self {
        Self {
            ends: [End::to(a, true, key, now), End::new(b, false, now)],
            frames: [VecDeque::new(), VecDeque::new()],
            counts: HashMap::new(),
            frozen: false,
        }
    }

    pub(crate) fn open_channels(&self) -> [usize; 2] {
        [self.ends[0].channels.len(), self.ends[1].channels.len()]
    }

    /// Carries one frame. False when there is none.
    pub(crate) fn step(&mut self, now: Instant) -> bool {
        for side in 0..2 {
            if let Some(frame) = self.frames[side].pop_front() {
                if let Some(answer) = self.ends[side].take(frame, now) {
                    self.frames[1 - side].push_back(answer);
                }
                return true;
            }
        }
        for side in 0..2 {
            if let Some(frame) = self.ends[side].poll(now) {
                self.frames[1 - side].push_back(frame);
                return true;
            }
        }
        false
    }

    /// Hands a message to one end as if the other had sent it.
    pub(crate) fn forge(&mut self, to: usize, core: &Hypercore, message: &Message, now: Instant) {
        let mut payload = Vec::new();
        message.encode(&mut payload);
        let frame = Frame::Message(core.discovery_key(), message.kind(), payload.into());
        self.ends[to].take(frame, now);
    }

    /// Carries frames until both sides have nothing to say. True when anything went over.
    pub(crate) fn pump(&mut self, now: Instant) -> bool {
        let mut any = false;
        loop {
            let mut moved = false;
            for side in usize::from(self.frozen)..2 {
                while let Some(frame) = self.ends[side].poll(now) {
                    if let Frame::Message(_, kind, _) = &frame {
                        *self.counts.entry(*kind).or_default() += 1;
                    }
                    self.frames[1 - side].push_back(frame);
                    moved = true;
                    if self.frames[1 - side].len() > 64 {
                        break;
                    }
                }
                while let Some(frame) = self.frames[side].pop_front() {
                    if let Some(answer) = self.ends[side].take(frame, now) {
                        self.frames[1 - side].push_back(answer);
                    }
                    moved = true;
                }
            }
            any |= moved;
            if !moved {
                return any;
            }
        }
    }
}

/// Carries frames on all wires and syncs stores until nothing moves any more.
pub(crate) fn settle(wires: &mut [&mut Wire], places: &[&Place], now: Instant) {
    loop {
        let mut moved = false;
        for wire in wires.iter_mut() {
            moved |= wire.pump(now);
        }
        places.iter().for_each(|place| place.sync());
        for wire in wires.iter_mut() {
            moved |= wire.pump(now);
        }
        if !moved {
            return;
        }
    }
}

/// A store that syncs only when it is told to.
pub(crate) fn quiet() -> Options {
    let mut options = Options::default();
    options.background = false;
    options
}

/// A store in a folder that goes away with it.
pub(crate) struct Place {
    pub(crate) cores: Corestore,
    _dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), quiet()).unwrap();
        Self {
            cores: Corestore::open(store).unwrap(),
            _dir: dir,
        }
    }

    /// A store that signs for the same cores as another one: what a copy or a restored backup is.
    pub(crate) fn twin(of: &Place) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), quiet()).unwrap();
        let mut options = CorestoreOptions::default();
        options.primary_key = Some(*of.cores.primary_key());
        Self {
            cores: Corestore::open_with(store, options).unwrap(),
            _dir: dir,
        }
    }

    pub(crate) fn sync(&self) {
        self.cores.store().sync().unwrap();
    }
}

/// A core that this place writes.
pub(crate) async fn core(place: &Place, name: &str) -> Hypercore {
    place.cores.get(CoreOptions::name(name)).await.unwrap()
}

/// The core that most tests write.
pub(crate) async fn writer(place: &Place) -> Hypercore {
    core(place, "log").await
}

/// Somebody else's core.
pub(crate) async fn reader(place: &Place, core: &Hypercore) -> Hypercore {
    place.cores.get(CoreOptions::key(core.key())).await.unwrap()
}

pub(crate) fn blocks(from: u64, count: u64) -> Vec<Bytes> {
    (from..from + count)
        .map(|at| format!("block {at}").into())
        .collect()
}

/// A clock that starts somewhere and is moved by the test.
pub(crate) struct Clock(pub(crate) Instant);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn pass(&mut self, time: Duration) -> Instant {
        self.0 += time;
        self.0
    }
}

/// Lets every task go on until it waits.
pub(crate) async fn idle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Two places, and the wire between them.
pub(crate) struct Pair {
    pub(crate) a: Place,
    pub(crate) b: Place,
    pub(crate) wire: Wire,
    pub(crate) clock: Clock,
    /// How often the two sides had to answer each other.
    pub(crate) turns: u64,
}

impl Pair {
    pub(crate) fn new(a: Place, b: Place) -> Self {
        let clock = Clock::new();
        let wire = Wire::new(&a.cores, &b.cores, clock.0);
        let mut pair = Self {
            a,
            b,
            wire,
            clock,
            turns: 0,
        };
        pair.settle();
        pair
    }

    pub(crate) fn settle(&mut self) {
        settle(&mut [&mut self.wire], &[&self.a, &self.b], self.clock.0);
    }

    /// Runs something of one side; each time that it waits, what was asked is answered, which is one turn.
    pub(crate) async fn run<T: Send + 'static>(
        &mut self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let task = tokio::spawn(task);
        let before = self.turns;
        loop {
            idle().await;
            if task.is_finished() {
                return task.await.unwrap();
            }
            self.settle();
            self.turns += 1;
            // who was put aside for a moment is asked again
            let now = self.clock.pass(Duration::from_millis(20));
            for end in &self.wire.ends {
                end.connection.handle_timeout(now);
            }
            self.settle();
            assert!(self.turns - before < 50_000, "it does not end");
        }
    }
}
