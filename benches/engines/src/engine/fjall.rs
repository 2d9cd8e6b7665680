//! An LSM tree with a value log; values of 1 KiB and more lie in blob files.

use super::{Engine, Key, Result};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use std::path::Path;

pub(crate) struct Fjall {
    db: Database,
    items: Keyspace,
}

impl Fjall {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let db = Database::builder(folder).open()?;
        let items = db.keyspace("items", || {
            KeyspaceCreateOptions::default()
                .with_kv_separation(Some(KvSeparationOptions::default()))
        })?;
        Ok(Self { db, items })
    }
}

impl Engine for Fjall {
    fn put(&self, key: &Key, value: Bytes) -> Result<()> {
        self.items.insert(&key[..], &value[..])?;
        Ok(self.db.persist(PersistMode::SyncData)?)
    }

    fn batch(&self, entries: Vec<(Key, Bytes)>) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for (key, value) in entries {
            batch.insert(&self.items, &key[..], &value[..]);
        }
        Ok(batch.commit()?)
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for key in keys {
            batch.remove(&self.items, &key[..]);
        }
        Ok(batch.commit()?)
    }

    fn get(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.items.get(key)?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    fn scan(&self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in self.items.iter() {
            let (key, value) = entry.into_inner()?;
            see(&key, &value);
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        self.items.rotate_memtable_and_wait()?;
        // The first run counts what is stale in the blob files, the second rewrites those.
        self.items.major_compact()?;
        self.items.major_compact()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.persist(PersistMode::SyncAll)?;
        Ok(())
    }
}
