//! Benchmarks that go over a network run in one of their own.

use std::{io, process::Command};

/// The same command in a network namespace with nothing but loopback. It is the same process: whoever waits for it or looks at it sees the command.
pub fn in_namespace(command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped
        .args(["-rn", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped
}

/// Runs this program again, with the same arguments and `inside` behind them, in a network namespace with nothing but loopback.
///
/// # Errors
/// When `unshare` or `ip` is missing, or when the program fails.
pub fn run_in_namespace(inside: &str) -> io::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).arg(inside);
    match in_namespace(&command).status()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("it failed in its namespace")),
    }
}
