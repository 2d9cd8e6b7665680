//! A transfer with `iroh-blobs`: one blob of as many bytes as the blocks have, from the store of one process to that of another, over QUIC on loopback. The
//! address is known before: there is no relay, and nothing is looked up. What arrives is verified with BLAKE3 and written to files.

use crate::{Job, Result, Worker, say, until_stdin_ends, version};
use iroh::{Endpoint, EndpointAddr, EndpointId, RelayMode, endpoint::presets, protocol::Router};
use iroh_blobs::{BlobsProtocol, Hash, store::fs::FsStore};
use rand::RngExt;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

async fn endpoint() -> Result<Endpoint> {
    let builder = Endpoint::builder(presets::Minimal)
        .relay_mode(RelayMode::Disabled)
        .clear_address_lookup();
    Ok(builder
        .clear_ip_transports()
        .bind_addr("127.0.0.1:0")?
        .bind()
        .await?)
}

/// Serves a blob until stdin ends; says where, and which.
pub(crate) async fn serve(folder: &Path, size: usize, count: usize) -> Result<()> {
    let store = FsStore::load(folder).await?;
    let mut blob = vec![0; size * count];
    rand::rng().fill(&mut blob[..]);
    let added = store.blobs().add_bytes(blob).with_tag().await?;
    let endpoint = endpoint().await?;
    let port = endpoint.bound_sockets().first().ok_or("no socket")?.port();
    let id = endpoint.id();
    let router = Router::builder(endpoint)
        .accept(iroh_blobs::ALPN, BlobsProtocol::new(&store, None))
        .spawn();
    say(&json!({ "port": port, "id": id.to_string(), "hash": added.hash.to_string() }))?;
    tokio::task::spawn_blocking(until_stdin_ends).await??;
    router.shutdown().await?;
    Ok(())
}

/// The process that serves; it ends when this is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn measure(job: &Job) -> Result<()> {
    let size: u64 = if job.workload.ends_with("64k") {
        64 << 10
    } else {
        100
    };
    if !job.workload.starts_with("replicate-") {
        return Err(format!("iroh does no {}", job.workload).into());
    }
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("serve")
        .arg(job.folder.join("source"))
        .args([size.to_string(), job.size.to_string()]);
    let mut server = Server(
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?,
    );
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line)?;
    let id: EndpointId = said["id"].as_str().ok_or("no id")?.parse()?;
    let hash: Hash = said["hash"].as_str().ok_or("no hash")?.parse()?;
    let port = u16::try_from(said["port"].as_u64().ok_or("no port")?)?;
    let there = EndpointAddr::new(id).with_ip_addr(SocketAddr::from(([127, 0, 0, 1], port)));

    let store = FsStore::load(job.folder.join("target")).await?;
    let endpoint = endpoint().await?;
    let worker = Worker::ready()?;
    let connection = endpoint.connect(there, iroh_blobs::ALPN).await?;
    store.remote().fetch(connection, hash).await?;
    let local = store.remote().local(hash).await?;
    if !local.is_complete() || local.local_bytes() != job.size * size {
        return Err("bytes are missing".into());
    }
    worker.done(
        job.size,
        job.size * size,
        &(version("iroh-blobs") + " (QUIC, BLAKE3, to files)"),
    )?;
    endpoint.close().await;
    store.shutdown().await?;
    Ok(())
}
