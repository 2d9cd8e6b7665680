//! Live against npm's protomux and secret-stream over loopback TCP, from both ends.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use data_encoding::HEXLOWER;
use pome_cores::KeyPair;
use pome_encoding::{Codec, OptionalBuffer, Reader, STRING, put_buffer};
use pome_net::{
    driver::{Channel, Connection, ConnectionOptions, tcp},
    protomux::{ChannelOptions, Topic},
    secret_stream::StreamOptions,
};
use pome_test_support::{JsonProcess, npm_works};
use serde_json::Value;
use std::{future::Future, time::Duration};

/// The npm modules that the other side is made of.
const NPM: &[&str] = &["protomux", "@hyperswarm/secret-stream"];

/// The peer, and what it says.
struct Npm(JsonProcess);

impl Npm {
    fn start(args: &[&str]) -> Self {
        Self(JsonProcess::npm("stream.js", args))
    }

    /// What it says next.
    fn line(&mut self) -> Value {
        self.0.line()
    }

    /// What it says next of one event; what it says of others before is passed over.
    fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.line();
            if line["event"] == name {
                return line;
            }
        }
    }
}

fn text(text: &str) -> Bytes {
    STRING.to_vec(&text.to_owned()).unwrap().into()
}

fn buffer(bytes: &[u8]) -> Bytes {
    let mut out = Vec::new();
    put_buffer(&mut out, bytes);
    out.into()
}

/// No test waits for ever.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(pome_test_support::PATIENCE, future)
        .await
        .expect("an answer")
}

async fn dialled(options: &ConnectionOptions) -> (Npm, Connection) {
    let mut npm = Npm::start(&["listen"]);
    let port = npm.line()["port"].as_u64().unwrap();
    let address = format!("127.0.0.1:{port}");
    let connection = tcp::connect(address, &KeyPair::random(), options)
        .await
        .unwrap();
    (npm, connection)
}

fn open(connection: &Connection, id: &[u8]) -> Channel {
    let options = ChannelOptions {
        handshake: &text("from pome"),
        ..ChannelOptions::default()
    };
    let topic = Topic::new("pome/echo", id);
    connection.open(&topic, options).unwrap().unwrap()
}

async fn assert_echo(channel: &Channel, bytes: &[u8]) {
    channel.send(1, buffer(bytes)).await.unwrap();
    let Some((kind, body)) = soon(channel.recv()).await.unwrap() else {
        panic!("closed by the peer");
    };
    assert_eq!(kind, 1);
    let echoed = OptionalBuffer.decode(&mut Reader::new(&body)).unwrap();
    assert!(echoed.unwrap_or_default() == bytes, "{} bytes", bytes.len());
}

/// What both ends must do, whoever dialled.
async fn converse(npm: &mut Npm, connection: &Connection, channel: Channel) {
    soon(connection.opened()).await.unwrap();
    let connect = npm.event("connect");
    let hash = connection.handshake_hash().unwrap();
    assert_eq!(connect["hash"], HEXLOWER.encode(&hash));
    let ours = HEXLOWER.encode(&connection.public_key());
    assert_eq!(connect["remotePublicKey"], ours);
    let theirs = HEXLOWER.encode(&connection.remote_public_key().unwrap());
    assert_eq!(connect["publicKey"], theirs);

    let handshake = soon(channel.opened()).await.unwrap();
    assert_eq!(handshake, text("from npm"));
    assert_eq!(npm.event("open")["handshake"], "from pome");

    for size in [0, 1, 252, 253, 65_535, 65_536, 5_000_000] {
        let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        assert_echo(&channel, &bytes).await;
    }

    // Many at once, ours in one batch; the answers come in order.
    let corked = connection.cork();
    for n in 0..1000u32 {
        channel.send_now(1, buffer(&n.to_le_bytes())).unwrap();
    }
    drop(corked);
    for n in 0..1000u32 {
        let (kind, body) = soon(channel.recv()).await.unwrap().unwrap();
        assert_eq!((kind, body), (1, buffer(&n.to_le_bytes())));
    }

    // Theirs in one batch.
    channel.send(0, text("count 1000")).await.unwrap();
    for n in 0..1000u64 {
        let (kind, body) = soon(channel.recv()).await.unwrap().unwrap();
        assert_eq!(kind, 2);
        assert_eq!(Reader::new(&body).uint().unwrap(), n);
    }

    // More than may wait here unread: the peer is held up, and nothing is lost.
    channel.send(0, text("flood 5000")).await.unwrap();
    for n in 0..5000u64 {
        let (kind, body) = soon(channel.recv()).await.unwrap().unwrap();
        assert_eq!((kind, body.len()), (1, 1003));
        assert_eq!(body[1002], (n & 255) as u8);
    }
    assert_eq!(soon(channel.recv()).await.unwrap().unwrap().0, 2);

    // What nobody pairs is rejected, on both sides.
    let unknown = Topic::new("pome/nobody", b"x");
    let unknown = connection
        .open(&unknown, ChannelOptions::default())
        .unwrap()
        .unwrap();
    assert_eq!(soon(unknown.opened()).await, None);
    drop(unknown);
    channel.send(0, text("open 9")).await.unwrap();
    let rejected = npm.event("channel closed");
    assert_eq!(
        (&rejected["id"], &rejected["remote"]),
        (&"09090909".into(), &true.into())
    );

    // Numbers are used again after a close, by either side.
    for round in 100..120u8 {
        let another = open(connection, &[round; 32]);
        assert_eq!(soon(another.opened()).await.unwrap(), text("from npm"));
        assert_echo(&another, &[round]).await;
        if round % 2 == 0 {
            another.send(0, text("close")).await.unwrap();
            assert_eq!(soon(another.recv()).await.unwrap(), None);
        }
        drop(another);
        let closed = npm.event("channel closed");
        assert_eq!(closed["remote"], round % 2 == 1);
    }
    assert_echo(&channel, b"still there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_dial() {
    if !npm_works("we_dial", NPM) {
        return;
    }
    let (mut npm, connection) = dialled(&ConnectionOptions::default()).await;
    let channel = open(&connection, &[7; 32]);
    converse(&mut npm, &connection, channel).await;
    // We end: so does npm, and the connection is over on both sides.
    connection.end();
    soon(connection.closed()).await.unwrap();
    npm.event("end");
    npm.event("close");
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_dials() {
    if !npm_works("npm_dials", NPM) {
        return;
    }
    let server = tcp::Server::bind(
        "127.0.0.1:0",
        KeyPair::random(),
        ConnectionOptions::default(),
    )
    .await
    .unwrap();
    let mut npm = Npm::start(&["dial", &server.address().port().to_string()]);
    let connection = soon(server.accept()).await.unwrap();
    let mut listener = connection.pair_any("pome/echo");
    let incoming = soon(listener.next()).await.unwrap();
    assert_eq!(*incoming.topic(), Topic::new("pome/echo", &[7; 32]));
    let options = ChannelOptions {
        handshake: &text("from pome"),
        ..ChannelOptions::default()
    };
    let channel = incoming.accept(options).unwrap();
    converse(&mut npm, &connection, channel).await;
    // npm ends: so do we.
    let last = open(&connection, b"last");
    last.send(0, text("end")).await.unwrap();
    soon(connection.closed()).await.unwrap();
    npm.event("close");
}

/// Keep-alives of both sides go by unseen, and hold a connection up that would die without them.
#[tokio::test(flavor = "multi_thread")]
async fn keep_alive() {
    if !npm_works("keep_alive", NPM) {
        return;
    }
    let options = ConnectionOptions {
        stream: StreamOptions {
            keep_alive: Some(Duration::from_millis(20)),
            timeout: Some(Duration::from_secs(20)),
            ..StreamOptions::default()
        },
        ..ConnectionOptions::default()
    };
    let server = tcp::Server::bind("127.0.0.1:0", KeyPair::random(), options)
        .await
        .unwrap();
    let port = server.address().port().to_string();
    let mut npm = Npm::start(&["dial", &port, "20"]);
    let connection = soon(server.accept()).await.unwrap();
    let channel = open(&connection, &[7; 32]);
    soon(channel.opened()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_echo(&channel, b"alive").await;
    assert!(!connection.is_closed());
    drop((channel, connection));
    npm.event("close");
}

/// The peer knows the protocol under an older name only.
#[tokio::test(flavor = "multi_thread")]
async fn alias() {
    if !npm_works("alias", NPM) {
        return;
    }
    let (_npm, connection) = dialled(&ConnectionOptions::default()).await;
    let options = ChannelOptions {
        handshake: &text("from pome"),
        ..ChannelOptions::default()
    };
    let old = Topic::new("pome/old", b"1");
    let channel = connection.open(&old, options).unwrap().unwrap();
    assert!(soon(channel.opened()).await.is_some());
}

/// Bytes from in between, and from a peer gone mad.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_after_the_handshake() {
    if !npm_works("garbage_after_the_handshake", NPM) {
        return;
    }
    let (_npm, connection) = dialled(&ConnectionOptions::default()).await;
    let channel = open(&connection, &[7; 32]);
    soon(channel.opened()).await.unwrap();
    channel.send(0, text("garbage")).await.unwrap();
    // A length of 16 MiB, and then the end.
    let error = soon(connection.closed()).await.unwrap_err();
    assert_eq!(error.code(), "ENDED_EARLY");
    assert_eq!(soon(channel.recv()).await.unwrap_err().code(), error.code());
}
