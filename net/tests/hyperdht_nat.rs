//! Connections by key through real NATs: each peer is a process in a network namespace of its own, behind a router that masquerades (nftables).
//!
//! ```text
//! the internet: a bridge with the nodes of the DHT on it, 5.5.0.0/16
//!   ├── open            the peer itself, 5.5.1.n
//!   ├── port            a router, 5.5.1.n, which keeps the port of the peer's socket; only who was sent to may send back
//!   └── random          a router that gives out another random port for each destination
//! ```
//! Where no straight way can be opened, a peer of the internet relays: two random routers, or two that drop all that comes from each other.
//!
//! Needs network namespaces, ip, nsenter and nft; for npm's side node and the modules (`npm ci --prefix tests/interop`). `POME_NAT_TRIES` repeats each pairing.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "dht/npm.rs"]
mod npm;
mod told;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use npm::{MODULES, Npm};
use pome_cores::KeyPair;
use pome_encoding::{Codec, OptionalBuffer, Reader, put_buffer};
use pome_net::{
    driver::Connection,
    hyperdht::{
        BlindRelay, ConnectOptions, HyperDht, HyperDhtOptions, RelayOptions, ServerOptions,
    },
    protomux::{ChannelOptions, Topic},
};
use pome_test_support::{namespace, npm_folder, npm_works, skipped};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::BufRead,
    net::{Ipv4Addr, SocketAddrV4},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const PEER: &str = "POME_PEER";
/// Until a connection through a relay has found its straight way: ports are guessed for half a minute, and there may have to be a second attempt.
const LATER: Duration = Duration::from_secs(80);

/// Both NATs give out random ports, and one of the peers knows.
const HOPELESS: &[&str] = &["HOLEPUNCH_DOUBLE_RANDOMIZED_NATS", "REMOTE_ABORTED"];

/// What is in front of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Front {
    Open,
    Port,
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Pome,
    Npm,
}

fn sh(script: &str) {
    let status = Command::new("sh").args(["-ec", script]).status().unwrap();
    assert!(status.success(), "{script}");
}

/// A network namespace that lives as long as this.
struct Net(Child);

impl Net {
    fn new() -> Self {
        let child = Command::new("unshare")
            .args([
                "-n",
                "sh",
                "-c",
                "ip link set lo up && echo && exec sleep 600",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut net = Self(child);
        let out = net.0.stdout.take().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(out).read_line(&mut line).unwrap();
        net
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn sh(&self, script: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("nsenter")
            .args(["-t", &pid, "-n", "sh", "-ec", script])
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }

    /// A peer inside.
    fn peer(&self, made: Made) -> Npm {
        let mut command = tokio::process::Command::new("nsenter");
        command.args(["-t", &self.pid().to_string(), "-n"]);
        match made {
            Made::Npm => command.arg("node").arg(npm_folder().join("dht.js")),
            Made::Pome => command
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "a_peer_in_another_process", "--nocapture"])
                .env(PEER, "1"),
        };
        Npm::from(&mut command)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A place for a peer, and the router in front of it.
struct Place {
    inside: Net,
    router: Option<Net>,
    /// Outside.
    host: Ipv4Addr,
}

impl Place {
    /// The n-th place, for one peer in the life of this network: others remember who had an address.
    fn new(n: usize, front: Front) -> Self {
        let host = Ipv4Addr::new(5, 5, (n / 200 + 1) as u8, (n % 200 + 1) as u8);
        let address = format!("{host}/16");
        let inside = Net::new();
        let pid = inside.pid();
        if front == Front::Open {
            sh(&format!(
                "ip link add o{n} type veth peer name p{n} netns {pid}
                 ip link set o{n} master br0 up"
            ));
            inside.sh(&format!(
                "ip addr add {address} dev p{n}
                 ip link set p{n} up"
            ));
            return Self {
                inside,
                router: None,
                host,
            };
        }
        let router = Net::new();
        let outer = router.pid();
        sh(&format!(
            "ip link add o{n} type veth peer name e{n} netns {outer}
             ip link set o{n} master br0 up"
        ));
        let kind = match front {
            Front::Random => "random,fully-random",
            _ => "",
        };
        // What nobody inside asked for is dropped, and leaves no trace in the table of connections.
        router.sh(&format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward
             ip addr add {address} dev e{n}
             ip link set e{n} up
             ip link add i{n} type veth peer name p{n} netns {pid}
             ip addr add 192.168.1.1/24 dev i{n}
             ip link set i{n} up
             nft -f - <<END
             table ip nat {{
               chain out {{ type nat hook postrouting priority 100; oifname e{n} masquerade {kind}; }}
               chain in {{ type filter hook input priority 0; iifname e{n} drop; }}
             }}
END"
        ));
        inside.sh(&format!(
            "ip addr add 192.168.1.2/24 dev p{n}
             ip link set p{n} up
             ip route add default via 192.168.1.1"
        ));
        Self {
            inside,
            router: Some(router),
            host,
        }
    }

    /// The router drops what goes to another place and comes from there.
    fn block(&self, other: Ipv4Addr) {
        self.router.as_ref().unwrap().sh(&format!(
            "nft add chain ip nat block '{{ type filter hook forward priority 0; }}'
             nft add rule ip nat block ip daddr {other} drop
             nft add rule ip nat block ip saddr {other} drop"
        ));
    }
}

/// The nodes of the DHT.
async fn internet() -> Vec<HyperDht> {
    // Without an address of its own a bridge takes that of one of its ports, another one with each port that comes: then nobody finds it for a while.
    sh("ip link add br0 address 02:00:00:00:00:01 type bridge; ip link set br0 up");
    let mut nodes: Vec<HyperDht> = Vec::new();
    for n in 1..=9 {
        sh(&format!("ip addr add 5.5.0.{n}/16 dev br0"));
        let host = Ipv4Addr::new(5, 5, 0, n);
        let mut options = HyperDhtOptions::bootstrapper(SocketAddrV4::new(host, 0));
        if let Some(first) = nodes.first() {
            options.dht.node.address = None;
            options.dht.node.bootstrap = vec![first.dht().local_addr()];
        }
        options.dht.host = host;
        let node = HyperDht::bind(options).unwrap();
        node.dht().persistent().await.unwrap();
        nodes.push(node);
    }
    nodes
}

type End = (Made, Front);

/// How a relay comes into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relay {
    None,
    /// That of the first one is asked for by the client, or the server.
    ByClient(Made),
    ByServer(Made),
    /// Asked for by the client; no packet gets from one peer to the other.
    Blocked(Made),
    /// Asked for by the client; a straight way is found, but later.
    Later(Made),
}

impl Relay {
    fn made(self) -> Option<Made> {
        match self {
            Self::None => None,
            Self::ByClient(made) | Self::ByServer(made) => Some(made),
            Self::Blocked(made) | Self::Later(made) => Some(made),
        }
    }
}

/// A client, a server, and what is between them.
type Pair = (End, End, Relay);

struct Pairing {
    client: End,
    server: End,
    relay: Relay,
    /// The relay's key, and where it is.
    through: Option<(String, Ipv4Addr)>,
    places: [Place; 2],
}

async fn start(place: &Place, made: Made, front: Front, bootstrap: &[SocketAddrV4]) -> (Npm, u64) {
    let mut peer = place.inside.peer(made);
    let is_open = front == Front::Open;
    let options = json!({"ephemeral": true, "firewalled": !is_open, "host": "0.0.0.0"});
    let (node, _) = peer.node_with(bootstrap, options).await;
    (peer, node)
}

/// What the client says after it has connected, or tried.
async fn connect(pairing: &Pairing, bootstrap: &[SocketAddrV4]) -> Value {
    let [client, server] = &pairing.places;
    if let Relay::Blocked(_) = pairing.relay {
        client.block(server.host);
        server.block(client.host);
    }
    let through = pairing.through.as_ref().map(|(key, _)| json!(key));
    let (ours, theirs) = match pairing.relay {
        Relay::ByServer(_) => (None, through),
        _ => (through, None),
    };
    let (made, front) = pairing.server;
    let (mut server, node) = start(server, made, front, bootstrap).await;
    let pair = KeyPair::random();
    let listening = json!({"node": node, "seed": HEXLOWER.encode(&*pair.seed()),
        "relayThrough": theirs});
    server.tell("listen", listening).await;
    let (made, front) = pairing.client;
    let (mut client, node) = start(client, made, front, bootstrap).await;
    let public_key = HEXLOWER.encode(&pair.public);
    let later = matches!(pairing.relay, Relay::Later(_));
    let echo = json!({"node": node, "publicKey": public_key, "bytes": 20_000,
        "relayThrough": ours, "later": later});
    client.ask("echo", echo).await
}

/// What is said, after how long, and whether it is the first attempt.
async fn attempt(
    pairing: Pairing,
    bootstrap: [SocketAddrV4; 1],
    first: bool,
) -> (Pairing, Value, Duration, bool) {
    let began = Instant::now();
    let answer = connect(&pairing, &bootstrap).await;
    (pairing, answer, began.elapsed(), first)
}

impl Pairing {
    /// One side guesses which ports the other one has, 1,750 times, of 64,536 among which 256 are right: about one in a thousand guesses
    /// none.
    fn is_guessed(&self) -> bool {
        let random = [self.client.1, self.server.1].map(|front| front == Front::Random);
        self.through.is_none() && random[0] != random[1]
    }

    fn is_right(&self, answer: &Value) -> bool {
        let Some((_, relay)) = &self.through else {
            let hopeless = self.client.1 == Front::Random && self.server.1 == Front::Random;
            // Whoever finds it out first says so.
            let code = answer["error"].as_str().unwrap_or_default();
            return match hopeless {
                true => HOPELESS.contains(&code),
                false => answer["same"] == true,
            };
        };
        let by_relay = answer["remoteHost"] == json!(relay.to_string());
        // The straight way may be there first.
        let is_later = matches!(self.relay, Relay::Later(_));
        answer["same"] == true && (by_relay || is_later) && (!is_later || answer["moved"] == true)
    }
}

/// All pairings at once; the errors that are no surprise come back.
fn run(test: &str, npm: bool, pairings: &[Pair]) {
    if npm && !npm_works(test, MODULES) {
        return;
    }
    let tools = Command::new("sh")
        .args([
            "-c",
            "command -v nft && command -v nsenter && command -v ip",
        ])
        .stdout(Stdio::null())
        .status();
    if !tools.is_ok_and(|status| status.success()) {
        return skipped(test, "needs nft, nsenter and ip");
    }
    if !namespace::inside(test) {
        return;
    }
    let tries: usize = std::env::var("POME_NAT_TRIES").map_or(1, |text| text.parse().unwrap());
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let nodes = internet().await;
            let start = [nodes[0].dht().local_addr()];
            let mut failed = Vec::new();
            let mut times: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
            let mut places = 0..;
            let mut place = |front| Place::new(places.next().unwrap(), front);
            let mut relays = Vec::new();
            for made in [Made::Pome, Made::Npm] {
                if pairings.iter().any(|(.., relay)| relay.made() == Some(made)) {
                    let at = place(Front::Open);
                    let (peer, key) = serve_relay(&at, made, &start).await;
                    relays.push((made, key, at, peer));
                }
            }
            for _ in 0..tries {
                let mut running = JoinSet::new();
                for (client, server, relay) in pairings.iter().copied() {
                    let through = relays.iter().find(|(made, ..)| relay.made() == Some(*made));
                    let pairing = Pairing {
                        client,
                        server,
                        relay,
                        through: through.map(|(_, key, at, _)| (key.clone(), at.host)),
                        places: [place(client.1), place(server.1)],
                    };
                    running.spawn(attempt(pairing, start, true));
                }
                while let Some(done) = running.join_next().await {
                    let (pairing, answer, took, first) = done.unwrap();
                    let (client, server, relay) =
                        (pairing.client, pairing.server, pairing.relay);
                    let name = format!("{client:?} to {server:?}, relay {relay:?}");
                    println!("{name}: {answer} after {took:.1?}");
                    if pairing.is_right(&answer) {
                        if let Some(ms) = answer["ms"].as_u64() {
                            let times = times.entry(name).or_default();
                            times.push(Duration::from_millis(ms));
                        }
                    } else if first && pairing.is_guessed() && answer["error"].is_string() {
                        let places = [place(client.1), place(server.1)];
                        let pairing = Pairing { places, ..pairing };
                        running.spawn(attempt(pairing, start, false));
                    } else {
                        failed.push(format!("{name}: {answer}"));
                    }
                }
            }
            for (name, mut times) in times {
                times.sort_unstable();
                let (count, median) = (times.len(), times[times.len() / 2]);
                let slowest = times[count - 1];
                println!("{name}: {count} of {tries} connected, median {median:.2?}, slowest {slowest:.2?}");
            }
            assert!(failed.is_empty(), "{failed:#?}");
        });
}

/// A peer of the internet that relays.
async fn serve_relay(place: &Place, made: Made, bootstrap: &[SocketAddrV4]) -> (Npm, String) {
    let (mut peer, node) = start(place, made, Front::Open, bootstrap).await;
    let pair = KeyPair::random();
    let asked = json!({"node": node, "seed": HEXLOWER.encode(&*pair.seed())});
    peer.tell("relay", asked).await;
    (peer, HEXLOWER.encode(&pair.public))
}

#[test]
fn pome_with_pome_behind_every_pairing_of_nats() {
    let fronts = [Front::Open, Front::Port, Front::Random];
    let mut pairings = Vec::new();
    for client in fronts {
        for server in fronts {
            pairings.push(((Made::Pome, client), (Made::Pome, server), Relay::None));
        }
    }
    let test = "pome_with_pome_behind_every_pairing_of_nats";
    run(test, false, &pairings);
}

#[test]
fn pome_with_npm_behind_nats() {
    let mut pairings = Vec::new();
    for (client, server) in [
        (Front::Port, Front::Port),
        (Front::Random, Front::Port),
        (Front::Port, Front::Random),
    ] {
        pairings.push(((Made::Pome, client), (Made::Npm, server), Relay::None));
        pairings.push(((Made::Npm, client), (Made::Pome, server), Relay::None));
    }
    run("pome_with_npm_behind_nats", true, &pairings);
}

#[test]
fn pome_with_pome_through_a_relay() {
    let random = (Made::Pome, Front::Random);
    let port = (Made::Pome, Front::Port);
    let open = (Made::Pome, Front::Open);
    let pairings = [
        (random, random, Relay::ByClient(Made::Pome)),
        (random, random, Relay::ByServer(Made::Pome)),
        (port, port, Relay::Blocked(Made::Pome)),
        (random, port, Relay::Blocked(Made::Pome)),
        (port, random, Relay::Later(Made::Pome)),
        (open, port, Relay::Later(Made::Pome)),
    ];
    run("pome_with_pome_through_a_relay", false, &pairings);
}

#[test]
fn pome_and_npm_through_a_relay() {
    let mut pairings = Vec::new();
    for (client, server) in [
        (Made::Pome, Made::Npm),
        (Made::Npm, Made::Pome),
        (Made::Npm, Made::Npm),
    ] {
        let ends = ((client, Front::Random), (server, Front::Random));
        pairings.push((ends.0, ends.1, Relay::ByClient(Made::Npm)));
        pairings.push((ends.0, ends.1, Relay::ByServer(Made::Pome)));
        let ends = ((client, Front::Port), (server, Front::Port));
        pairings.push((ends.0, ends.1, Relay::Blocked(Made::Pome)));
    }
    run("pome_and_npm_through_a_relay", true, &pairings);
}

/// Not a test: the peers of the tests above run as this one.
#[test]
fn a_peer_in_another_process() {
    if std::env::var_os(PEER).is_none() {
        return;
    }
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let mut dht = None;
            let (lines, mut commands) = tokio::sync::mpsc::unbounded_channel();
            std::thread::spawn(move || {
                for line in std::io::stdin().lines() {
                    if lines.send(line.unwrap()).is_err() {
                        break;
                    }
                }
            });
            while let Some(line) = commands.recv().await {
                let command: Value = serde_json::from_str(&line).unwrap();
                let mut answer = obey(&mut dht, &command).await;
                answer["id"] = command["id"].clone();
                println!("{answer}");
            }
        });
}

fn bytes32(value: &Value) -> [u8; 32] {
    let text = value.as_str().unwrap();
    let bytes = HEXLOWER.decode(text.as_bytes()).unwrap();
    bytes.try_into().unwrap()
}

async fn obey(dht: &mut Option<HyperDht>, command: &Value) -> Value {
    match command["command"].as_str().unwrap() {
        "node" => {
            let mut options = HyperDhtOptions::default();
            options.dht.node.bootstrap = npm::addresses(&command["bootstrap"]);
            options.dht.node.ephemeral = Some(true);
            options.dht.node.firewalled = command["firewalled"].as_bool().unwrap();
            let node = HyperDht::bind(options).unwrap();
            node.ready().await.unwrap();
            let port = node.dht().local_addr().port();
            *dht = Some(node);
            json!({"node": 1, "port": port})
        }
        "relay" => {
            let pair = KeyPair::from_seed(&bytes32(&command["seed"]));
            let options = RelayOptions::default();
            let relay = BlindRelay::serve(dht.as_ref().unwrap(), &pair, options).await;
            // As long as the process.
            std::mem::forget(relay.unwrap());
            json!({})
        }
        "listen" => {
            let pair = KeyPair::from_seed(&bytes32(&command["seed"]));
            let mut options = ServerOptions::default();
            if !command["relayThrough"].is_null() {
                options.relay_through = bytes32(&command["relayThrough"]).into();
            }
            let mut server = dht.as_ref().unwrap().listen(&pair, options).await.unwrap();
            tokio::spawn(async move {
                while let Some(connection) = server.accept().await {
                    tokio::spawn(serve(connection));
                }
            });
            json!({})
        }
        "echo" => {
            let key = bytes32(&command["publicKey"]);
            let dht = dht.as_ref().unwrap();
            let mut options = ConnectOptions::default();
            if !command["relayThrough"].is_null() {
                options.relay_through = bytes32(&command["relayThrough"]).into();
            }
            let began = Instant::now();
            match dht.connect(&key, options).await {
                Err(error) => json!({"error": error.code()}),
                Ok(connection) => {
                    let ms = began.elapsed().as_millis() as u64;
                    let host = connection.udx().unwrap().remote_addr().unwrap().ip();
                    let size = command["bytes"].as_u64().unwrap() as usize;
                    let mut same = echoes(&connection, size).await;
                    let mut answer = json!({"ms": ms, "remoteHost": host.to_string()});
                    if command["later"] == true {
                        while connection.is_relayed() && began.elapsed() < LATER {
                            tokio::time::sleep(Duration::from_millis(50)).await;
                        }
                        answer["moved"] = json!(!connection.is_relayed());
                        answer["after"] = json!(began.elapsed().as_millis() as u64);
                        same &= echoes(&connection, size).await;
                    }
                    answer["same"] = json!(same);
                    answer
                }
            }
        }
        other => panic!("{other} is unknown"),
    }
}

fn open(connection: &Connection) -> pome_net::driver::Channel {
    let topic = Topic::new("pome/echo", b"");
    let channel = connection.open(&topic, ChannelOptions::default());
    channel.unwrap().unwrap()
}

/// One channel after the other, as long as the connection lives.
async fn serve(connection: Connection) {
    let mut listener = connection.pair(Topic::new("pome/echo", b""));
    while let Some(incoming) = listener.next().await {
        let Ok(channel) = incoming.accept(ChannelOptions::default()) else {
            return;
        };
        while let Ok(Some((kind, message))) = channel.recv().await {
            if channel.send(kind, message).await.is_err() {
                return;
            }
        }
    }
}

async fn echoes(connection: &Connection, size: usize) -> bool {
    let data = Bytes::from(vec![7; size]);
    let mut message = Vec::new();
    put_buffer(&mut message, &data);
    let channel = open(connection);
    channel.send(0, message.into()).await.unwrap();
    let back = tokio::time::timeout(pome_test_support::PATIENCE, channel.recv()).await;
    let Ok(Ok(Some((_, back)))) = back else {
        return false;
    };
    let back = OptionalBuffer.decode(&mut Reader::new(&back)).unwrap();
    back.is_some_and(|back| back == data)
}
