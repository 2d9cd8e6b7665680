//! What the disk and the hash give when nothing stands between: the bare loops.

use crate::{
    data::{Size, Values},
    engine::Result,
    run::{MIB, Sample, sample},
};
use blake2b_simd::{Params, many::HashManyJob};
use bytes::Bytes;
use std::{
    fs::File,
    io::{IoSlice, Write},
    os::unix::fs::FileExt,
    path::Path,
    time::Instant,
};

/// The log of a store that recycles: this much is written full before.
const WRITTEN_BEFORE: usize = 4 << 20;

pub(crate) fn small(size: Size, folder: &Path) -> Result<Vec<Sample>> {
    let page = vec![7; 4096];
    let mut file = File::create(folder.join("grows"))?;
    let start = Instant::now();
    for _ in 0..size.single {
        file.write_all(&page)?;
        file.sync_data()?;
    }
    let grows = start.elapsed().as_secs_f64();
    let file = File::create(folder.join("recycled"))?;
    file.write_all_at(&vec![0; WRITTEN_BEFORE], 0)?;
    file.sync_all()?;
    let start = Instant::now();
    for n in 0..size.single {
        file.write_all_at(&page, (n * page.len() % WRITTEN_BEFORE) as u64)?;
        file.sync_data()?;
    }
    let recycled = start.elapsed().as_secs_f64();
    Ok(vec![
        sample("sync-grow", size.single as f64 / grows, "/s"),
        sample("sync-recycled", size.single as f64 / recycled, "/s"),
    ])
}

pub(crate) fn big(size: Size, folder: &Path) -> Result<Vec<Sample>> {
    let values = Values::new(size.value_bytes);
    let value = |n| values.value(n);
    let throughput = |name: &str, count: usize, seconds: f64| {
        sample(
            name,
            (count * size.value_bytes) as f64 / MIB / seconds,
            "MiB/s",
        )
    };
    let mut out = vec![];

    let mut file = File::create(folder.join("grows"))?;
    let start = Instant::now();
    for n in 0..size.single {
        file.write_all(&value(n))?;
        file.sync_data()?;
    }
    out.push(throughput(
        "single-grow",
        size.single,
        start.elapsed().as_secs_f64(),
    ));
    let start = Instant::now();
    for n in 0..size.single {
        file.write_all_at(&value(n), (n * size.value_bytes) as u64)?;
        file.sync_data()?;
    }
    out.push(throughput(
        "single-written",
        size.single,
        start.elapsed().as_secs_f64(),
    ));

    for (name, hashed) in [("batch-grow", false), ("batch-grow-hashed", true)] {
        let mut file = File::create(folder.join(name))?;
        let start = Instant::now();
        for batch in 0..size.batches {
            let blocks: Vec<_> = (0..size.batch)
                .map(|n| value(batch * size.batch + n))
                .collect();
            if hashed {
                hash(&blocks);
            }
            write_all(&mut file, &blocks)?;
            file.sync_data()?;
        }
        let seconds = start.elapsed().as_secs_f64();
        out.push(throughput(name, size.batch * size.batches, seconds));
    }

    let blocks: Vec<_> = (0..size.batch).map(value).collect();
    let start = Instant::now();
    for _ in 0..size.batches {
        hash(&blocks);
    }
    let seconds = start.elapsed().as_secs_f64();
    out.push(throughput("blake2b-4", size.batch * size.batches, seconds));
    let start = Instant::now();
    for _ in 0..size.batches {
        for block in &blocks {
            std::hint::black_box(params().hash(block));
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    out.push(throughput("blake2b-1", size.batch * size.batches, seconds));
    Ok(out)
}

fn params() -> Params {
    let mut params = Params::new();
    params.hash_length(32);
    params
}

fn hash(blocks: &[Bytes]) {
    let params = params();
    let mut jobs: Vec<_> = blocks
        .iter()
        .map(|block| HashManyJob::new(&params, block))
        .collect();
    blake2b_simd::many::hash_many(jobs.iter_mut());
    for job in jobs {
        std::hint::black_box(job.to_hash());
    }
}

fn write_all(file: &mut File, blocks: &[Bytes]) -> Result<()> {
    let mut slices: Vec<_> = blocks.iter().map(|block| IoSlice::new(block)).collect();
    let mut rest = &mut slices[..];
    while !rest.is_empty() {
        let n = file.write_vectored(rest)?;
        IoSlice::advance_slices(&mut rest, n);
    }
    Ok(())
}
