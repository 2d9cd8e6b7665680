//! A bee of the crate `hyperbee`, on a core of the older `hypercore` that it is made for. It has no batches.

use crate::{
    Job, Result, Worker,
    given::{Random, block, key, number},
    unsynced, version,
};
use hyperbee::{Hyperbee, traverse::TraverseConfig};
use hypercore_of_bee::HypercoreBuilder;
use tokio_stream::StreamExt;

/// Keys of neighbouring numbers are so far apart.
const STEP: u64 = 7_919;

pub(crate) async fn measure(job: &Job) -> Result<()> {
    let storage = unsynced!(hypercore_of_bee, &job.folder);
    let bee = Hyperbee::from_hypercore(HypercoreBuilder::new(storage).build().await?)?;
    bee.create_header(None).await?;
    match job.workload.as_str() {
        "bee-put" => put(job, &bee).await,
        "bee-get" => get(job, &bee).await,
        "bee-scan" => scan(job, &bee).await,
        other => Err(format!("hyperbee-rs does no {other}").into()),
    }
}

fn said() -> String {
    version("hyperbee") + " (Rust, not synced)"
}

async fn put(job: &Job, bee: &Hyperbee) -> Result<()> {
    let mut random = Random(11);
    let worker = Worker::ready()?;
    for i in 0..job.size {
        bee.put(&key(random.below(1_000_000_000)), Some(&block(100, i)))
            .await?;
    }
    worker.done(job.size, job.size * 100, &said())
}

async fn fill(bee: &Hyperbee, count: u64) -> Result<()> {
    for i in 0..count {
        bee.put(&key(i * STEP), Some(&block(100, i))).await?;
    }
    Ok(())
}

async fn get(job: &Job, bee: &Hyperbee) -> Result<()> {
    fill(bee, job.size).await?;
    let mut random = Random(13);
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        let at = random.below(job.size);
        let (_, value) = bee.get(&key(at * STEP)).await?.ok_or("a key is missing")?;
        if number(&value.unwrap_or_default()) != at {
            return Err("wrong value".into());
        }
    }
    worker.done(job.ops, job.ops * 100, &said())
}

async fn scan(job: &Job, bee: &Hyperbee) -> Result<()> {
    fill(bee, job.size).await?;
    let worker = Worker::ready()?;
    let mut entries = Box::pin(bee.traverse(TraverseConfig::default()).await?);
    let mut count = 0;
    while let Some(entry) = entries.next().await {
        count += u64::from(entry?.value.is_some_and(|value| value.len() == 100));
    }
    if count != job.size {
        return Err("entries are missing".into());
    }
    worker.done(count, count * 100, &said())
}
