//! The handle of a node that runs on real sockets.

use super::{
    Ask, Id, Incoming, Node, NodeOptions, QueryId, QueryOptions, Reply, RequestError,
    RequestOptions, RequestStats, Socket, internal,
    run::{Inner, Told},
};
use crate::udx::{self, Udx};
use bytes::Bytes;
use std::{
    fmt,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot, watch};

/// Holes that were heard of and wait for their reader; more are forgotten.
const PUNCHES_MAX: usize = 64;

/// Answers what other nodes ask, where it is no question of dht-rpc itself. Called with the node locked: it must not wait, nor use the [`Dht`].
pub trait Service: Send + Sync + 'static {
    /// A question came in: answer it with [`Node::reply`] or [`Node::relay`], now or later, or not at all.
    fn asked(&self, node: &mut Node, incoming: Incoming, now: Duration);

    /// This is a lasting node from now on, or is one no more.
    fn persistent(&self, _persistent: bool) {}
}

/// Answers nothing.
struct NoService;

impl Service for NoService {
    fn asked(&self, node: &mut Node, incoming: Incoming, now: Duration) {
        node.refuse(&incoming, now);
    }
}

/// How a node runs.
#[derive(Debug, Clone)]
pub struct DhtOptions {
    /// How it behaves.
    pub node: NodeOptions,
    /// The address of its sockets (default: all of the machine's).
    pub host: Ipv4Addr,
    /// Port of the socket that others reach it by; the next four are tried too. 0: any (the default).
    pub port: u16,
    /// Any other port will do when these are taken (default true).
    pub any_port: bool,
}

impl Default for DhtOptions {
    fn default() -> Self {
        Self {
            node: NodeOptions::default(),
            host: Ipv4Addr::UNSPECIFIED,
            port: 0,
            any_port: true,
        }
    }
}

impl DhtOptions {
    /// Those of a node that others begin with (npm `DHT.bootstrapper`): at this address, and at no other.
    pub fn bootstrapper(address: SocketAddrV4) -> Self {
        Self {
            node: NodeOptions {
                ephemeral: Some(false),
                firewalled: false,
                address: Some(address),
                ..NodeOptions::default()
            },
            port: address.port(),
            any_port: false,
            ..Self::default()
        }
    }
}

/// A node of the network on two UDP sockets, which UDX streams share with it. Cheap to clone; it stops when it is closed, or when nobody holds it.
///
/// ```
/// use pome_net::dht_rpc::{Dht, DhtOptions};
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut options = DhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// options.host = std::net::Ipv4Addr::LOCALHOST;
/// let first = Dht::bind(options)?;
/// let mut options = DhtOptions { host: std::net::Ipv4Addr::LOCALHOST, ..Default::default() };
/// options.node.bootstrap = vec![first.local_addr()];
/// let second = Dht::bind(options)?;
/// second.ready().await?;
/// let reply = second.ping(first.local_addr()).await?;
/// assert_eq!(reply.from, first.local_addr());
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Dht {
    inner: Arc<Inner>,
}

impl fmt::Debug for Dht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dht")
            .field("local", &self.local_addr())
            .finish_non_exhaustive()
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, address.port()),
    }
}

type Bound = (udx::Socket, mpsc::Receiver<udx::Datagram>);

fn bind(udx: &Udx, options: &DhtOptions) -> io::Result<Bound> {
    let ports = match options.port {
        0 => 0..0,
        port if options.any_port => port..port.saturating_add(5),
        port => port..port.saturating_add(1),
    };
    let mut refused = None;
    for port in ports {
        match udx.bind(SocketAddrV4::new(options.host, port).into()) {
            Ok(bound) => return Ok(bound),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if !options.any_port => Err(error),
        _ => udx.bind(SocketAddrV4::new(options.host, 0).into()),
    }
}

impl Dht {
    /// Opens the sockets and begins to look for other nodes.
    ///
    /// # Errors
    /// Those of the system: the address is in use, or not ours.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(options: DhtOptions) -> io::Result<Self> {
        Self::bind_with(options, &Udx::new(), Arc::new(NoService))
    }

    /// As [`bind`](Self::bind), with streams that exist and somebody who answers questions.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind_with(
        mut options: DhtOptions,
        udx: &Udx,
        service: Arc<dyn Service>,
    ) -> io::Result<Self> {
        let server = bind(udx, &options)?;
        let client = udx.bind(SocketAddrV4::new(options.host, 0).into())?;
        let port = server.0.local_addr().port();
        // A bootstrap node whose port the system chose.
        if let Some(address) = &mut options.node.address
            && address.port() == 0
        {
            address.set_port(port);
        }
        let seed = pome_cores::crypto::random_bytes();
        let node = Node::new(options.node, port, seed, Duration::ZERO);
        let inner = Inner::start(node, udx.clone(), client, server, options.host, service);
        Ok(Self { inner })
    }

    /// Waits until the table is filled, as far as there are other nodes.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    pub async fn ready(&self) -> Result<(), RequestError> {
        self.wait(|told| told.ready).await
    }

    /// Waits until this is a lasting node.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    pub async fn persistent(&self) -> Result<(), RequestError> {
        self.wait(|told| told.persistent).await
    }

    async fn wait(&self, until: impl FnMut(&Told) -> bool) -> Result<(), RequestError> {
        let mut told = self.watch();
        let found = told.wait_for(until).await.is_ok();
        if found && !self.is_closed() {
            Ok(())
        } else {
            Err(RequestError::Closed)
        }
    }

    /// What the node learnt about itself, as it changes.
    pub fn watch(&self) -> watch::Receiver<Told> {
        self.inner.told.subscribe()
    }

    /// The address of the server socket, as the system tells it; that of loopback where it is every address of the machine.
    pub fn local_addr(&self) -> SocketAddrV4 {
        let address = v4(self.inner.sockets.server.local_addr());
        if address.ip().is_unspecified() {
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())
        } else {
            address
        }
    }

    /// What the sockets were bound to; unspecified: every address of the machine.
    pub fn host(&self) -> Ipv4Addr {
        self.inner.sockets.host
    }

    /// The address that others reach this node at: known when nothing keeps them from it.
    pub fn remote_addr(&self) -> Option<SocketAddrV4> {
        let port = self.inner.sockets.server.local_addr().port();
        self.look(|node| {
            node.address()
                .filter(|address| !node.is_firewalled() && address.port() == port)
        })
    }

    /// The address outside, as far as others agree on it; port 0: each sees another.
    pub fn address(&self) -> Option<SocketAddrV4> {
        self.look(|node| node.address())
    }

    /// The id, if this is a lasting node.
    pub fn id(&self) -> Option<Id> {
        self.look(|node| node.id())
    }

    /// True while there may be a firewall in front.
    pub fn is_firewalled(&self) -> bool {
        self.look(|node| node.is_firewalled())
    }

    /// The nodes that were heard last, the latest first.
    pub fn nodes(&self) -> Vec<SocketAddrV4> {
        self.look(|node| node.latest())
    }

    /// Counters.
    pub fn stats(&self) -> RequestStats {
        self.look(|node| node.stats())
    }

    /// The node's clock.
    pub(crate) fn now(&self) -> Duration {
        self.inner.act(|_, now| now)
    }

    /// How the network answers.
    pub fn health(&self) -> super::Health {
        self.look(|node| node.health())
    }

    fn look<T>(&self, look: impl FnOnce(&Node) -> T) -> T {
        look(&self.inner.state.lock().node)
    }

    /// The streams that share the sockets.
    pub fn udx(&self) -> &Udx {
        &self.inner.sockets.udx
    }

    /// One of the sockets, for UDX streams.
    pub fn udx_socket(&self, which: Socket) -> Option<udx::Socket> {
        self.inner.sockets.get(which)
    }

    /// The socket for questions.
    pub fn socket(&self) -> udx::Socket {
        let which = self.look(|node| node.socket());
        let sockets = &self.inner.sockets;
        sockets.get(which).unwrap_or(sockets.server.clone())
    }

    /// Which one a socket of UDX is.
    pub fn which(&self, socket: &udx::Socket) -> Option<Socket> {
        self.inner.sockets.which(socket)
    }

    /// Opens one more socket, which has holes in NATs of its own.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open_socket(&self) -> io::Result<PunchSocket> {
        let (punches, receiver) = mpsc::channel(PUNCHES_MAX);
        let (number, socket) = Inner::open_socket(&self.inner, punches)?;
        Ok(PunchSocket {
            inner: Arc::downgrade(&self.inner),
            number,
            socket,
            punches: receiver,
        })
    }

    /// Goes on reading from a socket of [`open_socket`](Self::open_socket) when that is dropped, until this is. `None` for other sockets.
    pub fn keep_socket(&self, socket: &udx::Socket) -> Option<KeptSocket> {
        let number = self.inner.sockets.keep(socket)?;
        Some(KeptSocket {
            inner: Arc::downgrade(&self.inner),
            number,
        })
    }

    /// Asks a node something. The question is sent at once; what is returned waits for the answer.
    pub fn request(&self, to: SocketAddrV4, ask: Ask) -> Pending {
        self.request_by(to, ask, RequestOptions::default())
    }

    /// As [`request`](Self::request), in the way that the caller chooses.
    pub fn request_by(&self, to: SocketAddrV4, ask: Ask, options: RequestOptions) -> Pending {
        let (answer, receiver) = oneshot::channel();
        self.inner.act(|state, now| {
            if let Some(error) = state.refuses() {
                let _ = answer.send(Err(error));
                return;
            }
            let id = state.node.request_by(to, ask, options, now);
            state.waiting.insert(id, answer);
        });
        Pending { receiver }
    }

    /// Is the node there?
    pub fn ping(&self, to: SocketAddrV4) -> Pending {
        self.ping_by(to, RequestOptions::default())
    }

    /// As [`ping`](Self::ping), in the way that the caller chooses.
    pub fn ping_by(&self, to: SocketAddrV4, options: RequestOptions) -> Pending {
        let ask = Ask {
            internal: true,
            command: internal::PING,
            ..Ask::default()
        };
        self.request_by(to, ask, options)
    }

    /// A ping that is answered after so long: is the way to the node still open then? Nodes answer none of more than ten seconds.
    pub fn delayed_ping(&self, to: SocketAddrV4, delay: Duration) -> Pending {
        let millis = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        let ask = Ask {
            internal: true,
            command: internal::DELAYED_PING,
            value: Some(Bytes::copy_from_slice(&millis.to_le_bytes())),
            ..Ask::default()
        };
        self.request(to, ask)
    }

    /// Asks for the nodes closest to a target.
    pub fn find_node(&self, target: Id) -> Query {
        let ask = Ask {
            internal: true,
            command: internal::FIND_NODE,
            target: Some(target),
            ..Ask::default()
        };
        self.query(QueryOptions {
            ask,
            ..QueryOptions::default()
        })
    }

    /// Asks ever closer nodes, until nobody knows any.
    pub fn query(&self, options: QueryOptions) -> Query {
        let (sender, receiver) = mpsc::unbounded_channel();
        let id = self.inner.act(|state, now| {
            if let Some(error) = state.refuses() {
                let _ = sender.send(QueryNews::Failed(error));
                return None;
            }
            let id = state.node.query(options, now);
            state.queries.insert(id, sender);
            Some(id)
        });
        Query {
            inner: Arc::downgrade(&self.inner),
            id,
            news: receiver,
        }
    }

    /// Answers a question that the [`Service`] kept.
    pub fn reply(&self, incoming: &Incoming, answer: super::Answer) {
        self.inner
            .act(|state, now| state.node.reply(incoming, answer, now));
    }

    /// Hands a question on; see [`Node::relay`].
    pub fn relay(&self, incoming: &Incoming, to: SocketAddrV4, value: Option<Bytes>) {
        self.inner
            .act(|state, _| state.node.relay(incoming, to, value));
    }

    /// Looks around, so that the table stays fresh.
    pub fn refresh(&self) {
        self.inner.act(|state, now| state.node.refresh(now));
    }

    /// Goes on after the machine has got another address: what others said about the earlier one is forgotten, and some are asked anew.
    pub fn network_changed(&self) {
        self.inner.act(|state, now| state.node.network_changed(now));
    }

    /// Falls silent: what waits for answers fails with [`RequestError::Suspended`], and so does what is asked until [`resume`](Self::resume). Nobody is answered.
    /// The sockets stay open, and the streams on them go on.
    pub fn suspend(&self) {
        self.inner.suspend();
    }

    /// Goes on, as after a sleep: looks whether the nodes are still there.
    pub fn resume(&self) {
        self.inner.resume();
    }

    /// Stops: what waits for answers fails, the sockets close, and the streams on them end.
    pub fn close(&self) {
        self.inner.close();
    }

    /// True after [`close`](Self::close).
    pub fn is_closed(&self) -> bool {
        self.inner.state.lock().closed
    }
}

/// A request on its way.
#[derive(Debug)]
#[must_use = "the answer comes to whoever waits for it"]
pub struct Pending {
    receiver: oneshot::Receiver<Result<Reply, RequestError>>,
}

impl Future for Pending {
    type Output = Result<Reply, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver)
            .poll(cx)
            .map(|answer| answer.unwrap_or(Err(RequestError::Closed)))
    }
}

#[derive(Debug)]
pub(super) enum QueryNews {
    Reply(Reply),
    Done(QueryResult),
    Failed(RequestError),
}

/// How a query ended.
#[derive(Debug, Clone, Default)]
pub struct QueryResult {
    /// The closest nodes that answered, the closest first.
    pub closest: Vec<Reply>,
    /// How many of them took the commit.
    pub committed: usize,
}

/// A query on its way; it is given up when this is dropped.
#[derive(Debug)]
#[must_use = "a query is given up when it is dropped"]
pub struct Query {
    inner: Weak<Inner>,
    id: Option<QueryId>,
    news: mpsc::UnboundedReceiver<QueryNews>,
}

impl Query {
    /// The next answer.
    ///
    /// # Errors
    /// How the query ended: well, in the inner result, or because the node was closed.
    pub async fn next(&mut self) -> Result<Reply, Result<QueryResult, RequestError>> {
        match self.news.recv().await {
            Some(QueryNews::Reply(reply)) => Ok(reply),
            Some(QueryNews::Done(result)) => Err(Ok(result)),
            Some(QueryNews::Failed(error)) => Err(Err(error)),
            None => Err(Err(RequestError::Closed)),
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    pub async fn finished(mut self) -> Result<QueryResult, RequestError> {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        if let (Some(inner), Some(id)) = (self.inner.upgrade(), self.id) {
            inner.act(|state, _| {
                if state.queries.remove(&id).is_some() {
                    state.node.cancel(id);
                }
            });
        }
    }
}

/// A socket of its own, for one hole in the NATs between two peers. The node no longer reads from it when it is dropped; a stream may go on using it.
#[derive(Debug)]
pub struct PunchSocket {
    inner: Weak<Inner>,
    number: u64,
    socket: udx::Socket,
    punches: mpsc::Receiver<SocketAddrV4>,
}

impl PunchSocket {
    /// How requests name it.
    pub fn which(&self) -> Socket {
        Socket::Extra(self.number)
    }

    /// The socket itself.
    pub fn socket(&self) -> &udx::Socket {
        &self.socket
    }

    /// Who came through next: a datagram of one byte says no more.
    pub async fn punched(&mut self) -> Option<SocketAddrV4> {
        self.punches.recv().await
    }

    /// As [`punched`](Self::punched), for a future that is made by hand.
    pub fn poll_punched(&mut self, cx: &mut Context<'_>) -> Poll<Option<SocketAddrV4>> {
        self.punches.poll_recv(cx)
    }
}

impl Drop for PunchSocket {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.sockets.forget(self.number);
        }
    }
}

/// Keeps a socket among those of the node: see [`Dht::keep_socket`].
#[derive(Debug)]
pub struct KeptSocket {
    inner: Weak<Inner>,
    number: u64,
}

impl KeptSocket {
    /// How requests name it.
    pub fn which(&self) -> Socket {
        Socket::Extra(self.number)
    }
}

impl Drop for KeptSocket {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            inner.sockets.forget(self.number);
        }
    }
}
