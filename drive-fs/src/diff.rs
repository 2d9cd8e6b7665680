//! What changed between two versions, and what each version did.

use crate::{
    Entry, Error, Hyperdrive,
    entry::{FILES, key_of},
    hyperdrive::decode,
    path,
};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt};
use pome_bee::{Change, HistoryOptions, RangeOptions};

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
            let folder = path::normalize_folder(&folder)?;
            let other = drive.db().checkout(version);
            let range = RangeOptions::new()
                .with_gte(key_of(FILES, &format!("{folder}/")))
                .with_lt(key_of(FILES, &format!("{folder}0")));
            let mut differences = drive.db().diff(&other, range).boxed();
            while let Some(difference) = differences.try_next().await? {
                yield Difference {
                    left: difference.left.map(decode).transpose()?,
                    right: difference.right.map(decode).transpose()?,
                };
            }
        }
    }

    /// What each version did, oldest first unless `options` say otherwise. Seqs as in the database, so the first change is 1. Descriptions
    /// of folders are left out.
    pub fn history(
        &self,
        options: HistoryOptions,
    ) -> impl Stream<Item = Result<HistoryItem, Error>> + Send + 'static + use<> {
        let drive = self.clone();
        async_stream::try_stream! {
            let mut changes = drive.db().history(options).boxed();
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
}
