//! dht-rpc: the network of nodes under the HyperDHT (npm dht-rpc 6.27). Each has a place in a keyspace, knows nodes near and far, and finds those closest
//! to any target by asking ever closer ones.
//!
//! [`Node`] is a state machine: it is fed with datagrams and a clock, and asked for datagrams and events, so that one test can run thousands of them.
//! [`Dht`] runs one on two UDP sockets, which UDX streams share with it.

mod adaptive;
mod clock;
mod dht;
mod health;
mod id;
mod message;
mod nat;
mod node;
mod query;
mod requests;
mod run;
mod table;
mod token;
mod types;
mod walk;

pub use adaptive::AdaptiveTimeout;
pub use dht::{Dht, DhtOptions, KeptSocket, Pending, PunchSocket, Query, QueryResult, Service};
pub use health::Health;
pub use id::{Id, node_id};
pub(crate) use message::address;
pub use message::{Message, Request, Response, decode_address, encode_address, internal};
pub use nat::NatSampler;
pub use node::Node;
pub use query::Reply;
pub use requests::{CommandStats, RequestError, RequestStats};
pub use run::Told;
pub use types::{
    Answer, Ask, Incoming, NodeFilter, NodeOptions, Output, QueryId, QueryOptions, RequestId,
    RequestOptions, Socket, error,
};
pub use walk::{Answers, RttStats};
