//! Stores of ours, processes with npm's corestore (`tests/interop/cores.js`), and connections between them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{future::Future, net::SocketAddr, path::Path};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use pome_cores::{CoreOptions, Corestore, Hypercore, Key, KeyPair, Store};
use pome_net::driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp};
use pome_test_support::JsonProcess;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The npm modules that the other side is made of.
pub(crate) const NPM: &[&str] = &["corestore", "@hyperswarm/secret-stream"];

/// No test waits for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(pome_test_support::PATIENCE, future)
        .await
        .expect("an answer")
}

pub(crate) fn block(n: u64) -> Bytes {
    format!("block {n}").into_bytes().into()
}

pub(crate) fn blocks(from: u64, count: u64) -> Vec<Bytes> {
    (from..from + count).map(block).collect()
}

/// A process with npm's corestore.
pub(crate) struct Npm {
    process: JsonProcess,
    pub(crate) port: u16,
    folder: TempDir,
}

impl Npm {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    fn start_in(folder: TempDir) -> Self {
        let mut process = JsonProcess::npm("cores.js", [folder.path()]);
        let port = process.line()["port"].as_u64().unwrap();
        Self {
            process,
            port: port.try_into().unwrap(),
            folder,
        }
    }

    /// Ends it in order, and starts it again on its store.
    pub(crate) fn restart(mut self) -> Self {
        self.tell(json!({"cmd": "quit"}));
        self.process.wait();
        Self::start_in(self.folder)
    }

    /// What it says next. The runtime goes on meanwhile.
    pub(crate) fn line(&mut self) -> Value {
        tokio::task::block_in_place(|| self.process.line())
    }

    /// What it answers to what it was sent.
    pub(crate) fn answer(&mut self) -> Value {
        let answer = self.line();
        assert!(answer.get("error").is_none(), "{answer}");
        answer
    }

    pub(crate) fn send(&mut self, what: Value) {
        self.process.send(&what);
    }

    /// Tells it to do something, and waits until it has.
    pub(crate) fn tell(&mut self, what: Value) -> Value {
        tokio::task::block_in_place(|| self.process.tell(&what))
    }

    /// Makes a core with `count` blocks; answers what there is to say of it.
    pub(crate) fn create(&mut self, name: &str, count: u64) -> Value {
        let made = self.tell(json!({"cmd": "create", "name": name}));
        if count > 0 {
            self.tell(json!({"cmd": "append", "id": made["id"], "prefix": "block ", "from": 0, "count": count}));
        }
        made
    }

    /// Opens a core that the other side writes.
    pub(crate) fn open(&mut self, core: &Hypercore) -> String {
        self.open_encrypted(core, None)
    }

    pub(crate) fn open_encrypted(&mut self, core: &Hypercore, key: Option<[u8; 32]>) -> String {
        let key = key.map(|key| HEXLOWER.encode(&key));
        let answer =
            self.tell(json!({"cmd": "open", "key": core.key().to_hex(), "encryptionKey": key}));
        answer["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn get(&mut self, id: &str, index: u64) -> Vec<u8> {
        let answer = self.tell(json!({"cmd": "get", "id": id, "index": index}));
        HEXLOWER
            .decode(answer["block"].as_str().unwrap().as_bytes())
            .unwrap()
    }
}

/// The key that an answer names.
pub(crate) fn key_of(answer: &Value) -> Key {
    let key = answer.get("key").unwrap_or(answer).as_str().unwrap();
    Key(HEXLOWER.decode(key.as_bytes()).unwrap().try_into().unwrap())
}

/// A store of ours.
pub(crate) struct Pome {
    pub(crate) cores: Corestore,
    folder: TempDir,
}

/// What keeps a connection going.
pub(crate) struct Joined(pub(crate) Connection, pub(crate) Replication);

fn open(folder: &Path) -> Corestore {
    Corestore::open(Store::open(folder, Default::default()).unwrap()).unwrap()
}

impl Pome {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            cores: open(folder.path()),
            folder,
        }
    }

    /// Closes the store and opens it again. Nobody may hold a core of it.
    pub(crate) async fn restart(self) -> Self {
        self.cores.close().await.unwrap();
        drop(self.cores);
        Self {
            cores: open(self.folder.path()),
            folder: self.folder,
        }
    }

    pub(crate) async fn core(&self, name: &str) -> Hypercore {
        self.cores.get(CoreOptions::name(name)).await.unwrap()
    }

    pub(crate) async fn reader_of(&self, core: &Hypercore) -> Hypercore {
        self.cores.get(CoreOptions::key(core.key())).await.unwrap()
    }

    /// A reader of the core that an answer of npm's names.
    pub(crate) async fn reader(&self, answer: &Value) -> Hypercore {
        let options = CoreOptions::key(key_of(answer));
        self.cores.get(options).await.unwrap()
    }

    /// This side dials.
    pub(crate) async fn dial(&self, npm: &Npm) -> Joined {
        let address = SocketAddr::from(([127, 0, 0, 1], npm.port));
        let options = ConnectionOptions::default();
        let connection = tcp::connect(address, &KeyPair::random(), &options).await;
        self.join(connection.unwrap())
    }

    /// The other side dials.
    pub(crate) async fn listen(&self, npm: &mut Npm) -> Joined {
        let options = ConnectionOptions::default();
        let server = tcp::Server::bind("127.0.0.1:0", KeyPair::random(), options);
        let server = server.await.unwrap();
        npm.tell(json!({"cmd": "dial", "port": server.address().port()}));
        self.join(soon(server.accept()).await.unwrap())
    }

    pub(crate) fn join(&self, connection: Connection) -> Joined {
        let replication = connection.replicate(&self.cores, ReplicateOptions::default());
        Joined(connection, replication)
    }
}

/// What npm says of a core is what it is here.
pub(crate) async fn same(core: &Hypercore, answer: &Value) {
    assert_eq!(answer["length"], core.length(), "{answer}");
    assert_eq!(answer["fork"], core.fork(), "{answer}");
    let hash = HEXLOWER.encode(&core.tree_hash().await.unwrap());
    assert_eq!(answer["treeHash"], hash, "{answer}");
}

/// Waits until the core has this length and fork.
pub(crate) async fn reach(core: &Hypercore, length: u64, fork: u64) {
    let mut lengths = core.watch();
    let reached = lengths.wait_for(|now| *now == (length, fork));
    soon(reached).await.unwrap();
}
