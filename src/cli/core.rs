//! `pome core …`

use super::{
    args::CoreCommand,
    failure::Failure,
    io::{Io, value_json},
    names::{Kind, Target},
    peers::Peers,
    service::{IfMissing, Service},
    space,
};
use bytes::{Bytes, BytesMut};
use pome_cores::{Durability, GetOptions, Hypercore, replication::CoreEvent};
use serde_json::json;
use std::{path::Path, pin::pin};

/// The largest block that npm takes, in bytes.
const BLOCK_BYTES_MAX: usize = 15 << 20;

pub(crate) async fn execute(
    service: &Service,
    command: CoreCommand,
    io: &mut Io,
) -> Result<(), Failure> {
    match command {
        CoreCommand::Create { name } => {
            if let Target::Key(_) = Target::parse(&name)? {
                return Err(Failure::usage(format!("{name} is a key, not a name")));
            }
            if let Some(row) = service.names.get(&name)? {
                let kind = row.kind;
                return Err(Failure::new(
                    "NAME_TAKEN",
                    format!("{name:?} is a {kind} in this store already"),
                ));
            }
            let core = service.core(&name, IfMissing::Make).await?;
            service.sync().await?;
            let value = json!({ "name": name, "key": core.key().to_string(), "discoveryKey": core.discovery_key().to_string() });
            io.result(value, core.key()).await
        }
        CoreCommand::Ls => list(service, io).await,
        CoreCommand::Append {
            name,
            values,
            file,
            synced,
            ack,
        } => {
            // Read before a core is made for it.
            let file = match file {
                Some(file) => Some(read_block(&io.path(file)).await?),
                None => None,
            };
            let core = service.core(&name, IfMissing::Make).await?;
            let to = Appending {
                core,
                ack,
                durability: if synced {
                    Durability::Synced
                } else {
                    Durability::Buffered
                },
            };
            if let Some(block) = file {
                to.append(vec![block], io).await?;
            } else if values.is_empty() {
                to.lines(io).await?;
            } else {
                to.append(values.into_iter().map(Bytes::from).collect(), io)
                    .await?;
            }
            service.sync().await?;
            if ack {
                Ok(())
            } else {
                lengths(&to.core, io).await
            }
        }
        CoreCommand::Get { core, index } => {
            let core = service.core(&core, io.if_missing()).await?;
            let Some(block) = block(service, &core, index, io).await? else {
                let length = core.length();
                return Err(Failure {
                    code: "BLOCK_NOT_AVAILABLE".into(),
                    ..Failure::not_found(format!(
                        "block {index} of core {} is not here (its length is {length})",
                        core.key()
                    ))
                });
            };
            if io.json() {
                io.result(json!({ "seq": index, "value": value_json(&block) }), "")
                    .await
            } else {
                io.raw(block).await
            }
        }
        CoreCommand::Info { core } => {
            let core = service.core(&core, io.if_missing()).await?;
            let peers = Peers::of(service, io);
            peers.newest(&core).await?;
            info(&core, io).await
        }
        CoreCommand::Truncate { name, length } => {
            let core = service.core(&name, IfMissing::Refuse).await?;
            core.truncate(length).await?;
            service.sync().await?;
            let freed = space::free(service, false).await?;
            let value = json!({
                "length": core.length(),
                "byteLength": core.byte_length(),
                "fork": core.fork(),
                "freed": freed.bytes,
            });
            let text = format!("{} blocks; {}", core.length(), space::words(&freed));
            io.result(value, text).await
        }
        CoreCommand::Clear { core, start, end } => {
            let core = service.core(&core, IfMissing::Refuse).await?;
            let blocks = core
                .clear(start..end.unwrap_or(start.saturating_add(1)))
                .await?;
            service.sync().await?;
            let freed = space::free(service, false).await?;
            io.result(
                json!({ "blocks": blocks, "freed": freed.bytes }),
                format!("{blocks} blocks cleared; {}", space::words(&freed)),
            )
            .await
        }
        CoreCommand::Download { core, live } => download(service, &core, live, io).await,
        CoreCommand::Audit { core } => {
            let core = service.core(&core, IfMissing::Refuse).await?;
            super::store::audit(&core, io).await
        }
    }
}

/// The bytes of a file, as a block.
async fn read_block(path: &Path) -> Result<Bytes, Failure> {
    match tokio::fs::read(path).await {
        Ok(block) => Ok(block.into()),
        Err(e) => Err(Failure::io(&path.display().to_string(), &e)),
    }
}

/// A block, from here or from peers; `None` when nobody is asked, or the core is too short.
async fn block(
    service: &Service,
    core: &Hypercore,
    index: u64,
    io: &Io,
) -> Result<Option<Bytes>, Failure> {
    let options = GetOptions {
        no_wait: true,
        ..GetOptions::default()
    };
    let here = core.get_with(index, options).await?;
    if here.is_some() || io.is_alone() {
        return Ok(here);
    }
    let peers = Peers::of(service, io);
    peers.newest(core).await?;
    match index < core.length() {
        true => peers.within(core.get(index)).await.map(Some),
        false => Ok(None),
    }
}

async fn list(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let names = service.names.all()?;
    for discovery_key in service.corestore.list()? {
        let options = pome_cores::CoreOptions::discovery_key(discovery_key);
        let core = service.corestore.get(options).await?;
        let key = core.key().to_string();
        let named = names.iter().find(|(_, row)| row.key == key);
        let mut value = json!({
            "name": named.map(|(name, _)| name),
            "kind": named.map(|(_, row)| row.kind),
            "key": key,
            "discoveryKey": discovery_key.to_string(),
            "length": core.length(),
            "byteLength": core.byte_length(),
            "fork": core.fork(),
            "writable": core.writable(),
        });
        let text = match named {
            Some((name, row)) if row.kind != Kind::Core => {
                format!("{key} {} {name} ({})", core.length(), row.kind)
            }
            Some((name, _)) => format!("{key} {} {name}", core.length()),
            None => format!("{key} {}", core.length()),
        };
        if let Some(row) = value.as_object_mut()
            && named.is_none()
        {
            row.retain(|field, _| field != "name" && field != "kind");
        }
        io.result(value, text).await?;
    }
    Ok(())
}

async fn lengths(core: &Hypercore, io: &Io) -> Result<(), Failure> {
    let value =
        json!({ "length": core.length(), "byteLength": core.byte_length(), "fork": core.fork() });
    io.result(value, core.length()).await
}

async fn info(core: &Hypercore, io: &Io) -> Result<(), Failure> {
    let info = core.info().await?;
    let lost: u64 = core
        .lost()?
        .iter()
        .map(|range| range.end - range.start)
        .sum();
    let value = json!({
        "key": info.key.to_string(),
        "discoveryKey": info.discovery_key.to_string(),
        "length": info.length,
        "contiguousLength": info.contiguous_length,
        "byteLength": info.byte_length,
        "fork": info.fork,
        "padding": info.padding,
        "writable": core.writable(),
        "lost": lost,
    });
    let text = format!(
        "key            {}\ndiscovery key  {}\nlength         {} blocks ({} from the start without a gap)\nbyte length    {}\nfork           {}\nwritable       {}",
        info.key,
        info.discovery_key,
        info.length,
        info.contiguous_length,
        info.byte_length,
        info.fork,
        if core.writable() { "yes" } else { "no" },
    );
    io.result(value, text).await
}

/// Gets a whole core from peers, and with `live` all that is appended after that.
async fn download(service: &Service, target: &str, live: bool, io: &mut Io) -> Result<(), Failure> {
    let core = service.core(target, io.if_missing()).await?;
    let peers = Peers::of(service, io);
    peers.newest(&core).await?;
    let mut lengths = core.watch();
    loop {
        let (length, fork) = *lengths.borrow_and_update();
        let came = fetch(&core, length, &peers, io).await?;
        service.sync().await?;
        // Cut while it was downloaded: what is left of it is downloaded anew.
        if *lengths.borrow() == (length, fork) || core.length() > length {
            io.result(
                json!({ "length": length, "downloaded": came }),
                format!("{length} blocks, {came} of them downloaded"),
            )
            .await?;
            if !live {
                return Ok(());
            }
        }
        if *lengths.borrow() == (length, fork) {
            tokio::select! {
                changed = lengths.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                }
                _ = io.stopped() => return Ok(()),
            }
        }
    }
}

/// Gets the blocks up to `length` that are not here; how many came. Where the store has a limit, what came first may be gone again at the end.
async fn fetch(core: &Hypercore, length: u64, peers: &Peers, io: &mut Io) -> Result<u64, Failure> {
    let contiguous = core.contiguous_length().min(length);
    let mut missing = 0;
    for index in contiguous..length {
        missing += u64::from(!core.has(index..index + 1).await?);
    }
    let (mut here, mut events) = (length - missing, core.events());
    let mut download = core.download(contiguous..length)?;
    let mut done = pin!(peers.within(download.done()));
    loop {
        tokio::select! {
            done = &mut done => {
                done?;
                return Ok(missing);
            }
            event = events.recv() => if let Ok(CoreEvent::Download { .. }) = event {
                here += 1;
                io.progress(here.min(length), length, "blocks");
            },
        }
    }
}

/// Where `append` puts blocks.
struct Appending {
    core: Hypercore,
    ack: bool,
    durability: Durability,
}

impl Appending {
    async fn append(&self, blocks: Vec<Bytes>, io: &Io) -> Result<(), Failure> {
        let appended = self.core.append_with(blocks, self.durability).await?;
        if self.ack {
            // A person reads the same line as a script: it is an acknowledgement, not a report.
            io.result(
                json!({ "length": appended.length }),
                json!({ "length": appended.length }),
            )
            .await?;
        }
        Ok(())
    }

    /// Each line of stdin is a block; the lines that came together are committed together.
    async fn lines(&self, io: &mut Io) -> Result<(), Failure> {
        let mut rest = BytesMut::new();
        while let Some(piece) = io.stdin().await? {
            let scanned = rest.len();
            rest.extend_from_slice(&piece);
            let Some(last) = rest[scanned..].iter().rposition(|b| *b == b'\n') else {
                if rest.len() > BLOCK_BYTES_MAX {
                    return Err(Failure::new(
                        "BAD_ARGUMENT",
                        "a line of more than 15 MiB cannot be a block",
                    ));
                }
                continue;
            };
            let whole = rest.split_to(scanned + last + 1).freeze();
            let mut blocks = Vec::new();
            let mut start = 0;
            for (end, _) in whole.iter().enumerate().filter(|(_, b)| **b == b'\n') {
                blocks.push(whole.slice(start..end));
                start = end + 1;
            }
            self.append(blocks, io).await?;
        }
        if rest.is_empty() {
            Ok(())
        } else {
            self.append(vec![rest.freeze()], io).await
        }
    }
}
