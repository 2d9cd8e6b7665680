//! Processes that talk in lines of JSON: `pome share`, and npm's modules behind a script of `tests/interop`.

use super::{MountProcess, Pome};
use pome_test_support::JsonProcess;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, ChildStdout, Stdio},
};

/// A process that says lines of JSON. Dropped, it is interrupted.
pub(crate) struct Talker {
    pub(crate) child: Child,
    lines: BufReader<ChildStdout>,
}

impl Talker {
    pub(crate) fn new(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }

    pub(crate) fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Control-C, as a person ends it.
    pub(crate) fn interrupt(&mut self) {
        MountProcess::signal(self.child.id() as i32, "-INT");
    }

    /// Control-C, and waits for the end.
    pub(crate) fn stop(mut self) {
        self.interrupt();
        assert!(self.child.wait().expect("ends").success());
    }
}

impl Drop for Talker {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.interrupt();
            let _ = self.child.wait();
        }
    }
}

/// A network of 4 nodes on loopback, and where to begin in it.
pub(crate) fn testnet(home: &Path) -> (Talker, String) {
    let nobody = Pome::new(home.join("nobody"));
    let child = nobody
        .command(&["--json", "dht", "testnet", "4"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawns");
    let mut talker = Talker::new(child);
    let event = talker.line();
    let bootstrap = event["bootstrap"].as_str().expect("nodes").to_owned();
    (talker, bootstrap)
}

/// `pome share`, and where it listens.
pub(crate) fn share(pome: &Pome, targets: &[&str]) -> (Talker, String) {
    share_at(pome, targets, "127.0.0.1:0")
}

/// The same at this address.
pub(crate) fn share_at(pome: &Pome, targets: &[&str], address: &str) -> (Talker, String) {
    let args = [&["--json", "share"], targets, &["--listen", address]].concat();
    let child = pome
        .command(&args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawns");
    let mut talker = Talker::new(child);
    let event = talker.line();
    assert_eq!(event["event"], "listening", "{event}");
    let address = event["address"].as_str().expect("an address").to_owned();
    (talker, address)
}

/// A script of `tests/interop` that obeys lines of JSON, in a folder of its own.
pub(crate) struct Npm {
    process: JsonProcess,
    _folder: tempfile::TempDir,
}

impl Npm {
    pub(crate) fn start(script: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self {
            process: JsonProcess::npm(script, [folder.path()]),
            _folder: folder,
        }
    }

    /// One word with its arguments, and the answer.
    pub(crate) fn say(&mut self, word: &str, mut with: Value) -> Value {
        with["word"] = word.into();
        // As dht.js has it.
        with["command"] = word.into();
        self.process.tell(&with)
    }
}
