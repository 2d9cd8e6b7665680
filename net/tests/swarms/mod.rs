//! Swarms of ours with a store each, and the network of nodes that they meet on.
#![allow(dead_code, reason = "each test file uses a part of it")]

use pome_cores::{CoreOptions, Corestore, Hypercore, Key, KeyPair, Store};
use pome_net::{
    driver::{Connection, ReplicateOptions, Replication},
    hyperdht::{HyperDht, HyperDhtOptions},
    hyperswarm::{Hyperswarm, JoinOptions, PeerInfo, SwarmDht, SwarmOptions},
};
use pome_test_support::{namespace, npm_works};
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

pub(crate) const TOPIC: [u8; 32] = [7; 32];
/// The npm modules that the other side is made of.
pub(crate) const MODULES: &[&str] = &["hyperswarm", "hyperdht", "corestore", "hyperdrive"];

/// Runs the test in a namespace, where that can be.
pub(crate) fn run<F: Future<Output = ()>>(test: &str, npm: bool, body: impl FnOnce() -> F) {
    if npm && !npm_works(test, MODULES) || !namespace::inside(test) {
        return;
    }
    pome_test_support::block_on(Duration::from_secs(120), body());
}

/// No test waits for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(pome_test_support::PATIENCE, future)
        .await
        .expect("done in time")
}

/// Waits until it is so; what it waits for comes from another task or process.
pub(crate) async fn until(mut ask: impl FnMut() -> bool) {
    soon(async {
        while !ask() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

pub(crate) fn hyper(bootstrap: &[SocketAddrV4], lasting: bool) -> HyperDht {
    hyper_with(bootstrap, lasting, true)
}

/// One that does not find out soon that nothing is in front of it.
pub(crate) fn careful(bootstrap: &[SocketAddrV4]) -> HyperDht {
    hyper_with(bootstrap, false, false)
}

fn hyper_with(bootstrap: &[SocketAddrV4], lasting: bool, quick_firewall: bool) -> HyperDht {
    let mut options = HyperDhtOptions::default();
    options.dht.node.quick_firewall = quick_firewall;
    options.dht.host = Ipv4Addr::LOCALHOST;
    options.dht.node.bootstrap = bootstrap.to_vec();
    options.dht.node.ephemeral = Some(!lasting);
    options.dht.node.firewalled = !lasting;
    HyperDht::bind(options).unwrap()
}

/// Lasting nodes of ours.
pub(crate) async fn network(count: usize) -> (Vec<HyperDht>, Vec<SocketAddrV4>) {
    let mut options = HyperDhtOptions::bootstrapper(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    options.dht.host = Ipv4Addr::LOCALHOST;
    let mut nodes = vec![HyperDht::bind(options).unwrap()];
    let start = vec![nodes[0].dht().local_addr()];
    while nodes.len() < count {
        let node = hyper(&start, true);
        node.ready().await.unwrap();
        nodes.push(node);
    }
    (nodes, start)
}

/// A swarm of ours, and a store that replicates over all of its connections.
pub(crate) struct Ours {
    pub(crate) swarm: Hyperswarm,
    pub(crate) cores: Corestore,
    _folder: Arc<TempDir>,
}

impl Ours {
    pub(crate) fn new(bootstrap: &[SocketAddrV4]) -> Self {
        Self::with(bootstrap, SwarmOptions::default())
    }

    pub(crate) fn with(bootstrap: &[SocketAddrV4], options: SwarmOptions) -> Self {
        Self::on(hyper(bootstrap, false), options)
    }

    pub(crate) fn on(dht: impl Into<SwarmDht>, options: SwarmOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Default::default()).unwrap();
        let cores = Corestore::open(store).unwrap();
        let swarm = Hyperswarm::new(dht, options);
        let (mut connections, all) = (swarm.connections(), cores.clone());
        tokio::spawn(async move {
            let mut kept: Vec<(Connection, Replication)> = Vec::new();
            while let Some((connection, _)) = connections.next().await {
                kept.retain(|(connection, _)| !connection.is_closed());
                let replication = connection.replicate(&all, ReplicateOptions::default());
                kept.push((connection, replication));
            }
        });
        Self {
            swarm,
            cores,
            _folder: Arc::new(folder),
        }
    }

    /// Joins, and waits until that is known.
    pub(crate) async fn join(&self, options: JoinOptions) {
        assert!(self.swarm.join(TOPIC, options).unwrap().flushed().await);
    }

    pub(crate) fn key(&self) -> [u8; 32] {
        self.swarm.key_pair().public
    }

    /// The keys of those that are connected.
    pub(crate) fn peers(&self) -> Vec<[u8; 32]> {
        let mut keys: Vec<_> = self
            .swarm
            .connected()
            .into_iter()
            .map(|(_, peer)| peer.public_key)
            .collect();
        keys.sort_unstable();
        keys
    }

    pub(crate) async fn connected(&self, count: usize) -> Vec<(Connection, PeerInfo)> {
        until(|| self.swarm.connected().len() == count).await;
        self.swarm.connected()
    }

    pub(crate) async fn core(&self, name: &str) -> Hypercore {
        self.cores.get(CoreOptions::name(name)).await.unwrap()
    }

    pub(crate) async fn reader(&self, key: Key) -> Hypercore {
        self.cores.get(CoreOptions::key(key)).await.unwrap()
    }
}

pub(crate) fn options(key_pair: &KeyPair) -> SwarmOptions {
    let mut options = SwarmOptions::default();
    options.key_pair = Some(key_pair.clone());
    options
}

/// Two key pairs, the one with the higher public key first.
pub(crate) fn pairs() -> [KeyPair; 2] {
    let mut pairs = [KeyPair::random(), KeyPair::random()];
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.public));
    pairs
}

/// Waits until the core has this length.
pub(crate) async fn reach(core: &Hypercore, length: u64) {
    let mut lengths = core.watch();
    let reached = lengths.wait_for(|now| now.0 == length);
    soon(reached).await.unwrap();
}
