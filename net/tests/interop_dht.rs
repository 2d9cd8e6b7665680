//! Live against npm's dht-rpc and hyperdht, in one network that both make up: pome's nodes join npm's, npm's begin with pome's.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`), and network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/npm.rs"]
mod npm;

use data_encoding::HEXLOWER;
use npm::{MODULES, Npm, addresses};
use pome_net::dht_rpc::{Dht, DhtOptions, RequestError, node_id};
use pome_test_support::{namespace, npm_works};
use serde_json::json;
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
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            tokio::time::timeout(Duration::from_secs(120), body())
                .await
                .expect("done within two minutes")
        });
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
        let careful = Dht::bind(options).unwrap();
        assert!(careful.is_firewalled());
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
                // Of the twenty that a node tells of, half are dead: those far away may not be told of at all.
                found.truncate(8);
                assert_eq!(found, closest(&others, &target, 8), "target {n}");
            }
        };
        tokio::join!(look(0), look(1), look(2), look(3), look(4));
    });
}
