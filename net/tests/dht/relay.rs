//! A small network, and peers that give back what they hear.
#![allow(dead_code, reason = "each test uses a part of it")]

use bytes::Bytes;
use pome_cores::KeyPair;
use pome_net::{
    driver::{Connection, Messages},
    hyperdht::{HyperDht, HyperDhtOptions},
};
use std::{
    future::Future,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};
use tokio::sync::{Mutex, mpsc};

pub(crate) fn block_on(body: impl Future<Output = ()>) {
    pome_test_support::block_on(Duration::from_secs(120), body);
}

/// Lasting nodes, and where others begin.
pub(crate) async fn network(count: usize) -> (Vec<HyperDht>, SocketAddrV4) {
    let mut options = HyperDhtOptions::bootstrapper(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    options.dht.host = Ipv4Addr::LOCALHOST;
    let mut nodes = vec![HyperDht::bind(options).unwrap()];
    let start = nodes[0].dht().local_addr();
    while nodes.len() < count {
        nodes.push(of(start, false).await);
    }
    (nodes, start)
}

async fn of(start: SocketAddrV4, ephemeral: bool) -> HyperDht {
    let mut options = HyperDhtOptions::default();
    options.dht.host = Ipv4Addr::LOCALHOST;
    options.dht.node.bootstrap = vec![start];
    options.dht.node.ephemeral = Some(ephemeral);
    options.dht.node.firewalled = false;
    let dht = HyperDht::bind(options).unwrap();
    dht.ready().await.unwrap();
    dht
}

/// A node that only asks.
pub(crate) async fn node(start: SocketAddrV4) -> HyperDht {
    of(start, true).await
}

/// Gives back each message that comes, with its name in front, until the other side has ended.
pub(crate) async fn hear(connection: Connection) {
    let messages = connection.messages();
    while let Ok(Some(message)) = messages.recv().await {
        let answer = [b"pome: ", &message[..]].concat();
        if messages.send(answer.into()).await.is_err() {
            return;
        }
    }
    messages.end();
    let _ = messages.connection().closed().await;
}

/// What comes back for it.
pub(crate) async fn say(connection: &Connection, text: Vec<u8>) -> Vec<u8> {
    say_by(&connection.messages(), text, 6).await
}

pub(crate) async fn say_by(messages: &Messages, text: Vec<u8>, more: usize) -> Vec<u8> {
    let wanted = text.len() + more;
    messages.send(Bytes::from(text)).await.unwrap();
    let mut all = Vec::new();
    while all.len() < wanted {
        let part = messages.recv().await.unwrap().expect("not the end");
        all.extend_from_slice(&part);
    }
    all
}

/// A server that gives back what it hears.
pub(crate) struct Echo {
    pub(crate) public_key: [u8; 32],
    seen: Mutex<mpsc::UnboundedReceiver<([u8; 32], [u8; 64])>>,
}

impl Echo {
    pub(crate) async fn listen(dht: &HyperDht, key_pair: &KeyPair) -> Self {
        let mut server = dht.listen(key_pair, Default::default()).await.unwrap();
        let (tell, seen) = mpsc::unbounded_channel();
        let public_key = server.public_key();
        tokio::spawn(async move {
            while let Some(connection) = server.accept().await {
                connection.opened().await.unwrap();
                let key = connection.remote_public_key().unwrap();
                let _ = tell.send((key, connection.handshake_hash().unwrap()));
                tokio::spawn(hear(connection));
            }
        });
        Self {
            public_key,
            seen: Mutex::new(seen),
        }
    }

    /// Who came next: the key, and the hash of the connection.
    pub(crate) async fn seen(&self) -> ([u8; 32], [u8; 64]) {
        self.seen.lock().await.recv().await.unwrap()
    }
}
