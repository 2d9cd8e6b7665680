//! Cores on a store.

use crate::{
    Job, Result, VERSION,
    given::{Random, block, number},
};
use futures_util::TryStreamExt;
use pome_bench_support::Worker;
use pome_cores::{CoreOptions, Corestore, Hypercore, ReadStreamOptions, Store};
use std::path::Path;

const LARGE: usize = 64 << 10;

pub(crate) fn open(folder: &Path) -> Result<Corestore> {
    Ok(Corestore::open(Store::open(folder, Default::default())?)?)
}

pub(crate) async fn measure(job: &Job) -> Result<()> {
    match job.workload.as_str() {
        "core-append" => append(job, 100, 1).await,
        "core-append-64k" => append(job, LARGE, 1).await,
        "core-batch" => append(job, 100, 1_000).await,
        "core-batch-64k" => append(job, LARGE, 64).await,
        "core-get" => get(job, 100).await,
        "core-get-64k" => get(job, LARGE).await,
        "core-stream" => stream(job).await,
        "core-reopen" => reopen(job).await,
        other => Err(format!("no workload {other}").into()),
    }
}

async fn append(job: &Job, size: usize, batch: u64) -> Result<()> {
    let store = open(&job.folder)?;
    let core = store.get(CoreOptions::name("bench")).await?;
    let worker = Worker::ready()?;
    let mut i = 0;
    while i < job.size {
        let end = job.size.min(i + batch);
        let blocks = (i..end).map(|i| block(size, i)).collect();
        core.append_batch(blocks).await?;
        i = end;
    }
    worker.done(job.size, job.size * size as u64, VERSION)?;
    Ok(store.close().await?)
}

/// A core with so many blocks.
async fn filled(store: &Corestore, size: usize, count: u64) -> Result<Hypercore> {
    let core = store.get(CoreOptions::name("bench")).await?;
    for i in (0..count).step_by(256) {
        let blocks = (i..count.min(i + 256)).map(|i| block(size, i)).collect();
        core.append_batch(blocks).await?;
    }
    Ok(core)
}

async fn get(job: &Job, size: usize) -> Result<()> {
    let store = open(&job.folder)?;
    let core = filled(&store, size, job.size).await?;
    let mut random = Random::new(7);
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        let at = random.below(job.size);
        if number(&core.get(at).await?) != at {
            return Err("wrong block".into());
        }
    }
    worker.done(job.ops, job.ops * size as u64, VERSION)?;
    Ok(store.close().await?)
}

async fn stream(job: &Job) -> Result<()> {
    let store = open(&job.folder)?;
    let core = filled(&store, 100, job.size).await?;
    let worker = Worker::ready()?;
    let mut blocks = core.read_stream(ReadStreamOptions::default());
    let mut at = 0;
    while let Some(block) = blocks.try_next().await? {
        if number(&block) != at {
            return Err("wrong block".into());
        }
        at += 1;
    }
    if at != job.size {
        return Err("blocks are missing".into());
    }
    worker.done(at, at * 100, VERSION)?;
    Ok(store.close().await?)
}

async fn reopen(job: &Job) -> Result<()> {
    let store = open(&job.folder)?;
    filled(&store, 100, job.size).await?;
    store.close().await?;
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        let store = open(&job.folder)?;
        let core = store.get(CoreOptions::name("bench")).await?;
        if number(&core.get(job.size - 1).await?) != job.size - 1 {
            return Err("wrong block".into());
        }
        store.close().await?;
    }
    Ok(worker.done(job.ops, job.ops * 100, VERSION)?)
}
