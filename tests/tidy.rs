//! The rules of the house, held by a test: which crate may know which, where `unsafe` may live, and words that must not be there.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each crate and what it may depend on, among ours.
const ARROWS: &[(&str, &[&str])] = &[
    ("encoding", &[]),
    ("wal", &[]),
    ("storage", &["wal"]),
    ("cores", &["encoding", "storage"]),
    ("bee", &["encoding", "cores"]),
    ("drive-fs", &["encoding", "cores", "bee"]),
    ("net", &["encoding", "cores"]),
    (
        "runtime",
        &["encoding", "storage", "cores", "bee", "drive-fs", "net"],
    ),
];

/// The only files that may have `unsafe` in them.
const UNSAFE_ROOMS: &[&str] = &[
    "wal/src/device/view.rs",
    "wal/src/device/write_back.rs",
    "wal/src/device/uring.rs",
    "benches/engines/src/engine/lmdb.rs",
    "runtime/src/bare/io/poll.rs",
    "runtime/src/engine/bytes.rs",
    "runtime/src/engine/class.rs",
    "runtime/src/engine/text.rs",
    "runtime/src/engine/clone.rs",
    "runtime/src/engine/limit.rs",
    "runtime/src/engine/realm.rs",
    "runtime/src/engine/script.rs",
    "runtime/src/engine/shared.rs",
    "runtime/src/engine/uncatchable.rs",
];

/// What a reader would take for work that is not done.
const BANNED: &[&str] = &[
    "FIXME",
    "TODO",
    "XXX",
    "unimplemented!(",
    "todo!(",
    "#[ignore",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for folder in [
        "src", "tests", "examples", "benches", "encoding", "wal", "storage", "cores", "bee",
        "drive-fs", "net", "runtime",
    ] {
        if root().join(folder).exists() {
            rust_files(&root().join(folder), &mut files);
        }
    }
    files
        .into_iter()
        .map(|path| {
            let name = path
                .strip_prefix(root())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

#[test]
fn arrows_point_down() {
    for (crate_name, may) in ARROWS {
        let manifest = fs::read_to_string(root().join(crate_name).join("Cargo.toml")).unwrap();
        let dependencies = manifest
            .split("[dependencies]")
            .nth(1)
            .unwrap()
            .split("\n[")
            .next()
            .unwrap();
        for line in dependencies.lines() {
            if let Some(other) = line.strip_prefix("pome-") {
                let other = other.split(['.', ' ', '=']).next().unwrap();
                assert!(may.contains(&other), "{crate_name} may not know {other}");
            }
        }
    }
}

#[test]
fn unsafe_lives_in_its_rooms() {
    for (name, text) in sources() {
        let has = text.lines().any(|line| {
            let code = line.split("//").next().unwrap();
            code.split("unsafe ").skip(1).any(|what| {
                ["{", "impl", "fn", "extern"]
                    .iter()
                    .any(|word| what.starts_with(word))
            })
        });
        assert!(
            !has || UNSAFE_ROOMS.contains(&name.as_str()) || name == "tests/tidy.rs",
            "{name}: unsafe outside its rooms"
        );
    }
}

#[test]
fn nothing_is_left_open() {
    for (name, text) in sources()
        .into_iter()
        .filter(|(name, _)| name != "tests/tidy.rs")
    {
        for (number, line) in text.lines().enumerate() {
            for word in BANNED {
                assert!(!line.contains(word), "{name}:{}: {word}", number + 1);
            }
        }
    }
}

#[test]
fn rooms_hold_one_idea() {
    for (name, text) in sources() {
        if name.contains("/tests/") || name.starts_with("tests/") {
            continue;
        }
        let code = text.split("\n#[cfg(test)]").next().unwrap().lines().count();
        assert!(
            code <= 900,
            "{name} has {code} lines before its tests; which is the second idea?"
        );
    }
}

#[test]
fn no_test_reaches_the_network() {
    // The binary is started in one place, which says where it may look for peers.
    let starters: Vec<_> = sources()
        .into_iter()
        .filter(|(name, text)| text.contains("CARGO_BIN_EXE_") && name != "tests/tidy.rs")
        .collect();
    assert!(!starters.is_empty());
    for (name, text) in starters {
        let known = matches!(
            name.as_str(),
            "tests/process/mod.rs" | "tests/process/terminal.rs" | "runtime/tests/support/mod.rs"
        );
        assert!(
            known && text.contains("variables()"),
            "{name} starts the binary by itself; `Pome::command` keeps it off the network"
        );
    }
}
