//! Peers on one network find each other with no other machine's help: a beacon says, to all of the network, what this one is about, in words that only
//! those understand who are about the same.
//!
//! [`Beacon`] is the state machine, [`Lan`] its driver: a UDP socket for beacons, a TCP listener for those who heard one. **What strangers learn**: that
//! a pome peer is there, its address and about how many topics it has, rounded up to a power of two. A topic itself never goes over the wire: a beacon
//! has, for each, a hash of it with a nonce of that beacon; and on a connection both sides first show, by hashes with the hash of its handshake, which topics
//! they have in common, before either says anything about one.
//!
//! The beacon goes to the group 239.255.80.77, port 49738, on every network of the machine, and no router passes it on. Its bytes:
//! `"pome" version=1 sender:16 nonce:16 port:u16 tag:8 …`, little endian, with 1 to 128 tags, of which some are random; a tag is the first 8 bytes of
//! BLAKE2b-256 of `"pome lan beacon" sender nonce port`, keyed with the topic.
//!
//! **Bounds**: beacons go out at most every 100 ms, eight at a time, for 4,096 topics; 32 are looked at in a second; only addresses on the machine's own
//! networks are dialled, each at most once a second, and 32 connections at a time may be still unproven, for 10 s.

mod beacon;
mod peer;
mod socket;

pub use beacon::{Beacon, BeaconOutput};
pub use peer::{LanPeer, PROTOCOL};
pub use socket::{GROUP, Lan, LanOptions, LanTopics, PORT};
