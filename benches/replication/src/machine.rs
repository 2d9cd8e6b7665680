//! What the machine can do of the work that a download cannot do without, with nothing else around it: one thread seals blocks, another opens them, hashes them
//! and writes them to a file.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use pome_cores::crypto::leaf_hashes;
use pome_net::secret_stream::{OVERHEAD, SecretStreamCipher};
use rand::RngExt;

use crate::Result;

/// Blocks that are handed over, hashed and written together.
const TOGETHER: usize = 16;
/// Bytes of a write: longer ones take longer (see `docs/performance.md`).
const PIECE: usize = 32 << 10;
/// How often the store syncs what it has written.
const SYNC: Duration = Duration::from_millis(200);

/// Seconds for so many blocks of so many bytes.
pub(crate) fn seconds(scratch: &Path, size: usize, count: usize) -> Result<f64> {
    let mut key = [0; 32];
    let mut block = vec![0; OVERHEAD + size];
    rand::rng().fill(&mut key[..]);
    rand::rng().fill(&mut block[..]);
    let mut tx = SecretStreamCipher::new(&key, &[0; 24]);
    let mut rx = tx.clone();
    let path = scratch.join("machine");
    let file = File::create(&path)?;
    let done = AtomicBool::new(false);
    // As much as may be in flight between two peers. Buffers go back, so that none is made anew.
    let (sealed, opened) = (sync_channel(8), sync_channel(16));
    for _ in 0..12 {
        opened.0.send(vec![0; TOGETHER * block.len()])?;
    }
    let start = Instant::now();
    let file = &file;
    let seconds = std::thread::scope(|scope| -> Result<f64> {
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
        let block = &block;
        let (sealed, to_open) = sealed;
        let (to_seal, free) = opened;
        scope.spawn(move || {
            for _ in 0..count.div_ceil(TOGETHER) {
                let Ok(mut buffer) = free.recv() else { return };
                for message in buffer.chunks_mut(block.len()) {
                    message.copy_from_slice(block);
                    tx.seal(message);
                }
                if sealed.send(buffer).is_err() {
                    return;
                }
            }
        });
        let seconds = receive(to_open, to_seal, &mut rx, file, size, count)
            .map(|()| start.elapsed().as_secs_f64());
        done.store(true, Ordering::Relaxed);
        seconds
    })?;
    std::fs::remove_file(&path)?;
    Ok(seconds)
}

/// Opens, hashes and writes what comes, and gives the buffers back. Both ends are dropped with it, so that the sealing side ends too.
fn receive(
    to_open: Receiver<Vec<u8>>,
    to_seal: SyncSender<Vec<u8>>,
    rx: &mut SecretStreamCipher,
    file: &File,
    size: usize,
    count: usize,
) -> Result<()> {
    let (mut offset, mut hashed) = (0, 0);
    while let Ok(mut buffer) = to_open.recv() {
        for message in buffer.chunks_mut(OVERHEAD + size) {
            if !rx.open(message) {
                return Err("a message does not open".into());
            }
        }
        let blocks: Vec<&[u8]> = (buffer.chunks(OVERHEAD + size))
            .map(|message| &message[1..=size])
            .collect();
        hashed += leaf_hashes(&blocks).len();
        for part in blocks.iter().flat_map(|block| block.chunks(PIECE)) {
            file.write_all_at(part, offset)?;
            offset += part.len() as u64;
        }
        // Nobody waits for buffers at the end.
        let _ = to_seal.send(buffer);
    }
    match hashed >= count {
        true => Ok(()),
        false => Err("blocks are missing".into()),
    }
}
