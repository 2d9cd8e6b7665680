//! Drops what only dropped versions need.
//!
//! What goes is decided by entries alone: a block of the content core that an entry of a dropped version names (through its block map, if it has one),
//! and no entry of a kept version, and no mount. What no entry ever named stays: it may be content on its way to its entry. The drop is one commit with
//! the note of what is the oldest version now; a crash leaves all or nothing of it.

use crate::{
    BlobId, Blobs, Entry, Error, Hyperdrive,
    entry::{FILES, key_of},
    retention::{Record, Rows},
    vfs::mounted,
};
use futures_util::{StreamExt, TryStreamExt};
use pome_bee::{Hyperbee, RangeOptions};
use pome_cores::{Batch, Durability};
use std::ops::Range;

/// How often it is tried when the drive changes meanwhile.
const TRIES: usize = 4;

/// What a [`gc`](Hyperdrive::gc) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Collected {
    /// Blocks of the content core that were dropped.
    pub blocks: u64,
    /// Blocks of the database that were dropped.
    pub db_blocks: u64,
    /// The oldest version that can still be read here.
    pub oldest: u64,
}

/// Disjoint ranges of block numbers, in order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Blocks(Vec<Range<u64>>);

impl Blocks {
    fn add(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        // Contents come mostly in order: keeps the list short before it is sorted.
        match self.0.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.0.push(range),
        }
    }

    fn sorted(mut self) -> Self {
        self.0.sort_unstable_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::with_capacity(self.0.len());
        for range in self.0 {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// What is here and not in `other`; both sorted.
    fn without(&self, other: &Self) -> Self {
        let mut left = vec![];
        let mut others = other.0.iter().peekable();
        for range in &self.0 {
            let mut start = range.start;
            while let Some(hole) = others.peek() {
                if hole.end <= start {
                    others.next();
                    continue;
                }
                if hole.start >= range.end {
                    break;
                }
                if hole.start > start {
                    left.push(start..hole.start);
                }
                start = hole.end;
                if start >= range.end {
                    break;
                }
            }
            if start < range.end {
                left.push(start..range.end);
            }
        }
        Self(left)
    }

    /// Adds the blocks of a content.
    async fn add_blob(&mut self, blobs: &Blobs, blob: &BlobId) -> Result<(), Error> {
        let own = blob.block_offset..blob.block_offset.saturating_add(blob.block_length);
        // A map that is not here says nothing; and what it names may be here through others only.
        if blob.block_map && !own.is_empty() && blobs.core().has(own.clone()).await? {
            for block in blobs.map(blob).await?.blocks() {
                self.add(block.index..block.index.saturating_add(1));
            }
        }
        self.add(own);
        Ok(())
    }

    async fn add_block_of(&mut self, db: &Hyperbee, blobs: &Blobs, seq: u64) -> Result<(), Error> {
        let block = db.get_by_seq(seq).await?;
        if let Some(value) = &block.value
            && block.key.starts_with(FILES)
            && let Some(blob) = Entry::decode(seq, &block.key, Some(value))?.value.blob
        {
            self.add_blob(blobs, &blob).await?;
        }
        Ok(())
    }
}

impl Hyperdrive {
    /// Drops here what only versions need that the [rule](Self::set_retention) does not keep: contents, and blocks of the database. Peers that have
    /// them keep them. Versions that a mount still shows are kept until the next time. With nothing to drop it costs next to nothing, else it reads the
    /// list of files once.
    ///
    /// # Errors
    /// [`Error::NotWritable`], [`Error::BadEntry`], [`Error::BadRetention`], and from the store. Nothing was dropped then.
    pub async fn gc(&self) -> Result<Collected, Error> {
        self.check_writable()?;
        for _ in 0..TRIES {
            let Some((rows, record)) = self.retention_rule()? else {
                return Ok(Collected {
                    oldest: 1,
                    ..Collected::default()
                });
            };
            let version = self.version();
            rows.note(version)?;
            let used = self.in_use()?.0.unwrap_or(u64::MAX);
            let oldest = rows.wanted(&record, version)?.min(used).max(record.oldest);
            if oldest == record.oldest && record.left.is_empty() {
                return Ok(Collected {
                    oldest,
                    ..Collected::default()
                });
            }
            if let Some(done) = self.drop_below(&rows, &record, oldest, version).await? {
                mounted::renew(&self.key().to_string()).await;
                return Ok(done);
            }
        }
        // Somebody writes all the time; the next one tries again.
        let oldest = self.retention()?.oldest;
        Ok(Collected {
            oldest,
            ..Collected::default()
        })
    }

    /// `None` when the drive has changed meanwhile: nothing was done.
    async fn drop_below(
        &self,
        rows: &Rows,
        record: &Record,
        oldest: u64,
        version: u64,
    ) -> Result<Option<Collected>, Error> {
        // What is not here cannot be looked at, and must not be waited for.
        let db = self.db().clone().with_wait(false);
        let blobs = self.blobs().await?;
        let dropped = self.dropped(&db, blobs, record, oldest).await?;
        let kept = self.kept(&db, blobs, oldest, version).await?;
        let dead = dropped.without(&kept);
        let dead_db = dead_blocks(&db, record.oldest, oldest).await?;

        // No content is on its way, and no entry can be written, from here to the commit.
        let _lock = blobs.lock().await;
        let mut transaction = self.corestore().transaction();
        let core = blobs.core();
        transaction.clear(core, 0..0).await?;
        transaction.clear(self.core(), 0..0).await?;
        let (used_version, used) = self.in_use()?;
        if self.core().length().max(1) != version || used_version.is_some_and(|v| v < oldest) {
            return Ok(None);
        }
        let mut in_use = Blocks::default();
        for blob in &used {
            in_use.add_blob(blobs, blob).await?;
        }
        let now = dead.without(&in_use.sorted());
        let left = dead.without(&now);
        let mut done = Collected {
            oldest,
            ..Collected::default()
        };
        for range in now.0 {
            done.blocks += transaction.clear(core, range).await?;
        }
        for range in dead_db.0 {
            done.db_blocks += transaction.clear(self.core(), range).await?;
        }
        let record = Record {
            oldest,
            left: left.0.iter().map(|r| (r.start, r.end - r.start)).collect(),
            ..record.clone()
        };
        let mut batch = Batch::new();
        rows.put(&mut batch, &record);
        rows.forget_below(&mut batch, oldest);
        transaction.batch().extend(batch);
        transaction.commit(Durability::Buffered).await?;
        tracing::debug!(drive = %self.key(), oldest, blocks = done.blocks, "dropped old versions");
        Ok(Some(done))
    }

    /// The contents of the versions from the oldest until now to before `oldest`, and what the last time left.
    async fn dropped(
        &self,
        db: &Hyperbee,
        blobs: &Blobs,
        record: &Record,
        oldest: u64,
    ) -> Result<Blocks, Error> {
        let mut blocks = Blocks::default();
        for (start, count) in &record.left {
            blocks.add(*start..start.saturating_add(*count));
        }
        if oldest == record.oldest {
            return Ok(blocks.sorted());
        }
        for seq in record.oldest..oldest {
            blocks.add_block_of(db, blobs, seq).await?;
        }
        let (old, new) = (db.checkout(record.oldest), db.checkout(oldest));
        let mut differences = new.diff(&old, files()).boxed();
        while let Some(difference) = differences.try_next().await? {
            if let Some(entry) = difference.right
                && let Some(blob) = crate::hyperdrive::decode(entry)?.value.blob
            {
                blocks.add_blob(blobs, &blob).await?;
            }
        }
        Ok(blocks.sorted())
    }

    /// The contents of `oldest` and of all later versions.
    async fn kept(
        &self,
        db: &Hyperbee,
        blobs: &Blobs,
        oldest: u64,
        version: u64,
    ) -> Result<Blocks, Error> {
        let mut blocks = Blocks::default();
        let mut entries = db.checkout(oldest).range(files()).boxed();
        while let Some(entry) = entries.try_next().await? {
            if let Some(blob) = crate::hyperdrive::decode(entry)?.value.blob {
                blocks.add_blob(blobs, &blob).await?;
            }
        }
        for seq in oldest.max(1)..version {
            blocks.add_block_of(db, blobs, seq).await?;
        }
        Ok(blocks.sorted())
    }
}

/// All files.
fn files() -> RangeOptions {
    RangeOptions::new()
        .with_gte(FILES)
        .with_lt(key_of(b"files\x01", ""))
}

/// The blocks of the database below version `oldest` that neither it nor a later version needs. Those below `before` were looked at the last time, but
/// may have become needless since.
async fn dead_blocks(db: &Hyperbee, before: u64, oldest: u64) -> Result<Blocks, Error> {
    if oldest <= before {
        return Ok(Blocks::default());
    }
    let mut needed = Blocks::default();
    for seq in db.checkout(oldest).tree_blocks().await? {
        needed.add(seq..seq + 1);
    }
    let mut all = Blocks::default();
    // Block 0 is the header; the last one below is the root.
    all.add(1..oldest);
    Ok(all.without(&needed.sorted()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn blocks(ranges: &[(u64, u64)]) -> Blocks {
        let mut blocks = Blocks::default();
        for (start, len) in ranges {
            blocks.add(*start..start + len);
        }
        blocks.sorted()
    }

    fn set(blocks: &Blocks) -> BTreeSet<u64> {
        blocks.0.iter().cloned().flatten().collect()
    }

    proptest! {
        #[test]
        fn ranges_are_sets(
            a in prop::collection::vec((0u64..60, 0u64..9), 0..12),
            b in prop::collection::vec((0u64..60, 0u64..9), 0..12),
        ) {
            let plain = |ranges: &[(u64, u64)]| -> BTreeSet<u64> {
                ranges.iter().flat_map(|(start, len)| *start..start + len).collect()
            };
            let (x, y) = (blocks(&a), blocks(&b));
            prop_assert_eq!(set(&x), plain(&a));
            let left = x.without(&y);
            prop_assert_eq!(set(&left), plain(&a).difference(&plain(&b)).copied().collect());
            prop_assert_eq!(left.clone().sorted(), left);
        }
    }
}
