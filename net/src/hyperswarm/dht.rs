//! What a swarm stands on: a node of its own, or one that a relay lends.

use super::{Error, plan::Outcome};
use crate::{
    dht_relay::{DhtRelay, RelayConnectOptions, RelayDialer, RelayListener, RelayLookup},
    dht_rpc::Id,
    driver::Connection,
    hyperdht::{
        self, AnnounceOptions, ConnectOptions, Found, HyperDht, Server, ServerOptions,
        messages::Peer,
    },
};
use pome_cores::KeyPair;
use std::net::SocketAddrV4;

/// The DHT of a swarm (npm hyperswarm's option `dht`).
///
/// ```
/// use pome_net::{
///     dht_relay::{RelayDialer, RelayServer},
///     hyperdht::{HyperDht, HyperDhtOptions},
///     hyperswarm::{Hyperswarm, JoinOptions},
/// };
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut options = HyperDhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// let node = HyperDht::bind(options)?;
/// let mut options = HyperDhtOptions::default();
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// options.dht.node.bootstrap = vec![node.dht().local_addr()];
/// let lent = HyperDht::bind(options.clone())?;
/// let relay = RelayServer::bind("127.0.0.1:0", lent, Default::default()).await?;
/// let ours = Hyperswarm::new(HyperDht::bind(options)?, Default::default());
/// ours.join([7; 32], JoinOptions::server())?.flushed().await;
/// // No datagram leaves this one.
/// let dialer = RelayDialer::new(relay.address().to_string(), Default::default());
/// let theirs = Hyperswarm::new(dialer, Default::default());
/// theirs.join([7; 32], JoinOptions::client())?;
/// let (_, peer) = theirs.connections().next().await.expect("a connection");
/// assert_eq!(peer.public_key, ours.key_pair().public);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub enum SwarmDht {
    /// A node of its own.
    Node(HyperDht),
    /// Somebody else's, over one stream: for who cannot use UDP. The relay gets the swarm's secret key and reads what its connections carry; see
    /// [`crate::dht_relay`].
    Relay(RelayDialer),
}

impl From<HyperDht> for SwarmDht {
    fn from(node: HyperDht) -> Self {
        Self::Node(node)
    }
}

impl From<RelayDialer> for SwarmDht {
    fn from(dialer: RelayDialer) -> Self {
        Self::Relay(dialer)
    }
}

impl From<DhtRelay> for SwarmDht {
    fn from(relay: DhtRelay) -> Self {
        Self::Relay(relay.into())
    }
}

impl SwarmDht {
    /// Peers see each connection at another port: only a relay helps with some of them.
    pub(super) fn is_random(&self) -> bool {
        match self {
            Self::Node(node) => node.dht().address().is_some_and(|at| at.port() == 0),
            // It is for the relay to find a way.
            Self::Relay(_) => false,
        }
    }

    pub(super) async fn connect(
        &self,
        key: &[u8; 32],
        options: ConnectOptions,
    ) -> Result<Connection, Error> {
        match self {
            Self::Node(node) => Ok(node.connect(key, options).await?),
            Self::Relay(dialer) => {
                let options = RelayConnectOptions {
                    key_pair: options.key_pair,
                };
                Ok(dialer.relay().await?.connect_to(key, options).await?)
            }
        }
    }

    pub(super) async fn listen(
        &self,
        key_pair: &KeyPair,
        options: ServerOptions,
    ) -> Result<SwarmServer, Error> {
        Ok(match self {
            Self::Node(node) => SwarmServer::Node(node.listen(key_pair, options).await?),
            Self::Relay(dialer) => {
                let relay = dialer.relay().await?;
                SwarmServer::Relay(relay.listen(key_pair, options.firewall).await?)
            }
        })
    }

    /// Announces us and looks for peers.
    pub(super) async fn announce(
        &self,
        topic: Id,
        key_pair: &KeyPair,
        relays: &[SocketAddrV4],
        clear: bool,
        mut found: impl FnMut(&[Peer]) + Send,
    ) -> Result<Outcome, Error> {
        match self {
            Self::Node(node) => {
                let options = AnnounceOptions {
                    clear,
                    ..AnnounceOptions::default()
                };
                let found = |one: &Found| found(&one.peers);
                let announced = node
                    .announce_and_look(topic, key_pair, relays, options, found)
                    .await;
                outcome(announced.map(|_| ()))
            }
            Self::Relay(dialer) => {
                let relay = dialer.relay().await?;
                let looking = relay.announcing(topic, key_pair).await?;
                told(&relay, looking, found).await
            }
        }
    }

    /// Looks for peers; with `clear` an announcement is taken back where it is met.
    pub(super) async fn look_up(
        &self,
        topic: Id,
        key_pair: &KeyPair,
        clear: bool,
        mut found: impl FnMut(&[Peer]) + Send,
    ) -> Result<Outcome, Error> {
        match self {
            Self::Node(node) if clear => {
                let found = |one: &Found| found(&one.peers);
                outcome(node.unannounce_and_look(topic, key_pair, found).await)
            }
            Self::Node(node) => {
                let mut lookup = node.lookup(topic);
                while let Some(one) = lookup.next().await? {
                    found(&one.peers);
                }
                Ok(match lookup.closest() {
                    [] => Outcome::Alone,
                    _ => Outcome::Done,
                })
            }
            Self::Relay(dialer) => {
                let relay = dialer.relay().await?;
                let looking = match clear {
                    true => relay.unannouncing(topic, key_pair).await?,
                    false => relay.lookup(topic).await?,
                };
                told(&relay, looking, found).await
            }
        }
    }

    /// Takes an announcement back.
    pub(super) async fn unannounce(&self, topic: Id, key_pair: &KeyPair) -> Result<(), Error> {
        match self {
            Self::Node(node) => Ok(node.unannounce(topic, key_pair).await?),
            Self::Relay(dialer) => Ok(dialer.relay().await?.unannounce(topic, key_pair).await?),
        }
    }
}

/// No node was there: that is no failure.
fn outcome(done: Result<(), hyperdht::Error>) -> Result<Outcome, Error> {
    match done {
        Ok(()) => Ok(Outcome::Done),
        Err(hyperdht::Error::TooFewNodes) => Ok(Outcome::Alone),
        Err(error) => Err(error.into()),
    }
}

/// What the nodes of a relay know.
async fn told(
    relay: &DhtRelay,
    mut looking: RelayLookup,
    mut found: impl FnMut(&[Peer]) + Send,
) -> Result<Outcome, Error> {
    let mut outcome = Outcome::Alone;
    while let Some(one) = looking.next().await {
        outcome = Outcome::Done;
        found(&one.into_peers());
    }
    match relay.is_closed() {
        true => Ok(Outcome::Failed),
        false => Ok(outcome),
    }
}

/// Where peers that know our key come in.
pub(super) enum SwarmServer {
    Node(Server),
    Relay(RelayListener),
}

impl SwarmServer {
    pub(super) async fn accept(&mut self) -> Option<Connection> {
        match self {
            Self::Node(server) => server.accept().await,
            Self::Relay(listener) => listener.accept().await,
        }
    }

    /// Nodes through which it is reached.
    pub(super) fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        match self {
            Self::Node(server) => server.relay_addresses(),
            // The relay's node tells of its own.
            Self::Relay(_) => Vec::new(),
        }
    }

    pub(super) fn refresh(&self) {
        match self {
            Self::Node(server) => server.refresh(),
            Self::Relay(_) => {}
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::Node(server) => server.close().await,
            Self::Relay(listener) => listener.close().await,
        }
    }
}
