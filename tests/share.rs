//! `pome share --listen` and `pome core download --peer`: between two stores, and with npm's corestore at either end.
//!
//! The npm half needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "process/ is shared with tests that use all of it")]

mod process;

use pome_test_support::npm_works;
use process::{
    Pome,
    talk::{Npm, share},
};
use serde_json::json;

/// The npm modules that the other side is made of.
const NPM: &[&str] = &["corestore", "hypercore-crypto"];

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

fn key_of(pome: &Pome, core: &str) -> String {
    let info = pome.json(&["core", "info", core]);
    info[0]["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_store_downloads_from_another() {
    let ((_a, writer), (_b, reader)) = (pome(), pome());
    for core in ["log", "other"] {
        pome_append(&writer, core, &["a", "b", "c"]);
    }
    let (log, other) = (key_of(&writer, "log"), key_of(&writer, "other"));
    let (mut sharing, address) = share(&writer, &["log"]);
    let download = |key: &str, timeout: &str| {
        let args = [
            "core",
            "download",
            key,
            "--peer",
            &address,
            "--timeout",
            timeout,
        ];
        reader.run(&[&["--json"], &args[..]].concat())
    };
    let output = download(&log, "30");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        process::lines(&output.stdout),
        [json!({ "length": 3, "downloaded": 3 })]
    );
    assert_eq!(reader.ok(&["core", "get", &log, "1"]), b"b");
    assert_eq!(sharing.line()["event"], "peer");
    // What is appended while it is shared; the reader has the rest.
    pome_append(&writer, "log", &["d"]);
    let output = download(&log, "30");
    assert_eq!(
        process::lines(&output.stdout),
        [json!({ "length": 4, "downloaded": 1 })]
    );
    reader.ok(&["core", "audit", &log]);
    // Shared is what is named, and nothing else.
    let output = download(&other, "1");
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    sharing.interrupt();
    while sharing.line()["event"] != "closed" {}
    // Nobody is there any more.
    let output = download(&log, "1");
    assert!(!output.status.success());
}

fn pome_append(pome: &Pome, core: &str, blocks: &[&str]) {
    pome.ok(&[&["core", "append", core], blocks].concat());
}

#[test]
fn npm_reads_what_is_shared() {
    if !npm_works("npm_reads_what_is_shared", NPM) {
        return;
    }
    let (_folder, pome) = pome();
    pome_append(&pome, "log", &["first", "second"]);
    let key: pome::Key = key_of(&pome, "log").parse().unwrap();
    let (_sharing, address) = share(&pome, &[]);
    let port: u16 = address.rsplit(':').next().unwrap().parse().unwrap();
    let mut npm = Npm::start("replicate.js");
    npm.say("connect", json!({ "port": port }));
    let core = json!({ "key": key.to_hex() });
    let got = npm.say("get", json!({ "core": core, "index": 1 }));
    assert_eq!(got["block"], data_encoding::HEXLOWER.encode(b"second"));
    // Appended through the owner while npm is connected.
    pome_append(&pome, "log", &["third"]);
    let got = npm.say("get", json!({ "core": core, "index": 2 }));
    assert_eq!(got["block"], data_encoding::HEXLOWER.encode(b"third"));
}

#[test]
fn what_npm_shares_is_downloaded() {
    if !npm_works("what_npm_shares_is_downloaded", NPM) {
        return;
    }
    let (_folder, pome) = pome();
    let mut npm = Npm::start("replicate.js");
    let log = json!({ "core": { "name": "log" }, "from": 0, "count": 200, "size": 100 });
    let key = npm.say("append", log)["key"].as_str().unwrap().to_owned();
    let port = npm.say("listen", json!({}))["port"].to_string();
    let peer = format!("127.0.0.1:{port}");
    let lines = pome.json(&["core", "download", &key, "--peer", &peer]);
    assert_eq!(lines, [json!({ "length": 200, "downloaded": 200 })]);
    let block = pome.ok(&["core", "get", &key, "199"]);
    let wanted: Vec<u8> = (0..100).map(|at| (199 * 31 + at) as u8).collect();
    assert_eq!(block, wanted);
}
