//! The cores of a store over one connection: joins the state machine of `pome_cores::replication` to the muxer.

use super::connection::{Guard, Inner, Peer, Shared, wait};
use crate::{
    Error,
    noise::Role,
    protomux::{ChannelId, ChannelOptions, Event as MuxEvent, Pairing, Protomux, Topic},
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::{
    Corestore, DiscoveryKey,
    replication::{
        Connection as Cores, ConnectionOptions as CoresOptions, Output, PROTOCOL, PROTOCOL_ALIAS,
        Worker,
    },
};
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
    time::Instant,
};
use tokio::sync::Notify;

/// Small messages are collected into frames of about this size (bytes): enough that the cost of a frame does not matter, and not so much
/// that the peer waits long for the first of them.
const BATCH_BYTES: usize = 64 << 10;

/// What is replicated.
#[derive(Debug, Clone, Default)]
pub struct ReplicateOptions {
    /// Only these cores. Default: every core that both sides know.
    pub only: Option<Vec<DiscoveryKey>>,
}

/// A replication that goes on over a [`Connection`](super::Connection), which it keeps alive. Dropped, it stops: its channels are closed.
#[must_use = "replication stops when this is dropped"]
pub struct Replication {
    state: Arc<ReplicationState>,
    guard: Arc<Guard>,
}

/// What a handle and the task share.
#[derive(Default)]
pub(super) struct ReplicationState {
    stop: Mutex<bool>,
    begun: AtomicBool,
    over: Mutex<Option<Result<(), Error>>>,
    changed: Notify,
}

impl ReplicationState {
    fn begin(&self) {
        self.begun.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    fn finish(&self, over: Result<(), Error>) {
        self.over.lock().get_or_insert(over);
        self.changed.notify_waiters();
    }
}

impl Replication {
    pub(super) fn new(guard: Arc<Guard>) -> Self {
        Self {
            state: Arc::default(),
            guard,
        }
    }

    pub(super) fn state(&self) -> &Arc<ReplicationState> {
        &self.state
    }

    /// Waits until the cores that are open here are offered to the peer: from then on [`update`](pome_cores::Hypercore::update) waits for what he says of them.
    /// Returns at once when it has ended.
    pub async fn begun(&self) {
        let state = &self.state;
        wait(&state.changed, || {
            let settled = state.begun.load(Ordering::Acquire) || state.over.lock().is_some();
            settled.then_some(())
        })
        .await;
    }

    /// Waits until it has ended, with its connection or before.
    ///
    /// # Errors
    /// [`Error::Core`] when the store was closed before it began.
    pub async fn ended(&self) -> Result<(), Error> {
        wait(&self.state.changed, || self.state.over.lock().clone()).await
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        *self.state.stop.lock() = true;
        self.guard.0.inner.lock().wake();
    }
}

impl fmt::Debug for Replication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replication").finish_non_exhaustive()
    }
}

/// A replication that waits for the handshake.
pub(super) struct Joining {
    cores: Corestore,
    options: ReplicateOptions,
    state: Arc<ReplicationState>,
}

impl Joining {
    pub(super) fn new(
        cores: Corestore,
        options: ReplicateOptions,
        state: Arc<ReplicationState>,
    ) -> Self {
        Self {
            cores,
            options,
            state,
        }
    }

    /// Begins. `None` when the store is closed.
    pub(super) fn start(
        self,
        peer: &Peer,
        role: Role,
        mux: &mut Protomux,
        now: Instant,
    ) -> Option<Replicating> {
        let mut options = CoresOptions::new(
            role.is_initiator(),
            peer.handshake_hash,
            peer.remote_public_key,
        );
        options.only = self.options.only;
        // Nobody waits for the handle: the state machine is told when it is done.
        options.worker = Some(Worker::new(|work| drop(tokio::task::spawn_blocking(work))));
        let cores = match Cores::open(&self.cores, options, now) {
            Ok(cores) => Arc::new(cores),
            Err(error) => {
                self.state.finish(Err(error.into()));
                return None;
            }
        };
        mux.pair_any(PROTOCOL);
        mux.pair_any(PROTOCOL_ALIAS);
        self.state.begin();
        Some(Replicating {
            ready: ready(&cores),
            cores,
            ours: HashMap::new(),
            theirs: HashMap::new(),
            pairings: Vec::new(),
            state: self.state,
            clock: None,
        })
    }
}

impl Joining {
    /// The connection ended before it began.
    pub(super) fn abandon(self, over: &Result<(), Error>) {
        self.state.finish(over.clone());
    }
}

type Ready = Pin<Box<dyn Future<Output = ()> + Send>>;

fn ready(cores: &Arc<Cores>) -> Ready {
    let cores = cores.clone();
    Box::pin(async move { cores.ready().await })
}

/// A replication that goes on.
pub(super) struct Replicating {
    cores: Arc<Cores>,
    /// The channels of the muxer, by the number that the state machine gave them; and the other way round.
    ours: HashMap<u64, ChannelId>,
    theirs: HashMap<ChannelId, u64>,
    /// The peer's opens that the state machine answers at its next poll.
    pairings: Vec<Pairing>,
    state: Arc<ReplicationState>,
    ready: Ready,
    clock: Option<Instant>,
}

impl Replicating {
    /// Takes an event that concerns a core; another one comes back.
    pub(super) fn handle(&mut self, event: MuxEvent, now: Instant) -> Option<MuxEvent> {
        match event {
            MuxEvent::Message {
                channel,
                kind,
                body,
            } => match self.theirs.get(&channel) {
                Some(core) => self.cores.handle_message(*core, kind, &body, now),
                None => {
                    return Some(MuxEvent::Message {
                        channel,
                        kind,
                        body,
                    });
                }
            },
            MuxEvent::Opened { channel, handshake } => match self.theirs.get(&channel) {
                Some(core) => self.cores.handle_open(*core, &handshake, now),
                None => return Some(MuxEvent::Opened { channel, handshake }),
            },
            MuxEvent::Closed { channel, remote } => match self.theirs.remove(&channel) {
                Some(core) => {
                    self.ours.remove(&core);
                    if remote {
                        self.cores.handle_close(core, now);
                    }
                }
                None => return Some(MuxEvent::Closed { channel, remote }),
            },
            MuxEvent::Pair(pairing) => {
                let topic = &pairing.topic;
                let ours = matches!(&*topic.protocol, PROTOCOL | PROTOCOL_ALIAS);
                if !ours || self.stopped() || !self.cores.handle_pair(&topic.id, now) {
                    return Some(MuxEvent::Pair(pairing));
                }
                self.pairings.push(pairing);
            }
            MuxEvent::Drained => return Some(MuxEvent::Drained),
        }
        None
    }

    fn stopped(&self) -> bool {
        *self.state.stop.lock()
    }

    /// Has the state machine say what it has to say, as far as there is room. True when it said something.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
        now: Instant,
    ) -> Result<bool, Error> {
        if self.stopped() {
            return Ok(self.stop(&mut shared.inner.lock()));
        }
        let mut busy = false;
        if self.clock.is_some_and(|clock| clock <= now) {
            self.cores.handle_timeout(now);
            self.clock = None;
            busy = true;
        }
        loop {
            busy |= self.say(shared, now)?;
            if self.ready.as_mut().poll(cx).is_pending() {
                return Ok(busy);
            }
            self.ready = ready(&self.cores);
            if !shared.inner.lock().mux.is_drained() {
                return Ok(busy);
            }
        }
    }

    fn say(&mut self, shared: &Shared, now: Instant) -> Result<bool, Error> {
        let mut busy = false;
        let mut corked = false;
        let done = loop {
            if !shared.inner.lock().mux.is_drained() {
                break false;
            }
            let Some(output) = self.cores.poll(now) else {
                break true;
            };
            let mut inner = shared.inner.lock();
            if !std::mem::replace(&mut corked, true) {
                inner.mux.cork();
            }
            busy = true;
            self.obey(output, &mut inner, now)?;
            if inner.mux.corked_bytes() >= BATCH_BYTES {
                inner.mux.flush();
            }
        };
        let mut inner = shared.inner.lock();
        if corked {
            inner.mux.uncork();
        }
        // Whatever was to be answered is answered now.
        if done {
            for pairing in self.pairings.drain(..) {
                busy = true;
                inner.mux.settle(pairing);
            }
        }
        Ok(busy)
    }

    fn obey(&mut self, output: Output, inner: &mut Inner, now: Instant) -> Result<(), Error> {
        match output {
            Output::Open {
                channel,
                discovery_key,
                handshake,
            } => {
                let options = ChannelOptions {
                    handshake: &handshake,
                    aliases: &[PROTOCOL_ALIAS],
                    ..ChannelOptions::default()
                };
                let topic = Topic::new(PROTOCOL, &discovery_key.0);
                match inner.mux.open(&topic, options)? {
                    Some(id) => {
                        self.ours.insert(channel, id);
                        self.theirs.insert(id, channel);
                    }
                    // Somebody else replicates this core over this connection.
                    None => self.cores.handle_close(channel, now),
                }
            }
            Output::Message {
                channel,
                kind,
                payload,
            } => {
                if let Some(id) = self.ours.get(&channel) {
                    inner.mux.send(*id, kind, Bytes::from(payload))?;
                }
            }
            Output::Close { channel } => {
                if let Some(id) = self.ours.remove(&channel) {
                    self.theirs.remove(&id);
                    inner.mux.close(id);
                }
            }
            Output::Destroy { reason } => return Err(Error::Misbehaved { reason }),
        }
        Ok(())
    }

    /// Leaves the connection. True when there was something to leave.
    fn stop(&mut self, inner: &mut Inner) -> bool {
        let busy = !self.ours.is_empty() || !self.pairings.is_empty();
        self.cores.close();
        for (_, id) in self.ours.drain() {
            inner.mux.close(id);
        }
        self.theirs.clear();
        for pairing in self.pairings.drain(..) {
            inner.mux.settle(pairing);
        }
        self.state.finish(Ok(()));
        busy
    }

    /// When the state machine wants to be polled again.
    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        if self.stopped() {
            return None;
        }
        self.clock = self.cores.poll_timeout();
        self.clock
    }
}

impl Drop for Replicating {
    fn drop(&mut self) {
        self.cores.close();
        self.state.finish(Ok(()));
    }
}
