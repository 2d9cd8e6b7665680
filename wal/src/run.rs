//! Commits that are written by one call.

use crate::{
    Error,
    writer::{Shared, Writer},
};
use parking_lot::MutexGuard;

/// Small commits that are written to the log together: [`Log::run`](crate::Log::run). No other commit is made while it lives.
///
/// ```
/// # use pome_wal::{DeviceKind, Log, LogOptions};
/// # let dir = tempfile::tempdir()?;
/// # let log = Log::create(DeviceKind::Pwrite.open(dir.path())?, LogOptions::default(), 1)?;
/// let mut run = log.run()?;
/// assert_eq!(run.next_seq(), 1);
/// assert!(run.add(b"one")? && run.add(b"two")?);
/// run.write()?;
/// assert_eq!(log.committed_seq(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Run<'a> {
    shared: &'a Shared,
    writer: MutexGuard<'a, Writer>,
    /// A commit too large for the log itself was written already, and is all of this run.
    alone: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(shared: &'a Shared, mut writer: MutexGuard<'a, Writer>) -> Self {
        writer.unstage();
        Self {
            shared,
            writer,
            alone: false,
        }
    }

    /// The number that the commit which is added next will have, if all of them are written.
    pub fn next_seq(&self) -> u64 {
        self.writer.next_seq + self.writer.staged.commits
    }

    /// Adds a commit without payloads. False, and nothing is added: it does not fit behind the others; write them and begin another run.
    ///
    /// # Errors
    /// As [`Log::commit`](crate::Log::commit), of this commit alone.
    pub fn add(&mut self, body: &[u8]) -> Result<bool, Error> {
        if self.alone {
            return Ok(false);
        }
        if self.writer.add(self.shared, body)? {
            return Ok(true);
        }
        if self.writer.staged.commits > 0 {
            return Ok(false);
        }
        self.writer.commit(self.shared, body, &[])?;
        self.alone = true;
        Ok(true)
    }

    /// Writes what was added into the page cache: all of it, or nothing. What is only dropped was not committed.
    ///
    /// # Errors
    /// As [`Log::commit`](crate::Log::commit), of all of them.
    pub fn write(mut self) -> Result<(), Error> {
        self.writer.write_staged(self.shared)
    }
}
