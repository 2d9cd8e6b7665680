//! One page that needs nothing else: where pome is behind first, then pictures, then all there is to know of each row.

use crate::{
    LIMIT, Measured, Row, Standing,
    growth::exponent,
    lines::{times, with_unit},
    svg::{self, Bar, Line, escape},
};
use std::{collections::BTreeMap, fmt::Write};

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:920px;margin:2em auto;padding:0 1em;color:#1b1f24;background:#fff}
h1{font-size:1.5em}h2{font-size:1.15em;margin-top:2em}table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:left;padding:3px 8px;border-bottom:1px solid #d8dee4;vertical-align:top}td.n{text-align:right;white-space:nowrap}
code{font-size:12px;overflow-wrap:anywhere}.box{border:1px solid #d8dee4;border-radius:6px;padding:.4em 1em;margin:1em 0}
.box.bad{border-color:#b35900;background:#fff7ee}.box.good{border-color:#2d7d46;background:#f0faf3}
svg{width:100%;height:auto}svg.growth{width:49%}svg text{font:11px system-ui,sans-serif;fill:#1b1f24}
.name,.side{text-anchor:end}.tick{text-anchor:middle}svg text.title{font-weight:600}
.grid{stroke:#e4e8ec}.one{stroke:#57606a}.whisker{stroke:#1b1f24}.ahead{fill:#2d7d46}.even{fill:#8c959f}.behind{fill:#b35900}
.line{fill:none;stroke-width:1.6}.l0{stroke:#0b5cad}.l1{stroke:#b35900}.l2{stroke:#2d7d46}.l3{stroke:#8250df}.l4{stroke:#57606a}.l5{stroke:#bf3989}
svg text.key{stroke:none}svg text.key.l0{fill:#0b5cad}svg text.key.l1{fill:#b35900}svg text.key.l2{fill:#2d7d46}svg text.key.l3{fill:#8250df}svg text.key.l4{fill:#57606a}svg text.key.l5{fill:#bf3989}
@media(prefers-color-scheme:dark){body{background:#0f1419;color:#d6dde4}svg text,.whisker{fill:#d6dde4;stroke:none}.whisker{stroke:#d6dde4}.box.bad{background:#2a1c0c}.box.good{background:#0f2417}th,td{border-color:#2d353d}.grid{stroke:#262d34}}";

impl Measured {
    /// The whole report as one page of HTML with its pictures in it.
    pub fn html(&self) -> String {
        let mut out = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>pome bench</title>\n\
             <style>{STYLE}</style>\n<h1>pome beside its peers</h1>\n<p>{}</p>\n",
            escape(&self.sentence())
        );
        self.first_screen(&mut out);
        self.pictures(&mut out);
        self.growth_pictures(&mut out);
        self.details(&mut out);
        out.push_str("</html>\n");
        out
    }

    fn first_screen(&self, out: &mut String) {
        let behind = self.behind();
        if behind.is_empty() {
            out.push_str("<div class=\"box good\" id=\"behind\"><p>pome is behind nobody in what was measured.</p></div>\n");
        } else {
            let _ = writeln!(
                out,
                "<div class=\"box bad\" id=\"behind\"><p>pome is <b>behind</b> in {} of what was measured:</p><ul>",
                behind.len()
            );
            for (row, series, ratio) in behind {
                let sure = match row.standing(&series.peer) {
                    Some(Standing::Behind) => "",
                    _ if ratio.high < 1.0 => " (perhaps: the rounds are too few to be sure)",
                    _ => " (perhaps: the interval has 1 in it)",
                };
                let _ = writeln!(
                    out,
                    "<li><a href=\"#{}\">{}</a> beside {}: {}{sure}</li>",
                    escape(&row.workload),
                    escape(&row.what),
                    escape(&series.version),
                    times(ratio)
                );
            }
            out.push_str("</ul></div>\n");
        }
        self.goals_box(out);
        if !self.absent.is_empty() {
            out.push_str("<div class=\"box bad\" id=\"absent\"><p>Left out:</p><ul>\n");
            for absent in &self.absent {
                let _ = writeln!(
                    out,
                    "<li><b>{}</b>{}: {}. {}</li>",
                    escape(&absent.peer),
                    escape(&absent.of()),
                    escape(&absent.why),
                    escape(&absent.fix)
                );
            }
            out.push_str("</ul></div>\n");
        }
    }

    fn goals_box(&self, out: &mut String) {
        let goals = self.goals();
        if goals.is_empty() {
            return;
        }
        let met = goals.iter().filter(|goal| goal.is_met()).count();
        let _ = writeln!(
            out,
            "<div class=\"box\" id=\"goals\"><p>Goals beside npm on node, and of the physical limit: {met} of {} are met.",
            goals.len()
        );
        let missed: Vec<String> = (goals.iter().filter(|goal| !goal.is_met()))
            .map(|goal| {
                let of = if goal.peer == LIMIT {
                    " of the limit"
                } else {
                    ""
                };
                format!(
                    "{}: {}{of}, not {}×",
                    escape(&goal.row.what),
                    times(goal.ratio),
                    goal.goal
                )
            })
            .collect();
        if !missed.is_empty() {
            let _ = writeln!(
                out,
                " Missed:</p><ul><li>{}</li></ul><p>",
                missed.join("</li><li>")
            );
        }
        out.push_str("</p></div>\n");
    }

    /// One picture for each peer.
    fn pictures(&self, out: &mut String) {
        let mut peers: Vec<&str> = vec![];
        for series in self.main_rows().flat_map(Row::peers) {
            if !peers.contains(&series.peer.as_str()) {
                peers.push(&series.peer);
            }
        }
        for peer in peers {
            let bars: Vec<Bar> = (self.main_rows())
                .filter_map(|row| {
                    let ratio = row.ratio(peer)?;
                    Some(Bar {
                        standing: row.standing(peer)?,
                        name: row.what.clone(),
                        value: ratio.middle,
                        low: ratio.low,
                        high: ratio.high,
                    })
                })
                .collect();
            if !bars.is_empty() {
                let who = if peer == LIMIT {
                    "the physical limit"
                } else {
                    peer
                };
                let _ = writeln!(
                    out,
                    "<h2>Beside {}</h2>\n{}",
                    escape(who),
                    svg::ratios(&bars)
                );
            }
        }
    }

    fn growth_pictures(&self, out: &mut String) {
        let mut workloads: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        for ((workload, peer), points) in self.grown() {
            let exponent =
                exponent(&points).map_or(String::new(), |e| format!(", exponent {e:.2}"));
            let points = points
                .iter()
                .map(|(size, seconds)| (*size, 1.0 / seconds))
                .collect();
            let line = Line {
                name: format!("{peer}{exponent}"),
                points,
            };
            let lines = workloads.entry(workload).or_default();
            // pome's is the first colour everywhere.
            match peer == "pome" {
                true => lines.insert(0, line),
                false => lines.push(line),
            }
        }
        if workloads.is_empty() {
            return;
        }
        out.push_str(
            "<h2>Growth</h2>\n<p>How many a second at each size; the exponent is that of the time for one: 0 where it stays as it is, 1 where twice the size doubles it.</p>\n",
        );
        for (workload, lines) in workloads {
            out.push_str(&svg::lines(&workload, "/s", &lines));
        }
    }

    fn details(&self, out: &mut String) {
        out.push_str(
            "<h2>All rows</h2>\n<p>Memory is the most that was resident while the clock ran. Written: when a page of a file becomes dirty; behind it, how many bytes for each byte of content. \
             Flushes are the whole machine's. Where other processes do the work (bindfs, gocryptfs, programs that start), nobody knows what they took.</p>\n",
        );
        for row in self.main_rows() {
            let _ = writeln!(
                out,
                "<h3 id=\"{}\">{}</h3>\n<p>{}, {} items. <b>{}</b> is better.</p>\n<table><tr><th>who<th>median<th>from–to<th>pome is<th>memory<th>written<th>flushes<th>processor<th>when a write is answered</tr>",
                escape(&row.workload),
                escape(&row.what),
                escape(&row.workload),
                row.size,
                match row.measure.better() {
                    crate::Better::More => "More",
                    crate::Better::Less => "Less",
                }
            );
            let unit = row.measure.unit();
            for series in &row.series {
                let spread = series.spread();
                let [memory, written, amplified, flushes, cpu] = series.costs();
                let ratio = match series.peer.as_str() {
                    "pome" => String::new(),
                    peer => row.ratio(peer).map_or(String::new(), times),
                };
                let _ = writeln!(
                    out,
                    "<tr><td>{}<td class=n>{}<td class=n>{}–{}<td class=n>{ratio}<td class=n>{memory}<td class=n>{written} ({amplified})<td class=n>{flushes}<td class=n>{cpu}<td>{}</tr>\
                     <tr><td colspan=9><code>{}</code></tr>",
                    escape(&series.version),
                    with_unit(spread.middle, unit),
                    crate::human(spread.low),
                    crate::human(spread.high),
                    escape(&series.durability),
                    escape(&series.command)
                );
            }
            out.push_str("</table>\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Measure, Measured, Row, Series};

    fn measured(ours: f64) -> Measured {
        let mut row = Row::new("bee-get", "random <get>", 20, Measure::Rate);
        for (peer, value) in [("pome", ours), ("npm", 10.0)] {
            row.series.push(Series {
                peer: peer.into(),
                version: format!("{peer} 1"),
                command: format!("{peer} --do it"),
                values: vec![value; 3],
                ..Series::default()
            });
        }
        let mut grown = row.clone();
        (grown.growth, grown.size) = (true, 100);
        Measured {
            rows: vec![row, grown],
            ..Measured::default()
        }
    }

    #[test]
    fn the_first_screen_says_where_it_is_behind() {
        let page = measured(5.0).html();
        let at = |text: &str| {
            page.find(text)
                .unwrap_or_else(|| panic!("{text:?} is not in\n{page}"))
        };
        assert!(
            at("<b>behind</b> in 1 of") < at("<svg"),
            "before any picture"
        );
        at("random &lt;get&gt;</a> beside npm 1: 0.50×");
        at("<code>npm --do it</code>");
        assert!(!page.contains("random <get>"));
        assert!(measured(50.0).html().contains("behind nobody"));
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = measured(5.0).html();
        for word in ["http://", "https://", "src=", "@import", "<script", "url("] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
