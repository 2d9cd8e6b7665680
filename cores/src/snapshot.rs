//! A core as it was at one moment.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use pome_encoding::Key;
use pome_storage::Snapshot;
use tokio::sync::watch;

use crate::{
    core::{Core, Head, Lengths, head_from},
    error::Error,
    layout,
    merkle::Node,
};

/// What a snapshot session reads from: the store's snapshot, and the head that stands in it. A block that was not here then may still come
/// from the core as it is now, as long as no truncation has cut it.
pub(crate) struct Frozen {
    snapshot: Snapshot,
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
            snapshot,
            head,
        })
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

    /// A block: the snapshot's own, else one that came since.
    pub(crate) fn block(&self, core: &Core, index: u64) -> Result<Option<Bytes>, Error> {
        let block = self.snapshot.get(core.space, &layout::block_key(index))?;
        if block.is_some() {
            return Ok(block);
        }
        self.check(core.key, index)?;
        let block = core.block(index)?;
        self.check(core.key, index)?;
        Ok(block)
    }

    /// As [`block`](Self::block), without reading it.
    pub(crate) fn has_block(&self, core: &Core, index: u64) -> Result<bool, Error> {
        let key = layout::block_key(index);
        Ok(self.snapshot.contains(core.space, &key)?
            || (self.check(core.key, index).is_ok() && core.has_block(index)?))
    }

    /// A tree node of the snapshot.
    pub(crate) fn node(&self, core: &Core, index: u64) -> Result<Option<Node>, Error> {
        node_at(core, &self.snapshot, index)
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Lengths> {
        self.lengths.subscribe()
    }

    pub(crate) fn store(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// A tree node as it is in a snapshot of the store.
pub(crate) fn node_at(core: &Core, snapshot: &Snapshot, index: u64) -> Result<Option<Node>, Error> {
    match snapshot.get(core.space, &layout::node_key(index))? {
        Some(value) => Ok(Some(layout::node_parse(index, &value)?)),
        None => Ok(None),
    }
}
