//! `pome dht`: its own network, and one that it makes up with npm's hyperdht. Each test runs in a namespace with nothing but loopback.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "process/ is shared with tests that use all of it")]

mod process;

use pome_test_support::{namespace, npm_works};
use process::{
    Peers, Pome, lines,
    places::{Front, Place, Places, works as places_work},
    talk::{Npm, Talker},
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Stdio, time::Duration};

const TOPIC: &str = "ybndrfg8ejkmcpqxot1uwisza345h769ybndrfg8ejkmcpqxot1o";

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

/// A long-lived `pome dht …`, and the bootstrap list that it tells when it is ready.
fn start(pome: &Pome, args: &[&str]) -> (Talker, String) {
    let child = pome
        .command(&[&["--json", "dht"], args].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talker = Talker::new(child);
    loop {
        let event = talker.line();
        if event["event"] == "ready" {
            let bootstrap = event["bootstrap"].as_str().unwrap().to_owned();
            return (talker, bootstrap);
        }
        assert_eq!(event["event"], "listening", "{event}");
    }
}

/// `pome dht …` in a network that begins with these nodes.
struct Asking<'a>(&'a Pome, String);

impl Asking<'_> {
    fn args<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        [&["dht"], args, &["--bootstrap", &self.1]].concat()
    }
    fn json(&self, args: &[&str]) -> Vec<Value> {
        self.0.json(&self.args(args))
    }
    fn ok(&self, args: &[&str]) -> Vec<u8> {
        self.0.ok(&self.args(args))
    }
    fn fails(&self, args: &[&str]) -> (i32, String) {
        self.0.fails(&self.args(args))
    }
}

#[test]
fn a_testnet_answers() {
    if !namespace::inside("a_testnet_answers") {
        return;
    }
    let (folder, pome) = pome();
    let (testnet, bootstrap) = start(&pome, &["testnet", "5"]);
    assert_eq!(bootstrap.split(',').count(), 3, "{bootstrap}");
    let node = bootstrap.split(',').next().unwrap();
    let dht = Asking(&pome, bootstrap.clone());

    let pong = &dht.json(&["ping", node])[0];
    assert_eq!(pong["from"], node);
    assert!(pong["rtt"].as_f64().unwrap() > 0.0, "{pong}");

    assert_eq!(dht.fails(&["lookup", TOPIC]), (3, "NOT_FOUND".into()));
    let first = &dht.json(&["announce", TOPIC])[0];
    assert_eq!(first["nodes"], 5, "{first}");
    let seed = folder.path().join("seed");
    fs::write(&seed, "07".repeat(32) + "\n").unwrap();
    let seed = seed.to_str().unwrap();
    let second = &dht.json(&["announce", TOPIC, "--seed-file", seed])[0];
    let mut keys = [&first["publicKey"], &second["publicKey"]].map(Value::to_string);
    keys.sort();
    let found = dht.json(&["lookup", TOPIC]);
    let mut seen: Vec<_> = found
        .iter()
        .map(|row| row["publicKey"].to_string())
        .collect();
    seen.sort();
    assert_eq!(seen, keys);
    // Under a core's key it is another topic.
    assert_eq!(dht.fails(&["lookup", TOPIC, "--core"]).0, 3);

    // One that is announced until it is stopped.
    let child = pome
        .command(&["--json", "dht", "announce", TOPIC, "--core", "--live"])
        .env("POME_BOOTSTRAP", &bootstrap)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut live = Talker::new(child);
    let key = live.line()["publicKey"].clone();
    assert_eq!(dht.json(&["lookup", TOPIC, "--core"])[0]["publicKey"], key);
    live.stop();
    assert_eq!(dht.fails(&["lookup", TOPIC, "--core"]).0, 3);

    let hash = &dht.json(&["put", "hello"])[0]["hash"];
    assert_eq!(dht.ok(&["get", hash.as_str().unwrap()]), b"hello");
    assert_eq!(dht.fails(&["get", TOPIC]), (3, "NOT_FOUND".into()));
    let put = dht.args(&["put", "--seed-file", seed, "--seq", "3"]);
    let done = pome.with_stdin(&[&["--json"], &put[..]].concat(), &[0, 255]);
    let key = lines(&done.stdout)[0]["publicKey"]
        .as_str()
        .unwrap()
        .to_owned();
    let value = json!({ "seq": 3, "value": { "$hex": "00ff" } });
    assert_eq!(dht.json(&["get", &key, "--mutable"]), [value]);
    let again = |seq| dht.fails(&["put", "other", "--seed-file", seed, "--seq", seq]);
    assert_eq!(again("3"), (1, "SEQ_REUSED".into()));
    assert_eq!(again("2"), (1, "SEQ_TOO_LOW".into()));
    assert_eq!(dht.fails(&["get", &key, "--mutable", "--seq", "4"]).0, 3);
    let long = "x".repeat(1_001);
    assert_eq!(dht.fails(&["put", &long]), (1, "VALUE_TOO_LARGE".into()));

    // Words that make no sense, and nobody there.
    assert_eq!(dht.fails(&["lookup", "short"]).0, 2);
    assert_eq!(dht.fails(&["ping", "127.0.0.1"]).0, 2);
    assert_eq!(pome.fails(&["dht", "node"]).0, 2);
    let words = ["dht", "lookup", TOPIC, "--peer", "127.0.0.1:1"];
    assert_eq!(pome.fails(&words).0, 2);
    assert_eq!(
        pome.fails(&["dht", "lookup", TOPIC]),
        (4, "TOO_FEW_NODES".into())
    );
    let words = ["ping", "127.0.0.1:1", "--timeout", "0.5"];
    assert_eq!(dht.fails(&words), (4, "TIMED_OUT".into()));
    testnet.stop();
    assert_eq!(dht.fails(&["lookup", TOPIC]), (4, "TOO_FEW_NODES".into()));
    assert!(!pome.store.exists(), "no store is needed");
}

#[test]
fn npm_nodes_begin_with_ours() {
    let test = "npm_nodes_begin_with_ours";
    if !npm_works(test, &["hyperdht"]) || !namespace::inside(test) {
        return;
    }
    let (folder, pome) = pome();
    let first = ["node", "--host", "127.0.0.1", "--port", "0"];
    let (first, bootstrap) = start(&pome, &first);
    let more = [
        &["node", "--host", "127.0.0.1", "--port", "0"][..],
        &["--persistent", "--bootstrap", &bootstrap],
    ]
    .concat();
    let (mut second, address) = start(&pome, &more);
    assert_ne!(address, bootstrap);
    assert_eq!(second.line()["event"], "persistent");
    let mut npm = Npm::start("dht.js");
    let options = json!({ "bootstrap": [bootstrap] });
    let node = npm.say("node", options.clone())["node"].clone();
    npm.say("node", options);
    let dht = Asking(&pome, bootstrap.clone());

    let topic = "11".repeat(32);
    let seed = "22".repeat(32);
    let said = json!({ "node": node, "target": topic, "seed": seed });
    let key = npm.say("announce", said)["publicKey"].clone();
    let found = dht.json(&["lookup", &topic]);
    let theirs: pome::Key = found[0]["publicKey"].as_str().unwrap().parse().unwrap();
    assert_eq!((found.len(), json!(theirs.to_hex())), (1, key));

    let file = folder.path().join("seed");
    fs::write(&file, [0x33; 32]).unwrap();
    let file = file.to_str().unwrap();
    let ours = dht.json(&["announce", &topic, "--seed-file", file]);
    let ours: pome::Key = ours[0]["publicKey"].as_str().unwrap().parse().unwrap();
    let seen = npm.say("lookup", json!({ "node": node, "target": topic }));
    let seen = seen["peers"].to_string();
    assert!(
        seen.contains(&ours.to_hex()) && seen.contains(&theirs.to_hex()),
        "{seen}"
    );

    let hash: pome::Key = dht.json(&["put", "from pome"])[0]["hash"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let got = npm.say(
        "immutableGet",
        json!({ "node": node, "hash": hash.to_hex() }),
    );
    assert_eq!(got["value"], data_encoding::HEXLOWER.encode(b"from pome"));
    let put = npm.say("immutablePut", json!({ "node": node, "value": "6e706d" }));
    assert_eq!(dht.ok(&["get", put["hash"].as_str().unwrap()]), b"npm");

    dht.json(&["put", "changes", "--seed-file", file, "--seq", "5"]);
    let asked = json!({ "node": node, "publicKey": ours.to_hex() });
    let got = npm.say("mutableGet", asked);
    assert_eq!(
        (&got["seq"], &got["value"]),
        (&json!(5), &json!("6368616e676573"))
    );
    let said = json!({ "node": node, "seed": seed, "value": "6e706d", "seq": 9 });
    let key = npm.say("mutablePut", said)["publicKey"]
        .as_str()
        .unwrap()
        .to_owned();
    let got = dht.json(&["get", &key, "--mutable"]);
    assert_eq!(got, [json!({ "seq": 9, "value": "npm" })]);
    second.stop();
    first.stop();
}

/// What the doctor says before he fails, or not.
fn doctor(pome: &Pome, args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = pome.run(&[&["--json", "doctor"], args].concat());
    (output.status.code(), lines(&output.stdout))
}

/// The same, once he comes through: he dials once, and a machine that is busy for some seconds may make that come to nothing.
fn doctor_connects(pome: &Pome, key: &str) -> Vec<Value> {
    for _ in 0..20 {
        let (status, said) = doctor(pome, &[key]);
        if status == Some(0) {
            assert_eq!(said[1]["stage"], "connected", "{said:?}");
            return said;
        }
        eprintln!("not yet: {said:?}");
    }
    panic!("the doctor never connects");
}

#[test]
fn the_doctor_says_how_far_one_comes() {
    if !namespace::inside("the_doctor_says_how_far_one_comes") {
        return;
    }
    let (_folder, pome) = pome();
    let (testnet, bootstrap) = start(&pome, &["testnet", "5"]);
    let pome = pome.with(Peers::Dht(bootstrap));
    let (status, said) = doctor(&pome, &[]);
    assert_eq!((status, said.len()), (Some(0), 1), "{said:?}");
    let here = &said[0];
    assert_eq!(here["addresses"], json!([]), "{here}");
    assert_eq!((&here["route"], &here["fix"]), (&json!(true), &Value::Null));
    assert_eq!(here["nat"], "open", "{here}");
    assert!(
        here["bootstrap"]
            .as_array()
            .unwrap()
            .iter()
            .all(|node| node["rtt"].is_number())
    );
    assert!(here["address"].as_str().unwrap().starts_with("127.0.0.1:"));

    // To something that is shared.
    pome.ok(&["core", "append", "log", "a"]);
    let key = pome.json(&["core", "info", "log"])[0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    let (status, said) = doctor(&pome, &[&key]);
    assert_eq!(status, Some(3));
    assert_eq!(
        (&said[1]["stage"], &said[1]["nodes"]),
        (&json!("none"), &json!(0))
    );
    assert_eq!(said[2]["error"]["code"], "PEER_NOT_FOUND");
    let child = pome
        .command(&["--json", "share", "log"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut sharing = Talker::new(child);
    assert_eq!(sharing.line()["announced"], true);
    let said = doctor_connects(&pome, &key);
    let peer = said[1]["peer"].as_str().unwrap().to_owned();
    // And to the peer itself.
    doctor_connects(&pome, &peer);
    let owner = pome.json(&["status"])[0]["owner"].clone();
    sharing.stop();
    // The process that worked for it says good-bye.
    while Path::new(&format!("/proc/{owner}")).exists() {
        std::thread::sleep(Duration::from_millis(20));
    }

    // To somebody who was announced, and is not there.
    pome.ok(&["dht", "announce", &key, "--core"]);
    let (status, said) = doctor(&pome, &[&key]);
    assert_eq!(
        (status, &said[1]["stage"]),
        (Some(3), &json!("found")),
        "{said:?}"
    );
    testnet.stop();

    // Nodes that are away, and a network that is not there.
    let away = pome.with(Peers::Dht("127.0.0.1:1".into()));
    let (status, said) = doctor(&away, &["--timeout", "2"]);
    assert_eq!(
        (status, &said[0]["route"]),
        (Some(4), &json!(true)),
        "{said:?}"
    );
    assert_eq!(said[1]["error"]["code"], "TOO_FEW_NODES");
    let cut = away.with(Peers::Dht("10.1.2.3:49737".into()));
    let (status, said) = doctor(&cut, &["--timeout", "2"]);
    assert_eq!(
        (status, &said[0]["route"]),
        (Some(1), &json!(false)),
        "{said:?}"
    );
    assert_eq!(said[1]["error"]["code"], "NO_NETWORK");
    let nowhere = cut.with(Peers::Nowhere);
    assert_eq!(doctor(&nowhere, &[]).0, Some(2));
}

/// Somebody who shares a core from a place.
struct Sharing {
    _place: Place,
    _folder: tempfile::TempDir,
    _sharing: Talker,
    key: String,
}

impl Sharing {
    fn new(place: Place, bootstrap: &str) -> Self {
        let (folder, pome) = pome();
        let mut pome = pome.with(Peers::Dht(bootstrap.into()));
        pome.namespace = Some(place.inside.id());
        pome.ok(&["core", "append", "log", "a", "--no-swarm"]);
        let key = pome.json(&["core", "info", "log"])[0]["key"].clone();
        let child = pome
            .command(&["--json", "share", "log"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut sharing = Talker::new(child);
        while sharing.line()["announced"] != true {}
        Self {
            _place: place,
            _folder: folder,
            _sharing: sharing,
            key: key.as_str().unwrap().to_owned(),
        }
    }
}

#[test]
fn the_doctor_tells_what_is_in_front_of_both_sides() {
    let test = "the_doctor_tells_what_is_in_front_of_both_sides";
    if !places_work(test) || !namespace::inside(test) {
        return;
    }
    let mut places = Places::new(false);
    let (_folder, here) = pome();
    let mut nodes: Vec<(Talker, String)> = Vec::new();
    for n in 1..=8 {
        let host = places.host(n);
        let mut args = vec!["node", "--host", &host, "--port", "0"];
        if let Some((_, first)) = nodes.first() {
            args.extend(["--bootstrap", first, "--persistent"]);
        }
        nodes.push(start(&here, &args));
    }
    let bootstrap = nodes[0].1.clone();
    let fronts = [Front::Open, Front::Consistent, Front::Random];
    let [open, consistent, random] =
        fronts.map(|front| Sharing::new(places.add(front), &bootstrap));
    let word = |front| match front {
        Front::Open => "open",
        Front::Consistent => "consistent",
        Front::Random => "random",
    };
    let cases = [
        (Front::Open, &consistent, "consistent"),
        (Front::Consistent, &open, "open"),
        (Front::Consistent, &consistent, "consistent"),
        (Front::Consistent, &random, "random"),
        (Front::Random, &consistent, "consistent"),
        (Front::Random, &random, "random"),
    ];
    for (front, sharing, there) in cases {
        let place = places.add(front);
        let mut asks = pome().1.with(Peers::Dht(bootstrap.clone()));
        asks.namespace = Some(place.inside.id());
        let is_hopeless = (front, there) == (Front::Random, "random");
        let mut again: Option<Sharing> = None;
        let mut tries = 0;
        let (status, said) = loop {
            let sharing = again.as_ref().unwrap_or(sharing);
            let (status, said) = doctor(&asks, &[&sharing.key]);
            // One that nothing is in front of finds that out as it begins, if others answer in time; and a busy machine may take longer than an attempt may.
            let is_new = there == "open" && said[1]["nat"] == "consistent";
            let is_late = !is_hopeless && said[1]["code"] == "HOLEPUNCH_ABORTED";
            if !is_new && !is_late {
                break (status, said);
            }
            tries += 1;
            if is_new && tries % 5 == 0 {
                again = Some(Sharing::new(places.add(Front::Open), &bootstrap));
            }
        };
        eprintln!("{front:?} to {there}: {said:?}");
        assert_eq!(said[0]["nat"], word(front), "{said:?}");
        let outside = said[0]["address"].as_str().unwrap();
        assert!(outside.starts_with("5.5.1."), "{said:?}");
        assert_eq!(said[1]["nat"], there, "{said:?}");
        let outside = said[1]["address"].as_str().unwrap();
        assert!(outside.starts_with("5.5.1."), "{said:?}");
        if is_hopeless {
            assert_eq!(said[1]["stage"], "punch", "{said:?}");
            // Whoever is the first to see that both are random gives up; the other side, as npm's, only says that it did.
            let code = &said[1]["code"];
            let is_first = code == "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS";
            assert!(is_first || code == "REMOTE_ABORTED", "{said:?}");
            let fix = said[1]["fix"].as_str().unwrap();
            assert!(fix.contains("both NATs give out random ports"), "{fix}");
            assert_eq!(&said[2]["error"]["code"], code);
            assert_eq!(status, Some(1));
        } else {
            assert_eq!(said[1]["stage"], "connected", "{said:?}");
            assert_eq!(said[1]["relayed"], false, "{said:?}");
            assert_eq!((status, said.len()), (Some(0), 2), "{said:?}");
        }
    }
}
