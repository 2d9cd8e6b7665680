//! One face for all engines. Every write is on disk when it returns.

mod fjall;
mod lmdb;
mod pome;
mod redb;
mod sqlite;

use bytes::Bytes;
use std::path::Path;

pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

pub(crate) type Key = [u8; 32];

/// An open store.
pub(crate) trait Engine: Send + Sync {
    /// One value, durable.
    fn put(&self, key: &Key, value: Bytes) -> Result<()>;
    /// Many values in one durable commit.
    fn batch(&self, entries: Vec<(Key, Bytes)>) -> Result<()>;
    /// Removes many in one durable commit.
    fn delete(&self, keys: &[Key]) -> Result<()>;
    /// Shows the value as the engine hands it out; false when there is none.
    fn get(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// Shows all keys and values, in key order.
    fn scan(&self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;
    /// Gives back what was deleted, as far as the engine does on demand.
    fn compact(&mut self) -> Result<()>;
    fn close(self: Box<Self>) -> Result<()>;
}

pub(crate) const ALL: &[&str] = &["pome", "fjall", "redb", "lmdb", "sqlite"];

pub(crate) fn open(name: &str, folder: &Path) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(folder)?;
    Ok(match name {
        "pome" => Box::new(pome::Pome::open(folder)?),
        "fjall" => Box::new(fjall::Fjall::open(folder)?),
        "redb" => Box::new(redb::Redb::open(folder)?),
        "lmdb" => Box::new(lmdb::Lmdb::open(folder)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(folder)?),
        other => return Err(format!("no engine {other}").into()),
    })
}
