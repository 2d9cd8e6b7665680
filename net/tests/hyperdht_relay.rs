//! Connections through a blind relay: pome and npm in each role, on loopback, where straight ways are closed by an option. Real NATs: `hyperdht_nat.rs`.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`) for npm's part, and network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/loopback.rs"]
mod loopback;
#[path = "dht/npm.rs"]
mod npm;
mod told;

use data_encoding::HEXLOWER;
use loopback::*;
use npm::Npm;
use pome_cores::KeyPair;
use pome_net::{
    blind_relay::{Client, Pair, Unpair},
    driver::Connection,
    hyperdht::{
        BlindRelay, ConnectOptions, HyperDht, Pool, RelayChoice, RelayOptions, ServerOptions,
    },
    noise::Role,
    udx::Duplex,
};
use pome_test_support::{hex, load};
use serde_json::{Value, json};
use std::{net::SocketAddrV4, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn messages_are_those_of_npm() {
    let known = ["blind_relay"];
    let elsewhere = [
        "request_id_byte",
        "response_id_byte",
        "commands",
        "firewall",
        "errors",
        "namespaces",
        "ids",
        "requests",
        "replies",
        "incoming",
        "tokens",
        "messages",
        "messages_raw",
        "signatures",
        "immutable",
        "handshakes",
        "holepunch_payloads",
        "wakeup",
        "addresses",
        "udx",
    ];
    let vectors = load("dht", &known, &elsewhere);
    let cases = vectors["blind_relay"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let (value, bytes) = (&case["value"], hex(&case["bytes"]));
        let token = hex(&value["token"]).try_into().unwrap();
        match case["message"].as_str().unwrap() {
            "pair" => {
                let pair = Pair {
                    is_initiator: value["isInitiator"].as_bool().unwrap(),
                    token,
                    id: value["id"].as_u64().unwrap(),
                    seq: value["seq"].as_u64().unwrap(),
                };
                assert_eq!(pair.encode(), bytes);
                assert_eq!(Pair::decode(&bytes).unwrap(), pair);
            }
            "unpair" => {
                assert_eq!(Unpair { token }.encode(), bytes);
                assert_eq!(Unpair::decode(&bytes).unwrap(), Unpair { token });
            }
            other => panic!("{other} is unknown"),
        }
        for cut in 0..bytes.len() - 1 {
            assert!(Pair::decode(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}

/// Only by the relay.
fn through(relay: [u8; 32]) -> ConnectOptions {
    let mut options = closed();
    options.relay_through = relay.into();
    options
}

/// No straight way is tried.
fn closed() -> ConnectOptions {
    let mut options = connecting(false);
    options.holepunch = false.into();
    options
}

fn serving(relay: impl Into<RelayChoice>) -> ServerOptions {
    let mut options = ServerOptions::default();
    options.relay_through = relay.into();
    options
}

async fn relay(start: SocketAddrV4) -> (HyperDht, BlindRelay) {
    let dht = hyper(&[start], Front::Open, false).await;
    let relay = BlindRelay::serve(&dht, &KeyPair::random(), RelayOptions::default()).await;
    (dht, relay.unwrap())
}

async fn over(connection: &Connection) -> &'static str {
    let closed = tokio::time::timeout(pome_test_support::PATIENCE, connection.closed()).await;
    closed.unwrap().map_or_else(|error| error.code(), |()| "")
}

#[test]
fn either_side_may_ask_for_a_relay() {
    run("either_side_may_ask_for_a_relay", false, || async {
        let (_nodes, start) = network(6).await;
        let (_dht, relay) = relay(start).await;
        let key = relay.public_key();
        for (ours, theirs) in [(true, false), (false, true), (true, true)] {
            let dht = hyper(&[start], Front::Firewall, false).await;
            let pair = KeyPair::random();
            let options = match theirs {
                true => serving(key),
                false => ServerOptions::default(),
            };
            let server = dht.listen(&pair, options).await.unwrap();
            let serving = echo(server);
            let client = hyper(&[start], Front::Firewall, false).await;
            let options = if ours { through(key) } else { closed() };
            let connection = client.connect(&pair.public, options).await;
            let connection = connection
                .unwrap_or_else(|error| panic!("client {ours}, server {theirs}: {error}"));
            assert!(connection.is_relayed());
            assert_eq!(connection.remote_public_key(), Some(pair.public));
            assert_echoes(&connection).await;
            assert_eq!(relay.stats().links, 1);
            let relaying = client.stats().relaying;
            assert_eq!((relaying.attempts, relaying.successes), (1, 1));
            connection.end();
            connection.closed().await.unwrap();
            drop(connection);
            while relay.stats().links > 0 || relay.stats().sessions > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            serving.abort();
        }
        assert_eq!(relay.stats().matched, 3);
    });
}

#[test]
fn a_connection_ends_with_its_relay_and_a_new_one_can_be_made() {
    let test = "a_connection_ends_with_its_relay_and_a_new_one_can_be_made";
    run(test, false, || async {
        let (_nodes, start) = network(6).await;
        let at = hyper(&[start], Front::Open, false).await;
        let relay_key = KeyPair::random();
        let relay = BlindRelay::serve(&at, &relay_key, RelayOptions::default()).await;
        let dht = hyper(&[start], Front::Firewall, false).await;
        let pair = KeyPair::random();
        let server = dht.listen(&pair, ServerOptions::default()).await.unwrap();
        let _serving = echo(server);
        let client = hyper(&[start], Front::Firewall, false).await;
        let options = through(relay_key.public);
        let connection = client.connect(&pair.public, options.clone()).await.unwrap();
        assert_echoes(&connection).await;
        relay.unwrap().close().await;
        assert_eq!(over(&connection).await, "RELAY_ABORTED");
        // Without it there is no way.
        let error = client.connect(&pair.public, options.clone()).await;
        assert_eq!(error.unwrap_err().code(), "RELAY_ABORTED");
        // It begins again elsewhere.
        at.close();
        let at = hyper(&[start], Front::Open, false).await;
        let relay = BlindRelay::serve(&at, &relay_key, RelayOptions::default()).await;
        let connection = client.connect(&pair.public, options).await.unwrap();
        assert_echoes(&connection).await;
        // One that is torn down, and says nothing.
        at.close();
        let code = over(&connection).await;
        assert!(["RELAY_ABORTED", "CONNECTION_IO"].contains(&code), "{code}");
        drop(relay);
    });
}

/// A peer of a relay, and a stream of its own that it wants to be joined with another's.
struct Side {
    connection: Connection,
    client: Client,
    stream: Duplex,
}

impl Side {
    async fn new(start: SocketAddrV4, relay: [u8; 32]) -> Self {
        let dht = hyper(&[start], Front::Firewall, false).await;
        let connection = dht.connect(&relay, connecting(true)).await.unwrap();
        let stream = dht.raw_stream().unwrap();
        stream.set_firewall(Some(Arc::new(|_, _| false)));
        Self {
            client: Client::open(&connection).unwrap(),
            connection,
            stream,
        }
    }
}

/// Peers of npm's let a relay go as soon as they have a straight way, and what they sent to it they send again only there.
#[test]
fn a_relay_hands_on_what_is_for_a_side_that_never_spoke_and_has_gone() {
    let test = "a_relay_hands_on_what_is_for_a_side_that_never_spoke_and_has_gone";
    run(test, false, || async {
        let (_nodes, start) = network(6).await;
        let (_dht, relay) = relay(start).await;
        let mut here = Side::new(start, relay.public_key()).await;
        let mut there = Side::new(start, relay.public_key()).await;
        let (joined, other) = tokio::join!(
            there.client.pair(true, [1; 32], there.stream.id()),
            here.client.pair(false, [1; 32], here.stream.id()),
        );
        other.unwrap();
        let (socket, at) = there.connection.udx().unwrap().way().unwrap();
        there.stream.connect(&socket, joined.unwrap(), at);
        there.stream.write_all(b"early").await.unwrap();
        let mut word = [0; 5];
        here.stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"early");
        here.connection.end();
        while relay.stats().links > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        there.stream.write_all(b"later").await.unwrap();
        here.stream.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"later");
    });
}

#[test]
fn a_relay_serves_whom_it_trusts() {
    run("a_relay_serves_whom_it_trusts", false, || async {
        let (_nodes, start) = network(6).await;
        let at = hyper(&[start], Front::Open, false).await;
        let dht = hyper(&[start], Front::Firewall, false).await;
        let client = hyper(&[start], Front::Firewall, false).await;
        let mut options = RelayOptions::default();
        let trusted = [dht.key_pair().public, client.key_pair().public];
        options.firewall = Some(Arc::new(move |key, _, _| !trusted.contains(key)));
        let relay = BlindRelay::serve(&at, &KeyPair::random(), options).await;
        let key = relay.unwrap_or_else(|error| panic!("{error}"));
        let pair = KeyPair::random();
        let options = ServerOptions::default();
        let _serving = echo(dht.listen(&pair, options).await.unwrap());
        let through = through(key.public_key());
        let connection = client.connect(&pair.public, through.clone()).await;
        assert_echoes(&connection.unwrap()).await;
        let stranger = hyper(&[start], Front::Firewall, false).await;
        let refused = stranger.connect(&pair.public, through).await;
        assert_eq!(refused.unwrap_err().code(), "RELAY_ABORTED");
        assert_eq!(key.stats().matched, 1);
    });
}

#[test]
fn npm_and_pome_through_relays_of_both() {
    run("npm_and_pome_through_relays_of_both", true, || async {
        let (_nodes, start) = network(4).await;
        let mut npm = Npm::start();
        for _ in 0..3 {
            npm.node(&[start]).await;
        }
        let (_dht, ours) = relay(start).await;
        let at = npm_node(&mut npm, &[start], Front::Open).await;
        let seed = HEXLOWER.encode(&[9; 32]);
        let asked = json!({"node": at, "seed": seed});
        let theirs = hex(&npm.tell("relay", asked).await["publicKey"]);
        let theirs: [u8; 32] = theirs.try_into().unwrap();
        let mut matched = 0;
        for relay in [ours.public_key(), theirs] {
            let name = HEXLOWER.encode(&relay);
            for by_client in [true, false] {
                let asks = |who| if who { json!(name) } else { Value::Null };
                // pome to npm
                let node = npm_node(&mut npm, &[start], Front::Firewall).await;
                let pair = KeyPair::random();
                let listening = json!({"node": node, "seed": HEXLOWER.encode(&*pair.seed()),
                    "relayThrough": asks(!by_client)});
                npm.tell("listen", listening).await;
                let client = hyper(&[start], Front::Firewall, false).await;
                let options = if by_client { through(relay) } else { closed() };
                let connection = client.connect(&pair.public, options).await;
                let connection = connection
                    .unwrap_or_else(|error| panic!("{name}, by client {by_client}: {error}"));
                assert!(connection.is_relayed());
                assert_echoes(&connection).await;
                connection.end();
                connection.closed().await.unwrap();
                // npm to pome
                let dht = hyper(&[start], Front::Firewall, false).await;
                let pair = KeyPair::random();
                let mut options = match by_client {
                    true => ServerOptions::default(),
                    false => serving(relay),
                };
                options.holepunch = false.into();
                let serving = echo(dht.listen(&pair, options).await.unwrap());
                let node = npm_node(&mut npm, &[start], Front::Firewall).await;
                let asked = json!({"node": node, "publicKey": HEXLOWER.encode(&pair.public),
                    "bytes": 300_000, "local": false, "holepunch": false,
                    "relayThrough": asks(by_client)});
                let echo = npm.ask("echo", asked).await;
                assert_eq!(echo["same"], json!(true), "{name}, {by_client}: {echo}");
                assert_eq!(dht.stats().relaying.successes, 1);
                serving.abort();
                matched += 2;
            }
        }
        let by_npm = npm.tell("relayed", json!({"node": at})).await;
        assert_eq!(ours.stats().matched * 2, matched);
        assert_eq!(by_npm["matched"].as_u64().unwrap() * 2, matched);
    });
}

#[test]
fn a_suspended_node_is_silent_until_it_is_resumed() {
    let test = "a_suspended_node_is_silent_until_it_is_resumed";
    run(test, false, || async {
        let (_nodes, start) = network(6).await;
        let dht = hyper(&[start], Front::Open, false).await;
        let pair = KeyPair::random();
        let server = dht.listen(&pair, ServerOptions::default()).await.unwrap();
        let _serving = echo(server);
        let client = hyper(&[start], Front::Open, false).await;
        let connect = || client.connect(&pair.public, connecting(true));
        let connection = connect().await.unwrap();
        assert_echoes(&connection).await;
        dht.suspend().await;
        assert!(dht.is_suspended());
        // The other side is told that its connection ends, and finds no server any more.
        assert_eq!(over(&connection).await, "CONNECTION_IO");
        assert_eq!(connect().await.unwrap_err().code(), "PEER_NOT_FOUND");
        let error = dht.connect(&pair.public, connecting(true)).await;
        assert_eq!(error.unwrap_err().code(), "SUSPENDED");
        let error = dht.immutable_get([1; 32]).await.unwrap_err();
        assert_eq!(error.code(), "IO_SUSPENDED");
        dht.resume().await;
        assert!(!dht.is_suspended());
        let connection = loop {
            // It is announced again by and by.
            match connect().await {
                Ok(connection) => break connection,
                Err(error) => assert_eq!(error.code(), "PEER_NOT_FOUND"),
            }
        };
        assert_echoes(&connection).await;
        // A suspended client's own connections end with that error.
        client.suspend().await;
        assert_eq!(over(&connection).await, "SUSPENDED");
        client.resume().await;
        assert_echoes(&connect().await.unwrap()).await;
    });
}

#[test]
fn a_pool_keeps_one_connection_to_each_peer() {
    run(
        "a_pool_keeps_one_connection_to_each_peer",
        false,
        || async {
            let (_nodes, start) = network(6).await;
            let nodes = [
                hyper(&[start], Front::Open, false).await,
                hyper(&[start], Front::Open, false).await,
            ];
            let pools = [Pool::new(), Pool::new()];
            let keys = nodes.each_ref().map(|node| node.key_pair().public);
            for (node, pool) in nodes.iter().zip(&pools) {
                let mut options = ServerOptions::default();
                options.pool = Some(pool.clone());
                let server = node.listen(&node.key_pair().clone(), options).await;
                echo(server.unwrap());
            }
            let connect = |from: usize| {
                let mut options = connecting(true);
                options.pool = Some(pools[from].clone());
                let (node, to) = (nodes[from].clone(), keys[1 - from]);
                async move { node.connect(&to, options).await }
            };
            // Asked twice at the same time, and once more: one connection.
            let (a, b) = tokio::join!(connect(0), connect(0));
            let (a, b, c) = (a.unwrap(), b.unwrap(), connect(0).await.unwrap());
            assert_eq!(a.handshake_hash(), b.handshake_hash());
            assert_eq!(a.handshake_hash(), c.handshake_hash());
            assert!(pools[0].has(&keys[1]) && pools[0].get(&keys[1]).is_some());
            assert_eq!(pools[0].connections().len(), 1);
            a.abort();
            while pools.iter().any(|pool| !pool.connections().is_empty()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // Both at the same time: one is kept, the same on both sides, and it is that of the smaller key where both came to it.
            for _ in 0..5 {
                let results = tokio::join!(connect(0), connect(1));
                let ends: Vec<_> = [results.0, results.1].into_iter().flatten().collect();
                assert!(!ends.is_empty());
                let left = loop {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let [a, b] = pools.each_ref().map(|pool| pool.connections());
                    if let ([a], [b]) = (&a[..], &b[..])
                        && a.handshake_hash() == b.handshake_hash()
                    {
                        let is_ours = a.role() == Role::Initiator;
                        break if is_ours { a.clone() } else { b.clone() };
                    }
                };
                assert!(!left.is_closed());
                assert_echoes(&left).await;
                left.abort();
                while pools.iter().any(|pool| !pool.connections().is_empty()) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        },
    );
}
