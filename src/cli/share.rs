//! `pome share`: cores over secret streams on TCP.

use super::{
    args::ShareArgs,
    failure::Failure,
    io::Io,
    names::{Kind, Target},
    peers::{self, Peers},
    service::Service,
};
use pome_bee::Hyperbee;
use pome_cores::{CoreOptions, Corestore, DiscoveryKey, Hypercore, Key};
use pome_drive_fs::content_key;
use pome_net::driver::{Connection, ReplicateOptions, Replication, tcp};
use serde_json::json;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet};

/// How long to wait before the next connection is taken when the system refuses one, as when too many files are open.
const RETRY: Duration = Duration::from_millis(100);

/// Serves what is named, and nothing else, until the client wants the end.
pub(crate) async fn share(service: &Service, args: ShareArgs, io: &mut Io) -> Result<(), Failure> {
    let mut named = Vec::new();
    for target in &args.targets {
        named.extend(cores_of(service, target, io).await?);
    }
    let only: Option<Vec<DiscoveryKey>> =
        (!named.is_empty()).then(|| named.iter().map(Hypercore::discovery_key).collect());
    // Whom it dials has the same from it as who dials it.
    let dialled = Peers::of(service, io);
    if only.is_none() && !dialled.is_empty() {
        for key in service.corestore.list()? {
            named.push(
                service
                    .corestore
                    .get(CoreOptions::discovery_key(key))
                    .await?,
            );
        }
    }
    for core in &named {
        dialled.exchange(core);
    }
    let cores = service.corestore.clone();
    let server = tcp::Server::bind(&args.listen, peers::key_pair(&cores), peers::options()).await?;
    let address = server.address().to_string();
    io.event(
        json!({ "event": "listening", "address": address }),
        &format!("listening on {address}"),
    )
    .await?;
    let mut connected = JoinSet::new();
    let (opened, mut came) = mpsc::channel::<[u8; 32]>(16);
    loop {
        tokio::select! {
            taken = server.accept() => match taken {
                Ok(connection) => {
                    let replication = replicate(&connection, &cores, only.clone());
                    let opened = opened.clone();
                    connected.spawn(async move {
                        if connection.opened().await.is_ok()
                            && let Some(key) = connection.remote_public_key()
                        {
                            let _ = opened.send(key).await;
                        }
                        let _ = replication.ended().await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(RETRY).await;
                }
            },
            Some(key) = came.recv() => {
                io.event(json!({ "event": "peer", "key": Key(key).to_string() }), "").await?;
            }
            Some(_) = connected.join_next() => {}
            _ = io.stopped() => break,
        }
    }
    io.event(json!({ "event": "closed", "reason": "stopped" }), "")
        .await
}

fn replicate(
    connection: &Connection,
    cores: &Corestore,
    only: Option<Vec<DiscoveryKey>>,
) -> Replication {
    connection.replicate(cores, ReplicateOptions { only })
}

/// The cores behind a name or key: two for a drive.
async fn cores_of(service: &Service, target: &str, io: &Io) -> Result<Vec<Hypercore>, Failure> {
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
        return Ok(vec![drive.core().clone(), blobs]);
    }
    let core = service.core(target, io.if_missing()).await?;
    let contents = contents_of(service, &core).await?;
    Ok([core].into_iter().chain(contents).collect())
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
