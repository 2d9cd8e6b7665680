//! What the machine is told and says.

use super::{Event, peer::Key};
use std::net::SocketAddrV4;

/// Names a connection, from the moment it is dialled.
pub(super) type LinkId = u64;

/// How many connections there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) peers: usize,
    pub(super) clients: usize,
    pub(super) servers: usize,
    pub(super) parallel: usize,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Dial; the outcome is told by `opened`, `failed` or `refused` of the machine.
    Connect {
        link: LinkId,
        key: Key,
        relay_addresses: Vec<SocketAddrV4>,
        force_relaying: bool,
    },
    /// Nobody wants it any more, whether it is open or being dialled. It need not be told that it closed.
    Drop { link: LinkId },
    /// It is being dialled, and nobody wants it any more: what opens is closed, so that the peer hears of it.
    Forsake { link: LinkId },
    /// A flush that began is over.
    Flushed { flush: u64, all: bool },
    /// Tell who listens.
    Tell(Event),
}

/// Connections of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SideStats {
    /// That opened.
    pub opened: u64,
    /// That closed; those that were dialled and never opened, too.
    pub closed: u64,
    /// That were dialled.
    pub attempted: u64,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SwarmStats {
    /// Changes of connections.
    pub updates: u64,
    /// Those that we dialled.
    pub client: SideStats,
    /// Those that peers dialled.
    pub server: SideStats,
    /// How often a peer was banned.
    pub banned_peers: u64,
}
