//! LMDB, a memory-mapped copy-on-write B-tree.

use super::{Engine, Key, Result};
use bytes::Bytes;
use heed::{CompactionOption, Database, Env, EnvOpenOptions, types::Bytes as Raw};
use std::path::{Path, PathBuf};

pub(crate) struct Lmdb {
    folder: PathBuf,
    env: Env,
    items: Database<Raw, Raw>,
}

impl Lmdb {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let mut options = EnvOpenOptions::new();
        options.map_size(8 << 30).max_readers(64);
        // SAFETY: the folder is this benchmark's own; nobody else writes the file that is mapped.
        let env = unsafe { options.open(folder)? };
        let mut write = env.write_txn()?;
        let items = env.create_database(&mut write, None)?;
        write.commit()?;
        Ok(Self {
            folder: folder.into(),
            env,
            items,
        })
    }
}

impl Engine for Lmdb {
    fn put(&self, key: &Key, value: Bytes) -> Result<()> {
        self.batch(vec![(*key, value)])
    }

    fn batch(&self, entries: Vec<(Key, Bytes)>) -> Result<()> {
        let mut write = self.env.write_txn()?;
        for (key, value) in &entries {
            self.items.put(&mut write, key, value)?;
        }
        Ok(write.commit()?)
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut write = self.env.write_txn()?;
        for key in keys {
            self.items.delete(&mut write, key)?;
        }
        Ok(write.commit()?)
    }

    fn get(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let read = self.env.read_txn()?;
        Ok(self.items.get(&read, key)?.map(see).is_some())
    }

    fn scan(&self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let read = self.env.read_txn()?;
        for entry in self.items.iter(&read)? {
            let (key, value) = entry?;
            see(key, value);
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        // It has no compaction in place: a compacted copy takes the place of the file.
        let copy = self.folder.join("copy.mdb");
        let file = self.env.copy_to_path(&copy, CompactionOption::Enabled)?;
        // It does not sync the copy itself.
        file.sync_all()?;
        std::fs::rename(copy, self.folder.join("data.mdb"))?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}
