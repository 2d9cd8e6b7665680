//! `pome drive pin`, `evict` and `prefetch`: which contents are here, and which stay here.

use super::{drive, failure::Failure, io::Io, limit, peers::Peers, service::Service, space};
use futures_util::StreamExt;
use pome_drive_fs::{BlobId, Hyperdrive, ListOptions};
use serde_json::json;
use std::pin::pin;

/// What is done with contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// They are here, and stay whatever the store's limit is.
    Pin,
    /// They are not here.
    Evict,
    /// They are here.
    Prefetch,
}

pub(crate) async fn contents(
    service: &Service,
    words: &[String],
    want: Want,
    io: &mut Io,
) -> Result<(), Failure> {
    let (drive, peers, path) = drive::place(service, words, "", io).await?;
    if want == Want::Evict && drive.writable() {
        return Err(Failure::new(
            "ONLY_COPY",
            "this store writes the drive: nobody may have its contents but this store",
        ));
    }
    let blobs = below(&drive, &peers, &path).await?;
    let cores = &service.corestore;
    let core = peers.within(drive.blobs()).await?.core().clone();
    let (mut blocks, mut files) = (0, 0);
    for blob in &blobs {
        files += 1;
        match want {
            Want::Evict => {
                let own = blob.block_offset..blob.block_offset.saturating_add(blob.block_length);
                let ranges = match blob.block_map && !core.has(own.clone()).await? {
                    // What the map names is not known any more.
                    true => vec![own],
                    false => drive.blobs().await?.ranges(blob).await?,
                };
                for range in ranges {
                    limit::unpin(cores, core.discovery_key(), range)?;
                }
                blocks += drive.blobs().await?.clear(blob).await?;
            }
            Want::Pin | Want::Prefetch => {
                let before = drive.blobs().await?.has(blob).await?;
                if want == Want::Pin {
                    // First, so that nothing of it goes while the rest comes.
                    for range in peers.within(drive.blobs().await?.ranges(blob)).await? {
                        limit::pin(cores, core.discovery_key(), range)?;
                    }
                }
                peers.within(cores.room()).await?;
                let mut pieces = pin!(drive.blobs().await?.stream(*blob, 0, u64::MAX));
                while peers.next(&mut pieces).await?.is_some() {}
                if !before {
                    blocks += blob.block_length;
                }
                io.progress(files, blobs.len() as u64, "files");
            }
        }
    }
    service.sync().await?;
    let mut value = json!({ "key": path, "files": files, "blocks": blocks });
    let mut text = match want {
        Want::Pin => format!("{files} files are here and stay; {blocks} blocks came"),
        Want::Prefetch => format!("{files} files are here; {blocks} blocks came"),
        Want::Evict => format!("{blocks} blocks of {files} files went"),
    };
    if want == Want::Evict {
        let freed = space::free(service, false).await?;
        value["freed"] = freed.bytes.into();
        text = format!("{text}; {}", space::words(&freed));
    }
    io.result(value, text).await
}

/// The contents of a file, or of all files below a folder.
async fn below(drive: &Hyperdrive, peers: &Peers, path: &str) -> Result<Vec<BlobId>, Failure> {
    let mut all = Vec::new();
    if path != "/"
        && let Some(entry) = peers.within(drive.entry(path)).await?
    {
        all.extend(entry.value.blob);
    }
    let mut found = !all.is_empty();
    let mut entries = pin!(drive.list(path, ListOptions::default()).fuse());
    while let Some(entry) = peers.next(&mut entries).await? {
        found = true;
        all.extend(entry.value.blob);
    }
    match found {
        true => Ok(all),
        false => Err(drive::missing(path)),
    }
}
