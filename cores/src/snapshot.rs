//! A core as it was at one moment.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use pome_encoding::Key;
use pome_storage::{Part, Snapshot};
use tokio::sync::watch;

use crate::{
    core::{Core, Head, Lengths, head_from},
    error::Error,
    layout,
    merkle::{Node, flat_tree::right_span},
};

/// What a snapshot session reads from: the core as it is now, since what lies below its head does not change; until something of it is removed, and from
/// then on a snapshot of the store from just before. So one that is held for long does not keep the store from giving space back. A block that was not
/// here then may still come from the core as it is now, as long as no truncation has cut it.
pub(crate) struct Frozen {
    /// From before the first removal.
    kept: OnceLock<Snapshot>,
    pub(crate) head: Head,
    /// Below this the core still has the same blocks as the snapshot.
    shared: AtomicU64,
    /// Kept so that those who watch wait for ever.
    lengths: watch::Sender<Lengths>,
}

impl Frozen {
    /// The core now. The head comes out of the store's snapshot, so that both are of one moment whatever is being written.
    pub(crate) fn new(core: &Core) -> Result<Self, Error> {
        let snapshot = core.store.snapshot();
        let record = snapshot.get(core.space, &layout::HEAD_KEY)?;
        let verifier = core.verifier();
        let manifest = verifier.as_ref().map(|verifier| verifier.manifest());
        let head = head_from(core.key, manifest, record.as_deref(), |index| {
            node_at(core, &snapshot, index)
        })?;
        Ok(Self {
            shared: AtomicU64::new(head.tree.length),
            lengths: watch::Sender::new((head.tree.length, head.tree.fork)),
            kept: OnceLock::new(),
            head,
        })
    }

    /// Something will be removed: what is there now is kept.
    pub(crate) fn keep(&self, core: &Core) {
        self.kept.get_or_init(|| core.store.snapshot());
    }

    /// A snapshot of the store in which all is that it shows.
    pub(crate) fn store(&self, core: &Core) -> Snapshot {
        if let Some(kept) = self.kept.get() {
            return kept.clone();
        }
        let now = core.store.snapshot();
        // Kept before the removal is committed: if it is not now, nothing was removed when `now` was taken.
        self.kept.get().cloned().unwrap_or(now)
    }

    /// The core has been truncated to `length`.
    pub(crate) fn cut(&self, length: u64) {
        self.shared.fetch_min(length, Ordering::AcqRel);
    }

    fn check(&self, key: Key, index: u64) -> Result<(), Error> {
        if index < self.shared.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Error::SnapshotNotAvailable { key, index })
        }
    }

    /// What of a block lies in `wanted`: of the snapshot's own, else of one that came since.
    pub(crate) fn block_part(
        &self,
        core: &Core,
        index: u64,
        wanted: Range<usize>,
    ) -> Result<Option<Part>, Error> {
        if self.has_index(index) {
            let key = layout::block_key(index);
            let own = self
                .store(core)
                .get_part(core.space, &key, wanted.clone())?;
            if own.is_some() {
                return Ok(own);
            }
        }
        self.check(core.key, index)?;
        let part = core.block_part(index, wanted)?;
        self.check(core.key, index)?;
        Ok(part)
    }

    /// As [`block_part`](Self::block_part), without reading it.
    pub(crate) fn has_block(&self, core: &Core, index: u64) -> Result<bool, Error> {
        let key = layout::block_key(index);
        let here = self.has_index(index) && self.store(core).contains(core.space, &key)?;
        Ok(here || (self.check(core.key, index).is_ok() && core.has_block(index)?))
    }

    /// A tree node of the snapshot.
    pub(crate) fn node(&self, core: &Core, index: u64) -> Result<Option<Node>, Error> {
        match self.has_node(index) {
            true => match node_at(core, &self.store(core), index)? {
                // What a branch shares with its core.
                None if core.is_branch() && self.shares_node(index) => {
                    let node = core.node(index)?;
                    Ok(node.filter(|_| self.shares_node(index)))
                }
                node => Ok(node),
            },
            false => Ok(None),
        }
    }

    /// False for blocks that were appended later.
    pub(crate) fn has_index(&self, index: u64) -> bool {
        index < self.head.tree.length
    }

    /// False for tree nodes that came with later blocks.
    pub(crate) fn has_node(&self, index: u64) -> bool {
        self.has_index(right_span(index) / 2)
    }

    /// True for tree nodes below which nothing was truncated since.
    fn shares_node(&self, index: u64) -> bool {
        right_span(index) / 2 < self.shared.load(Ordering::Acquire)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Lengths> {
        self.lengths.subscribe()
    }
}

/// A tree node as it is in a snapshot of the store.
pub(crate) fn node_at(core: &Core, snapshot: &Snapshot, index: u64) -> Result<Option<Node>, Error> {
    match snapshot.get(core.space, &layout::node_key(index))? {
        Some(value) => Ok(Some(layout::node_parse(index, &value)?)),
        None => Ok(None),
    }
}
