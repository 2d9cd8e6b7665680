//! Nodes in another process, npm's hyperdht or ours, which do what they are told.
#![allow(dead_code, reason = "each test uses a part of it")]

use pome_test_support::npm_folder;
use serde_json::{Value, json};
use std::{net::SocketAddrV4, process::Stdio, sync::atomic::AtomicU64, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// The npm modules that the other side is made of.
pub(crate) const MODULES: &[&str] = &["hyperdht", "dht-rpc"];

pub(crate) struct Npm {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    next: AtomicU64,
    /// What it told that was no answer.
    pub(crate) events: Vec<Value>,
}

impl Npm {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("node");
        command.arg(npm_folder().join("dht.js"));
        Self::from(command)
    }

    /// Any program that speaks as `dht.js` does.
    pub(crate) fn from(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            _child: child,
            stdin,
            lines,
            next: AtomicU64::new(1),
            events: Vec::new(),
        }
    }

    async fn line(&mut self) -> Value {
        loop {
            let line = tokio::time::timeout(Duration::from_secs(100), self.lines.next_line())
                .await
                .expect("a line in time")
                .unwrap()
                .expect("a line");
            // A test harness around it says things of its own.
            if let Some(at) = line.find('{') {
                return serde_json::from_str(&line[at..])
                    .unwrap_or_else(|error| panic!("{line:?}: {error}"));
            }
        }
    }

    /// What it answers, errors among it.
    pub(crate) async fn ask(&mut self, command: &str, mut args: Value) -> Value {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        args["id"] = json!(id);
        args["command"] = json!(command);
        self.stdin
            .write_all(format!("{args}\n").as_bytes())
            .await
            .unwrap();
        loop {
            let line = self.line().await;
            if line["id"] == id {
                return line;
            }
            self.events.push(line);
        }
    }

    /// What it answers, when that must be no error.
    pub(crate) async fn tell(&mut self, command: &str, args: Value) -> Value {
        let said = args.to_string();
        let answer = self.ask(command, args).await;
        assert!(answer["error"].is_null(), "{command} {said}: {answer}");
        answer
    }

    /// The next event of a name.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        if let Some(at) = self.events.iter().position(|event| event["event"] == name) {
            return self.events.remove(at);
        }
        loop {
            let line = self.line().await;
            if line["event"] == name {
                return line;
            }
            self.events.push(line);
        }
    }

    /// A lasting node that begins with these.
    pub(crate) async fn node(&mut self, bootstrap: &[SocketAddrV4]) -> (u64, SocketAddrV4) {
        self.node_with(bootstrap, json!({})).await
    }

    pub(crate) async fn node_with(
        &mut self,
        bootstrap: &[SocketAddrV4],
        mut options: Value,
    ) -> (u64, SocketAddrV4) {
        let bootstrap: Vec<String> = bootstrap.iter().map(ToString::to_string).collect();
        options["bootstrap"] = json!(bootstrap);
        let node = self.tell("node", options).await;
        let port = u16::try_from(node["port"].as_u64().unwrap()).unwrap();
        let address = SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port);
        (node["node"].as_u64().unwrap(), address)
    }
}

/// The addresses in a list of texts.
pub(crate) fn addresses(value: &Value) -> Vec<SocketAddrV4> {
    let list = value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"));
    list.iter()
        .map(|text| text.as_str().unwrap().parse().unwrap())
        .collect()
}
