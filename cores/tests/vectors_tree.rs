//! Golden vectors of trees, manifests, signatures and proofs, made by hypercore 11.37.1 (`tests/vectors/core.json`).

use std::collections::BTreeMap;

use pome_cores::{
    Key, KeyPair, Manifest, Prologue, Signer, caps, crypto,
    manifest::{ManifestError, ManifestOptions},
    merkle::{MerkleBatch, Node, Seek, Tree, TreeError},
};
use pome_test_support::{hex, load};
use serde_json::Value;

const KNOWN: &[&str] = &[
    "namespaces",
    "manifests",
    "manifest_refused",
    "manifest_bytes",
    "logs",
    "truncations",
    "multisigs",
    "proofs",
    "refused_requests",
    "tampered",
    "signables",
];
/// `encryption`: `tests/vectors_crypto.rs`. Messages and channels: replication. `oplog`: import of old stores.
const ELSEWHERE: &[&str] = &[
    "encryption",
    "messages",
    "messages_raw",
    "channels",
    "oplog",
];

fn core() -> Value {
    load("core", KNOWN, ELSEWHERE)
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("not a list: {value}"))
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("not a number: {value}"))
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    hex(value)
        .try_into()
        .unwrap_or_else(|_| panic!("not {N} bytes: {value}"))
}

fn key_pair(value: &Value) -> KeyPair {
    let pair = KeyPair::from_secret_key(&fixed(&value["secretKey"])).unwrap();
    assert_eq!(pair.public, fixed(&value["publicKey"]));
    pair
}

fn node(value: &Value) -> Node {
    Node {
        index: number(&value["index"]),
        size: number(&value["size"]),
        hash: fixed(&value["hash"]),
    }
}

fn node_list(value: &Value) -> Vec<Node> {
    list(value).iter().map(node).collect()
}

/// A core in memory: a tree and its nodes.
#[derive(Default)]
struct Log {
    tree: Tree,
    nodes: BTreeMap<u64, Node>,
}

impl Log {
    fn nodes(&self) -> impl Fn(u64) -> Result<Option<Node>, TreeError> {
        |index| Ok(self.nodes.get(&index).copied())
    }

    fn store(&mut self, batch: MerkleBatch) {
        if let Some(removed) = batch.removed() {
            self.nodes.retain(|index, _| {
                !removed.range.contains(index) && !removed.parents.contains(index)
            });
        }
        self.nodes
            .extend(batch.nodes().iter().map(|node| (node.index, *node)));
        self.tree = batch.into_tree();
    }

    fn append(&mut self, blocks: &[Vec<u8>]) {
        let mut batch = self.tree.batch();
        batch.append_blocks(blocks);
        self.store(batch);
    }

    fn of(blocks: &[Vec<u8>]) -> Self {
        let mut log = Self::default();
        log.append(blocks);
        log
    }
}

fn blocks(value: &Value) -> Vec<Vec<u8>> {
    list(value).iter().map(hex).collect()
}

/// Compares a tree with the state of the original, all but the signature.
fn same_tree(tree: &Tree, state: &Value) {
    assert_eq!(tree.length, number(&state["length"]));
    assert_eq!(tree.byte_length, number(&state["byte_length"]));
    assert_eq!(tree.fork, number(&state["fork"]));
    assert_eq!(tree.roots, node_list(&state["roots"]));
    assert_eq!(tree.hash(), fixed(&state["tree_hash"]));
}

#[test]
fn vectors_namespaces() {
    let core = core();
    let names = core["namespaces"].as_object().unwrap();
    let ours = caps::namespaces();
    for (name, value) in names {
        let expected = match name.as_str() {
            "TREE" => ours.tree,
            "REPLICATE_INITIATOR" => ours.replicate_initiator,
            "REPLICATE_RESPONDER" => ours.replicate_responder,
            "MANIFEST" => ours.manifest,
            "DEFAULT_NAMESPACE" => ours.default_namespace,
            "DEFAULT_ENCRYPTION" => ours.default_encryption,
            other => panic!("unknown namespace {other}"),
        };
        assert_eq!(expected, fixed(value), "{name}");
    }
    assert_eq!(names.len(), 6);
}

#[test]
fn vectors_signables() {
    for case in list(&core()["signables"]) {
        let tree_hash = fixed(&case["tree_hash"]);
        let (length, fork) = (number(&case["length"]), number(&case["fork"]));
        assert_eq!(
            caps::tree_signable(&fixed(&case["manifest_hash"]), &tree_hash, length, fork).to_vec(),
            hex(&case["signable"])
        );
        assert_eq!(
            caps::tree_signable_compat(&tree_hash, length, fork).to_vec(),
            hex(&case["signable_compat"])
        );
        assert_eq!(
            caps::tree_signable_legacy(&tree_hash, length, fork).to_vec(),
            hex(&case["signable_legacy"])
        );
    }
}

/// The fields that `value` may have; an unknown one fails the test.
fn only(value: &Value, fields: &[&str]) {
    for field in value.as_object().unwrap().keys() {
        assert!(fields.contains(&field.as_str()), "unknown field {field}");
    }
}

fn manifest_options(input: &Value) -> ManifestOptions {
    only(
        input,
        &[
            "version",
            "hash",
            "allowPatch",
            "quorum",
            "signers",
            "prologue",
            "linked",
            "userData",
        ],
    );
    let signer = |value: &Value| {
        only(value, &["signature", "namespace", "publicKey"]);
        let mut signer = Signer::new(fixed(&value["publicKey"]));
        if let Some(namespace) = value.get("namespace") {
            signer.namespace = fixed(namespace);
        }
        signer
    };
    let there = |field: &str| input.get(field).filter(|value| !value.is_null());
    ManifestOptions {
        version: there("version").map(|version| u8::try_from(number(version)).unwrap()),
        allow_patch: there("allowPatch").is_some_and(|patch| patch.as_bool().unwrap()),
        quorum: there("quorum").map(number),
        signers: there("signers")
            .map_or(vec![], |signers| list(signers).iter().map(signer).collect()),
        prologue: there("prologue").map(|prologue| Prologue {
            hash: fixed(&prologue["hash"]),
            length: number(&prologue["length"]),
        }),
        linked: there("linked").map_or(vec![], |keys| {
            list(keys).iter().map(|key| Key(fixed(key))).collect()
        }),
        user_data: there("userData").map(hex),
    }
}

#[test]
fn vectors_manifests() {
    for case in list(&core()["manifests"]) {
        let what = case["what"].as_str().unwrap();
        let encoded = hex(&case["encoded"]);
        let decoded = Manifest::decode(&encoded).unwrap();
        assert_eq!(decoded.encode(), encoded, "{what}");
        assert_eq!(decoded.key(), Key(fixed(&case["key"])), "{what}");
        assert!(decoded.is_valid_for(&decoded.key()), "{what}");
        assert_eq!(
            crypto::discovery_key(&decoded.key()).0,
            fixed(&case["discovery_key"]),
            "{what}"
        );
        if !case["key_compat"].is_null() {
            assert!(
                decoded.is_compat(&Key(fixed(&case["key_compat"]))),
                "{what}"
            );
        }
        if !case["input"].is_null() {
            let created = Manifest::create(manifest_options(&case["input"])).unwrap();
            assert_eq!(created.encode(), encoded, "{what}");
            let same = Manifest::create(manifest_options(&case["manifest"])).unwrap();
            assert_eq!(same, created, "{what}");
            assert_eq!(
                decoded == created,
                case["decoded_equal"].as_bool().unwrap(),
                "{what}"
            );
        } else {
            assert_eq!(what, "v1 300 signers");
            assert_eq!((decoded.signers.len(), decoded.quorum), (300, 260));
        }
    }
}

#[test]
fn vectors_manifest_refused() {
    let signer = Signer::new([1; 32]);
    for case in list(&core()["manifest_refused"]) {
        let options = ManifestOptions {
            signers: vec![signer],
            ..ManifestOptions::default()
        };
        let refused = match case["what"].as_str().unwrap() {
            "quorum over signers" => Manifest::create(ManifestOptions {
                quorum: Some(2),
                ..options
            }),
            "v1 with user data" => Manifest::create(ManifestOptions {
                version: Some(1),
                user_data: Some(vec![0]),
                ..options
            }),
            "v1 with linked" => Manifest::create(ManifestOptions {
                version: Some(1),
                linked: vec![Key([2; 32])],
                ..options
            }),
            // no value of our types is one of these
            "negative quorum"
            | "linked key of 31 bytes"
            | "prologue hash of 31 bytes"
            | "other hash"
            | "other signature"
            | "signer without key" => continue,
            other => panic!("unknown case {other}"),
        };
        assert_eq!(refused.unwrap_err().code(), "BAD_ARGUMENT");
        assert!(case["error"].as_str().unwrap().starts_with("BAD_ARGUMENT"));
    }
    assert_eq!(
        Manifest::create(ManifestOptions {
            version: Some(4),
            ..ManifestOptions::default()
        }),
        Err(ManifestError::Version { version: 4 })
    );
}

#[test]
fn vectors_manifest_bytes() {
    for case in list(&core()["manifest_bytes"]) {
        let decoded = Manifest::decode(&hex(&case["bytes"]));
        match case.get("manifest") {
            Some(manifest) => {
                let expected = Manifest::create(manifest_options(manifest)).unwrap();
                assert_eq!(decoded.unwrap(), expected, "{}", case["what"]);
            }
            None => assert!(decoded.is_err(), "{}", case["what"]),
        }
    }
}

#[test]
fn vectors_logs() {
    for case in list(&core()["logs"]) {
        let blocks = blocks(&case["blocks"]);
        let mut log = Log::default();
        if let Some(states) = case.get("after_each_append") {
            for (block, state) in blocks.iter().zip(list(states)) {
                log.append(std::slice::from_ref(block));
                same_tree(&log.tree, state);
            }
            let all: Vec<Node> = log.nodes.values().copied().collect();
            assert_eq!(all, node_list(&case["nodes"]));
        }
        let log = Log::of(&blocks);
        same_tree(&log.tree, &case["final"]);
        for offset in case.get("byte_offsets").map_or(&[][..], list) {
            let range = log
                .tree
                .byte_range(&log.nodes(), number(&offset["index"]))
                .unwrap();
            let index = number(&offset["index"]) as usize;
            let before: usize = blocks[..index].iter().map(Vec::len).sum();
            assert_eq!(range.start, before as u64);
            match &offset["range"][0] {
                // the original's byteRange answers NaN for a block that is not below the first root
                Value::Null => assert!(index as u64 > log.tree.roots[0].index),
                start => assert_eq!(range.start, number(start)),
            }
            assert_eq!(range.end - range.start, number(&offset["range"][1]));
        }
        for seek in case.get("seeks").map_or(&[][..], list) {
            assert_eq!(
                log.tree
                    .seek(&log.nodes(), number(&seek["bytes"]), 0)
                    .unwrap(),
                Seek::Found {
                    block: number(&seek["result"][0]),
                    offset: number(&seek["result"][1])
                }
            );
        }
        for at in case.get("tree_hash_at").map_or(&[][..], list) {
            let tree = Tree::load(&log.nodes(), number(&at["length"]), 0).unwrap();
            assert_eq!(tree.hash(), fixed(&at["hash"]));
        }
    }
}

#[test]
fn vectors_truncations() {
    for case in list(&core()["truncations"]) {
        let mut log = Log::default();
        for step in list(&case["steps"]) {
            if let Some(added) = step.get("append") {
                log.append(&blocks(added));
            } else {
                let fork = step["fork"].as_u64().unwrap_or(log.tree.fork + 1);
                let mut batch = log.tree.batch();
                batch
                    .truncate(&log.nodes(), number(&step["truncate"]), fork)
                    .unwrap();
                log.store(batch);
            }
            same_tree(&log.tree, &step["state"]);
            let all: Vec<Node> = log.nodes.values().copied().collect();
            assert_eq!(all, node_list(&step["nodes"]));
        }
    }
}
