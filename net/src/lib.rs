//! Encrypted connections between peers: the Noise handshake, the secret stream and protomux of the npm modules, byte for byte.
//!
//! Each protocol is sans-IO: bytes and a clock in; bytes and events out.
//!
//! Where it starts: [`secret_stream::SecretStream`], which [`noise::Handshake`] opens; [`protomux::Protomux`], which cuts one stream into
//! channels; [`udx::Udx`], reliable streams over UDP.
#![forbid(unsafe_code)]

mod error;
pub mod noise;
pub mod protomux;
pub mod secret_stream;
pub mod udx;

pub use error::Error;
