//! Handshakes, streams and datagrams beside the bytes of noise-handshake, noise-curve-ed and secret-stream.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_cores::{KeyPair, crypto};
use pome_net::{
    Error,
    noise::{self, Handshake, Keys, Pattern, Role},
    secret_stream::{Entropy, Event, SecretStream, StreamOptions, stream_id},
};
use pome_test_support::{hex, load};
use serde_json::Value;
use std::time::Instant;

fn vectors() -> Value {
    load(
        "stream",
        &[
            "namespaces",
            "dh",
            "handshakes",
            "streams",
            "refused",
            "datagrams",
        ],
        // tests/mux_vectors.rs
        &["mux", "mux_raw_input", "replication"],
    )
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let list = vectors[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name} is empty");
    list
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn pair(value: &Value) -> KeyPair {
    KeyPair::from_secret_key(&bytes(&value["secretKey"])).unwrap()
}

fn seed(value: &Value) -> [u8; 32] {
    *pair(value).seed()
}

fn role(value: &Value) -> Role {
    match value.as_str().unwrap() {
        "initiator" => Role::Initiator,
        "responder" => Role::Responder,
        other => panic!("no role: {other}"),
    }
}

fn pattern(value: &Value) -> Pattern {
    match value.as_str().unwrap() {
        "XX" => Pattern::Xx,
        "IK" => Pattern::Ik,
        "XK" => Pattern::Xk,
        "NN" => Pattern::Nn,
        other => panic!("no pattern: {other}"),
    }
}

#[test]
fn namespaces() {
    let vectors = vectors();
    let known: [[u8; 32]; 3] = crypto::namespaces("hyperswarm/secret-stream");
    let names = vectors["namespaces"].as_object().unwrap();
    assert_eq!(names.len(), 3);
    for (name, ours) in ["initiator", "responder", "send"].iter().zip(known) {
        assert_eq!(bytes(&names[*name]), ours, "{name}");
    }
}

#[test]
fn diffie_hellman() {
    for case in list(&vectors(), "dh") {
        let secret: [u8; 64] = bytes(&case["secret_key"]);
        let shared = noise::dh(secret.first_chunk().unwrap(), &bytes(&case["public_key"]));
        assert_eq!(shared, Some(bytes(&case["shared"])));
    }
}

#[test]
fn handshakes() {
    for case in list(&vectors(), "handshakes") {
        let pattern = pattern(&case["pattern"]);
        assert_eq!(case["curve"], "Ed25519");
        let (local, remote) = (&case["initiator_static"], &case["responder_static"]);
        let prologue = hex(&case["prologue"]);
        let side = |role: Role, local: &Value, ephemeral: &str| {
            let remote = pair(remote).public;
            let ephemeral = seed(&case[ephemeral]);
            Handshake::new(
                pattern,
                role,
                &pair(local),
                Some(&remote),
                &prologue,
                ephemeral,
            )
            .unwrap()
        };
        let mut initiator = side(Role::Initiator, local, "initiator_ephemeral");
        let mut responder = side(Role::Responder, remote, "responder_ephemeral");
        for message in list(case, "messages") {
            let (from, to) = match role(&message["from"]) {
                Role::Initiator => (&mut initiator, &mut responder),
                Role::Responder => (&mut responder, &mut initiator),
            };
            assert!(from.is_our_turn() && !to.is_our_turn());
            let payload = hex(&message["payload"]);
            assert_eq!(from.send(&payload).unwrap(), hex(&message["bytes"]));
            assert_eq!(to.receive(&hex(&message["bytes"])).unwrap(), payload);
        }
        let (a, b) = (initiator.finish().unwrap(), responder.finish().unwrap());
        let hash: [u8; 64] = bytes(&case["hash"]);
        assert_eq!((a.hash, b.hash), (hash, hash));
        assert_eq!(*a.tx, bytes(&case["initiator_tx"]));
        assert_eq!(*a.rx, bytes(&case["initiator_rx"]));
        assert_eq!((&a.tx, &a.rx), (&b.rx, &b.tx));
        if pattern != Pattern::Nn {
            assert_eq!(a.remote_public_key, pair(remote).public);
            assert_eq!(b.remote_public_key, pair(local).public);
        }
        let ids = ["stream_id_initiator", "stream_id_responder"];
        for (role, id) in [Role::Initiator, Role::Responder].iter().zip(ids) {
            assert_eq!(stream_id(&hash, *role), bytes(&case[id]));
        }
        if let Some(secret) = case.get("holepunch_secret") {
            // The namespaces of HyperDHT are numbered as its commands: 0 is PEER_HANDSHAKE, 1 PEER_HOLEPUNCH.
            assert_eq!(prologue, crypto::namespace("hyperswarm/dht", 0));
            let holepunch = crypto::namespace("hyperswarm/dht", 1);
            assert_eq!(crypto::hash_keyed(&hash, &[&holepunch]), bytes(secret));
        }
    }
}

/// The header that a side draws stands at the end of what it sends first.
fn header(setup: &[Value], from: &str) -> [u8; 24] {
    let sent: Vec<u8> = setup
        .iter()
        .filter(|write| write["from"] == from)
        .flat_map(|write| hex(&write["bytes"]))
        .collect();
    *sent.last_chunk().unwrap()
}

fn plain(value: &Value) -> Vec<u8> {
    match value.get("repeat") {
        Some(period) => {
            let size = value["size"].as_u64().unwrap() as usize;
            hex(period).into_iter().cycle().take(size).collect()
        }
        None => hex(value),
    }
}

fn assert_wire(value: &Value, wire: &[u8]) {
    match value.get("blake2b") {
        Some(hash) => {
            assert_eq!(value["size"].as_u64().unwrap(), wire.len() as u64);
            assert_eq!(bytes(hash), crypto::hash(&[wire]));
        }
        None => assert_eq!(hex(value), wire),
    }
}

fn drain(stream: &mut SecretStream) -> Vec<u8> {
    std::iter::from_fn(|| stream.poll_transmit())
        .flatten()
        .collect()
}

fn events(stream: &mut SecretStream) -> Result<Vec<Event>, Error> {
    let mut out = Vec::new();
    while let Some(event) = stream.poll(Instant::now())? {
        out.push(event);
    }
    Ok(out)
}

#[test]
fn streams() {
    let now = Instant::now();
    for case in list(&vectors(), "streams") {
        let setup = list(case, "setup");
        let drawn = case["ephemeral_in_order_of_use"].as_array().unwrap();
        let given = &case["given"];
        let side = |us: &str, them: &str, role: Role, ephemeral: usize| {
            let entropy = Entropy {
                ephemeral: drawn.get(ephemeral).map(seed).unwrap_or_default(),
                header: header(setup, us),
                counter: [0; 8],
            };
            let (key_pair, remote) = (pair(&case[us]), pair(&case[them]).public);
            if given.is_null() {
                let pattern = pattern(&case["pattern"]);
                let options = StreamOptions {
                    pattern,
                    remote_public_key: (pattern == Pattern::Ik).then_some(remote),
                    ..StreamOptions::default()
                };
                return SecretStream::new(now, role, &key_pair, entropy, options).unwrap();
            }
            assert_eq!(case["pattern"], "handed over");
            let (tx, rx) = match role {
                Role::Initiator => ("initiator_tx", "initiator_rx"),
                Role::Responder => ("initiator_rx", "initiator_tx"),
            };
            let keys = Keys {
                tx: bytes(&given[tx]).into(),
                rx: bytes(&given[rx]).into(),
                hash: bytes(&given["hash"]),
                public_key: key_pair.public,
                remote_public_key: remote,
            };
            SecretStream::from_keys(now, role, keys, entropy, StreamOptions::default())
        };
        let mut initiator = side("initiator", "responder", Role::Initiator, 0);
        let mut responder = side("responder", "initiator", Role::Responder, 1);
        let mut sent = [Vec::new(), Vec::new()];
        let mut opened = 0;
        for _ in 0..4 {
            for (turn, sent) in sent.iter_mut().enumerate() {
                let (from, to) = match turn {
                    0 => (&mut initiator, &mut responder),
                    _ => (&mut responder, &mut initiator),
                };
                let wire = drain(from);
                // However the bytes are cut, the same comes out.
                for byte in &wire {
                    to.handle_input(now, &[*byte]);
                    opened += events(to).unwrap().len();
                }
                sent.extend(wire);
                opened += events(from).unwrap().len();
            }
        }
        assert_eq!(opened, 2, "each side opens once");
        for (turn, from) in ["initiator", "responder"].iter().enumerate() {
            let wire: Vec<u8> = setup
                .iter()
                .filter(|write| write["from"] == *from)
                .flat_map(|write| hex(&write["bytes"]))
                .collect();
            assert_eq!(sent[turn], wire, "{from}");
        }
        for side in [&initiator, &responder] {
            assert_eq!(
                *side.handshake_hash().unwrap(),
                bytes(&case["handshake_hash"])
            );
            assert_eq!(
                stream_id(side.handshake_hash().unwrap(), Role::Initiator),
                bytes(&case["stream_id_initiator"])
            );
            assert_eq!(
                stream_id(side.handshake_hash().unwrap(), Role::Responder),
                bytes(&case["stream_id_responder"])
            );
        }
        let mut received = [0, 0];
        for message in list(case, "messages") {
            let (from, to, receiver) = match role(&message["from"]) {
                Role::Initiator => (&mut initiator, &mut responder, 1),
                Role::Responder => (&mut responder, &mut initiator, 0),
            };
            let plain = plain(&message["plain"]);
            let (head, tail) = plain.split_at(plain.len() / 3);
            from.write(now, &[head, tail]).unwrap();
            let wire = drain(from);
            assert_wire(&message["wire"], &wire);
            to.handle_input(now, &wire);
            assert_eq!(events(to).unwrap(), [Event::Message(plain.into())]);
            received[receiver] += 1;
        }
        assert_eq!(received[0], case["received_by_initiator"].as_u64().unwrap());
        assert_eq!(received[1], case["received_by_responder"].as_u64().unwrap());
    }
}

#[test]
fn what_a_stream_refuses() {
    let now = Instant::now();
    for case in list(&vectors(), "refused") {
        let keys = Keys {
            tx: [9; 32].into(),
            rx: bytes(&case["initiator_rx"]).into(),
            hash: bytes(&case["hash"]),
            public_key: [1; 32],
            remote_public_key: [2; 32],
        };
        let mut stream = SecretStream::from_keys(
            now,
            Role::Initiator,
            keys,
            Entropy::random(),
            StreamOptions::default(),
        );
        stream.handle_input(now, &hex(&case["input"]));
        let mut received = Vec::new();
        let outcome = loop {
            match stream.poll(now) {
                Ok(Some(Event::Message(message))) => received.push(message.to_vec()),
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error.code()),
            }
        };
        let theirs = case["received"].as_array().unwrap().iter().map(hex);
        let theirs: Vec<_> = match case["what"].as_str().unwrap() {
            // npm's stream throws away what nobody had read yet when it fails; ours has handed the good first message out by then.
            "message twice" => vec![b"hello".to_vec()],
            _ => theirs.collect(),
        };
        assert_eq!(received, theirs, "{}", case["what"]);
        let wanted = match case["error"].as_str() {
            None => None,
            Some("Invalid header received" | "Invalid header message received") => {
                Some("INVALID_HEADER")
            }
            Some("Invalid message received") => Some("INVALID_MESSAGE"),
            // The words of the addon when a MAC is wrong.
            Some(_) => Some("INVALID_MESSAGE"),
        };
        assert_eq!(outcome, wanted, "{}", case["what"]);
    }
}

#[test]
fn datagrams() {
    let now = Instant::now();
    for case in list(&vectors(), "datagrams") {
        let role = match case["is_initiator"].as_bool().unwrap() {
            true => Role::Initiator,
            false => Role::Responder,
        };
        let side = |role| {
            let keys = Keys {
                tx: [1; 32].into(),
                rx: [2; 32].into(),
                hash: bytes(&case["handshake_hash"]),
                public_key: [1; 32],
                remote_public_key: [2; 32],
            };
            let entropy = Entropy {
                counter: bytes(&case["initial_counter"]),
                ..Entropy::random()
            };
            SecretStream::from_keys(now, role, keys, entropy, StreamOptions::default())
        };
        let (mut sender, receiver) = (side(role), side(role.other()));
        for message in list(case, "messages") {
            let plain = hex(&message["plain"]);
            let sealed = sender.seal_datagram(&plain).unwrap();
            assert_eq!(sealed, hex(&message["wire"]));
            assert_eq!(receiver.open_datagram(&sealed), Some(plain));
            assert_eq!(sender.open_datagram(&sealed), None, "our own");
            let mut changed = sealed.clone();
            *changed.last_mut().unwrap() ^= 1;
            assert_eq!(receiver.open_datagram(&changed), None);
            assert_eq!(
                receiver.open_datagram(&sealed[..23.min(sealed.len())]),
                None
            );
        }
    }
}

#[test]
fn what_was_written_before_the_handshake_is_sent_although_the_end_came_before_it_too() {
    let now = Instant::now();
    let side = |role| {
        let pair = KeyPair::random();
        SecretStream::new(
            now,
            role,
            &pair,
            Entropy::random(),
            StreamOptions::default(),
        )
        .unwrap()
    };
    let (mut ours, mut theirs) = (side(Role::Initiator), side(Role::Responder));
    ours.write(now, &[b"hello"]).unwrap();
    ours.end();
    assert!(!ours.is_write_done());
    assert!(matches!(ours.write(now, &[b"late"]), Err(Error::Closed)));
    let mut told = Vec::new();
    for _ in 0..4 {
        theirs.handle_input(now, &drain(&mut ours));
        told.extend(events(&mut theirs).unwrap());
        ours.handle_input(now, &drain(&mut theirs));
        events(&mut ours).unwrap();
    }
    assert_eq!(
        told,
        [Event::Open, Event::Message(Bytes::from_static(b"hello"))]
    );
    assert!(ours.is_write_done());
}
