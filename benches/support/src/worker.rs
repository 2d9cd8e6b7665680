//! The side of the process that does the work.

use serde::{Deserialize, Serialize};
use std::{
    io::{self, BufRead, Write},
    time::Instant,
};

/// What a process says when its work is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// How many of what is counted: blocks, entries, files, connections.
    pub items: u64,
    /// Bytes of content that they have.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
    /// Who did it, and which version.
    pub version: String,
}

/// A process that does one piece of work, as whoever started it expects it: it makes all ready, says so on stdout (`{"ready":true}`), waits for a line on stdin, does the work,
/// says how it went (a line that is a [`Done`]), and waits until stdin ends, so that it can be looked at.
#[derive(Debug)]
pub struct Worker(Instant);

impl Worker {
    /// All is ready: says so, and begins when it may.
    ///
    /// # Errors
    /// When nobody is there to say it to, or who is there does not want the work any more.
    pub fn ready() -> io::Result<Self> {
        let mut out = io::stdout();
        writeln!(out, "{{\"ready\":true}}")?;
        out.flush()?;
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(Self(Instant::now())),
        }
    }

    /// The work is done: says so, and returns when this was looked at.
    ///
    /// # Errors
    /// When nobody is there to say it to.
    pub fn done(self, items: u64, bytes: u64, version: &str) -> io::Result<()> {
        let seconds = self.0.elapsed().as_secs_f64();
        self.done_in(seconds, items, bytes, version)
    }

    /// As [`done`](Self::done), where only a part of the time since it began counts.
    ///
    /// # Errors
    /// When nobody is there to say it to.
    pub fn done_in(self, seconds: f64, items: u64, bytes: u64, version: &str) -> io::Result<()> {
        let done = Done {
            items,
            bytes,
            seconds,
            version: version.into(),
        };
        let mut out = io::stdout();
        writeln!(out, "{}", serde_json::to_string(&done)?)?;
        out.flush()?;
        io::copy(&mut io::stdin().lock(), &mut io::sink())?;
        Ok(())
    }
}
