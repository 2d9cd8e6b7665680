//! The small words of the store: spaces, commit numbers, durability, and how to open it.

use crate::Key;
use rand::TryRng;
use std::time::Duration;

/// Which keyspace a key belongs to. Each core has its own, each local keyspace has its own. Ordered by (space, key bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(pub u64);

/// Number of a commit; they start at 1 and grow by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// When a commit is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the kernel has it: survives the end of this process, not a power cut; synced in the background within 200 ms.
    #[default]
    Buffered,
    /// When the disk has it.
    Synced,
}

/// How to open a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Make a store where there is none (default true).
    pub create: bool,
    /// Refuse to write (default false).
    pub read_only: bool,
    /// A checkpoint is written when the log has grown by so many bytes (default 16 MiB). Bounds the memory of what is new (about three times as much)
    /// and the time of recovery.
    pub checkpoint_log_bytes: u64,
    /// The same for payload bytes (default 256 MiB): recovery reads them all.
    pub checkpoint_payload_bytes: u64,
    /// A buffered commit is on disk after this (default 200 ms).
    pub sync_interval: Duration,
    /// Size of a segment of the recycled log (default 2 MiB).
    pub log_segment_bytes: u64,
    /// Size at which a payload segment is sealed (default 64 MiB).
    pub payload_segment_bytes: u64,
    /// A store in which nothing was committed for this long gives back the space of what is dead (default 1 s). Without a pause it does so too, when
    /// more is dead.
    pub idle_after: Duration,
    /// An idle store puts up with so many dead bytes for each 100 live ones (default 12) …
    pub dead_percent: u64,
    /// … and with so many dead bytes in any case (default 1 MiB).
    pub dead_bytes: u64,
    /// While others commit, compaction works for this part of the time, in percent (default 25, at least 1).
    pub compaction_percent: u32,
    /// How long a close may take to give space back (default 2 s; only with `background`). The next open goes on.
    pub close_budget: Duration,
    /// Run threads that sync, checkpoint, merge and compact (default true). Without them nothing happens unless it is asked for: for simulations.
    pub background: bool,
    /// Opens an encrypted store; a store that is made is encrypted with it (default `None`).
    pub key: Option<Key>,
    /// Memory for the parts of an encrypted store's tables that were read and may be read again (default 64 MiB). A plain store needs none: its
    /// tables are read where they lie.
    pub cache_bytes: u64,
    /// Seeds the names a new store gives itself, its key and its nonces (default `None`: from the system). For simulations: an encrypted store that was
    /// written to under a seed hides nothing.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create: true,
            read_only: false,
            checkpoint_log_bytes: 16 << 20,
            checkpoint_payload_bytes: 256 << 20,
            sync_interval: Duration::from_millis(200),
            log_segment_bytes: 2 << 20,
            payload_segment_bytes: 64 << 20,
            idle_after: Duration::from_secs(1),
            dead_percent: 12,
            dead_bytes: 1 << 20,
            compaction_percent: 25,
            close_budget: Duration::from_secs(2),
            background: true,
            key: None,
            cache_bytes: 64 << 20,
            seed: None,
        }
    }
}

impl Options {
    /// The names of a new store and of its log.
    pub(crate) fn new_names(&self) -> std::io::Result<([u8; 16], u64)> {
        let mut store = [0; 16];
        let mut log = [0; 8];
        match self.seed {
            Some(seed) => {
                store[..8].copy_from_slice(&seed.to_le_bytes());
                log = (!seed).to_le_bytes();
            }
            None => {
                let mut system = rand::rngs::SysRng;
                system
                    .try_fill_bytes(&mut store)
                    .and_then(|()| system.try_fill_bytes(&mut log))
                    .map_err(std::io::Error::other)?;
            }
        }
        Ok((store, u64::from_le_bytes(log)))
    }

    /// What a file is stamped with.
    pub(crate) fn new_nonce(&self, inode: u64) -> std::io::Result<[u8; 16]> {
        let mut nonce = [0; 16];
        match self.seed {
            Some(seed) => {
                nonce[..8].copy_from_slice(&seed.to_le_bytes());
                nonce[8..].copy_from_slice(&inode.wrapping_add(1).to_le_bytes());
            }
            None => rand::rngs::SysRng
                .try_fill_bytes(&mut nonce)
                .map_err(std::io::Error::other)?,
        }
        Ok(nonce)
    }
}
