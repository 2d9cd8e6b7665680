//! Fetching files ahead of their use, and whom a drive hears from.

use crate::{Blobs, Entry, Error, Hyperdrive, ListOptions, MirrorOptions, MirrorSide, Mirrordrive};
use futures_core::Stream;
use futures_util::TryStreamExt;
use pome_cores::{CoreOptions, Corestore, Key, StoreFindingPeers, replication::Download};
use std::{ops::Range, pin::pin};

/// More runs of blocks than this are fetched as a list of blocks.
const RUNS_MAX: usize = 64;

/// Files, or parts of a drive's cores, that are being fetched. Dropping it ends that; what is here stays.
#[must_use = "a download ends when its handle is dropped"]
#[derive(Debug)]
pub struct DriveDownload {
    parts: Vec<Download>,
}

impl DriveDownload {
    /// Waits until all of it is here. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Core`] when the store is closed.
    pub async fn done(&mut self) -> Result<(), Error> {
        while let Some(part) = self.parts.last_mut() {
            part.done().await?;
            self.parts.pop();
        }
        Ok(())
    }
}

/// Runs of blocks in order, without overlaps.
pub(crate) fn merged(mut runs: Vec<Range<u64>>) -> Vec<Range<u64>> {
    runs.sort_unstable_by_key(|run| run.start);
    let mut all: Vec<Range<u64>> = Vec::new();
    for run in runs.into_iter().filter(|run| !run.is_empty()) {
        match all.last_mut() {
            Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
            _ => all.push(run),
        }
    }
    all
}

async fn fetch(
    blobs: &Blobs,
    entries: impl Stream<Item = Result<Entry, Error>>,
) -> Result<DriveDownload, Error> {
    let mut runs = Vec::new();
    let mut entries = pin!(entries);
    while let Some(entry) = entries.try_next().await? {
        let Some(blob) = entry.value.blob else {
            continue;
        };
        runs.extend(blobs.ranges(&blob).await?);
    }
    let runs = merged(runs);
    let core = blobs.core();
    // What an entry says of blocks that the core does not have is not waited for, nor made a list of.
    let length = core.length();
    let runs = runs.into_iter().map(|run| match run.end <= length {
        true => run,
        false => run.start..run.end.min(length.max(run.start)),
    });
    let runs: Vec<_> = runs.filter(|run| !run.is_empty()).collect();
    let parts = match runs.len() {
        0..=RUNS_MAX => {
            let parts = runs.into_iter().map(|run| core.download(run));
            parts.collect::<Result<_, _>>()?
        }
        _ => vec![core.download_blocks(runs.into_iter().flatten().collect())?],
    };
    Ok(DriveDownload { parts })
}

/// Fetching, and peers.
impl Hyperdrive {
    /// Fetches the content of the file at `path`, or of all files below it that `options` name. Answers once the entries are known; the contents
    /// come until what is answered is dropped. Without peers it waits for some.
    ///
    /// # Errors
    /// As [`list`](Self::list) and [`blobs`](Self::blobs).
    pub async fn download(&self, path: &str, options: ListOptions) -> Result<DriveDownload, Error> {
        let folder = crate::path::normalize_folder(path)?;
        let file = match folder.is_empty() {
            true => None,
            false => self.entry(&folder).await?,
        };
        let blobs = self.blobs().await?;
        blobs.core().update().await?;
        match file {
            Some(entry) => {
                let one = futures_util::stream::iter([Ok(entry)]);
                fetch(blobs, one).await
            }
            None => fetch(blobs, self.list(path, options)).await,
        }
    }

    /// Fetches the contents of what was written below `folder` since `version`.
    ///
    /// # Errors
    /// As [`diff`](Self::diff) and [`blobs`](Self::blobs).
    pub async fn download_diff(&self, version: u64, folder: &str) -> Result<DriveDownload, Error> {
        let blobs = self.blobs().await?;
        blobs.core().update().await?;
        let written = self.diff(version, folder);
        let written = written.try_filter_map(|difference| std::future::ready(Ok(difference.left)));
        fetch(blobs, written).await
    }

    /// Fetches blocks of the database core and of the content core.
    ///
    /// # Errors
    /// As [`blobs`](Self::blobs).
    pub async fn download_range(
        &self,
        database: Vec<Range<u64>>,
        contents: Vec<Range<u64>>,
    ) -> Result<DriveDownload, Error> {
        let mut parts = Vec::new();
        for run in merged(database) {
            parts.push(self.core().download(run)?);
        }
        let contents = merged(contents);
        if !contents.is_empty() {
            let blobs = self.blobs().await?;
            for run in contents {
                parts.push(blobs.core().download(run)?);
            }
        }
        Ok(DriveDownload { parts })
    }

    /// Asks the peers that there are whether the drive has grown, and waits for it. A checkout never does.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub async fn update(&self) -> Result<bool, Error> {
        match self.is_checkout() {
            true => Ok(false),
            false => Ok(self.core().update().await?),
        }
    }

    /// Says that peers are being looked for, for both cores (and all others of the store): [`update`](Self::update) waits for the first one until what is
    /// returned is dropped.
    pub fn finding_peers(&self) -> StoreFindingPeers {
        self.corestore().finding_peers()
    }

    /// Whether this drive keeps both its cores downloading (default: true).
    ///
    /// # Errors
    /// As [`blobs`](Self::blobs); but a content core that nobody knows yet is left out.
    pub async fn set_active(&self, active: bool) -> Result<(), Error> {
        self.core().set_active(active);
        if self.content_key().is_some() {
            self.blobs().await?.core().set_active(active);
        }
        Ok(())
    }

    /// Closes the drive: its cores' sessions, those of its clones and checkouts, and its watchers end. The store stays open.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub async fn close(&self) -> Result<(), Error> {
        self.core().close().await?;
        if self.content_key().is_some() {
            self.blobs().await?.core().close().await?;
        }
        Ok(self.corestore().close().await?)
    }

    /// Makes `target` like this drive: see [`Mirrordrive::new`].
    pub fn mirror(&self, target: impl Into<MirrorSide>, options: MirrorOptions) -> Mirrordrive {
        Mirrordrive::new(self.clone(), target, options)
    }

    /// The key of the drive that `store` derives from its namespace, whether it was opened before or not.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub async fn drive_key(store: &Corestore) -> Result<Key, Error> {
        let options = CoreOptions::name("db").with_active(false);
        Ok(store.get(options).await?.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_merged() {
        assert_eq!(merged(vec![5..7, 0..2, 2..3, 6..9, 4..4]), [0..3, 5..9]);
        assert!(merged(vec![]).is_empty());
    }
}
