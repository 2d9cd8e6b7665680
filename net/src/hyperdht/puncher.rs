//! Opens a way through the NATs in front of two peers: both send to where the other's packets come from, until some get through.
//!
//! ```text
//! one port outside each       both send to each other's address
//! one port, random ports      one side sends to random ports of the other, which sends from 256 sockets to that one address
//! random ports both           hopeless
//! ```
//! A packet of one byte is enough; the first ones have few hops to live, so that they open the own NAT without reaching the other's. The client's first
//! packet that gets through ends it. Source: hyperdht 6.34.0, `lib/holepuncher.js`, `lib/nat.js`.

use super::{
    HyperDht,
    messages::firewall::{CONSISTENT, OPEN, RANDOM, UNKNOWN},
    nat::{ENOUGH, Nat},
    stream::Ways,
};
use crate::{
    dht_rpc::{PunchSocket, RequestOptions, Socket},
    udx,
};
use parking_lot::Mutex;
use rand::RngExt;
use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// Sockets that send to one address, so that one of them is likely to have the port that the other side guesses.
const BIRTHDAY_SOCKETS: usize = 256;
/// Hops after which a packet that shall only open the own NAT is dropped.
const FEW_HOPS: u32 = 5;
const HOLE: &[u8] = &[0];
const REOPENS_MAX: usize = 3;
const CONSISTENT_TRIES: u32 = 10;
const CONSISTENT_PAUSE: Duration = Duration::from_secs(1);
/// About 35 s of them.
const RANDOM_TRIES: u32 = 1_750;
const RANDOM_PAUSE: Duration = Duration::from_millis(20);

/// One attempt with random ports at a time, and a pause after each: they send many packets.
#[derive(Debug)]
pub(super) struct RandomPunches {
    running: usize,
    last: Option<Instant>,
    interval: Duration,
    /// The first one waits as long as the others.
    deferred: bool,
}

impl RandomPunches {
    pub(super) fn new(interval: Duration, deferred: bool) -> Self {
        Self {
            running: 0,
            last: deferred.then(Instant::now),
            interval,
            deferred,
        }
    }

    /// One may begin now.
    pub(super) fn is_free(&self) -> bool {
        self.running == 0 && self.last.is_none_or(|at| at.elapsed() >= self.interval)
    }

    /// The node goes on after it was suspended.
    pub(super) fn resumed(&mut self) {
        if self.deferred {
            self.last = Some(Instant::now());
        }
    }
}

/// Counts one attempt with random ports.
struct RandomTurn(HyperDht);

impl RandomTurn {
    fn new(dht: &HyperDht) -> Self {
        dht.inner.random_punches.lock().running += 1;
        Self(dht.clone())
    }
}

impl Drop for RandomTurn {
    fn drop(&mut self) {
        let mut punches = self.0.inner.random_punches.lock();
        punches.running -= 1;
        punches.last = Some(Instant::now());
    }
}

/// An address of the other side.
#[derive(Debug, Clone, Copy)]
struct Remote {
    at: SocketAddrV4,
    /// It proved to receive datagrams there.
    verified: bool,
}

/// A socket and the task that hears who came through it.
struct Holder {
    which: Socket,
    socket: udx::Socket,
    task: AbortHandle,
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State {
    holders: Vec<Holder>,
    /// How many sockets were looked at: what is said of an older one comes too late.
    looked_at: usize,
    nat: Nat,
    remote_firewall: u64,
    remotes: Vec<Remote>,
    remote_punches: bool,
    punching: Option<AbortHandle>,
    started: bool,
    turn: Option<RandomTurn>,
    sampling: Option<AbortHandle>,
}

struct Inner {
    dht: HyperDht,
    is_client: bool,
    state: Mutex<State>,
    ways: Ways,
    /// The number of the last socket of which the kind of NAT is known, or nobody is left to ask.
    analyzed: watch::Sender<usize>,
    /// All tries were made.
    given_up: watch::Sender<bool>,
}

/// One attempt. Ends when it is dropped.
pub(super) struct Puncher {
    inner: Arc<Inner>,
}

impl Drop for Puncher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Puncher {
    /// Sends nothing any more, and hears nobody.
    pub(super) fn stop(&self) {
        let mut state = self.inner.state.lock();
        for task in [state.punching.take(), state.sampling.take()] {
            task.inspect(AbortHandle::abort);
        }
        let ended = (std::mem::take(&mut state.holders), state.turn.take());
        drop(state);
        drop(ended);
    }
}

fn send(socket: &udx::Socket, to: SocketAddrV4, few_hops: bool) {
    // What is not sent is lost, as it might be on the way.
    let _ = if few_hops {
        socket.send_to_with_ttl(HOLE, to.into(), FEW_HOPS)
    } else {
        socket.send_to(HOLE, to.into())
    };
}

/// For punching, no NAT is like one with a single port.
fn coerced(firewall: u64) -> u64 {
    if firewall == OPEN {
        CONSISTENT
    } else {
        firewall
    }
}

fn random_port() -> u16 {
    rand::rng().random_range(1_000..=u16::MAX)
}

impl Puncher {
    /// Opens a socket and begins to look what kind of NAT is in front of it.
    pub(super) fn new(
        dht: &HyperDht,
        is_client: bool,
        remote_firewall: u64,
        ways: Ways,
    ) -> io::Result<Self> {
        let state = State {
            holders: Vec::new(),
            looked_at: 1,
            nat: Nat::new(!dht.dht().is_firewalled()),
            remote_firewall,
            remotes: Vec::new(),
            remote_punches: false,
            punching: None,
            started: false,
            turn: None,
            sampling: None,
        };
        let puncher = Self {
            inner: Arc::new(Inner {
                dht: dht.clone(),
                is_client,
                state: Mutex::new(state),
                ways,
                analyzed: watch::Sender::new(0),
                given_up: watch::Sender::new(false),
            }),
        };
        let holder = puncher.inner.open()?;
        puncher.inner.state.lock().holders.push(holder);
        puncher.inner.sample();
        Ok(puncher)
    }

    /// The socket through which the peers speak about the way.
    pub(super) fn which(&self) -> Socket {
        let state = self.inner.state.lock();
        state.holders.first().map_or(Socket::Client, |h| h.which)
    }

    fn socket(&self) -> Option<udx::Socket> {
        let state = self.inner.state.lock();
        state.holders.first().map(|holder| holder.socket.clone())
    }

    /// The kind of NAT here, and where the other side may reach us.
    pub(super) fn nat(&self) -> (u64, Option<Vec<SocketAddrV4>>) {
        let state = self.inner.state.lock();
        let addresses = state.nat.addresses().map(<[_]>::to_vec);
        (state.nat.firewall(), addresses)
    }

    /// Another node told where it sees the socket.
    pub(super) fn add_sample(&self, which: Socket, seen: SocketAddrV4, by: SocketAddrV4) {
        self.inner.add_sample(which, seen, by);
    }

    /// The other side was told what is known: that stays.
    pub(super) fn freeze(&self) {
        self.inner.state.lock().nat.freeze();
    }

    pub(super) fn remote_firewall(&self) -> u64 {
        self.inner.state.lock().remote_firewall
    }

    /// Where the other side may be reached.
    pub(super) fn remote_addresses(&self) -> Vec<SocketAddrV4> {
        let state = self.inner.state.lock();
        state.remotes.iter().map(|remote| remote.at).collect()
    }

    pub(super) fn remote_punches(&self) -> bool {
        self.inner.state.lock().remote_punches
    }

    pub(super) fn is_punching(&self) -> bool {
        self.inner.state.lock().started
    }

    /// The other side told what it knows; `verified`: it receives datagrams at this host.
    pub(super) fn update_remote(
        &self,
        punching: bool,
        firewall: u64,
        addresses: &[SocketAddrV4],
        verified: Option<Ipv4Addr>,
    ) {
        let mut state = self.inner.state.lock();
        let before = std::mem::take(&mut state.remotes);
        let known = |host: &Ipv4Addr| before.iter().any(|r| r.verified && r.at.ip() == host);
        state.remotes = addresses
            .iter()
            .map(|at| Remote {
                at: *at,
                verified: verified.as_ref() == Some(at.ip()) || known(at.ip()),
            })
            .collect();
        state.remote_firewall = firewall;
        state.remote_punches = punching;
    }

    /// Sends one packet that gets through if the other side has opened its NAT.
    pub(super) fn ping(&self, to: SocketAddrV4) {
        if let Some(socket) = self.socket() {
            send(&socket, to, false);
        }
    }

    /// Opens the own NAT for an address.
    pub(super) fn open_session(&self, to: SocketAddrV4) {
        if let Some(socket) = self.socket() {
            send(&socket, to, true);
        }
    }

    fn is_unstable(&self) -> bool {
        let state = self.inner.state.lock();
        let firewall = state.nat.firewall();
        firewall == UNKNOWN || firewall >= RANDOM && state.remote_firewall >= RANDOM
    }

    /// Waits until it is known what kind of NAT is here. False when that leads nowhere; with `reopen` other sockets are tried then.
    pub(super) async fn analyze(&self, reopen: bool) -> bool {
        self.inner.analyzed().await;
        if !self.is_unstable() {
            return true;
        }
        if !reopen {
            return false;
        }
        for _ in 0..REOPENS_MAX {
            if !self.is_unstable() || self.is_punching() {
                break;
            }
            let Ok(holder) = self.inner.open() else {
                break;
            };
            {
                let mut state = self.inner.state.lock();
                state.holders.clear();
                state.holders.push(holder);
                state.looked_at += 1;
                state.nat = Nat::new(!self.inner.dht.dht().is_firewalled());
            }
            self.inner.sample();
            self.inner.analyzed().await;
        }
        coerced(self.nat().0) == CONSISTENT
    }

    /// Resolves when all tries were made and nothing came through.
    pub(super) async fn given_up(&self) {
        let mut given_up = self.inner.given_up.subscribe();
        let _ = given_up.wait_for(|done| *done).await;
    }

    /// Begins to send, if that makes sense with these NATs. What came through is told to who waits for ways.
    pub(super) async fn punch(&self) -> bool {
        let (local, remote, verified) = {
            let mut state = self.inner.state.lock();
            if state.started {
                return true;
            }
            if state.remotes.is_empty() {
                return false;
            }
            let verified = state.remotes.iter().find(|r| r.verified).map(|r| r.at);
            let local = coerced(state.nat.firewall());
            let remote = coerced(state.remote_firewall);
            state.started = true;
            (local, remote, verified)
        };
        let inner = self.inner.clone();
        let task = match (local, remote, verified) {
            (CONSISTENT, CONSISTENT, _) => {
                self.inner.dht.inner.punches.lock().consistent += 1;
                tokio::spawn(inner.consistent())
            }
            (CONSISTENT, RANDOM.., Some(to)) => {
                self.take_turn();
                tokio::spawn(inner.guess(to))
            }
            (RANDOM.., CONSISTENT, Some(to)) => {
                self.take_turn();
                self.inner.open_many(to);
                tokio::spawn(inner.keep_open(to))
            }
            _ => {
                self.inner.state.lock().started = false;
                return false;
            }
        };
        self.inner.state.lock().punching = Some(task.abort_handle());
        true
    }

    fn take_turn(&self) {
        self.inner.dht.inner.punches.lock().random += 1;
        let turn = RandomTurn::new(&self.inner.dht);
        self.inner.state.lock().turn = Some(turn);
    }
}

impl Inner {
    async fn analyzed(&self) {
        let number = self.state.lock().looked_at;
        let mut analyzed = self.analyzed.subscribe();
        let _ = analyzed.wait_for(|done| *done >= number).await;
    }

    /// Opens a socket and hears who comes through.
    fn open(self: &Arc<Self>) -> io::Result<Holder> {
        let punch = self.dht.dht().open_socket()?;
        let (which, socket) = (punch.which(), punch.socket().clone());
        let ways = self.is_client.then(|| self.ways.clone());
        let task = tokio::spawn(hear(punch, ways)).abort_handle();
        Ok(Holder {
            which,
            socket,
            task,
        })
    }

    fn add_sample(&self, which: Socket, seen: SocketAddrV4, by: SocketAddrV4) {
        let mut state = self.state.lock();
        let is_current = state.holders.first().is_some_and(|h| h.which == which);
        if is_current && state.nat.add(seen, by) {
            self.analyzed.send_replace(state.looked_at);
        }
    }

    /// Asks some nodes where they see the socket.
    fn sample(self: &Arc<Self>) {
        let inner = self.clone();
        let task = tokio::spawn(async move {
            let first = {
                let state = inner.state.lock();
                let holder = state.holders.first();
                holder.map(|holder| (holder.which, state.looked_at))
            };
            let Some((which, number)) = first else {
                return;
            };
            let nodes = inner.dht.dht().nodes();
            // The latest are likely to be asked by everything else.
            let skip = if nodes.len() >= 8 { 5 } else { 0 };
            let mut nodes = nodes.into_iter().skip(skip);
            for _ in 0..2 {
                let missing = ENOUGH.saturating_sub(inner.state.lock().nat.sampled());
                let options = RequestOptions {
                    socket: Some(which),
                    retries: Some(0),
                    ..RequestOptions::default()
                };
                let mut asked = JoinSet::new();
                for node in nodes.by_ref().take(missing) {
                    asked.spawn(inner.dht.dht().ping_by(node, options));
                }
                while let Some(answer) = asked.join_next().await {
                    if let Ok(Ok(reply)) = answer {
                        inner.add_sample(which, reply.response.to, reply.from);
                    }
                }
            }
            let newest = |done: &mut usize| *done = number.max(*done);
            inner.analyzed.send_modify(newest);
        });
        let before = self.state.lock().sampling.replace(task.abort_handle());
        before.inspect(AbortHandle::abort);
    }

    fn first_socket(&self) -> Option<udx::Socket> {
        let state = self.state.lock();
        state.holders.first().map(|holder| holder.socket.clone())
    }

    fn give_up(&self) {
        self.given_up.send_replace(true);
    }

    async fn consistent(self: Arc<Self>) {
        // The server has just answered a first packet with one of its own.
        if !self.is_client {
            tokio::time::sleep(CONSISTENT_PAUSE).await;
        }
        for round in 1..=CONSISTENT_TRIES {
            let remotes = self.state.lock().remotes.clone();
            let Some(socket) = self.first_socket() else {
                break;
            };
            for remote in remotes {
                if remote.verified || round.is_multiple_of(4) {
                    send(&socket, remote.at, false);
                }
            }
            tokio::time::sleep(CONSISTENT_PAUSE).await;
        }
        self.give_up();
    }

    /// Sends to random ports of the other side.
    async fn guess(self: Arc<Self>, to: SocketAddrV4) {
        for _ in 0..RANDOM_TRIES {
            let Some(socket) = self.first_socket() else {
                break;
            };
            let to = SocketAddrV4::new(*to.ip(), random_port());
            send(&socket, to, false);
            tokio::time::sleep(RANDOM_PAUSE).await;
        }
        self.give_up();
    }

    fn open_many(self: &Arc<Self>, to: SocketAddrV4) {
        let have = self.state.lock().holders.len();
        for _ in have..BIRTHDAY_SOCKETS {
            // With fewer the odds are worse.
            let Ok(holder) = self.open() else {
                break;
            };
            send(&holder.socket, to, true);
            self.state.lock().holders.push(holder);
        }
    }

    /// Sends from each of the sockets in turn, first with few hops.
    async fn keep_open(self: Arc<Self>, to: SocketAddrV4) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for at in 0..RANDOM_TRIES as usize {
            let socket = {
                let state = self.state.lock();
                let count = state.holders.len().max(1);
                let holder = state.holders.get(at % count);
                holder.map(|holder| (holder.socket.clone(), at < count))
            };
            let Some((socket, few_hops)) = socket else {
                break;
            };
            send(&socket, to, few_hops);
            tokio::time::sleep(RANDOM_PAUSE).await;
        }
        self.give_up();
    }
}

/// The client takes the first way; the server answers, so that the client hears of it.
async fn hear(mut punch: PunchSocket, ways: Option<Ways>) {
    while let Some(from) = punch.punched().await {
        match &ways {
            Some(ways) => {
                // Where a way is waiting already, that one is taken.
                let _ = ways.try_send((punch.socket().clone(), from));
            }
            None => send(punch.socket(), from, false),
        }
    }
}
