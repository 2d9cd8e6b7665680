//! The DHT over one encrypted stream (npm @hyperswarm/dht-relay 0.4.3, its TCP half): who cannot use UDP has somebody else's node find, announce, listen and
//! connect for him.
//!
//! [`RelayServer`] lends a [`HyperDht`](crate::hyperdht::HyperDht) to clients; [`DhtRelay`] is a client, and [`RelayDialer`] one that comes back when it was
//! lost. A [swarm](crate::hyperswarm::Hyperswarm) stands on either as on a node of its own.
//!
//! **Trust.** A client shows its key pair in one of two ways. *Custodial* (as npm does by default): the relay gets the secret key, acts in its name, and
//! reads what is sent over the connections that it makes. *Non-custodial*: the client takes part in each handshake and signs what is announced; the relay learns who
//! speaks to whom and carries bytes that it cannot read. npm's relay can connect for such a client, but not listen or announce: what it asks to be signed is
//! not what hyperdht 6.34 wants.
//!
//! **Bounds.** A client has at most [`STREAMS_MAX`] streams and [`ASKED_MAX`] servers and questions; 4 MiB of what it sent wait at the relay, beside what each stream keeps unsent.
//! While they do nothing more is read from it, so a stream that is not read holds up its neighbours of the same client: npm keeps what comes
//! without a bound instead.

mod client;
mod dialer;
mod link;
mod messages;
mod server;

pub use client::{
    DhtRelay, DhtRelayOptions, RelayConnectOptions, RelayError, RelayFound, RelayListener,
    RelayLookup,
};
pub use dialer::RelayDialer;
pub use messages::{
    Announcement, Announcers, Keys, Message, NoiseReply, PROTOCOL, Proof, SignWanted,
};
pub use server::{ASKED_MAX, RelayServer, RelayServerOptions, STREAMS_MAX};
