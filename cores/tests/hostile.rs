//! Peers that lie, flood and send garbage: the connection ends or the peer is put aside, and nothing unverified is stored.
//!
//! `POME_SEED=<n>` runs one seed of the tampering wire, `POME_SEEDS=<n>` so many.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::{collections::HashMap, env, time::Duration};

use bytes::Bytes;
use net::{Clock, Frame, Place, Wire, blocks, core, reader, settle};
use pome_cores::{
    Error, Hypercore, caps,
    merkle::{BlockProof, Node, NodeRequest, Proof, ProofRequest, UpgradeProof},
    replication::{
        Message,
        messages::{Bits, Data, Handshake, Have, MESSAGE_KINDS, NoData, Request, Sync, Want},
    },
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A writer with blocks and a reader that has its length.
async fn pair(clock: &Clock) -> (Place, Place, Hypercore, Hypercore, Wire) {
    let (a, b) = (Place::new(), Place::new());
    let log = core(&a, "log").await;
    log.append_batch(blocks(0, 50)).await.unwrap();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 50);
    (a, b, log, copy, wire)
}

#[tokio::test]
async fn who_does_not_know_the_key_is_turned_away() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = core(&a, "log").await;
    log.append("secret").await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    a.sync();
    let mut handshake = Vec::new();
    Handshake {
        seeks: true,
        capability: [0; 32],
    }
    .encode(&mut handshake);
    assert!(matches!(wire.ends[0].poll(clock.0), Some(Frame::Open(..))));
    let forged = Frame::Open(log.discovery_key(), handshake);
    assert!(wire.ends[0].take(forged, clock.0).is_none());
    assert!(wire.ends[0].poll(clock.0).is_none(), "nothing is told");
    assert_eq!(wire.ends[0].destroyed, Some("INVALID_CAPABILITY"));
}

#[tokio::test]
async fn garbage_of_every_kind_ends_the_connection_or_is_passed_over() {
    for kind in 0..=MESSAGE_KINDS + 1 {
        for garbage in [vec![], vec![0xff; 9], vec![0xff; 200], vec![0; 3]] {
            let clock = Clock::new();
            let (a, b, log, copy, mut wire) = pair(&clock).await;
            let payload = Bytes::from(garbage);
            let frame = Frame::Message(log.discovery_key(), kind, payload.clone());
            wire.ends[0].take(frame.clone(), clock.0);
            wire.ends[1].take(frame, clock.0);
            settle(&mut [&mut wire], &[&a, &b], clock.0);
            let bad = Message::decode(kind, &payload).is_err();
            for end in &wire.ends {
                assert!(!bad || end.destroyed.is_some() || end.connection.poll(clock.0).is_none());
            }
            assert_eq!((log.length(), copy.length()), (50, 50));
            assert_eq!(
                log.tree_hash().await.unwrap(),
                copy.tree_hash().await.unwrap()
            );
        }
    }
}

#[tokio::test]
async fn floods_end_the_connection() {
    type Flood = fn(u64) -> Message;
    let floods: [(Flood, bool); 5] = [
        (
            |id| {
                Message::Request(Request {
                    id,
                    proof: ProofRequest {
                        block: Some(NodeRequest { index: 0, nodes: 0 }),
                        ..ProofRequest::default()
                    },
                    ..Request::default()
                })
            },
            true,
        ),
        (
            |at| {
                Message::Want(Want {
                    start: 32 * at,
                    length: 32,
                    any: false,
                })
            },
            true,
        ),
        // these cost nothing that lasts
        (
            |at| {
                Message::Range(Have {
                    drop: false,
                    start: at << 20,
                    length: 1 << 40,
                })
            },
            false,
        ),
        (
            |at| {
                Message::Bitfield(Bits {
                    start: at << 16,
                    words: vec![0x5555_5555; 1024],
                })
            },
            false,
        ),
        (
            |request| Message::NoData(NoData { request, reason: 1 }),
            false,
        ),
    ];
    for (flood, ends) in floods {
        let clock = Clock::new();
        let (_a, _b, log, _copy, mut wire) = pair(&clock).await;
        for at in 1..5000 {
            wire.forge(0, &log, &flood(at), clock.0);
        }
        let mut answers = 0;
        while wire.ends[0].poll(clock.0).is_some() {
            answers += 1;
        }
        assert_eq!(wire.ends[0].destroyed.is_some(), ends, "{:?}", flood(1));
        assert!(answers <= 4097);
    }
}

#[tokio::test]
async fn requests_that_make_no_sense_end_the_connection() {
    let clock = Clock::new();
    let (_a, _b, log, _copy, mut wire) = pair(&clock).await;
    for id in 1..100 {
        let request = Request {
            id,
            proof: ProofRequest {
                hash: Some(NodeRequest {
                    index: 7,
                    nodes: 60,
                }),
                ..ProofRequest::default()
            },
            ..Request::default()
        };
        wire.forge(0, &log, &Message::Request(request), clock.0);
        while wire.ends[0].poll(clock.0).is_some() {}
    }
    assert_eq!(wire.ends[0].destroyed, Some("too many invalid requests"));
}

/// An honest peer of one core, presented as a peer of another one.
#[tokio::test]
async fn a_valid_proof_of_another_core_is_refused() {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let (log, other) = (core(&a, "log").await, core(&b, "other").await);
    other.close().await.unwrap();
    log.append_batch(blocks(0, 20)).await.unwrap();
    let c = Place::new();
    let copy = reader(&c, &other).await;
    let mut wire = Wire::new(&a.cores, &c.cores, clock.0);
    a.sync();
    c.sync();
    let mut capability = Vec::new();
    Handshake {
        seeks: true,
        capability: caps::replicate(true, &other.key(), &[7; 64]),
    }
    .encode(&mut capability);
    let mut back = Vec::new();
    Handshake {
        seeks: true,
        capability: caps::replicate(false, &log.key(), &[7; 64]),
    }
    .encode(&mut back);
    let (ours, theirs) = (log.discovery_key(), other.discovery_key());
    'time: for _ in 0..200 {
        for side in 0..2 {
            let (to, handshake) = if side == 0 {
                (theirs, &capability)
            } else {
                (ours, &back)
            };
            while let Some(frame) = wire.ends[side].poll(clock.0) {
                let frame = match frame {
                    Frame::Open(..) => Frame::Open(to, handshake.clone()),
                    Frame::Message(_, kind, payload) => Frame::Message(to, kind, payload),
                    Frame::Close(_) => Frame::Close(to),
                };
                wire.ends[1 - side].take(frame, clock.0);
                if wire.ends[1].destroyed.is_some() {
                    break 'time;
                }
            }
        }
        c.sync();
        let now = clock.pass(Duration::from_secs(1));
        wire.ends[1].connection.handle_timeout(now);
    }
    assert_eq!(
        wire.ends[1].destroyed,
        Some("too many proofs that do not hold")
    );
    assert_eq!((copy.length(), copy.fork()), (0, 0));
    assert!(copy.nodes().await.unwrap().is_empty());
}

/// Something that a peer could say, whether or not it makes sense.
fn anything(rng: &mut ChaCha8Rng) -> Message {
    let number = |rng: &mut ChaCha8Rng| match rng.random_range(0..4) {
        0 => rng.random_range(0..8),
        1 => rng.random_range(0..300),
        2 => 1 << rng.random_range(0..53),
        _ => rng.random_range(0..1 << 53),
    };
    let node = |rng: &mut ChaCha8Rng| Node {
        index: number(rng),
        size: number(rng),
        hash: [rng.random(); 32],
    };
    let nodes = |rng: &mut ChaCha8Rng| {
        let count = rng.random_range(0..6);
        (0..count).map(|_| node(rng)).collect::<Vec<_>>()
    };
    match rng.random_range(0..9) {
        0 => Message::Sync(Sync {
            fork: number(rng),
            length: number(rng),
            remote_length: number(rng),
            can_upgrade: rng.random(),
            uploading: rng.random(),
            downloading: true,
            has_manifest: rng.random(),
            allow_push: rng.random(),
        }),
        1 | 2 => Message::Request(Request {
            id: number(rng),
            fork: rng.random_range(0..3),
            proof: ProofRequest {
                block: rng.random::<bool>().then(|| NodeRequest {
                    index: number(rng),
                    nodes: number(rng),
                }),
                hash: rng.random::<bool>().then(|| NodeRequest {
                    index: number(rng),
                    nodes: number(rng),
                }),
                seek: rng
                    .random::<bool>()
                    .then(|| pome_cores::merkle::SeekRequest {
                        bytes: number(rng),
                        padding: number(rng),
                    }),
                upgrade: rng
                    .random::<bool>()
                    .then(|| pome_cores::merkle::UpgradeRequest {
                        start: number(rng),
                        length: number(rng),
                    }),
            },
            manifest: rng.random(),
            priority: rng.random_range(0..3),
        }),
        3 => Message::Cancel(number(rng)),
        4 => Message::Data(Box::new(Data {
            request: rng.random_range(0..40),
            proof: Proof {
                fork: rng.random_range(0..4),
                block: rng.random::<bool>().then(|| BlockProof {
                    index: number(rng),
                    value: vec![0; rng.random_range(0..50)].into(),
                    nodes: nodes(rng),
                }),
                upgrade: rng.random::<bool>().then(|| UpgradeProof {
                    start: number(rng),
                    length: number(rng),
                    nodes: nodes(rng),
                    additional_nodes: nodes(rng),
                    signature: Some(vec![1; 68].into()),
                }),
                ..Proof::default()
            },
        })),
        5 => Message::NoData(NoData {
            request: rng.random_range(0..40),
            reason: rng.random_range(0..4),
        }),
        6 => Message::Want(Want {
            start: number(rng),
            length: number(rng),
            any: rng.random(),
        }),
        7 => Message::Bitfield(Bits {
            start: number(rng) / 32 * 32,
            words: (0..rng.random_range(0..40)).map(|_| rng.random()).collect(),
        }),
        _ => Message::Range(Have {
            drop: rng.random(),
            start: number(rng),
            length: number(rng),
        }),
    }
}

/// What every history of the core looked like, as its writer made it.
type Histories = HashMap<(u64, u64), [u8; 32]>;

async fn check(copy: &Hypercore, histories: &Histories) {
    let state = (copy.fork(), copy.length());
    let hash = copy.tree_hash().await.unwrap();
    assert_eq!(
        histories.get(&state),
        Some(&hash),
        "a history that nobody wrote: {state:?}"
    );
}

/// A wire that flips bits, replays, repeats, drops and invents messages between two honest peers.
async fn tampered(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let log = core(&a, "log").await;
    let copy = reader(&b, &log).await;
    let mut histories = Histories::new();
    let mut all = HashMap::new();
    let mut next = 0;
    histories.insert((0, 0), copy.tree_hash().await.unwrap());
    let _live = copy.download(..).unwrap();
    let mut replays: Vec<Frame> = Vec::new();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    for _ in 0..rng.random_range(20..200) {
        if rng.random_ratio(1, 4) {
            let wrote = if rng.random_ratio(1, 5) && log.length() > 1 {
                log.truncate(rng.random_range(1..log.length())).await
            } else {
                next += 7;
                log.append_batch(blocks(next, 7)).await.map(|_| ())
            };
            match wrote {
                Ok(()) => {
                    let state = (log.fork(), log.length());
                    histories.insert(state, log.tree_hash().await.unwrap());
                    for index in 0..log.length() {
                        all.insert((log.fork(), index), log.get(index).await.unwrap());
                    }
                }
                Err(Error::Behind { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        for side in 0..2 {
            let mut count = 0;
            while let Some(frame) = wire.ends[side].poll(clock.0) {
                count += 1;
                if count > 200 {
                    break;
                }
                let mut frames = vec![frame.clone()];
                match rng.random_range(0..60) {
                    0 => frames.clear(),
                    1 => frames.push(frame.clone()),
                    2 if !replays.is_empty() => {
                        frames.push(replays[rng.random_range(0..replays.len())].clone());
                    }
                    3 => {
                        let mut payload = Vec::new();
                        let message = anything(&mut rng);
                        message.encode(&mut payload);
                        let key = log.discovery_key();
                        frames.push(Frame::Message(key, message.kind(), payload.into()));
                    }
                    4 => {
                        if let Some(Frame::Message(_, _, payload)) = frames.last_mut() {
                            let mut bytes = payload.to_vec();
                            if !bytes.is_empty() {
                                let at = rng.random_range(0..bytes.len());
                                bytes[at] ^= 1 << rng.random_range(0..8);
                            }
                            *payload = bytes.into();
                        }
                    }
                    5 => {
                        let mut payload = vec![0; rng.random_range(0..60)];
                        rng.fill_bytes(&mut payload);
                        let kind = rng.random_range(0..11);
                        frames.push(Frame::Message(log.discovery_key(), kind, payload.into()));
                    }
                    _ => {}
                }
                if replays.len() < 300 && matches!(frame, Frame::Message(..)) {
                    replays.push(frame);
                }
                for frame in frames {
                    if let Some(answer) = wire.ends[1 - side].take(frame, clock.0) {
                        wire.ends[side].take(answer, clock.0);
                    }
                }
            }
        }
        check(&copy, &histories).await;
        if rng.random_ratio(1, 2) {
            a.sync();
            b.sync();
        }
        let now = clock.pass(Duration::from_millis(rng.random_range(1..5000)));
        for end in &wire.ends {
            end.connection.handle_timeout(now);
        }
        if wire.ends.iter().any(|end| end.destroyed.is_some()) || rng.random_ratio(1, 30) {
            wire = Wire::new(&a.cores, &b.cores, now);
        }
    }
    for index in 0..copy.length() {
        if let Some(block) = copy.stored_block(index).await.unwrap() {
            assert_eq!(block, all[&(copy.fork(), index)]);
        }
    }
    // an honest wire, and all is well
    drop(wire);
    log.append("the end").await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    for _ in 0..20 {
        settle(&mut [&mut wire], &[&a, &b], clock.0);
        let now = clock.pass(Duration::from_secs(2));
        for end in &wire.ends {
            end.connection.handle_timeout(now);
        }
    }
    assert_eq!((copy.length(), copy.fork()), (log.length(), log.fork()));
    assert_eq!(copy.contiguous_length(), log.length());
    assert_eq!(
        copy.tree_hash().await.unwrap(),
        log.tree_hash().await.unwrap()
    );
}

#[tokio::test]
async fn a_wire_that_tampers_cannot_do_harm() {
    let setting = |name: &str| env::var(name).ok().map(|n| n.parse::<u64>().unwrap());
    if let Some(seed) = setting("POME_SEED") {
        tampered(seed).await;
        return;
    }
    let count = setting("POME_SEEDS").unwrap_or(30);
    for seed in 0..count {
        eprintln!("POME_SEED={seed} cargo test -p pome-cores --test hostile tampers");
        tampered(seed).await;
    }
    println!("nightly: hostile: {count} seeds");
}
