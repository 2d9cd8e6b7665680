//! Single attacks by a peer that knows the core's key: forged signatures, old histories shown as new ones, garbage in every state, silence. (What floods do is in
//! `hostile.rs`, and what anything at all does in `fuzz/`.)
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::time::Duration;

use bytes::Bytes;
use net::{Clock, End, Frame, Place, Wire, blocks, reader, settle, writer};
use pome_cores::{
    Hypercore, caps,
    replication::{
        Message,
        messages::{Handshake, MESSAGE_KINDS},
    },
};

/// A wire between two honest ends whose second half is in the attacker's hand: what goes to `ends[1]` may be changed. Time passes until nothing comes, or the
/// second end has ended the connection.
fn attack(
    wire: &mut Wire,
    places: &[&Place],
    clock: &mut Clock,
    mut change: impl FnMut(&mut Message),
) {
    let mut quiet = 0;
    while quiet < 40 && wire.ends[1].destroyed.is_none() {
        let mut moved = false;
        for side in 0..2 {
            while let Some(frame) = wire.ends[side].poll(clock.0) {
                moved = true;
                let frame = match frame {
                    Frame::Message(key, kind, payload) if side == 0 => {
                        let mut message = Message::decode(kind, &payload).unwrap().unwrap();
                        change(&mut message);
                        let mut changed = Vec::new();
                        message.encode(&mut changed);
                        Frame::Message(key, kind, changed.into())
                    }
                    frame => frame,
                };
                if let Some(answer) = wire.ends[1 - side].take(frame, clock.0) {
                    wire.ends[side].take(answer, clock.0);
                }
            }
        }
        if moved || quiet == 0 {
            places.iter().for_each(|place| place.sync());
        }
        quiet = if moved { 0 } else { quiet + 1 };
        let now = clock.pass(Duration::from_millis(500));
        for end in &wire.ends {
            end.connection.handle_timeout(now);
        }
    }
}

async fn state(core: &Hypercore) -> (u64, u64, [u8; 32]) {
    let hash = core.tree_hash().await.unwrap();
    (core.length(), core.fork(), hash)
}

#[tokio::test]
async fn a_wrong_signature_is_never_believed() {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 10)).await.unwrap();
    let copy = reader(&b, &log).await;
    let _all = copy.download(..).unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let mut forged = 0;
    attack(&mut wire, &[&a, &b], &mut clock, |message| {
        if let Message::Data(data) = message
            && let Some(upgrade) = &mut data.proof.upgrade
            && let Some(signature) = &mut upgrade.signature
        {
            let mut bytes = signature.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            *signature = bytes.into();
            forged += 1;
        }
    });
    assert_eq!(
        wire.ends[1].destroyed,
        Some("too many proofs that do not hold")
    );
    assert_eq!(
        forged, 5,
        "it is asked again after a while, and not for ever"
    );
    assert_eq!((copy.length(), copy.contiguous_length()), (0, 0));
    assert!(
        copy.nodes().await.unwrap().is_empty(),
        "nothing of it is kept"
    );

    // A copy that has a part believes no forged rest either.
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    attack(&mut wire, &[&a, &b], &mut clock, |_| {});
    assert_eq!(copy.contiguous_length(), 10);
    log.append_batch(blocks(10, 5)).await.unwrap();
    let before = state(&copy).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    attack(&mut wire, &[&a, &b], &mut clock, |message| {
        if let Message::Data(data) = message
            && let Some(block) = &mut data.proof.block
        {
            block.value = Bytes::from_static(b"another");
        }
        if let Message::Data(data) = message
            && let Some(upgrade) = &mut data.proof.upgrade
        {
            upgrade.signature = Some(vec![7; 68].into());
        }
    });
    assert!(wire.ends[1].destroyed.is_some());
    assert_eq!(state(&copy).await, before);
}

/// A history that was cut, shown again: as it was, and as if it were newer than the one that followed.
#[tokio::test]
async fn a_replayed_fork_is_refused() {
    let (a, old, b, mut clock) = (Place::new(), Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 60)).await.unwrap();
    let kept = reader(&old, &log).await;
    {
        let _all = kept.download(..).unwrap();
        let mut wire = Wire::new(&a.cores, &old.cores, clock.0);
        settle(&mut [&mut wire], &[&a, &old], clock.0);
        assert_eq!(kept.contiguous_length(), 60);
    }
    // It does not hear of what follows.
    kept.set_allow_fork(false);
    log.truncate(20).await.unwrap();
    log.append_batch(blocks(100, 10)).await.unwrap();
    let copy = reader(&b, &log).await;
    let all = copy.download(..).unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    drop(wire);
    let followed = state(&copy).await;
    assert_eq!(
        (followed.0, followed.1, copy.contiguous_length()),
        (30, 1, 30)
    );

    // As it was: longer, and older.
    let mut wire = Wire::new(&old.cores, &b.cores, clock.0);
    attack(&mut wire, &[&old, &b], &mut clock, |_| {});
    assert_eq!(state(&copy).await, followed);
    // As a later fork, which it never was.
    for fork in [1, 2, 77] {
        let mut wire = Wire::new(&old.cores, &b.cores, clock.0);
        attack(
            &mut wire,
            &[&old, &b],
            &mut clock,
            |message| match message {
                Message::Sync(sync) => sync.fork = fork,
                Message::Data(data) => data.proof.fork = fork,
                _ => {}
            },
        );
        assert_eq!(state(&copy).await, followed, "fork {fork}");
        for index in 0..30 {
            let (ours, theirs) = (copy.get(index).await, log.get(index).await);
            assert_eq!(ours.unwrap(), theirs.unwrap());
        }
    }
    // The writer itself is followed as before.
    drop(wire);
    log.truncate(25).await.unwrap();
    log.append_batch(blocks(200, 9)).await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    attack(&mut wire, &[&a, &b], &mut clock, |_| {});
    assert_eq!(state(&copy).await, state(&log).await);
    drop(all);
}

/// The exchange of a whole life, step by step: blocks, an append, a truncation that is followed, an end. Garbage comes at each step, to both sides.
#[tokio::test]
async fn garbage_in_every_state() {
    let garbage: [&[u8]; 4] = [&[], &[0xff; 9], &[0; 5], &[0xfd, 0xff, 0xff, 1, 2, 3]];
    let (mut at, mut longest) = (0, 0);
    loop {
        let mut ended = false;
        // Two kinds at each step; all of them, with all the garbage, come round several times.
        for turn in 2 * at..2 * at + 2 {
            let kind = turn as u64 % (MESSAGE_KINDS + 2);
            let payload = garbage[turn / 5 % garbage.len()];
            ended = garbage_at(at, kind, payload).await;
        }
        longest = longest.max(at);
        if ended {
            break;
        }
        at += 1;
    }
    assert!(longest > 30, "only {longest} steps");
}

/// True when the exchange is over before this step.
async fn garbage_at(at: usize, kind: u64, payload: &'static [u8]) -> bool {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 12)).await.unwrap();
    let copy = reader(&b, &log).await;
    let _all = copy.download(..).unwrap();
    let mut states = vec![state(&copy).await, state(&log).await];
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let (mut step, mut stage, mut over) = (0, 0, false);
    while step < at {
        if wire.step(clock.0) {
            step += 1;
            continue;
        }
        a.sync();
        b.sync();
        if wire.step(clock.0) {
            step += 1;
            continue;
        }
        stage += 1;
        match stage {
            1 => {
                log.append("one more").await.unwrap();
            }
            2 => {
                log.truncate(5).await.unwrap();
                states.push(state(&log).await);
                log.append_batch(blocks(50, 3)).await.unwrap();
            }
            _ => {
                over = true;
                break;
            }
        }
        states.push(state(&log).await);
    }
    for side in 0..2 {
        let frame = Frame::Message(log.discovery_key(), kind, Bytes::from_static(payload));
        wire.ends[side].take(frame, clock.0);
    }
    attack(&mut wire, &[&a, &b], &mut clock, |_| {});
    let theirs = state(&copy).await;
    assert!(
        states.contains(&theirs),
        "step {at}, kind {kind}: {theirs:?}"
    );
    assert_eq!(state(&log).await, states[states.len() - 1]);
    // The next connection is as good as ever.
    drop(wire);
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    attack(&mut wire, &[&a, &b], &mut clock, |_| {});
    assert_eq!(
        state(&copy).await,
        state(&log).await,
        "step {at}, kind {kind}"
    );
    assert_eq!(copy.contiguous_length(), log.length());
    over
}

/// A channel that the peer opens and never says anything on, and one that it never opens: neither holds anybody up, and both take little.
#[tokio::test]
async fn half_open_channels_hold_nobody_up() {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 30)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut download = copy.download(0..30).unwrap();
    let key = log.discovery_key();
    let drain = |end: &mut End, clock: &Clock| {
        let mut frames = 0;
        while end.poll(clock.0).is_some() {
            frames += 1;
        }
        frames
    };
    let mut never_opens = End::to(&b.cores, true, [3; 32], clock.0);
    let mut never_speaks = End::to(&b.cores, true, [4; 32], clock.0);
    let mut handshake = Vec::new();
    Handshake {
        seeks: true,
        capability: caps::replicate(false, &log.key(), &[7; 64]),
    }
    .encode(&mut handshake);
    assert_eq!(
        drain(&mut never_opens, &clock),
        1,
        "the offer of the channel"
    );
    drain(&mut never_speaks, &clock);
    never_speaks.take(Frame::Open(key, handshake), clock.0);
    drain(&mut never_speaks, &clock);
    for _ in 0..100 {
        let now = clock.pass(Duration::from_secs(1));
        for end in [&mut never_opens, &mut never_speaks] {
            end.connection.handle_timeout(now);
            assert_eq!(drain(end, &clock), 0, "nothing is said to who says nothing");
        }
    }
    assert_eq!(copy.peers().len(), 1, "the one that opened");
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    download.done().await.unwrap();
    assert_eq!(copy.contiguous_length(), 30);
}
