#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! Signatures of the HyperDHT beside those of the npm module.

use pome_cores::{KeyPair, crypto::hash};
use pome_net::{
    dht_rpc::node_id,
    hyperdht::{
        PeerAddress,
        messages::{
            Announce, MutablePut, MutableRecord, MutableSignable, Peer, Wire, command, firewall,
        },
        sign::{Place, Purpose, namespaces, sign_mutable, verify_mutable},
    },
};
use pome_test_support::{hex, load};
use serde_json::Value;
use std::net::SocketAddrV4;

/// Proven in `dht_vectors.rs` or `src/dht_rpc/token.rs`; the others are of protocols that nothing here speaks yet.
const ELSEWHERE: &[&str] = &[
    "request_id_byte",
    "response_id_byte",
    "commands",
    "errors",
    "ids",
    "requests",
    "replies",
    "incoming",
    "messages",
    "messages_raw",
    "tokens",
    "handshakes",
    "holepunch_payloads",
    "blind_relay",
    "wakeup",
    "udx",
];

fn vectors() -> Value {
    let known = [
        "namespaces",
        "firewall",
        "signatures",
        "immutable",
        "addresses",
    ];
    load("dht", &known, ELSEWHERE)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name} is empty");
    list
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn key_pair(value: &Value) -> KeyPair {
    let pair = KeyPair::from_secret_key(&array(&value["secretKey"])).unwrap();
    assert_eq!(pair.public, array(&value["publicKey"]));
    pair
}

fn address(value: &Value) -> SocketAddrV4 {
    let port = u16::try_from(value["port"].as_u64().unwrap()).unwrap();
    SocketAddrV4::new(value["host"].as_str().unwrap().parse().unwrap(), port)
}

#[test]
fn vectors_namespaces_and_firewalls() {
    let vectors = vectors();
    let names = namespaces();
    for (name, value) in vectors["namespaces"].as_object().unwrap() {
        let ours = match name.as_str() {
            "ANNOUNCE" => names.announce,
            "UNANNOUNCE" => names.unannounce,
            "MUTABLE_PUT" => names.mutable_put,
            "PEER_HANDSHAKE" => names.peer_handshake,
            "PEER_HOLEPUNCH" => names.peer_holepunch,
            "PLUGIN" => names.plugin,
            other => panic!("{other} is unknown"),
        };
        assert_eq!(ours, array(value), "{name}");
    }
    for (name, value) in vectors["firewall"].as_object().unwrap() {
        let ours = match name.as_str() {
            "UNKNOWN" => firewall::UNKNOWN,
            "OPEN" => firewall::OPEN,
            "CONSISTENT" => firewall::CONSISTENT,
            "RANDOM" => firewall::RANDOM,
            other => panic!("{other} is unknown"),
        };
        assert_eq!(ours, value.as_u64().unwrap(), "{name}");
    }
}

#[test]
fn vectors_mutable_signatures() {
    for case in list(&vectors()["signatures"], "mutable") {
        let pair = key_pair(&case["key_pair"]);
        let signable = MutableSignable {
            seq: case["seq"].as_u64().unwrap(),
            value: hex(&case["value"]).into(),
        };
        assert_eq!(hash(&[&pair.public]), array(&case["target"]));
        let record = MutableRecord {
            signature: array(&case["signature"]),
            signable,
        };
        let verifies = case["verifies"].as_bool().unwrap();
        assert_eq!(verify_mutable(&record, &pair.public), verifies, "{case}");
        assert_eq!(
            sign_mutable(&record.signable, &pair) == record.signature,
            verifies,
            "{case}"
        );
        let mut other = record.clone();
        other.signable.seq += 1;
        assert!(!verify_mutable(&other, &pair.public));
        let put = MutablePut {
            public_key: pair.public,
            record,
        };
        assert_eq!(MutablePut::decode(&put.encode()).unwrap(), put);
    }
}

fn announce(case: &Value) -> Announce {
    let value = &case["announce"];
    Announce {
        peer: Some(Peer {
            public_key: array(&value["peer"]["publicKey"]),
            relay_addresses: list_or_empty(&value["peer"]["relayAddresses"]),
        }),
        refresh: (!value["refresh"].is_null()).then(|| array(&value["refresh"])),
        signature: Some(array(&case["signature"])),
        bump: value["bump"].as_u64().unwrap(),
    }
}

fn list_or_empty(value: &Value) -> Vec<SocketAddrV4> {
    value.as_array().unwrap().iter().map(address).collect()
}

#[test]
fn vectors_announce_signatures() {
    let vectors = vectors();
    for (name, purpose, other) in [
        ("announce", Purpose::Announce, Purpose::Unannounce),
        ("unannounce", Purpose::Unannounce, Purpose::Announce),
    ] {
        for case in list(&vectors["signatures"], name) {
            let pair = key_pair(&case["key_pair"]);
            let place = Place {
                target: array(&case["target"]),
                token: array(&case["token"]),
                node: array(&case["node_id"]),
            };
            let announce = announce(case);
            assert!(place.verify(purpose, &announce), "{case}");
            assert_eq!(
                Some(place.sign(purpose, &announce, &pair)),
                announce.signature
            );
            assert_eq!(announce.encode(), hex(&case["message"]), "{case}");
            // At another node, for another purpose, with another peer: not signed.
            assert!(!place.verify(other, &announce));
            let elsewhere = Place {
                node: node_id("1.2.3.4:5".parse().unwrap()),
                ..place
            };
            assert!(!elsewhere.verify(purpose, &announce));
            let mut changed = announce.clone();
            let at = "9.9.9.9:9".parse().unwrap();
            changed.peer.as_mut().unwrap().relay_addresses.push(at);
            assert!(!place.verify(purpose, &changed));
        }
    }
    assert_eq!(command::ANNOUNCE, 4);
}

#[test]
fn vectors_immutable() {
    for case in list(&vectors(), "immutable") {
        assert_eq!(hash(&[&hex(&case["value"])]), array(&case["target"]));
    }
}

#[test]
fn vectors_addresses() {
    let vectors = vectors();
    for case in list(&vectors, "addresses") {
        let read = |value: &Value| PeerAddress {
            public_key: array(&value["key"]),
            nodes: value["nodes"].as_array().map(|nodes| {
                let node = |node: &Value| {
                    let (host, port) = (&node["host"], &node["port"]);
                    format!("{}:{port}", host.as_str().unwrap())
                        .parse()
                        .unwrap()
                };
                nodes.iter().map(node).collect()
            }),
        };
        let bytes = hex(&case["bytes"]);
        assert_eq!(read(case).encode(), bytes);
        assert_eq!(PeerAddress::decode(&bytes).unwrap(), read(&case["decoded"]));
        // Without flags it is a key alone.
        let key = PeerAddress::decode(&bytes[..32]).unwrap();
        assert_eq!((key.public_key, key.nodes), (read(case).public_key, None));
        assert!(PeerAddress::decode(&bytes[..31]).is_err());
    }
}
