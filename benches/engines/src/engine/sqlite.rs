//! SQLite with a write-ahead log that is synced at each commit.

use super::{Engine, Key, Result};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension};
use std::{path::Path, sync::Mutex};

pub(crate) struct Sqlite(Mutex<Connection>);

impl Sqlite {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let db = Connection::open(folder.join("data.sqlite"))?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        db.pragma_update(None, "mmap_size", 1_i64 << 30)?;
        db.execute(
            "create table if not exists items (key blob primary key, value blob) without rowid",
            [],
        )?;
        Ok(Self(Mutex::new(db)))
    }

    fn db(&self) -> Result<std::sync::MutexGuard<'_, Connection>> {
        self.0.lock().map_err(|_| "a committer broke off".into())
    }
}

impl Engine for Sqlite {
    fn put(&self, key: &Key, value: Bytes) -> Result<()> {
        self.batch(vec![(*key, value)])
    }

    fn batch(&self, entries: Vec<(Key, Bytes)>) -> Result<()> {
        let mut db = self.db()?;
        let write = db.transaction()?;
        {
            let mut insert =
                write.prepare_cached("insert or replace into items values (?1, ?2)")?;
            for (key, value) in &entries {
                insert.execute((&key[..], &value[..]))?;
            }
        }
        Ok(write.commit()?)
    }

    fn delete(&self, keys: &[Key]) -> Result<()> {
        let mut db = self.db()?;
        let write = db.transaction()?;
        {
            let mut delete = write.prepare_cached("delete from items where key = ?1")?;
            for key in keys {
                delete.execute((&key[..],))?;
            }
        }
        Ok(write.commit()?)
    }

    fn get(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let db = self.db()?;
        let mut get = db.prepare_cached("select value from items where key = ?1")?;
        let found = get.query_row((&key[..],), |row| {
            see(row.get_ref(0)?.as_blob()?);
            Ok(())
        });
        Ok(found.optional()?.is_some())
    }

    fn scan(&self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let db = self.db()?;
        let mut all = db.prepare_cached("select key, value from items order by key")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            see(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        let db = self.db()?;
        db.execute("vacuum", [])?;
        db.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
