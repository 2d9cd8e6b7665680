//! Durable commits in short turns: all engines and the bare loop are open in one process, each does a few commits, then the next. What else the disk has
//! to do at that moment, all of them meet; so the ratios hold where the rates do not.

use crate::{
    data::{Size, Values, key},
    engine::{self, Engine, Result},
    report::median,
    run::{Sample, sample},
};
use bytes::Bytes;
use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Instant};

/// Of the recycled log that the bare loop stands for.
const WRITTEN_BEFORE: u64 = 4 << 20;

/// The bare loop: a write and a fdatasync. Small commits go over pre-written space in whole pages, all else into a growing file.
struct Bare {
    recycled: File,
    at: u64,
    grows: File,
    end: u64,
}

impl Bare {
    fn open(folder: &Path) -> Result<Self> {
        let recycled = File::create(folder.join("recycled"))?;
        recycled.write_all_at(&vec![0; WRITTEN_BEFORE as usize], 0)?;
        recycled.sync_all()?;
        Ok(Self {
            recycled,
            at: 0,
            grows: File::create(folder.join("grows"))?,
            end: 0,
        })
    }

    fn commit(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() <= 4096 {
            let mut page = [0; 4096];
            page[..bytes.len()].copy_from_slice(bytes);
            self.recycled.write_all_at(&page, self.at)?;
            self.at = (self.at + 4096) % WRITTEN_BEFORE;
            return Ok(self.recycled.sync_data()?);
        }
        self.grows.write_all_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(self.grows.sync_data()?)
    }
}

/// How many turns, commits of one value in each, and batches in each.
fn plan(size: Size) -> (usize, usize, usize) {
    match size.value_bytes {
        0..1024 => (size.batches / 2, 20, 2),
        _ => (size.batches / 2, 8, 1),
    }
}

pub(crate) fn all(size: Size, folder: &Path) -> Result<Vec<Sample>> {
    let values = Values::new(size.value_bytes);
    let mut engines: Vec<Box<dyn Engine>> = vec![];
    for name in engine::ALL {
        engines.push(engine::open(name, &folder.join(name))?);
    }
    let mut bare = Bare::open(folder)?;
    let (turns, singles, batches) = plan(size);
    let mut out = vec![];
    let mut next = 0;
    for (what, commits, values_each) in [("single", singles, 1), ("batch", batches, size.batch)] {
        // Seconds of each turn, of the bare loop and then of each engine.
        let mut seconds = vec![vec![]; 1 + engines.len()];
        for _ in 0..turns {
            let entries: Vec<Vec<_>> = (0..commits)
                .map(|commit| {
                    let first = next + commit * values_each;
                    (first..first + values_each)
                        .map(|n| (key(n), values.value(n)))
                        .collect()
                })
                .collect();
            next += commits * values_each;
            let raw: Vec<Vec<u8>> = entries.iter().map(|batch| joined(batch)).collect();
            let start = Instant::now();
            for bytes in &raw {
                bare.commit(bytes)?;
            }
            seconds[0].push(start.elapsed().as_secs_f64());
            for (engine, seconds) in engines.iter().zip(&mut seconds[1..]) {
                let entries = entries.clone();
                let start = Instant::now();
                for mut batch in entries {
                    match (batch.len(), batch.pop()) {
                        (1, Some((key, value))) => engine.put(&key, value)?,
                        (_, last) => {
                            batch.extend(last);
                            engine.batch(batch)?;
                        }
                    }
                }
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        let pome = seconds[1].clone();
        let names = ["bare"].iter().chain(engine::ALL);
        for (name, seconds) in names.zip(&seconds) {
            let ratios = seconds
                .iter()
                .zip(&pome)
                .map(|(theirs, ours)| theirs / ours);
            let ratio = median(ratios.collect()).unwrap_or(f64::NAN);
            let typical = median(seconds.clone()).unwrap_or(f64::NAN);
            let rate = (commits * values_each) as f64 / typical;
            out.push(sample(&format!("{what} {name}"), rate, "/s"));
            out.push(sample(&format!("{what} pome÷{name}"), ratio, "×"));
        }
    }
    for engine in engines {
        engine.close()?;
    }
    Ok(out)
}

fn joined(batch: &[(engine::Key, Bytes)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in batch {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}
