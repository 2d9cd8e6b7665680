//! `pome run`, and the binary called as `bare`: programs for Bare.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod process;

use process::Pome;
use std::{
    fs,
    os::unix::{fs::symlink, process::ExitStatusExt},
    process::{Command, Output},
};

const PROGRAM: &str = "
    console.log(Bare.argv.length, Bare.argv[1] === __filename, Bare.argv.slice(2).join())
    Bare.exitCode = 3
";

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_program_with_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.js");
    fs::write(&file, PROGRAM).unwrap();
    let store = folder.path().join("store");
    let pome = Pome::new(&store);
    let file = file.to_str().unwrap();
    let output = pome.run(&["run", file, "--json", "-v", "--", "x"]);
    assert_eq!(said(&output), "6 true --json,-v,--,x\n");
    assert_eq!(output.status.code(), Some(3));
    // It is no business of the user's store.
    assert!(!store.exists());
    let output = pome.run(&[
        "run",
        "--eval",
        "console.log(Bare.argv.slice(1).join())",
        "a",
        "-b",
    ]);
    assert_eq!(said(&output), "a,-b\n");
    let output = pome.run(&["run", "-p", "6 * 7"]);
    assert_eq!(said(&output), "42\n");
    let output = pome.with_stdin(&["run"], b"const x = 6\nx * 7\n");
    assert_eq!(said(&output), "42\n");
}

#[test]
fn an_error_that_nobody_caught_aborts() {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let output = pome.run(&["run", "-e", "throw new Error('no catcher')"]);
    assert_eq!(output.status.signal(), Some(6));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("Uncaught Error: no catcher\n    at "),
        "{stderr}"
    );
}

#[test]
fn memory_has_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let program = "const all = []; while (true) all.push(new Uint8Array(1 << 20))";
    let output = pome.run(&["run", "--memory-limit", "64M", "-e", program]);
    assert_eq!(output.status.signal(), Some(6));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("out of memory"), "{stderr}");
}

#[test]
fn the_binary_called_as_bare() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.js");
    fs::write(&file, PROGRAM).unwrap();
    let binary = Pome::new(folder.path()).command(&[]);
    let bare = folder.path().join("bare");
    symlink(binary.get_program(), &bare).unwrap();
    let output = Command::new(&bare)
        .arg(&file)
        .arg("--store")
        .output()
        .unwrap();
    assert_eq!(said(&output), "3 true --store\n");
    assert_eq!(output.status.code(), Some(3));
    let output = Command::new(&bare).arg("--version").output().unwrap();
    assert!(said(&output).starts_with("v1."));
}
