//! What a primary key, a namespace and a name lead to: `tests/vectors/store.json`; and logs, truncations and encrypted blocks of
//! `core.json`, made again through the store.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pome_cores::{
    CoreOptions, Corestore, CorestoreOptions, Hypercore, Import, KeyPair, Manifest,
    ManifestOptions, Prologue, Signer, Store, merkle::Node,
};
use pome_test_support::{hex, load};
use serde_json::Value;

struct Cores {
    cores: Corestore,
    _dir: tempfile::TempDir,
}

fn open(options: CorestoreOptions) -> Cores {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Default::default()).unwrap();
    Cores {
        cores: Corestore::open_with(store, options).unwrap(),
        _dir: dir,
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value[name].as_array();
    list.unwrap_or_else(|| panic!("{name:?} is no list"))
}

fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

fn pair(value: &Value) -> KeyPair {
    KeyPair::from_secret_key(&fixed(&value["secretKey"])).unwrap()
}

/// A name: text, or bytes.
fn name(value: &Value) -> Vec<u8> {
    match value.as_str() {
        Some(text) => text.into(),
        None => hex(&value["$hex"]),
    }
}

fn blocks(value: &Value) -> Vec<Bytes> {
    let blocks = value.as_array().unwrap();
    blocks.iter().map(|block| hex(block).into()).collect()
}

fn nodes(value: &Value) -> Vec<Node> {
    let nodes = value.as_array().unwrap().iter();
    nodes
        .map(|node| Node {
            index: number(&node["index"]),
            size: number(&node["size"]),
            hash: fixed(&node["hash"]),
        })
        .collect()
}

#[tokio::test]
async fn vectors_stores() {
    let file = load("store", &["stores"], &["static_cores", "compat"]);
    for store in list(&file, "stores") {
        let mut options = CorestoreOptions::default();
        options.primary_key = Some(fixed(&store["primary_key"]));
        if store["is_default_version"] != true {
            options.manifest_version = number(&store["manifest_version"]) as u8;
        }
        let opened = open(options);
        let cores = &opened.cores;
        assert_eq!(
            pome_cores::crypto::namespace("corestore", 0)[..],
            hex(&store["namespace_tag"])[..]
        );
        assert_eq!(
            cores.namespace_hash()[..],
            hex(&store["default_namespace"])[..]
        );
        for case in list(store, "cores") {
            let mut view = cores.clone();
            for step in list(case, "namespace") {
                view = view.namespace(name(step));
            }
            assert_eq!(view.namespace_hash()[..], hex(&case["namespace_hash"])[..]);
            let name = name(&case["name"]);
            let made = view.create_key_pair(&name);
            assert_eq!(made.public[..], hex(&case["key_pair"]["publicKey"])[..]);
            assert_eq!(
                made.secret_key()[..],
                hex(&case["key_pair"]["secretKey"])[..]
            );
            if case.get("key").is_none() {
                continue;
            }
            let core = view.get(CoreOptions::name(&name)).await.unwrap();
            assert_eq!(core.key().0[..], hex(&case["key"])[..]);
            assert_eq!(core.discovery_key().0[..], hex(&case["discovery_key"])[..]);
            assert_eq!(core.id(), case["id"].as_str().unwrap());
            let manifest = core.manifest().unwrap();
            assert_eq!(manifest.encode(), hex(&case["manifest"]));
            assert!(core.writable());
            let names = view.names().unwrap();
            assert!(names.contains(&(name.into(), core.discovery_key())));
        }
        for case in list(store, "by_key_pair") {
            let options = CoreOptions::key_pair(pair(&case["key_pair"]));
            let core = cores.get(options).await.unwrap();
            assert_eq!(core.key().0[..], hex(&case["key"])[..]);
            assert_eq!(core.manifest().unwrap().encode(), hex(&case["manifest"]));
            assert_eq!(case["compat"], false);
        }
    }
}

#[tokio::test]
async fn vectors_static_cores() {
    let file = load("store", &["static_cores"], &["stores", "compat"]);
    for case in list(&file, "static_cores") {
        let opened = open(CorestoreOptions::default());
        let source = opened.cores.get(CoreOptions::name("source")).await.unwrap();
        let blocks = blocks(&case["blocks"]);
        source.append_batch(blocks.clone()).await.unwrap();
        assert_eq!(
            source.tree_hash().await.unwrap()[..],
            hex(&case["tree_hash"])[..]
        );
        let made = opened.cores.staticify(&source).await.unwrap();
        assert_eq!(made.manifest().unwrap().encode(), hex(&case["manifest"]));
        assert_eq!(made.key().0[..], hex(&case["key"])[..]);
        assert_eq!(made.discovery_key().0[..], hex(&case["discovery_key"])[..]);
        assert_eq!(made.length(), number(&case["length"]));
        assert!(!made.writable());
        for (index, block) in (0..).zip(&blocks) {
            assert_eq!(&made.get(index).await.unwrap(), block);
        }
        assert!(made.audit(|_| ()).await.unwrap().problems.is_empty());
    }
}

#[test]
fn vectors_compat() {
    let file = load("store", &["compat"], &["stores", "static_cores"]);
    for case in list(&file, "compat") {
        let public = fixed(&case["public_key"]);
        assert_eq!(hex(&case["key_compat"]), public);
        for (version, key) in [(0, "key_v0"), (1, "key_v1"), (2, "key_v2")] {
            let manifest = Manifest::single_signer(version, Signer::new(public));
            assert_eq!(manifest.key().0[..], hex(&case[key])[..]);
        }
    }
}

const CORE_LISTS: &[&str] = &["logs", "truncations", "encryption"];
const ELSEWHERE: &[&str] = &[
    "namespaces",
    "manifests",
    "manifest_refused",
    "manifest_bytes",
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

fn core_file() -> Value {
    load("core", CORE_LISTS, ELSEWHERE)
}

/// A core with a key pair, by the kind that the vectors name it with.
async fn core_of(cores: &Corestore, case: &Value, kind: &str) -> Hypercore {
    let pair = pair(&case["key_pair"]);
    let options = match (kind, case.get("manifest")) {
        ("compat", _) => CoreOptions::key(pair.public.into()).with_key_pair(pair),
        (_, Some(manifest)) => {
            let manifest = Manifest::decode(&hex(manifest)).unwrap();
            CoreOptions::manifest(manifest).with_key_pair(pair)
        }
        ("v0", None) => {
            let manifest = Manifest::single_signer(0, Signer::new(pair.public));
            CoreOptions::manifest(manifest).with_key_pair(pair)
        }
        ("v1 default", None) => CoreOptions::key_pair(pair),
        (other, None) => panic!("no test knows logs of kind {other:?}"),
    };
    cores.get(options).await.unwrap()
}

fn check_state(core: &Hypercore, state: &Value) {
    assert_eq!(core.length(), number(&state["length"]));
    assert_eq!(core.tree().byte_length, number(&state["byte_length"]));
    assert_eq!(core.fork(), number(&state["fork"]));
    assert_eq!(core.roots(), nodes(&state["roots"]));
    assert_eq!(core.tree().hash()[..], hex(&state["tree_hash"])[..]);
    let signature = core.signature().unwrap_or_default();
    match &state["signature"] {
        Value::Null => assert!(signature.is_empty()),
        expected => assert_eq!(signature, hex(expected)),
    }
}

#[tokio::test]
async fn vectors_logs() {
    let file = core_file();
    for log in list(&file, "logs") {
        let kind = log["kind"].as_str().unwrap();
        let opened = open(CorestoreOptions::default());
        let core = core_of(&opened.cores, log, kind).await;
        assert_eq!(core.key().0[..], hex(&log["key"])[..]);
        assert_eq!(core.discovery_key().0[..], hex(&log["discovery_key"])[..]);
        let blocks = blocks(&log["blocks"]);
        let steps = log
            .get("after_each_append")
            .filter(|steps| !steps.is_null());
        match steps {
            Some(steps) => {
                for (block, state) in blocks.iter().zip(steps.as_array().unwrap()) {
                    core.append(block.clone()).await.unwrap();
                    check_state(&core, state);
                }
            }
            None => {
                core.append_batch(blocks.clone()).await.unwrap();
            }
        }
        check_state(&core, &log["final"]);
        if let Some(expected) = log.get("nodes").filter(|nodes| !nodes.is_null()) {
            assert_eq!(core.nodes().await.unwrap(), nodes(expected));
        }
        assert!(core.audit(|_| ()).await.unwrap().problems.is_empty());

        // the same core from its parts, in another store
        let other = open(CorestoreOptions::default());
        let reader = other.cores.get(CoreOptions::key(core.key())).await.unwrap();
        let import = Import {
            manifest: core.manifest().filter(|_| kind != "compat"),
            fork: 0,
            length: core.length(),
            signature: core.signature(),
            nodes: core.nodes().await.unwrap(),
            blocks: (0..).zip(blocks.clone()).collect(),
        };
        let mut wrong = import.clone();
        reader.import(import).await.unwrap();
        assert_eq!(reader.contiguous_length(), core.length());
        assert_eq!(reader.tree(), core.tree());
        assert!(reader.audit(|_| ()).await.unwrap().problems.is_empty());
        if let Some((_, block)) = wrong.blocks.first_mut() {
            *block = Bytes::from_static(b"another block");
            let third = open(CorestoreOptions::default());
            let reader = third.cores.get(CoreOptions::key(core.key())).await.unwrap();
            assert!(reader.import(wrong).await.is_err());
            assert_eq!(reader.length(), 0);
            assert!(reader.nodes().await.unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn vectors_truncations() {
    let file = core_file();
    for case in list(&file, "truncations") {
        let opened = open(CorestoreOptions::default());
        let core = core_of(&opened.cores, case, case["kind"].as_str().unwrap()).await;
        assert_eq!(core.key().0[..], hex(&case["key"])[..]);
        for step in list(case, "steps") {
            if let Some(append) = step.get("append") {
                core.append_batch(blocks(append)).await.unwrap();
            } else {
                let length = number(&step["truncate"]);
                match step["fork"].as_u64() {
                    Some(fork) => core.truncate_with(length, fork).await.unwrap(),
                    None => core.truncate(length).await.unwrap(),
                }
            }
            check_state(&core, &step["state"]);
            assert_eq!(core.nodes().await.unwrap(), nodes(&step["nodes"]));
            assert!(core.audit(|_| ()).await.unwrap().problems.is_empty());
        }
    }
}

#[tokio::test]
async fn vectors_encryption() {
    let file = core_file();
    for case in list(&file, "encryption") {
        let opened = open(CorestoreOptions::default());
        let pair = pair(&case["key_pair"]);
        let options = match case["scheme"].as_str().unwrap() {
            "hypercore 11" => CoreOptions::key_pair(pair),
            "compat" => CoreOptions::key(pair.public.into()).with_key_pair(pair),
            other => panic!("no test knows the scheme {other:?}"),
        };
        let key = fixed(&case["encryption_key"]);
        let options = match case["key_is_block_key"].as_bool().unwrap() {
            true => options.with_block_key(key),
            false => options.with_encryption_key(key),
        };
        let core = opened.cores.get(options).await.unwrap();
        assert_eq!(core.key().0[..], hex(&case["key"])[..]);
        assert_eq!(core.padding(), number(&case["padding"]));
        for step in list(case, "steps") {
            let first = number(&step["first_index"]);
            let fork = number(&step["fork"]);
            if core.length() > first || core.fork() != fork {
                core.truncate_with(first, fork).await.unwrap();
            }
            let plain = blocks(&step["plain"]);
            core.append_batch(plain.clone()).await.unwrap();
            for (index, (plain, stored)) in (first..).zip(plain.iter().zip(blocks(&step["stored"])))
            {
                assert_eq!(core.stored_block(index).await.unwrap().unwrap(), stored);
                assert_eq!(&core.get(index).await.unwrap(), plain);
            }
        }
    }
}

#[tokio::test]
async fn a_prologue_is_not_cut() {
    let opened = open(CorestoreOptions::default());
    let (cores, pair) = (&opened.cores, KeyPair::from_seed(&[3; 32]));
    let plain = cores.get(CoreOptions::name("plain")).await.unwrap();
    let start: Vec<Bytes> = vec!["a".into(), "b".into(), "c".into()];
    plain.append_batch(start.clone()).await.unwrap();
    let manifest = Manifest::create(ManifestOptions {
        signers: vec![Signer::new(pair.public)],
        prologue: Some(Prologue {
            hash: plain.tree_hash().await.unwrap(),
            length: 3,
        }),
        ..ManifestOptions::default()
    })
    .unwrap();
    let options = CoreOptions::manifest(manifest).with_key_pair(pair);
    let core = cores.get(options).await.unwrap();
    let error = core.append("a").await.unwrap_err();
    assert_eq!(error.code(), "INVALID_OPERATION");
    core.append_batch(start).await.unwrap();
    core.append("d").await.unwrap();
    core.truncate(3).await.unwrap();
    let error = core.truncate(2).await.unwrap_err();
    assert_eq!(error.code(), "INVALID_OPERATION");
    assert_eq!((core.length(), core.fork()), (3, 1));
}
