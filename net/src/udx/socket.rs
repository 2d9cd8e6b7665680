//! Sockets and the streams on them: a task for each socket moves packets between the kernel and the state machines.

use super::{
    Duplex,
    batch::Batch,
    receive::{DATAGRAMS_MAX, Receive},
    settings::Count,
    slot::{Slot, settle},
    stream::{Stream, StreamOptions},
};
use bytes::Bytes;
use parking_lot::Mutex;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::{Notify, mpsc},
    time::Instant,
};

/// Packets that a stream sends before it is another's turn.
const TURN: usize = 256;
/// Bytes that wait for a socket which the kernel does not take more for; beyond it datagrams are dropped, as the network would.
const BLOCKED_MAX: usize = 4 << 20;
/// Bytes that the kernel shall hold for a socket, if it may.
const KERNEL_BUFFER: usize = 4 << 20;

/// A datagram that belongs to no stream.
#[derive(Debug, Clone)]
pub struct Datagram {
    /// What came.
    pub bytes: Bytes,
    /// Who sent it.
    pub from: SocketAddr,
}

/// Decides about a packet for a stream that came in through a socket which is not the stream's: true drops it.
pub type Firewall = Arc<dyn Fn(&Socket, SocketAddr) -> bool + Send + Sync>;

/// The streams of any number of sockets, by their ids. Cheap to clone.
///
/// ```
/// use pome_net::udx::Udx;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let udx = Udx::new();
/// let (here, _datagrams) = udx.bind("127.0.0.1:0".parse()?)?;
/// let (there, _datagrams) = udx.bind("127.0.0.1:0".parse()?)?;
/// let mut a = udx.stream(1, &Default::default())?;
/// let mut b = udx.stream(2, &Default::default())?;
/// a.connect(&here, 2, there.local_addr());
/// b.connect(&there, 1, here.local_addr());
/// a.write_all(b"over UDP").await?;
/// a.shutdown().await?;
/// let mut text = String::new();
/// b.read_to_string(&mut text).await?;
/// assert_eq!(text, "over UDP");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Udx {
    pub(super) table: Arc<Table>,
}

pub(super) struct Table {
    pub(super) slots: Mutex<HashMap<u32, Slot>>,
    epoch: Instant,
}

/// A UDP socket. Cheap to clone; it closes when it is told to, or when nobody holds it and no stream uses it.
#[derive(Clone)]
pub struct Socket {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) table: Weak<Table>,
    pub(super) io: UdpSocket,
    pub(super) state: UdpSocketState,
    pub(super) sent: Count,
    pub(super) received: Count,
    local: SocketAddr,
    /// The memory that packets are gathered in.
    batch: Mutex<Batch>,
    work: Mutex<Work>,
    wake: Notify,
    closed: AtomicBool,
    epoch: Instant,
}

#[derive(Default)]
struct Work {
    /// When which stream wants to be woken.
    timers: BTreeSet<(Duration, u32)>,
    /// Streams that have more to send than their turn allowed.
    again: VecDeque<u32>,
    /// What the kernel did not take: destination, bytes, size of a packet in them.
    blocked: VecDeque<(SocketAddr, Vec<u8>, usize)>,
    blocked_bytes: usize,
    sleeping_until: Option<Duration>,
}

impl Default for Udx {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Udx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Udx").finish_non_exhaustive()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("local", &self.inner.local)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }
}

impl Udx {
    /// No sockets and no streams yet.
    pub fn new() -> Self {
        Self {
            table: Arc::new(Table {
                slots: Mutex::default(),
                epoch: Instant::now(),
            }),
        }
    }

    /// Opens a socket; what comes in that is of no stream arrives at the receiver. Port 0: any. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of the system: the address is in use, or not ours.
    pub fn bind(&self, address: SocketAddr) -> io::Result<(Socket, mpsc::Receiver<Datagram>)> {
        let io = std::net::UdpSocket::bind(address)?;
        io.set_nonblocking(true)?;
        let io = UdpSocket::from_std(io)?;
        let state = UdpSocketState::new((&io).into())?;
        // The system may allow less.
        let _ = state.set_send_buffer_size((&io).into(), KERNEL_BUFFER);
        let _ = state.set_recv_buffer_size((&io).into(), KERNEL_BUFFER);
        let (datagrams, receiver) = mpsc::channel(DATAGRAMS_MAX);
        let socket = Socket {
            inner: Arc::new(Inner {
                table: Arc::downgrade(&self.table),
                local: io.local_addr()?,
                batch: Mutex::default(),
                io,
                state,
                sent: Count::default(),
                received: Count::default(),
                work: Mutex::default(),
                wake: Notify::new(),
                closed: AtomicBool::new(false),
                epoch: self.table.epoch,
            }),
        };
        tokio::spawn(drive(Arc::downgrade(&socket.inner), datagrams));
        Ok((socket, receiver))
    }

    /// A stream with this id, which the other side must be told.
    ///
    /// # Errors
    /// `AlreadyExists` when the id is taken.
    pub fn stream(&self, id: u32, options: &StreamOptions) -> io::Result<Duplex> {
        let mut slots = self.table.slots.lock();
        if slots.contains_key(&id) {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("there is a stream with the id {id}: choose another"),
            ));
        }
        slots.insert(id, Slot::new(Stream::new(id, options)));
        Ok(Duplex::new(self.clone(), id))
    }

    pub(super) fn now(&self) -> Duration {
        self.table.epoch.elapsed()
    }

    /// Runs `act` on the stream, then does what follows from it. `None` when the stream is gone.
    pub(super) fn with<T>(&self, id: u32, act: impl FnOnce(&mut Slot, Duration) -> T) -> Option<T> {
        let mut slots = self.table.slots.lock();
        let slot = slots.get_mut(&id)?;
        let now = self.now();
        let result = act(slot, now);
        settle(&mut slots, id, now);
        Some(result)
    }

    /// Looks at the stream, or changes only what is waited for.
    pub(super) fn peek<T>(&self, id: u32, look: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.table.slots.lock().get_mut(&id).map(look)
    }
}

impl Socket {
    /// Its own address, as the system tells it.
    pub fn local_addr(&self) -> SocketAddr {
        self.inner.local
    }

    /// Sends a datagram of its own. What the network would lose may be lost here too.
    ///
    /// # Errors
    /// Those of the system, among them: no route, too long.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        self.inner.send(bytes, bytes.len(), to)
    }

    /// As [`send_to`](Self::send_to), with a limit of hops: a packet that opens a NAT need not arrive.
    ///
    /// # Errors
    /// As [`send_to`](Self::send_to).
    pub fn send_to_with_ttl(&self, bytes: &[u8], to: SocketAddr, ttl: u32) -> io::Result<()> {
        let usual = self.inner.io.ttl()?;
        self.inner.io.set_ttl(ttl)?;
        let sent = self.send_to(bytes, to);
        self.inner.io.set_ttl(usual)?;
        sent
    }

    /// Takes nothing in any more and sends nothing; the streams on it end, and say so to the other side.
    pub fn close(&self) {
        if let Some(table) = self.inner.table.upgrade() {
            let udx = Udx { table };
            let now = udx.now();
            let mut slots = udx.table.slots.lock();
            let own: Vec<u32> = slots
                .iter()
                .filter(|(_, slot)| slot.socket.as_ref() == Some(self))
                .map(|(id, _)| *id)
                .collect();
            for id in own {
                if let Some(slot) = slots.get_mut(&id) {
                    slot.destroy();
                }
                settle(&mut slots, id, now);
            }
        }
        self.inner.closed.store(true, Ordering::Release);
        self.inner.wake.notify_one();
    }

    /// True after [`close`](Self::close).
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    /// Sends what the stream has, packets of one size in one call.
    pub(super) fn transmit(&self, stream: &mut Stream, now: Duration) {
        if !self.inner.work.lock().blocked.is_empty() {
            self.again(stream.id());
            return;
        }
        let Some((_, to)) = stream.remote() else {
            return;
        };
        let mut batch = std::mem::take(&mut *self.inner.batch.lock());
        let mut turn = 0;
        while turn < TURN {
            let begin = batch.len();
            if stream.poll_transmit(now, batch.space()).is_none() {
                break;
            }
            turn += 1;
            if stream.may_be_cut() {
                let packet = batch.space().split_off(begin);
                batch.flush(|bytes, size| self.send_packets(bytes, size, to));
                self.send_to_be_cut(&packet, to);
                continue;
            }
            batch.added(begin, self.segments(), |bytes, size| {
                self.send_packets(bytes, size, to);
            });
        }
        batch.flush(|bytes, size| self.send_packets(bytes, size, to));
        *self.inner.batch.lock() = batch;
        if turn == TURN {
            self.again(stream.id());
        }
    }

    /// Packets that the kernel takes in one call, as far as is known: a device that does not cut them for it is noticed by the first call that fails.
    pub(super) fn segments(&self) -> usize {
        self.inner.state.max_gso_segments().max(1)
    }

    /// Sends a packet that routers may cut. (Only where the kernel lets a socket say so; elsewhere it is sent like any other.)
    fn send_to_be_cut(&self, packet: &[u8], to: SocketAddr) {
        self.inner.let_routers_cut(true);
        self.send_packets(packet, packet.len(), to);
        self.inner.let_routers_cut(false);
    }

    /// The stream has more to send, when the others have had their turn and the kernel takes more.
    fn again(&self, id: u32) {
        let mut work = self.inner.work.lock();
        if !work.again.contains(&id) {
            work.again.push_back(id);
        }
        self.inner.wake.notify_one();
    }

    /// Sends packets of `size` bytes each; the last may be shorter.
    pub(super) fn send_packets(&self, bytes: &[u8], size: usize, to: SocketAddr) {
        // A packet that cannot be sent is a packet lost: the streams know what to do.
        if let Err(error) = self.inner.send(bytes, size, to) {
            tracing::debug!(%to, %error, "a packet was not sent");
        }
    }

    pub(super) fn receive(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> io::Result<usize> {
        let io = &self.inner.io;
        let count = io.try_io(Interest::READABLE, || {
            self.inner.state.recv(io.into(), buffers, metas)
        })?;
        for meta in metas.iter().take(count) {
            self.inner.received.add(meta.len, meta.stride);
        }
        Ok(count)
    }

    pub(super) fn arm(&self, id: u32, armed: &mut Option<Duration>, at: Option<Duration>) {
        if *armed == at {
            return;
        }
        let mut work = self.inner.work.lock();
        if let Some(old) = armed.take() {
            work.timers.remove(&(old, id));
        }
        *armed = at;
        if let Some(at) = at {
            work.timers.insert((at, id));
            if work.sleeping_until.is_none_or(|until| at < until) {
                self.inner.wake.notify_one();
            }
        }
    }
}

impl Inner {
    fn send(&self, bytes: &[u8], size: usize, to: SocketAddr) -> io::Result<()> {
        let mut work = self.work.lock();
        if work.blocked.is_empty() {
            match self.try_send(bytes, size, to) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        if work.blocked_bytes + bytes.len() > BLOCKED_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        work.blocked_bytes += bytes.len();
        work.blocked.push_back((to, bytes.to_vec(), size));
        self.wake.notify_one();
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn let_routers_cut(&self, yes: bool) {
        use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
        let set = match (self.local.is_ipv6(), yes) {
            (false, true) => sockopt::set_ip_mtu_discover(&self.io, Ipv4PathMtuDiscovery::DONT),
            (false, false) => sockopt::set_ip_mtu_discover(&self.io, Ipv4PathMtuDiscovery::PROBE),
            (true, true) => sockopt::set_ipv6_mtu_discover(&self.io, Ipv6PathMtuDiscovery::DONT),
            (true, false) => sockopt::set_ipv6_mtu_discover(&self.io, Ipv6PathMtuDiscovery::PROBE),
        };
        if let Err(error) = set {
            tracing::debug!(%error, "the system does not let packets be cut");
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn let_routers_cut(&self, _: bool) {}

    fn try_send(&self, bytes: &[u8], size: usize, to: SocketAddr) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: (size < bytes.len()).then_some(size),
            src_ip: None,
        };
        self.io.try_io(Interest::WRITABLE, || {
            self.state.try_send((&self.io).into(), &transmit)
        })?;
        self.sent.add(bytes.len(), size);
        Ok(())
    }

    /// Sends what the kernel did not take before.
    fn unblock(&self) {
        let mut work = self.work.lock();
        while let Some((to, bytes, size)) = work.blocked.pop_front() {
            match self.try_send(&bytes, size, to) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    work.blocked.push_front((to, bytes, size));
                    return;
                }
                Err(error) => tracing::debug!(%to, %error, "a packet was not sent"),
                Ok(()) => {}
            }
            work.blocked_bytes -= bytes.len();
        }
    }
}

/// Moves packets until the socket is closed or forgotten.
async fn drive(socket: Weak<Inner>, datagrams: mpsc::Sender<Datagram>) {
    /// How often a socket that nobody uses looks whether it is forgotten.
    const FORGOTTEN: Duration = Duration::from_secs(1);
    let mut receive = Receive::new();
    loop {
        let Some(inner) = socket.upgrade() else {
            return;
        };
        let socket_now = Socket { inner };
        let inner = &socket_now.inner;
        let Some(table) = inner.table.upgrade() else {
            return;
        };
        if inner.closed.load(Ordering::Acquire) {
            return;
        }
        let udx = Udx { table };
        let (deadline, blocked) = {
            let mut work = inner.work.lock();
            let until = work.timers.first().map(|(at, _)| *at);
            work.sleeping_until = until;
            let soon =
                (!work.again.is_empty() && work.blocked.is_empty()).then_some(Duration::ZERO);
            (soon.or(until), !work.blocked.is_empty())
        };
        let at = inner.epoch + deadline.unwrap_or(inner.epoch.elapsed() + FORGOTTEN);
        let waited = if deadline == Some(Duration::ZERO) {
            tokio::task::yield_now().await;
            Waited::Timer
        } else {
            tokio::select! {
                biased;
                ready = inner.io.readable() => ready.map_or(Waited::Timer, |()| Waited::Readable),
                _ = inner.io.writable(), if blocked => Waited::Writable,
                () = inner.wake.notified() => Waited::Timer,
                () = tokio::time::sleep_until(at) => Waited::Timer,
            }
        };
        match waited {
            Waited::Readable => receive.all(&udx, &socket_now, &datagrams),
            Waited::Writable => inner.unblock(),
            Waited::Timer => {}
        }
        run_timers(&udx, &socket_now);
    }
}

enum Waited {
    Readable,
    Writable,
    Timer,
}

/// Wakes the streams whose time has come, and those that have more to send.
fn run_timers(udx: &Udx, socket: &Socket) {
    let now = udx.now();
    let due: Vec<u32> = {
        let mut work = socket.inner.work.lock();
        if !work.blocked.is_empty() {
            // What waits for the kernel goes first.
            return;
        }
        let mut due: Vec<u32> = work.again.drain(..).collect();
        while let Some((at, id)) = work.timers.first().copied().filter(|(at, _)| *at <= now) {
            work.timers.remove(&(at, id));
            due.push(id);
        }
        due
    };
    for id in due {
        udx.with(id, |slot, now| {
            if slot.armed.is_some_and(|at| at <= now) {
                slot.armed = None;
            }
            slot.stream.on_timeout(now);
        });
    }
}
