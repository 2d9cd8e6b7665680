//! Counting the blocks that come and go, for who shows how far a transfer is.

use std::{
    ops::Range,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::hypercore::Hypercore;

/// Blocks and their bytes, as they are stored and sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transferred {
    /// How many blocks.
    pub blocks: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Count {
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Count {
    fn add(&self, bytes: u64) {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> Transferred {
        Transferred {
            blocks: self.blocks.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Which way a block went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Down,
    Up,
}

#[derive(Debug)]
struct Counting {
    /// In order, without overlaps.
    blocks: Vec<Range<u64>>,
    down: Count,
    up: Count,
    changed: watch::Sender<()>,
}

impl Counting {
    fn has(&self, index: u64) -> bool {
        let after = self.blocks.partition_point(|range| range.end <= index);
        self.blocks
            .get(after)
            .is_some_and(|range| range.contains(&index))
    }
}

/// Counts blocks of a core that come from peers or go to them, from when it was made until it is dropped. [`Hypercore::tally`] makes it.
#[derive(Debug)]
pub struct Tally {
    counting: Arc<Counting>,
    changes: watch::Receiver<()>,
}

impl Tally {
    /// What came from peers.
    #[must_use]
    pub fn downloaded(&self) -> Transferred {
        self.counting.down.get()
    }

    /// What went to peers.
    #[must_use]
    pub fn uploaded(&self) -> Transferred {
        self.counting.up.get()
    }

    /// Waits until a block has come or gone since the last call. Cancel safe.
    pub async fn changed(&mut self) {
        // It cannot end: its sender is held here as well.
        let _ = self.changes.changed().await;
    }
}

/// The tallies of a core.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    any: AtomicBool,
    all: Mutex<Vec<Weak<Counting>>>,
}

impl Tallies {
    fn add(&self, counting: &Arc<Counting>) {
        let mut all = self.all.lock();
        all.push(Arc::downgrade(counting));
        self.any.store(true, Ordering::Release);
    }

    /// A block came or went.
    pub(super) fn count(&self, way: Way, index: u64, bytes: u64) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        let mut all = self.all.lock();
        all.retain(|counting| {
            let Some(counting) = counting.upgrade() else {
                return false;
            };
            if counting.has(index) {
                match way {
                    Way::Down => counting.down.add(bytes),
                    Way::Up => counting.up.add(bytes),
                }
                counting.changed.send_replace(());
            }
            true
        });
        self.any.store(!all.is_empty(), Ordering::Release);
    }
}

impl Hypercore {
    /// Counts what comes of these blocks from peers, and goes to them, from now on.
    ///
    /// ```
    /// use pome_cores::{CoreOptions, Corestore, Store};
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// # let dir = tempfile::tempdir()?;
    /// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
    /// let core = cores.get(CoreOptions::name("log")).await?;
    /// let tally = core.tally(std::iter::once(0..u64::MAX));
    /// core.append("what is written here does not come from a peer").await?;
    /// assert_eq!(tally.downloaded().blocks, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tally(&self, blocks: impl IntoIterator<Item = Range<u64>>) -> Tally {
        let mut given: Vec<Range<u64>> = blocks
            .into_iter()
            .filter(|range| !range.is_empty())
            .collect();
        given.sort_unstable_by_key(|range| range.start);
        let mut blocks: Vec<Range<u64>> = Vec::with_capacity(given.len());
        for range in given {
            match blocks.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => blocks.push(range),
            }
        }
        let (changed, changes) = watch::channel(());
        let counting = Arc::new(Counting {
            blocks,
            down: Count::default(),
            up: Count::default(),
            changed,
        });
        self.session.core.replication.tallies.add(&counting);
        Tally { counting, changes }
    }
}
