//! Encrypted connections between peers: the Noise handshake, the secret stream and protomux of the npm modules, byte for byte.
//!
//! Each protocol is sans-IO: bytes and a clock in; bytes and events out. [`driver`] and the sockets of
//! [`udx`] alone know tokio.
//!
//! Where it starts: [`secret_stream::SecretStream`], which [`noise::Handshake`] opens; [`protomux::Protomux`], which cuts one stream into
//! channels; [`driver::Connection`], both of them over a socket; [`udx::Udx`], reliable streams over UDP;
//! [`dht_rpc::Node`], a node of the distributed hash table.
#![forbid(unsafe_code)]

pub mod dht_rpc;
pub mod driver;
mod error;
pub mod hyperdht;
pub mod noise;
pub mod protomux;
pub mod secret_stream;
pub mod udx;

pub use error::Error;
