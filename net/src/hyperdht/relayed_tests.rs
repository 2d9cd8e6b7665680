//! Connections that begin at a relay, and for which a straight way opens at a moment that the test chooses.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use super::{
    BlindRelay, HyperDht, RelayOptions, Testnet,
    messages::{NoisePayload, RelayThrough},
    relayed::{Direct, Relay, meet},
    secure::PeerHandshake,
    stream::{Door, Keyed, RawStream, Way},
};
use crate::{
    driver::Connection,
    noise::{Keys, Role},
    protomux::{ChannelOptions, Topic},
};
use pome_cores::{KeyPair, crypto::random_bytes};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// A side of a connection after the handshake.
struct End {
    dht: HyperDht,
    raw: RawStream,
    door: Door,
    keyed: Keyed,
}

/// A client and a server that have shaken hands.
fn ends(dhts: [HyperDht; 2]) -> [End; 2] {
    let streams = dhts.each_ref().map(|dht| RawStream::new(dht).unwrap());
    let [a, b] = dhts;
    let [(raw_a, door_a), (raw_b, door_b)] = streams;
    let (alice, bob) = (KeyPair::random(), KeyPair::random());
    let mut client = PeerHandshake::new(&alice, Some(&bob.public), random_bytes()).unwrap();
    let mut server = PeerHandshake::new(&bob, None, random_bytes()).unwrap();
    let payload = |raw: &RawStream| NoisePayload {
        version: 1,
        udx: Some(raw.info(false)),
        ..NoisePayload::default()
    };
    server
        .receive(&client.send(&payload(&raw_a)).unwrap())
        .unwrap();
    client
        .receive(&server.send(&payload(&raw_b)).unwrap())
        .unwrap();
    let keyed = |handshake: PeerHandshake, role, to: &RawStream| {
        let (keys, _): (Keys, _) = handshake.finish(random_bytes()).unwrap();
        Keyed {
            remote_id: to.id(),
            role,
            keys,
            keep_alive: None,
        }
    };
    let keyed_a = keyed(client, Role::Initiator, &raw_b);
    let keyed_b = keyed(server, Role::Responder, &raw_a);
    [
        End {
            dht: a,
            raw: raw_a,
            door: door_a,
            keyed: keyed_a,
        },
        End {
            dht: b,
            raw: raw_b,
            door: door_b,
            keyed: keyed_b,
        },
    ]
}

struct World {
    _testnet: Testnet,
    relay: Arc<BlindRelay>,
    through: RelayThrough,
    peers: [HyperDht; 2],
}

async fn world() -> World {
    let testnet = Testnet::new(3).await.unwrap();
    let key = KeyPair::random();
    let relay = BlindRelay::serve(&testnet.nodes()[1], &key, RelayOptions::default());
    let relay = Arc::new(relay.await.unwrap());
    let peers = [testnet.node().await.unwrap(), testnet.node().await.unwrap()];
    World {
        through: RelayThrough {
            version: 1,
            public_key: relay.public_key(),
            token: random_bytes(),
        },
        _testnet: testnet,
        relay,
        peers,
    }
}

impl World {
    /// The client goes to the server once it is told the way; the server waits for it.
    async fn connect(&self, way: impl Future<Output = Way> + Send + 'static) -> [Connection; 2] {
        let [client, server] = ends(self.peers.clone());
        let relay = |is_initiator| {
            Some(Relay {
                through: self.through,
                is_initiator,
                keep_alive: Duration::from_secs(5),
            })
        };
        let (door, mut waits) = (client.door, server.door);
        let there: Direct = Box::pin(async move { (door, Ok(way.await)) });
        let here: Direct = Box::pin(async move {
            let way = waits.found().await;
            (waits, Ok(way))
        });
        let (client, server) = tokio::join!(
            meet(&client.dht, client.raw, client.keyed, there, relay(true)),
            meet(&server.dht, server.raw, server.keyed, here, relay(false)),
        );
        let ends = [client.unwrap().0, server.unwrap().0];
        for end in &ends {
            end.opened().await.unwrap();
        }
        ends
    }

    fn straight(&self) -> Way {
        let [client, server] = self.peers.each_ref().map(HyperDht::dht);
        (client.socket(), server.local_addr())
    }

    /// Until nobody goes by the relay any more, and it has let the streams go.
    async fn moved(&self, ends: &[Connection; 2]) {
        until(|| ends.iter().all(|end| !end.is_relayed())).await;
        until(|| self.relay.stats().links == 0).await;
    }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What one side writes comes to the other.
async fn assert_speaks(ends: &[Connection; 2], first: usize) {
    let topic = Topic::new("pome/said", b"");
    let mut listener = ends[1 - first].pair(topic);
    let topic = Topic::new("pome/said", b"");
    let said = ends[first].open(&topic, ChannelOptions::default());
    let said = said.unwrap().unwrap();
    let heard = listener.next().await.unwrap();
    let heard = heard.accept(ChannelOptions::default()).unwrap();
    for (from, to) in [(&said, &heard), (&heard, &said)] {
        let text = vec![7; 300_000];
        from.send(0, text.clone().into()).await.unwrap();
        let (_, came) = to.recv().await.unwrap().unwrap();
        assert!(came == text);
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    pome_test_support::block_on(pome_test_support::PATIENCE, test());
}

/// Nothing is said meanwhile: both sides have to find out by themselves that the other goes by the straight way, too.
#[test]
fn an_idle_connection_moves_on_both_sides() {
    run(|| async {
        let world = world().await;
        let (tell, told) = oneshot::channel();
        let ends = world.connect(async { told.await.unwrap() }).await;
        assert!(ends.iter().all(Connection::is_relayed));
        assert_speaks(&ends, 0).await;
        tell.send(world.straight()).unwrap();
        world.moved(&ends).await;
        let [client, server] = ends.each_ref().map(|end| end.udx().unwrap());
        assert_eq!(
            client.remote_addr(),
            Some(world.peers[1].dht().local_addr().into())
        );
        assert_eq!(
            server.remote_addr(),
            Some(world.peers[0].dht().local_addr().into())
        );
        assert_speaks(&ends, 1).await;
    });
}

/// While both say much, and before either has said anything.
#[test]
fn a_connection_moves_without_a_loss() {
    run(|| async {
        let world = world().await;
        let (tell, told) = oneshot::channel();
        let ends = world.connect(async { told.await.unwrap() }).await;
        let way = world.straight();
        let moving = async {
            tell.send(way).unwrap();
            world.moved(&ends).await;
        };
        let speaking = async {
            for turn in 0..20 {
                assert_speaks(&ends, turn % 2).await;
            }
        };
        tokio::join!(moving, speaking);
        assert_speaks(&ends, 0).await;
    });
}

/// A way that leads nowhere is left again.
#[test]
fn a_way_by_which_nothing_comes_is_left_again() {
    run(|| async {
        let world = world().await;
        let (tell, told) = oneshot::channel();
        let ends = world.connect(async { told.await.unwrap() }).await;
        let hole = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (socket, _) = world.straight();
        let Ok(SocketAddr::V4(nowhere)) = hole.local_addr() else {
            panic!("an address of IPv4");
        };
        let at = |end: &Connection| end.udx().unwrap().remote_addr();
        let relay = at(&ends[0]);
        assert_ne!(relay, Some(nowhere.into()));
        tell.send((socket, nowhere)).unwrap();
        // Something was sent there.
        hole.recv(&mut [0; 2_000]).await.unwrap();
        until(|| at(&ends[0]) == relay).await;
        assert!(ends[0].is_relayed());
        assert_speaks(&ends, 0).await;
    });
}

/// The straight way is there the moment in which the relay has paired both, when the other side has begun there.
#[test]
fn a_way_that_opens_first_loses_nothing() {
    run(|| async {
        let world = world().await;
        let (relay, way) = (world.relay.clone(), world.straight());
        let ends = world
            .connect(async move {
                while relay.stats().matched == 0 {
                    tokio::task::yield_now().await;
                }
                way
            })
            .await;
        assert_speaks(&ends, 0).await;
        world.moved(&ends).await;
        assert_speaks(&ends, 1).await;
    });
}
