//! The DHT over one stream, with npm's dht-relay: its clients at pome's relay, pome's clients at npm's, and both networks behind them.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`), and network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/npm.rs"]
mod npm;
#[path = "dht/relay.rs"]
mod relay;
mod told;

use data_encoding::HEXLOWER;
use npm::Npm;
use pome_cores::KeyPair;
use pome_net::dht_relay::{DhtRelay, DhtRelayOptions, RelayServer};
use pome_test_support::{namespace, npm_folder, npm_works};
use relay::{Echo, hear, network, node, say_by};
use serde_json::{Value, json};
use std::{future::Future, net::SocketAddrV4};
use tokio::process::Command;

const MODULES: &[&str] = &["hyperdht", "@hyperswarm/dht-relay"];

fn run<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if npm_works(test, MODULES) && namespace::inside(test) {
        relay::block_on(body());
    }
}

fn start_npm() -> Npm {
    Npm::from(Command::new("node").arg(npm_folder().join("dht_relay.js")))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(bytes.as_ref())
}

fn number(answer: &Value, name: &str) -> u64 {
    answer[name].as_u64().unwrap()
}

async fn npm_node(npm: &mut Npm, start: SocketAddrV4) -> u64 {
    let args = json!({"bootstrap": [start.to_string()]});
    number(&npm.tell("node", args).await, "thing")
}

#[test]
fn npm_clients_at_pomes_relay() {
    run("npm_clients_at_pomes_relay", || async {
        let (_nodes, start) = network(4).await;
        let dht = node(start).await;
        let server = RelayServer::bind("127.0.0.1:0", dht, Default::default());
        let server = server.await.unwrap();
        let mut npm = start_npm();
        let args = json!({"port": server.address().port(), "custodial": true});
        let client = number(&npm.tell("client", args).await, "thing");
        // Out: to pome's server and to npm's.
        let (ours, theirs) = (node(start).await, npm_node(&mut npm, start).await);
        let echo = Echo::listen(&ours, &KeyPair::random()).await;
        let own = KeyPair::random();
        let text = "hello ".repeat(20_000);
        let args = json!({"by": client, "publicKey": hex(echo.public_key), "text": text, "seed": hex(*own.seed())});
        let said = npm.tell("say", args).await;
        assert!(said["text"].as_str().unwrap().starts_with("pome: hello"));
        let (key, hash) = echo.seen().await;
        assert_eq!(key, own.public);
        assert_eq!(said["handshakeHash"], hex(hash));
        let args = json!({"by": theirs, "seed": hex([1; 32])});
        let listening = npm.tell("listen", args).await;
        let args = json!({"by": client, "publicKey": listening["publicKey"], "text": "npm to npm"});
        let said = npm.tell("say", args).await;
        assert!(said["text"].as_str().unwrap().starts_with("npm: npm to"));
        // In: from both.
        let bad = node(start).await;
        let refused = hex(bad.key_pair().public);
        let args = json!({"by": client, "seed": hex([2; 32]), "refuse": [refused]});
        let listening = npm.tell("listen", args).await;
        let key: [u8; 32] = KeyPair::from_seed(&[2; 32]).public;
        assert_eq!(listening["publicKey"], hex(key));
        let called = ours.connect(&key, Default::default()).await.unwrap();
        let answer = say_by(&called.messages(), b"in".to_vec(), 5).await;
        assert_eq!(answer, b"npm: in");
        let args = json!({"by": theirs, "publicKey": listening["publicKey"], "text": "npm in"});
        let said = npm.tell("say", args).await;
        assert_eq!(said["text"], "npm: npm in");
        if let Ok(called) = bad.connect(&key, Default::default()).await {
            let over = tokio::time::timeout(pome_test_support::PATIENCE, called.closed());
            let _ = over.await.unwrap();
        }
        let seen = npm.tell("seen", json!({"thing": listening["thing"]})).await;
        assert_eq!(seen["seen"].as_array().unwrap().len(), 2);
        // Topics.
        let topic = [5; 32];
        let args = json!({"by": client, "topic": hex(topic), "seed": hex([2; 32])});
        npm.tell("announce", args.clone()).await;
        let found = ours.lookup(topic).peers().await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].public_key, key);
        let looked = npm.tell("lookup", json!({"by": client, "topic": hex(topic)}));
        assert_eq!(looked.await["keys"], json!([hex(key)]));
        npm.tell("unannounce", args).await;
        assert!(ours.lookup(topic).peers().await.unwrap().is_empty());
        npm.tell("close", json!({"thing": listening["thing"]}))
            .await;
        // Nobody there.
        let args = json!({"by": client, "publicKey": hex(KeyPair::random().public), "text": "x"});
        let said = npm.tell("say", args).await;
        assert!(said["refused"].as_str().unwrap().contains("PEER_NOT_FOUND"));
    });
}

#[test]
fn pomes_clients_at_npms_relay() {
    run("pomes_clients_at_npms_relay", || async {
        let (_nodes, start) = network(4).await;
        let mut npm = start_npm();
        let lent = npm_node(&mut npm, start).await;
        let relay = npm.tell("relay", json!({"node": lent})).await;
        let port = u16::try_from(number(&relay, "port")).unwrap();
        let ours = node(start).await;
        let echo = Echo::listen(&ours, &KeyPair::random()).await;
        for custodial in [true, false] {
            let mut options = DhtRelayOptions::default();
            options.custodial = custodial;
            let client = DhtRelay::connect(("127.0.0.1", port), options)
                .await
                .unwrap();
            let out = client.connect_to(&echo.public_key, Default::default());
            let out = out.await.unwrap();
            assert_eq!(out.remote_public_key(), Some(echo.public_key));
            let long = vec![7; 300_000];
            let answer = say_by(&out.messages(), long.clone(), 6).await;
            assert_eq!(
                answer,
                [b"pome: ", &long[..]].concat(),
                "custodial: {custodial}"
            );
            let (key, hash) = echo.seen().await;
            assert_eq!(key, client.key_pair().public);
            assert_eq!(out.handshake_hash(), Some(hash));
            // What npm's relay wants signed is not what hyperdht 6.34 asks for: with the secret key it need not ask.
            if !custodial {
                continue;
            }
            let key = KeyPair::random();
            let mut listener = client.listen(&key, None).await.unwrap();
            let calling = ours.connect(&key.public, Default::default());
            let (called, came) = tokio::join!(calling, listener.accept());
            tokio::spawn(hear(came.unwrap()));
            let called = called.unwrap();
            let answer = say_by(&called.messages(), b"in".to_vec(), 6).await;
            assert_eq!(answer, b"pome: in");
            let topic = [6; 32];
            client.announce(topic, &key).await.unwrap();
            let found = ours.lookup(topic).peers().await.unwrap();
            assert_eq!(found[0].public_key, key.public);
            let found = client.lookup(topic).await.unwrap().peers().await;
            assert_eq!(found[0].public_key, key.public);
            client.unannounce(topic, &key).await.unwrap();
            let unknown = KeyPair::random().public;
            let nobody = client.connect_to(&unknown, Default::default());
            assert!(
                nobody
                    .await
                    .unwrap_err()
                    .to_string()
                    .contains("Peer not found")
            );
        }
    });
}
