//! Peers that meet on a network with nobody else's help. Each test runs in a namespace of its own: nothing is heard outside.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_net::lan::{Lan, LanOptions, LanPeer};
use pome_net::networks::{NetworkWatch, networks};
use pome_test_support::namespace;
use std::{
    future::Future,
    process::Command,
    time::{Duration, Instant},
};

/// Runs the test in a namespace, where that can be.
fn run<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if !namespace::inside(test) {
        return;
    }
    pome_test_support::block_on(Duration::from_secs(100), body());
}

async fn lan(topics: &[u8]) -> Lan {
    let lan = Lan::start(LanOptions::default()).await.unwrap();
    for topic in topics {
        lan.join([*topic; 32]);
    }
    lan
}

fn shared(peer: &LanPeer) -> Vec<u8> {
    peer.shared()
        .borrow()
        .iter()
        .map(|topic| topic[0])
        .collect()
}

/// Meets until it is so many, each once. Of two that dial each other at the same time one connection stays: whose other one was met already
/// is met again, and that one closes.
async fn meet(lan: &mut Lan, met: &mut Vec<LanPeer>, count: usize) {
    while met.len() < count {
        take(lan.next().await.unwrap(), met).await;
    }
}

async fn take(peer: LanPeer, met: &mut Vec<LanPeer>) {
    let Some(at) = met.iter().position(|met| shared(met) == shared(&peer)) else {
        return met.push(peer);
    };
    let before = std::mem::replace(&mut met[at], peer);
    before.connection().closed().await.ok();
}

#[test]
fn peers_meet_by_what_they_share() {
    run("peers_meet_by_what_they_share", || async {
        let begin = Instant::now();
        let mut a = lan(&[1, 2]).await;
        let mut b = lan(&[2, 3]).await;
        let mut c = lan(&[3, 1]).await;
        let mut stranger = lan(&[9]).await;
        // Each meets the two others, once.
        let mut met = [Vec::new(), Vec::new(), Vec::new()];
        for (lan, met) in [&mut a, &mut b, &mut c].into_iter().zip(&mut met) {
            meet(lan, met, 2).await;
        }
        eprintln!("three peers met within {:?}", begin.elapsed());
        let nobody = tokio::time::timeout(Duration::from_secs(1), stranger.next()).await;
        assert!(nobody.is_err(), "a stranger meets nobody");
        while let Ok(peer) = tokio::time::timeout(Duration::ZERO, a.next()).await {
            take(peer.unwrap(), &mut met[0]).await;
        }
        assert_eq!(met[0].len(), 2, "nobody else");

        // What is joined later is shared over the connection that is there, or a new one.
        b.join([9; 32]);
        let known = stranger.next().await.unwrap();
        assert_eq!(shared(&known), [9]);
        meet(&mut b, &mut met[1], 3).await;
        assert_eq!(shared(&met[1][2]), [9]);
        // Whoever goes is gone, and meets the others again when it is back.
        drop(stranger);
        known.connection().closed().await.ok();
        let mut again = lan(&[9]).await;
        assert_eq!(shared(&again.next().await.unwrap()), [9]);
    });
}

#[test]
fn another_address_is_noticed() {
    run("another_address_is_noticed", || async {
        let mut watch = NetworkWatch::new().unwrap();
        let sh = |script: &str| {
            let status = Command::new("sh").args(["-ec", script]).status().unwrap();
            assert!(status.success(), "{script}");
        };
        sh(
            "ip link add veth-a type veth peer name veth-b && ip link set veth-a up && ip link set veth-b up",
        );
        let begin = Instant::now();
        sh("ip addr add 10.9.0.1/24 dev veth-a");
        loop {
            let now = watch.changed().await.unwrap();
            if now
                .iter()
                .any(|network| network.address.octets() == [10, 9, 0, 1])
            {
                assert_eq!(now, networks());
                break;
            }
        }
        eprintln!("a new address was noticed after {:?}", begin.elapsed());
        let begin = Instant::now();
        sh("ip addr del 10.9.0.1/24 dev veth-a && ip addr add 10.9.0.2/24 dev veth-a");
        loop {
            let now = watch.changed().await.unwrap();
            if now
                .iter()
                .any(|network| network.address.octets() == [10, 9, 0, 2])
            {
                assert!(
                    now.iter()
                        .all(|network| network.address.octets() != [10, 9, 0, 1])
                );
                break;
            }
        }
        eprintln!("another address was noticed after {:?}", begin.elapsed());
    });
}
