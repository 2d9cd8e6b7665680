//! A mounted drive beside the disk, bindfs, gocryptfs, rclone and a filesystem in memory. The same work in turns; what serves a mount is a process of its own.
//!
//! `cargo run --release -p pome-bench-mount` measures and prints a page; `--json FILE` keeps the numbers too, `--render FILE` prints the page of such a file.
//! Needs root, `/dev/fuse`, bindfs, gocryptfs and rclone (Debian has them), `tar`, `find`, `grep` and cargo.

mod memory;
mod places;
mod remote;
mod report;
mod work;

use clap::Parser;
use places::PLACES;
use pome_bench_support::{Machine, measure_or_render};
use remote::{DOWNLOAD, MOUNT, REMOTE};
use report::Measured;
use std::{path::PathBuf, process::Command};
use work::{Amount, ELSEWHERE, Given, PARTS, WORK};

/// What went wrong, as text: nothing is done about it.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Parser)]
struct Args {
    /// Only these places: disk, memory, bindfs, gocryptfs, rclone, pome, `pome, sealed`
    places: Vec<String>,
    /// Only these parts of the work (repeatable): large, create, tree, sqlite, build, remote
    #[arg(long)]
    part: Vec<String>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Size of the large file
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// Files that are made
    #[arg(long, default_value_t = 10_000)]
    files: usize,
    /// Pages that each thread reads
    #[arg(long, default_value_t = 10_000)]
    reads: usize,
    /// A folder on the disk that is measured
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Write the numbers here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Render this file of numbers as Markdown on stdout, and measure nothing
    #[arg(long, conflicts_with = "json")]
    render: Option<PathBuf>,
    /// Serve a mount (used by the runs themselves)
    #[arg(long, hide = true, num_args = 3, value_names = ["PLACE", "BELOW", "AT"])]
    serve: Option<Vec<PathBuf>>,
    /// Be one side of a drive that is elsewhere (used by the runs themselves)
    #[arg(long, hide = true, num_args = 1.., value_name = "SIDE")]
    remote: Option<Vec<String>>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some([name, below, at]) = args.serve.as_deref() {
        return places::serve(&name.to_string_lossy(), below, at);
    }
    if let Some(words) = &args.remote {
        return remote::side(words);
    }
    if let Some(unknown) = args
        .places
        .iter()
        .find(|place| !PLACES.contains(&&***place))
    {
        return Err(format!("{unknown:?} is none of {PLACES:?}").into());
    }
    if let Some(unknown) = args.part.iter().find(|part| !PARTS.contains(&&***part)) {
        return Err(format!("{unknown:?} is none of {PARTS:?}").into());
    }
    let (json, render) = (args.json.as_deref(), args.render.as_deref());
    measure_or_render(json, render, || measure(&args), Measured::markdown)
}

fn measure(args: &Args) -> Result<Measured> {
    let mut measured = Measured {
        machine: Machine::read().to_string(),
        versions: ["bindfs", "gocryptfs", "rclone"].map(version).join("; "),
        rounds: args.rounds,
        mib: args.mib,
        ..Measured::default()
    };
    let amount = Amount {
        mib: args.mib,
        files: args.files,
        reads: args.reads,
        parts: args.part.clone(),
    };
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let given = tempfile::tempdir_in(&dir)?;
    let given = Given::make(given.path()).map(|made| (made, given))?;
    for round in 0..args.rounds {
        for name in PLACES {
            if !args.places.is_empty() && !args.places.iter().any(|place| place == name) {
                continue;
            }
            let numbers = work::all(name, &dir, &given.0, &amount)?;
            for ((work, _), outcome) in WORK.iter().zip(numbers) {
                match &outcome {
                    Some(Ok(number)) => eprintln!("round {round}: {name}: {work}: {number:.3}"),
                    Some(Err(why)) => eprintln!("round {round}: {name}: {work} FAILED: {why}"),
                    None => continue,
                }
                measured.add(work, name, outcome.and_then(|outcome| outcome.ok()));
            }
        }
        if amount.has(ELSEWHERE) {
            let room = tempfile::tempdir_in(&dir)?;
            let (download, mount) = remote::round(round, room.path(), args.mib)?;
            for (place, number) in [(DOWNLOAD, download), (MOUNT, mount)] {
                eprintln!("round {round}: {place}: {REMOTE}: {number:.3}");
                measured.add(REMOTE, place, Some(number));
            }
        }
    }
    Ok(measured)
}

/// What a program says of itself, its first line.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    said.ok()
        .and_then(|said| Some(said.lines().next()?.to_owned()))
        .unwrap_or_else(|| format!("no {program}"))
}
