//! The secret stream beside npm's, both in memory, one sender and one receiver in one thread, in turns on one machine.
//!
//! `cargo run --release -p pome-net --example secret_stream_bench`; needs node and the modules (`npm ci --prefix tests/interop`).
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that fails has nothing to say"
)]

use pome_cores::KeyPair;
use pome_net::{
    noise::Role,
    secret_stream::{Entropy, Event, SecretStream, StreamOptions},
};
use std::{path::Path, process::Command, time::Instant};

const ROUNDS: usize = 5;

fn ours(size: usize, count: usize) -> f64 {
    let now = Instant::now();
    let side = |role| {
        let options = StreamOptions::default();
        SecretStream::new(now, role, &KeyPair::random(), Entropy::random(), options).unwrap()
    };
    let (mut a, mut b) = (side(Role::Initiator), side(Role::Responder));
    for _ in 0..4 {
        while let Some(bytes) = a.poll_transmit() {
            b.handle_input(now, &bytes);
        }
        while b.poll(now).unwrap().is_some() {}
        while let Some(bytes) = b.poll_transmit() {
            a.handle_input(now, &bytes);
        }
        while a.poll(now).unwrap().is_some() {}
    }
    let message = vec![7; size];
    let mut got = 0;
    let start = Instant::now();
    let mut sent = 0;
    while got < count {
        // About what a socket takes at once.
        while sent < count && a.unsent_bytes() < 64 << 10 {
            a.write(now, &[&message]).unwrap();
            sent += 1;
        }
        while let Some(bytes) = a.poll_transmit() {
            b.handle_input(now, &bytes);
        }
        while let Some(event) = b.poll(now).unwrap() {
            if let Event::Message(message) = event {
                assert_eq!(message.len(), size);
                got += 1;
            }
        }
    }
    start.elapsed().as_secs_f64()
}

fn npm(size: usize, count: usize) -> f64 {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/interop/stream_bench.js");
    let output = Command::new("node")
        .arg(script)
        .args([size.to_string(), count.to_string()])
        .output()
        .unwrap();
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    line["seconds"].as_f64().unwrap()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

fn main() {
    println!("message      ours MB/s    npm MB/s    ratio");
    for (size, count) in [
        (100, 200_000),
        (1024, 200_000),
        (65_536, 4096),
        (1 << 20, 256),
    ] {
        let (mut us, mut them) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            us.push(ours(size, count));
            them.push(npm(size, count));
        }
        let rate = |seconds: f64| (size * count) as f64 / seconds / 1e6;
        let (us, them) = (rate(median(us)), rate(median(them)));
        println!("{size:>7} B {us:>13.0} {them:>11.0} {:>7.2}×", us / them);
    }
}
