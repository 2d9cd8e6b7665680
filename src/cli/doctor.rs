//! `pome doctor`: what stands between this machine and its peers.

mod peer;

use super::{
    args::Relay,
    dht::{self, resolve},
    failure::Failure,
    io::Io,
};
use futures_util::future::join_all;
use pome_cores::Key;
use pome_net::{
    dht_relay::{DhtRelay, RelayError},
    dht_rpc::{Ask, Dht, RequestOptions, Socket, internal},
    hyperdht::{self, HyperDht, messages::firewall},
    networks::networks,
};
use serde_json::{Value, json};
use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    time::Instant,
};
use tokio::time::timeout;

/// Nodes that are asked how they see us.
const WITNESSES: usize = 8;
/// Nodes that are asked to come by themselves.
const PROBES: usize = 3;

pub(crate) async fn doctor(key: Option<&str>, io: &mut Io) -> Result<(), Failure> {
    let key = key
        .map(|key| key.parse::<Key>())
        .transpose()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let nodes = resolve(&io.reach().bootstrap).await?;
    if nodes.is_empty() {
        return Err(Failure::usage(
            "which network? `--bootstrap HOST:PORT,…` names nodes of it",
        ));
    }
    let dht = dht::bind(dht::options(&io.reach().bootstrap).await?)?;
    let io = &*io;
    let lent = async {
        let relay = io.reach().relay.as_ref()?;
        Some(Lent::dial(relay).await)
    };
    let (machine, lent) = tokio::join!(look(&dht, &nodes, io), lent);
    let machine = Machine { lent, ..machine };
    let text = machine.text();
    io.result(machine.value(), text).await?;
    machine.verdict()?;
    match key {
        Some(key) => peer::reach(&dht, &machine, key, io).await,
        None => Ok(()),
    }
}

/// The relay over TCP that was named.
struct Lent {
    address: String,
    /// What came of it, and the milliseconds until then.
    relay: Result<(DhtRelay, f64), RelayError>,
}

impl Lent {
    async fn dial(relay: &Relay) -> Self {
        let begin = Instant::now();
        let dialled = relay.dialer().relay().await;
        Self {
            address: relay.address().to_owned(),
            relay: dialled.map(|relay| (relay, since(begin))),
        }
    }
}

/// Milliseconds, with one digit after the point.
fn since(begin: Instant) -> f64 {
    (begin.elapsed().as_secs_f64() * 1e4).round() / 10.0
}

/// What kind of NAT is in front of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nat {
    /// Others reach this machine as it is.
    Open,
    /// All see it at one port.
    Consistent,
    /// Each sees it at another port.
    Random,
    /// Too few have said how they see it.
    Unknown,
}

impl Nat {
    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Consistent => "consistent",
            Self::Random => "random",
            Self::Unknown => "unknown",
        }
    }

    /// As hyperdht numbers them.
    fn of_firewall(firewall: u64) -> Self {
        match firewall {
            firewall::OPEN => Self::Open,
            firewall::CONSISTENT => Self::Consistent,
            firewall::RANDOM => Self::Random,
            _ => Self::Unknown,
        }
    }

    /// By the addresses at which nodes see one socket.
    fn of(seen: &[SocketAddrV4], firewalled: bool) -> Self {
        let different: HashSet<_> = seen.iter().collect();
        match (different.len(), seen.len()) {
            (1, _) if !firewalled => Self::Open,
            (_, 0..2) => Self::Unknown,
            (1, _) => Self::Consistent,
            (ports, all) if ports * 2 > all => Self::Random,
            _ => Self::Consistent,
        }
    }
}

/// What was found out about this machine.
struct Machine {
    addresses: Vec<Ipv4Addr>,
    has_route: bool,
    /// Each node to begin with, and how long it took to answer, in milliseconds.
    bootstrap: Vec<(SocketAddrV4, Option<f64>)>,
    nat: Nat,
    firewalled: bool,
    address: Option<SocketAddrV4>,
    lent: Option<Lent>,
}

/// Is there a way to that address at all, as far as the machine itself knows?
fn has_route(to: SocketAddrV4) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    socket.is_ok_and(|socket| socket.connect(to).is_ok())
}

async fn look(dht: &HyperDht, nodes: &[SocketAddrV4], io: &Io) -> Machine {
    let pings = nodes.iter().map(|node| async move {
        let begin = Instant::now();
        let answer = timeout(io.patience(), dht.dht().ping(*node)).await;
        let milliseconds = since(begin);
        (*node, matches!(answer, Ok(Ok(_))).then_some(milliseconds))
    });
    let (bootstrap, _) = tokio::join!(join_all(pings), timeout(io.patience(), dht.ready()));
    let mut witnesses = dht.dht().nodes();
    witnesses.extend(nodes);
    // In this order: who was sent something may answer through a firewall.
    let firewalled = !is_open(dht.dht(), &witnesses, io).await;
    let seen = witness(dht.dht(), witnesses, io).await;
    let nat = Nat::of(&seen, firewalled);
    Machine {
        addresses: (networks().into_iter())
            .filter(|network| !network.is_loopback)
            .map(|network| network.address)
            .collect(),
        has_route: nodes.iter().any(|node| has_route(*node)),
        bootstrap,
        nat,
        firewalled,
        address: seen.first().copied().map(|at| match nat {
            Nat::Random => SocketAddrV4::new(*at.ip(), 0),
            _ => at,
        }),
        lent: None,
    }
}

/// Does what was not asked for come in? Nodes are asked by one socket, and answer to the other.
async fn is_open(dht: &Dht, nodes: &[SocketAddrV4], io: &Io) -> bool {
    let port = dht.local_addr().port();
    let answers = nodes.iter().take(PROBES).map(|node| {
        let ask = Ask {
            internal: true,
            command: internal::PING_NAT,
            value: Some(port.to_le_bytes().to_vec().into()),
            ..Ask::default()
        };
        let options = RequestOptions {
            socket: Some(Socket::Client),
            retries: Some(1),
            ..RequestOptions::default()
        };
        timeout(io.patience(), dht.request_by(*node, ask, options))
    });
    let answers = join_all(answers).await;
    answers
        .into_iter()
        .any(|answer| matches!(answer, Ok(Ok(_))))
}

/// Where nodes see our server socket; each host once.
async fn witness(dht: &Dht, nodes: Vec<SocketAddrV4>, io: &Io) -> Vec<SocketAddrV4> {
    let mut asked = HashSet::new();
    let nodes = nodes.into_iter().filter(|node| asked.insert(*node));
    let answers = nodes.take(WITNESSES).map(|node| {
        let options = RequestOptions {
            socket: Some(Socket::Server),
            retries: Some(1),
            ..RequestOptions::default()
        };
        timeout(io.patience(), dht.ping_by(node, options))
    });
    let answers = join_all(answers).await;
    answers
        .into_iter()
        .filter_map(|answer| Some(answer.ok()?.ok()?.response.to))
        .collect()
}

impl Machine {
    fn reached(&self) -> usize {
        self.bootstrap
            .iter()
            .filter(|(_, rtt)| rtt.is_some())
            .count()
    }

    /// The relay over TCP, where it answers.
    fn relay(&self) -> Option<&DhtRelay> {
        let lent = self.lent.as_ref()?;
        lent.relay.as_ref().ok().map(|(relay, _)| relay)
    }

    /// What would make it better.
    fn fix(&self) -> Option<&'static str> {
        match self.nat {
            _ if self.reached() == 0 && self.relay().is_some() => {
                Some("UDP is blocked on the way: peers are met through the relay, over TCP")
            }
            _ if !self.has_route => Some("this machine has no way out: connect it to a network"),
            _ if self.reached() == 0 => Some(
                "no node answers: UDP is blocked on the way, or these nodes are away; try other nodes (--bootstrap), another network, a relay over TCP (--relay), or a peer by TCP (--peer)",
            ),
            Nat::Random => Some(
                "each destination sees another port of this machine: peers behind such a NAT too are not reached; forward a UDP port, or name a relay (--relay-through) or peers (--peer)",
            ),
            Nat::Unknown => Some("too few nodes answer to tell what is in front of this machine"),
            Nat::Open | Nat::Consistent => None,
        }
    }

    fn value(&self) -> Value {
        let bootstrap = self.bootstrap.iter();
        let bootstrap: Vec<_> = bootstrap
            .map(|(node, rtt)| json!({ "node": node.to_string(), "rtt": rtt }))
            .collect();
        let mut value = json!({
            "addresses": self.addresses,
            "route": self.has_route,
            "bootstrap": bootstrap,
            "nat": self.nat.word(),
            "firewalled": self.firewalled,
            "address": self.address.map(|address| address.to_string()),
            "fix": self.fix(),
        });
        if let Some(lent) = &self.lent {
            let (rtt, code) = match &lent.relay {
                Ok((_, rtt)) => (Some(rtt), None),
                Err(error) => (None, Some(error.code())),
            };
            value["relay"] = json!({ "address": lent.address, "rtt": rtt, "code": code });
        }
        value
    }

    fn text(&self) -> String {
        let list: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let mut text = format!(
            "addresses here   {}",
            if list.is_empty() {
                "none but loopback".into()
            } else {
                list.join(", ")
            }
        );
        for (node, rtt) in &self.bootstrap {
            let answer = match rtt {
                Some(rtt) => format!("answers after {rtt} ms"),
                None => "does not answer".into(),
            };
            text.push_str(&format!("\nbootstrap node   {node} {answer}"));
        }
        let address = self
            .address
            .map_or("not known".into(), |address| match address.port() {
                0 => format!("{}, at another port for each", address.ip()),
                _ => address.to_string(),
            });
        text.push_str(&format!("\naddress outside  {address}"));
        let meaning = match self.nat {
            Nat::Open => "others reach this machine as it is",
            Nat::Consistent => "a way is opened through it",
            Nat::Random => "a way is opened to peers whose NAT is better",
            Nat::Unknown => "not known",
        };
        text.push_str(&format!(
            "\nNAT              {}: {meaning}",
            self.nat.word()
        ));
        if let Some(Lent { address, relay }) = &self.lent {
            let answer = match relay {
                Ok((_, rtt)) => format!("answers after {rtt} ms"),
                Err(error) => error.to_string(),
            };
            text.push_str(&format!("\nrelay over TCP   {address} {answer}"));
        }
        if let Some(fix) = self.fix() {
            text.push_str(&format!("\nto do            {fix}"));
        }
        text
    }

    fn verdict(&self) -> Result<(), Failure> {
        if self.reached() > 0 || self.relay().is_some() {
            return Ok(());
        }
        let fix = self.fix().unwrap_or_default();
        Err(match self.has_route {
            false => Failure::new("NO_NETWORK", fix),
            true => Failure {
                message: fix.into(),
                ..Failure::from(hyperdht::Error::TooFewNodes)
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_by_what_nodes_see() {
        let seen = |ports: &[u16]| -> Vec<SocketAddrV4> {
            let at = |port: &u16| SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), *port);
            ports.iter().map(at).collect()
        };
        let cases: [(&[u16], bool, Nat); 7] = [
            (&[], true, Nat::Unknown),
            (&[1], true, Nat::Unknown),
            (&[1], false, Nat::Open),
            (&[1, 1, 1], true, Nat::Consistent),
            (&[1, 1, 1], false, Nat::Open),
            (&[1, 2, 3], true, Nat::Random),
            (&[1, 1, 1, 1, 2], true, Nat::Consistent),
        ];
        for (ports, firewalled, nat) in cases {
            assert_eq!(Nat::of(&seen(ports), firewalled), nat, "{ports:?}");
        }
    }
}
