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
use pome_net::hyperdht::ServerOptions;
use serde_json::{Value, json};
use std::sync::Arc;

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
