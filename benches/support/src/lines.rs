//! Numbers as people read them, and rows as lines of JSON.

use crate::{Measured, Row};
use serde_json::{Value, json};

/// A number in three places: `1.23 M`, `45 k`, `678`, `9.1`, `0.025`.
pub fn human(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2} G", v / 1e9),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 1.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}

/// A value with its unit: `51 k/s`, `1.2 ms`.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    let (value, unit) = match unit {
        "MB/s" if value >= 1e4 => (value / 1e3, "GB/s"),
        "ms" if value >= 1e4 => (value / 1e3, "s"),
        _ => (value, unit),
    };
    let number = human(value);
    // `51 k/s` and `46 kB`, but `202 k blocks/s`.
    match unit.starts_with('/') || (unit == "B" && number.contains(' ')) {
        true => format!("{number}{unit}"),
        false => format!("{number} {unit}"),
    }
}

/// A number of bytes: `1.2 MB`.
pub(crate) fn bytes(value: f64) -> String {
    with_unit(value, "B")
}

/// A ratio with its interval: `9.5× (8.9–9.7)`.
pub(crate) fn times(ratio: crate::Spread) -> String {
    let places = if ratio.high < 10.0 { 2 } else { 1 };
    format!(
        "{:.places$}× ({:.places$}–{:.places$})",
        ratio.middle, ratio.low, ratio.high
    )
}

impl Row {
    /// One object for each peer: `{"workload","size","durability","pome","peer","peerVersion","value","unit","ratio","low","high"}`. `pome` and `value` are the medians of both, `ratio` how many
    /// times as good pome is, `low` and `high` its 95 % interval. With no peer, those that are about one are null.
    pub fn lines(&self) -> Vec<Value> {
        let Some(ours) = self.of("pome") else {
            return vec![];
        };
        let finite = |value: f64| value.is_finite().then_some(value);
        let line = |theirs: Option<&crate::Series>| {
            let ratio = theirs.and_then(|series| self.ratio(&series.peer));
            let durability = match theirs {
                Some(theirs) if theirs.durability != ours.durability => {
                    format!(
                        "pome: {}; {}: {}",
                        ours.durability, theirs.peer, theirs.durability
                    )
                }
                _ => ours.durability.clone(),
            };
            json!({
                "workload": self.workload,
                "size": self.size,
                "durability": durability,
                "pome": finite(ours.spread().middle),
                "peer": theirs.map(|series| &series.peer),
                "peerVersion": theirs.map(|series| &series.version),
                "value": theirs.and_then(|series| finite(series.spread().middle)),
                "unit": self.measure.unit(),
                "ratio": ratio.and_then(|ratio| finite(ratio.middle)),
                "low": ratio.and_then(|ratio| finite(ratio.low)),
                "high": ratio.and_then(|ratio| finite(ratio.high)),
            })
        };
        match self.peers().next() {
            None => vec![line(None)],
            Some(_) => self.peers().map(|series| line(Some(series))).collect(),
        }
    }
}

impl Measured {
    /// The lines of all rows.
    pub fn lines(&self) -> Vec<Value> {
        self.rows.iter().flat_map(Row::lines).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Measure, Series};

    #[test]
    fn numbers_are_short() {
        let all = [2.5e9, 1.234e6, 45_678.0, 678.4, 9.14, 0.025].map(human);
        assert_eq!(all, ["2.50 G", "1.23 M", "46 k", "678", "9.1", "0.025"]);
        assert_eq!(with_unit(45_678.0, "/s"), "46 k/s");
        assert_eq!(with_unit(9.14, "ms"), "9.1 ms");
        assert_eq!(with_unit(22_790.0, "MB/s"), "22.8 GB/s");
        assert_eq!(with_unit(202_000.0, "blocks/s"), "202 k blocks/s");
        assert_eq!(
            [1.5e6, 45_678.0, 678.0].map(bytes),
            ["1.50 MB", "46 kB", "678 B"]
        );
    }

    #[test]
    fn a_line_has_the_fields_of_the_contract() {
        let mut row = Row::new("bee-get", "random get", 20_000, Measure::Rate);
        let series = |peer: &str, durability: &str, value: f64| Series {
            peer: peer.into(),
            version: format!("{peer} 1"),
            durability: durability.into(),
            values: vec![value; 3],
            ..Series::default()
        };
        row.series.push(series("pome", "soon", 300.0));
        assert_eq!(row.lines()[0]["peer"], Value::Null);
        assert_eq!(row.lines()[0]["pome"], 300.0);
        row.series.push(series("npm", "never", 100.0));
        let lines = row.lines();
        let fields: Vec<&String> = lines[0]
            .as_object()
            .into_iter()
            .flat_map(|o| o.keys())
            .collect();
        let wanted = [
            "workload",
            "size",
            "durability",
            "pome",
            "peer",
            "peerVersion",
            "value",
            "unit",
            "ratio",
            "low",
            "high",
        ];
        assert_eq!(fields, wanted);
        assert_eq!(lines[0]["ratio"], 3.0);
        assert_eq!(lines[0]["durability"], "pome: soon; npm: never");
        assert_eq!(lines[0]["peerVersion"], "npm 1");
    }
}
