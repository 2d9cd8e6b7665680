//! Modules, the loop, threads, and how programs end.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

use std::{
    io::Write,
    process::{Command, Stdio},
};

#[test]
fn programs_run_as_in_bare() {
    support::programs("core");
}

#[test]
fn modules_are_found_and_linked_as_in_bare() {
    support::programs("modules");
}

#[test]
fn threads_run_as_in_bare() {
    support::programs("threads");
}

#[test]
fn scripts_on_the_command_line() {
    let output = support::run(support::ours(&["-p", "1 + 1"]));
    assert_eq!(support::told(&output), "2\nexit 0\n");
    let output = support::run(support::ours(&[
        "--eval",
        "Bare.exit(Bare.argv.length)",
        "a",
        "b",
    ]));
    assert_eq!(support::told(&output), "exit 3\n");
    let output = support::run(support::ours(&["--nope"]));
    assert_eq!(support::told(&output), "exit 1\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "unknown flag: nope\n"
    );
}

fn typed(mut command: Command, lines: &str) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    support::told(&output) + said.lines().next().unwrap_or_default()
}

#[test]
fn lines_as_they_are_typed() {
    let lines = "const x = 1\nx + 1\nfunction f () {\n  return x + 5\n}\nf()\nthrow new Error('typed')\n_error.message.length\n";
    assert_eq!(
        typed(support::ours(&[]), lines),
        "2\n6\n5\nexit 0\nUncaught Error: typed"
    );
}

#[test]
fn memory_that_is_not_there_is_a_named_error() {
    let mut options = pome_runtime::Options::default();
    options.memory_limit = Some(32 << 20);
    let program = "
        try {
            const all = []
            while (true) all.push(new Uint8Array(1 << 20))
        } catch (err) {
            Bare.exitCode = err.message === 'out of memory' ? 7 : 1
        }
    ";
    let exit = pome_runtime::Runtime::new(options).eval(program, false);
    assert_eq!(exit, pome_runtime::Exit::Code(7));
}
