//! The numbers, and the page that is made of them.

use crate::MAKES;
use pome_bench_support::Spread;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// One number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) part: String,
    pub(crate) make: String,
    pub(crate) value: f64,
}

/// All of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) machine: String,
    pub(crate) versions: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
    #[serde(default)]
    pub(crate) note: Option<String>,
    pub(crate) runs: Vec<Run>,
}

const INTRO: &str = "\
# The runtime beside Bare and node

The same programs (`benches/runtime/programs`) in `pome run`, where the stack is native, and in Bare and node with npm's modules; in turns on one machine, in a
network namespace with nothing but loopback. Both answer an append or a put when the kernel has the bytes; pome syncs them within 200 ms, npm never does.

`cargo run --release -p pome-bench-runtime -- --json docs/proofs/runtime.json` measures; `… -- --render docs/proofs/runtime.json > docs/proofs/runtime.md`
writes this page.
";

struct Table {
    heading: &'static str,
    /// Name and title of each row, and its unit.
    parts: &'static [(&'static str, &'static str, &'static str)],
    note: &'static str,
}

const TABLES: &[Table] = &[
    Table {
        heading: "A program starts",
        parts: &[
            ("start", "says hello and ends", "ms"),
            ("memory", "resident memory once it has started", "MiB"),
        ],
        note: "Less is better; × is against Bare. Goals: at most 0.2× of its time, 0.3× of its memory.",
    },
    Table {
        heading: "A store",
        parts: &[
            ("append", "appends of 100 B, one after the other", "/s"),
            ("append-batch", "blocks of 100 B in batches of 1,000", "/s"),
            ("core-get", "gets of a core", "/s"),
            ("bee-put", "puts of a bee, one after the other", "/s"),
            ("bee-batch", "puts of a bee in one batch", "/s"),
            ("bee-get", "gets of a bee", "/s"),
            ("bee-scan", "entries of a read stream", "/s"),
        ],
        note: "More is better; × is against Bare. Goal: at least 2×.",
    },
    Table {
        heading: "A writer and a reader",
        parts: &[(
            "replicate",
            "blocks of 100 B from one process to the other",
            "/s",
        )],
        note: "Through a connection by key, read block by block from a stream, from the call of `connect` on. More is better; × is against Bare. Goal: at least 2×.",
    },
];

fn human(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0} "),
        v => format!("{v:.1} "),
    }
}

impl Measured {
    fn values(&self, part: &str, make: &str) -> Vec<f64> {
        let runs = self.runs.iter();
        runs.filter(|run| run.part == part && run.make == make)
            .map(|run| run.value)
            .collect()
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
            "{}; {}; medians of {} rounds{work}; a ratio is the median of the rounds' ratios, with its range.",
            self.machine,
            self.versions.join(", "),
            self.rounds,
        );
        if let Some(note) = &self.note {
            let _ = writeln!(out, "\n{note}");
        }
        for table in TABLES {
            self.table(table, &mut out);
        }
        out
    }

    fn table(&self, table: &Table, out: &mut String) {
        let measured = |part: &str| self.runs.iter().any(|run| run.part == part);
        if !table.parts.iter().any(|(part, ..)| measured(part)) {
            return;
        }
        let _ = writeln!(out, "\n## {}\n\n| | {} |", table.heading, MAKES.join(" | "));
        let _ = writeln!(out, "| --- |{}", " --- |".repeat(MAKES.len()));
        for (part, title, unit) in table.parts {
            let _ = write!(out, "| {title} |");
            let base = self.values(part, "bare");
            for make in MAKES {
                let values = self.values(part, make);
                if values.is_empty() {
                    let _ = write!(out, " – |");
                    continue;
                }
                let _ = write!(out, " {}{unit}", human(Spread::of(&values).middle));
                if *make != "bare" && base.len() == values.len() {
                    let Spread { middle, low, high } = Spread::of_ratios(&values, &base);
                    let _ = write!(out, ", **{middle:.2}×** ({low:.2}–{high:.2})");
                }
                let _ = write!(out, " |");
            }
            out.push('\n');
        }
        let _ = writeln!(out, "\n{}", table.note);
    }
}
