//! Cores on the store: durable appends, and what many cores, or one long one, cost in memory and time.

use crate::{
    data::{Size, Values},
    engine::Result,
    run::{MIB, Sample, forget, sample},
};
use bytes::Bytes;
use pome_cores::{CoreOptions, Corestore};
use pome_storage::{Options, Store};
use std::{path::Path, time::Instant};

fn open(folder: &Path) -> Result<Corestore> {
    Ok(Corestore::open(Store::open(folder, Options::default())?)?)
}

/// Durable appends: a commit and a sync for each batch.
pub(crate) async fn append(size: Size, folder: &Path) -> Result<Vec<Sample>> {
    let cores = open(folder)?;
    let core = cores.get(CoreOptions::name("core")).await?;
    let values = Values::new(size.value_bytes);
    let mut out = vec![];
    for (name, batch, batches) in [
        ("core-single", 1, size.single),
        ("core-batch", size.batch, size.batches),
    ] {
        let mut seconds = 0.0;
        for round in 0..batches {
            let blocks = (0..batch)
                .map(|n| values.value(round * batch + n))
                .collect();
            let start = Instant::now();
            core.append_batch(blocks).await?;
            cores.store().sync()?;
            seconds += start.elapsed().as_secs_f64();
        }
        let count = (batch * batches) as f64;
        out.push(if size.value_bytes >= 1 << 14 {
            sample(
                name,
                count * size.value_bytes as f64 / MIB / seconds,
                "MiB/s",
            )
        } else {
            sample(name, count / seconds, "/s")
        });
    }
    cores.close().await?;
    Ok(out)
}

/// Makes a store of `count` cores of one block each.
pub(crate) async fn make_many(count: u64, folder: &Path) -> Result<Vec<Sample>> {
    let cores = open(folder)?;
    let start = Instant::now();
    for n in 0..count {
        let core = cores.get(CoreOptions::name(format!("core {n}"))).await?;
        core.append(&b"one block"[..]).await?;
        core.close().await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    cores.store().checkpoint()?;
    cores.close().await?;
    forget(folder)?;
    Ok(vec![sample("make", count as f64 / seconds, "/s")])
}

/// Opens that store; opens and closes all cores; holds a tenth of them open.
pub(crate) async fn open_many(count: u64, folder: &Path) -> Result<Vec<Sample>> {
    let before = anonymous()?;
    let start = Instant::now();
    let cores = open(folder)?;
    let mut out = vec![sample("open", start.elapsed().as_secs_f64() * 1e3, "ms")];
    out.push(sample("open-memory", (anonymous()? - before) / MIB, "MiB"));
    let start = Instant::now();
    let half = count / 2;
    let mut at_half = 0.0;
    for n in 0..count {
        if n == half {
            at_half = anonymous()?;
        }
        let core = cores.get(CoreOptions::name(format!("core {n}"))).await?;
        if core.length() != 1 {
            return Err("a core is not whole".into());
        }
        core.close().await?;
    }
    let seconds = start.elapsed().as_secs_f64();
    out.push(sample("open-close", count as f64 / seconds, "/s"));
    let closed = anonymous()?;
    out.push(sample(
        "closed-core",
        ((closed - at_half) / half as f64).max(0.0),
        "B",
    ));
    let mut held = Vec::with_capacity(count as usize / 10);
    let start = Instant::now();
    for n in 0..count / 10 {
        held.push(cores.get(CoreOptions::name(format!("core {n}"))).await?);
    }
    out.push(sample(
        "hold",
        held.len() as f64 / start.elapsed().as_secs_f64(),
        "/s",
    ));
    out.push(sample(
        "open-core",
        (anonymous()? - closed) / held.len() as f64,
        "B",
    ));
    drop(held);
    cores.close().await?;
    Ok(out)
}

/// Makes a store with one core of `count` blocks.
pub(crate) async fn make_long(count: u64, folder: &Path) -> Result<Vec<Sample>> {
    let cores = open(folder)?;
    let core = cores.get(CoreOptions::name("long")).await?;
    let start = Instant::now();
    let mut n = 0_u64;
    while n < count {
        let blocks = (n..count.min(n + 10_000))
            .map(|n| Bytes::copy_from_slice(&n.to_le_bytes()))
            .collect();
        n = core.append_batch(blocks).await?.length;
    }
    let seconds = start.elapsed().as_secs_f64();
    cores.store().checkpoint()?;
    cores.close().await?;
    forget(folder)?;
    Ok(vec![
        sample("make", count as f64 / seconds, "/s"),
        sample("disk", crate::run::disk(folder)? / count as f64, "B"),
    ])
}

/// Opens it, and reads a block.
pub(crate) async fn open_long(count: u64, folder: &Path) -> Result<Vec<Sample>> {
    let before = anonymous()?;
    let start = Instant::now();
    let cores = open(folder)?;
    let core = cores.get(CoreOptions::name("long")).await?;
    if core.length() != count {
        return Err("the core is not whole".into());
    }
    let opened = start.elapsed().as_secs_f64() * 1e3;
    let memory = anonymous()? - before;
    let start = Instant::now();
    core.get(count / 2).await?;
    let first = start.elapsed().as_secs_f64() * 1e3;
    cores.close().await?;
    Ok(vec![
        sample("open", opened, "ms"),
        sample("open-memory", memory / MIB, "MiB"),
        sample("first-get", first, "ms"),
    ])
}

/// Anonymous memory of this process, in bytes.
fn anonymous() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB"))
        .ok_or("the kernel does not say RssAnon")?
        .trim()
        .parse()?;
    Ok(kib * 1024.0)
}
