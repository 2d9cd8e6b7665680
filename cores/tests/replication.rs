//! Peers over wires in memory: what npm's replicator does, and what it promises beyond.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::time::Duration;

use net::{Clock, Place, Wire, blocks, reader, settle, writer};
use pome_cores::{
    CoreOptions, Error, Hypercore, KeyPair, Manifest, ManifestOptions, Signer, multisig,
    replication::{CoreEvent, Message},
};
use tokio::task::JoinHandle;

/// Starts to wait for a block.
async fn getting(core: &Hypercore, index: u64) -> JoinHandle<Result<bytes::Bytes, Error>> {
    let core = core.clone();
    let task = tokio::spawn(async move { core.get(index).await });
    tokio::task::yield_now().await;
    task
}

async fn same(a: &Hypercore, b: &Hypercore) {
    assert_eq!((a.length(), a.fork()), (b.length(), b.fork()));
    assert_eq!(a.tree_hash().await.unwrap(), b.tree_hash().await.unwrap());
}

/// All blocks of both are here and equal.
async fn equal(a: &Hypercore, b: &Hypercore) {
    same(a, b).await;
    assert_eq!(b.contiguous_length(), a.length());
    for index in 0..a.length() {
        let (a, b) = (a.stored_block(index).await, b.stored_block(index).await);
        assert_eq!(a.unwrap().unwrap(), b.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_reader_gets_longer_and_fetches_a_block() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 100)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 100);
    assert_eq!(copy.manifest(), log.manifest());
    assert_eq!(copy.contiguous_length(), 0, "nothing is fetched unasked");
    let get = getting(&copy, 42).await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "block 42");
    assert!(!copy.has(0..1).await.unwrap());
    assert_eq!(copy.peers().len(), 1);
    assert_eq!(copy.remote_contiguous_length(), 100);
}

#[tokio::test]
async fn an_append_reaches_a_reader_that_waits_for_it() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    for index in 0..20 {
        let get = getting(&copy, index).await;
        settle(&mut [&mut wire], &[&a, &b], clock.0);
        assert!(!get.is_finished());
        log.append(format!("block {index}")).await.unwrap();
        settle(&mut [&mut wire], &[&a, &b], clock.0);
        assert_eq!(get.await.unwrap().unwrap(), format!("block {index}"));
    }
    equal(&log, &copy).await;
}

#[tokio::test]
async fn nothing_is_shown_before_it_is_on_disk() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 3)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 3);

    log.append("not synced").await.unwrap();
    b.sync();
    wire.pump(clock.0);
    assert_eq!((log.length(), copy.length()), (4, 3));
    a.sync();
    wire.pump(clock.0);
    assert_eq!(copy.length(), 4);

    // a cut that is not on disk is not shown, and what it cut is not served any more
    log.truncate(1).await.unwrap();
    let get = getting(&copy, 0).await;
    wire.pump(clock.0);
    assert_eq!((copy.length(), copy.fork()), (4, 0));
    assert!(!get.is_finished());
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), copy.fork()), (1, 1));
    assert_eq!(get.await.unwrap().unwrap(), "block 0");

    // nor does a reader pass on what it could lose
    let c = Place::new();
    let second = reader(&c, &log).await;
    let mut onward = Wire::new(&b.cores, &c.cores, clock.0);
    settle(&mut [&mut onward, &mut wire], &[&a, &b, &c], clock.0);
    log.append("new").await.unwrap();
    a.sync();
    let get = getting(&copy, 1).await;
    wire.pump(clock.0);
    c.sync();
    onward.pump(clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "new");
    assert_eq!((copy.length(), second.length()), (2, 1));
    b.sync();
    onward.pump(clock.0);
    assert_eq!(second.length(), 2);
}

/// Does what a driver does that has nothing else to do: it waits, once.
async fn wait_once(wire: &Wire, side: usize) {
    tokio::select! {
        biased;
        () = wire.ends[side].connection.ready() => {}
        () = std::future::ready(()) => {}
    }
}

#[tokio::test]
async fn the_disk_is_hurried_only_for_who_lacks_something() {
    let (a, b, c, mut clock) = (Place::new(), Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 100)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let store = b.cores.store();
    let is_synced = || store.synced_seq() == store.committed_seq();

    let mut download = copy.download(0..60).unwrap();
    wire.pump(clock.0);
    download.done().await.unwrap();
    wait_once(&wire, 1).await;
    assert!(!is_synced(), "who sent the blocks has them all");
    let now = clock.pass(Duration::from_secs(1));
    wire.ends[1].connection.handle_timeout(now);
    wire.pump(now);
    wait_once(&wire, 1).await;
    assert!(is_synced(), "it is told in the end");

    let mut download = copy.download(0..100).unwrap();
    wire.pump(now);
    download.done().await.unwrap();
    wait_once(&wire, 1).await;
    assert!(!is_synced());
    let _third = reader(&c, &log).await;
    let mut other = Wire::new(&b.cores, &c.cores, now);
    other.pump(now);
    wait_once(&other, 0).await;
    assert!(is_synced(), "somebody has come who has nothing");
    wire.pump(now);
    assert_eq!(log.remote_contiguous_length(), 100);
}

#[tokio::test]
async fn a_long_log_is_caught_up_with() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 10_000)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let mut download = copy.download_linear(0..10_000).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    download.done().await.unwrap();
    equal(&log, &copy).await;
    let requests = wire.counts[&1];
    assert!(
        requests <= 10_001,
        "each block is asked for once, {requests}"
    );

    // a download without an end goes on
    let _live = copy.download(..).unwrap();
    log.append_batch(blocks(10_000, 50)).await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    equal(&log, &copy).await;
}

#[tokio::test]
async fn single_blocks_and_parts_are_downloaded() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 300)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let mut some = copy.download_blocks(vec![7, 250, 3]).unwrap();
    let mut part = copy.download(100..=120).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    some.done().await.unwrap();
    part.done().await.unwrap();
    for index in 0..300 {
        let expected = [7, 250, 3].contains(&index) || (100..=120).contains(&index);
        assert_eq!(copy.has(index..index + 1).await.unwrap(), expected);
    }
    // a download that is dropped fetches nothing more
    drop(copy.download(200..300).unwrap());
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert!(!copy.has(201..202).await.unwrap());
    // what was cleared is fetched again
    copy.clear(100..110).await.unwrap();
    let mut again = copy.download(100..110).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    again.done().await.unwrap();
}

#[tokio::test]
async fn a_place_in_the_bytes_is_found_without_the_blocks() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 1000)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    for offset in [1, 100, 4_000, 7_777, copy.byte_length() - 1] {
        let core = copy.clone();
        let seek = tokio::spawn(async move { core.seek(offset).await });
        tokio::task::yield_now().await;
        settle(&mut [&mut wire], &[&a, &b], clock.0);
        assert_eq!(
            seek.await.unwrap().unwrap(),
            log.seek(offset).await.unwrap()
        );
    }
    assert_eq!(copy.contiguous_length(), 0);
}

#[tokio::test]
async fn a_reader_follows_a_truncation() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 40)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut events = copy.events();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let _live = copy.download(..).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    equal(&log, &copy).await;
    for (cut, more) in [(30, 3), (1, 60), (61, 0), (17, 17), (0, 5)] {
        log.truncate(cut).await.unwrap();
        log.append_batch(blocks(1000 * cut, more)).await.unwrap();
        settle(&mut [&mut wire], &[&a, &b], clock.0);
        equal(&log, &copy).await;
    }
    let mut truncates = 0;
    while let Ok(event) = events.try_recv() {
        truncates += usize::from(matches!(event, CoreEvent::Truncate { .. }));
    }
    assert_eq!(truncates, 5);

    // also one that was not there meanwhile, and one that has only some blocks
    drop(wire);
    log.truncate(2).await.unwrap();
    log.append_batch(blocks(9000, 7)).await.unwrap();
    log.truncate(4).await.unwrap();
    log.append_batch(blocks(9100, 3)).await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    equal(&log, &copy).await;
}

#[tokio::test]
async fn a_chain_passes_on_what_each_has() {
    let places = [Place::new(), Place::new(), Place::new(), Place::new()];
    let [a, b, c, d] = &places;
    let clock = Clock::new();
    let log = writer(a).await;
    log.append_batch(blocks(0, 5000)).await.unwrap();
    let (second, third, last) = (
        reader(b, &log).await,
        reader(c, &log).await,
        reader(d, &log).await,
    );
    let mut wires = [
        Wire::new(&a.cores, &b.cores, clock.0),
        Wire::new(&b.cores, &c.cores, clock.0),
        Wire::new(&c.cores, &d.cores, clock.0),
    ];
    let all: Vec<&Place> = places.iter().collect();
    let _kept = [
        second.download(4000..4100).unwrap(),
        third.download(4050..4060).unwrap(),
    ];
    settle(&mut wires.iter_mut().collect::<Vec<_>>(), &all, clock.0);
    assert_eq!(last.length(), 5000);
    assert_eq!(third.peers().len(), 2);
    let get = getting(&last, 4055).await;
    let never = getting(&last, 4070).await;
    settle(&mut wires.iter_mut().collect::<Vec<_>>(), &all, clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "block 4055");
    assert!(!never.is_finished(), "the third does not have it");
    // as soon as it has, the last one gets it
    let _get = getting(&third, 4070).await;
    settle(&mut wires.iter_mut().collect::<Vec<_>>(), &all, clock.0);
    assert_eq!(never.await.unwrap().unwrap(), "block 4070");
}

#[tokio::test]
async fn encrypted_and_multi_signer_cores() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let secret = CoreOptions::name("secret").with_encryption_key([9; 32]);
    let log = a.cores.get(secret).await.unwrap();
    log.append_batch(blocks(0, 20)).await.unwrap();
    let options = CoreOptions::key(log.key()).with_encryption_key([9; 32]);
    let copy = b.cores.get(options).await.unwrap();

    let pairs = [KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32])];
    let manifest = Manifest::create(ManifestOptions {
        signers: pairs.iter().map(|pair| Signer::new(pair.public)).collect(),
        quorum: Some(2),
        ..ManifestOptions::default()
    })
    .unwrap();
    let many = a
        .cores
        .get(CoreOptions::manifest(manifest.clone()))
        .await
        .unwrap();
    let verifier = pome_cores::Verifier::new(manifest);
    let both = blocks(0, 2);
    let mut batch = many.tree().batch();
    batch.append_blocks(&both);
    let parts: Vec<_> = (0..)
        .zip(&pairs)
        .map(|(signer, pair)| {
            let signature = verifier.sign(batch.tree(), pair).unwrap();
            multisig::Part {
                signer,
                signature: signature[..].try_into().unwrap(),
                patch: 0,
                nodes: Vec::new(),
            }
        })
        .collect();
    let signature = verifier.assemble(&parts).unwrap();
    many.append_signed(both, signature.into()).await.unwrap();
    let many_copy = reader(&b, &many).await;

    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let _all = [copy.download(..).unwrap(), many_copy.download(..).unwrap()];
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    equal(&log, &copy).await;
    assert_eq!(copy.get(7).await.unwrap(), "block 7");
    equal(&many, &many_copy).await;
}

#[tokio::test]
async fn a_thousand_cores_share_a_wire_and_closed_ones_open_on_demand() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let mut copies = Vec::new();
    for at in 0..1000 {
        let name = CoreOptions::name(format!("core {at}"));
        let log = a.cores.get(name).await.unwrap();
        log.append(format!("in {at}")).await.unwrap();
        copies.push(reader(&b, &log).await);
        if at % 2 == 0 {
            log.close().await.unwrap();
        }
    }
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let downloads: Vec<_> = copies
        .iter()
        .map(|copy| copy.download(..).unwrap())
        .collect();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    for (at, copy) in copies.iter().enumerate() {
        assert_eq!(copy.get(0).await.unwrap(), format!("in {at}"));
    }
    drop(downloads);
    // a core that is opened later joins
    let late = a.cores.get(CoreOptions::name("late")).await.unwrap();
    late.append("x").await.unwrap();
    let copy = reader(&b, &late).await;
    let get = getting(&copy, 0).await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn update_tells_whether_there_is_more() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    let copy = reader(&b, &log).await;
    assert!(!copy.update().await.unwrap(), "there is nobody to ask");
    let finding = copy.finding_peers();
    let updating = tokio::spawn({
        let copy = copy.clone();
        async move { copy.update().await }
    });
    tokio::task::yield_now().await;
    log.append("one").await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    drop(finding);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert!(updating.await.unwrap().unwrap());
    assert!(!copy.update().await.unwrap());
}

#[tokio::test]
async fn extensions_events_and_pushes() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    let copy = reader(&b, &log).await;
    let mut events = copy.events();
    let (mut ours, theirs) = (log.extension("chat"), copy.extension("chat"));
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    copy.set_allow_push(true);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    theirs.broadcast("one");
    theirs.broadcast("two");
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(ours.recv().await.unwrap().1, "one");
    let (peer, message) = ours.recv().await.unwrap();
    assert_eq!(message, "two");
    assert!(ours.send(peer, "back") && !ours.send(999, "nobody"));

    log.append("pushed").await.unwrap();
    a.sync();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert!(!copy.has(0..1).await.unwrap());
    log.push(0).await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert!(copy.has(0..1).await.unwrap());

    drop(wire);
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    for expected in [
        |event: &CoreEvent| matches!(event, CoreEvent::PeerAdd(1)),
        |event: &CoreEvent| matches!(event, CoreEvent::Manifest),
        |event: &CoreEvent| matches!(event, CoreEvent::Append { length: 1 }),
        |event: &CoreEvent| matches!(event, CoreEvent::RemoteContiguousLength(1)),
        |event: &CoreEvent| {
            matches!(
                event,
                CoreEvent::Download {
                    index: 0,
                    byte_length: 6,
                    ..
                }
            )
        },
        |event: &CoreEvent| matches!(event, CoreEvent::PeerRemove(1)),
    ] {
        assert!(seen.iter().any(expected), "{seen:?}");
    }
}

#[tokio::test]
async fn a_channel_that_nobody_needs_is_closed_and_opened_again() {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append("one").await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let key = copy.key();
    drop((log, copy));
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let now = clock.pass(Duration::from_secs(30));
    for end in &wire.ends {
        end.connection.handle_timeout(now);
    }
    settle(&mut [&mut wire], &[&a, &b], now);
    assert_eq!(wire.open_channels(), [0, 0]);
    let copy = b.cores.get(CoreOptions::key(key)).await.unwrap();
    let get = getting(&copy, 0).await;
    settle(&mut [&mut wire], &[&a, &b], now);
    assert_eq!(get.await.unwrap().unwrap(), "one");
}

#[tokio::test]
async fn slow_and_silent_peers_are_asked_around() {
    let (a, b, c, mut clock) = (Place::new(), Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 200)).await.unwrap();
    let (copy, other) = (reader(&b, &log).await, reader(&c, &log).await);
    let mut slow = Wire::new(&a.cores, &b.cores, clock.0);
    let mut good = Wire::new(&c.cores, &b.cores, clock.0);
    let mut feed = Wire::new(&a.cores, &c.cores, clock.0);
    let _all = other.download(..).unwrap();
    settle(
        &mut [&mut slow, &mut good, &mut feed],
        &[&a, &b, &c],
        clock.0,
    );
    // the first answers nothing any more
    slow.frozen = true;
    let mut download = copy.download(0..200).unwrap();
    settle(&mut [&mut slow, &mut good], &[&a, &b, &c], clock.0);
    assert!(copy.contiguous_length() < 200);
    for _ in 0..20 {
        let now = clock.pass(Duration::from_secs(1));
        good.ends[1].connection.handle_timeout(now);
        settle(&mut [&mut slow, &mut good], &[&a, &b, &c], now);
    }
    download.done().await.unwrap();
    equal(&log, &copy).await;
}

#[tokio::test]
async fn a_writer_that_meets_its_own_longer_history_recovers() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 10)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let _all = copy.download(..).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    drop(wire);

    // an old backup of the writer: it has only the first four blocks
    let old = Place::twin(&a);
    let back = writer(&old).await;
    assert_eq!(back.key(), log.key());
    back.append_batch(blocks(0, 4)).await.unwrap();
    let mut events = back.events();
    let mut wire = Wire::new(&old.cores, &b.cores, clock.0);
    b.sync();
    old.sync();
    let mut refused = 0;
    for _ in 0..1000 {
        if !wire.step(clock.0) {
            b.sync();
            old.sync();
        }
        let told = back.peers().iter().any(|peer| peer.remote_length == 10);
        if told && back.length() < 10 {
            let refusal = back.append("a second history").await;
            assert!(matches!(refusal, Err(Error::Behind { length: 10, .. })));
            refused += 1;
        }
    }
    assert!(refused > 0 && back.length() == 10);
    settle(&mut [&mut wire], &[&old, &b], clock.0);
    same(&back, &copy).await;
    back.append("goes on").await.unwrap();
    settle(&mut [&mut wire], &[&old, &b], clock.0);
    same(&back, &copy).await;
    assert_eq!((copy.length(), copy.fork()), (11, 0));
    let mut recovered = false;
    while let Ok(event) = events.try_recv() {
        recovered |= event == CoreEvent::Recovered { length: 10 };
    }
    assert!(recovered);
}

#[tokio::test]
async fn a_writer_is_not_held_up_by_a_lie() {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append("one").await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let lie = pome_cores::replication::messages::Sync {
        length: 1000,
        can_upgrade: true,
        remote_length: 1,
        uploading: true,
        downloading: true,
        ..Default::default()
    };
    wire.forge(0, &log, &Message::Sync(lie), clock.0);
    assert!(matches!(log.append("two").await, Err(Error::Behind { .. })));
    // asked for the proof, it has none
    for _ in 0..5 {
        let now = clock.pass(Duration::from_secs(10));
        wire.ends[0].connection.handle_timeout(now);
        settle(&mut [&mut wire], &[&a, &b], now);
    }
    log.append("two").await.unwrap();
    let _ = copy;
}

#[tokio::test]
async fn a_core_that_was_signed_twice_is_noticed() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let twin = Place::twin(&a);
    let (log, other) = (writer(&a).await, writer(&twin).await);
    log.append_batch(blocks(0, 10)).await.unwrap();
    other.append_batch(blocks(500, 12)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut events = copy.events();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let _all = copy.download(..).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    equal(&log, &copy).await;
    let mut second = Wire::new(&twin.cores, &b.cores, clock.0);
    settle(&mut [&mut wire, &mut second], &[&a, &b, &twin], clock.0);
    let mut conflict = false;
    while let Ok(event) = events.try_recv() {
        conflict |= matches!(event, CoreEvent::Conflict { .. });
    }
    assert!(conflict);
    equal(&log, &copy).await;
    // all who were connected know, and nobody signs any more
    for core in [&log, &other] {
        assert!(matches!(
            core.append("more").await,
            Err(Error::Forked { .. })
        ));
    }
}
