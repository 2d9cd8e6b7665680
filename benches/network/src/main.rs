//! pome beside npm's hyperdht and noise-handshake: connecting by key, downloads over such connections, handshakes on one core, memory of idle connections. The same work in turns, each peer a
//! process of its own, in a network namespace with nothing but loopback.
//!
//! `cargo run --release -p pome-bench-network` measures and prints a page; `--json FILE` keeps the numbers too, `--render FILE` prints the page of such a file.
//! Needs node, the modules (`npm ci --prefix tests/interop`), `unshare`, `ip` and `taskset`.

mod report;

use clap::{Parser, ValueEnum};
use pome_bench_support::{Machine, measure_or_render, run_in_namespace};
use pome_bench_work::{
    Helper,
    network::{self, Connected, Downloaded, Memory, Network, Order, Serving, Shaken, Shared, tell},
};
use report::{Held, Measured, PATTERNS, PEERS};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What went wrong, as text: nothing is done about it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Nodes of a network.
const NODES: usize = 20;
/// Connections before those that count.
const WARM: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Connecting by key, through networks of either make
    Connect,
    /// Noise handshakes on one core
    Handshakes,
    /// Memory of idle connections
    Memory,
    /// Cores that are downloaded from a peer that is connected to by key
    Download,
}

#[derive(Debug, Parser)]
struct Args {
    /// What to measure [default: all]
    parts: Vec<Part>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Connections of each peer in each round
    #[arg(long, default_value_t = 20)]
    connections: usize,
    /// Connections that are held
    #[arg(long, default_value_t = 200)]
    held: usize,
    /// MiB that are downloaded in blocks of 64 KiB; of 100 B there are 400 blocks for each
    #[arg(long, default_value_t = 64)]
    mib: usize,
    /// How long each peer shakes hands
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Write the numbers here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Render this file of numbers as Markdown on stdout, and measure nothing
    #[arg(long, conflicts_with = "json")]
    render: Option<PathBuf>,
    /// Follow orders (used by the runs themselves)
    #[arg(long, hide = true)]
    peer: bool,
    /// Already in a namespace (used by the runs themselves)
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if args.peer {
        return network::run();
    }
    if !args.inside && args.render.is_none() {
        return Ok(run_in_namespace("--inside")?);
    }
    let (json, render) = (args.json.as_deref(), args.render.as_deref());
    measure_or_render(json, render, || measure(&args), Measured::markdown)
}

fn measure(args: &Args) -> Result<Measured> {
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let mut measured = Measured {
        machine: Machine::read().to_string(),
        versions: versions()?,
        rounds: args.rounds,
        held: args.held,
        ..Measured::default()
    };
    for round in 0..args.rounds {
        if wanted(Part::Handshakes) {
            for pattern in PATTERNS {
                for make in PEERS {
                    let rate = handshakes(make, pattern, args.seconds)?;
                    eprintln!("round {round}: {make}: {pattern}: {rate:.0} a second");
                    let rates = measured.handshakes.entry((*pattern).into()).or_default();
                    rates.entry((*make).into()).or_default().push(rate);
                }
            }
        }
        if wanted(Part::Connect) {
            for (network, firewalled) in report::ways() {
                for make in PEERS {
                    let millis = connect(network, firewalled, make, args.connections)?;
                    let middle = pome_bench_support::Spread::of(&millis).middle;
                    eprintln!("round {round}: {make} on {network}, {firewalled}: {middle:.2} ms");
                    let way = report::way(network, firewalled);
                    let rounds = measured.connect.entry(way).or_default();
                    rounds.entry((*make).into()).or_default().push(millis);
                }
            }
        }
        if wanted(Part::Download) {
            for (blocks, size, count) in [
                ("blocks of 64 KiB", 64 << 10, args.mib << 4),
                ("blocks of 100 B", 100, args.mib * 400),
            ] {
                for pair in report::PAIRS {
                    let seconds = download(*pair, size, count)?;
                    let name = report::pair(*pair);
                    eprintln!("round {round}: {name}: {blocks}: {seconds:.2} s");
                    let rounds = measured.download.entry(blocks.into()).or_default();
                    let rate = count as f64 / seconds;
                    rounds.entry(name).or_default().push(rate);
                }
            }
        }
        if wanted(Part::Memory) {
            for make in PEERS {
                let held = memory(make, args.held)?;
                eprintln!("round {round}: {make}: {held:?}");
                measured
                    .memory
                    .entry((*make).into())
                    .or_default()
                    .push(held);
            }
        }
    }
    Ok(measured)
}

/// A process that follows orders, on any core or on one of them alone.
fn start(make: &str, one_core: bool) -> Result<Helper> {
    let mut words: Vec<PathBuf> = match make {
        "npm" => {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/npm/network.js");
            vec!["node".into(), "--expose-gc".into(), script]
        }
        _ => vec![std::env::current_exe()?, "--peer".into()],
    };
    if one_core {
        words.splice(..0, ["taskset", "-c", "0"].map(PathBuf::from));
    }
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    Helper::start(command)
}

fn handshakes(make: &str, pattern: &str, seconds: f64) -> Result<f64> {
    let order = Order::Handshakes {
        pattern: pattern.into(),
        seconds,
    };
    let shaken: Shaken = tell(&mut start(make, true)?, &order)?;
    Ok(shaken.per_second)
}

/// A network, a server that listens under so many keys, and a client that has done nothing yet.
struct Testnet {
    _network: Helper,
    server: Helper,
    client: Helper,
    bootstrap: String,
    keys: Vec<String>,
}

impl Testnet {
    fn new(network: &str, make: &str, firewalled: bool, keys: usize) -> Result<Self> {
        let mut nodes = start(network, false)?;
        let Network { bootstrap } = tell(&mut nodes, &Order::Network { nodes: NODES })?;
        let mut server = start(make, false)?;
        let Serving { keys } = tell(
            &mut server,
            &Order::Serve {
                bootstrap: bootstrap.clone(),
                firewalled,
                keys,
            },
        )?;
        Ok(Self {
            _network: nodes,
            server,
            client: start(make, false)?,
            bootstrap,
            keys,
        })
    }
}

/// Milliseconds of each connection.
fn connect(network: &str, firewalled: bool, make: &str, count: usize) -> Result<Vec<f64>> {
    let mut net = Testnet::new(network, make, firewalled, count)?;
    let connected: Connected = tell(
        &mut net.client,
        &Order::Connect {
            bootstrap: net.bootstrap,
            firewalled,
            keys: net.keys,
        },
    )?;
    Ok(connected.millis)
}

/// Seconds until all blocks are there, from `connect` on, of a writer and a reader of these makes.
fn download([writer, reader]: [&str; 2], size: usize, count: usize) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let store = |name| folder.path().join(name).to_string_lossy().into_owned();
    let mut nodes = start("pome", false)?;
    let Network { bootstrap } = tell(&mut nodes, &Order::Network { nodes: NODES })?;
    let mut writer = start(writer, false)?;
    let mut reader = start(reader, false)?;
    let Shared { key, core } = tell(
        &mut writer,
        &Order::Share {
            folder: store("writer"),
            bootstrap: bootstrap.clone(),
            size,
            count,
        },
    )?;
    let downloaded: Downloaded = tell(
        &mut reader,
        &Order::Download {
            folder: store("reader"),
            bootstrap,
            key,
            core,
            count,
        },
    )?;
    Ok(downloaded.seconds)
}

fn memory(make: &str, held: usize) -> Result<Held> {
    let mut net = Testnet::new("npm", make, false, 1)?;
    let mut hold = |connections| -> Result<[f64; 2]> {
        let _: serde_json::Value = tell(
            &mut net.client,
            &Order::Hold {
                bootstrap: net.bootstrap.clone(),
                firewalled: false,
                keys: net.keys.clone(),
                connections,
            },
        )?;
        // What was needed only to connect is given back.
        std::thread::sleep(std::time::Duration::from_secs(2));
        let server: Memory = tell(&mut net.server, &Order::Memory {})?;
        let client: Memory = tell(&mut net.client, &Order::Memory {})?;
        Ok([server.bytes as f64, client.bytes as f64])
    };
    let before = hold(WARM)?;
    let after = hold(held)?;
    let each = |side: usize| (after[side] - before[side]) / held as f64;
    Ok(Held {
        server: each(0),
        client: each(1),
    })
}

fn versions() -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/node_modules");
    let mut versions = Vec::new();
    for module in [
        "hyperdht",
        "noise-handshake",
        "@hyperswarm/secret-stream",
        "hypercore",
    ] {
        let text = std::fs::read(folder.join(module).join("package.json"))?;
        let package: serde_json::Value = serde_json::from_slice(&text)?;
        versions.push(format!(
            "{module} {}",
            package["version"].as_str().unwrap_or("?")
        ));
    }
    Ok(versions.join(", "))
}
