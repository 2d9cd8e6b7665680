//! All cores of a store over one connection: what a driver of streams joins.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use pome_encoding::{DiscoveryKey, Reader};

use super::{
    beside::Worker,
    events::PeerId,
    lossy::Lossy,
    messages::{Handshake, Message},
    peer::Closing,
    ready::Ready,
    tell::Lag,
};
use crate::{caps, core::Core, corestore::Corestore, error::Error, registry::Registry};

/// Channels that one peer may have open: about 3 KiB each, and what their peers take.
const CHANNELS_MAX: usize = 100_000;

/// Messages of one channel that are made together: until they are so many, or have about so many bytes.
const TOGETHER: (usize, usize) = (256, 64 << 10);

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// This side opened the stream.
    pub is_initiator: bool,
    /// What both sides know of the handshake; capabilities are keyed with it.
    pub handshake_hash: [u8; 64],
    /// The static key of the other side.
    pub remote_public_key: [u8; 32],
    /// Only these cores are replicated. Default: every core that both sides know.
    pub only: Option<Vec<DiscoveryKey>>,
    /// Where blocks that came are checked and stored when they are many. Default: within [`Connection::poll`] and [`Connection::handle_message`].
    pub worker: Option<Worker>,
}

impl ConnectionOptions {
    /// For a stream after its handshake.
    #[must_use]
    pub fn new(is_initiator: bool, handshake_hash: [u8; 64], remote_public_key: [u8; 32]) -> Self {
        Self {
            is_initiator,
            handshake_hash,
            remote_public_key,
            only: None,
            worker: None,
        }
    }
}

/// What a driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Open a channel with protocol [`PROTOCOL`](super::PROTOCOL).
    Open {
        /// Names the channel here and in all calls; never used again.
        channel: u64,
        /// The channel's id for the peer.
        discovery_key: DiscoveryKey,
        /// What to open it with.
        handshake: Vec<u8>,
    },
    /// Send a message on a channel.
    Message {
        /// Which.
        channel: u64,
        /// The number of its type.
        kind: u64,
        /// As it goes over the wire.
        payload: Vec<u8>,
    },
    /// Close a channel. Nothing more comes for it.
    Close {
        /// Which.
        channel: u64,
    },
    /// End the whole connection: the peer broke the rules.
    Destroy {
        /// Why.
        reason: &'static str,
    },
}

/// The replication of the cores of one [`Corestore`] over one connection: a state machine that a driver joins to a muxer of channels.
///
/// The driver hands in what comes, then takes what goes with [`poll`](Self::poll) as long as its stream has room, and asks
/// [`poll_timeout`](Self::poll_timeout) when to call [`handle_timeout`](Self::handle_timeout). What happens elsewhere (an append, a `get`, a
/// sync of the store) resolves [`ready`](Self::ready). Every call may come too often.
///
/// ```
/// use pome_cores::{CoreOptions, Corestore, Store, replication::{Connection, ConnectionOptions, Output}};
/// use std::time::Instant;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
/// let core = cores.get(CoreOptions::name("log")).await?;
/// let options = ConnectionOptions::new(true, [1; 64], [2; 32]);
/// let connection = Connection::open(&cores, options, Instant::now())?;
/// let Some(Output::Open { discovery_key, .. }) = connection.poll(Instant::now()) else {
///     panic!("a core that is open is offered");
/// };
/// assert_eq!(discovery_key, core.discovery_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    registry: Arc<Registry>,
    ready: Arc<Ready>,
    options: ConnectionOptions,
    only: Option<HashSet<DiscoveryKey>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Messages that were made together and are not taken yet.
    made: VecDeque<Output>,
    channels: BTreeMap<u64, Channel>,
    by_core: HashMap<DiscoveryKey, u64>,
    /// Which channels want to be looked at, and when. A time may be too early, never too late.
    timers: BTreeSet<(Instant, u64)>,
    /// The cores with lost blocks that were not offered yet; none when all were.
    lossy: Option<Lossy>,
    last: u64,
    destroyed: bool,
    closed: bool,
}

struct Channel {
    core: Arc<Core>,
    peer: PeerId,
    /// The driver has been told to open it.
    offered: bool,
    /// Its entry in the timers.
    timer: Option<Instant>,
}

impl State {
    /// This channel is to be looked at then, at the latest.
    fn set_timer(&mut self, channel: u64, at: Option<Instant>) {
        let Some(entry) = self.channels.get_mut(&channel) else {
            return;
        };
        let Some(at) = at.filter(|at| entry.timer.is_none_or(|set| *at < set)) else {
            return;
        };
        if let Some(set) = entry.timer.replace(at) {
            self.timers.remove(&(set, channel));
        }
        self.timers.insert((at, channel));
    }

    /// The channels whose time has come; their timers are gone.
    fn take_due(&mut self, now: Instant) -> Vec<u64> {
        let mut due = Vec::new();
        while self.timers.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, channel)) = self.timers.pop_first()
        {
            if let Some(entry) = self.channels.get_mut(&channel) {
                entry.timer = None;
            }
            due.push(channel);
        }
        due
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Starts to replicate: every core of the store that has a session is offered, now and when it gets one; so are those that have lost blocks, a
    /// few at a time; others when the peer names them.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub fn open(
        cores: &Corestore,
        options: ConnectionOptions,
        now: Instant,
    ) -> Result<Self, Error> {
        let registry = cores.registry().clone();
        if registry.is_closed() {
            return Err(Error::Closed);
        }
        let ready = Arc::new(Ready::new(options.worker.clone()));
        registry.connect(&ready);
        let only = options
            .only
            .as_ref()
            .map(|only| only.iter().copied().collect());
        let connection = Self {
            registry,
            ready,
            only,
            state: Mutex::new(State {
                lossy: Some(Lossy::new(&options.handshake_hash)),
                ..State::default()
            }),
            options,
        };
        for core in connection.registry.open_cores() {
            if core.replication.has_sessions() {
                connection.attach(core, now);
            }
        }
        Ok(connection)
    }

    fn allows(&self, discovery_key: &DiscoveryKey) -> bool {
        (self.only.as_ref()).is_none_or(|only| only.contains(discovery_key))
    }

    /// Makes a channel for a core; false when there is one.
    fn attach(&self, core: Arc<Core>, now: Instant) -> bool {
        let mut state = self.state.lock();
        if !self.allows(&core.discovery_key)
            || state.closed
            || state.by_core.contains_key(&core.discovery_key)
            || state.channels.len() >= CHANNELS_MAX
            || core.is_purged()
            || core.replication.is_forked()
        {
            return false;
        }
        state.last += 1;
        let channel = state.last;
        let remote_key = self.options.remote_public_key;
        let peer = core.replication.with(&core, |machine| {
            machine.add_peer(&core, channel, self.ready.clone(), remote_key, now)
        });
        state.by_core.insert(core.discovery_key, channel);
        let entry = Channel {
            core,
            peer,
            offered: false,
            timer: None,
        };
        state.channels.insert(channel, entry);
        drop(state);
        self.ready.mark(channel);
        true
    }

    fn detach(&self, channel: u64) -> Option<Channel> {
        let mut state = self.state.lock();
        let entry = state.channels.remove(&channel)?;
        (state.made).retain(
            |output| !matches!(output, Output::Message { channel: of, .. } if *of == channel),
        );
        if let Some(set) = entry.timer {
            state.timers.remove(&(set, channel));
        }
        state.by_core.remove(&entry.core.discovery_key);
        if let Some(lossy) = &mut state.lossy {
            lossy.closed(channel);
        }
        drop(state);
        Some(entry)
    }

    fn channel(&self, channel: u64) -> Option<(Arc<Core>, PeerId)> {
        let state = self.state.lock();
        let entry = state.channels.get(&channel)?;
        Some((entry.core.clone(), entry.peer))
    }

    /// The peer has opened a channel with this id, and there is none here. False: the core is not here, or not for this peer; the channel
    /// is to be rejected. True: [`poll`](Self::poll) will open it.
    pub fn handle_pair(&self, id: &[u8], now: Instant) -> bool {
        let Ok(id) = <[u8; 32]>::try_from(id) else {
            return false;
        };
        let discovery_key = DiscoveryKey(id);
        if !self.allows(&discovery_key) || self.registry.is_closed() {
            return false;
        }
        if self.state.lock().by_core.contains_key(&discovery_key) {
            return true;
        }
        match self.registry.core(discovery_key, None, None) {
            Ok(core) => self.attach(core, now),
            Err(_) => false,
        }
    }

    /// Both sides have opened a channel; `handshake` is the peer's.
    pub fn handle_open(&self, channel: u64, handshake: &[u8], now: Instant) {
        let Some((core, peer)) = self.channel(channel) else {
            return;
        };
        let Ok(handshake) = Handshake::decode(&mut Reader::new(handshake)) else {
            self.destroy(&core, peer, "a handshake that does not decode");
            return;
        };
        let ConnectionOptions {
            is_initiator,
            handshake_hash,
            ..
        } = &self.options;
        core.replication.with(&core, |machine| {
            machine.opened(&core, peer, &handshake, *is_initiator, handshake_hash);
        });
        let _ = now;
    }

    fn destroy(&self, core: &Core, peer: PeerId, reason: &'static str) {
        core.replication.with(core, |machine| {
            if let Some(peer) = machine.peers.get_mut(&peer) {
                peer.closing = Some(Closing::Destroy(reason));
                peer.mark();
            }
        });
    }

    /// A message of the peer on a channel. Types that a later version has are passed over.
    pub fn handle_message(&self, channel: u64, kind: u64, payload: &Bytes, now: Instant) {
        let Some((core, peer)) = self.channel(channel) else {
            return;
        };
        match Message::decode(kind, payload) {
            Ok(Some(message)) => core.replication.with(&core, |machine| {
                machine.receive(&core, peer, message, now);
            }),
            Ok(None) => {}
            Err(_) => self.destroy(&core, peer, "a message that does not decode"),
        }
        self.ready.mark(channel);
    }

    /// The peer has closed or rejected a channel.
    pub fn handle_close(&self, channel: u64, now: Instant) {
        let Some(entry) = self.detach(channel) else {
            return;
        };
        let core = entry.core;
        let removed = core
            .replication
            .with(&core, |machine| machine.remove_peer(&core, entry.peer));
        // both had nothing to ask for when the peer closed it; if that has changed, it is opened again
        let again = removed
            .is_some_and(|peer| peer.opened && !peer.remote.downloading && peer.remote.uploading);
        if again && core.replication.has_sessions() {
            self.attach(core, now);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&self, now: Instant) {
        let due = self.state.lock().take_due(now);
        for channel in due {
            let Some((core, _)) = self.channel(channel) else {
                continue;
            };
            let next = core.replication.with_existing(|machine| {
                machine.handle_timeout(&core, now);
                machine.poll_timeout()
            });
            self.state.lock().set_timer(channel, next.flatten());
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; to be asked after every other call. It may be too early, never too late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.timers.first().map(|(at, _)| *at)
    }

    /// The next thing for the driver to do; `None`: nothing until something comes, [`ready`](Self::ready) resolves or time passes. To be
    /// asked after every call, as long as the stream has room: what is not taken is not made.
    #[must_use]
    pub fn poll(&self, now: Instant) -> Option<Output> {
        {
            let mut state = self.state.lock();
            if state.destroyed || state.closed {
                return None;
            }
            if let Some(output) = state.made.pop_front() {
                return Some(output);
            }
        }
        for discovery_key in self.ready.take_opened() {
            if let Ok(core) = self.registry.core(discovery_key, None, None) {
                self.attach(core, now);
            }
        }
        self.offer_lossy(now);
        self.ready.settle(self.registry.store.synced_seq());
        while let Some(channel) = self.ready.next() {
            if let Some(output) = self.poll_channel(channel, now) {
                self.ready.mark(channel);
                return Some(output);
            }
        }
        None
    }

    /// Opens the next cores that have lost blocks, and offers them.
    fn offer_lossy(&self, now: Instant) {
        loop {
            let next = match &mut self.state.lock().lossy {
                Some(lossy) if lossy.may_open() => lossy.next(&self.registry),
                _ => return,
            };
            let Some(discovery_key) = next else {
                self.state.lock().lossy = None;
                return;
            };
            if !self.allows(&discovery_key) {
                continue;
            }
            let lossy = self
                .registry
                .core(discovery_key, None, None)
                .and_then(|core| {
                    let lossy = self.registry.is_lossy(&core)?;
                    Ok(lossy.then_some(core))
                });
            match lossy {
                Ok(Some(core)) => {
                    if self.attach(core, now) {
                        let state = &mut *self.state.lock();
                        let channel = state.by_core.get(&discovery_key);
                        if let (Some(lossy), Some(channel)) = (&mut state.lossy, channel) {
                            lossy.opened(*channel);
                        }
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%discovery_key, %error, "a core that has lost blocks cannot be offered");
                }
            }
        }
    }

    fn poll_channel(&self, channel: u64, now: Instant) -> Option<Output> {
        let (core, peer) = {
            let mut state = self.state.lock();
            let entry = state.channels.get_mut(&channel)?;
            if !std::mem::replace(&mut entry.offered, true) {
                let handshake = Handshake {
                    seeks: true,
                    capability: caps::replicate(
                        self.options.is_initiator,
                        &entry.core.key,
                        &self.options.handshake_hash,
                    ),
                };
                let mut bytes = Vec::with_capacity(33);
                handshake.encode(&mut bytes);
                return Some(Output::Open {
                    channel,
                    discovery_key: entry.core.discovery_key,
                    handshake: bytes,
                });
            }
            (entry.core.clone(), entry.peer)
        };
        if core.is_purged() {
            // It may have been made again meanwhile, and found this channel in its place.
            self.ready.offer(core.discovery_key);
            return self.close_channel(channel);
        }
        let (messages, closing, lag, timer) = core.replication.with(&core, |machine| {
            machine.prepare(&core, peer, now);
            let (mut messages, mut bytes) = (Vec::new(), 0);
            while messages.len() < TOGETHER.0
                && bytes < TOGETHER.1
                && let Some(message) = machine.poll(&core, peer, now)
            {
                bytes += message.size_hint();
                messages.push(message);
            }
            let state = machine.peers.get(&peer);
            let closing = state.and_then(|peer| peer.closing);
            let opened = state.is_some_and(|peer| peer.opened);
            let lag = machine.lag(&core, now).filter(|_| opened);
            (messages, closing, lag, machine.poll_timeout())
        });
        let made = messages.into_iter().map(|message| {
            let mut payload = Vec::with_capacity(message.size_hint());
            message.encode(&mut payload);
            Output::Message {
                channel,
                kind: message.kind(),
                payload,
            }
        });
        let mut made: VecDeque<Output> = made.collect();
        let mut state = self.state.lock();
        state.set_timer(channel, timer);
        if let Some(first) = made.pop_front() {
            state.made = made;
            return Some(first);
        }
        drop(state);
        match closing {
            None => {
                match lag {
                    Some(Lag::Owed(seq)) => self.ready.wait_synced(channel, seq),
                    Some(Lag::Leisurely(seq)) => self.ready.when_synced(channel, seq),
                    None => {}
                }
                None
            }
            Some(Closing::Channel) => self.close_channel(channel),
            Some(Closing::Destroy(reason)) => {
                self.state.lock().destroyed = true;
                self.close();
                Some(Output::Destroy { reason })
            }
        }
    }

    fn close_channel(&self, channel: u64) -> Option<Output> {
        let entry = self.detach(channel)?;
        let core = entry.core;
        core.replication
            .with(&core, |machine| machine.remove_peer(&core, entry.peer));
        Some(Output::Close { channel })
    }

    /// Resolves when [`poll`](Self::poll) or [`poll_timeout`](Self::poll_timeout) is to be asked again. Cancel safe. While somebody awaits
    /// it, what waits for the disk before it may be shown is synced at once.
    pub async fn ready(&self) {
        self.ready.wait(&self.registry.store).await;
    }

    /// The connection is gone: so are its peers.
    pub fn close(&self) {
        let channels: Vec<u64> = {
            let mut state = self.state.lock();
            state.closed = true;
            state.channels.keys().copied().collect()
        };
        for channel in channels {
            self.close_channel(channel);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}
