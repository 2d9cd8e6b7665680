//! The handle of a swarm.

use super::{
    Connections, Discovery, Error, Events, JoinOptions, PeerInfo, SwarmDht, SwarmOptions,
    SwarmStats,
    events::EVENTS_MAX,
    machine::Machine,
    plan::Plan,
    run::{Guard, Shared},
    topic::Topic,
    types::Limits,
};
use crate::{dht_rpc::Id, driver::Connection, hyperdht::HyperDht};
use pome_cores::{KeyPair, crypto::random_bytes};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::{broadcast, oneshot};

/// How long peers may take to end their side when a swarm is destroyed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A topic that was joined.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// The topic.
    pub topic: Id,
    /// Peers are looked for.
    pub client: bool,
    /// We are announced.
    pub server: bool,
    /// How many sessions there are.
    pub sessions: usize,
}

impl TopicInfo {
    fn of(topic: &Topic) -> Self {
        let (roles, sessions) = topic.look(|plan| (plan.roles(), plan.sessions()));
        Self {
            topic: topic.id,
            client: roles.client,
            server: roles.server,
            sessions,
        }
    }
}

/// Finds the peers of topics and keeps connections to them. Cheap to clone; without a handle it stops at once, and connections that are held elsewhere live
/// on. [`destroy`](Self::destroy) says good-bye first.
///
/// ```
/// use pome_net::{
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
/// let topic = [7; 32];
/// let ours = Hyperswarm::new(HyperDht::bind(options.clone())?, Default::default());
/// ours.join(topic, JoinOptions::server())?.flushed().await;
/// let theirs = Hyperswarm::new(HyperDht::bind(options)?, Default::default());
/// theirs.join(topic, JoinOptions::client())?;
/// let (connection, peer) = theirs.connections().next().await.expect("a connection");
/// assert_eq!(peer.public_key, ours.key_pair().public);
/// assert_eq!(connection.remote_public_key(), Some(peer.public_key));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hyperswarm {
    guard: Arc<Guard>,
}

impl fmt::Debug for Hyperswarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hyperswarm").finish_non_exhaustive()
    }
}

impl Hyperswarm {
    /// A swarm on a node, which others may use, too, or on one that a relay lends. Nothing is asked of the network before a topic or a peer is joined.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(dht: impl Into<SwarmDht>, options: SwarmOptions) -> Self {
        let key_pair = options.key_pair.clone().unwrap_or_else(KeyPair::random);
        let limits = Limits {
            peers: options.max_peers,
            clients: options.max_client_connections,
            servers: options.max_server_connections,
            parallel: options.max_parallel,
        };
        let machine = Machine::new(
            key_pair.public,
            limits,
            options.backoffs,
            options.jitter,
            random_bytes(),
        );
        let events = broadcast::Sender::new(EVENTS_MAX);
        let shared = Shared::new(dht.into(), key_pair, options, machine, events);
        Self {
            guard: Arc::new(Guard(shared)),
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.guard.0
    }

    /// What it stands on.
    pub fn ground(&self) -> &SwarmDht {
        &self.shared().dht
    }

    /// The node underneath, if it is one of its own.
    pub fn dht(&self) -> Option<&HyperDht> {
        match self.ground() {
            SwarmDht::Node(node) => Some(node),
            SwarmDht::Relay(_) => None,
        }
    }

    /// Who we are.
    pub fn key_pair(&self) -> &KeyPair {
        &self.shared().key_pair
    }

    /// Joins a topic: announces us, looks for peers and dials them, now and every ten to twelve minutes. A topic that is joined already gets one more session.
    ///
    /// # Errors
    /// [`Error::NoRole`]; [`Error::Destroyed`].
    pub fn join(&self, topic: Id, options: JoinOptions) -> Result<Discovery, Error> {
        self.shared().join(topic, &options)
    }

    /// Ends all sessions of a topic, and takes the announcement back. Connections stay.
    pub async fn leave(&self, topic: &Id) {
        let joined = {
            let inner = self.shared().inner.lock();
            let joined = inner.topics.get(topic).or(inner.leaving.get(topic));
            joined.cloned()
        };
        if let Some(joined) = joined {
            self.shared().leave(&joined);
            joined.gone().await;
        }
    }

    /// Dials this peer, and dials it again whenever the connection breaks.
    pub fn join_peer(&self, public_key: [u8; 32]) {
        self.shared()
            .act(|machine, now| machine.join_peer(public_key, now));
    }

    /// Takes [`join_peer`](Self::join_peer) back. A connection stays.
    pub fn leave_peer(&self, public_key: &[u8; 32]) {
        self.shared()
            .act(|machine, _| machine.leave_peer(public_key));
    }

    /// Bans a peer, or no longer: while it is, it is not dialled, not let in, and a connection to it is dropped.
    pub fn ban(&self, public_key: [u8; 32], banned: bool) {
        self.shared()
            .act(|machine, now| machine.ban(public_key, banned, now));
    }

    /// False: a known peer is not dialled again when its connection breaks.
    pub fn set_reconnecting(&self, public_key: &[u8; 32], reconnecting: bool) {
        self.shared()
            .act(|machine, _| machine.set_reconnecting(public_key, reconnecting));
    }

    /// The connections: those that are open now, then each one as it opens.
    pub fn connections(&self) -> Connections {
        Connections::new(&self.shared().open)
    }

    /// The connections that are open now.
    pub fn connected(&self) -> Vec<(Connection, PeerInfo)> {
        let all = self.shared().open.all().into_iter();
        all.map(|open| (open.connection, open.peer)).collect()
    }

    /// The open connection to a peer.
    pub fn connection(&self, public_key: &[u8; 32]) -> Option<Connection> {
        let open = self.shared().open.find(public_key);
        open.map(|open| open.connection)
    }

    /// How many connections are being dialled.
    pub fn connecting(&self) -> usize {
        self.shared().inner.lock().machine.connecting()
    }

    /// What happens from now on.
    pub fn events(&self) -> Events {
        Events(self.shared().events.subscribe())
    }

    /// The peers that are known: connected, waiting, named or banned.
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared().inner.lock().machine.peers()
    }

    /// What is known about a peer.
    pub fn peer(&self, public_key: &[u8; 32]) -> Option<PeerInfo> {
        self.shared().inner.lock().machine.peer(public_key)
    }

    /// Those that were named by [`join_peer`](Self::join_peer).
    pub fn explicit_peers(&self) -> Vec<[u8; 32]> {
        self.shared().inner.lock().machine.explicit().to_vec()
    }

    /// The topics that are joined.
    pub fn topics(&self) -> Vec<TopicInfo> {
        let inner = self.shared().inner.lock();
        inner
            .topics
            .values()
            .map(|topic| TopicInfo::of(topic))
            .collect()
    }

    /// What is wanted of a topic, if it is joined.
    pub fn status(&self, topic: &Id) -> Option<TopicInfo> {
        let inner = self.shared().inner.lock();
        inner.topics.get(topic).map(|topic| TopicInfo::of(topic))
    }

    /// Counters.
    pub fn stats(&self) -> SwarmStats {
        self.shared().inner.lock().machine.stats()
    }

    /// Listens for peers that know our key. A topic that is joined to be found under does so by itself.
    ///
    /// # Errors
    /// [`Error::Destroyed`]; [`Error::Dht`] when the node listens under this key already.
    pub async fn listen(&self) -> Result<(), Error> {
        self.shared().listen().await
    }

    /// True while peers that know our key can dial us.
    pub async fn is_listening(&self) -> bool {
        self.shared().is_listening().await
    }

    /// Waits until all topics were looked up, and all peers that were known then were dialled, or cannot be for now. False when the swarm was destroyed
    /// before.
    pub async fn flush(&self) -> bool {
        let topics: Vec<_> = {
            let inner = self.shared().inner.lock();
            inner.topics.values().cloned().collect()
        };
        for topic in topics {
            topic.flushed().await;
        }
        let (over, flushed) = oneshot::channel();
        let waits = self.shared().with(|inner, _| {
            if inner.machine.is_destroyed() {
                return Err(false);
            }
            match inner.machine.flush() {
                Some(flush) => {
                    inner.flushes.insert(flush, over);
                    Ok(())
                }
                None => Err(true),
            }
        });
        match waits {
            Ok(()) => flushed.await.unwrap_or(false),
            Err(flushed) => flushed,
        }
    }

    /// Leaves all topics.
    pub async fn clear(&self) {
        let topics: Vec<_> = {
            let inner = self.shared().inner.lock();
            inner.topics.values().cloned().collect()
        };
        for topic in &topics {
            self.shared().leave(topic);
        }
        for topic in topics {
            topic.gone().await;
        }
    }

    /// Pauses: announcements are taken back, connections dropped, and nobody is dialled or let in until [`resume`](Self::resume). Topics and named peers are
    /// remembered.
    pub async fn suspend(&self) {
        let shared = self.shared();
        let open = shared.open.all();
        let topics: Vec<_> = shared.with(|inner, now| {
            inner.machine.suspend(now);
            inner.topics.values().cloned().collect()
        });
        for topic in &topics {
            topic.change(Plan::suspend);
        }
        shared.pause().await;
        for topic in topics {
            topic.withdrawn().await;
        }
        for open in open {
            // Why it ended is known.
            let _ = open.connection.closed().await;
        }
    }

    /// Goes on after [`suspend`](Self::suspend).
    pub async fn resume(&self) {
        let shared = self.shared();
        shared.unpause();
        let topics: Vec<_> = shared.with(|inner, now| {
            inner.machine.resume(now);
            inner.topics.values().cloned().collect()
        });
        for topic in topics {
            topic.change(Plan::resume);
        }
    }

    /// True between [`suspend`](Self::suspend) and [`resume`](Self::resume).
    pub fn is_suspended(&self) -> bool {
        self.shared().inner.lock().machine.is_suspended()
    }

    /// True after [`destroy`](Self::destroy).
    pub fn is_destroyed(&self) -> bool {
        self.shared().inner.lock().machine.is_destroyed()
    }

    /// Ends it in order: takes all announcements back, stops listening, and ends the connections. The node underneath goes on.
    pub async fn destroy(&self) {
        let shared = self.shared();
        shared.act(|machine, _| machine.destroy());
        let clearing = self.clear();
        let closing = shared.unlisten();
        tokio::join!(clearing, closing);
        let open = shared.open.all();
        for open in &open {
            open.connection.end();
        }
        let _ = tokio::time::timeout(LAST_WORDS, async {
            for open in &open {
                let _ = open.connection.closed().await;
            }
        })
        .await;
        shared.act(|machine, now| machine.drop_all(now));
        shared.stop();
    }
}
