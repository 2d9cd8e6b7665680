//! The runs, in their order: round by round, so that what a machine does meanwhile falls on all alike.

use super::{Failure, Peer, Peers, args::BenchArgs, leave, stop};
use pome_bench_support::{
    Absent, Machine, Measured, Row, RunError, Series, human, rotated, touch_memory, unmount_below,
    watch, words,
};
use pome_bench_work::{Workload, write_tree};
use std::{
    cell::Cell,
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Memory that is used before each run.
const TOUCHED_MIB: usize = 256;

/// A folder that goes when it is dropped, with all that is mounted in it.
struct Room(PathBuf);

impl Room {
    fn new(at: &Path) -> Result<Self, Failure> {
        let room = at.join(format!("pome-bench-{}", std::process::id()));
        let io = |error| Failure::io(&room.display().to_string(), &error);
        std::fs::create_dir_all(&room).map_err(io)?;
        // As the kernel calls it, so that mounts in it are found.
        let room = room.canonicalize().map_err(io)?;
        Ok(Self(room))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        unmount_below(&self.0);
        // What stays of it is in the temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) struct Turns<'a> {
    args: &'a BenchArgs,
    quiet: bool,
    room: Room,
    /// How many were begun.
    runs: Cell<u64>,
    began: Instant,
    /// Somebody has pressed Ctrl-C.
    stopped: &'static AtomicBool,
}

/// One run of one peer: its place in the report.
struct Turn<'a> {
    workload: &'a Workload,
    peer: Peer,
    amount: (u64, u64),
}

impl<'a> Turns<'a> {
    pub(super) fn new(args: &'a BenchArgs, quiet: bool) -> Result<Self, Failure> {
        let at = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
        let at = std::path::absolute(&at)
            .map_err(|error| Failure::io(&at.display().to_string(), &error))?;
        Ok(Self {
            args,
            quiet,
            room: Room::new(&at)?,
            runs: Cell::new(0),
            began: Instant::now(),
            stopped: stop::listen()?,
        })
    }

    /// The time there is.
    fn budget(&self) -> Duration {
        let minutes = self
            .args
            .minutes
            .unwrap_or(if self.args.quick { 4 } else { 50 });
        Duration::from_secs(minutes.saturating_mul(60))
    }

    /// Measures all of it. The second is what pome itself failed in.
    pub(super) fn measure(
        &self,
        workloads: &[&Workload],
    ) -> Result<(Measured, Option<String>), Failure> {
        let scripts = self.room.path("peers");
        let io = |error| Failure::io("the folder for runs", &error);
        std::fs::create_dir_all(&scripts).map_err(io)?;
        let peers = Peers::find(self.args, workloads, &scripts)?;
        let mut measured = Measured {
            machine: Machine::read(),
            load: Machine::load(),
            pome: super::super::run::VERSION.into(),
            quick: self.args.quick,
            note: self.args.note.clone(),
            absent: peers.absent.clone(),
            ..Measured::default()
        };
        for absent in &measured.absent {
            self.say(&format!(
                "left out: {}: {}. {}",
                absent.peer, absent.why, absent.fix
            ));
        }
        let mut failed = None;
        // Who failed in what does not try again: a round without it would be compared with another round.
        let mut out = BTreeSet::new();
        let mut longest = Duration::ZERO;
        for round in 0..self.args.rounds as usize {
            let start = Instant::now();
            if round > 0 && self.began.elapsed() + longest > self.budget() {
                self.say("no time is left for another round");
                break;
            }
            for workload in workloads {
                let amount = workload.amount(self.args.quick);
                for peer in rotated(&peers.of(workload), round) {
                    let turn = Turn {
                        workload,
                        peer,
                        amount,
                    };
                    self.take(turn, round, false, &mut measured, &mut out, &mut failed)?;
                }
            }
            measured.rounds = round + 1;
            longest = longest.max(start.elapsed());
            // Once, and before the other rounds: these take all the time that is left.
            if round == 0 && !self.args.no_growth {
                self.grow(workloads, &peers, &mut measured, &mut out, &mut failed)?;
            }
            self.keep(&mut measured, workloads)?;
        }
        Ok((measured, failed))
    }

    fn keep(&self, measured: &mut Measured, workloads: &[&Workload]) -> Result<(), Failure> {
        measured.minutes = self.began.elapsed().as_secs_f64() / 60.0;
        // Peers took turns; in the report pome is the first, and the others come as they were named.
        for row in &mut measured.rows {
            let named = workloads
                .iter()
                .find(|workload| workload.name == row.workload);
            let place = |peer: &str| match named {
                Some(workload) if peer != "pome" => {
                    1 + workload
                        .peers
                        .iter()
                        .position(|one| *one == peer)
                        .unwrap_or(usize::MAX - 1)
                }
                _ => 0,
            };
            row.series.sort_by_key(|series| place(&series.peer));
        }
        leave(measured, &self.args.report)
    }

    /// Each workload that grows, at each size, as long as the last size says that the next one takes no longer than there is time for.
    fn grow(
        &self,
        workloads: &[&Workload],
        peers: &Peers,
        measured: &mut Measured,
        out: &mut BTreeSet<(String, String)>,
        failed: &mut Option<String>,
    ) -> Result<(), Failure> {
        let patience = Duration::from_secs(if self.args.quick { 5 } else { 45 });
        // pome and one peer, at two sizes, where it is to be quick.
        let (sizes, who) = if self.args.quick {
            (2, 2)
        } else {
            (3, usize::MAX)
        };
        for workload in workloads {
            for peer in peers.of(workload).into_iter().take(who) {
                // What the sizes before took, from the start of the process to its end.
                let mut took: Vec<(u64, Duration)> = vec![];
                for size in workload.sizes().iter().take(sizes) {
                    let expected = match took[..] {
                        [.., (_, first), (before, second)] => {
                            let more = u32::try_from(size / before).unwrap_or(u32::MAX);
                            second.saturating_sub(first).saturating_mul(more)
                        }
                        // How long a process takes to start says nothing of the next size.
                        _ => Duration::ZERO,
                    };
                    let left_out = match expected > patience {
                        true => Some((
                            format!(
                                "{size} items would take it about {:.0} s",
                                expected.as_secs_f64()
                            ),
                            "A larger `--minutes` does not change it",
                        )),
                        false if self.began.elapsed() > self.budget() => Some((
                            format!("no time was left for {size} items"),
                            "A larger `--minutes` leaves some",
                        )),
                        false => None,
                    };
                    if let Some((why, fix)) = left_out {
                        self.leave_out(measured, peer.name, workload.name, why, fix);
                        break;
                    }
                    let start = Instant::now();
                    let amount = (*size, workload.ops_at(*size, self.args.quick));
                    let peer = peer.clone();
                    self.take(
                        Turn {
                            workload,
                            peer,
                            amount,
                        },
                        0,
                        true,
                        measured,
                        out,
                        failed,
                    )?;
                    took.push((*size, start.elapsed()));
                }
            }
        }
        Ok(())
    }

    fn say(&self, what: &str) {
        if !self.quiet {
            eprintln!("{what}");
        }
    }

    fn leave_out(
        &self,
        measured: &mut Measured,
        peer: &str,
        workload: &str,
        why: String,
        fix: &str,
    ) {
        self.say(&format!("left out: {peer} of {workload}: {why}"));
        measured.absent.push(Absent {
            peer: peer.into(),
            workload: Some(workload.into()),
            why,
            fix: fix.into(),
        });
    }

    fn take(
        &self,
        turn: Turn<'_>,
        round: usize,
        growth: bool,
        measured: &mut Measured,
        out: &mut BTreeSet<(String, String)>,
        failed: &mut Option<String>,
    ) -> Result<(), Failure> {
        let Turn {
            workload,
            peer,
            amount,
        } = turn;
        let who = (workload.name.to_owned(), peer.name.to_owned());
        if out.contains(&who) {
            return Ok(());
        }
        let row = place(&mut measured.rows, workload, amount.0, growth);
        match self.run(workload, &peer, amount, row) {
            Ok(value) => {
                let unit = workload.measure.unit();
                let name = format!("{} ({})", workload.name, amount.0);
                self.say(&format!(
                    "round {}: {name}: {}: {} {unit}",
                    round + 1,
                    peer.name,
                    human(value)
                ));
            }
            _ if self.stopped.load(Ordering::Relaxed) => return Err(stop::stopped()),
            Err(Broken::Run(error)) => {
                row.series.retain(|series| series.peer != peer.name);
                if peer.name == "pome" {
                    failed.get_or_insert(format!("{}: {error}", workload.name));
                }
                self.leave_out(
                    measured,
                    peer.name,
                    workload.name,
                    error.to_string(),
                    "It failed, and is not counted",
                );
                out.insert(who);
            }
            Err(Broken::Here(failure)) => return Err(failure),
        }
        Ok(())
    }

    /// One run, in a folder of its own; the number that came of it.
    fn run(
        &self,
        workload: &Workload,
        peer: &Peer,
        amount: (u64, u64),
        row: &mut Row,
    ) -> Result<f64, Broken> {
        let io = |error| Broken::Here(Failure::io("the folder for runs", &error));
        self.runs.set(self.runs.get() + 1);
        let folder = self.room.path(&format!("run-{}", self.runs.get()));
        std::fs::create_dir_all(&folder).map_err(io)?;
        let source = self.room.path(&format!("files-{}", amount.0));
        if workload.has_files() && !source.exists() {
            write_tree(&source, amount.0).map_err(io)?;
        }
        let command = peer
            .command(workload, &folder, amount, &source)
            .map_err(Broken::Here)?;
        let typed = words(&command);
        touch_memory(TOUCHED_MIB);
        let outcome = watch(command, &folder, PATIENCE, self.stopped);
        if outcome.is_err() {
            // One that failed may have left a mount in it.
            unmount_below(&folder);
        }
        // What cannot be removed now goes with the room.
        let _ = std::fs::remove_dir_all(&folder);
        let (done, used) = outcome.map_err(Broken::Run)?;
        let value = workload.measure.value(done.items, done.bytes, done.seconds);
        let at = match row
            .series
            .iter()
            .position(|series| series.peer == peer.name)
        {
            Some(at) => at,
            None => {
                row.series.push(Series {
                    peer: peer.name.into(),
                    version: done.version,
                    durability: peer.durability(workload).into(),
                    command: typed,
                    bytes: done.bytes,
                    ..Series::default()
                });
                row.series.len() - 1
            }
        };
        row.series[at].values.push(value);
        row.series[at].used.push(match peer.does_itself(workload) {
            true => used,
            false => used.of_the_machine(),
        });
        Ok(value)
    }
}

/// Why there is no number.
enum Broken {
    /// The run failed.
    Run(RunError),
    /// It was not even begun.
    Here(Failure),
}

/// The row of a workload and a size; made where there is none.
fn place<'a>(rows: &'a mut Vec<Row>, workload: &Workload, size: u64, growth: bool) -> &'a mut Row {
    let is = |row: &Row| row.workload == workload.name && row.size == size && row.growth == growth;
    let at = match rows.iter().position(is) {
        Some(at) => at,
        None => {
            rows.push(Row {
                goal: workload.goal.filter(|_| !growth),
                limit_goal: workload.limit_goal.filter(|_| !growth),
                growth,
                ..Row::new(workload.name, workload.what, size, workload.measure)
            });
            rows.len() - 1
        }
    };
    &mut rows[at]
}
