//! How much of a drive's past is kept here, and who still needs what.
//!
//! A rule says which versions are kept: all (the default), the last few, or those that were current within some time. It lies in the local keyspace
//! `retention`, with the moment at which each version was first seen, and is never replicated. [`gc`](crate::Hyperdrive::gc) follows it.
//!
//! ```text
//! drive key (32) ‖ 00                  the rule, JSON: `Record`
//! drive key (32) ‖ 01 ‖ version u64    milliseconds since 1970, u64: when this version was noted (both big-endian)
//! ```

use crate::{BlobId, Error, Hyperdrive, vfs::mounted};
use pome_cores::{Batch, Corestore, Durability, Key, Local};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The local keyspace.
const SPACE: &str = "retention";
const RULE: u8 = 0;
const VERSIONS: u8 = 1;

/// Which versions of a drive are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// All of them.
    #[default]
    All,
    /// The newest and those before it, so many in all (at least 1). A version is what a command or a publication of a mount left.
    Versions(u64),
    /// Those that were the newest at some moment within this time.
    Duration(Duration),
}

/// The rule of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Which versions are kept.
    pub keep: Keep,
    /// The oldest version that can still be read here, 1 when nothing was dropped.
    pub oldest: u64,
}

/// What is stored.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_versions: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_seconds: Option<u64>,
    pub(crate) oldest: u64,
    /// Blocks of the content core (first, count) that no kept version needs, but that somebody was using.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<(u64, u64)>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            keep_versions: None,
            keep_seconds: None,
            oldest: 1,
            left: vec![],
        }
    }
}

impl Record {
    fn keep(&self) -> Keep {
        match (self.keep_versions, self.keep_seconds) {
            (Some(n), _) => Keep::Versions(n),
            (None, Some(n)) => Keep::Duration(Duration::from_secs(n)),
            (None, None) => Keep::All,
        }
    }
}

/// The rows of one drive.
pub(crate) struct Rows {
    local: Local,
    corestore: Corestore,
    key: Key,
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX))
}

impl Rows {
    fn open(corestore: &Corestore, key: Key) -> Result<Self, Error> {
        Ok(Self {
            local: corestore.local(SPACE)?,
            corestore: corestore.clone(),
            key,
        })
    }

    /// `None` where no drive of the store has a rule; writes nothing.
    fn find(corestore: &Corestore, key: Key) -> Result<Option<Self>, Error> {
        match corestore.locals(SPACE)?.iter().any(|name| name == SPACE) {
            true => Self::open(corestore, key).map(Some),
            false => Ok(None),
        }
    }

    fn rule_key(&self) -> Vec<u8> {
        [self.key.as_bytes(), &[RULE][..]].concat()
    }

    fn version_key(&self, version: u64) -> Vec<u8> {
        [self.key.as_bytes(), &[VERSIONS][..], &version.to_be_bytes()].concat()
    }

    pub(crate) fn record(&self) -> Result<Option<Record>, Error> {
        let stored = self.local.get(&self.rule_key())?;
        let decoded = stored.map(|bytes| serde_json::from_slice(&bytes).ok());
        match decoded {
            None => Ok(None),
            Some(Some(record)) => Ok(Some(record)),
            Some(None) => Err(Error::BadRetention { key: self.key }),
        }
    }

    /// The versions that were noted, oldest first, and when.
    fn versions(&self) -> Result<Vec<(u64, u64)>, Error> {
        let (start, end) = (self.version_key(0), self.version_key(u64::MAX));
        let mut versions = vec![];
        for entry in self.local.range(&start[..]..=&end[..]) {
            let (key, value) = entry.map_err(pome_cores::Error::from)?;
            let version = key.last_chunk().map(|v| u64::from_be_bytes(*v));
            let time = value.first_chunk().map(|t| u64::from_be_bytes(*t));
            versions.extend(version.zip(time));
        }
        Ok(versions)
    }

    pub(crate) fn put(&self, batch: &mut Batch, record: &Record) {
        let value = serde_json::to_vec(record).unwrap_or_default();
        batch.put(self.local.space(), self.rule_key(), value);
    }

    fn put_version(&self, batch: &mut Batch, version: u64) {
        let now = now().to_be_bytes().to_vec();
        batch.put(self.local.space(), self.version_key(version), now);
    }

    /// Forgets when versions below `oldest` were noted.
    pub(crate) fn forget_below(&self, batch: &mut Batch, oldest: u64) {
        let (start, end) = (self.version_key(0), self.version_key(oldest));
        batch.delete_range(self.local.space(), start, end);
    }

    /// Forgets the drive.
    pub(crate) fn forget(&self, batch: &mut Batch) {
        let end = [self.key.as_bytes(), &[VERSIONS + 1][..]].concat();
        batch.delete_range(self.local.space(), self.rule_key(), end);
    }

    pub(crate) fn commit(&self, batch: Batch) -> Result<(), Error> {
        let store = self.corestore.store();
        let committed = store.commit(batch, Durability::Buffered);
        committed.map_err(pome_cores::Error::from)?;
        Ok(())
    }

    /// Notes that the drive has this version.
    pub(crate) fn note(&self, version: u64) -> Result<(), Error> {
        if self.local.get(&self.version_key(version))?.is_some() {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.put_version(&mut batch, version);
        self.commit(batch)
    }

    /// The oldest version that the rule keeps.
    pub(crate) fn wanted(&self, record: &Record, version: u64) -> Result<u64, Error> {
        let mut versions = self.versions()?;
        versions.retain(|(v, _)| *v <= version);
        let oldest = match record.keep() {
            Keep::All => None,
            Keep::Versions(n) => {
                let past = usize::try_from(n.max(1) - 1).unwrap_or(usize::MAX);
                versions.iter().rev().nth(past)
            }
            Keep::Duration(time) => {
                let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                let begin = now().saturating_sub(millis);
                // The one that was the newest when that time began.
                versions.iter().rev().find(|(_, noted)| *noted <= begin)
            }
        };
        Ok(oldest.map_or(record.oldest, |(v, _)| *v).max(record.oldest))
    }
}

impl Hyperdrive {
    /// The rule by which versions are kept here, and what is left of the past.
    ///
    /// # Errors
    /// From the store.
    pub fn retention(&self) -> Result<Retention, Error> {
        let record = match self.retention_rows()? {
            Some(rows) => rows.record()?.unwrap_or_default(),
            None => Record::default(),
        };
        Ok(Retention {
            keep: record.keep(),
            oldest: record.oldest,
        })
    }

    /// Sets the rule, which stays until another is set; what it drops goes with the next [`gc`](Self::gc). What was dropped does not come back with
    /// `Keep::All`.
    ///
    /// # Errors
    /// [`Error::NotWritable`] for a drive of somebody else; from the store.
    pub async fn set_retention(&self, keep: Keep) -> Result<(), Error> {
        self.check_writable()?;
        let rows = Rows::open(self.corestore(), self.key())?;
        let mut record = rows.record()?.unwrap_or_default();
        let version = self.version();
        (record.keep_versions, record.keep_seconds) = match keep {
            Keep::All => (None, None),
            Keep::Versions(n) => (Some(n.max(1)), None),
            Keep::Duration(time) => (None, Some(time.as_secs())),
        };
        let mut batch = Batch::new();
        if let Keep::Versions(n) = keep {
            // Versions from before anybody noted them.
            let noted = rows.versions()?;
            let from = noted.first().map_or(u64::MAX, |(v, _)| *v);
            if n > 1 && noted.len() as u64 <= n && record.oldest == 1 {
                let all = self.db().whole_versions().await?;
                let missing = all.iter().rev().filter(|v| **v < from);
                for version in missing.take(usize::try_from(n).unwrap_or(usize::MAX)) {
                    rows.put_version(&mut batch, *version);
                }
            }
        }
        rows.put(&mut batch, &record);
        rows.put_version(&mut batch, version);
        rows.commit(batch)
    }

    /// Notes that the drive now has this version: call it when a change is complete. Costs nothing where no rule is set. False: no rule is set, and
    /// nothing would be dropped.
    ///
    /// # Errors
    /// From the store.
    pub fn note_version(&self) -> Result<bool, Error> {
        let Some((rows, record)) = self.retention_rule()? else {
            return Ok(false);
        };
        rows.note(self.version())?;
        Ok(record.keep() != Keep::All)
    }

    pub(crate) fn retention_rows(&self) -> Result<Option<Rows>, Error> {
        Rows::find(self.corestore(), self.key())
    }

    /// The rows and the rule, where one was ever set.
    pub(crate) fn retention_rule(&self) -> Result<Option<(Rows, Record)>, Error> {
        let Some(rows) = self.retention_rows()? else {
            return Ok(None);
        };
        Ok(rows.record()?.map(|record| (rows, record)))
    }

    /// An error for a version that was dropped here.
    pub(crate) fn check_kept(&self, version: u64) -> Result<(), Error> {
        let oldest = match self.retention_rule()? {
            Some((_, record)) => record.oldest,
            None => 1,
        };
        if version >= oldest {
            return Ok(());
        }
        Err(Error::VersionDropped {
            key: self.key(),
            version,
            oldest,
        })
    }

    /// What mounts of the drive use: the oldest version that one of them shows, and contents that are no entry's (of a file that was deleted while open,
    /// or under writes that are not published).
    pub(crate) fn in_use(&self) -> Result<(Option<u64>, Vec<BlobId>), Error> {
        mounted::in_use(self.corestore(), &self.key().to_string())
    }
}
