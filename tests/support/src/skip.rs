//! Tests that cannot run on a machine say so.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Says that a test, or a part of one, did not run, and what it would take. Written past the harness, which keeps what a passing test prints to itself.
pub fn skipped(test: &str, why: impl std::fmt::Display) {
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
}

/// True when all of these programs are here; else says that `test` is skipped, and for want of which.
pub fn tools_work(test: &str, tools: &[&str]) -> bool {
    let is_there = |tool: &&&str| {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {tool}")])
            .stdout(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    };
    let missing = tools.iter().find(|tool| !is_there(tool));
    if let Some(tool) = missing {
        skipped(test, format_args!("{tool} is not installed"));
    }
    missing.is_none()
}

/// The folder with the scripts that run the npm modules, and their lockfile.
pub fn npm_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../interop")
}

/// True when node runs here and finds these npm modules; else says that `test` is skipped.
pub fn npm_works(test: &str, modules: &[&str]) -> bool {
    let requires: Vec<String> = modules.iter().map(|m| format!("require('{m}')")).collect();
    let works = Command::new("node")
        .arg("-e")
        .arg(requires.join(","))
        .current_dir(npm_folder())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        skipped(
            test,
            "needs node, and the npm modules: npm ci --prefix tests/interop",
        );
    }
    works
}
