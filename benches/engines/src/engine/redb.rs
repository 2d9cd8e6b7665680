//! A copy-on-write B-tree.

use super::{Engine, Key, Result};
use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

const ITEMS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("items");

pub(crate) struct Redb(Database);

impl Redb {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let db = Database::create(folder.join("data.redb"))?;
        let write = db.begin_write()?;
        write.open_table(ITEMS)?;
        write.commit()?;
        Ok(Self(db))
    }
}

impl Engine for Redb {
    fn put(&self, key: &Key, value: Bytes) -> Result<()> {
        self.batch(vec![(*key, value)])
    }

    fn batch(&self, entries: Vec<(Key, Bytes)>) -> Result<()> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(ITEMS)?;
            for (key, value) in &entries {
                table.insert(&key[..], &value[..])?;
            }
        }
        Ok(write.commit()?)
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let write = self.0.begin_write()?;
        {
            let mut table = write.open_table(ITEMS)?;
            for key in keys {
                table.remove(&key[..])?;
            }
        }
        Ok(write.commit()?)
    }

    fn get(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let table = self.0.begin_read()?.open_table(ITEMS)?;
        let value = table.get(&key[..])?;
        Ok(value.map(|value| see(value.value())).is_some())
    }

    fn scan(&self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let table = self.0.begin_read()?.open_table(ITEMS)?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            see(key.value(), value.value());
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        while self.0.compact()? {}
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
