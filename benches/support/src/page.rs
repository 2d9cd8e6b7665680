//! Pages of numbers that are measured for a proof: parts of work, each done by several makes, in rounds.

use crate::{Machine, Spread, human};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// One number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// In which round.
    pub round: usize,
    /// What was measured.
    pub part: String,
    /// Who did it.
    pub make: String,
    /// How much.
    pub value: f64,
}

/// All numbers of one page.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Numbers {
    /// The machine they were measured on.
    pub machine: Machine,
    /// Of those that pome is beside.
    pub versions: Vec<String>,
    /// How often each did each part.
    pub rounds: usize,
    /// A part of the work.
    pub quick: bool,
    /// What else is to be said of them.
    pub note: Option<String>,
    /// The numbers.
    pub runs: Vec<Run>,
}

/// A part as a table shows it.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name among the numbers.
    pub part: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// The unit that the table shows.
    pub unit: &'static str,
    /// What a number is multiplied with to have that unit.
    pub factor: f64,
}

/// A table: a line for each part, a column for each make.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Above it.
    pub heading: &'static str,
    /// Its parts.
    pub parts: &'static [Column],
    /// Its makes.
    pub makes: &'static [&'static str],
    /// The make that the others are compared with.
    pub base: &'static str,
    /// Below it.
    pub note: &'static str,
}

/// A ratio with its range: `1.31× (1.20–1.44)`; `–` when there is none.
pub fn ratio_text(ratio: Spread) -> String {
    match ratio.middle.is_nan() {
        true => "–".to_owned(),
        false => format!("{:.2}× ({:.2}–{:.2})", ratio.middle, ratio.low, ratio.high),
    }
}

impl Numbers {
    /// Without numbers yet.
    pub fn new(versions: Vec<String>, rounds: usize, quick: bool) -> Self {
        Self {
            machine: Machine::read(),
            versions,
            rounds,
            quick,
            ..Self::default()
        }
    }

    /// Keeps a number, and says it.
    pub fn keep(&mut self, round: usize, part: &str, make: &str, value: f64) {
        eprintln!("round {round}: {make}: {part}: {}", human(value));
        self.runs.push(Run {
            round,
            part: part.into(),
            make: make.into(),
            value,
        });
    }

    /// The numbers of one part and make, by their rounds.
    pub fn values(&self, part: &str, make: &str) -> Vec<f64> {
        let runs = self.runs.iter();
        runs.filter(|run| run.part == part && run.make == make)
            .map(|run| run.value)
            .collect()
    }

    /// The ratios of one make to another within each round that has both.
    pub fn ratio(&self, part: &str, make: &str, base: &str) -> Spread {
        let of = |make: &str, round| {
            let mut runs = self.runs.iter();
            runs.find(|run| run.round == round && run.part == part && run.make == make)
                .map(|run| run.value)
        };
        let ratios: Vec<f64> = (0..self.rounds)
            .filter_map(|round| Some(of(make, round)? / of(base, round)?))
            .collect();
        Spread::of(&ratios)
    }

    /// A page: what is said before, the machine, and the tables that have a number.
    pub fn page(&self, intro: &str, tables: &[Table]) -> String {
        let mut out = format!("{intro}\n");
        let work = if self.quick {
            ", a part of the work"
        } else {
            ""
        };
        let versions = match self.versions.is_empty() {
            true => String::new(),
            false => format!("{}; ", self.versions.join(", ")),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{}; {versions}medians of {} rounds{work}; a ratio is the median of the rounds' ratios, with its range.",
            self.machine, self.rounds,
        );
        if let Some(note) = &self.note {
            let _ = writeln!(out, "{note}");
        }
        for table in tables {
            self.table(table, &mut out);
        }
        out
    }

    fn table(&self, table: &Table, out: &mut String) {
        let measured = |make: &&&str| {
            let mut runs = self.runs.iter();
            runs.any(|run| {
                run.make == **make && table.parts.iter().any(|part| part.part == run.part)
            })
        };
        let makes: Vec<_> = table.makes.iter().filter(measured).collect();
        if makes.is_empty() {
            return;
        }
        let names: Vec<String> = makes.iter().map(|make| make.to_string()).collect();
        let _ = writeln!(out, "\n## {}\n\n| | {} |", table.heading, names.join(" | "));
        let _ = writeln!(out, "| --- |{}", " --- |".repeat(makes.len()));
        for part in table.parts {
            let _ = write!(out, "| {} |", part.title);
            for make in &makes {
                let middle = Spread::of(&self.values(part.part, make)).middle;
                if middle.is_nan() {
                    let _ = write!(out, " – |");
                    continue;
                }
                let _ = write!(
                    out,
                    " {}",
                    crate::lines::with_unit(middle * part.factor, part.unit)
                );
                let ratio = self.ratio(part.part, make, table.base);
                if **make != table.base && !ratio.middle.is_nan() {
                    let _ = write!(
                        out,
                        ", **{:.2}×** ({:.2}–{:.2})",
                        ratio.middle, ratio.low, ratio.high
                    );
                }
                let _ = write!(out, " |");
            }
            out.push('\n');
        }
        if !table.note.is_empty() {
            let _ = writeln!(out, "\n{}", table.note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_the_makes_and_parts_that_were_measured() {
        let mut numbers = Numbers {
            rounds: 2,
            ..Numbers::default()
        };
        for (round, make, value) in [
            (0, "pome", 20.0),
            (0, "npm", 10.0),
            (1, "pome", 60.0),
            (1, "npm", 20.0),
        ] {
            numbers.keep(round, "get", make, value);
        }
        const fn column(part: &'static str, title: &'static str) -> Column {
            Column {
                part,
                title,
                unit: "MB/s",
                factor: 10.0,
            }
        }
        const TABLES: [Table; 2] = [
            Table {
                heading: "Reads",
                parts: &[column("get", "gets"), column("scan", "scans")],
                makes: &["pome", "npm", "bare"],
                base: "npm",
                note: "More is better.",
            },
            Table {
                heading: "Nothing",
                parts: &[column("put", "puts")],
                makes: &["pome"],
                base: "npm",
                note: "",
            },
        ];
        let page = numbers.page("# Title", &TABLES);
        assert!(page.contains("| | pome | npm |"), "{page}");
        assert!(
            page.contains("| gets | 400 MB/s, **2.50×** (2.00–3.00) | 150 MB/s |"),
            "{page}"
        );
        assert!(page.contains("| scans | – | – |"), "{page}");
        assert!(!page.contains("Nothing"), "{page}");
        assert_eq!(ratio_text(numbers.ratio("get", "pome", "bare")), "–");
    }
}
