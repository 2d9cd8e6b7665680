//! `pome run`: a program for Bare, in this process. Needs no store; a program has its own.

use super::args::RunArgs;
use pome_runtime::{Options, PearOptions, Runtime};
use std::{path::Path, process::ExitCode};

/// Runs the program to its end. Ends the process with SIGABRT where nobody caught an error, as Bare does.
pub(crate) fn run(args: RunArgs) -> ExitCode {
    let mut options = Options::default();
    options.memory_limit = args
        .memory_limit
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    options.npm = args.npm;
    let script = match (args.eval, args.print) {
        (Some(source), _) => Some((source, false)),
        (None, Some(source)) => Some((source, true)),
        (None, None) => None,
    };
    let mut app = args.app.into_iter();
    let file = match script {
        Some(_) => None,
        None => app.next(),
    };
    options.args = app.collect();
    if let Some(file) = &file {
        options.pear = match PearOptions::find(Path::new(file), &options.args) {
            Ok(pear) => pear,
            Err(error) => {
                eprintln!("{file}: no folder for what the app keeps: {error}");
                return ExitCode::FAILURE;
            }
        };
    }
    let runtime = Runtime::new(options);
    let exit = match (script, file) {
        (Some((source, print)), _) => runtime.eval(&source, print),
        (None, Some(file)) => runtime.run_file(Path::new(&file)),
        (None, None) => runtime.repl(),
    };
    exit.into_exit_code()
}
