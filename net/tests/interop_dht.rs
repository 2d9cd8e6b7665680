//! Live against npm's dht-rpc and hyperdht, in one network that both make up: pome's nodes join npm's, npm's begin with pome's.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`), and network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/npm.rs"]
mod npm;
mod told;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use npm::{MODULES, Npm, addresses};
use pome_cores::{KeyPair, crypto::hash};
use pome_net::{
    dht_rpc::{Dht, DhtOptions, RequestError, RttStats, node_id},
    hyperdht::{AnnounceOptions, HyperDht, HyperDhtOptions},
};
use pome_test_support::{namespace, npm_works};
use serde_json::{Value, json};
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

/// Runs the test in a namespace, where that can be.
fn run<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if !npm_works(test, MODULES) || !namespace::inside(test) {
        return;
    }
    pome_test_support::block_on(Duration::from_secs(120), body());
}

/// A lasting node that begins with these, or with none.
async fn node(bootstrap: &[SocketAddrV4]) -> Dht {
    let mut options = DhtOptions {
        host: Ipv4Addr::LOCALHOST,
        ..DhtOptions::default()
    };
    options.node.ephemeral = Some(false);
    options.node.firewalled = false;
    options.node.bootstrap = bootstrap.to_vec();
    let dht = Dht::bind(options).unwrap();
    dht.ready().await.unwrap();
    dht
}

fn bootstrapper() -> Dht {
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let mut options = DhtOptions::bootstrapper(address);
    options.host = Ipv4Addr::LOCALHOST;
    Dht::bind(options).unwrap()
}

/// The closest of these, the closest first.
fn closest(nodes: &[SocketAddrV4], target: &[u8; 32], count: usize) -> Vec<SocketAddrV4> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by_key(|node| {
        let id = node_id(*node);
        std::array::from_fn::<u8, 32, _>(|at| id[at] ^ target[at])
    });
    nodes.truncate(count);
    nodes
}

async fn found(dht: &Dht, target: [u8; 32]) -> Vec<SocketAddrV4> {
    let result = dht.find_node(target).finished().await.unwrap();
    result.closest.into_iter().map(|reply| reply.from).collect()
}

/// Both find the closest of all, whoever asks.
async fn both_find(npm: &mut Npm, asker: u64, ours: &Dht, all: &[SocketAddrV4], round: u8) {
    for n in 0..5 {
        let target = node_id(SocketAddrV4::new(Ipv4Addr::new(9, 9, round, n), 1));
        // A node does not find itself.
        let others = |own: SocketAddrV4| {
            let others: Vec<_> = all.iter().copied().filter(|at| *at != own).collect();
            closest(&others, &target, 20)
        };
        let ours_found = found(ours, target).await;
        assert_eq!(ours_found, others(ours.local_addr()), "pome, target {n}");
        let asked = json!({"node": asker, "target": HEXLOWER.encode(&target)});
        let answer = npm.tell("findNode", asked).await;
        let theirs = addresses(&answer["closest"]);
        assert_eq!(theirs, closest(all, &target, 20), "npm, target {n}");
    }
}

#[test]
fn pome_nodes_join_an_npm_network() {
    run("pome_nodes_join_an_npm_network", || async {
        let mut npm = Npm::start();
        let (_, first) = npm.node(&[]).await;
        let mut all = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..8 {
            let (number, address) = npm.node(&[first]).await;
            theirs.push(number);
            all.push(address);
        }
        let mut ours = Vec::new();
        for _ in 0..6 {
            let dht = node(&[first]).await;
            dht.persistent().await.unwrap();
            assert_eq!(dht.remote_addr(), Some(dht.local_addr()));
            assert_eq!(dht.id(), Some(node_id(dht.local_addr())));
            all.push(dht.local_addr());
            ours.push(dht);
        }
        // One that only asks, so that it is in nobody's way.
        let options = json!({"ephemeral": true, "firewalled": true});
        let (asker, _) = npm.node_with(&[first], options).await;
        both_find(&mut npm, asker, &ours[0], &all, 1).await;

        let to = ours[1].local_addr().to_string();
        let pong = npm.tell("ping", json!({"node": theirs[0], "to": to})).await;
        assert_eq!(pong["from"], to);
        let reply = ours[0].ping(all[0]).await.unwrap();
        assert_eq!(reply.id, Some(node_id(all[0])));
        assert_eq!(reply.response.to, ours[0].local_addr());

        // How they answer, one with another; a node that knows nobody is told of one by asking it.
        let seen = ours[0].rtt_stats().await.unwrap();
        assert!(seen.all.count >= seen.closest.count, "{seen:?}");
        assert!(seen.closest.count + 1 >= all.len(), "{seen:?}");
        assert!(
            seen.all.errors == 0 && seen.all.closer_nodes > 1.0,
            "{seen:?}"
        );
        assert!(seen.closest.rtt < Duration::from_secs(10), "{seen:?}");
        let alone = node(&[]).await;
        assert_eq!(alone.rtt_stats().await.unwrap(), RttStats::default());
        alone.ping(all[0]).await.unwrap();
        assert_eq!(alone.nodes(), [all[0]]);
        alone.close();

        // Half of the nodes die without a word.
        for number in theirs.drain(..4) {
            npm.tell("kill", json!({"node": number})).await;
        }
        for dht in ours.drain(3..) {
            dht.close();
            assert_eq!(dht.ping(first).await, Err(RequestError::Closed));
        }
        all.drain(0..4);
        all.truncate(4 + 3);
        both_find(&mut npm, asker, &ours[0], &all, 2).await;
    });
}

#[test]
fn npm_nodes_begin_with_a_pome_node() {
    run("npm_nodes_begin_with_a_pome_node", || async {
        let first = bootstrapper();
        let start = first.local_addr();
        let mut npm = Npm::start();
        let mut all = vec![start];
        for _ in 0..5 {
            let (_, address) = npm.node(&[start]).await;
            all.push(address);
        }
        let mut ours = Vec::new();
        for _ in 0..3 {
            let dht = node(&[start]).await;
            all.push(dht.local_addr());
            ours.push(dht);
        }
        let options = json!({"ephemeral": true, "firewalled": true});
        let (asker, _) = npm.node_with(&[start], options).await;
        both_find(&mut npm, asker, &ours[0], &all, 3).await;
        // Who is behind a firewall that lets everything through finds that out, from npm's nodes and from ours.
        let mut options = DhtOptions {
            host: Ipv4Addr::LOCALHOST,
            ..DhtOptions::default()
        };
        options.node.bootstrap = vec![start];
        options.node.ephemeral = Some(false);
        // It looks from the moment it is bound, and here that takes no time: what it begins with is asked before.
        assert!(options.node.firewalled);
        let careful = Dht::bind(options).unwrap();
        careful.persistent().await.unwrap();
        assert!(!careful.is_firewalled());
        assert_eq!(careful.id(), Some(node_id(careful.local_addr())));
        let know = npm.tell("know", json!({"node": asker})).await;
        assert_eq!(know["host"], "127.0.0.1");
    });
}

#[test]
fn a_network_of_pome_nodes_outlives_half_of_them() {
    run("a_network_of_pome_nodes_outlives_half_of_them", || async {
        let first = bootstrapper();
        let mut nodes = Vec::new();
        for _ in 0..30 {
            nodes.push(node(&[first.local_addr()]).await);
        }
        for dead in nodes.drain(..15) {
            dead.close();
        }
        let mut all: Vec<_> = nodes.iter().map(Dht::local_addr).collect();
        all.push(first.local_addr());
        let look = |n: u8| {
            let target = node_id(SocketAddrV4::new(Ipv4Addr::new(8, 8, 8, n), 1));
            let asker = &nodes[usize::from(n)];
            let mut others = all.clone();
            others.retain(|at| *at != asker.local_addr());
            async move {
                let mut found = found(asker, target).await;
                // Of the twenty that a node tells of, at most fifteen are dead; that more than five live is likely, no more.
                found.truncate(5);
                assert_eq!(found, closest(&others, &target, 5), "target {n}");
            }
        };
        tokio::join!(look(0), look(1), look(2), look(3), look(4));
    });
}

async fn hyper(bootstrap: &[SocketAddrV4], lasting: bool) -> HyperDht {
    let mut options = HyperDhtOptions::default();
    options.dht.host = Ipv4Addr::LOCALHOST;
    options.dht.node.bootstrap = bootstrap.to_vec();
    options.dht.node.ephemeral = Some(!lasting);
    options.dht.node.firewalled = !lasting;
    let dht = HyperDht::bind(options).unwrap();
    dht.ready().await.unwrap();
    dht
}

/// Nodes of both, and an asker of each that is none of them.
struct Mixed {
    npm: Npm,
    _ours: Vec<HyperDht>,
    /// npm's asker.
    them: u64,
    /// Ours.
    us: HyperDht,
}

async fn mixed(theirs: usize, own: usize) -> Mixed {
    let mut options = HyperDhtOptions::bootstrapper(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    options.dht.host = Ipv4Addr::LOCALHOST;
    let mut ours = vec![HyperDht::bind(options).unwrap()];
    let start = ours[0].dht().local_addr();
    let mut npm = Npm::start();
    for _ in 0..theirs {
        npm.node(&[start]).await;
    }
    while ours.len() < own {
        ours.push(hyper(&[start], true).await);
    }
    let options = json!({"ephemeral": true, "firewalled": true});
    let (them, _) = npm.node_with(&[start], options).await;
    let us = hyper(&[start], false).await;
    Mixed {
        npm,
        _ours: ours,
        them,
        us,
    }
}

/// The keys that a lookup of npm's finds.
async fn npm_lookup(mixed: &mut Mixed, topic: &[u8; 32]) -> Vec<String> {
    let asked = json!({"node": mixed.them, "target": HEXLOWER.encode(topic)});
    let found = mixed.npm.tell("lookup", asked).await;
    let peers = found["peers"].as_array().unwrap();
    let key = |peer: &Value| peer[0].as_str().unwrap().to_owned();
    peers.iter().map(key).collect()
}

async fn our_lookup(mixed: &Mixed, topic: &[u8; 32]) -> Vec<String> {
    let peers = mixed.us.lookup(*topic).peers().await.unwrap();
    let mut keys: Vec<_> = peers
        .iter()
        .map(|peer| HEXLOWER.encode(&peer.public_key))
        .collect();
    keys.sort();
    keys
}

async fn topics(mixed: &mut Mixed) {
    let topic = [7; 32];
    let pair = KeyPair::from_seed(&[1; 32]);
    let relay = "1.2.3.4:5".parse().unwrap();
    let took = mixed
        .us
        .announce(topic, &pair, &[relay], AnnounceOptions::default())
        .await
        .unwrap();
    assert!(took > 0);
    let announced = json!({"node": mixed.them, "target": HEXLOWER.encode(&topic),
        "seed": HEXLOWER.encode(&[2; 32]), "relayAddresses": ["4.3.2.1:9"]});
    let theirs = mixed.npm.tell("announce", announced.clone()).await;
    let theirs = theirs["publicKey"].as_str().unwrap().to_owned();
    let mut both = vec![HEXLOWER.encode(&pair.public), theirs];
    both.sort();
    assert_eq!(npm_lookup(mixed, &topic).await, both);
    assert_eq!(our_lookup(mixed, &topic).await, both);
    let peers = mixed.us.lookup(topic).peers().await.unwrap();
    for peer in peers {
        let relays = if peer.public_key == pair.public {
            relay
        } else {
            "4.3.2.1:9".parse().unwrap()
        };
        assert_eq!(peer.relay_addresses, [relays]);
    }
    mixed.us.unannounce(topic, &pair).await.unwrap();
    assert_eq!(npm_lookup(mixed, &topic).await.len(), 1);
    mixed.npm.tell("unannounce", announced).await;
    assert_eq!(our_lookup(mixed, &topic).await, Vec::<String>::new());

    // Under the own key: then it is a peer that can be found.
    let own = hash(&[&pair.public]);
    mixed
        .us
        .announce(own, &pair, &[], AnnounceOptions::default())
        .await
        .unwrap();
    let asked = json!({"node": mixed.them, "publicKey": HEXLOWER.encode(&pair.public)});
    let found = mixed.npm.tell("findPeer", asked.clone()).await;
    assert_eq!(found["publicKey"], asked["publicKey"]);
    let found = mixed.us.find_peer(&pair.public).peers().await.unwrap();
    assert_eq!(found.len(), 1);
    mixed.us.unannounce(own, &pair).await.unwrap();
    let found = mixed.npm.tell("findPeer", asked).await;
    assert_eq!(found["publicKey"], Value::Null);
}

async fn values(mixed: &mut Mixed) {
    let us = mixed.us.clone();
    let them = mixed.them;
    for size in [1, 32, 900] {
        let ours = Bytes::from(vec![b'o'; size]);
        let target = us.immutable_put(ours.clone()).await.unwrap();
        let asked = json!({"node": them, "hash": HEXLOWER.encode(&target)});
        let got = mixed.npm.tell("immutableGet", asked).await;
        assert_eq!(got["value"], HEXLOWER.encode(&ours));
        let theirs = vec![b't'; size];
        let put = json!({"node": them, "value": HEXLOWER.encode(&theirs)});
        let put = mixed.npm.tell("immutablePut", put).await;
        let target = HEXLOWER.decode(put["hash"].as_str().unwrap().as_bytes());
        let target = target.unwrap().try_into().unwrap();
        let got = us.immutable_get(target).await.unwrap();
        assert_eq!(got, Some(theirs.into()));
    }
    assert_eq!(us.immutable_get([0; 32]).await.unwrap(), None);

    let pair = KeyPair::from_seed(&[3; 32]);
    let public = HEXLOWER.encode(&pair.public);
    us.mutable_put(&pair, "one".into(), 1).await.unwrap();
    let asked = json!({"node": them, "publicKey": public});
    let got = mixed.npm.tell("mutableGet", asked.clone()).await;
    assert_eq!(got["seq"], 1);
    assert_eq!(got["value"], HEXLOWER.encode(b"one"));
    // The same again is no change; another value with the number is refused, and one with a lower number.
    us.mutable_put(&pair, "one".into(), 1).await.unwrap();
    let reused = us.mutable_put(&pair, "two".into(), 1).await.unwrap_err();
    assert_eq!(reused.code(), "SEQ_REUSED");
    let low = us.mutable_put(&pair, "two".into(), 0).await.unwrap_err();
    assert_eq!(low.code(), "SEQ_TOO_LOW");
    let mut put = json!({"node": them, "seed": HEXLOWER.encode(&[3; 32]),
        "value": HEXLOWER.encode(b"two"), "seq": 2});
    let put_by_npm = mixed.npm.tell("mutablePut", put.clone()).await;
    assert_eq!(put_by_npm["codes"], json!([0]));
    let got = us
        .mutable_get(&pair.public, 0, true)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((got.seq, &got.value[..]), (2, &b"two"[..]));
    let first = us.mutable_get(&pair.public, 2, false).await.unwrap();
    assert_eq!(first.unwrap().seq, 2);
    assert_eq!(us.mutable_get(&pair.public, 3, true).await.unwrap(), None);
    let later = json!({"node": them, "publicKey": public, "seq": 3});
    assert_eq!(
        mixed.npm.tell("mutableGet", later).await["seq"],
        Value::Null
    );
    put["value"] = json!(HEXLOWER.encode(b"three"));
    let codes = mixed.npm.tell("mutablePut", put.clone()).await;
    assert_eq!(codes["codes"], json!([16]));
    put["seq"] = json!(1);
    let codes = mixed.npm.tell("mutablePut", put).await;
    assert_eq!(codes["codes"], json!([17]));
}

#[test]
fn topics_and_values_are_kept_by_npm_nodes_for_both() {
    run(
        "topics_and_values_are_kept_by_npm_nodes_for_both",
        || async {
            // The bootstrap node is ours, and one of those that keep.
            let mut mixed = mixed(6, 1).await;
            topics(&mut mixed).await;
            values(&mut mixed).await;
        },
    );
}

#[test]
fn topics_and_values_are_kept_by_pome_nodes_for_both() {
    run(
        "topics_and_values_are_kept_by_pome_nodes_for_both",
        || async {
            let mut mixed = mixed(0, 6).await;
            topics(&mut mixed).await;
            values(&mut mixed).await;
        },
    );
}
