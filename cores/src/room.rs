//! A store that is not to grow beyond a limit: how much peers may still send, and which of their blocks were used least lately.
//!
//! Who keeps the limit measures the disk, says how much room there is with [`Corestore::set_room`], and clears what [`Corestore::held`] names first. When what was
//! used is known in memory only, by runs of 32 blocks, and only where there is a limit: a store without one counts nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use parking_lot::Mutex;
use pome_encoding::DiscoveryKey;
use tokio::sync::Notify;

use crate::{corestore::Corestore, error::Error, layout};

/// So many blocks are looked at as one.
const RUN: u64 = 32;
/// What a block costs besides its bytes, about.
const BLOCK_BYTES: i64 = 256;

/// How much peers may still send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Space {
    /// As much as they like.
    #[default]
    Unlimited,
    /// So many bytes; then whoever wants more waits.
    Bytes(u64),
    /// Nothing, and there is nothing that could make room: who wants more gets [`NoRoom`](Error::NoRoom).
    Nothing,
}

/// Blocks of a core that came from peers, and can come from there again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Held {
    /// Whose.
    pub discovery_key: DiscoveryKey,
    /// From where to where; not all of it need be here.
    pub range: Range<u64>,
    /// How many are here.
    pub blocks: u64,
    /// Their bytes, about.
    pub bytes: u64,
    /// Grows with each use; 0: not since the limit was set or the store was opened.
    pub last_used: u64,
}

#[derive(Default)]
struct Uses {
    clock: u64,
    runs: HashMap<DiscoveryKey, BTreeMap<u64, u64>>,
    /// Cores that were used since somebody asked.
    cores: HashSet<DiscoveryKey>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Room {
    limited: AtomicBool,
    never: AtomicBool,
    left: AtomicI64,
    uses: Mutex<Uses>,
    /// There is more room.
    made: Notify,
    /// Somebody waits for room.
    wanted: Notify,
}

impl Room {
    /// A block was read.
    pub(crate) fn used(&self, discovery_key: &DiscoveryKey, index: u64) {
        if self.limited.load(Ordering::Relaxed) {
            let mut uses = self.uses.lock();
            uses.clock += 1;
            let clock = uses.clock;
            let runs = uses.runs.entry(*discovery_key).or_default();
            runs.insert(index / RUN, clock);
            uses.cores.insert(*discovery_key);
        }
    }

    /// A peer's block was stored.
    pub(crate) fn came(&self, discovery_key: &DiscoveryKey, index: u64, bytes: usize) {
        if self.limited.load(Ordering::Relaxed) {
            let cost = i64::try_from(bytes).unwrap_or(i64::MAX / 2) + BLOCK_BYTES;
            let before = self.left.fetch_sub(cost, Ordering::AcqRel);
            if before > 0 && before <= cost {
                self.wanted.notify_one();
            }
            self.used(discovery_key, index);
        }
    }

    /// Waits until a peer may send more.
    pub(crate) async fn wait(&self) -> Result<(), Error> {
        loop {
            let made = self.made.notified();
            tokio::pin!(made);
            made.as_mut().enable();
            if !self.limited.load(Ordering::Acquire) || self.left.load(Ordering::Acquire) > 0 {
                return Ok(());
            }
            if self.never.load(Ordering::Acquire) {
                return Err(Error::NoRoom);
            }
            self.wanted.notify_one();
            made.await;
        }
    }

    pub(crate) fn set(&self, space: Space) {
        let left = match space {
            Space::Unlimited | Space::Nothing => 0,
            Space::Bytes(bytes) => i64::try_from(bytes).unwrap_or(i64::MAX),
        };
        self.left.store(left, Ordering::Release);
        self.never.store(space == Space::Nothing, Ordering::Release);
        let limited = space != Space::Unlimited;
        if self.limited.swap(limited, Ordering::AcqRel) && !limited {
            *self.uses.lock() = Uses::default();
        }
        if left > 0 || space != Space::Bytes(0) {
            self.made.notify_waiters();
        }
    }
}

/// Limits.
impl Corestore {
    /// Says how much peers may still send from now on (default: [`Unlimited`](Space::Unlimited)). Where none is left, reads of blocks that are not here wait;
    /// [downloads](crate::Hypercore::download) of ranges do not: ask [`room`](Self::room) before each.
    pub fn set_room(&self, space: Space) {
        self.registry().room.set(space);
    }

    /// Waits until there is room for more of peers' blocks.
    ///
    /// # Errors
    /// [`NoRoom`](Error::NoRoom) when there never will be.
    pub async fn room(&self) -> Result<(), Error> {
        self.registry().room.wait().await
    }

    /// Resolves when somebody waits for room. Cancel safe.
    pub async fn room_wanted(&self) {
        self.registry().room.wanted.notified().await;
    }

    /// The cores of which blocks were used since this was last asked, while there is a limit.
    #[must_use]
    pub fn take_used(&self) -> Vec<DiscoveryKey> {
        let room = &self.registry().room;
        std::mem::take(&mut room.uses.lock().cores)
            .into_iter()
            .collect()
    }

    /// Which blocks could come from peers again, in runs of 32, those that were used least lately first; those with the same `last_used` by core and place. Cores that
    /// this store can sign for, or has a name for, are left out; so are those of which a snapshot is held, because what it shows stays on disk. Walks all keys.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub fn held(&self) -> Result<Vec<Held>, Error> {
        let registry = self.registry();
        let named: HashSet<DiscoveryKey> =
            (registry.names(None)?.into_iter().map(|(_, key)| key)).collect();
        let mut all = Vec::new();
        for discovery_key in registry.list()? {
            let Some(record) = registry.record(&discovery_key)? else {
                continue;
            };
            if record.seed.is_some()
                || named.contains(&discovery_key)
                || registry.has_snapshots(&discovery_key)
            {
                continue;
            }
            let uses = {
                let uses = registry.room.uses.lock();
                uses.runs.get(&discovery_key).cloned().unwrap_or_default()
            };
            let first = all.len();
            let mut blocks = 0u64;
            let (start, end) = layout::blocks_from(0);
            for key in registry
                .store
                .snapshot()
                .keys(record.space, &start[..]..&end[..])
            {
                let run = layout::number(&key?)? / RUN;
                blocks += 1;
                match all.get_mut(first..).and_then(<[Held]>::last_mut) {
                    Some(last) if last.range.start == run * RUN => last.blocks += 1,
                    _ => all.push(Held {
                        discovery_key,
                        range: run * RUN..(run + 1).saturating_mul(RUN),
                        blocks: 1,
                        bytes: 0,
                        last_used: uses.get(&run).copied().unwrap_or(0),
                    }),
                }
            }
            if all.len() > first {
                let usage = registry.store.space_usage(record.space)?;
                let bytes = usage.key_bytes + usage.value_bytes;
                let each = bytes.checked_div(blocks).unwrap_or(0);
                for held in &mut all[first..] {
                    held.bytes = each.saturating_mul(held.blocks);
                }
            }
        }
        all.sort_by_key(|held| held.last_used);
        Ok(all)
    }
}
