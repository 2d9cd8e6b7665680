//! A network, and apps on it: each is a process of its own, run by pome, or by Bare or node with npm's modules.

use super::process::{
    Peers, Pome,
    talk::{Talker, testnet},
};
use pome_test_support::{npm_folder, npm_works, skipped};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Longer than anything takes: what did not come by then does not come.
const PATIENCE: Duration = pome_test_support::PATIENCE;

/// Who runs an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// `pome run`.
    Pome,
    /// `pome run` with npm's JavaScript of the stack.
    PomeNpm,
    /// npm's modules in npm's Bare.
    Bare,
    /// npm's modules in node, which has its own modules for Bare's.
    Node,
}

impl By {
    /// True when it is here; else says that `test` is skipped.
    pub(crate) fn works(self, test: &str) -> bool {
        match self {
            Self::Pome => true,
            Self::Node | Self::PomeNpm => {
                npm_works(test, &["hyperswarm", "hyperdrive", "autobase"])
            }
            Self::Bare => {
                let works = bare().exists();
                if !works {
                    skipped(test, "needs npm's Bare: npm ci --prefix tests/suites");
                }
                works
            }
        }
    }
}

fn bare() -> PathBuf {
    npm_folder().join("../suites/node_modules/.bin/bare")
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs")
}

/// A network, and a home for all apps of a test.
pub(crate) struct World {
    pub(crate) home: tempfile::TempDir,
    pome: Pome,
    bootstrap: String,
    _testnet: Talker,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (testnet, bootstrap) = testnet(home.path());
        let pome = Pome::new(home.path().join("store")).with(Peers::Dht(bootstrap.clone()));
        Self {
            home,
            pome,
            bootstrap,
            _testnet: testnet,
        }
    }

    /// Runs an app of `tests/programs`.
    pub(crate) fn app(&self, by: By, name: &str, args: &[&str]) -> App {
        let mut command = match by {
            By::Pome => self.by_pome(&programs().join(name).join("index.js")),
            By::PomeNpm => self.by_pome(&self.with_npm(name).join("index.js")),
            By::Bare | By::Node => self.by_npm(by, name),
        };
        let child = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        App::new(format!("{name} by {by:?}"), child)
    }

    fn by_pome(&self, file: &Path) -> Command {
        let mut command = self.pome.command(&["run", file.to_str().unwrap()]);
        command.env("POME_APPS", self.home.path().join("apps"));
        command
    }

    /// npm's modules are found in the folders above a program: the programs are copied beside them.
    fn with_npm(&self, name: &str) -> PathBuf {
        let folder = self.home.path().join("npm");
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            let modules = npm_folder().join("node_modules").canonicalize().unwrap();
            symlink(modules, folder.join("node_modules")).unwrap();
            copy_files(&programs().join("npm"), &folder);
        }
        copy_files(&programs().join(name), &folder.join(name));
        folder.join(name)
    }

    fn by_npm(&self, by: By, name: &str) -> Command {
        let folder = self.with_npm(name);
        let folder = folder.parent().unwrap();
        let (program, start) = match by {
            By::Node => (PathBuf::from("node"), "node.mjs"),
            _ => (bare(), "start.mjs"),
        };
        let mut command = Command::new(program);
        command
            .arg(folder.join(start))
            .env("APP", name)
            .env("STORAGE", self.home.path().join("npm-storage").join(name))
            .env("BOOTSTRAP", &self.bootstrap);
        command
    }

    /// Waits until somebody has announced the core with this key: a peer that looks for it too early looks again minutes later.
    pub(crate) fn is_announced(&self, key: &str) {
        let until = Instant::now() + PATIENCE;
        let lookup = ["dht", "lookup", "--core", key];
        while !self.pome.run(&lookup).status.success() {
            assert!(Instant::now() < until, "nobody announced {key}");
        }
    }
}

/// Copies the files of a folder; what is there already stays.
fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A running app. Dropped, it is killed.
pub(crate) struct App {
    name: String,
    pub(crate) child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl App {
    pub(crate) fn new(name: String, mut child: Child) -> Self {
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            name,
            input: child.stdin.take().unwrap(),
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// The next line, or the next that nobody asked for.
    pub(crate) fn line(&mut self) -> String {
        self.says("")
    }

    /// The next line that starts like this; what follows comes back. Lines before it are for who asks for them.
    pub(crate) fn says(&mut self, start: &str) -> String {
        let said = self.tells(start);
        said.unwrap_or_else(|| panic!("{} never said {start:?}, but {:?}", self.name, self.seen))
    }

    /// The same of an app that may end before it says so, or never does.
    pub(crate) fn tells(&mut self, start: &str) -> Option<String> {
        let until = Instant::now() + PATIENCE;
        let mut seen = 0;
        loop {
            let Some(line) = self.seen.get(seen) else {
                let left = until.saturating_duration_since(Instant::now());
                self.seen.push(self.lines.recv_timeout(left).ok()?);
                continue;
            };
            if let Some(rest) = line.strip_prefix(start) {
                let rest = rest.trim().to_owned();
                self.seen.remove(seen);
                return Some(rest);
            }
            seen += 1;
        }
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    /// Ctrl-C; how it ends.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
