//! The most-asked thing of all: what is overwritten, deleted and cleared gives the disk back, with no further command.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod process;

use process::{Pome, fuse_works};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

const MIB: u64 = 1 << 20;

fn pattern(seed: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// What the folder takes, as the filesystem counts it.
fn taken(store: &Path) -> u64 {
    let files = fs::read_dir(store).unwrap().map(|entry| entry.unwrap());
    // A file may go between the listing and the question.
    let sizes = files.filter_map(|file| file.metadata().ok());
    sizes.map(|meta| meta.blocks() * 512).sum()
}

/// Waits until the store has become small by itself; how long is told. Ten seconds are promised (`POME_NIGHTLY` holds it to them, on a machine that has no
/// other work); else it is judged generously.
fn shrinks(store: &Path, bound: u64) {
    let promised = match std::env::var_os("POME_NIGHTLY") {
        Some(_) => Duration::from_secs(10),
        None => pome_test_support::PATIENCE,
    };
    let begin = Instant::now();
    while taken(store) > bound {
        assert!(
            begin.elapsed() < promised,
            "the store takes {} bytes after {promised:?}, and {bound} are enough",
            taken(store)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "nightly: down to {} bytes (at most {bound}) {:.1} s after the last write, with no command",
        taken(store),
        begin.elapsed().as_secs_f64()
    );
}

/// Each command gives back what it can in a few seconds, and what a busy machine leaves of that the next ones do.
fn shrinks_with_commands(pome: &Pome, bound: u64) {
    let begin = Instant::now();
    while taken(&pome.store) > bound {
        assert!(
            begin.elapsed() < pome_test_support::PATIENCE,
            "the store takes {} bytes, and {bound} are enough",
            taken(&pome.store)
        );
        pome.ok(&["core", "ls"]);
    }
}

/// Runs a command that drops at least so many bytes, which come back; it says what of it came back at once.
fn drops(pome: &Pome, words: &[&str], bytes: u64) -> Value {
    let before = taken(&pome.store);
    let said = pome.json(words).swap_remove(0);
    let freed = said["freed"].as_u64().unwrap();
    assert!(freed > 0 && freed <= before, "{said}");
    if let Some(left) = said["bytes"].as_u64() {
        assert!(left + freed < before + MIB, "of {before}: {said}");
        assert!(taken(&pome.store) <= left, "{said}");
    }
    shrinks_with_commands(pome, before - bytes);
    said
}

#[test]
fn a_file_that_is_overwritten_in_a_mount_takes_its_size() {
    let test = "a_file_that_is_overwritten_in_a_mount_takes_its_size";
    if !fuse_works(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let at = folder.path().join("mnt");
    pome.ok(&["drive", "create", "home"]);
    let set = pome.json(&["drive", "set", "home", "--keep-versions", "1"]);
    assert_eq!(set[0]["keep"]["versions"], 1);
    let mount = pome.mount(&at, &["--offline"]);
    let file = at.join("file");
    for n in 0..100 {
        fs::write(&file, pattern(n, MIB)).unwrap();
        if n % 10 == 0 {
            // Each of these is a version.
            pome.ok(&["drive", "ls", "home"]);
        }
    }
    let last = pattern(99, MIB);
    // Live is that one file. Nobody runs a command while it is waited for.
    shrinks(&pome.store, MIB * 12 / 10 + 4 * MIB);
    assert!(fs::read(&file).unwrap() == last);
    // Nobody had to do anything, and there is nothing more to be done.
    let freed = pome.json(&["store", "compact"]);
    assert!(freed[0]["bytes"].as_u64().unwrap() <= MIB * 12 / 10 + 4 * MIB);

    fs::write(&file, pattern(100, 10 * MIB)).unwrap();
    pome.ok(&["drive", "ls", "home"]);
    assert!(taken(&pome.store) > 10 * MIB);
    fs::remove_file(&file).unwrap();
    shrinks(&pome.store, 4 * MIB);
    mount.stop();
    let report = pome.json(&["store", "check"]);
    assert_eq!(report.last().unwrap()["ok"], true);
}

#[test]
fn a_file_that_is_put_again_and_again_takes_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let file = folder.path().join("file");
    let put = |n: u64| {
        fs::write(&file, pattern(n, MIB)).unwrap();
        pome.ok(&["drive", "put", "home", "/file", file.to_str().unwrap()]);
    };
    pome.ok(&["drive", "create", "home"]);
    let mut versions = vec![];
    for n in 0..20 {
        put(n);
        let info = pome.json(&["drive", "info", "home"]);
        versions.push(info[0]["version"].as_u64().unwrap());
    }
    assert!(taken(&pome.store) > 20 * MIB, "without a rule all is kept");
    let rule = ["drive", "set", "home", "--keep-versions", "3"];
    let set = drops(&pome, &rule, 15 * MIB);
    assert_eq!(set["oldest"], versions[17]);
    let diff = |a: u64, b: u64| [a.to_string(), b.to_string()];
    let [a, b] = diff(versions[17], versions[19]);
    assert_eq!(pome.json(&["drive", "diff", "home", &a, &b]).len(), 1);
    let [a, b] = diff(versions[16], versions[19]);
    let dropped = pome.fails(&["drive", "diff", "home", &a, &b]);
    assert_eq!(dropped, (1, "VERSION_DROPPED".into()));
    let versions = pome.json(&["drive", "versions", "home"]);
    assert_eq!(versions.len(), 3);
    assert_eq!(pome.json(&["drive", "history", "home"]).len(), 2);

    pome.ok(&["drive", "set", "home", "--keep-versions", "1"]);
    for n in 20..80 {
        put(n);
    }
    // Nobody owns the store.
    shrinks_with_commands(&pome, MIB * 12 / 10 + 4 * MIB);
    assert!(pome.ok(&["drive", "get", "home", "/file"]) == pattern(79, MIB));

    let info = pome.json(&["store", "info", "--cores"]);
    let usage = info[0]["usage"].as_array().unwrap();
    let largest = usage.iter().filter_map(|core| core["bytes"].as_u64()).max();
    assert!(
        (MIB..MIB + MIB / 10).contains(&largest.unwrap()),
        "{info:?}"
    );
    assert!(
        info[0]["deadBytes"].as_u64().unwrap() <= 2 * MIB,
        "{info:?}"
    );

    pome.ok(&["drive", "rm", "home", "/file"]);
    let gone = pome.json(&["drive", "gc", "home"]);
    assert_eq!(gone[0]["keep"]["versions"], 1);
    shrinks_with_commands(&pome, 4 * MIB);
    let report = pome.json(&["store", "check"]);
    assert_eq!(report.last().unwrap()["ok"], true);
    assert_eq!(pome.fails(&["drive", "set", "home"]).0, 2);
    assert_eq!(pome.fails(&["drive", "set", "home", "--keep", "soon"]).0, 2);
    let keep = pome.json(&["drive", "set", "home", "--keep", "30d"]);
    assert_eq!(keep[0]["keep"]["seconds"], 30 * 24 * 60 * 60);
    let keep = pome.json(&["drive", "set", "home", "--keep-all"]);
    assert_eq!(keep[0]["keep"], "all");
}

#[test]
fn a_core_that_is_cleared_says_what_it_freed() {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let file = folder.path().join("block");
    for n in 0..30 {
        fs::write(&file, pattern(n, MIB / 2)).unwrap();
        pome.ok(&["core", "append", "log", "--file", file.to_str().unwrap()]);
    }
    let cleared = drops(&pome, &["core", "clear", "log", "0", "10"], 4 * MIB);
    assert_eq!(cleared["blocks"], 10);
    drops(&pome, &["core", "truncate", "log", "12"], 8 * MIB);
    shrinks_with_commands(&pome, 2 * MIB + 4 * MIB);
    assert!(pome.ok(&["core", "get", "log", "11"]) == pattern(11, MIB / 2));
    let compact = pome.json(&["store", "compact"]);
    assert_eq!(compact[0]["bytes"].as_u64().unwrap(), taken(&pome.store));
}
