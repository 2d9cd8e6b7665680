//! Stores replicate over encrypted connections.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod peers;

use peers::{Pome, block, soon};
use pome_cores::{CoreOptions, Durability, KeyPair};
use pome_net::{
    driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp},
    noise::Role,
};
use std::time::Duration;

/// Two connections over a pipe.
fn piped(room: usize) -> (Connection, Connection) {
    let (ours, theirs) = tokio::io::duplex(room);
    let a = Connection::over(
        ours,
        Role::Initiator,
        &KeyPair::random(),
        Default::default(),
    );
    let b = Connection::over(
        theirs,
        Role::Responder,
        &KeyPair::random(),
        Default::default(),
    );
    (a.unwrap(), b.unwrap())
}

fn replicate(room: usize, a: &Pome, b: &Pome) -> (Replication, Replication) {
    let (x, y) = piped(room);
    (
        x.replicate(&a.cores, ReplicateOptions::default()),
        y.replicate(&b.cores, ReplicateOptions::default()),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_follows_a_writer() {
    // The smallest pipe cuts every frame and every length.
    for room in [1, 64, 64 << 10] {
        let (writer, reader) = (Pome::new(), Pome::new());
        let core = writer.core("log").await;
        for n in 0..50 {
            core.append(block(n)).await.unwrap();
        }
        let copy = reader.reader_of(&core).await;
        let _both = replicate(room, &writer, &reader);
        for n in (0..50).rev() {
            assert_eq!(soon(copy.get(n)).await.unwrap(), block(n), "room {room}");
        }
        core.append(block(50)).await.unwrap();
        assert_eq!(soon(copy.get(50)).await.unwrap(), block(50));
    }
}

/// On one thread: what another task has to do is not done before this one waits.
#[tokio::test]
async fn once_it_has_begun_a_core_waits_for_what_the_peer_says() {
    let (writer, reader) = (Pome::new(), Pome::new());
    let core = writer.core("log").await;
    let blocks = (0..5).map(block).collect();
    core.append_with(blocks, Durability::Synced).await.unwrap();
    let copy = reader.reader_of(&core).await;
    let (a, b) = piped(64 << 10);
    soon(a.opened()).await.unwrap();
    soon(b.opened()).await.unwrap();
    let _a = a.replicate(&writer.cores, ReplicateOptions::default());
    let replication = b.replicate(&reader.cores, ReplicateOptions::default());
    // Connected, and nobody was asked.
    assert!(!copy.update().await.unwrap());
    assert_eq!(copy.length(), 0);
    soon(replication.begun()).await;
    // What he said may be here already: then there is nothing to wait for, and no change.
    let here = copy.length();
    assert_eq!(soon(copy.update()).await.unwrap(), here < 5);
    assert_eq!(copy.length(), 5);
    b.abort();
    let late = b.replicate(&reader.cores, ReplicateOptions::default());
    soon(late.begun()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_cores_over_tcp() {
    let (writer, reader) = (Pome::new(), Pome::new());
    let options = ConnectionOptions::default();
    let server = tcp::Server::bind("127.0.0.1:0", KeyPair::random(), options.clone())
        .await
        .unwrap();
    let mut keys = Vec::new();
    for n in 0..300 {
        let core = writer.core(&format!("core {n}")).await;
        core.append(block(n)).await.unwrap();
        keys.push((core.key(), n));
        // The handle goes: the peer's open brings the core back.
    }
    // One that the reader has open before there is a connection.
    let _first = reader.cores.get(CoreOptions::key(keys[0].0)).await.unwrap();
    let dialled = tcp::connect(server.address(), &KeyPair::random(), &options)
        .await
        .unwrap();
    let taken = soon(server.accept()).await.unwrap();
    let _a = dialled.replicate(&reader.cores, ReplicateOptions::default());
    // The dialler's opens come long before this side has looked at its peer: they wait for it.
    soon(taken.opened()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _b = taken.replicate(&writer.cores, ReplicateOptions::default());
    for (key, n) in keys {
        let copy = reader.cores.get(CoreOptions::key(key)).await.unwrap();
        assert_eq!(soon(copy.get(0)).await.unwrap(), block(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_named() {
    let (writer, reader) = (Pome::new(), Pome::new());
    let (shown, hidden) = (writer.core("shown").await, writer.core("hidden").await);
    shown.append(block(1)).await.unwrap();
    hidden.append(block(2)).await.unwrap();
    let (a, b) = piped(4096);
    let only = ReplicateOptions {
        only: Some(vec![shown.discovery_key()]),
    };
    let _a = a.replicate(&writer.cores, only);
    let _b = b.replicate(&reader.cores, ReplicateOptions::default());
    let copy = reader.reader_of(&hidden).await;
    let wait = tokio::spawn(async move { copy.get(0).await });
    let copy = reader.reader_of(&shown).await;
    assert_eq!(soon(copy.get(0)).await.unwrap(), block(1));
    // The other one was refused in the same breath.
    assert!(!wait.is_finished());
    wait.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_connection_and_with_its_store() {
    let (writer, reader) = (Pome::new(), Pome::new());
    let core = writer.core("log").await;
    core.append(block(0)).await.unwrap();
    let copy = reader.reader_of(&core).await;
    let (x, y) = piped(4096);
    let a = x.replicate(&writer.cores, ReplicateOptions::default());
    let b = y.replicate(&reader.cores, ReplicateOptions::default());
    soon(copy.get(0)).await.unwrap();
    // Stopped on one side: no new block comes, the connection stays.
    drop(a);
    core.append(block(1)).await.unwrap();
    let waits = tokio::time::timeout(Duration::from_millis(200), copy.get(1)).await;
    assert!(waits.is_err());
    assert!(!x.is_closed() && !y.is_closed());
    // Begun again on the same connection.
    let a = x.replicate(&writer.cores, ReplicateOptions::default());
    assert_eq!(soon(copy.get(1)).await.unwrap(), block(1));
    x.abort();
    soon(a.ended()).await.unwrap();
    soon(b.ended()).await.unwrap();
    assert!(soon(x.closed()).await.is_ok());
    // And over another one.
    let _both = replicate(4096, &writer, &reader);
    core.append(block(2)).await.unwrap();
    assert_eq!(soon(copy.get(2)).await.unwrap(), block(2));
}

/// A chain: each holds only what the one before gave it.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain() {
    let peers = [Pome::new(), Pome::new(), Pome::new()];
    let core = peers[0].core("log").await;
    for n in 0..20 {
        core.append(block(n)).await.unwrap();
    }
    let middle = peers[1].reader_of(&core).await;
    let last = peers[2].reader_of(&core).await;
    let first_two = replicate(4096, &peers[0], &peers[1]);
    let _last_two = replicate(4096, &peers[1], &peers[2]);
    for n in 0..20 {
        assert_eq!(soon(middle.get(n)).await.unwrap(), block(n));
    }
    drop(first_two);
    for n in 0..20 {
        assert_eq!(soon(last.get(n)).await.unwrap(), block(n));
    }
}
