//! The examples run; what they show is asserted in them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::process::Command;

fn run(name: &str) {
    // `cargo test` builds them beside the tests; `cargo test --test examples` alone does not.
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().with_file_name("examples").join(name);
    let mut command = Command::new(&built);
    if !built.exists() {
        command = Command::new(env!("CARGO"));
        command.args(["run", "--quiet", "--example", name]);
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "example {name}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_log_example_runs() {
    run("log");
}

#[test]
fn the_database_example_runs() {
    run("database");
}

#[test]
fn the_files_example_runs() {
    run("files");
}
