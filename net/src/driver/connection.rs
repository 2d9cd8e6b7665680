//! The handle of one connection.

use super::{
    channel::{Channel, Inbox, Listener},
    messages::Plain,
    replicate::{Joining, ReplicateOptions, Replication},
    task::Task,
};
use crate::{
    Error,
    noise::Role,
    protomux::{ChannelId, ChannelOptions, Protomux, Topic},
    secret_stream::{Entropy, SecretStream, StreamOptions},
    udx::Connector,
};
use parking_lot::Mutex;
use pome_cores::{Corestore, KeyPair};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Notify, mpsc},
};

/// How a connection behaves.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// The handshake and the timers of the stream.
    pub stream: StreamOptions,
    /// How long the handshake may take until the connection fails. npm waits for ever. Default: 20 s.
    pub handshake_timeout: Option<Duration>,
    /// How long the peer may take to end its side once we have ended ours. Default: 5 s.
    pub close_timeout: Duration,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self {
            stream: StreamOptions::default(),
            handshake_timeout: Some(Duration::from_secs(20)),
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// What a finished handshake told.
pub(super) struct Peer {
    pub(super) remote_public_key: [u8; 32],
    pub(super) handshake_hash: [u8; 64],
}

/// What handles and task share.
pub(super) struct Shared {
    pub(super) role: Role,
    pub(super) public_key: [u8; 32],
    pub(super) peer: OnceLock<Peer>,
    /// The UDX stream underneath, where it is one.
    udx: OnceLock<Connector>,
    relayed: AtomicBool,
    pub(super) inner: Mutex<Inner>,
    /// The handshake is done, or the connection is over.
    pub(super) opened: Notify,
    /// The connection is over.
    pub(super) closed: Notify,
    /// There is room to send again.
    pub(super) drained: Notify,
    /// A plain message came, or the end.
    pub(super) received: Notify,
}

pub(super) struct Inner {
    pub(super) mux: Protomux,
    /// Instead of the muxer, where plain messages are wanted.
    pub(super) plain: Option<Plain>,
    pub(super) inboxes: HashMap<ChannelId, Arc<Inbox>>,
    /// Bytes in all inboxes.
    pub(super) received: usize,
    pub(super) listeners: HashMap<Topic, mpsc::UnboundedSender<super::Incoming>>,
    pub(super) listeners_any: HashMap<Box<str>, mpsc::UnboundedSender<super::Incoming>>,
    pub(super) joining: Vec<Joining>,
    /// Somebody has opened or paired something: opens of the peer that nobody wants may be rejected now.
    pub(super) interested: bool,
    /// How many [`Paused`] live.
    pub(super) pauses: usize,
    pub(super) ending: bool,
    pub(super) aborted: Option<Result<(), Error>>,
    pub(super) over: Option<Result<(), Error>>,
    pub(super) waker: Option<Waker>,
}

impl Inner {
    /// Has the task look again.
    pub(super) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Ends the connection when the last handle goes.
pub(super) struct Guard(pub(super) Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut inner = self.0.inner.lock();
        inner.ending = true;
        inner.wake();
    }
}

/// An encrypted, muxed connection to one peer. Cheap to clone. It lives as long as a handle, a [`Channel`], a [`Listener`] or a [`Replication`] of
/// it does; then it ends as [`Connection::end`] does.
///
/// ```
/// use pome_cores::KeyPair;
/// use pome_net::{driver::Connection, noise::Role, protomux::Topic};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let (ours, theirs) = tokio::io::duplex(4096);
/// let a = Connection::over(ours, Role::Initiator, &KeyPair::random(), Default::default())?;
/// let b = Connection::over(theirs, Role::Responder, &KeyPair::random(), Default::default())?;
/// let topic = Topic::new("chat", b"");
/// let chat = a.open(&topic, Default::default())?.unwrap();
/// let answer = b.open(&topic, Default::default())?.unwrap();
/// chat.send(0, "hello".into()).await?;
/// assert_eq!(answer.recv().await?, Some((0, "hello".into())));
/// assert_eq!(a.handshake_hash(), b.handshake_hash());
/// # Ok::<(), pome_net::Error>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Connection {
    pub(super) guard: Arc<Guard>,
}

impl Connection {
    /// Takes a socket, and starts the task that serves it on the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Handshake`] when IK is asked for without the peer's key.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn over<S>(
        socket: S,
        role: Role,
        key_pair: &KeyPair,
        options: ConnectionOptions,
    ) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = SecretStream::new(
            Instant::now(),
            role,
            key_pair,
            Entropy::random(),
            options.stream.clone(),
        )?;
        Ok(Self::with_stream(socket, stream, options))
    }

    /// The same with a stream that was made before, as by [`SecretStream::from_keys`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn with_stream<S>(socket: S, stream: SecretStream, options: ConnectionOptions) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let inner = Inner {
            mux: Protomux::new(),
            plain: None,
            inboxes: HashMap::new(),
            received: 0,
            listeners: HashMap::new(),
            listeners_any: HashMap::new(),
            joining: Vec::new(),
            interested: false,
            pauses: 0,
            ending: false,
            aborted: None,
            over: None,
            waker: None,
        };
        let shared = Arc::new(Shared {
            role: stream.role(),
            public_key: stream.public_key(),
            peer: OnceLock::new(),
            udx: OnceLock::new(),
            relayed: AtomicBool::new(false),
            inner: Mutex::new(inner),
            opened: Notify::new(),
            closed: Notify::new(),
            drained: Notify::new(),
            received: Notify::new(),
        });
        tokio::spawn(Task::new(shared.clone(), socket, stream, options));
        Self {
            guard: Arc::new(Guard(shared)),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.guard.0
    }

    /// Which end we are.
    pub fn role(&self) -> Role {
        self.shared().role
    }

    /// Our public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.shared().public_key
    }

    /// The peer's public key, once the handshake is done.
    pub fn remote_public_key(&self) -> Option<[u8; 32]> {
        Some(self.shared().peer.get()?.remote_public_key)
    }

    /// The hash of this connection, once the handshake is done.
    pub fn handshake_hash(&self) -> Option<[u8; 64]> {
        Some(self.shared().peer.get()?.handshake_hash)
    }

    /// Waits for the handshake.
    ///
    /// # Errors
    /// Why it never came to it.
    pub async fn opened(&self) -> Result<(), Error> {
        let shared = self.shared();
        wait(&shared.opened, || match &shared.inner.lock().over {
            _ if shared.peer.get().is_some() => Some(Ok(())),
            Some(Err(error)) => Some(Err(error.clone())),
            Some(Ok(())) => Some(Err(Error::Closed)),
            None => None,
        })
        .await
    }

    /// Opens a channel. The peer need not have; what is sent before waits for it there. `None` when there is one under this topic and
    /// it is not [`ChannelOptions::shared`].
    ///
    /// # Errors
    /// As [`Protomux::open`].
    pub fn open(
        &self,
        topic: &Topic,
        options: ChannelOptions<'_>,
    ) -> Result<Option<Channel>, Error> {
        let mut inner = self.shared().inner.lock();
        inner.interested = true;
        let Some(id) = inner.mux.open(topic, options)? else {
            return Ok(None);
        };
        let channel = Channel::new(self.guard.clone(), &mut inner, id, topic.clone());
        inner.wake();
        Ok(Some(channel))
    }

    /// Hears of every open of this topic by the peer (npm `pair`). A second listener takes the place of the first.
    pub fn pair(&self, topic: Topic) -> Listener {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.shared().inner.lock();
        inner.mux.pair(topic.clone());
        inner.interested = true;
        inner.wake();
        let before = inner.listeners.insert(topic, sender);
        // What may be left in its queue takes the lock.
        drop(inner);
        drop(before);
        Listener::new(self.guard.clone(), receiver)
    }

    /// Hears of every open under this protocol that no [`Connection::pair`] hears of.
    pub fn pair_any(&self, protocol: &str) -> Listener {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut inner = self.shared().inner.lock();
        inner.mux.pair_any(protocol);
        inner.interested = true;
        inner.wake();
        let before = inner.listeners_any.insert(protocol.into(), sender);
        drop(inner);
        drop(before);
        Listener::new(self.guard.clone(), receiver)
    }

    /// From now on what the peer opens and nobody here wants is rejected. Until then what it says waits, so that there is time to look at
    /// the peer before one decides what to offer. The first [`Connection::open`], [`Connection::replicate`] or `pair` releases the connection,
    /// too; so whoever offers several things does it during a [`Connection::pause`].
    pub fn release(&self) {
        let mut inner = self.shared().inner.lock();
        inner.interested = true;
        inner.wake();
    }

    /// What the peer says waits while the guard lives: nothing of it is rejected because what it is for is opened or paired a moment later.
    /// Nobody is told of room to send meanwhile either: that is not to be waited for.
    ///
    /// ```
    /// use pome_cores::KeyPair;
    /// use pome_net::{driver::Connection, noise::Role, protomux::Topic};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let (ours, theirs) = tokio::io::duplex(4096);
    /// # let a = Connection::over(ours, Role::Initiator, &KeyPair::random(), Default::default())?;
    /// # let b = Connection::over(theirs, Role::Responder, &KeyPair::random(), Default::default())?;
    /// let (news, chat) = (Topic::new("news", b""), Topic::new("chat", b""));
    /// let asked = a.open(&chat, Default::default())?.unwrap();
    /// let paused = b.pause();
    /// let first = b.open(&news, Default::default())?;
    /// // However long this takes, the open of the peer is not rejected.
    /// tokio::task::yield_now().await;
    /// let second = b.open(&chat, Default::default())?;
    /// drop(paused);
    /// assert!(asked.opened().await.is_some());
    /// # Ok::<(), pome_net::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pause(&self) -> Paused {
        self.shared().inner.lock().pauses += 1;
        Paused(self.shared().clone())
    }

    /// Messages that are sent while the guard lives go out as one.
    pub fn cork(&self) -> Corked {
        self.shared().inner.lock().mux.cork();
        Corked(self.clone())
    }

    /// Exchanges cores with the peer, for as long as the connection lives: those that are open here are offered, and those that the peer
    /// opens and this store has are opened (npm `store.replicate(stream)`).
    pub fn replicate(&self, cores: &Corestore, options: ReplicateOptions) -> Replication {
        let replication = Replication::new(self.guard.clone());
        let joining = Joining::new(cores.clone(), options, replication.state().clone());
        let mut inner = self.shared().inner.lock();
        if let Some(over) = &inner.over {
            joining.abandon(over);
        } else {
            inner.joining.push(joining);
            inner.wake();
        }
        drop(inner);
        replication
    }

    /// Ends the connection: what was sent still goes out, then our side ends, then the peer's; see [`Connection::closed`].
    pub fn end(&self) {
        let mut inner = self.shared().inner.lock();
        inner.ending = true;
        inner.wake();
    }

    /// Drops the connection as it stands (npm `destroy`).
    pub fn abort(&self) {
        let mut inner = self.shared().inner.lock();
        inner.aborted = Some(Ok(()));
        inner.wake();
    }

    /// The UDX stream underneath, if it is one: its round-trip time, and where the peer, or the relay in between, is.
    pub fn udx(&self) -> Option<&Connector> {
        self.shared().udx.get()
    }

    /// True as long as its packets go through a blind relay.
    pub fn is_relayed(&self) -> bool {
        self.shared().relayed.load(Ordering::Acquire)
    }

    pub(crate) fn set_udx(&self, stream: Connector) {
        let _ = self.shared().udx.set(stream);
    }

    /// A handle that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakConnection {
        WeakConnection(self.shared().clone())
    }

    /// True when the connection is over.
    pub fn is_closed(&self) -> bool {
        self.shared().inner.lock().over.is_some()
    }

    /// Waits until the connection is over.
    ///
    /// # Errors
    /// Why, unless both sides ended it.
    pub async fn closed(&self) -> Result<(), Error> {
        let shared = self.shared();
        wait(&shared.closed, || shared.inner.lock().over.clone()).await
    }
}

/// Watches a connection without keeping it alive.
#[derive(Clone)]
pub(crate) struct WeakConnection(Arc<Shared>);

impl WeakConnection {
    /// Ends the connection as it stands, with an error.
    pub(crate) fn fail(&self, error: Error) {
        let mut inner = self.0.inner.lock();
        inner.aborted.get_or_insert(Err(error));
        inner.wake();
    }

    pub(crate) fn set_relayed(&self, relayed: bool) {
        self.0.relayed.store(relayed, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.inner.lock().over.is_some()
    }

    /// Waits until the connection is over.
    pub(crate) async fn closed(&self) -> Result<(), Error> {
        wait(&self.0.closed, || self.0.inner.lock().over.clone()).await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("role", &self.role())
            .field("open", &self.shared().peer.get().is_some())
            .finish_non_exhaustive()
    }
}

/// Has the peer wait; see [`Connection::pause`]. It does not keep the connection alive.
#[must_use = "dropping it has the peer heard"]
pub struct Paused(Arc<Shared>);

impl fmt::Debug for Paused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paused").finish_non_exhaustive()
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        let mut inner = self.0.inner.lock();
        inner.pauses -= 1;
        if inner.pauses == 0 {
            inner.wake();
        }
    }
}

/// Collects messages; see [`Connection::cork`].
#[derive(Debug)]
#[must_use = "dropping it sends what was collected"]
pub struct Corked(Connection);

impl Drop for Corked {
    fn drop(&mut self) {
        let mut inner = self.0.shared().inner.lock();
        inner.mux.uncork();
        inner.wake();
    }
}

/// Asks again after each notice until there is an answer. Misses no notice in between.
pub(super) async fn wait<T>(notify: &Notify, mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        let notified = notify.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if let Some(answer) = ask() {
            return answer;
        }
        notified.await;
    }
}
