//! Mark and sweep: reads say which blocks are wanted, a sweep drops the others.
//!
//! Source: hypercore 11.37.1, `index.js` (`startMarking`, `markBlock`, `sweep`). The marks are stored, so that a sweep may come after a restart.

use std::{ops::Range, sync::atomic::Ordering};

use pome_storage::Batch;

use crate::{error::Error, hypercore::Hypercore, layout};

/// Mark and sweep.
impl Hypercore {
    /// Forgets old marks; from now on each [`get`](Self::get) of this session, and of those made from it later, marks its block. What reads through a
    /// cache (a Hyperbee) may leave blocks unmarked that it needs: mark those by hand.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed); [`InvalidOperation`](Error::InvalidOperation) on a branch, or when it marks already; or from the store.
    pub async fn start_marking(&self) -> Result<(), Error> {
        self.check_marks()?;
        if self.session.marking.load(Ordering::Acquire) {
            return Err(self.refused("it marks already"));
        }
        self.clear_marks().await?;
        self.session.marking.store(true, Ordering::Release);
        Ok(())
    }

    /// Marks blocks, whether this session marks or not.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`InvalidOperation`](Error::InvalidOperation) on a branch, or from the store.
    pub async fn mark(&self, blocks: Range<u64>) -> Result<(), Error> {
        self.check_marks()?;
        self.put_mark(blocks)
    }

    /// Forgets all marks.
    ///
    /// # Errors
    /// As [`mark`](Self::mark).
    pub async fn clear_marks(&self) -> Result<(), Error> {
        self.check_marks()?;
        let (start, end) = layout::marks_range();
        let mut batch = Batch::new();
        batch.delete_range(self.session.core.space, start, end);
        self.session.registry.commit(batch)?;
        Ok(())
    }

    /// Clears all blocks that are not marked, ends the marking of this session and forgets the marks. Answers how many blocks went. Blocks that are
    /// appended meanwhile stay. On the only copy what goes is gone.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`InvalidOperation`](Error::InvalidOperation) on a snapshot or a branch, or from the store. The marks stay then.
    pub async fn sweep(&self) -> Result<u64, Error> {
        self.check_marks()?;
        if self.is_snapshot() {
            return Err(self.refused("a snapshot does not change"));
        }
        let core = &self.session.core;
        let length = self.length();
        let (first, last) = layout::marks_range();
        let snapshot = core.store.snapshot();
        let (mut cleared, mut next) = (0, 0);
        for entry in snapshot.range(core.space, &first[..]..&last[..]) {
            let (key, value) = entry?;
            let (start, end) = (layout::number(&key)?, layout::mark_end(&value)?);
            if next < start.min(length) {
                cleared += self.clear(next..start.min(length)).await?;
            }
            next = next.max(end);
        }
        if next < length {
            cleared += self.clear(next..length).await?;
        }
        self.session.marking.store(false, Ordering::Release);
        self.clear_marks().await?;
        Ok(cleared)
    }

    /// A block was read.
    pub(crate) fn mark_read(&self, index: u64) -> Result<(), Error> {
        match self.session.marking.load(Ordering::Acquire) {
            true => self.put_mark(index..index.saturating_add(1)),
            false => Ok(()),
        }
    }

    fn put_mark(&self, Range { start, end }: Range<u64>) -> Result<(), Error> {
        let core = &self.session.core;
        let key = layout::mark_key(start);
        let there = core.store.get(core.space, &key)?;
        let there = there.map(|value| layout::mark_end(&value)).transpose()?;
        if start >= end || there.is_some_and(|there| there >= end) {
            return Ok(());
        }
        let mut batch = Batch::new();
        batch.put(core.space, key, end.to_le_bytes().to_vec());
        self.session.registry.commit(batch)?;
        Ok(())
    }

    fn check_marks(&self) -> Result<(), Error> {
        self.session.check_open()?;
        match self.session.core.is_branch() {
            true => Err(self.refused("a branch is not swept")),
            false => Ok(()),
        }
    }

    fn refused(&self, what: &'static str) -> Error {
        Error::InvalidOperation {
            key: self.key(),
            what,
        }
    }
}
