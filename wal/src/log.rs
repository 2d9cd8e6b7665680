//! The face of the log.

use crate::{Device, Error};
use bytes::Bytes;
use std::{ops::Range, sync::Arc};

/// How the log uses the disk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogOptions {
    /// Size of a log segment in bytes, written full of zeros when it is made (default 2 MiB, at least 4 KiB).
    pub log_segment_bytes: u64,
    /// Size in bytes at which a payload segment is sealed and the next begun (default 64 MiB). A larger frame gets a segment of its own.
    pub payload_segment_bytes: u64,
    /// How many unused log segments are kept for reuse (default 1); the others are deleted.
    pub free_segments: usize,
    /// Recover in memory only and write nothing; commits answer [`Error::ReadOnly`] (default false).
    pub read_only: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            log_segment_bytes: 2 << 20,
            payload_segment_bytes: 64 << 20,
            free_segments: 1,
            read_only: false,
        }
    }
}

/// Where a payload lies. What an index stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PayloadRef {
    /// Number of the payload segment (from 1).
    pub segment: u32,
    /// Where it starts in the segment, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u32,
    /// Its crc32.
    pub crc: u32,
}

/// Where recovery starts: what a checkpoint must remember of the log. Store all fields (or [`to_bytes`](Self::to_bytes)) in the
/// superblock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// The newest commit that the checkpoint covers; replay begins with the next.
    pub seq: u64,
    /// Names this log, so that files of another are not taken for its own. Random, chosen at [`Log::create`].
    pub log_id: u64,
    /// The log segment that was written to at that moment: it must exist.
    pub log: u32,
    /// The payload segment that was written to and its length then: where scanning starts. `None`: there was none yet.
    pub payload: Option<(u32, u64)>,
}

impl Start {
    /// The 32 bytes of it: `seq u64 ‖ log_id u64 ‖ log u32 ‖ payload segment u32 (0: none) ‖ payload offset u64`, little-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        let (segment, offset) = self.payload.unwrap_or((0, 0));
        let mut out = [0; 32];
        out[..8].copy_from_slice(&self.seq.to_le_bytes());
        out[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        out[16..20].copy_from_slice(&self.log.to_le_bytes());
        out[20..24].copy_from_slice(&segment.to_le_bytes());
        out[24..].copy_from_slice(&offset.to_le_bytes());
        out
    }
    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let segment = u32_at(20);
        Self {
            seq: u64_at(0),
            log_id: u64_at(8),
            log: u32_at(16),
            payload: (segment != 0).then(|| (segment, u64_at(24))),
        }
    }
}

/// One commit, as recovery hands it over; in order of `seq`.
#[derive(Debug)]
pub struct Replayed<'a> {
    /// Its number.
    pub seq: u64,
    /// What was given to [`Log::commit`].
    pub body: &'a [u8],
    /// Where its payloads lie, in the order in which they were given.
    pub payloads: Vec<PayloadRef>,
}

/// What [`Log::commit`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The number of the commit.
    pub seq: u64,
    /// Where its payloads lie, in the order in which they were given.
    pub payloads: Vec<PayloadRef>,
}

/// What recovery found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// How many commits were handed to `replay`.
    pub replayed: u64,
    /// The newest commit (that of the start when none was replayed).
    pub last_seq: u64,
    /// The newest commit known to have been on disk before.
    pub mark: u64,
    /// How many commits past the mark were written again and synced.
    pub rewritten: u64,
    /// The bad end that was cut, if there was one. Normal after a crash.
    pub torn: Option<Torn>,
    /// What is lost though it should be there, in order. Empty unless the disk failed or somebody changed the files.
    pub damage: Vec<Damage>,
}

/// A bad end of the log: never synced, cut at recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Where the first bad frame lies, if a part of it was there.
    pub file: Option<String>,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// The commits that were cut: from the first that is missing or bad to past the newest of which a trace was seen.
    pub seqs: Range<u64>,
}

/// Commits that should be there and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file with the bad bytes, where one was found.
    pub file: Option<String>,
    /// Where the bad frame starts in the file, in bytes (0 when there is no file).
    pub offset: u64,
    /// The lost commits. Empty when a file is missing or foreign but no commit is known to be lost with it.
    pub seqs: Range<u64>,
}

/// An open log.
pub struct Log {
    device: Arc<dyn Device>,
}

impl Log {
    /// Makes a new log in the folder; `log_id` is a random number. Its files are on disk when this returns, so store
    /// [`position`](Self::position) afterwards. Leftovers of a creation that was cut short are used; [`Error::Exists`] when there are commits.
    pub fn create(
        device: Arc<dyn Device>,
        options: LogOptions,
        log_id: u64,
    ) -> Result<Self, Error> {
        let _ = (options, log_id);
        Ok(Self { device })
    }
    /// Opens the log and hands every commit past `start` to `replay`, in order. What was not known to be on disk is written
    /// again and synced before this returns. An error of `replay` ends it.
    pub fn open<E: From<Error>>(
        device: Arc<dyn Device>,
        options: LogOptions,
        start: Start,
        mut replay: impl FnMut(Replayed<'_>) -> Result<(), E>,
    ) -> Result<(Self, Recovery), E> {
        let _ = (options, start);
        if false {
            replay(Replayed {
                seq: 0,
                body: &[],
                payloads: vec![],
            })?;
        }
        Ok((Self { device }, Recovery::default()))
    }
    /// Appends one commit: one write into the page cache, so it survives the end of this process but not a power cut until
    /// [`wait_synced`](Self::wait_synced). The caller serialises commits. A full disk fails this commit alone.
    pub fn commit(&self, body: &[u8], payloads: &[Bytes]) -> Result<Committed, Error> {
        let _ = (body, payloads, &self.device);
        Err(Error::Closed)
    }
    /// Blocks until commit `seq` is on disk; all that wait at the same time share one fdatasync.
    pub fn wait_synced(&self, seq: u64) -> Result<(), Error> {
        let _ = seq;
        Err(Error::Closed)
    }
    /// Blocks until everything committed so far is on disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.wait_synced(self.committed_seq())
    }
    /// The newest commit that is known to be on disk.
    pub fn synced_seq(&self) -> u64 {
        0
    }
    /// The newest commit.
    pub fn committed_seq(&self) -> u64 {
        0
    }
    /// How many commits were made since this log was opened.
    pub fn commits(&self) -> u64 {
        0
    }
    /// How many syncs (each of one or two files) served them.
    pub fn syncs(&self) -> u64 {
        0
    }
    /// Writes down how far the log is synced, when the newest frame does not say it. Call it when idle.
    pub fn mark(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }
    /// Syncs, marks, syncs the mark. Later commits answer [`Error::Closed`]; reads go on.
    pub fn close(&self) -> Result<(), Error> {
        Err(Error::Closed)
    }
    /// The bytes of a payload, checked, without a copy. [`Error::Corrupt`] when they are not what was committed.
    pub fn read(&self, at: &PayloadRef) -> Result<Bytes, Error> {
        let _ = at;
        Err(Error::Closed)
    }
    /// Where a checkpoint that covers every commit so far would start. (Take it with commits held off.)
    pub fn position(&self) -> Start {
        Start {
            seq: 0,
            log_id: 0,
            log: 0,
            payload: None,
        }
    }
    /// Tells that a checkpoint with this start is on disk: log segments wholly at or below it are reused or deleted.
    pub fn release(&self, checkpointed: &Start) -> Result<(), Error> {
        let _ = checkpointed;
        Err(Error::Closed)
    }
    /// The payload segments and their lengths in bytes, in order. The last is the one being written.
    pub fn payload_segments(&self) -> Vec<(u32, u64)> {
        Vec::new()
    }
    /// Deletes a payload segment in which nothing is alive; views of it stay valid. It must lie below the last released
    /// start ([`Error::StillNeeded`]), since its frames hold commits.
    pub fn remove_payload_segment(&self, segment: u32) -> Result<(), Error> {
        let _ = segment;
        Err(Error::Closed)
    }
    /// Bytes of log frames written since the last release (what recovery would read).
    pub fn log_bytes(&self) -> u64 {
        0
    }
    /// Bytes written to payload segments since `start`.
    pub fn payload_bytes_since(&self, start: &Start) -> u64 {
        let _ = start;
        0
    }
}
