//! What a store that has lost something gets back from its peers, and what it remembers for good.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::{fs, path::Path, process::Command, time::Duration};

use net::{Clock, Place, Wire, quiet, reader, settle};
use pome_cores::{
    CoreOptions, Corestore, Error, Hypercore, Store,
    replication::{Connection, ConnectionOptions, CoreEvent, Output},
};

fn open(dir: &Path) -> Corestore {
    Corestore::open(Store::open(dir, quiet()).unwrap()).unwrap()
}

async fn writer(cores: &Corestore) -> Hypercore {
    cores.get(CoreOptions::name("log")).await.unwrap()
}

fn block(n: u64) -> bytes::Bytes {
    [&n.to_be_bytes()[..], &vec![n as u8; 3000]].concat().into()
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

/// Flips a bit in the payload that holds these bytes.
fn spoil(dir: &Path, bytes: &[u8]) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_str().unwrap().contains("payload-") {
            continue;
        }
        let mut content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|w| w == bytes) {
            content[at + bytes.len() - 1] ^= 1;
            fs::write(&path, content).unwrap();
            return;
        }
    }
    panic!("no payload has these bytes");
}

/// One wire between a store in a folder and a place, until nothing moves.
fn meet(cores: &Corestore, place: &Place, clock: &Clock) -> Wire {
    // Each place has a static key of its own.
    let mut wire = Wire::keyed(cores, &place.cores, *place.cores.primary_key(), clock.0);
    let mut moved = true;
    while std::mem::take(&mut moved) {
        moved |= wire.pump(clock.0);
        cores.store().sync().unwrap();
        place.sync();
        moved |= wire.pump(clock.0);
    }
    wire
}

/// A store that was copied when its log had five blocks, and went on to eight; a peer that has the eight.
async fn copied(dir: &Path, clock: &Clock) -> (Corestore, Place) {
    let home = dir.join("home");
    let cores = open(&home);
    let log = writer(&cores).await;
    log.append_batch((0..5).map(block).collect()).await.unwrap();
    cores.close().await.unwrap();
    drop((cores, log));
    copy(&home, &dir.join("copy"));
    let cores = open(&home);
    let log = writer(&cores).await;
    log.append_batch((5..8).map(block).collect()).await.unwrap();
    let peer = Place::new();
    let follower = reader(&peer, &log).await;
    let _all = follower.download(..).unwrap();
    meet(&cores, &peer, clock);
    assert_eq!(follower.contiguous_length(), 8);
    cores.close().await.unwrap();
    (open(&dir.join("copy")), peer)
}

#[tokio::test]
async fn a_copied_store_asks_a_peer_that_knows_more_and_signs_again() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let (cores, peer) = copied(dir.path(), &clock).await;
    let log = writer(&cores).await;
    let mut events = log.events();
    let refused = log.append("a second history").await.unwrap_err();
    assert_eq!(refused.code(), "STORE_RECOVERING");
    let wire = meet(&cores, &peer, &clock);
    assert_eq!(log.length(), 8, "what was signed elsewhere came first");
    log.append("goes on").await.unwrap();
    let mut recovered = false;
    while let Ok(event) = events.try_recv() {
        recovered |= event == CoreEvent::Recovered { length: 8 };
    }
    assert!(recovered);
    // Other cores were not asked about.
    let other = cores.get(CoreOptions::name("other")).await.unwrap();
    let refused = other.append("x").await.unwrap_err();
    assert_eq!(refused.code(), "STORE_RECOVERING");
    assert!(cores.store().is_recovering());
    drop(wire);
    // It is remembered.
    cores.close().await.unwrap();
    drop((cores, log, other));
    let cores = open(&dir.path().join("copy"));
    writer(&cores).await.append("and on").await.unwrap();
}

#[tokio::test]
async fn a_peer_that_knew_of_less_proves_nothing() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let (cores, peer) = copied(dir.path(), &clock).await;
    let log = writer(&cores).await;
    // Somebody new has what we gave it, and comes again with that.
    let fresh = Place::new();
    let follower = reader(&fresh, &log).await;
    for _ in 0..2 {
        let wire = meet(&cores, &fresh, &clock);
        assert_eq!((log.length(), follower.length()), (5, 5));
        let refused = log.append("a second history").await.unwrap_err();
        assert_eq!(refused.code(), "STORE_RECOVERING");
        drop(wire);
    }
    // Nor does it with one beside that knows of more and cannot prove it yet.
    let _wire = meet(&cores, &peer, &clock);
    assert_eq!(log.length(), 8);
    log.append("goes on").await.unwrap();
}

#[tokio::test]
async fn lost_blocks_come_back_by_themselves() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let home = dir.path().join("home");
    let (peer, first) = (Place::new(), open(&home));
    let log = writer(&first).await;
    let all = (0..40).map(block).collect();
    log.append_batch(all).await.unwrap();
    let follower = reader(&peer, &log).await;
    let _all = follower.download(..).unwrap();
    let wire = meet(&first, &peer, &clock);
    drop(wire);
    first.store().checkpoint().unwrap();
    first.close().await.unwrap();
    drop((first, log));
    for n in [7, 8, 30] {
        spoil(&home, &block(n));
    }
    let cores = open(&home);
    let log = writer(&cores).await;
    cores.repair(&mut |_, _| {}).await.unwrap();
    assert_eq!(log.lost().unwrap(), [7..9, 30..31]);
    // What was cleared on purpose stays away.
    log.clear(20..22).await.unwrap();
    let mut wire = meet(&cores, &peer, &clock);
    assert!(log.lost().unwrap().is_empty());
    for n in [7, 8, 30] {
        assert_eq!(log.get(n).await.unwrap(), block(n));
    }
    assert!(!log.has(20..21).await.unwrap());
    // Also what is found lost while a peer is there.
    cores.store().checkpoint().unwrap();
    spoil(&home, &block(11));
    let repaired = cores.repair(&mut |_, _| {}).await.unwrap();
    assert!(repaired.left.is_empty(), "{:?}", repaired.left);
    assert!(!log.has(11..12).await.unwrap());
    wire.pump(clock.0);
    assert_eq!(log.get(11).await.unwrap(), block(11));
}

/// Nobody has the core open, on neither side.
#[tokio::test]
async fn lost_blocks_of_closed_cores_come_back_too() {
    let (dir, mut clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let home = dir.path().join("home");
    let (peer, first) = (Place::new(), open(&home));
    let content = |core: u64, n: u64| block(100 * core + n);
    let mut keys = Vec::new();
    {
        let mut kept = Vec::new();
        for at in 0..4 {
            let log = first.get(CoreOptions::name(format!("core {at}"))).await;
            let log = log.unwrap();
            log.append_batch((0..10).map(|n| content(at, n)).collect())
                .await
                .unwrap();
            // The last one is in no other store.
            if at < 3 {
                let follower = reader(&peer, &log).await;
                let all = follower.download(..).unwrap();
                kept.push((follower, all));
            }
            keys.push(log.key());
        }
        let _wire = meet(&first, &peer, &clock);
    }
    first.store().checkpoint().unwrap();
    first.close().await.unwrap();
    drop(first);
    for (core, n) in [(1, 4), (2, 0), (2, 9), (3, 5)] {
        spoil(&home, &content(core, n));
    }
    let cores = open(&home);
    cores.repair(&mut |_, _| {}).await.unwrap();
    let lost = async |at: usize| {
        let core = cores.get(CoreOptions::key(keys[at])).await.unwrap();
        core.lost().unwrap()
    };
    assert_eq!(lost(2).await, [0..1, 9..10]);
    // One that may not go to this peer does not.
    let mut only = ConnectionOptions::new(true, [7; 64], [9; 32]);
    only.only = Some(vec![]);
    let none = Connection::open(&cores, only, clock.0).unwrap();
    assert!(none.poll(clock.0).is_none());
    drop(none);

    let mut wire = meet(&cores, &peer, &clock);
    assert_eq!(wire.open_channels(), [2, 2], "only what has lost something");
    for (at, key) in keys.iter().enumerate().take(3) {
        let core = cores.get(CoreOptions::key(*key)).await.unwrap();
        assert!(core.lost().unwrap().is_empty());
        for n in 0..10 {
            assert_eq!(core.get(n).await.unwrap(), content(at as u64, n));
        }
    }
    let left: Vec<u64> = lost(3).await.into_iter().flatten().collect();
    assert_eq!(left, [5], "nobody has it");
    // A while after that the channels go, and the next connection opens only what is lost still.
    for _ in 0..3 {
        let now = clock.pass(Duration::from_secs(21));
        for end in &wire.ends {
            end.connection.handle_timeout(now);
        }
        wire.pump(now);
    }
    assert_eq!(wire.open_channels(), [0, 0]);
    drop(wire);
    let connection = ConnectionOptions::new(true, [0xff; 64], [9; 32]);
    let connection = Connection::open(&cores, connection, clock.0).unwrap();
    let offered: Vec<_> = std::iter::from_fn(|| connection.poll(clock.0)).collect();
    let left = cores.get(CoreOptions::key(keys[3])).await.unwrap();
    assert!(
        matches!(&offered[..], [Output::Open { discovery_key, .. }] if *discovery_key == left.discovery_key()),
        "{offered:?}"
    );
}

#[tokio::test]
async fn a_core_that_was_signed_twice_stays_frozen() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Clock::new());
    let (a, peer) = (Place::new(), Place::new());
    let twin = Place::twin(&a);
    let other = writer(&twin.cores).await;
    other
        .append_batch((50..62).map(block).collect())
        .await
        .unwrap();
    let log = writer(&a.cores).await;
    log.append_batch((0..10).map(block).collect())
        .await
        .unwrap();
    let home = dir.path().join("reader");
    let cores = open(&home);
    let copy = cores.get(CoreOptions::key(log.key())).await.unwrap();
    let _all = copy.download(..).unwrap();
    let wire = meet(&cores, &a, &clock);
    drop(wire);
    let mut events = copy.events();
    let wire = meet(&cores, &twin, &clock);
    drop(wire);
    let mut conflict = false;
    while let Ok(event) = events.try_recv() {
        conflict |= matches!(event, CoreEvent::Conflict { .. });
    }
    assert!(conflict);
    drop((_all, events, copy));
    cores.close().await.unwrap();
    drop(cores);
    // After a restart it is shown to nobody, and follows nobody.
    let cores = open(&home);
    let copy = cores.get(CoreOptions::key(log.key())).await.unwrap();
    log.append(block(10)).await.unwrap();
    let new = reader(&peer, &log).await;
    let (_x, _y) = (meet(&cores, &a, &clock), meet(&cores, &peer, &clock));
    assert_eq!((copy.length(), new.length()), (10, 0));
    assert!(copy.peers().is_empty());
    // Who signed the second history knows it, too.
    assert!(matches!(other.append("x").await, Err(Error::Forked { .. })));
}

/// A connection with many cores wants to be woken for those that wait, and not for the others.
#[tokio::test]
async fn a_thousand_idle_cores_set_one_timer_each_and_only_once() {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let mut kept = Vec::new();
    for at in 0..1000 {
        let log = a.cores.get(CoreOptions::name(format!("core {at}")));
        let log = log.await.unwrap();
        log.append("x").await.unwrap();
        kept.push(reader(&b, &log).await);
        kept.push(log);
    }
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(wire.open_channels(), [1000, 1000]);
    for end in &wire.ends {
        // What was asked for and answered may still have a timer, which goes when it has come.
        let mut wakes = 0;
        while let Some(at) = end.connection.poll_timeout() {
            end.connection.handle_timeout(at);
            wakes += 1;
            assert!(wakes <= 1000, "it wants to be woken again and again");
        }
    }
    // The sessions are closed: that is told once, and then there is silence.
    kept.clear();
    for _ in 0..3 {
        let now = clock.pass(Duration::from_secs(21));
        settle(&mut [&mut wire], &[&a, &b], now);
        for end in &wire.ends {
            end.connection.handle_timeout(now);
        }
        settle(&mut [&mut wire], &[&a, &b], now);
    }
    assert_eq!(wire.open_channels(), [0, 0]);
    assert!(
        wire.ends
            .iter()
            .all(|end| end.connection.poll_timeout().is_none())
    );
}
