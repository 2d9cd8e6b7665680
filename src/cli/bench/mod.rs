//! `pome bench`: pome beside its peers. The same work in turns, each run a process of its own; what there is to measure and what pome does for it is
//! `pome-bench-work`, the numbers and the report are `pome-bench-support`, and here is who is found on this machine, and the order of the runs.

pub(crate) mod args;
mod install;
mod peers;
mod stop;
mod turns;

use super::{failure::Failure, present::Presentation};
use args::BenchArgs;
use peers::{Peer, Peers};
use pome_bench_support::Measured;
use pome_bench_work::{ALL, LIMIT, Workload};
use serde_json::json;
use std::{
    io::Write,
    path::{Path, PathBuf},
};

/// The names of all peers.
pub(super) const NAMES: &[&str] = &[
    "npm",
    "bare",
    "npm10",
    "hypercore-rs",
    "hyperbee-rs",
    "iroh",
    "fjall",
    "redb",
    "lmdb",
    "sqlite",
    "disk",
    "bindfs",
    "gocryptfs",
    LIMIT,
];

pub(crate) fn bench(args: &BenchArgs, how: Presentation, quiet: bool) -> Result<(), Failure> {
    if let Some(words) = &args.worker {
        return pome_bench_work::run(words)
            .map_err(|error| Failure::new("BENCH_FAILED", error.to_string()));
    }
    if let Some(file) = &args.render {
        return render(file, &args.report, how);
    }
    if let Some(unknown) = (args.against.iter()).find(|name| !NAMES.contains(&name.as_str())) {
        let known = NAMES.join(", ");
        return Err(Failure::usage(format!(
            "no peer {unknown:?}; there are {known}"
        )));
    }
    let workloads = wanted(&args.workloads)?;
    if args.list {
        return list(&workloads, how);
    }
    if args.install {
        return install::install(quiet);
    }
    let turns = turns::Turns::new(args, quiet)?;
    let (measured, failed) = turns.measure(&workloads)?;
    if how.json {
        for line in measured.lines() {
            print(&line.to_string())?;
        }
    } else {
        print(measured.markdown().trim_end())?;
        print(&format!(
            "\nThe report: {}",
            args.report.join("report.html").display()
        ))?;
    }
    match failed {
        None => Ok(()),
        Some(why) => Err(Failure::new("BENCH_FAILED", why)),
    }
}

fn print(line: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout(), "{line}") {
        // Nobody is left to read it; the report is written.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| Failure::io("cannot write to stdout", &error)),
    }
}

/// The workloads of these names and families, in their own order; all of them without any.
fn wanted(names: &[String]) -> Result<Vec<&'static Workload>, Failure> {
    let is = |workload: &Workload, name: &str| match pome_bench_work::named(name) {
        Some(named) => workload.name == named.name,
        None => (workload.name.strip_prefix(name)).is_some_and(|rest| rest.starts_with('-')),
    };
    if let Some(unknown) = (names.iter()).find(|name| !ALL.iter().any(|one| is(one, name))) {
        return Err(Failure::usage(format!(
            "no workload {unknown:?}: `pome bench --list` lists them"
        )));
    }
    let all = ALL.iter();
    Ok(all
        .filter(|one| names.is_empty() || names.iter().any(|name| is(one, name)))
        .collect())
}

fn list(workloads: &[&Workload], how: Presentation) -> Result<(), Failure> {
    for workload in workloads {
        let Workload {
            name, what, peers, ..
        } = workload;
        let unit = workload.measure.unit();
        match how.json {
            true => print(
                &json!({ "workload": name, "what": what, "unit": unit, "peers": peers })
                    .to_string(),
            )?,
            false => print(&format!(
                "{name:<20} {what} ({unit}); beside {}",
                match peers.is_empty() {
                    true => "nobody".to_owned(),
                    false => peers.join(", "),
                }
            ))?,
        }
    }
    Ok(())
}

fn render(file: &Path, report: &Path, how: Presentation) -> Result<(), Failure> {
    let io = |error| Failure::io(&file.display().to_string(), &error);
    let text = std::fs::read(file).map_err(io)?;
    let measured: Measured = serde_json::from_slice(&text)
        .map_err(|error| Failure::usage(format!("{}: no report: {error}", file.display())))?;
    if how.json {
        for line in measured.lines() {
            print(&line.to_string())?;
        }
        return Ok(());
    }
    leave(&measured, report)?;
    print(&measured.markdown())?;
    print(&measured.costs())
}

/// Leaves the report; it is whole at every moment.
fn leave(measured: &Measured, folder: &Path) -> Result<(), Failure> {
    let io = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| Failure::io(&path, &error)
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let json = serde_json::to_string_pretty(measured)
        .map_err(|error| Failure::new("IO", error.to_string()))?;
    for (name, text) in [
        ("report.json", json + "\n"),
        ("report.html", measured.html()),
    ] {
        let (path, half): (PathBuf, PathBuf) = (folder.join(name), folder.join(format!(".{name}")));
        std::fs::write(&half, text).map_err(io(&half))?;
        std::fs::rename(&half, &path).map_err(io(&path))?;
    }
    Ok(())
}
