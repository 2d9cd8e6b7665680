//! The same work in short turns: all engines (and, for commits, the bare loop) are open in one process, each does a little, then the next, in an order
//! that is drawn anew for each turn. What else the machine and the disk have to do at that moment, all of them meet; what one leaves behind for the next to
//! wait for, each meets as often as the others. So the ratios hold where the rates do not.

use crate::{
    data::{Size, Values, key, mix},
    engine::{self, Engine, Result},
    report::quartiles,
    run::{Sample, sample},
};
use bytes::Bytes;
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

/// Of the recycled log that the bare loop stands for.
const WRITTEN_BEFORE: u64 = 4 << 20;
/// The background work of the commits ends before reads are timed.
const SETTLE: Duration = Duration::from_secs(3);

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

/// How often, and how much at a time.
struct Plan {
    commit_turns: usize,
    /// Commits of one value in a turn, and batches.
    singles: usize,
    batches: usize,
    get_turns: usize,
    gets: usize,
    scan_turns: usize,
    /// A value is so large that it makes a difference whether somebody reads it.
    large: bool,
}

impl Plan {
    fn new(size: Size) -> Self {
        let large = size.value_bytes >= 1024;
        Self {
            commit_turns: size.batches / 2,
            singles: if large { 8 } else { 20 },
            batches: if large { 1 } else { 2 },
            get_turns: (size.batches / 2).min(20),
            // So many that each engine has its data back in the caches of the processor for most of them.
            gets: if large { 2_000 } else { 100_000 },
            scan_turns: (size.batches / 2).min(15),
            large,
        }
    }
}

/// The numbers below `count` in an order that depends on the turn.
fn order(turn: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    for last in (1..count).rev() {
        let n = mix((turn * count + last) as u64) as usize;
        order.swap(last, n % (last + 1));
    }
    order
}

/// Seconds of each turn, by peer.
struct Times(Vec<Vec<f64>>);

impl Times {
    fn new(peers: usize) -> Self {
        Self(vec![vec![]; peers])
    }

    fn took(&mut self, peer: usize, since: Instant) {
        self.0[peer].push(since.elapsed().as_secs_f64());
    }

    /// The rate of each peer, and how much faster pome was: quartiles over the turns.
    fn samples(&self, what: &str, work: usize, names: &[&str], out: &mut Vec<Sample>) {
        let ours = names.iter().position(|name| *name == "pome").unwrap_or(0);
        for (name, seconds) in names.iter().zip(&self.0) {
            let ratios = seconds
                .iter()
                .zip(&self.0[ours])
                .map(|(theirs, ours)| theirs / ours);
            let nothing = [f64::NAN; 3];
            let [low, middle, high] = quartiles(ratios.collect()).unwrap_or(nothing);
            let [_, typical, _] = quartiles(seconds.clone()).unwrap_or(nothing);
            out.push(sample(
                &format!("{what} {name}"),
                work as f64 / typical,
                "/s",
            ));
            out.push(sample(&format!("{what} pome÷{name}"), middle, "×"));
            out.push(sample(&format!("{what} pome÷{name} low"), low, "×"));
            out.push(sample(&format!("{what} pome÷{name} high"), high, "×"));
        }
    }
}

pub(crate) fn all(size: Size, folder: &Path) -> Result<Vec<Sample>> {
    let mut engines: Vec<Box<dyn Engine>> = vec![];
    for name in engine::ALL {
        engines.push(engine::open(name, &folder.join(name))?);
    }
    let plan = Plan::new(size);
    let mut out = vec![];
    let stored = commits(size, &plan, folder, &engines, &mut out)?;
    std::thread::sleep(SETTLE);
    gets(&plan, stored, &engines, &mut out)?;
    scans(&plan, stored, &engines, &mut out)?;
    for engine in engines {
        engine.close()?;
    }
    Ok(out)
}

/// Answers how many values are stored then.
fn commits(
    size: Size,
    plan: &Plan,
    folder: &Path,
    engines: &[Box<dyn Engine>],
    out: &mut Vec<Sample>,
) -> Result<usize> {
    let values = Values::new(size.value_bytes);
    let mut bare = Bare::open(folder)?;
    let names: Vec<_> = engine::ALL.iter().copied().chain(["bare"]).collect();
    let mut next = 0;
    for (what, commits, values_each) in [
        ("single", plan.singles, 1),
        ("batch", plan.batches, size.batch),
    ] {
        let mut times = Times::new(names.len());
        for turn in 0..plan.commit_turns {
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
            for who in order(turn, names.len()) {
                let Some(engine) = engines.get(who) else {
                    let start = Instant::now();
                    for bytes in &raw {
                        bare.commit(bytes)?;
                    }
                    times.took(who, start);
                    continue;
                };
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
                times.took(who, start);
            }
        }
        times.samples(what, commits * values_each, &names, out);
    }
    Ok(next)
}

/// As somebody who needs all of it: each byte goes into a sum.
pub(crate) fn read(value: &[u8]) -> u64 {
    let (words, rest) = value.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    let rest = rest.iter().copied().map(u64::from);
    words.chain(rest).fold(0, u64::wrapping_add)
}

/// As somebody who asks whether it is there: its last byte.
fn glance(value: &[u8]) -> u64 {
    value.last().copied().map_or(0, u64::from)
}

/// What is done with a value, and how that is called.
type Look = (&'static str, fn(&[u8]) -> u64);

fn looks(plan: &Plan) -> &'static [Look] {
    match plan.large {
        true => &[("", glance), ("-read", read)],
        false => &[("", glance)],
    }
}

fn gets(
    plan: &Plan,
    stored: usize,
    engines: &[Box<dyn Engine>],
    out: &mut Vec<Sample>,
) -> Result<()> {
    for (suffix, look) in looks(plan) {
        let mut times = Times::new(engines.len());
        for turn in 0..plan.get_turns {
            for who in order(turn, engines.len()) {
                let mut sum = 0_u64;
                let start = Instant::now();
                for n in 0..plan.gets {
                    let n = mix((turn * plan.gets + n) as u64) % stored as u64;
                    let key = key(n as usize);
                    let mut see = |value: &[u8]| sum = sum.wrapping_add(look(value));
                    if !engines[who].get(&key, &mut see)? {
                        return Err(format!("{}: a value is not there", engine::ALL[who]).into());
                    }
                }
                times.took(who, start);
                std::hint::black_box(sum);
            }
        }
        times.samples(&format!("get{suffix}"), plan.gets, engine::ALL, out);
    }
    Ok(())
}

fn scans(
    plan: &Plan,
    stored: usize,
    engines: &[Box<dyn Engine>],
    out: &mut Vec<Sample>,
) -> Result<()> {
    for (suffix, look) in looks(plan) {
        let mut times = Times::new(engines.len());
        for turn in 0..plan.scan_turns {
            for who in order(turn, engines.len()) {
                let (mut count, mut sum) = (0, 0_u64);
                let start = Instant::now();
                engines[who].scan(&mut |_, value| {
                    count += 1;
                    sum = sum.wrapping_add(look(value));
                })?;
                times.took(who, start);
                std::hint::black_box(sum);
                if count != stored {
                    let name = engine::ALL[who];
                    return Err(format!("{name}: {count} of {stored} are there").into());
                }
            }
        }
        times.samples(&format!("scan{suffix}"), stored, engine::ALL, out);
    }
    Ok(())
}

fn joined(batch: &[(engine::Key, Bytes)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in batch {
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
    }
    bytes
}
