//! Reorgs and prologues as hypercore 11.37.1 sends and takes them: `fixtures/reorgs-and-prologues.json`, made by
//! `fixtures/generate.js`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use pome_cores::{
    Key, KeyPair, Manifest, Verifier,
    merkle::{Node, ProofRequest, Tree, TreeError, UpgradeRequest, Want},
    replication::messages::Data,
};
use pome_encoding::Reader;
use pome_test_support::hex;
use serde_json::Value;

fn fixtures() -> Value {
    serde_json::from_str(include_str!("fixtures/reorgs-and-prologues.json")).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn fixed(value: &Value) -> [u8; 32] {
    hex(value).try_into().unwrap()
}

fn data(value: &Value) -> Data {
    Data::decode(&mut Reader::new(&hex(value))).unwrap()
}

fn node(value: &Value) -> (u64, Node) {
    let index = number(&value["index"]);
    let (size, hash) = (number(&value["size"]), fixed(&value["hash"]));
    (index, Node { index, size, hash })
}

#[test]
fn reorgs_take_the_steps_of_npm() {
    for case in list(&fixtures()["reorgs"]) {
        let nodes: BTreeMap<u64, Node> = list(&case["nodes"]).iter().map(node).collect();
        let nodes = |index| Ok::<_, TreeError>(nodes.get(&index).copied());
        let tree = Tree::load(&nodes, number(&case["length"]), 0).unwrap();
        let key = Key(fixed(&case["key"]));
        let first = data(&case["proof"]).proof;
        let mut reorg = tree.reorg(&nodes, &first).unwrap();
        let learnt = Verifier::check_upgrade(key, None, reorg.batch(), &first).unwrap();
        assert_eq!(learnt.unwrap().key(), key);
        for step in list(&case["steps"]) {
            let want = Want {
                start: number(&step["start"]),
                end: number(&step["end"]),
                nodes: number(&step["nodes"]),
            };
            assert_eq!(reorg.want(), Some(want));
            assert!(reorg.update(&nodes, &data(&step["data"]).proof).unwrap());
        }
        assert_eq!(reorg.want(), None);
        assert_eq!(reorg.batch().ancestors(), number(&case["ancestors"]));
        let tree = reorg.into_batch().into_tree();
        let after = &case["after"];
        assert_eq!(tree.length, number(&after["length"]));
        assert_eq!(tree.byte_length, number(&after["byte_length"]));
        assert_eq!(tree.fork, number(&after["fork"]));
        assert_eq!(tree.hash(), fixed(&after["tree_hash"]));
    }
}

#[test]
fn prologues_are_proven_as_npm_does() {
    for case in list(&fixtures()["prologues"]) {
        let key = Key(fixed(&case["key"]));
        let manifest = Manifest::decode(&hex(&case["manifest"])).unwrap();
        assert_eq!(manifest.key(), key);
        let blocks: Vec<Vec<u8>> = list(&case["blocks"]).iter().map(hex).collect();
        let empty = Tree {
            prologue: manifest.prologue,
            ..Tree::default()
        };
        let mut batch = empty.batch();
        batch.append_blocks(&blocks);
        if case["signature"].is_string() {
            let pair = KeyPair::from_seed(&[number(&case["seed_byte"]) as u8; 32]);
            let signature = Verifier::new(manifest.clone())
                .sign(batch.tree(), &pair)
                .unwrap();
            assert_eq!(signature, hex(&case["signature"]));
            batch.set_signature(signature);
        }
        let nodes: BTreeMap<u64, Node> = batch
            .nodes()
            .iter()
            .map(|node| (node.index, *node))
            .collect();
        let lookup = |index| Ok::<_, TreeError>(nodes.get(&index).copied());
        let tree = batch.into_tree();

        let request = ProofRequest {
            upgrade: Some(UpgradeRequest {
                start: number(&case["asked"]["start"]),
                length: number(&case["asked"]["length"]),
            }),
            ..ProofRequest::default()
        };
        let mut proof = tree.proof(&lookup, &request, None).unwrap();
        proof.manifest = Some(manifest.clone());
        assert_eq!(proof, data(&case["data"]).proof);

        let has = proof.upgrade.as_ref().unwrap().start;
        let reader = Tree {
            prologue: manifest.prologue,
            ..Tree::load(&lookup, has, 0).unwrap()
        };
        let verified = Verifier::check(key, None, &reader, &lookup, &proof)
            .unwrap()
            .unwrap();
        assert_eq!(verified.batch.tree(), &tree);
    }
}
