//! Another process that does what lines of JSON tell it: `{"id", "command", …}`. It answers each by `{"id", …}`, and says `{"event", …}` in between.
#![allow(dead_code, reason = "each test uses a part of it")]

use serde_json::{Value, json};
use std::{collections::VecDeque, process::Stdio};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// See the module. Dropped, it is killed.
pub(crate) struct Told {
    _child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    last: u64,
    /// What was said and not asked for yet.
    heard: VecDeque<Value>,
}

impl Told {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            _child: child,
            last: 0,
            heard: VecDeque::new(),
        }
    }

    async fn line(&mut self) -> Value {
        loop {
            let line = tokio::time::timeout(pome_test_support::PATIENCE, self.lines.next_line())
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

    /// The next line that is so, of those that were passed over and those to come.
    pub(crate) async fn next(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.heard.iter().position(&wanted) {
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

    /// Tells it to do something, without waiting for it.
    pub(crate) async fn begin(&mut self, command: &str, mut args: Value) -> u64 {
        self.last += 1;
        args["id"] = json!(self.last);
        args["command"] = json!(command);
        let line = format!("{args}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
        self.last
    }

    /// What it answers to that, when that must be no error.
    pub(crate) async fn done(&mut self, id: u64) -> Value {
        let answer = self.next(|line| line["id"] == id).await;
        assert!(answer["error"].is_null(), "{answer}");
        answer
    }

    /// What it answers, errors among it.
    pub(crate) async fn ask(&mut self, command: &str, args: Value) -> Value {
        let id = self.begin(command, args).await;
        self.next(|line| line["id"] == id).await
    }

    /// What it answers, when that must be no error.
    pub(crate) async fn tell(&mut self, command: &str, args: Value) -> Value {
        let said = args.to_string();
        let answer = self.ask(command, args).await;
        assert!(answer["error"].is_null(), "{command} {said}: {answer}");
        answer
    }
}
