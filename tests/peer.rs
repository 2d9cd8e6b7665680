//! What commands do with `--peer`: a store that lacks a core, a bee or a drive, or a part of it, gets what the command needs from a peer.
//!
//! The npm half needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use pome_test_support::npm_works;
use process::{
    Pome, lines,
    talk::{Npm, share, share_at},
};
use serde_json::{Value, json};
use std::{fs, path::Path};

/// The npm modules that the other side is made of.
const NPM: &[&str] = &["corestore", "hyperbee", "hyperdrive"];

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

fn key_of(rows: &[Value]) -> String {
    rows[0]["key"].as_str().unwrap().to_owned()
}

/// Bytes that compress to nothing and repeat nowhere near.
fn bytes(seed: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| (seed + i * 7 + (i >> 16)) as u8)
        .collect()
}

/// How many bytes of a core a store has.
fn here(pome: &Pome, key: &str) -> u64 {
    let info = &pome.json(&["store", "info", "--cores"])[0];
    let usage = info["usage"].as_array().unwrap();
    let of = usage.iter().find(|row| row["key"] == key);
    of.map_or(0, |row| row["bytes"].as_u64().unwrap())
}

#[test]
fn a_core_is_read_where_it_is_not() {
    let ((_a, writer), (_b, reader)) = (pome(), pome());
    writer.ok(&["core", "append", "log", "a", "bb", "ccc"]);
    let key = key_of(&writer.json(&["core", "info", "log"]));
    let (sharing, address) = share(&writer, &["log"]);
    // Nothing is here, not even a store.
    assert_eq!(
        reader.ok(&["core", "get", &key, "1", "--peer", &address]),
        b"bb"
    );
    let info = &reader.json(&["core", "info", &key, "--peer", &address])[0];
    assert_eq!(
        (&info["length"], &info["contiguousLength"]),
        (&json!(3), &json!(0)),
        "only what was asked for came"
    );
    // Past the end there is nothing to wait for.
    let (status, code) = reader.fails(&["core", "get", &key, "9", "--peer", &address]);
    assert_eq!((status, code.as_str()), (3, "BLOCK_NOT_AVAILABLE"));
    writer.ok(&["core", "append", "log", "dddd"]);
    assert_eq!(
        reader.ok(&["core", "get", &key, "3", "--peer", &address]),
        b"dddd"
    );
    sharing.stop();
    // What is here needs nobody; the rest says that nobody was reached.
    assert_eq!(
        reader.ok(&["core", "get", &key, "1", "--peer", &address]),
        b"bb"
    );
    let (status, code) = reader.fails(&["core", "get", &key, "0", "--peer", &address]);
    assert_eq!((status, code.as_str()), (1, "CONNECTION_IO"));
    assert_eq!(
        reader.fails(&["core", "get", &key, "0"]),
        (3, "BLOCK_NOT_AVAILABLE".into())
    );
    // A key that nobody has leaves nothing.
    let (_again, address) = share_at(&writer, &["log"], &address);
    let unknown = "y".repeat(52);
    for words in [["core", "info"], ["bee", "ls"], ["drive", "ls"]] {
        let words = [
            &words[..],
            &[&unknown, "--peer", &address, "--timeout", "1"],
        ]
        .concat();
        reader.fails(&words);
    }
    let info = &reader.json(&["store", "info", "--cores"])[0];
    let cores = info["usage"].as_array().unwrap();
    assert_eq!(cores.len(), 1, "{cores:?}");
    assert_eq!(cores[0]["key"], key);
    // Words that make no sense.
    assert_eq!(reader.fails(&["store", "info", "--peer", &address]).0, 2);
    assert_eq!(
        reader.fails(&["core", "get", &key, "0", "--peer", "x"]).0,
        2
    );
    assert_eq!(reader.fails(&["core", "download", &key]).0, 2);
}

#[test]
fn a_bee_is_read_where_it_is_not() {
    let ((_a, writer), (_b, reader)) = (pome(), pome());
    let batch: String = (0..500)
        .map(|n| format!("{{\"type\":\"put\",\"key\":\"k{n:03}\",\"value\":\"v{n}\"}}\n"))
        .collect();
    let done = writer.with_stdin(&["bee", "batch", "people"], batch.as_bytes());
    assert!(done.status.success());
    writer.ok(&["bee", "put", "secrets", "a", "b"]);
    let key = key_of(&writer.json(&["bee", "info", "people"]));
    let secret = key_of(&writer.json(&["bee", "info", "secrets"]));
    let (_sharing, address) = share(&writer, &["people"]);
    let peer = ["--peer", &address];
    let get = [&["bee", "get", &key, "k123"], &peer[..]].concat();
    assert_eq!(reader.ok(&get), b"v123");
    let some = here(&reader, &key);
    let listed = reader.json(&[&["bee", "ls", &key, "--prefix", "k2"], &peer[..]].concat());
    assert_eq!(listed.len(), 100);
    assert_eq!(listed[7]["key"], "k207");
    assert!(here(&reader, &key) > some);
    let missing = [&["bee", "get", &key, "nobody"], &peer[..]].concat();
    assert_eq!(reader.fails(&missing), (3, "NOT_FOUND".into()));
    let info = &reader.json(&[&["bee", "info", &key], &peer[..]].concat())[0];
    assert_eq!(
        (&info["version"], &info["writable"]),
        (&json!(501), &json!(false))
    );
    assert_eq!(
        reader
            .json(&[&["bee", "history", &key, "--limit", "3"], &peer[..]].concat())
            .len(),
        3
    );
    assert_eq!(
        reader
            .json(&[&["bee", "diff", &key, "1", "501"], &peer[..]].concat())
            .len(),
        500
    );
    // What is shared is the bee, and no other core of the store.
    let other = [&["bee", "get", &secret, "a", "--timeout", "1"], &peer[..]].concat();
    assert_eq!(reader.fails(&other), (4, "TIMED_OUT".into()));
}

#[test]
fn a_drive_is_read_where_it_is_not() {
    let ((a, writer), (b, reader)) = (pome(), pome());
    let tree = a.path().join("tree");
    fs::create_dir_all(tree.join("docs")).unwrap();
    fs::write(tree.join("docs/a.txt"), "hello").unwrap();
    let big = bytes(3, 3_000_000);
    fs::write(tree.join("big"), &big).unwrap();
    fs::write(tree.join("other"), bytes(9, 2_000_000)).unwrap();
    writer.ok(&["drive", "create", "home"]);
    writer.ok(&["drive", "create", "hidden"]);
    writer.ok(&["drive", "import", "home", tree.to_str().unwrap()]);
    writer.ok(&["drive", "import", "hidden", tree.to_str().unwrap()]);
    let info = writer.json(&["drive", "info", "home"]);
    let (key, blobs) = (
        key_of(&info),
        info[0]["contentKey"].as_str().unwrap().to_owned(),
    );
    let hidden = writer.json(&["drive", "info", "hidden"]);
    let (_sharing, address) = share(&writer, &["home"]);
    let with = |words: &[&str]| -> Vec<String> {
        let all = [words, &["--peer", &address, "--timeout", "600"]].concat();
        all.into_iter().map(str::to_owned).collect()
    };
    let ok = |words: &[&str]| {
        let words = with(words);
        reader.ok(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(ok(&["drive", "ls", &key]), b"/big\n/docs/a.txt\n/other\n");
    assert!(here(&reader, &blobs) < 4096, "a listing needs no contents");
    assert_eq!(ok(&["drive", "get", &key, "/docs/a.txt"]), b"hello");
    assert!(here(&reader, &blobs) < 65_536);
    assert!(ok(&["drive", "get", &key, "/big"]) == big);
    assert!((3_000_000..3_100_000).contains(&here(&reader, &blobs)));
    assert!(ok(&["drive", "entry", &key, "/other"]).starts_with(b"{\"seq\""));
    assert!(ok(&["drive", "info", &key]).starts_with(b"name"));
    assert_eq!(
        ok(&["drive", "history", &key])
            .split(|c| *c == b'\n')
            .count(),
        4
    );
    // A copy gets the rest; without peers nothing is missing then.
    let copy = b.path().join("copy");
    ok(&["drive", "export", &key, copy.to_str().unwrap()]);
    same(&tree, &copy);
    assert!(reader.ok(&["drive", "get", &key, "/other"]) == bytes(9, 2_000_000));
    ok(&["drive", "create", "mine"]);
    ok(&["drive", "mirror", &key, "mine"]);
    assert!(reader.ok(&["drive", "get", "mine", "/big"]) == big);
    // Neither core of the other drive is served.
    for core in [
        key_of(&hidden).as_str(),
        hidden[0]["contentKey"].as_str().unwrap(),
    ] {
        let words = [
            "core",
            "get",
            core,
            "0",
            "--peer",
            &address,
            "--timeout",
            "1",
        ];
        assert_eq!(reader.fails(&words), (4, "TIMED_OUT".into()));
    }
    // Who has it from a peer can serve it: both cores, by the drive's key.
    let (_c, third) = pome();
    let (_reading, second) = share(&reader, &[&key]);
    let words = ["drive", "get", &key, "/big", "--peer", &second];
    assert!(third.ok(&words) == big);
}

fn same(a: &Path, b: &Path) {
    let diff = std::process::Command::new("diff")
        .args(["-r".as_ref(), a, b])
        .output()
        .unwrap();
    assert!(
        diff.status.success(),
        "{}",
        String::from_utf8_lossy(&diff.stdout)
    );
}

#[test]
fn a_download_goes_on_when_the_peer_comes_back() {
    let ((_a, writer), (_b, reader)) = (pome(), pome());
    writer.ok(&["core", "append", "log", "a"]);
    let key = key_of(&writer.json(&["core", "info", "log"]));
    let (sharing, address) = share(&writer, &["log"]);
    let args = [
        "--json", "core", "download", &key, "--live", "--peer", &address,
    ];
    let child = reader
        .command(&args)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut download = process::talk::Talker::new(child);
    assert_eq!(download.line(), json!({ "length": 1, "downloaded": 1 }));
    writer.ok(&["core", "append", "log", "b"]);
    assert_eq!(download.line(), json!({ "length": 2, "downloaded": 1 }));
    sharing.stop();
    writer.ok(&["core", "append", "log", "c"]);
    let (_sharing, again) = share_at(&writer, &["log"], &address);
    assert_eq!(again, address);
    assert_eq!(download.line(), json!({ "length": 3, "downloaded": 1 }));
    download.stop();
    assert_eq!(reader.ok(&["core", "get", &key, "2"]), b"c");
}

#[test]
fn npm_bees_and_drives_are_read() {
    if !npm_works("npm_bees_and_drives_are_read", NPM) {
        return;
    }
    let (_folder, pome) = pome();
    let mut npm = Npm::start("drive.js");
    let keys = npm.say("keys", json!({}));
    let (drive, bee) = (
        keys["drive"].as_str().unwrap(),
        keys["bee"].as_str().unwrap(),
    );
    npm.say(
        "put",
        json!({ "path": "/big", "seed": 5, "size": 1_000_000 }),
    );
    npm.say("many", json!({ "folder": "/many", "count": 300 }));
    npm.say("bee", json!({ "entries": [["a", "1"], ["b", "2"]] }));
    let port = npm.say("listen", json!({}))["port"].to_string();
    let address = format!("127.0.0.1:{port}");
    let peer = ["--peer", &address];
    let ok = |words: &[&str]| pome.ok(&[words, &peer[..]].concat());
    assert!(ok(&["drive", "get", drive, "/big"]) == bytes(5, 1_000_000));
    let listed = ok(&["--json", "drive", "ls", drive, "/many"]);
    assert_eq!(lines(&listed).len(), 300);
    assert_eq!(ok(&["drive", "get", drive, "/many/file-17"]), b"content 17");
    assert_eq!(ok(&["bee", "get", bee, "b"]), b"2");
    assert_eq!(ok(&["bee", "ls", bee]), b"a\t1\nb\t2\n");
}
