//! Streams of npm's udx-native in another process, which do what they are told.

use pome_test_support::npm_folder;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// The npm modules that the other side is made of.
pub(crate) const MODULES: &[&str] = &["udx-native"];

pub(crate) struct Npm {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    next: u64,
    /// What was said and not asked for yet.
    heard: VecDeque<Value>,
    /// Its socket.
    pub(crate) socket: u64,
    pub(crate) address: SocketAddr,
}

impl Npm {
    pub(crate) async fn start() -> Self {
        let mut child = Command::new("node")
            .arg(npm_folder().join("udx.js"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut npm = Self {
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
            next: 0,
            heard: VecDeque::new(),
            socket: 0,
            address: (Ipv4Addr::LOCALHOST, 0).into(),
        };
        (npm.socket, npm.address) = npm.bind().await;
        npm
    }

    /// Another socket of it.
    pub(crate) async fn bind(&mut self) -> (u64, SocketAddr) {
        let socket = self.tell("socket", json!({})).await;
        let port = u16::try_from(socket["port"].as_u64().unwrap()).unwrap();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        (socket["socket"].as_u64().unwrap(), address)
    }

    async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line())
            .await
            .expect("a line within a minute")
            .unwrap()
            .expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Tells it to do something, without waiting for it.
    pub(crate) async fn begin(&mut self, command: &str, mut args: Value) -> u64 {
        self.next += 1;
        args["id"] = json!(self.next);
        args["command"] = json!(command);
        let line = format!("{args}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
        self.next
    }

    /// What it answers to that.
    pub(crate) async fn done(&mut self, id: u64) -> Value {
        if let Some(at) = self.heard.iter().position(|line| line["id"] == id) {
            return self.heard.remove(at).unwrap();
        }
        loop {
            let line = self.line().await;
            if line["id"] == id {
                assert!(line["error"].is_null(), "{line}");
                return line;
            }
            self.heard.push_back(line);
        }
    }

    pub(crate) async fn tell(&mut self, command: &str, args: Value) -> Value {
        let id = self.begin(command, args).await;
        self.done(id).await
    }

    /// What it says next of this stream and event.
    pub(crate) async fn event(&mut self, stream: u32, event: &str) -> Value {
        let wanted = |line: &Value| line["event"] == event && line["stream"] == stream;
        if let Some(at) = self.heard.iter().position(wanted) {
            return self.heard.remove(at).unwrap();
        }
        loop {
            let line = self.line().await;
            if wanted(&line) {
                return line;
            }
            self.heard.push_back(line);
        }
    }

    /// A stream on its socket.
    pub(crate) async fn stream(&mut self, id: u32, remote_id: u32, remote: SocketAddr) {
        self.tell("stream", json!({"stream": id})).await;
        self.connect(id, remote_id, remote).await;
    }

    pub(crate) async fn connect(&mut self, id: u32, remote_id: u32, remote: SocketAddr) {
        let to = json!({
            "stream": id, "socket": self.socket, "remoteId": remote_id, "port": remote.port(),
        });
        self.tell("connect", to).await;
    }

    /// A stream that connects to whoever sends first.
    pub(crate) async fn accept(&mut self, id: u32, remote_id: u32) {
        self.tell("stream", json!({"stream": id, "accept": remote_id}))
            .await;
    }

    /// All that it has read of a stream that has ended: how many bytes, and their hash.
    pub(crate) async fn read(&mut self, stream: u32) -> (u64, String) {
        let end = self.event(stream, "end").await;
        let hash = end["hash"].as_str().unwrap().to_owned();
        (end["bytes"].as_u64().unwrap(), hash)
    }

    /// The error that a stream closed with, when it did not end well.
    pub(crate) async fn closed(&mut self, stream: u32) -> Option<String> {
        let close = self.event(stream, "close").await;
        close["error"].as_str().map(str::to_owned)
    }
}
