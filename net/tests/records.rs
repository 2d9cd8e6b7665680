//! What a node keeps for others outlives it: what is there after a restart, and what has come of age meanwhile.
//!
//! Needs network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/relay.rs"]
mod relay;

use bytes::Bytes;
use pome_cores::{Corestore, KeyPair, Store, crypto::hash};
use pome_net::hyperdht::{HyperDht, HyperDhtOptions, RecordStore};
use pome_test_support::namespace;
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    time::Duration,
};

const TOPIC: [u8; 32] = [7; 32];
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn run<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if namespace::inside(test) {
        relay::block_on(body());
    }
}

/// Two nodes: the first one forgets all when it stops, and the second comes back with what it is given.
struct Two {
    first: HyperDht,
    second: HyperDht,
}

/// Where both are, before and after a restart. The system gives these ports to nobody: its own choices begin above them.
const PORTS: [u16; 2] = [20_001, 20_002];

impl Two {
    async fn start(saved: Option<Bytes>) -> Self {
        let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORTS[0]);
        let mut options = HyperDhtOptions::bootstrapper(at);
        options.dht.host = Ipv4Addr::LOCALHOST;
        let first = bind(options).await;
        let mut options = HyperDhtOptions::default();
        options.dht.host = Ipv4Addr::LOCALHOST;
        options.dht.port = PORTS[1];
        options.dht.any_port = false;
        options.dht.node.bootstrap = vec![first.dht().local_addr()];
        options.dht.node.ephemeral = Some(false);
        options.dht.node.firewalled = false;
        options.saved_records = saved;
        let second = bind(options).await;
        second.ready().await.unwrap();
        second.dht().persistent().await.unwrap();
        Self { first, second }
    }

    /// Stops both, and starts them again.
    async fn restart(self, saved: Option<Bytes>) -> Self {
        self.first.close();
        self.second.close();
        drop(self);
        Self::start(saved).await
    }

    async fn asks(&self) -> HyperDht {
        relay::node(self.first.dht().local_addr()).await
    }
}

/// The node before may not have let go of the port yet.
async fn bind(options: HyperDhtOptions) -> HyperDht {
    loop {
        match HyperDht::bind(options.clone()) {
            Ok(node) => return node,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What is kept at the nodes for this test.
struct Put {
    pair: KeyPair,
    immutable: [u8; 32],
}

impl Put {
    async fn at(nodes: &Two) -> Self {
        let asks = nodes.asks().await;
        let pair = KeyPair::random();
        let taken = asks.announce(TOPIC, &pair, &[], Default::default()).await;
        assert_eq!(taken.unwrap(), 2);
        let immutable = asks.immutable_put("immutable".into()).await.unwrap();
        let taken = asks.mutable_put(&pair, "mutable".into(), 3).await;
        assert_eq!(taken.unwrap(), 2);
        Self { pair, immutable }
    }

    /// Is the peer there, and are the values?
    async fn there(&self, nodes: &Two) -> (bool, bool) {
        let asks = nodes.asks().await;
        let peers = asks.lookup(TOPIC).peers().await.unwrap();
        assert!(peers.iter().all(|p| p.public_key == self.pair.public));
        let immutable = asks.immutable_get(self.immutable).await.unwrap();
        let mutable = asks.mutable_get(&self.pair.public, 0, true).await.unwrap();
        assert_eq!(mutable.is_some(), immutable.is_some());
        if let Some(mutable) = mutable {
            assert_eq!((&mutable.value[..], mutable.seq), (&b"mutable"[..], 3));
            assert_eq!(immutable.unwrap(), "immutable");
            return (!peers.is_empty(), true);
        }
        (!peers.is_empty(), false)
    }
}

/// The same bytes as if they had been written earlier by so much, or later.
fn older(saved: &Bytes, by: Duration, later: bool) -> Bytes {
    // A name of 16 bytes, the version in one, then the time; at the end the hash of all that.
    let mut bytes = saved[..saved.len() - 32].to_vec();
    let at = u64::from_le_bytes(bytes[17..25].try_into().unwrap());
    let by = by.as_millis() as u64;
    let at = if later { at + by } else { at - by };
    bytes[17..25].copy_from_slice(&at.to_le_bytes());
    let sum = hash(&[&bytes]);
    [&bytes[..], &sum].concat().into()
}

#[test]
fn what_was_kept_comes_back_as_old_as_it_is() {
    run("what_was_kept_comes_back_as_old_as_it_is", || async {
        let mut nodes = Two::start(None).await;
        let put = Put::at(&nodes).await;
        assert_eq!(put.there(&nodes).await, (true, true));
        let saved = nodes.second.save_records().unwrap();
        // Without, it is all forgotten.
        nodes = nodes.restart(None).await;
        assert_eq!(put.there(&nodes).await, (false, false));
        nodes = nodes.restart(Some(saved.clone())).await;
        assert_eq!(put.there(&nodes).await, (true, true));
        // An older value does not take the place of a newer one that was kept.
        let asks = nodes.asks().await;
        let low = asks.mutable_put(&put.pair, "older".into(), 2).await;
        // The first node knows of none, and takes it.
        assert_eq!(low.unwrap(), 1);
        let latest = asks.mutable_get(&put.pair.public, 0, true).await.unwrap();
        assert_eq!(latest.unwrap().seq, 3);
        // Announcements are kept for 20 minutes, values for 48 hours, each give or take a third.
        for (age, there) in [
            (10 * MINUTE, (true, true)),
            (20 * MINUTE, (true, true)),
            (27 * MINUTE, (false, true)),
            (40 * HOUR, (false, true)),
            (65 * HOUR, (false, false)),
        ] {
            nodes = nodes.restart(Some(older(&saved, age, false))).await;
            assert_eq!(put.there(&nodes).await, there, "after {age:?}");
        }
        // A clock that was set back meanwhile makes nothing younger, nor loses anything.
        nodes = nodes.restart(Some(older(&saved, HOUR, true))).await;
        assert_eq!(put.there(&nodes).await, (true, true));
        // What is damaged counts for nothing, and the node runs.
        for (at, bit) in [(0, 1), (16, 2), (20, 4), (saved.len() / 2, 8)] {
            let mut bytes = saved.to_vec();
            bytes[at] ^= bit;
            nodes = nodes.restart(Some(bytes.into())).await;
            assert_eq!(put.there(&nodes).await, (false, false), "byte {at}");
        }
        nodes = nodes.restart(Some(saved.slice(..saved.len() - 1))).await;
        assert_eq!(put.there(&nodes).await, (false, false));
    });
}

fn store(folder: &Path) -> Corestore {
    Corestore::open(Store::open(folder, Default::default()).unwrap()).unwrap()
}

#[test]
fn a_store_keeps_what_a_node_keeps() {
    run("a_store_keeps_what_a_node_keeps", || async {
        let folder = tempfile::tempdir().unwrap();
        let cores = store(folder.path());
        let kept = RecordStore::new(cores.local("dht records").unwrap());
        assert_eq!(kept.load().unwrap(), None);
        let nodes = Two::start(None).await;
        let (node, to) = (nodes.second.clone(), kept.clone());
        let keeping = tokio::spawn(async move {
            let often = Duration::from_millis(50);
            node.keep_records(&to, often).await
        });
        let put = Put::at(&nodes).await;
        // The node goes without a word: what was saved meanwhile is there.
        let saved = loop {
            if let Some(saved) = kept.load().unwrap()
                && Some(saved.len()) == nodes.second.save_records().map(|now| now.len())
            {
                break saved;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        keeping.abort();
        let _ = keeping.await;
        nodes.first.close();
        nodes.second.close();
        drop(nodes);
        let nodes = Two::start(Some(saved)).await;
        assert_eq!(put.there(&nodes).await, (true, true));
        // One that is closed saves once more, at once.
        let (node, to) = (nodes.second.clone(), kept.clone());
        let keeping = tokio::spawn(async move { node.keep_records(&to, HOUR).await });
        let asks = nodes.asks().await;
        let late = asks.immutable_put("late".into()).await.unwrap();
        nodes.first.close();
        nodes.second.close();
        keeping.await.unwrap().unwrap();
        drop(nodes);
        // The store is opened anew, too.
        cores.close().await.unwrap();
        drop((kept, cores));
        let cores = store(folder.path());
        let kept = RecordStore::new(cores.local("dht records").unwrap());
        let saved = kept.load().unwrap();
        assert!(saved.is_some());
        let nodes = Two::start(saved).await;
        assert_eq!(put.there(&nodes).await, (true, true));
        let asks = nodes.asks().await;
        assert_eq!(asks.immutable_get(late).await.unwrap().unwrap(), "late");
    });
}

#[test]
fn one_save_takes_the_place_of_another_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let cores = store(folder.path());
    let local = cores.local("dht records").unwrap();
    let kept = RecordStore::new(local.clone());
    let bytes = |seed: u8, len: usize| -> Bytes {
        let byte = |i: usize| (i as u8).wrapping_mul(31).wrapping_add(seed);
        (0..len).map(byte).collect()
    };
    // Of many sizes: in parts, and shorter than what was there before.
    let sizes = [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20, 5];
    for (seed, len) in sizes.into_iter().enumerate() {
        let all = bytes(seed as u8, len);
        kept.save(&all).unwrap();
        assert!(kept.load().unwrap().unwrap() == all, "{len} bytes");
    }
    // A save that breaks off in the midst leaves what was there, whichever of both places it had.
    for _ in 0..2 {
        let before = kept.load().unwrap();
        for slot in [0, 1] {
            let head = local.get(b"head").unwrap().unwrap();
            if head[0] != slot {
                local.put(vec![slot, 0, 0, 0, 0], "junk").unwrap();
            }
        }
        assert_eq!(kept.load().unwrap(), before);
        kept.save(&bytes(9, 10)).unwrap();
        assert_eq!(kept.load().unwrap().unwrap(), bytes(9, 10));
    }
    // One of its parts is gone: nothing, rather than half of it.
    kept.save(&bytes(1, 2 << 20)).unwrap();
    let slot = local.get(b"head").unwrap().unwrap()[0];
    local.delete(vec![slot, 0, 0, 0, 1]).unwrap();
    assert_eq!(kept.load().unwrap(), None);
}
