//! What was measured, as numbers and as a page.

use crate::{
    places::PLACES,
    remote::{DOWNLOAD, MOUNT, REMOTE},
    work::{TIMES, TRANSACTIONS, WORK},
};
use pome_bench_support::{Spread, ratio_text};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) machine: String,
    pub(crate) versions: String,
    pub(crate) rounds: usize,
    /// Size of the large file.
    pub(crate) mib: usize,
    /// By the work, of each place, round by round; nothing where the work failed.
    pub(crate) numbers: BTreeMap<String, BTreeMap<String, Vec<Option<f64>>>>,
}

/// Work, the place beside which it is looked at, and how many times as fast a mount should at least be.
const GOALS: &[(&str, &str, f64)] = &[
    ("write + fsync, MiB/s", "gocryptfs", 1.0),
    ("read warm, MiB/s", "memory", 0.85),
    ("read warm, MiB/s", "bindfs", 3.0),
    ("create, files/s", "memory", 0.6),
    ("create, files/s", "bindfs", 1.0),
    ("create, files/s", "gocryptfs", 1.0),
    ("untar, s", "memory", 0.6),
    ("untar, s", "bindfs", 1.0),
    ("untar, s", "gocryptfs", 1.0),
    ("find, s", "memory", 0.6),
    ("find, s", "bindfs", 1.0),
    ("find, s", "gocryptfs", 1.0),
    ("cp -r, s", "memory", 0.6),
    ("cp -r, s", "bindfs", 1.0),
    ("cp -r, s", "gocryptfs", 1.0),
    ("sqlite, one transaction, s", "disk", 1.0 / 1.5),
    ("sqlite, WAL, s", "disk", 1.0 / 1.5),
];

/// How many times as fast an encrypted store should at least be as a plain one, in each of these.
const SEALED: f64 = 0.75;
const SEALED_WORK: &[&str] = &[
    "write + fsync, MiB/s",
    "read cold, MiB/s",
    "read warm, MiB/s",
    "4 KiB reads, 1 thread, /s",
    "4 KiB reads, 4 threads, /s",
];

/// How many times as fast a file of a drive that is elsewhere should at least be read through a mount as it is downloaded.
const REMOTE_GOAL: f64 = 0.7;

impl Measured {
    pub(crate) fn add(&mut self, work: &str, place: &str, number: Option<f64>) {
        let places = self.numbers.entry(work.into()).or_default();
        places.entry(place.into()).or_default().push(number);
    }

    fn of(&self, work: &str, place: &str) -> &[Option<f64>] {
        let places = self.numbers.get(work);
        places
            .and_then(|places| places.get(place))
            .map_or(&[], Vec::as_slice)
    }

    /// The middle one of the rounds in which a place did the work.
    fn middle(&self, work: &str, place: &str) -> f64 {
        let numbers: Vec<f64> = self.of(work, place).iter().copied().flatten().collect();
        Spread::of(&numbers).middle
    }

    /// How many times as fast one place is as another, round by round.
    fn times(&self, work: &str, more_is_better: bool, place: &str, other: &str) -> Spread {
        let rounds = self.of(work, place).iter().zip(self.of(work, other));
        let (place, other): (Vec<f64>, Vec<f64>) = rounds
            .filter_map(|(place, other)| (*place).zip(*other))
            .unzip();
        match more_is_better {
            true => Spread::of_ratios(&place, &other),
            false => Spread::of_ratios(&other, &place),
        }
    }

    /// What was tried and not done, of all rounds.
    fn failed(&self) -> impl Iterator<Item = (&str, &str)> {
        WORK.iter().flat_map(|(work, _)| {
            let failed = |place: &&&str| self.of(work, place).contains(&None);
            PLACES.iter().filter(failed).map(|place| (*work, *place))
        })
    }

    pub(crate) fn markdown(&self) -> String {
        let mut out = String::new();
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "# A mounted drive\n\n\
             The same work in each place, one after the other, in rounds; a folder of its own for each of its parts. *disk* is a folder on ext4; *memory* a filesystem in memory, through\n\
             the crate that the mount is made with, with all that it offers: what a mount can be at most. bindfs, gocryptfs and rclone (`mount\n\
             --vfs-cache-mode full`) show a folder on the same disk. *pome, sealed*: in an encrypted store.\n\n\
             `cargo run --release -p pome-bench-mount -- --json docs/proofs/mount-speed.json` measures (as root);\n\
             `… -- --render docs/proofs/mount-speed.json > docs/proofs/mount-speed.md` writes this page.\n\n\
             {}; {}. Medians of {} rounds; a ratio is the median of the rounds' ratios, with their range.\n",
            self.machine, self.versions, self.rounds
        )?;
        writeln!(
            out,
            "The large file has {} MiB. *Cold*: what the kernel had of the file is dropped, in the mount and below it. `find` comes after all names were dropped.\n\
             What is over soon is done several times in each round, and the middle one counts: the warm read and `find` {TIMES} times, the one transaction {TRANSACTIONS}. *Settled*: what comes after the work, until\n\
             all is on the disk, and a version of the drive. *Memory*: what the process that serves it has for itself after each work, files that it looks into left out.\n\
             Memory is used and given back before each part and before the cold read: the host of a virtual machine takes back what is free, and the first use of a page is then\n\
             several times as slow as the next.\n",
            self.mib
        )?;
        writeln!(
            out,
            "| | {} |\n| --- {}|",
            PLACES.join(" | "),
            "| --- ".repeat(PLACES.len())
        )?;
        for (work, _) in WORK {
            write!(out, "| {work} |")?;
            for place in PLACES {
                match self.middle(work, place) {
                    n if n.is_nan() => write!(out, " – |")?,
                    n if n >= 100.0 => write!(out, " {n:.0} |")?,
                    n if n >= 10.0 => write!(out, " {n:.1} |")?,
                    n => write!(out, " {n:.3} |")?,
                }
            }
            writeln!(out)?;
        }
        for (work, place) in self.failed() {
            writeln!(out, "\n{place} failed at *{work}* in some of the rounds.")?;
        }
        writeln!(
            out,
            "\n## How many times as fast\n\n| pome beside | {} | pome, sealed ÷ pome |\n| --- {}| --- |",
            OTHERS.join(" | "),
            "| --- ".repeat(OTHERS.len())
        )?;
        for (work, more_is_better) in WORK {
            write!(out, "| {work} |")?;
            for other in OTHERS {
                write!(
                    out,
                    " {} |",
                    ratio_text(self.times(work, *more_is_better, "pome", other))
                )?;
            }
            let sealed = self.times(work, *more_is_better, "pome, sealed", "pome");
            writeln!(out, " {} |", ratio_text(sealed))?;
        }
        writeln!(
            out,
            "\n## Goals\n\n| | beside | goal | is | |\n| --- | --- | --- | --- | --- |"
        )?;
        for (work, other, goal) in GOALS {
            let more_is_better = WORK.iter().any(|(name, more)| name == work && *more);
            let times = self.times(work, more_is_better, "pome", other);
            goal_line(out, work, other, *goal, times)?;
        }
        for work in SEALED_WORK {
            let times = self.times(work, true, "pome, sealed", "pome");
            goal_line(out, &format!("sealed: {work}"), "pome", SEALED, times)?;
        }
        let remote = self.times(REMOTE, true, MOUNT, DOWNLOAD);
        goal_line(out, REMOTE, DOWNLOAD, REMOTE_GOAL, remote)?;
        if !remote.middle.is_nan() {
            writeln!(
                out,
                "\n*remote read*: a file of {} MiB of a drive that another process serves over loopback, read once through a mount ({:.0} MiB/s), and the same blocks downloaded\n\
                 without one ({:.0} MiB/s).",
                self.mib,
                self.middle(REMOTE, MOUNT),
                self.middle(REMOTE, DOWNLOAD)
            )?;
        }
        Ok(())
    }
}

fn goal_line(
    out: &mut String,
    work: &str,
    other: &str,
    goal: f64,
    times: Spread,
) -> std::fmt::Result {
    let met = match times.middle {
        n if n.is_nan() => "not measured",
        n if n >= goal => "met",
        _ => "missed",
    };
    writeln!(
        out,
        "| {work} | {other} | {goal:.2}× | {} | {met} |",
        ratio_text(times)
    )
}

const OTHERS: &[&str] = &["disk", "memory", "bindfs", "gocryptfs", "rclone"];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says where")]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_of_the_numbers_beside_it() {
        let numbers = include_str!("../../../docs/proofs/mount-speed.json");
        let measured: Measured = serde_json::from_str(numbers).unwrap();
        let page = include_str!("../../../docs/proofs/mount-speed.md");
        assert_eq!(measured.markdown(), page, "`--render` writes it");
    }
}
