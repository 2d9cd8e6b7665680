//! `pome dht …`: nodes of the HyperDHT, and questions to it. No store is needed.

use super::{
    args::{DhtCommand, DhtNodeArgs, Topic},
    failure::Failure,
    io::{Io, value_json},
};
use bytes::{Bytes, BytesMut};
use pome_cores::{Key, KeyPair, crypto::discovery_key};
use pome_net::{
    dht_relay::{RelayServer, RelayServerOptions},
    hyperdht::{
        self, AnnounceOptions, BlindRelay, HyperDht, HyperDhtOptions, RelayOptions, VALUE_MAX,
    },
};
use serde_json::json;
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// The port of the nodes of the public network, as npm's.
const PORT: u16 = 49_737;
/// How many nodes of a network of our own others are told to begin with.
const FIRST: usize = 3;
/// An announcement is made anew after so long; nodes forget it after 20 minutes.
const AGAIN: Duration = Duration::from_secs(10 * 60);
/// The nodes that were told of a relay have so long to forget it.
const GOOD_BYE: Duration = Duration::from_secs(2);

pub(crate) async fn execute(command: DhtCommand, io: &mut Io) -> Result<(), Failure> {
    match command {
        DhtCommand::Node(args) => node(args, io).await,
        DhtCommand::Testnet { nodes, port } => testnet(nodes, port, io).await,
        DhtCommand::Ping { node } => ping(&node, io).await,
        DhtCommand::Lookup(topic) => lookup(&topic, io).await,
        DhtCommand::Announce {
            topic,
            seed_file,
            live,
        } => announce(&topic, seed_file.as_deref(), live, io).await,
        DhtCommand::Put {
            value,
            seed_file,
            seq,
        } => put(value, seed_file.as_deref(), seq, io).await,
        DhtCommand::Get { key, mutable, seq } => get(&key, mutable, seq, io).await,
    }
}

/// The addresses of nodes: npm's `suggested-ip@host:port` is taken, too.
pub(crate) async fn resolve(nodes: &[String]) -> Result<Vec<SocketAddrV4>, Failure> {
    let mut found = Vec::new();
    for node in nodes {
        let mut word = node.as_str();
        if let Some((ip, host)) = node.split_once('@') {
            let (_, port) = host.rsplit_once(':').unwrap_or((host, ""));
            if let (Ok(ip), Ok(port)) = (ip.parse(), port.parse()) {
                found.push(SocketAddrV4::new(ip, port));
                continue;
            }
            word = host;
        }
        let addresses = tokio::net::lookup_host(word)
            .await
            .map_err(|e| Failure::io(word, &e))?;
        let address = addresses.into_iter().find_map(|address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        });
        found.push(address.ok_or_else(|| {
            Failure::not_found(format!("{word} has no IPv4 address, and the DHT no other"))
        })?);
    }
    Ok(found)
}

/// How a node that is only asked through, or serves from behind it, runs.
pub(crate) async fn options(bootstrap: &[String]) -> Result<HyperDhtOptions, Failure> {
    let mut options = HyperDhtOptions::default();
    options.dht.node.bootstrap = resolve(bootstrap).await?;
    Ok(options)
}

pub(crate) fn bind(options: HyperDhtOptions) -> Result<HyperDht, Failure> {
    Ok(HyperDht::bind(options).map_err(hyperdht::Error::from)?)
}

async fn in_time<T, E: Into<Failure>>(
    io: &Io,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(io.patience(), work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Failure::timed_out(format!(
            "the DHT has not answered within {} s",
            io.patience().as_secs_f64()
        ))),
    }
}

/// A node through which the network is asked; other nodes must be there.
async fn join(io: &Io) -> Result<HyperDht, Failure> {
    let dht = bind(options(&io.reach().bootstrap).await?)?;
    in_time(io, dht.ready()).await?;
    if dht.dht().nodes().is_empty() {
        return Err(hyperdht::Error::TooFewNodes.into());
    }
    Ok(dht)
}

async fn node(args: DhtNodeArgs, io: &mut Io) -> Result<(), Failure> {
    let bootstrap = io.reach().bootstrap.clone();
    let mut running = Vec::new();
    for number in 0..args.nodes {
        let options = match bootstrap.as_slice() {
            [] if number > 0 => {
                return Err(Failure::usage(
                    "several first nodes of a network know nothing of each other",
                ));
            }
            [] => first(&args)?,
            _ => {
                let mut options = options(&bootstrap).await?;
                options.dht.host = args.host.unwrap_or(Ipv4Addr::UNSPECIFIED);
                options.dht.port = args.port.unwrap_or(PORT);
                options.dht.any_port = args.port.is_none();
                options.dht.node.ephemeral = match (args.ephemeral, args.persistent) {
                    (true, _) => Some(true),
                    (_, true) => Some(false),
                    _ => None,
                };
                options
            }
        };
        let dht = bind(options)?;
        let address = dht.dht().local_addr().to_string();
        io.event(
            json!({ "event": "listening", "address": address }),
            &format!("listening on {address}"),
        )
        .await?;
        in_time(io, dht.ready()).await?;
        if !bootstrap.is_empty() && dht.dht().nodes().is_empty() {
            return Err(hyperdht::Error::TooFewNodes.into());
        }
        running.push(dht);
    }
    let Some(dht) = running.first() else {
        return Ok(());
    };
    let (relay, lender) = relays(dht, &args, io).await?;
    let address = dht.dht().remote_addr().unwrap_or(dht.dht().local_addr());
    let mut value = json!({ "event": "ready", "bootstrap": address.to_string() });
    let mut text = format!("ready; elsewhere: --bootstrap {address}");
    if let Some(relay) = &relay {
        let key = Key(relay.public_key()).to_string();
        text.push_str(&format!(" --relay-through {key}"));
        value["relay"] = key.into();
    }
    if let Some(lender) = &lender {
        let at = format!("{}@{}", Key(lender.public_key()), lender.address());
        text.push_str(&format!(" --relay {at}"));
        value["relayTcp"] = at.into();
    }
    io.event(value, &text).await?;
    let mut told = dht.dht().watch();
    let mut persistent = None;
    loop {
        let now = told.borrow_and_update().persistent;
        if persistent != Some(now) && (now || persistent.is_some()) {
            persistent = Some(now);
            let word = if now { "persistent" } else { "ephemeral" };
            let text = match now {
                true => "other nodes are told of this one",
                false => "other nodes are no longer told of this one",
            };
            io.event(json!({ "event": word }), text).await?;
        }
        tokio::select! {
            _ = io.stopped() => break,
            changed = told.changed() => if changed.is_err() { break },
        }
    }
    if let Some(relay) = relay {
        let _ = tokio::time::timeout(GOOD_BYE, relay.close()).await;
    }
    closed(&running, io).await
}

/// What the node is for others, beside a node.
async fn relays(
    dht: &HyperDht,
    args: &DhtNodeArgs,
    io: &Io,
) -> Result<(Option<BlindRelay>, Option<RelayServer>), Failure> {
    let key_pair = match &args.seed_file {
        Some(_) if !args.blind_relay && args.relay_tcp.is_none() => {
            return Err(Failure::usage(
                "the key pair of what? `--seed-file` goes with `--blind-relay` or `--relay-tcp`",
            ));
        }
        Some(file) => key_pair_of(&io.path(file))?,
        None => KeyPair::random(),
    };
    let blind = match args.blind_relay {
        true => {
            let serving = BlindRelay::serve(dht, &key_pair, RelayOptions::default());
            Some(in_time(io, serving).await?)
        }
        false => None,
    };
    let lender = match &args.relay_tcp {
        Some(at) => {
            let mut options = RelayServerOptions::default();
            options.key_pair = Some(key_pair);
            Some(RelayServer::bind(at, dht.clone(), options).await?)
        }
        None => None,
    };
    Ok((blind, lender))
}

/// The first node of a network.
fn first(args: &DhtNodeArgs) -> Result<HyperDhtOptions, Failure> {
    let host = args.host.filter(|host| !host.is_unspecified());
    let host = host.ok_or_else(|| {
        Failure::usage(
            "the first node of a network must know the address that others reach it by: --host IP",
        )
    })?;
    if args.ephemeral {
        return Err(Failure::usage(
            "the first node of a network cannot be ephemeral",
        ));
    }
    let port = args.port.unwrap_or(PORT);
    let mut options = HyperDhtOptions::bootstrapper(SocketAddrV4::new(host, port));
    if host.is_loopback() {
        options.dht.host = host;
    }
    Ok(options)
}

async fn closed(nodes: &[HyperDht], io: &Io) -> Result<(), Failure> {
    nodes.iter().for_each(HyperDht::close);
    io.event(json!({ "event": "closed", "reason": "stopped" }), "")
        .await
}

async fn testnet(nodes: u16, port: u16, io: &mut Io) -> Result<(), Failure> {
    let at = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    let mut options = HyperDhtOptions::bootstrapper(at);
    options.dht.host = Ipv4Addr::LOCALHOST;
    let mut running = vec![bind(options)?];
    let mut options = HyperDhtOptions::default();
    options.dht.host = Ipv4Addr::LOCALHOST;
    options.dht.node.ephemeral = Some(false);
    options.dht.node.firewalled = false;
    options.dht.node.bootstrap = vec![running[0].dht().local_addr()];
    while running.len() < usize::from(nodes) {
        let dht = bind(options.clone())?;
        in_time(io, dht.dht().persistent()).await?;
        in_time(io, dht.ready()).await?;
        running.push(dht);
    }
    let bootstrap: Vec<String> = (running.iter().take(FIRST))
        .map(|dht| dht.dht().local_addr().to_string())
        .collect();
    let bootstrap = bootstrap.join(",");
    let text = format!("{nodes} nodes; --bootstrap {bootstrap}");
    io.event(json!({ "event": "ready", "bootstrap": bootstrap }), &text)
        .await?;
    io.stopped().await;
    closed(&running, io).await
}

async fn ping(node: &str, io: &mut Io) -> Result<(), Failure> {
    let to = resolve(&[node.to_owned()]).await?[0];
    // Nobody else is asked.
    let dht = bind(HyperDhtOptions::default())?;
    let begin = Instant::now();
    let reply = in_time(io, dht.dht().ping(to)).await?;
    let milliseconds = (begin.elapsed().as_secs_f64() * 1e4).round() / 10.0;
    let (from, seen) = (reply.from.to_string(), reply.response.to.to_string());
    let value = json!({ "from": from, "to": seen, "rtt": milliseconds });
    let text = format!("{from} answers after {milliseconds} ms, and sees us as {seen}");
    io.result(value, text).await
}

fn bytes_of(text: &str) -> Result<[u8; 32], Failure> {
    let key: Key = text
        .parse()
        .map_err(|e: pome_encoding::ParseIdError| Failure::usage(e.to_string()))?;
    Ok(key.0)
}

fn topic_of(topic: &Topic) -> Result<[u8; 32], Failure> {
    let bytes = bytes_of(&topic.topic)?;
    Ok(match topic.core {
        true => discovery_key(&Key(bytes)).0,
        false => bytes,
    })
}

async fn lookup(topic: &Topic, io: &mut Io) -> Result<(), Failure> {
    let target = topic_of(topic)?;
    let dht = join(io).await?;
    let mut lookup = dht.lookup(target);
    let mut seen = Vec::new();
    while let Some(found) = in_time(io, lookup.next()).await? {
        for peer in found.peers {
            if seen.contains(&peer.public_key) {
                continue;
            }
            seen.push(peer.public_key);
            let relays: Vec<String> = peer
                .relay_addresses
                .iter()
                .map(ToString::to_string)
                .collect();
            let key = Key(peer.public_key).to_string();
            let text = format!("{key} {}", relays.join(" "));
            io.result(
                json!({ "publicKey": key, "relayAddresses": relays }),
                text.trim_end(),
            )
            .await?;
        }
    }
    dht.close();
    match seen.is_empty() {
        true => Err(Failure::not_found(
            "nobody announced himself under the topic",
        )),
        false => Ok(()),
    }
}

async fn announce(
    topic: &Topic,
    seed_file: Option<&Path>,
    live: bool,
    io: &mut Io,
) -> Result<(), Failure> {
    let target = topic_of(topic)?;
    let key_pair = match seed_file {
        Some(file) => key_pair_of(&io.path(file))?,
        None => KeyPair::random(),
    };
    let dht = join(io).await?;
    loop {
        let done = dht.announce(target, &key_pair, &[], AnnounceOptions::default());
        let nodes = in_time(io, done).await?;
        let key = Key(key_pair.public).to_string();
        io.result(
            json!({ "publicKey": key, "nodes": nodes }),
            format!("{key} is announced at {nodes} nodes"),
        )
        .await?;
        if !live {
            break;
        }
        tokio::select! {
            _ = io.stopped() => {
                in_time(io, dht.unannounce(target, &key_pair)).await?;
                break;
            }
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
    dht.close();
    Ok(())
}

/// The key pair that npm's `keyPair(seed)` makes from a file's 32 bytes.
fn key_pair_of(path: &Path) -> Result<KeyPair, Failure> {
    let read = std::fs::read(path).map(Zeroizing::new);
    let bytes = read.map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    let seed = match <&[u8; 32]>::try_from(bytes.as_slice()) {
        Ok(seed) => Some(Zeroizing::new(*seed)),
        Err(_) => std::str::from_utf8(&bytes)
            .ok()
            .map(str::trim)
            .filter(|text| text.len() == 64)
            .and_then(|text| bytes_of(text).ok())
            .map(Zeroizing::new),
    };
    let seed = seed.ok_or_else(|| {
        Failure::new(
            "BAD_KEY",
            format!(
                "{}: 32 bytes, or 64 hexadecimal digits, are wanted",
                path.display()
            ),
        )
    })?;
    Ok(KeyPair::from_seed(&seed))
}

async fn put(
    value: Option<String>,
    seed_file: Option<&Path>,
    seq: u64,
    io: &mut Io,
) -> Result<(), Failure> {
    let key_pair = seed_file
        .map(|file| key_pair_of(&io.path(file)))
        .transpose()?;
    let value = match value {
        Some(value) => Bytes::from(value),
        None => {
            let mut all = BytesMut::new();
            // What is longer is refused below.
            while all.len() <= VALUE_MAX
                && let Some(piece) = io.stdin().await?
            {
                all.extend_from_slice(&piece);
            }
            all.freeze()
        }
    };
    let dht = join(io).await?;
    let (value, text) = match key_pair {
        None => {
            let hash = in_time(io, dht.immutable_put(value)).await?;
            let hash = Key(hash).to_string();
            (json!({ "hash": hash }), hash)
        }
        Some(key_pair) => {
            let nodes = in_time(io, dht.mutable_put(&key_pair, value, seq)).await?;
            let key = Key(key_pair.public).to_string();
            (json!({ "publicKey": key, "seq": seq, "nodes": nodes }), key)
        }
    };
    dht.close();
    io.result(value, text).await
}

async fn get(key: &str, mutable: bool, seq: u64, io: &mut Io) -> Result<(), Failure> {
    let key = bytes_of(key)?;
    let dht = join(io).await?;
    let found = match mutable {
        true => {
            let found = in_time(io, dht.mutable_get(&key, seq, true)).await?;
            found.map(|found| (Some(found.seq), found.value))
        }
        false => {
            let found = in_time(io, dht.immutable_get(key)).await?;
            found.map(|value| (None, value))
        }
    };
    dht.close();
    let Some((seq, value)) = found else {
        return Err(Failure::not_found("no node of the DHT has such a value"));
    };
    if !io.json() {
        return io.raw(value).await;
    }
    let mut line = json!({ "value": value_json(&value) });
    if let Some(seq) = seq {
        line = json!({ "seq": seq, "value": value_json(&value) });
    }
    io.result(line, "").await
}
