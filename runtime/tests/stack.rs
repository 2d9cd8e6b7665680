//! Hypercore and what is built on it, under their npm names.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

use std::{fs, path::Path};

/// Runs `tests/programs/stack/NAME.js` with a new folder as its argument; `NAME.out` has what it prints.
fn program(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/stack");
    let file = folder.join(format!("{name}.js"));
    let own = tempfile::tempdir().unwrap();
    let home = own.path().join("home");
    let output = support::run(support::ours(&[
        file.to_str().unwrap(),
        home.to_str().unwrap(),
    ]));
    let expected = fs::read_to_string(folder.join(format!("{name}.out"))).unwrap();
    assert_eq!(
        support::told(&output),
        format!("{expected}exit 0\n"),
        "stderr: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_core() {
    program("hypercore");
}

#[test]
fn a_writer_and_a_reader() {
    program("replicate");
}

#[test]
fn who_looks_for_peers_waits_for_what_they_say() {
    program("finding");
}

#[test]
fn a_bee() {
    program("hyperbee");
}

#[test]
fn a_drive_and_a_folder() {
    program("hyperdrive");
}

#[test]
fn watchers_of_what_the_program_changes() {
    program("watchers");
}

#[test]
fn nodes_with_commands_of_their_own() {
    program("dht_rpc");
}

#[test]
fn peers_of_a_topic() {
    program("swarm");
}

#[test]
fn monitors_branches_marks_and_pools() {
    program("monitors");
}

#[test]
fn opening_by_itself_and_hooks() {
    program("hooks");
}

#[test]
fn calls_take_effect_in_their_order() {
    program("order");
}
