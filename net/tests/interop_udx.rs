//! Live against npm's udx-native on loopback: bytes, messages, closing, relays, streams that move, keep-alives; each from both ends.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`). `POME_UDX_MIB` is how much goes each way (default 8).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "udx/npm.rs"]
mod npm;
mod told;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use npm::{MODULES, Npm};
use pome_net::udx::{Duplex, Socket, StreamError, Udx};
use pome_test_support::npm_works;
use serde_json::json;
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs the test where npm's module is.
fn run<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if !npm_works(test, MODULES) {
        return;
    }
    pome_test_support::block_on(Duration::from_secs(240), body());
}

/// What is written, here and there.
fn pattern() -> Vec<u8> {
    (0..1usize << 20).map(|i| (i * 7 % 253) as u8).collect()
}

/// The hash of so many bytes of it.
fn hash(bytes: usize) -> String {
    let pattern = pattern();
    let mut state = blake2b_simd::State::new();
    for at in (0..bytes).step_by(pattern.len()) {
        state.update(&pattern[..pattern.len().min(bytes - at)]);
    }
    HEXLOWER.encode(state.finalize().as_bytes())
}

/// Writes so many bytes and ends.
async fn write(to: &mut (impl AsyncWriteExt + Unpin), bytes: usize) {
    let pattern = pattern();
    for at in (0..bytes).step_by(pattern.len()) {
        let part = &pattern[..pattern.len().min(bytes - at)];
        to.write_all(part).await.unwrap();
    }
    to.shutdown().await.unwrap();
}

/// Reads to the end.
async fn read(from: &mut (impl AsyncReadExt + Unpin)) -> (u64, String) {
    let mut state = blake2b_simd::State::new();
    let mut buffer = vec![0; 1 << 17];
    let mut bytes = 0;
    loop {
        let len = from.read(&mut buffer).await.unwrap();
        if len == 0 {
            return (bytes, HEXLOWER.encode(state.finalize().as_bytes()));
        }
        state.update(&buffer[..len]);
        bytes += len as u64;
    }
}

/// The sockets and streams of this side.
struct Ours {
    udx: Udx,
    socket: Socket,
}

impl Ours {
    fn new() -> Self {
        let udx = Udx::new();
        let (socket, _) = udx.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { udx, socket }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    fn open(&self, id: u32) -> Duplex {
        self.udx.stream(id, &Default::default()).unwrap()
    }

    fn stream(&self, id: u32, remote_id: u32, remote: SocketAddr) -> Duplex {
        let stream = self.open(id);
        stream.connect(&self.socket, remote_id, remote);
        stream
    }

    /// A stream that connects to whoever sends first.
    fn accept(&self, id: u32, remote_id: u32) -> Duplex {
        let stream = self.open(id);
        let connector = stream.connector();
        stream.set_firewall(Some(Arc::new(move |socket: &Socket, from| {
            connector.connect(socket, remote_id, from);
            false
        })));
        stream
    }
}

#[test]
fn bytes_both_ways_and_a_clean_close() {
    run("bytes_both_ways_and_a_clean_close", || async {
        let bytes = std::env::var("POME_UDX_MIB").map_or(8, |s| s.parse().unwrap()) << 20;
        let mut npm = Npm::start().await;
        let ours = Ours::new();
        // From there, from here, at the same time.
        for (there, here, id) in [(bytes, 0, 10), (0, bytes, 20), (bytes, bytes, 30)] {
            npm.stream(id + 1, id, ours.address()).await;
            let stream = ours.stream(id, id + 1, npm.address);
            let (mut reader, mut writer) = tokio::io::split(stream);
            let task = tokio::spawn(async move { read(&mut reader).await });
            let writes = npm
                .begin("write", json!({"stream": id + 1, "bytes": there}))
                .await;
            write(&mut writer, here).await;
            npm.done(writes).await;
            npm.tell("end", json!({"stream": id + 1})).await;
            assert_eq!(npm.read(id + 1).await, (here as u64, hash(here)));
            assert_eq!(task.await.unwrap(), (there as u64, hash(there)));
            assert_eq!(npm.closed(id + 1).await, None);
        }
    });
}

#[test]
fn messages_go_both_ways() {
    run("messages_go_both_ways", || async {
        let mut npm = Npm::start().await;
        let ours = Ours::new();
        npm.stream(2, 1, ours.address()).await;
        let stream = ours.stream(1, 2, npm.address);
        for text in ["", "short", &"long".repeat(288)] {
            assert!(stream.send(Bytes::from(text.to_owned())));
            assert_eq!(npm.event(2, "message").await["text"], text);
            let sent = npm.tell("send", json!({"stream": 2, "text": text})).await;
            assert_eq!(sent["sent"], true);
            assert_eq!(stream.recv().await.unwrap(), text);
        }
        assert!(!stream.send(Bytes::from(vec![0; 1153])), "too long");
        let mut stream = stream;
        stream.destroy();
        assert_eq!(npm.closed(2).await.as_deref(), Some("ECONNRESET"));
        assert!(stream.recv().await.is_none());
    });
}

/// How a stream is when it is destroyed.
#[derive(Debug, Clone, Copy)]
enum State {
    /// Nothing was sent.
    New,
    /// Bytes have arrived on both sides.
    Used,
    /// The destroyer's writes are on the way, and the other side does not read.
    Writing,
    /// The other side's writes are on the way.
    WrittenTo,
    /// The destroyer has ended.
    Ended,
    /// The other side has ended.
    OtherEnded,
}

const STATES: [State; 6] = [
    State::New,
    State::Used,
    State::Writing,
    State::WrittenTo,
    State::Ended,
    State::OtherEnded,
];

#[test]
fn destroyed_in_every_state_here() {
    run("destroyed_in_every_state_here", || async {
        let mut npm = Npm::start().await;
        let ours = Ours::new();
        for (id, state) in (10u32..).step_by(10).zip(STATES) {
            npm.stream(id + 1, id, ours.address()).await;
            let mut stream = ours.stream(id, id + 1, npm.address);
            match state {
                State::New => {}
                State::Used => {
                    stream.write_all(b"here").await.unwrap();
                    let some = json!({"stream": id + 1, "bytes": 1000});
                    npm.tell("write", some).await;
                    stream.read_exact(&mut [0; 1000]).await.unwrap();
                    assert!(stream.flushed().await);
                }
                State::Writing => {
                    npm.tell("pause", json!({"stream": id + 1})).await;
                    stream.write_all(&pattern()[..200_000]).await.unwrap();
                }
                State::WrittenTo => {
                    let much = json!({"stream": id + 1, "bytes": 300_000});
                    npm.tell("write", much).await;
                }
                State::Ended => write(&mut stream, 1000).await,
                State::OtherEnded => {
                    npm.tell("end", json!({"stream": id + 1})).await;
                    assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
                }
            }
            stream.destroy();
            assert_eq!(stream.closed().await, Ok(()), "{state:?}");
            let error = npm.closed(id + 1).await;
            assert_eq!(error.as_deref(), Some("ECONNRESET"), "{state:?}");
        }
    });
}

#[test]
fn destroyed_in_every_state_there() {
    run("destroyed_in_every_state_there", || async {
        let mut npm = Npm::start().await;
        let ours = Ours::new();
        for (id, state) in (10u32..).step_by(10).zip(STATES) {
            npm.stream(id + 1, id, ours.address()).await;
            let mut stream = ours.stream(id, id + 1, npm.address);
            match state {
                State::New => {}
                State::Used => {
                    stream.write_all(b"here").await.unwrap();
                    let some = json!({"stream": id + 1, "bytes": 1000});
                    npm.tell("write", some).await;
                    stream.read_exact(&mut [0; 1000]).await.unwrap();
                    assert!(stream.flushed().await);
                }
                State::Writing => {
                    let much = json!({"stream": id + 1, "bytes": 200_000});
                    npm.tell("write", much).await;
                }
                State::WrittenTo => {
                    npm.tell("pause", json!({"stream": id + 1})).await;
                    stream.write_all(&pattern()[..300_000]).await.unwrap();
                }
                State::Ended => {
                    npm.tell("end", json!({"stream": id + 1})).await;
                    assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
                }
                State::OtherEnded => {
                    stream.shutdown().await.unwrap();
                    assert_eq!(npm.read(id + 1).await.0, 0);
                }
            }
            npm.tell("destroy", json!({"stream": id + 1})).await;
            assert_eq!(stream.closed().await, Err(StreamError::Reset), "{state:?}");
            assert_eq!(npm.closed(id + 1).await, None, "{state:?}");
        }
    });
}

#[test]
fn one_direction_ends_long_before_the_other() {
    run("one_direction_ends_long_before_the_other", || async {
        let mut npm = Npm::start().await;
        let ours = Ours::new();
        npm.stream(2, 1, ours.address()).await;
        let mut stream = ours.stream(1, 2, npm.address);
        stream.shutdown().await.unwrap();
        assert_eq!(npm.read(2).await.0, 0);
        npm.tell("write", json!({"stream": 2, "bytes": 3_000_000}))
            .await;
        npm.tell("end", json!({"stream": 2})).await;
        assert_eq!(read(&mut stream).await, (3_000_000, hash(3_000_000)));
        assert_eq!(stream.closed().await, Ok(()));
        assert_eq!(npm.closed(2).await, None);

        npm.stream(4, 3, ours.address()).await;
        let mut stream = ours.stream(3, 4, npm.address);
        npm.tell("end", json!({"stream": 4})).await;
        assert_eq!(read(&mut stream).await.0, 0);
        write(&mut stream, 3_000_000).await;
        assert_eq!(npm.read(4).await, (3_000_000, hash(3_000_000)));
        assert_eq!(stream.closed().await, Ok(()));
        assert_eq!(npm.closed(4).await, None);
    });
}

/// Bytes that go each way through a relay.
const RELAYED: usize = 2_000_000;

/// Checks that a stream of ours, with id `id`, carries bytes both ways to one of npm's, and ends.
async fn carries(npm: &mut Npm, stream: Duplex, theirs: u32) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let task = tokio::spawn(async move { read(&mut reader).await });
    let writes = npm
        .begin("write", json!({"stream": theirs, "bytes": RELAYED}))
        .await;
    write(&mut writer, RELAYED).await;
    npm.done(writes).await;
    npm.tell("end", json!({"stream": theirs})).await;
    let whole = (RELAYED as u64, hash(RELAYED));
    assert_eq!(npm.read(theirs).await, whole);
    assert_eq!(task.await.unwrap(), whole);
    assert_eq!(npm.closed(theirs).await, None);
}

#[test]
fn npm_relays() {
    run("npm_relays", || async {
        let mut relay = Npm::start().await;
        let mut npm = Npm::start().await;
        let (a, d) = (Ours::new(), Ours::new());
        // pome and npm, pome and pome.
        for (id, both_ours) in [(10, false), (20, true)] {
            let there = if both_ours { d.address() } else { npm.address };
            relay.stream(id + 2, id + 1, a.address()).await;
            relay.stream(id + 3, id + 4, there).await;
            relay
                .tell("relayTo", json!({"stream": id + 2, "to": id + 3}))
                .await;
            relay
                .tell("relayTo", json!({"stream": id + 3, "to": id + 2}))
                .await;
            let mut ours = a.stream(id + 1, id + 2, relay.address);
            if !both_ours {
                npm.stream(id + 4, id + 3, relay.address).await;
                carries(&mut npm, ours, id + 4).await;
                continue;
            }
            let mut other = d.stream(id + 4, id + 3, relay.address);
            ours.write_all(b"through npm").await.unwrap();
            other.read_exact(&mut [0; 11]).await.unwrap();
            assert!(other.send(Bytes::from_static(b"a message")));
            assert_eq!(ours.recv().await.unwrap(), "a message");
            other.destroy();
            assert_eq!(ours.closed().await, Err(StreamError::Reset));
            let error = relay.closed(id + 3).await;
            assert_eq!(error.as_deref(), Some("ECONNRESET"));
        }
        // A relay of npm's that learns from first packets where its sides are.
        relay.accept(32, 31).await;
        relay.accept(33, 34).await;
        relay.tell("relayTo", json!({"stream": 32, "to": 33})).await;
        relay.tell("relayTo", json!({"stream": 33, "to": 32})).await;
        let mut ours = a.stream(31, 32, relay.address);
        npm.stream(34, 33, relay.address).await;
        assert!(ours.send(Bytes::from_static(b"here I am")));
        npm.tell("write", json!({"stream": 34, "bytes": 2000}))
            .await;
        ours.read_exact(&mut [0; 2000]).await.unwrap();
    });
}

#[test]
fn pome_relays() {
    run("pome_relays", || async {
        let (mut x, mut y) = (Npm::start().await, Npm::start().await);
        let (relay, a) = (Ours::new(), Ours::new());
        // npm and npm: through sockets of one Udx, each end known from the start.
        let (here, _) = relay.udx.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let left = relay.stream(2, 1, x.address);
        let right = relay.open(3);
        right.connect(&here, 4, y.address);
        left.relay_to(&right).unwrap();
        right.relay_to(&left).unwrap();
        x.stream(1, 2, relay.address()).await;
        y.stream(4, 3, here.local_addr()).await;
        for (npm, id) in [(&mut x, 1), (&mut y, 4)] {
            npm.tell("write", json!({"stream": id, "bytes": RELAYED}))
                .await;
            npm.tell("end", json!({"stream": id})).await;
        }
        let whole = (RELAYED as u64, hash(RELAYED));
        assert_eq!(x.read(1).await, whole);
        assert_eq!(y.read(4).await, whole);
        assert_eq!(x.closed(1).await, None);
        assert_eq!(y.closed(4).await, None);

        // npm and pome, and the relay learns where they are from their first packets. Who writes before the other is there loses nothing.
        let left = relay.accept(12, 11);
        let right = relay.accept(13, 14);
        left.relay_to(&right).unwrap();
        right.relay_to(&left).unwrap();
        let mut ours = a.stream(11, 12, relay.address());
        ours.write_all(b"early").await.unwrap();
        y.stream(14, 13, relay.address()).await;
        y.tell("write", json!({"stream": 14, "bytes": 5})).await;
        ours.read_exact(&mut [0; 5]).await.unwrap();
        assert!(ours.flushed().await);
        // When the relay goes it goes quietly, and both of its streams go: the ends find each other another way.
        drop(left);
        assert_eq!(right.closed().await, Ok(()));
        ours.change_remote(&a.socket, 14, y.address);
        let direct = json!({
            "stream": 14, "socket": y.socket, "remoteId": 11, "port": a.address().port(),
        });
        y.tell("changeRemote", direct).await;
        ours.write_all(b"direct").await.unwrap();
        ours.shutdown().await.unwrap();
        y.tell("end", json!({"stream": 14})).await;
        assert_eq!(y.read(14).await.0, 11);
        assert_eq!(ours.closed().await, Ok(()));

        // An end that destroys: the relay closes both of its streams.
        let left = relay.stream(22, 21, x.address);
        let right = relay.stream(23, 24, y.address);
        left.relay_to(&right).unwrap();
        right.relay_to(&left).unwrap();
        x.stream(21, 22, relay.address()).await;
        y.stream(24, 23, relay.address()).await;
        x.tell("write", json!({"stream": 21, "bytes": 1000})).await;
        y.tell("write", json!({"stream": 24, "bytes": 1})).await;
        x.tell("destroy", json!({"stream": 21})).await;
        assert_eq!(y.closed(24).await.as_deref(), Some("ECONNRESET"));
        assert_eq!(left.closed().await, Err(StreamError::Reset));
        assert_eq!(right.closed().await, Ok(()));
    });
}

#[test]
fn a_stream_moves_from_a_relay_to_the_direct_way() {
    run("a_stream_moves_from_a_relay_to_the_direct_way", || async {
        let mut npm = Npm::start().await;
        let mut npm_relay = Npm::start().await;
        let (relay, a) = (Ours::new(), Ours::new());
        for (id, ours_relays) in [(10, true), (20, false)] {
            let mut held = Vec::new();
            let at = if ours_relays {
                let left = relay.stream(id + 2, id + 1, a.address());
                let right = relay.stream(id + 3, id + 4, npm.address);
                left.relay_to(&right).unwrap();
                right.relay_to(&left).unwrap();
                held = vec![left, right];
                relay.address()
            } else {
                npm_relay.stream(id + 2, id + 1, a.address()).await;
                npm_relay.stream(id + 3, id + 4, npm.address).await;
                for (from, to) in [(id + 2, id + 3), (id + 3, id + 2)] {
                    let args = json!({"stream": from, "to": to});
                    npm_relay.tell("relayTo", args).await;
                }
                npm_relay.address
            };
            let mut ours = a.stream(id + 1, id + 2, at);
            npm.stream(id + 4, id + 3, at).await;
            let writes = npm
                .begin("write", json!({"stream": id + 4, "bytes": 20_000_000}))
                .await;
            // A third of it comes the long way.
            let mut first = vec![0; 7_000_000];
            ours.read_exact(&mut first).await.unwrap();
            ours.write_all(b"now").await.unwrap();
            ours.change_remote(&a.socket, id + 4, npm.address);
            let move_to = json!({
                "stream": id + 4, "socket": npm.socket, "remoteId": id + 1, "port": a.address().port(),
            });
            npm.tell("changeRemote", move_to).await;
            let mut rest = vec![0; 13_000_000];
            ours.read_exact(&mut rest).await.unwrap();
            assert!(ours.remote_changed().await);
            npm.event(id + 4, "changed").await;
            npm.done(writes).await;
            first.extend_from_slice(&rest);
            let got = blake2b_simd::blake2b(&first);
            assert_eq!(HEXLOWER.encode(got.as_bytes()), hash(20_000_000));
            // The relay goes, and the stream does not need it.
            drop(held);
            ours.write_all(b"direct").await.unwrap();
            ours.shutdown().await.unwrap();
            npm.tell("end", json!({"stream": id + 4})).await;
            assert_eq!(npm.read(id + 4).await.0, 9);
            assert_eq!(ours.closed().await, Ok(()));
            assert_eq!(npm.closed(id + 4).await, None);
        }
    });
}

#[test]
fn a_quiet_stream_is_kept_alive() {
    run("a_quiet_stream_is_kept_alive", || async {
        let mut npm = Npm::start().await;
        let ours = Ours::new();
        npm.stream(2, 1, ours.address()).await;
        let stream = ours.stream(1, 2, npm.address);
        let before = stream.stats();
        npm.tell("keepalive", json!({"stream": 2, "ms": 20})).await;
        while stream.stats().packets_received < before.packets_received + 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Each is answered.
        while stream.stats().packets_transmitted < before.packets_transmitted + 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        npm.tell("destroy", json!({"stream": 2})).await;

        npm.stream(4, 3, ours.address()).await;
        let stream = ours.stream(3, 4, npm.address);
        stream.set_keep_alive(Some(Duration::from_millis(20)));
        while stream.stats().packets_received < 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let theirs = npm.tell("stats", json!({"stream": 4})).await;
        assert!(theirs["packetsReceived"].as_u64().unwrap() >= 5, "{theirs}");
    });
}
