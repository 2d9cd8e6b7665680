//! Replication, as processes that are either side of it. Their words are those of `benches/peers/npm/replication.js`.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pome_cores::{CoreOptions, Corestore, Durability, Hypercore, KeyPair};
use pome_net::{
    driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp},
    noise::Role,
};
use rand::RngExt;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, stdin};

use crate::{Result, core::open};

/// Does what the words say: `serve FOLDER SIZE COUNT`, `fetch FOLDER KEY PORT COUNT`, `pipe FOLDER SIZE COUNT`, `append FOLDER COUNT` or `follow FOLDER KEY PORT COUNT`.
///
/// # Errors
/// When they say nothing of it, or it fails.
pub fn alone(words: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match words[..] {
            ["serve", folder, size, count] => {
                serve(folder.as_ref(), size.parse()?, count.parse()?).await
            }
            ["fetch", folder, key, port, count] => {
                let (cores, core) = reader(folder.as_ref(), key).await?;
                let start = Instant::now();
                fetch(&cores, &core, port.parse()?, count.parse()?).await?;
                said(start)
            }
            ["pipe", folder, size, count] => {
                let pipe = Pipe::new(folder.as_ref(), size.parse()?, count.parse()?).await?;
                let start = Instant::now();
                pipe.run().await?;
                said(start)
            }
            ["append", folder, count] => append(folder.as_ref(), count.parse()?).await,
            ["follow", folder, key, port, count] => {
                follow(folder.as_ref(), key, port.parse()?, count.parse()?).await
            }
            _ => Err("no such role".into()),
        }
    })
}

/// Says how long it took.
fn said(start: Instant) -> Result<()> {
    println!("{}", json!({ "seconds": start.elapsed().as_secs_f64() }));
    Ok(())
}

pub(crate) async fn fill(core: &Hypercore, size: usize, count: usize) -> Result<()> {
    let mut rng = rand::rng();
    let mut left = count;
    while left > 0 {
        let batch = left.min(((4 << 20) / size).clamp(1, 1000));
        let blocks = (0..batch).map(|_| {
            let mut block = vec![0; size];
            rng.fill(&mut block[..]);
            Bytes::from(block)
        });
        core.append_batch(blocks.collect()).await?;
        left -= batch;
    }
    Ok(())
}

/// Serves until stdin ends; says where, and which core.
async fn listen(cores: &Corestore, core: &Hypercore) -> Result<tokio::task::JoinHandle<()>> {
    let options = ConnectionOptions::default();
    let server = tcp::Server::bind("127.0.0.1:0", KeyPair::random(), options).await?;
    let port = server.address().port();
    println!("{}", json!({"port": port, "key": core.key().to_hex()}));
    let cores = cores.clone();
    Ok(tokio::spawn(async move {
        let mut kept: Vec<(Connection, Replication)> = vec![];
        while let Ok(connection) = server.accept().await {
            let replication = connection.replicate(&cores, ReplicateOptions::default());
            kept.push((connection, replication));
        }
    }))
}

async fn ended() -> Result<()> {
    stdin().read_to_end(&mut vec![]).await?;
    Ok(())
}

async fn serve(folder: &Path, size: usize, count: usize) -> Result<()> {
    let cores = open(folder)?;
    let core = cores.get(CoreOptions::name("bench")).await?;
    if core.length() == 0 {
        fill(&core, size, count).await?;
    }
    cores.store().sync()?;
    let _serving = listen(&cores, &core).await?;
    ended().await
}

pub(crate) async fn reader(folder: &Path, key: &str) -> Result<(Corestore, Hypercore)> {
    let cores = open(folder)?;
    let core = cores.get(CoreOptions::key(key.parse()?)).await?;
    Ok((cores, core))
}

async fn dial(cores: &Corestore, port: u16) -> Result<(Connection, Replication)> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let options = ConnectionOptions::default();
    let connection = tcp::connect(address, &KeyPair::random(), &options).await?;
    let replication = connection.replicate(cores, ReplicateOptions::default());
    Ok((connection, replication))
}

/// Downloads all blocks from who serves there.
pub(crate) async fn fetch(
    cores: &Corestore,
    core: &Hypercore,
    port: u16,
    count: u64,
) -> Result<()> {
    let _joined = dial(cores, port).await?;
    core.download(0..count)?.done().await?;
    match core.contiguous_length() == count {
        true => Ok(()),
        false => Err("blocks are missing".into()),
    }
}

/// Two stores in one process, and a core that one of them has.
pub(crate) struct Pipe {
    from: Corestore,
    to: Corestore,
    copy: Hypercore,
    count: u64,
}

impl Pipe {
    pub(crate) async fn new(folder: &Path, size: usize, count: usize) -> Result<Self> {
        let (from, to) = (open(&folder.join("from"))?, open(&folder.join("to"))?);
        let core = from.get(CoreOptions::name("bench")).await?;
        fill(&core, size, count).await?;
        from.store().sync()?;
        let copy = to.get(CoreOptions::key(core.key())).await?;
        let count = count as u64;
        Ok(Self {
            from,
            to,
            copy,
            count,
        })
    }

    /// Has the other have it too.
    pub(crate) async fn run(&self) -> Result<()> {
        let (ours, theirs) = tokio::io::duplex(256 << 10);
        let side = |socket, role| {
            let options = ConnectionOptions::default();
            Connection::over(socket, role, &KeyPair::random(), options)
        };
        let (a, b) = (side(ours, Role::Initiator)?, side(theirs, Role::Responder)?);
        let _a = a.replicate(&self.from, ReplicateOptions::default());
        let _b = b.replicate(&self.to, ReplicateOptions::default());
        Ok(self.copy.download(0..self.count)?.done().await?)
    }
}

/// Nanoseconds of the clock that all processes share.
fn clock() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

async fn append(folder: &Path, count: usize) -> Result<()> {
    let cores = open(folder)?;
    let core = cores.get(CoreOptions::name("bench")).await?;
    let _serving = listen(&cores, &core).await?;
    let mut lines = BufReader::new(stdin()).lines();
    lines.next_line().await?;
    for _ in 0..count {
        let mut block = vec![0; 100];
        block[..8].copy_from_slice(&clock().to_le_bytes());
        core.append_with(vec![block.into()], Durability::Synced)
            .await?;
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    lines.next_line().await?;
    Ok(())
}

async fn follow(folder: &Path, key: &str, port: u16, count: u64) -> Result<()> {
    let (cores, core) = reader(folder, key).await?;
    let _joined = dial(&cores, port).await?;
    while core.peers().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("{}", json!({ "ready": true }));
    let mut micros = vec![];
    for n in 0..count {
        let block = core.get(n).await?;
        let sent = block.first_chunk::<8>().ok_or("a short block")?;
        micros.push((clock() - u64::from_le_bytes(*sent)) as f64 / 1e3);
    }
    println!("{}", json!({ "micros": micros }));
    Ok(())
}
