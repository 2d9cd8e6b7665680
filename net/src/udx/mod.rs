//! UDX: many streams over one UDP socket, reliable and congestion-controlled; the packets are those of libudx (npm udx-native 1.21).
//!
//! [`Stream`] is a state machine: it is fed with packets and a clock, and asked for packets and events. There is no handshake: both sides are told the id
//! that the other has for the stream. [`Udx`] runs streams on real sockets with tokio: [`Duplex`] is one of them.

mod batch;
mod bbr;
mod duplex;
mod incoming;
mod mtu;
mod outgoing;
mod packet;
mod receive;
mod rtt;
mod seq;
mod settings;
mod slot;
mod socket;
mod stream;

pub use bbr::Phase;
pub use duplex::{Connector, Duplex};
pub use packet::{HEADER_BYTES, Header, Kind};
pub use seq::Seq;
pub use settings::SocketStats;
pub use socket::{Datagram, Firewall, Socket, Udx};
pub use stream::{Event, Stream, StreamError, StreamOptions, StreamState, StreamStats};
