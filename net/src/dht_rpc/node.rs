//! A node of the network: answers, asks, keeps its table fresh, learns its own address, and becomes a lasting node when it proves to be reachable.

mod queries;
mod reach;
mod upkeep;

use super::{
    adaptive::Timeouts,
    health::{Health, Watch},
    id::{Id, node_id},
    message::{Message, Request, Response, decode_address, encode_address, internal},
    nat::NatSampler,
    query::{Query, Reply, Step},
    requests::{Due, How, Purpose, RequestError, RequestStats, Requests},
    table::{Entry, K, Table},
    token::Tokens,
    types::{
        Answer, Ask, Incoming, NodeOptions, Output, QueryId, QueryOptions, RequestId,
        RequestOptions, Socket, error,
    },
};
use bytes::Bytes;
use queries::Running;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use reach::{Bootstrap, NatCheck};
use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

const TICK: Duration = Duration::from_secs(5);
/// A clock that jumped by more was asleep.
const SLEPT: Duration = Duration::from_secs(15);
/// After so many quiet ticks (20 minutes) an ephemeral node looks whether it is reachable.
const STABLE_TICKS: u64 = 240;
const MORE_STABLE_TICKS: u64 = 3 * STABLE_TICKS;
const REFRESH_TICKS: u64 = 60;
const RECENT_TICKS: u64 = 12;
const OLD_TICKS: u64 = 360;
const CHECKS_MAX: usize = 10;
const SWAPS_MAX: usize = 3;
/// Answers that wait for their delay; more are not given.
const DELAYED_MAX: usize = 1_024;
const RETRIES: u32 = 3;
const QUERY_RETRIES: u32 = 5;

/// A node: fed with datagrams and a clock, asked for datagrams and events. Times are durations since any fixed moment.
pub struct Node {
    options: NodeOptions,
    table: Table,
    requests: Requests,
    queries: BTreeMap<u64, Running>,
    tokens: Tokens,
    nat: NatSampler,
    server_port: u16,
    ephemeral: bool,
    firewalled: bool,
    ready: bool,
    bootstrap: Option<Bootstrap>,
    nat_check: Option<NatCheck>,
    /// Hosts whose datagrams came in by the server socket while it was looked at.
    server_hosts: HashSet<Ipv4Addr>,
    unproven_samples: Vec<SocketAddrV4>,
    tick: u64,
    tick_at: Duration,
    last_now: Duration,
    stable_ticks: u64,
    /// Whether others can reach us is asked once more, as soon as it is known where they would.
    look_again: bool,
    refresh_ticks: u64,
    last_host: Option<Ipv4Addr>,
    checks: usize,
    swaps: HashMap<SocketAddrV4, SocketAddrV4>,
    hints: usize,
    health: Watch,
    delayed: BTreeMap<(Duration, u64), Incoming>,
    next_number: u64,
    rng: StdRng,
    out: VecDeque<Output>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("nodes", &self.table.len())
            .field("ephemeral", &self.ephemeral)
            .field("firewalled", &self.firewalled)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node whose server socket has the port `server_port`; it begins to look for others at once. All chance comes from `seed`.
    pub fn new(options: NodeOptions, server_port: u16, seed: [u8; 32], now: Duration) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut id = Id::default();
        rng.fill_bytes(&mut id);
        let mut secrets = [[0; 32]; 2];
        secrets.iter_mut().for_each(|s| rng.fill_bytes(s));
        let mut nat = NatSampler::default();
        let mut ephemeral = true;
        if let Some(address) = options.address {
            nat.add(*address.ip(), address.port());
            id = node_id(address);
            ephemeral = options.ephemeral.unwrap_or(false);
        }
        let first_tid = rng.random();
        let timeouts = options
            .adaptive_timeout
            .map(|adaptive| Timeouts::new(adaptive, StdRng::from_seed(rng.random()), now));
        let tick = 50 + rng.random_range(0..50);
        let mut node = Self {
            table: Table::new(id),
            requests: Requests::new(first_tid, options.max_window, timeouts, now),
            queries: BTreeMap::new(),
            tokens: Tokens::new(secrets, now),
            nat,
            server_port,
            ephemeral,
            firewalled: options.firewalled,
            ready: false,
            bootstrap: None,
            nat_check: None,
            server_hosts: HashSet::new(),
            unproven_samples: Vec::new(),
            tick,
            tick_at: now + TICK,
            last_now: now,
            stable_ticks: STABLE_TICKS,
            look_again: false,
            refresh_ticks: REFRESH_TICKS,
            last_host: None,
            checks: 0,
            swaps: HashMap::new(),
            hints: 0,
            health: Watch::new(),
            delayed: BTreeMap::new(),
            next_number: 0,
            rng,
            out: VecDeque::new(),
            options,
        };
        for address in node.options.nodes.clone() {
            node.add(node_id(address), address, None);
        }
        node.begin_bootstrap(0, now);
        node
    }

    /// The id, if this is a lasting node.
    pub fn id(&self) -> Option<Id> {
        (!self.ephemeral).then_some(self.table.id)
    }

    /// Its address outside, as far as others agree on it; port 0: each sees another.
    pub fn address(&self) -> Option<SocketAddrV4> {
        self.nat
            .host()
            .map(|host| SocketAddrV4::new(host, self.nat.port()))
    }

    /// True while there may be a firewall in front.
    pub fn is_firewalled(&self) -> bool {
        self.firewalled
    }

    /// The table was filled once.
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Nodes in the table.
    pub fn nodes(&self) -> Vec<SocketAddrV4> {
        self.table.iter().map(|entry| entry.address).collect()
    }

    /// The closest nodes of the table.
    pub fn closest(&self, target: &Id) -> Vec<SocketAddrV4> {
        self.table
            .closest(target, K)
            .into_iter()
            .map(|(_, at)| at)
            .collect()
    }

    /// Counters.
    pub fn stats(&self) -> RequestStats {
        RequestStats {
            active: self.requests.len() as u64,
            queries_active: self.queries.len() as u64,
            ..self.requests.stats
        }
    }

    /// How the network answers.
    pub fn health(&self) -> Health {
        self.health.health()
    }

    /// False for a node that the user of this one wants nothing of.
    fn takes(&self, node: SocketAddrV4) -> bool {
        self.options
            .filter
            .as_ref()
            .is_none_or(|filter| (filter.0)(node))
    }

    /// The socket for questions.
    pub fn socket(&self) -> Socket {
        if self.firewalled {
            Socket::Client
        } else {
            Socket::Server
        }
    }

    /// A token for an address, as an answer would carry it.
    pub fn token(&mut self, host: Ipv4Addr, now: Duration) -> [u8; 32] {
        self.tokens.give(host, now)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Asks a node something.
    pub fn request(&mut self, to: SocketAddrV4, ask: Ask, now: Duration) -> RequestId {
        self.request_by(to, ask, RequestOptions::default(), now)
    }

    /// As [`request`](Self::request), in the way that the caller chooses.
    pub fn request_by(
        &mut self,
        to: SocketAddrV4,
        ask: Ask,
        options: RequestOptions,
        now: Duration,
    ) -> RequestId {
        let id = self.number();
        let timeout = (ask.internal && ask.command == internal::DELAYED_PING)
            .then(|| ask.value.as_deref().and_then(delay))
            .flatten()
            .map(|delay| delay + Duration::from_secs(1));
        let how = How {
            purpose: Purpose::User(id),
            socket: options.socket.unwrap_or(self.socket()),
            ttl: options.ttl,
            retries: options.retries.unwrap_or(RETRIES),
            timeout,
        };
        self.start(how, to, ask, now);
        RequestId(id)
    }

    fn start(&mut self, how: How, to: SocketAddrV4, ask: Ask, now: Duration) {
        let request = Request {
            tid: 0,
            to,
            id: self.said_id(how.socket),
            token: ask.token,
            internal: ask.internal,
            command: ask.command,
            target: ask.target,
            value: ask.value,
        };
        if let Err(error) = self.requests.start(how, request, now) {
            self.failed(how.purpose, to, error, now);
        }
    }

    /// The id is only told by the socket that belongs to it.
    fn said_id(&self, socket: Socket) -> Option<Id> {
        (socket == Socket::Server).then(|| self.id()).flatten()
    }

    fn ask_internal(
        &mut self,
        purpose: Purpose,
        to: SocketAddrV4,
        command: u64,
        value: Option<Bytes>,
        now: Duration,
    ) {
        let ask = Ask {
            internal: true,
            command,
            value,
            ..Ask::default()
        };
        let how = How {
            purpose,
            socket: self.socket(),
            ttl: None,
            retries: RETRIES,
            timeout: None,
        };
        self.start(how, to, ask, now);
    }

    /// Takes in a datagram. False when it is none of dht-rpc.
    pub fn receive(
        &mut self,
        socket: Socket,
        from: SocketAddrV4,
        datagram: &Bytes,
        now: Duration,
    ) -> bool {
        if from.port() == 0 || datagram.len() < 2 {
            return false;
        }
        let Some(message) = Message::decode(datagram, from) else {
            return false;
        };
        if socket == Socket::Server && self.nat_check.is_some() {
            self.server_hosts.insert(*from.ip());
        }
        match message {
            Message::Request(request) => self.asked(socket, from, request, now),
            Message::Response(response) => self.answered(socket, from, response, now),
        }
        true
    }

    fn asked(&mut self, socket: Socket, from: SocketAddrV4, request: Request, now: Duration) {
        let id = request.id;
        let incoming = Incoming {
            from,
            id,
            socket,
            request,
        };
        if let Some(token) = &incoming.request.token
            && !self.tokens.is_known(token, *from.ip(), now)
        {
            let answer = Answer {
                error: error::INVALID_TOKEN,
                token: true,
                closer_nodes: true,
                value: None,
            };
            return self.reply(&incoming, answer, now);
        }
        if let Some(id) = id {
            self.heard(id, from, incoming.request.to, socket == self.socket(), now);
        }
        if incoming.request.internal {
            self.asked_internal(incoming, now);
        } else {
            self.out.push_back(Output::Request(incoming));
        }
    }

    fn asked_internal(&mut self, mut incoming: Incoming, now: Duration) {
        let value = incoming.request.value.clone().unwrap_or_default();
        let mut answer = Answer::default();
        match incoming.request.command {
            internal::PING => {}
            internal::PING_NAT => match value.first_chunk().map(|b| u16::from_le_bytes(*b)) {
                None | Some(0) => return,
                Some(port) => incoming.from.set_port(port),
            },
            internal::FIND_NODE if incoming.request.target.is_none() => return,
            internal::FIND_NODE => answer.closer_nodes = true,
            internal::DOWN_HINT => {
                let Some(address) = decode_address(&value) else {
                    return;
                };
                self.hinted(address, now);
            }
            internal::DELAYED_PING => {
                let Some(delay) =
                    delay(&value).filter(|delay| *delay <= self.options.max_ping_delay)
                else {
                    return;
                };
                if self.delayed.len() < DELAYED_MAX {
                    let number = self.number();
                    self.delayed.insert((now + delay, number), incoming);
                }
                return;
            }
            _ => {
                answer.error = error::UNKNOWN_COMMAND;
                answer.closer_nodes = true;
            }
        }
        self.reply(&incoming, answer, now);
    }

    /// Answers a question.
    pub fn reply(&mut self, incoming: &Incoming, answer: Answer, now: Duration) {
        let Incoming {
            from,
            socket,
            request,
            ..
        } = incoming;
        let closer_nodes = match request.target {
            Some(target) if answer.closer_nodes => self.closest(&target),
            _ => vec![],
        };
        let response = Response {
            tid: request.tid,
            to: *from,
            id: self.said_id(*socket),
            token: answer.token.then(|| self.tokens.give(*from.ip(), now)),
            closer_nodes,
            error: answer.error,
            value: answer.value,
        };
        self.out.push_back(Output::Send {
            socket: *socket,
            to: *from,
            ttl: None,
            bytes: response.encode(),
        });
    }

    /// Answers that the question is none that this node knows.
    pub fn refuse(&mut self, incoming: &Incoming, now: Duration) {
        let answer = Answer {
            error: error::UNKNOWN_COMMAND,
            closer_nodes: true,
            ..Answer::default()
        };
        self.reply(incoming, answer, now);
    }

    /// Forgets a query: what it still asked is answered to nobody.
    pub fn cancel(&mut self, query: QueryId) {
        self.queries.remove(&query.0);
    }

    /// The nodes that were heard last, the latest first.
    pub fn latest(&self) -> Vec<SocketAddrV4> {
        let mut latest: Vec<_> = self
            .table
            .iter()
            .map(|entry| (std::cmp::Reverse(entry.seen), entry.address))
            .collect();
        latest.sort_unstable();
        latest.into_iter().map(|(_, address)| address).collect()
    }

    /// Hands a question on to another node, as if the asker had sent it there: the answer goes to whom that node decides.
    pub fn relay(&mut self, incoming: &Incoming, to: SocketAddrV4, value: Option<Bytes>) {
        let request = Request {
            to,
            id: self.said_id(incoming.socket),
            token: None,
            value,
            ..incoming.request.clone()
        };
        self.out.push_back(Output::Send {
            socket: incoming.socket,
            to,
            ttl: None,
            bytes: request.encode(),
        });
    }

    fn answered(&mut self, socket: Socket, from: SocketAddrV4, response: Response, now: Duration) {
        let Some(request) = self.requests.answered(response.tid, from, now) else {
            return;
        };
        let to = response.to;
        let own_socket = socket == self.socket();
        match response.id {
            Some(id) => self.heard(id, from, to, own_socket, now),
            // A node that does not last may still tell us our address: few of those are believed.
            None => {
                let few = self.options.bootstrap.len().max(1);
                if self.unproven_samples.len() < few && !self.unproven_samples.contains(&from) {
                    self.unproven_samples.push(from);
                    self.nat_sample(to);
                }
            }
        }
        let reply = Reply {
            from,
            id: response.id,
            rtt: now.saturating_sub(request.sent_at),
            response,
        };
        match request.purpose {
            Purpose::User(number) => self
                .out
                .push_back(Output::Response(RequestId(number), Ok(reply))),
            Purpose::Query(number) => self.query_answered(number, reply, now),
            Purpose::Commit(number) => self.committed(number, reply.response.error == 0, now),
            Purpose::Check { seen } => {
                self.checks -= 1;
                self.drop_if_stale(from, seen);
            }
            Purpose::Swap { seen, with } => {
                self.swaps.remove(&from);
                if self.drop_if_stale(from, seen) {
                    self.add(node_id(with), with, None);
                }
            }
            Purpose::Hint => {}
            Purpose::NatQuick => {
                if let Some(bootstrap) = &mut self.bootstrap {
                    bootstrap.test_nat = true;
                }
            }
            Purpose::Nat => self.nat_answer(Some(&reply), now),
        }
    }

    fn failed(&mut self, purpose: Purpose, to: SocketAddrV4, error: RequestError, now: Duration) {
        match purpose {
            Purpose::User(number) => self
                .out
                .push_back(Output::Response(RequestId(number), Err(error))),
            Purpose::Query(number) => {
                let down = error == RequestError::Timeout;
                if let Some(running) = self.queries.get_mut(&number) {
                    if down {
                        running.query.failed(to);
                    } else {
                        running.query.not_asked(to);
                    }
                }
                if down {
                    self.table.remove(&node_id(to));
                }
                self.advance(number, now);
            }
            Purpose::Commit(number) => self.committed(number, false, now),
            Purpose::Check { .. } => {
                self.checks -= 1;
                if error == RequestError::Timeout {
                    self.table.remove(&node_id(to));
                }
            }
            Purpose::Swap { with, .. } => {
                self.swaps.remove(&to);
                if error == RequestError::Timeout {
                    self.table.remove(&node_id(to));
                    self.add(node_id(with), with, None);
                }
            }
            Purpose::Hint | Purpose::NatQuick => {}
            Purpose::Nat => self.nat_answer(None, now),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn next_timeout(&self) -> Option<Duration> {
        let delayed = self.delayed.keys().next().map(|(at, _)| *at);
        [Some(self.tick_at), self.requests.next_timeout(), delayed]
            .into_iter()
            .flatten()
            .min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(due) = self.requests.next_due(now) {
            match due {
                Due::Again(Purpose::Query(number), to, true) => {
                    if let Some(running) = self.queries.get_mut(&number) {
                        running.query.is_slow(to);
                    }
                    self.advance(number, now);
                }
                Due::Again(..) => {}
                Due::Failed(request) => {
                    self.failed(request.purpose, request.to, RequestError::Timeout, now)
                }
            }
        }
        while let Some(entry) = self.delayed.first_entry().filter(|e| e.key().0 <= now) {
            let incoming = entry.remove();
            self.reply(&incoming, Answer::default(), now);
        }
        if self.tick_at <= now {
            let slept = now.saturating_sub(self.last_now) > SLEPT;
            self.last_now = now;
            self.tick_at = now + TICK;
            self.on_tick(slept, now);
        }
    }

    /// What is to be done or told next.
    pub fn poll(&mut self) -> Option<Output> {
        if let Some(send) = self.requests.poll_send() {
            return Some(Output::Send {
                socket: send.socket,
                to: send.to,
                ttl: send.ttl,
                bytes: send.bytes,
            });
        }
        self.out.pop_front()
    }
}

/// The delay in a value: milliseconds as u32.
fn delay(value: &[u8]) -> Option<Duration> {
    let ms = u32::from_le_bytes(*value.first_chunk()?);
    Some(Duration::from_millis(u64::from(ms)))
}
