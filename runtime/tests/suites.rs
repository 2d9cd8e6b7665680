//! Packages of npm that only compute, with the tests that they brought along: their own code and their own test runners (brittle, tape), unmodified. Needs
//! `npm ci --prefix tests/suites`.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A package, and how many of the assertions of its tests hold.
struct Suite {
    package: &'static str,
    passes: u32,
    /// What does not hold, and why.
    fails: &'static [(&'static str, &'static str)],
    /// The runtime's own module is tested in its place.
    is_own: bool,
}

const fn all(package: &'static str, passes: u32) -> Suite {
    Suite {
        package,
        passes,
        fails: &[],
        is_own: false,
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suites")
}

/// `test.js` of a package's folder, or what is in its folder `test`.
fn files(package: &Path) -> Vec<String> {
    let one = package.join("test.js");
    let mut files = match one.exists() {
        true => vec![one],
        false => fs::read_dir(package.join("test"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "js"))
            .collect(),
    };
    files.sort();
    files
        .into_iter()
        .map(|path| path.to_str().unwrap().to_owned())
        .collect()
}

/// A folder where the runtime's own module stands for a package under its tests.
fn instead_of(package: &str) -> tempfile::TempDir {
    let modules = folder().join("node_modules").canonicalize().unwrap();
    let own = tempfile::tempdir().unwrap();
    let index = format!("module.exports = require('{package}')");
    fs::write(own.path().join("index.js"), index).unwrap();
    fs::create_dir(own.path().join("test")).unwrap();
    for file in files(&modules.join(package)) {
        let name = Path::new(&file).file_name().unwrap();
        fs::copy(&file, own.path().join("test").join(name)).unwrap();
    }
    symlink(modules, own.path().join("node_modules")).unwrap();
    own
}

fn run(suites: &[Suite]) {
    for suite in suites {
        let package = folder().join("node_modules").join(suite.package);
        if !package.exists() {
            pome_test_support::skipped(suite.package, "needs npm ci --prefix tests/suites");
            return;
        }
    }
    let mut wrong = Vec::new();
    for suite in suites {
        let own = suite.is_own.then(|| instead_of(suite.package));
        let package = match &own {
            Some(own) => own.path().to_path_buf(),
            None => folder().join("node_modules").join(suite.package),
        };
        let start = folder().join("start.js");
        // Each file by itself, as its package's own command runs them.
        let (mut passes, mut fails) = (0, Vec::new());
        for file in files(&package) {
            let output = support::run(support::ours(&[start.to_str().unwrap(), &file]));
            let told = support::told(&output);
            let (held, failed) = read(&told);
            if failed.is_empty() && !told.ends_with("\nexit 0\n") {
                let said = String::from_utf8_lossy(&output.stderr);
                wrong.push(format!("{file}: {said}"));
            }
            passes += held;
            fails.extend(failed);
        }
        let known: Vec<_> = suite.fails.iter().map(|(name, _)| *name).collect();
        if passes != suite.passes || fails != known {
            wrong.push(format!("{}: {passes} held, not {fails:?}", suite.package));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How many assertions of a run hold, and the names of those that do not. In TAP, which both runners print; one of brittle's inside a test is indented.
fn read(told: &str) -> (u32, Vec<String>) {
    let mut held = 0;
    let mut failed = Vec::new();
    let is_brittle = told.contains("\n# asserts = ");
    for line in told.lines() {
        let line = match is_brittle {
            true => line.strip_prefix("    ").unwrap_or(""),
            false => line,
        };
        if line.starts_with("ok ") {
            held += 1;
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            let name = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            failed.push(name.trim_start_matches([' ', '-']).to_owned());
        }
    }
    (held, failed)
}

#[test]
fn with_brittle() {
    run(&[
        all("big-sparse-array", 7),
        all("compact-encoding", 172),
        // On the native hypercore and hyperbee.
        all("index-encoder", 54),
        all("ready-resource", 4),
        all("z32", 8),
    ]);
}

#[test]
fn with_tape() {
    run(&[
        all("fast-fifo", 26),
        all("flat-tree", 131),
        all("mutexify", 46),
        all("protocol-buffers-encodings", 699),
        all("random-array-iterator", 62),
        all("shuffled-priority-queue", 29),
        all("signed-varint", 80),
        all("unordered-set", 11),
        all("varint", 513),
    ]);
}

const UNAWAITED: (&str, &str) = (
    ".end() already called: destroying",
    "QuickJS does not wait for an iterator's `return` when the body of `for await` throws",
);
const LATE: (&str, &str) = (
    ".end() already called: should be strictly equal",
    "fails in node, too",
);
const BUFFERS: (&str, &str) = (
    "should be deeply equivalent",
    "a stream of Bare's makes strings to Buffers, and has no `objectMode`",
);

/// npm's streamx itself, and the runtime's own under the same tests.
#[test]
fn streams_of_npm() {
    run(&[
        Suite {
            package: "streamx",
            passes: 300,
            fails: &[UNAWAITED, LATE, BUFFERS, BUFFERS],
            is_own: false,
        },
        Suite {
            package: "streamx",
            passes: 298,
            fails: &[
                UNAWAITED,
                ("should be deeply equivalent", "as npm's streamx 2.28"),
                LATE,
                BUFFERS,
                BUFFERS,
                ("should be truthy", "as npm's streamx 2.28"),
            ],
            is_own: true,
        },
    ]);
}
