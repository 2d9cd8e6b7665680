//! The stdin, stdout and progress of a command, wherever it runs.

use super::{
    failure::Failure,
    frame::{ClientFrame, Context, Progress, Reach, WorkFrame},
    service::IfMissing,
};
use bytes::Bytes;
use serde_json::{Value, json};
use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The largest piece of stdout that goes into one frame, in bytes.
const PIECE_BYTES_MAX: usize = 1 << 20;

/// One command's side of its client.
pub(crate) struct Io {
    context: Context,
    to_client: mpsc::Sender<WorkFrame>,
    from_client: mpsc::Receiver<ClientFrame>,
    stdin_wanted: bool,
    last_progress: Option<Instant>,
}

impl Io {
    pub(crate) fn new(
        context: Context,
        to_client: mpsc::Sender<WorkFrame>,
        from_client: mpsc::Receiver<ClientFrame>,
    ) -> Self {
        Self {
            context,
            to_client,
            from_client,
            stdin_wanted: false,
            last_progress: None,
        }
    }

    pub(crate) fn json(&self) -> bool {
        self.context.json
    }

    /// The peers that were named.
    pub(crate) fn peers(&self) -> &[String] {
        &self.context.peers
    }

    /// How peers are found.
    pub(crate) fn reach(&self) -> &Reach {
        &self.context.reach
    }

    /// How long nothing may come.
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs_f64(self.context.patience)
    }

    /// May what is not in the store be asked of peers?
    pub(crate) fn if_missing(&self) -> IfMissing {
        match self.is_alone() {
            true => IfMissing::Refuse,
            false => IfMissing::Fetch,
        }
    }

    /// True when nobody can be asked.
    pub(crate) fn is_alone(&self) -> bool {
        self.context.peers.is_empty() && self.context.reach.is_none()
    }

    /// True when somebody looks at a progress bar.
    pub(crate) fn progress_wanted(&self) -> bool {
        self.context.progress
    }

    /// `path` as the caller meant it.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.context.cwd.join(path)
    }

    async fn send(&self, frame: WorkFrame) -> Result<(), Failure> {
        self.to_client
            .send(frame)
            .await
            .map_err(|_| Failure::gone())
    }

    /// One result: a line of JSON, or `text`.
    pub(crate) async fn result(
        &self,
        value: Value,
        text: impl std::fmt::Display,
    ) -> Result<(), Failure> {
        let line = if self.json() {
            format!("{value}\n")
        } else {
            format!("{text}\n")
        };
        self.raw(line.into()).await
    }

    /// An event of a long-lived command: a line of JSON, or `text` where there is some.
    pub(crate) async fn event(&self, value: Value, text: &str) -> Result<(), Failure> {
        match (self.json(), text) {
            (false, "") => Ok(()),
            _ => self.result(value, text).await,
        }
    }

    /// Bytes as they are.
    pub(crate) async fn raw(&self, mut bytes: Bytes) -> Result<(), Failure> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            self.send(WorkFrame::Stdout(piece)).await?;
        }
        Ok(())
    }

    /// A line for people.
    pub(crate) async fn note(&self, text: impl std::fmt::Display) -> Result<(), Failure> {
        self.send(WorkFrame::Stderr(format!("{text}\n").into()))
            .await
    }

    /// How far the work has come; sent at most ten times a second. Never waits: a slow terminal does not slow the work.
    pub(crate) fn progress(&mut self, done: u64, total: u64, unit: &str) {
        let now = Instant::now();
        let due = self
            .last_progress
            .is_none_or(|last| now - last >= Duration::from_millis(100))
            || done == total;
        if self.context.progress && due {
            self.last_progress = Some(now);
            let _ = self.to_client.try_send(WorkFrame::Progress(Progress {
                done,
                total,
                unit: unit.into(),
            }));
        }
    }

    /// The next bytes of stdin; `None` at its end.
    pub(crate) async fn stdin(&mut self) -> Result<Option<Bytes>, Failure> {
        if !self.stdin_wanted {
            self.stdin_wanted = true;
            self.send(WorkFrame::WantStdin).await?;
        }
        match self.from_client.recv().await {
            Some(ClientFrame::Stdin(bytes)) => Ok(Some(bytes)),
            Some(ClientFrame::StdinEnd) => Ok(None),
            Some(ClientFrame::Request(_) | ClientFrame::Stop) | None => Err(Failure::gone()),
        }
    }

    /// Waits until the client says stop, or leaves. True when it said so and still listens.
    pub(crate) async fn stopped(&mut self) -> bool {
        loop {
            match self.from_client.recv().await {
                Some(ClientFrame::Stop) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// The client keeps this mount from now on.
    pub(crate) async fn keep(&self, mountpoint: PathBuf) -> Result<(), Failure> {
        self.send(WorkFrame::Keep(mountpoint)).await
    }

    /// The client no longer keeps this mount.
    pub(crate) async fn unkeep(&self, mountpoint: PathBuf) -> Result<(), Failure> {
        self.send(WorkFrame::Unkeep(mountpoint)).await
    }
}

/// A value as JSON has it: text where it is text, else `{"$hex":"…"}`.
pub(crate) fn value_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "$hex": hex(bytes) }),
    }
}

/// A path, likewise.
pub(crate) fn path_json(path: &Path) -> Value {
    value_json(path.as_os_str().as_bytes())
}

/// What [`value_json`] has shown, in a line for people.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(object) if object.len() == 1 && object.contains_key("$hex") => {
            format!("0x{}", object["$hex"].as_str().unwrap_or_default())
        }
        value => value.to_string(),
    }
}

/// Lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
