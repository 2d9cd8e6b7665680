//! Several changes of a drive as one commit.

use crate::{
    Entry, EntryValue, Error, Hyperdrive, PutOptions,
    entry::{database_key, folder_key, link_key},
    path,
    posix::PosixMetadata,
};
use bytes::Bytes;
use pome_cores::{Durability, Transaction};
use serde_json::Value;
use std::collections::BTreeMap;

/// Changes that are kept in memory until [`flush`](Self::flush), and then become visible together: contents, entries, all in one commit.
/// The database gets one block for each changed entry, the content core one append.
///
/// Contents given to [`put`](Self::put) are in memory until then: see [`staged_bytes`](Self::staged_bytes). For large files, write the
/// content with [`Hyperdrive::blob_writer`] and give its id to [`put_entry`](Self::put_entry).
pub struct DriveBatch {
    drive: Hyperdrive,
    changes: Vec<Change>,
    contents: Vec<Bytes>,
    bytes: u64,
    /// The contents of the changes before this one are stored.
    stored: usize,
    /// The last change of each key.
    last: BTreeMap<Vec<u8>, usize>,
}

/// A batch that is part of a transaction. Keep it until the transaction has committed: it keeps other writers of the entries away.
#[must_use = "keep it until the transaction has committed"]
pub struct Staged {
    entries: pome_bee::Staged,
}

impl Staged {
    /// The version that the transaction makes; `None` where nothing changes.
    pub(crate) fn version(&self) -> Option<u64> {
        self.entries.appended.map(|appended| appended.length)
    }
}

struct Change {
    key: Vec<u8>,
    what: What,
}

enum What {
    /// The content is `contents[at]`.
    Content {
        at: usize,
        value: EntryValue,
    },
    Entry(EntryValue),
    Text(Bytes),
    Delete,
}

impl DriveBatch {
    pub(crate) fn new(drive: Hyperdrive) -> Self {
        Self {
            drive,
            changes: Vec::new(),
            contents: Vec::new(),
            bytes: 0,
            stored: 0,
            last: BTreeMap::new(),
        }
    }

    fn push(&mut self, key: Vec<u8>, what: What) {
        self.last.insert(key.clone(), self.changes.len());
        self.changes.push(Change { key, what });
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn put(
        &mut self,
        path: &str,
        content: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<(), Error> {
        let key = database_key(&path::normalize(path)?);
        let value = EntryValue {
            executable: options.executable,
            metadata: options.metadata,
            ..EntryValue::default()
        };
        let content = content.into();
        self.bytes += content.len() as u64;
        let at = self.contents.len();
        self.contents.push(content);
        self.push(key, What::Content { at, value });
        Ok(())
    }

    /// Writes an entry without touching the contents.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn put_entry(&mut self, path: &str, value: EntryValue) -> Result<(), Error> {
        let key = database_key(&path::normalize(path)?);
        self.push(key, What::Entry(value));
        Ok(())
    }

    /// Writes an entry as the JSON that is given, byte for byte as `JSON.stringify` writes it: for entries with fields, or an order
    /// of fields, that [`EntryValue`] does not have.
    ///
    /// # Errors
    /// [`Error::Path`]; [`Error::BadEntry`] when it could not be read again.
    pub fn put_json(&mut self, path: &str, value: &Value) -> Result<(), Error> {
        let path = path::normalize(path)?;
        let text = Bytes::from(crate::json::to_vec(value));
        if let Err(field) = EntryValue::decode(&text) {
            let seq = self.drive.version();
            return Err(Error::BadEntry { path, seq, field });
        }
        self.push(database_key(&path), What::Text(text));
        Ok(())
    }

    /// Writes a symlink; `target` is stored as given.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn symlink(
        &mut self,
        path: &str,
        target: &str,
        metadata: Option<Value>,
    ) -> Result<(), Error> {
        let value = EntryValue {
            metadata,
            ..EntryValue::symlink(target)
        };
        self.put_entry(path, value)
    }

    /// Removes an entry; without one, nothing is written.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn del(&mut self, path: &str) -> Result<(), Error> {
        let key = database_key(&path::normalize(path)?);
        self.push(key, What::Delete);
        Ok(())
    }

    /// Describes a folder (see [`posix`](crate::posix)): needed for one that is empty or has other than default attributes. JavaScript
    /// peers never see it. The root is allowed.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn put_folder(&mut self, path: &str, posix: &PosixMetadata) -> Result<(), Error> {
        let key = folder_key(&path::normalize_folder(path)?);
        let posix = PosixMetadata {
            dir: true,
            ..posix.clone()
        };
        let value = EntryValue {
            metadata: posix.encode_into(None),
            ..EntryValue::default()
        };
        self.push(key, What::Entry(value));
        Ok(())
    }

    /// Notes that a path is, or is no longer, a name of the file of several names with this number.
    pub(crate) fn note_link(&mut self, id: u64, path: &str, there: bool) -> Result<(), Error> {
        let key = link_key(id, &path::normalize(path)?);
        let what = match there {
            true => What::Text(Bytes::from_static(b"{}")),
            false => What::Delete,
        };
        self.push(key, what);
        Ok(())
    }

    /// Removes the description of a folder; without one, nothing is written.
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn del_folder(&mut self, path: &str) -> Result<(), Error> {
        let key = folder_key(&path::normalize_folder(path)?);
        self.push(key, What::Delete);
        Ok(())
    }

    /// The entry at `path` as this batch leaves it. One that the batch writes has the `seq` of the drive's version, and no blob while
    /// its content is only staged.
    ///
    /// # Errors
    /// As [`Hyperdrive::entry`].
    pub async fn entry(&self, path: &str) -> Result<Option<Entry>, Error> {
        let path = path::normalize(path)?;
        let Some(at) = self.last.get(&database_key(&path)) else {
            return self.drive.entry(&path).await;
        };
        let seq = self.drive.version();
        Ok(match &self.changes[*at].what {
            What::Delete => None,
            What::Content { value, .. } | What::Entry(value) => Some(Entry {
                seq,
                path,
                value: value.clone(),
            }),
            What::Text(text) => Some(Entry::decode(seq, path.as_bytes(), Some(text))?),
        })
    }

    /// The content of the file at `path` as this batch leaves it.
    ///
    /// # Errors
    /// As [`Hyperdrive::get`].
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, Error> {
        let path = path::normalize(path)?;
        let staged = self.last.get(&database_key(&path));
        if let Some(What::Content { at, .. }) = staged.map(|at| &self.changes[*at].what) {
            return Ok(Some(self.contents[*at].clone()));
        }
        match self.entry(&path).await?.and_then(|e| e.value.blob) {
            None => Ok(None),
            Some(blob) => self.drive.blobs().await?.get(&blob).await.map(Some),
        }
    }

    /// Writes a row of the database that is no file: what others keep beside the files.
    pub fn put_row(&mut self, key: &[u8], value: impl Into<Bytes>) {
        self.push(key.to_vec(), What::Text(value.into()));
    }

    /// Stores the contents that are staged so far, and keeps the entries: memory is given back, and nobody sees a file yet.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub async fn store_contents(&mut self, durability: Durability) -> Result<(), Error> {
        if !self.contents.is_empty() {
            let contents = self.contents.clone();
            let mut transaction = self.drive.corestore().transaction();
            let blobs = self.drive.blobs().await?;
            let blobs = blobs.stage(&mut transaction, contents).await?;
            transaction.commit(durability).await?;
            self.contents.clear();
            self.bytes = 0;
            for Change { what, .. } in &mut self.changes[self.stored..] {
                if let What::Content { at, value } = what {
                    let mut value = std::mem::take(value);
                    value.blob = Some(blobs[*at]);
                    *what = What::Entry(value);
                }
            }
        }
        self.stored = self.changes.len();
        Ok(())
    }

    /// How many changes are staged.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// True when nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many bytes of content are staged in memory.
    pub fn staged_bytes(&self) -> u64 {
        self.bytes
    }

    /// Commits all of it.
    ///
    /// # Errors
    /// [`Error::Core`], [`Error::Bee`]; then nothing was written.
    pub async fn flush(self, durability: Durability) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        let mut transaction = self.drive.corestore().transaction();
        let _staged = self.flush_into(&mut transaction).await?;
        Ok(transaction.commit(durability).await?)
    }

    /// Stages all of it in a transaction, which then also holds the write locks of both cores. Keep the answer until it has committed. At most one batch with contents per drive
    /// and transaction.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub async fn flush_into(self, transaction: &mut Transaction) -> Result<Staged, Error> {
        // Always the contents first, then the entries: two writers never hold one core each and wait for the other.
        let blobs = match self.contents.is_empty() {
            true => Vec::new(),
            false => {
                let blobs = self.drive.blobs().await?;
                blobs.stage(transaction, self.contents).await?
            }
        };
        let mut batch = self.drive.db().batch();
        for Change { key, what } in self.changes {
            match what {
                What::Delete => batch.del(&key).await?,
                What::Entry(value) => batch.put(&key, value.encode()).await?,
                What::Text(text) => batch.put(&key, text).await?,
                What::Content { at, mut value } => {
                    value.blob = Some(blobs[at]);
                    batch.put(&key, value.encode()).await?;
                }
            }
        }
        Ok(Staged {
            entries: batch.flush_into(transaction).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DriveOptions;
    use pome_cores::Corestore;
    use pome_storage::{Options, Store};
    use pome_wal::{Faults, SimDevice};
    use std::sync::Arc;

    #[tokio::test]
    async fn contents_that_a_full_disk_did_not_take_are_stored_later() {
        let device = SimDevice::new(1);
        let mut options = Options::default();
        options.background = false;
        options.payload_segment_bytes = 256 << 10;
        options.log_segment_bytes = 64 << 10;
        let store = Store::open_on(Arc::new(device.clone()), options).unwrap();
        let cores = Corestore::open(store).unwrap();
        let drive = Hyperdrive::open(cores, DriveOptions::default());
        let drive = drive.await.unwrap();
        let bytes = vec![1; 1 << 20];
        let mut batch = drive.batch().unwrap();
        batch
            .put("/f", bytes.clone(), PutOptions::default())
            .unwrap();
        let mut faults = Faults::default();
        faults.space_bytes = Some(0);
        device.set_faults(faults);
        let stored = batch.store_contents(Durability::Buffered).await;
        assert!(stored.is_err());
        assert_eq!(batch.staged_bytes(), 1 << 20);
        device.set_faults(Faults::default());
        batch.flush(Durability::Buffered).await.unwrap();
        assert_eq!(drive.get("/f").await.unwrap().unwrap(), bytes);
    }
}
