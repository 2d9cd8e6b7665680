//! `pome share`, and what a command does with `--peer`: cores over secret streams on TCP.

use super::{
    args::ShareArgs,
    failure::Failure,
    io::Io,
    names::{Kind, Target},
    service::{IfMissing, Service},
};
use pome_cores::{CoreOptions, Corestore, DiscoveryKey, Key, replication::CoreEvent};
use pome_net::{
    driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp},
    secret_stream::StreamOptions,
};
use serde_json::json;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

/// How often an idle connection shows that it lives; hypercore's own default.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How long to wait before the next connection is taken when the system refuses one, as when too many files are open.
const RETRY: Duration = Duration::from_millis(100);

fn options() -> ConnectionOptions {
    ConnectionOptions {
        stream: StreamOptions {
            keep_alive: Some(KEEP_ALIVE),
            ..StreamOptions::default()
        },
        ..ConnectionOptions::default()
    }
}

/// Serves what is named, and nothing else, until the client wants the end.
pub(crate) async fn share(service: &Service, args: ShareArgs, io: &mut Io) -> Result<(), Failure> {
    let only = match args.targets.as_slice() {
        [] => None,
        targets => {
            let mut only = Vec::new();
            for target in targets {
                only.extend(cores_of(service, target).await?);
            }
            Some(only)
        }
    };
    let cores = service.corestore.clone();
    let key_pair = cores.create_key_pair("pome/share");
    let server = tcp::Server::bind(&args.listen, key_pair, options()).await?;
    let address = server.address().to_string();
    io.event(
        json!({ "event": "listening", "address": address }),
        &format!("listening on {address}"),
    )
    .await?;
    let mut peers = JoinSet::new();
    let (opened, mut came) = mpsc::channel::<[u8; 32]>(16);
    loop {
        tokio::select! {
            taken = server.accept() => match taken {
                Ok(connection) => {
                    let replication = replicate(&connection, &cores, only.clone());
                    let opened = opened.clone();
                    peers.spawn(async move {
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
            Some(_) = peers.join_next() => {}
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
async fn cores_of(service: &Service, target: &str) -> Result<Vec<DiscoveryKey>, Failure> {
    let kind = match Target::parse(target)? {
        Target::Name(name) => service.names.get(&name)?.map(|row| row.kind),
        Target::Key(key) => service
            .names
            .of(Kind::Drive)?
            .iter()
            .any(|(_, row)| row.key.parse() == Ok(key))
            .then_some(Kind::Drive),
    };
    if kind != Some(Kind::Drive) {
        let core = service.core(target, IfMissing::Refuse).await?;
        return Ok(vec![core.discovery_key()]);
    }
    let (_, drive) = service.drive(Some(target)).await?;
    let blobs = drive.blobs().await?.core().discovery_key();
    Ok(vec![drive.core().discovery_key(), blobs])
}

/// What `pome core download` is asked for.
pub(crate) struct Downloading {
    pub(crate) key: String,
    pub(crate) peers: Vec<String>,
    pub(crate) live: bool,
    /// How long nothing may come.
    pub(crate) patience: Duration,
}

/// Gets a whole core from the peers that are named, and with `live` all that is appended after that.
pub(crate) async fn download(
    service: &Service,
    ask: Downloading,
    io: &mut Io,
) -> Result<(), Failure> {
    let core = match Target::parse(&ask.key)? {
        Target::Key(key) => service.corestore.get(CoreOptions::key(key)).await?,
        Target::Name(name) => service.core(&name, IfMissing::Refuse).await?,
    };
    // Peers are on their way: until they have said what they have, nobody is to conclude that there is nothing.
    let finding = core.finding_peers();
    let late = |what: &str| {
        let seconds = ask.patience.as_secs_f64();
        Failure::timed_out(format!("{what} within {seconds} s"))
    };
    let mut replications = Vec::new();
    for peer in &ask.peers {
        let key_pair = service.corestore.create_key_pair("pome/share");
        let options = options();
        let dial = async {
            let connection = tcp::connect(peer.as_str(), &key_pair, &options).await?;
            connection.opened().await?;
            Ok::<_, pome_net::Error>(connection)
        };
        let connection = timeout(ask.patience, dial)
            .await
            .map_err(|_| late(&format!("{peer} does not answer")))??;
        let only = Some(vec![core.discovery_key()]);
        replications.push(replicate(&connection, &service.corestore, only));
    }
    let mut events = core.events();
    let had = async |length: u64| {
        let contiguous = core.contiguous_length();
        let mut had = contiguous;
        for index in contiguous..length {
            had += u64::from(core.has(index..index + 1).await?);
        }
        Ok::<_, Failure>(had)
    };
    let mut done = None;
    loop {
        if done.is_none() {
            timeout(ask.patience, core.update())
                .await
                .map_err(|_| late("no peer has said how long the core is"))??;
        }
        let length = core.length();
        if done != Some(length) {
            let before = had(length).await?;
            let mut download = core.download(0..length)?;
            let mut here = before;
            loop {
                tokio::select! {
                    ended = download.done() => break ended?,
                    event = timeout(ask.patience, events.recv()) => match event {
                        Ok(Ok(CoreEvent::Download { .. })) => {
                            here += 1;
                            io.progress(here.min(length), length, "blocks");
                        }
                        Ok(_) => {}
                        Err(_) => return Err(late("no block came")),
                    },
                }
            }
            service.sync().await?;
            done = Some(length);
            let downloaded = length.saturating_sub(before);
            io.result(
                json!({ "length": length, "downloaded": downloaded }),
                format!("{length} blocks, {downloaded} of them downloaded"),
            )
            .await?;
        }
        if !ask.live {
            drop(finding);
            return Ok(());
        }
        let mut lengths = core.watch();
        tokio::select! {
            changed = lengths.wait_for(|(length, _)| Some(*length) != done) => {
                if changed.is_err() {
                    return Ok(());
                }
            }
            _ = io.stopped() => return Ok(()),
        }
    }
}
