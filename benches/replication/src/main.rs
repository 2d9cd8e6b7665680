//! Replication of pome and of the npm modules, in every pairing: who serves and who fetches are processes of their own, over TCP with the secret stream;
//! or one process, over a pipe.
//!
//! `cargo run --release -p pome-bench-replication` measures and prints tables; `--json FILE` keeps the numbers too, `--render FILE` prints the tables of
//! such a file. Needs node and the modules (`npm ci --prefix tests/interop`).

mod child;
mod report;

use std::path::{Path, PathBuf};

use child::{Child, Engine};
use clap::{Parser, ValueEnum};
use pome_bench_support::{Numbers, measure_or_render, rotated};
use pome_bench_work::{machine, replicate, sealed};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Blocks of 100 B over TCP
    Small,
    /// Blocks of 64 KiB over TCP
    Big,
    /// What the machine can hash, encrypt and write, without any of it
    Machine,
    /// Both, in one process over a pipe
    Pipe,
    /// From an append to the get of the other side, over TCP
    Latency,
    /// The secret stream alone, in memory
    Stream,
}

#[derive(Debug, Parser)]
struct Args {
    /// What to measure [default: all]
    parts: Vec<Part>,
    /// How often each pairing does each part
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// A fifth of the work
    #[arg(long)]
    quick: bool,
    /// Only pairings of these (`pome`, `npm`) [default: both]
    #[arg(long, value_delimiter = ',')]
    engines: Vec<String>,
    /// Where the stores are made [default: a folder in the system's temporary folder]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write the numbers here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Render this file of numbers as Markdown on stdout, and measure nothing
    #[arg(long, conflicts_with = "json")]
    render: Option<PathBuf>,
    /// Be one side (used by the runs themselves)
    #[arg(long, hide = true, num_args = 1.., value_name = "ROLE")]
    alone: Option<Vec<String>>,
}

/// Blocks of so many bytes, so many of them.
#[derive(Debug, Clone, Copy)]
struct Work {
    name: &'static str,
    size: usize,
    count: usize,
}

const APPENDS: usize = 400;

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(words) = &args.alone {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        return replicate::alone(&words);
    }
    let (json, render) = (args.json.as_deref(), args.render.as_deref());
    measure_or_render(json, render, || measure(&args), report::page)
}

fn measure(args: &Args) -> Result<Numbers> {
    let scratch = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let scale = if args.quick { 5 } else { 1 };
    let small = Work {
        name: "small",
        size: 100,
        count: 100_000 / scale,
    };
    let big = Work {
        name: "big",
        size: 64 << 10,
        count: 4096 / scale,
    };
    let engines: Vec<Engine> = [Engine::Pome, Engine::Npm]
        .into_iter()
        .filter(|engine| args.engines.is_empty() || args.engines.iter().any(|e| e == engine.name()))
        .collect();
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let versions = match engines.contains(&Engine::Npm) {
        true => child::npm_versions()?,
        false => vec![],
    };
    let mut numbers = Numbers::new(versions, args.rounds, args.quick);
    for round in 0..args.rounds {
        // Who comes behind whom changes from round to round.
        let pairs: Vec<(Engine, Engine)> = (engines.iter())
            .flat_map(|from| engines.iter().map(|to| (*from, *to)))
            .collect();
        let pairs = rotated(&pairs, round);
        let mut keep = |part: &str, pair: String, value: f64| {
            numbers.keep(round, part, &pair, value);
        };
        for (part, work) in [(Part::Small, small), (Part::Big, big)] {
            for (from, to) in pairs.iter().filter(|_| wanted(part)) {
                let seconds = download(scratch.path(), *from, *to, work)?;
                let rate = work.count as f64 / seconds;
                keep(work.name, format!("{} → {}", from.name(), to.name()), rate);
            }
        }
        if wanted(Part::Machine) {
            settle();
            let seconds = machine::seconds(scratch.path(), big.size, big.count)?;
            keep("big", "machine".into(), big.count as f64 / seconds);
        }
        for engine in engines.iter().filter(|_| wanted(Part::Pipe)) {
            for work in [small, big] {
                let seconds = pipe(scratch.path(), *engine, work)?;
                let part = format!("pipe-{}", work.name);
                keep(&part, engine.name().into(), work.count as f64 / seconds);
            }
        }
        for (from, to) in pairs.iter().filter(|_| wanted(Part::Latency)) {
            let pair = format!("{} → {}", from.name(), to.name());
            let (middle, late) = latency(scratch.path(), *from, *to, APPENDS / scale)?;
            keep("latency", pair.clone(), middle);
            keep("latency-99", pair, late);
        }
        for (size, count) in sealed::SIZES.iter().filter(|_| wanted(Part::Stream)) {
            for engine in &engines {
                let seconds = match engine {
                    Engine::Pome => sealed::ours(*size, count / scale)?,
                    Engine::Npm => child::npm_stream(*size, count / scale)?,
                };
                let rate = (size * count / scale) as f64 / seconds / 1e6;
                keep(&format!("stream-{size}"), engine.name().into(), rate);
            }
        }
    }
    Ok(numbers)
}

/// Has the disk write what the run before left it to write: that run's, and not the next one's, time.
fn settle() {
    rustix::fs::sync();
}

/// Seconds from dialling until all blocks are here.
fn download(scratch: &Path, from: Engine, to: Engine, work: Work) -> Result<f64> {
    let source = scratch.join(format!("{}-{}", from.name(), work.name));
    let mut server = Child::start(from, &source, &["serve"], &[work.size, work.count])?;
    let (key, port) = server.address()?;
    settle();
    let target = scratch.join("target");
    let words = ["fetch", &key, &port];
    let seconds = Child::start(to, &target, &words, &[work.count])?.number("seconds")?;
    server.end()?;
    std::fs::remove_dir_all(&target)?;
    Ok(seconds)
}

fn pipe(scratch: &Path, engine: Engine, work: Work) -> Result<f64> {
    let folder = scratch.join("pipe");
    settle();
    let mut child = Child::start(engine, &folder, &["pipe"], &[work.size, work.count])?;
    let seconds = child.number("seconds")?;
    child.end()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(seconds)
}

/// Microseconds from an append to the other side's get: the median, and what 99 of 100 stay below.
fn latency(scratch: &Path, from: Engine, to: Engine, count: usize) -> Result<(f64, f64)> {
    let (source, target) = (scratch.join("writer"), scratch.join("reader"));
    let mut writer = Child::start(from, &source, &["append"], &[count])?;
    let (key, port) = writer.address()?;
    let mut reader = Child::start(to, &target, &["follow", &key, &port], &[count])?;
    reader.line()?;
    writer.say("go")?;
    let line = reader.line()?;
    let micros = line["micros"].as_array().ok_or("no micros")?;
    let mut micros: Vec<f64> = micros
        .iter()
        .filter_map(serde_json::Value::as_f64)
        .collect();
    writer.end()?;
    reader.end()?;
    std::fs::remove_dir_all(&source)?;
    std::fs::remove_dir_all(&target)?;
    // The first few open the channel.
    micros.drain(..micros.len().min(10));
    micros.sort_by(f64::total_cmp);
    let at = |part: usize| micros.get(micros.len() * part / 100).copied();
    Ok(at(50).zip(at(99)).ok_or("no appends")?)
}
