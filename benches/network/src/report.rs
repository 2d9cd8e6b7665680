//! What was measured, as numbers and as a page.

use pome_bench_support::Spread;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write};

/// In their order within a round.
pub(crate) const PEERS: &[&str] = &["pome", "npm"];
/// Who writes and who reads.
pub(crate) const PAIRS: &[[&str; 2]] = &[
    ["pome", "pome"],
    ["pome", "npm"],
    ["npm", "pome"],
    ["npm", "npm"],
];
pub(crate) const PATTERNS: &[&str] = &["IK", "XX"];

/// Of each peer, round by round.
type Rounds<T> = BTreeMap<String, Vec<T>>;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) machine: String,
    pub(crate) versions: String,
    pub(crate) rounds: usize,
    /// Connections that were held.
    pub(crate) held: usize,
    /// By the way: milliseconds of each connection of a round.
    pub(crate) connect: BTreeMap<String, Rounds<Vec<f64>>>,
    /// By the pattern: handshakes a second.
    pub(crate) handshakes: BTreeMap<String, Rounds<f64>>,
    pub(crate) memory: Rounds<Held>,
    /// By the kind of blocks, of each pair: blocks a second.
    #[serde(default)]
    pub(crate) download: BTreeMap<String, Rounds<f64>>,
}

/// Bytes of each idle connection at either end.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) server: f64,
    pub(crate) client: f64,
}

/// The make of the network, and whether client and server are behind a firewall.
pub(crate) fn ways() -> impl Iterator<Item = (&'static str, bool)> {
    [
        ("npm", false),
        ("npm", true),
        ("pome", false),
        ("pome", true),
    ]
    .into_iter()
}

/// What a writer and a reader are called.
pub(crate) fn pair([writer, reader]: [&str; 2]) -> String {
    format!("{writer} → {reader}")
}

/// What such a way is called.
pub(crate) fn way(network: &str, firewalled: bool) -> String {
    let how = if firewalled { "firewalled" } else { "open" };
    format!("{how}, on nodes of {network}")
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
            "# Connections\n\n\
             pome beside npm's hyperdht, each peer a process of its own, in turns, in a network namespace with nothing but loopback.\n\n\
             `cargo run --release -p pome-bench-network -- --json docs/proofs/network.json` measures;\n\
             `… -- --render docs/proofs/network.json > docs/proofs/network.md` writes this page.\n\n\
             {}; medians of {} rounds, with their range; a ratio is the median of the rounds' ratios. {}.",
            self.machine, self.rounds, self.versions
        )?;
        self.write_connect(out)?;
        self.write_download(out)?;
        self.write_handshakes(out)?;
        self.write_memory(out)
    }

    fn write_connect(&self, out: &mut String) -> std::fmt::Result {
        if self.connect.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Connecting by key\n\n\
             Client and server of one make, on a network of 20 lasting nodes that are another process. From `connect` to the moment at which a channel is open on both\n\
             sides; the client has not met the key before. *Open*: both know that they can be reached. *Firewalled*: both take themselves to be behind a firewall, and open the\n\
             way from both sides; on loopback the first packet gets through. Addresses of a common network are not told. Goal: at most half of npm's median.\n\n\
             | | pome, ms | npm, ms | pome ÷ npm |\n| --- | --- | --- | --- |"
        )?;
        for (way, rounds) in &self.connect {
            let middles = |name: &str| -> Vec<f64> {
                let rounds = rounds.get(name).map_or(&[][..], Vec::as_slice);
                rounds.iter().map(|ms| Spread::of(ms).middle).collect()
            };
            let (pome, npm) = (middles("pome"), middles("npm"));
            let ratio = Spread::of_ratios(&pome, &npm);
            writeln!(
                out,
                "| {way} | {} | {} | {} |",
                spread(&pome, 1),
                spread(&npm, 1),
                bold(ratio)
            )?;
        }
        Ok(())
    }

    fn write_download(&self, out: &mut String) -> std::fmt::Result {
        if self.download.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = PAIRS.iter().map(|names| pair(*names)).collect();
        writeln!(
            out,
            "\n## Downloads over such connections\n\n\
             Blocks a second of a core that the reader does not know yet, each side with a store of its own on disk, both open, on 20 lasting nodes of pome: from `connect`\n\
             until every block is checked and stored. × is against npm → npm.\n\n\
             | | {} |\n| --- {}|",
            names.join(" | "),
            "| --- ".repeat(names.len())
        )?;
        for (blocks, rounds) in &self.download {
            let of = |name: &String| rounds.get(name).map_or(&[][..], Vec::as_slice);
            let npm = names.last().map_or(&[][..], of);
            write!(out, "| {blocks} |")?;
            for name in &names {
                let ratio = Spread::of_ratios(of(name), npm);
                write!(out, " {}, {} |", spread(of(name), 0), bold(ratio))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_handshakes(&self, out: &mut String) -> std::fmt::Result {
        if self.handshakes.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Handshakes\n\n\
             Both sides of a Noise handshake on one core, with nothing in between, a second. IK is what HyperDHT does, XX what a secret stream does on its own. Goal: twice\n\
             npm's.\n\n\
             | | pome | npm | pome ÷ npm |\n| --- | --- | --- | --- |"
        )?;
        for (pattern, rates) in &self.handshakes {
            let of = |name: &str| rates.get(name).map_or(&[][..], Vec::as_slice);
            let ratio = Spread::of_ratios(of("pome"), of("npm"));
            writeln!(
                out,
                "| {pattern} | {} | {} | {} |",
                spread(of("pome"), 0),
                spread(of("npm"), 0),
                bold(ratio)
            )?;
        }
        Ok(())
    }

    fn write_memory(&self, out: &mut String) -> std::fmt::Result {
        if self.memory.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "\n## Idle connections\n\n\
             KiB of memory that each open connection with one open channel takes, at either end: what {} of them add to a process that has {}, after garbage was\n\
             collected.\n\n\
             | | pome | npm | pome ÷ npm |\n| --- | --- | --- | --- |",
            self.held,
            crate::WARM
        )?;
        for (name, side) in [
            ("server", (|held| held.server) as fn(&Held) -> f64),
            ("client", |held| held.client),
        ] {
            let of = |peer: &str| -> Vec<f64> {
                let rounds = self.memory.get(peer).map_or(&[][..], Vec::as_slice);
                rounds.iter().map(|held| side(held) / 1024.0).collect()
            };
            let (pome, npm) = (of("pome"), of("npm"));
            let ratio = Spread::of_ratios(&pome, &npm);
            writeln!(
                out,
                "| {name} | {} | {} | {} |",
                spread(&pome, 1),
                spread(&npm, 1),
                bold(ratio)
            )?;
        }
        Ok(())
    }
}

fn spread(values: &[f64], digits: usize) -> String {
    let Spread { middle, low, high } = Spread::of(values);
    format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})")
}

fn bold(ratio: Spread) -> String {
    let Spread { middle, low, high } = ratio;
    format!("**{middle:.2}×** ({low:.2}–{high:.2})")
}
