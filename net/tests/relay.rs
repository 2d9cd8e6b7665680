//! A node of the DHT that is lent over one stream: pome's relay and pome's clients, and clients that behave badly. With npm's: `interop_relay.rs`.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/relay.rs"]
mod relay;

use bytes::Bytes;
use pome_cores::KeyPair;
use pome_net::{
    Error,
    dht_relay::{
        DhtRelay, DhtRelayOptions, Keys, Message, RelayConnectOptions, RelayServer, STREAMS_MAX,
    },
    driver::{Connection, ConnectionOptions, tcp},
    protomux::Topic,
};
use pome_test_support::namespace;
use relay::{Echo, hear, network, node, say};
use std::{future::Future, time::Duration};

fn run<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if namespace::inside(test) {
        relay::block_on(body());
    }
}

async fn client(relay: &RelayServer) -> DhtRelay {
    let options = DhtRelayOptions::default();
    DhtRelay::connect(relay.address(), options).await.unwrap()
}

#[test]
fn a_client_connects_listens_announces_and_looks_up() {
    run(
        "a_client_connects_listens_announces_and_looks_up",
        || async {
            let (_nodes, start) = network(4).await;
            let server = node(start).await;
            let relay = RelayServer::bind("127.0.0.1:0", node(start).await, Default::default());
            let relay = relay.await.unwrap();
            let client = client(&relay).await;
            assert_eq!(client.relay_key(), Some(relay.public_key()));
            // Out.
            let echo = Echo::listen(&server, &KeyPair::random()).await;
            let own = KeyPair::random();
            let options = RelayConnectOptions {
                key_pair: Some(own.clone()),
            };
            let out = client.connect_to(&echo.public_key, options).await.unwrap();
            assert_eq!(out.remote_public_key(), Some(echo.public_key));
            let long = vec![7; 3 << 20];
            assert_eq!(
                say(&out, long.clone()).await,
                [b"pome: ", &long[..]].concat()
            );
            let (peer, hash) = echo.seen().await;
            assert_eq!((peer, Some(hash)), (own.public, out.handshake_hash()));
            // In.
            let key = KeyPair::random();
            let mut listener = client.listen(&key, None).await.unwrap();
            let caller = node(start).await;
            let calling = caller.connect(&key.public, Default::default());
            let (called, came) = tokio::join!(calling, listener.accept());
            let (called, came) = (called.unwrap(), came.unwrap());
            assert_eq!(came.remote_public_key(), Some(caller.key_pair().public));
            tokio::spawn(hear(came));
            assert_eq!(say(&called, vec![1; 100_000]).await.len(), 100_006);
            // Topics.
            let topic = [9; 32];
            client.announce(topic, &key).await.unwrap();
            let found = caller.lookup(topic).peers().await.unwrap();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].public_key, key.public);
            let found = client.lookup(topic).await.unwrap().peers().await;
            assert_eq!(found[0].public_key, key.public);
            client.unannounce(topic, &key).await.unwrap();
            assert!(caller.lookup(topic).peers().await.unwrap().is_empty());
            // A server that is closed is not found any more, and what it took lives on.
            drop(listener);
            let gone = async {
                while !caller
                    .find_peer(&key.public)
                    .peers()
                    .await
                    .unwrap()
                    .is_empty()
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(pome_test_support::PATIENCE, gone)
                .await
                .unwrap();
            assert_eq!(say(&called, b"still".to_vec()).await, b"pome: still");
            // Nobody there: the relay says so.
            let unknown = KeyPair::random().public;
            let nobody = client.connect_to(&unknown, Default::default());
            let error = nobody.await.unwrap_err();
            assert_eq!(error.code(), "RELAY_REFUSED");
            assert!(error.to_string().contains("PEER_NOT_FOUND"), "{error}");
            // The relay goes: all hear of it.
            drop(relay);
            tokio::time::timeout(pome_test_support::PATIENCE, client.closed())
                .await
                .unwrap();
            assert!(client.lookup(topic).await.is_err() || client.is_closed());
        },
    );
}

#[test]
fn a_server_behind_a_relay_refuses_whom_it_wants() {
    run("a_server_behind_a_relay_refuses_whom_it_wants", || async {
        let (_nodes, start) = network(3).await;
        let relay = RelayServer::bind("127.0.0.1:0", node(start).await, Default::default());
        let relay = relay.await.unwrap();
        let client = client(&relay).await;
        let (good, bad) = (node(start).await, node(start).await);
        let unwanted = bad.key_pair().public;
        let key = KeyPair::random();
        let firewall = std::sync::Arc::new(move |peer: &[u8; 32], _: &_, _| *peer == unwanted);
        let mut listener = client.listen(&key, Some(firewall)).await.unwrap();
        if let Ok(connection) = bad.connect(&key.public, Default::default()).await {
            // The relay had shaken hands before it asked: it is over at once.
            let over = connection.closed();
            let _ = tokio::time::timeout(pome_test_support::PATIENCE, over)
                .await
                .unwrap();
        }
        let calling = good.connect(&key.public, Default::default());
        let (called, came) = tokio::join!(calling, listener.accept());
        assert_eq!(
            came.unwrap().remote_public_key(),
            Some(good.key_pair().public)
        );
        drop(called);
    });
}

/// A client that says what it likes.
async fn raw(relay: &RelayServer) -> (Connection, pome_net::driver::Channel) {
    let options = ConnectionOptions::default();
    let own = KeyPair::random();
    let connection = tcp::connect(relay.address(), &own, &options).await.unwrap();
    let topic = Topic::new(pome_net::dht_relay::PROTOCOL, b"");
    let channel = connection
        .open(&topic, Default::default())
        .unwrap()
        .unwrap();
    channel.opened().await.unwrap();
    (connection, channel)
}

#[test]
fn clients_that_behave_badly_harm_nobody() {
    run("clients_that_behave_badly_harm_nobody", || async {
        let (_nodes, start) = network(3).await;
        let relay = RelayServer::bind("127.0.0.1:0", node(start).await, Default::default());
        let relay = relay.await.unwrap();
        // What nobody can read ends the connection.
        let (connection, channel) = raw(&relay).await;
        channel.send(3, Bytes::from_static(&[1, 2])).await.unwrap();
        let over = tokio::time::timeout(pome_test_support::PATIENCE, connection.closed());
        assert!(!matches!(over.await.unwrap(), Err(Error::TimedOut)));
        // Numbers that stand for nothing, things only a relay says, and messages of a later version do nothing.
        let (_connection, channel) = raw(&relay).await;
        let send = async |message: Message| {
            let (kind, body) = message.encode();
            channel.send(kind, body).await.unwrap();
        };
        for number in [0, 1, u32::MAX] {
            send(Message::End(number)).await;
            send(Message::Accept(number)).await;
            send(Message::Deny(number)).await;
            send(Message::Close(number)).await;
            send(Message::Closed(number)).await;
            send(Message::Finished(number)).await;
            let chunks = vec![Bytes::from(vec![1; 1_000])];
            send(Message::Data {
                alias: number,
                chunks,
            })
            .await;
            send(Message::Connected {
                alias: number,
                remote_alias: number,
            })
            .await;
        }
        channel
            .send(99, Bytes::from_static(b"later"))
            .await
            .unwrap();
        // A secret key that is not that of the public one, or none: refused by name.
        let other = KeyPair::random();
        for secret in [None, Some(*other.secret_key())] {
            let keys = Keys {
                public: [1; 32],
                secret,
            };
            let remote_public_key = other.public;
            send(Message::Connect {
                alias: 7,
                keys,
                remote_public_key,
            })
            .await;
            let (kind, body) = channel.recv().await.unwrap().unwrap();
            let said = Message::decode(kind, &body).unwrap().unwrap();
            assert!(matches!(
                said,
                Message::Destroy {
                    paired: false,
                    alias: 7,
                    error: Some(_)
                }
            ));
        }
        // More streams than a client may have: with so many open, the others are refused.
        let server = node(start).await;
        let echo = Echo::listen(&server, &KeyPair::random()).await;
        let keys = Keys {
            public: other.public,
            secret: Some(*other.secret_key()),
        };
        let mut aliases = 100..;
        let mut connect = async |count: usize| {
            for alias in aliases.by_ref().take(count) {
                send(Message::Connect {
                    alias,
                    keys: keys.clone(),
                    remote_public_key: echo.public_key,
                })
                .await;
            }
            let mut answers = Vec::new();
            for _ in 0..count {
                let (kind, body) = channel.recv().await.unwrap().unwrap();
                answers.push(match Message::decode(kind, &body).unwrap().unwrap() {
                    Message::Open { .. } => None,
                    Message::Destroy { error, .. } => error,
                    other => panic!("{other:?}"),
                });
            }
            answers
        };
        let mut open = 0;
        while open < STREAMS_MAX {
            // On a busy machine one may fail: another one is opened in its place.
            let answers = connect((STREAMS_MAX - open).min(32)).await;
            open += answers.iter().filter(|error| error.is_none()).count();
        }
        for refused in connect(50).await {
            assert_eq!(refused.as_deref(), Some("too many streams"));
        }
        // Another client is served all the same.
        let client = client(&relay).await;
        client.announce([3; 32], &KeyPair::random()).await.unwrap();
    });
}
