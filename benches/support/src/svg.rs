//! Pictures in SVG, with axes that grow tenfold from tick to tick.

use crate::Standing;
use std::fmt::Write;

/// Text that is safe in markup.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// An axis from one power of ten to another.
struct Log {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Log {
    /// Around these values.
    fn around(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = values
            .filter(|value| value.is_finite() && *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), v| {
                (low.min(v), high.max(v))
            });
        let (low, high) = if high > 0.0 { (low, high) } else { (1.0, 10.0) };
        let low = low.log10().floor();
        Self {
            low,
            high: high.log10().ceil().max(low + 1.0),
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let part = (value.max(1e-300).log10() - self.low) / (self.high - self.low);
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> + use<> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

/// A number at a tick.
fn tick(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{} G", v / 1e9),
        v if v >= 1e6 => format!("{} M", v / 1e6),
        v if v >= 1e3 => format!("{} k", v / 1e3),
        v => format!("{v}"),
    }
}

/// A bar: how pome stands there, its name, its length, and from where to where it may be.
pub(crate) struct Bar {
    pub(crate) standing: Standing,
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

const WIDTH: f64 = 880.0;
const NAMES: f64 = 260.0;
const LINE: f64 = 22.0;
/// From one row of names below a picture to the next.
const KEY: f64 = 14.0;

/// Ratios as bars from 1 on: to the right what is ahead, to the left what is behind; the thin line is the interval.
pub(crate) fn ratios(bars: &[Bar]) -> String {
    let height = LINE * bars.len() as f64 + 30.0;
    let values = bars
        .iter()
        .flat_map(|bar| [bar.low, bar.high, bar.value, 1.0]);
    let axis = Log::around(values, NAMES, WIDTH - 70.0);
    let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n");
    for value in axis.ticks() {
        let (x, end) = (axis.at(value), height - 20.0);
        let class = if value == 1.0 { "one" } else { "grid" };
        let _ = writeln!(
            out,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"0\" x2=\"{x:.1}\" y2=\"{end:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}×</text>",
            height - 5.0,
            tick(value)
        );
    }
    for (number, bar) in bars.iter().enumerate() {
        let y = LINE * number as f64 + 4.0;
        let (one, x) = (axis.at(1.0), axis.at(bar.value));
        let class = match bar.standing {
            Standing::Behind => "behind",
            Standing::Ahead => "ahead",
            Standing::Even => "even",
        };
        let (left, width) = (one.min(x), (one - x).abs().max(1.0));
        let middle = y + 7.0;
        let _ = writeln!(
            out,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text><rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"14\"/>\
             <line class=\"whisker\" x1=\"{:.1}\" y1=\"{middle:.1}\" x2=\"{:.1}\" y2=\"{middle:.1}\"/><text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}×</text>",
            NAMES - 8.0,
            y + 11.0,
            escape(&bar.name),
            axis.at(bar.low),
            axis.at(bar.high),
            one.max(axis.at(bar.high)) + 6.0,
            y + 11.0,
            crate::human(bar.value)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A line: its name, and its points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Lines over sizes, both axes by powers of ten.
pub(crate) fn lines(title: &str, unit: &str, lines: &[Line]) -> String {
    let (width, height) = (430.0, 260.0);
    let points = || lines.iter().flat_map(|line| &line.points);
    let across = Log::around(points().map(|p| p.0), 60.0, width - 16.0);
    let up = Log::around(points().map(|p| p.1), height - 34.0, 26.0);
    // The names stand in rows of three.
    let rows = lines.len().div_ceil(3).max(1);
    let whole = height + KEY * (rows - 1) as f64;
    let mut out = format!(
        "<svg class=\"growth\" viewBox=\"0 0 {width} {whole}\" role=\"img\">\n<text class=\"title\" x=\"60\" y=\"15\">{}</text>\n",
        escape(title)
    );
    for value in across.ticks() {
        let x = across.at(value);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" y1=\"26\" x2=\"{x:.1}\" y2=\"{:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            height - 34.0,
            height - 20.0,
            tick(value)
        );
    }
    for value in up.ticks() {
        let y = up.at(value);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"60\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\"/><text class=\"side\" x=\"54\" y=\"{:.1}\">{}{}</text>",
            width - 16.0,
            y + 4.0,
            tick(value),
            escape(unit)
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let class = format!("line l{}", number % 6);
        let path: Vec<String> = (line.points.iter())
            .map(|(x, y)| format!("{:.1},{:.1}", across.at(*x), up.at(*y)))
            .collect();
        let _ = writeln!(
            out,
            "<polyline class=\"{class}\" points=\"{}\"/>",
            path.join(" ")
        );
        for (x, y) in &line.points {
            let _ = writeln!(
                out,
                "<circle class=\"{class}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                across.at(*x),
                up.at(*y)
            );
        }
        let _ = writeln!(
            out,
            "<text class=\"key l{}\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            number % 6,
            66.0 + 120.0 * (number % 3) as f64,
            height - 4.0 + KEY * (number / 3) as f64,
            escape(&line.name)
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenfold_is_as_far_everywhere() {
        let axis = Log::around([2.0, 5_000.0].into_iter(), 0.0, 400.0);
        let at: Vec<i64> = [1.0, 10.0, 100.0, 1_000.0, 10_000.0]
            .map(|v| axis.at(v).round() as i64)
            .into();
        assert_eq!(at, [0, 100, 200, 300, 400]);
        assert_eq!(axis.ticks().count(), 5);
        assert_eq!(Log::around([].into_iter(), 0.0, 1.0).ticks().count(), 2);
    }

    #[test]
    fn names_cannot_be_markup() {
        let bar = Bar {
            standing: Standing::Ahead,
            name: "<b>&".into(),
            value: 2.0,
            low: 1.5,
            high: 3.0,
        };
        let picture = ratios(&[bar]);
        assert!(
            picture.contains("&lt;b&gt;&amp;") && !picture.contains("<b>"),
            "{picture}"
        );
        assert!(picture.contains("class=\"ahead\""), "{picture}");
        let line = Line {
            name: "a".into(),
            points: vec![(100.0, 1.0), (10_000.0, 10.0)],
        };
        let picture = lines("t", "/s", &[line]);
        assert!(picture.contains("<polyline") && picture.contains("\"0 0 430 260\""));
    }

    #[test]
    fn names_below_a_picture_do_not_cover_each_other() {
        let line = |n: usize| Line {
            name: format!("line {n}"),
            points: vec![(100.0, 1.0)],
        };
        let picture = lines("t", "/s", &(0..5).map(line).collect::<Vec<_>>());
        assert!(picture.contains("\"0 0 430 274\""), "{picture}");
        assert!(picture.contains("y=\"256.0\">line 2<"), "{picture}");
        assert!(picture.contains("y=\"270.0\">line 3<"), "{picture}");
    }
}
