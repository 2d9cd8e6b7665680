//! The driver: beacons by UDP, connections by TCP.

use super::{
    Beacon, BeaconOutput, LanPeer,
    beacon::TOPICS_MAX,
    peer::{Showing, Topics},
};
use crate::{
    Error,
    driver::{Connection, ConnectionOptions},
    networks::{Network, networks},
    noise::Role,
};
use parking_lot::Mutex;
use pome_cores::KeyPair;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
use std::{
    collections::HashMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

/// The group of beacons: of the kind that no router passes on beyond a site.
pub const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 80, 77);
/// The UDP port of beacons.
pub const PORT: u16 = 49_738;

/// The longest datagram that is read.
const DATAGRAM_MAX: usize = 2_048;
/// Connections that have not shown yet that they share a topic.
const UNPROVEN_MAX: usize = 32;
/// Peers that wait to be taken.
const BACKLOG: usize = 32;
/// One address is dialled no oftener.
const AGAIN: Duration = Duration::from_secs(1);
/// Connections of one pair that begin within so long are of one beginning.
const TOGETHER: Duration = Duration::from_secs(2);
/// Addresses of which that is known.
const DIALLED_MAX: usize = 256;
const DIAL: Duration = Duration::from_secs(5);

/// How peers on the same network are met.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LanOptions {
    /// The UDP port of beacons (default [`PORT`]): peers with another one are not met.
    pub port: u16,
    /// How connections behave.
    pub connection: ConnectionOptions,
}

impl Default for LanOptions {
    fn default() -> Self {
        Self {
            port: PORT,
            connection: ConnectionOptions::default(),
        }
    }
}

/// Meets peers on the machine's own networks. Dropped, it stops, and ends its connections.
///
/// ```no_run
/// use pome_net::lan::{Lan, LanOptions};
/// # async fn meet() -> std::io::Result<()> {
/// let mut lan = Lan::start(LanOptions::default()).await?;
/// lan.join([7; 32]);
/// while let Some(peer) = lan.next().await {
///     println!("{:?} shares {} topics", peer.connection(), peer.shared().borrow().len());
/// }
/// # Ok(()) }
/// ```
pub struct Lan {
    inner: Arc<Inner>,
    peers: mpsc::Receiver<LanPeer>,
    _tasks: JoinSet<()>,
}

struct Inner {
    options: LanOptions,
    /// Made for this run alone: nobody is to know a peer again by it.
    key_pair: KeyPair,
    beacon: Mutex<Beacon>,
    wake: Notify,
    epoch: Instant,
    topics: watch::Sender<Topics>,
    met: Mutex<Met>,
    unproven: Arc<Semaphore>,
    found: mpsc::Sender<LanPeer>,
}

/// A connection to a peer.
struct Link {
    connection: Connection,
    since: Instant,
    /// Our address, which it ends with.
    local: Ipv4Addr,
}

/// Whom we are connected to, by the id of the peer, and whom we dialled.
#[derive(Default)]
struct Met {
    connected: HashMap<[u8; 16], Link>,
    dialled: HashMap<SocketAddrV4, Instant>,
}

impl fmt::Debug for Lan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lan").finish_non_exhaustive()
    }
}

fn bind(port: u16) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    // Every pome on this machine hears them.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    UdpSocket::from_std(socket.into())
}

/// The networks on which others may be; loopback where there is no other.
fn reachable() -> Vec<Network> {
    let mut all = networks();
    if all.iter().any(|network| !network.is_loopback) {
        all.retain(|network| !network.is_loopback);
    }
    all
}

/// Only who is on one of our networks is spoken to.
fn is_near(address: Ipv4Addr) -> bool {
    networks().iter().any(|network| network.contains(address))
}

impl Lan {
    /// Begins to listen.
    ///
    /// # Errors
    /// Those of the system: the port of beacons belongs to another program.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(options: LanOptions) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
        let socket = bind(options.port)?;
        let (found, peers) = mpsc::channel(BACKLOG);
        let port = listener.local_addr()?.port();
        let inner = Arc::new(Inner {
            options,
            key_pair: KeyPair::random(),
            beacon: Mutex::new(Beacon::new(port, Duration::ZERO)),
            wake: Notify::new(),
            epoch: Instant::now(),
            topics: watch::Sender::default(),
            met: Mutex::default(),
            unproven: Arc::new(Semaphore::new(UNPROVEN_MAX)),
            found,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(speak(inner.clone(), socket));
        tasks.spawn(accept(inner.clone(), listener));
        Ok(Self {
            inner,
            peers,
            _tasks: tasks,
        })
    }

    /// Looks for peers that have this topic, and is found by them. Beyond 4,096 topics nothing happens.
    pub fn join(&self, topic: [u8; 32]) {
        self.joiner().join(topic);
    }

    /// No more.
    pub fn leave(&self, topic: &[u8; 32]) {
        self.joiner().leave(topic);
    }

    /// A handle that joins and leaves, for whoever does not wait for peers.
    pub fn joiner(&self) -> LanTopics {
        LanTopics(self.inner.clone())
    }

    /// The next peer with which a topic is shared. Cancel safe.
    pub async fn next(&mut self) -> Option<LanPeer> {
        self.peers.recv().await
    }
}

/// Joins and leaves topics of a [`Lan`]. Cheap to clone.
#[derive(Clone)]
pub struct LanTopics(Arc<Inner>);

impl fmt::Debug for LanTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LanTopics").finish_non_exhaustive()
    }
}

impl LanTopics {
    /// As [`Lan::join`].
    pub fn join(&self, topic: [u8; 32]) {
        let joined = self
            .0
            .topics
            .send_if_modified(|topics| topics.len() < TOPICS_MAX && topics.insert(topic));
        if joined {
            let now = self.0.now();
            self.0.beacon.lock().join(topic, now);
            self.0.wake.notify_one();
        }
    }

    /// As [`Lan::leave`].
    pub fn leave(&self, topic: &[u8; 32]) {
        self.0
            .topics
            .send_if_modified(|topics| topics.remove(topic));
        self.0.beacon.lock().leave(topic);
    }

    /// The machine has other networks now: connections over those that it lost are dropped, and peers on the others are told at once.
    pub fn network_changed(&self) {
        self.0.drop_lost();
        self.0.say_again();
    }
}

impl Inner {
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn say_again(&self) {
        let now = self.now();
        self.beacon.lock().changed(now);
        self.wake.notify_one();
    }

    /// May this address be dialled now?
    fn may_dial(&self, id: &[u8; 16], address: SocketAddrV4) -> bool {
        let now = Instant::now();
        let mut met = self.met.lock();
        let link = met.connected.get(id);
        if link.is_some_and(|link| !link.connection.is_closed()) {
            return false;
        }
        met.dialled.retain(|_, at| now - *at < AGAIN);
        let may = met.dialled.len() < DIALLED_MAX && !met.dialled.contains_key(&address);
        if may {
            met.dialled.insert(address, now);
        }
        may
    }

    /// One connection to a peer is enough: of two that begin at the same time that which the peer with the larger id dialled; a peer that comes again later
    /// has lost the one before. False: this one is not it.
    fn keep(&self, ours: [u8; 16], theirs: [u8; 16], link: Link) -> bool {
        let by_larger = |link: &Link| link.connection.role().is_initiator() == (ours > theirs);
        let mut met = self.met.lock();
        met.connected.retain(|_, link| !link.connection.is_closed());
        let better = met.connected.get(&theirs).is_none_or(|before| {
            by_larger(&link) || !by_larger(before) || before.since.elapsed() > TOGETHER
        });
        if better && let Some(before) = met.connected.insert(theirs, link) {
            before.connection.abort();
        }
        better
    }

    /// Connections that end with an address which is no more ours are lost.
    fn drop_lost(&self) {
        let networks = networks();
        let is_ours = |link: &Link| networks.iter().any(|n| n.address == link.local);
        let mut met = self.met.lock();
        met.dialled.clear();
        for link in met.connected.values().filter(|link| !is_ours(link)) {
            link.connection.abort();
        }
    }
}

/// Sends beacons and hears them.
async fn speak(inner: Arc<Inner>, socket: UdpSocket) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    let mut heard: Vec<Network> = Vec::new();
    let mut dials = JoinSet::new();
    listen_on(&socket, &mut heard);
    loop {
        let due = inner.beacon.lock().poll_timeout();
        let at = inner.epoch + due.unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            received = socket.recv_from(&mut buffer) => if let Ok((len, SocketAddr::V4(from))) = received
                && heard.iter().any(|network| network.contains(*from.ip()))
            {
                let now = inner.now();
                inner.beacon.lock().handle_datagram(*from.ip(), &buffer[..len], now);
            },
            () = tokio::time::sleep_until(at), if due.is_some() => {
                let now = inner.now();
                inner.beacon.lock().handle_timeout(now);
            }
            () = inner.wake.notified() => {}
            Some(_) = dials.join_next() => {}
        }
        loop {
            let output = inner.beacon.lock().poll();
            match output {
                Some(BeaconOutput::Send(bytes)) => {
                    listen_on(&socket, &mut heard);
                    let to = SocketAddrV4::new(GROUP, inner.options.port);
                    for Network { address, .. } in &heard {
                        let sent = match sockopt::set_ip_multicast_if(&socket, address) {
                            Ok(()) => socket.send_to(&bytes, to).await.map(|_| ()),
                            Err(error) => Err(error.into()),
                        };
                        if let Err(error) = sent {
                            tracing::debug!(%address, %error, "a beacon was not sent");
                        }
                    }
                }
                Some(BeaconOutput::Found {
                    id,
                    address,
                    patience,
                }) => {
                    if dials.len() < UNPROVEN_MAX {
                        dials.spawn(dial(inner.clone(), id, address, patience));
                    }
                }
                None => break,
            }
        }
    }
}

/// Hears what is said on each network there is.
fn listen_on(socket: &UdpSocket, heard: &mut Vec<Network>) {
    let now = reachable();
    for Network { address, .. } in now.iter().filter(|network| !heard.contains(network)) {
        if let Err(error) = sockopt::set_ip_add_membership(socket, &GROUP, address) {
            tracing::debug!(%address, %error, "beacons of a network are not heard");
        }
    }
    for Network { address, .. } in heard.iter().filter(|network| !now.contains(network)) {
        // An address that is gone has left already.
        let _ = sockopt::set_ip_drop_membership(socket, &GROUP, address);
    }
    *heard = now;
}

async fn dial(inner: Arc<Inner>, id: [u8; 16], address: SocketAddrV4, patience: Duration) {
    tokio::time::sleep(patience).await;
    if !inner.may_dial(&id, address) {
        return;
    }
    let Ok(permit) = inner.unproven.clone().try_acquire_owned() else {
        return;
    };
    match timeout(DIAL, TcpStream::connect(address)).await {
        Ok(Ok(socket)) => {
            tokio::spawn(meet(inner, socket, Role::Initiator, permit));
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "a peer on the network is not reached"),
        Err(_) => tracing::debug!(%address, "a peer on the network does not answer"),
    }
}

async fn accept(inner: Arc<Inner>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((socket, SocketAddr::V4(from))) if is_near(*from.ip()) => {
                if let Ok(permit) = inner.unproven.clone().try_acquire_owned() {
                    tokio::spawn(meet(inner.clone(), socket, Role::Responder, permit));
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One connection, from its handshake to its end.
async fn meet(inner: Arc<Inner>, socket: TcpStream, role: Role, permit: OwnedSemaphorePermit) {
    let Ok(SocketAddr::V4(local)) = socket.local_addr() else {
        return;
    };
    let options = inner.options.connection.clone();
    let connected = socket
        .set_nodelay(true)
        .map_err(Error::from)
        .and_then(|()| Connection::over(socket, role, &inner.key_pair, options));
    let Ok(connection) = connected else {
        return;
    };
    let mut was_shared = false;
    let show = async {
        let ours = inner.beacon.lock().id();
        let topics = inner.topics.subscribe();
        let (showing, theirs) = Showing::begin(connection.clone(), ours, topics).await?;
        let found = async |peer| {
            drop(permit);
            was_shared = true;
            let link = Link {
                connection: connection.clone(),
                since: Instant::now(),
                local: *local.ip(),
            };
            if ours != theirs && inner.keep(ours, theirs, link) {
                // Nobody takes it any more when all is over.
                let _ = inner.found.send(peer).await;
            } else {
                connection.end();
            }
        };
        showing.run(found).await
    };
    let outcome: Result<(), Error> = tokio::select! {
        outcome = show => outcome,
        () = inner.found.closed() => Ok(()),
    };
    connection.end();
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection on the local network ended");
    }
    if was_shared {
        let hash = connection.handshake_hash();
        inner
            .met
            .lock()
            .connected
            .retain(|_, link| link.connection.handshake_hash() != hash);
        // Whoever was lost may still be there.
        inner.say_again();
    }
}
