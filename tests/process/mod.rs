//! The real binary, as a person or a script runs it.
#![allow(dead_code, reason = "each test crate uses its part")]

pub(crate) mod places;
pub(crate) mod talk;
pub(crate) mod terminal;

use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// Where commands look for peers, and are found.
#[derive(Debug, Clone)]
pub(crate) enum Peers {
    /// Nowhere. No test asks the public network, or the network of the machine it runs on: one that wants a network makes its own, and says so.
    Nowhere,
    /// In the DHT that begins with these nodes.
    Dht(String),
    /// On the local network, which is one that the test made; the nodes of the DHT are out of reach there.
    Lan,
}

/// A store in a folder of its own, and the commands on it.
pub(crate) struct Pome {
    pub(crate) store: PathBuf,
    pub(crate) peers: Peers,
    /// In the network namespace of this process.
    pub(crate) namespace: Option<u32>,
    binary: PathBuf,
}

impl Pome {
    pub(crate) fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            peers: Peers::Nowhere,
            namespace: None,
            binary: env!("CARGO_BIN_EXE_pome").into(),
        }
    }

    /// The same with a copy of the binary, which has another name.
    pub(crate) fn copied_to(mut self, copy: &Path) -> Self {
        if std::fs::hard_link(&self.binary, copy).is_err() {
            std::fs::copy(&self.binary, copy).expect("a copy");
        }
        self.binary = copy.into();
        self
    }

    /// The same with peers.
    pub(crate) fn with(mut self, peers: Peers) -> Self {
        self.peers = peers;
        self
    }

    /// The folder that apps have in common.
    pub(crate) fn apps(&self) -> PathBuf {
        self.store.with_extension("apps")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.namespace {
            None => Command::new(&self.binary),
            Some(process) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &process.to_string(), "-n"]);
                command.arg(&self.binary);
                command
            }
        };
        command
            .args(args)
            .env("POME_STORE", &self.store)
            .env("POME_APPS", self.apps())
            .env_remove("SUDO_USER")
            .stdin(Stdio::null());
        for (variable, value) in self.variables() {
            command.env(variable, value);
        }
        command
    }

    /// What keeps commands from looking for peers elsewhere.
    pub(crate) fn variables(&self) -> [(&'static str, String); 3] {
        let (bootstrap, no_swarm, no_lan) = match &self.peers {
            Peers::Nowhere => ("none", "1", "1"),
            Peers::Dht(nodes) => (nodes.as_str(), "", "1"),
            // An address that belongs to nobody.
            Peers::Lan => ("192.0.2.1:49737", "", ""),
        };
        [
            ("POME_BOOTSTRAP", bootstrap.to_owned()),
            ("POME_NO_SWARM", no_swarm.to_owned()),
            ("POME_NO_LAN", no_lan.to_owned()),
        ]
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    /// Runs a command that must end well; its stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(args);
        assert!(
            output.status.success(),
            "pome {args:?}: {}\nstdout: {}\nstderr: {}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// As `ok`, with `--json`: one value a line.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        lines(&self.ok(&[&["--json"], args].concat()))
    }

    /// Runs a command with something on its stdin.
    pub(crate) fn with_stdin(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut child = self
            .command(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawns");
        let mut pipe = child.stdin.take().expect("a pipe");
        let bytes = stdin.to_vec();
        let writer = std::thread::spawn(move || pipe.write_all(&bytes));
        let output = child.wait_with_output().expect("ends");
        // A command that refused early has closed its stdin.
        let _ = writer.join().expect("no panic");
        output
    }

    /// Runs a command that must fail: its exit status and its error code.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(&[&["--json"], args].concat());
        assert!(!output.status.success(), "pome {args:?} should fail");
        let last = lines(&output.stdout).pop().unwrap_or_default();
        let code = last["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("pome {args:?}: no error: {last}"));
        (output.status.code().unwrap_or(-1), code.to_owned())
    }

    /// Mounts, and waits until the folder is usable.
    pub(crate) fn mount(&self, mountpoint: &Path, args: &[&str]) -> MountProcess {
        let at = mountpoint.to_str().expect("a plain path");
        let mut child = self
            .command(&[&["--json", "mount", at], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawns");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        assert_eq!(event["event"], "mounted", "{line}");
        let owner = event["pid"].as_i64().expect("a process number") as i32;
        MountProcess {
            child,
            stdout,
            owner,
            event,
            mountpoint: mountpoint.into(),
        }
    }
}

pub(crate) fn lines(stdout: &[u8]) -> Vec<Value> {
    String::from_utf8_lossy(stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}")))
        .collect()
}

/// A running `pome mount`.
pub(crate) struct MountProcess {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) owner: i32,
    pub(crate) event: Value,
    pub(crate) mountpoint: PathBuf,
}

impl MountProcess {
    pub(crate) fn signal(pid: i32, signal: &str) {
        let status = Command::new("kill")
            .arg(signal)
            .arg(pid.to_string())
            .status()
            .expect("kill runs");
        assert!(status.success(), "kill {signal} {pid}");
    }

    /// Ctrl-C, and waits for the end.
    pub(crate) fn stop(mut self) -> Value {
        Self::signal(self.child.id() as i32, "-INT");
        let last = self.rest().pop().unwrap_or_default();
        assert!(self.child.wait().expect("ends").success());
        last
    }

    /// Stops the owner and kills the client, so that neither takes the mount down: its owner answers nobody until it is killed or goes on.
    pub(crate) fn abandon(&mut self) {
        Self::signal(self.owner, "-STOP");
        self.child.kill().expect("the client is there");
        self.child.wait().expect("ends");
    }

    /// `kill -9` of the owner; the client must take the mount down and end with an error by itself.
    pub(crate) fn kill_owner(mut self) -> Value {
        Self::signal(self.owner, "-KILL");
        let last = self.rest().pop().unwrap_or_default();
        assert!(!self.child.wait().expect("ends").success());
        last
    }

    /// All that it still prints.
    pub(crate) fn rest(&mut self) -> Vec<Value> {
        let mut out = Vec::new();
        while let Some(Ok(line)) = (&mut self.stdout).lines().next() {
            out.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}")));
        }
        out
    }
}

/// True when FUSE works here; says loudly what is skipped when it does not.
pub(crate) fn fuse_works(test: &str) -> bool {
    let works = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .is_ok();
    if !works {
        pome_test_support::skipped(test, "/dev/fuse cannot be opened here");
    }
    works
}
