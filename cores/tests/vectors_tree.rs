//! Golden vectors of trees, manifests, signatures and proofs, made by hypercore 11.37.1 (`tests/vectors/core.json`).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use pome_cores::{
    Key, KeyPair, Manifest, Prologue, Signer, Verifier, caps, crypto,
    manifest::{ManifestError, ManifestOptions},
    merkle::{
        MerkleBatch, Node, NodeRequest, ProofRequest, Seek, SeekRequest, Tree, TreeError,
        UpgradeRequest,
    },
    multisig,
    replication::messages::{Data, Request},
};
use pome_encoding::{DecodeError, Reader};
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

/// A verifier as the original has it for this key: compat keys are public keys.
fn verifier(case: &Value) -> Verifier {
    let manifest = Manifest::decode(&hex(&case["manifest"])).unwrap();
    Verifier::with_key(Key(fixed(&case["key"])), manifest)
}

/// What the signer signs, and the signature itself: Ed25519 has one per message.
fn same_signature(verifier: &Verifier, tree: &Tree, pair: &KeyPair, state: &Value) {
    let namespace = verifier.manifest().signers[0].namespace;
    let signable = match (verifier.is_compat(), verifier.manifest().version) {
        (true, _) => tree.signable_compat().to_vec(),
        (false, 0) => tree.signable(&namespace).to_vec(),
        (false, _) => tree.signable(&verifier.key().0).to_vec(),
    };
    if state["signature"].is_null() {
        assert!(state["signable"].is_null());
        return;
    }
    assert_eq!(signable, hex(&state["signable"]));
    let signature = verifier.sign(tree, pair).unwrap();
    assert_eq!(signature, hex(&state["signature"]));
    assert!(verifier.verify(tree, &signature));
    let mut other = signature.to_vec();
    other[20] ^= 1;
    assert!(!verifier.verify(tree, &other));
}

#[test]
fn vectors_logs_signatures() {
    for case in list(&core()["logs"]) {
        let (verifier, pair) = (verifier(case), key_pair(&case["key_pair"]));
        assert_eq!(verifier.is_compat(), case["kind"] == "compat");
        let mut log = Log::default();
        let blocks = blocks(&case["blocks"]);
        for (block, state) in blocks
            .iter()
            .zip(case.get("after_each_append").map_or(&[][..], list))
        {
            log.append(std::slice::from_ref(block));
            same_signature(&verifier, &log.tree, &pair, state);
        }
        same_signature(&verifier, &Log::of(&blocks).tree, &pair, &case["final"]);
    }
}

#[test]
fn vectors_multisigs() {
    for case in list(&core()["multisigs"]) {
        let verifier = verifier(case);
        let pairs: Vec<KeyPair> = list(&case["key_pairs"]).iter().map(key_pair).collect();
        assert_eq!(
            u64::from(verifier.manifest().version),
            number(&case["version"])
        );
        assert_eq!(
            verifier.manifest().allow_patch,
            case["allow_patch"].as_bool().unwrap()
        );
        let log = Log::of(&blocks(&case["blocks"]));
        let at = |length: u64| {
            let mut batch = log.tree.batch();
            batch.truncate(&log.nodes(), length, 0).unwrap();
            batch.into_tree()
        };
        for case in list(&case["cases"]) {
            let length = number(&case["length"]);
            let mut parts = Vec::new();
            for part in list(&case["parts"]) {
                let signer = number(&part["signer"]);
                let tree = at(number(&part["length"]));
                let signature = verifier.sign(&tree, &pairs[signer as usize]).unwrap();
                let context = match verifier.manifest().version {
                    0 => verifier.manifest().signers[0].namespace,
                    _ => verifier.key().0,
                };
                assert_eq!(tree.signable(&context).to_vec(), hex(&part["signable"]));
                let ours = multisig::partial_signature(
                    &log.tree,
                    &log.nodes(),
                    signer,
                    length,
                    Some(tree.length),
                    &signature,
                )
                .unwrap()
                .unwrap();
                let part = &part["part"];
                assert_eq!(ours.signer, number(&part["signer"]));
                assert_eq!(ours.signature, fixed(&part["signature"]));
                assert_eq!(ours.patch, number(&part["patch"]));
                let nodes = match &part["nodes"] {
                    Value::Null => vec![],
                    nodes => node_list(nodes),
                };
                assert_eq!(ours.nodes, nodes);
                parts.push(ours);
            }
            let tree = at(length);
            let mut signature = verifier.assemble(&parts).unwrap();
            assert_eq!(signature, hex(&case["signature"]));
            assert_eq!(
                verifier.verify(&tree, &signature),
                case["verifies"].as_bool().unwrap()
            );
            signature[10] ^= 1;
            assert_eq!(
                verifier.verify(&tree, &signature),
                case["verifies_flipped"].as_bool().unwrap()
            );
        }
        for refused in list(&case["refused"]) {
            assert_eq!(
                verifier.verify(&log.tree, &hex(&refused["signature"])),
                refused["verifies"].as_bool().unwrap(),
                "{}",
                refused["what"]
            );
        }
    }
}

fn proof_request(value: &Value) -> ProofRequest {
    only(
        value,
        &["block", "hash", "seek", "upgrade", "manifest", "id"],
    );
    let there = |field: &str| value.get(field).filter(|value| !value.is_null());
    let node = |value: &Value| NodeRequest {
        index: number(&value["index"]),
        nodes: number(&value["nodes"]),
    };
    ProofRequest {
        block: there("block").map(node),
        hash: there("hash").map(node),
        seek: there("seek").map(|seek| SeekRequest {
            bytes: number(&seek["bytes"]),
            padding: number(&seek["padding"]),
        }),
        upgrade: there("upgrade").map(|upgrade| UpgradeRequest {
            start: number(&upgrade["start"]),
            length: number(&upgrade["length"]),
        }),
    }
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn decoded<T>(bytes: &[u8], decode: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>) -> T {
    let mut input = Reader::new(bytes);
    let value = decode(&mut input).unwrap();
    assert!(input.is_empty());
    value
}

/// The core that the proofs of a case are made from.
fn proving_log(case: &Value) -> (Log, Vec<Vec<u8>>) {
    let blocks = blocks(&case["blocks"]);
    let mut log = Log::of(&blocks);
    same_tree(&log.tree, &case["state"]);
    log.tree.signature = Some(hex(&case["state"]["signature"]).into());
    (log, blocks)
}

fn block_of(request: &ProofRequest, blocks: &[Vec<u8>]) -> Option<Bytes> {
    let block = blocks.get(request.block?.index as usize)?;
    Some(Bytes::copy_from_slice(block))
}

#[test]
fn vectors_proofs() {
    for case in list(&core()["proofs"]) {
        let (log, blocks) = proving_log(case);
        let key = Key(fixed(&case["key"]));
        let manifest = Manifest::decode(&hex(&case["manifest"])).unwrap();
        for case in list(&case["proofs"]) {
            let request = Request {
                id: number(&case["request"]["id"]),
                fork: log.tree.fork,
                proof: proof_request(&case["request"]),
                manifest: case["request"]["manifest"].as_bool().unwrap(),
                priority: 0,
            };
            let bytes = hex(&case["request_bytes"]);
            assert_eq!(encoded(|out| request.encode(out)), bytes);
            assert_eq!(decoded(&bytes, Request::decode), request);

            let block = block_of(&request.proof, &blocks);
            let mut proof = log.tree.proof(&log.nodes(), &request.proof, block).unwrap();
            proof.manifest = request.manifest.then(|| manifest.clone());
            let data = Data {
                request: request.id,
                proof,
            };
            let bytes = hex(&case["data_bytes"]);
            assert_eq!(
                encoded(|out| data.encode(out)),
                bytes,
                "{}",
                case["request"]
            );
            assert_eq!(decoded(&bytes, Data::decode), data);
            if case.get("proof").is_some_and(|proof| !proof.is_null()) {
                same_proof(&data, &case["proof"]);
            }

            // a peer that has what the request says believes it
            let mut peer = Log::default();
            let has = request
                .proof
                .upgrade
                .map_or(log.tree.length, |upgrade| upgrade.start);
            peer.tree = Tree::load(&log.nodes(), has, 0).unwrap();
            peer.nodes = log.nodes.clone();
            let stored = (has > 0).then_some(&manifest);
            let verified = Verifier::check(key, stored, &peer.tree, &peer.nodes(), &data.proof)
                .unwrap()
                .unwrap();
            for node in verified.batch.nodes() {
                assert_eq!(Some(node), log.nodes.get(&node.index));
            }
            if request.proof.upgrade.is_some() {
                assert_eq!(verified.batch.tree(), &log.tree);
            }
        }
    }
}

fn same_proof(data: &Data, value: &Value) {
    only(
        value,
        &[
            "request", "fork", "block", "hash", "seek", "upgrade", "manifest",
        ],
    );
    assert_eq!(data.request, number(&value["request"]));
    assert_eq!(data.proof.fork, number(&value["fork"]));
    let same = |ours: Option<&[Node]>, value: &Value| match ours {
        Some(nodes) => assert_eq!(nodes, node_list(&value["nodes"])),
        None => assert!(value.is_null()),
    };
    let proof = &data.proof;
    same(
        proof.block.as_ref().map(|part| &part.nodes[..]),
        &value["block"],
    );
    same(
        proof.hash.as_ref().map(|part| &part.nodes[..]),
        &value["hash"],
    );
    same(
        proof.seek.as_ref().map(|part| &part.nodes[..]),
        &value["seek"],
    );
    same(
        proof.upgrade.as_ref().map(|part| &part.nodes[..]),
        &value["upgrade"],
    );
    if let Some(upgrade) = &proof.upgrade {
        assert_eq!(
            upgrade.additional_nodes,
            node_list(&value["upgrade"]["additionalNodes"])
        );
    }
}

#[test]
fn vectors_refused_requests() {
    let core = core();
    for case in list(&core["refused_requests"]) {
        let length = number(&case["length"]);
        let log = list(&core["proofs"])
            .iter()
            .map(proving_log)
            .find(|(log, _)| log.tree.length == length);
        let (log, blocks) = log.unwrap();
        let request = proof_request(&case["request"]);
        let refused = log
            .tree
            .proof(&log.nodes(), &request, block_of(&request, &blocks))
            .unwrap_err();
        // for a block past the end the original answers a proof without a block, which it then cannot encode
        assert_eq!(refused.code(), "INVALID_OPERATION", "{}", case["request"]);
        let error = case["error"].as_str().unwrap();
        assert!(
            error.starts_with("INVALID_OPERATION")
                || error.starts_with("Cannot read properties of null")
        );
    }
}

#[test]
fn vectors_tampered() {
    for case in list(&core()["tampered"]) {
        let what = case["what"].as_str().unwrap();
        let key = Key(fixed(&case["key"]));
        let data = decoded(&hex(&case["data_bytes"]), Data::decode);
        let log = Log::default();
        let answer = Verifier::check(key, None, &log.tree, &log.nodes(), &data.proof);
        match (case.get("accepted").and_then(Value::as_bool), answer) {
            (Some(true), Ok(Some(verified))) => {
                assert_eq!(verified.batch.tree().length, number(&case["length_after"]));
                assert_eq!(verified.manifest.map(|manifest| manifest.key()), Some(key));
            }
            (Some(false), Ok(None)) => assert_eq!(what, "fork"),
            (None, Err(error)) => {
                let expected = case["error"].as_str().unwrap();
                let code = expected.split(':').next().unwrap();
                assert_eq!(error.code(), code, "{what}");
                assert_eq!(number(&case["length_after"]), 0);
            }
            (expected, answer) => panic!("{what}: {expected:?} expected, got {answer:?}"),
        }
    }
}

#[test]
fn vectors_encryption_trees_and_seeks() {
    for case in list(&core()["encryption"]) {
        let padding = number(&case["padding"]);
        let mut log = Log::default();
        for step in list(&case["steps"]) {
            let (length, fork) = (number(&step["first_index"]), number(&step["fork"]));
            let mut batch = log.tree.batch();
            if length < log.tree.length {
                batch.truncate(&log.nodes(), length, fork).unwrap();
            }
            batch.append_blocks(&blocks(&step["stored"]));
            log.store(batch);
            same_tree(&log.tree, &step["state"]);
            assert_eq!(
                log.tree.byte_length - padding * log.tree.length,
                number(&step["unpadded_byte_length"])
            );
        }
        for seek in list(&case["seeks"]) {
            let found = log.tree.seek(&log.nodes(), number(&seek["bytes"]), padding);
            let expected = Seek::Found {
                block: number(&seek["result"][0]),
                offset: number(&seek["result"][1]),
            };
            assert_eq!(found.unwrap(), expected);
        }
    }
}
