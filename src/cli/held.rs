//! `pome status PATH` and `pome flush`: how far what was written has come.

use super::{
    drive::{self, missing},
    failure::Failure,
    io::Io,
    peers::Peers,
    service::{IfMissing, Service},
};
use pome_cores::replication::PeerInfo;
use pome_drive_fs::Hyperdrive;
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// How often it is looked at who has it.
const EVERY: Duration = Duration::from_millis(50);

/// A drive, a path in it (the root is empty), and the mount that shows it, if there is one.
struct Place {
    drive: Hyperdrive,
    path: String,
    mount: Option<Arc<super::mount::Mount>>,
}

impl Place {
    async fn of(service: &Service, path: Option<&PathBuf>, io: &Io) -> Result<Self, Failure> {
        let Some(path) = path else {
            let (_, drive) = service.drive(None, IfMissing::Refuse).await?;
            let mount = service.mounts.live(drive.key());
            return Ok(Self {
                drive,
                path: String::new(),
                mount,
            });
        };
        let path = io.path(path);
        let (mount, below) = service.mounts.above(&path).ok_or_else(|| Failure {
            code: "NOT_MOUNTED".into(),
            ..Failure::not_found(format!("{} is in no mount of this store", path.display()))
        })?;
        let (_, drive) = service
            .drive(Some(&mount.key.to_string()), IfMissing::Refuse)
            .await?;
        Ok(Self {
            drive,
            path: below,
            mount: Some(mount),
        })
    }

    fn vfs(&self) -> Option<&pome_drive_fs::vfs::Vfs> {
        self.mount.as_ref().map(|mount| &**mount.mounted.vfs())
    }

    async fn is_published(&self) -> Result<bool, Failure> {
        match self.vfs() {
            None => Ok(true),
            Some(vfs) => match vfs.is_published(&self.path).await {
                Ok(is) => Ok(is),
                Err(pome_drive_fs::vfs::VfsError::NotFound) => Err(missing(&self.path)),
                Err(error) => Err(pome_drive_fs::fuse::MountError::from(error).into()),
            },
        }
    }

    fn is_synced(&self, service: &Service) -> bool {
        let store = service.store();
        self.vfs().is_none_or(|vfs| vfs.is_synced()) && store.synced_seq() >= store.committed_seq()
    }

    /// How many peers are connected, and how many of them have all of both cores up to where this ends. One that is connected twice is one.
    async fn peers(&self) -> Result<(usize, usize), Failure> {
        let db = self.drive.core();
        let entry = match self.path.is_empty() {
            true => None,
            false => self.drive.entry(&self.path).await?,
        };
        let blobs = self.drive.blobs().await?.core().clone();
        let (length, contents) = match entry {
            None => (db.length(), blobs.length()),
            Some(entry) => {
                let blob = entry.value.blob;
                let end = blob.map_or(0, |blob| {
                    blob.block_offset.saturating_add(blob.block_length)
                });
                (entry.seq.saturating_add(1), end)
            }
        };
        let have = blobs.peers();
        let connected = db.peers();
        let held = connected.iter().filter(|peer| {
            peer.remote_contiguous_length >= length
                && have.iter().any(|other| {
                    other.remote_public_key == peer.remote_public_key
                        && other.remote_contiguous_length >= contents
                })
        });
        Ok((different(&connected), different(held)))
    }

    async fn say(&self, service: &Service, io: &mut Io) -> Result<(), Failure> {
        let published = self.is_published().await?;
        let durable = self.is_synced(service);
        // Nobody has what is no version yet.
        let (peers, held) = match published {
            true => self.peers().await?,
            false => (different(&self.drive.core().peers()), 0),
        };
        let path = match self.path.is_empty() {
            true => "/",
            false => &self.path,
        };
        let value = json!({
            "key": self.drive.key().to_string(),
            "path": path,
            "version": self.drive.version(),
            "durable": durable,
            "published": published,
            "peers": peers,
            "heldBy": held,
        });
        let text = format!(
            "{path}: {}, {}; held by {held} of {peers} peers",
            if durable {
                "durable here"
            } else {
                "not on disk yet"
            },
            match published {
                true => format!("published (version {})", self.drive.version()),
                false => "not published yet".to_owned(),
            },
        );
        io.result(value, text).await
    }
}

/// How many peers these connections are with.
pub(crate) fn different<'a>(connections: impl IntoIterator<Item = &'a PeerInfo>) -> usize {
    let keys = connections.into_iter().map(|peer| peer.remote_public_key);
    keys.collect::<BTreeSet<_>>().len()
}

/// Says how far it has come.
pub(crate) async fn status(service: &Service, path: &Path, io: &mut Io) -> Result<(), Failure> {
    let place = Place::of(service, Some(&path.to_owned()), io).await?;
    place.say(service, io).await
}

/// Publishes it, and waits until it is on disk and so many peers have it.
pub(crate) async fn flush(
    service: &Service,
    path: Option<&PathBuf>,
    wanted: usize,
    io: &mut Io,
) -> Result<(), Failure> {
    let place = Place::of(service, path, io).await?;
    service.mounts.publish(place.drive.key()).await?;
    service.sync().await?;
    // The mount's peers, or those that this command meets.
    let peers = Peers::serving(service, io);
    if wanted > 0 && !peers.is_alone() {
        peers.newest(place.drive.core()).await?;
        drive::follow_contents(&place.drive, &peers).await?;
    }
    let deadline = Instant::now() + io.patience();
    loop {
        let (_, held) = match place.is_published().await? {
            true => place.peers().await?,
            false => (0, 0),
        };
        if held >= wanted {
            return place.say(service, io).await;
        }
        if Instant::now() >= deadline {
            return Err(Failure::timed_out(format!(
                "{held} peers have it, {wanted} are wanted"
            )));
        }
        tokio::time::sleep(EVERY).await;
    }
}
