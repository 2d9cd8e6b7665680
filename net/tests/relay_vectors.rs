#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! What clients of a relay and the relay say to each other, beside the npm module.

use pome_net::dht_relay::{Announcers, Keys, Message, Proof};
use pome_test_support::{hex, load};
use serde_json::Value;

fn list<'a>(vectors: &'a Value, name: &str) -> &'a [Value] {
    let list = vectors[name].as_array().unwrap();
    assert!(!list.is_empty(), "{name} is empty");
    list
}

/// What the message says, as the module calls it.
fn says(message: &Message) -> &'static str {
    match message {
        Message::Handshake(_) => "handshake",
        Message::Ping => "ping",
        Message::Pong => "pong",
        Message::Connect { .. } => "connect",
        Message::Connection { .. } => "connection",
        Message::Connected { .. } => "connected",
        Message::Incoming { .. } => "incoming",
        Message::Deny(_) => "deny",
        Message::Accept(_) => "accept",
        Message::Destroy { .. } => "destroy",
        Message::Listen { .. } => "listen",
        Message::Listening { .. } => "listening",
        Message::Close(_) => "close",
        Message::Closed(_) => "closed",
        Message::Open { .. } => "open",
        Message::End(_) => "end",
        Message::Data { .. } => "data",
        Message::Result { .. } => "result",
        Message::Finished(_) => "finished",
        Message::Lookup { .. } => "lookup",
        Message::Announce(_) => "announce",
        Message::Unannounce(_) => "unannounce",
        Message::SignAnnounce(_) => "signAnnounce",
        Message::SignUnannounce(_) => "signUnannounce",
        Message::Signature { .. } => "signature",
        Message::NoiseSend { .. } => "noiseSend",
        Message::NoiseReceive { .. } => "noiseReceive",
        Message::NoiseReply(_) => "noiseReply",
    }
}

#[test]
fn vectors_messages_are_those_of_dht_relay() {
    let vectors = load("relay", &["messages", "announcers"], &["source"]);
    let mut kinds = Vec::new();
    for case in list(&vectors, "messages") {
        let name = case["name"].as_str().unwrap();
        let kind = case["kind"].as_u64().unwrap();
        let bytes = hex(&case["hex"]);
        let message = Message::decode(kind, &bytes).unwrap().unwrap();
        assert_eq!(says(&message), name);
        let (own, body) = message.encode();
        assert_eq!((own, &body[..]), (kind, &bytes[..]), "{case}");
        // Every message that was cut says nothing.
        for end in 0..bytes.len() {
            assert!(Message::decode(kind, &bytes[..end]).is_err(), "{case}");
        }
        let value = &case["value"];
        match &message {
            Message::Handshake(Keys { public, secret }) => {
                assert_eq!(public[..], hex(&value["publicKey"]));
                assert_eq!(secret.is_some(), value["custodial"].as_bool().unwrap());
            }
            Message::Open { alias, proof, .. } | Message::Connection { alias, proof, .. } => {
                assert_eq!(u64::from(*alias), value["alias"].as_u64().unwrap());
                match proof {
                    Proof::Hash(hash) => assert_eq!(hash[..], hex(&value["handshakeHash"])),
                    Proof::Handshake(id) => {
                        assert_eq!(u64::from(*id), value["handshakeId"].as_u64().unwrap());
                    }
                }
            }
            Message::Data { chunks, .. } => {
                let wanted: Vec<_> = value["data"].as_array().unwrap().iter().map(hex).collect();
                assert_eq!(*chunks, wanted);
            }
            Message::SignAnnounce(wanted) => {
                let addresses = value["relayAddresses"].as_array().unwrap();
                assert_eq!(wanted.relay_addresses.len(), addresses.len());
                for (ours, theirs) in wanted.relay_addresses.iter().zip(addresses) {
                    assert_eq!(ours.ip().to_string(), theirs["host"].as_str().unwrap());
                    assert_eq!(u64::from(ours.port()), theirs["port"].as_u64().unwrap());
                }
            }
            _ => {}
        }
        kinds.push(kind);
    }
    kinds.dedup();
    assert_eq!(kinds, (0..28).collect::<Vec<u64>>());
    assert!(Message::decode(28, &[]).unwrap().is_none());
    for case in list(&vectors, "announcers") {
        let bytes = hex(&case["hex"]);
        let found = Announcers::decode(&bytes).unwrap();
        assert_eq!(found.encode(), bytes);
        let peers = case["value"]["peers"].as_array().unwrap();
        assert_eq!(found.peers.len(), peers.len());
        for end in 0..bytes.len() {
            assert!(Announcers::decode(&bytes[..end]).is_err(), "{case}");
        }
    }
}
