//! What was measured, as numbers and as a page.

use pome_bench_support::Spread;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write};

/// Bytes a second, of each peer, round by round.
pub(crate) type Rates = BTreeMap<String, Vec<f64>>;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) machine: String,
    pub(crate) versions: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) loopback: Rates,
    pub(crate) paths: Vec<OnPath>,
}

/// A path, and what got through it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OnPath {
    pub(crate) delay_ms: u64,
    pub(crate) loss: f64,
    pub(crate) rates: Rates,
}

/// Of one peer to another, in each round.
fn ratio(rates: &Rates, of: &str, to: &str) -> Spread {
    let rounds = |name| rates.get(name).map_or(&[][..], Vec::as_slice);
    Spread::of_ratios(rounds(of), rounds(to))
}

impl Measured {
    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "# Streams over UDP\n\n\
             pome's UDX beside npm's udx-native and the kernel's TCP, each end a process of its own, in turns on one machine. What is measured is what the\n\
             reader has read, in order, after {} s. *Sealed* is a secret stream on top, with messages of 64 KiB: Noise and XChaCha20-Poly1305, of pome over\n\
             UDX and over TCP, of npm over UDX.\n\n\
             `cargo run --release -p pome-bench-udx -- --json docs/proofs/udx.json` measures; `… -- --render docs/proofs/udx.json > docs/proofs/udx.md` writes this\n\
             page.\n\n\
             {}; medians of {} rounds; a ratio is the median of the rounds' ratios, with its range. {}.\n",
            self.seconds, self.machine, self.rounds, self.versions
        )?;
        writeln!(out, "## On loopback\n\n| | MB/s |\n| --- | --- |")?;
        for (name, rates) in &self.loopback {
            let Spread { middle, low, high } = Spread::of(rates);
            writeln!(
                out,
                "| {name} | {:.0} ({:.0}–{:.0}) |",
                middle / 1e6,
                low / 1e6,
                high / 1e6
            )?;
        }
        writeln!(out, "\n| | ratio | goal |\n| --- | --- | --- |")?;
        for (of, to, goal) in [
            ("pome", "npm", "≥ 3×"),
            ("pome sealed", "npm sealed", "≥ 3×"),
            ("pome", "tcp", ""),
            ("pome sealed", "tcp sealed", "≥ 0.5×"),
            ("pome sealed", "tcp", ""),
        ] {
            let Spread { middle, low, high } = ratio(&self.loopback, of, to);
            if middle.is_finite() {
                writeln!(
                    out,
                    "| {of} ÷ {to} | **{middle:.2}×** ({low:.2}–{high:.2}) | {goal} |"
                )?;
            }
        }
        if self.paths.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## On paths that delay and lose\n\n\
             Both ends speak through a process that is a path of 100 Mbit/s with a queue of 300 kB, and that delays and loses packets of both directions: the\n\
             same for both. The part of the path's rate that the reader got, the start of the stream included. Goal: never under 0.9× npm.\n\n\
             | round trip | loss | pome | npm | pome ÷ npm |\n| --- | --- | --- | --- | --- |"
        )?;
        for path in &self.paths {
            let used = |name: &str| {
                let rates = path.rates.get(name).map_or(&[][..], Vec::as_slice);
                let Spread { middle, low, high } = Spread::of(rates);
                let part = |rate: f64| rate / crate::path::RATE * 100.0;
                format!("{:.0} % ({:.0}–{:.0})", part(middle), part(low), part(high))
            };
            let Spread { middle, low, high } = ratio(&path.rates, "pome", "npm");
            writeln!(
                out,
                "| {} ms | {:.1} % | {} | {} | **{middle:.2}×** ({low:.2}–{high:.2}) |",
                path.delay_ms,
                path.loss * 100.0,
                used("pome"),
                used("npm"),
            )?;
        }
        Ok(())
    }
}
