//! Processes that talk in lines of JSON.

use crate::npm_folder;
use serde_json::Value;
use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A process that says lines of JSON, and reads such. Dropped, it is killed.
pub struct JsonProcess {
    child: Child,
    input: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl JsonProcess {
    /// Starts it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            input: child.stdin.take().expect("a pipe"),
            lines: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        }
    }

    /// Starts a script of `tests/interop`, which runs npm modules.
    ///
    /// # Panics
    /// As [`spawn`](Self::spawn).
    pub fn npm(script: &str, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        Self::spawn(
            Command::new("node")
                .arg(npm_folder().join(script))
                .args(args),
        )
    }

    /// What it says next.
    ///
    /// # Panics
    /// When that is no JSON, or it has ended.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it is read");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Says something to it.
    ///
    /// # Panics
    /// When it has ended.
    pub fn send(&mut self, what: &Value) {
        writeln!(self.input, "{what}").expect("it listens");
    }

    /// Tells it to do something, and waits for its answer.
    ///
    /// # Panics
    /// When the answer is an error; as [`line`](Self::line).
    pub fn tell(&mut self, what: &Value) -> Value {
        self.send(what);
        let answer = self.line();
        assert!(answer["error"].is_null(), "{what}: {answer}");
        answer
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When that cannot be waited for.
    pub fn wait(&mut self) {
        self.child.wait().expect("it is a child");
    }
}

impl Drop for JsonProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
