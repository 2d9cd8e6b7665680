//! Looking after a store from the command line: check and repair, backup and restore, and copies that do not sign.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use process::{Pome, fuse_works, lines};
use std::{fs, path::Path, process::Command};

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

fn path(folder: &tempfile::TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn value(n: u32) -> String {
    format!("block {n:04} ").repeat(300)
}

fn fill(pome: &Pome) {
    for n in 0..6 {
        pome.json(&["core", "append", "log", &value(n)]);
    }
}

/// Flips a bit in a file of the store that holds these bytes.
fn spoil(store: &Path, prefix: &str, bytes: &[u8]) {
    for entry in fs::read_dir(store).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_str().unwrap().starts_with(prefix) {
            continue;
        }
        let mut content = fs::read(entry.path()).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|w| w == bytes) {
            content[at + bytes.len() / 2] ^= 1;
            fs::write(entry.path(), content).unwrap();
            return;
        }
    }
    panic!("no {prefix}… has these bytes");
}

#[test]
fn a_lost_block_is_found_and_made_missing() {
    let (_folder, pome) = pome();
    fill(&pome);
    let clean = pome.json(&["store", "check"]);
    assert_eq!(clean.len(), 1);
    assert_eq!(
        (&clean[0]["ok"], &clean[0]["dead"]),
        (&true.into(), &0.into())
    );
    assert_eq!(pome.json(&["store", "check", "--repair"])[0]["repairs"], 0);

    spoil(&pome.store, "payload-", value(3).as_bytes());
    let out = pome.run(&["--json", "store", "check"]);
    assert_eq!(out.status.code(), Some(1));
    let said = lines(&out.stdout);
    let kinds: Vec<_> = said
        .iter()
        .filter_map(|line| line["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["value", "core"], "{said:?}");
    assert_eq!(said.last().unwrap()["error"]["code"], "DAMAGED");

    let done = pome.json(&["store", "check", "--repair"]);
    let last = done.last().unwrap();
    assert_eq!(
        (&last["ok"], &last["recovering"]),
        (&true.into(), &false.into())
    );
    assert_eq!(done[0]["lost"], serde_json::json!([[3, 4]]), "{done:?}");
    let info = &pome.json(&["core", "info", "log"])[0];
    assert_eq!((&info["lost"], &info["length"]), (&1.into(), &6.into()));
    assert_eq!(info["contiguousLength"], 3);
    assert_eq!(
        pome.fails(&["--timeout", "1", "core", "get", "log", "3"]).0,
        3
    );
    assert_eq!(pome.ok(&["core", "get", "log", "4"]), value(4).as_bytes());
    pome.json(&["core", "append", "log", "goes on"]);
    // The bytes that are bad are nobody's now, and nothing is wrong.
    let check = pome.json(&["store", "check"]);
    assert_eq!(check.last().unwrap()["ok"], true, "{check:?}");
    pome.json(&["store", "check", "--repair"]);
    let check = pome.json(&["store", "check"]);
    assert_eq!(check.last().unwrap()["dead"], 0, "{check:?}");
}

#[test]
fn a_backup_comes_back_and_is_adopted() {
    let (folder, pome) = pome();
    fill(&pome);
    let (copy, back) = (path(&folder, "copy"), path(&folder, "back"));
    let first = &pome.json(&["store", "backup", &copy])[0];
    assert!(first["copiedBytes"].as_u64().unwrap() > 10_000, "{first}");
    let second = &pome.json(&["store", "backup", &copy])[0];
    assert!(second["copiedFiles"].as_u64().unwrap() < first["copiedFiles"].as_u64().unwrap());
    pome.json(&["core", "append", "log", "after the backup"]);

    let other = Pome::new(&back);
    let restored = &other.json(&["store", "restore", &copy])[0];
    assert_eq!(restored["recovering"], true);
    assert_eq!(other.json(&["store", "info"])[0]["recovering"], true);
    assert_eq!(other.ok(&["core", "get", "log", "5"]), value(5).as_bytes());
    assert_eq!(other.json(&["core", "info", "log"])[0]["length"], 6);
    let (status, code) = other.fails(&["core", "append", "log", "x"]);
    assert_eq!((status, code.as_str()), (1, "STORE_RECOVERING"));
    assert_eq!(other.json(&["store", "check"]).last().unwrap()["ok"], true);
    assert_eq!(other.json(&["store", "adopt"])[0]["adopted"], true);
    assert_eq!(other.json(&["store", "adopt"])[0]["adopted"], false);
    other.json(&["core", "append", "log", "x"]);

    assert_eq!(other.fails(&["store", "restore", &copy]).1, "NOT_A_STORE");
    // The restored one is the same store, so it may go on with the backup; another may not.
    other.json(&["store", "backup", &copy]);
    let third = Pome::new(path(&folder, "third"));
    third.json(&["core", "append", "log", "x"]);
    assert_eq!(third.fails(&["store", "backup", &copy]).1, "NOT_A_BACKUP");
    assert_eq!(
        pome.fails(&["store", "backup", folder.path().to_str().unwrap()])
            .1,
        "NOT_A_BACKUP"
    );
    let inside = pome.store.join("copy");
    assert_eq!(
        pome.fails(&["store", "backup", inside.to_str().unwrap()]).0,
        2
    );
    assert_eq!(
        Pome::new(path(&folder, "new"))
            .fails(&["store", "restore", &back])
            .1,
        "NOT_A_BACKUP"
    );
}

#[test]
fn a_copied_store_says_what_to_do() {
    let (folder, pome) = pome();
    fill(&pome);
    let copied = path(&folder, "copied");
    let done = Command::new("cp")
        .arg("-a")
        .arg(&pome.store)
        .arg(&copied)
        .status();
    assert!(done.unwrap().success());
    let copied = Pome::new(copied);
    let out = copied.run(&["core", "append", "log", "x"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("pome store adopt"), "{said}");
    let moved = path(&folder, "moved");
    fs::rename(&pome.store, &moved).unwrap();
    Pome::new(moved).json(&["core", "append", "log", "x"]);
}

#[test]
fn a_store_is_backed_up_while_it_is_mounted() {
    if !fuse_works("a_store_is_backed_up_while_it_is_mounted") {
        return;
    }
    let (folder, pome) = pome();
    let mountpoint = folder.path().join("mount");
    let mount = pome.mount(&mountpoint, &[]);
    fs::write(mountpoint.join("file"), vec![7; 300_000]).unwrap();
    fs::File::open(mountpoint.join("file"))
        .unwrap()
        .sync_all()
        .unwrap();
    let copy = path(&folder, "copy");
    pome.json(&["store", "backup", &copy]);
    mount.stop();
    let back = Pome::new(path(&folder, "back"));
    back.json(&["store", "restore", &copy]);
    assert_eq!(back.json(&["store", "check"]).last().unwrap()["ok"], true);
}
