//! Whole stores replicate with npm's: a thousand cores, restarts in mid-stream, several signers, snapshots, databases and drives; in both directions.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod peers;

use bytes::Bytes;
use peers::{NPM, Npm, Pome, block, blocks, key_of, reach, same, soon};
use pome_bee::Hyperbee;
use pome_cores::{
    CoreOptions, Hypercore, KeyPair, Manifest, ManifestOptions, Signer, Verifier, multisig,
};
use pome_drive_fs::{DriveOptions, Hyperdrive};
use pome_test_support::npm_works;
use serde_json::{Map, Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cores_each_way_over_one_connection() {
    if !npm_works("a_thousand_cores_each_way_over_one_connection", NPM) {
        return;
    }
    const COUNT: usize = 1000;
    let (mut npm, pome) = (Npm::start(), Pome::new());
    let many = npm.tell(json!({"cmd": "many", "count": COUNT}));
    let mut keys = Vec::new();
    for n in 0..COUNT {
        let core = pome.core(&format!("core {n}")).await;
        core.append(format!("of pome {n}")).await.unwrap();
        keys.push(core.key().to_hex());
        // half of them are open when the connection comes, the others are opened by it
        if n % 2 == 0 {
            core.close().await.unwrap();
        }
    }
    let joined = pome.dial(&npm).await;
    npm.send(json!({"cmd": "readMany", "keys": keys}));
    for (n, key) in many["keys"].as_array().unwrap().iter().enumerate() {
        let copy = pome.reader(key).await;
        assert_eq!(soon(copy.get(0)).await.unwrap(), format!("in {n}"));
    }
    let read = npm.answer();
    for (n, block) in read["blocks"].as_array().unwrap().iter().enumerate() {
        assert_eq!(*block, format!("of pome {n}"));
    }
    assert!(!joined.0.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_blocks_are_caught_up_with() {
    if !npm_works("ten_thousand_blocks_are_caught_up_with", NPM) {
        return;
    }
    let (mut npm, pome) = (Npm::start(), Pome::new());
    let log = pome.core("log").await;
    log.append_batch(blocks(0, 10_000)).await.unwrap();
    let made = npm.create("log", 10_000);
    let _joined = pome.listen(&mut npm).await;
    let id = npm.open(&log);
    npm.send(json!({"cmd": "download", "id": id, "start": 0, "end": 10_000}));
    let copy = pome.reader(&made).await;
    soon(copy.download(0..10_000).unwrap().done())
        .await
        .unwrap();
    assert_eq!(npm.answer()["contiguousLength"], 10_000);
    same(&log, &npm.tell(json!({"cmd": "info", "id": id}))).await;
    same(&copy, &npm.tell(json!({"cmd": "info", "id": made["id"]}))).await;
    for n in [0, 1, 4_999, 9_999] {
        assert_eq!(npm.get(&id, n), block(n));
        assert_eq!(copy.get(n).await.unwrap(), block(n));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_restarts_in_mid_stream() {
    if !npm_works("a_writer_restarts_in_mid_stream", NPM) {
        return;
    }
    const COUNT: u64 = 5000;
    // pome writes: its store is closed while npm downloads, and opened again.
    let (mut npm, mut pome) = (Npm::start(), Pome::new());
    let log = pome.core("log").await;
    log.append_batch(blocks(0, COUNT)).await.unwrap();
    let joined = pome.dial(&npm).await;
    let id = npm.open(&log);
    npm.send(json!({"cmd": "download", "id": id, "start": 0, "end": COUNT + 100}));
    let started = async {
        while log.peers().iter().all(|peer| peer.remote_length < COUNT) {
            tokio::task::yield_now().await;
        }
    };
    soon(started).await;
    drop((joined, log));
    pome = pome.restart().await;
    let log = pome.core("log").await;
    assert_eq!(log.length(), COUNT);
    let _joined = pome.dial(&npm).await;
    log.append_batch(blocks(COUNT, 100)).await.unwrap();
    npm.answer();
    same(&log, &npm.tell(json!({"cmd": "info", "id": id}))).await;

    // npm writes: its process ends while pome downloads, and starts again.
    let mut npm = Npm::start();
    let made = npm.create("log", COUNT);
    let copy = pome.reader(&made).await;
    let joined = pome.dial(&npm).await;
    let mut all = copy.download(0..COUNT + 100).unwrap();
    soon(copy.get(0)).await.unwrap();
    let mut npm = npm.restart();
    drop(joined);
    let again = npm.create("log", 0);
    assert_eq!(again["key"], made["key"]);
    let _joined = pome.dial(&npm).await;
    npm.tell(json!({"cmd": "append", "id": again["id"], "prefix": "block ", "from": COUNT, "count": 100}));
    soon(all.done()).await.unwrap();
    same(&copy, &npm.tell(json!({"cmd": "info", "id": again["id"]}))).await;
    for n in [0, COUNT - 1, COUNT, COUNT + 99] {
        assert_eq!(copy.get(n).await.unwrap(), block(n));
    }
}

const SEEDS: [u8; 3] = [1, 2, 3];

/// Appends with the signatures of these signers.
async fn append_signed(core: &Hypercore, manifest: &Manifest, by: &[u64], blocks: Vec<Bytes>) {
    let verifier = Verifier::new(manifest.clone());
    let mut batch = core.tree().batch();
    batch.append_blocks(&blocks);
    let part = |signer: &u64| {
        let pair = KeyPair::from_seed(&[SEEDS[*signer as usize]; 32]);
        let signature = verifier.sign(batch.tree(), &pair).unwrap();
        multisig::Part {
            signer: *signer,
            signature: signature[..].try_into().unwrap(),
            patch: 0,
            nodes: Vec::new(),
        }
    };
    let parts: Vec<_> = by.iter().map(part).collect();
    let signature = verifier.assemble(&parts).unwrap();
    core.append_signed(blocks, signature.into()).await.unwrap();
}

/// The same core at both: two of three must sign, and both sides have all three key pairs.
#[tokio::test(flavor = "multi_thread")]
async fn several_signers() {
    if !npm_works("several_signers", NPM) {
        return;
    }
    let pairs = SEEDS.map(|seed| KeyPair::from_seed(&[seed; 32]));
    let manifest = Manifest::create(ManifestOptions {
        signers: pairs.iter().map(|pair| Signer::new(pair.public)).collect(),
        quorum: Some(2),
        ..ManifestOptions::default()
    })
    .unwrap();
    let (mut npm, pome) = (Npm::start(), Pome::new());
    let core = pome.cores.get(CoreOptions::manifest(manifest.clone()));
    let core = core.await.unwrap();
    append_signed(&core, &manifest, &[0, 2], blocks(0, 20)).await;
    let _joined = pome.dial(&npm).await;
    let id = npm.open(&core);
    assert_eq!(npm.get(&id, 19), block(19));
    same(&core, &npm.tell(json!({"cmd": "info", "id": id}))).await;
    append_signed(&core, &manifest, &[1, 2], blocks(20, 5)).await;
    assert_eq!(npm.get(&id, 24), block(24));

    // Made and signed by npm, in another store: the key is the same, the history its own.
    let (mut other, reader) = (Npm::start(), Pome::new());
    let made = other.tell(json!({"cmd": "multi", "seeds": SEEDS}));
    assert_eq!(key_of(&made), core.key());
    let signed = json!({"cmd": "appendSigned", "id": made["id"], "seeds": SEEDS, "by": [1, 0], "blocks": ["a", "b", "c"]});
    let now = other.tell(signed);
    let copy = reader.reader(&made).await;
    let _other = reader.listen(&mut other).await;
    assert_eq!(soon(copy.get(2)).await.unwrap(), "c");
    same(&copy, &now).await;
    let signed = json!({"cmd": "appendSigned", "id": made["id"], "seeds": SEEDS, "by": [2, 1], "blocks": ["d"]});
    other.tell(signed);
    assert_eq!(soon(copy.get(3)).await.unwrap(), "d");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_stay_while_the_other_side_goes_on() {
    if !npm_works("snapshots_stay_while_the_other_side_goes_on", NPM) {
        return;
    }
    let (mut npm, pome) = (Npm::start(), Pome::new());
    let log = pome.core("log").await;
    log.append_batch(blocks(0, 40)).await.unwrap();
    let made = npm.create("log", 40);
    let _joined = pome.dial(&npm).await;
    let id = npm.open(&log);
    assert_eq!(npm.get(&id, 39), block(39));
    let then = npm.tell(json!({"cmd": "snapshot", "id": id}));
    assert_eq!(then["length"], 40);
    let copy = pome.reader(&made).await;
    assert_eq!(soon(copy.get(39)).await.unwrap(), block(39));
    let snapshot = copy.snapshot().unwrap();

    log.append_batch(blocks(40, 10)).await.unwrap();
    npm.tell(
        json!({"cmd": "append", "id": made["id"], "prefix": "block ", "from": 40, "count": 10}),
    );
    assert_eq!(npm.get(&id, 49), block(49));
    assert_eq!(soon(copy.get(49)).await.unwrap(), block(49));
    // Blocks of the snapshots that were not here are fetched.
    assert_eq!(npm.get(then["id"].as_str().unwrap(), 17), block(17));
    assert_eq!(soon(snapshot.get(17)).await.unwrap(), block(17));
    assert_eq!((snapshot.length(), copy.length()), (40, 50));
    assert!(soon(snapshot.get(45)).await.is_err());

    // What a truncation cuts off stays in them, as far as it was here.
    log.truncate(10).await.unwrap();
    npm.tell(json!({"cmd": "truncate", "id": made["id"], "length": 10}));
    npm.tell(json!({"cmd": "append", "id": made["id"], "prefix": "new ", "from": 0, "count": 1}));
    reach(&copy, 11, 1).await;
    assert_eq!((snapshot.length(), snapshot.fork()), (40, 0));
    for n in [17, 39] {
        assert_eq!(soon(snapshot.get(n)).await.unwrap(), block(n));
    }
    assert_eq!(soon(copy.get(10)).await.unwrap(), "new 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_replicate() {
    if !npm_works("databases_replicate", &["corestore", "hyperbee"]) {
        return;
    }
    let (mut npm, pome) = (Npm::start(), Pome::new());
    let ours = Hyperbee::new(pome.core("bee").await);
    for n in 0..300 {
        let (key, value) = (format!("key {n}"), format!("value {n}"));
        ours.put(key.as_bytes(), value).await.unwrap();
    }
    let theirs = npm.tell(json!({"cmd": "beePut", "name": "bee", "from": 0, "count": 300}));
    let _joined = pome.dial(&npm).await;
    let key = ours.core().key().to_hex();
    for change in 0..2 {
        let length = ours.core().length();
        let all = npm.tell(json!({"cmd": "beeAll", "key": key, "length": length}));
        let all = all["entries"].as_array().unwrap().clone();
        let mut expected: Vec<Value> = (change..300 + change)
            .map(|n| json!([format!("key {n}"), format!("value {n}")]))
            .collect();
        expected.sort_by_key(|entry| entry[0].as_str().unwrap().to_owned());
        assert_eq!(all, expected);
        ours.del(b"key 0").await.unwrap();
        ours.put(b"key 300", "value 300").await.unwrap();
    }
    let copy = pome.reader(&theirs).await;
    reach(&copy, theirs["length"].as_u64().unwrap(), 0).await;
    let copy = Hyperbee::new(copy);
    for n in [0, 7, 150, 299] {
        let entry = soon(copy.get(format!("key {n}").as_bytes())).await.unwrap();
        let value = entry.unwrap().value.unwrap();
        assert_eq!(value, format!("value {n}"));
    }
    assert!(soon(copy.get(b"key 300")).await.unwrap().is_none());
    let more = npm.tell(json!({"cmd": "beePut", "name": "bee", "from": 300, "count": 1}));
    reach(copy.core(), more["length"].as_u64().unwrap(), 0).await;
    let entry = soon(copy.get(b"key 300")).await.unwrap();
    assert_eq!(entry.unwrap().value.unwrap(), "value 300");
}

#[tokio::test(flavor = "multi_thread")]
async fn drives_replicate() {
    if !npm_works("drives_replicate", &["corestore", "hyperdrive"]) {
        return;
    }
    let (mut npm, pome) = (Npm::start(), Pome::new());
    let files: Vec<(String, String)> = (0..30)
        .map(|n| {
            (
                format!("/folder {}/file {n}", n % 3),
                format!("content {n}"),
            )
        })
        .chain([("/large".into(), "0123456789".repeat(30_000))])
        .collect();
    let map: Map<String, Value> = (files.iter())
        .map(|(path, text)| (path.clone(), text.clone().into()))
        .collect();
    let ours = Hyperdrive::open(pome.cores.namespace("ours"), DriveOptions::default());
    let ours = ours.await.unwrap();
    for (path, text) in &files {
        let put = ours.put(path, text.clone(), Default::default());
        put.await.unwrap();
    }
    let theirs = npm.tell(json!({"cmd": "drivePut", "name": "theirs", "files": map}));
    let _joined = pome.listen(&mut npm).await;
    let length = ours.core().length();
    let all = json!({"cmd": "driveAll", "key": ours.key().to_hex(), "length": length});
    assert_eq!(npm.tell(all)["files"], Value::Object(map));

    let options = DriveOptions {
        key: Some(key_of(&theirs)),
        ..DriveOptions::default()
    };
    let copy = Hyperdrive::open(pome.cores.namespace("theirs"), options);
    let copy = copy.await.unwrap();
    reach(copy.core(), theirs["length"].as_u64().unwrap(), 0).await;
    for (path, text) in &files {
        let content = soon(copy.get(path)).await.unwrap();
        assert_eq!(content.unwrap(), *text, "{path}");
    }
    // A change is seen on the other side.
    let more = json!({"cmd": "drivePut", "name": "theirs", "files": {"/new": "news"}});
    let now = npm.tell(more);
    reach(copy.core(), now["length"].as_u64().unwrap(), 0).await;
    let content = soon(copy.get("/new")).await.unwrap();
    assert_eq!(content.unwrap(), "news");
}
