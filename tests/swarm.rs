//! What is shared is found by its key alone, over the DHT or on the local network; with npm's hyperswarm at either end. Each test runs in a namespace with
//! nothing but loopback.
//!
//! The npm half needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "process/ is shared with tests that use all of it")]

mod process;

use pome_test_support::{namespace, npm_works};
use process::{
    Peers, Pome, fuse_works,
    talk::{Npm, Talker},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

/// The npm modules that the other side is made of.
const NPM: &[&str] = &["corestore", "hyperbee", "hyperdrive", "hyperswarm"];

/// Longer than anything takes: what did not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

struct Room {
    folder: tempfile::TempDir,
    pome: Pome,
}

impl Room {
    fn new(peers: Peers) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pome = Pome::new(folder.path().join("store")).with(peers);
        Self { folder, pome }
    }

    fn at(&self) -> PathBuf {
        self.folder.path().join("mnt")
    }

    fn talk(&self, args: &[&str]) -> Talker {
        let mut command = self.pome.command(&[&["--json"], args].concat());
        Talker::new(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// `pome share`, once all of it is found.
    fn share(&self, targets: &[&str], count: usize) -> Talker {
        let mut sharing = self.talk(&[&["share"], targets].concat());
        for _ in 0..count {
            while sharing.line()["announced"] != true {}
        }
        sharing
    }
}

/// A network of the test's own, and where to begin in it.
fn testnet() -> (Talker, Peers) {
    let nobody = Room::new(Peers::Nowhere);
    let mut testnet = nobody.talk(&["dht", "testnet", "4"]);
    let event = testnet.line();
    let bootstrap = event["bootstrap"].as_str().unwrap().to_owned();
    (testnet, Peers::Dht(bootstrap))
}

fn key_of(rows: &[Value]) -> String {
    rows[0]["key"].as_str().unwrap().to_owned()
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file that is written on one side is read on the other, by the key alone.
fn mounts_meet(peers: &Peers) {
    meet(Room::new(peers.clone()), Room::new(peers.clone()), || ());
}

/// Between the two files something changes.
fn meet(writer: Room, reader: Room, change: impl FnOnce()) {
    let peers = &reader.pome.peers;
    let mounted = writer.pome.mount(&writer.at(), &[]);
    assert_eq!(mounted.event["shared"], true);
    let key = mounted.event["key"].as_str().unwrap().to_owned();
    fs::write(writer.at().join("first"), "hello").unwrap();
    writer.pome.ok(&["drive", "ls"]);
    let begin = Instant::now();
    let theirs = reader.pome.mount(&reader.at(), &["--drive", &key]);
    assert_eq!(theirs.event["writable"], false);
    let read = |name: &str| fs::read_to_string(reader.at().join(name)).ok();
    assert_eq!(until("the first file", || read("first")), "hello");
    eprintln!("{peers:?}: found and read after {:?}", begin.elapsed());
    change();
    let begin = Instant::now();
    fs::write(writer.at().join("second"), "more").unwrap();
    assert_eq!(
        until("the second file", || read("second")
            .filter(|t| !t.is_empty())),
        "more"
    );
    eprintln!("{peers:?}: a new file is read after {:?}", begin.elapsed());
    theirs.stop();
    mounted.stop();
}

#[test]
fn mounts_find_each_other() {
    let test = "mounts_find_each_other";
    if !fuse_works(test) || !namespace::inside_with_mounts(test) {
        return;
    }
    let (_testnet, peers) = testnet();
    mounts_meet(&peers);
    // With nobody but each other.
    mounts_meet(&Peers::Lan);
    // Not when it is said so.
    let (writer, reader) = (Room::new(peers.clone()), Room::new(peers));
    let mounted = writer.pome.mount(&writer.at(), &["--offline"]);
    assert_eq!(mounted.event["shared"], false);
    let key = mounted.event["key"].as_str().unwrap().to_owned();
    let words = ["drive", "ls", &key, "--timeout", "3"];
    assert_eq!(reader.pome.fails(&words), (4, "TIMED_OUT".into()));
    mounted.stop();
}

fn commands_find(peers: Peers) {
    let (writer, reader) = (Room::new(peers.clone()), Room::new(peers));
    let file = writer.folder.path().join("file");
    fs::write(&file, vec![7; 300_000]).unwrap();
    let file = file.to_str().unwrap();
    let to = &writer.pome;
    to.ok(&["drive", "create", "home"]);
    to.ok(&["drive", "put", "home", "/file", file]);
    to.ok(&["core", "append", "log", "a", "b", "c"]);
    to.ok(&["core", "append", "other", "x"]);
    to.ok(&["bee", "put", "people", "ada", "1815"]);
    let drive = key_of(&to.json(&["drive", "info", "home"]));
    let log = key_of(&to.json(&["core", "info", "log"]));
    let other = key_of(&to.json(&["core", "info", "other"]));
    let bee = key_of(&to.json(&["bee", "info", "people"]));
    let sharing = writer.share(&["home", "log", "people"], 3);
    let from = &reader.pome;
    assert_eq!(from.ok(&["core", "get", &log, "1"]), b"b");
    assert_eq!(from.ok(&["bee", "get", &bee, "ada"]), b"1815");
    assert!(from.ok(&["drive", "get", &drive, "/file"]) == vec![7; 300_000]);
    let done = from.json(&["core", "download", &log]);
    assert_eq!(done, [json!({ "length": 3, "downloaded": 2 })]);
    // Shared is what is named, and nothing else; and a name is no key.
    let words = ["core", "get", &other, "0", "--timeout", "3"];
    assert_eq!(from.fails(&words), (4, "TIMED_OUT".into()));
    let nobody = Room::new(from.peers.clone());
    assert_eq!(nobody.pome.fails(&["core", "get", "log", "0"]).0, 3);
    assert!(!nobody.pome.store.exists());
    // Who is told not to look does not find.
    let words = ["core", "get", &bee, "0", "--no-swarm"];
    assert_eq!(nobody.pome.fails(&words).0, 3);
    // What is here is shown when nobody has more.
    sharing.stop();
    let begin = Instant::now();
    assert_eq!(from.ok(&["bee", "get", &bee, "ada"]), b"1815");
    eprintln!(
        "{:?}: what is here is shown after {:?}",
        from.peers,
        begin.elapsed()
    );
}

/// Another network namespace, and a cable to it.
struct Cable(std::process::Child);

/// A network namespace with nothing but loopback.
fn place() -> std::process::Child {
    let mut child = std::process::Command::new("unshare")
        .args([
            "-n",
            "sh",
            "-c",
            "ip link set lo up && echo && exec sleep 600",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0];
    let mut out = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut line).unwrap();
    child
}

impl Cable {
    /// Between 10.7.0.1 here and 10.7.0.2 there; no router, and no way out.
    fn new() -> Self {
        let child = place();
        let there = child.id();
        let script = format!(
            "ip link add veth-here type veth peer name veth-there
             ip link set veth-there netns {there}
             ip addr add 10.7.0.1/24 dev veth-here && ip link set veth-here up
             nsenter -t {there} -n ip addr add 10.7.0.2/24 dev veth-there
             nsenter -t {there} -n ip link set veth-there up"
        );
        let done = std::process::Command::new("sh")
            .args(["-ec", &script])
            .status();
        assert!(done.unwrap().success());
        Self(child)
    }
}

impl Cable {
    /// At the other end.
    fn sh(&self, script: &str) {
        let there = self.0.id().to_string();
        let done = std::process::Command::new("nsenter")
            .args(["-t", &there, "-n", "sh", "-ec", script])
            .status();
        assert!(done.unwrap().success(), "{script}");
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn mounts_meet_without_a_router() {
    let test = "mounts_meet_without_a_router";
    if !fuse_works(test) || !namespace::inside_with_mounts(test) {
        return;
    }
    let cable = Cable::new();
    let (writer, mut reader) = (Room::new(Peers::Lan), Room::new(Peers::Lan));
    reader.pome.namespace = Some(cable.0.id());
    meet(writer, reader, || ());
    // The reader gets another address, and no word comes by the old one any more.
    let (writer, mut reader) = (Room::new(Peers::Lan), Room::new(Peers::Lan));
    reader.pome.namespace = Some(cable.0.id());
    meet(writer, reader, || {
        cable
            .sh("ip addr del 10.7.0.2/24 dev veth-there && ip addr add 10.7.0.3/24 dev veth-there");
    });
}

#[test]
fn commands_find_what_is_shared() {
    if !namespace::inside("commands_find_what_is_shared") {
        return;
    }
    let (_testnet, peers) = testnet();
    commands_find(peers);
}

#[test]
fn commands_find_what_is_shared_near_by() {
    if !namespace::inside("commands_find_what_is_shared_near_by") {
        return;
    }
    let writer = Room::new(Peers::Lan);
    writer.pome.ok(&["core", "append", "log", "a", "b"]);
    let log = key_of(&writer.pome.json(&["core", "info", "log"]));
    let sharing = writer.talk(&["share", "log"]);
    let reader = Room::new(Peers::Lan);
    assert_eq!(reader.pome.ok(&["core", "get", &log, "1"]), b"b");
    // Those who want only this network find it there, and those who do not want it do not.
    let words = ["core", "get", &log, "0", "--lan-only"];
    assert_eq!(reader.pome.ok(&words), b"a");
    let other = Room::new(Peers::Lan);
    let words = ["core", "get", &log, "0", "--no-lan", "--bootstrap", "none"];
    assert_eq!(other.pome.fails(&words).0, 3, "nobody can be asked");
    sharing.stop();
}

#[test]
fn npm_finds_what_is_shared() {
    let test = "npm_finds_what_is_shared";
    if !npm_works(test, NPM) || !namespace::inside(test) {
        return;
    }
    let (_testnet, peers) = testnet();
    let Peers::Dht(bootstrap) = &peers else {
        unreachable!()
    };
    let nodes: Vec<_> = bootstrap.split(',').collect();
    let writer = Room::new(peers.clone());
    put(&writer.pome, "/hello", "from pome");
    let key: pome::Key = key_of(&writer.pome.json(&["drive", "info"]))
        .parse()
        .unwrap();
    let mut sharing = writer.share(&["home"], 1);
    let mut npm = Npm::start("drive.js");
    let said = json!({ "bootstrap": nodes, "key": key.to_hex() });
    let theirs = npm.say("swarm", said)["publicKey"].clone();
    let asked = json!({ "key": key.to_hex(), "path": "/hello" });
    let content = npm.say("read", asked)["content"].clone();
    assert_eq!(content, data_encoding::HEXLOWER.encode(b"from pome"));
    let event = sharing.line();
    let met: pome::Key = event["key"].as_str().unwrap().parse().unwrap();
    assert_eq!(json!(met.to_hex()), theirs);
    sharing.stop();
}

fn put(pome: &Pome, path: &str, content: &str) {
    pome.ok(&["drive", "create", "home"]);
    let done = pome.with_stdin(&["drive", "put", path], content.as_bytes());
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn what_npm_shares_is_found() {
    let test = "what_npm_shares_is_found";
    if !npm_works(test, NPM) || !namespace::inside(test) {
        return;
    }
    let (_testnet, peers) = testnet();
    let Peers::Dht(bootstrap) = &peers else {
        unreachable!()
    };
    let nodes: Vec<_> = bootstrap.split(',').collect();
    let mut npm = Npm::start("drive.js");
    let key = npm.say("keys", json!({}))["drive"]
        .as_str()
        .unwrap()
        .to_owned();
    npm.say("put", json!({ "path": "/big", "seed": 5, "size": 200_000 }));
    npm.say("swarm", json!({ "bootstrap": nodes }));
    let reader = Room::new(peers);
    let wanted: Vec<u8> = (0..200_000)
        .map(|i| (5 + i * 7 + (i >> 16)) as u8)
        .collect();
    assert!(reader.pome.ok(&["drive", "get", &key, "/big"]) == wanted);
    npm.say("put", json!({ "path": "/more", "seed": 6, "size": 10 }));
    assert_eq!(reader.pome.ok(&["drive", "ls", &key]), b"/big\n/more\n");
}

/// Places that reach a network at 10.7.0.1, which is here, and not each other.
struct Isolated(Vec<std::process::Child>);

impl Isolated {
    fn new(count: usize) -> Self {
        let sh = |script: String| {
            let done = std::process::Command::new("sh")
                .args(["-ec", &script])
                .status();
            assert!(done.unwrap().success(), "{script}");
        };
        sh(
            "ip link add hub type bridge && ip addr add 10.7.0.1/24 dev hub && ip link set hub up"
                .into(),
        );
        let mut places = Vec::new();
        for number in 0..count {
            let place = place();
            let there = place.id();
            sh(format!(
                "ip link add here-{number} type veth peer name there-{number}
                 ip link set there-{number} netns {there}
                 ip link set here-{number} master hub up
                 ip link set here-{number} type bridge_slave isolated on
                 nsenter -t {there} -n ip addr add 10.7.0.{}/24 dev there-{number}
                 nsenter -t {there} -n ip link set there-{number} up",
                number + 2
            ));
            places.push(place);
        }
        Self(places)
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        for place in &mut self.0 {
            let _ = place.kill();
            let _ = place.wait();
        }
    }
}

#[test]
fn a_relay_that_both_trust_is_the_way() {
    if !namespace::inside("a_relay_that_both_trust_is_the_way") {
        return;
    }
    let isolated = Isolated::new(2);
    let here = Room::new(Peers::Nowhere);
    let node = |args: &[&str]| {
        let words = [&["dht", "node", "--host", "10.7.0.1"], args].concat();
        let mut node = here.talk(&words);
        loop {
            let event = node.line();
            if event["event"] == "ready" {
                return (node, event);
            }
        }
    };
    let (_first, ready) = node(&["--port", "0"]);
    let bootstrap = ready["bootstrap"].as_str().unwrap().to_owned();
    let more = ["--port", "0", "--persistent", "--bootstrap", &bootstrap];
    let others: Vec<_> = (0..3).map(|_| node(&more)).collect();
    let (_relay, ready) = node(&[&more[..], &["--blind-relay"]].concat());
    let relay = ready["relay"].as_str().unwrap().to_owned();
    let peers = Peers::Dht(bootstrap);
    let (mut writer, mut reader) = (Room::new(peers.clone()), Room::new(peers));
    writer.pome.ok(&["core", "append", "log", "a", "b"]);
    let log = key_of(&writer.pome.json(&["core", "info", "log"]));
    writer.pome.namespace = Some(isolated.0[0].id());
    reader.pome.namespace = Some(isolated.0[1].id());
    let through = ["--relay-through", &relay];
    let sharing = writer.share(&["log", through[0], through[1]], 1);
    let begin = Instant::now();
    let words = [
        "core",
        "get",
        &log,
        "1",
        through[0],
        through[1],
        "--timeout",
        "60",
    ];
    assert_eq!(reader.pome.ok(&words), b"b");
    eprintln!("read through a relay after {:?}", begin.elapsed());
    sharing.stop();
    drop(others);
}
