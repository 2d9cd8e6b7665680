//! Golden vectors of the replication channel: its messages and its capabilities, made by hypercore 11.37.1 (`tests/vectors/core.json`).
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

use bytes::Bytes;
use pome_cores::{
    Key, Manifest, caps, crypto,
    manifest::{Prologue, Signer},
    merkle::{
        BlockProof, HashProof, Node, NodeRequest, Proof, ProofRequest, SeekProof, SeekRequest,
        UpgradeProof, UpgradeRequest,
    },
    replication::messages::{
        Bits, Data, Extension, Handshake, Have, Message, NoData, ReorgHint, Request, Sync, Want,
    },
};
use pome_encoding::Reader;
use pome_test_support::{hex, load};
use serde_json::Value;

const ELSEWHERE: &[&str] = &[
    "namespaces",
    "manifests",
    "manifest_refused",
    "manifest_bytes",
    "logs",
    "truncations",
    "multisigs",
    "encryption",
    "proofs",
    "refused_requests",
    "tampered",
    "signables",
    "oplog",
];

fn core() -> Value {
    load("core", &["messages", "messages_raw", "channels"], ELSEWHERE)
}

/// An object of which every field must be asked for.
struct Fields<'a> {
    value: &'a Value,
    left: Vec<&'a str>,
}

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Self {
        let left = value.as_object().unwrap().keys().map(String::as_str);
        Self {
            value,
            left: left.collect(),
        }
    }

    fn get(&mut self, field: &str) -> Option<&'a Value> {
        self.left.retain(|left| *left != field);
        self.value.get(field).filter(|value| !value.is_null())
    }

    fn uint(&mut self, field: &str) -> u64 {
        self.get(field).map_or(0, |value| value.as_u64().unwrap())
    }

    fn flag(&mut self, field: &str) -> bool {
        self.get(field)
            .is_some_and(|value| value.as_bool().unwrap())
    }

    fn bytes(&mut self, field: &str) -> Bytes {
        hex(self.get(field).unwrap()).into()
    }

    fn list<T>(&mut self, field: &str, read: impl FnMut(&'a Value) -> T) -> Vec<T> {
        let list = self.get(field).map(|value| value.as_array().unwrap());
        list.into_iter().flatten().map(read).collect()
    }

    fn part<T>(&mut self, field: &str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        self.get(field).map(|value| all(value, read))
    }
}

fn all<'a, T>(value: &'a Value, read: impl FnOnce(&mut Fields<'a>) -> T) -> T {
    let mut fields = Fields::of(value);
    let read = read(&mut fields);
    assert!(fields.left.is_empty(), "unknown fields {:?}", fields.left);
    read
}

fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn node(value: &Value) -> Node {
    all(value, |f| Node {
        index: f.uint("index"),
        size: f.uint("size"),
        hash: fixed(&f.bytes("hash")),
    })
}

fn request(f: &mut Fields<'_>) -> Request {
    let node = |f: &mut Fields<'_>| NodeRequest {
        index: f.uint("index"),
        nodes: f.uint("nodes"),
    };
    Request {
        id: f.uint("id"),
        fork: f.uint("fork"),
        proof: ProofRequest {
            block: f.part("block", node),
            hash: f.part("hash", node),
            seek: f.part("seek", |f| SeekRequest {
                bytes: f.uint("bytes"),
                padding: f.uint("padding"),
            }),
            upgrade: f.part("upgrade", |f| UpgradeRequest {
                start: f.uint("start"),
                length: f.uint("length"),
            }),
        },
        manifest: f.flag("manifest"),
        priority: f.uint("priority"),
    }
}

fn manifest(f: &mut Fields<'_>) -> Manifest {
    assert_eq!(f.get("hash").unwrap(), "blake2b");
    Manifest {
        version: u8::try_from(f.uint("version")).unwrap(),
        allow_patch: f.flag("allowPatch"),
        quorum: f.uint("quorum"),
        signers: f.list("signers", |signer| {
            all(signer, |f| {
                assert_eq!(f.get("signature").unwrap(), "ed25519");
                Signer {
                    namespace: fixed(&f.bytes("namespace")),
                    public_key: fixed(&f.bytes("publicKey")),
                }
            })
        }),
        prologue: f.part("prologue", |f| Prologue {
            hash: fixed(&f.bytes("hash")),
            length: f.uint("length"),
        }),
        linked: (f.get("linked").is_some()).then(|| f.list("linked", |key| Key(fixed(&hex(key))))),
        user_data: f.get("userData").map(hex),
    }
}

fn data(f: &mut Fields<'_>) -> Data {
    Data {
        request: f.uint("request"),
        proof: Proof {
            fork: f.uint("fork"),
            block: f.part("block", |f| BlockProof {
                index: f.uint("index"),
                value: f.bytes("value"),
                nodes: f.list("nodes", node),
            }),
            hash: f.part("hash", |f| HashProof {
                index: f.uint("index"),
                nodes: f.list("nodes", node),
            }),
            seek: f.part("seek", |f| SeekProof {
                bytes: f.uint("bytes"),
                nodes: f.list("nodes", node),
            }),
            upgrade: f.part("upgrade", |f| UpgradeProof {
                start: f.uint("start"),
                length: f.uint("length"),
                nodes: f.list("nodes", node),
                additional_nodes: f.list("additionalNodes", node),
                signature: f.get("signature").map(|value| hex(value).into()),
            }),
            manifest: f.part("manifest", manifest),
        },
    }
}

/// One of the messages that have a type, or one of the two that have none.
#[derive(Debug, PartialEq)]
enum Any {
    Typed(Message),
    Handshake(Handshake),
    ReorgHint(ReorgHint),
}

fn any(name: &str, value: &Value) -> Any {
    let want = |f: &mut Fields<'_>| Want {
        start: f.uint("start"),
        length: f.uint("length"),
        any: f.flag("any"),
    };
    all(value, |f| {
        Any::Typed(match name {
            "handshake" => {
                return Any::Handshake(Handshake {
                    seeks: f.flag("seeks"),
                    capability: fixed(&f.bytes("capability")),
                });
            }
            "reorgHint" => {
                return Any::ReorgHint(ReorgHint {
                    from: f.uint("from"),
                    to: f.uint("to"),
                    ancestors: f.uint("ancestors"),
                });
            }
            "sync" => Message::Sync(Sync {
                fork: f.uint("fork"),
                length: f.uint("length"),
                remote_length: f.uint("remoteLength"),
                can_upgrade: f.flag("canUpgrade"),
                uploading: f.flag("uploading"),
                downloading: f.flag("downloading"),
                has_manifest: f.flag("hasManifest"),
                allow_push: f.flag("allowPush"),
            }),
            "request" => Message::Request(request(f)),
            "cancel" => Message::Cancel(f.uint("request")),
            "data" => Message::Data(Box::new(data(f))),
            "noData" => Message::NoData(NoData {
                request: f.uint("request"),
                reason: f.uint("reason"),
            }),
            "want" => Message::Want(want(f)),
            "unwant" => Message::Unwant(want(f)),
            "bitfield" => Message::Bitfield(Bits {
                start: f.uint("start"),
                words: f.list("bitfield", |word| {
                    u32::try_from(word.as_u64().unwrap()).unwrap()
                }),
            }),
            "range" => Message::Range(Have {
                drop: f.flag("drop"),
                start: f.uint("start"),
                length: f.uint("length"),
            }),
            "extension" => Message::Extension(Extension {
                name: f.get("name").unwrap().as_str().unwrap().to_owned(),
                message: f.bytes("message"),
            }),
            other => panic!("unknown message {other}"),
        })
    })
}

fn kind(name: &str) -> u64 {
    const ORDER: [&str; 10] = [
        "sync",
        "request",
        "cancel",
        "data",
        "noData",
        "want",
        "unwant",
        "bitfield",
        "range",
        "extension",
    ];
    ORDER.iter().position(|known| *known == name).unwrap() as u64
}

fn decode(name: &str, bytes: &[u8]) -> Result<Any, pome_encoding::DecodeError> {
    let input = &mut Reader::new(bytes);
    Ok(match name {
        "handshake" => Any::Handshake(Handshake::decode(input)?),
        "reorgHint" => Any::ReorgHint(ReorgHint::decode(input)?),
        _ => {
            let payload = Bytes::copy_from_slice(bytes);
            Any::Typed(Message::decode(kind(name), &payload)?.unwrap())
        }
    })
}

fn encode(message: &Any) -> Vec<u8> {
    let mut out = Vec::new();
    match message {
        Any::Typed(message) => message.encode(&mut out),
        Any::Handshake(message) => message.encode(&mut out),
        Any::ReorgHint(message) => message.encode(&mut out),
    }
    out
}

#[test]
fn vectors_messages() {
    for case in core()["messages"].as_array().unwrap() {
        all(case, |f| {
            let name = f.get("message").unwrap().as_str().unwrap();
            let bytes = f.bytes("bytes");
            let value = any(name, f.get("value").unwrap());
            assert_eq!(encode(&value), bytes, "{case}");
            let expected = any(name, f.get("decoded").unwrap());
            assert_eq!(decode(name, &bytes).unwrap(), expected, "{case}");
            if let Any::Typed(message) = &value {
                assert!(message.size_hint() >= bytes.len(), "{case}");
                assert_eq!(message.kind(), kind(name));
            }
        });
    }
}

#[test]
fn vectors_messages_raw() {
    for case in core()["messages_raw"].as_array().unwrap() {
        all(case, |f| {
            let name = f.get("message").unwrap().as_str().unwrap();
            let bytes = f.bytes("bytes");
            match (f.get("value"), f.get("error")) {
                (Some(value), None) => {
                    assert_eq!(decode(name, &bytes).unwrap(), any(name, value), "{case}");
                }
                (None, Some(_)) => assert!(decode(name, &bytes).is_err(), "{case}"),
                _ => panic!("neither value nor error: {case}"),
            }
        });
    }
}

#[test]
fn vectors_channels() {
    for case in core()["channels"].as_array().unwrap() {
        all(case, |f| {
            let key = Key(fixed(&f.bytes("key")));
            let hash = fixed::<64>(&f.bytes("handshake_hash"));
            assert_eq!(
                f.get("protocol").unwrap(),
                pome_cores::replication::PROTOCOL
            );
            let aliases = f.list("aliases", |alias| alias.as_str().unwrap().to_owned());
            assert_eq!(aliases, [pome_cores::replication::PROTOCOL_ALIAS]);
            assert_eq!(crypto::discovery_key(&key).0, fixed(&f.bytes("id")));
            let (initiator, responder) = (
                f.bytes("initiator_capability"),
                f.bytes("responder_capability"),
            );
            assert_eq!(caps::replicate(true, &key, &hash), initiator[..]);
            assert_eq!(caps::replicate(false, &key, &hash), responder[..]);
            let order = f.list("message_order", |name| name.as_str().unwrap().to_owned());
            for (at, name) in order.iter().enumerate() {
                assert_eq!(kind(name), at as u64);
            }
        });
    }
}
