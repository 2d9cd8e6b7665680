//! What changed between two versions, and what each version did.

use crate::{
    Entry, Error, Hyperdrive,
    entry::{FILES, key_of},
    hyperdrive::decode,
    path,
};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use pome_bee::{Change, HistoryOptions, Hyperbee, RangeOptions};
use std::pin::pin;

/// A path that differs between two versions.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The entry in the version that was asked. `None`: it is not there (any more).
    pub left: Option<Entry>,
    /// The entry in the version it was compared with. `None`: it was not there (yet).
    pub right: Option<Entry>,
}

impl Difference {
    /// The path.
    pub fn path(&self) -> &str {
        let entry = self.left.as_ref().or(self.right.as_ref());
        entry.map_or("", |entry| &entry.path)
    }
}

/// Two versions between which something changed.
#[derive(Clone)]
pub struct Watched {
    /// The drive now. A checkout: it does not move.
    pub current: Hyperdrive,
    /// The drive when it was last told of, or when watching began.
    pub previous: Hyperdrive,
}

/// What one version did.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryItem {
    /// The block of the database that did it. The drive's version after it is one more.
    pub seq: u64,
    /// The stored path.
    pub path: String,
    /// The entry that was written; `None`: it was removed.
    pub entry: Option<Entry>,
}

impl Hyperdrive {
    /// The paths below `folder` that were written by different blocks in this version and in `version`, by the bytes of the path. `left` is
    /// this version, `right` is `version`. A file that was written again with the same content differs too.
    pub fn diff(
        &self,
        version: u64,
        folder: &str,
    ) -> impl Stream<Item = Result<Difference, Error>> + Send + 'static + use<> {
        let (drive, folder) = (self.clone(), folder.to_owned());
        async_stream::try_stream! {
            drive.check_kept(version)?;
            let other = drive.db().checkout(version);
            let mut differences = drive.differences(&other, &folder)?;
            while let Some(difference) = differences.try_next().await? {
                yield difference;
            }
        }
    }

    /// What each version did, oldest first unless `options` say otherwise. Seqs as in the database, so the first change is 1. Descriptions
    /// of folders are left out, and so are changes before the oldest version that is [kept](Self::retention).
    pub fn history(
        &self,
        options: HistoryOptions,
    ) -> impl Stream<Item = Result<HistoryItem, Error>> + Send + 'static + use<> {
        let drive = self.clone();
        async_stream::try_stream! {
            let mut options = options;
            let mut db = drive.db().clone();
            let oldest = drive.retention()?.oldest;
            if oldest > 1 {
                let oldest = i64::try_from(oldest).unwrap_or(i64::MAX);
                options.gt = options.gt.map(|gt| if gt > 0 { gt.max(oldest - 1) } else { gt });
                options.gte = Some(options.gte.filter(|gte| *gte != 0).map_or(oldest, |gte| {
                    if gte > 0 { gte.max(oldest) } else { gte }
                }));
                // A bound that counts from the end may lie before.
                db = db.with_wait(false);
            }
            let mut changes = db.history(options).boxed();
            while let Some(change) = changes.try_next().await? {
                let Some(path) = change.key.strip_prefix(FILES) else {
                    continue;
                };
                let path = String::from_utf8_lossy(path).into_owned();
                let entry = match change.change {
                    Change::Del => None,
                    _ => Some(Entry::decode(change.seq, &change.key, change.value.as_deref())?),
                };
                yield HistoryItem { seq: change.seq, path, entry };
            }
        }
    }

    /// The versions at which a change was complete, oldest first, from the oldest that is [kept](Self::retention). Reads all blocks of the database since.
    ///
    /// # Errors
    /// From the database.
    pub async fn whole_versions(&self) -> Result<Vec<u64>, Error> {
        let oldest = self.retention()?.oldest;
        Ok(self.db().whole_versions_since(oldest).await?)
    }

    /// This version, or the newest one before it at which a change was complete. Reads the database's blocks up to there.
    ///
    /// # Errors
    /// `NoSuchVersion`, `VersionDropped`, and from the database.
    pub async fn whole_version(&self, version: u64) -> Result<u64, Error> {
        let versions = self.checkout(version)?.whole_versions().await?;
        Ok(versions.last().copied().unwrap_or(version))
    }

    /// The versions of one path, newest first. Reads the whole history.
    pub fn versions(
        &self,
        path: &str,
    ) -> impl Stream<Item = Result<HistoryItem, Error>> + Send + 'static + use<> {
        let (drive, path) = (self.clone(), path.to_owned());
        async_stream::try_stream! {
            let path = path::normalize(&path)?;
            let newest_first = HistoryOptions {
                reverse: true,
                ..HistoryOptions::default()
            };
            let mut changes = drive.history(newest_first).boxed();
            while let Some(change) = changes.try_next().await? {
                if change.path == path {
                    yield change;
                }
            }
        }
    }

    /// Tells when something below `folder` has changed since the last time (or since the call), until the drive is closed. Changes that come while
    /// nobody asks are told as one; a truncation is always told.
    pub fn watch(
        &self,
        folder: &str,
    ) -> impl Stream<Item = Result<Watched, Error>> + Send + 'static + use<> {
        let (drive, folder) = (self.clone(), folder.to_owned());
        let mut seen = (self.core().length(), self.core().fork());
        let begin = self.snapshot();
        async_stream::try_stream! {
            let mut previous = begin?;
            loop {
                let fork = seen.1;
                seen = match drive.core().changed(seen).await {
                    Err(pome_cores::Error::Closed) => return,
                    seen => seen?,
                };
                let current = drive.snapshot()?;
                let differences = current.differences(previous.db(), &folder)?;
                let first = pin!(differences).try_next().await?;
                if first.is_some() || current.core_fork() != fork {
                    yield Watched { current: current.clone(), previous };
                    previous = current;
                }
            }
        }
    }

    fn core_fork(&self) -> u64 {
        self.db().core().fork()
    }

    /// The paths below `folder` that differ from those of another version.
    fn differences(
        &self,
        other: &Hyperbee,
        folder: &str,
    ) -> Result<BoxStream<'static, Result<Difference, Error>>, Error> {
        let folder = path::normalize_folder(folder)?;
        let range = RangeOptions::new()
            .with_gte(key_of(FILES, &format!("{folder}/")))
            .with_lt(key_of(FILES, &format!("{folder}0")));
        let differences = self.db().diff(other, range).map(|difference| {
            let difference = difference?;
            Ok(Difference {
                left: difference.left.map(decode).transpose()?,
                right: difference.right.map(decode).transpose()?,
            })
        });
        Ok(differences.boxed())
    }
}
