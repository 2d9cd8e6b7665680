//! What a program may set of a core's replication, and what it is told of it.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::time::Duration;

use net::{Clock, Place, Wire, blocks, reader, settle, writer};
use pome_cores::{
    Hypercore,
    merkle::UpgradeRequest,
    replication::{Message, ReplicationStats, Traffic, Transferred, messages::Request},
};
use tokio::task::JoinHandle;

/// A log of ten blocks, a copy that has nothing yet, and the wire between them, over which nothing went.
async fn ten() -> (Place, Place, Hypercore, Hypercore, Wire, Clock) {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 10)).await.unwrap();
    let copy = reader(&b, &log).await;
    let wire = Wire::new(&a.cores, &b.cores, clock.0);
    (a, b, log, copy, wire, clock)
}

async fn here(core: &Hypercore) -> Vec<u64> {
    let mut here = Vec::new();
    for index in 0..core.length() {
        if core.has(index..index + 1).await.unwrap() {
            here.push(index);
        }
    }
    here
}

/// By the number of the message's type.
fn traffic(stats: &ReplicationStats) -> [Traffic; 10] {
    [
        stats.wire_sync,
        stats.wire_request,
        stats.wire_cancel,
        stats.wire_data,
        stats.wire_no_data,
        stats.wire_want,
        stats.wire_unwant,
        stats.wire_bitfield,
        stats.wire_range,
        stats.wire_extension,
    ]
}

#[tokio::test]
async fn what_goes_over_the_wire_is_counted() {
    let (a, b, log, copy, mut wire, clock) = ten().await;
    assert_eq!(copy.replication_stats(), ReplicationStats::default());
    let (_ours, theirs) = (log.extension("chat"), copy.extension("chat"));
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let mut download = copy.download(0..10).unwrap();
    theirs.broadcast("hello");
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    download.done().await.unwrap();
    log.clear(3..4).await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);

    let [here, there] = [&copy, &log].map(|core| core.peers()[0].stats);
    assert_eq!(here, copy.replication_stats());
    for (kind, (ours, theirs)) in traffic(&here).iter().zip(traffic(&there)).enumerate() {
        assert_eq!((ours.tx, ours.rx), (theirs.rx, theirs.tx), "type {kind}");
        let went = wire.counts.get(&(kind as u64)).copied().unwrap_or(0);
        assert_eq!(ours.tx + ours.rx, went, "type {kind}");
    }
    assert!(here.wire_request.tx >= 10 && here.wire_data.rx >= 10);
    assert_eq!((here.wire_request.rx, here.wire_extension.tx), (0, 1));

    let mut nonsense = Request::default();
    nonsense.proof.upgrade = Some(UpgradeRequest {
        start: 10,
        length: 1 << 50,
    });
    wire.forge(0, &log, &Message::Request(nonsense), clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(log.peers()[0].stats.invalid_requests, 1);

    // the peers are gone, what went is not
    let before = copy.replication_stats();
    drop(wire);
    assert!(copy.peers().is_empty());
    assert_eq!(copy.replication_stats(), before);
}

#[tokio::test]
async fn the_newest_block_comes_with_the_length() {
    let (a, b, log, copy, mut wire, clock) = ten().await;
    copy.set_always_latest_block(true);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), here(&copy).await), (10, vec![9]));
    log.append_batch(blocks(10, 5)).await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), here(&copy).await), (15, vec![9, 14]));
    assert_eq!(copy.get(14).await.unwrap(), "block 14");
    let before = copy.replication_stats().wire_request.tx;
    copy.set_always_latest_block(false);
    log.append("more").await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), here(&copy).await), (16, vec![9, 14]));
    assert_eq!(copy.replication_stats().wire_request.tx, before + 1);
}

#[tokio::test]
async fn a_longer_length_may_wait_until_somebody_asks() {
    let (a, b, log, copy, mut wire, clock) = ten().await;
    copy.set_eager_upgrade(false);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), copy.peers()[0].remote_length), (0, 10));
    let core = copy.clone();
    let update: JoinHandle<_> = tokio::spawn(async move { core.update().await });
    tokio::task::yield_now().await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert!(update.await.unwrap().unwrap());
    assert_eq!(copy.length(), 10);

    log.append_batch(blocks(10, 2)).await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 10);
    let core = copy.clone();
    let get: JoinHandle<_> = tokio::spawn(async move { core.get(11).await });
    tokio::task::yield_now().await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "block 11");

    log.append("more").await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 12);
    copy.set_eager_upgrade(true);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 13);
}

#[tokio::test]
async fn only_what_is_pushed_may_come() {
    let (a, b, log, copy, mut wire, clock) = ten().await;
    copy.set_push_only(true);
    copy.set_allow_push(true);
    let core = copy.clone();
    let get: JoinHandle<_> = tokio::spawn(async move { core.get(3).await });
    tokio::task::yield_now().await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), get.is_finished()), (0, false));
    for index in [3, 7, 0] {
        log.push(index).await.unwrap();
    }
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "block 3");
    assert_eq!((copy.length(), here(&copy).await), (10, vec![0, 3, 7]));
    assert_eq!(copy.replication_stats().wire_request.tx, 0);
    copy.set_push_only(false);
    let core = copy.clone();
    let get: JoinHandle<_> = tokio::spawn(async move { core.get(4).await });
    tokio::task::yield_now().await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "block 4");
}

#[tokio::test]
async fn so_many_requests_are_in_flight() {
    let (a, b, log, copy, mut wire, clock) = ten().await;
    log.append_batch(blocks(10, 290)).await.unwrap();
    copy.set_inflight_range(2..=6);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let mut download = copy.download(0..300).unwrap();
    let mut most = 0;
    let mut first = None;
    while wire.step(clock.0) {
        let inflight = copy.peers()[0].inflight;
        first = first.or(Some(inflight).filter(|now| *now > 0));
        most = most.max(inflight);
    }
    download.done().await.unwrap();
    assert_eq!((first, most), (Some(2), 6));

    // one that is there already is asked for less
    copy.clear(0..300).await.unwrap();
    copy.set_inflight_range(1..=1);
    let mut download = copy.download(0..300).unwrap();
    let mut most = 0;
    while wire.step(clock.0) {
        most = most.max(copy.peers()[0].inflight);
    }
    download.done().await.unwrap();
    assert_eq!(most, 1);
}

#[tokio::test]
async fn a_channel_lingers_as_long_as_it_is_told_to() {
    let (a, b, log, copy, mut wire, mut clock) = ten().await;
    log.set_not_downloading_linger(Duration::from_secs(100));
    copy.set_not_downloading_linger(Duration::from_secs(3));
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    drop((log, copy));
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    for (seconds, open) in [(2, [1, 1]), (30, [1, 1]), (100, [0, 0])] {
        let now = clock.pass(Duration::from_secs(seconds));
        for end in &wire.ends {
            end.connection.handle_timeout(now);
        }
        settle(&mut [&mut wire], &[&a, &b], now);
        assert_eq!(wire.open_channels(), open, "after {seconds} seconds more");
    }
}

#[tokio::test]
async fn what_comes_and_goes_is_tallied() {
    let (a, b, log, copy, mut wire, clock) = ten().await;
    let mut some = copy.tally([4..6, 1..3, 2..4, 8..8]);
    let sent = log.tally(std::iter::once(0..u64::MAX));
    let none = copy.tally([]);
    let mut download = copy.download(0..10).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    download.done().await.unwrap();
    // blocks 1 to 5, of 7 bytes each
    let five = Transferred {
        blocks: 5,
        bytes: 35,
    };
    assert_eq!((some.downloaded(), some.uploaded().blocks), (five, 0));
    assert_eq!((sent.uploaded().blocks, sent.downloaded().blocks), (10, 0));
    assert_eq!(sent.uploaded().bytes, 70);
    assert_eq!(none.downloaded(), Transferred::default());
    some.changed().await;
    let no_more = tokio::time::timeout(Duration::from_millis(1), some.changed());
    assert!(no_more.await.is_err(), "it has told of all that came");

    copy.clear(0..10).await.unwrap();
    let mut download = copy.download(0..10).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    download.done().await.unwrap();
    some.changed().await;
    assert_eq!(some.downloaded().blocks, 10);
}
