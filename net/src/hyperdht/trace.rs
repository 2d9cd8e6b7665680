//! What an attempt to connect learns about both sides, for who wants to say why there is no way.

use super::{
    messages::{NoisePayload, firewall},
    nat::Nat,
    puncher::Puncher,
};
use parking_lot::Mutex;
use std::{net::SocketAddrV4, sync::Arc};

/// How far an attempt came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ConnectStage {
    /// Nodes that know the peer are looked for, and asked for it.
    #[default]
    Looking,
    /// The peer has answered through one of them.
    Answered,
    /// Both have told each other what kind of NAT is in front of them.
    Probed,
    /// Both send what is to open their NATs.
    Punching,
    /// The connection is open.
    Connected,
}

/// What an attempt has learnt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectSeen {
    /// How far it came.
    pub stage: ConnectStage,
    /// The node through which the peer answered.
    pub through: Option<SocketAddrV4>,
    /// We, as that node sees us.
    pub local_address: Option<SocketAddrV4>,
    /// The peer, as that node sees it.
    pub remote_address: Option<SocketAddrV4>,
    /// What kind of NAT is in front of us: see [`firewall`](super::messages::firewall). Found out only where it matters.
    pub local_firewall: u64,
    /// The same of the peer: what it says, or else as the nodes see it that know it.
    pub remote_firewall: u64,
}

/// Told what an attempt to connect learns, while it goes on: see [`ConnectOptions::trace`](super::ConnectOptions::trace). Clones are told the same.
///
/// ```
/// use pome_cores::KeyPair;
/// use pome_net::hyperdht::{ConnectOptions, ConnectStage, ConnectTrace, HyperDht, HyperDhtOptions};
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut options = HyperDhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// let dht = HyperDht::bind(options)?;
/// let trace = ConnectTrace::default();
/// let mut options = ConnectOptions::default();
/// options.trace = Some(trace.clone());
/// assert!(dht.connect(&KeyPair::random().public, options).await.is_err());
/// assert_eq!(trace.seen().stage, ConnectStage::Looking);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ConnectTrace(Arc<Mutex<ConnectSeen>>);

impl ConnectTrace {
    /// What is known so far.
    pub fn seen(&self) -> ConnectSeen {
        self.0.lock().clone()
    }

    fn reach(&self, stage: ConnectStage, note: impl FnOnce(&mut ConnectSeen)) {
        let seen = &mut *self.0.lock();
        seen.stage = seen.stage.max(stage);
        note(seen);
    }

    /// The peer has answered.
    pub(super) fn answered(
        &self,
        payload: &NoisePayload,
        through: SocketAddrV4,
        (local, remote): (SocketAddrV4, SocketAddrV4),
    ) {
        let mut nat = Nat::new(payload.firewall == firewall::OPEN);
        for relay in payload.holepunch.iter().flat_map(|info| &info.relays) {
            nat.add(relay.peer_address, relay.relay_address);
        }
        self.reach(ConnectStage::Answered, |seen| {
            seen.through = Some(through);
            seen.local_address = Some(local);
            seen.remote_address = Some(remote);
            seen.remote_firewall = match payload.firewall {
                firewall::UNKNOWN => nat.firewall(),
                told => told,
            };
        });
    }

    /// Both know something about their NATs, or all there is to know.
    pub(super) fn probed(&self, puncher: &Puncher) {
        let (local, _) = puncher.nat();
        let remote = puncher.remote_firewall();
        self.reach(ConnectStage::Probed, |seen| {
            seen.local_firewall = local;
            if remote != firewall::UNKNOWN {
                seen.remote_firewall = remote;
            }
        });
    }

    pub(super) fn punching(&self) {
        self.reach(ConnectStage::Punching, |_| {});
    }

    pub(super) fn connected(&self) {
        self.reach(ConnectStage::Connected, |_| {});
    }
}
