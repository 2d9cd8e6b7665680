//! The command line. `args` is what a person may type, `run` decides who does it (this process, or the store's owner), `command` does it, and `present`
//! shows it. Its contract is `docs/cli.md`.

mod app;
mod args;
mod backup;
mod bee;
mod bench;
mod cache;
mod check;
mod command;
mod core;
mod dht;
mod doctor;
mod drive;
mod failure;
mod frame;
mod fstab;
mod held;
mod io;
mod keeper;
mod keys;
mod limit;
mod manual;
mod mirror;
mod mount;
mod names;
mod network;
mod owner;
mod peers;
mod pin;
mod present;
mod run;
mod runtime;
mod service;
mod share;
mod space;
mod store;
mod swarms;

use app::args::RunArgs;
use clap::Parser;
use pome_runtime::PearLink;
use std::{ffi::OsString, io::Write, process::ExitCode};

/// Parses the command line and runs it.
pub(crate) fn main() -> ExitCode {
    // Before anything is opened: what the starter of this process left open for it is told from the rest by its number alone.
    pome_runtime::claim_channel();
    // The same binary under the name that programs for Bare know.
    let mut args = std::env::args_os();
    let name = std::path::PathBuf::from(args.next().unwrap_or_default());
    if name.file_name() == Some("bare".as_ref()) {
        return pome_runtime::bare_main(args.map(|arg| arg.to_string_lossy().into_owned()));
    }
    if name.file_name() == Some("mount.pome".as_ref()) {
        return fstab::main(args);
    }
    let words: Vec<_> = match name.file_name() == Some("pear".as_ref()) {
        true => std::iter::once("pome".into())
            .chain(as_pear(args))
            .collect(),
        false => std::env::args_os().collect(),
    };
    if let Some(args) = plain_run(&words) {
        return run::plain(args);
    }
    let cli = match args::Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    run::run(cli)
}

/// `run` and a file with nothing between them, as most programs start: taken apart without the table of all words, which costs more time and memory
/// than the engine. `None`: it is something else.
fn plain_run(words: &[OsString]) -> Option<RunArgs> {
    let [_, run, app @ ..] = words else {
        return None;
    };
    let texts = app.iter().map(|word| word.to_str().map(str::to_owned));
    let app = texts.collect::<Option<Vec<_>>>()?;
    let file = app.first()?;
    let is_plain = !file.starts_with('-') && !PearLink::is_link(file);
    // What the environment says is checked for every word alike.
    let begins = match std::env::var_os("POME_BOOTSTRAP") {
        Some(nodes) => args::bootstrap(nodes.to_str()?).is_ok(),
        None => true,
    };
    (run == "run" && is_plain && begins).then(|| RunArgs {
        app,
        ..RunArgs::default()
    })
}

/// Pear's words: the same, but for `--store` of `run`, which is the folder for what the app keeps, and for the flags in front of all words, which are about
/// what is said on stderr.
fn as_pear(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words = Vec::new();
    let mut args = args.peekable();
    while let Some(flag) = args.next_if(|arg| arg.to_string_lossy().starts_with('-')) {
        let flag = flag.to_string_lossy().into_owned();
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag.as_str(), None),
        };
        let mut value = || {
            let next = || {
                args.next()
                    .map(|value| value.to_string_lossy().into_owned())
            };
            value.clone().or_else(next).unwrap_or_default()
        };
        match name {
            "-v" => words.push("--version".into()),
            "--log" => words.push("--verbose".into()),
            "-L" | "--log-level" => match value().to_lowercase().as_str() {
                "0" | "off" | "1" | "err" | "error" => words.push("--quiet".into()),
                "2" | "inf" | "info" => words.push("--verbose".into()),
                "3" | "trc" | "trace" => words.push("-vvv".into()),
                // Not a level: clap says so.
                _ => words.push(flag.clone().into()),
            },
            // What a line has is always the same.
            "-l" | "--log-labels" | "-F" | "--log-fields" => drop(value()),
            "-V" | "--log-verbose" | "-S" | "--log-stacks" | "-M" | "--log-max" | "--sidecar" => {}
            _ => words.push(flag.clone().into()),
        }
    }
    let runs = args.peek().is_some_and(|word| word == "run");
    let rest = args.map(|arg| {
        let text = arg.to_string_lossy();
        match text.strip_prefix("--store") {
            Some(rest) if runs && (rest.is_empty() || rest.starts_with('=')) => {
                format!("--app-storage{rest}").into()
            }
            _ => arg,
        }
    });
    words.extend(rest);
    words
}

/// Prints what clap has to say: help and version on stdout, complaints on stderr (and as JSON on stdout where `--json` was asked for).
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let failure = failure::Failure::usage(complaint(&error.render().to_string()));
        // Nobody may be left to read it; the exit status still says it.
        let _ = writeln!(std::io::stdout(), "{}", failure.to_json());
    }
    // A closed pipe under `--help` is no error.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// What clap complains of, on one line: all that stands in front of the usage and the tips.
fn complaint(rendered: &str) -> String {
    let lines = rendered.lines().take_while(|line| !line.is_empty());
    let words: Vec<_> = lines.map(str::trim).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_run_is_what_the_whole_table_makes_of_it() {
        let parsed = |line: &[&str]| match args::Cli::try_parse_from(line).unwrap().command {
            args::Command::Run(args) => args,
            other => panic!("{other:?}"),
        };
        let plain: &[&[&str]] = &[
            &["a.js"],
            &["a.js", "--eval", "x", "-t"],
            &["a.js", "--", "b"],
            &["a.js", "-h", "--version", ""],
            &[".", "run"],
            &["dir/a b.mjs", "pear://x"],
        ];
        for app in plain {
            let line = [&["pome", "run"], *app].concat();
            let words: Vec<OsString> = line.iter().map(OsString::from).collect();
            let made = plain_run(&words).map(|args| format!("{args:?}"));
            assert_eq!(made, Some(format!("{:?}", parsed(&line))), "{line:?}");
        }
        let others: &[&[&str]] = &[
            &["pome"],
            &["pome", "run"],
            &["pome", "run", "-t", "a.js"],
            &["pome", "run", "--", "a.js"],
            &["pome", "run", "-"],
            &["pome", "run", "pear://keet"],
            &["pome", "-q", "run", "a.js"],
            &["pome", "init", "a.js"],
        ];
        for line in others {
            let words: Vec<OsString> = line.iter().map(OsString::from).collect();
            assert!(plain_run(&words).is_none(), "{line:?}");
        }
    }

    #[test]
    fn the_words_of_pear() {
        for (line, words) in [
            ("run -d .", "run -d ."),
            (
                "run --store x a --store=y",
                "run --app-storage x a --app-storage=y",
            ),
            ("stage --store x", "stage --store x"),
            ("-v", "--version"),
            ("--log run a", "--verbose run a"),
            (
                "-L 3 -l a,b --log-fields=x -V --sidecar run a -v",
                "-vvv run a -v",
            ),
            ("--log-level=off --log-max info", "--quiet info"),
            ("--log-level loud run", "--log-level run"),
            ("--json data", "--json data"),
        ] {
            let made = as_pear(line.split(' ').map(OsString::from));
            let wanted: Vec<_> = words.split(' ').map(OsString::from).collect();
            assert_eq!(made, wanted, "{line}");
        }
    }
}
