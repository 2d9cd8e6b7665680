//! What a process is told to do, one line of JSON each, and what it answers. The peer of npm is `benches/peers/npm/network.js`.

use serde::{Deserialize, Serialize};

/// What a peer is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "order")]
#[allow(missing_docs, reason = "each order says what its fields are")]
pub enum Order {
    /// Be a network of lasting nodes.
    Network { nodes: usize },
    /// Listen under so many keys, with one node.
    Serve {
        bootstrap: String,
        firewalled: bool,
        keys: usize,
    },
    /// Connect to each key, one after the other, until a channel is open on both sides; and close.
    Connect {
        bootstrap: String,
        firewalled: bool,
        keys: Vec<String>,
    },
    /// Connect to the first key so often, and keep the connections.
    Hold {
        bootstrap: String,
        firewalled: bool,
        keys: Vec<String>,
        connections: usize,
    },
    /// Make a core of so many blocks in a store in this folder, and replicate it with who connects.
    Share {
        folder: String,
        bootstrap: String,
        size: usize,
        count: usize,
    },
    /// Connect, and download such a core into a store in this folder.
    Download {
        folder: String,
        bootstrap: String,
        key: String,
        core: String,
        count: usize,
    },
    /// How much memory is in use, that of files not counted.
    Memory {},
    /// Both sides of as many handshakes as can be done in so many seconds, with nothing in between.
    Handshakes { pattern: String, seconds: f64 },
}

/// The answer to [`Order::Network`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Network {
    /// A node to begin with.
    pub bootstrap: String,
}

/// The answer to [`Order::Serve`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Serving {
    /// Under which keys it listens.
    pub keys: Vec<String>,
}

/// The answer to [`Order::Connect`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Connected {
    /// How long each connection took.
    pub millis: Vec<f64>,
}

/// The answer to [`Order::Share`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Shared {
    /// Who it is.
    pub key: String,
    /// The key of the core.
    pub core: String,
}

/// The answer to [`Order::Download`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Downloaded {
    /// From the call of `connect` on.
    pub seconds: f64,
}

/// The answer to [`Order::Memory`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    /// In use.
    pub bytes: u64,
}

/// The answer to [`Order::Handshakes`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shaken {
    /// How many handshakes.
    pub per_second: f64,
}
