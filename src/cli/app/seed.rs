//! `pome seed`: an app for those who look for it. What somebody else has staged is fetched, and handed on.

use super::{Which, args::AppArgs, tell};
use crate::cli::{
    drive::{follow_contents, open},
    failure::Failure,
    io::Io,
    peers::Peers,
    service::Service,
    share,
};
use pome_drive_fs::{DriveDownload, Hyperdrive, ListOptions};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;

const CMD: &str = "seed";
/// It is announced again after so long, when that did not go.
const RETRY: Duration = Duration::from_millis(500);

pub(crate) async fn seed(service: &Service, args: AppArgs, io: &mut Io) -> Result<(), Failure> {
    let which = Which::of(&args, io)?;
    let drive = match &which {
        Which::Link(link) => {
            let key = link.key.to_string();
            let (_, drive, _peers) = open(service, Some(&key), io).await?;
            drive
        }
        Which::Channel(..) => which.ours(service, false).await?,
    };
    let key = drive.key().to_string();
    let link = format!("pear://{key}");
    if drive.core().length() == 0 && drive.writable() {
        let message = format!("nothing was staged into {link} yet");
        return Err(Failure::new("ERR_INVALID_INPUT", message));
    }
    let data = json!({ "key": key, "channel": which.channel(), "link": link });
    tell(io, (CMD, "seeding"), data, format!("seeding {link}")).await?;
    let peers = Peers::serving(service, io);
    let joined = peers.serve(std::slice::from_ref(drive.core())).await?;
    follow_contents(&drive, &peers).await?;
    let keys = [
        ("meta-key", drive.key().to_hex()),
        ("meta-discovery-key", drive.discovery_key().to_hex()),
        (
            "content-key",
            drive
                .content_key()
                .map(|key| key.to_hex())
                .unwrap_or_default(),
        ),
        ("key", key),
    ];
    for (tag, value) in keys {
        tell(io, (CMD, tag), json!(value), "").await?;
    }
    let mut found = peers.network().await?.map(|network| network.opened());
    let mut tasks = JoinSet::new();
    if !drive.writable() {
        tasks.spawn(fetch(drive.clone()));
    }
    let mut announced = joined.is_none();
    loop {
        let announce = async {
            match &joined {
                Some(joined) if !announced => match joined.announced().await {
                    true => true,
                    false => {
                        tokio::time::sleep(RETRY).await;
                        false
                    }
                },
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            done = announce => if done {
                announced = true;
                tell(io, (CMD, "announced"), json!({}), "announced").await?;
            },
            Some(peer) = share::next(&mut found) => {
                let peer = pome_cores::Key(peer).to_hex();
                tell(io, (CMD, "peer-add"), json!(peer), format!("peer {peer}")).await?;
            }
            _ = io.stopped() => break,
        }
    }
    drop((tasks, joined, peers));
    Ok(())
}

/// Fetches all of a drive, and what is added to it.
async fn fetch(drive: Hyperdrive) {
    let mut lengths = drive.core().watch();
    loop {
        lengths.borrow_and_update();
        let _database = drive.core().download(..).ok();
        let _contents: Option<DriveDownload> =
            match drive.download("/", ListOptions::default()).await {
                Ok(download) => Some(download),
                Err(error) => {
                    tracing::warn!(drive = %drive.key(), %error, "not all of it can be fetched");
                    None
                }
            };
        if lengths.changed().await.is_err() {
            return;
        }
    }
}
