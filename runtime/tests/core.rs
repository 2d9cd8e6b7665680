//! Modules, the loop, and how programs end.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

#[test]
fn programs_run_as_in_bare() {
    support::programs("core");
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
}
