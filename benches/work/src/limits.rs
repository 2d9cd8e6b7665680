//! What the machine gives when nothing stands between: the bare loops that a workload cannot do without. They are measured in the place of a peer.
//!
//! | workload | what is done to the same bytes |
//! | --- | --- |
//! | `core-append-64k`, `core-batch-64k` | hashed with BLAKE2b, four at once in a batch, and then written to a file, in one thread; another syncs it every 200 ms |
//! | `core-get-64k` | copied from memory to memory |
//! | `store-put`, `store-batch` | written into a file that has been written before, and synced, commit by commit |
//! | `store-check`, `store-check-64k` | read from a file that the kernel has in memory, and summed with CRC-32 |
//! | `replicate-pipe-64k` | sealed by one thread; opened, hashed and written by another ([`machine`]) |
//! | `replicate-tcp-64k` | the same in two processes with TCP between them |
//! | `udx` | sent from one process to another over TCP |
//! | `stream-64k` | sealed and opened in one thread |

use crate::{
    Helper, Job, Result,
    given::{Random, block, number},
    machine,
    store::{BATCH, VALUE, Values, key},
    udx::Go,
};
use bytes::Bytes;
use pome_bench_support::Worker;
use pome_cores::crypto::leaf_hashes;
use pome_net::secret_stream::{OVERHEAD, SecretStreamCipher};
use serde_json::Value;
use std::{
    fs::File,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

const LARGE: usize = 64 << 10;
/// Bytes of a write: longer ones take longer (see `docs/performance.md`).
const PIECE: usize = 32 << 10;
/// How often what is written is synced where nobody waits for it.
const SYNC: Duration = Duration::from_millis(200);
/// Bytes that are read at once.
const READ: usize = 256 << 10;

pub(crate) fn measure(job: &Job) -> Result<()> {
    match job.workload.as_str() {
        "core-append-64k" => append(job, 1),
        "core-batch-64k" => append(job, 64),
        "core-get-64k" => copy(job),
        "store-put" => commits(job, 1),
        "store-batch" => commits(job, BATCH),
        "store-check" => check(job, VALUE + 32),
        "store-check-64k" => check(job, LARGE),
        "replicate-pipe-64k" => pipe(job),
        "replicate-tcp-64k" => machine::fetch(
            job,
            LARGE,
            "seal + TCP + open + BLAKE2b + write, two processes",
        ),
        "udx" => tcp(job),
        "stream-64k" => cipher(job),
        other => Err(format!("no limit of {other}").into()),
    }
}

/// Writes a block where the last one ended.
pub(crate) fn in_pieces(file: &File, block: &[u8], written: &mut u64) -> Result<()> {
    for part in block.chunks(PIECE) {
        file.write_all_at(part, *written)?;
        *written += part.len() as u64;
    }
    Ok(())
}

/// Does the work while a thread syncs the file, as often as a store does.
pub(crate) fn synced_meanwhile<T>(file: &File, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut synced = Instant::now();
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(5));
                if synced.elapsed() >= SYNC {
                    // The result does not matter to what is measured.
                    let _ = file.sync_data();
                    synced = Instant::now();
                }
            }
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

fn append(job: &Job, batch: u64) -> Result<()> {
    let file = File::create(job.folder.join("blocks"))?;
    let worker = Worker::ready()?;
    synced_meanwhile(&file, || {
        let mut written = 0;
        for i in (0..job.size).step_by(usize::try_from(batch)?) {
            let end = job.size.min(i + batch);
            let blocks: Vec<Bytes> = (i..end).map(|i| block(LARGE, i)).collect();
            let parts: Vec<&[u8]> = blocks.iter().map(|block| &block[..]).collect();
            std::hint::black_box(leaf_hashes(&parts));
            for part in parts {
                in_pieces(&file, part, &mut written)?;
            }
        }
        worker
            .done(job.size, written, "BLAKE2b + write, one thread")
            .map_err(Into::into)
    })
}

fn copy(job: &Job) -> Result<()> {
    let blocks: Vec<Bytes> = (0..job.size).map(|i| block(LARGE, i)).collect();
    let mut copy = vec![0; LARGE];
    let mut random = Random::new(7);
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        let at = random.below(job.size);
        copy.copy_from_slice(&blocks[usize::try_from(at)?]);
        if number(std::hint::black_box(&copy)) != at {
            return Err("wrong block".into());
        }
    }
    Ok(worker.done(job.ops, job.ops * LARGE as u64, "memcpy")?)
}

/// Commits of so many keys and values.
fn commits(job: &Job, batch: usize) -> Result<()> {
    let (count, item) = (usize::try_from(job.size)?, VALUE + 32);
    let values = Values::new(VALUE);
    let mut file = File::create(job.folder.join("log"))?;
    for _ in 0..count.div_ceil(BATCH) {
        file.write_all(&vec![0; BATCH * item])?;
    }
    file.sync_all()?;
    let worker = Worker::ready()?;
    let mut written = 0;
    for first in (0..count).step_by(batch) {
        let mut commit = Vec::with_capacity(batch * item);
        for n in first..count.min(first + batch) {
            commit.extend_from_slice(&key(n));
            commit.extend_from_slice(&values.value(n));
        }
        file.write_all_at(&commit, written)?;
        file.sync_data()?;
        written += commit.len() as u64;
    }
    let version = "write into a written file + fdatasync";
    Ok(worker.done(job.size, written, version)?)
}

/// Sums the bytes of so many values of so many bytes.
fn check(job: &Job, size: usize) -> Result<()> {
    let path = job.folder.join("values");
    let mut file = File::create(&path)?;
    for i in 0..job.size {
        file.write_all(&block(size, i))?;
    }
    file.sync_all()?;
    let mut buffer = vec![0; READ];
    let worker = Worker::ready()?;
    let mut file = File::open(&path)?;
    let (mut sum, mut bytes) = (crc32fast::Hasher::new(), 0);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            len => {
                sum.update(&buffer[..len]);
                bytes += len as u64;
            }
        }
    }
    std::hint::black_box(sum.finalize());
    if bytes != job.size * size as u64 {
        return Err("bytes are missing".into());
    }
    Ok(worker.done(job.size, bytes, "read + CRC-32")?)
}

fn pipe(job: &Job) -> Result<()> {
    let worker = Worker::ready()?;
    let seconds = machine::seconds(&job.folder, LARGE, usize::try_from(job.size)?)?;
    let version = "seal, open + BLAKE2b + write, two threads";
    Ok(worker.done_in(seconds, job.size, job.size * LARGE as u64, version)?)
}

/// `size` millions of bytes; the time begins with the first.
fn tcp(job: &Job) -> Result<()> {
    let mut sender = Helper::ours(&["tcp", "send"])?;
    let _: Value = sender.hear()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let go = Go {
        port: listener.local_addr()?.port(),
        seconds: 1e9,
        now: false,
    };
    let mut buffer = vec![0; READ];
    let worker = Worker::ready()?;
    sender.say(&serde_json::to_string(&go)?)?;
    let (mut socket, _) = listener.accept()?;
    let mut bytes = socket.read(&mut buffer)? as u64;
    let began = Instant::now();
    while bytes < job.size * 1_000_000 {
        match socket.read(&mut buffer)? {
            0 => return Err("the other end has ended".into()),
            len => bytes += len as u64,
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(worker.done_in(seconds, job.size, bytes, "TCP, nothing sealed")?)
}

fn cipher(job: &Job) -> Result<()> {
    let mut seals = SecretStreamCipher::new(&[7; 32], &[0; 24]);
    let mut opens = seals.clone();
    let message = vec![7; LARGE];
    let mut buffer = vec![0; OVERHEAD + LARGE];
    let worker = Worker::ready()?;
    for _ in 0..job.size {
        buffer[1..=LARGE].copy_from_slice(&message);
        seals.seal(&mut buffer);
        if !opens.open(&mut buffer) {
            return Err("a message does not open".into());
        }
    }
    Ok(worker.done(job.size, job.size * LARGE as u64, "seal + open, one thread")?)
}
