//! How fast the log is on a disk: `cargo run --release -p pome-wal --example speed -- <folder on that disk>`.
//!
//! Prints commits per second, payload bytes per second, commits per sync, and a bare loop of write + fdatasync on the same disk to
//! compare with.

use pome_wal::{Bytes, Error, Log, LogOptions, PwriteDevice};
use std::{
    error::Error as StdError,
    os::unix::fs::FileExt,
    sync::{Arc, Barrier, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn StdError>>;

fn main() -> Outcome<()> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    for round in 1..=2 {
        println!("round {round}");
        let dir = tempfile::tempdir_in(&parent)?;
        bare_syncs(&dir.path().join("bare"))?;
        let device = Arc::new(PwriteDevice::open(dir.path())?);
        let log = Arc::new(Log::create(device.clone(), LogOptions::default(), round)?);
        buffered(&log)?;
        durable(&log, 1)?;
        durable(&log, 16)?;
        bulk(&log, 64, 64)?;
        bulk(&log, 1, 8)?;
        reads(&log)?;
        log.close()?;
        let start = log.position();
        drop(log);
        let t = Instant::now();
        let (log, recovery) =
            Log::open(device, LogOptions::default(), start, |_| Ok::<_, Error>(()))?;
        println!("open: {:?}, {} replayed", t.elapsed(), recovery.replayed);
        drop(log);
    }
    Ok(())
}

fn checkpoint(log: &Log) -> Result<(), Error> {
    log.sync()?;
    log.release(&log.position())
}

fn bare_syncs(path: &std::path::Path) -> Outcome<()> {
    let file = std::fs::OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .open(path)?;
    file.write_all_at(&vec![0; 2 << 20], 0)?;
    file.sync_all()?;
    let t = Instant::now();
    let mut n = 0;
    while t.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[n as u8; 160], n * 160 % (2 << 20))?;
        file.sync_data()?;
        n += 1;
    }
    println!("bare write + fdatasync over written space: {n}/s");
    let block = vec![7u8; 64 * 65536];
    let t = Instant::now();
    for i in 0..64 {
        file.write_all_at(&block, (2 << 20) + i * block.len() as u64)?;
        file.sync_data()?;
    }
    let mib = 64.0 * 4.0 / t.elapsed().as_secs_f64();
    println!("bare growing file, 4 MiB a sync: {mib:.0} MiB/s");
    Ok(())
}

fn buffered(log: &Log) -> Outcome<()> {
    let mut spent = Duration::ZERO;
    let mut n = 0u32;
    for _ in 0..40 {
        let t = Instant::now();
        for _ in 0..10_000 {
            log.commit(&[1; 100], &[])?;
            n += 1;
        }
        spent += t.elapsed();
        checkpoint(log)?;
    }
    println!(
        "100 B buffered: {:.0} commits/s",
        f64::from(n) / spent.as_secs_f64()
    );
    Ok(())
}

fn durable(log: &Arc<Log>, threads: usize) -> Outcome<()> {
    let (commits, syncs) = (log.commits(), log.syncs());
    let barrier = Arc::new(Barrier::new(threads));
    let failed = Arc::new(AtomicU64::new(0));
    let t = Instant::now();
    let handles: Vec<_> = (0..threads)
        .map(|_| {
            let (log, barrier, failed) = (log.clone(), barrier.clone(), failed.clone());
            std::thread::spawn(move || {
                barrier.wait();
                let t = Instant::now();
                while t.elapsed() < Duration::from_secs(2) {
                    let done = log
                        .commit(&[1; 100], &[])
                        .and_then(|c| log.wait_synced(c.seq));
                    if done.is_err() {
                        failed.fetch_add(1, Relaxed);
                        break;
                    }
                }
            })
        })
        .collect();
    for handle in handles {
        handle.join().map_err(|_| "a committer panicked")?;
    }
    let (commits, syncs) = (log.commits() - commits, log.syncs() - syncs);
    println!(
        "100 B durable, {threads} threads: {:.0} commits/s, {:.1} commits per sync, {} failed",
        commits as f64 / t.elapsed().as_secs_f64(),
        commits as f64 / syncs as f64,
        failed.load(Relaxed)
    );
    checkpoint(log)?;
    Ok(())
}

fn bulk(log: &Log, batch: usize, mib_each: usize) -> Outcome<()> {
    let payloads: Vec<Bytes> = (0..batch).map(|i| vec![i as u8; 65536].into()).collect();
    let rounds = (mib_each << 20) * 8 / (batch * 65536);
    let t = Instant::now();
    for _ in 0..rounds {
        let done = log.commit(&[1; 100], &payloads)?;
        log.wait_synced(done.seq)?;
    }
    let mib = (rounds * batch) as f64 / 16.0 / t.elapsed().as_secs_f64();
    println!("64 KiB payloads, {batch} a durable commit: {mib:.0} MiB/s");
    checkpoint(log)?;
    Ok(())
}

fn reads(log: &Log) -> Outcome<()> {
    for size in [100usize, 65536] {
        let mut refs = Vec::new();
        for _ in 0..200 {
            let payloads: Vec<Bytes> = (0..8).map(|i| vec![i as u8; size].into()).collect();
            refs.extend(log.commit(&[], &payloads)?.payloads);
        }
        let t = Instant::now();
        let mut n = 0;
        while t.elapsed() < Duration::from_secs(1) {
            for at in &refs {
                std::hint::black_box(log.read(at)?);
                n += 1;
            }
        }
        let s = t.elapsed().as_secs_f64();
        println!(
            "{size} B payload reads: {:.0}/s, {:.0} MiB/s",
            f64::from(n) / s,
            f64::from(n) * size as f64 / s / 1048576.0
        );
    }
    Ok(())
}
