//! What the owner of a store needs to keep it below a limit.

use crate::{Store, error::Error};

/// A segment is not ended before it has this many bytes.
const SEGMENT_MIN: u64 = 64 << 10;

impl Store {
    /// Bytes that the folder takes, as the filesystem counts them (whole blocks). Asks the folder for its files.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    pub fn allocated(&self) -> Result<u64, Error> {
        let inner = self.inner();
        inner.open_for_reads()?;
        inner.allocated()
    }

    /// Ends the payload segment that is written to, if it has `bytes` or more (at least 64 KiB): space is given back by segments, so small ones are given back
    /// without moving what lives beside what is dead. Does nothing while a compaction is at work.
    ///
    /// # Errors
    /// As a commit.
    pub fn end_segment(&self, bytes: u64) -> Result<(), Error> {
        let inner = self.inner();
        inner.alive()?;
        let Some(_alone) = inner.compacting.try_lock() else {
            return Ok(());
        };
        let active = inner.log.active_payload_segment();
        let files = inner.log.payload_segments();
        let len = files.iter().find(|(number, _)| Some(*number) == active);
        if len.is_some_and(|(_, len)| *len >= bytes.max(SEGMENT_MIN)) {
            (inner.log.seal_payload_segment()).map_err(|e| inner.poison(e.into()))?;
        }
        Ok(())
    }
}
