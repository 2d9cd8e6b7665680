//! Peers that send anything: no panic, no memory on a peer's word, an end with a name.
//!
//! `POME_SEEDS` sets how many histories are tried, `POME_SEED` replays one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_cores::KeyPair;
use pome_encoding::{put_buffer, put_uint};
use pome_net::{
    Error,
    driver::{Connection, ConnectionOptions},
    noise::{Handshake, Keys, Pattern, Role},
    protomux::{
        CHANNELS_MAX, ChannelId, ChannelOptions, Event, PAIRINGS_MAX, PENDING_MAX, Pairing,
        Protomux, Topic,
    },
    secret_stream::{self, Entropy, FRAME_MAX, SecretStream, StreamOptions},
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs a history per seed; the one that fails is named.
fn histories(default: u64, run: impl Fn(&mut ChaCha8Rng)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match number("POME_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("POME_SEEDS").unwrap_or(default),
    };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| run(&mut ChaCha8Rng::seed_from_u64(seed)));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("POME_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn random_bytes(rng: &mut ChaCha8Rng, max: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..=max)];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn keys(role: Role) -> Keys {
    let (tx, rx) = match role {
        Role::Initiator => (1, 2),
        Role::Responder => (2, 1),
    };
    Keys {
        tx: [tx; 32].into(),
        rx: [rx; 32].into(),
        hash: [3; 64],
        public_key: [4; 32],
        remote_public_key: [5; 32],
    }
}

fn keyed(role: Role) -> SecretStream {
    let options = StreamOptions::default();
    SecretStream::from_keys(Instant::now(), role, keys(role), Entropy::random(), options)
}

fn drain(stream: &mut SecretStream) -> Vec<u8> {
    std::iter::from_fn(|| stream.poll_transmit())
        .flatten()
        .collect()
}

/// Two streams that have shaken hands.
fn opened() -> (SecretStream, SecretStream) {
    let now = Instant::now();
    let (mut a, mut b) = (keyed(Role::Initiator), keyed(Role::Responder));
    let (from_a, from_b) = (drain(&mut a), drain(&mut b));
    a.handle_input(now, &from_b);
    b.handle_input(now, &from_a);
    while a.poll(now).unwrap().is_some() {}
    while b.poll(now).unwrap().is_some() {}
    (a, b)
}

#[test]
fn handshakes_survive_anything() {
    let (us, them) = (KeyPair::from_seed(&[1; 32]), KeyPair::from_seed(&[2; 32]));
    histories(300, |rng| {
        for pattern in [Pattern::Xx, Pattern::Ik, Pattern::Xk, Pattern::Nn] {
            let side = |role, own: &KeyPair, remote: &KeyPair| {
                Handshake::new(pattern, role, own, Some(&remote.public), b"", [7; 32]).unwrap()
            };
            let mut a = side(Role::Initiator, &us, &them);
            let mut b = side(Role::Responder, &them, &us);
            // An honest start of random length, then a message that was changed, cut or made up.
            let honest = rng.random_range(0..3);
            for _ in 0..honest {
                let (from, to) = if a.is_our_turn() {
                    (&mut a, &mut b)
                } else {
                    (&mut b, &mut a)
                };
                if from.is_our_turn() {
                    let message = from.send(b"payload").unwrap();
                    assert_eq!(to.receive(&message).unwrap(), b"payload");
                }
            }
            let (from, to) = if a.is_our_turn() {
                (&mut a, &mut b)
            } else {
                (&mut b, &mut a)
            };
            let mut message = from.send(b"").unwrap_or_default();
            match rng.random_range(0..3) {
                0 if !message.is_empty() => {
                    let at = rng.random_range(0..message.len());
                    message[at] ^= 1 << rng.random_range(0..8);
                }
                1 if !message.is_empty() => {
                    message.truncate(rng.random_range(0..message.len()));
                }
                _ => message = random_bytes(rng, 300),
            }
            // What goes in the clear may be changed unnoticed for now: the next sealed message tells, as it is sealed under all that was said.
            if to.receive(&message).is_ok() {
                let noticed = match to.send(b"") {
                    Ok(next) => from.receive(&next).is_err(),
                    Err(_) => true,
                };
                assert!(noticed, "{pattern:?} after {honest}");
            }
        }
    });
}

/// A point of small order makes every shared secret known: libsodium refuses it, and so must we, in every place of a handshake.
#[test]
fn weak_keys_are_refused() {
    let mut weak = vec![[0; 32]];
    weak.push({
        let mut one = [0; 32];
        one[0] = 1;
        one
    });
    weak.push([0xff; 32]);
    let mut not_canonical = [0xff; 32];
    not_canonical[0] = 0xed;
    not_canonical[31] = 0x7f;
    weak.push(not_canonical);
    for point in weak {
        assert_eq!(pome_net::noise::dh(&[1; 32], &point), None, "{point:?}");
        let us = KeyPair::from_seed(&[1; 32]);
        let mut handshake =
            Handshake::new(Pattern::Xx, Role::Responder, &us, None, b"", [7; 32]).unwrap();
        handshake.receive(&point).unwrap();
        assert!(handshake.send(b"").is_err(), "no secret is made with it");
    }
}

/// Whatever comes, however it is cut, in every state: an error with a name or nothing, and never a message that was not sealed.
#[test]
fn streams_survive_anything() {
    let now = Instant::now();
    histories(400, |rng| {
        let us = KeyPair::from_seed(&[1; 32]);
        let (mut stream, sealed) = match rng.random_range(0..3) {
            0 => {
                let role = [Role::Initiator, Role::Responder][rng.random_range(0..2)];
                let options = StreamOptions::default();
                let stream = SecretStream::new(now, role, &us, Entropy::random(), options);
                (stream.unwrap(), Vec::new())
            }
            1 => (keyed(Role::Initiator), Vec::new()),
            _ => {
                let (stream, mut peer) = opened();
                for _ in 0..3 {
                    let message = random_bytes(rng, 100);
                    peer.write(now, &[message]).unwrap();
                }
                (stream, drain(&mut peer))
            }
        };
        let mut input = sealed.clone();
        let mut intact = sealed.len();
        if !input.is_empty() && rng.random_ratio(2, 3) {
            let at = rng.random_range(0..input.len());
            match rng.random_range(0..3) {
                0 => input[at] ^= 1 << rng.random_range(0..8),
                1 => {
                    input.remove(at);
                }
                _ => input.insert(at, rng.random()),
            }
            intact = at;
        }
        input.extend(random_bytes(rng, 200));
        let mut messages = 0;
        let mut failed = None;
        while !input.is_empty() {
            let rest = input.split_off(rng.random_range(1..=input.len()));
            stream.handle_input(now, &input);
            input = rest;
            loop {
                match stream.poll(now) {
                    Ok(Some(secret_stream::Event::Message(_))) => messages += 1,
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        failed = Some(error.code());
                        break;
                    }
                }
            }
        }
        // No message comes out that reaches into what was changed.
        let mut whole = 0;
        let mut rest = &sealed[..];
        while rest.len() >= 3 {
            let len = 3 + usize::from(rest[0]) + (usize::from(rest[1]) << 8);
            whole += usize::from(sealed.len() - rest.len() + len <= intact);
            rest = &rest[len..];
        }
        assert!(messages <= whole, "{messages} of {whole}");
        if failed.is_none() {
            stream.handle_end();
            let _ = stream.poll(now);
        }
        if let Some(code) = failed {
            assert_eq!(
                stream.poll(now).unwrap_err().code(),
                code,
                "it stays failed"
            );
            assert_eq!(stream.write(now, &[b"x"]).unwrap_err().code(), code);
        }
    });
}

#[test]
fn a_length_reserves_nothing() {
    let now = Instant::now();
    // Before the handshake a length that no handshake has is refused at once.
    let us = KeyPair::from_seed(&[1; 32]);
    let options = StreamOptions::default();
    let mut stream =
        SecretStream::new(now, Role::Responder, &us, Entropy::random(), options).unwrap();
    stream.handle_input(now, &[0xff; 3]);
    assert_eq!(stream.poll(now).unwrap_err().code(), "HANDSHAKE_FAILED");
    // So it is for the header, which has one length.
    let mut stream = keyed(Role::Responder);
    stream.handle_input(now, &[57, 0, 0]);
    assert!(matches!(
        stream.poll(now),
        Ok(Some(secret_stream::Event::Open))
    ));
    assert_eq!(stream.poll(now).unwrap_err().code(), "INVALID_HEADER");
    // After it the longest message is fine, and takes memory as it comes.
    let (mut stream, _) = opened();
    stream.handle_input(now, &[0xff; 3]);
    assert!(stream.poll(now).unwrap().is_none());
    assert!(stream.read_buffer().capacity() <= 2 << 20);
    let (mut a, mut b) = opened();
    let message = vec![5; FRAME_MAX - secret_stream::OVERHEAD];
    a.write(now, &[&message]).unwrap();
    b.handle_input(now, &drain(&mut a));
    let event = b.poll(now).unwrap();
    assert!(matches!(event, Some(secret_stream::Event::Message(got)) if got == message));
    let too_long = vec![0; message.len() + 1];
    assert_eq!(
        a.write(now, &[&too_long]).unwrap_err().code(),
        "MESSAGE_TOO_LARGE"
    );
    assert!(drain(&mut a).is_empty(), "nothing of it was sent");
}

/// Keep-alives are sent when nothing else is, swallowed by who sends them too, and silence ends the stream.
#[test]
fn clocks() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let options = StreamOptions {
        keep_alive: Some(Duration::from_millis(100)),
        timeout: Some(Duration::from_millis(250)),
        ..StreamOptions::default()
    };
    let side =
        |role| SecretStream::from_keys(start, role, keys(role), Entropy::random(), options.clone());
    let (mut a, mut b) = (side(Role::Initiator), side(Role::Responder));
    let mut b_hears = |a: &mut SecretStream, ms: u64| {
        let sent = drain(a);
        if !sent.is_empty() {
            b.handle_input(at(ms), &sent);
        }
        b.handle_timeout(at(ms))?;
        let mut events = Vec::new();
        while let Some(event) = b.poll(at(ms))? {
            events.push(event);
        }
        Ok::<_, Error>(events.len())
    };
    while a.poll(start).unwrap().is_some() {}
    assert_eq!(b_hears(&mut a, 0).unwrap(), 1, "open");
    for ms in [100, 200, 300, 400] {
        assert!(a.poll_timeout().unwrap() <= at(ms).max(at(250)));
        a.handle_input(at(ms), &[]);
        a.handle_timeout(at(ms)).unwrap();
        assert_eq!(a.unsent_bytes(), 3 + 17, "a keep-alive");
        assert_eq!(b_hears(&mut a, ms).unwrap(), 0, "which nobody sees");
        a.handle_timeout(at(ms + 1)).unwrap();
        assert_eq!(a.unsent_bytes(), 0, "one");
    }
    assert_eq!(b_hears(&mut a, 649).unwrap(), 0);
    assert_eq!(
        b_hears(&mut a, 650).unwrap_err().code(),
        "CONNECTION_TIMED_OUT"
    );
}

#[test]
fn muxers_survive_anything() {
    histories(2000, |rng| {
        let mut mux = Protomux::new();
        mux.pair_any("p");
        let topic = Topic::new("q", b"1");
        let mine = mux
            .open(&topic, ChannelOptions::default())
            .unwrap()
            .unwrap();
        for _ in 0..rng.random_range(1..8) {
            if !mux.wants_frame() {
                break;
            }
            let mut frame = Vec::new();
            for _ in 0..rng.random_range(1..6) {
                match rng.random_range(0..6) {
                    // Something that is nearly an open.
                    0 | 1 => {
                        if frame.is_empty() {
                            frame.push(0);
                        }
                        frame.push(rng.random_range(0..5));
                        put_uint(&mut frame, rng.random_range(0..4));
                        put_buffer(&mut frame, [&b"p"[..], b"q", b"r"][rng.random_range(0..3)]);
                        put_buffer(&mut frame, &random_bytes(rng, 2));
                    }
                    2 => frame.extend([0, 0, rng.random_range(0..3)]),
                    3 => put_uint(&mut frame, 1 << rng.random_range(0..53)),
                    4 => frame.extend(random_bytes(rng, 20)),
                    _ => frame.extend([1, 0, 1, 1]),
                }
            }
            mux.handle_frame(frame.into());
            loop {
                match mux.poll() {
                    Ok(Some(Event::Pair(pairing))) => {
                        if rng.random() {
                            mux.open(&pairing.topic, ChannelOptions::default()).unwrap();
                        }
                        mux.settle(pairing);
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        assert!(!error.code().is_empty());
                        assert!(mux.send(mine, 0, Bytes::new()).is_err());
                        return;
                    }
                }
            }
            while mux.poll_transmit().is_some() {}
        }
    });
}

fn open_message(id: u64, protocol: &[u8], topic: &[u8], handshake: &[u8]) -> Vec<u8> {
    let mut message = vec![1];
    put_uint(&mut message, id);
    put_buffer(&mut message, protocol);
    put_buffer(&mut message, topic);
    message.extend_from_slice(handshake);
    message
}

fn frame(channel: u64, message: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    put_uint(&mut frame, channel);
    frame.extend_from_slice(message);
    frame.into()
}

#[test]
fn a_peer_that_opens_without_end_is_put_out() {
    let mut mux = Protomux::new();
    let mut outcome = Ok(None);
    for id in 1..=2 * CHANNELS_MAX as u64 {
        mux.handle_frame(frame(0, &open_message(id, b"x", b"", b"")));
        outcome = mux.poll();
        if outcome.is_err() {
            break;
        }
    }
    assert_eq!(outcome.unwrap_err().code(), "PEER_LIMIT");
    assert!(
        mux.unsent_bytes() < 2 << 20,
        "the rejects that it does not read"
    );
}

#[test]
fn unanswered_opens_hold_the_peer_up() {
    let mut mux = Protomux::new();
    mux.pair_any("x");
    let mut waiting = Vec::new();
    for id in 1.. {
        if !mux.wants_frame() {
            break;
        }
        mux.handle_frame(frame(0, &open_message(id, b"x", &id.to_le_bytes(), b"")));
        while let Some(event) = mux.poll().unwrap() {
            let Event::Pair(pairing) = event else {
                panic!("{event:?}")
            };
            waiting.push(pairing);
        }
    }
    assert_eq!(waiting.len(), PAIRINGS_MAX);
    mux.settle(waiting.pop().unwrap());
    assert!(mux.wants_frame(), "and no longer than that");
    // So do large handshakes.
    let mut mux = Protomux::new();
    mux.pair_any("x");
    for id in 1..4 {
        mux.handle_frame(frame(
            0,
            &open_message(id, b"x", &[id as u8], &vec![0; 600_000]),
        ));
        let event = mux.poll().unwrap();
        assert_eq!(event.is_some(), id < 3);
        waiting.extend(event.map(|event| match event {
            Event::Pair(pairing) => pairing,
            other => panic!("{other:?}"),
        }));
        if id == 2 {
            assert!(mux.is_paused());
            break;
        }
    }
}

#[test]
fn messages_before_the_answer_hold_the_peer_up() {
    let mut mux = Protomux::new();
    mux.pair_any("x");
    mux.handle_frame(frame(0, &open_message(1, b"x", b"", b"hello")));
    let Some(Event::Pair(pairing)) = mux.poll().unwrap() else {
        panic!("paired")
    };
    // A batch of a million: it is read no further than what may wait.
    let mut batch = vec![0, 0, 1];
    for _ in 0..1_000_000 {
        batch.extend([2, 0, 7]);
    }
    mux.handle_frame(batch.into());
    assert!(mux.poll().unwrap().is_none());
    assert!(mux.is_paused() && !mux.wants_frame());
    let channel = mux.open(&pairing.topic, ChannelOptions::default()).unwrap();
    mux.settle(pairing);
    let mut got = 0;
    while let Some(event) = mux.poll().unwrap() {
        match event {
            Event::Opened { handshake, .. } => assert_eq!(handshake, "hello"),
            Event::Message { body, .. } => {
                assert_eq!(body[..], [7]);
                got += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, 1_000_000, "and nothing is lost");
    assert!(channel.is_some() && mux.wants_frame());
    const { assert!(PENDING_MAX < 1_000_000) };
}

/// Two muxers do what comes to their minds, their frames travel at any speed: what is sent on a channel arrives there, once and in order; and when
/// both have closed all they have, nothing is left over.
#[test]
fn two_muxers_agree() {
    #[derive(Default)]
    struct Side {
        mux: Protomux,
        wire: VecDeque<Bytes>,
        channels: Vec<(ChannelId, Topic)>,
        pairings: Vec<Pairing>,
        /// By our channel: what was sent, and what came.
        sent: BTreeMap<ChannelId, u64>,
        came: BTreeMap<ChannelId, u64>,
        from: BTreeMap<ChannelId, u64>,
        tags: BTreeMap<ChannelId, u64>,
    }
    histories(3000, |rng| {
        let mut sides: [Side; 2] = Default::default();
        let topics: Vec<Topic> = (0..3).map(|n| Topic::new("t", &[n])).collect();
        sides[0].mux.pair_any("t");
        let mut tag = 0;
        for step in 0..200 {
            let closing = step >= 120;
            let at = rng.random_range(0..2);
            let (left, right) = sides.split_at_mut(1);
            let (us, them) = if at == 0 {
                (&mut left[0], &mut right[0])
            } else {
                (&mut right[0], &mut left[0])
            };
            let mut open = |us: &mut Side, topic: &Topic| {
                tag += 1;
                let options = ChannelOptions {
                    handshake: &u64::to_le_bytes(tag),
                    ..ChannelOptions::default()
                };
                if let Some(id) = us.mux.open(topic, options).unwrap() {
                    us.channels.push((id, topic.clone()));
                    us.tags.insert(id, tag);
                }
            };
            match rng.random_range(0..8) {
                0 | 1 if !closing => {
                    let topic = &topics[rng.random_range(0..topics.len())];
                    open(us, topic);
                }
                2 if !us.channels.is_empty() => {
                    let (id, _) = us
                        .channels
                        .swap_remove(rng.random_range(0..us.channels.len()));
                    us.mux.close(id);
                }
                3 if !us.pairings.is_empty() => {
                    let pairing = us
                        .pairings
                        .swap_remove(rng.random_range(0..us.pairings.len()));
                    if rng.random() {
                        open(us, &pairing.topic);
                    }
                    us.mux.settle(pairing);
                }
                4 | 5 if !us.channels.is_empty() => {
                    let corked = rng.random();
                    if corked {
                        us.mux.cork();
                    }
                    for _ in 0..rng.random_range(1..4) {
                        let (id, _) = us.channels[rng.random_range(0..us.channels.len())];
                        let n = us.sent.entry(id).or_default();
                        let mut body = us.tags[&id].to_le_bytes().to_vec();
                        body.extend(n.to_le_bytes());
                        *n += 1;
                        us.mux.send(id, 3, body.into()).unwrap();
                    }
                    if corked {
                        us.mux.uncork();
                    }
                }
                _ => {
                    if let Some(frame) = us.wire.pop_front() {
                        if us.mux.wants_frame() {
                            us.mux.handle_frame(frame);
                        } else {
                            us.wire.push_front(frame);
                        }
                    }
                }
            }
            settle(us);
            while let Some(frame) = us.mux.poll_transmit() {
                them.wire.push_back(frame.to_vec().into());
            }
        }
        // All is closed and settled, and everything arrives.
        for _ in 0..4 {
            for at in 0..2 {
                let us = &mut sides[at];
                for pairing in us.pairings.drain(..) {
                    us.mux.settle(pairing);
                }
                for (id, _) in us.channels.drain(..) {
                    us.mux.close(id);
                }
                while let Some(frame) = us.wire.pop_front() {
                    us.mux.handle_frame(frame);
                    settle(us);
                }
                let sent: Vec<_> = std::iter::from_fn(|| us.mux.poll_transmit()).collect();
                let them = &mut sides[1 - at];
                them.wire
                    .extend(sent.iter().map(|frame| Bytes::from(frame.to_vec())));
            }
        }
        for side in &sides {
            assert!(side.wire.is_empty() && side.mux.is_idle(), "{:?}", side.mux);
            assert!(topics.iter().all(|topic| !side.mux.is_opened(topic)));
        }

        fn settle(us: &mut Side) {
            while let Some(event) = us.mux.poll().unwrap() {
                match event {
                    Event::Pair(pairing) => us.pairings.push(pairing),
                    Event::Message {
                        channel,
                        kind,
                        body,
                    } => {
                        assert_eq!(kind, 3);
                        let (tag, n) = body.split_at(8);
                        let came = us.came.entry(channel).or_default();
                        assert_eq!(n, came.to_le_bytes(), "in order, once");
                        *came += 1;
                        let tag = u64::from_le_bytes(tag.try_into().unwrap());
                        assert_eq!(*us.from.entry(channel).or_insert(tag), tag, "one sender");
                    }
                    Event::Closed { channel, .. } => us.channels.retain(|(id, _)| *id != channel),
                    Event::Opened { .. } | Event::Drained => {}
                }
            }
        }
    });
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(pome_test_support::PATIENCE, future)
        .await
        .expect("an answer")
}

fn responder(options: ConnectionOptions) -> (Connection, tokio::io::DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let connection = Connection::over(ours, Role::Responder, &KeyPair::random(), options);
    (connection.unwrap(), theirs)
}

#[tokio::test]
async fn a_peer_that_says_nothing_or_garbage_is_left() {
    // Nothing at all.
    let (connection, _silent) = responder(ConnectionOptions {
        handshake_timeout: Some(Duration::from_millis(20)),
        ..ConnectionOptions::default()
    });
    let error = soon(connection.opened()).await.unwrap_err();
    assert_eq!(error.code(), "CONNECTION_TIMED_OUT");
    // An end.
    let (connection, socket) = responder(ConnectionOptions::default());
    drop(socket);
    assert_eq!(
        soon(connection.closed()).await.unwrap_err().code(),
        "ENDED_EARLY"
    );
    // HTTP.
    let (connection, mut socket) = responder(ConnectionOptions::default());
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(
        soon(connection.closed()).await.unwrap_err().code(),
        "HANDSHAKE_FAILED"
    );
    let mut rest = Vec::new();
    soon(socket.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.is_empty(), "it is told nothing");
    // Half a message, then the end.
    let (connection, mut socket) = responder(ConnectionOptions::default());
    socket.write_all(&[32, 0, 0, 1, 2, 3]).await.unwrap();
    drop(socket);
    assert_eq!(
        soon(connection.opened()).await.unwrap_err().code(),
        "ENDED_EARLY"
    );
}

/// A peer that reads nothing: what we send waits, and not without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_holds_the_sender_up() {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let options = ConnectionOptions::default();
    let a = Connection::over(ours, Role::Initiator, &KeyPair::random(), options.clone()).unwrap();
    let b = Connection::over(theirs, Role::Responder, &KeyPair::random(), options).unwrap();
    let topic = Topic::new("t", b"");
    let sender = a.open(&topic, ChannelOptions::default()).unwrap().unwrap();
    let receiver = b.open(&topic, ChannelOptions::default()).unwrap().unwrap();
    soon(sender.opened()).await.unwrap();
    let body = Bytes::from(vec![7; 10_000]);
    let mut sent = 0u64;
    while let Ok(done) =
        tokio::time::timeout(Duration::from_millis(200), sender.send(0, body.clone())).await
    {
        done.unwrap();
        sent += 1;
        assert!(sent < 1000, "10 MB went nowhere");
    }
    // Once it reads, all comes.
    let flood = async {
        for _ in 0..500 {
            sender.send(0, body.clone()).await.unwrap();
        }
    };
    let read = async {
        for _ in 0..sent + 500 {
            assert_eq!(receiver.recv().await.unwrap().unwrap().1, body);
        }
    };
    soon(async { tokio::join!(flood, read) }).await;
    drop((sender, a));
    assert_eq!(soon(receiver.recv()).await.unwrap(), None);
    soon(b.closed()).await.unwrap();
}

/// Cut off in the middle: every wait ends with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn waits_end_with_the_connection() {
    let (connection, socket) = responder(ConnectionOptions::default());
    let topic = Topic::new("t", b"");
    let channel = connection
        .open(&topic, ChannelOptions::default())
        .unwrap()
        .unwrap();
    let mut listener = connection.pair_any("other");
    let waits = async {
        tokio::join!(
            connection.opened(),
            channel.opened(),
            channel.recv(),
            listener.next(),
            connection.closed()
        )
    };
    let cut = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        drop(socket);
    };
    let ((opened, handshake, message, incoming, closed), ()) =
        soon(async { tokio::join!(waits, cut) }).await;
    assert_eq!(opened.unwrap_err().code(), "ENDED_EARLY");
    assert_eq!(closed.unwrap_err().code(), "ENDED_EARLY");
    assert_eq!(message.unwrap_err().code(), "ENDED_EARLY");
    assert!(handshake.is_none() && incoming.is_none());
    let error = channel.send(0, Bytes::new()).await.unwrap_err();
    assert_eq!(error.code(), "ENDED_EARLY");
}
