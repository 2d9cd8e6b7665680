//! Nodes on loopback, and servers that send back what comes.
#![allow(dead_code, reason = "each test uses a part of it")]

use super::npm::{MODULES, Npm};
use bytes::Bytes;
use pome_encoding::{Codec, OptionalBuffer, Reader, put_buffer};
use pome_net::{
    driver::{Channel, Connection},
    hyperdht::{ConnectOptions, HyperDht, HyperDhtOptions, Server},
    protomux::{ChannelOptions, Topic},
};
use pome_test_support::{namespace, npm_works};
use serde_json::json;
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

/// Runs the test in a namespace, where that can be.
pub(crate) fn run<F: Future<Output = ()>>(test: &str, npm: bool, body: impl FnOnce() -> F) {
    if npm && !npm_works(test, MODULES) || !namespace::inside(test) {
        return;
    }
    pome_test_support::block_on(Duration::from_secs(120), body());
}

/// What is in front of a node, as far as it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Open,
    Firewall,
}

pub(crate) const FRONTS: [Front; 2] = [Front::Open, Front::Firewall];

pub(crate) async fn hyper(bootstrap: &[SocketAddrV4], front: Front, lasting: bool) -> HyperDht {
    let mut options = HyperDhtOptions::default();
    options.dht.host = Ipv4Addr::LOCALHOST;
    options.dht.node.bootstrap = bootstrap.to_vec();
    options.dht.node.ephemeral = Some(!lasting);
    options.dht.node.firewalled = front == Front::Firewall;
    options.dht.node.quick_firewall = false;
    let dht = HyperDht::bind(options).unwrap();
    dht.ready().await.unwrap();
    assert_eq!(dht.dht().remote_addr().is_some(), front == Front::Open);
    dht
}

pub(crate) async fn npm_node(npm: &mut Npm, bootstrap: &[SocketAddrV4], front: Front) -> u64 {
    let firewalled = front == Front::Firewall;
    let options = json!({"ephemeral": true, "firewalled": firewalled, "quickFirewall": false});
    npm.node_with(bootstrap, options).await.0
}

/// Lasting nodes of pome.
pub(crate) async fn network(count: usize) -> (Vec<HyperDht>, SocketAddrV4) {
    let mut options = HyperDhtOptions::bootstrapper(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    options.dht.host = Ipv4Addr::LOCALHOST;
    let mut nodes = vec![HyperDht::bind(options).unwrap()];
    let start = nodes[0].dht().local_addr();
    while nodes.len() < count {
        nodes.push(hyper(&[start], Front::Open, true).await);
    }
    (nodes, start)
}

pub(crate) fn open(connection: &Connection) -> Channel {
    let topic = Topic::new("pome/echo", b"");
    let options = ChannelOptions::default();
    connection.open(&topic, options).unwrap().unwrap()
}

/// Sends back what comes, on every connection, as long as that lives.
pub(crate) fn echo(mut server: Server) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(connection) = server.accept().await {
            tokio::spawn(serve(connection));
        }
    })
}

/// One channel after the other.
async fn serve(connection: Connection) {
    let mut listener = connection.pair(Topic::new("pome/echo", b""));
    while let Some(incoming) = listener.next().await {
        let Ok(channel) = incoming.accept(ChannelOptions::default()) else {
            return;
        };
        while let Ok(Some((kind, message))) = channel.recv().await {
            if channel.send(kind, message).await.is_err() {
                return;
            }
        }
    }
}

pub(crate) async fn assert_echoes(connection: &Connection) {
    let channel = open(connection);
    let data = Bytes::from(vec![7; 300_000]);
    let mut message = Vec::new();
    put_buffer(&mut message, &data);
    channel.send(0, message.into()).await.unwrap();
    let (_, back) = channel.recv().await.unwrap().unwrap();
    let back = OptionalBuffer.decode(&mut Reader::new(&back)).unwrap();
    assert!(back.unwrap() == data);
}

pub(crate) fn connecting(local: bool) -> ConnectOptions {
    let mut options = ConnectOptions::default();
    options.local_connection = local;
    options
}
