//! Our block store, as it is opened by default.

use super::{Engine, Key, Result};
use bytes::Bytes;
use pome_storage::{Batch, Durability, Options, Space, Store};
use std::path::Path;

const SPACE: Space = Space(7);

pub(crate) struct Pome(Store);

impl Pome {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        Ok(Self(Store::open(folder, Options::default())?))
    }
}

impl Engine for Pome {
    fn put(&self, key: &Key, value: Bytes) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(SPACE, &key[..], value);
        self.0.commit(batch, Durability::Synced)?;
        Ok(())
    }

    fn batch(&self, entries: Vec<(Key, Bytes)>) -> Result<()> {
        let mut batch = Batch::new();
        for (key, value) in entries {
            batch.put(SPACE, &key[..], value);
        }
        self.0.commit(batch, Durability::Synced)?;
        Ok(())
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut batch = Batch::new();
        for key in keys {
            batch.delete(SPACE, &key[..]);
        }
        self.0.commit(batch, Durability::Synced)?;
        Ok(())
    }

    fn get(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.0.get(SPACE, key)?;
        Ok(value.map(|value| see(&value)).is_some())
    }

    fn scan(&self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in self.0.snapshot().range(SPACE, ..) {
            let (key, value) = entry?;
            see(&key, &value);
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        self.0.compact()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.0.close()?)
    }
}
