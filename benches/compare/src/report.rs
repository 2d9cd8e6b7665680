//! Medians, spread, ratios, and the table that people read.

use crate::workload::Workload;
use pome_bench_support::Machine;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// What one peer measured once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) version: String,
}

impl Run {
    fn rate(&self) -> f64 {
        self.items as f64 / self.seconds
    }
}

/// One workload, all its runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) what: String,
    pub(crate) count: u64,
    pub(crate) pome: Vec<Run>,
    pub(crate) npm: Vec<Run>,
}

/// All that one invocation measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) rounds: usize,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rows: Vec<Row>,
}

/// Lowest, median, highest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
    let last = values.len().saturating_sub(1);
    let median = if values.len() % 2 == 1 {
        at(last / 2)
    } else {
        (at(last / 2) + at(last / 2 + 1)) / 2.0
    };
    (at(0), median, at(last))
}

fn rates(runs: &[Run]) -> (f64, f64, f64) {
    spread(runs.iter().map(Run::rate).collect())
}

impl Row {
    pub(crate) fn new(workload: &Workload, count: u64) -> Self {
        Self {
            workload: workload.name.into(),
            what: workload.what.into(),
            count,
            pome: vec![],
            npm: vec![],
        }
    }

    /// The ratio of the medians, and the lowest and highest ratio of a pair that ran one after the other.
    fn ratio(&self) -> (f64, f64, f64) {
        let (low, _, high) = spread(
            self.pome
                .iter()
                .zip(&self.npm)
                .map(|(p, n)| p.rate() / n.rate())
                .collect(),
        );
        (low, rates(&self.pome).1 / rates(&self.npm).1, high)
    }

    pub(crate) fn line(&self) -> String {
        let (low, ratio, high) = self.ratio();
        format!("{}: {ratio:.1}x ({low:.1}..{high:.1})", self.workload)
    }
}

fn human(rate: f64) -> String {
    match rate {
        r if r >= 1e6 => format!("{:.2} M/s", r / 1e6),
        r if r >= 1e4 => format!("{:.0} k/s", r / 1e3),
        r if r >= 1e3 => format!("{:.1} k/s", r / 1e3),
        r => format!("{r:.0} /s"),
    }
}

fn throughput(runs: &[Run]) -> String {
    let (_, median, _) = spread(
        runs.iter()
            .map(|r| r.bytes as f64 / r.seconds / (1 << 20) as f64)
            .collect(),
    );
    format!("{median:.0} MiB/s")
}

impl Measured {
    pub(crate) fn new(rows: Vec<Row>, rounds: usize) -> Self {
        let Machine { cpu, cores, kernel } = Machine::read();
        Self {
            rounds,
            cpu,
            cores,
            kernel,
            rows,
        }
    }

    /// A Markdown table with a line about the machine.
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{} cores of {}, Linux {}; medians of {} runs each, in turns; the ratio's range is that of pairs run one after the other.\n",
            self.cores, self.cpu, self.kernel, self.rounds
        );
        let _ = writeln!(
            out,
            "| workload | pome | | npm | | ratio | range | against |"
        );
        let _ = writeln!(out, "| --- | --- | --- | --- | --- | --- | --- | --- |");
        for row in &self.rows {
            let (low, ratio, high) = row.ratio();
            let version = row.npm.first().map_or("", |run| run.version.as_str());
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | **{ratio:.1}×** | {low:.1}–{high:.1} | {version} |",
                row.what,
                human(rates(&row.pome).1),
                throughput(&row.pome),
                human(rates(&row.npm).1),
                throughput(&row.npm),
            );
        }
        out
    }
}
