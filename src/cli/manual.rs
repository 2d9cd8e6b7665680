//! `pome completions` and `pome man`.

use super::{
    args::{Cli, Shell},
    failure::Failure,
};
use clap::CommandFactory;
use std::io::Write;

fn print(bytes: &[u8]) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::io("cannot write to stdout", &e))
        }
        _ => Ok(()),
    }
}

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    use clap_complete::Shell as To;
    let shell = match shell {
        Shell::Bash => To::Bash,
        Shell::Elvish => To::Elvish,
        Shell::Fish => To::Fish,
        Shell::PowerShell => To::PowerShell,
        Shell::Zsh => To::Zsh,
    };
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "pome", &mut out);
    print(&out)
}

pub(crate) fn man() -> Result<(), Failure> {
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut out)
        .map_err(|e| Failure::io("the man page", &e))?;
    print(&out)
}
