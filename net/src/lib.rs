//! Encrypted connections between peers, and how they find each other: the Noise handshake, the secret stream, protomux, UDX, HyperDHT and Hyperswarm of
//! the npm modules, byte for byte.
//!
//! Each protocol is sans-IO: bytes and a clock in; bytes and events out. [`driver`], the sockets of [`udx`] and the handles of [`dht_rpc`], [`hyperdht`],
//! [`hyperswarm`], [`lan`] and [`networks`] alone know tokio.
//!
//! Where it starts: [`secret_stream::SecretStream`], which [`noise::Handshake`] opens; [`protomux::Protomux`], which cuts one stream into
//! channels; [`driver::Connection`], both of them over a socket; [`udx::Udx`], reliable streams over UDP;
//! [`dht_rpc::Node`], a node of the distributed hash table; [`hyperdht::HyperDht`], topics, values and connections by key;
//! [`hyperswarm::Hyperswarm`], connections to the peers of topics; [`lan::Lan`], peers on the same network.
#![forbid(unsafe_code)]

pub mod blind_relay;
mod cache;
pub mod dht_relay;
pub mod dht_rpc;
pub mod driver;
mod error;
pub mod hyperdht;
pub mod hyperswarm;
pub mod lan;
pub mod networks;
pub mod noise;
pub mod protomux;
pub mod secret_stream;
pub mod udx;

pub use error::Error;
