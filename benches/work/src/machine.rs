//! What the machine can do of the work that a download cannot do without, with nothing else around it: one side seals blocks, the other opens them, hashes
//! them and writes them to a file. In one process, or in two with TCP between them.

use crate::{
    Helper, Job, Result,
    limits::{in_pieces, synced_meanwhile},
};
use pome_bench_support::Worker;
use pome_cores::crypto::leaf_hashes;
use pome_net::secret_stream::{OVERHEAD, SecretStreamCipher};
use rand::RngExt;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    time::Instant,
};

/// Blocks that are handed over, hashed and written together.
const TOGETHER: usize = 16;
/// What both sides have agreed on.
const KEY: [u8; 32] = [7; 32];

/// The side that has the blocks.
struct Sealing {
    cipher: SecretStreamCipher,
    block: Vec<u8>,
}

impl Sealing {
    fn new(size: usize) -> Self {
        let mut block = vec![0; OVERHEAD + size];
        rand::rng().fill(&mut block[..]);
        let cipher = SecretStreamCipher::new(&KEY, &[0; 24]);
        Self { cipher, block }
    }

    fn seal(&mut self, buffer: &mut [u8]) {
        for message in buffer.chunks_mut(self.block.len()) {
            message.copy_from_slice(&self.block);
            self.cipher.seal(message);
        }
    }
}

/// The side that gets them.
struct Opening<'a> {
    cipher: SecretStreamCipher,
    size: usize,
    file: &'a File,
    written: u64,
    hashed: usize,
}

impl<'a> Opening<'a> {
    fn new(size: usize, file: &'a File) -> Self {
        let cipher = SecretStreamCipher::new(&KEY, &[0; 24]);
        let (written, hashed) = (0, 0);
        Self {
            cipher,
            size,
            file,
            written,
            hashed,
        }
    }

    /// Opens, hashes and writes the messages of a buffer.
    fn open(&mut self, buffer: &mut [u8]) -> Result<()> {
        let message = OVERHEAD + self.size;
        for message in buffer.chunks_mut(message) {
            if !self.cipher.open(message) {
                return Err("a message does not open".into());
            }
        }
        let blocks: Vec<&[u8]> = (buffer.chunks(message))
            .map(|message| &message[1..=self.size])
            .collect();
        self.hashed += leaf_hashes(&blocks).len();
        for block in blocks {
            in_pieces(self.file, block, &mut self.written)?;
        }
        Ok(())
    }

    /// Works on what comes, and gives the buffers back. Both ends are dropped with it, so that the other side ends too.
    fn all(
        mut self,
        come: Receiver<Vec<u8>>,
        back: SyncSender<Vec<u8>>,
        count: usize,
    ) -> Result<()> {
        while let Ok(mut buffer) = come.recv() {
            self.open(&mut buffer)?;
            // Nobody waits for buffers at the end.
            let _ = back.send(buffer);
        }
        match self.hashed == count {
            true => Ok(()),
            false => Err("blocks are missing".into()),
        }
    }
}

/// Buffers on their way, and on their way back. Buffers go back, so that none is made anew.
type Ways = (
    (SyncSender<Vec<u8>>, Receiver<Vec<u8>>),
    (SyncSender<Vec<u8>>, Receiver<Vec<u8>>),
);

/// As much as may be in flight between two peers.
fn ways(size: usize) -> Result<Ways> {
    let (there, back) = (sync_channel(8), sync_channel(16));
    for _ in 0..12 {
        back.0.send(vec![0; TOGETHER * (OVERHEAD + size)])?;
    }
    Ok((there, back))
}

/// How many blocks each buffer has.
fn buffers(count: usize) -> impl Iterator<Item = usize> {
    (0..count)
        .step_by(TOGETHER)
        .map(move |first| TOGETHER.min(count - first))
}

/// Seconds for so many blocks of so many bytes, in this process.
///
/// # Errors
/// When the disk refuses what is written.
pub fn seconds(scratch: &Path, size: usize, count: usize) -> Result<f64> {
    let path = scratch.join("machine");
    let file = File::create(&path)?;
    let (mut sealing, opening) = (Sealing::new(size), Opening::new(size, &file));
    let ((sealed, to_open), (opened, to_seal)) = ways(size)?;
    let start = Instant::now();
    let seconds = synced_meanwhile(&file, || {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for blocks in buffers(count) {
                    let Ok(mut buffer) = to_seal.recv() else {
                        return;
                    };
                    buffer.truncate(blocks * (OVERHEAD + size));
                    sealing.seal(&mut buffer);
                    if sealed.send(buffer).is_err() {
                        return;
                    }
                }
            });
            opening.all(to_open, opened, count)?;
            Ok(start.elapsed().as_secs_f64())
        })
    })?;
    std::fs::remove_file(&path)?;
    Ok(seconds)
}

/// The process that seals: says its port, and sends so many blocks to the first that comes. It ends when stdin does.
pub(crate) fn serve(size: usize, count: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", json!({ "port": listener.local_addr()?.port() }));
    let mut sealing = Sealing::new(size);
    let mut buffer = vec![0; TOGETHER * (OVERHEAD + size)];
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    for blocks in buffers(count) {
        let messages = &mut buffer[..blocks * (OVERHEAD + size)];
        sealing.seal(messages);
        socket.write_all(messages)?;
    }
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// The process that gets blocks of so many bytes from another: one thread reads, another opens, hashes and writes.
pub(crate) fn fetch(job: &Job, size: usize, version: &str) -> Result<()> {
    let count = usize::try_from(job.size)?;
    let mut server = Helper::ours(&["machine", &size.to_string(), &job.size.to_string()])?;
    let address: Value = server.hear()?;
    let port = u16::try_from(address["port"].as_u64().ok_or("no port")?)?;
    let file = File::create(job.folder.join("machine"))?;
    let opening = Opening::new(size, &file);
    let ((came, to_open), (opened, free)) = ways(size)?;
    let worker = Worker::ready()?;
    let start = Instant::now();
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    let seconds = synced_meanwhile(&file, || {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for blocks in buffers(count) {
                    let Ok(mut buffer) = free.recv() else { return };
                    buffer.truncate(blocks * (OVERHEAD + size));
                    // When nothing more comes, who opens sees that blocks are missing.
                    if socket.read_exact(&mut buffer).is_err() || came.send(buffer).is_err() {
                        return;
                    }
                }
            });
            opening.all(to_open, opened, count)?;
            Ok(start.elapsed().as_secs_f64())
        })
    })?;
    worker.done_in(seconds, job.size, job.size * size as u64, version)?;
    server.end()
}
