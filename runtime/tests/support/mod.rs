//! Programs as a person runs them: the `bare` of this crate, and npm's where it is installed.
#![allow(dead_code, reason = "each test crate uses its part")]

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

/// How long a program may take: none of them waits for anything that is not there.
const PATIENCE: Duration = pome_test_support::PATIENCE;

/// What keeps a program off the network of the machine that it runs on.
pub(crate) fn variables() -> [(&'static str, &'static str); 2] {
    [("POME_BOOTSTRAP", "none"), ("POME_NO_LAN", "1")]
}

/// This crate's `bare`.
pub(crate) fn ours(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bare"));
    command.args(args).envs(variables());
    command
}

/// npm's `bare`, if `tests/interop` has it.
pub(crate) fn npms(args: &[&str]) -> Option<Command> {
    let binary =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop/node_modules/.bin/bare");
    binary.exists().then(|| {
        let mut command = Command::new(binary);
        command.args(args).envs(variables());
        command
    })
}

/// Runs a command to its end; one that takes too long is killed, and its test fails.
pub(crate) fn run(mut command: Command) -> Output {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let id = child.id();
    let (done, waits) = std::sync::mpsc::channel();
    let watch = std::thread::spawn(move || {
        let late = waits.recv_timeout(PATIENCE).is_err();
        if late {
            let _ = Command::new("kill")
                .args(["-KILL", &id.to_string()])
                .status();
        }
        late
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    assert!(!watch.join().unwrap(), "{command:?} did not end");
    output
}

/// What a program printed to stdout, and a last line that says how it ended: `exit 0`, or `abort`.
pub(crate) fn told(output: &Output) -> String {
    let mut told = String::from_utf8_lossy(&output.stdout).into_owned();
    match (output.status.code(), output.status.signal()) {
        // npm's launcher passes the abort of its child on as a status.
        (Some(134), _) | (_, Some(6)) => told.push_str("abort\n"),
        (Some(code), _) => told.push_str(&format!("exit {code}\n")),
        (_, signal) => told.push_str(&format!("signal {signal:?}\n")),
    }
    told
}

/// Runs the programs of a folder of `tests/programs`, each `NAME.js` (or `.mjs`, `.cjs`) that has a `NAME.out`. That file has what the program prints
/// to stdout, and a last line for how it ends. Each line of a `NAME.err` has to be somewhere in what it prints to stderr. npm's `bare`, where it is
/// installed, has to print the same to stdout, but for programs that begin with the comment `// not in bare`.
pub(crate) fn programs(folder: &str) {
    run_programs(folder, false);
}

/// As [`programs`]; npm's `bare` has to print the lines of `NAME.err` to stderr as well.
pub(crate) fn programs_that_fail(folder: &str) {
    run_programs(folder, true);
}

fn run_programs(folder: &str, both_fail: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(folder);
    let mut count = 0;
    let mut wrong = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let expected = file.with_extension("out");
        let is_program = file
            .extension()
            .is_some_and(|extension| extension == "js" || extension == "mjs" || extension == "cjs");
        if !is_program || !expected.exists() {
            continue;
        }
        count += 1;
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let expected = fs::read_to_string(expected).unwrap();
        let output = run(ours(&[file.to_str().unwrap()]));
        let (got, stderr) = (
            told(&output),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        if got != expected {
            wrong.push(format!(
                "{name}: expected\n{expected}got\n{got}stderr\n{stderr}"
            ));
        }
        if let Ok(lines) = fs::read_to_string(file.with_extension("err")) {
            for line in lines.lines().filter(|line| !stderr.contains(line)) {
                wrong.push(format!("{name}: no {line:?} in\n{stderr}"));
            }
        }
        let source = fs::read_to_string(&file).unwrap();
        if source.starts_with("// not in bare") {
            continue;
        }
        if let Some(command) = npms(&[file.to_str().unwrap()]) {
            let output = run(command);
            let got = told(&output);
            if got != expected {
                wrong.push(format!("{name}: npm's bare\n{got}expected\n{expected}"));
            }
            let stderr = String::from_utf8_lossy(&output.stderr);
            let lines = fs::read_to_string(file.with_extension("err")).unwrap_or_default();
            for line in lines
                .lines()
                .filter(|line| both_fail && !stderr.contains(line))
            {
                wrong.push(format!("{name}: npm's bare has no {line:?} in\n{stderr}"));
            }
        }
    }
    assert!(count > 0, "no programs in {}", folder.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
