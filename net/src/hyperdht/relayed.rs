//! Connections through a blind relay: while a straight way is looked for, both sides connect to a peer that they trust to hand their packets on. Once a
//! straight way opens, the connection moves to it and the relay is let go.
//!
//! ```text
//!            ┌─ straight way opens first ────────────────────▶ connected; the relay is let go once the other side has nothing there
//! handshake ─┤
//!            └─ relay pairs both first ──▶ connected through it ─┬─ a way opens ──▶ moved, once both sides go by it; back when nothing comes
//!                                                                └─ the relay goes ──▶ RELAY_ABORTED
//! ```
//! Both sides move by themselves, each when it sees the way. What npm's sent to the relay before, it sends there again when it is lost, never by the straight way:
//! so the relay has to stay until all of that is here (see [`udx::Stream::is_settled`]), and some time longer, for the answers that may be lost, too.
//! Source: hyperdht 6.34.0, `lib/connect.js`, `lib/server.js`, `lib/relay-connection.js`.

use super::{
    Error, HyperDht,
    connect::Hop,
    messages::RelayThrough,
    stream::{Door, Gate, Keyed, RawStream, Way},
};
use crate::{
    Error as NetError,
    blind_relay::Client,
    dht_rpc::KeptSocket,
    driver::{Connection, WeakConnection},
    udx::{self, Connector},
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::crypto::random_bytes;
use rand::RngExt;
use std::{fmt, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

/// Until both sides are paired.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether packets come by the straight way, and how often until it is given up when none do.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 50;
/// After so many looks the other side is sent something, which it may not have got.
const HELLO: u32 = 5;
/// The relay is kept for so long after it was needed last: what the other side lost is sent there again after one or two seconds.
const LINGER: Duration = Duration::from_secs(4);

/// Relays that somebody trusts: which one is used for a connection (npm `relayThrough`). The default is none.
///
/// ```
/// use pome_net::hyperdht::RelayChoice;
/// let one = RelayChoice::from([1; 32]);
/// assert_eq!(one.pick(), Some([1; 32]));
/// assert_eq!(RelayChoice::default().pick(), None);
/// let by_need = RelayChoice::by(|| None);
/// assert_eq!(by_need.pick(), None);
/// ```
#[derive(Clone, Default)]
pub struct RelayChoice {
    kind: Kind,
}

type Choose = Arc<dyn Fn() -> Option<[u8; 32]> + Send + Sync>;

#[derive(Clone, Default)]
enum Kind {
    #[default]
    None,
    Any(Arc<[[u8; 32]]>),
    By(Choose),
}

impl RelayChoice {
    /// Asked for each connection: the public key of a relay, or none.
    pub fn by(choose: impl Fn() -> Option<[u8; 32]> + Send + Sync + 'static) -> Self {
        Self {
            kind: Kind::By(Arc::new(choose)),
        }
    }

    /// The relay for the next connection: of several any one.
    pub fn pick(&self) -> Option<[u8; 32]> {
        match &self.kind {
            Kind::None => None,
            Kind::Any(keys) if keys.is_empty() => None,
            Kind::Any(keys) => Some(keys[rand::rng().random_range(0..keys.len())]),
            Kind::By(choose) => choose(),
        }
    }

    /// What the other side is told about it, with a new token.
    pub(super) fn offer(&self) -> Option<RelayThrough> {
        Some(RelayThrough {
            version: 1,
            public_key: self.pick()?,
            token: random_bytes(),
        })
    }
}

impl fmt::Debug for RelayChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::None => f.write_str("RelayChoice(none)"),
            Kind::Any(keys) => write!(f, "RelayChoice({} keys)", keys.len()),
            Kind::By(_) => f.write_str("RelayChoice(by need)"),
        }
    }
}

impl From<[u8; 32]> for RelayChoice {
    fn from(public_key: [u8; 32]) -> Self {
        vec![public_key].into()
    }
}

impl From<Vec<[u8; 32]>> for RelayChoice {
    fn from(public_keys: Vec<[u8; 32]>) -> Self {
        Self {
            kind: Kind::Any(public_keys.into()),
        }
    }
}

/// The relay of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relay {
    pub(super) through: RelayThrough,
    /// Whose relay it is: the side that offered it.
    pub(super) is_initiator: bool,
    /// A sign of life to the relay after so long.
    pub(super) keep_alive: Duration,
}

/// What a handshake through a relay counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relaying {
    /// Times that a relay was asked.
    pub attempts: u64,
    /// Times that it brought both sides together.
    pub successes: u64,
    /// Times that it did not, or was not needed any more.
    pub aborts: u64,
}

/// The straight way, when it is found, and who hears of others.
pub(super) type Direct = Pin<Box<dyn Future<Output = (Door, Result<Way, Error>)> + Send>>;

/// A stream of the relay for this side.
struct Relayed {
    /// Lives as long as the relay is needed.
    connection: Connection,
    _client: Client,
    relay: (udx::Socket, SocketAddr),
    stream: u32,
}

/// Counts an attempt as given up, unless it succeeds.
struct Attempt<'a> {
    counts: &'a Mutex<Relaying>,
    succeeded: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        match self.succeeded {
            true => counts.successes += 1,
            false => counts.aborts += 1,
        }
    }
}

/// Connects by the straight way, or through the relay if that is there first: then the connection moves when the straight way is found. With the straight way
/// comes its socket, where that is to be kept.
pub(super) async fn meet(
    dht: &HyperDht,
    raw: RawStream,
    keyed: Keyed,
    mut direct: Direct,
    relay: Option<Relay>,
) -> Result<(Connection, Option<KeptSocket>), Error> {
    let Some(relay) = relay else {
        let (door, way) = direct.await;
        return Ok((raw.connect(dht, way?, keyed), door.kept));
    };
    let mut pairing = pairing(dht, relay, &raw);
    let mut failed: Option<Door> = None;
    let relayed = loop {
        tokio::select! {
            biased;
            (door, way) = &mut direct, if failed.is_none() => match way {
                Ok(way) => {
                    let (gate, stream) = (raw.gate.clone(), raw.connector());
                    let connection = raw.connect(dht, way, keyed);
                    tokio::spawn(leave(connection.downgrade(), gate, stream, pairing));
                    return Ok((connection, door.kept));
                }
                Err(error) => {
                    tracing::debug!(%error, "no straight way: waits for the relay");
                    failed = Some(door);
                }
            },
            relayed = &mut pairing => match relayed {
                Ok(relayed) => break relayed,
                Err(error) if failed.is_some() => return Err(error),
                // The straight way may still be found.
                Err(error) => {
                    tracing::debug!(%error, "no way through the relay");
                    raw.gate.expect_relay(None);
                    let (door, way) = direct.await;
                    return Ok((raw.connect(dht, way?, keyed), door.kept));
                }
            },
        }
    };
    drop(pairing);
    let moving = Moving {
        gate: raw.gate.clone(),
        stream: raw.connector(),
        remote_id: keyed.remote_id,
        relayed,
    };
    // Before anything goes another way: the relay shall know where to send what comes for us.
    moving.relayed.greet(&moving.stream);
    let relay = moving.relayed.relay.clone();
    let connection = raw.relay(dht, relay, moving.relayed.stream, keyed);
    let weak = connection.downgrade();
    weak.set_relayed(true);
    tokio::spawn(async move {
        let way = async {
            let mut door = match failed {
                Some(door) => door,
                None => match direct.await {
                    (_, Ok(way)) => return way,
                    (door, Err(_)) => door,
                },
            };
            // The other side may still come by itself.
            door.found().await
        };
        moving.run(&weak, way).await;
    });
    Ok((connection, None))
}

/// What comes of asking the relay.
type Pairing = Pin<Box<dyn Future<Output = Result<Relayed, Error>> + Send>>;

fn pairing(dht: &HyperDht, relay: Relay, raw: &RawStream) -> Pairing {
    let (dht, id, gate) = (dht.clone(), raw.id(), raw.gate.clone());
    Box::pin(async move { pair(&dht, &relay, id, &gate).await })
}

/// The straight way was there first. The other side may have begun at the relay: what it sent there is still to come.
async fn leave(connection: WeakConnection, gate: Gate, stream: Connector, mut pairing: Pairing) {
    let over = connection.closed();
    let coming = async {
        tokio::select! {
            biased;
            () = settled(&stream) => {}
            Ok(relayed) = &mut pairing => {
                let asking = async {
                    loop {
                        relayed.greet(&stream);
                        tokio::time::sleep(LOOK * HELLO).await;
                    }
                };
                tokio::select! {
                    () = settled(&stream) => tokio::time::sleep(LINGER).await,
                    _ = asking => {}
                    _ = relayed.connection.closed() => {}
                }
            }
        }
    };
    tokio::select! {
        _ = over => {}
        () = coming => {}
    }
    gate.expect_relay(None);
}

/// Waits until the other side goes by the present way, and all that either sent before is there.
async fn settled(stream: &Connector) {
    while !stream.is_settled() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Connects to the relay and waits until it has paired both sides.
async fn pair(dht: &HyperDht, relay: &Relay, id: u32, gate: &Gate) -> Result<Relayed, Error> {
    let counts = &dht.inner.relaying;
    counts.lock().attempts += 1;
    let mut attempt = Attempt {
        counts,
        succeeded: false,
    };
    let paired = tokio::time::timeout(PATIENCE, async {
        let key = relay.through.public_key;
        let hop = Hop::ToRelay {
            keep_alive: relay.keep_alive,
        };
        let connection = dht.dial(key, Default::default(), hop).await?;
        let way = connection.udx().and_then(Connector::way);
        let way = way.ok_or(Error::RelayAborted { why: None })?;
        gate.expect_relay(Some(way.clone()));
        let client = Client::open(&connection).map_err(aborted)?;
        let stream = client.pair(relay.is_initiator, relay.through.token, id);
        Ok(Relayed {
            stream: stream.await.map_err(aborted)?,
            connection,
            _client: client,
            relay: way,
        })
    });
    let relayed = match paired.await {
        Ok(Ok(relayed)) => relayed,
        Ok(Err(why @ Error::RelayAborted { .. })) => return Err(why),
        Ok(Err(why)) => {
            return Err(Error::RelayAborted {
                why: Some(why.code()),
            });
        }
        Err(_) => return Err(Error::RelayAborted { why: None }),
    };
    attempt.succeeded = true;
    Ok(relayed)
}

fn aborted(error: crate::blind_relay::Error) -> Error {
    Error::RelayAborted {
        why: Some(error.code()),
    }
}

impl Relayed {
    /// The relay shall know where this side is.
    fn greet(&self, stream: &Connector) {
        let (socket, at) = &self.relay;
        stream.greet(socket, self.stream, *at);
    }
}

/// A connection that goes through a relay, for now.
struct Moving {
    gate: Gate,
    stream: Connector,
    remote_id: u32,
    relayed: Relayed,
}

impl Moving {
    /// Looks after it until it is over, or has moved to the straight way.
    async fn run(self, connection: &WeakConnection, way: impl Future<Output = Way>) {
        let relay = &self.relayed.connection;
        let moved = async {
            let way = way.await;
            self.moves(way).await
        };
        tokio::pin!(moved);
        let (mut is_moving, mut gone) = (true, false);
        loop {
            tokio::select! {
                biased;
                // With the connection to the relay ends what was relayed.
                _ = connection.closed() => return,
                moved = &mut moved, if is_moving => {
                    if moved {
                        break;
                    }
                    is_moving = false;
                }
                _ = relay.closed(), if !gone => gone = true,
            }
            if gone && !self.has_moved() {
                return connection.fail(NetError::RelayAborted);
            }
        }
        connection.set_relayed(false);
        tokio::select! {
            biased;
            _ = connection.closed() => return,
            _ = relay.closed() => {}
            () = tokio::time::sleep(LINGER) => {}
        }
        self.gate.expect_relay(None);
        relay.end();
        let _ = relay.closed().await;
    }

    /// It is on the straight way now, proven or not.
    fn has_moved(&self) -> bool {
        self.stream.way() != Some(self.relayed.relay.clone())
    }

    /// Moves to the straight way. False: nothing came by it, and it is back at the relay.
    async fn moves(&self, way: Way) -> bool {
        let (socket, to) = way.clone();
        self.gate.go(Some(way));
        self.stream
            .change_remote(&socket, self.remote_id, to.into());
        for look in 0.. {
            if look % HELLO == 0 {
                self.hello();
            }
            tokio::time::sleep(LOOK).await;
            if self.stream.is_settled() {
                break;
            }
            // Where only what the other side sent before is missing, that comes as long as there is the relay.
            let works = self.stream.is_heard() && self.stream.has_changed();
            if look >= LOOKS && !works {
                self.gate.go(None);
                let (socket, relay) = &self.relayed.relay;
                self.stream
                    .change_remote(socket, self.relayed.stream, *relay);
                return false;
            }
        }
        // The other side may not have listened yet.
        self.hello();
        true
    }

    /// The other side shall see the way, too, when there is nothing else to say, and answer by it: npm's listens for messages.
    fn hello(&self) {
        self.stream.send(Bytes::new());
        self.stream.ask_for_sign();
    }
}
