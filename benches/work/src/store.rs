//! The engine below it all: 32 B keys and 100 B values. Other engines do the same work, through the same face.

use crate::{Job, Result, VERSION};
use bytes::Bytes;
use pome_bench_support::Worker;
pub use pome_bench_support::mix;
use pome_storage::{Batch, Durability, Options, Space, Store};
use std::path::Path;

/// A key.
pub type Key = [u8; 32];

/// An open store. Every write is on disk when it returns.
pub trait Engine: Send + Sync {
    /// One value, durable.
    ///
    /// # Errors
    /// Those of the engine, as everywhere here.
    fn put(&self, key: &Key, value: Bytes) -> Result<()>;
    /// Many values in one durable commit.
    ///
    /// # Errors
    /// Those of the engine.
    fn batch(&self, entries: Vec<(Key, Bytes)>) -> Result<()>;
    /// Removes many in one durable commit.
    ///
    /// # Errors
    /// Those of the engine.
    fn delete(&self, keys: &[Key]) -> Result<()>;
    /// Shows the value as the engine hands it out; false when there is none.
    ///
    /// # Errors
    /// Those of the engine.
    fn get(&self, key: &Key, see: &mut dyn FnMut(&[u8])) -> Result<bool>;
    /// Shows all keys and values, in key order.
    ///
    /// # Errors
    /// Those of the engine.
    fn scan(&self, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;
    /// Gives back what was deleted, as far as the engine does on demand.
    ///
    /// # Errors
    /// Those of the engine.
    fn compact(&mut self) -> Result<()>;
    /// Closes it.
    ///
    /// # Errors
    /// Those of the engine.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Our block store, as it is opened by default.
#[derive(Debug)]
pub struct Pome(Store);

const SPACE: Space = Space(7);

impl Pome {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self(Store::open(folder, Options::default())?))
    }
}

impl Engine for Pome {
    fn put(&self, key: &Key, value: Bytes) -> Result<()> {
        self.batch(vec![(*key, value)])
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
        let snapshot = self.0.snapshot();
        let mut scan = snapshot.scan(SPACE, ..);
        while let Some((key, value)) = scan.next_entry()? {
            see(key, value);
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

/// The key of the n-th value: 32 bytes.
pub fn key(n: usize) -> Key {
    let mut key = [0; 32];
    let mut state = n as u64;
    for part in key.chunks_mut(8) {
        state = mix(state);
        part.copy_from_slice(&state.to_le_bytes());
    }
    key
}

/// Bytes from which the values are cut, so that making them costs nothing while the clock runs.
#[derive(Debug, Clone)]
pub struct Values {
    pool: Bytes,
    len: usize,
}

impl Values {
    /// Values of so many bytes.
    pub fn new(len: usize) -> Self {
        let pool = (0..(8 << 20) / 8)
            .flat_map(|n: u64| mix(n).to_le_bytes())
            .collect::<Vec<u8>>();
        Self {
            pool: pool.into(),
            len,
        }
    }

    /// The n-th.
    pub fn value(&self, n: usize) -> Bytes {
        let room = self.pool.len() - self.len;
        let start = (mix(n as u64) as usize) % room;
        self.pool.slice(start..start + self.len)
    }
}

/// Bytes of a value.
pub(crate) const VALUE: usize = 100;
/// Values of one commit.
pub(crate) const BATCH: usize = 1_000;

pub(crate) fn of_pome(job: &Job) -> Result<()> {
    match job.workload.as_str() {
        "store-check" => return check(job, VALUE, BATCH),
        "store-check-64k" => return check(job, 64 << 10, 64),
        _ => {}
    }
    measure(job, VERSION, &|folder| Ok(Box::new(Pome::open(folder)?)))
}

/// Does a workload `store-…` with an engine.
///
/// # Errors
/// Those of the engine, or when there is no such workload.
pub fn measure(
    job: &Job,
    version: &str,
    open: &dyn Fn(&Path) -> Result<Box<dyn Engine>>,
) -> Result<()> {
    let (count, ops) = (job.size as usize, job.ops as usize);
    let values = Values::new(VALUE);
    let mut store = open(&job.folder.join("store"))?;
    let bytes = |items: usize| (items * (VALUE + 32)) as u64;
    match job.workload.as_str() {
        "store-put" => {
            let worker = Worker::ready()?;
            for n in 0..count {
                store.put(&key(n), values.value(n))?;
            }
            worker.done(job.size, bytes(count), version)?;
        }
        "store-batch" => {
            let worker = Worker::ready()?;
            fill(&*store, &values, count)?;
            worker.done(job.size, bytes(count), version)?;
        }
        "store-get" => {
            fill(&*store, &values, count)?;
            let worker = Worker::ready()?;
            for n in 0..ops {
                let key = key((mix(n as u64) % job.size) as usize);
                let mut len = 0;
                store.get(&key, &mut |value| {
                    len = value.len();
                    std::hint::black_box(value.last());
                })?;
                if len != VALUE {
                    return Err("a value is not there, or not whole".into());
                }
            }
            worker.done(job.ops, bytes(ops), version)?;
        }
        "store-scan" => {
            fill(&*store, &values, count)?;
            let worker = Worker::ready()?;
            let mut seen = 0;
            store.scan(&mut |_, value| {
                seen += 1;
                std::hint::black_box(value.last());
            })?;
            if seen != count {
                return Err(format!("{seen} of {count} are there").into());
            }
            worker.done(job.size, bytes(count), version)?;
        }
        "store-compact" => {
            fill(&*store, &values, count)?;
            let dead: Vec<Key> = (0..count).step_by(2).map(key).collect();
            for keys in dead.chunks(BATCH) {
                store.delete(keys)?;
            }
            let worker = Worker::ready()?;
            store.compact()?;
            worker.done(1, bytes(count / 2), version)?;
        }
        other => return Err(format!("no workload {other}").into()),
    }
    store.close()
}

fn fill(store: &dyn Engine, values: &Values, count: usize) -> Result<()> {
    fill_in(store, values, count, BATCH)
}

fn fill_in(store: &dyn Engine, values: &Values, count: usize, batch: usize) -> Result<()> {
    for first in (0..count).step_by(batch) {
        let entries = first..count.min(first + batch);
        store.batch(entries.map(|n| (key(n), values.value(n))).collect())?;
    }
    Ok(())
}

/// Checks a store with values of so many bytes, written in batches of so many.
fn check(job: &Job, size: usize, batch: usize) -> Result<()> {
    let store = Pome::open(&job.folder.join("store"))?;
    fill_in(&store, &Values::new(size), job.size as usize, batch)?;
    let worker = Worker::ready()?;
    let report = store.0.check(&mut |_, _| ())?;
    if report.keys < job.size || !report.is_clean() {
        return Err("keys are missing, or bad".into());
    }
    worker.done(report.keys, report.bytes, VERSION)?;
    Box::new(store).close()
}
