//! A change to one core, on its way into a commit.
//!
//! It holds the core's write lock from the start to the end. What is written goes into a [`Batch`] of the store as it comes; the tree, the
//! signature and the head follow in [`seal`](Change::seal), once for everything; the core in memory changes in
//! [`committed`](Change::committed), when nothing can fail any more. Dropping it before that changes nothing.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use pome_storage::{Batch, PAYLOAD_BYTES_MIN, Seq};
use tokio::sync::OwnedMutexGuard;

use crate::{
    core::{Auth, Core, Head},
    crypto::KeyPair,
    error::Error,
    layout::{self, HeadRecord, Signed},
    manifest::Manifest,
    merkle::{
        MerkleBatch, TreeError,
        flat_tree::{left_span, right_span},
    },
    options::{Appended, MAX_BLOCK_SIZE},
    registry::put_record,
    replication::Note,
    verifier::Verifier,
};

/// See the module.
pub(crate) struct Change {
    pub(crate) core: Arc<Core>,
    _lock: OwnedMutexGuard<()>,
    pub(crate) merkle: MerkleBatch,
    pub(crate) contiguous: u64,
    contiguous_before: u64,
    /// The shortest length of any truncation in it.
    cut: Option<u64>,
    /// It removes blocks or tree nodes.
    removes: bool,
    /// Nodes that were there become others: a repair.
    mends: bool,
    /// The owner signs what it makes, when somebody asks.
    by_owner: bool,
    /// A manifest that becomes known with it.
    learnt: Option<Arc<Verifier>>,
    /// Blocks that came and went.
    note: Note,
}

impl Change {
    /// Waits for the core's write lock.
    pub(crate) async fn begin(core: &Arc<Core>) -> Result<Self, Error> {
        loop {
            core.registry()?.running().await?;
            let lock = core.write.clone().lock_owned().await;
            if !core.registry()?.is_suspended() {
                return Self::locked(core, lock);
            }
        }
    }

    /// `None` when somebody else is changing the core, or nothing is to change for a while.
    pub(crate) fn try_begin(core: &Arc<Core>) -> Result<Option<Self>, Error> {
        if core.registry()?.is_suspended() {
            return Ok(None);
        }
        match core.write.clone().try_lock_owned() {
            Ok(lock) => Self::locked(core, lock).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn locked(core: &Arc<Core>, lock: OwnedMutexGuard<()>) -> Result<Self, Error> {
        if core.is_purged() {
            return Err(Error::Closed);
        }
        let head = core.head.read();
        let (merkle, contiguous) = (head.tree.batch(), head.contiguous);
        drop(head);
        Ok(Self {
            core: core.clone(),
            _lock: lock,
            merkle,
            contiguous,
            contiguous_before: contiguous,
            cut: None,
            removes: false,
            mends: false,
            by_owner: false,
            learnt: None,
            note: Note::default(),
        })
    }

    /// The length as it will be.
    pub(crate) fn length(&self) -> u64 {
        self.merkle.tree().length
    }

    /// Nodes are put in the place of others that were wrong.
    pub(crate) fn mend(&mut self) {
        self.mends = true;
    }

    fn invalid(&self, what: &'static str) -> Error {
        Error::InvalidOperation {
            key: self.core.key,
            what,
        }
    }

    /// Appends blocks as they are stored.
    pub(crate) fn append(
        &mut self,
        batch: &mut Batch,
        blocks: Vec<Bytes>,
    ) -> Result<Appended, Error> {
        let start = self.length();
        self.merkle.append_blocks(&blocks);
        if self.contiguous == start {
            self.contiguous += blocks.len() as u64;
        }
        self.note.came.push(start..start + blocks.len() as u64);
        for (index, block) in (start..).zip(blocks) {
            batch.put(self.core.space, layout::block_key(index), block);
        }
        let tree = self.merkle.tree();
        Ok(Appended {
            length: tree.length,
            byte_length: tree.byte_length,
        })
    }

    /// Stores blocks that have been checked against the tree, and moves the contiguous length over them.
    pub(crate) fn fill(&mut self, batch: &mut Batch, blocks: &[(u64, Bytes)]) -> Result<(), Error> {
        for (index, block) in blocks {
            let key = layout::block_key(*index);
            match block.len() < PAYLOAD_BYTES_MIN {
                true => batch.put_slice(self.core.space, key, block),
                false => batch.put(self.core.space, key, block.clone()),
            }
            match self.note.came.last_mut() {
                Some(last) if last.end == *index => last.end += 1,
                _ => self.note.came.push(*index..*index + 1),
            }
        }
        let mut filled: Vec<u64> = blocks.iter().map(|(index, _)| *index).collect();
        filled.sort_unstable();
        while self.contiguous < self.length()
            && (filled.binary_search(&self.contiguous).is_ok()
                || self.core.has_block(self.contiguous)?)
        {
            self.contiguous += 1;
        }
        Ok(())
    }

    /// Cuts the core; must come before any append in the same change.
    pub(crate) fn truncate(
        &mut self,
        batch: &mut Batch,
        length: u64,
        fork: Option<u64>,
    ) -> Result<(), Error> {
        let before = self.merkle.tree().fork;
        let fork = fork.unwrap_or(before.saturating_add(1));
        // under one fork an index has one content: signatures, caches and the keystream of encryption rely on it
        if fork <= before {
            return Err(self.invalid("a truncation needs a fork above the present one"));
        }
        let core = self.core.clone();
        let nodes = |index| core.node(index);
        self.merkle.truncate(&nodes, length, fork)?;
        self.cut(batch, length)
    }

    /// Drops the blocks from `length` on.
    fn cut(&mut self, batch: &mut Batch, length: u64) -> Result<(), Error> {
        match &self.core.parent {
            Some(parent) if length < parent.shared() => {
                let shared = layout::shared_value(length);
                batch.put(self.core.space, layout::SHARED_KEY, shared);
            }
            Some(_) => {}
            None => self.core.cut_branches(batch, length)?,
        }
        self.contiguous = self.contiguous.min(length);
        self.cut = Some(self.cut.map_or(length, |cut| cut.min(length)));
        self.removes = true;
        let (start, end) = layout::blocks_from(length);
        batch.delete_range(self.core.space, start, end);
        Ok(())
    }

    /// Follows a peer to another fork, whose tree has been checked; must be the only thing in the change. False when the core is no longer
    /// what the two trees were compared with.
    ///
    /// # Errors
    /// From the store.
    pub(crate) fn reorg(&mut self, batch: &mut Batch, merkle: MerkleBatch) -> Result<bool, Error> {
        if !merkle.fits(self.merkle.tree()) {
            return Ok(false);
        }
        let ancestors = merkle.ancestors();
        self.merkle = merkle;
        self.cut(batch, ancestors)?;
        Ok(true)
    }

    /// Drops blocks that were in the core before this change, and the tree nodes that nothing needs any more: those below the top of each
    /// subtree without a block. Answers how many blocks went.
    pub(crate) fn clear(&mut self, batch: &mut Batch, range: Range<u64>) -> Result<u64, Error> {
        let core = &self.core;
        let length = self.merkle.ancestors();
        let (start, end) = (range.start, range.end.min(length));
        if start >= end {
            return Ok(0);
        }
        let snapshot = core.store.snapshot();
        let [zero, from, to, last] = [0, start, end, length].map(layout::block_key);
        let cleared = snapshot
            .keys(core.space, &from[..]..&to[..])
            .try_fold(0, |count, key| key.map(|_| count + 1))?;
        let before = snapshot
            .keys(core.space, &zero[..]..&from[..])
            .next_back()
            .transpose()?;
        let after = snapshot
            .keys(core.space, &to[..]..&last[..])
            .next()
            .transpose()?;
        let empty_start = match before {
            Some(key) => layout::number(&key)? + 1,
            None => 0,
        };
        let empty_end = match after {
            Some(key) => layout::number(&key)?,
            None => length,
        };
        batch.delete_range(core.space, layout::block_key(start), layout::block_key(end));
        batch.delete_range(core.space, layout::lost_key(start), layout::lost_key(end));
        for top in subtrees(empty_start, empty_end) {
            let (left, right) = (left_span(top), right_span(top));
            if left < top {
                batch.delete_range(core.space, layout::node_key(left), layout::node_key(top));
                batch.delete_range(
                    core.space,
                    layout::node_key(top + 1),
                    layout::node_key(right + 1),
                );
            }
        }
        self.contiguous = self.contiguous.min(start);
        self.note.went.push(start..end);
        self.removes = true;
        Ok(cleared)
    }

    /// Blocks that are lost: they are missing from now on, and remembered as lost, so that peers are asked for them.
    pub(crate) fn lose(&mut self, batch: &mut Batch, blocks: impl IntoIterator<Item = u64>) {
        for index in blocks {
            batch.delete(self.core.space, layout::block_key(index));
            batch.put(self.core.space, layout::lost_key(index), Bytes::new());
            self.contiguous = self.contiguous.min(index);
            self.note.went.push(index..index + 1);
            self.note.lost = true;
        }
        if self.note.lost {
            let mark = layout::lossy_key(&self.core.discovery_key);
            batch.put(layout::REGISTRY, mark, Bytes::new());
        }
    }

    /// Remembers a manifest that the core did not know.
    pub(crate) fn learn(&mut self, batch: &mut Batch, manifest: Manifest) -> Result<(), Error> {
        let registry = self.core.registry()?;
        let discovery_key = &self.core.discovery_key;
        let mut record = registry.record(discovery_key)?.ok_or(Error::Closed)?;
        record.manifest = Some(manifest.encode());
        put_record(batch, discovery_key, &record);
        self.learnt = Some(Arc::new(Verifier::with_key(self.core.key, manifest)));
        Ok(())
    }

    /// Signs with `pair` what has changed. What the core's owner signs is signed when somebody asks for the signature: it takes longer than all else of
    /// a small append, and most heads are followed by another before they are shown to anybody.
    pub(crate) fn sign(&mut self, batch: &mut Batch, pair: Option<&KeyPair>) -> Result<(), Error> {
        if !self.merkle.upgraded() {
            return Ok(());
        }
        if self.core.is_branch() {
            self.merkle.unsign();
            return Ok(());
        }
        let tree = self.merkle.tree();
        if let Some(prologue) = &tree.prologue
            && tree.length < prologue.length
        {
            return Err(self.invalid("it would be shorter than its prologue"));
        }
        let key = self.core.key;
        let store = &self.core.registry()?.store;
        if store.is_damaged() {
            let lost = store.damage();
            return Err(Error::Damaged { key, lost });
        }
        if let Some(time) = self.core.recovering()
            && !self.core.is_recovered(time)?
        {
            return Err(Error::Recovering { key });
        }
        self.core.replication.check_signing(key)?;
        let pair = pair.ok_or(Error::NotWritable { key })?;
        let verifier = match self.core.verifier() {
            Some(verifier) => verifier,
            None if pair.public == key.0 => {
                self.learn(batch, Manifest::single(key.0))?;
                let learnt = self.learnt.clone();
                learnt.ok_or(Error::NotWritable { key })?
            }
            None => return Err(Error::NotWritable { key }),
        };
        if verifier.manifest().signers.len() > 1 {
            return Err(self.invalid("it has several signers; append with their signature"));
        }
        let owned = match &self.core.auth.read().owner {
            Some(owner) => owner.key_pair().public == pair.public,
            None => false,
        };
        if owned && verifier.is_signed_by(pair) {
            self.merkle.unsign();
            self.by_owner = true;
        } else {
            let signature = verifier.sign(self.merkle.tree(), pair)?;
            self.merkle.set_signature(signature);
        }
        Ok(())
    }

    /// Whether the owner signs the head as it will be: this change says so, or leaves the tree as it was.
    fn is_by_owner(&self) -> bool {
        self.by_owner || !self.merkle.upgraded() && self.core.head.read().by_owner
    }

    /// Takes a signature that was made elsewhere, if it holds.
    pub(crate) fn accept(&mut self, signature: Bytes) -> Result<(), Error> {
        let tree = self.merkle.tree();
        let verifier = self.learnt.clone().or_else(|| self.core.verifier());
        if !verifier.is_some_and(|verifier| verifier.verify(tree, &signature)) {
            return Err(TreeError::InvalidSignature {
                length: tree.length,
                fork: tree.fork,
            }
            .into());
        }
        self.merkle.set_signature(signature);
        Ok(())
    }

    /// To be held while this is committed, if it removes anything that a snapshot may show.
    pub(crate) fn keep_snapshots(&self) -> Option<impl Sized + '_> {
        // Before the commit: after it the core may have other blocks there.
        if let (Some(cut), Some(branches)) = (self.cut, self.core.branches.get()) {
            for branch in branches.open() {
                if let Some(parent) = &branch.parent {
                    parent.cut(cut);
                }
            }
        }
        self.removes.then(|| self.core.keep_snapshots())
    }

    /// Writes tree nodes and head.
    pub(crate) fn seal(&self, batch: &mut Batch) {
        let space = self.core.space;
        if let Some(removed) = self.merkle.removed() {
            batch.delete_range(
                space,
                layout::node_key(removed.range.start),
                layout::node_key(removed.range.end),
            );
            for index in removed.parents {
                batch.delete(space, layout::node_key(index));
            }
        }
        // a clear in the same change may have dropped what a truncation made a root
        let roots = self.cut.map(|_| self.merkle.tree().roots.iter());
        for node in roots.into_iter().flatten().chain(self.merkle.nodes()) {
            batch.put_slice(
                space,
                layout::node_key(node.index),
                &layout::node_value(node),
            );
        }
        if self.merkle.upgraded() || self.contiguous != self.contiguous_before {
            let tree = self.merkle.tree();
            let head = HeadRecord {
                fork: tree.fork,
                length: tree.length,
                byte_length: tree.byte_length,
                contiguous: self.contiguous,
                tree_hash: tree.hash(),
                signature: match self.is_by_owner() {
                    true => Signed::ByOwner(self.core.discovery_key),
                    false => Signed::Given(tree.signature.clone().unwrap_or_default()),
                },
            };
            batch.put(space, layout::HEAD_KEY, head.encode());
        }
    }

    /// The commit with this change has been made: the core becomes what it says.
    pub(crate) fn committed(self, seq: Seq) {
        let by_owner = self.is_by_owner();
        let made = match self.merkle.upgraded() {
            true => OnceLock::new(),
            false => self.core.head.read().made.clone(),
        };
        if let Some(verifier) = self.learnt {
            let mut auth = self.core.auth.write();
            *auth = Auth {
                verifier: Some(verifier),
                owner: auth.owner.take(),
            };
        }
        let mut head = Head {
            by_owner,
            made,
            tree: self.merkle.into_tree(),
            contiguous: self.contiguous,
            sizes: match self.cut.is_some() || self.mends {
                true => Arc::default(),
                false => self.core.head.read().sizes.clone(),
            },
        };
        if let Some(verifier) = self.core.verifier() {
            head.tree.prologue = verifier.manifest().prologue;
        }
        if let (Some(cut), Some(parent)) = (self.cut, &self.core.parent) {
            parent.cut(cut);
        }
        let note = Note {
            seq,
            cut: self.cut,
            ..self.note
        };
        self.core.replication.note(note);
        self.core.committed(head, seq, self.cut);
    }
}

/// Checks blocks before they are appended.
pub(crate) fn check_blocks(blocks: &[Bytes]) -> Result<(), Error> {
    match blocks.iter().find(|block| block.len() > MAX_BLOCK_SIZE) {
        Some(block) => Err(Error::BlockTooLarge { size: block.len() }),
        None => Ok(()),
    }
}

/// The largest subtrees that together cover the blocks `start..end`, by the index of their top node.
fn subtrees(mut start: u64, end: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let left = end.checked_sub(start).filter(|left| *left > 0)?;
        let aligned = match start {
            0 => u32::MAX,
            _ => start.trailing_zeros(),
        };
        let width = 1u64 << left.ilog2().min(aligned);
        let top = 2 * start + width - 1;
        start += width;
        Some(top)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees_cover_a_range() {
        let of = |start, end| subtrees(start, end).collect::<Vec<_>>();
        assert_eq!(of(0, 8), [7]);
        assert_eq!(of(0, 5), [3, 8]);
        assert_eq!(of(1, 8), [2, 5, 11]);
        assert_eq!(of(3, 4), [6]);
        assert!(of(4, 4).is_empty());
        for (start, end) in [(0, 100), (3, 77), (64, 129)] {
            let mut at = start;
            for top in subtrees(start, end) {
                assert_eq!(left_span(top), 2 * at);
                at = right_span(top) / 2 + 1;
            }
            assert_eq!(at, end);
        }
    }
}
