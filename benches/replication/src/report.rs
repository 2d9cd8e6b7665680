//! Medians, ratios of one round, and the tables that people read.

use std::fmt::Write;

use pome_bench_support::Machine;
use serde::{Deserialize, Serialize};

/// What one pairing measured once: blocks per second, microseconds, or MB/s.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) part: String,
    pub(crate) pair: String,
    pub(crate) value: f64,
}

/// All that one invocation measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    rounds: usize,
    quick: bool,
    cpu: String,
    cores: usize,
    kernel: String,
    versions: Vec<String>,
    runs: Vec<Run>,
}

const INTRO: &str = "# Replication beside npm's

The same work on pome and on the npm modules, in every pairing, in turns on one machine. Over TCP each side is a process of its own with a store of its own on
disk, and the secret stream between them; the time runs from dialling until every block is checked and stored. Over a pipe both sides are in one process, with
the secret stream too. Latency is from the call of an append of 100 B to the return of the other side's waiting `get`, by one clock: pome's append is on disk
before anybody hears of it, npm's never is. Blocks are random bytes. The machine did nothing else.

`cargo run --release -p pome-bench-replication -- --json docs/proofs/replication.json` measures; `… -- --render docs/proofs/replication.json >
docs/proofs/replication.md` writes this page.
";

/// A table: its heading, its parts (name, title, unit, factor), whether more is better, and the goal.
struct Table {
    heading: &'static str,
    parts: &'static [(&'static str, &'static str, &'static str, f64)],
    pairs: &'static [&'static str],
    /// What the others are compared with.
    base: &'static str,
    more: bool,
    goal: &'static str,
}

const PAIRS: &[&str] = &["pome → pome", "pome → npm", "npm → pome", "npm → npm"];
const BIG: f64 = 65_536.0 / 1e6;

const TABLES: &[Table] = &[
    Table {
        heading: "Download over TCP",
        parts: &[
            ("small", "blocks of 100 B", "blocks/s", 1.0),
            ("big", "blocks of 64 KiB", "MB/s", BIG),
        ],
        pairs: PAIRS,
        base: "npm → npm",
        more: true,
        goal: "Goals: pome → pome at least 20× for blocks of 100 B and 6× for blocks of 64 KiB; a mixed pair never below 1×.",
    },
    Table {
        heading: "Beside what the machine can do",
        parts: &[("big", "blocks of 64 KiB", "MB/s", BIG)],
        pairs: &["machine", "pome → pome"],
        base: "machine",
        more: true,
        goal: "`machine`: two threads of one process, without a socket, a tree or a store. One seals the blocks, the other opens them, hashes them and \
               writes them to a file that a third syncs every 200 ms; that is the least that a download has to do. pome's is over TCP. Goal: at least 0.6×.",
    },
    Table {
        heading: "Download in one process, over a pipe",
        parts: &[
            ("pipe-small", "blocks of 100 B", "blocks/s", 1.0),
            ("pipe-big", "blocks of 64 KiB", "MB/s", BIG),
        ],
        pairs: &["pome", "npm"],
        base: "npm",
        more: true,
        goal: "",
    },
    Table {
        heading: "From an append to the other side's get",
        parts: &[
            ("latency", "median", "µs", 1.0),
            ("latency-99", "99 of 100 below", "µs", 1.0),
        ],
        pairs: PAIRS,
        base: "npm → npm",
        more: false,
        goal: "Goal: the median of pome → pome at most npm's, although it is durable.",
    },
    Table {
        heading: "The secret stream in memory, sender and receiver in one thread",
        parts: &[
            ("stream-100", "messages of 100 B", "MB/s", 1.0),
            ("stream-1024", "messages of 1 KiB", "MB/s", 1.0),
            ("stream-65536", "messages of 64 KiB", "MB/s", 1.0),
            ("stream-1048576", "messages of 1 MiB", "MB/s", 1.0),
        ],
        pairs: &["pome", "npm"],
        base: "npm",
        more: true,
        goal: "Goal: at least 1.6×.",
    },
];

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let high = values.get(middle).copied()?;
    match values.len() % 2 {
        0 => Some((values.get(middle - 1)? + high) / 2.0),
        _ => Some(high),
    }
}

fn human(value: f64) -> String {
    match value {
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v => format!("{v:.1}"),
    }
}

impl Measured {
    pub(crate) fn new(runs: Vec<Run>, rounds: usize, quick: bool, versions: Vec<String>) -> Self {
        let Machine { cpu, cores, kernel } = Machine::read();
        Self {
            rounds,
            quick,
            cpu,
            cores,
            kernel,
            versions,
            runs,
        }
    }

    fn value(&self, round: usize, part: &str, pair: &str) -> Option<f64> {
        let run = self
            .runs
            .iter()
            .find(|run| run.round == round && run.part == part && run.pair == pair)?;
        Some(run.value)
    }

    /// Lowest, median and highest of the ratios of each round.
    fn ratio(&self, part: &str, pair: &str, base: &str) -> Option<(f64, f64, f64)> {
        let ratios: Vec<f64> = (0..self.rounds)
            .filter_map(|round| {
                Some(self.value(round, part, pair)? / self.value(round, part, base)?)
            })
            .collect();
        let low = ratios.iter().copied().reduce(f64::min)?;
        let high = ratios.iter().copied().reduce(f64::max)?;
        Some((low, median(ratios)?, high))
    }

    pub(crate) fn markdown(&self) -> String {
        let mut out = format!("{INTRO}\n");
        let work = if self.quick {
            ", a fifth of the work"
        } else {
            ""
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} cores of {}, Linux {}; {}; medians of {} rounds{work}; a ratio is the median of the rounds' ratios, with its range.",
            self.cores,
            self.cpu,
            self.kernel,
            self.versions.join(", "),
            self.rounds,
        );
        for table in TABLES {
            self.table(table, &mut out);
        }
        out
    }

    fn table(&self, table: &Table, out: &mut String) {
        let measured = |pair: &&&str| {
            let mut all = self.runs.iter();
            all.any(|run| run.pair == **pair && table.parts.iter().any(|part| part.0 == run.part))
        };
        let pairs: Vec<_> = table.pairs.iter().filter(measured).collect();
        if pairs.is_empty() {
            return;
        }
        let names: Vec<String> = pairs.iter().map(|pair| pair.to_string()).collect();
        let _ = writeln!(out, "\n## {}\n\n| | {} |", table.heading, names.join(" | "));
        let _ = writeln!(out, "| --- |{}", " --- |".repeat(pairs.len()));
        for (part, title, unit, factor) in table.parts {
            let _ = write!(out, "| {title} |");
            for pair in &pairs {
                let all = (0..self.rounds).filter_map(|round| self.value(round, part, pair));
                let Some(value) = median(all.collect()) else {
                    let _ = write!(out, " – |");
                    continue;
                };
                let _ = write!(out, " {} {unit}", human(value * factor));
                if **pair != table.base
                    && let Some((low, middle, high)) = self.ratio(part, pair, table.base)
                {
                    let _ = write!(out, ", **{middle:.2}×** ({low:.2}–{high:.2})");
                }
                let _ = write!(out, " |");
            }
            out.push('\n');
        }
        let better = if table.more { "More" } else { "Less" };
        let _ = writeln!(
            out,
            "\n{better} is better; × is against {}. {}",
            table.base, table.goal
        );
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
}
