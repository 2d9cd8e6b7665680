//! How far one comes on the way to a peer, what is in front of it, and what would help.

use super::{Machine, Nat, since};
use crate::cli::{failure::Failure, io::Io};
use pome_cores::{Key, crypto::discovery_key};
use pome_net::{
    dht_relay::{DhtRelay, RelayConnectOptions},
    hyperdht::{
        self, ConnectOptions, ConnectSeen, ConnectStage, ConnectTrace, HyperDht, messages::Peer,
    },
};
use serde_json::{Value, json};
use std::time::Instant;
use tokio::time::timeout;

/// Peers that are dialled.
const PEERS: usize = 4;

/// A peer, and how many nodes know it.
type Known = (Peer, usize);

fn add(known: &mut Vec<Known>, peers: Vec<Peer>) {
    for peer in peers {
        let same = |(other, _): &&mut Known| other.public_key == peer.public_key;
        match known.iter_mut().find(same) {
            Some((_, nodes)) => *nodes += 1,
            None => known.push((peer, 1)),
        }
    }
}

/// Those who share what has this key, and the peer with this public key.
async fn find(dht: &HyperDht, key: Key, io: &Io) -> Result<Vec<Known>, Failure> {
    let mut known = Vec::new();
    let by_topic = dht.lookup(discovery_key(&key).0);
    for mut lookup in [by_topic, dht.find_peer(&key.0)] {
        let look = async {
            while let Some(one) = lookup.next().await? {
                add(&mut known, one.peers);
            }
            Ok::<_, hyperdht::Error>(())
        };
        if let Ok(looked) = timeout(io.patience(), look).await {
            looked?;
        }
    }
    Ok(known)
}

/// The same through a relay, which finds who has a public key by connecting to it.
async fn find_through(relay: &DhtRelay, key: Key, io: &Io) -> Result<Vec<Known>, Failure> {
    let mut known = Vec::new();
    let look = async {
        let mut lookup = relay.lookup(discovery_key(&key).0).await?;
        while let Some(one) = lookup.next().await {
            add(&mut known, one.into_peers());
        }
        Ok::<_, pome_net::dht_relay::RelayError>(())
    };
    if let Ok(looked) = timeout(io.patience(), look).await {
        looked?;
    }
    if known.is_empty() {
        let itself = Peer {
            public_key: key.0,
            relay_addresses: vec![],
        };
        known.push((itself, 0));
    }
    Ok(known)
}

/// How far one came, and what would help.
struct Diagnosis {
    stage: &'static str,
    fix: Option<&'static str>,
}

const RELAY: &str = "no packet gets from one to the other: one side needs an open UDP port, or both a relay (--relay-through), or one names the other by --peer";
const RANDOM: &str = "both NATs give out random ports: one side needs an open UDP port, or both a relay (--relay-through), or one names the other by --peer";
const REFUSED: &str =
    "the peer answers and refuses: it speaks another version, or its firewall does not let us in";
const UNREACHED: &str =
    "the relay does not reach it: is it still shared, and can the relay use UDP?";
const SILENT: &str = "nodes know the peer, but it does not answer: is it still running?";

impl Diagnosis {
    fn of(seen: &ConnectSeen, code: Option<&str>, here: Nat) -> Self {
        let there = Nat::of_firewall(seen.remote_firewall);
        let (stage, fix) = match (seen.stage, code) {
            (_, None) => ("connected", None),
            (_, Some("RELAY_REFUSED" | "RELAY_GONE")) => ("found", Some(UNREACHED)),
            (ConnectStage::Looking, _) => ("found", Some(SILENT)),
            (_, Some("SERVER_INCOMPATIBLE" | "SERVER_ERROR" | "HANDSHAKE_INVALID")) => {
                ("handshake", Some(REFUSED))
            }
            (_, Some("HOLEPUNCH_DOUBLE_RANDOMIZED_NATS")) => ("punch", Some(RANDOM)),
            _ if (here, there) == (Nat::Random, Nat::Random) => ("punch", Some(RANDOM)),
            _ => ("punch", Some(RELAY)),
        };
        Self { stage, fix }
    }
}

/// What came of dialling one peer.
struct Outcome {
    seen: ConnectSeen,
    relayed: bool,
    /// Milliseconds until it was connected.
    connected: Result<f64, Failure>,
}

impl Outcome {
    fn show(&self, key: Key, peer: &Peer, nodes: usize, here: Nat) -> (Value, String) {
        let failure = self.connected.as_ref().err();
        let code = failure.map(|failure| failure.code.as_str());
        let Diagnosis { stage, fix } = Diagnosis::of(&self.seen, code, here);
        let there = Nat::of_firewall(self.seen.remote_firewall);
        let address = self.seen.remote_address;
        let of = Key(peer.public_key).to_string();
        let mut value = json!({
            "key": key.to_string(),
            "peer": of,
            "nodes": nodes,
            "stage": stage,
            "nat": there.word(),
            "address": address.map(|address| address.to_string()),
        });
        let mut text = format!("{of}: known to {nodes} nodes");
        if let Some(address) = address {
            text.push_str(&format!(", seen at {address}; its NAT: {}", there.word()));
        }
        match (&self.connected, fix) {
            (Ok(ms), _) => {
                value["ms"] = json!(ms);
                value["relayed"] = self.relayed.into();
                let how = if self.relayed { " through a relay" } else { "" };
                text.push_str(&format!("; connected{how} after {ms} ms"));
            }
            (Err(failure), fix) => {
                value["code"] = failure.code.clone().into();
                value["fix"] = fix.into();
                let message = &failure.message;
                text.push_str(&format!("; reached: {stage}; {message}"));
                if let Some(fix) = fix {
                    text.push_str(&format!("; {fix}"));
                }
            }
        }
        (value, text)
    }
}

/// Dials straight, or through the blind relays that were named.
async fn dial(dht: &HyperDht, peer: &Peer, io: &Io) -> Outcome {
    let trace = ConnectTrace::default();
    let mut options = ConnectOptions::default();
    options.relay_addresses.clone_from(&peer.relay_addresses);
    options.relay_through = io.reach().relay_through();
    options.trace = Some(trace.clone());
    let begin = Instant::now();
    let dialled = timeout(io.patience(), dht.connect(&peer.public_key, options)).await;
    let mut relayed = false;
    let connected = match dialled {
        Ok(Ok(connection)) => {
            relayed = connection.is_relayed();
            connection.end();
            Ok(since(begin))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(late(io)),
    };
    Outcome {
        seen: trace.seen(),
        relayed,
        connected,
    }
}

/// Dials through a relay over TCP, which tells no more than what came of it.
async fn dial_through(relay: &DhtRelay, peer: &Peer, io: &Io) -> Outcome {
    let begin = Instant::now();
    let dialling = relay.connect_to(&peer.public_key, RelayConnectOptions::default());
    let connected = match timeout(io.patience(), dialling).await {
        Ok(Ok(connection)) => {
            connection.end();
            Ok(since(begin))
        }
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(late(io)),
    };
    Outcome {
        seen: ConnectSeen::default(),
        relayed: true,
        connected,
    }
}

fn late(io: &Io) -> Failure {
    Failure::timed_out(format!(
        "no way to the peer opened within {} s",
        io.patience().as_secs_f64()
    ))
}

/// Goes as far as it can to those who share what has this key, or to the peer with this public key.
pub(super) async fn reach(
    dht: &HyperDht,
    machine: &Machine,
    key: Key,
    io: &Io,
) -> Result<(), Failure> {
    let relay = machine.relay().filter(|_| machine.reached() == 0);
    let known = match relay {
        None => find(dht, key, io).await?,
        Some(relay) => find_through(relay, key, io).await?,
    };
    if known.is_empty() {
        let failure = Failure::from(hyperdht::Error::PeerNotFound);
        let fix = "is it shared now, and with this network?";
        let value = json!({
            "key": key.to_string(),
            "nodes": 0,
            "stage": "none",
            "code": failure.code,
            "fix": fix,
        });
        io.result(value, format!("{key}: no node knows it; {fix}"))
            .await?;
        return Err(failure);
    }
    let mut connected = false;
    let mut last = Ok(0.0);
    for (peer, nodes) in known.into_iter().take(PEERS) {
        let outcome = match relay {
            None => dial(dht, &peer, io).await,
            Some(relay) => dial_through(relay, &peer, io).await,
        };
        let (value, text) = outcome.show(key, &peer, nodes, machine.nat);
        io.result(value, text).await?;
        connected |= outcome.connected.is_ok();
        last = outcome.connected;
    }
    // One that is reached is enough.
    if connected { Ok(()) } else { last.map(|_| ()) }
}
