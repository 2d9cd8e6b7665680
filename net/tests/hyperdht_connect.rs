//! Connections by key, pome with pome and pome with npm's hyperdht in each role, on each way that leads from one to the other.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`), and network namespaces: each test runs itself again in one.
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
    dht_rpc::RequestOptions,
    hyperdht::{
        ConnectOptions, HolepunchChoice, HyperDht, ServerOptions, Testnet, messages::firewall,
    },
    udx::Duplex,
};
use serde_json::{Value, json};
use std::{
    net::SocketAddrV4,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn pome_connects_to_pome() {
    run("pome_connects_to_pome", false, || async {
        let (_nodes, start) = network(6).await;
        for theirs in FRONTS {
            let dht = hyper(&[start], theirs, false).await;
            let pair = KeyPair::random();
            let server = dht.listen(&pair, ServerOptions::default()).await.unwrap();
            assert!(!server.relay_addresses().is_empty());
            let serving = echo(server);
            for ours in FRONTS {
                for local in [true, false] {
                    let client = hyper(&[start], ours, false).await;
                    let connection = client.connect(&pair.public, connecting(local)).await;
                    let connection = connection.unwrap_or_else(|error| {
                        panic!("{ours:?} to {theirs:?}, local {local}: {error}")
                    });
                    assert_eq!(connection.remote_public_key(), Some(pair.public));
                    assert_echoes(&connection).await;
                }
            }
            serving.abort();
        }
    });
}

#[test]
fn who_is_not_there_is_not_found() {
    run("who_is_not_there_is_not_found", false, || async {
        let (nodes, start) = network(4).await;
        let client = hyper(&[start], Front::Firewall, false).await;
        let connect = |key: [u8; 32]| {
            let client = client.clone();
            async move { client.connect(&key, connecting(true)).await }
        };
        let nobody = connect(KeyPair::random().public).await.unwrap_err();
        assert_eq!(nobody.code(), "PEER_NOT_FOUND");
        // A server that is closed takes its announcement back.
        let pair = KeyPair::random();
        let server = nodes[1].listen(&pair, ServerOptions::default()).await;
        let server = server.unwrap();
        let again = nodes[1].listen(&pair, ServerOptions::default()).await;
        assert_eq!(again.unwrap_err().code(), "KEYPAIR_ALREADY_USED");
        server.close().await;
        let closed = connect(pair.public).await.unwrap_err();
        assert_eq!(closed.code(), "PEER_NOT_FOUND");
        // One that refuses stays silent.
        let mut options = ServerOptions::default();
        let ours = client.key_pair().public;
        options.firewall = Some(Arc::new(move |key, _, _| *key == ours));
        let _server = nodes[2].listen(&pair, options).await.unwrap();
        let refused = connect(pair.public).await.unwrap_err();
        assert_eq!(refused.code(), "PEER_CONNECTION_FAILED");
        let other = hyper(&[start], Front::Open, false).await;
        let connection = other.connect(&pair.public, connecting(true)).await;
        assert!(connection.is_ok());
    });
}

#[test]
fn pome_connects_to_npm() {
    run("pome_connects_to_npm", true, || async {
        let (_nodes, start) = network(4).await;
        let mut npm = Npm::start();
        for _ in 0..3 {
            npm.node(&[start]).await;
        }
        for theirs in FRONTS {
            let node = npm_node(&mut npm, &[start], theirs).await;
            let pair = KeyPair::random();
            let seed = HEXLOWER.encode(&*pair.seed());
            let listening = json!({"node": node, "seed": seed});
            npm.tell("listen", listening).await;
            for ours in FRONTS {
                for local in [true, false] {
                    let client = hyper(&[start], ours, false).await;
                    let connection = client.connect(&pair.public, connecting(local)).await;
                    let connection = connection.unwrap_or_else(|error| {
                        panic!("{ours:?} to {theirs:?}, local {local}: {error}")
                    });
                    let ours = HEXLOWER.encode(&client.key_pair().public);
                    assert_echoes(&connection).await;
                    assert_eq!(npm.event("connection").await["publicKey"], ours);
                    connection.end();
                    assert_eq!(npm.event("closed").await["publicKey"], ours);
                    connection.closed().await.unwrap();
                }
            }
        }
    });
}

#[test]
fn npm_connects_to_pome() {
    run("npm_connects_to_pome", true, || async {
        let (_nodes, start) = network(4).await;
        let mut npm = Npm::start();
        for _ in 0..3 {
            npm.node(&[start]).await;
        }
        for ours in FRONTS {
            let dht = hyper(&[start], ours, false).await;
            let pair = KeyPair::random();
            let server = dht.listen(&pair, ServerOptions::default()).await.unwrap();
            let serving = echo(server);
            let public_key = HEXLOWER.encode(&pair.public);
            for theirs in FRONTS {
                for local in [true, false] {
                    let node = npm_node(&mut npm, &[start], theirs).await;
                    let asked = json!({"node": node, "publicKey": public_key, "bytes": 300_000,
                        "local": local});
                    let echo = npm.ask("echo", asked).await;
                    let what = format!("{theirs:?} to {ours:?}, local {local}: {echo}");
                    assert_eq!(echo["same"], Value::Bool(true), "{what}");
                    assert_eq!(echo["remote"], public_key, "{what}");
                }
            }
            serving.abort();
        }
    });
}

/// Over no network that both share: through a hole in the NAT, which may be used again.
fn again() -> ConnectOptions {
    let mut options = connecting(false);
    options.reusable_socket = true;
    options
}

#[test]
fn a_way_that_was_opened_is_taken_again() {
    run("a_way_that_was_opened_is_taken_again", true, || async {
        let (_nodes, start) = network(4).await;
        let mut npm = Npm::start();
        // pome with pome
        let dht = hyper(&[start], Front::Firewall, false).await;
        let pair = KeyPair::random();
        let mut options = ServerOptions::default();
        options.reusable_socket = true;
        let _serving = echo(dht.listen(&pair, options).await.unwrap());
        let client = hyper(&[start], Front::Firewall, false).await;
        opens_once(&client, pair.public).await;
        assert_eq!(dht.stats().punches.open, 1);
        // npm serves
        let node = npm_node(&mut npm, &[start], Front::Firewall).await;
        let theirs = KeyPair::random();
        let listening = json!({"node": node, "seed": HEXLOWER.encode(&*theirs.seed()),
            "reusableSocket": true});
        npm.tell("listen", listening).await;
        let client = hyper(&[start], Front::Firewall, false).await;
        opens_once(&client, theirs.public).await;
        // npm connects
        let node = npm_node(&mut npm, &[start], Front::Firewall).await;
        for _ in 0..2 {
            let asked = json!({"node": node, "publicKey": HEXLOWER.encode(&pair.public),
                "bytes": 300_000, "local": false, "reusableSocket": true});
            let echo = npm.ask("echo", asked).await;
            assert_eq!(echo["same"], Value::Bool(true), "{echo}");
        }
        assert_eq!(dht.stats().punches.open, 2);
        // Who does not allow it opens a way each time.
        let pair = KeyPair::random();
        let options = ServerOptions::default();
        let _serving = echo(dht.listen(&pair, options).await.unwrap());
        for _ in 0..2 {
            let connection = client.connect(&pair.public, again()).await.unwrap();
            assert_echoes(&connection).await;
            connection.end();
            connection.closed().await.unwrap();
        }
        assert_eq!(dht.stats().punches.open, 2);
    });
}

/// The first connection opens a way, the second one takes the same.
async fn opens_once(client: &HyperDht, key: [u8; 32]) {
    let mut ways = Vec::new();
    for _ in 0..2 {
        let connection = client.connect(&key, again()).await.unwrap();
        assert_echoes(&connection).await;
        ways.push(connection.udx().unwrap().way().unwrap());
        connection.end();
        connection.closed().await.unwrap();
    }
    assert_eq!(ways[0], ways[1]);
}

#[test]
fn either_side_may_decide_about_a_hole() {
    run("either_side_may_decide_about_a_hole", false, || async {
        let (_nodes, start) = network(4).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let never = || {
            let asked = asked.clone();
            HolepunchChoice::by(move |seen| {
                assert!(seen.remote_firewall != firewall::UNKNOWN);
                assert!(!seen.remote_addresses.is_empty());
                asked.fetch_add(1, Ordering::Relaxed);
                false
            })
        };
        let dht = hyper(&[start], Front::Firewall, false).await;
        for (ours, theirs) in [(true, false), (false, true)] {
            let pair = KeyPair::random();
            let mut options = ServerOptions::default();
            if theirs {
                options.holepunch = never();
            }
            let _serving = echo(dht.listen(&pair, options).await.unwrap());
            let client = hyper(&[start], Front::Firewall, false).await;
            let mut options = connecting(false);
            // Else the first packet of the server comes through before anybody is asked.
            options.fast_open = false;
            if ours {
                options.holepunch = never();
            }
            let error = client.connect(&pair.public, options).await.unwrap_err();
            let code = if ours {
                "HOLEPUNCH_ABORTED"
            } else {
                "REMOTE_ABORTED"
            };
            assert_eq!(error.code(), code);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn streams_of_ones_own_go_where_a_connection_goes() {
    let test = "streams_of_ones_own_go_where_a_connection_goes";
    run(test, false, || async {
        let testnet = Testnet::new(4).await.unwrap();
        assert_eq!(testnet.nodes().len(), 4);
        let (a, b) = (testnet.node().await.unwrap(), testnet.node().await.unwrap());
        let mut server = a.listen(a.key_pair(), Default::default()).await.unwrap();
        let ours = b.connect(&server.public_key(), Default::default()).await;
        let (ours, theirs) = (ours.unwrap(), server.accept().await.unwrap());
        let (mut here, mut there) = (b.raw_stream().unwrap(), a.raw_stream().unwrap());
        let join = |connection, stream: &Duplex, other: &Duplex| {
            HyperDht::connect_raw_stream(connection, stream, other.id()).unwrap();
        };
        join(&ours, &here, &there);
        join(&theirs, &there, &here);
        here.write_all(b"beside the connection").await.unwrap();
        here.shutdown().await.unwrap();
        let mut text = String::new();
        there.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "beside the connection");
        ours.abort();
        let _ = ours.closed().await;
        let late = HyperDht::connect_raw_stream(&ours, &here, 1).unwrap_err();
        assert_eq!(late.code(), "STREAM_NOT_CONNECTED");
        let nobody: Vec<SocketAddrV4> = vec![];
        assert_ne!(testnet.bootstrap(), nobody);
    });
}

/// What came while the process stood still is heard before anybody is given up who has answered.
#[test]
fn an_answer_that_came_while_nothing_ran_counts() {
    let test = "an_answer_that_came_while_nothing_ran_counts";
    run(test, false, || async {
        let (_nodes, start) = network(1).await;
        let asks = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let dht = hyper(&[start], Front::Firewall, false).await;
                let once = RequestOptions {
                    retries: Some(0),
                    ..RequestOptions::default()
                };
                let ping = dht.dht().ping_by(start, once);
                // Longer than a try waits, and so long does nothing of this node run.
                std::thread::sleep(Duration::from_secs(2));
                ping.await
            })
        };
        let answer = tokio::task::spawn_blocking(asks).await.unwrap();
        assert_eq!(answer.unwrap().from, start);
    });
}
