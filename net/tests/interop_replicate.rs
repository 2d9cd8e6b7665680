//! Stores of ours and npm's corestore replicate over one encrypted TCP connection, in both directions.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use data_encoding::HEXLOWER;
use pome_cores::{CoreOptions, Corestore, Hypercore, Key, KeyPair, Store, crypto};
use pome_net::driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp};
use pome_test_support::{npm_folder, npm_works};
use serde_json::{Value, json};
use std::{
    future::Future,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// The npm modules that the other side is made of.
const NPM: &[&str] = &["corestore", "hypercore-crypto"];

struct Npm {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _folder: tempfile::TempDir,
}

impl Npm {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = npm_folder().join("replicate.js");
        let mut child = Command::new("node")
            .arg(script)
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            _folder: folder,
        }
    }

    /// Says a word, and waits for the answer; the runtime goes on meanwhile.
    async fn say(&mut self, word: &str, with: Value) -> Value {
        let mut line = with;
        line["word"] = word.into();
        writeln!(self.input, "{line}").unwrap();
        tokio::task::block_in_place(|| {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert!(answer["error"].is_null(), "{word}: {answer}");
            answer
        })
    }
}

impl Drop for Npm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Ours {
    cores: Corestore,
    _folder: tempfile::TempDir,
}

impl Ours {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Default::default()).unwrap();
        Self {
            cores: Corestore::open(store).unwrap(),
            _folder: folder,
        }
    }

    async fn reader(&self, key: &Value) -> Hypercore {
        let key = HEXLOWER.decode(key.as_str().unwrap().as_bytes()).unwrap();
        let key = Key(key.try_into().unwrap());
        self.cores.get(CoreOptions::key(key)).await.unwrap()
    }

    async fn writer(&self, name: &str) -> (Hypercore, Value) {
        let core = self.cores.get(CoreOptions::name(name)).await.unwrap();
        let key = json!({ "key": HEXLOWER.encode(&core.key().0) });
        (core, key)
    }

    fn over(&self, connection: &Connection) -> Replication {
        connection.replicate(&self.cores, ReplicateOptions::default())
    }

    /// We dial npm.
    async fn dial(&self, npm: &mut Npm) -> Replication {
        let port = npm.say("listen", json!({})).await["port"].as_u64().unwrap();
        let options = ConnectionOptions::default();
        let address = format!("127.0.0.1:{port}");
        let connection = tcp::connect(address, &KeyPair::random(), &options)
            .await
            .unwrap();
        self.over(&connection)
    }

    /// npm dials us.
    async fn take(&self, npm: &mut Npm) -> Replication {
        let options = ConnectionOptions::default();
        let server = tcp::Server::bind("127.0.0.1:0", KeyPair::random(), options)
            .await
            .unwrap();
        let port = server.address().port();
        npm.say("connect", json!({ "port": port })).await;
        self.over(&soon(server.accept()).await.unwrap())
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("an answer within a minute")
}

fn block(index: u64, size: u64) -> Bytes {
    (0..size).map(|at| (index * 31 + at) as u8).collect()
}

fn blocks(from: u64, count: u64, size: u64) -> Vec<Bytes> {
    (from..from + count)
        .map(|index| block(index, size))
        .collect()
}

fn hash(blocks: &[Bytes]) -> String {
    let parts: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
    HEXLOWER.encode(&crypto::hash(&parts))
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_what_npm_writes() {
    if !npm_works("we_read_what_npm_writes", NPM) {
        return;
    }
    let (mut npm, ours) = (Npm::start(), Ours::new());
    let log = json!({ "name": "log" });
    let append = |from: u64, count: u64, size: u64| json!({ "core": log, "from": from, "count": count, "size": size });
    let key = npm.say("append", append(0, 100, 1000)).await["key"].clone();
    let core = ours.reader(&key).await;
    let _replication = ours.dial(&mut npm).await;
    // Sparse: from the back.
    for index in [99, 0, 50, 51, 7] {
        assert_eq!(soon(core.get(index)).await.unwrap(), block(index, 1000));
    }
    // Live.
    npm.say("append", append(100, 1, 1000)).await;
    assert_eq!(soon(core.get(100)).await.unwrap(), block(100, 1000));
    // All of it, with large blocks behind.
    npm.say("append", append(101, 20, 100_000)).await;
    for index in 0..121 {
        let size = if index > 100 { 100_000 } else { 1000 };
        assert_eq!(soon(core.get(index)).await.unwrap(), block(index, size));
    }
    assert_eq!(core.length(), 121);
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_reads_what_we_write() {
    if !npm_works("npm_reads_what_we_write", NPM) {
        return;
    }
    let (mut npm, ours) = (Npm::start(), Ours::new());
    let (core, key) = ours.writer("log").await;
    core.append_batch(blocks(0, 300, 500)).await.unwrap();
    let _replication = ours.take(&mut npm).await;
    let got = npm.say("get", json!({ "core": key, "index": 299 })).await;
    assert_eq!(got["block"], HEXLOWER.encode(&block(299, 500)));
    let seek = npm
        .say("seek", json!({ "core": key, "bytes": 123_456 }))
        .await;
    assert_eq!(seek["seek"], json!([246, 456]));
    let all = json!({ "core": key, "length": 300 });
    assert_eq!(
        npm.say("download", all).await["hash"],
        hash(&blocks(0, 300, 500))
    );
    // Live: npm's reader waits for a block that does not exist yet.
    let write = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        core.append(block(300, 500)).await.unwrap();
    });
    let got = npm.say("get", json!({ "core": key, "index": 300 })).await;
    write.await.unwrap();
    assert_eq!(got["block"], HEXLOWER.encode(&block(300, 500)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_cores_both_ways_over_one_connection() {
    if !npm_works("many_cores_both_ways_over_one_connection", NPM) {
        return;
    }
    let (mut npm, ours) = (Npm::start(), Ours::new());
    let mut theirs = Vec::new();
    let mut written = Vec::new();
    for n in 0..50u64 {
        let log =
            json!({ "core": { "name": format!("log {n}") }, "from": n, "count": 3, "size": 20 });
        theirs.push(npm.say("append", log).await["key"].clone());
        let (core, key) = ours.writer(&format!("log {n}")).await;
        core.append_batch(blocks(n, 3, 30)).await.unwrap();
        written.push(key);
    }
    let _replication = ours.dial(&mut npm).await;
    for (n, (theirs, written)) in theirs.iter().zip(&written).enumerate() {
        let n = n as u64;
        let core = ours.reader(theirs).await;
        assert_eq!(soon(core.get(2)).await.unwrap(), block(n + 2, 20));
        let got = npm.say("get", json!({ "core": written, "index": 1 })).await;
        assert_eq!(got["block"], HEXLOWER.encode(&block(n + 1, 30)));
    }
}

/// npm → pome → npm → pome, each with only what the one before gave it.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain() {
    if !npm_works("a_chain", NPM) {
        return;
    }
    let (mut first, second) = (Npm::start(), Ours::new());
    let (mut third, fourth) = (Npm::start(), Ours::new());
    let log = json!({ "core": { "name": "log" }, "from": 0, "count": 40, "size": 100 });
    let key = first.say("append", log).await["key"].clone();
    let core = second.reader(&key).await;
    let link = second.dial(&mut first).await;
    for index in 0..40 {
        assert_eq!(soon(core.get(index)).await.unwrap(), block(index, 100));
    }
    drop((link, first));
    let link = second.take(&mut third).await;
    let all = json!({ "core": { "key": key }, "length": 40 });
    assert_eq!(
        third.say("download", all).await["hash"],
        hash(&blocks(0, 40, 100))
    );
    drop((link, core, second));
    let core = fourth.reader(&key).await;
    let _link = fourth.dial(&mut third).await;
    for index in (0..40).rev() {
        assert_eq!(soon(core.get(index)).await.unwrap(), block(index, 100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_follow_a_truncation() {
    if !npm_works("readers_follow_a_truncation", NPM) {
        return;
    }
    let (mut npm, ours) = (Npm::start(), Ours::new());
    // npm's writer, our reader.
    let log = json!({ "core": { "name": "log" }, "from": 0, "count": 10, "size": 10 });
    let key = npm.say("append", log).await["key"].clone();
    let reader = ours.reader(&key).await;
    // Our writer, npm's reader.
    let (writer, written) = ours.writer("ours").await;
    writer.append_batch(blocks(0, 10, 10)).await.unwrap();
    let _replication = ours.dial(&mut npm).await;
    soon(reader.get(9)).await.unwrap();
    npm.say("get", json!({ "core": written, "index": 9 })).await;

    npm.say(
        "truncate",
        json!({ "core": { "name": "log" }, "length": 4 }),
    )
    .await;
    let more = json!({ "core": { "name": "log" }, "from": 70, "count": 3, "size": 10 });
    npm.say("append", more).await;
    let followed = async {
        while (reader.length(), reader.fork()) != (7, 1) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (reader.get(3).await.unwrap(), reader.get(6).await.unwrap())
    };
    assert_eq!(soon(followed).await, (block(3, 10), block(72, 10)));

    writer.truncate(4).await.unwrap();
    writer.append_batch(blocks(70, 3, 10)).await.unwrap();
    let now = json!({ "core": written, "length": 7, "fork": writer.fork() });
    npm.say("until", now).await;
    let got = npm.say("get", json!({ "core": written, "index": 6 })).await;
    assert_eq!(got["block"], HEXLOWER.encode(&block(72, 10)));
}
