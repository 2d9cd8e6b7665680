//! What a package demands of the engine that runs it: ranges as npm writes them (`>=1.2 <2 || ^3.1.0`).

use crate::engine::BARE_VERSION;
use serde_json::{Map, Value};
use url::Url;

type Version = (u64, u64, u64);

/// Checks the demands that are about this runtime; others are of no concern here, as in Bare.
pub(super) fn check(demands: &Map<String, Value>, place: &Url) -> Result<(), String> {
    let Some(range) = demands.get("bare").and_then(Value::as_str) else {
        return Ok(());
    };
    match version(BARE_VERSION) {
        Some(ours) if !satisfies(ours, range) => Err(format!(
            "Package not compatible with engine 'bare' {BARE_VERSION}, requires range '{range}' defined by \"engines\" in '{place}'"
        )),
        _ => Ok(()),
    }
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.trim_start_matches(['v', '=']).split(['.', '-', '+']);
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next().unwrap_or(0), next().unwrap_or(0)))
}

/// A range that cannot be read is no reason to refuse a package.
fn satisfies(ours: Version, range: &str) -> bool {
    range.split("||").any(|all| {
        let mut words = all.split_whitespace().peekable();
        let mut fits = true;
        while let Some(word) = words.next() {
            if words.peek() == Some(&"-") {
                words.next();
                let upper = words.next().unwrap_or("*");
                fits &= compare(ours, ">=", word) && compare(ours, "<=", upper);
                continue;
            }
            let end = word.find(|c: char| !"<>=^~".contains(c));
            let (operator, rest) = word.split_at(end.unwrap_or(word.len()));
            // `>= 1.2` with a space between.
            let rest = match rest {
                "" => words.next().unwrap_or("*"),
                rest => rest,
            };
            fits &= compare(ours, operator, rest);
        }
        fits
    })
}

fn compare(ours: Version, operator: &str, text: &str) -> bool {
    let text = text.trim_start_matches('v');
    let parts: Vec<Option<u64>> = text
        .split(['-', '+'])
        .next()
        .unwrap_or_default()
        .split('.')
        .map(|part| part.parse().ok())
        .collect();
    let Some(Some(major)) = parts.first().copied() else {
        return true;
    };
    let minor = parts.get(1).copied().flatten();
    let patch = parts.get(2).copied().flatten();
    let low = (major, minor.unwrap_or(0), patch.unwrap_or(0));
    // The first version that the text, as far as it goes, does not stand for.
    let above = match (minor, patch) {
        (None, _) => (major + 1, 0, 0),
        (Some(minor), None) => (major, minor + 1, 0),
        (Some(minor), Some(patch)) => (major, minor, patch + 1),
    };
    match operator {
        ">=" => ours >= low,
        ">" => ours >= above,
        "<" => ours < low,
        "<=" => ours < above,
        "~" => ours >= low && ours < minor.map_or((major + 1, 0, 0), |minor| (major, minor + 1, 0)),
        "^" => {
            let end = match (major, minor, patch) {
                (0, Some(0), Some(patch)) => (0, 0, patch + 1),
                (0, Some(minor), _) => (0, minor + 1, 0),
                _ => (major + 1, 0, 0),
            };
            ours >= low && ours < end
        }
        _ => ours >= low && ours < above,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_npm_reads_them() {
        let ours = (1, 33, 4);
        for range in [
            "*",
            "",
            "1",
            "1.x",
            "1.33",
            "1.33.4",
            "=1.33.4",
            ">=1.7.0",
            ">= 1.7.0",
            "^1.16.0",
            "~1.33.0",
            "<2",
            "<=1.33",
            ">1.32",
            "1.0.0 - 2.0.0",
            "^0.1 || ^1.2",
            ">=1.2 <2",
        ] {
            assert!(satisfies(ours, range), "{range}");
        }
        for range in [
            "2",
            "1.32",
            ">=2.0.0",
            "^2",
            "^0.33.0",
            "~1.32.0",
            "<1.33.4",
            ">1.33",
            "<=1.32",
            "2.0.0 - 3",
            "^0.1 || ^3",
        ] {
            assert!(!satisfies(ours, range), "{range}");
        }
    }
}
