//! Nodes, connections and handshakes: a process that does with pome what it is told. npm's is `benches/peers/npm/network.js`.

mod order;

pub use order::{Connected, Downloaded, Memory, Network, Order, Serving, Shaken, Shared};

use crate::{Helper, Result, core::open as open_store, replicate::fill};
use data_encoding::HEXLOWER;
use pome_cores::{CoreOptions, Corestore, Hypercore, KeyPair};
use pome_net::{
    driver::{Channel, Connection, ReplicateOptions, Replication},
    hyperdht::{ConnectOptions, HyperDht, HyperDhtOptions, Server, ServerOptions},
    noise::{Handshake, Pattern, Role},
    protomux::{ChannelOptions, Topic},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, to_value};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Instant,
};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Tells a process that follows orders to do something; what it answers.
///
/// # Errors
/// When it has ended, or answers something else.
pub fn tell<T: DeserializeOwned>(peer: &mut Helper, order: &Order) -> Result<T> {
    peer.say(&serde_json::to_string(order)?)?;
    peer.hear()
}

/// Follows orders until there are no more.
///
/// # Errors
/// When one cannot be followed.
pub fn run() -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            let mut peer = Peer::default();
            let mut orders = BufReader::new(tokio::io::stdin()).lines();
            while let Some(line) = orders.next_line().await? {
                println!("{}", peer.follow(serde_json::from_str(&line)?).await?);
            }
            Ok(())
        })
}

/// Who follows orders, and what it holds.
#[derive(Default)]
pub(crate) struct Peer {
    nodes: Vec<HyperDht>,
    client: Option<HyperDht>,
    held: Vec<(Connection, Channel)>,
    shared: Vec<Hypercore>,
}

/// Replicates a store with each peer that comes.
async fn share(mut server: Server, cores: Corestore) {
    let mut kept: Vec<(Connection, Replication)> = Vec::new();
    while let Some(connection) = server.accept().await {
        let replication = connection.replicate(&cores, ReplicateOptions::default());
        kept.push((connection, replication));
    }
}

async fn node(bootstrap: SocketAddrV4, lasting: bool, firewalled: bool) -> Result<HyperDht> {
    let mut options = HyperDhtOptions::default();
    options.dht.host = Ipv4Addr::LOCALHOST;
    options.dht.node.bootstrap = vec![bootstrap];
    options.dht.node.ephemeral = Some(!lasting);
    options.dht.node.firewalled = firewalled;
    options.dht.node.quick_firewall = false;
    let dht = HyperDht::bind(options)?;
    dht.ready().await?;
    Ok(dht)
}

fn open(connection: &Connection) -> Result<Channel> {
    let topic = Topic::new("pome/bench", b"");
    let channel = connection.open(&topic, ChannelOptions::default())?;
    Ok(channel.ok_or("the channel is open already")?)
}

/// Opens a channel on each connection that comes.
async fn serve(mut server: Server) {
    while let Some(connection) = server.accept().await {
        if let Ok(channel) = open(&connection) {
            tokio::spawn(async move {
                let _ = connection.closed().await;
                drop(channel);
            });
        }
    }
}

impl Peer {
    pub(crate) async fn follow(&mut self, order: Order) -> Result<Value> {
        Ok(match order {
            Order::Network { nodes } => {
                let here = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
                let mut options = HyperDhtOptions::bootstrapper(here);
                options.dht.host = Ipv4Addr::LOCALHOST;
                let first = HyperDht::bind(options)?;
                let bootstrap = first.dht().local_addr();
                self.nodes.push(first);
                while self.nodes.len() < nodes {
                    self.nodes.push(node(bootstrap, true, false).await?);
                }
                to_value(Network {
                    bootstrap: bootstrap.to_string(),
                })?
            }
            Order::Serve {
                bootstrap,
                firewalled,
                keys: count,
            } => {
                let dht = node(bootstrap.parse()?, false, firewalled).await?;
                let mut keys = Vec::new();
                while keys.len() < count {
                    let mut options = ServerOptions::default();
                    options.share_local_address = false;
                    let server = dht.listen(&KeyPair::random(), options).await?;
                    keys.push(HEXLOWER.encode(&server.public_key()));
                    tokio::spawn(serve(server));
                }
                self.nodes.push(dht);
                to_value(Serving { keys })?
            }
            Order::Connect {
                bootstrap,
                firewalled,
                keys,
            } => {
                let mut millis = Vec::new();
                for key in &keys {
                    let (made, took) = self.connect(&bootstrap, firewalled, key).await?;
                    millis.push(took);
                    made.0.abort();
                }
                to_value(Connected { millis })?
            }
            Order::Hold {
                bootstrap,
                firewalled,
                keys,
                connections,
            } => {
                let key = keys.first().ok_or("no key")?;
                for _ in 0..connections {
                    let (made, _) = self.connect(&bootstrap, firewalled, key).await?;
                    self.held.push(made);
                }
                serde_json::json!({})
            }
            Order::Share {
                folder,
                bootstrap,
                size,
                count,
            } => {
                let cores = open_store(folder.as_ref())?;
                let core = cores.get(CoreOptions::name("bench")).await?;
                fill(&core, size, count).await?;
                cores.store().sync()?;
                let dht = node(bootstrap.parse()?, false, false).await?;
                let mut options = ServerOptions::default();
                options.share_local_address = false;
                let server = dht.listen(&KeyPair::random(), options).await?;
                let shared = Shared {
                    key: HEXLOWER.encode(&server.public_key()),
                    core: core.key().to_hex(),
                };
                tokio::spawn(share(server, cores));
                self.shared.push(core);
                self.nodes.push(dht);
                to_value(shared)?
            }
            Order::Download {
                folder,
                bootstrap,
                key,
                core,
                count,
            } => {
                let cores = open_store(folder.as_ref())?;
                let client = node(bootstrap.parse()?, false, false).await?;
                let copy = cores.get(CoreOptions::key(core.parse()?)).await?;
                let (connection, began) = dial(&client, &key).await?;
                let _joined = connection.replicate(&cores, ReplicateOptions::default());
                copy.download(0..count as u64)?.done().await?;
                let seconds = began.elapsed().as_secs_f64();
                if copy.contiguous_length() != count as u64 {
                    return Err("blocks are missing".into());
                }
                to_value(Downloaded { seconds })?
            }
            Order::Memory {} => to_value(Memory {
                bytes: anonymous()?,
            })?,
            Order::Handshakes { pattern, seconds } => to_value(Shaken {
                per_second: handshakes(&pattern, |_, passed| passed >= seconds)?,
            })?,
        })
    }

    /// A connection with an open channel, and how many milliseconds it took.
    async fn connect(
        &mut self,
        bootstrap: &str,
        firewalled: bool,
        key: &str,
    ) -> Result<((Connection, Channel), f64)> {
        let client = match &self.client {
            Some(client) => client,
            None => {
                let client = node(bootstrap.parse()?, false, firewalled).await?;
                self.client.insert(client)
            }
        };
        let (connection, began) = dial(client, key).await?;
        let channel = open(&connection)?;
        channel.opened().await.ok_or("the channel did not open")?;
        let took = began.elapsed().as_secs_f64() * 1e3;
        Ok(((connection, channel), took))
    }
}

/// Bytes of memory in use, that of files not counted.
fn anonymous() -> Result<u64> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:")?.strip_suffix("kB"))
        .ok_or("the kernel does not say how much memory is in use")?;
    Ok(line.trim().parse::<u64>()? << 10)
}

/// Both sides of handshakes, one after the other, until so many after so many seconds are enough; how many a second.
pub(crate) fn handshakes(pattern: &str, enough: impl Fn(u32, f64) -> bool) -> Result<f64> {
    let pattern = match pattern {
        "IK" => Pattern::Ik,
        "XX" => Pattern::Xx,
        _ => return Err("another pattern".into()),
    };
    let (ours, theirs) = (KeyPair::random(), KeyPair::random());
    let began = Instant::now();
    for count in 1u32.. {
        let side = |role, pair, remote| {
            Handshake::new(pattern, role, pair, remote, b"", rand::random::<[u8; 32]>())
        };
        let mut a = side(Role::Initiator, &ours, Some(&theirs.public))?;
        let mut b = side(Role::Responder, &theirs, None)?;
        while !(a.is_complete() && b.is_complete()) {
            match a.is_our_turn() {
                true => b.receive(&a.send(b"")?)?,
                false => a.receive(&b.send(b"")?)?,
            };
        }
        if a.finish()?.hash != b.finish()?.hash {
            return Err("two handshakes".into());
        }
        let passed = began.elapsed().as_secs_f64();
        if enough(count, passed) {
            return Ok(f64::from(count) / passed);
        }
    }
    Err("more handshakes than can be counted".into())
}

/// A connection to a server's key in hex, over the network alone, and when it was begun.
async fn dial(client: &HyperDht, key: &str) -> Result<(Connection, Instant)> {
    let key = HEXLOWER.decode(key.as_bytes())?;
    let key = key.first_chunk().ok_or("a short key")?;
    let mut options = ConnectOptions::default();
    options.local_connection = false;
    let began = Instant::now();
    Ok((client.connect(key, options).await?, began))
}
