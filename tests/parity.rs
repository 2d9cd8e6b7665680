//! The parity lists: what is ticked names a test, and that test is there.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use std::{fs, path::Path};

const LISTS: &[&str] = &[
    "hypercore",
    "corestore",
    "hyperbee",
    "hyperdrive",
    "net",
    "runtime",
];

/// The list whose ticks are not counted: its parts come from many sides at once.
const UNCOUNTED: &str = "runtime";

/// The tests named in a line: what stands between backticks and has `.rs::` in it.
fn tests_in(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|quoted| quoted.split_once("::"))
        .filter(|(path, _)| path.ends_with(".rs"))
}

#[test]
fn ticks_name_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for list in LISTS {
        let path = root.join("docs/parity").join(list).with_extension("md");
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let (mut core, mut core_ticked, mut rare, mut rare_ticked) = (0, 0, 0, 0);
        while let Some(item) = lines.next() {
            let ticked = match item.get(..5) {
                Some("- [x]") => true,
                Some("- [ ]") => false,
                _ => continue,
            };
            let (all, done) = match item.contains("(core)") {
                true => (&mut core, &mut core_ticked),
                false => (&mut rare, &mut rare_ticked),
            };
            *all += 1;
            *done += u32::from(ticked);
            let answer = lines.next().unwrap_or_default();
            assert!(answer.starts_with("  → "), "{list}: no answer to {item}");
            assert_ne!(
                ticked,
                answer.starts_with("  → *open:*"),
                "{list}: tick and answer differ: {item}"
            );
            if ticked && tests_in(answer).next().is_none() {
                missing.push(format!("{list}: no test is named for {item}"));
            }
            for (path, name) in tests_in(answer) {
                let source = fs::read_to_string(root.join(path)).unwrap_or_default();
                if !source.contains(&format!("fn {name}(")) {
                    missing.push(format!("{list}: {path}::{name} is not there"));
                }
            }
        }
        let said = format!(
            "{core_ticked} of {core} (core) and {rare_ticked} of {rare} other items are ticked"
        );
        assert!(*list == UNCOUNTED || text.contains(&said), "{list}: {said}");
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
