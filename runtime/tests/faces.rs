//! The faces of the stack's classes beside npm's: what theirs have, ours have too, but for what `missing.txt` says, with the reason.
//!
//! `npm.json` has what npm's have (hypercore 11.37, corestore 7.12, hyperbee 2.27, hyperblobs 2.12, hyperdrive 13.3, localdrive 2.2, mirror-drive 1.14,
//! hyperdht 6.34, hyperswarm 4.17, @hyperswarm/secret-stream 6.9, protomux 3.12); where node and the modules are, it is compared with them.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

use pome_test_support::namespace;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Names by class.
type Faces = BTreeMap<String, BTreeSet<String>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/faces")
}

fn faces(command: Command) -> Faces {
    let output = support::run(command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `CLASS | NAMES | WHY` in each line.
fn missing() -> Faces {
    let mut faces = Faces::new();
    let text = fs::read_to_string(folder().join("missing.txt")).unwrap();
    for line in text.lines() {
        let [class, names, why]: [&str; 3] =
            line.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        assert!(!why.is_empty(), "{line}");
        let face = faces.entry(class.to_owned()).or_default();
        face.extend(names.split(", ").map(str::to_owned));
    }
    faces
}

#[test]
fn classes_have_what_those_of_npm_have() {
    if !namespace::inside("classes_have_what_those_of_npm_have") {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    let program = folder().join("faces.js");
    let ours = faces(support::ours(&[
        program.to_str().unwrap(),
        own.path().join("ours").to_str().unwrap(),
    ]));
    let text = fs::read_to_string(folder().join("npm.json")).unwrap();
    let npm: Faces = serde_json::from_str(&text).unwrap();
    let mut lacking = Faces::new();
    for (class, names) in &npm {
        let lack: BTreeSet<_> = names.difference(&ours[class]).cloned().collect();
        if !lack.is_empty() {
            lacking.insert(class.clone(), lack);
        }
    }
    assert_eq!(lacking, missing());
}

#[test]
fn npm_still_has_these_faces() {
    let test = "npm_still_has_these_faces";
    if !pome_test_support::npm_works(test, &["hyperswarm", "hyperdrive"])
        || !namespace::inside(test)
    {
        return;
    }
    let own = tempfile::tempdir().unwrap();
    // npm's modules are found in the folders above a program.
    fs::copy(folder().join("faces.js"), own.path().join("faces.js")).unwrap();
    let modules = pome_test_support::npm_folder().join("node_modules");
    let link = own.path().join("node_modules");
    std::os::unix::fs::symlink(modules.canonicalize().unwrap(), link).unwrap();
    let mut node = Command::new("node");
    node.arg(own.path().join("faces.js")).arg(own.path());
    let text = fs::read_to_string(folder().join("npm.json")).unwrap();
    let golden: Faces = serde_json::from_str(&text).unwrap();
    assert_eq!(faces(node), golden);
}
