//! What was measured: rows of one workload each, and of each peer the values of every round.

use crate::{Machine, Spread, Used, spread::bootstrap};
use serde::{Deserialize, Serialize};

/// How a run becomes a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measure {
    /// Items a second.
    #[default]
    Rate,
    /// Millions of bytes a second.
    Throughput,
    /// Milliseconds for one item.
    Millis,
}

/// Which numbers are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The higher ones.
    More,
    /// The lower ones.
    Less,
}

impl Measure {
    /// The number of a run.
    pub fn value(self, items: u64, bytes: u64, seconds: f64) -> f64 {
        match self {
            Self::Rate => items as f64 / seconds,
            Self::Throughput => bytes as f64 / seconds / 1e6,
            Self::Millis => seconds * 1e3 / items as f64,
        }
    }

    /// `/s`, `MB/s` or `ms`.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Rate => "/s",
            Self::Throughput => "MB/s",
            Self::Millis => "ms",
        }
    }

    /// Whether more of it is better.
    pub fn better(self) -> Better {
        match self {
            Self::Rate | Self::Throughput => Better::More,
            Self::Millis => Better::Less,
        }
    }
}

/// The peer that is none: what the machine itself gives of what a workload cannot do without.
pub const LIMIT: &str = "limit";

/// What one peer measured of one workload.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Series {
    /// Who: `pome`, `npm`, …
    pub peer: String,
    /// Its version.
    pub version: String,
    /// What holds when a write has been answered.
    pub durability: String,
    /// What was run, as it could be typed.
    pub command: String,
    /// The value of each round.
    pub values: Vec<f64>,
    /// What each round took of the machine.
    pub used: Vec<Used>,
    /// Bytes of content that a round works on.
    pub bytes: u64,
}

impl Series {
    /// The middle value, the lowest and the highest.
    pub fn spread(&self) -> Spread {
        Spread::of(&self.values)
    }

    /// The middle of what the rounds took of something; `None` when the kernel said nothing.
    pub fn used(&self, of: impl Fn(&Used) -> Option<f64>) -> Option<f64> {
        let middle = Spread::of(&self.used.iter().filter_map(of).collect::<Vec<_>>()).middle;
        (!middle.is_nan()).then_some(middle)
    }
}

/// How many times as good one is as another, and the 95 % interval of it.
pub type Ratio = Spread;

/// Below this number of rounds nothing is sure: the ends of the interval are one or two of them.
const ROUNDS: usize = 4;

/// How pome stands beside a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Surely ahead: so is the whole interval.
    Ahead,
    /// The interval has 1 in it, or the rounds are fewer than four.
    Even,
    /// Surely behind.
    Behind,
}

/// One workload of one size.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Row {
    /// Its name.
    pub workload: String,
    /// What is measured.
    pub what: String,
    /// How many items it works on.
    pub size: u64,
    /// How a run becomes a number.
    pub measure: Measure,
    /// How many times as good as npm on node it is to be at least.
    pub goal: Option<f64>,
    /// What part of the physical limit it is to reach at least.
    pub limit_goal: Option<f64>,
    /// True where it is measured to see how it grows, and not for itself.
    pub growth: bool,
    /// What each peer measured, pome first.
    pub series: Vec<Series>,
}

impl Row {
    /// Without values yet.
    pub fn new(workload: &str, what: &str, size: u64, measure: Measure) -> Self {
        Self {
            workload: workload.into(),
            what: what.into(),
            size,
            measure,
            ..Self::default()
        }
    }

    /// What a peer measured.
    pub fn of(&self, peer: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.peer == peer)
    }

    /// Those of all peers but pome.
    pub fn peers(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(|series| series.peer != "pome")
    }

    /// How many times as good pome is as a peer: the ratio of the medians, so that more is better, and its 95 % interval by bootstrap over the rounds. `None` when one of the two was not measured.
    pub fn ratio(&self, peer: &str) -> Option<Ratio> {
        let (ours, theirs) = (self.of("pome")?, self.of(peer)?);
        let ratio = match self.measure.better() {
            Better::More => bootstrap(&ours.values, &theirs.values),
            Better::Less => bootstrap(&theirs.values, &ours.values),
        };
        (!ratio.middle.is_nan()).then_some(ratio)
    }

    /// How pome stands beside a peer; `None` when one of the two was not measured.
    pub fn standing(&self, peer: &str) -> Option<Standing> {
        let ratio = self.ratio(peer)?;
        let rounds = |peer| self.of(peer).map_or(0, |series| series.values.len());
        Some(match ratio {
            _ if rounds("pome").min(rounds(peer)) < ROUNDS => Standing::Even,
            _ if ratio.high < 1.0 => Standing::Behind,
            _ if ratio.low > 1.0 => Standing::Ahead,
            _ => Standing::Even,
        })
    }
}

/// What a row is to reach beside somebody.
#[derive(Debug, Clone, Copy)]
pub struct Goal<'a> {
    /// What is measured.
    pub row: &'a Row,
    /// Beside whom: `npm`, or [`LIMIT`].
    pub peer: &'static str,
    /// How many times as good pome is.
    pub ratio: Ratio,
    /// How many times as good it is to be at least.
    pub goal: f64,
}

impl Goal<'_> {
    /// True when the middle reaches it.
    pub fn is_met(&self) -> bool {
        self.ratio.middle >= self.goal
    }
}

/// A peer that was not there, or failed: it is said, and not passed over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Absent {
    /// Who.
    pub peer: String,
    /// Of which workload; `None`: of all.
    pub workload: Option<String>,
    /// What is missing, or what went wrong.
    pub why: String,
    /// What would bring it here.
    pub fix: String,
}

impl Absent {
    /// The words behind its name that say what of it is missing.
    pub(crate) fn of(&self) -> String {
        let of = self.workload.as_ref().map(|name| format!(" of {name}"));
        of.unwrap_or_default()
    }
}

/// All that was measured at once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Measured {
    /// The machine it was measured on.
    pub machine: Machine,
    /// The load of the machine before the first run: above a half, others worked beside it.
    pub load: f64,
    /// pome's version.
    pub pome: String,
    /// How often each peer did each workload.
    pub rounds: usize,
    /// A part of the work.
    pub quick: bool,
    /// How long all of it took.
    pub minutes: f64,
    /// What else is to be said of it.
    pub note: Option<String>,
    /// The workloads.
    pub rows: Vec<Row>,
    /// What was left out.
    pub absent: Vec<Absent>,
}

impl Measured {
    /// The rows that are measured for themselves, and not for their growth.
    pub fn main_rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.growth)
    }

    /// Rows and peers where pome's middle is below the peer's, the worst first. A limit is no peer that one could be behind.
    pub fn behind(&self) -> Vec<(&Row, &Series, Ratio)> {
        let mut all: Vec<_> = (self.main_rows())
            .flat_map(|row| row.peers().map(move |series| (row, series)))
            .filter(|(_, series)| series.peer != LIMIT)
            .filter_map(|(row, series)| Some((row, series, row.ratio(&series.peer)?)))
            .filter(|(_, _, ratio)| ratio.middle < 1.0)
            .collect();
        all.sort_by(|a, b| a.2.middle.total_cmp(&b.2.middle));
        all
    }

    /// What rows are to reach beside npm on node, and of the physical limit, as far as both were measured.
    pub fn goals(&self) -> Vec<Goal<'_>> {
        let goals = |row: &Row| [("npm", row.goal), (LIMIT, row.limit_goal)];
        (self.main_rows())
            .flat_map(|row| goals(row).map(|(peer, goal)| (row, peer, goal)))
            .filter_map(|(row, peer, goal)| {
                let (ratio, goal) = (row.ratio(peer)?, goal?);
                Some(Goal {
                    row,
                    peer,
                    ratio,
                    goal,
                })
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says where")]
mod tests {
    use super::*;

    fn row(measure: Measure, ours: &[f64], theirs: &[f64]) -> Row {
        let mut row = Row::new("w", "what", 10, measure);
        for (peer, values) in [("pome", ours), ("npm", theirs)] {
            row.series.push(Series {
                peer: peer.into(),
                values: values.into(),
                ..Series::default()
            });
        }
        row
    }

    #[test]
    fn a_run_becomes_a_number() {
        assert_eq!(Measure::Rate.value(10, 1_000, 2.0), 5.0);
        assert_eq!(Measure::Throughput.value(10, 4_000_000, 2.0), 2.0);
        assert_eq!(Measure::Millis.value(10, 0, 2.0), 200.0);
    }

    #[test]
    fn a_ratio_says_how_many_times_as_good() {
        let faster = row(
            Measure::Rate,
            &[20.0, 22.0, 21.0, 21.0],
            &[10.0, 11.0, 10.5, 10.5],
        );
        assert_eq!(faster.ratio("npm").unwrap().middle, 2.0);
        assert_eq!(faster.standing("npm"), Some(Standing::Ahead));
        let seldom = row(Measure::Rate, &[20.0; 3], &[10.0; 3]);
        assert_eq!(seldom.standing("npm"), Some(Standing::Even));
        let shorter = row(Measure::Millis, &[5.0; 3], &[10.0; 3]);
        assert_eq!(shorter.ratio("npm").unwrap().middle, 2.0);
        let slower = row(Measure::Rate, &[5.0; 4], &[10.0; 4]);
        assert_eq!(slower.standing("npm"), Some(Standing::Behind));
        let either = row(Measure::Rate, &[9.0, 11.0, 10.0, 10.0], &[10.0; 4]);
        assert_eq!(either.standing("npm"), Some(Standing::Even));
        assert_eq!(either.ratio("nobody"), None);
        assert_eq!(row(Measure::Rate, &[], &[]).ratio("npm"), None);
    }

    #[test]
    fn what_is_behind_comes_with_the_worst_first() {
        let mut measured = Measured::default();
        for (value, growth) in [(9.0, false), (5.0, false), (20.0, false), (1.0, true)] {
            let mut row = row(Measure::Rate, &[value; 3], &[10.0; 3]);
            (row.growth, row.goal) = (growth, Some(0.9));
            measured.rows.push(row);
        }
        let behind: Vec<f64> = measured
            .behind()
            .iter()
            .map(|(_, _, ratio)| ratio.middle)
            .collect();
        assert_eq!(behind, [0.5, 0.9]);
        let met: Vec<bool> = measured.goals().iter().map(Goal::is_met).collect();
        assert_eq!(met, [true, false, true]);
    }

    #[test]
    fn nobody_is_behind_a_limit_but_its_goal_is_looked_at() {
        let mut row = row(Measure::Rate, &[7.0; 4], &[10.0; 4]);
        row.series[1].peer = LIMIT.into();
        row.limit_goal = Some(0.8);
        let mut measured = Measured {
            rows: vec![row],
            ..Measured::default()
        };
        assert!(measured.behind().is_empty());
        let goals = |measured: &Measured| -> Vec<_> {
            let goals = measured.goals();
            goals
                .iter()
                .map(|goal| (goal.peer, goal.is_met()))
                .collect()
        };
        assert_eq!(goals(&measured), [(LIMIT, false)]);
        measured.rows[0].series[0].values = vec![8.0; 4];
        assert_eq!(goals(&measured), [(LIMIT, true)]);
        // Where nobody measured the limit, nothing is said of it.
        measured.rows[0].series.pop();
        assert_eq!(goals(&measured), []);
    }
}
