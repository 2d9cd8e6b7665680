//! How a command ends when it does not end well: a code, a message, and an exit status.

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The exit statuses of the contract.
pub(crate) mod status {
    pub(crate) const ERROR: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_FOUND: u8 = 3;
    pub(crate) const TIMED_OUT: u8 = 4;
}

/// What is printed, and the exit status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) status: u8,
}

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            status: status::ERROR,
        }
    }

    /// Without a message yet; the exit status is that of the code.
    pub(crate) fn of_code(code: &str) -> Self {
        let status = match code {
            "NOT_FOUND"
            | "BLOCK_NOT_AVAILABLE"
            | "STORAGE_EMPTY"
            | "NOT_MOUNTED"
            | "PEER_NOT_FOUND" => status::NOT_FOUND,
            "REQUEST_TIMEOUT"
            | "TIMED_OUT"
            | "CONNECTION_TIMED_OUT"
            | "ETIMEDOUT"
            | "TOO_FEW_NODES"
            | "PEER_CONNECTION_FAILED"
            | "PEER_UNREACHABLE"
            | "HOLEPUNCH_ABORTED"
            | "HOLEPUNCH_PROBE_TIMEOUT"
            | "RELAY_ABORTED"
            | "RELAY_GONE" => status::TIMED_OUT,
            _ => status::ERROR,
        };
        Self {
            status,
            ..Self::new(code, "")
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self {
            status: status::USAGE,
            ..Self::new("USAGE", message)
        }
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: status::NOT_FOUND,
            ..Self::new("NOT_FOUND", message)
        }
    }

    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self {
            status: status::TIMED_OUT,
            ..Self::new("TIMED_OUT", message)
        }
    }

    /// The client has gone: nobody is left to tell.
    pub(crate) fn gone() -> Self {
        Self::new("GONE", "the client has left")
    }

    pub(crate) fn io(what: &str, error: &std::io::Error) -> Self {
        let failure = Self::new("IO", format!("{what}: {error}"));
        match error.kind() {
            std::io::ErrorKind::NotFound => Self {
                status: status::NOT_FOUND,
                code: "NOT_FOUND".into(),
                ..failure
            },
            std::io::ErrorKind::TimedOut => Self {
                status: status::TIMED_OUT,
                code: "TIMED_OUT".into(),
                ..failure
            },
            _ => failure,
        }
    }

    /// The last line on stdout under `--json`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({ "error": { "code": self.code, "message": self.message } })
    }

    /// From an error of the library: its npm code, the whole chain of messages, and the exit status that goes with the code.
    pub(crate) fn chain(code: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = cause.source();
        }
        Self {
            message,
            ..Self::of_code(code)
        }
    }
}

macro_rules! from_library {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::chain(error.code(), &error)
            }
        }
    )*};
}
from_library!(
    pome_bee::Error,
    pome_cores::Error,
    pome_drive_fs::Error,
    pome_drive_fs::fuse::MountError,
    pome_net::Error,
    pome_net::dht_relay::RelayError,
    pome_net::dht_rpc::RequestError,
    pome_net::hyperdht::Error,
    pome_net::hyperswarm::Error,
    pome_storage::Error
);

#[cfg(test)]
mod tests {
    use super::*;

    /// `docs/errors.md` says what each code's exit status is.
    #[test]
    fn exit_statuses_are_those_of_the_document() {
        let document = include_str!("../../docs/errors.md");
        let mut rows = 0;
        for line in document.lines() {
            let Some((code, rest)) = line.strip_prefix("| `").and_then(|l| l.split_once("` |"))
            else {
                continue;
            };
            let exit = rest.trim_end().trim_end_matches('|').rsplit('|').next();
            let exit: u8 = exit.unwrap_or_default().trim().parse().unwrap();
            let made = match code {
                // A person's or a script's own fault, wherever it is found.
                "USAGE" => Failure::usage("").status,
                code => Failure::of_code(code).status,
            };
            assert_eq!(made, exit, "{code}");
            rows += 1;
        }
        assert!(rows > 100, "only {rows} rows were read");
    }
}
