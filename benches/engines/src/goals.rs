//! What the store is to reach, and whether it does.

use crate::report::{Measured, human};
use std::fmt::Write;

/// Which number decides.
enum By {
    /// A ratio from the short turns: of these values, this one.
    Turns(&'static str, &'static str),
    /// Median of the runs: part, peer, name.
    Run(&'static str, &'static str, &'static str),
    /// Median of the rounds' ratios of two such numbers.
    Ratio([&'static str; 3], [&'static str; 3]),
}

struct Goal {
    what: &'static str,
    by: By,
    /// At least so much; of what should be small, at most.
    bound: f64,
    small: bool,
    unit: &'static str,
}

const fn least(what: &'static str, by: By, bound: f64, unit: &'static str) -> Goal {
    Goal {
        what,
        by,
        bound,
        small: false,
        unit,
    }
}

const fn most(what: &'static str, by: By, bound: f64, unit: &'static str) -> Goal {
    Goal {
        what,
        by,
        bound,
        small: true,
        unit,
    }
}

const GOALS: &[Goal] = &[
    least(
        "durable batches of 64 × 64 KiB ÷ bare growing-file loop (turns)",
        By::Turns("big", "batch pome÷bare"),
        0.8,
        "×",
    ),
    least(
        "append of 64 × 64 KiB to a core, durable ÷ the same loop with 4-way BLAKE2b",
        By::Ratio(
            ["big", "core", "core-batch"],
            ["big", "limit", "batch-grow-hashed"],
        ),
        0.8,
        "×",
    ),
    least(
        "each 64 KiB durable ÷ bare growing-file loop (turns)",
        By::Turns("big", "single pome÷bare"),
        0.85,
        "×",
    ),
    least(
        "each 100 B durable ÷ bare sync over pre-written space (turns)",
        By::Turns("small", "single pome÷bare"),
        0.85,
        "×",
    ),
    least(
        "16 concurrent committers ÷ one",
        By::Run("small", "pome", "committers-gain"),
        10.0,
        "×",
    ),
    least(
        "durable batches of 1,000 × 100 B ÷ fjall's (turns)",
        By::Turns("small", "batch pome÷fjall"),
        1.0,
        "×",
    ),
    least(
        "random get of 100 B, warm ÷ LMDB's (turns)",
        By::Turns("small", "get pome÷lmdb"),
        1.0,
        "×",
    ),
    least(
        "scan of 100 B values ÷ fjall's (turns)",
        By::Turns("small", "scan pome÷fjall"),
        1.0,
        "×",
    ),
    most(
        "disk used after deleting half and compacting, 100 B: above 1.15 × the data",
        By::Run("small", "pome", "disk-over"),
        4.0,
        "MiB",
    ),
    most(
        "the same, 64 KiB",
        By::Run("big", "pome", "disk-over"),
        4.0,
        "MiB",
    ),
    most(
        "memory of an open idle core",
        By::Run("cores", "open-many", "open-core"),
        2048.0,
        "B",
    ),
    most(
        "memory of a closed core",
        By::Run("cores", "open-many", "closed-core"),
        0.0,
        "B",
    ),
];

/// The table of what was measured; empty when nothing was.
pub(crate) fn table(measured: &Measured) -> String {
    let mut rows = String::new();
    for goal in GOALS {
        let value = match goal.by {
            By::Turns(size, name) => measured.median("turns", size, name).map(|s| s.value),
            By::Run(part, peer, name) => measured.median(part, peer, name).map(|s| s.value),
            By::Ratio(ours, theirs) => measured.ratio(ours, theirs).map(|(_, middle, _)| middle),
        };
        let Some(value) = value else { continue };
        let (sign, met) = match goal.small {
            true => ("≤", value <= goal.bound),
            false => ("≥", value >= goal.bound),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            rows,
            "| {} | {sign} {} {unit} | {} {unit} | {} |",
            goal.what,
            human(goal.bound),
            human(value),
            if met { "met" } else { "**missed**" },
            unit = goal.unit,
        );
    }
    match rows.is_empty() {
        true => rows,
        false => format!("| | goal | measured | |\n| --- | --- | --- | --- |\n{rows}"),
    }
}
