//! One lasting node among strangers, and what it may know by right.

use crate::{DATAGRAMS, Script, TIMES};
use bytes::Bytes;
use pome_cores::{KeyPair, crypto::hash};
use pome_encoding::put_uint;
use pome_net::{
    dht_rpc::{
        Ask, Id, Message, Node, NodeOptions, Output, Request, Response, Service, Socket, internal,
        node_id,
    },
    hyperdht::{
        RecordLimits, answers,
        messages::{
            Announce, Handshake, Holepunch, LookupReply, MutablePut, MutableRecord,
            MutableSignable, Peer, Wire, command,
        },
        sign::{Place, Purpose, sign_mutable, verify_mutable},
    },
};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

const OWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(1, 1, 1, 1), 1);
/// For so long a token is good for sure, and after so long for sure not.
const GOOD: Duration = Duration::from_millis(7_500);
const STALE: Duration = Duration::from_secs(15);
/// What a node may send of its own, unasked, for each question that it has on its way: five more tries of it.
const PING: usize = 64;

/// How right the token of a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    None,
    Good,
    Unsure,
    Bad,
}

struct Run {
    node: Node,
    service: Arc<dyn Service>,
    now: Duration,
    /// Given out by the node.
    tokens: HashMap<Ipv4Addr, ([u8; 32], Duration)>,
    /// Questions of the node that it waits for.
    asked: Vec<(u16, SocketAddrV4)>,
    /// What it may know.
    peers: HashSet<(Id, [u8; 32])>,
    values: HashSet<Id>,
    seen: BTreeSet<(u8, u64)>,
    tid: u16,
}

fn stranger(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(2, 2, 2, n % 16), 100 + u16::from(n / 16))
}

fn pair(n: u8) -> KeyPair {
    KeyPair::from_seed(&[n % 4; 32])
}

/// A few targets, the hashes of keys and of values among them.
fn target(n: u8) -> Id {
    match n % 12 {
        n @ 0..4 => hash(&[&pair(n).public]),
        n @ 4..8 => hash(&[&value(n)]),
        n => [n; 32],
    }
}

fn value(n: u8) -> Vec<u8> {
    let len = [0, 5, 1_000, 1_400, 1_401, 9_000, 60_000, 1][usize::from(n % 8)];
    vec![n % 8; len]
}

impl Run {
    fn new() -> Self {
        let mut options = NodeOptions::default();
        options.address = Some(OWN);
        options.firewalled = false;
        options.ephemeral = Some(false);
        let mut run = Self {
            node: Node::new(options, OWN.port(), [3; 32], Duration::ZERO),
            service: answers(RecordLimits::default()),
            now: Duration::ZERO,
            tokens: HashMap::new(),
            asked: Vec::new(),
            peers: HashSet::new(),
            values: HashSet::new(),
            seen: BTreeSet::new(),
            tid: 0,
        };
        run.service.persistent(true);
        run.drain();
        assert!(run.node.id().is_some() && run.node.is_ready());
        run
    }

    /// What the node sends now: to whom, and how much.
    fn drain(&mut self) -> Vec<(SocketAddrV4, Bytes)> {
        let mut sent = Vec::new();
        for outputs in 0.. {
            assert!(outputs < 20_000, "it never stops");
            match self.node.poll() {
                None => break,
                Some(Output::Send { to, bytes, .. }) => {
                    let bytes = Bytes::from(bytes);
                    self.look_at(to, &bytes);
                    sent.push((to, bytes));
                }
                Some(Output::Request(incoming)) => {
                    self.service.asked(&mut self.node, incoming, self.now);
                }
                Some(_) => {}
            }
        }
        sent
    }

    /// Only what it may know goes out.
    fn look_at(&mut self, to: SocketAddrV4, bytes: &Bytes) {
        match Message::decode(bytes, OWN).expect("it sends what can be read") {
            Message::Request(request) => {
                self.asked.push((request.tid, to));
                if self.asked.len() > 64 {
                    self.asked.remove(0);
                }
                self.seen.insert((0, request.command));
            }
            Message::Response(response) => {
                if let Some(token) = response.token {
                    self.tokens.insert(*to.ip(), (token, self.now));
                }
                assert!(response.closer_nodes.len() <= 20);
                self.seen.insert((1, response.error));
                let known = response.value.is_some() || response.token.is_some();
                self.seen.insert((2, known.into()));
            }
        }
    }

    fn token(&self, script: &mut Script<'_>, host: Ipv4Addr) -> (Option<[u8; 32]>, Token) {
        let known = |host: &Ipv4Addr| self.tokens.get(host).copied();
        match script.byte() % 8 {
            0 => (None, Token::None),
            1 => (Some([script.byte(); 32]), Token::Bad),
            // Of another host, or of this one when that is the one drawn.
            2 => {
                let other = *stranger(script.byte()).ip();
                match known(&other) {
                    Some((token, _)) if other != host => (Some(token), Token::Bad),
                    _ => (None, Token::None),
                }
            }
            _ => match known(&host) {
                None => (None, Token::None),
                Some((token, at)) => {
                    let age = self.now - at;
                    let how = match () {
                        () if age < GOOD => Token::Good,
                        () if age > STALE => Token::Bad,
                        () => Token::Unsure,
                    };
                    (Some(token), how)
                }
            },
        }
    }

    /// A well made question; what the node may know because of it.
    fn question(&mut self, script: &mut Script<'_>) {
        let from = stranger(script.byte());
        let (token, how) = self.token(script, *from.ip());
        let mut target = target(script.byte());
        let command = u64::from(script.byte() % 12);
        let place = Place {
            target,
            token: token.unwrap_or_default(),
            node: node_id(OWN),
        };
        let key = pair(script.byte());
        let mut learns = None;
        let mut stores = false;
        let value = match (command, script.byte() % 8) {
            (_, 0) => Some(script.bytes(40)),
            (command::ANNOUNCE | command::UNANNOUNCE, kind) => {
                let peer = Peer {
                    public_key: key.public,
                    relay_addresses: vec![stranger(kind); usize::from(script.byte() % 6)],
                };
                let mut announce = Announce {
                    peer: (kind != 1).then_some(peer),
                    refresh: (kind % 2 == 0).then(|| hash(&[&[kind]])),
                    ..Announce::default()
                };
                if kind == 1 {
                    // The secret behind what was announced, once: what is known by right stays so.
                    announce.refresh = Some(std::array::from_fn(|_| script.byte()));
                }
                let purpose = if command == command::ANNOUNCE {
                    Purpose::Announce
                } else {
                    Purpose::Unannounce
                };
                let signed_for = match kind {
                    2 => Place {
                        node: [9; 32],
                        ..place
                    },
                    3 => Place {
                        target: [9; 32],
                        ..place
                    },
                    _ => place,
                };
                if kind != 4 {
                    announce.signature = Some(signed_for.sign(purpose, &announce, &key));
                }
                if kind == 5 {
                    // Signed for the other purpose.
                    announce.signature = Some(place.sign(Purpose::Unannounce, &announce, &key));
                }
                let good = matches!(kind, 6 | 7) && command == command::ANNOUNCE;
                learns = good.then_some((target, key.public));
                Some(announce.encode())
            }
            (command::MUTABLE_PUT, kind) => {
                let signable = MutableSignable {
                    seq: u64::from(script.byte() % 4),
                    value: value(script.byte()).into(),
                };
                let signature = sign_mutable(&signable, &key);
                let mut record = MutableRecord {
                    signable,
                    signature,
                };
                if kind == 1 {
                    record.signature[0] ^= 1;
                }
                let put = MutablePut {
                    public_key: key.public,
                    record,
                };
                stores = kind != 1 && target == hash(&[&key.public]);
                Some(put.encode())
            }
            (command::MUTABLE_GET, kind) => {
                let mut seq = Vec::new();
                put_uint(&mut seq, u64::from(kind % 4));
                Some(seq)
            }
            (command::IMMUTABLE_PUT, kind) => {
                let value = value(kind);
                if script.byte().is_multiple_of(2) {
                    target = hash(&[&value]);
                }
                stores = target == hash(&[&value]);
                Some(value)
            }
            (command::PEER_HANDSHAKE, kind) => {
                let message = Handshake {
                    mode: u64::from(kind % 6),
                    noise: value(script.byte() % 3).into(),
                    peer_address: (kind > 3).then(|| stranger(script.byte())),
                    relay_address: (kind % 2 == 0).then(|| stranger(script.byte())),
                };
                Some(message.encode())
            }
            (command::PEER_HOLEPUNCH, kind) => {
                let message = Holepunch {
                    mode: u64::from(kind % 6),
                    id: u64::from(script.word()),
                    payload: value(script.byte() % 3).into(),
                    peer_address: (kind > 3).then(|| stranger(script.byte())),
                };
                Some(message.encode())
            }
            _ => None,
        };
        if matches!(how, Token::Good | Token::Unsure) {
            self.peers.extend(learns);
            if stores {
                self.values.insert(target);
            }
        }
        let request = Request {
            tid: self.next_tid(),
            to: OWN,
            id: script.byte().is_multiple_of(2).then(|| node_id(from)),
            token,
            internal: false,
            command,
            target: (!script.byte().is_multiple_of(8)).then_some(target),
            value: value.map(Bytes::from),
        };
        let asked = request.clone();
        let sent = self.receive(from, &request.encode(), how == Token::Good);
        for (to, bytes) in sent {
            if to == from
                && let Some(Message::Response(response)) = Message::decode(&bytes, OWN)
                && response.tid == asked.tid
            {
                self.answered(&asked, &response, how, learns.is_some() || stores);
            }
        }
    }

    fn answered(&mut self, asked: &Request, response: &Response, how: Token, wanted: bool) {
        if how == Token::Bad {
            assert_eq!(response.error, 2, "a bad token: {asked:?}");
            assert!(response.value.is_none());
            return;
        }
        if how == Token::Good {
            assert_ne!(response.error, 2, "a good token: {asked:?}");
        }
        let target = asked.target.unwrap_or_default();
        let writes = matches!(
            asked.command,
            command::ANNOUNCE | command::MUTABLE_PUT | command::IMMUTABLE_PUT
        );
        if writes && response.error == 0 {
            let refreshes = asked.command == command::ANNOUNCE;
            assert!(how != Token::None, "nothing is kept without a token");
            assert!(wanted || refreshes, "{asked:?} was taken");
        }
        let Some(value) = &response.value else {
            return;
        };
        self.seen.insert((3, asked.command));
        match asked.command {
            command::LOOKUP => {
                let found = LookupReply::decode(value).unwrap();
                for peer in found.peers {
                    assert!(self.peers.contains(&(target, peer.public_key)));
                    assert!(peer.relay_addresses.len() <= 3);
                }
            }
            command::FIND_PEER => {
                let peer = Peer::decode(value).unwrap();
                assert!(self.peers.contains(&(target, peer.public_key)));
            }
            command::IMMUTABLE_GET => {
                assert!(self.values.contains(&target) && hash(&[value]) == target);
            }
            command::MUTABLE_GET => {
                assert!(self.values.contains(&target));
                let record = MutableRecord::decode(value).unwrap();
                let owner = (0..4).map(|n| pair(n).public);
                let owner = owner.into_iter().find(|key| hash(&[key]) == target);
                assert!(verify_mutable(&record, &owner.unwrap()));
            }
            _ => {}
        }
    }

    fn next_tid(&mut self) -> u16 {
        self.tid = self.tid.wrapping_add(1);
        self.tid
    }

    /// A datagram comes; what goes out for it stays within the bound, unless the sender has shown that he gets what is sent to him.
    fn receive(
        &mut self,
        from: SocketAddrV4,
        bytes: &[u8],
        proven: bool,
    ) -> Vec<(SocketAddrV4, Bytes)> {
        let expected = match Message::decode(&Bytes::copy_from_slice(bytes), from) {
            Some(Message::Response(response)) => self.asked.contains(&(response.tid, from)),
            _ => false,
        };
        let datagram = Bytes::copy_from_slice(bytes);
        self.node.receive(Socket::Server, from, &datagram, self.now);
        let sent = self.drain();
        if !proven && !expected {
            let out: usize = sent.iter().map(|(_, bytes)| bytes.len()).sum();
            let most = TIMES * bytes.len() + PING;
            assert!(out <= most, "{out} bytes for {}", bytes.len());
            assert!(sent.len() <= DATAGRAMS, "{} datagrams for one", sent.len());
        }
        sent
    }

    /// An answer: to something that was asked, or not.
    fn response(&mut self, script: &mut Script<'_>) {
        let at = usize::from(script.byte());
        let known = (!self.asked.is_empty()).then(|| self.asked[at % self.asked.len()]);
        let (tid, from) = match known {
            Some((tid, to)) if script.byte() > 60 => (tid, to),
            _ => (script.word(), stranger(script.byte())),
        };
        let is_asked = self.asked.contains(&(tid, from));
        let count = script.byte();
        let salt = script.byte();
        let node = |n: u8| SocketAddrV4::new(Ipv4Addr::new(7, salt, n, n), 1 + u16::from(n));
        let response = Response {
            tid,
            to: SocketAddrV4::new(Ipv4Addr::new(1, 1, 1, script.byte() % 3), 1),
            id: script.byte().is_multiple_of(2).then(|| node_id(from)),
            token: script.byte().is_multiple_of(4).then_some([1; 32]),
            closer_nodes: (0..count).map(node).collect(),
            error: u64::from(script.byte() % 3),
            value: script.byte().is_multiple_of(4).then(|| value(salt).into()),
        };
        let sent = self.receive(from, &response.encode(), false);
        assert!(is_asked || sent.is_empty(), "an answer to nothing");
    }

    /// Many come at once, each from elsewhere.
    fn flood(&mut self, script: &mut Script<'_>) {
        let salt = script.byte();
        let internal = script.byte().is_multiple_of(2);
        let command = u64::from(script.byte() % 6);
        let before = self.node.stats().active;
        for n in 0..400u16 {
            let [high, low] = n.to_be_bytes();
            let from = SocketAddrV4::new(Ipv4Addr::new(9, salt, high, low), 1);
            let request = Request {
                tid: n,
                to: OWN,
                id: Some(node_id(from)),
                token: None,
                internal,
                command,
                target: Some(target(salt)),
                value: Some(vec![salt; 6].into()),
            };
            self.receive(from, &request.encode(), false);
        }
        // At most three looks at nodes that may make place, and ten at nodes that are said to be gone.
        let after = self.node.stats().active;
        assert!(after <= before + 13, "{before} became {after}");
    }

    fn run_to(&mut self, until: Duration) {
        for steps in 0.. {
            let Some(at) = self.node.next_timeout().filter(|at| *at <= until) else {
                break;
            };
            assert!(steps < 100_000, "the clock stands still at {at:?}");
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.max(until);
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0..=6 => self.question(script),
            7 => {
                let len = usize::from(script.byte());
                let bytes = script.bytes(len);
                let from = stranger(script.byte());
                if !bytes.is_empty() {
                    self.receive(from, &bytes, false);
                }
            }
            8 | 9 => self.response(script),
            10 => {
                let millis = [1, 100, 1_000, 4_000, 8_000, 16_000, 700_000, 3_000_000];
                let millis = millis[usize::from(script.byte() % 8)];
                // A node that sleeps does not tick.
                if millis == 16_000 {
                    self.now += Duration::from_millis(millis);
                    self.node.handle_timeout(self.now);
                    self.drain();
                } else {
                    self.run_to(self.now + Duration::from_millis(millis));
                }
            }
            11 => {
                self.node.find_node(target(script.byte()), self.now);
                self.drain();
            }
            12 => self.flood(script),
            13 => {
                self.node.refresh(self.now);
                self.drain();
            }
            _ => {
                // dht-rpc's own.
                let from = stranger(script.byte());
                let len = usize::from(script.byte() % 10);
                let request = Request {
                    tid: self.next_tid(),
                    to: OWN,
                    id: script.byte().is_multiple_of(2).then(|| node_id(from)),
                    token: None,
                    internal: true,
                    command: u64::from(script.byte() % 6),
                    target: script
                        .byte()
                        .is_multiple_of(2)
                        .then(|| target(script.byte())),
                    value: Some(script.bytes(len).into()),
                };
                self.receive(from, &request.encode(), false);
                if script.byte() > 250 {
                    let ask = Ask {
                        internal: true,
                        command: internal::PING,
                        ..Ask::default()
                    };
                    self.node.request(from, ask, self.now);
                    self.drain();
                }
            }
        }
    }
}

pub(crate) fn run(script: &mut Script<'_>) -> u64 {
    let mut run = Run::new();
    while !script.0.is_empty() {
        run.step(script);
    }
    // Nobody answers any more: all that it asked has an end, and its table is empty after an hour.
    for _ in 0..12 {
        run.run_to(run.now + Duration::from_secs(300));
    }
    let mut answer = DefaultHasher::new();
    run.seen.hash(&mut answer);
    let size = |n: usize| usize::BITS - n.leading_zeros();
    let kept = (run.peers.len(), run.values.len(), run.tokens.len());
    (size(kept.0), size(kept.1), size(kept.2)).hash(&mut answer);
    size(run.node.nodes().len()).hash(&mut answer);
    answer.finish()
}

impl Run {
    /// A question made by hand; the answer.
    fn ask(
        &mut self,
        from: SocketAddrV4,
        command: u64,
        target: Id,
        token: Option<[u8; 32]>,
        value: Option<Vec<u8>>,
    ) -> (usize, Vec<(SocketAddrV4, Bytes)>) {
        let request = Request {
            tid: self.next_tid(),
            to: OWN,
            id: None,
            token,
            internal: false,
            command,
            target: Some(target),
            value: value.map(Bytes::from),
        };
        let bytes = request.encode();
        let sent = self.receive(from, &bytes, token.is_some());
        (bytes.len(), sent)
    }

    fn token_of(&mut self, from: SocketAddrV4) -> [u8; 32] {
        self.ask(from, command::LOOKUP, [1; 32], None, None);
        self.tokens[from.ip()].0
    }
}

/// The answers that have most bytes for one of the question: twenty peers with three nodes each, and the longest value, each with twenty closer nodes.
#[test]
fn the_worst_answer_is_within_the_bound() {
    let mut run = Run::new();
    run.flood(&mut Script(&[1, 1, 0]));
    assert!(run.node.nodes().len() >= 20);
    let from = stranger(1);
    let token = run.token_of(from);
    let topic = [8; 32];
    let place = Place {
        target: topic,
        token,
        node: node_id(OWN),
    };
    for n in 0..30u8 {
        let key = KeyPair::from_seed(&[n; 32]);
        let mut announce = Announce {
            peer: Some(Peer {
                public_key: key.public,
                relay_addresses: vec![stranger(n); 9],
            }),
            ..Announce::default()
        };
        announce.signature = Some(place.sign(Purpose::Announce, &announce, &key));
        let value = Some(announce.encode());
        let (_, sent) = run.ask(from, command::ANNOUNCE, topic, Some(token), value);
        assert_eq!(sent.len(), 1);
    }
    let long = vec![1; 1_400];
    let value = hash(&[&long]);
    let (_, sent) = run.ask(from, command::IMMUTABLE_PUT, value, Some(token), Some(long));
    assert_eq!(sent.len(), 1);
    // One byte more is kept by nobody.
    let longer = vec![1; 1_401];
    let target = hash(&[&longer]);
    let (_, sent) = run.ask(
        from,
        command::IMMUTABLE_PUT,
        target,
        Some(token),
        Some(longer),
    );
    assert!(sent.is_empty());
    let mut worst = 0;
    for (command, target) in [(command::LOOKUP, topic), (command::IMMUTABLE_GET, value)] {
        // From an address that asked nothing before.
        let (came, sent) = run.ask(stranger(9), command, target, None, None);
        let [(_, answer)] = &sent[..] else {
            panic!("one answer")
        };
        println!("nightly: {} bytes for {came}", answer.len());
        assert!(answer.len() >= 1_200, "it is the whole answer");
        worst = worst.max(answer.len().div_ceil(came));
    }
    assert!((TIMES / 2..=TIMES).contains(&worst), "{worst} times");
}

/// What was signed for a node is good for that node, that token and that time alone, and a token for that address.
#[test]
fn tokens_and_announcements_cannot_be_replayed() {
    let mut run = Run::new();
    let (from, other) = (stranger(1), stranger(2));
    let token = run.token_of(from);
    let topic = [8; 32];
    let place = Place {
        target: topic,
        token,
        node: node_id(OWN),
    };
    let key = pair(1);
    let mut announce = Announce {
        peer: Some(Peer {
            public_key: key.public,
            relay_addresses: vec![],
        }),
        ..Announce::default()
    };
    announce.signature = Some(place.sign(Purpose::Announce, &announce, &key));
    let said = announce.encode();
    let error = |sent: &[(SocketAddrV4, Bytes)]| {
        let (_, bytes) = sent.first()?;
        match Message::decode(bytes, OWN)? {
            Message::Response(response) => Some(response.error),
            Message::Request(_) => None,
        }
    };
    let send = |run: &mut Run, from, token| {
        let (_, sent) = run.ask(from, command::ANNOUNCE, topic, token, Some(said.clone()));
        error(&sent)
    };
    // Another address, no token, a token of one's own.
    assert_eq!(send(&mut run, other, Some(token)), Some(2));
    assert_eq!(send(&mut run, from, None), None);
    assert_eq!(send(&mut run, from, Some([0; 32])), Some(2));
    // The right one, and again within its time: it changes nothing.
    assert_eq!(send(&mut run, from, Some(token)), Some(0));
    assert_eq!(send(&mut run, from, Some(token)), Some(0));
    // Later, and with a token of today for what was signed under that of yesterday.
    run.run_to(run.now + STALE + Duration::from_millis(1));
    assert_eq!(send(&mut run, from, Some(token)), Some(2));
    let fresh = run.token_of(from);
    assert_eq!(send(&mut run, from, Some(fresh)), None);
}

/// A million datagrams a second would not make a node remember more than a thousand a minute do.
#[test]
fn a_flood_is_not_remembered() {
    let mut run = Run::new();
    for round in 0..40 {
        for command in 0..6 {
            run.flood(&mut Script(&[round, 1, command]));
        }
        run.flood(&mut Script(&[round, 0, round]));
    }
    assert!(run.node.nodes().len() <= 400, "{}", run.node.nodes().len());
    assert!(run.node.stats().active <= 13);
    // Nobody of them answers: nobody of them stays.
    for _ in 0..40 {
        run.run_to(run.now + Duration::from_secs(300));
    }
    assert!(run.node.nodes().len() < 20, "{}", run.node.nodes().len());
}
