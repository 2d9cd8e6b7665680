//! Swarms of npm's hyperswarm and of ours: each finds each, on networks of npm's nodes and of ours, and they exchange cores and drives.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`), and network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/npm.rs"]
mod npm;
mod swarms;
mod told;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use npm::Npm;
use pome_cores::{Key, KeyPair};
use pome_drive_fs::{DriveOptions, Hyperdrive};
use pome_net::{
    hyperdht::{BlindRelay, HyperDht, RelayOptions},
    hyperswarm::{JoinOptions, SwarmOptions},
};
use pome_test_support::npm_folder;
use serde_json::{Value, json};
use std::{net::SocketAddrV4, time::Duration};
use swarms::{Ours, TOPIC, careful, network, options, pairs, run, soon, until};
use tempfile::TempDir;
use tokio::process::Command;

/// The nodes that swarms meet on: npm's, or ours.
struct Nodes {
    _npm: Option<Npm>,
    ours: Vec<HyperDht>,
    start: Vec<SocketAddrV4>,
}

async fn nodes(are_npm: bool) -> Nodes {
    if !are_npm {
        let (ours, start) = network(4).await;
        return Nodes {
            _npm: None,
            ours,
            start,
        };
    }
    let mut npm = Npm::start();
    let (_, first) = npm.node(&[]).await;
    for _ in 0..3 {
        npm.node(&[first]).await;
    }
    Nodes {
        _npm: Some(npm),
        ours: Vec::new(),
        start: vec![first],
    }
}

/// Swarms of npm's.
struct Theirs {
    npm: Npm,
    start: Vec<String>,
    _folder: TempDir,
}

impl Theirs {
    fn new(start: &[SocketAddrV4]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("node");
        command
            .arg(npm_folder().join("swarm.js"))
            .arg(folder.path());
        Self {
            npm: Npm::from(&mut command),
            start: start.iter().map(ToString::to_string).collect(),
            _folder: folder,
        }
    }

    async fn swarm(&mut self, mut options: Value) -> (u64, [u8; 32]) {
        options["bootstrap"] = json!(self.start);
        let made = self.npm.tell("swarm", options).await;
        let key = unhex(&made["publicKey"]);
        (made["swarm"].as_u64().unwrap(), key)
    }

    async fn tell(&mut self, swarm: u64, command: &str, mut args: Value) -> Value {
        args["swarm"] = json!(swarm);
        self.npm.tell(command, args).await
    }

    async fn join(&mut self, swarm: u64, client: bool, server: bool) {
        let args = json!({"topic": HEXLOWER.encode(&TOPIC), "client": client, "server": server});
        self.tell(swarm, "join", args).await;
    }

    async fn peers(&mut self, swarm: u64) -> Vec<[u8; 32]> {
        let answer = self.tell(swarm, "connections", json!({})).await;
        let all = answer["connections"].as_array().unwrap();
        all.iter().map(|one| unhex(&one[0])).collect()
    }

    /// Waits until it is connected to these, in order.
    async fn connected(&mut self, swarm: u64, keys: &[[u8; 32]]) {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        soon(async {
            while self.peers(swarm).await != keys {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

fn unhex(value: &Value) -> [u8; 32] {
    let text = value.as_str().unwrap_or_else(|| panic!("no key: {value}"));
    HEXLOWER
        .decode(text.as_bytes())
        .unwrap()
        .try_into()
        .unwrap()
}

fn key_of(value: &Value) -> Key {
    Key(unhex(&value["key"]))
}

/// A swarm of either.
enum One {
    Ours(Ours),
    Npm(u64),
}

impl One {
    async fn new(theirs: &mut Theirs, start: &[SocketAddrV4], is_npm: bool) -> Self {
        if is_npm {
            Self::Npm(theirs.swarm(json!({})).await.0)
        } else {
            Self::Ours(Ours::new(start))
        }
    }

    async fn join(&self, theirs: &mut Theirs, client: bool) {
        match self {
            Self::Ours(ours) if client => ours.join(JoinOptions::client()).await,
            Self::Ours(ours) => ours.join(JoinOptions::server()).await,
            Self::Npm(swarm) => theirs.join(*swarm, client, !client).await,
        }
    }

    /// Writes a core and a drive.
    async fn write(&self, theirs: &mut Theirs) -> (Key, Key) {
        match self {
            Self::Ours(ours) => {
                let log = ours.core("log").await;
                let blocks = vec![Bytes::from("one"), Bytes::from("two")];
                log.append_batch(blocks).await.unwrap();
                let drive =
                    Hyperdrive::open(ours.cores.namespace("drive"), DriveOptions::default());
                let drive = drive.await.unwrap();
                drive
                    .put("/file", "content", Default::default())
                    .await
                    .unwrap();
                (log.key(), drive.key())
            }
            Self::Npm(swarm) => {
                let log = json!({"name": "log", "blocks": ["one", "two"]});
                let log = theirs.tell(*swarm, "append", log).await;
                let drive = json!({"name": "drive", "files": {"/file": "content"}});
                let drive = theirs.tell(*swarm, "put", drive).await;
                (key_of(&log), key_of(&drive))
            }
        }
    }

    /// Reads what the other one wrote.
    async fn read(&self, theirs: &mut Theirs, log: Key, drive: Key) {
        match self {
            Self::Ours(ours) => {
                let copy = ours.reader(log).await;
                assert_eq!(soon(copy.get(1)).await.unwrap(), "two");
                let options = DriveOptions {
                    key: Some(drive),
                    ..DriveOptions::default()
                };
                let copy = Hyperdrive::open(ours.cores.namespace("copy"), options)
                    .await
                    .unwrap();
                let mut lengths = copy.core().watch();
                soon(lengths.wait_for(|now| now.0 >= 2)).await.unwrap();
                assert_eq!(soon(copy.get("/file")).await.unwrap().unwrap(), "content");
            }
            Self::Npm(swarm) => {
                let got = json!({"key": log.to_hex(), "index": 1});
                assert_eq!(theirs.tell(*swarm, "get", got).await["block"], "two");
                let read = json!({"key": drive.to_hex(), "file": "/file", "version": 2});
                assert_eq!(
                    theirs.tell(*swarm, "read", read).await["content"],
                    "content"
                );
            }
        }
    }
}

/// Each of both finds each of both, and reads what it wrote.
async fn all_pairings(nodes_are_npm: bool) {
    let nodes = nodes(nodes_are_npm).await;
    for server_is_npm in [true, false] {
        for client_is_npm in [true, false] {
            let mut theirs = Theirs::new(&nodes.start);
            let server = One::new(&mut theirs, &nodes.start, server_is_npm).await;
            let client = One::new(&mut theirs, &nodes.start, client_is_npm).await;
            let (log, drive) = server.write(&mut theirs).await;
            server.join(&mut theirs, false).await;
            client.join(&mut theirs, true).await;
            client.read(&mut theirs, log, drive).await;
        }
    }
}

#[test]
fn all_find_each_other_on_npm_nodes() {
    run("all_find_each_other_on_npm_nodes", true, || {
        all_pairings(true)
    });
}

#[test]
fn all_find_each_other_on_pome_nodes() {
    run("all_find_each_other_on_pome_nodes", true, || {
        all_pairings(false)
    });
}

#[test]
fn npm_and_pome_that_dial_each_other_keep_one_connection() {
    let test = "npm_and_pome_that_dial_each_other_keep_one_connection";
    run(test, true, || async {
        let nodes = nodes(true).await;
        let mut theirs = Theirs::new(&nodes.start);
        for round in 0..6 {
            let mut keys = pairs();
            // Either side has the higher key.
            if round % 2 == 0 {
                keys.reverse();
            }
            let [own, other] = keys;
            let ours = Ours::with(&nodes.start, options(&own));
            let seed = HEXLOWER.encode(&*other.seed());
            let (swarm, key) = theirs.swarm(json!({"seed": seed})).await;
            assert_eq!(key, other.public);
            // Both are found before either looks.
            theirs.join(swarm, false, true).await;
            ours.join(JoinOptions::server()).await;
            ours.swarm.join(TOPIC, JoinOptions::client()).unwrap();
            theirs.join(swarm, true, true).await;
            let log = ours.core("log").await;
            log.append("block").await.unwrap();
            let got = json!({"key": log.key().to_hex(), "index": 0});
            assert_eq!(theirs.tell(swarm, "get", got).await["block"], "block");
            soon(async {
                loop {
                    // Dialled again for a while where each side kept another one.
                    let both = (theirs.peers(swarm).await, ours.peers());
                    if both == (vec![own.public], vec![key]) && ours.swarm.connecting() == 0 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            // It is one and the same: what one side writes comes to the other.
            let log = json!({"name": "log", "blocks": ["theirs"]});
            let log = theirs.tell(swarm, "append", log).await;
            let copy = ours.reader(key_of(&log)).await;
            assert_eq!(soon(copy.get(0)).await.unwrap(), "theirs");
            theirs.tell(swarm, "destroy", json!({})).await;
            ours.connected(0).await;
            ours.swarm.destroy().await;
        }
    });
}

#[test]
fn two_of_npm_and_one_of_pome_all_connect() {
    run("two_of_npm_and_one_of_pome_all_connect", true, || async {
        let nodes = nodes(false).await;
        let mut theirs = Theirs::new(&nodes.start);
        let (first, first_key) = theirs.swarm(json!({})).await;
        let (second, second_key) = theirs.swarm(json!({})).await;
        let ours = Ours::new(&nodes.start);
        theirs.join(first, true, true).await;
        ours.join(JoinOptions::default()).await;
        theirs.join(second, true, true).await;
        until(|| ours.peers().len() == 2).await;
        theirs.connected(first, &[ours.key(), second_key]).await;
        theirs.connected(second, &[ours.key(), first_key]).await;
    });
}

#[test]
fn each_dials_again_when_the_other_comes_back() {
    run(
        "each_dials_again_when_the_other_comes_back",
        true,
        || async {
            let nodes = nodes(true).await;
            let mut theirs = Theirs::new(&nodes.start);
            let pair = KeyPair::random();
            let seed = HEXLOWER.encode(&*pair.seed());
            // npm's goes and comes, with a word or without.
            let ours = Ours::new(&nodes.start);
            ours.swarm.join_peer(pair.public);
            for force in [false, true] {
                let (swarm, _) = theirs.swarm(json!({"seed": seed})).await;
                theirs.tell(swarm, "listen", json!({})).await;
                ours.connected(1).await;
                theirs.connected(swarm, &[ours.key()]).await;
                theirs.tell(swarm, "destroy", json!({"force": force})).await;
                ours.connected(0).await;
            }
            ours.swarm.leave_peer(&pair.public);
            ours.swarm.destroy().await;
            // Ours goes and comes.
            let (swarm, key) = theirs.swarm(json!({})).await;
            let public_key = HEXLOWER.encode(&pair.public);
            theirs
                .tell(swarm, "joinPeer", json!({"publicKey": public_key}))
                .await;
            for ends in [true, false] {
                let ours = Ours::with(&nodes.start, options(&pair));
                ours.swarm.listen().await.unwrap();
                until(|| ours.peers() == [key]).await;
                theirs.connected(swarm, &[pair.public]).await;
                if ends {
                    ours.swarm.destroy().await;
                } else {
                    ours.swarm.dht().unwrap().close();
                }
                drop(ours);
                theirs.connected(swarm, &[]).await;
            }
        },
    );
}

#[test]
fn firewalls_of_both_refuse() {
    run("firewalls_of_both_refuse", true, || async {
        let nodes = nodes(false).await;
        let mut theirs = Theirs::new(&nodes.start);
        let pair = KeyPair::random();
        // npm's refuses ours.
        let refused = json!({"refuse": [HEXLOWER.encode(&pair.public)]});
        let (swarm, _) = theirs.swarm(refused).await;
        theirs.join(swarm, false, true).await;
        let ours = Ours::with(&nodes.start, options(&pair));
        ours.join(JoinOptions::client()).await;
        assert!(ours.swarm.flush().await);
        assert_eq!(ours.peers().len(), 0);
        let ban = theirs.npm.event("ban").await;
        assert_eq!(unhex(&ban["publicKey"]), pair.public);
        assert_eq!(theirs.peers(swarm).await.len(), 0);
        theirs
            .tell(swarm, "leave", json!({"topic": HEXLOWER.encode(&TOPIC)}))
            .await;
        let found = ours
            .swarm
            .dht()
            .unwrap()
            .lookup(TOPIC)
            .peers()
            .await
            .unwrap();
        assert_eq!(found, []);
        ours.swarm.destroy().await;
        // Ours refuses npm's.
        let (swarm, key) = theirs.swarm(json!({})).await;
        let mut careful = SwarmOptions::default();
        careful.firewall = Some(std::sync::Arc::new(move |other, _| *other == key));
        let ours = Ours::with(&nodes.start, careful);
        ours.join(JoinOptions::default()).await;
        theirs.join(swarm, true, false).await;
        let flushed = theirs.tell(swarm, "flush", json!({})).await;
        assert_eq!(flushed["flushed"], true);
        assert_eq!(theirs.peers(swarm).await.len(), 0);
        assert_eq!(ours.swarm.stats().banned_peers, 1);
    });
}

#[test]
fn each_comes_back_after_it_was_suspended() {
    run("each_comes_back_after_it_was_suspended", true, || async {
        let nodes = nodes(true).await;
        let mut theirs = Theirs::new(&nodes.start);
        let (swarm, key) = theirs.swarm(json!({})).await;
        let ours = Ours::new(&nodes.start);
        theirs.join(swarm, true, true).await;
        ours.join(JoinOptions::default()).await;
        until(|| ours.peers() == [key]).await;
        theirs.connected(swarm, &[ours.key()]).await;

        ours.swarm.suspend().await;
        theirs.connected(swarm, &[]).await;
        ours.swarm.resume().await;
        until(|| ours.peers() == [key]).await;
        theirs.connected(swarm, &[ours.key()]).await;

        theirs.tell(swarm, "suspend", json!({})).await;
        ours.connected(0).await;
        theirs.tell(swarm, "resume", json!({})).await;
        theirs.connected(swarm, &[ours.key()]).await;
        until(|| ours.peers() == [key]).await;
    });
}

/// What each has comes to the other, over the one connection that they have.
async fn assert_exchange(theirs: &mut Theirs, swarm: u64, ours: &Ours) {
    let (connection, _) = ours.connected(1).await.remove(0);
    let log = json!({"name": "log", "blocks": ["theirs"]});
    let log = theirs.tell(swarm, "append", log).await;
    let copy = ours.reader(key_of(&log)).await;
    assert_eq!(soon(copy.get(0)).await.unwrap(), "theirs");
    let log = ours.core("log").await;
    log.append("ours").await.unwrap();
    let asked = json!({"key": HEXLOWER.encode(&log.key().0), "index": 0});
    let got = theirs.tell(swarm, "get", asked).await;
    assert_eq!(got["block"], "ours");
    assert!(!connection.is_closed());
}

#[test]
fn a_relay_of_ours_serves_swarms_of_both() {
    run("a_relay_of_ours_serves_swarms_of_both", true, || async {
        let nodes = nodes(false).await;
        let own = KeyPair::random();
        let serving = BlindRelay::serve(&nodes.ours[1], &own, RelayOptions::default());
        let relay = serving.await.unwrap();
        let mut theirs = Theirs::new(&nodes.start);
        // The straight way opens before the relay is there, at the same time, and after.
        for _ in 0..5 {
            // npm's trusts it, and dials.
            let ours = Ours::on(careful(&nodes.start), SwarmOptions::default());
            ours.join(JoinOptions::server()).await;
            let relay_key = HEXLOWER.encode(&relay.public_key());
            let through = json!({"relay": relay_key, "quickFirewall": false});
            let (swarm, key) = theirs.swarm(through).await;
            theirs.join(swarm, true, false).await;
            until(|| ours.peers() == [key]).await;
            theirs.connected(swarm, &[ours.key()]).await;
            assert!(ours.swarm.dht().unwrap().stats().relaying.attempts > 0);
            assert_exchange(&mut theirs, swarm, &ours).await;
            theirs.tell(swarm, "destroy", json!({})).await;
            ours.swarm.destroy().await;
            // Ours trusts it, and dials.
            let (swarm, key) = theirs.swarm(json!({"quickFirewall": false})).await;
            theirs.join(swarm, false, true).await;
            let mut through = SwarmOptions::default();
            through.relay_through = relay.public_key().into();
            through.relay_always = true;
            let ours = Ours::on(careful(&nodes.start), through);
            ours.join(JoinOptions::client()).await;
            until(|| ours.peers() == [key]).await;
            theirs.connected(swarm, &[ours.key()]).await;
            assert!(ours.swarm.dht().unwrap().stats().relaying.attempts > 0);
            assert_exchange(&mut theirs, swarm, &ours).await;
            theirs.tell(swarm, "destroy", json!({})).await;
            ours.swarm.destroy().await;
        }
    });
}
