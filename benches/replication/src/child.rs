//! One side of a replication, in a process of its own.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

use crate::Result;

/// Whose replication it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Pome,
    Npm,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pome => "pome",
            Self::Npm => "npm",
        }
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a role: its name and words, then numbers.
    pub(crate) fn start(
        engine: Engine,
        folder: &Path,
        words: &[&str],
        numbers: &[usize],
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut command = match engine {
            Engine::Pome => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--alone");
                command
            }
            Engine::Npm => {
                let mut command = Command::new("node");
                command.arg(script("../peers/npm/replication.js"));
                command
            }
        };
        let (role, rest) = words.split_first().ok_or("a role is wanted")?;
        let mut process = command
            .arg(role)
            .arg(folder)
            .args(rest)
            .args(numbers.iter().map(usize::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = process.stdout.take().ok_or("no stdout")?;
        Ok(Self {
            stdin: process.stdin.take(),
            stdout: BufReader::new(stdout),
            process,
        })
    }

    pub(crate) fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<f64> {
        let line = self.line()?;
        Ok(line[name].as_f64().ok_or("no such number")?)
    }

    /// Key and port that it prints when it serves.
    pub(crate) fn address(&mut self) -> Result<(String, String)> {
        let line = self.line()?;
        let key = line["key"].as_str().ok_or("no key")?.to_owned();
        Ok((key, line["port"].to_string()))
    }

    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("it has ended")?;
        Ok(writeln!(stdin, "{line}")?)
    }

    /// Has it end, and waits for that.
    pub(crate) fn end(mut self) -> Result<()> {
        self.stdin = None;
        let status = self.process.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("a side ended with {status}").into()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stdin = None;
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn npm_line(script_name: &str, words: &[String]) -> Result<Value> {
    let output = Command::new("node")
        .arg(script(script_name))
        .args(words)
        .stderr(Stdio::inherit())
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Seconds that npm's secret stream takes in memory.
pub(crate) fn npm_stream(size: usize, count: usize) -> Result<f64> {
    let words = [size.to_string(), count.to_string()];
    let line = npm_line("../peers/npm/stream.js", &words)?;
    Ok(line["seconds"].as_f64().ok_or("no seconds")?)
}

pub(crate) fn npm_versions() -> Result<Vec<String>> {
    let line = npm_line("../peers/npm/replication.js", &["versions".into()])?;
    let versions = line["versions"].as_array().ok_or("no versions")?;
    Ok(versions
        .iter()
        .filter_map(|version| Some(version.as_str()?.to_owned()))
        .collect())
}
