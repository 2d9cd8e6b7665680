//! A path with a rate, a delay and losses, between two sockets of this machine: what one end sends here goes on to the other, later, or not at all.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Bytes a second of the slowest link.
pub(crate) const RATE: f64 = 12.5e6;
/// Bytes that wait in front of it; what comes then is lost.
const QUEUE: f64 = 300e3;
/// Bytes of the headers in front of each datagram.
const HEADERS: usize = 28;

/// A path that is there until it is dropped.
pub(crate) struct Path {
    /// Where each end sends what is for the other.
    pub(crate) ports: [u16; 2],
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Way {
    socket: UdpSocket,
    /// When the link is free.
    free: Instant,
    /// (arrival, packet), in the order of arrival.
    air: VecDeque<(Instant, Vec<u8>)>,
}

impl Path {
    /// `loss` is of a packet, in both directions; the round trip takes twice `delay` at least.
    pub(crate) fn new(ends: [u16; 2], delay: Duration, loss: f64, seed: u64) -> io::Result<Self> {
        let now = Instant::now();
        let way = || -> io::Result<Way> {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_nonblocking(true)?;
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4 << 20)?;
            Ok(Way {
                socket,
                free: now,
                air: VecDeque::new(),
            })
        };
        let ways = [way()?, way()?];
        let mut ports = [0; 2];
        for (port, way) in ports.iter_mut().zip(&ways) {
            *port = way.socket.local_addr()?.port();
        }
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let thread = std::thread::spawn(move || carry(ways, ends, delay, loss, rng, &stopped));
        Ok(Self {
            ports,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn carry(
    mut ways: [Way; 2],
    ends: [u16; 2],
    delay: Duration,
    loss: f64,
    mut rng: ChaCha8Rng,
    stop: &AtomicBool,
) {
    let mut buffer = vec![0; 64 << 10];
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for from in 0..2 {
            // What end 0 sends comes in at socket 0, and leaves through socket 1 for end 1.
            while let Ok((len, _)) = ways[from].socket.recv_from(&mut buffer) {
                idle = false;
                let now = Instant::now();
                let way = &mut ways[1 - from];
                let waiting = way.free.saturating_duration_since(now).as_secs_f64() * RATE;
                if rng.random_bool(loss) || waiting > QUEUE {
                    continue;
                }
                way.free =
                    way.free.max(now) + Duration::from_secs_f64((len + HEADERS) as f64 / RATE);
                way.air
                    .push_back((way.free + delay, buffer[..len].to_vec()));
            }
        }
        for (to, way) in ways.iter_mut().enumerate() {
            let now = Instant::now();
            while let Some((_, packet)) = way.air.pop_front_if(|(at, _)| *at <= now) {
                idle = false;
                let end = SocketAddr::from(([127, 0, 0, 1], ends[to]));
                let _ = way.socket.send_to(&packet, end);
            }
        }
        if idle {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}
