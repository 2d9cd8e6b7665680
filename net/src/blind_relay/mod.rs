//! A blind relay (npm blind-relay 1.6): joins the UDX streams of two peers that cannot reach each other, and can read neither.
//!
//! ```text
//! peer ──connection──▶ relay ◀──connection── peer      each says "pair" with the token that both know
//!  ║                   ║   ║                  ║        the relay makes a stream for each, and tells them the ids
//!  ╚══════stream═══════╝   ╚══════stream══════╝        what comes in by one goes out by the other, packet by packet
//! ```
//! [`Pairings`] is the relay as a state machine, [`Relay`] runs it on connections and UDX streams, [`Client`] is the side of a peer. The streams live as long
//! as the connections over which they were asked for.
//!
//! **Bounds.** [`Limits`]: how many peers, how many pairs of one peer and of all, and how long somebody may wait for the other side. A pair costs the relay
//! some hundred bytes and two streams; what passes through is never kept.

mod client;
mod messages;
mod pairings;
mod relay;

pub use client::{Client, Error};
pub use messages::{PAIR, PROTOCOL, Pair, Token, UNPAIR, Unpair};
pub use pairings::{Action, End, Limits, LinkId, Pairings, SessionId, Stats};
pub use relay::Relay;
