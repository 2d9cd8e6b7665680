//! Several changes that commit together.

use std::sync::Arc;

use bytes::Bytes;
use pome_storage::{Batch, Durability};

use crate::{
    change::{Change, check_blocks},
    error::Error,
    hypercore::Hypercore,
    options::Appended,
    registry::Registry,
};

/// Several appends, truncations, clears and local changes that commit together. It holds each core's write lock from the first change to the
/// end; dropping it without [`commit`](Self::commit) undoes all.
///
/// Two transactions that touch the same cores in different orders would wait for each other: touch them in one order everywhere, or
/// [`lock`](Self::lock) them first.
pub struct Transaction {
    registry: Arc<Registry>,
    batch: Batch,
    staged: Vec<(Hypercore, Change)>,
}

impl Transaction {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        Self {
            registry,
            batch: Batch::new(),
            staged: Vec::new(),
        }
    }

    /// Takes the write locks of several cores, in an order that cannot deadlock with others that do so.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable).
    pub async fn lock(&mut self, cores: &[&Hypercore]) -> Result<(), Error> {
        let mut cores = cores.to_vec();
        cores.sort_by_key(|core| core.discovery_key());
        for core in cores {
            self.change(core).await?;
        }
        Ok(())
    }

    /// The change to a core: the one that is under way, else a new one.
    async fn change(&mut self, core: &Hypercore) -> Result<(&mut Change, &mut Batch), Error> {
        core.session.check_writable()?;
        if !Arc::ptr_eq(&self.registry, &core.session.registry) {
            return Err(Error::BadArgument {
                what: "the core is of another store than the transaction",
            });
        }
        let same =
            |(_, change): &(Hypercore, Change)| Arc::ptr_eq(&change.core, &core.session.core);
        let at = match self.staged.iter().position(same) {
            Some(at) => at,
            None => {
                let change = Change::begin(&core.session.core).await?;
                core.session.check_open()?;
                self.staged.push((core.clone(), change));
                self.staged.len() - 1
            }
        };
        Ok((&mut self.staged[at].1, &mut self.batch))
    }

    /// Stages an append; the answer holds once `commit` returns. Several appends to one core become one batch with one signature.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable), [`BlockTooLarge`](Error::BlockTooLarge).
    pub async fn append(
        &mut self,
        core: &Hypercore,
        blocks: Vec<Bytes>,
    ) -> Result<Appended, Error> {
        check_blocks(&blocks)?;
        let (change, batch) = self.change(core).await?;
        let tree = change.merkle.tree();
        let blocks = core.session.encrypt(tree.length, tree.fork, blocks);
        change.append(batch, blocks)
    }

    /// Stages a truncation, which must come before any append to the same core.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable); [`Tree`](Error::Tree) with INVALID_OPERATION when `length` is above the
    /// core's or below its prologue, when a tree node was cleared that it needs, or after an append.
    pub async fn truncate(&mut self, core: &Hypercore, length: u64) -> Result<(), Error> {
        let (change, batch) = self.change(core).await?;
        change.truncate(batch, length, None)
    }

    /// Stages the removal of local blocks; blocks that this transaction appends stay. Answers how many there were.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable), or from the store.
    pub async fn clear(
        &mut self,
        core: &Hypercore,
        range: std::ops::Range<u64>,
    ) -> Result<u64, Error> {
        let (change, batch) = self.change(core).await?;
        change.clear(batch, range)
    }

    /// The storage batch of this transaction, for local keyspaces and journals. Do not write into the spaces of cores.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// Commits all of it, in one frame of the log. With [`Synced`](Durability::Synced) it answers when the disk has it; an error of the sync
    /// alone leaves the commit made.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable), or from the store. When the commit fails nothing has changed.
    pub async fn commit(mut self, durability: Durability) -> Result<(), Error> {
        if self.registry.is_closed() {
            return Err(Error::Closed);
        }
        for (core, change) in &mut self.staged {
            change.sign(&mut self.batch, core.session.signer().as_ref())?;
            change.seal(&mut self.batch);
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let seq = {
            let changes = self.staged.iter();
            let _kept: Vec<_> = changes.map(|(_, c)| c.keep_snapshots()).collect();
            self.registry.commit(self.batch)?
        };
        for (_, change) in self.staged {
            change.committed(seq);
        }
        if durability == Durability::Synced {
            self.registry.store.synced(seq).await?;
        }
        Ok(())
    }
}
