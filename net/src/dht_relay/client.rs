//! A client of a relay: it has no node of its own, and sends nothing but what goes over one stream.

mod shaking;
mod told;

use super::{
    link::{Inlet, Link, Outlet, inlet},
    messages::{Announcement, Announcers, Keys, Message, NoiseReply, Proof, SignWanted},
};
use crate::{
    Error,
    driver::{Connection, ConnectionOptions, tcp},
    hyperdht::{
        ServerFirewall,
        messages::{Announce, NoisePayload, Peer, Wire},
        sign::{Place, Purpose, namespaces},
    },
    noise::{self, Handshake, Pattern, Role},
    secret_stream::{Entropy, SecretStream, StreamOptions, stream_id},
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::{
    KeyPair,
    crypto::{hash, hash_keyed, random_bytes},
};
use std::{
    collections::HashMap,
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::DuplexStream,
    net::ToSocketAddrs,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Bytes between a stream of the relay and the connection on top of it.
const PIPE: usize = 64 << 10;
/// Connections that wait to be accepted; more are dropped.
const BACKLOG: usize = 64;
/// Answers that wait to be read; more are dropped.
const ANSWERS: usize = 256;
/// How long a relay may take until it listens.
const LISTENING: Duration = Duration::from_secs(20);
/// Handshakes that the relay has us take part in at a time.
const HANDSHAKES_MAX: usize = 256;

/// How a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DhtRelayOptions {
    /// For connections and servers that are given none, and for the stream to the relay (default: a new one).
    pub key_pair: Option<KeyPair>,
    /// Gives the relay the secret keys, so that it acts in our name and can read what goes through it (default true, as in npm). Without it npm's relay
    /// can connect, but not listen or announce; see the [module](super).
    pub custodial: bool,
    /// The key of the relay, if it is known: another relay is refused (default: any).
    pub relay_key: Option<[u8; 32]>,
    /// Connections ask for a sign of life after so long (default 5 s).
    pub connection_keep_alive: Option<Duration>,
}

impl Default for DhtRelayOptions {
    fn default() -> Self {
        Self {
            key_pair: None,
            custodial: true,
            relay_key: None,
            connection_keep_alive: Some(Duration::from_secs(5)),
        }
    }
}

/// How to connect through a relay.
#[derive(Debug, Clone, Default)]
pub struct RelayConnectOptions {
    /// Our key pair (default: that of the client).
    pub key_pair: Option<KeyPair>,
}

/// Why a relay did not do what was wanted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The relay could not, and says why.
    #[error("the relay says: {said}")]
    Refused {
        /// Its words.
        said: String,
    },
    /// The stream to the relay is over.
    #[error("the relay is gone")]
    Gone,
    /// The stream to the relay, or to the peer behind it, failed.
    #[error(transparent)]
    Stream(#[from] Error),
}

impl RelayError {
    /// A name for the kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "RELAY_REFUSED",
            Self::Gone => "RELAY_GONE",
            Self::Stream(error) => error.code(),
        }
    }
}

/// What a node said about a topic, as a relay tells it.
pub type RelayFound = Announcers;

/// A stream that the relay was asked for.
struct Opening {
    key_pair: KeyPair,
    remote: [u8; 32],
    inlet: Inlet,
    tell: oneshot::Sender<Result<Opened, RelayError>>,
}

struct Opened {
    theirs: u32,
    keys: noise::Keys,
    /// The bytes are those of the connection itself.
    sealed: bool,
}

struct Listening {
    /// What we call it.
    ours: u32,
    key_pair: KeyPair,
    firewall: Option<ServerFirewall>,
    accepted: mpsc::Sender<Connection>,
}

struct OpeningServer {
    listening: Listening,
    tell: oneshot::Sender<(u32, SocketAddrV4)>,
}

enum Shaking {
    Now {
        noise: Box<Handshake>,
        remote: Option<[u8; 32]>,
        server: Option<u32>,
    },
    Done(noise::Keys),
}

#[derive(Default)]
struct State {
    opening: HashMap<u32, Opening>,
    opening_servers: HashMap<u32, OpeningServer>,
    /// By the relay's number.
    servers: HashMap<u32, Listening>,
    /// Servers that are being closed, by the relay's number: what we called each, and who waits.
    closing: HashMap<u32, (u32, oneshot::Sender<()>)>,
    questions: HashMap<u32, mpsc::Sender<Announcers>>,
    /// What is signed when the relay asks: for which place, by whom.
    signees: HashMap<u32, ([u8; 32], KeyPair)>,
    shaking: HashMap<u32, Shaking>,
}

struct Inner {
    link: Link,
    key_pair: KeyPair,
    options: DhtRelayOptions,
    state: Mutex<State>,
}

/// Ends the link when nobody holds the client any more.
struct Guard {
    inner: Arc<Inner>,
    reading: JoinHandle<()>,
    over: watch::Receiver<bool>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.reading.abort();
        let waiting = std::mem::take(&mut *self.inner.state.lock());
        drop(waiting);
        self.inner.link.over();
        self.inner.link.connection().end();
    }
}

/// The DHT, as a relay lends it. Cheap to clone; the stream to the relay ends when it is closed, or when nobody holds it, and with it all connections.
///
/// See [`RelayServer`](super::RelayServer) for an example.
#[derive(Clone)]
pub struct DhtRelay {
    guard: Arc<Guard>,
}

impl fmt::Debug for DhtRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DhtRelay").finish_non_exhaustive()
    }
}

impl DhtRelay {
    /// Dials a relay.
    ///
    /// # Errors
    /// [`RelayError::Stream`] when nobody answers there, or it is not who was asked for.
    pub async fn connect(
        address: impl ToSocketAddrs,
        options: DhtRelayOptions,
    ) -> Result<Self, RelayError> {
        // The relay need not know who we are before we tell it.
        let own = KeyPair::random();
        let mut over = ConnectionOptions::default();
        over.stream.remote_public_key = options.relay_key;
        let connection = tcp::connect(address, &own, &over).await?;
        connection.opened().await?;
        Self::over(&connection, options)
    }

    /// Over a connection to the relay, of any kind.
    ///
    /// # Errors
    /// [`RelayError::Stream`] when it is over.
    pub fn over(connection: &Connection, options: DhtRelayOptions) -> Result<Self, RelayError> {
        let link = Link::new(connection)?;
        let key_pair = options.key_pair.clone().unwrap_or_else(KeyPair::random);
        let inner = Arc::new(Inner {
            link,
            key_pair,
            options,
            state: Mutex::default(),
        });
        let hello = Message::Handshake(inner.keys(&inner.key_pair));
        inner.link.send_now(hello)?;
        let (tell, over) = watch::channel(false);
        let reads = inner.clone();
        let reading = tokio::spawn(async move {
            if let Err(error) = reads.read().await {
                tracing::debug!(code = error.code(), %error, "the relay is gone");
            }
            reads.link.connection().abort();
            // Whoever waits for the relay hears that it is gone.
            let _ = tell.send(true);
            let waiting = std::mem::take(&mut *reads.state.lock());
            drop(waiting);
            reads.link.over();
        });
        Ok(Self {
            guard: Arc::new(Guard {
                inner,
                reading,
                over,
            }),
        })
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.guard.inner
    }

    /// The key pair for connections and servers that are given none.
    pub fn key_pair(&self) -> &KeyPair {
        &self.inner().key_pair
    }

    /// The relay's key.
    pub fn relay_key(&self) -> Option<[u8; 32]> {
        self.inner().link.connection().remote_public_key()
    }

    /// Ends the stream to the relay, and all that goes through it.
    pub fn close(&self) {
        self.inner().link.connection().end();
    }

    /// Waits until the relay is gone.
    pub async fn closed(&self) {
        let mut over = self.guard.over.clone();
        let _ = over.wait_for(|over| *over).await;
    }

    /// True when the relay is gone.
    pub fn is_closed(&self) -> bool {
        *self.guard.over.borrow()
    }

    /// Connects to the peer with this key.
    ///
    /// # Errors
    /// [`RelayError::Refused`] with what the relay says came in the way; [`RelayError::Gone`].
    pub async fn connect_to(
        &self,
        public_key: &[u8; 32],
        options: RelayConnectOptions,
    ) -> Result<Connection, RelayError> {
        let inner = self.inner();
        let key_pair = options.key_pair.unwrap_or_else(|| inner.key_pair.clone());
        let alias = inner.link.number();
        let (inlet, outlet) = inlet();
        let (tell, told) = oneshot::channel();
        let keys = inner.keys(&key_pair);
        let opening = Opening {
            key_pair,
            remote: *public_key,
            inlet,
            tell,
        };
        inner.state.lock().opening.insert(alias, opening);
        let given_up = GivenUp { inner, alias };
        let wanted = Message::Connect {
            alias,
            keys,
            remote_public_key: *public_key,
        };
        inner.send(wanted).await?;
        let opened = told.await.map_err(|_| RelayError::Gone)??;
        drop(given_up);
        let connection = inner.connection(Role::Initiator, opened, alias, outlet);
        connection.opened().await?;
        Ok(connection)
    }

    /// Has the relay listen under a key, and announce it. True from the firewall refuses a peer; it is told no address.
    ///
    /// # Errors
    /// [`RelayError::Gone`]; [`RelayError::Stream`] with `TIMED_OUT` when the relay does not listen within 20 s, as under a key that is in use there.
    pub async fn listen(
        &self,
        key_pair: &KeyPair,
        firewall: Option<ServerFirewall>,
    ) -> Result<RelayListener, RelayError> {
        let inner = self.inner();
        let alias = inner.link.number();
        let (accepted, connections) = mpsc::channel(BACKLOG);
        let (tell, told) = oneshot::channel();
        let listening = Listening {
            ours: alias,
            key_pair: key_pair.clone(),
            firewall,
            accepted,
        };
        {
            let mut state = inner.state.lock();
            let target = hash(&[&key_pair.public]);
            state.signees.insert(alias, (target, key_pair.clone()));
            let opening = OpeningServer { listening, tell };
            state.opening_servers.insert(alias, opening);
        }
        let keys = inner.keys(key_pair);
        inner.send(Message::Listen { alias, keys }).await?;
        let listening = tokio::time::timeout(LISTENING, told).await;
        let Ok(listening) = listening else {
            // A relay that cannot does not say so.
            let mut state = inner.state.lock();
            state.opening_servers.remove(&alias);
            state.signees.remove(&alias);
            drop(state);
            let _ = inner.link.send_now(Message::Close(alias));
            return Err(RelayError::Stream(Error::TimedOut));
        };
        let (theirs, address) = listening.map_err(|_| RelayError::Gone)?;
        Ok(RelayListener {
            relay: self.clone(),
            public_key: key_pair.public,
            address,
            ours: alias,
            theirs,
            connections,
        })
    }

    /// Looks for the peers that announced themselves under a topic.
    ///
    /// # Errors
    /// [`RelayError::Gone`].
    pub async fn lookup(&self, topic: [u8; 32]) -> Result<RelayLookup, RelayError> {
        self.ask(None, |id| Message::Lookup { id, topic }).await
    }

    /// Announces the owner of the key pair under a topic, and waits until that is done. What is known about the topic comes back.
    ///
    /// # Errors
    /// [`RelayError::Gone`].
    pub async fn announce(
        &self,
        topic: [u8; 32],
        key_pair: &KeyPair,
    ) -> Result<Vec<Peer>, RelayError> {
        Ok(self.announcing(topic, key_pair).await?.peers().await)
    }

    /// Takes an announcement back.
    ///
    /// # Errors
    /// [`RelayError::Gone`].
    pub async fn unannounce(&self, topic: [u8; 32], key_pair: &KeyPair) -> Result<(), RelayError> {
        let mut looking = self.unannouncing(topic, key_pair).await?;
        while looking.next().await.is_some() {}
        Ok(())
    }

    /// As [`announce`](Self::announce); what is known comes as the nodes tell it, and it is done at the end.
    ///
    /// # Errors
    /// [`RelayError::Gone`].
    pub async fn announcing(
        &self,
        topic: [u8; 32],
        key_pair: &KeyPair,
    ) -> Result<RelayLookup, RelayError> {
        self.announced(topic, key_pair, Message::Announce).await
    }

    /// As [`unannounce`](Self::unannounce); what is known comes as the nodes tell it, and it is done at the end.
    ///
    /// # Errors
    /// [`RelayError::Gone`].
    pub async fn unannouncing(
        &self,
        topic: [u8; 32],
        key_pair: &KeyPair,
    ) -> Result<RelayLookup, RelayError> {
        self.announced(topic, key_pair, Message::Unannounce).await
    }

    async fn announced(
        &self,
        topic: [u8; 32],
        key_pair: &KeyPair,
        message: fn(Announcement) -> Message,
    ) -> Result<RelayLookup, RelayError> {
        let keys = self.inner().keys(key_pair);
        let signee = Some((topic, key_pair.clone()));
        self.ask(signee, |id| message(Announcement { id, topic, keys }))
            .await
    }

    async fn ask(
        &self,
        signee: Option<([u8; 32], KeyPair)>,
        message: impl FnOnce(u32) -> Message,
    ) -> Result<RelayLookup, RelayError> {
        let inner = self.inner();
        let id = inner.link.number();
        let (answers, receiver) = mpsc::channel(ANSWERS);
        {
            let mut state = inner.state.lock();
            state.questions.insert(id, answers);
            if let Some(signee) = signee {
                state.signees.insert(id, signee);
            }
        }
        inner.send(message(id)).await?;
        Ok(RelayLookup {
            relay: self.clone(),
            id,
            answers: receiver,
        })
    }
}

/// Looks for peers; what comes after it was dropped is not kept.
#[derive(Debug)]
pub struct RelayLookup {
    relay: DhtRelay,
    id: u32,
    answers: mpsc::Receiver<Announcers>,
}

impl RelayLookup {
    /// What the next node knows; `None` at the end.
    pub async fn next(&mut self) -> Option<RelayFound> {
        self.answers.recv().await
    }

    /// All peers, each once, with the nodes that were told of first.
    pub async fn peers(mut self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = Vec::new();
        while let Some(found) = self.next().await {
            for peer in found.into_peers() {
                if peers.iter().all(|one| one.public_key != peer.public_key) {
                    peers.push(peer);
                }
            }
        }
        peers
    }
}

impl Drop for RelayLookup {
    fn drop(&mut self) {
        let mut state = self.relay.inner().state.lock();
        state.questions.remove(&self.id);
        state.signees.remove(&self.id);
    }
}

/// A server at a relay. It stops listening when it is closed or dropped; its connections live on.
#[derive(Debug)]
pub struct RelayListener {
    relay: DhtRelay,
    public_key: [u8; 32],
    address: SocketAddrV4,
    ours: u32,
    theirs: u32,
    connections: mpsc::Receiver<Connection>,
}

impl RelayListener {
    /// The key that clients connect to.
    pub fn public_key(&self) -> [u8; 32] {
        self.public_key
    }

    /// Where the relay is, as far as it knows.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// The next connection; `None` when the relay is gone.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }
}

impl RelayListener {
    /// Stops listening, and waits until the relay has taken the announcement back.
    pub async fn close(self) {
        let closed = self.stop();
        drop(self);
        if let Some(closed) = closed {
            // Gone is closed, too.
            let _ = closed.await;
        }
    }

    /// Tells the relay, unless that was done before.
    fn stop(&self) -> Option<oneshot::Receiver<()>> {
        let inner = self.relay.inner();
        let (tell, closed) = oneshot::channel();
        {
            let mut state = inner.state.lock();
            state.servers.remove(&self.theirs)?;
            // The relay takes the announcement back, for which it needs a signature: that of the key stays until it says that it is done.
            state.closing.insert(self.theirs, (self.ours, tell));
        }
        inner.link.send_now(Message::Close(self.ours)).ok()?;
        Some(closed)
    }
}

impl Drop for RelayListener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Nobody waits for a stream any more.
struct GivenUp<'a> {
    inner: &'a Arc<Inner>,
    alias: u32,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let opening = self.inner.state.lock().opening.remove(&self.alias);
        if opening.is_some() {
            let _ = self.inner.link.send_now(Message::Destroy {
                paired: true,
                alias: self.alias,
                error: None,
            });
        }
    }
}
