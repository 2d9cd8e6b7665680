//! The `pome` command: parses, runs, and turns the outcome into an exit status.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
