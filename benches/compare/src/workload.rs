//! The work, on pome. `benches/peers/npm/driver.js` does the same on the npm modules, with the same numbers.

use crate::{Error, report::Run};
use bytes::Bytes;
use pome::{
    CoreOptions, Corestore, DriveOptions, Durability, Hyperbee, Hyperdrive, Localdrive,
    MirrorOptions, Mirrordrive, Options, Store, drive_fs::LocalOptions,
};
use std::{path::Path, time::Instant};

/// One thing to measure.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// How many items (blocks, entries) a run has.
    pub(crate) count: u64,
}

/// All workloads, in the order in which they run.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "append-100",
        what: "append 100 B, one by one",
        count: 20_000,
    },
    Workload {
        name: "append-64k",
        what: "append 64 KiB, one by one",
        count: 2_000,
    },
    Workload {
        name: "append-100-batch",
        what: "append 100 B, batches of 1,000",
        count: 200_000,
    },
    Workload {
        name: "append-64k-batch",
        what: "append 64 KiB, batches of 64",
        count: 4_096,
    },
    Workload {
        name: "get-100",
        what: "random get of 100 B",
        count: 50_000,
    },
    Workload {
        name: "get-64k",
        what: "random get of 64 KiB",
        count: 10_000,
    },
    Workload {
        name: "bee-put",
        what: "bee put, one by one",
        count: 5_000,
    },
    Workload {
        name: "bee-put-batch",
        what: "bee put, batches of 1,000",
        count: 50_000,
    },
    Workload {
        name: "bee-get",
        what: "random bee get",
        count: 20_000,
    },
    Workload {
        name: "drive-import",
        what: "drive import of 2,000 files",
        count: 2_000,
    },
];

/// xorshift64*, as in the other driver.
struct Random(u64);

impl Random {
    fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(2_685_821_657_736_338_717) >> 33) % below
    }
}

fn block(size: usize, i: u64) -> Bytes {
    let mut block = vec![i as u8; size];
    block[..4].copy_from_slice(&(i as u32).to_le_bytes());
    block.into()
}

fn number(block: &[u8]) -> u64 {
    block
        .first_chunk()
        .map_or(u64::MAX, |n| u64::from(u32::from_le_bytes(*n)))
}

fn key(n: u64) -> Vec<u8> {
    format!("key-{n:09}").into_bytes()
}

/// Files of 0 to 64 KiB in folders of 50: the source of `drive-import`.
pub(crate) fn write_tree(folder: &Path, files: u64) -> std::io::Result<()> {
    let mut random = Random(17);
    for i in 0..files {
        let folder = folder.join(format!("d{}", i / 50));
        std::fs::create_dir_all(&folder)?;
        let size = random.below(65_536) as usize;
        std::fs::write(folder.join(format!("f{i}.bin")), vec![i as u8; size])?;
    }
    Ok(())
}

/// Does one workload and times it. What is timed is what the caller waits for; both peers answer when the kernel has the bytes, not the disk.
pub(crate) async fn run(
    workload: &Workload,
    folder: &Path,
    count: u64,
    source: &Path,
) -> Result<Run, Error> {
    let store = Corestore::open(Store::open(folder, Options::default())?)?;
    let run = match workload.name {
        "append-100" => append(&store, count, 100, 1).await?,
        "append-64k" => append(&store, count, 65_536, 1).await?,
        "append-100-batch" => append(&store, count, 100, 1_000).await?,
        "append-64k-batch" => append(&store, count, 65_536, 64).await?,
        "get-100" => get(&store, count, 100).await?,
        "get-64k" => get(&store, count, 65_536).await?,
        "bee-put" => bee_put(&store, count, 1).await?,
        "bee-put-batch" => bee_put(&store, count, 1_000).await?,
        "bee-get" => bee_get(&store, count).await?,
        "drive-import" => drive_import(&store, source).await?,
        name => return Err(format!("no workload {name}").into()),
    };
    store.close().await?;
    Ok(run)
}

fn done(start: Instant, items: u64, bytes: u64) -> Run {
    let seconds = start.elapsed().as_secs_f64();
    Run {
        seconds,
        items,
        bytes,
        version: concat!("pome ", env!("CARGO_PKG_VERSION")).into(),
    }
}

async fn append(store: &Corestore, count: u64, size: usize, batch: u64) -> Result<Run, Error> {
    let core = store.get(CoreOptions::name("bench")).await?;
    let start = Instant::now();
    let mut i = 0;
    while i < count {
        let end = count.min(i + batch);
        core.append_batch((i..end).map(|i| block(size, i)).collect())
            .await?;
        i = end;
    }
    Ok(done(start, count, count * size as u64))
}

async fn get(store: &Corestore, count: u64, size: usize) -> Result<Run, Error> {
    let core = store.get(CoreOptions::name("bench")).await?;
    let blocks = if size > 1_000 { 1_024 } else { 100_000 };
    for i in (0..blocks).step_by(256) {
        core.append_batch((i..blocks.min(i + 256)).map(|i| block(size, i)).collect())
            .await?;
    }
    let mut random = Random(7);
    let start = Instant::now();
    for _ in 0..count {
        let at = random.below(blocks);
        if number(&core.get(at).await?) != at {
            return Err("wrong block".into());
        }
    }
    Ok(done(start, count, count * size as u64))
}

async fn bee_put(store: &Corestore, count: u64, size: u64) -> Result<Run, Error> {
    let bee = Hyperbee::new(store.get(CoreOptions::name("bench")).await?);
    let mut random = Random(11);
    let start = Instant::now();
    let mut i = 0;
    while i < count {
        if size == 1 {
            bee.put(&key(random.below(1_000_000_000)), block(100, i))
                .await?;
            i += 1;
        } else {
            let mut batch = bee.batch();
            for i in i..count.min(i + size) {
                batch
                    .put(&key(random.below(1_000_000_000)), block(100, i))
                    .await?;
            }
            batch.flush(Durability::Buffered).await?;
            i += size;
        }
    }
    Ok(done(start, count, count * 100))
}

async fn bee_get(store: &Corestore, count: u64) -> Result<Run, Error> {
    let bee = Hyperbee::new(store.get(CoreOptions::name("bench")).await?);
    let keys = 20_000;
    for i in (0..keys).step_by(1_000) {
        let mut batch = bee.batch();
        for j in i..i + 1_000 {
            batch.put(&key(j * 7_919), block(100, j)).await?;
        }
        batch.flush(Durability::Buffered).await?;
    }
    let mut random = Random(13);
    let start = Instant::now();
    for _ in 0..count {
        let at = random.below(keys);
        let entry = bee.get(&key(at * 7_919)).await?.ok_or("a key is missing")?;
        if number(&entry.value.unwrap_or_default()) != at {
            return Err("wrong value".into());
        }
    }
    Ok(done(start, count, count * 100))
}

async fn drive_import(store: &Corestore, source: &Path) -> Result<Run, Error> {
    let drive = Hyperdrive::open(store.clone(), DriveOptions::default()).await?;
    let local = Localdrive::open(source, LocalOptions::default())?;
    let start = Instant::now();
    let count = Mirrordrive::new(local, drive, MirrorOptions::default())
        .run(|_| ())
        .await?;
    Ok(done(start, count.files, count.bytes_added))
}
