//! Listens under a key: shakes hands with clients that come by themselves or through nodes, and meets them on the way that opens.
//!
//! Bounds: at most [`PENDING_MAX`] handshakes at a time, each for some seconds; what comes beyond is not answered, and the client asks again.
//! Source: hyperdht 6.34.0, `lib/server.js`.

use super::{
    Error, HolepunchChoice, HyperDht, Pool, RelayChoice,
    announcer::Announcer,
    local::{is_private, matching},
    messages::{Handshake, HolepunchInfo, NoisePayload, Peer, UdxInfo, Wire, error, firewall},
    puncher::Puncher,
    relayed::{Direct, Relay, meet},
    router::{ForServer, Local, mode},
    secure::{PeerHandshake, SecurePayload},
    stream::{Door, Keyed, RawStream, Way},
};
use crate::{
    dht_rpc::{Answer, Id, Incoming, Socket},
    driver::Connection,
    noise::Role,
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::{
    KeyPair,
    crypto::{hash, random_bytes},
};
use std::{
    collections::HashMap,
    fmt,
    net::SocketAddrV4,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
};

/// Handshakes at a time.
pub(super) const PENDING_MAX: usize = 1_024;
/// Messages that wait for the server.
const INBOX: usize = 256;
/// Connections that wait to be accepted; more are dropped.
const BACKLOG: usize = 256;
/// How long a client may take until it comes or begins to punch.
const INITIAL: Duration = Duration::from_secs(10);
/// The same where a relay helps meanwhile: an attempt with random ports may have to wait for another.
const RELAYED: Duration = Duration::from_secs(60);
/// Clients at a time for which a relay of their choice is asked. For more than that a straight way has to be found.
const RELAYED_MAX: usize = 64;

/// Decides about a client before it learns anything: true refuses it. It is given the client's key, what it says, and its address.
pub type ServerFirewall = Arc<dyn Fn(&[u8; 32], &NoisePayload, SocketAddrV4) -> bool + Send + Sync>;

/// How a server behaves.
#[derive(Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// Which clients are refused (default: none).
    pub firewall: Option<ServerFirewall>,
    /// Addresses on the machine's own networks are told to clients (default true).
    pub share_local_address: bool,
    /// Ways through NATs may be opened (default yes).
    pub holepunch: HolepunchChoice,
    /// Clients that ask for it may take the way again for their next connection, within three seconds after the end of this one (default false).
    pub reusable_socket: bool,
    /// A peer that hands the packets on as long as no straight way is open (default: none; a client may name one, too, and then that is used).
    pub relay_through: RelayChoice,
    /// The connection to the relay asks for a sign of life after so long (default 5 s).
    pub relay_keep_alive: Duration,
    /// How long the answer to a handshake is kept, so that a client that asks again gets the same one (default 10 s).
    pub handshake_clear_wait: Duration,
    /// Where connections are kept, each peer's once (default: nowhere).
    pub pool: Option<Pool>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            firewall: None,
            share_local_address: true,
            holepunch: HolepunchChoice::default(),
            reusable_socket: false,
            relay_through: RelayChoice::default(),
            relay_keep_alive: Duration::from_secs(5),
            handshake_clear_wait: Duration::from_secs(10),
            pool: None,
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions").finish_non_exhaustive()
    }
}

/// A server. It stops listening when it is closed or dropped; its connections live on.
///
/// ```
/// use pome_cores::KeyPair;
/// use pome_net::hyperdht::{ConnectOptions, HyperDht, HyperDhtOptions};
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut options = HyperDhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// let node = HyperDht::bind(options)?;
/// let mut options = HyperDhtOptions::default();
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// options.dht.node.bootstrap = vec![node.dht().local_addr()];
/// let (ours, theirs) = (HyperDht::bind(options.clone())?, HyperDht::bind(options)?);
/// let mut server = ours.listen(&KeyPair::random(), Default::default()).await?;
/// let client = theirs.connect(&server.public_key(), ConnectOptions::default()).await?;
/// let accepted = server.accept().await.expect("a connection");
/// assert_eq!(accepted.remote_public_key(), Some(client.public_key()));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    dht: HyperDht,
    key_pair: KeyPair,
    target: Id,
    listener: Arc<Listener>,
    announcer: Arc<Announcer>,
    connections: mpsc::Receiver<Connection>,
    tasks: [JoinHandle<()>; 2],
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl HyperDht {
    /// Listens under a key, and announces it. Comes back when that is done, as far as there are nodes.
    ///
    /// # Errors
    /// [`Error::KeyPairAlreadyUsed`].
    pub async fn listen(
        &self,
        key_pair: &KeyPair,
        options: ServerOptions,
    ) -> Result<Server, Error> {
        let target = hash(&[&key_pair.public]);
        let record = Peer {
            public_key: key_pair.public,
            relay_addresses: vec![],
        };
        let (inbox, messages) = mpsc::channel(INBOX);
        let local = Local {
            record: record.encode().into(),
            inbox,
        };
        if !self.inner.service.kept.lock().router.listen(target, local) {
            return Err(Error::KeyPairAlreadyUsed);
        }
        let announcer = Announcer::new(self, key_pair, target);
        let (accepted, connections) = mpsc::channel(BACKLOG);
        let listener = Arc::new(Listener {
            dht: self.clone(),
            key_pair: key_pair.clone(),
            options,
            announcer: announcer.clone(),
            accepted,
            pending: Mutex::default(),
            free: Arc::new(Semaphore::new(PENDING_MAX)),
            relayed: Arc::new(Semaphore::new(RELAYED_MAX)),
            suspended: AtomicBool::new(false),
        });
        self.inner.servers.lock().push(Arc::downgrade(&listener));
        let serving = tokio::spawn(serve(listener.clone(), messages));
        let keeping = announcer.clone();
        let (first, announced) = oneshot::channel();
        let announcing = tokio::spawn(async move {
            keeping.update().await;
            let _ = first.send(());
            keeping.keep().await;
        });
        let server = Server {
            dht: self.clone(),
            key_pair: key_pair.clone(),
            target,
            listener,
            announcer,
            connections,
            tasks: [serving, announcing],
        };
        let _ = announced.await;
        Ok(server)
    }
}

impl Server {
    /// The key that clients connect to.
    pub fn public_key(&self) -> [u8; 32] {
        self.key_pair.public
    }

    /// Nodes through which clients reach it.
    pub fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        self.announcer.addresses()
    }

    /// The next connection; `None` when the server or its node is closed.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }

    /// Announces it again soon, as after a change of the network.
    pub fn refresh(&self) {
        self.announcer.refresh();
    }

    /// Takes the announcement back and answers nobody, until it is resumed. Its connections live on.
    pub async fn suspend(&self) {
        self.listener.suspend().await;
    }

    /// Announces it again.
    pub async fn resume(&self) {
        self.listener.resume();
    }

    /// Stops listening, and takes the announcement back.
    pub async fn close(self) {
        let announcer = self.announcer.clone();
        // Stops the tasks: nothing is announced again.
        drop(self);
        announcer.stop().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.dht
            .inner
            .service
            .kept
            .lock()
            .router
            .unlisten(&self.target);
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A handshake that was answered.
pub(super) struct Pending {
    id: u64,
    noise: Bytes,
    /// By which socket the answer goes.
    socket: Option<Socket>,
    /// `None`: it is not answered.
    reply: Option<Bytes>,
    pub(super) punching: Option<Arc<Punching>>,
}

/// The way that is opened to one client.
pub(super) struct Punching {
    pub(super) secure: SecurePayload,
    pub(super) puncher: Puncher,
    pub(super) round: Mutex<u64>,
    /// A relay helps meanwhile.
    pub(super) relayed: bool,
    /// Told once both sides punch.
    pub(super) begun: tokio::sync::Notify,
    pub(super) aborted: tokio::sync::Notify,
}

#[derive(Default)]
pub(super) struct Slots {
    by_noise: HashMap<Bytes, Arc<Pending>>,
    pub(super) by_id: HashMap<u64, Weak<Pending>>,
}

pub(super) struct Listener {
    pub(super) dht: HyperDht,
    key_pair: KeyPair,
    pub(super) options: ServerOptions,
    pub(super) announcer: Arc<Announcer>,
    accepted: mpsc::Sender<Connection>,
    pub(super) pending: Mutex<Slots>,
    free: Arc<Semaphore>,
    /// For clients that want a relay.
    relayed: Arc<Semaphore>,
    suspended: AtomicBool,
}

/// A place among the handshakes, which is free again some time after the way was found, or given up.
struct Turn {
    listener: Arc<Listener>,
    pending: Arc<Pending>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(punching) = &self.pending.punching {
            punching.puncher.stop();
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (listener, pending, permit) = (
            self.listener.clone(),
            self.pending.clone(),
            self.permit.take(),
        );
        runtime.spawn(async move {
            tokio::time::sleep(listener.options.handshake_clear_wait).await;
            let mut slots = listener.pending.lock();
            slots.by_id.remove(&pending.id);
            slots.by_noise.remove(&pending.noise);
            drop(permit);
        });
    }
}

async fn serve(listener: Arc<Listener>, mut messages: mpsc::Receiver<ForServer>) {
    while let Some(message) = messages.recv().await {
        match message {
            ForServer::Handshake(incoming, message) => listener.shaken(incoming, &message),
            ForServer::Holepunch(incoming, message) => {
                // It may have to wait until the NAT is known.
                if let Ok(permit) = listener.free.clone().try_acquire_owned() {
                    let listener = listener.clone();
                    tokio::spawn(async move {
                        listener.told(incoming, message).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

/// What was agreed with a client.
struct Agreed {
    raw: RawStream,
    door: Door,
    keyed: Keyed,
    way: Known,
    relay: Option<(Relay, Option<OwnedSemaphorePermit>)>,
    /// The client's key, if it may take the way again.
    reusable: Option<[u8; 32]>,
}

/// What is known about the straight way to a client.
enum Known {
    /// It came that way.
    Way(Way),
    /// It says that it is reachable there.
    Open(SocketAddrV4),
    Nothing,
}

impl Listener {
    /// A client's handshake came: answers it, by the way it came.
    fn shaken(self: &Arc<Self>, mut incoming: Incoming, message: &Handshake) {
        let before = self.pending.lock().by_noise.get(&message.noise).cloned();
        let pending = match before {
            Some(pending) => pending,
            None => match self.first(&incoming, message) {
                Some(pending) => pending,
                None => return,
            },
        };
        let Some(noise) = pending.reply.clone() else {
            return;
        };
        incoming.socket = pending.socket.unwrap_or(incoming.socket);
        let answer = |mode, peer_address| Handshake {
            mode,
            noise,
            peer_address,
            relay_address: None,
        };
        match message.mode {
            mode::FROM_CLIENT => {
                let answer = Answer {
                    value: Some(answer(mode::REPLY, None).encode().into()),
                    ..Answer::default()
                };
                self.dht.dht().reply(&incoming, answer);
            }
            mode::FROM_RELAY | mode::FROM_SECOND_RELAY => {
                let to = match message.mode {
                    mode::FROM_RELAY => Some(incoming.from),
                    _ => message.relay_address,
                };
                if let Some(to) = to {
                    let value = answer(mode::FROM_SERVER, message.peer_address).encode();
                    self.dht.dht().relay(&incoming, to, Some(value.into()));
                }
            }
            _ => {}
        }
    }

    /// A handshake that did not come before. `None` when there are too many.
    fn first(self: &Arc<Self>, incoming: &Incoming, message: &Handshake) -> Option<Arc<Pending>> {
        if self.suspended.load(Ordering::Acquire) {
            return None;
        }
        let permit = self.free.clone().try_acquire_owned().ok()?;
        let id = {
            let slots = self.pending.lock();
            (0..).find(|id| !slots.by_id.contains_key(id))?
        };
        let (pending, agreed) = self.negotiate(id, incoming, message);
        let pending = Arc::new(pending);
        {
            let mut slots = self.pending.lock();
            slots.by_id.insert(id, Arc::downgrade(&pending));
            slots
                .by_noise
                .insert(pending.noise.clone(), pending.clone());
        }
        let turn = Turn {
            listener: self.clone(),
            pending: pending.clone(),
            permit: Some(permit),
        };
        if let Some(agreed) = agreed {
            tokio::spawn(self.clone().meet(turn, agreed));
        }
        Some(pending)
    }

    /// The answer to a handshake, and what follows from it.
    fn negotiate(
        &self,
        id: u64,
        incoming: &Incoming,
        message: &Handshake,
    ) -> (Pending, Option<Agreed>) {
        let mut pending = Pending {
            id,
            noise: message.noise.clone(),
            socket: None,
            reply: None,
            punching: None,
        };
        let is_direct = message.peer_address.is_none();
        let client = message.peer_address.unwrap_or(incoming.from);
        let Ok(mut handshake) = PeerHandshake::new(&self.key_pair, None, random_bytes()) else {
            return (pending, None);
        };
        let Ok(theirs) = handshake.receive(&message.noise) else {
            return (pending, None);
        };
        let key = handshake.remote_public_key().unwrap_or_default();
        if let Some(firewall) = &self.options.firewall
            && firewall(&key, &theirs, client)
        {
            return (pending, None);
        }
        let remote_addr = self.dht.dht().remote_addr();
        let local = if self.options.share_local_address {
            self.dht.local_addresses()
        } else {
            vec![]
        };
        let raw = match (theirs.version, &theirs.udx) {
            (1, Some(udx)) => RawStream::new(&self.dht).map(|raw| (raw, *udx)).ok(),
            _ => None,
        };
        let ours = raw.is_some().then(|| self.options.relay_through.offer());
        let ours = ours.flatten();
        let error = match (&raw, theirs.version) {
            (Some(_), _) => error::NONE,
            (None, 1) => error::ABORTED,
            (None, _) => error::VERSION_MISMATCH,
        };
        let known = self.announcer.addresses();
        let reusable = self.options.reusable_socket;
        let udx = raw.as_ref().map(|((raw, _), _)| raw.info(reusable));
        let reply = NoisePayload {
            version: 1,
            error,
            firewall: match remote_addr {
                Some(_) => firewall::OPEN,
                None => firewall::UNKNOWN,
            },
            holepunch: remote_addr.is_none().then(|| HolepunchInfo {
                id,
                relays: self.announcer.relays(),
            }),
            addresses4: remote_addr.into_iter().chain(local.clone()).collect(),
            udx: Some(udx.unwrap_or(UdxInfo {
                version: 1,
                reusable_socket: reusable,
                id: 0,
                seq: 0,
            })),
            secret_stream: Some(1),
            relay_through: ours,
            relay_addresses: Some(known).filter(|known| !known.is_empty()),
            ..NoisePayload::default()
        };
        let Ok(reply) = handshake.send(&reply) else {
            return (pending, None);
        };
        let Ok((keys, secure)) = handshake.finish(random_bytes()) else {
            return (pending, None);
        };
        pending.reply = Some(reply.into());
        let Some(((raw, mut door), udx)) = raw else {
            return (pending, None);
        };
        let reusable = reusable && udx.reusable_socket;
        if reusable {
            door.keep_socket(&self.dht);
        }
        let ways = door.ways.clone();
        // One of the server's own choice is never refused.
        let permit = self.relayed.clone().try_acquire_owned().ok();
        let through = ours.or(theirs.relay_through.filter(|_| permit.is_some()));
        let relay = through.filter(|_| !is_direct).map(|through| {
            let relay = Relay {
                through,
                is_initiator: ours.is_some(),
                keep_alive: self.options.relay_keep_alive,
            };
            (relay, permit.filter(|_| ours.is_none()))
        });
        let relayed = relay.is_some();
        let mut agreed = Agreed {
            raw,
            door,
            keyed: Keyed::new(&udx, Role::Responder, keys, &self.dht),
            way: Known::Nothing,
            relay,
            reusable: reusable.then_some(key),
        };
        if theirs.firewall == firewall::OPEN || is_direct {
            self.dht.inner.punches.lock().open += 1;
            let socket = self.dht.dht().udx_socket(incoming.socket);
            agreed.way = match socket.filter(|_| is_direct) {
                Some(socket) => Known::Way((socket, client)),
                None => Known::Open(client),
            };
            return (pending, Some(agreed));
        }
        let shares_network =
            client.ip() == incoming.request.to.ip() && self.options.share_local_address && {
                let mut private = theirs.addresses4.clone();
                private.retain(|at| is_private(*at.ip()));
                matching(&local, &private).is_some()
            };
        if remote_addr.is_some() || self.options.holepunch.is_never() {
            return (pending, Some(agreed));
        }
        if let Ok(puncher) = Puncher::new(&self.dht, false, theirs.firewall, ways) {
            // On a network that both share, the client shall see the server socket: it can be reached there.
            pending.socket = (!shares_network).then(|| puncher.which());
            pending.punching = Some(Arc::new(Punching {
                secure,
                puncher,
                round: Mutex::new(0),
                relayed,
                begun: tokio::sync::Notify::new(),
                aborted: tokio::sync::Notify::new(),
            }));
        }
        (pending, Some(agreed))
    }

    /// Waits for the client, then hands the connection over.
    async fn meet(self: Arc<Self>, turn: Turn, agreed: Agreed) {
        let Agreed {
            raw,
            door,
            keyed,
            way,
            relay,
            reusable,
        } = agreed;
        let (relay, permit) = relay.unzip();
        let direct = self.clone().find_way(turn, door, way, relay.is_some());
        let meeting = async {
            let (connection, kept) = meet(&self.dht, raw, keyed, direct, relay).await?;
            let opened = connection.opened().await;
            opened.map_err(|_| Error::PeerConnectionFailed)?;
            if let Some(client) = reusable {
                self.dht.keep_route(client, &connection, kept);
            }
            if let Some(pool) = &self.options.pool {
                pool.attach(connection.clone())?;
            }
            Ok(connection)
        };
        match self.dht.unless_suspended(meeting).await {
            Ok(connection) => {
                // A server that accepts nothing has none.
                let _ = self.accepted.try_send(connection);
            }
            Err(error) => tracing::debug!(code = error.code(), "a client did not come"),
        }
        drop(permit);
    }

    fn find_way(self: Arc<Self>, turn: Turn, mut door: Door, way: Known, relayed: bool) -> Direct {
        Box::pin(async move {
            let way = self.way(&turn.pending, &mut door, way, relayed).await;
            (door, way)
        })
    }

    /// The way by which the client comes.
    async fn way(
        &self,
        pending: &Pending,
        door: &mut Door,
        way: Known,
        relayed: bool,
    ) -> Result<Way, Error> {
        let late = |_| Error::HolepunchAborted;
        let punching = match (way, &pending.punching) {
            (Known::Way(way), _) => {
                door.take(&way);
                return Ok(way);
            }
            (Known::Open(client), _) => return self.dht.open_way(door, client, relayed).await,
            (Known::Nothing, None) => {
                let patience = if relayed { RELAYED } else { INITIAL };
                let came = tokio::time::timeout(patience, door.found()).await;
                return came.map_err(late);
            }
            (Known::Nothing, Some(punching)) => punching,
        };
        let patience = async {
            let begin = if relayed { RELAYED } else { INITIAL };
            tokio::select! {
                () = tokio::time::sleep(begin) => {}
                () = punching.begun.notified() => punching.puncher.given_up().await,
            }
        };
        tokio::select! {
            biased;
            way = door.found() => Ok(way),
            () = punching.aborted.notified() => {
                // The client may still come over a network that both share.
                tokio::time::timeout(INITIAL, door.found()).await.map_err(late)
            }
            () = patience => Err(Error::HolepunchAborted),
        }
    }

    /// Answers nobody any more, and takes the announcement back.
    pub(super) async fn suspend(&self) {
        self.suspended.store(true, Ordering::Release);
        self.announcer.suspend().await;
    }

    pub(super) fn resume(&self) {
        self.suspended.store(false, Ordering::Release);
        self.announcer.resume();
    }
}
