//! How much a store holds, and how much of the disk it takes.

use crate::{
    Space, Store,
    error::{Error, Op},
    format::SPACE_BYTES,
    index::{SlotRef, Table},
    store::whole_key,
};
use bytes::Bytes;
use std::ops::Bound;

/// Sizes in bytes, as files have them (not blocks of the filesystem).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Info {
    /// Random name of the store, from its making.
    pub store_id: [u8; 16],
    /// Everything that tells something is encrypted.
    pub encrypted: bool,
    /// Version of the format.
    pub format_version: u32,
    /// Keys that have a value, as of the last checkpoint.
    pub keys: u64,
    /// Entries in memory that no checkpoint has yet written, deletions among them.
    pub memory_entries: u64,
    /// Sorted tables.
    pub tables: u64,
    /// Bytes of the tables.
    pub table_bytes: u64,
    /// Entries of the tables; those beyond `keys` are deletions, or hidden by newer ones.
    pub table_entries: u64,
    /// Bytes of the log that the next recovery would read.
    pub log_bytes: u64,
    /// Payload segments.
    pub payload_segments: u64,
    /// Bytes of the payload segments.
    pub payload_bytes: u64,
    /// Bytes of values in payload segments that are alive, as of the last checkpoint.
    pub live_payload_bytes: u64,
    /// Bytes of payload segments and tables that nothing needs, as of the last checkpoint, about: compaction gives them back.
    pub dead_bytes: u64,
    /// All files together.
    pub file_bytes: u64,
    /// What they take of the disk, as the filesystem counts it (whole blocks).
    pub allocated_bytes: u64,
    /// The newest commit.
    pub committed_seq: u64,
    /// The newest commit that is known to be on disk.
    pub synced_seq: u64,
    /// The newest commit that a checkpoint covers: recovery starts there.
    pub checkpoint_seq: u64,
    /// Checkpoints and merges so far.
    pub generation: u64,
    /// Commits, and how many syncs served them, since the store was opened.
    pub commits_since_open: u64,
    /// See `commits_since_open`.
    pub syncs_since_open: u64,
}

/// What one space holds. Sizes in bytes, as they were given: the disk needs a little more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpaceUsage {
    /// Keys that have a value.
    pub keys: u64,
    /// Bytes of the keys.
    pub key_bytes: u64,
    /// Bytes of the values.
    pub value_bytes: u64,
}

impl SpaceUsage {
    fn add(&mut self, key: &[u8], slot: SlotRef<'_>) {
        self.keys += 1;
        self.key_bytes += key.len().saturating_sub(SPACE_BYTES) as u64;
        self.value_bytes += match slot {
            SlotRef::Deleted => 0,
            SlotRef::Inline(value) => value.len() as u64,
            SlotRef::Payload(at) => u64::from(at.len),
        };
    }
}

impl Store {
    /// What `space` holds now. Walks its keys; reads no large value.
    ///
    /// # Errors
    /// `Corrupt`, `Io`, `Closed`.
    pub fn space_usage(&self, space: Space) -> Result<SpaceUsage, Error> {
        let mut usage = SpaceUsage::default();
        let low = Bytes::from(whole_key(space, &[]));
        let high = space
            .0
            .checked_add(1)
            .map(|next| Bytes::from(whole_key(Space(next), &[])));
        let high = high.map_or(Bound::Unbounded, Bound::Excluded);
        let low = Bound::Included(low);
        self.walk(&low, high, |key, slot| usage.add(key, slot))?;
        Ok(usage)
    }

    /// What each space holds now, in order; those without a key are left out. Walks all keys; reads no large value.
    ///
    /// # Errors
    /// As [`space_usage`](Self::space_usage).
    pub fn usage(&self) -> Result<Vec<(Space, SpaceUsage)>, Error> {
        let mut all: Vec<(Space, SpaceUsage)> = vec![];
        self.walk(&Bound::Unbounded, Bound::Unbounded, |key, slot| {
            let space = key.first_chunk().map_or(0, |s| u64::from_be_bytes(*s));
            if all.last().is_none_or(|(last, _)| last.0 != space) {
                all.push((Space(space), SpaceUsage::default()));
            }
            if let Some((_, usage)) = all.last_mut() {
                usage.add(key, slot);
            }
        })?;
        Ok(all)
    }

    fn walk(
        &self,
        low: &Bound<Bytes>,
        high: Bound<Bytes>,
        mut each: impl FnMut(&[u8], SlotRef<'_>),
    ) -> Result<(), Error> {
        let inner = self.inner();
        let view = inner.state.read().view();
        let mut walk = view.lender(low, high);
        while walk.step()? {
            inner.open_for_reads()?;
            let (key, slot) = walk.entry();
            each(key, slot);
        }
        Ok(())
    }

    /// Sizes and counts. Reads no data; asks the folder for its files.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    pub fn info(&self) -> Result<Info, Error> {
        let inner = self.inner();
        inner.open_for_reads()?;
        let mut info = Info {
            encrypted: inner.seal.is_some(),
            format_version: crate::format::FORMAT_VERSION,
            committed_seq: inner.log.committed_seq(),
            synced_seq: inner.log.synced_seq(),
            log_bytes: inner.log.log_bytes(),
            commits_since_open: inner.log.commits(),
            syncs_since_open: inner.log.syncs(),
            ..Info::default()
        };
        {
            let switch = inner.switch.lock();
            let manifest = &switch.manifest;
            info.store_id = switch.superblock().store_id;
            info.generation = manifest.generation;
            info.keys = manifest.keys;
            info.tables = manifest.tables.len() as u64;
            info.table_bytes = manifest.tables.iter().map(|t| t.len).sum();
            info.table_entries = manifest.tables.iter().map(|t| t.entries).sum();
            info.live_payload_bytes = manifest.live.iter().map(|(_, live)| live.bytes).sum();
            info.checkpoint_seq = manifest.start.seq;
        }
        info.dead_bytes = inner.dead_bytes();
        for (_, len) in inner.log.payload_segments() {
            info.payload_segments += 1;
            info.payload_bytes += len;
        }
        {
            let state = inner.state.read();
            let frozen: usize = state.lower.frozen.iter().map(|m| m.len()).sum();
            info.memory_entries = (state.memtable.len() + frozen) as u64;
        }
        let names = inner
            .device
            .list()
            .map_err(|e| Error::io(Op::List, &inner.name, e))?;
        for name in names {
            // A file may go between the listing and the question.
            if let Ok(file) = inner.device.open(&name, false) {
                info.file_bytes += file.len().unwrap_or(0);
                info.allocated_bytes += file.allocated().unwrap_or(0);
            }
        }
        Ok(info)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("name", &self.inner().name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("meta", &self.meta).finish()
    }
}
