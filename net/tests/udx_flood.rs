#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! Floods of a socket: what is kept is bounded, and what is sent goes nowhere that the user did not name. In a process of its own, whose memory is measured.

use bytes::Bytes;
use pome_net::udx::{HEADER_BYTES, Header, Kind, Seq, Udx};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{net::UdpSocket, time::Duration};

/// What a socket with three streams that nobody reads may keep: datagrams 12 MiB; of each stream 4.3 MiB in order, 8 MiB early, 4 MiB of messages, and the
/// lists that they are in; and what the allocator does not give back.
const KEPT_MAX: usize = 64 << 20;

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// A packet for stream `id`.
fn packet(kind: Kind, id: u32, seq: u32, body: &[u8]) -> Vec<u8> {
    let header = Header {
        kind,
        data_offset: 0,
        id,
        window: 1 << 20,
        seq: Seq(seq),
        ack: Seq(0),
    };
    let mut packet = header.encode().to_vec();
    packet.extend_from_slice(body);
    packet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_bounded_and_answered_to_nobody_else() {
    let udx = Udx::new();
    let any = || "127.0.0.1:0".parse().unwrap();
    // Nobody reads the datagrams, nor the streams.
    let (socket, _datagrams) = udx.bind(any()).unwrap();
    let friend = UdpSocket::bind("127.0.0.1:0").unwrap();
    let streams: Vec<_> = (1..=3)
        .map(|id| {
            let stream = udx.stream(id, &Default::default()).unwrap();
            stream.connect(&socket, id + 10, friend.local_addr().unwrap());
            stream
        })
        .collect();
    let strangers = udx.stream(4, &Default::default()).unwrap();
    strangers.set_firewall(Some(std::sync::Arc::new(|_, _| false)));

    let attacker = UdpSocket::bind("127.0.0.1:0").unwrap();
    attacker.set_nonblocking(true).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut noise = vec![0; 60_000];
    rng.fill_bytes(&mut noise);
    let sack: Vec<u8> = (0..7000u32)
        .flat_map(|n| [0, n])
        .flat_map(u32::to_le_bytes)
        .collect();
    let before = resident();
    let mut sent = 0u64;
    let arrived = || -> u64 { streams.iter().map(|s| s.stats().packets_received).sum() };
    // On a busy machine the system drops what nobody takes in time: then it takes more of them.
    let is_enough = |round: u32| round >= 30_000 && arrived() > 20_000;
    for round in (0..300_000).take_while(|round| !is_enough(*round)) {
        let id = 1 + round % 3;
        let flood = [
            noise[..rng.random_range(0..1400)].to_vec(),
            packet(Kind::DATA, rng.random(), round, &noise[..1400]),
            packet(Kind::MESSAGE, id, 0, &noise[..1400]),
            packet(Kind::MESSAGE, 4, 0, &[]),
            // In order, one byte at a time for one of them, and beyond the window.
            packet(Kind::DATA, 1, round, &noise[..1400]),
            packet(Kind::DATA, 2, round, &noise[..1]),
            // Early, with gaps.
            packet(
                Kind::DATA,
                3,
                2 * round + 1,
                &noise[..rng.random_range(0..1400)],
            ),
            packet(Kind::DATA, 4, 1 + round, &noise[..1]),
            packet(Kind::HEARTBEAT, id, 0, &[]),
        ];
        for packet in &flood {
            attacker.send_to(packet, socket.local_addr()).unwrap();
            sent += 1;
        }
        if round % 300 == 0 {
            attacker.send_to(&noise, socket.local_addr()).unwrap();
            let sacks = packet(Kind::SACK, id, 0, &sack);
            attacker.send_to(&sacks, socket.local_addr()).unwrap();
            sent += 2;
        }
        if round % 8 == 0 {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let kept = resident().saturating_sub(before);
    println!(
        "{sent} packets, {} of them to streams: {} KiB kept",
        arrived(),
        kept >> 10
    );
    assert!(arrived() > 20_000, "the flood arrives");
    assert!(kept < KEPT_MAX, "{kept} bytes are kept");
    // Answers go where the streams go, fewer than there were packets; to the attacker goes nothing.
    let mut buffer = [0; 2000];
    let error = attacker.recv_from(&mut buffer).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    for stream in &streams {
        let stats = stream.stats();
        assert!(stats.packets_transmitted <= stats.packets_received);
        assert!(stats.bytes_transmitted <= (HEADER_BYTES as u64 + 400) * stats.packets_received);
    }
    assert_eq!(strangers.stats().packets_transmitted, 0);
    // It works on: a message of a friend comes through, behind those that were kept.
    assert!(streams[0].send(Bytes::from_static(b"here")));
}
