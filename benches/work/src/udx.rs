//! One end of a stream, in a process of its own. Says its port on stdout, is told the other's on stdin, and then sends or reads as fast as it can.

use crate::Result;
use pome_cores::KeyPair;
use pome_net::{
    noise::Role,
    secret_stream::{Entropy, Event, SecretStream, StreamOptions},
    udx::{Datagram, Duplex, Socket, Udx},
};
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// Bytes of one write, and of one message of a secret stream.
const WRITE: usize = 64 << 10;

/// What an end is told.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Go {
    /// Where the other one is, or what is between them.
    pub port: u16,
    /// How long to read.
    pub seconds: f64,
    /// The time begins now, not with the first byte.
    pub now: bool,
}

/// What an end that reads tells in the end.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Read {
    /// How many bytes came.
    pub bytes: u64,
    /// From the first byte on, or from when it was told.
    pub seconds: f64,
}

/// Does the work of one end: `transport` is `udx` or `tcp`, `role` is `send` or `read`.
///
/// # Errors
/// When the stream fails.
pub fn run(transport: &str, role: &str, sealed: bool) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            let any: SocketAddr = "127.0.0.1:0".parse()?;
            let sends = role == "send";
            if transport == "tcp" {
                let listener = TcpListener::bind(any).await?;
                let go = meet(listener.local_addr()?.port())?;
                let socket = match sends {
                    true => TcpStream::connect(("127.0.0.1", go.port)).await?,
                    false => listener.accept().await?.0,
                };
                socket.set_nodelay(true)?;
                return work(socket, sends, sealed, go).await;
            }
            let udx = Udx::new();
            let (socket, _datagrams) = udx.bind(any)?;
            let (own, theirs) = if sends { (1, 2) } else { (2, 1) };
            let stream = udx.stream(own, &Default::default())?;
            let go = meet(socket.local_addr().port())?;
            stream.connect(&socket, theirs, SocketAddr::new(any.ip(), go.port));
            work(stream, sends, sealed, go).await
        })
}

/// An end that reads in this process.
pub(crate) struct Reader {
    socket: Socket,
    stream: Duplex,
    // Both end with it.
    _udx: Udx,
    // The socket ends with it.
    _datagrams: mpsc::Receiver<Datagram>,
}

impl Reader {
    pub(crate) fn new() -> Result<Self> {
        let udx = Udx::new();
        let (socket, datagrams) = udx.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let stream = udx.stream(2, &Default::default())?;
        Ok(Self {
            socket,
            stream,
            _udx: udx,
            _datagrams: datagrams,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().port()
    }

    /// Reads so many bytes of who sends from that port; the time begins with the first.
    pub(crate) async fn read(mut self, port: u16, count: u64) -> Result<Read> {
        let from = SocketAddr::from(([127, 0, 0, 1], port));
        self.stream.connect(&self.socket, 1, from);
        let mut buffer = vec![0; 256 << 10];
        let mut bytes = self.stream.read(&mut buffer).await? as u64;
        let began = Instant::now();
        while bytes < count {
            match self.stream.read(&mut buffer).await? {
                0 => return Err("the other end has ended".into()),
                len => bytes += len as u64,
            }
        }
        Ok(Read {
            bytes,
            seconds: began.elapsed().as_secs_f64(),
        })
    }
}

fn meet(port: u16) -> Result<Go> {
    println!("{}", serde_json::json!({ "port": port }));
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

async fn work(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    sends: bool,
    sealed: bool,
    go: Go,
) -> Result<()> {
    let mut meter = Meter::new(go);
    match (sends, sealed) {
        (true, false) => send(stream).await,
        (false, false) => read(stream, &mut meter).await,
        (_, true) => secret(stream, sends, &mut meter).await,
    }
}

async fn send(mut stream: impl AsyncWrite + Unpin) -> Result<()> {
    let part = vec![7; WRITE];
    loop {
        stream.write_all(&part).await?;
    }
}

async fn read(mut stream: impl AsyncRead + Unpin, meter: &mut Meter) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        let len = tokio::time::timeout(meter.rest(), stream.read(&mut buffer)).await;
        let len = len.unwrap_or(Ok(0))?;
        if meter.read(len) {
            return meter.say();
        }
    }
}

/// Seals messages, or opens them.
async fn secret(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    sends: bool,
    meter: &mut Meter,
) -> Result<()> {
    let role = if sends {
        Role::Initiator
    } else {
        Role::Responder
    };
    let options = StreamOptions::default();
    let (keys, entropy) = (KeyPair::random(), Entropy::random());
    let mut secret = SecretStream::new(Instant::now(), role, &keys, entropy, options)?;
    let message = vec![7; WRITE];
    loop {
        while let Some(bytes) = secret.poll_transmit() {
            stream.write_all(&bytes).await?;
        }
        let now = Instant::now();
        if secret.is_open() && sends {
            secret.write(now, &[&message])?;
            continue;
        }
        while let Some(event) = secret.poll(now)? {
            if let Event::Message(message) = event
                && meter.read(message.len())
            {
                return meter.say();
            }
        }
        if let Some(bytes) = secret.poll_transmit() {
            stream.write_all(&bytes).await?;
            continue;
        }
        if secret.is_open() && sends {
            continue;
        }
        let buffer = secret.read_buffer();
        buffer.reserve(128 << 10);
        let len = tokio::time::timeout(meter.rest(), stream.read_buf(buffer)).await;
        let len = len.unwrap_or(Ok(0))?;
        secret.handle_read(Instant::now(), len);
        if len == 0 && !sends {
            meter.read(0);
            return meter.say();
        }
    }
}

/// Counts what arrives, for a time.
struct Meter {
    began: Option<Instant>,
    time: Duration,
    bytes: u64,
}

impl Meter {
    fn new(go: Go) -> Self {
        Self {
            began: go.now.then(Instant::now),
            time: Duration::from_secs_f64(go.seconds),
            bytes: 0,
        }
    }

    /// The time that is left.
    fn rest(&self) -> Duration {
        let passed = self.began.map_or(Duration::ZERO, |at| at.elapsed());
        self.time.saturating_sub(passed)
    }

    /// True when the time is over.
    fn read(&mut self, bytes: usize) -> bool {
        self.bytes += bytes as u64;
        self.began.get_or_insert_with(Instant::now);
        self.rest().is_zero()
    }

    fn say(&self) -> Result<()> {
        let seconds = self.began.map_or(0.0, |at| at.elapsed().as_secs_f64());
        let read = Read {
            bytes: self.bytes,
            seconds,
        };
        println!("{}", serde_json::to_string(&read)?);
        Ok(())
    }
}
