//! Being told when a range, or one key, changes.
use crate::{
    error::{Error, Result},
    hyperbee::{Entry, Hyperbee},
    range::RangeOptions,
};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::fmt;

/// Two versions between which something changed.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The bee now. A checkout: it does not move.
    pub current: Hyperbee,
    /// The bee when it was last told of, or when watching began.
    pub previous: Hyperbee,
}

impl Hyperbee {
    /// Tells when something in a range of keys has changed since the last time (or since the call), until the core is closed. Changes that come
    /// while nobody asks are told as one; a truncation is always told. What changed is `current.diff(&previous, range)`. A checkout never changes, so its
    /// stream ends at once.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    /// use pome_bee::{Hyperbee, RangeOptions};
    /// # use pome_cores::{CoreOptions, Corestore};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default())?;
    /// # let cores = Corestore::open(store)?;
    /// let bee = Hyperbee::new(cores.get(CoreOptions::name("fruit")).await?);
    /// let mut changes = bee.watch(RangeOptions::new().with_gte("b"));
    /// bee.put(b"apple", "red").await?; // not in the range
    /// bee.put(b"banana", "yellow").await?;
    /// let changed = changes.try_next().await?.ok_or("closed")?;
    /// assert_eq!(changed.previous.get(b"banana").await?, None);
    /// assert!(changed.current.get(b"banana").await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn watch(&self, range: RangeOptions) -> BoxStream<'static, Result<Changed>> {
        if self.is_checkout() {
            return stream::empty().boxed();
        }
        let range = RangeOptions {
            reverse: false,
            limit: Some(1),
            ..range
        };
        // Length and fork first: what comes in between is looked at twice, not never.
        let seen = (self.core().length(), self.core().fork());
        let state = (self.clone(), range, seen, self.snapshot());
        stream::try_unfold(Some(state), |state| async move {
            let Some((bee, range, mut seen, mut previous)) = state else {
                return Ok(None);
            };
            loop {
                let fork = seen.1;
                seen = match bee.core().changed(seen).await {
                    Ok(seen) => seen,
                    Err(pome_cores::Error::Closed) => return Ok(None),
                    Err(error) => return Err(Error::from(error)),
                };
                let current = bee.snapshot();
                let forked = current.core().fork() != fork;
                let differs = || async {
                    let mut diff = current.diff(&previous, range.clone());
                    diff.try_next().await.map(|first| first.is_some())
                };
                if forked || differs().await? {
                    let changed = Changed {
                        current: current.clone(),
                        previous,
                    };
                    return Ok(Some((changed, Some((bee, range, seen, current)))));
                }
                previous = current;
            }
        })
        .boxed()
    }

    /// The entry of `key`, and a watcher that tells when it changes (npm `getAndWatch`).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_and_watch(&self, key: &[u8]) -> Result<EntryWatcher> {
        let seen = (self.core().length(), self.core().fork());
        let entry = self.get(key).await?;
        Ok(EntryWatcher {
            bee: self.clone(),
            key: Bytes::copy_from_slice(key),
            seen,
            entry,
        })
    }
}

/// Tells when the entry of one key changes: see [`Hyperbee::get_and_watch`].
pub struct EntryWatcher {
    bee: Hyperbee,
    key: Bytes,
    seen: (u64, u64),
    entry: Option<Entry>,
}

impl fmt::Debug for EntryWatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntryWatcher")
            .field("key", &self.key)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}

impl EntryWatcher {
    /// The entry as it was last seen.
    pub fn entry(&self) -> Option<&Entry> {
        self.entry.as_ref()
    }

    /// Waits until the key was put or removed again, or the core truncated, and answers the entry then. Cancel safe: a change that was not told is told
    /// by the next call.
    ///
    /// # Errors
    /// `SESSION_CLOSED` when the core is closed; else as [`Hyperbee::get`].
    pub async fn changed(&mut self) -> Result<Option<&Entry>> {
        loop {
            let seen = self.bee.core().changed(self.seen).await?;
            let entry = self.bee.get(&self.key).await?;
            let forked = seen.1 != self.seen.1;
            let seq = |entry: &Option<Entry>| entry.as_ref().map(|entry| entry.seq);
            let changed = seq(&entry) != seq(&self.entry);
            self.seen = seen;
            if forked || changed {
                self.entry = entry;
                return Ok(self.entry.as_ref());
            }
        }
    }
}
