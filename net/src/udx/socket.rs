//! Sockets and the streams on them: a task for each socket moves packets between the kernel and the state machines.

use super::{
    Duplex, HEADER_BYTES, Header,
    stream::{Event, Stream, StreamError, StreamOptions},
};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
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
/// Bytes of a receive buffer: room for the packets that the kernel hands over in one.
const RECEIVE_BYTES: usize = 64 << 10;
/// Datagrams that are no packets of a stream and wait for their reader; more are dropped.
const DATAGRAMS_MAX: usize = 4096;
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

/// A stream and who waits for it.
pub(super) struct Slot {
    pub(super) stream: Stream,
    pub(super) socket: Option<Socket>,
    firewall: Option<Firewall>,
    pub(super) read: VecDeque<Bytes>,
    pub(super) messages: VecDeque<Bytes>,
    pub(super) ended: bool,
    pub(super) closed: Option<Option<StreamError>>,
    pub(super) room: bool,
    pub(super) flushed: bool,
    /// Nobody holds the stream any more.
    pub(super) orphan: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) flusher: Option<Waker>,
    pub(super) listener: Option<Waker>,
    armed: Option<Duration>,
}

/// A UDP socket. Cheap to clone; it closes when it is told to, or when nobody holds it and no stream uses it.
#[derive(Clone)]
pub struct Socket {
    inner: Arc<Inner>,
}

struct Inner {
    table: Weak<Table>,
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
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
                io,
                state,
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
        if slot.pump(now) {
            slots.remove(&id);
        }
        Some(result)
    }

    /// Looks at the stream, or changes only what is waited for.
    pub(super) fn peek<T>(&self, id: u32, look: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.table.slots.lock().get_mut(&id).map(look)
    }
}

impl Slot {
    fn new(stream: Stream) -> Self {
        Self {
            stream,
            socket: None,
            firewall: None,
            read: VecDeque::new(),
            messages: VecDeque::new(),
            ended: false,
            closed: None,
            room: true,
            flushed: true,
            orphan: false,
            reader: None,
            writer: None,
            flusher: None,
            listener: None,
            armed: None,
        }
    }

    pub(super) fn set_firewall(&mut self, firewall: Option<Firewall>) {
        self.firewall = firewall;
    }

    /// Sends what may be sent, tells what happened, sets the timer. True when the stream is gone and nobody holds it.
    fn pump(&mut self, now: Duration) -> bool {
        if let Some(socket) = self.socket.clone() {
            socket.transmit(&mut self.stream, now);
        }
        while let Some(event) = self.stream.poll_event() {
            self.take(event);
        }
        if let Some(socket) = &self.socket {
            socket.arm(
                self.stream.id(),
                &mut self.armed,
                self.stream.next_timeout(),
            );
        }
        let gone = self.stream.is_closed()
            || self.stream.next_timeout().is_none() && self.closed.is_some();
        self.orphan && gone
    }

    fn take(&mut self, event: Event) {
        let wake = |waker: &mut Option<Waker>| {
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        };
        match event {
            Event::Data(bytes) if self.orphan => self.stream.consumed(bytes.len()),
            Event::Data(bytes) => {
                self.read.push_back(bytes);
                wake(&mut self.reader);
            }
            Event::End => {
                self.ended = true;
                wake(&mut self.reader);
            }
            Event::Message(bytes) => {
                if self.messages.len() < DATAGRAMS_MAX && !self.orphan {
                    self.messages.push_back(bytes);
                }
                wake(&mut self.listener);
            }
            Event::Flushed => {
                self.flushed = true;
                wake(&mut self.flusher);
            }
            Event::Drained => {
                self.room = true;
                wake(&mut self.writer);
            }
            Event::RemoteChanged => wake(&mut self.flusher),
            Event::Closed(why) => {
                self.closed = Some(why);
                wake(&mut self.reader);
                wake(&mut self.writer);
                wake(&mut self.flusher);
                wake(&mut self.listener);
            }
        }
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
        self.inner.send(bytes.to_vec(), bytes.len(), to)
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
            udx.table.slots.lock().retain(|_, slot| {
                if slot.socket.as_ref() != Some(self) {
                    return true;
                }
                slot.stream.destroy();
                !slot.pump(now)
            });
        }
        self.inner.closed.store(true, Ordering::Release);
        self.inner.wake.notify_one();
    }

    /// True after [`close`](Self::close).
    pub fn is_closed(&self) -> bool {
        self.inner.closed.load(Ordering::Acquire)
    }

    /// Sends what the stream has, packets of one size in one call.
    fn transmit(&self, stream: &mut Stream, now: Duration) {
        if !self.inner.work.lock().blocked.is_empty() {
            self.again(stream.id());
            return;
        }
        let Some((_, to)) = stream.remote() else {
            return;
        };
        let segments = self.inner.state.max_gso_segments().max(1);
        let (mut out, mut size, mut count) = (Vec::new(), 0, 0);
        for _ in 0..TURN {
            let begin = out.len();
            let Some(len) = stream.poll_transmit(now, &mut out) else {
                self.flush(out, size, to);
                return;
            };
            count += 1;
            // All packets of one call have the size of the first, but for the last, which may be shorter.
            if begin > 0 && len > size {
                let rest = out.split_off(begin);
                self.flush(std::mem::replace(&mut out, rest), size, to);
                (size, count) = (len, 1);
            } else if begin == 0 {
                size = len;
            }
            if len < size || count == segments || out.len() + size > usize::from(u16::MAX) - 100 {
                self.flush(std::mem::take(&mut out), size, to);
                count = 0;
            }
        }
        self.flush(out, size, to);
        self.again(stream.id());
    }

    /// The stream has more to send, when the others have had their turn and the kernel takes more.
    fn again(&self, id: u32) {
        let mut work = self.inner.work.lock();
        if !work.again.contains(&id) {
            work.again.push_back(id);
        }
        self.inner.wake.notify_one();
    }

    fn flush(&self, out: Vec<u8>, size: usize, to: SocketAddr) {
        if out.is_empty() {
            return;
        }
        // A packet that cannot be sent is a packet lost: the streams know what to do.
        if let Err(error) = self.inner.send(out, size, to) {
            tracing::debug!(%to, %error, "a packet was not sent");
        }
    }

    fn arm(&self, id: u32, armed: &mut Option<Duration>, at: Option<Duration>) {
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
    fn send(&self, bytes: Vec<u8>, size: usize, to: SocketAddr) -> io::Result<()> {
        let mut work = self.work.lock();
        if work.blocked.is_empty() {
            match self.try_send(&bytes, size, to) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        if work.blocked_bytes + bytes.len() > BLOCKED_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        work.blocked_bytes += bytes.len();
        work.blocked.push_back((to, bytes, size));
        self.wake.notify_one();
        Ok(())
    }

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
        })
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

/// Buffers for what comes in.
struct Receive {
    buffers: Vec<BytesMut>,
}

impl Receive {
    fn new() -> Self {
        Self {
            buffers: vec![BytesMut::new(); BATCH_SIZE],
        }
    }

    /// Takes in what the kernel has, up to a limit, so that timers run too.
    fn all(&mut self, udx: &Udx, socket: &Socket, datagrams: &mpsc::Sender<Datagram>) {
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            for buffer in &mut self.buffers {
                buffer.resize(RECEIVE_BYTES, 0);
            }
            let received = {
                let mut slices: Vec<IoSliceMut<'_>> = self
                    .buffers
                    .iter_mut()
                    .map(|buffer| IoSliceMut::new(buffer))
                    .collect();
                let io = &socket.inner.io;
                io.try_io(Interest::READABLE, || {
                    socket.inner.state.recv(io.into(), &mut slices, &mut metas)
                })
            };
            let count = match received {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // An ICMP answer to something that was sent.
                    tracing::debug!(%error, "the socket told of an error");
                    continue;
                }
            };
            for (buffer, meta) in self.buffers.iter_mut().zip(&metas).take(count) {
                let mut bytes = buffer.split_to(meta.len.min(buffer.len())).freeze();
                let stride = meta.stride.max(1);
                let mut last = None;
                while !bytes.is_empty() {
                    let packet = bytes.split_to(stride.min(bytes.len()));
                    route(udx, socket, packet, meta.addr, datagrams, &mut last);
                }
                if let Some(id) = last {
                    udx.with(id, |_, _| ());
                }
            }
        }
    }
}

/// Gives a packet to its stream, which is pumped when a packet of another follows: one acknowledgement for all that came together.
fn route(
    udx: &Udx,
    socket: &Socket,
    packet: Bytes,
    from: SocketAddr,
    datagrams: &mpsc::Sender<Datagram>,
    last: &mut Option<u32>,
) {
    let header = Header::decode(&packet).filter(|_| packet.len() >= HEADER_BYTES);
    if let Some(header) = header {
        let known = udx.peek(header.id, |slot| {
            let own = slot.socket.as_ref() == Some(socket);
            (own, slot.firewall.clone(), slot.stream.is_closed())
        });
        if let Some((own, firewall, false)) = known {
            // Asked without a lock: it may look at its streams.
            if !own && firewall.is_none_or(|rejects| rejects(socket, from)) {
                return;
            }
            if last.is_some_and(|id| id != header.id)
                && let Some(id) = last.take()
            {
                udx.with(id, |_, _| ());
            }
            *last = Some(header.id);
            let now = udx.now();
            udx.peek(header.id, |slot| slot.stream.receive(&packet, now));
            return;
        }
    }
    if datagrams
        .try_send(Datagram {
            bytes: packet,
            from,
        })
        .is_err()
    {
        tracing::trace!(%from, "a datagram was dropped: nobody reads them");
    }
}
