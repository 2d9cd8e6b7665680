//! One workload on a Rust crate: what pome's own side does in benches/work, with the same numbers.
//!
//! `pome-bench-rust-peers PEER WORKLOAD FOLDER SIZE OPS SOURCE PLACE` makes all ready, prints `{"ready":true}`, waits for a line on stdin, does the work,
//! prints `{"items","bytes","seconds","version"}`, and waits until stdin ends. `pome-bench-rust-peers serve FOLDER SIZE COUNT` is the other end of a transfer.

mod bee;
mod blobs;
mod core;
mod disk;
mod given;

use serde_json::json;
use std::{
    io::{BufRead, Write},
    path::PathBuf,
    time::Instant,
};

/// What went wrong, as text.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// One piece of work.
struct Job {
    workload: String,
    /// A folder of its own; it is there, and empty.
    folder: PathBuf,
    /// How many items it works on.
    size: u64,
    /// How many of them are timed, where that is not all of them.
    ops: u64,
}

/// The clock of a piece of work.
struct Worker(Instant);

impl Worker {
    /// All is ready: says so, and begins when it may.
    fn ready() -> Result<Self> {
        say(&json!({ "ready": true }))?;
        match std::io::stdin().lock().read_line(&mut String::new())? {
            0 => Err("the work is not wanted any more".into()),
            _ => Ok(Self(Instant::now())),
        }
    }

    /// The work is done: says so, and returns when this was looked at.
    fn done(self, items: u64, bytes: u64, version: &str) -> Result<()> {
        let seconds = self.0.elapsed().as_secs_f64();
        say(&json!({ "items": items, "bytes": bytes, "seconds": seconds, "version": version }))?;
        until_stdin_ends()
    }
}

fn say(what: &serde_json::Value) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}

fn until_stdin_ends() -> Result<()> {
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}

/// The version of a crate, as `Cargo.toml` pins it.
fn version(name: &str) -> String {
    let toml = include_str!("../Cargo.toml");
    let line = toml
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let pinned = line.and_then(|line| line.split_once("\"=")?.1.split('"').next());
    format!("{name} {}", pinned.unwrap_or("of no known version"))
}

fn run(words: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if let ["serve", folder, size, count] = words {
        return runtime.block_on(blobs::serve(folder.as_ref(), size.parse()?, count.parse()?));
    }
    let [peer, workload, folder, size, ops, _source, _place] = words else {
        return Err(format!("{words:?} is no work").into());
    };
    let job = Job {
        workload: (*workload).into(),
        folder: folder.into(),
        size: size.parse()?,
        ops: ops.parse()?,
    };
    match *peer {
        "hypercore-rs" => runtime.block_on(core::measure(&job)),
        "hyperbee-rs" => runtime.block_on(bee::measure(&job)),
        "iroh" => runtime.block_on(blobs::measure(&job)),
        other => Err(format!("no peer {other}").into()),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Err(error) = run(&words) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
