//! What a client and the process that does its work say to each other: the same frames through a channel in one process, and over the owner's socket.
//!
//! On the socket a frame is one byte of kind, the length of the payload as u32 little-endian, and the payload.

use super::{
    args::{Command, Relay},
    failure::Failure,
};
use bytes::Bytes;
use pome_cores::Key;
use pome_net::hyperdht::RelayChoice;
use serde::{Deserialize, Serialize};
use std::{io, path::PathBuf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest payload that is taken from a socket, in bytes.
const PAYLOAD_BYTES_MAX: u32 = 16 << 20;

/// A command, and what its caller's process is like.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) context: Context,
}

/// What the work depends on besides the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Context {
    /// The version of the client: another one is refused.
    pub(crate) version: String,
    /// The caller's working folder: relative paths start there.
    #[serde(with = "path")]
    pub(crate) cwd: PathBuf,
    pub(crate) json: bool,
    /// Progress is worth sending.
    pub(crate) progress: bool,
    /// Whom to ask for what is not here: `--peer`.
    pub(crate) peers: Vec<String>,
    /// How it finds others, and is found.
    pub(crate) reach: Reach,
    /// How long nothing may come, in seconds: `--timeout`.
    pub(crate) patience: f64,
}

/// How a command finds peers and is found by them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reach {
    /// Over the DHT that begins with these nodes (`HOST:PORT` each); empty: not at all.
    pub(crate) bootstrap: Vec<String>,
    /// On the local network.
    pub(crate) lan: bool,
    /// Whom to go through where there is no straight way.
    pub(crate) relays: Vec<String>,
    /// Who lends a node of the DHT where UDP is blocked.
    pub(crate) relay: Option<Relay>,
}

impl Reach {
    /// The keys of the relays.
    pub(crate) fn relay_through(&self) -> RelayChoice {
        let keys = self.relays.iter().filter_map(|key| key.parse().ok());
        keys.map(|key: Key| key.0).collect::<Vec<_>>().into()
    }

    /// True when it does not.
    pub(crate) fn is_none(&self) -> bool {
        self.bootstrap.is_empty() && !self.lan && self.relay.is_none()
    }
}

/// From the client.
#[derive(Debug)]
pub(crate) enum ClientFrame {
    /// The first frame.
    Request(Box<Request>),
    /// Some of its stdin.
    Stdin(Bytes),
    /// The end of its stdin.
    StdinEnd,
    /// Ctrl-C: end this client's work.
    Stop,
}

/// To the client.
#[derive(Debug)]
pub(crate) enum WorkFrame {
    /// The owner lives. The first one says that it has taken the connection and is ready for the request.
    Alive,
    Stdout(Bytes),
    Stderr(Bytes),
    /// Send what is on stdin.
    WantStdin,
    Progress(Progress),
    /// A folder is mounted for this client: it is the keeper from now on.
    Keep(PathBuf),
    /// A folder is no longer the client's to keep.
    Unkeep(PathBuf),
    /// The last frame.
    Exit(Option<Failure>),
}

/// How far long work has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) unit: String,
}

async fn write(to: &mut (impl AsyncWrite + Unpin), kind: u8, payload: &[u8]) -> io::Result<()> {
    let len = u32::try_from(payload.len())
        .ok()
        .filter(|len| *len <= PAYLOAD_BYTES_MAX)
        .ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a frame of more than 16 MiB")
        })?;
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&len.to_le_bytes());
    to.write_all(&head).await?;
    to.write_all(payload).await?;
    to.flush().await
}

async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u8, Bytes)>> {
    let mut head = [0; 5];
    match from.read_exact(&mut head).await {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let [kind, len @ ..] = head;
    let len = u32::from_le_bytes(len);
    if len > PAYLOAD_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {len} bytes on the owner's socket"),
        ));
    }
    let mut payload = vec![0; len as usize];
    from.read_exact(&mut payload).await?;
    Ok(Some((kind, payload.into())))
}

fn invalid(kind: u8) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("an unknown frame {kind} on the owner's socket"),
    )
}

/// Paths as they are: they need not be UTF-8, which a text of JSON is.
pub(crate) mod path {
    use super::{path_bytes, path_from};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::path::{Path, PathBuf};

    pub(crate) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        path_bytes(path).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Vec::<u8>::deserialize(from).map(|bytes| path_from(bytes.into()))
    }

    pub(crate) mod option {
        use super::*;

        pub(crate) fn serialize<S: Serializer>(
            path: &Option<PathBuf>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            path.as_deref().map(path_bytes).serialize(to)
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<PathBuf>, D::Error> {
            let bytes = Option::<Vec<u8>>::deserialize(from)?;
            Ok(bytes.map(|bytes| path_from(bytes.into())))
        }
    }
}

fn path_bytes(path: &std::path::Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}

fn path_from(bytes: Bytes) -> PathBuf {
    let name: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec());
    name.into()
}

impl ClientFrame {
    pub(crate) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        match self {
            Self::Request(request) => write(to, 0, &serde_json::to_vec(request)?).await,
            Self::Stdin(bytes) => write(to, 1, bytes).await,
            Self::StdinEnd => write(to, 2, &[]).await,
            Self::Stop => write(to, 3, &[]).await,
        }
    }

    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let Some((kind, payload)) = read(from).await? else {
            return Ok(None);
        };
        Ok(Some(match kind {
            0 => Self::Request(serde_json::from_slice(&payload)?),
            1 => Self::Stdin(payload),
            2 => Self::StdinEnd,
            3 => Self::Stop,
            _ => return Err(invalid(kind)),
        }))
    }
}

impl WorkFrame {
    pub(crate) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        match self {
            Self::Stdout(bytes) => write(to, 0, bytes).await,
            Self::Stderr(bytes) => write(to, 1, bytes).await,
            Self::WantStdin => write(to, 2, &[]).await,
            Self::Progress(progress) => write(to, 3, &serde_json::to_vec(progress)?).await,
            Self::Keep(path) => write(to, 4, path_bytes(path)).await,
            Self::Unkeep(path) => write(to, 5, path_bytes(path)).await,
            Self::Exit(failure) => write(to, 6, &serde_json::to_vec(failure)?).await,
            Self::Alive => write(to, 7, &[]).await,
        }
    }

    pub(crate) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let Some((kind, payload)) = read(from).await? else {
            return Ok(None);
        };
        Ok(Some(match kind {
            0 => Self::Stdout(payload),
            1 => Self::Stderr(payload),
            2 => Self::WantStdin,
            3 => Self::Progress(serde_json::from_slice(&payload)?),
            4 => Self::Keep(path_from(payload)),
            5 => Self::Unkeep(path_from(payload)),
            6 => Self::Exit(serde_json::from_slice(&payload)?),
            7 => Self::Alive,
            _ => return Err(invalid(kind)),
        }))
    }
}
