//! The UDX stream of a connection that is being made: its other side may come in by any of the node's sockets.

use super::{HyperDht, messages::UdxInfo};
use crate::{
    driver::{Connection, ConnectionOptions},
    noise::{Keys, Role},
    secret_stream::{Entropy, SecretStream, StreamOptions},
    udx::{self, Duplex},
};
use parking_lot::Mutex;
use rand::RngExt;
use std::{
    io,
    net::{SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Instant,
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

pub(super) struct RawStream {
    duplex: Duplex,
    /// Where the other side is, once that is decided.
    remote: Arc<Mutex<Option<SocketAddr>>>,
    pub(super) ways: Ways,
    found: mpsc::Receiver<Way>,
}

fn random_stream(udx: &udx::Udx) -> io::Result<Duplex> {
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
    pub(super) fn new(dht: &HyperDht) -> io::Result<Self> {
        let duplex = random_stream(dht.dht().udx())?;
        let (ways, found) = mpsc::channel(WAYS_MAX);
        let remote = Arc::new(Mutex::new(None));
        let (first, decided) = (ways.clone(), remote.clone());
        duplex.set_firewall(Some(Arc::new(move |socket: &udx::Socket, from| {
            if let Some(remote) = *decided.lock() {
                return remote != from;
            }
            // Only who was told the id knows it: the first packet shows the way.
            let SocketAddr::V4(from) = from else {
                return true;
            };
            let _ = first.try_send((socket.clone(), from));
            false
        })));
        Ok(Self {
            duplex,
            remote,
            ways,
            found,
        })
    }

    /// What the other side is told.
    pub(super) fn info(&self) -> UdxInfo {
        UdxInfo {
            version: 1,
            reusable_socket: false,
            id: self.duplex.id().into(),
            seq: 0,
        }
    }

    /// A way that was found.
    pub(super) async fn found(&mut self) -> Way {
        match self.found.recv().await {
            Some(way) => way,
            // The sender is here, too.
            None => std::future::pending().await,
        }
    }

    /// Goes that way: the encrypted connection, whose keys the handshake left.
    pub(super) fn connect(
        self,
        dht: &HyperDht,
        (socket, to): Way,
        remote: &UdxInfo,
        role: Role,
        keys: Keys,
    ) -> Connection {
        let to = SocketAddr::V4(to);
        *self.remote.lock() = Some(to);
        // Ids are of 32 bits; another one belongs to no stream.
        let id = u32::try_from(remote.id).unwrap_or(u32::MAX);
        self.duplex.connect(&socket, id, to);
        let options = StreamOptions {
            keep_alive: dht.inner.keep_alive,
            ..StreamOptions::default()
        };
        let stream = SecretStream::from_keys(
            Instant::now(),
            role,
            keys,
            Entropy::random(),
            options.clone(),
        );
        let options = ConnectionOptions {
            stream: options,
            ..ConnectionOptions::default()
        };
        Connection::with_stream(self.duplex, stream, options)
    }
}
