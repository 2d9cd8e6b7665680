#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! The datagrams of dht-rpc beside those of the npm module.

use bytes::Bytes;
use pome_cores::{KeyPair, crypto::hash_keyed};
use pome_net::{
    dht_rpc::{Message, Request, Response, internal, node_id},
    hyperdht::{
        messages::{
            Announce, Handshake, Holepunch, HolepunchInfo, HolepunchPayload, LookupReply,
            MutablePut, MutableRecord, MutableSignable, NoisePayload, Peer, PluginRequest,
            RelayInfo, RelayThrough, UdxInfo, Wire, command, error,
        },
        secure::{PeerHandshake, SecurePayload},
        sign::namespaces,
    },
    noise::Role,
    secret_stream::stream_id,
};
use pome_test_support::{hex, load};
use serde_json::Value;
use std::net::SocketAddrV4;

/// `tokens`: proven in `src/dht_rpc/token.rs`; what is signed, in `hyperdht_vectors.rs`. The others are of protocols that nothing here speaks yet.
const ELSEWHERE: &[&str] = &[
    "tokens",
    "firewall",
    "namespaces",
    "signatures",
    "immutable",
    "blind_relay",
    "wakeup",
    "addresses",
    "udx",
];

fn vectors() -> Value {
    let known = [
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
        "handshakes",
        "holepunch_payloads",
    ];
    load("dht", &known, ELSEWHERE)
}

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let list = vectors[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name} is empty");
    list
}

fn address(value: &Value) -> SocketAddrV4 {
    let host = value["host"].as_str().unwrap().parse().unwrap();
    SocketAddrV4::new(
        host,
        u16::try_from(value["port"].as_u64().unwrap()).unwrap(),
    )
}

fn array(value: &Value) -> Option<[u8; 32]> {
    (!value.is_null()).then(|| hex(value).try_into().unwrap())
}

fn bytes(value: &Value) -> Option<Bytes> {
    (!value.is_null()).then(|| hex(value).into())
}

fn request(case: &Value) -> Request {
    Request {
        tid: u16::try_from(case["tid"].as_u64().unwrap()).unwrap(),
        to: address(&case["to"]),
        id: array(&case["id"]),
        token: array(&case["token"]),
        internal: case["internal"].as_bool().unwrap(),
        command: case["command"].as_u64().unwrap(),
        target: array(&case["target"]),
        value: bytes(&case["value"]),
    }
}

#[test]
fn vectors_ids() {
    let vectors = vectors();
    assert_eq!(vectors["request_id_byte"], "03");
    assert_eq!(vectors["response_id_byte"], "13");
    for case in list(&vectors, "ids") {
        assert_eq!(Some(node_id(address(case))), array(&case["id"]));
    }
}

#[test]
fn vectors_requests() {
    for case in list(&vectors(), "requests") {
        assert_eq!(request(case).encode(), hex(&case["bytes"]), "{case}");
        // A sender whose address is not that of the id: the rest is read.
        let from = "1.2.3.4:5".parse().unwrap();
        let Some(Message::Request(read)) = Message::decode(&hex(&case["bytes"]).into(), from)
        else {
            panic!("not read: {case}");
        };
        let id = None;
        assert_eq!(
            read,
            Request {
                id,
                ..request(case)
            }
        );
    }
}

#[test]
fn vectors_replies() {
    for case in list(&vectors(), "replies") {
        let response = Response {
            tid: u16::try_from(case["tid"].as_u64().unwrap()).unwrap(),
            to: address(&case["to"]),
            id: array(&case["id"]),
            token: array(&case["token"]),
            closer_nodes: case["closer_nodes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(address)
                .collect(),
            error: case["error"].as_u64().unwrap(),
            value: bytes(&case["value"]),
        };
        assert_eq!(response.encode(), hex(&case["bytes"]), "{case}");
        let from = "1.2.3.4:5".parse().unwrap();
        let Some(Message::Response(read)) = Message::decode(&hex(&case["bytes"]).into(), from)
        else {
            panic!("not read: {case}");
        };
        let id = None;
        assert_eq!(read, Response { id, ..response });
    }
}

#[test]
fn vectors_incoming() {
    for case in list(&vectors(), "incoming") {
        let datagram = Bytes::from(hex(&case["bytes"]));
        let from = address(&case["from"]);
        let read = match Message::decode(&datagram, from) {
            Some(Message::Request(request)) => Some(request),
            _ => None,
        };
        let answered_with_error = !case["answered"].as_array().unwrap().is_empty();
        if case["request"].is_null() {
            // Either no request at all, or one that the token in it makes an error.
            assert!(read.is_none() || answered_with_error, "{case}");
            continue;
        }
        let mut expected = request(&case["request"]);
        expected.id = array(&case["request"]["from"]["id"]);
        assert_eq!(read, Some(expected), "{case}");
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn maybe<T>(value: &Value, make: impl FnOnce(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| make(value))
}

fn addresses(value: &Value) -> Vec<SocketAddrV4> {
    value.as_array().unwrap().iter().map(address).collect()
}

fn peer(value: &Value) -> Peer {
    Peer {
        public_key: array(&value["publicKey"]).unwrap(),
        relay_addresses: addresses(&value["relayAddresses"]),
    }
}

fn noise_payload(v: &Value) -> NoisePayload {
    NoisePayload {
        version: number(&v["version"]),
        error: number(&v["error"]),
        firewall: number(&v["firewall"]),
        holepunch: maybe(&v["holepunch"], |v| HolepunchInfo {
            id: number(&v["id"]),
            relays: v["relays"]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| RelayInfo {
                    relay_address: address(&v["relayAddress"]),
                    peer_address: address(&v["peerAddress"]),
                })
                .collect(),
        }),
        addresses4: addresses(&v["addresses4"]),
        addresses6: v["addresses6"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| {
                let ip = text(&v["host"]).parse().unwrap();
                std::net::SocketAddrV6::new(ip, u16::try_from(number(&v["port"])).unwrap(), 0, 0)
            })
            .collect(),
        udx: maybe(&v["udx"], |v| UdxInfo {
            version: number(&v["version"]),
            reusable_socket: v["reusableSocket"].as_bool().unwrap(),
            id: number(&v["id"]),
            seq: number(&v["seq"]),
        }),
        secret_stream: maybe(&v["secretStream"], |v| number(&v["version"])),
        relay_through: maybe(&v["relayThrough"], |v| RelayThrough {
            version: number(&v["version"]),
            public_key: array(&v["publicKey"]).unwrap(),
            token: array(&v["token"]).unwrap(),
        }),
        relay_addresses: maybe(&v["relayAddresses"], addresses),
    }
}

fn holepunch_payload(v: &Value) -> HolepunchPayload {
    HolepunchPayload {
        error: number(&v["error"]),
        firewall: number(&v["firewall"]),
        round: number(&v["round"]),
        connected: v["connected"].as_bool().unwrap(),
        punching: v["punching"].as_bool().unwrap(),
        addresses: maybe(&v["addresses"], addresses),
        remote_address: maybe(&v["remoteAddress"], address),
        token: array(&v["token"]),
        remote_token: array(&v["remoteToken"]),
    }
}

fn handshake(v: &Value) -> Handshake {
    Handshake {
        mode: number(&v["mode"]),
        noise: bytes(&v["noise"]).unwrap(),
        peer_address: maybe(&v["peerAddress"], address),
        relay_address: maybe(&v["relayAddress"], address),
    }
}

fn announce(v: &Value) -> Announce {
    Announce {
        peer: maybe(&v["peer"], peer),
        refresh: array(&v["refresh"]),
        signature: maybe(&v["signature"], |v| hex(v).try_into().unwrap()),
        bump: number(&v["bump"]),
    }
}

fn signable(v: &Value) -> MutableSignable {
    MutableSignable {
        seq: number(&v["seq"]),
        value: bytes(&v["value"]).unwrap(),
    }
}

fn record(v: &Value) -> MutableRecord {
    MutableRecord {
        signable: signable(v),
        signature: hex(&v["signature"]).try_into().unwrap(),
    }
}

fn lookup(v: &Value) -> LookupReply {
    LookupReply {
        peers: v["peers"].as_array().unwrap().iter().map(peer).collect(),
        bump: number(&v["bump"]),
    }
}

/// Reads the bytes, and writes what was read when it was written by npm.
fn check<T: Wire + PartialEq + std::fmt::Debug>(case: &Value, expected: T, written: bool) {
    let wire = hex(&case["bytes"]);
    assert_eq!(T::decode(&wire), Ok(expected), "{case}");
    if written {
        assert_eq!(T::decode(&wire).unwrap().encode(), wire, "{case}");
    }
    for end in 0..wire.len() {
        // Anything shorter is an error or another message, never a panic.
        let _ = T::decode(&wire[..end]);
    }
}

fn check_message(case: &Value, v: &Value, written: bool) {
    match case["message"].as_str().unwrap() {
        "handshake" => check(case, handshake(v), written),
        "holepunch" => {
            let expected = Holepunch {
                mode: number(&v["mode"]),
                id: number(&v["id"]),
                payload: bytes(&v["payload"]).unwrap(),
                peer_address: maybe(&v["peerAddress"], address),
            };
            check(case, expected, written);
        }
        "noisePayload" => check(case, noise_payload(v), written),
        "holepunchPayload" => check(case, holepunch_payload(v), written),
        "peer" => check(case, peer(v), written),
        "peers" => {
            let expected: Vec<Peer> = v.as_array().unwrap().iter().map(peer).collect();
            check(case, expected, written);
        }
        "lookupRawReply" => check(case, lookup(v), written),
        "announce" => check(case, announce(v), written),
        "mutableSignable" => check(case, signable(v), written),
        "mutablePutRequest" => {
            let expected = MutablePut {
                public_key: array(&v["publicKey"]).unwrap(),
                record: record(v),
            };
            check(case, expected, written);
        }
        "mutableGetResponse" => check(case, record(v), written),
        "pluginRequest" => {
            let expected = PluginRequest {
                plugin: text(&v["plugin"]),
                version: number(&v["version"]),
                command: number(&v["command"]),
                value: bytes(&v["value"]),
            };
            check(case, expected, written);
        }
        other => panic!("no test knows the message {other:?}"),
    }
}

#[test]
fn vectors_messages() {
    let vectors = vectors();
    for case in list(&vectors, "messages") {
        check_message(case, &case["decoded"], true);
    }
    for case in list(&vectors, "messages_raw") {
        if case["error"].is_null() {
            check_message(case, &case["value"], false);
            continue;
        }
        let wire = hex(&case["bytes"]);
        let refused = match case["message"].as_str().unwrap() {
            "noisePayload" => NoisePayload::decode(&wire).is_err(),
            "handshake" => Handshake::decode(&wire).is_err(),
            "peer" => Peer::decode(&wire).is_err(),
            other => panic!("no test knows the message {other:?}"),
        };
        assert!(refused, "{case}");
    }
}

#[test]
fn vectors_numbers() {
    let vectors = vectors();
    let commands = &vectors["commands"];
    let hyperdht = [
        ("PEER_HANDSHAKE", command::PEER_HANDSHAKE),
        ("PEER_HOLEPUNCH", command::PEER_HOLEPUNCH),
        ("FIND_PEER", command::FIND_PEER),
        ("LOOKUP", command::LOOKUP),
        ("ANNOUNCE", command::ANNOUNCE),
        ("UNANNOUNCE", command::UNANNOUNCE),
        ("MUTABLE_PUT", command::MUTABLE_PUT),
        ("MUTABLE_GET", command::MUTABLE_GET),
        ("IMMUTABLE_PUT", command::IMMUTABLE_PUT),
        ("IMMUTABLE_GET", command::IMMUTABLE_GET),
        ("PLUGIN", command::PLUGIN),
    ];
    let own = [
        ("PING", internal::PING),
        ("PING_NAT", internal::PING_NAT),
        ("FIND_NODE", internal::FIND_NODE),
        ("DOWN_HINT", internal::DOWN_HINT),
        ("DELAYED_PING", internal::DELAYED_PING),
    ];
    let errors = [
        ("NONE", error::NONE),
        ("ABORTED", error::ABORTED),
        ("VERSION_MISMATCH", error::VERSION_MISMATCH),
        ("TRY_LATER", error::TRY_LATER),
        ("SEQ_REUSED", error::SEQ_REUSED),
        ("SEQ_TOO_LOW", error::SEQ_TOO_LOW),
    ];
    for (listed, known) in [
        (&commands["hyperdht"], &hyperdht[..]),
        (&commands["internal"], &own[..]),
        (&vectors["errors"], &errors[..]),
    ] {
        let listed = listed.as_object().unwrap();
        assert_eq!(listed.len(), known.len());
        for (name, code) in known {
            assert_eq!(number(&listed[*name]), *code, "{name}");
        }
    }
}

fn secret(value: &Value) -> [u8; 32] {
    *hex(value).first_chunk().unwrap()
}

#[test]
fn vectors_handshakes_of_peers() {
    for case in list(&vectors(), "handshakes") {
        let pair = |name: &str| KeyPair::from_seed(&secret(&case[name]["secretKey"]));
        let (client, server) = (pair("client"), pair("server"));
        let ephemeral = |name: &str| secret(&case[name]["secretKey"]);
        let mut a =
            PeerHandshake::new(&client, Some(&server.public), ephemeral("client_ephemeral"))
                .unwrap();
        let mut b = PeerHandshake::new(&server, None, ephemeral("server_ephemeral")).unwrap();
        let said = noise_payload(&case["server_reads"]);
        let first = a.send(&said).unwrap();
        assert_eq!(first, hex(&case["message_1"]));
        // A message that was changed on its way leaves the handshake as it was.
        let mut changed = first.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(b.receive(&changed).is_err());
        assert_eq!(b.receive(&first).unwrap(), said);
        assert_eq!(b.remote_public_key(), Some(client.public));
        let answered = noise_payload(&case["client_reads"]);
        let second = b.send(&answered).unwrap();
        assert_eq!(second, hex(&case["message_2"]));
        let mut changed = second.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(a.receive(&changed).is_err());
        assert_eq!(a.receive(&second).unwrap(), answered);
        let (keys, _) = a.finish([0; 32]).unwrap();
        let (others, _) = b.finish([0; 32]).unwrap();
        assert_eq!(keys.hash[..], hex(&case["hash"]));
        assert_eq!(*keys.tx, array(&case["client_tx"]).unwrap());
        assert_eq!(*keys.rx, array(&case["client_rx"]).unwrap());
        assert_eq!((&*keys.tx, &*keys.rx), (&*others.rx, &*others.tx));
        // What each side expects the other's stream to begin with.
        let expected = |role| stream_id(&keys.hash, role);
        let remote = array(&case["client_remote_id"]).unwrap();
        assert_eq!(expected(Role::Responder), remote);
        let remote = array(&case["server_remote_id"]).unwrap();
        assert_eq!(expected(Role::Initiator), remote);
        let holepunch = hash_keyed(&keys.hash, &[&namespaces().peer_holepunch]);
        assert_eq!(holepunch, array(&case["holepunch_secret"]).unwrap());
    }
}

#[test]
fn vectors_sealed_messages_about_holes() {
    for case in list(&vectors(), "holepunch_payloads") {
        let secret = array(&case["secret"]).unwrap();
        let sealer = SecurePayload::new(&secret, array(&case["local_secret"]).unwrap());
        let value = holepunch_payload(&case["value"]);
        let nonce = hex(&case["nonce"]).try_into().unwrap();
        let sealed = hex(&case["bytes"]);
        assert_eq!(sealer.seal(&value, nonce), sealed, "{case}");
        let opened = maybe(&case["opened"], holepunch_payload);
        assert_eq!(sealer.open(&sealed), opened, "{case}");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(sealer.open(&changed), None);
            assert_eq!(sealer.open(&sealed[..at]), None);
        }
        let token = &case["token_for"];
        let host = text(&token["host"]).parse().unwrap();
        assert_eq!(Some(sealer.token(host)), array(&token["token"]));
    }
}
