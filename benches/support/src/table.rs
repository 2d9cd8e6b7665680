//! Tables in Markdown, which are as easily read on a terminal.

use crate::{
    Goal, LIMIT, Measured, Row, Series, Standing,
    growth::exponent,
    lines::{bytes, times, with_unit},
};
use std::{collections::BTreeMap, fmt::Write};

/// Lines of a table, with columns as wide as they must be.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, width) in widths.iter().enumerate() {
            let cell = row.get(column).map_or("", String::as_str);
            let room = width - cell.chars().count();
            let _ = write!(out, "| {cell}{} ", " ".repeat(room));
        }
        out.push_str("|\n");
        if number == 0 {
            for width in &widths {
                let _ = write!(out, "| {} ", "-".repeat((*width).max(3)));
            }
            out.push_str("|\n");
        }
    }
    out
}

impl Measured {
    /// One sentence about the machine and the runs.
    pub fn sentence(&self) -> String {
        let part = if self.quick {
            ", a part of the work"
        } else {
            ""
        };
        let load = match self.load > 0.5 {
            true => format!(
                " Other work ran beside it when it began (load {:.1}).",
                self.load
            ),
            false => String::new(),
        };
        let note = self
            .note
            .as_ref()
            .map_or(String::new(), |note| format!(" {note}"));
        let minutes = match self.minutes > 0.0 {
            true => format!(", {:.1} minutes in all", self.minutes),
            false => String::new(),
        };
        format!(
            "{}; pome {}; medians of {} rounds in turns{part}{minutes}. × is how many times as good pome is, with its 95 % interval (bootstrap over the rounds).{load}{note}",
            self.machine, self.pome, self.rounds
        )
    }

    /// Where pome is behind, what goals are missed, and all rows.
    pub fn markdown(&self) -> String {
        let mut out = format!("{}\n", self.sentence());
        let behind = self.behind();
        let _ = match behind.is_empty() {
            true => writeln!(out, "\n**Behind nobody.**"),
            false => writeln!(out, "\n**Behind:**\n"),
        };
        for (row, series, ratio) in &behind {
            let sure = match row.standing(&series.peer) {
                Some(Standing::Behind) => "",
                _ => ", perhaps",
            };
            let _ = writeln!(
                out,
                "- {} ({}) beside {}: {}{sure}",
                row.what,
                row.workload,
                series.peer,
                times(*ratio)
            );
        }
        for (peer, head, of) in [
            ("npm", "Goals beside npm", ""),
            (LIMIT, "Goals of the physical limit", " of it"),
        ] {
            let mut missed = (self.goals().into_iter())
                .filter(|goal| goal.peer == peer && !goal.is_met())
                .peekable();
            if missed.peek().is_some() {
                let _ = writeln!(out, "\n**{head} that are missed:**\n");
            }
            for Goal {
                row, ratio, goal, ..
            } in missed
            {
                let _ = writeln!(
                    out,
                    "- {} ({}): {}{of}, the goal is {goal}×",
                    row.what,
                    row.workload,
                    times(ratio)
                );
            }
        }
        let mut rows = vec![
            ["workload", "what", "pome", "peer", "", "pome is"]
                .map(String::from)
                .to_vec(),
        ];
        for row in self.main_rows() {
            rows.extend(row.cells());
        }
        let _ = write!(out, "\n{}", aligned(&rows));
        let growth = self.growth();
        if !growth.is_empty() {
            let mut rows = vec![
                ["workload", "peer", "at each size", "exponent"]
                    .map(String::from)
                    .to_vec(),
            ];
            rows.extend(growth);
            let _ = write!(
                out,
                "\nHow the time for one item grows with the size: the exponent is 0 where it stays as it is, 1 where twice the size doubles it.\n\n{}",
                aligned(&rows)
            );
        }
        if !self.absent.is_empty() {
            out.push_str("\n**Left out:**\n\n");
        }
        for absent in &self.absent {
            let _ = writeln!(
                out,
                "- {}{}: {}. {}",
                absent.peer,
                absent.of(),
                absent.why.replace('\n', "; "),
                absent.fix
            );
        }
        out
    }

    /// What rows took of the machine, as a table; empty when the kernel said nothing of any.
    pub fn costs(&self) -> String {
        let head = [
            "workload",
            "peer",
            "memory",
            "written",
            "for a byte",
            "flushes",
            "processor",
            "when a write is answered",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        for row in self.main_rows() {
            for series in row.series.iter().filter(|series| !series.used.is_empty()) {
                let [memory, written, amplified, flushes, cpu] = series.costs();
                rows.push(vec![
                    row.workload.clone(),
                    series.peer.clone(),
                    memory,
                    written,
                    amplified,
                    flushes,
                    cpu,
                    series.durability.clone(),
                ]);
            }
        }
        match rows.len() {
            1 => String::new(),
            _ => aligned(&rows),
        }
    }

    /// Workloads and peers that were measured at more than one size.
    fn growth(&self) -> Vec<Vec<String>> {
        self.grown()
            .into_iter()
            .filter(|(_, points)| points.len() > 1)
            .map(|((workload, peer), points)| {
                let sizes: Vec<String> = (points.iter())
                    .map(|(size, seconds)| {
                        format!(
                            "{}: {}",
                            crate::human(*size),
                            with_unit(1.0 / seconds, "/s")
                        )
                    })
                    .collect();
                let exponent = exponent(&points).map_or_else(|| "–".into(), |e| format!("{e:.2}"));
                vec![workload, peer, sizes.join(", "), exponent]
            })
            .collect()
    }

    /// Seconds for one item at each size, of each workload and peer that were measured at sizes for their growth.
    pub(crate) fn grown(&self) -> BTreeMap<(String, String), Vec<(f64, f64)>> {
        let mut grown: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.growth) {
            for series in &row.series {
                let middle = series.spread().middle;
                if middle > 0.0 {
                    let key = (row.workload.clone(), series.peer.clone());
                    let seconds = match row.measure.better() {
                        crate::Better::More => 1.0 / middle,
                        crate::Better::Less => middle / 1e3,
                    };
                    grown
                        .entry(key)
                        .or_default()
                        .push((row.size as f64, seconds));
                }
            }
        }
        for points in grown.values_mut() {
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        grown
    }
}

impl Row {
    /// A line for each peer; one alone where there is none.
    fn cells(&self) -> Vec<Vec<String>> {
        let unit = self.measure.unit();
        let ours = self.of("pome").map_or_else(String::new, |series| {
            with_unit(series.spread().middle, unit)
        });
        let line = |theirs: Option<&Series>| {
            let ratio = theirs.and_then(|series| self.ratio(&series.peer));
            vec![
                self.workload.clone(),
                self.what.clone(),
                ours.clone(),
                theirs.map_or("–".into(), |series| series.version.clone()),
                theirs.map_or(String::new(), |series| {
                    with_unit(series.spread().middle, unit)
                }),
                ratio.map_or(String::new(), |ratio| format!("**{}**", times(ratio))),
            ]
        };
        match self.peers().next() {
            None => vec![line(None)],
            Some(_) => self.peers().map(|series| line(Some(series))).collect(),
        }
    }
}

impl Series {
    /// Memory, bytes written, how many for each byte of content, flushes, and seconds of processor.
    pub(crate) fn costs(&self) -> [String; 5] {
        let or = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        let written = self.used(|used| used.written.map(|n| n as f64));
        let amplified = written.filter(|n| *n > 0.0 && self.bytes > 0);
        [
            or(self.used(|used| used.memory.map(|n| n as f64)).map(bytes)),
            or(written.map(bytes)),
            or(amplified.map(|n| format!("{:.2}", n / self.bytes as f64))),
            or(self
                .used(|used| used.flushes.map(|n| n as f64))
                .map(|n| format!("{n:.0}"))),
            or(self
                .used(|used| used.cpu)
                .map(|seconds| format!("{seconds:.2} s"))),
        ]
    }
}

#[cfg(test)]
mod tests {
    use crate::{Absent, LIMIT, Measure, Measured, Row, Series, Used};

    #[test]
    fn what_is_behind_stands_first() {
        let mut measured = Measured {
            rounds: 3,
            ..Measured::default()
        };
        for (name, ours, size, growth) in [
            ("fast", 30.0, 10, false),
            ("slow", 5.0, 10, false),
            ("grows", 10.0, 100, true),
            ("grows", 1.0, 10_000, true),
        ] {
            let mut row = Row::new(name, "what it is", size, Measure::Rate);
            (row.growth, row.goal) = (growth, Some(4.0));
            for (peer, value) in [("pome", ours), ("npm", 10.0)] {
                row.series.push(Series {
                    peer: peer.into(),
                    version: format!("{peer} 1"),
                    values: vec![value; 3],
                    used: vec![Used {
                        written: Some(3_000),
                        ..Used::default()
                    }],
                    bytes: 1_000,
                    ..Series::default()
                });
            }
            row.series.push(Series {
                peer: LIMIT.into(),
                values: vec![10.0; 3],
                ..Series::default()
            });
            row.limit_goal = Some(0.8);
            measured.rows.push(row);
        }
        measured.absent.push(Absent {
            peer: "bare".into(),
            workload: None,
            why: "not here".into(),
            fix: "`npm ci`".into(),
        });
        let page = measured.markdown();
        let at = |text: &str| {
            page.find(text)
                .unwrap_or_else(|| panic!("{text:?} is not in\n{page}"))
        };
        assert!(
            at("(slow) beside npm: 0.50× (0.50–0.50), perhaps") < at("| fast "),
            "{page}"
        );
        assert!(
            at("(fast): 3.00× (3.00–3.00), the goal is 4×") < at("| fast "),
            "{page}"
        );
        at("(slow): 0.50× (0.50–0.50) of it, the goal is 0.8×");
        at("bare: not here. `npm ci`");
        assert!(page.contains("100: 10.0/s, 10 k: 1.0/s"), "{page}");
        assert!(page.contains("| 0.50 "), "{page}");
        assert!(measured.costs().contains("| 3.00 "), "{}", measured.costs());
    }
}
