#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! The datagrams of dht-rpc beside those of the npm module.

use bytes::Bytes;
use pome_net::dht_rpc::{Message, Request, Response, node_id};
use pome_test_support::{hex, load};
use serde_json::Value;
use std::net::SocketAddrV4;

/// Lists that are proven where the messages of the HyperDHT are, and in `src/dht_rpc/token.rs`.
const ELSEWHERE: &[&str] = &[
    "commands",
    "firewall",
    "errors",
    "namespaces",
    "tokens",
    "messages",
    "messages_raw",
    "signatures",
    "immutable",
    "handshakes",
    "holepunch_payloads",
    "blind_relay",
    "wakeup",
    "addresses",
    "udx",
];

fn vectors() -> Value {
    let known = [
        "request_id_byte",
        "response_id_byte",
        "ids",
        "requests",
        "replies",
        "incoming",
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
