//! Swarms of ours on a network of our nodes: topics, connections, and what happens when one side goes.
//!
//! Needs network namespaces: each test runs itself again in one.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod swarms;

use pome_cores::KeyPair;
use pome_drive_fs::{DriveOptions, Hyperdrive};
use pome_net::{
    hyperdht::{BlindRelay, RelayOptions},
    hyperswarm::{Event, Hyperswarm, JoinOptions, SwarmOptions},
};
use std::{sync::Arc, time::Duration};
use swarms::{Ours, TOPIC, careful, hyper, network, options, pairs, reach, run, soon, until};

#[test]
fn two_swarms_exchange_a_core_and_a_drive() {
    run("two_swarms_exchange_a_core_and_a_drive", false, || async {
        let (_nodes, start) = network(4).await;
        let (a, b) = (Ours::new(&start), Ours::new(&start));
        let log = a.core("log").await;
        log.append("first").await.unwrap();
        let drive = Hyperdrive::open(a.cores.namespace("drive"), DriveOptions::default());
        let drive = drive.await.unwrap();
        let put = drive.put("/file", "content", Default::default());
        put.await.unwrap();
        a.join(JoinOptions::server()).await;
        b.join(JoinOptions::client()).await;
        assert!(b.swarm.flush().await);
        let (_, peer) = b.connected(1).await.remove(0);
        assert_eq!(peer.public_key, a.key());
        assert!(peer.client && peer.proven);
        assert_eq!(peer.topics, [TOPIC]);
        let copy = b.reader(log.key()).await;
        assert_eq!(soon(copy.get(0)).await.unwrap(), "first");
        let options = DriveOptions {
            key: Some(drive.key()),
            ..DriveOptions::default()
        };
        let theirs = Hyperdrive::open(b.cores.namespace("theirs"), options)
            .await
            .unwrap();
        reach(theirs.core(), drive.core().length()).await;
        assert_eq!(soon(theirs.get("/file")).await.unwrap().unwrap(), "content");

        // The announcement goes with the topic, the connection stays.
        a.swarm.leave(&TOPIC).await;
        assert_eq!(a.swarm.status(&TOPIC), None);
        let found = b.swarm.dht().unwrap().lookup(TOPIC).peers().await.unwrap();
        assert_eq!(found, []);
        log.append("second").await.unwrap();
        assert_eq!(soon(copy.get(1)).await.unwrap(), "second");
        b.swarm.destroy().await;
        a.connected(0).await;
        assert!(b.swarm.join(TOPIC, JoinOptions::default()).is_err());
    });
}

/// Both have one connection, and it is the same one.
fn share_one(a: &Ours, b: &Ours) -> bool {
    let one = |from: &Ours, to: &Ours| {
        let connection = from.swarm.connection(&to.key())?;
        connection
            .handshake_hash()
            .filter(|_| !connection.is_closed())
    };
    let (ours, theirs) = (one(a, b), one(b, a));
    ours.is_some() && ours == theirs
}

/// Short back-offs.
fn quick(key_pair: &KeyPair) -> SwarmOptions {
    let mut options = options(key_pair);
    options.backoffs = Some([Duration::from_millis(50); 4]);
    options.jitter = Duration::from_millis(50);
    options
}

#[test]
fn two_that_dial_each_other_keep_one_connection() {
    run(
        "two_that_dial_each_other_keep_one_connection",
        false,
        || async {
            let (_nodes, start) = network(4).await;
            for _ in 0..5 {
                let [higher, lower] = pairs();
                let a = Ours::with(&start, quick(&higher));
                let b = Ours::with(&start, quick(&lower));
                // Both are found before either looks.
                tokio::join!(a.join(JoinOptions::server()), b.join(JoinOptions::server()));
                tokio::join!(a.join(JoinOptions::client()), b.join(JoinOptions::client()));
                tokio::join!(a.swarm.flush(), b.swarm.flush());
                until(|| share_one(&a, &b)).await;
                assert_eq!((a.peers(), b.peers()), (vec![b.key()], vec![a.key()]));
                let log = a.core("log").await;
                log.append("block").await.unwrap();
                let copy = b.reader(log.key()).await;
                assert_eq!(soon(copy.get(0)).await.unwrap(), "block");
                tokio::join!(a.swarm.destroy(), b.swarm.destroy());
            }
        },
    );
}

#[test]
fn three_on_one_topic_all_connect() {
    run("three_on_one_topic_all_connect", false, || async {
        let (_nodes, start) = network(4).await;
        let all = [(); 3].map(|()| Ours::with(&start, quick(&KeyPair::random())));
        for one in &all {
            one.join(JoinOptions::default()).await;
        }
        for one in &all {
            one.swarm.flush().await;
            let mut others: Vec<_> = all
                .iter()
                .map(Ours::key)
                .filter(|key| *key != one.key())
                .collect();
            others.sort_unstable();
            until(|| one.peers() == others).await;
        }
        for a in &all {
            for b in all.iter().filter(|b| b.key() != a.key()) {
                until(|| share_one(a, b)).await;
            }
        }
    });
}

#[test]
fn a_peer_that_comes_back_is_dialled_again() {
    run("a_peer_that_comes_back_is_dialled_again", false, || async {
        let (_nodes, start) = network(4).await;
        let pair = KeyPair::random();
        let b = Ours::with(&start, quick(&KeyPair::random()));
        // Named before it is there.
        b.swarm.join_peer(pair.public);
        assert_eq!(b.swarm.explicit_peers(), [pair.public]);
        for round in 0..3 {
            let a = Ours::with(&start, quick(&pair));
            a.swarm.listen().await.unwrap();
            b.connected(1).await;
            until(|| share_one(&a, &b)).await;
            let mut connections = a.swarm.connections();
            assert!(connections.next().await.is_some());
            if round == 0 {
                a.swarm.destroy().await;
            } else {
                // Without a word: its node is gone, and nothing answers any more.
                a.swarm.dht().unwrap().close();
                drop(a);
            }
            b.connected(0).await;
            assert!(connections.next().await.is_none(), "the swarm is gone");
        }
        b.swarm.leave_peer(&pair.public);
        until(|| b.swarm.peer(&pair.public).is_none_or(|peer| !peer.explicit)).await;
    });
}

#[test]
fn a_firewall_and_a_ban_keep_peers_out() {
    run("a_firewall_and_a_ban_keep_peers_out", false, || async {
        let (_nodes, start) = network(4).await;
        let [refused, taken] = pairs();
        let mut careful = SwarmOptions::default();
        let not = refused.public;
        careful.firewall = Some(Arc::new(move |key, _| *key == not));
        let a = Ours::with(&start, careful);
        let mut events = a.swarm.events();
        a.join(JoinOptions::server()).await;
        let b = Ours::with(&start, options(&refused));
        b.join(JoinOptions::default()).await;
        assert!(b.swarm.flush().await);
        assert_eq!(b.peers(), [[0; 32]; 0]);
        loop {
            let event = soon(events.next()).await.unwrap();
            if let Event::Banned { public_key, .. } = event {
                assert_eq!(public_key, refused.public);
                break;
            }
        }
        assert_eq!(a.swarm.stats().banned_peers, 1);
        // Nor is it dialled.
        a.join(JoinOptions::client()).await;
        assert!(a.swarm.flush().await);
        assert_eq!(a.peers(), [[0; 32]; 0]);

        let c = Ours::with(&start, quick(&taken));
        c.join(JoinOptions::client()).await;
        until(|| share_one(&a, &c)).await;
        a.swarm.ban(taken.public, true);
        assert_eq!(a.peers(), [[0; 32]; 0]);
        until(|| !c.peers().contains(&a.key())).await;
        // It tries again, and is not let in.
        until(|| c.swarm.peer(&a.key()).is_none_or(|peer| peer.attempts > 1)).await;
        assert_eq!(a.peers(), [[0; 32]; 0]);
        a.swarm.ban(taken.public, false);
        c.swarm.join_peer(a.key());
        until(|| share_one(&a, &c)).await;
    });
}

#[test]
fn a_swarm_that_was_suspended_comes_back() {
    run("a_swarm_that_was_suspended_comes_back", false, || async {
        let (_nodes, start) = network(4).await;
        let a = Ours::with(&start, quick(&KeyPair::random()));
        let b = Ours::with(&start, quick(&KeyPair::random()));
        a.join(JoinOptions::server()).await;
        b.join(JoinOptions::client()).await;
        until(|| share_one(&a, &b)).await;
        for suspended in [&a, &b] {
            suspended.swarm.suspend().await;
            assert!(suspended.swarm.is_suspended());
            a.connected(0).await;
            b.connected(0).await;
            if std::ptr::eq(suspended, &a) {
                let found = b.swarm.dht().unwrap().lookup(TOPIC).peers().await.unwrap();
                assert_eq!(found, []);
                assert!(!a.swarm.is_listening().await);
            }
            suspended.swarm.resume().await;
            assert!(
                suspended
                    .swarm
                    .join(TOPIC, JoinOptions::client())
                    .unwrap()
                    .flushed()
                    .await
            );
            let again = b.swarm.join(TOPIC, JoinOptions::client()).unwrap();
            assert!(again.refresh(JoinOptions::client()).await.unwrap());
            until(|| share_one(&a, &b)).await;
        }
    });
}

#[test]
fn no_more_are_let_in_than_there_is_room_for() {
    run(
        "no_more_are_let_in_than_there_is_room_for",
        false,
        || async {
            let (_nodes, start) = network(4).await;
            let mut small = SwarmOptions::default();
            small.max_server_connections = 2;
            let a = Ours::with(&start, small);
            a.join(JoinOptions::server()).await;
            let mut others = Vec::new();
            for _ in 0..4 {
                let other = Ours::new(&start);
                other.join(JoinOptions::client()).await;
                other.swarm.flush().await;
                others.push(other);
            }
            let connected = others.iter().filter(|other| !other.peers().is_empty());
            assert_eq!(connected.count(), 2);
            assert_eq!(a.peers().len(), 2);
            assert_eq!(a.swarm.stats().server.opened, 2);
        },
    );
}

#[test]
fn sessions_of_a_topic_come_and_go() {
    run("sessions_of_a_topic_come_and_go", false, || async {
        let (_nodes, start) = network(4).await;
        let swarm = Hyperswarm::new(hyper(&start, false), SwarmOptions::default());
        let looker = hyper(&start, false);
        let is_found = || async { !looker.lookup(TOPIC).peers().await.unwrap().is_empty() };
        let mut neither = JoinOptions::client();
        neither.client = false;
        assert_eq!(
            swarm.join(TOPIC, neither).unwrap_err().code(),
            "SWARM_NO_ROLE"
        );
        let client = swarm.join(TOPIC, JoinOptions::client()).unwrap();
        assert!(client.flushed().await);
        assert!(!is_found().await);
        let server = swarm.join(TOPIC, JoinOptions::server()).unwrap();
        assert!(server.flushed().await);
        assert!(is_found().await);
        let status = swarm.status(&TOPIC).unwrap();
        assert_eq!(
            (status.client, status.server, status.sessions),
            (true, true, 2)
        );
        assert_eq!(swarm.topics(), [status]);
        // The announcement goes with the last one that wanted it.
        server.destroy().await;
        assert!(!is_found().await);
        assert_eq!(
            server
                .refresh(JoinOptions::server())
                .await
                .unwrap_err()
                .code(),
            "DISCOVERY_DESTROYED"
        );
        assert!(client.refresh(JoinOptions::default()).await.unwrap());
        assert!(client.is_server() && is_found().await);
        client.destroy().await;
        assert!(!is_found().await);
        assert_eq!(swarm.status(&TOPIC), None);
        // Left and joined again at once.
        let first = swarm.join(TOPIC, JoinOptions::default()).unwrap();
        assert!(first.flushed().await);
        let leaving = swarm.clone();
        let left = tokio::spawn(async move { leaving.leave(&TOPIC).await });
        until(|| swarm.status(&TOPIC).is_none()).await;
        let second = swarm.join(TOPIC, JoinOptions::default()).unwrap();
        left.await.unwrap();
        assert!(second.flushed().await);
        assert!(is_found().await);
        swarm.clear().await;
        assert!(swarm.topics().is_empty() && !is_found().await);
        swarm.destroy().await;
        assert_eq!(swarm.listen().await.unwrap_err().code(), "SWARM_DESTROYED");
        assert!(!swarm.flush().await);
    });
}

#[test]
fn a_relay_that_is_trusted_is_used() {
    run("a_relay_that_is_trusted_is_used", false, || async {
        let (nodes, start) = network(4).await;
        let own = KeyPair::random();
        let serving = BlindRelay::serve(&nodes[1], &own, RelayOptions::default());
        let relay = serving.await.unwrap();
        for is_client in [true, false] {
            let mut through = SwarmOptions::default();
            through.relay_through = relay.public_key().into();
            // Without: only when no straight way is found, and there is one here.
            for always in [false, true] {
                through.relay_always = always;
                let trusting = Ours::on(careful(&start), through.clone());
                let other = Ours::on(careful(&start), SwarmOptions::default());
                let (client, server) = match is_client {
                    true => (&trusting, &other),
                    false => (&other, &trusting),
                };
                let log = server.core("log").await;
                log.append("block").await.unwrap();
                server.join(JoinOptions::server()).await;
                client.join(JoinOptions::client()).await;
                let copy = client.reader(log.key()).await;
                assert_eq!(soon(copy.get(0)).await.unwrap(), "block");
                let asked = |one: &Ours| one.swarm.dht().unwrap().stats().relaying.attempts;
                let asked = asked(client) + asked(server);
                assert_eq!(asked > 0, always, "{asked} times, client {is_client}");
                server.swarm.destroy().await;
            }
        }
    });
}
