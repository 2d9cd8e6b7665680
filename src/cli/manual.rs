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

/// The page of the program, or of the command that these words are.
pub(crate) fn man(words: &[String]) -> Result<(), Failure> {
    let mut program = Cli::command();
    // Until then a command has neither its whole name nor the options that all have.
    program.build();
    let mut command = &program;
    for word in words {
        command = command.find_subcommand(word).ok_or_else(|| {
            Failure::usage(format!("there is no command `pome {}`", words.join(" ")))
        })?;
    }
    let mut out = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut out)
        .map_err(|e| Failure::io("the man page", &e))?;
    print(&out)
}
