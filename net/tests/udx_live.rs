#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! Streams over real sockets on loopback.

use pome_net::udx::{Duplex, Phase, Udx};
use pome_test_support::namespace;
use std::{
    net::SocketAddr,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn any() -> std::net::SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_bytes_both_ways() {
    let (here, there) = (Udx::new(), Udx::new());
    let (a_socket, _a) = here.bind(any()).unwrap();
    let (b_socket, _b) = there.bind(any()).unwrap();
    let len = std::env::var("POME_UDX_MIB").map_or(8, |s| s.parse().unwrap()) << 20;
    let mut tasks = Vec::new();
    for id in 1..3u32 {
        let a = here.stream(id, &Default::default()).unwrap();
        let b = there.stream(id + 10, &Default::default()).unwrap();
        a.connect(&a_socket, id + 10, b_socket.local_addr());
        b.connect(&b_socket, id, a_socket.local_addr());
        let (mut from, mut to) = (a, b);
        tasks.push(tokio::spawn(async move {
            let data: Vec<u8> = (0..1 << 20).map(|i| (i * 7 % 253) as u8).collect();
            for _ in 0..len >> 20 {
                from.write_all(&data).await.unwrap();
            }
            from.shutdown().await.unwrap();
            let mut answer = Vec::new();
            from.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"thanks");
            println!("{:?} {:?}", from.path(), from.stats());
        }));
        tasks.push(tokio::spawn(async move {
            let began = std::time::Instant::now();
            let mut got = 0;
            let mut buf = vec![0; 1 << 18];
            loop {
                let n = to.read(&mut buf).await.unwrap();
                if n == 0 {
                    break;
                }
                for (i, byte) in buf[..n].iter().enumerate() {
                    assert_eq!(*byte, (((got + i) % (1 << 20)) * 7 % 253) as u8);
                }
                got += n;
            }
            assert_eq!(got, len);
            println!(
                "{:.0} MiB/s",
                len as f64 / began.elapsed().as_secs_f64() / f64::from(1 << 20)
            );
            to.write_all(b"thanks").await.unwrap();
            to.shutdown().await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn messages_datagrams_and_strangers() {
    let (here, there) = (Udx::new(), Udx::new());
    let (a_socket, _a) = here.bind(any()).unwrap();
    let (b_socket, mut b_datagrams) = there.bind(any()).unwrap();
    let (c_socket, mut c_datagrams) = there.bind(any()).unwrap();
    a_socket.send_to(b"plain", b_socket.local_addr()).unwrap();
    let plain = b_datagrams.recv().await.unwrap();
    assert_eq!(
        (&plain.bytes[..], plain.from),
        (&b"plain"[..], a_socket.local_addr())
    );
    let mut a = here.stream(1, &Default::default()).unwrap();
    let b = there.stream(2, &Default::default()).unwrap();
    assert!(there.stream(2, &Default::default()).is_err());
    a.connect(&a_socket, 2, b_socket.local_addr());
    b.connect(&b_socket, 1, a_socket.local_addr());
    assert!(a.send(bytes::Bytes::from_static(b"quick")));
    assert_eq!(b.recv().await.unwrap(), "quick");
    assert_eq!((a.id(), a.remote_id()), (1, Some(2)));
    assert_eq!(a.local_addr(), Some(a_socket.local_addr()));
    assert_eq!(a.remote_addr(), Some(b_socket.local_addr()));
    let state = a.state();
    assert_eq!((state.phase, state.mtu), (Phase::Startup, 1200));
    assert!(state.cwnd > 0 && state.inflight == 0, "{state:?}");
    assert_eq!(a.connector().state(), state);
    // What the sockets count, and what may be set of them.
    assert_eq!((a_socket.streams(), c_socket.streams()), (1, 0));
    let (sent, came) = (a_socket.stats(), b_socket.stats());
    assert_eq!(sent.packets_transmitted, 2, "a datagram and a message");
    assert_eq!(sent.bytes_transmitted, 5 + 20 + 5);
    assert_eq!((came.packets_received, came.bytes_received), (2, 30));
    let (group, loopback) = ([224, 0, 0, 200].into(), [127, 0, 0, 1].into());
    c_socket.join_multicast(group, loopback).unwrap();
    c_socket.leave_multicast(group, loopback).unwrap();
    assert!(c_socket.leave_multicast(group, loopback).is_err());
    a_socket.set_ttl(7).unwrap();
    assert_eq!(a_socket.ttl().unwrap(), 7);
    c_socket.set_recv_buffer_size(40_000).unwrap();
    c_socket.set_send_buffer_size(50_000).unwrap();
    assert!((40_000..=80_000).contains(&c_socket.recv_buffer_size().unwrap()));
    assert!((50_000..=100_000).contains(&c_socket.send_buffer_size().unwrap()));
    // Through a socket that is not the stream's: dropped, unless the firewall lets it in.
    let stranger = here.stream(9, &Default::default()).unwrap();
    stranger.connect(&a_socket, 2, c_socket.local_addr());
    stranger.send(bytes::Bytes::from_static(b"stranger"));
    b.set_firewall(None);
    a.send(bytes::Bytes::from_static(b"again"));
    assert_eq!(b.recv().await.unwrap(), "again");
    b.set_firewall(Some(std::sync::Arc::new(|_, _| false)));
    stranger.send(bytes::Bytes::from_static(b"friend"));
    assert_eq!(b.recv().await.unwrap(), "friend");
    assert!(c_datagrams.try_recv().is_err());
    a.destroy();
    assert!(b.recv().await.is_none());
    let mut b = b;
    let error = b.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

const LEN: usize = 32 << 20;

/// Runs one end of a stream in a thread and a runtime of its own.
fn end<T: Send + 'static, F: Future<Output = T>>(
    id: u32,
    own: mpsc::Sender<SocketAddr>,
    other: mpsc::Receiver<SocketAddr>,
    work: impl FnOnce(Duplex) -> F + Send + 'static,
) -> thread::JoinHandle<T> {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let udx = Udx::new();
            let (socket, _datagrams) = udx.bind(any()).unwrap();
            own.send(socket.local_addr()).unwrap();
            let stream = udx.stream(id, &Default::default()).unwrap();
            stream.connect(&socket, 3 - id, other.recv().unwrap());
            work(stream).await
        })
    })
}

/// Sends [`LEN`] bytes from one thread to another; `sending` and `reading` are told how many have gone and have come. Answers the path as the sender saw it.
fn transfer(
    mut sending: impl FnMut(usize) + Send + 'static,
    mut reading: impl FnMut(usize) + Send + 'static,
) -> (Option<Duration>, u16, f64) {
    let (here, from_here) = mpsc::channel();
    let (there, from_there) = mpsc::channel();
    let data = |at: usize| (at / 1000 % 251) as u8;
    let sender = end(1, here, from_there, move |mut stream| async move {
        for begin in (0..LEN).step_by(1 << 16) {
            let part: Vec<u8> = (begin..begin + (1 << 16)).map(data).collect();
            stream.write_all(&part).await.unwrap();
            sending(begin);
        }
        assert!(stream.flushed().await);
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        stream.path()
    });
    let reader = end(2, there, from_here, move |mut stream| async move {
        let (mut got, mut part) = (0, vec![0; 1 << 16]);
        loop {
            let len = stream.read(&mut part).await.unwrap();
            if len == 0 {
                break;
            }
            for (at, byte) in (got..).zip(&part[..len]) {
                assert_eq!(*byte, data(at));
            }
            got += len;
            reading(got);
        }
        assert_eq!(got, LEN);
        stream.shutdown().await.unwrap();
    });
    reader.join().unwrap();
    sender.join().unwrap()
}

/// Does something once, when half has passed.
fn halfway(mut act: impl FnMut() + Send + 'static) -> impl FnMut(usize) + Send + 'static {
    let mut done = false;
    move |passed| {
        if passed > LEN / 2 && !done {
            done = true;
            act();
        }
    }
}

/// The device refuses packets that are too long for it, as a path swallows them.
#[test]
fn a_device_that_becomes_narrower_is_noticed() {
    if !namespace::inside("a_device_that_becomes_narrower_is_noticed") {
        return;
    }
    let narrow = || {
        let mut set = Command::new("ip");
        set.args(["link", "set", "lo", "mtu", "1280"]);
        assert!(set.status().unwrap().success());
    };
    let (_, mtu, _) = transfer(halfway(narrow), |_| {});
    assert!((1200..=1280).contains(&mtu), "{mtu}");
}

/// Both machines of a stream sleep in turn, longer than a timeout: it goes on.
#[test]
fn an_end_that_sleeps_goes_on() {
    const SLEEP: Duration = Duration::from_millis(2500);
    let sleep = || thread::sleep(SLEEP);
    for sender in [true, false] {
        let began = Instant::now();
        match sender {
            true => transfer(halfway(sleep), |_| {}),
            false => transfer(|_| {}, halfway(sleep)),
        };
        assert!(began.elapsed() >= SLEEP);
    }
}
