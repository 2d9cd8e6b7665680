//! A core of the crate `hypercore`.

use crate::{
    Job, Result, Worker,
    given::{Random, block, number},
    unsynced, version,
};
use hypercore::{Hypercore, HypercoreBuilder};
use std::path::Path;

const LARGE: usize = 64 << 10;

pub(crate) async fn measure(job: &Job) -> Result<()> {
    match job.workload.as_str() {
        "core-append" => append(job, 100, 1).await,
        "core-append-64k" => append(job, LARGE, 1).await,
        "core-batch" => append(job, 100, 1_000).await,
        "core-batch-64k" => append(job, LARGE, 64).await,
        "core-get" => get(job, 100).await,
        "core-get-64k" => get(job, LARGE).await,
        "core-reopen" => reopen(job).await,
        other => Err(format!("hypercore-rs does no {other}").into()),
    }
}

fn said() -> String {
    version("hypercore") + " (Rust, not synced)"
}

async fn open(folder: &Path, again: bool) -> Result<Hypercore> {
    let storage = unsynced!(hypercore, folder);
    Ok(HypercoreBuilder::new(storage).open(again).build().await?)
}

async fn append(job: &Job, size: usize, batch: u64) -> Result<()> {
    let mut core = open(&job.folder, false).await?;
    let worker = Worker::ready()?;
    for i in (0..job.size).step_by(batch as usize) {
        let blocks: Vec<Vec<u8>> = (i..job.size.min(i + batch))
            .map(|i| block(size, i))
            .collect();
        core.append_batch(&blocks).await?;
    }
    worker.done(job.size, job.size * size as u64, &said())
}

/// A core with so many blocks.
async fn filled(folder: &Path, size: usize, count: u64) -> Result<Hypercore> {
    let mut core = open(folder, false).await?;
    for i in (0..count).step_by(256) {
        let blocks: Vec<Vec<u8>> = (i..count.min(i + 256)).map(|i| block(size, i)).collect();
        core.append_batch(&blocks).await?;
    }
    Ok(core)
}

/// A block, as it was written.
async fn read(core: &mut Hypercore, at: u64) -> Result<()> {
    let block = core.get(at).await?.ok_or("a block is missing")?;
    match number(&block) == at {
        true => Ok(()),
        false => Err("wrong block".into()),
    }
}

async fn get(job: &Job, size: usize) -> Result<()> {
    let mut core = filled(&job.folder, size, job.size).await?;
    let mut random = Random(7);
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        read(&mut core, random.below(job.size)).await?;
    }
    worker.done(job.ops, job.ops * size as u64, &said())
}

async fn reopen(job: &Job) -> Result<()> {
    drop(filled(&job.folder, 100, job.size).await?);
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        let mut core = open(&job.folder, true).await?;
        read(&mut core, job.size - 1).await?;
    }
    worker.done(job.ops, job.ops * 100, &said())
}
