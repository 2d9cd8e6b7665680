//! `pome share`: cores over secret streams, to those who look for them and to those who know where we are.

use super::{
    args::ShareArgs,
    failure::Failure,
    io::Io,
    names::{Kind, Target},
    network::Joined,
    peers::{self, Peers},
    service::Service,
};
use pome_bee::Hyperbee;
use pome_cores::{CoreOptions, Corestore, DiscoveryKey, Hypercore, Key};
use pome_drive_fs::content_key;
use pome_net::driver::{Connection, ReplicateOptions, Replication, tcp};
use serde_json::json;
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc},
    task::JoinSet,
};

/// How long to wait before the next connection is taken when the system refuses one, as when too many files are open.
const RETRY: Duration = Duration::from_millis(100);

/// Of what is shared, so much is kept open.
const OPEN_MAX: usize = 1_024;

/// Something that is shared: peers look for the first of its cores.
struct Shared {
    cores: Vec<Hypercore>,
    is_drive: bool,
    /// Whether it was said that it is found.
    told: Option<bool>,
}

impl Shared {
    fn core(core: Hypercore) -> Self {
        Self {
            cores: vec![core],
            is_drive: false,
            told: None,
        }
    }

    fn event(&self, announced: bool) -> (serde_json::Value, String) {
        let key = self.cores[0].key();
        let how = match self.is_drive {
            true => format!("pome mount FOLDER --drive {key}"),
            false => format!("pome core download {key}"),
        };
        let shared = match announced {
            true => "shared",
            false => "shared, but not found over the DHT now",
        };
        let value = json!({ "event": "sharing", "key": key.to_string(), "announced": announced });
        (value, format!("{shared}; on another machine: {how}"))
    }
}

/// Serves what is named, and nothing else, until the client wants the end.
pub(crate) async fn share(service: &Service, args: ShareArgs, io: &mut Io) -> Result<(), Failure> {
    let mut named = Vec::new();
    for target in &args.targets {
        named.push(cores_of(service, target, io).await?);
    }
    let cores = service.corestore.clone();
    let everything = named.is_empty();
    // Whom it dials or finds has the same from it as who dials it.
    let peers = Peers::serving(service, io);
    let mut opened = cores.watch();
    if everything && !peers.is_alone() {
        named = all(service, io).await?;
    }
    let keys = |shared: &Shared| -> Vec<DiscoveryKey> {
        shared.cores.iter().map(Hypercore::discovery_key).collect()
    };
    let only = (!everything).then(|| named.iter().flat_map(keys).collect());
    let mut known: HashSet<DiscoveryKey> = named.iter().flat_map(keys).collect();
    let mut announced = JoinSet::new();
    for shared in named {
        offer(&peers, shared, &mut announced).await?;
    }
    let mut found = peers.network().await?.map(|network| network.opened());
    let server = match &args.listen {
        None => None,
        Some(at) => {
            let key_pair = peers::key_pair(&cores);
            let server = tcp::Server::bind(at, key_pair, peers::options()).await?;
            let address = server.address().to_string();
            let text = format!("listening on {address}");
            io.event(json!({ "event": "listening", "address": address }), &text)
                .await?;
            Some(server)
        }
    };
    // An open core is offered to whoever is connected when it is added; others are opened when they are asked for.
    let mut kept = Vec::new();
    let mut connected = JoinSet::new();
    let (tell, mut came) = mpsc::channel::<[u8; 32]>(16);
    loop {
        tokio::select! {
            taken = accept(server.as_ref()) => match taken {
                Ok(connection) => {
                    let replication = replicate(&connection, &cores, only.clone());
                    let tell = tell.clone();
                    connected.spawn(async move {
                        if connection.opened().await.is_ok()
                            && let Some(key) = connection.remote_public_key()
                        {
                            let _ = tell.send(key).await;
                        }
                        let _ = replication.ended().await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(key) = came.recv() => peer(key, io).await?,
            Some(key) = next(&mut found) => peer(key, io).await?,
            Some(Ok((shared, joined, found))) = announced.join_next() => {
                let (value, text) = shared.event(found);
                if shared.told != Some(found) {
                    io.event(value, &text).await?;
                }
                if !found && peers.are_in_dht() {
                    let shared = Shared { told: Some(found), ..shared };
                    announced.spawn(wait(shared, joined, RETRY));
                } else if kept.len() < OPEN_MAX {
                    kept.push(shared);
                }
            }
            new = opened.recv(), if everything && peers.are_found() => {
                if let Ok(key) = new
                    && known.insert(key)
                    && let Ok(core) = cores.get(CoreOptions::discovery_key(key)).await
                {
                    let shared = Shared::core(core);
                    offer(&peers, shared, &mut announced).await?;
                }
            }
            Some(_) = connected.join_next() => {}
            _ = io.stopped() => break,
        }
    }
    drop((announced, peers));
    io.event(json!({ "event": "closed", "reason": "stopped" }), "")
        .await
}

async fn peer(key: [u8; 32], io: &Io) -> Result<(), Failure> {
    let value = json!({ "event": "peer", "key": Key(key).to_string() });
    io.event(value, "").await
}

async fn accept(server: Option<&tcp::Server>) -> Result<Connection, pome_net::Error> {
    match server {
        Some(server) => server.accept().await,
        None => std::future::pending().await,
    }
}

/// The next peer that connects.
pub(crate) async fn next(found: &mut Option<broadcast::Receiver<[u8; 32]>>) -> Option<[u8; 32]> {
    loop {
        match found.as_mut()?.recv().await {
            Ok(key) => return Some(key),
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => *found = None,
        }
    }
}

/// Something that was offered, and whether those who look for it in the DHT find it.
type Offered = (Shared, Arc<Joined>, bool);

/// Offers it to peers; `announced` hands it back when it is known whether it is found.
async fn offer(
    peers: &Peers,
    shared: Shared,
    announced: &mut JoinSet<Offered>,
) -> Result<(), Failure> {
    let joined = peers.serve(&shared.cores).await?;
    if let Some(joined) = joined {
        announced.spawn(wait(shared, joined, Duration::ZERO));
    }
    Ok(())
}

async fn wait(shared: Shared, joined: Arc<Joined>, before: Duration) -> Offered {
    tokio::time::sleep(before).await;
    let found = joined.announced().await;
    (shared, joined, found)
}

fn replicate(
    connection: &Connection,
    cores: &Corestore,
    only: Option<Vec<DiscoveryKey>>,
) -> Replication {
    connection.replicate(cores, ReplicateOptions { only })
}

/// All that is in the store: what has a name, then the other cores.
async fn all(service: &Service, io: &Io) -> Result<Vec<Shared>, Failure> {
    let mut all = Vec::new();
    let mut known = HashSet::new();
    for (name, _) in service.names.all()? {
        let shared = cores_of(service, &name, io).await?;
        known.extend(shared.cores.iter().map(Hypercore::discovery_key));
        all.push(shared);
    }
    for key in service.corestore.list()? {
        if known.insert(key) {
            let core = service
                .corestore
                .get(CoreOptions::discovery_key(key))
                .await?;
            all.push(Shared::core(core));
        }
    }
    Ok(all)
}

/// The cores behind a name or key: two for a drive.
async fn cores_of(service: &Service, target: &str, io: &Io) -> Result<Shared, Failure> {
    let drive = match Target::parse(target)? {
        Target::Name(name) => service.names.get(&name)?.map(|row| row.kind) == Some(Kind::Drive),
        Target::Key(key) => {
            let drives = service.names.of(Kind::Drive)?;
            drives.iter().any(|(_, row)| row.key.parse() == Ok(key))
        }
    };
    if drive {
        let (_, drive) = service.drive(Some(target), io.if_missing()).await?;
        let blobs = drive.blobs().await?.core().clone();
        return Ok(Shared {
            cores: vec![drive.core().clone(), blobs],
            is_drive: true,
            told: None,
        });
    }
    let core = service.core(target, io.if_missing()).await?;
    let contents = contents_of(service, &core).await?;
    Ok(Shared {
        is_drive: contents.is_some(),
        told: None,
        cores: [core].into_iter().chain(contents).collect(),
    })
}

/// The contents of a drive that came from elsewhere and has no name here, if this is its database and they are here.
async fn contents_of(service: &Service, core: &Hypercore) -> Result<Option<Hypercore>, Failure> {
    let derived = core
        .manifest()
        .and_then(|manifest| content_key(&manifest, &core.key()));
    let named = if core.has(0..1).await? && core.length() > 0 {
        let header = Hyperbee::new(core.clone()).header().await.ok().flatten();
        let feed = header.and_then(|header| header.metadata?.content_feed);
        feed.and_then(|feed| feed.first_chunk().copied().map(Key))
    } else {
        None
    };
    for key in named.into_iter().chain(derived) {
        let options = CoreOptions::key(key).with_create_if_missing(false);
        match service.corestore.get(options).await {
            Ok(contents) => return Ok(Some(contents)),
            Err(pome_cores::Error::StorageEmpty { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}
