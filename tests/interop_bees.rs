//! Bees replicate with npm's over secret streams on TCP, in both directions; each side's lookups are answered by the other's cache extension.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use futures_util::TryStreamExt;
use pome_bee::{Hyperbee, RangeOptions};
use pome_cores::{CoreOptions, Corestore, Durability, Key, KeyPair, Store};
use pome_net::driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp};
use pome_test_support::{JsonProcess, npm_works};
use serde_json::{Value, json};
use std::net::SocketAddr;

const NPM: &[&str] = &["corestore", "hyperbee", "@hyperswarm/secret-stream"];
const KEYS: u64 = 3000;

struct Npm {
    process: JsonProcess,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Npm {
    fn start() -> Self {
        let store = tempfile::tempdir().unwrap();
        let mut process = JsonProcess::npm("bees.js", [store.path()]);
        let port = process.line()["port"].as_u64().unwrap();
        Self {
            process,
            port: port.try_into().unwrap(),
            _folder: store,
        }
    }

    /// Tells it to do something, and waits until it has. The runtime goes on meanwhile.
    fn tell(&mut self, what: Value) -> Value {
        tokio::task::block_in_place(|| self.process.tell(&what))
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(pome_test_support::PATIENCE, future)
        .await
        .expect("an answer")
}

async fn join(cores: &Corestore, npm: &Npm) -> (Connection, Replication) {
    let address = SocketAddr::from(([127, 0, 0, 1], npm.port));
    let options = ConnectionOptions::default();
    let connection = tcp::connect(address, &KeyPair::random(), &options).await;
    let connection = connection.unwrap();
    let replication = connection.replicate(cores, ReplicateOptions::default());
    (connection, replication)
}

fn key(n: u64) -> String {
    format!("key {n:05}")
}

fn cores() -> (tempfile::TempDir, Corestore) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Default::default()).unwrap();
    (folder, Corestore::open(store).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_looks_up_in_our_bee() {
    if !npm_works("npm_looks_up_in_our_bee", NPM) {
        return;
    }
    let (_folder, cores) = cores();
    let core = cores.get(CoreOptions::name("bee")).await.unwrap();
    let (bee, answers) = Hyperbee::new(core).with_extension();
    let answers = tokio::spawn(answers.run());
    let mut batch = bee.batch();
    for n in 0..KEYS {
        let key = key(n);
        batch
            .put(key.as_bytes(), format!("value {n}"))
            .await
            .unwrap();
    }
    batch.flush(Durability::Synced).await.unwrap();
    let mut npm = Npm::start();
    npm.tell(json!({"cmd": "open", "key": bee.core().key().to_hex()}));
    let _joined = join(&cores, &npm).await;
    for n in [1234, 7, 2999] {
        let answer = npm.tell(json!({"cmd": "get", "n": n}));
        assert_eq!(answer["value"], format!("value {n}"));
    }
    let answer = npm.tell(json!({"cmd": "range", "from": 500, "to": 2500}));
    let keys: Vec<Value> = (500..2500).map(|n| key(n).into()).collect();
    assert_eq!(answer["keys"], Value::from(keys));
    // it asked, and was told which blocks
    let counts = npm.tell(json!({"cmd": "counts"}));
    assert!(counts["cache"].as_u64().unwrap() > 3, "{counts}");
    assert!(counts["blocks"].as_u64().unwrap() > 1000, "{counts}");
    cores.close().await.unwrap();
    answers.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn we_look_up_in_npms_bee() {
    if !npm_works("we_look_up_in_npms_bee", NPM) {
        return;
    }
    let (_folder, cores) = cores();
    let mut npm = Npm::start();
    let answer = npm.tell(json!({"cmd": "create", "keys": KEYS}));
    let hex = answer["key"].as_str().unwrap();
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    let core = CoreOptions::key(Key(bytes.try_into().unwrap()));
    let core = cores.get(core).await.unwrap();
    let (bee, answers) = Hyperbee::new(core).with_extension();
    let answers = tokio::spawn(answers.run());
    let finding = bee.core().finding_peers();
    let _joined = join(&cores, &npm).await;
    assert!(soon(bee.update()).await.unwrap());
    drop(finding);
    for n in [1234, 7, 2999] {
        let entry = soon(bee.get(key(n).as_bytes())).await.unwrap().unwrap();
        assert_eq!(entry.value.unwrap(), format!("value {n}"));
    }
    let range = RangeOptions::new().with_gte(key(500)).with_lt(key(2500));
    let entries: Vec<_> = soon(bee.range(range).try_collect()).await.unwrap();
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(keys, (500..2500).map(key).collect::<Vec<_>>());
    let counts = npm.tell(json!({"cmd": "counts"}));
    assert!(counts["get"].as_u64().unwrap() >= 1, "{counts}");
    assert!(counts["iterator"].as_u64().unwrap() >= 1, "{counts}");
    cores.close().await.unwrap();
    answers.abort();
}
