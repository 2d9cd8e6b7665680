//! Runs the same work on pome and on the npm modules, in turns (A B A B), on one disk, and writes the ratios.
//!
//! `cargo run --release -p pome-bench-compare` measures and prints a table; `--out FILE` also keeps the numbers as JSON, `--table FILE` writes the table
//! from such a file into `docs/performance.md`. Each run is a process of its own, so that no peer warms another's caches.

mod report;
mod workload;

use clap::Parser;
use report::{Measured, Row, Run};
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use workload::Workload;

type Error = Box<dyn std::error::Error>;

#[derive(Debug, Parser)]
struct Args {
    /// Which workloads [default: all]
    workloads: Vec<String>,
    /// How often each peer runs each workload
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A tenth of the work
    #[arg(long)]
    quick: bool,
    /// Where the stores are made [default: a folder in the system's temporary folder]
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Write the numbers here, as JSON
    #[arg(long)]
    out: Option<PathBuf>,
    /// Render this file of numbers as Markdown on stdout, and measure nothing
    #[arg(long, conflicts_with = "out")]
    render: Option<PathBuf>,
    /// Be one peer: do one workload in this folder and print the time (used by the runs themselves)
    #[arg(long, hide = true, num_args = 3..=4, value_names = ["WORKLOAD", "FOLDER", "COUNT", "SOURCE"])]
    peer: Option<Vec<String>>,
}

fn main() -> Result<(), Error> {
    let args = Args::parse();
    if let Some(peer) = &args.peer {
        return be_a_peer(peer);
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
    let source = scratch.path().join("source");
    workload::write_tree(&source, if args.quick { 200 } else { 2_000 })?;
    let mut rows = Vec::new();
    for workload in workload::ALL {
        if !args.workloads.is_empty() && !args.workloads.iter().any(|name| name == workload.name) {
            continue;
        }
        let count = if args.quick {
            workload.count / 10
        } else {
            workload.count
        };
        let mut row = Row::new(workload, count);
        for round in 0..args.rounds {
            eprintln!("{} {}/{}", workload.name, round + 1, args.rounds);
            row.pome.push(run_pome(
                workload,
                &scratch.path().join("store"),
                count,
                &source,
            )?);
            row.npm.push(run_npm(
                workload,
                &scratch.path().join("store"),
                count,
                &source,
            )?);
        }
        eprintln!("{}", row.line());
        rows.push(row);
    }
    let measured = Measured::new(rows, args.rounds);
    if let Some(out) = &args.out {
        std::fs::write(out, serde_json::to_vec_pretty(&measured)?)?;
    }
    print!("{}", measured.markdown());
    Ok(())
}

fn be_a_peer(words: &[String]) -> Result<(), Error> {
    let [name, folder, count, source @ ..] = words else {
        return Err("three words are wanted".into());
    };
    let workload = workload::ALL
        .iter()
        .find(|w| w.name == name)
        .ok_or_else(|| format!("no workload {name}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let source = source.first().map(PathBuf::from).unwrap_or_default();
    let run = runtime.block_on(workload::run(
        workload,
        Path::new(folder),
        count.parse()?,
        &source,
    ))?;
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

fn finish(mut command: Command, store: &Path) -> Result<Run, Error> {
    if store.exists() {
        std::fs::remove_dir_all(store)?;
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!(
            "{command:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let run = serde_json::from_slice(&output.stdout)?;
    if store.exists() {
        std::fs::remove_dir_all(store)?;
    }
    Ok(run)
}

fn run_pome(workload: &Workload, store: &Path, count: u64, source: &Path) -> Result<Run, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("--peer")
        .arg(workload.name)
        .arg(store)
        .arg(count.to_string())
        .arg(source);
    finish(command, store)
}

fn run_npm(workload: &Workload, store: &Path, count: u64, source: &Path) -> Result<Run, Error> {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("../peers/npm/driver.js");
    let mut command = Command::new("node");
    command
        .arg(driver)
        .arg(workload.name)
        .arg(store)
        .arg(count.to_string())
        .arg(source);
    finish(command, store)
}
