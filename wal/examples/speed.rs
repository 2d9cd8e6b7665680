//! How fast the log is on a disk: `cargo run --release -p pome-wal --example speed -- <folder on that disk> [what …]`, where `what` is
//! `puts`, `committers`, `values`, `reads`, `syncs` or `memory` (default: all). `POME_DEVICE` chooses the device.
//!
//! A disk shared with others is good to a factor of two, so nothing is measured alone: the log and a bare loop that does the least
//! that could be right take turns in short slices, and what counts is the median of the ratios of neighbours.

use pome_wal::{Bytes, Device, DeviceKind, Error, Log, LogOptions, PayloadRef};
use rustix::fs::{Advice, fadvise};
use std::{
    error::Error as StdError,
    fs,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Barrier},
    time::Instant,
};

type Outcome<T> = Result<T, Box<dyn StdError>>;

const BLOCK: usize = 65536;
const MIB: f64 = 1_048_576.0;

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let parent = args.next().unwrap_or_else(|| ".".into());
    let wanted: Vec<String> = args.collect();
    let kind = DeviceKind::from_env()?;
    println!("device: {kind:?}");
    type Case = fn(&Path, DeviceKind) -> Outcome<()>;
    let cases: [(&str, Case); 6] = [
        ("puts", puts),
        ("committers", committers),
        ("values", values),
        ("reads", reads),
        ("syncs", syncs),
        ("memory", memory),
    ];
    for (name, case) in cases {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            let dir = tempfile::tempdir_in(&parent)?;
            case(dir.path(), kind)?;
        }
    }
    Ok(())
}

fn open(dir: &Path, kind: DeviceKind) -> Outcome<(Arc<dyn Device>, Log)> {
    let device = kind.open(dir)?;
    let log = Log::create(device.clone(), LogOptions::default(), 1)?;
    Ok((device, log))
}

fn bare_file(dir: &Path, name: &str) -> Outcome<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(true).read(true).write(true);
    Ok(options.open(dir.join(name))?)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(0.0)
}

/// Lets the two take turns, each doing `units` of work a slice.
fn duel(
    what: &str,
    unit: &str,
    slices: usize,
    units: f64,
    mut ours: impl FnMut() -> Outcome<()>,
    other: (&str, &mut dyn FnMut() -> Outcome<()>),
) -> Outcome<()> {
    let (mut rates, mut others, mut ratios) = (vec![], vec![], vec![]);
    for slice in 0..=slices {
        let t = Instant::now();
        ours()?;
        let rate = units / t.elapsed().as_secs_f64();
        let t = Instant::now();
        other.1()?;
        let there = units / t.elapsed().as_secs_f64();
        // The first is for warming up.
        if slice > 0 {
            rates.push(rate);
            others.push(there);
            ratios.push(rate / there);
        }
    }
    println!(
        "{what}: {:.0} {unit}, {}: {:.0} {unit}; ratio {:.2}",
        median(rates),
        other.0,
        median(others),
        median(ratios)
    );
    Ok(())
}

fn checkpoint(log: &Log) -> Result<(), Error> {
    log.sync()?;
    let start = log.position();
    log.release(&start)?;
    for (segment, _) in log.payload_segments() {
        if start.payload.is_some_and(|(current, _)| segment < current) {
            log.remove_payload_segment(segment)?;
        }
    }
    Ok(())
}

/// Durable commits of 100 bytes.
fn puts(dir: &Path, kind: DeviceKind) -> Outcome<()> {
    let (_, log) = open(dir, kind)?;
    let file = bare_file(dir, "bare")?;
    file.write_all_at(&vec![0; 2 << 20], 0)?;
    file.sync_all()?;
    const N: usize = 100;
    let mut at = 0;
    let mut bare = || {
        for _ in 0..N {
            at = (at + 160) % (2 << 20);
            file.write_all_at(&[at as u8; 160], at)?;
            file.sync_data()?;
        }
        Ok(())
    };
    let ours = || {
        for _ in 0..N {
            let done = log.commit(&[1; 100], &[])?;
            log.wait_synced(done.seq)?;
        }
        Ok(())
    };
    duel(
        "100 B durable",
        "/s",
        40,
        N as f64,
        ours,
        ("bare over written space", &mut bare),
    )?;
    let t = Instant::now();
    for _ in 0..100_000 {
        log.commit(&[1; 100], &[])?;
    }
    println!(
        "100 B buffered: {:.0}/s",
        100_000.0 / t.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Durable commits of 100 bytes from 16 threads, against one thread.
fn committers(dir: &Path, kind: DeviceKind) -> Outcome<()> {
    let (_, log) = open(dir, kind)?;
    const N: usize = 1600;
    let run = |threads: usize, each: usize| -> Outcome<()> {
        let barrier = Barrier::new(threads);
        let results: Vec<_> = std::thread::scope(|scope| {
            let work = || {
                barrier.wait();
                for _ in 0..each {
                    let done = log.commit(&[1; 100], &[])?;
                    log.wait_synced(done.seq)?;
                }
                Ok::<_, Error>(())
            };
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join()).collect()
        });
        for result in results {
            result.map_err(|_| "a committer panicked")??;
        }
        checkpoint(&log)?;
        Ok(())
    };
    let (mut commits, mut syncs) = (0, 0);
    let ours = || {
        let before = (log.commits(), log.syncs());
        run(16, N / 16)?;
        commits += log.commits() - before.0;
        syncs += log.syncs() - before.1;
        Ok(())
    };
    let mut one = || run(1, N);
    duel(
        "100 B durable, 16 committers",
        "/s",
        15,
        N as f64,
        ours,
        ("one committer", &mut one),
    )?;
    println!(
        "commits per sync with 16: {:.1}",
        f64::from(u32::try_from(commits)?) / f64::from(u32::try_from(syncs)?)
    );
    Ok(())
}

/// Durable values of 64 KiB, against a file that grows.
fn values(dir: &Path, kind: DeviceKind) -> Outcome<()> {
    for (batch, commits, slices) in [(64, 8, 16), (1, 64, 30)] {
        let dir = &dir.join(batch.to_string());
        fs::create_dir(dir)?;
        let (_, log) = open(dir, kind)?;
        let file = bare_file(dir, "bare")?;
        let payloads: Vec<Bytes> = (0..batch).map(|i| vec![i as u8; BLOCK].into()).collect();
        let block = vec![7u8; batch * BLOCK];
        let mut at = 0;
        let mut bare = || {
            for _ in 0..commits {
                file.write_all_at(&block, at)?;
                file.sync_data()?;
                at += block.len() as u64;
            }
            Ok(())
        };
        let mut slice = 0;
        let ours = || {
            for _ in 0..commits {
                let done = log.commit(&[1; 100], &payloads)?;
                log.wait_synced(done.seq)?;
            }
            slice += 1;
            // As a store does every 256 MiB.
            if slice % 8 == 0 {
                checkpoint(&log)?;
            }
            Ok(())
        };
        let mib = (commits * batch * BLOCK) as f64 / MIB;
        let what = format!("64 KiB values, {batch} a durable commit");
        duel(
            &what,
            "MiB/s",
            slices,
            mib,
            ours,
            ("bare growing file", &mut bare),
        )?;
    }
    Ok(())
}

/// Reads of many values at once, against one by one.
fn reads(dir: &Path, _: DeviceKind) -> Outcome<()> {
    for (size, count) in [(4096usize, 32 * 1024), (BLOCK, 4096)] {
        let dir = &dir.join(size.to_string());
        fs::create_dir(dir)?;
        let (device, log) = open(dir, DeviceKind::Pwrite)?;
        let start = log.position();
        let mut refs = Vec::new();
        while refs.len() < count {
            let payloads: Vec<Bytes> = (0..64).map(|i| vec![i as u8; size].into()).collect();
            refs.extend(log.commit(&[], &payloads)?.payloads);
        }
        log.close()?;
        let segments: Vec<fs::File> = log
            .payload_segments()
            .iter()
            .map(|(n, _)| fs::File::open(dir.join(format!("payload-{n}"))))
            .collect::<Result<_, _>>()?;
        drop((log, device));
        // The same places in any order, but not in that of the disk.
        let shuffled: Vec<PayloadRef> = (0..refs.len())
            .map(|i| refs[i * 7919 % refs.len()])
            .collect();
        const AT_ONCE: usize = 32;
        let chunks: Vec<_> = shuffled.chunks(AT_ONCE).collect();
        let per_slice = chunks.len() / 8;
        let run = |log: &Log, how: &str, chunks: &[&[PayloadRef]]| -> Outcome<()> {
            for refs in chunks {
                if how == "one by one" {
                    for at in *refs {
                        std::hint::black_box(log.read(at)?);
                    }
                } else {
                    for bytes in log.read_many(refs) {
                        std::hint::black_box(bytes?);
                    }
                }
            }
            Ok(())
        };
        let ways = [
            ("one by one", DeviceKind::Pwrite),
            ("at once", DeviceKind::Pwrite),
        ];
        for cold in [true, false] {
            let mut rates = vec![vec![]; ways.len()];
            for slice in 0..8 {
                let chunks = &chunks[slice * per_slice..(slice + 1) * per_slice];
                for (way, (how, kind)) in ways.iter().enumerate() {
                    let mut options = LogOptions::default();
                    options.read_only = true;
                    let log = Log::open(kind.open(dir)?, options, start, |_| Ok::<_, Error>(()))?.0;
                    if cold {
                        // What is mapped somewhere is not dropped: these are opened when it is not.
                        for file in &segments {
                            fadvise(file, 0, None, Advice::DontNeed)?;
                        }
                    } else {
                        run(&log, "one by one", chunks)?;
                    }
                    let t = Instant::now();
                    run(&log, how, chunks)?;
                    let n = chunks.iter().map(|c| c.len()).sum::<usize>();
                    rates[way].push(n as f64 / t.elapsed().as_secs_f64());
                }
            }
            let temperature = if cold { "cold" } else { "warm" };
            for ((how, _), rates) in ways.iter().zip(rates) {
                let rate = median(rates);
                println!(
                    "{size} B reads, {temperature}, {AT_ONCE} wanted, {how}: {rate:.0}/s, {:.0} MiB/s",
                    rate * size as f64 / MIB
                );
            }
        }
    }
    Ok(())
}

/// Several files synced at once, against one after the other.
fn syncs(dir: &Path, _: DeviceKind) -> Outcome<()> {
    let devices = [DeviceKind::Uring.open(dir)?, DeviceKind::Pwrite.open(dir)?];
    for (files, grows) in [(2, true), (2, false), (4, false)] {
        let made: Vec<Vec<_>> = devices
            .iter()
            .map(|device| {
                (0..files)
                    .map(|i| {
                        let file = device.open(&format!("s{files}-{i}"), true)?;
                        pome_write(&*file, &vec![0; 1 << 20], 0)?;
                        file.sync()?;
                        Ok(file)
                    })
                    .collect::<Outcome<_>>()
            })
            .collect::<Outcome<_>>()?;
        let mut end = 1 << 20;
        let mut run = |which: usize| -> Outcome<()> {
            for n in 0..50u64 {
                for (i, file) in made[which].iter().enumerate() {
                    // A commit's payload at the end of one file, its neighbour in the log.
                    let at = if grows && i == 0 { end } else { n * 4096 };
                    pome_write(&**file, &[n as u8; 4096], at)?;
                }
                end += 4096;
                devices[which].sync_many(&made[which]).map_err(|(_, e)| e)?;
            }
            Ok(())
        };
        let run = std::cell::RefCell::new(&mut run);
        let ours = || (run.borrow_mut())(0);
        let mut plain = || (run.borrow_mut())(1);
        let how = if grows { ", one grows" } else { "" };
        duel(
            &format!("{files} files synced at once{how}, io_uring"),
            "/s",
            30,
            50.0,
            ours,
            ("one after the other", &mut plain),
        )?;
    }
    Ok(())
}

fn pome_write(file: &dyn pome_wal::File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    file.write_at(&[std::io::IoSlice::new(bytes)], at)
}

/// Reads of what is in memory.
fn memory(dir: &Path, kind: DeviceKind) -> Outcome<()> {
    let (_, log) = open(dir, kind)?;
    for size in [100usize, BLOCK] {
        let mut refs = Vec::new();
        for _ in 0..200 {
            let payloads: Vec<Bytes> = (0..8).map(|i| vec![i as u8; size].into()).collect();
            refs.extend(log.commit(&[], &payloads)?.payloads);
        }
        let t = Instant::now();
        let mut n = 0;
        while t.elapsed().as_millis() < 500 {
            for at in &refs {
                std::hint::black_box(log.read(at)?);
                n += 1;
            }
        }
        let rate = f64::from(n) / t.elapsed().as_secs_f64();
        println!(
            "{size} B payloads in memory: {rate:.0}/s, {:.0} MiB/s",
            rate * size as f64 / MIB
        );
    }
    Ok(())
}
