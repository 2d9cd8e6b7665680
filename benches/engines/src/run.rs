//! The work that every engine does, in one order, in a process of its own.

use crate::{
    data::{COMMITTERS, Size, Values, key, mix},
    engine::{self, Engine, Result},
};
use serde::{Deserialize, Serialize};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// One number that was measured once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// `/s`, `MiB/s`, `ms`, `B`, `MiB`, `×`.
    pub(crate) unit: String,
}

pub(crate) fn sample(name: &str, value: f64, unit: &str) -> Sample {
    Sample {
        name: name.into(),
        value,
        unit: unit.into(),
    }
}

pub(crate) const MIB: f64 = (1 << 20) as f64;

/// Background work of what was done before must not be timed with what comes next.
fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

pub(crate) fn engine(name: &str, size: Size, folder: &Path) -> Result<Vec<Sample>> {
    let mut out = vec![];
    let values = Values::new(size.value_bytes);
    let mut store = engine::open(name, folder)?;
    // By throughput where values are large, by number where they are small.
    let rate = |name: &str, count: usize, seconds: f64| {
        if size.value_bytes >= 1 << 14 {
            sample(
                name,
                (count * size.value_bytes) as f64 / MIB / seconds,
                "MiB/s",
            )
        } else {
            sample(name, count as f64 / seconds, "/s")
        }
    };
    let mut written = 0;

    store.put(&key(usize::MAX), values.value(0))?;
    store.delete(&[key(usize::MAX)])?;
    let start = Instant::now();
    for n in 0..size.single {
        store.put(&key(n), values.value(n))?;
    }
    let one = start.elapsed().as_secs_f64();
    out.push(rate("single", size.single, one));
    written += size.single;

    let start = Instant::now();
    let shared: &dyn Engine = &*store;
    std::thread::scope(|scope| {
        let committers: Vec<_> = (0..COMMITTERS)
            .map(|committer| {
                let values = &values;
                scope.spawn(move || -> Result<()> {
                    for n in 0..size.each_of_16 {
                        let n = written + committer * size.each_of_16 + n;
                        shared.put(&key(n), values.value(n))?;
                    }
                    Ok(())
                })
            })
            .collect();
        for committer in committers {
            committer.join().map_err(|_| "a committer broke off")??;
        }
        Result::Ok(())
    })?;
    let count = COMMITTERS * size.each_of_16;
    let many = start.elapsed().as_secs_f64();
    out.push(rate("committers", count, many));
    out.push(sample(
        "committers-gain",
        (count as f64 / many) / (size.single as f64 / one),
        "×",
    ));
    written += count;

    let mut seconds = 0.0;
    for _ in 0..size.batches {
        let entries = (written..written + size.batch)
            .map(|n| (key(n), values.value(n)))
            .collect();
        let start = Instant::now();
        store.batch(entries)?;
        seconds += start.elapsed().as_secs_f64();
        written += size.batch;
    }
    out.push(rate("batch", size.batch * size.batches, seconds));
    settle();

    get(&*store, "get", size, size.gets, &mut out)?;
    let (mut count, mut bytes) = (0, 0);
    let start = Instant::now();
    store.scan(&mut |key, value| {
        count += 1;
        bytes += key.len() + value.len();
        std::hint::black_box(value.last());
    })?;
    let seconds = start.elapsed().as_secs_f64();
    if count != size.total() || bytes != count * (32 + size.value_bytes) {
        return Err(format!("{name}: {count} of {} are there", size.total()).into());
    }
    out.push(rate("scan", count, seconds));

    store.close()?;
    forget(folder)?;
    let start = Instant::now();
    store = engine::open(name, folder)?;
    if !store.get(&key(0), &mut |_| {})? {
        return Err("the first is not there".into());
    }
    out.push(sample("reopen", start.elapsed().as_secs_f64() * 1e3, "ms"));
    get(&*store, "cold-get", size, size.cold_gets, &mut out)?;
    // Some read much when they open, and little then.
    let whole = start.elapsed().as_secs_f64() * 1e3;
    out.push(sample("cold-whole", whole, "ms"));

    let data = (size.total() * (32 + size.value_bytes)) as f64;
    store.compact()?;
    out.push(sample("disk", disk(folder)? / data, "×"));
    let dead: Vec<_> = (0..size.total()).step_by(2).map(key).collect();
    for keys in dead.chunks(1_000) {
        store.delete(keys)?;
    }
    let start = Instant::now();
    store.compact()?;
    out.push(sample("compact", start.elapsed().as_secs_f64() * 1e3, "ms"));
    settle();
    let live = (size.total() / 2 * (32 + size.value_bytes)) as f64;
    let left = disk(folder)?;
    out.push(sample("disk-half", left / live, "×"));
    out.push(sample("disk-over", (left - 1.15 * live) / MIB, "MiB"));
    for n in (0..size.total()).step_by(97) {
        if store.get(&key(n), &mut |_| {})? != (n % 2 == 1) {
            return Err(format!("{name}: the wrong half was deleted").into());
        }
    }
    store.close()?;
    Ok(out)
}

fn get(
    store: &dyn Engine,
    name: &str,
    size: Size,
    count: usize,
    out: &mut Vec<Sample>,
) -> Result<()> {
    let total = size.total() as u64;
    let start = Instant::now();
    for n in 0..count {
        let key = key((mix(n as u64) % total) as usize);
        let mut len = 0;
        let there = store.get(&key, &mut |value| {
            len = value.len();
            std::hint::black_box(value.last());
        })?;
        if !there || len != size.value_bytes {
            return Err("a value is not there, or not whole".into());
        }
    }
    out.push(sample(
        name,
        count as f64 / start.elapsed().as_secs_f64(),
        "/s",
    ));
    Ok(())
}

/// Bytes of the disk that a folder takes, as the filesystem counts them.
pub(crate) fn disk(folder: &Path) -> Result<f64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0.0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // It may have gone meanwhile.
        let Ok(stat) = entry.metadata() else { continue };
        if stat.is_dir() {
            bytes += disk(&entry.path())?;
        } else {
            bytes += stat.blocks() as f64 * 512.0;
        }
    }
    Ok(bytes)
}

/// Has the kernel forget the pages of all files below.
pub(crate) fn forget(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            forget(&entry.path())?;
        } else if entry.file_type()?.is_file() {
            let file = std::fs::File::open(entry.path())?;
            file.sync_all()?;
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}
