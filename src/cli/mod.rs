//! The command line. `args` is what a person may type, `run` decides who does it (this process, or the store's owner), `command` does it, and `present`
//! shows it. Its contract is `docs/cli.md`.

mod app;
mod args;
mod backup;
mod bee;
mod cache;
mod check;
mod command;
mod core;
mod dht;
mod doctor;
mod drive;
mod failure;
mod frame;
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

use clap::Parser;
use std::{ffi::OsString, process::ExitCode};

/// Parses the command line and runs it.
pub(crate) fn main() -> ExitCode {
    // The same binary under the name that programs for Bare know.
    let mut args = std::env::args_os();
    let name = std::path::PathBuf::from(args.next().unwrap_or_default());
    if name.file_name() == Some("bare".as_ref()) {
        return pome_runtime::bare_main(args.map(|arg| arg.to_string_lossy().into_owned()));
    }
    let words: Vec<_> = match name.file_name() == Some("pear".as_ref()) {
        true => std::iter::once("pome".into())
            .chain(as_pear(args))
            .collect(),
        false => std::env::args_os().collect(),
    };
    let cli = match args::Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    run::run(cli)
}

/// Pear's words: the same, but that `--store` of `run` is the folder for what the app keeps.
fn as_pear(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut runs = None;
    args.map(move |arg| {
        let text = arg.to_string_lossy();
        let is_run = *runs.get_or_insert(text == "run");
        match text.strip_prefix("--store") {
            Some(rest) if is_run && (rest.is_empty() || rest.starts_with('=')) => {
                format!("--app-storage{rest}").into()
            }
            _ => arg,
        }
    })
}

/// Prints what clap has to say: help and version on stdout, complaints on stderr (and as JSON on stdout where `--json` was asked for).
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let message = text
            .lines()
            .next()
            .unwrap_or("usage")
            .trim_start_matches("error: ")
            .to_owned();
        let failure = failure::Failure::usage(message);
        println!("{}", failure.to_json());
    }
    // A closed pipe under `--help` is no error.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
