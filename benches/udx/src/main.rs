//! Streams over UDP beside npm's udx-native and the kernel's TCP: the same work, in turns, each end a process of its own.
//!
//! `cargo run --release -p pome-bench-udx` measures and prints a page; `--json FILE` keeps the numbers too, `--render FILE` prints the page of such a file.
//! Needs node and the modules (`npm ci --prefix tests/interop`).

mod path;
mod report;

use clap::{Parser, ValueEnum};
use pome_bench_support::{Machine, measure_or_render};
use pome_bench_work::udx::{self, Go, Read};
use report::{Measured, OnPath};
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// What went wrong, as text: nothing is done about it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// As fast as it goes, on loopback
    Loopback,
    /// Through paths that delay and lose
    Paths,
}

#[derive(Debug, Parser)]
struct Args {
    /// What to measure [default: all]
    parts: Vec<Part>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each stream runs
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only these peers [default: all]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Write the numbers here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Render this file of numbers as Markdown on stdout, and measure nothing
    #[arg(long, conflicts_with = "json")]
    render: Option<PathBuf>,
    /// Be one end (used by the runs themselves)
    #[arg(long, hide = true, num_args = 2, value_names = ["PEER", "ROLE"])]
    alone: Option<Vec<String>>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(words) = &args.alone {
        let [peer, role] = &words[..] else {
            return Err("two words are wanted".into());
        };
        let transport = if peer.starts_with("tcp") {
            "tcp"
        } else {
            "udx"
        };
        return udx::run(transport, role, peer.ends_with("sealed"));
    }
    let (json, render) = (args.json.as_deref(), args.render.as_deref());
    measure_or_render(json, render, || measure(&args), Measured::markdown)
}

fn measure(args: &Args) -> Result<Measured> {
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let peer = |name: &&str| args.peers.is_empty() || args.peers.iter().any(|p| p == name);
    let mut measured = Measured {
        machine: Machine::read().to_string(),
        versions: versions()?,
        rounds: args.rounds,
        seconds: args.seconds,
        ..Measured::default()
    };
    let peers = [
        "pome",
        "npm",
        "tcp",
        "pome sealed",
        "npm sealed",
        "tcp sealed",
    ];
    if wanted(Part::Loopback) {
        for round in 0..args.rounds {
            for name in peers.iter().filter(|name| peer(name)) {
                let rate = stream(name, args.seconds, None)?;
                eprintln!("round {round}: {name}: {:.0} MB/s", rate / 1e6);
                let rates = measured.loopback.entry((*name).to_owned()).or_default();
                rates.push(rate);
            }
        }
    }
    if wanted(Part::Paths) {
        for (delay_ms, loss) in [0, 20, 100]
            .into_iter()
            .flat_map(|delay| [0.0, 0.001, 0.01].map(|loss| (delay, loss)))
        {
            let mut rates = report::Rates::new();
            for round in 0..args.rounds as u64 {
                for name in ["pome", "npm"].iter().filter(|name| peer(name)) {
                    let rate = stream(name, args.seconds, Some((delay_ms, loss, round)))?;
                    eprintln!("{delay_ms} ms, loss {loss}: {name}: {:.2} MB/s", rate / 1e6);
                    rates.entry((*name).to_owned()).or_default().push(rate);
                }
            }
            measured.paths.push(OnPath {
                delay_ms,
                loss,
                rates,
            });
        }
    }
    Ok(measured)
}

/// One end, which is killed when it is dropped.
struct End {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    fn start(peer: &str, role: &str) -> Result<Self> {
        let mut command = match peer.strip_prefix("npm") {
            Some(rest) => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/npm/udx.js");
                let mut command = Command::new("node");
                command.arg(script).arg(role).args(rest.split_whitespace());
                command
            }
            None => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["--alone", peer, role]);
                command
            }
        };
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut end = Self {
            child,
            input,
            output,
            port: 0,
        };
        let said: serde_json::Value = serde_json::from_str(&end.line()?)?;
        end.port = u16::try_from(said["port"].as_u64().ok_or("no port")?)?;
        Ok(end)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line)
    }

    fn go(&mut self, go: Go) -> Result<()> {
        writeln!(self.input, "{}", serde_json::to_string(&go)?)?;
        Ok(())
    }
}

/// Bytes a second that one end read from the other; on a path: its delay in milliseconds, loss and seed.
fn stream(peer: &str, seconds: f64, on: Option<(u64, f64, u64)>) -> Result<f64> {
    let mut reader = End::start(peer, "read")?;
    let mut sender = End::start(peer, "send")?;
    let mut ports = [reader.port, sender.port];
    let mut path = None;
    if let Some((delay_ms, loss, seed)) = on {
        // End 0 is the sender: what it sends comes in at port 0 of the path.
        let delay = Duration::from_micros(delay_ms * 500);
        let made = path::Path::new([sender.port, reader.port], delay, loss, seed)?;
        ports = made.ports;
        path = Some(made);
    }
    let now = path.is_some();
    let go = |port| Go { port, seconds, now };
    reader.go(go(ports[1]))?;
    sender.go(go(ports[0]))?;
    let read: Read = serde_json::from_str(&reader.line()?)?;
    Ok(read.bytes as f64 / read.seconds)
}

fn versions() -> Result<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/node_modules");
    let mut versions = Vec::new();
    for module in ["udx-native", "@hyperswarm/secret-stream"] {
        let text = std::fs::read(folder.join(module).join("package.json"))?;
        let package: serde_json::Value = serde_json::from_slice(&text)?;
        versions.push(format!(
            "{module} {}",
            package["version"].as_str().unwrap_or("?")
        ));
    }
    Ok(versions.join(", "))
}
