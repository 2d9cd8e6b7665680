//! A store that is not to grow beyond a limit: how much peers may still send, and which of their blocks were used least lately.
//!
//! Who keeps the limit measures the disk, says how much room there is with [`Corestore::set_room`], and clears what [`Corestore::held`] names first. When what was
//! used is known in memory only, by runs of 32 blocks, and only where there is a limit or somebody [asks for it](Corestore::track_uses): else nothing is counted.
//!
//! Where there is no room, reads that would ask a peer wait before they ask, and downloads stand still. What is on its way comes all the same: of a core no more than
//! there was room for when it was asked for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use pome_encoding::DiscoveryKey;
use tokio::sync::Notify;

use crate::{
    core::Core, corestore::Corestore, error::Error, hypercore::Hypercore, layout,
    registry::Registry,
};

/// So many blocks are looked at as one.
const RUN: u64 = 32;
/// What a block costs besides its bytes, about.
const BLOCK_BYTES: u64 = 256;

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
    /// Grows with each use; 0: not since uses are remembered.
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
    /// Who wants to know what is used, besides.
    trackers: AtomicUsize,
    never: AtomicBool,
    left: AtomicI64,
    uses: Mutex<Uses>,
    /// There is more room.
    made: Notify,
    /// Somebody waits for room.
    wanted: Notify,
    /// Cores whose downloads stand still.
    held_back: Mutex<Vec<Weak<Core>>>,
}

impl Room {
    /// A block was read.
    pub(crate) fn used(&self, discovery_key: &DiscoveryKey, index: u64) {
        if self.limited.load(Ordering::Relaxed) || self.trackers.load(Ordering::Relaxed) > 0 {
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
            let cost = i64::try_from(self.cost(bytes as u64)).unwrap_or(i64::MAX);
            let before = self.left.fetch_sub(cost, Ordering::AcqRel);
            if before > 0 && before <= cost {
                self.wanted.notify_one();
            }
        }
        self.used(discovery_key, index);
    }

    /// What a block of so many bytes takes, about.
    pub(crate) fn cost(&self, bytes: u64) -> u64 {
        bytes.saturating_add(BLOCK_BYTES)
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited.load(Ordering::Acquire)
    }

    /// How many bytes peers may still send; `None`: as many as they like.
    pub(crate) fn left(&self) -> Option<u64> {
        (self.is_limited()).then(|| u64::try_from(self.left.load(Ordering::Acquire)).unwrap_or(0))
    }

    /// True when there is no room and never will be.
    pub(crate) fn is_never(&self) -> bool {
        self.is_limited() && self.never.load(Ordering::Acquire)
    }

    /// The downloads of this core go on when there is room. True when there is some by now.
    pub(crate) fn hold_back(&self, core: &Arc<Core>) -> bool {
        self.held_back.lock().push(Arc::downgrade(core));
        self.wanted.notify_one();
        if self.is_never() {
            // Who waits for the end of a download hears so.
            core.wake();
        }
        // It may have been made before the core was in the list: then nobody tells it.
        self.left() != Some(0)
    }

    /// Waits until a peer may send more.
    pub(crate) async fn wait(&self) -> Result<(), Error> {
        loop {
            let made = self.made.notified();
            tokio::pin!(made);
            made.as_mut().enable();
            if !self.is_limited() || self.left.load(Ordering::Acquire) > 0 {
                return Ok(());
            }
            if self.is_never() {
                return Err(Error::NoRoom);
            }
            self.wanted.notify_one();
            made.await;
        }
    }

    /// Forgets what was used, unless somebody wants to know it.
    fn forget_uses(&self) {
        if !self.is_limited() && self.trackers.load(Ordering::Acquire) == 0 {
            *self.uses.lock() = Uses::default();
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
        if self.limited.swap(limited, Ordering::AcqRel) {
            self.forget_uses();
        }
        if left > 0 || space != Space::Bytes(0) {
            self.made.notify_waiters();
            let held_back = std::mem::take(&mut *self.held_back.lock());
            for core in held_back.iter().filter_map(Weak::upgrade) {
                core.replication.with_existing(|machine| {
                    machine.held_back = false;
                    machine.replan();
                });
                // Who waits for the end of a download may hear that it never comes.
                core.wake();
            }
        }
    }
}

/// Limits.
impl Corestore {
    /// Says how much peers may still send from now on (default: [`Unlimited`](Space::Unlimited)). Where none is left, reads of blocks that are not here wait, and
    /// [downloads](crate::Hypercore::download) stand still.
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
            all.extend(held(registry, discovery_key, record.space)?);
        }
        all.sort_by_key(|held| held.last_used);
        Ok(all)
    }

    /// Has the store remember when blocks were used, as it does while there is a limit, until what is returned is dropped.
    pub fn track_uses(&self) -> TrackedUses {
        let registry = self.registry().clone();
        registry.room.trackers.fetch_add(1, Ordering::AcqRel);
        TrackedUses(registry)
    }
}

/// Given by [`Corestore::track_uses`].
#[must_use = "uses are forgotten when this is dropped"]
pub struct TrackedUses(Arc<Registry>);

impl std::fmt::Debug for TrackedUses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrackedUses").finish_non_exhaustive()
    }
}

impl Drop for TrackedUses {
    fn drop(&mut self) {
        let room = &self.0.room;
        room.trackers.fetch_sub(1, Ordering::AcqRel);
        room.forget_uses();
    }
}

impl Hypercore {
    /// Which blocks are here, in runs of 32, those that were used least lately first. When that was is known while there is a limit, or somebody
    /// [tracks uses](Corestore::track_uses). Walks the core's keys.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub fn held(&self) -> Result<Vec<Held>, Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        let mut held = held(&self.session.registry, core.discovery_key, core.space)?;
        held.sort_by_key(|held| held.last_used);
        Ok(held)
    }
}

/// The runs of a core with blocks in them.
fn held(
    registry: &Registry,
    discovery_key: DiscoveryKey,
    space: pome_storage::Space,
) -> Result<Vec<Held>, Error> {
    let uses = {
        let uses = registry.room.uses.lock();
        uses.runs.get(&discovery_key).cloned().unwrap_or_default()
    };
    let (mut all, mut blocks) = (Vec::<Held>::new(), 0u64);
    let (start, end) = layout::blocks_from(0);
    for key in (registry.store.snapshot()).keys(space, &start[..]..&end[..]) {
        let run = layout::number(&key?)? / RUN;
        blocks += 1;
        match all.last_mut() {
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
    if !all.is_empty() {
        let usage = registry.store.space_usage(space)?;
        let bytes = usage.key_bytes + usage.value_bytes;
        let each = bytes.checked_div(blocks).unwrap_or(0);
        for held in &mut all {
            held.bytes = each.saturating_mul(held.blocks);
        }
    }
    Ok(all)
}
