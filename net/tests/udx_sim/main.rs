#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! Two streams over a simulated path: any loss, any order, any limit, the bytes arrive; and not much slower than the path allows.

mod changes;
mod moves;
mod world;

use bytes::Bytes;
use pome_net::udx::{Event, StreamError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;
use world::{LAN, Path, World};

#[test]
fn bytes_arrive_whatever_the_path_does() {
    let seeds = std::env::var("POME_SEEDS").map_or(40, |s| s.parse().unwrap());
    for seed in 0..seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let path = Path {
            rate: 10f64.powf(rng.random_range(5.0..8.5)),
            delay: Duration::from_micros(rng.random_range(20..150_000)),
            loss: [0.0, 0.001, 0.01, 0.1][rng.random_range(0..4)],
            jitter: Duration::from_micros([0, 100, 30_000][rng.random_range(0..3)]),
            queue: rng.random_range(20_000..2_000_000),
            mtu: rng.random_range(1200..1600),
        };
        let mut world = World::new(seed, path);
        let len = rng.random_range(0..1_500_000);
        world.transfer(len);
        // The other side ends too: both close well.
        world.sides[1].end();
        let mut closed = [false; 2];
        while world.step() {
            for (side, closed) in closed.iter_mut().enumerate() {
                *closed |= world.events[side].contains(&Event::Closed(None));
            }
        }
        assert_eq!(closed, [true, true], "seed {seed}");
    }
}

#[test]
fn a_path_is_used() {
    for (loss, delay, least) in [
        (0.0, 0, 0.85),
        (0.0, 20, 0.85),
        (0.0, 100, 0.7),
        (0.001, 0, 0.85),
        (0.001, 20, 0.85),
        (0.001, 100, 0.7),
        (0.01, 0, 0.8),
        (0.01, 20, 0.75),
        (0.01, 100, 0.7),
    ] {
        let path = Path {
            rate: 12.5e6,
            delay: Duration::from_micros(100 + delay * 500),
            loss,
            queue: 300_000,
            ..LAN
        };
        let mut world = World::new(5, path);
        let len = 30_000_000;
        let took = world.transfer(len).as_secs_f64();
        let used = len as f64 / took / path.rate;
        let stats = world.sides[0].stats();
        println!(
            "loss {loss} round trip {delay} ms: {:.0} % of the path, {} resent of {}",
            used * 100.0,
            stats.retransmits,
            stats.packets_transmitted
        );
        assert!(used > least, "loss {loss}, {delay} ms: {used}");
    }
}

/// Every ten seconds little is sent for a while, to see how short the round trip is: that costs no more than its time.
#[test]
fn a_long_transfer_keeps_its_rate() {
    let path = Path {
        rate: 6.25e6,
        delay: Duration::from_millis(5),
        jitter: Duration::from_micros(300),
        queue: 200_000,
        ..LAN
    };
    let mut world = World::new(8, path);
    let len = 150_000_000;
    let took = world.transfer(len);
    let used = len as f64 / took.as_secs_f64() / path.rate;
    println!("{:.1} % of the path", used * 100.0);
    assert!(used > 0.93, "{used}");
}

#[test]
fn finds_the_mtu_of_the_path() {
    for (mtu, found) in [(1500, 1500), (1400, 1392), (1200, 1200)] {
        let mut world = World::new(1, Path { mtu, ..LAN });
        world.transfer(20_000_000);
        assert_eq!(world.sides[0].mtu(), found);
    }
}

#[test]
fn a_dead_path_is_an_error_in_bounded_time() {
    let mut world = World::new(3, LAN);
    world.transfer(0);
    let mut world = World::new(3, LAN);
    world.sides[0].write(Bytes::from_static(b"hello"));
    world.cut = true;
    while world.step() {}
    assert_eq!(
        world.events[0],
        [Event::Closed(Some(StreamError::TimedOut))]
    );
    assert!(world.now < Duration::from_secs(20), "{:?}", world.now);
}

#[test]
fn destroy_is_told() {
    let mut world = World::new(3, LAN);
    world.sides[0].destroy();
    while world.step() {}
    assert_eq!(world.events[0], [Event::Closed(None)]);
    assert_eq!(world.events[1], [Event::Closed(Some(StreamError::Reset))]);
}

#[test]
fn a_reader_that_does_not_read_holds_the_writer() {
    let mut world = World::new(9, LAN);
    let mut written = 0;
    let mut room = true;
    for _ in 0..200_000 {
        if room {
            written += 50_000;
            room = world.sides[0].write(Bytes::from(vec![1; 50_000]));
        }
        world.step();
        room |= world.events[0].drain(..).any(|e| e == Event::Drained);
        if world.now > Duration::from_secs(60) {
            break;
        }
    }
    let unread: usize = world.events[1]
        .iter()
        .map(|e| match e {
            Event::Data(bytes) => bytes.len(),
            _ => 0,
        })
        .sum();
    assert!(unread <= 5 << 20, "{unread} bytes were taken");
    assert!(
        written < 12 << 20,
        "{written} bytes were taken from the writer"
    );
    // Reading goes on where it stopped.
    world.sides[1].consumed(unread);
    world.events[1].clear();
    let until = world.now + Duration::from_secs(60);
    let mut more = 0;
    while world.now < until && unread + more < written {
        world.step();
        for event in world.events[1].drain(..) {
            if let Event::Data(bytes) = event {
                more += bytes.len();
                world.sides[1].consumed(bytes.len());
            }
        }
    }
    assert_eq!(unread + more, written);
}

#[test]
fn messages_and_keep_alives() {
    let mut world = World::new(5, LAN);
    assert!(world.sides[0].send(Bytes::from_static(b"unordered")));
    assert!(!world.sides[0].send(Bytes::from(vec![0; 5000])));
    world.sides[1].set_keep_alive(Some(Duration::from_secs(5)), Duration::ZERO);
    while world.now < Duration::from_secs(21) {
        world.step();
    }
    assert_eq!(
        world.events[1],
        [Event::Message(Bytes::from_static(b"unordered"))]
    );
    assert_eq!(world.sides[1].stats().packets_transmitted, 4);
    assert_eq!(world.sides[0].stats().packets_transmitted, 5);
}

#[test]
fn garbage_is_no_reason_to_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for round in 0..2_000u32 {
        let mut world = World::new(u64::from(round), LAN);
        world.sides[0].write(Bytes::from(vec![7; 3_000]));
        for _ in 0..20 {
            let mut packet = vec![0; rng.random_range(0..80)];
            rng.fill(&mut packet[..]);
            if packet.len() >= 20 {
                packet[..2].copy_from_slice(&[255, 1]);
                if rng.random() {
                    packet[2] = 1 << rng.random_range(0..6);
                }
                if rng.random() {
                    packet[3] = 0;
                }
            }
            world.sides[rng.random_range(0..2)].receive(&packet.into(), world.now);
            world.step();
        }
    }
}
