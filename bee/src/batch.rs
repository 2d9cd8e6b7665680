//! Several writes as one append.
use crate::{
    edit::Editor,
    error::{Error, Result},
    hyperbee::{Entry, Hyperbee, PutOptions},
    range::{RangeOptions, range_of, range_of_view},
    view::Source,
};
use bytes::Bytes;
use futures_core::Stream;
use pome_cores::{Appended, Durability, Transaction};
use tokio::sync::OwnedMutexGuard;

/// Writes that become visible together, when the batch is flushed. It reads its own writes; others see nothing of them before the flush.
///
/// From its first write it holds the write lock of the bee: a plain `put` waits until the batch is flushed, closed or dropped. It lies in memory.
pub struct Batch {
    bee: Hyperbee,
    open: Option<Open>,
}

struct Open {
    guard: OwnedMutexGuard<()>,
    editor: Editor,
    header: Option<Bytes>,
}

/// A batch that is part of a transaction. Keep it until the transaction has committed (or was dropped): it holds the write lock of the bee.
#[must_use = "dropping it before the transaction commits lets other writers in between"]
pub struct Staged {
    /// The core's length after the commit; `None` when the batch was empty.
    pub appended: Option<Appended>,
    _guard: Option<OwnedMutexGuard<()>>,
}

impl Batch {
    pub(crate) fn new(bee: Hyperbee) -> Self {
        Self { bee, open: None }
    }

    /// Takes the write lock now, so that what is read from here on is what the writes start from.
    ///
    /// # Errors
    /// `ReadOnly` on a checkout; `NotWritable` when the core is not ours.
    pub async fn lock(&mut self) -> Result<()> {
        self.opened().await?;
        Ok(())
    }

    /// The version that the flush makes, if nothing is added.
    pub fn version(&self) -> u64 {
        match &self.open {
            Some(open) => open.editor.version(),
            None => self.bee.version(),
        }
    }

    /// Number of blocks that wait for the flush.
    pub fn len(&self) -> usize {
        self.open.as_ref().map_or(0, |open| open.editor.len())
    }

    /// True when the flush would add no block.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `key`, with the writes of this batch.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        let Some(open) = &self.open else {
            return self.bee.get(key).await;
        };
        match open.editor.find(&self.bee.prefixed(key)).await? {
            Some(block) => Ok(Some(self.bee.entry(&open.editor, &block).await?)),
            None => Ok(None),
        }
    }

    /// The entries of a range in key order, with the writes of this batch.
    pub fn range(
        &self,
        options: RangeOptions,
    ) -> impl Stream<Item = Result<Entry>> + Send + Unpin + '_ {
        let bounds = options.within(&self.bee.prefix);
        match &self.open {
            Some(open) => range_of(&open.editor, self.bee.clone(), bounds),
            None => range_of_view(&self.bee, bounds),
        }
    }

    /// The first entry of a range, with the writes of this batch.
    ///
    /// # Errors
    /// As [`Hyperbee::get`].
    pub async fn peek(&self, options: RangeOptions) -> Result<Option<Entry>> {
        use futures_util::TryStreamExt;
        self.range(options).try_next().await
    }

    /// Sets `key`.
    ///
    /// # Errors
    /// As [`Hyperbee::put`]. After an error half way, further calls answer `BatchFailed`.
    pub async fn put(&mut self, key: &[u8], value: impl Into<Bytes>) -> Result<()> {
        self.put_with(key, Some(value.into()), PutOptions::new())
            .await?;
        Ok(())
    }

    /// As [`put`](Self::put), with or without a value, and with a condition. Answers whether a block was added.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_with(
        &mut self,
        key: &[u8],
        value: Option<Bytes>,
        options: PutOptions,
    ) -> Result<bool> {
        let key = self.bee.prefixed(key);
        let (conditions, _) = self.bee.conditions(options);
        self.opened()
            .await?
            .editor
            .put(key, value, conditions)
            .await
    }

    /// Removes `key`; adds nothing when it is not there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del(&mut self, key: &[u8]) -> Result<()> {
        self.del_with(key, PutOptions::new()).await?;
        Ok(())
    }

    /// As [`del`](Self::del), with a condition. Answers whether a block was added.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del_with(&mut self, key: &[u8], options: PutOptions) -> Result<bool> {
        let key = self.bee.prefixed(key);
        let (conditions, _) = self.bee.conditions(options);
        self.opened().await?.editor.del(key, conditions).await
    }

    /// Appends all of it at once, and lets other writers in.
    ///
    /// # Errors
    /// Those of the append, and then nothing was written; `Conflict`; `BatchFailed`.
    pub async fn flush(mut self, durability: Durability) -> Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let result = self.bee.append(open.editor, open.header, durability).await;
        drop(open.guard);
        result
    }

    /// Stages the append in `transaction`, to be committed with whatever else is in it.
    ///
    /// # Errors
    /// As [`flush`](Self::flush); drop the transaction then.
    pub async fn flush_into(mut self, transaction: &mut Transaction) -> Result<Staged> {
        let Some(open) = self.open.take() else {
            return Ok(Staged {
                appended: None,
                _guard: None,
            });
        };
        if open.editor.len() > 0 {
            // from here on the core stays as it is, so nothing is staged for a place that another writer has taken
            transaction.lock(&[self.bee.core()]).await?;
        }
        let blocks = self.bee.blocks(open.editor, open.header)?;
        let (blocks, expected) = (blocks.blocks, blocks.first);
        if blocks.is_empty() {
            return Ok(Staged {
                appended: None,
                _guard: Some(open.guard),
            });
        }
        let count = blocks.len() as u64;
        let appended = transaction.append(self.bee.core(), blocks).await?;
        if appended.length != expected + count {
            return Err(Error::Conflict {
                key: self.bee.core().key(),
                expected,
                found: appended.length - count,
            });
        }
        Ok(Staged {
            appended: Some(appended),
            _guard: Some(open.guard),
        })
    }

    /// Gives up all of it, and lets other writers in. The same as dropping it.
    pub fn close(self) {}

    async fn opened(&mut self) -> Result<&mut Open> {
        if self.open.is_none() {
            let (guard, editor, header) = self.bee.editor().await?;
            self.open = Some(Open {
                guard,
                editor,
                header,
            });
        }
        Ok(self.open.as_mut().expect("it was opened above"))
    }
}
