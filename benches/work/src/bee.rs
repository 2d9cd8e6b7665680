//! Bees: sorted keys on a core.

use crate::{
    Job, Result, VERSION,
    core::open,
    given::{Random, block, key, number},
};
use futures_util::TryStreamExt;
use pome_bee::{Hyperbee, RangeOptions};
use pome_bench_support::Worker;
use pome_cores::{CoreOptions, Corestore, Durability};

/// Entries of one batch.
const BATCH: u64 = 1_000;
/// Keys of neighbouring numbers are so far apart.
const STEP: u64 = 7_919;

pub(crate) async fn measure(job: &Job) -> Result<()> {
    let store = open(&job.folder)?;
    match job.workload.as_str() {
        "bee-put" => put(job, &store, 1).await?,
        "bee-batch" => put(job, &store, BATCH).await?,
        "bee-get" => get(job, &store).await?,
        "bee-scan" => scan(job, &store).await?,
        "bee-diff" => diff(job, &store).await?,
        other => return Err(format!("no workload {other}").into()),
    }
    Ok(store.close().await?)
}

async fn empty(store: &Corestore) -> Result<Hyperbee> {
    Ok(Hyperbee::new(store.get(CoreOptions::name("bench")).await?))
}

/// A bee with so many entries.
async fn filled(store: &Corestore, count: u64) -> Result<Hyperbee> {
    let bee = empty(store).await?;
    for i in (0..count).step_by(BATCH as usize) {
        let mut batch = bee.batch();
        for j in i..count.min(i + BATCH) {
            batch.put(&key(j * STEP), block(100, j)).await?;
        }
        batch.flush(Durability::Buffered).await?;
    }
    Ok(bee)
}

async fn put(job: &Job, store: &Corestore, batch_size: u64) -> Result<()> {
    let bee = empty(store).await?;
    let mut random = Random::new(11);
    let worker = Worker::ready()?;
    for i in (0..job.size).step_by(batch_size as usize) {
        if batch_size == 1 {
            bee.put(&key(random.below(1_000_000_000)), block(100, i))
                .await?;
            continue;
        }
        let mut batch = bee.batch();
        for j in i..job.size.min(i + batch_size) {
            batch
                .put(&key(random.below(1_000_000_000)), block(100, j))
                .await?;
        }
        batch.flush(Durability::Buffered).await?;
    }
    Ok(worker.done(job.size, job.size * 100, VERSION)?)
}

async fn get(job: &Job, store: &Corestore) -> Result<()> {
    let bee = filled(store, job.size).await?;
    let mut random = Random::new(13);
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        let at = random.below(job.size);
        let entry = bee.get(&key(at * STEP)).await?.ok_or("a key is missing")?;
        if number(&entry.value.unwrap_or_default()) != at {
            return Err("wrong value".into());
        }
    }
    Ok(worker.done(job.ops, job.ops * 100, VERSION)?)
}

async fn scan(job: &Job, store: &Corestore) -> Result<()> {
    let bee = filled(store, job.size).await?;
    let worker = Worker::ready()?;
    let mut entries = bee.range(RangeOptions::default());
    let mut count = 0;
    while let Some(entry) = entries.try_next().await? {
        count += u64::from(entry.value.is_some_and(|value| value.len() == 100));
    }
    if count != job.size {
        return Err("entries are missing".into());
    }
    Ok(worker.done(count, count * 100, VERSION)?)
}

/// The entries that are changed, evenly among all, and what came of comparing the bee with what it was.
async fn diff(job: &Job, store: &Corestore) -> Result<()> {
    let bee = filled(store, job.size).await?;
    let before = bee.checkout(bee.version());
    let mut batch = bee.batch();
    for i in 0..job.ops {
        let at = i * (job.size / job.ops);
        batch.put(&key(at * STEP), block(100, at + 1)).await?;
    }
    batch.flush(Durability::Buffered).await?;
    let worker = Worker::ready()?;
    let mut found = 0;
    let mut changes = bee.diff(&before, RangeOptions::default());
    while changes.try_next().await?.is_some() {
        found += 1;
    }
    if found != job.ops {
        return Err(format!("{found} differ of {}", job.ops).into());
    }
    Ok(worker.done(found, found * 100, VERSION)?)
}
