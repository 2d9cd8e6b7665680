//! What is shared is found by its key alone, over the DHT or on the local network; with npm's hyperswarm at either end. Each test runs in a namespace with
//! nothing but loopback.
//!
//! The npm half needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "process/ is shared with tests that use all of it")]

mod process;

use pome_test_support::{namespace, npm_works};
use process::{
    MountProcess, Peers, Pome, fuse_works,
    places::{Front, HERE, Namespace, Places, works as places_work},
    talk::{self, Npm, Talker},
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
const PATIENCE: Duration = pome_test_support::PATIENCE;

/// How long a machine sleeps.
const ASLEEP: Duration = Duration::from_secs(20);

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
    let home = tempfile::tempdir().unwrap();
    let (testnet, bootstrap) = talk::testnet(home.path());
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

/// A cable between 10.7.0.1 here and 10.7.0.2 there; no router, and no way out.
fn cable() -> Namespace {
    let there = Namespace::new();
    let script = format!(
        "ip link add veth-here type veth peer name veth-there
         ip link set veth-there netns {}
         ip addr add 10.7.0.1/24 dev veth-here && ip link set veth-here up",
        there.id()
    );
    let done = std::process::Command::new("sh")
        .args(["-ec", &script])
        .status();
    assert!(done.unwrap().success());
    there.sh("ip addr add 10.7.0.2/24 dev veth-there && ip link set veth-there up");
    there
}

#[test]
fn mounts_meet_without_a_router() {
    let test = "mounts_meet_without_a_router";
    if !fuse_works(test) || !namespace::inside_with_mounts(test) {
        return;
    }
    let cable = cable();
    let (writer, mut reader) = (Room::new(Peers::Lan), Room::new(Peers::Lan));
    reader.pome.namespace = Some(cable.id());
    meet(writer, reader, || ());
    // The reader gets another address, and no word comes by the old one any more.
    let (writer, mut reader) = (Room::new(Peers::Lan), Room::new(Peers::Lan));
    reader.pome.namespace = Some(cable.id());
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
    put_more(pome, path, content);
}

fn put_more(pome: &Pome, path: &str, content: &str) {
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
    // A listing waits for whoever is found, and no longer than it takes to see that nobody is.
    until("what was put since is listed", || {
        (reader.pome.ok(&["drive", "ls", &key]) == b"/big\n/more\n").then_some(())
    });
}

/// A node here, and what it says of itself when it is ready.
fn node(args: &[&str]) -> (Talker, Value) {
    let words = [&["dht", "node", "--host", HERE, "--port", "0"], args].concat();
    let mut node = Room::new(Peers::Nowhere).talk(&words);
    loop {
        let event = node.line();
        if event["event"] == "ready" {
            return (node, event);
        }
    }
}

/// A network of four nodes here and one more that does something for others, the network to look for peers in, and what the last one said.
fn network_with(relay: &[&str]) -> (Vec<Talker>, Peers, Value) {
    let (first, ready) = node(&[]);
    let bootstrap = ready["bootstrap"].as_str().unwrap().to_owned();
    let more = ["--persistent", "--bootstrap", &bootstrap];
    let mut nodes = vec![first];
    nodes.extend((0..3).map(|_| node(&more).0));
    let (relay, ready) = node(&[&more[..], relay].concat());
    nodes.push(relay);
    (nodes, Peers::Dht(bootstrap), ready)
}

#[test]
fn a_relay_that_both_trust_is_the_way() {
    let test = "a_relay_that_both_trust_is_the_way";
    if !places_work(test) || !namespace::inside(test) {
        return;
    }
    // Behind these two, nobody can guess the other's port.
    let mut places = Places::new(false);
    let [here, there] = [Front::Random; 2].map(|front| places.add(front));
    let (_nodes, peers, ready) = network_with(&["--blind-relay"]);
    let relay = ready["relay"].as_str().unwrap();
    let (mut writer, mut reader) = (Room::new(peers.clone()), Room::new(peers));
    writer.pome.ok(&["core", "append", "log", "a", "b"]);
    let log = key_of(&writer.pome.json(&["core", "info", "log"]));
    writer.pome.namespace = Some(here.inside.id());
    reader.pome.namespace = Some(there.inside.id());
    let through = ["--relay-through", relay, "--timeout", "60"];
    let sharing = writer.share(&[&["log"], &through[..]].concat(), 1);
    let begin = Instant::now();
    let words = [&["core", "get", &log, "1"], &through[..]].concat();
    assert_eq!(reader.pome.ok(&words), b"b");
    eprintln!("read through a relay after {:?}", begin.elapsed());
    sharing.stop();
}

#[test]
fn where_udp_is_blocked_a_relay_over_tcp_helps() {
    let test = "where_udp_is_blocked_a_relay_over_tcp_helps";
    if !fuse_works(test) || !places_work(test) || !namespace::inside_with_mounts(test) {
        return;
    }
    let mut places = Places::new(true);
    let [here, there] = [Front::Open; 2].map(|front| places.add(front).inside);
    let (_nodes, peers, ready) = network_with(&["--relay-tcp", "5.5.0.1:0"]);
    let relay = ready["relayTcp"].as_str().unwrap();
    for place in [&here, &there] {
        place.sh("nft add table ip blocked
             nft add chain ip blocked out '{ type filter hook output priority 0; }'
             nft add rule ip blocked out oifname != lo meta l4proto udp drop");
    }
    let (mut writer, mut reader) = (Room::new(peers.clone()), Room::new(peers.clone()));
    put(&writer.pome, "/first", "hello");
    let key = key_of(&writer.pome.json(&["drive", "info"]));
    writer.pome.namespace = Some(here.id());
    reader.pome.namespace = Some(there.id());
    let sharing = writer.share(&["home", "--relay", relay], 1);
    // Without it, nobody is found.
    let words = ["drive", "ls", &key, "--timeout", "3"];
    assert_eq!(reader.pome.fails(&words), (4, "TIMED_OUT".into()));
    let told = reader.pome.json(&["doctor", &key, "--relay", relay]);
    assert!(told[0]["relay"]["rtt"].is_number(), "{told:?}");
    assert_eq!(told[1]["stage"], "connected", "{told:?}");
    let begin = Instant::now();
    let words = ["--drive", &key, "--relay", relay];
    let mounted = reader.pome.mount(&reader.at(), &words);
    let read = |name: &str| fs::read_to_string(reader.at().join(name)).ok();
    assert_eq!(until("the first file", || read("first")), "hello");
    eprintln!("read through a relay over TCP after {:?}", begin.elapsed());
    put_more(&writer.pome, "/second", "more");
    assert_eq!(until("the second file", || read("second")), "more");
    assert!(there.connections() > 0);
    // Datagrams get through again, and the machine notices that something has changed.
    there.sh("nft delete table ip blocked");
    there.sh("ip addr add 10.8.0.1/24 dev there-2");
    until("the relay is let go", || {
        (there.connections() == 0).then_some(())
    });
    put_more(&writer.pome, "/third", "straight");
    assert_eq!(until("the third file", || read("third")), "straight");
    mounted.stop();
    sharing.stop();
    // A relay that is not who it should be is refused.
    let (_, address) = relay.split_once('@').unwrap();
    let wrong = format!("{key}@{address}");
    let words = ["drive", "ls", &key, "--bootstrap", "none", "--timeout", "5"];
    let nobody = Room::new(peers);
    let words = [&words[..], &["--relay", &wrong]].concat();
    assert_eq!(nobody.pome.fails(&words).0, 4);
}

#[test]
fn peers_that_lost_each_other_meet_again() {
    let test = "peers_that_lost_each_other_meet_again";
    if !places_work(test) || !namespace::inside(test) {
        return;
    }
    let mut places = Places::new(false);
    let [here, there] = [Front::Open; 2].map(|front| places.add(front).inside);
    let (_nodes, peers, _) = network_with(&[]);
    let (mut writer, mut reader) = (Room::new(peers.clone()), Room::new(peers));
    writer.pome.namespace = Some(here.id());
    reader.pome.namespace = Some(there.id());
    writer.pome.ok(&["core", "append", "log", "a"]);
    let log = key_of(&writer.pome.json(&["core", "info", "log"]));
    let sharing = writer.share(&["log"], 1);
    let mut following = reader.talk(&["core", "download", &log, "--live", "--timeout", "120"]);
    assert_eq!(following.line()["length"], 1);
    let file = writer.folder.path().join("block");
    fs::write(&file, vec![7; 300_000]).unwrap();
    let mut length = 1;
    let mut comes = |after: &str| {
        let begin = Instant::now();
        let words = ["core", "append", "log", "--file", file.to_str().unwrap()];
        writer.pome.ok(&words);
        length += 1;
        while following.line()["length"] != length {}
        eprintln!("{after}: a block came after {:?}", begin.elapsed());
    };
    comes("nothing");
    // From one packet to the next, large ones are lost without a word. (Several that the system is given in one go are cut before they get there.)
    for (place, link) in [(&here, "there-1"), (&there, "there-2")] {
        place.sh(&format!(
            "ip link set {link} gso_max_segs 1
             nft add table ip hole
             nft add chain ip hole in '{{ type filter hook input priority 0; }}'
             nft 'add rule ip hole in ip length > 1250 drop'"
        ));
    }
    comes("a hole for large packets");
    // Who shares gets another address.
    here.sh("ip addr del 5.5.1.1/16 dev there-1 && ip addr add 5.5.1.101/16 dev there-1");
    comes("another address");
    // Its machine sleeps.
    let owner = writer.pome.json(&["status"])[0]["owner"].as_i64().unwrap();
    MountProcess::signal(owner as i32, "-STOP");
    std::thread::sleep(ASLEEP);
    MountProcess::signal(owner as i32, "-CONT");
    comes("a sleep");
    following.stop();
    sharing.stop();
}
