//! What goes into a node and comes out of it.

use super::{
    adaptive::AdaptiveTimeout, id::Id, message::Request, query::Reply, requests::RequestError,
};
use bytes::Bytes;
use std::{
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

/// The error codes of answers.
#[allow(missing_docs, reason = "the names are those of dht-rpc")]
pub mod error {
    pub const UNKNOWN_COMMAND: u64 = 1;
    pub const INVALID_TOKEN: u64 = 2;
}

/// A node has two sockets: one for what it asks, and one that others reach it by when it has no firewall in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Socket {
    /// For questions, while there is a firewall.
    Client,
    /// The one that others are told of.
    Server,
    /// One of those that were opened for a hole in a NAT, by its number.
    Extra(u64),
}

/// Which nodes are asked, and kept in the table: false leaves one out (npm `filterNode`).
#[derive(Clone)]
pub struct NodeFilter(pub Arc<dyn Fn(SocketAddrV4) -> bool + Send + Sync>);

impl fmt::Debug for NodeFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeFilter")
    }
}

/// How a node behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct NodeOptions {
    /// Where to begin.
    pub bootstrap: Vec<SocketAddrV4>,
    /// More nodes that were known before.
    pub nodes: Vec<SocketAddrV4>,
    /// Some(true): never a lasting node; Some(false): one as soon as it is known to be reachable; None (default): after 20 quiet minutes.
    pub ephemeral: Option<bool>,
    /// There may be a firewall in front (default true): looked at before others are told of this node.
    pub firewalled: bool,
    /// Looks for that at once when the first node that is met can reach it (default true).
    pub quick_firewall: bool,
    /// The address under which this node is known, where it knows (a bootstrap node).
    pub address: Option<SocketAddrV4>,
    /// Questions of a query at a time (default 10).
    pub concurrency: usize,
    /// Requests that are sent within 750 ms; twice as many within 3 s. More wait (default 80).
    pub max_window: usize,
    /// Tells nodes which of those they told us of do not answer (default true).
    pub down_hints: bool,
    /// At most so many in five seconds (default 50).
    pub down_hints_max: usize,
    /// The longest delay of a ping that is asked for or granted (default 10 s).
    pub max_ping_delay: Duration,
    /// Tries wait as long as a node's answers took before (default: each waits a second).
    pub adaptive_timeout: Option<AdaptiveTimeout>,
    /// Nodes that are left out (default: none).
    pub filter: Option<NodeFilter>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            nodes: Vec::new(),
            ephemeral: None,
            firewalled: true,
            quick_firewall: true,
            address: None,
            concurrency: 10,
            max_window: 80,
            down_hints: true,
            down_hints_max: 50,
            max_ping_delay: Duration::from_secs(10),
            adaptive_timeout: None,
            filter: None,
        }
    }
}

/// A question that the user of the node has to answer with [`Node::reply`], or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// Who asks.
    pub from: SocketAddrV4,
    /// Its id, if it is a lasting node.
    pub id: Option<Id>,
    /// The socket it came in by.
    pub socket: Socket,
    /// The question. A token in it is good.
    pub request: Request,
}

/// An answer to be given.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// 0: none.
    pub error: u64,
    /// The answer itself.
    pub value: Option<Bytes>,
    /// With a token, so that the asker may change something.
    pub token: bool,
    /// With nodes closer to the target.
    pub closer_nodes: bool,
}

/// What to ask a node.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// A command of dht-rpc itself.
    pub internal: bool,
    /// What is asked.
    pub command: u64,
    /// What it is about.
    pub target: Option<Id>,
    /// More about it.
    pub value: Option<Bytes>,
    /// Given out by the node before.
    pub token: Option<[u8; 32]>,
}

/// How a request is sent, where that is not as usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestOptions {
    /// By which socket (default: [`Node::socket`](super::Node::socket)).
    pub socket: Option<Socket>,
    /// Most hops (default: the system's).
    pub ttl: Option<u32>,
    /// Tries after the first (default 3).
    pub retries: Option<u32>,
}

/// What a query asks for, on its way to the target.
#[derive(Debug, Clone, Default)]
pub struct QueryOptions {
    /// The question; its target is where the query goes.
    pub ask: Ask,
    /// Asked of each of the closest in the end, with the token that it gave out.
    pub commit: Option<Ask>,
    /// Where to begin; the routing table fills it up to 20.
    pub nodes: Vec<SocketAddrV4>,
    /// Asks these nodes and no other (default: no).
    pub only_these: bool,
    /// Questions at a time (default: that of the node).
    pub concurrency: Option<usize>,
    /// Tries after the first of each question (default 5).
    pub retries: Option<u32>,
}

/// Names a query of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueryId(pub u64);

/// Names a request of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// What a node wants done, or tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send this.
    Send {
        /// By which socket.
        socket: Socket,
        /// To whom.
        to: SocketAddrV4,
        /// With another limit of hops than usual.
        ttl: Option<u32>,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// The table is filled.
    Ready,
    /// Somebody asks something that is not dht-rpc's own.
    Request(Incoming),
    /// A request has its answer, or none.
    Response(RequestId, Result<Reply, RequestError>),
    /// A node answered a query.
    QueryReply(QueryId, Reply),
    /// A query has come to its end: the closest nodes that answered, and how many of them took the commit.
    QueryDone(QueryId, Vec<Reply>, usize),
    /// This is a lasting node from now on, or is one no more.
    Persistent(bool),
    /// The address outside is another one: host, and port (0: not one port).
    NatUpdate(Option<Ipv4Addr>, u16),
    /// The network answers again, or answers less: is anybody there, and do most requests fail?
    Network {
        /// Somebody answers.
        online: bool,
        /// Most requests are not answered.
        degraded: bool,
    },
    /// The machine slept.
    Wakeup,
}
