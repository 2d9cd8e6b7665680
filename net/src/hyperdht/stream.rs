//! The UDX stream of a connection that is being made: its other side may come in by any of the node's sockets, or through a relay.

use super::{Error, HyperDht, messages::UdxInfo};
use crate::{
    dht_rpc::{Dht, KeptSocket},
    driver::{Connection, ConnectionOptions},
    noise::{Keys, Role},
    secret_stream::{Entropy, SecretStream, StreamOptions},
    udx::{self, Connector, Duplex},
};
use parking_lot::Mutex;
use rand::RngExt;
use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// Where a way was found: the socket, and the other side's address.
pub(super) type Way = (udx::Socket, SocketAddrV4);
/// Hears of ways.
pub(super) type Ways = mpsc::Sender<Way>;

/// Ways that wait; the first one is taken.
const WAYS_MAX: usize = 8;
/// Ids that may be taken already, before there is something else wrong.
const TRIES: u32 = 100;

/// What comes in for the stream, and from where.
#[derive(Default)]
struct State {
    /// The straight way, once it is decided.
    direct: Option<Way>,
    /// Where packets come from that a relay hands on.
    relay: Option<(udx::Socket, SocketAddr)>,
}

/// Decides about packets from anywhere but the stream's own remote. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Gate {
    state: Arc<Mutex<State>>,
}

impl Gate {
    /// Packets from there are no sign of a straight way.
    pub(super) fn expect_relay(&self, relay: Option<(udx::Socket, SocketAddr)>) {
        self.state.lock().relay = relay;
    }

    /// From now on this is the way, or there is none.
    pub(super) fn go(&self, way: Option<Way>) {
        self.state.lock().direct = way;
    }

    fn rejects(&self, socket: &udx::Socket, from: SocketAddr, ways: &Ways) -> bool {
        {
            let state = self.state.lock();
            let is_relay = |(own, at): &(udx::Socket, SocketAddr)| own == socket && *at == from;
            if state.relay.as_ref().is_some_and(is_relay) {
                return false;
            }
            if let Some((own, remote)) = &state.direct {
                return own != socket && SocketAddr::V4(*remote) != from;
            }
        }
        // Only who was told the id knows it: the first packet shows the way.
        let SocketAddr::V4(from) = from else {
            return true;
        };
        let _ = ways.try_send((socket.clone(), from));
        false
    }
}

/// Hears which ways open.
pub(super) struct Door {
    pub(super) ways: Ways,
    found: mpsc::Receiver<Way>,
    /// The sockets of ways are kept for another connection.
    keeps: Option<Dht>,
    pub(super) kept: Option<KeptSocket>,
}

impl Door {
    /// The socket of the way that is found shall outlive the attempt.
    pub(super) fn keep_socket(&mut self, dht: &HyperDht) {
        self.keeps = Some(dht.dht().clone());
    }

    /// This way is taken.
    pub(super) fn take(&mut self, (socket, _): &Way) {
        let keeps = self.keeps.as_ref();
        self.kept = keeps.and_then(|dht| dht.keep_socket(socket));
    }

    /// A way that was found.
    pub(super) async fn found(&mut self) -> Way {
        match self.found.recv().await {
            Some(way) => {
                self.take(&way);
                way
            }
            // The sender is here, too.
            None => std::future::pending().await,
        }
    }
}

pub(super) struct RawStream {
    duplex: Duplex,
    pub(super) gate: Gate,
}

/// What a handshake left, of which the connection is made once there is a way.
pub(super) struct Keyed {
    /// The stream of the other side.
    pub(super) remote_id: u32,
    pub(super) role: Role,
    pub(super) keys: Keys,
    /// A sign of life after so long.
    pub(super) keep_alive: Option<Duration>,
}

impl Keyed {
    pub(super) fn new(remote: &UdxInfo, role: Role, keys: Keys, dht: &HyperDht) -> Self {
        Self {
            // Ids are of 32 bits; another one belongs to no stream.
            remote_id: u32::try_from(remote.id).unwrap_or(u32::MAX),
            role,
            keys,
            keep_alive: dht.inner.keep_alive,
        }
    }
}

pub(super) fn random_stream(udx: &udx::Udx) -> io::Result<Duplex> {
    let mut taken = None;
    for _ in 0..TRIES {
        match udx.stream(rand::rng().random(), &Default::default()) {
            Ok(duplex) => return Ok(duplex),
            Err(error) => taken = Some(error),
        }
    }
    Err(taken.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

impl RawStream {
    /// A stream with a random id, which the other side must be told.
    pub(super) fn new(dht: &HyperDht) -> io::Result<(Self, Door)> {
        let duplex = random_stream(dht.dht().udx())?;
        let (ways, found) = mpsc::channel(WAYS_MAX);
        let gate = Gate::default();
        let (first, decided) = (ways.clone(), gate.clone());
        duplex.set_firewall(Some(Arc::new(move |socket: &udx::Socket, from| {
            decided.rejects(socket, from, &first)
        })));
        let door = Door {
            ways,
            found,
            keeps: None,
            kept: None,
        };
        Ok((Self { duplex, gate }, door))
    }

    /// The id that the other side is told.
    pub(super) fn id(&self) -> u32 {
        self.duplex.id()
    }

    /// What the other side is told; `reusable`: another connection may take the same way.
    pub(super) fn info(&self, reusable: bool) -> UdxInfo {
        UdxInfo {
            version: 1,
            reusable_socket: reusable,
            id: self.id().into(),
            seq: 0,
        }
    }

    pub(super) fn connector(&self) -> Connector {
        self.duplex.connector()
    }

    /// Goes that way: the encrypted connection, whose keys the handshake left.
    pub(super) fn connect(self, dht: &HyperDht, way: Way, keyed: Keyed) -> Connection {
        let (socket, to) = way.clone();
        self.gate.go(Some(way));
        self.duplex.connect(&socket, keyed.remote_id, to.into());
        self.start(dht, keyed)
    }

    /// Goes through a relay, whose stream for this side has the id `stream`.
    pub(super) fn relay(
        self,
        dht: &HyperDht,
        (socket, relay): (udx::Socket, SocketAddr),
        stream: u32,
        keyed: Keyed,
    ) -> Connection {
        // A straight way may lead to the very socket that the relay is reached through.
        self.duplex.set_strict(true);
        self.duplex.connect(&socket, stream, relay);
        self.start(dht, keyed)
    }

    fn start(self, dht: &HyperDht, keyed: Keyed) -> Connection {
        let options = StreamOptions {
            keep_alive: keyed.keep_alive,
            ..StreamOptions::default()
        };
        let stream = SecretStream::from_keys(
            Instant::now(),
            keyed.role,
            keyed.keys,
            Entropy::random(),
            options.clone(),
        );
        let options = ConnectionOptions {
            stream: options,
            ..ConnectionOptions::default()
        };
        let connector = self.connector();
        let connection = Connection::with_stream(self.duplex, stream, options);
        connection.set_udx(connector);
        dht.inner.connections.add(connection.downgrade());
        connection
    }
}

impl HyperDht {
    /// A UDX stream of one's own on the sockets of this node, with a random id which the other side must be told.
    ///
    /// # Errors
    /// [`Error::Io`], when a hundred ids in a row were taken.
    pub fn raw_stream(&self) -> Result<Duplex, Error> {
        Ok(random_stream(self.dht().udx())?)
    }

    /// Connects such a stream to the peer of a connection, which has it under the id `remote_id`. It goes where the connection goes: not through a relay.
    ///
    /// # Errors
    /// [`Error::StreamNotConnected`] when the connection is over, goes through a relay, or is none of UDX.
    pub fn connect_raw_stream(
        connection: &Connection,
        stream: &Duplex,
        remote_id: u32,
    ) -> Result<(), Error> {
        let way = connection.udx().and_then(Connector::way);
        let way = way.filter(|_| !connection.is_relayed() && !connection.is_closed());
        let (socket, to) = way.ok_or(Error::StreamNotConnected)?;
        stream.connect(&socket, remote_id, to);
        Ok(())
    }
}
