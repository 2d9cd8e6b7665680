//! Bytes made by hypercore-crypto and by hypercore's block encryption.
#![allow(clippy::unwrap_used)]

use pome_cores::block_encryption::{BlockEncryption, PADDING, block_encryption_key};
use pome_cores::crypto::{self, EncryptionKeyPair, KeyPair, Node};
use pome_encoding::Key;
use pome_test_support::{hex, load};
use serde_json::Value;

const CRYPTO: &[&str] = &[
    "key_pairs",
    "encryption_key_pairs",
    "signatures",
    "verify",
    "data_hashes",
    "parent_hashes",
    "tree_hashes",
    "hashes",
    "discovery_keys",
    "namespaces",
    "sealed_boxes",
];
/// Proven by the crate of the encodings.
const CRYPTO_ELSEWHERE: &[&str] = &["z32", "z32_decode", "ids"];

fn list(value: &Value, name: &str) -> Vec<Value> {
    let list = value[name].as_array().unwrap().clone();
    assert!(!list.is_empty(), "{name}");
    list
}

/// The case's fields are these and no others.
fn fields(case: &Value, names: &[&str]) {
    let mut found: Vec<_> = case
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut names = names.to_vec();
    found.sort_unstable();
    names.sort_unstable();
    assert_eq!(found, names, "{case}");
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn node(value: &Value) -> Node {
    fields(value, &["index", "size", "hash"]);
    Node {
        index: value["index"].as_u64().unwrap(),
        size: value["size"].as_u64().unwrap(),
        hash: fixed(&value["hash"]),
    }
}

#[test]
fn vectors_key_pairs_and_signatures() {
    let all = load("crypto", CRYPTO, CRYPTO_ELSEWHERE);
    for case in list(&all, "key_pairs") {
        fields(&case, &["seed", "publicKey", "secretKey"]);
        let pair = KeyPair::from_seed(&fixed(&case["seed"]));
        let secret = fixed(&case["secretKey"]);
        assert_eq!(pair.public, fixed(&case["publicKey"]));
        assert_eq!(*pair.secret_key(), secret);
        assert_eq!(KeyPair::from_secret_key(&secret), Some(pair.clone()));
        let mut wrong = secret;
        wrong[40] ^= 1;
        assert_eq!(KeyPair::from_secret_key(&wrong), None);
        let printed = format!("{pair:?}");
        assert!(
            !printed.contains(case["seed"].as_str().unwrap()),
            "{printed}"
        );
    }
    for case in list(&all, "encryption_key_pairs") {
        fields(&case, &["seed", "publicKey", "secretKey"]);
        let pair = EncryptionKeyPair::from_seed(&fixed(&case["seed"]));
        assert_eq!(pair.public, fixed(&case["publicKey"]));
        assert_eq!(*pair.secret_key(), fixed(&case["secretKey"]));
    }
    let pairs: Vec<_> = list(&all, "key_pairs")
        .iter()
        .map(|case| KeyPair::from_seed(&fixed(&case["seed"])))
        .collect();
    for case in list(&all, "signatures") {
        fields(&case, &["public_key", "message", "signature"]);
        let (public, message) = (hex(&case["public_key"]), hex(&case["message"]));
        let signature = fixed(&case["signature"]);
        let signer = pairs.iter().find(|p| p.public[..] == public[..]).unwrap();
        assert_eq!(signer.sign(&message), signature);
        assert!(crypto::verify(&message, &signature, &public));
    }
    for case in list(&all, "verify") {
        fields(&case, &["what", "message", "signature", "public_key", "ok"]);
        assert_eq!(
            crypto::verify(
                &hex(&case["message"]),
                &hex(&case["signature"]),
                &hex(&case["public_key"])
            ),
            case["ok"].as_bool().unwrap(),
            "{}",
            case["what"]
        );
    }
}

#[test]
fn vectors_hashes() {
    let all = load("crypto", CRYPTO, CRYPTO_ELSEWHERE);
    let mut blocks = Vec::new();
    let mut wanted = Vec::new();
    for case in list(&all, "data_hashes") {
        fields(&case, &["data", "hash"]);
        let data = hex(&case["data"]);
        let hash = fixed(&case["hash"]);
        assert_eq!(crypto::leaf_hash(&data), hash);
        blocks.push(data);
        wanted.push(hash);
    }
    let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    for from in 0..blocks.len() {
        assert_eq!(crypto::leaf_hashes(&blocks[from..]), wanted[from..]);
    }
    for case in list(&all, "parent_hashes") {
        fields(&case, &["left", "right", "hash", "hash_swapped"]);
        let (left, right) = (node(&case["left"]), node(&case["right"]));
        assert_eq!(crypto::parent_hash(&left, &right), fixed(&case["hash"]));
        assert_eq!(
            crypto::parent_hash(&right, &left),
            fixed(&case["hash_swapped"])
        );
    }
    for case in list(&all, "tree_hashes") {
        fields(&case, &["roots", "hash"]);
        let roots: Vec<_> = case["roots"].as_array().unwrap().iter().map(node).collect();
        assert_eq!(crypto::tree_hash(&roots), fixed(&case["hash"]));
    }
    for case in list(&all, "hashes") {
        fields(&case, &["parts", "hash"]);
        let parts: Vec<_> = case["parts"].as_array().unwrap().iter().map(hex).collect();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        assert_eq!(crypto::hash(&parts), fixed(&case["hash"]));
        assert_eq!(crypto::hash(&[&parts.concat()]), fixed(&case["hash"]));
    }
    for case in list(&all, "discovery_keys") {
        fields(&case, &["key", "discovery_key"]);
        assert_eq!(
            crypto::discovery_key(&Key(fixed(&case["key"]))).0,
            fixed(&case["discovery_key"])
        );
    }
    for case in list(&all, "namespaces") {
        fields(&case, &["name", "ids", "list"]);
        let name = match &case["name"] {
            Value::String(name) => name.clone().into_bytes(),
            tagged => {
                fields(tagged, &["$hex"]);
                hex(&tagged["$hex"])
            }
        };
        let (ids, list) = (
            case["ids"].as_array().unwrap(),
            case["list"].as_array().unwrap(),
        );
        assert_eq!(ids.len(), list.len());
        let first: [_; 8] = crypto::namespaces(&name);
        for (id, wanted) in ids.iter().zip(list) {
            let id = u8::try_from(id.as_u64().unwrap()).unwrap();
            assert_eq!(crypto::namespace(&name, id), fixed(wanted));
            if let Some(one) = first.get(usize::from(id)) {
                assert_eq!(*one, fixed(wanted));
            }
        }
    }
}

#[test]
fn vectors_sealed_boxes() {
    let all = load("crypto", CRYPTO, CRYPTO_ELSEWHERE);
    for case in list(&all, "sealed_boxes") {
        fields(
            &case,
            &["public_key", "secret_key", "ciphertext", "message"],
        );
        let pair = EncryptionKeyPair::from_secret_key(&fixed(&case["secret_key"]));
        assert_eq!(pair.public, fixed(&case["public_key"]));
        let (ciphertext, message) = (hex(&case["ciphertext"]), hex(&case["message"]));
        assert_eq!(pair.decrypt(&ciphertext), Some(message.clone()));
        for i in 0..ciphertext.len() {
            let mut changed = ciphertext.clone();
            changed[i] ^= 1;
            assert_eq!(pair.decrypt(&changed), None);
            assert_eq!(pair.decrypt(&ciphertext[..i]), None);
        }
        let sealed = crypto::encrypt(&message, &pair.public);
        assert_eq!(sealed.len(), message.len() + 48);
        assert_eq!(pair.decrypt(&sealed), Some(message));
    }
}

#[test]
fn many_leaves_hash_as_one_leaf_does() {
    let blocks: Vec<Vec<u8>> = [
        0, 1, 119, 120, 128, 4095, 4096, 4097, 9000, 5, 70_000, 65_536, 65_536, 65_536, 65_536, 3,
        127,
    ]
    .iter()
    .map(|n| (0..*n).map(|i| (i % 251) as u8).collect())
    .collect();
    for count in 0..=blocks.len() {
        let blocks: Vec<&[u8]> = blocks[..count].iter().map(Vec::as_slice).collect();
        let one_by_one: Vec<_> = blocks.iter().map(|b| crypto::leaf_hash(b)).collect();
        assert_eq!(crypto::leaf_hashes(&blocks), one_by_one);
    }
}

#[test]
fn vectors_encryption() {
    // The other lists of this file are proven where the manifests, the trees and the messages are.
    let elsewhere = [
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
        "messages",
        "messages_raw",
        "oplog",
        "channels",
    ];
    let all = load("core", &["encryption"], &elsewhere);
    for case in list(&all, "encryption") {
        fields(
            &case,
            &[
                "scheme",
                "key_is_block_key",
                "key",
                "key_pair",
                "encryption_key",
                "block_key",
                "blinding_key",
                "block_encryption_key",
                "padding",
                "steps",
                "seeks",
            ],
        );
        let core = Key(fixed(&case["key"]));
        let secret = fixed(&case["encryption_key"]);
        let encryption = match (
            case["scheme"].as_str().unwrap(),
            case["key_is_block_key"].as_bool().unwrap(),
        ) {
            (_, true) => BlockEncryption::from_block_key(&secret),
            ("hypercore 11", false) => BlockEncryption::new(&secret, &core),
            ("compat", false) => BlockEncryption::compat(&secret, &core),
            other => panic!("unknown scheme {other:?}"),
        };
        assert_eq!(*encryption.block_key(), fixed(&case["block_key"]));
        assert_eq!(*encryption.blinding_key(), fixed(&case["blinding_key"]));
        assert_eq!(
            block_encryption_key(&core, &secret),
            fixed(&case["block_encryption_key"])
        );
        assert_eq!(case["padding"], PADDING);
        for step in list(&case, "steps") {
            // `seeks` and the state after each step need a whole core
            fields(
                &step,
                &[
                    "fork",
                    "first_index",
                    "plain",
                    "stored",
                    "state",
                    "unpadded_byte_length",
                ],
            );
            let (fork, first) = (
                step["fork"].as_u64().unwrap(),
                step["first_index"].as_u64().unwrap(),
            );
            let (plain, stored) = (list(&step, "plain"), list(&step, "stored"));
            assert_eq!(plain.len(), stored.len());
            for (index, (plain, stored)) in (first..).zip(plain.iter().zip(&stored)) {
                let (plain, stored) = (hex(plain), hex(stored));
                assert_eq!(encryption.encrypt(index, fork, &plain), stored);
                assert_eq!(encryption.decrypt(index, &stored), Ok(plain));
                assert!(encryption.decrypt(index, &stored[..PADDING - 1]).is_err());
            }
        }
    }
}
