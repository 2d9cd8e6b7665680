//! The block store beside other embedded engines, and beside the bare disk and the bare hash: the same work, in turns (A B C A B C), on one disk.
//!
//! `cargo run --release -p pome-bench-engines` measures and prints tables; `--json FILE` keeps the numbers too, `--render FILE` prints the tables of such a
//! file. Each run is a process of its own, so that no engine warms another's caches, and every engine's writes are on disk when they are answered.

mod cores;
mod data;
mod engine;
mod goals;
mod limits;
mod report;
mod run;
mod turns;

use clap::{Parser, ValueEnum};
use data::{BIG, SMALL, Size};
use engine::Result;
use report::{Measured, Run};
use run::Sample;
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 32 B keys, 100 B values
    Small,
    /// 32 B keys, 64 KiB values
    Big,
    /// Durable commits, all engines in turns of a few milliseconds
    Turns,
    /// The memory and the opening of many cores, and of a long one
    Cores,
}

#[derive(Debug, Parser)]
struct Args {
    /// What to measure [default: all]
    parts: Vec<Part>,
    /// How often each engine does each part at most; turns and cores are done once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// No round begins that would end after so many minutes (the first always does); the cores come on top
    #[arg(long, default_value_t = 11)]
    minutes: u64,
    /// A tenth of the work
    #[arg(long)]
    quick: bool,
    /// Only these engines (and `limit`, `core`) [default: all]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Where the stores are made [default: a folder in the system's temporary folder]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write the numbers here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Render this file of numbers as Markdown on stdout, and measure nothing
    #[arg(long, conflicts_with = "json")]
    render: Option<PathBuf>,
    /// Do one part as one peer in this folder, and print its numbers (used by the runs themselves)
    #[arg(long, hide = true, num_args = 3, value_names = ["PART", "PEER", "FOLDER"])]
    alone: Option<Vec<String>>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(words) = &args.alone {
        let [part, peer, folder] = &words[..] else {
            return Err("three words are wanted".into());
        };
        let samples = alone(part, peer, Path::new(folder), args.quick)?;
        println!("{}", serde_json::to_string(&samples)?);
        return Ok(());
    }
    if let Some(file) = &args.render {
        let measured: Measured = serde_json::from_slice(&std::fs::read(file)?)?;
        print!("{}", measured.markdown());
        return Ok(());
    }
    let scratch = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let began = Instant::now();
    let mut runs = vec![];
    if wanted(Part::Turns) {
        for size in ["small", "big"] {
            let folder = scratch.path().join("turns");
            runs.push(one(0, "turns", size, &folder, args.quick)?);
            std::fs::remove_dir_all(&folder)?;
        }
    }
    keep(&args, &runs, 0)?;
    let peers: Vec<_> = ["limit", "core"]
        .iter()
        .chain(engine::ALL)
        .copied()
        .filter(|peer| args.peers.is_empty() || args.peers.iter().any(|p| p == peer))
        .collect();
    let mut rounds = 0;
    let mut longest = Duration::ZERO;
    while rounds < args.rounds {
        let start = Instant::now();
        let budget = Duration::from_secs(args.minutes.saturating_mul(60));
        if rounds > 0 && start - began + longest > budget {
            break;
        }
        for (part, name) in [(Part::Small, "small"), (Part::Big, "big")] {
            // Who comes behind whom changes from round to round, too.
            let (late, early) = peers.split_at(rounds * 3 % peers.len().max(1));
            for peer in early.iter().chain(late).filter(|_| wanted(part)) {
                let folder = scratch.path().join("store");
                runs.push(one(rounds, name, peer, &folder, args.quick)?);
                std::fs::remove_dir_all(&folder)?;
            }
        }
        longest = longest.max(start.elapsed());
        rounds += 1;
        keep(&args, &runs, rounds)?;
    }
    if wanted(Part::Cores) {
        for kind in ["many", "long"] {
            let folder = scratch.path().join(kind);
            for step in ["make", "open"] {
                let peer = format!("{step}-{kind}");
                runs.push(one(0, "cores", &peer, &folder, args.quick)?);
            }
        }
    }
    keep(&args, &runs, rounds)?;
    print!("{}", Measured::new(runs, rounds, args.quick).markdown());
    Ok(())
}

/// What is known so far stays if the next round is cut short.
fn keep(args: &Args, runs: &[Run], rounds: usize) -> Result<()> {
    if let Some(file) = &args.json {
        let measured = Measured::new(runs.to_vec(), rounds, args.quick);
        pome_bench_support::keep(file, &measured)?;
    }
    Ok(())
}

/// One run, in a process of its own.
fn one(round: usize, part: &str, peer: &str, folder: &Path, quick: bool) -> Result<Run> {
    std::fs::create_dir_all(folder)?;
    let mut command = std::process::Command::new(std::env::current_exe()?);
    command.arg("--alone").args([part, peer]).arg(folder);
    if quick {
        command.arg("--quick");
    }
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{part} {peer}: {}", output.status).into());
    }
    let samples: Vec<Sample> = serde_json::from_slice(&output.stdout)?;
    let run = Run {
        round,
        part: part.into(),
        peer: peer.into(),
        samples,
    };
    eprintln!("{}", run.line());
    Ok(run)
}

fn alone(part: &str, peer: &str, folder: &Path, quick: bool) -> Result<Vec<Sample>> {
    let size = |size: Size| if quick { size.quick() } else { size };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (many, long) = if quick {
        (10_000, 1_000_000)
    } else {
        (100_000, 10_000_000)
    };
    match (part, peer) {
        ("small", "limit") => limits::small(size(SMALL), folder),
        ("big", "limit") => limits::big(size(BIG), folder),
        ("small", "core") => runtime.block_on(cores::append(size(SMALL), folder)),
        ("big", "core") => runtime.block_on(cores::append(size(BIG), folder)),
        ("turns", "small") => turns::all(size(SMALL), folder),
        ("turns", "big") => turns::all(size(BIG), folder),
        ("small", engine) => run::engine(engine, size(SMALL), folder),
        ("big", engine) => run::engine(engine, size(BIG), folder),
        ("cores", "make-many") => runtime.block_on(cores::make_many(many, folder)),
        ("cores", "open-many") => runtime.block_on(cores::open_many(many, folder)),
        ("cores", "make-long") => runtime.block_on(cores::make_long(long, folder)),
        ("cores", "open-long") => runtime.block_on(cores::open_long(long, folder)),
        _ => Err(format!("no part {part} with {peer}").into()),
    }
}
