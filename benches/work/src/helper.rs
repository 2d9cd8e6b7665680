//! A process at the other end of a measurement.

use crate::Result;
use serde::de::DeserializeOwned;
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A process that answers lines with lines; it is ended when it is dropped.
#[derive(Debug)]
pub struct Helper {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self {
            child,
            input,
            output,
        })
    }

    /// This program again, as [`run`](crate::run) understands it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn ours(words: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "--worker"]).args(words);
        Self::start(command)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it says next.
    ///
    /// # Errors
    /// When it has ended, or says something else.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Tells it something.
    ///
    /// # Errors
    /// When it has ended.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().ok_or("it has ended")?;
        Ok(writeln!(input, "{line}")?)
    }

    /// Has it end, and waits for that.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn end(mut self) -> Result<()> {
        self.input = None;
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the other side ended with {status}").into()),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.input = None;
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
