//! The secret stream in memory: one sender and one receiver in one thread.

use std::time::Instant;

use pome_cores::KeyPair;
use pome_net::{
    noise::Role,
    secret_stream::{Entropy, Event, SecretStream, StreamOptions},
};

use crate::{Job, Result, VERSION};
use pome_bench_support::Worker;

/// Bytes of a message, and how many.
pub const SIZES: &[(usize, usize)] = &[
    (100, 200_000),
    (1024, 200_000),
    (65_536, 4096),
    (1 << 20, 256),
];

pub(crate) fn measure(job: &Job) -> Result<()> {
    let size = 64 << 10;
    let worker = Worker::ready()?;
    let seconds = ours(size, job.size as usize)?;
    Ok(worker.done_in(seconds, job.size, job.size * size as u64, VERSION)?)
}

/// Seconds from the first message to the last, of so many of so many bytes.
///
/// # Errors
/// When the two sides do not understand each other.
pub fn ours(size: usize, count: usize) -> Result<f64> {
    let now = Instant::now();
    let side = |role| {
        let options = StreamOptions::default();
        SecretStream::new(now, role, &KeyPair::random(), Entropy::random(), options)
    };
    let (mut a, mut b) = (side(Role::Initiator)?, side(Role::Responder)?);
    for _ in 0..4 {
        while let Some(bytes) = a.poll_transmit() {
            b.handle_input(now, &bytes);
        }
        while b.poll(now)?.is_some() {}
        while let Some(bytes) = b.poll_transmit() {
            a.handle_input(now, &bytes);
        }
        while a.poll(now)?.is_some() {}
    }
    let message = vec![7; size];
    let (mut sent, mut got) = (0, 0);
    let start = Instant::now();
    while got < count {
        // About what a socket takes at once.
        while sent < count && a.unsent_bytes() < 64 << 10 {
            a.write(now, &[&message])?;
            sent += 1;
        }
        while let Some(bytes) = a.poll_transmit() {
            b.handle_input(now, &bytes);
        }
        while let Some(event) = b.poll(now)? {
            if let Event::Message(message) = event {
                got += usize::from(message.len() == size);
            }
        }
    }
    Ok(start.elapsed().as_secs_f64())
}
