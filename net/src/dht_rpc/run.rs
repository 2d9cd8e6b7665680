//! Runs a node: datagrams from its sockets go in, what it wants sent goes out, and who waits is told.

use super::{
    Node, Output, QueryId, Reply, RequestError, RequestId, Service, Socket,
    clock::Clock,
    dht::{QueryNews, QueryResult},
};
use crate::udx::{self, Datagram, Udx};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// What a node learnt about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The table was filled once.
    pub ready: bool,
    /// It is a lasting node.
    pub persistent: bool,
    /// Its address outside; port 0: not one port.
    pub address: Option<SocketAddrV4>,
    /// How often the machine slept.
    pub wakeups: u64,
    /// Nobody answers any more.
    pub offline: bool,
    /// Most requests are not answered.
    pub degraded: bool,
}

pub(super) struct State {
    pub(super) node: Node,
    pub(super) waiting: HashMap<RequestId, oneshot::Sender<Result<Reply, RequestError>>>,
    pub(super) queries: HashMap<QueryId, mpsc::UnboundedSender<QueryNews>>,
    pub(super) closed: bool,
    /// Neither sends nor hears anything.
    pub(super) suspended: bool,
    sleeping_until: Option<Duration>,
}

impl State {
    /// Why nothing can be asked now.
    pub(super) fn refuses(&self) -> Option<RequestError> {
        match (self.closed, self.suspended) {
            (true, _) => Some(RequestError::Closed),
            (false, true) => Some(RequestError::Suspended),
            _ => None,
        }
    }
}

pub(super) struct Sockets {
    pub(super) udx: Udx,
    pub(super) host: Ipv4Addr,
    pub(super) server: udx::Socket,
    client: udx::Socket,
    extra: Mutex<Extra>,
}

/// The sockets that were opened for holes in NATs.
#[derive(Default)]
struct Extra {
    last: u64,
    /// By their numbers, with how many want each of them.
    open: HashMap<u64, (udx::Socket, usize)>,
}

pub(super) struct Inner {
    pub(super) sockets: Sockets,
    pub(super) state: Mutex<State>,
    pub(super) told: watch::Sender<Told>,
    service: Arc<dyn Service>,
    wake: Arc<Notify>,
    clock: Clock,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}

impl Sockets {
    pub(super) fn get(&self, which: Socket) -> Option<udx::Socket> {
        match which {
            Socket::Client => Some(self.client.clone()),
            Socket::Server => Some(self.server.clone()),
            Socket::Extra(number) => {
                let extra = self.extra.lock();
                extra.open.get(&number).map(|(socket, _)| socket.clone())
            }
        }
    }

    pub(super) fn which(&self, socket: &udx::Socket) -> Option<Socket> {
        match socket {
            _ if *socket == self.server => Some(Socket::Server),
            _ if *socket == self.client => Some(Socket::Client),
            _ => {
                let extra = self.extra.lock();
                let found = extra.open.iter().find(|(_, (other, _))| other == socket);
                found.map(|(number, _)| Socket::Extra(*number))
            }
        }
    }

    pub(super) fn forget(&self, number: u64) {
        let mut extra = self.extra.lock();
        if let Some((_, wanted)) = extra.open.get_mut(&number) {
            *wanted -= 1;
            if *wanted == 0 {
                extra.open.remove(&number);
            }
        }
    }

    /// One more wants this socket. `None`: it is none of them, or was forgotten.
    pub(super) fn keep(&self, socket: &udx::Socket) -> Option<u64> {
        let mut extra = self.extra.lock();
        let mut open = extra.open.iter_mut();
        let (number, (_, wanted)) = open.find(|(_, (other, _))| other == socket)?;
        *wanted += 1;
        Some(*number)
    }

    fn send(&self, socket: Socket, to: SocketAddrV4, ttl: Option<u32>, bytes: &[u8]) {
        let Some(socket) = self.get(socket) else {
            return;
        };
        let sent = match ttl {
            Some(ttl) => socket.send_to_with_ttl(bytes, to.into(), ttl),
            None => socket.send_to(bytes, to.into()),
        };
        // As good as lost on the way: it is sent again, or not answered.
        if let Err(error) = sent {
            tracing::trace!(%to, %error, "a datagram was not sent");
        }
    }
}

impl Inner {
    pub(super) fn start(
        node: Node,
        udx: Udx,
        client: (udx::Socket, mpsc::Receiver<Datagram>),
        server: (udx::Socket, mpsc::Receiver<Datagram>),
        host: Ipv4Addr,
        service: Arc<dyn Service>,
    ) -> Arc<Self> {
        let wake = Arc::new(Notify::new());
        let told = Told {
            persistent: node.id().is_some(),
            ..Told::default()
        };
        let persistent = told.persistent;
        let inner = Arc::new(Self {
            sockets: Sockets {
                udx,
                host,
                server: server.0,
                client: client.0,
                extra: Mutex::default(),
            },
            state: Mutex::new(State {
                node,
                waiting: HashMap::new(),
                queries: HashMap::new(),
                closed: false,
                suspended: false,
                sleeping_until: None,
            }),
            told: watch::Sender::new(told),
            service,
            wake: wake.clone(),
            clock: Clock::new(),
        });
        if persistent {
            inner.service.persistent(true);
        }
        let weak = Arc::downgrade(&inner);
        tokio::spawn(read(weak.clone(), Socket::Client, client.1, None));
        tokio::spawn(read(weak.clone(), Socket::Server, server.1, None));
        tokio::spawn(keep_time(weak, wake));
        inner.act(|_, _| ());
        inner
    }

    pub(super) fn open_socket(
        this: &Arc<Self>,
        punches: mpsc::Sender<SocketAddrV4>,
    ) -> io::Result<(u64, udx::Socket)> {
        let (socket, datagrams) = this
            .sockets
            .udx
            .bind(SocketAddrV4::new(this.sockets.host, 0).into())?;
        let number = {
            let extra = &mut *this.sockets.extra.lock();
            extra.last += 1;
            extra.open.insert(extra.last, (socket.clone(), 1));
            extra.last
        };
        let which = Socket::Extra(number);
        tokio::spawn(read(Arc::downgrade(this), which, datagrams, Some(punches)));
        Ok((number, socket))
    }

    /// Does something with the node, then what follows from it.
    pub(super) fn act<T>(&self, act: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.state.lock();
        let now = self.clock.now();
        let result = act(&mut state, now);
        self.pump(&mut state, now);
        result
    }

    fn pump(&self, state: &mut State, now: Duration) {
        while let Some(output) = state.node.poll() {
            if state.closed || state.suspended {
                continue;
            }
            match output {
                Output::Send {
                    socket,
                    to,
                    ttl,
                    bytes,
                } => self.sockets.send(socket, to, ttl, &bytes),
                Output::Ready => self.tell(|told| told.ready = true),
                Output::Request(incoming) => self.service.asked(&mut state.node, incoming, now),
                Output::Response(id, answer) => {
                    if let Some(waiting) = state.waiting.remove(&id) {
                        let _ = waiting.send(answer);
                    }
                }
                Output::QueryReply(id, reply) => {
                    if let Some(query) = state.queries.get(&id) {
                        let _ = query.send(QueryNews::Reply(reply));
                    }
                }
                Output::QueryDone(id, closest, committed) => {
                    if let Some(query) = state.queries.remove(&id) {
                        let _ = query.send(QueryNews::Done(QueryResult { closest, committed }));
                    }
                }
                Output::Persistent(persistent) => {
                    self.service.persistent(persistent);
                    self.tell(|told| told.persistent = persistent);
                }
                Output::NatUpdate(host, port) => {
                    let address = host.map(|host| SocketAddrV4::new(host, port));
                    self.tell(|told| told.address = address);
                }
                Output::Network { online, degraded } => self.tell(|told| {
                    (told.offline, told.degraded) = (!online, degraded);
                }),
                Output::Wakeup => self.tell(|told| told.wakeups += 1),
            }
        }
        let next = state.node.next_timeout();
        if let Some(at) = next
            && state.sleeping_until.is_some_and(|until| at < until)
        {
            self.wake.notify_one();
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Told)) {
        self.told.send_modify(change);
    }

    /// Who waits for an answer is told that there will be none.
    fn fail(&self, error: RequestError, change: impl FnOnce(&mut State)) {
        let (waiting, queries) = {
            let mut state = self.state.lock();
            change(&mut state);
            (
                std::mem::take(&mut state.waiting),
                std::mem::take(&mut state.queries),
            )
        };
        for (_, waiting) in waiting {
            let _ = waiting.send(Err(error));
        }
        for (_, query) in queries {
            let _ = query.send(QueryNews::Failed(error));
        }
    }

    pub(super) fn suspend(&self) {
        self.fail(RequestError::Suspended, |state| state.suspended = true);
    }

    pub(super) fn resume(&self) {
        self.act(|state, now| {
            if std::mem::take(&mut state.suspended) {
                state.node.resume(now);
            }
        });
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.fail(RequestError::Closed, |state| state.closed = true);
        // Whoever waits looks again, and sees that it is closed.
        self.tell(|told| (told.ready, told.persistent) = (true, true));
        let extra = std::mem::take(&mut self.sockets.extra.lock().open);
        for (socket, _) in extra.values() {
            socket.close();
        }
        self.sockets.client.close();
        self.sockets.server.close();
        self.wake.notify_one();
    }
}

/// Takes in what comes by one socket. Datagrams of a single byte only open NATs.
async fn read(
    inner: Weak<Inner>,
    which: Socket,
    mut datagrams: mpsc::Receiver<Datagram>,
    punches: Option<mpsc::Sender<SocketAddrV4>>,
) {
    while let Some(Datagram { bytes, from }) = datagrams.recv().await {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        let SocketAddr::V4(from) = from else {
            continue;
        };
        if bytes.len() > 1 {
            inner.act(|state, now| {
                if !state.closed && !state.suspended {
                    state.node.receive(which, from, &bytes, now);
                }
            });
        } else if let Some(punches) = &punches {
            // One that is not read is as good as lost.
            let _ = punches.try_send(from);
        }
    }
}

/// What is due for so long was due while nothing ran: answers that came meanwhile are still in the sockets …
const LATE: Duration = Duration::from_millis(100);
/// … and get so much time to be heard, before anybody is given up who has answered.
const HEARING: Duration = Duration::from_millis(20);

/// Tells the node what time it is when it wants to know.
async fn keep_time(weak: Weak<Inner>, wake: Arc<Notify>) {
    loop {
        let at = {
            let Some(inner) = weak.upgrade() else {
                return;
            };
            let mut state = inner.state.lock();
            if state.closed {
                return;
            }
            let next = state.node.next_timeout().filter(|_| !state.suspended);
            state.sleeping_until = Some(next.unwrap_or(Duration::MAX));
            let next = next.unwrap_or_else(|| inner.clock.now() + Duration::from_secs(5));
            inner.clock.instant(next)
        };
        tokio::select! {
            () = tokio::time::sleep_until(at) => {}
            () = wake.notified() => {}
        }
        let is_late = |inner: Arc<Inner>| {
            let next = inner.state.lock().node.next_timeout();
            next.is_some_and(|at| at + LATE < inner.clock.now())
        };
        if weak.upgrade().is_some_and(is_late) {
            tokio::time::sleep(HEARING).await;
        }
        let Some(inner) = weak.upgrade() else {
            return;
        };
        inner.act(|state, now| {
            if !state.suspended && state.node.next_timeout().is_some_and(|at| at <= now) {
                state.node.handle_timeout(now);
            }
        });
    }
}
