//! npm's own JavaScript of the Hypercore stack, on native addons of ours (`--npm`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

use pome_test_support::{namespace, npm_folder, npm_works};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

/// A folder with the programs and npm's modules, as a person has them.
struct App(tempfile::TempDir);

impl App {
    /// Nothing where the modules are not installed.
    fn new(test: &str, modules: &[&str]) -> Option<Self> {
        if !npm_works(test, modules) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/npm");
        for entry in fs::read_dir(programs).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let modules = fs::canonicalize(npm_folder().join("node_modules")).unwrap();
        std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
        Some(Self(folder))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn run(&self, flags: &[&str], name: &str, args: &[&str]) -> Output {
        let file = self.path(&format!("{name}.js"));
        support::run(support::ours(&[flags, &[&file], args].concat()))
    }

    /// Runs a program with a new folder as its argument; `NAME.out` has what it prints.
    fn program(&self, name: &str) {
        let output = self.run(&["--npm"], name, &[&self.path("store")]);
        let expected = fs::read_to_string(self.path(&format!("{name}.out"))).unwrap();
        assert_eq!(
            support::told(&output),
            format!("{expected}exit 0\n"),
            "stderr: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// What a program printed that ended well.
fn well(output: &Output) -> String {
    let told = support::told(output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    match told.strip_suffix("exit 0\n") {
        Some(printed) => printed.to_owned(),
        None => panic!("{told}stderr: {stderr}"),
    }
}

#[test]
fn cores_and_bees_of_npm() {
    if let Some(app) = App::new("cores_and_bees_of_npm", &["corestore", "hyperbee"]) {
        app.program("core");
    }
}

#[test]
fn one_store_is_written_by_both_kinds() {
    let test = "one_store_is_written_by_both_kinds";
    let Some(app) = App::new(test, &["corestore", "hyperbee"]) else {
        return;
    };
    for (writer, reader) in [(&["--npm"][..], &[][..]), (&[], &["--npm"])] {
        let store = app.path(if reader.is_empty() { "first" } else { "second" });
        let run = |flags, mode| well(&app.run(flags, "both", &[&store, mode]));
        let written = run(writer, "write");
        assert!(written.ends_with("done\n"), "{written}");
        assert_eq!(run(reader, "read"), written);
        let more = run(reader, "more");
        assert_ne!(more, written);
        assert_eq!(run(writer, "read"), more);
    }
}

#[test]
fn libsodium_says_the_same_under_node() {
    let test = "libsodium_says_the_same_under_node";
    let Some(app) = App::new(test, &["sodium-native"]) else {
        return;
    };
    let ours = well(&app.run(&[], "sodium", &[]));
    let mut node = Command::new("node");
    node.arg(app.path("sodium.js"));
    assert_eq!(ours, well(&support::run(node)));
}

#[test]
fn streams_over_udp() {
    if let Some(app) = App::new("streams_over_udp", &["udx-native"]) {
        app.program("udx");
    }
}

#[test]
fn peers_of_a_topic_with_npm_hyperswarm() {
    let test = "peers_of_a_topic_with_npm_hyperswarm";
    if namespace::inside(test)
        && let Some(app) = App::new(test, &["hyperswarm", "corestore"])
    {
        app.program("swarm");
    }
}

#[test]
fn two_writers_of_an_autobase_converge() {
    let test = "two_writers_of_an_autobase_converge";
    if namespace::inside(test)
        && let Some(app) = App::new(test, &["autobase", "hyperswarm"])
    {
        app.program("autobase");
    }
}

#[test]
fn a_vault_of_autopass_has_two_devices() {
    let test = "a_vault_of_autopass_has_two_devices";
    if namespace::inside(test)
        && let Some(app) = App::new(test, &["autopass"])
    {
        app.program("autopass");
    }
}

#[test]
fn a_database_of_hyperdb() {
    if let Some(app) = App::new("a_database_of_hyperdb", &["hyperdb", "hyperschema"]) {
        app.program("hyperdb");
    }
}

#[test]
fn a_program_has_one_kind_of_the_stack() {
    let test = "a_program_has_one_kind_of_the_stack";
    let Some(app) = App::new(test, &["autobase"]) else {
        return;
    };
    for name in ["mixed", "chosen"] {
        let expected = fs::read_to_string(app.path(&format!("{name}.out"))).unwrap();
        assert_eq!(well(&app.run(&[], name, &[])), expected, "{name}");
    }
}

#[test]
fn a_drive_of_npm() {
    if let Some(app) = App::new("a_drive_of_npm", &["hyperdrive", "localdrive"]) {
        app.program("drive");
    }
}
