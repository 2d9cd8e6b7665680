//! Swarms that send no datagram: they stand on a node that a relay lends over TCP.
//!
//! Needs network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod swarms;

use pome_cores::KeyPair;
use pome_net::{
    dht_relay::{DhtRelay, DhtRelayOptions, RelayDialer, RelayServer},
    hyperswarm::{JoinOptions, SwarmOptions},
};
use std::{net::SocketAddrV4, time::Duration};
use swarms::{Ours, TOPIC, hyper, network, options, reach, run, soon};

/// A relay on a node of its own.
async fn relay(start: &[SocketAddrV4], port: u16) -> RelayServer {
    let node = hyper(start, false);
    node.ready().await.unwrap();
    loop {
        let bound = RelayServer::bind(("127.0.0.1", port), node.clone(), Default::default());
        match bound.await {
            Ok(relay) => return relay,
            // The one before has not let the port go yet.
            Err(error) => assert_eq!((error.code(), port > 0), ("CONNECTION_IO", true)),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A swarm at a relay, and what dials that.
fn at(relay: &RelayServer, options: SwarmOptions) -> (Ours, RelayDialer) {
    let dialer = RelayDialer::new(relay.address().to_string(), DhtRelayOptions::default());
    (Ours::on(dialer.clone(), options), dialer)
}

fn quick() -> SwarmOptions {
    let mut quick = options(&KeyPair::random());
    quick.backoffs = Some([Duration::from_millis(200); 4]);
    quick.jitter = Duration::from_millis(50);
    quick
}

#[test]
fn swarms_meet_through_a_relay() {
    run("swarms_meet_through_a_relay", false, || async {
        let (_nodes, start) = network(4).await;
        let (first, second) = (relay(&start, 0).await, relay(&start, 0).await);
        // Two at one relay, one at another, and one with a node of its own.
        let (a, _) = at(&first, quick());
        let (b, _) = at(&first, quick());
        let (c, _) = at(&second, quick());
        let d = Ours::with(&start, quick());
        assert!(a.swarm.dht().is_none() && d.swarm.dht().is_some());
        let log = a.core("log").await;
        log.append("first").await.unwrap();
        for one in [&a, &b, &c, &d] {
            one.join(JoinOptions::default()).await;
        }
        for one in [&a, &b, &c, &d] {
            one.connected(3).await;
        }
        for one in [&b, &c, &d] {
            let copy = one.reader(log.key()).await;
            reach(&copy, 1).await;
            assert_eq!(soon(copy.get(0)).await.unwrap(), "first");
        }
        // Left in order, nothing stays behind.
        for one in [&a, &b, &c] {
            one.swarm.destroy().await;
        }
        d.connected(0).await;
        let left = d.swarm.dht().unwrap().lookup(TOPIC).peers().await.unwrap();
        let left: Vec<_> = left.iter().map(|peer| peer.public_key).collect();
        assert_eq!(left, [d.key()]);
    });
}

#[test]
fn a_relay_that_comes_back_finds_its_swarms_again() {
    let test = "a_relay_that_comes_back_finds_its_swarms_again";
    run(test, false, || async {
        let (_nodes, start) = network(4).await;
        let server = relay(&start, 0).await;
        let port = server.address().port();
        let ((a, _), (b, _)) = (at(&server, quick()), at(&server, quick()));
        let log = a.core("log").await;
        a.join(JoinOptions::server()).await;
        b.join(JoinOptions::client()).await;
        a.connected(1).await;
        let copy = b.reader(log.key()).await;
        log.append("before").await.unwrap();
        reach(&copy, 1).await;
        drop(server);
        a.connected(0).await;
        b.connected(0).await;
        log.append("between").await.unwrap();
        // With another node, which knows nothing of them.
        let _server = relay(&start, port).await;
        a.connected(1).await;
        reach(&copy, 2).await;
    });
}

#[test]
fn a_swarm_at_a_relay_pauses() {
    run("a_swarm_at_a_relay_pauses", false, || async {
        let (_nodes, start) = network(4).await;
        let server = relay(&start, 0).await;
        let (a, dialer) = at(&server, quick());
        let b = Ours::with(&start, quick());
        a.join(JoinOptions::server()).await;
        b.join(JoinOptions::client()).await;
        b.connected(1).await;
        a.swarm.suspend().await;
        a.connected(0).await;
        b.connected(0).await;
        let node = b.swarm.dht().unwrap();
        assert_eq!(node.lookup(TOPIC).peers().await.unwrap(), []);
        dialer.hang_up();
        a.swarm.resume().await;
        let again = b.swarm.join(TOPIC, JoinOptions::client()).unwrap();
        a.join(JoinOptions::server()).await;
        assert!(again.refresh(JoinOptions::client()).await.unwrap());
        b.connected(1).await;
        // A relay that was handed over is not dialled again: the swarm is alone.
        let lent = DhtRelay::connect(server.address(), DhtRelayOptions::default());
        let lent = lent.await.unwrap();
        let c = Ours::on(lent.clone(), quick());
        c.join(JoinOptions::client()).await;
        c.connected(1).await;
        lent.close();
        c.connected(0).await;
        let joined = c.swarm.join(TOPIC, JoinOptions::client()).unwrap();
        assert!(!joined.refresh(JoinOptions::client()).await.unwrap());
    });
}

#[test]
fn who_goes_without_a_word_is_forgotten() {
    run("who_goes_without_a_word_is_forgotten", false, || async {
        let (_nodes, start) = network(4).await;
        let server = relay(&start, 0).await;
        let asks = hyper(&start, false);
        let lent = DhtRelay::connect(server.address(), DhtRelayOptions::default());
        let lent = lent.await.unwrap();
        let pair = KeyPair::random();
        let listener = lent.listen(&pair, None).await.unwrap();
        let known = async || asks.find_peer(&pair.public).peers().await.unwrap().len();
        assert_eq!(known().await, 1);
        // Its stream breaks: the relay takes the announcement back for it.
        lent.close();
        while known().await > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(listener);
        // And so it does when it is asked to, before it says so.
        let lent = DhtRelay::connect(server.address(), DhtRelayOptions::default());
        let lent = lent.await.unwrap();
        let listener = lent.listen(&pair, None).await.unwrap();
        assert_eq!(known().await, 1);
        listener.close().await;
        assert_eq!(known().await, 0);
    });
}
