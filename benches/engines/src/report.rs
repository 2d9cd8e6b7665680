//! Medians, ratios of one round, and the tables that people read.

use crate::run::Sample;
use pome_bench_support::{Machine, Spread};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// What one peer measured once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) part: String,
    pub(crate) peer: String,
    pub(crate) samples: Vec<Sample>,
}

impl Run {
    fn get(&self, name: &str) -> Option<&Sample> {
        self.samples.iter().find(|sample| sample.name == name)
    }

    pub(crate) fn line(&self) -> String {
        let mut line = format!("{} {} {}:", self.round, self.part, self.peer);
        for sample in &self.samples {
            // Writing to a String cannot fail.
            let _ = write!(
                line,
                " {}={}{}",
                sample.name,
                human(sample.value),
                sample.unit
            );
        }
        line
    }
}

/// All that one invocation measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    rounds: usize,
    quick: bool,
    cpu: String,
    cores: usize,
    kernel: String,
    /// Of the engines: name and version.
    versions: Vec<(String, String)>,
    runs: Vec<Run>,
}

/// What the tables begin with.
const INTRO: &str = "# The block store beside other engines

The same work on pome's block store, fjall (with key-value separation), redb, LMDB (heed) and SQLite (write-ahead log, `synchronous=full`), in turns on one
disk, each run a process of its own. Every write is on disk when it is answered. Keys are in no order; values are incompressible. `get` and `scan` look at
each value's length and last byte: LMDB and redb hand out memory of the file as it is, pome has checked the crc of all that it hands out. A run takes seconds,
in which a disk that others use too may change its mind several times: look at the short turns first, which are made for that. *Cold*: after the kernel was
told to forget the files. What an engine read when it was opened it need not read again (fjall reads its journal into memory), so opening and getting are timed together as well.

`cargo run --release -p pome-bench-engines -- --json docs/proofs/engines.json` measures; `… -- --render docs/proofs/engines.json > docs/proofs/engines.md` writes
this page.
";

/// The name of a number, what it is, and whether more is better.
type What = (&'static str, &'static str, bool);

const WORK: &[What] = &[
    (
        "single",
        "durable commits of one value, one committer",
        true,
    ),
    ("committers", "the same, 16 committers", true),
    ("committers-gain", "16 committers against one", true),
    (
        "batch",
        "durable batches (of 1,000; of 64 where values are large)",
        true,
    ),
    ("get", "random get, warm", true),
    ("cold-get", "random get, cold", true),
    ("scan", "scan of all", true),
    ("reopen", "open cold and get one", false),
    (
        "cold-whole",
        "open cold and all the cold gets, together",
        false,
    ),
    ("disk", "disk used ÷ data", false),
    ("compact", "compaction after deleting half", false),
    ("disk-half", "disk used ÷ data, after that", false),
];

/// What is done in turns.
const TURNS: &[(&str, &str)] = &[
    ("single", "each durable"),
    ("batch", "in durable batches"),
    ("get", "random get, warm"),
    ("get-read", "the same, all bytes read by the caller"),
    ("scan", "scan"),
    ("scan-read", "the same, all bytes read by the caller"),
];

const TURNS_INTRO: &str = "All engines are open in one process; each does a little, then the next, in an order that is drawn anew for each turn, so that all meet the same disk and
leave the same behind for each other. Values a second; behind a rate: pome ÷ that engine, the median over the turns and its quartiles. *Bare* is one write and fdatasync of the same
bytes, over pre-written space in whole pages for single small values, else into a growing file. LMDB and redb hand out memory that nobody has looked at; pome has computed the
crc of all that it hands out. What that costs somebody who reads what he asked for is in the rows in which all bytes are read.
";

/// What is measured against what the machine gives: part, peer, name, limit's name, what it is, the goal.
const LIMITS: &[(&str, &str, &str, &str, &str, &str)] = &[
    (
        "small",
        "pome",
        "single",
        "sync-recycled",
        "100 B, each durable ÷ bare 4 KiB write + fdatasync over pre-written space",
        "≥ 85 %",
    ),
    (
        "small",
        "core",
        "core-single",
        "sync-recycled",
        "append of 100 B to a core, each durable ÷ the same",
        "",
    ),
    (
        "big",
        "pome",
        "single",
        "single-grow",
        "64 KiB, each durable ÷ bare loop over a growing file",
        "≥ 85 %",
    ),
    (
        "big",
        "core",
        "core-single",
        "single-grow",
        "append of 64 KiB to a core, each durable ÷ the same",
        "",
    ),
    (
        "big",
        "pome",
        "batch",
        "batch-grow",
        "durable batches of 64 × 64 KiB ÷ bare loop over a growing file",
        "≥ 80 %",
    ),
    (
        "big",
        "core",
        "core-batch",
        "batch-grow",
        "append of 64 × 64 KiB to a core, durable ÷ the same, nothing hashed",
        "",
    ),
    (
        "big",
        "core",
        "core-batch",
        "batch-grow-hashed",
        "append of 64 × 64 KiB to a core, durable ÷ the same with 4-way BLAKE2b",
        "≥ 80 %",
    ),
];

pub(crate) fn median(values: Vec<f64>) -> Option<f64> {
    (!values.is_empty()).then(|| Spread::of(&values).middle)
}

/// Lower quartile, median and upper quartile.
pub(crate) fn quartiles(mut values: Vec<f64>) -> Option<[f64; 3]> {
    values.sort_by(f64::total_cmp);
    let at = |part: usize| values.get(values.len() * part / 4).copied();
    Some([at(1)?, median(values.clone())?, at(3)?])
}

pub(crate) fn human(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2} M", value / 1e6),
        v if v >= 1e5 => format!("{:.0} k", value / 1e3),
        v if v >= 1e4 => format!("{:.1} k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

impl Measured {
    pub(crate) fn new(runs: Vec<Run>, rounds: usize, quick: bool) -> Self {
        let Machine { cpu, cores, kernel } = Machine::read();
        Self {
            rounds,
            quick,
            cpu,
            cores,
            kernel,
            versions: crate::engine::versions(),
            runs,
        }
    }

    fn value(&self, round: usize, part: &str, peer: &str, name: &str) -> Option<&Sample> {
        self.runs
            .iter()
            .find(|run| run.round == round && run.part == part && run.peer == peer)?
            .get(name)
    }

    pub(crate) fn median(&self, part: &str, peer: &str, name: &str) -> Option<Sample> {
        let all: Vec<_> = (0..self.rounds.max(1))
            .filter_map(|round| self.value(round, part, peer, name))
            .collect();
        Some(Sample {
            value: median(all.iter().map(|sample| sample.value).collect())?,
            ..(*all.first()?).clone()
        })
    }

    /// Lowest, median and highest of the ratios of each round.
    pub(crate) fn ratio(&self, ours: [&str; 3], theirs: [&str; 3]) -> Option<(f64, f64, f64)> {
        let ratios: Vec<_> = (0..self.rounds.max(1))
            .filter_map(|round| {
                let ours = self.value(round, ours[0], ours[1], ours[2])?.value;
                Some(ours / self.value(round, theirs[0], theirs[1], theirs[2])?.value)
            })
            .collect();
        let low = ratios.iter().copied().reduce(f64::min)?;
        let high = ratios.iter().copied().reduce(f64::max)?;
        Some((low, median(ratios)?, high))
    }

    /// The tables, in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let versions: Vec<_> = self
            .versions
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let mut out = format!("{INTRO}\n");
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} cores of {}, Linux {}; medians of {} rounds, in turns{}; a ratio is the median of the rounds' ratios, with its range. {}.\n",
            self.cores,
            self.cpu,
            self.kernel,
            self.rounds,
            if self.quick {
                ", a tenth of the work"
            } else {
                ""
            },
            versions.join(", "),
        );
        let goals = crate::goals::table(self);
        if !goals.is_empty() {
            let _ = writeln!(out, "## Goals\n\n{goals}");
        }
        for (part, title) in [
            ("small", "32 B keys, 100 B values"),
            ("big", "32 B keys, 64 KiB values"),
        ] {
            if self.runs.iter().any(|run| run.part == part) {
                let _ = writeln!(out, "## {title}\n\n{}", self.engines(part));
            }
        }
        let turns = self.turns();
        if !turns.is_empty() {
            let _ = writeln!(out, "## In short turns\n\n{turns}");
        }
        let limits = self.limits();
        if !limits.is_empty() {
            let _ = writeln!(out, "## Against the bare disk\n\n{limits}");
        }
        let cores = self.cores_table();
        if !cores.is_empty() {
            let _ = writeln!(out, "## Cores\n\n{cores}");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
        out
    }

    fn engines(&self, part: &str) -> String {
        let peers: Vec<_> = crate::engine::ALL
            .iter()
            .filter(|peer| {
                self.runs
                    .iter()
                    .any(|run| run.part == part && run.peer == **peer)
            })
            .collect();
        let mut out = String::from("| |");
        for peer in &peers {
            let _ = write!(out, " {peer} |");
        }
        let _ = write!(out, " pome ÷ the best other |\n| --- |");
        for _ in &peers {
            let _ = write!(out, " --- |");
        }
        let _ = writeln!(out, " --- |");
        for (name, what, more) in WORK {
            let _ = write!(out, "| {what} |");
            for peer in &peers {
                let text = self
                    .median(part, peer, name)
                    .map_or("–".into(), |s| format!("{} {}", human(s.value), s.unit));
                let _ = write!(out, " {text} |");
            }
            let best = peers
                .iter()
                .filter(|peer| **peer != &"pome")
                .filter_map(|peer| Some((peer, self.median(part, peer, name)?.value)))
                .reduce(|a, b| if (b.1 > a.1) == *more { b } else { a });
            let ratio = best.and_then(|(peer, _)| {
                Some((peer, self.ratio([part, "pome", name], [part, peer, name])?))
            });
            match ratio {
                Some((peer, (low, middle, high))) => {
                    let _ = writeln!(out, " **{middle:.2}×** ({low:.2}–{high:.2}) {peer} |");
                }
                None => {
                    let _ = writeln!(out, " – |");
                }
            }
        }
        out
    }

    fn turns(&self) -> String {
        let peers = ["pome", "bare", "fjall", "redb", "lmdb", "sqlite"];
        let mut rows = String::new();
        for (size, title) in [("small", "100 B"), ("big", "64 KiB")] {
            for (name, what) in TURNS {
                let value = |kind: &str| self.value(0, "turns", size, &format!("{name} {kind}"));
                if value("pome").is_none() {
                    continue;
                }
                let _ = write!(rows, "| {title}, {what} |");
                for peer in peers {
                    let Some(rate) = value(peer) else {
                        rows.push_str(" – |");
                        continue;
                    };
                    let _ = write!(rows, " {} /s", human(rate.value));
                    if peer != "pome"
                        && let Some(ratio) = value(&format!("pome÷{peer}"))
                    {
                        let _ = write!(rows, ", **{:.2}×**", ratio.value);
                    }
                    if peer != "pome"
                        && let Some(low) = value(&format!("pome÷{peer} low"))
                        && let Some(high) = value(&format!("pome÷{peer} high"))
                    {
                        let _ = write!(rows, " ({:.2}–{:.2})", low.value, high.value);
                    }
                    rows.push_str(" |");
                }
                rows.push('\n');
            }
        }
        if rows.is_empty() {
            return rows;
        }
        format!(
            "{TURNS_INTRO}\n| values | pome | bare | fjall | redb | lmdb | sqlite |\n| --- | --- | --- | --- | --- | --- | --- |\n{rows}"
        )
    }

    fn limits(&self) -> String {
        let mut rows = String::new();
        for (part, peer, name, limit, what, goal) in LIMITS {
            let (Some(ours), Some(bare), Some((low, middle, high))) = (
                self.median(part, peer, name),
                self.median(part, "limit", limit),
                self.ratio([part, peer, name], [part, "limit", limit]),
            ) else {
                continue;
            };
            let _ = writeln!(
                rows,
                "| {what} | {} {} | {} {} | **{:.0} %** ({:.0}–{:.0}) | {goal} |",
                human(ours.value),
                ours.unit,
                human(bare.value),
                bare.unit,
                middle * 100.0,
                low * 100.0,
                high * 100.0,
            );
        }
        for (part, name, what) in [
            (
                "small",
                "sync-grow",
                "4 KiB write + fdatasync over a growing file",
            ),
            (
                "big",
                "single-written",
                "64 KiB write + fdatasync over pre-written space",
            ),
            ("big", "blake2b-1", "BLAKE2b, one block at a time"),
            ("big", "blake2b-4", "BLAKE2b, four blocks at a time"),
        ] {
            if let Some(bare) = self.median(part, "limit", name) {
                let _ = writeln!(
                    rows,
                    "| {what} | | {} {} | | |",
                    human(bare.value),
                    bare.unit
                );
            }
        }
        match rows.is_empty() {
            true => rows,
            false => {
                format!("| | ours | bare | ratio | goal |\n| --- | --- | --- | --- | --- |\n{rows}")
            }
        }
    }

    fn cores_table(&self) -> String {
        let mut rows = String::new();
        for (peer, name, what, goal) in [
            (
                "make-many",
                "make",
                "cores made, each with one block, and closed",
                "",
            ),
            (
                "open-many",
                "open",
                "cold open of the store with all these cores",
                "",
            ),
            ("open-many", "open-memory", "memory of that", ""),
            ("open-many", "open-close", "cores opened and closed", ""),
            ("open-many", "closed-core", "memory of a closed core", "0"),
            (
                "open-many",
                "hold",
                "cores opened and held (a tenth of them)",
                "",
            ),
            (
                "open-many",
                "open-core",
                "memory of an open idle core",
                "≤ 2 KiB",
            ),
            (
                "make-long",
                "make",
                "blocks of 8 B appended to one core, in batches of 10,000",
                "",
            ),
            ("make-long", "disk", "disk used for a block", ""),
            (
                "open-long",
                "open",
                "cold open of the store and its core",
                "",
            ),
            ("open-long", "open-memory", "memory of that", ""),
            ("open-long", "first-get", "the first get", ""),
        ] {
            if let Some(s) = self.median("cores", peer, name) {
                let _ = writeln!(rows, "| {what} | {} {} | {goal} |", human(s.value), s.unit);
            }
        }
        match rows.is_empty() {
            true => rows,
            false => {
                let (many, long) = match self.quick {
                    true => ("10,000", "1M"),
                    false => ("100,000", "10M"),
                };
                format!(
                    "A store of {many} cores, and one with a core of {long} blocks; each step is a process of its own.\n\n| | | goal |\n| --- | --- | --- |\n{rows}"
                )
            }
        }
    }
}
