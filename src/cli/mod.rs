//! The command line. `args` is what a person may type, `run` decides who does it (this process, or the store's owner), `command` does it, and `present`
//! shows it. Its contract is `docs/cli.md`.

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
use std::process::ExitCode;

/// Parses the command line and runs it.
pub(crate) fn main() -> ExitCode {
    // The same binary under the name that programs for Bare know.
    let mut args = std::env::args_os();
    let name = std::path::PathBuf::from(args.next().unwrap_or_default());
    if name.file_name() == Some("bare".as_ref()) {
        return pome_runtime::bare_main(args.map(|arg| arg.to_string_lossy().into_owned()));
    }
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    run::run(cli)
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
