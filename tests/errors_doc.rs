//! docs/errors.md names every code that an error can have.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FOLDERS: &[&str] = &[
    "src",
    "storage/src",
    "cores/src",
    "bee/src",
    "drive-fs/src",
    "net/src",
];

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// The code in a string literal at the start of `text`, if it begins with one.
fn literal(text: &str) -> Option<String> {
    let (code, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    Some(code.to_owned())
}

/// The codes in the literals right behind each `mark`.
fn behind<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = String> + 'a {
    text.match_indices(mark)
        .filter_map(move |(at, _)| literal(&text[at + mark.len()..]))
}

fn codes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("fn code(&self)") {
        let body = &text[at..];
        let end = body.find("\n    }\n").unwrap();
        let before = found.len();
        found.extend(behind(&body[..end], "=>"));
        // An arm may be too long for one line.
        found.extend(behind(&body[..end], "=> {"));
        assert!(found.len() > before, "a body without codes");
    }
    for mark in ["Failure::new(", "Self::new(", " code: "] {
        found.extend(behind(text, mark));
    }
    found
}

#[test]
fn every_code_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let rows: BTreeSet<_> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(code, _)| code.to_owned())
        .collect();
    let mut files = Vec::new();
    for folder in FOLDERS {
        rust_files(&root.join(folder), &mut files);
    }
    let found: BTreeSet<_> = files
        .iter()
        .flat_map(|file| codes(&fs::read_to_string(file).unwrap()))
        .filter(|code| {
            code.bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
        .collect();
    assert!(found.len() > 50, "only {} codes were found", found.len());
    let missing: Vec<_> = found.difference(&rows).collect();
    assert!(missing.is_empty(), "docs/errors.md lacks {missing:?}");
    let unknown: Vec<_> = rows.difference(&found).collect();
    assert!(
        unknown.is_empty(),
        "docs/errors.md has {unknown:?}, which no error has"
    );
}
