//! Connections by key through real NATs: each peer is a process in a network namespace of its own, behind a router that masquerades (nftables).
//!
//! ```text
//! the internet: a bridge with the nodes of the DHT on it, 5.5.0.0/16
//!   ├── open            the peer itself, 5.5.1.n
//!   ├── port            a router, 5.5.1.n, which keeps the port of the peer's socket; only who was sent to may send back
//!   └── random          a router that gives out another random port for each destination
//! ```
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
    hyperdht::{ConnectOptions, HyperDht, HyperDhtOptions, ServerOptions},
    protomux::{ChannelOptions, Topic},
};
use pome_test_support::{namespace, npm_folder, npm_works, skipped};
use serde_json::{Value, json};
use std::{
    io::BufRead,
    net::{Ipv4Addr, SocketAddrV4},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const PEER: &str = "POME_PEER";

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
    _router: Option<Net>,
}

impl Place {
    /// The n-th place, for one peer in the life of this network: others remember who had an address.
    fn new(n: usize, front: Front) -> Self {
        let address = format!("5.5.{}.{}/16", n / 200 + 1, n % 200 + 1);
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
                _router: None,
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
            _router: Some(router),
        }
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

/// A client and a server.
type Pair = ((Made, Front), (Made, Front));

struct Pairing {
    client: (Made, Front),
    server: (Made, Front),
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
    let (made, front) = pairing.server;
    let (mut server, node) = start(server, made, front, bootstrap).await;
    let pair = KeyPair::random();
    let listening = json!({"node": node, "seed": HEXLOWER.encode(&*pair.seed())});
    server.tell("listen", listening).await;
    let (made, front) = pairing.client;
    let (mut client, node) = start(client, made, front, bootstrap).await;
    let public_key = HEXLOWER.encode(&pair.public);
    let echo = json!({"node": node, "publicKey": public_key, "bytes": 20_000});
    client.ask("echo", echo).await
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
            let mut places = 0..;
            let mut place = |front| Place::new(places.next().unwrap(), front);
            for _ in 0..tries {
                let mut running = JoinSet::new();
                for (client, server) in pairings.iter().copied() {
                    let places = [place(client.1), place(server.1)];
                    let pairing = Pairing {
                        client,
                        server,
                        places,
                    };
                    running.spawn(async move {
                        let began = Instant::now();
                        let answer = connect(&pairing, &start).await;
                        (pairing, answer, began.elapsed())
                    });
                }
                while let Some(done) = running.join_next().await {
                    let (pairing, answer, took) = done.unwrap();
                    let (client, server) = (pairing.client, pairing.server);
                    println!("{client:?} to {server:?}: {answer} after {took:.1?}");
                    let hopeless = client.1 == Front::Random && server.1 == Front::Random;
                    let right = if hopeless {
                        // Whoever finds it out first says so.
                        let code = answer["error"].as_str().unwrap_or_default();
                        HOPELESS.contains(&code)
                    } else {
                        answer["same"] == true
                    };
                    if !right {
                        failed.push(format!("{client:?} to {server:?}: {answer}"));
                    }
                }
            }
            assert!(failed.is_empty(), "{failed:#?}");
        });
}

#[test]
fn pome_with_pome_behind_every_pairing_of_nats() {
    let fronts = [Front::Open, Front::Port, Front::Random];
    let mut pairings = Vec::new();
    for client in fronts {
        for server in fronts {
            pairings.push(((Made::Pome, client), (Made::Pome, server)));
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
        pairings.push(((Made::Pome, client), (Made::Npm, server)));
        pairings.push(((Made::Npm, client), (Made::Pome, server)));
    }
    run("pome_with_npm_behind_nats", true, &pairings);
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
        "listen" => {
            let pair = KeyPair::from_seed(&bytes32(&command["seed"]));
            let options = ServerOptions::default();
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
            match dht.connect(&key, ConnectOptions::default()).await {
                Err(error) => json!({"error": error.code()}),
                Ok(connection) => {
                    let size = command["bytes"].as_u64().unwrap();
                    json!({"same": echoes(&connection, size as usize).await})
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

async fn serve(connection: Connection) {
    let channel = open(&connection);
    while let Ok(Some((kind, message))) = channel.recv().await {
        if channel.send(kind, message).await.is_err() {
            return;
        }
    }
}

async fn echoes(connection: &Connection, size: usize) -> bool {
    let data = Bytes::from(vec![7; size]);
    let mut message = Vec::new();
    put_buffer(&mut message, &data);
    let channel = open(connection);
    channel.send(0, message.into()).await.unwrap();
    let back = tokio::time::timeout(Duration::from_secs(20), channel.recv()).await;
    let Ok(Ok(Some((_, back)))) = back else {
        return false;
    };
    let back = OptionalBuffer.decode(&mut Reader::new(&back)).unwrap();
    back.is_some_and(|back| back == data)
}
