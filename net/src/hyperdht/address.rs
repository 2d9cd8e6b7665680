//! The address of a peer: its key, and nodes that may know it (npm hyperdht-address 1).

use super::messages::Wire;
use pome_encoding::{DecodeError, Reader, put_uint};
use std::net::SocketAddrV4;

const NODES: u64 = 1;

/// A key, and where to begin to look for the peer: what is handed around so that it is found sooner.
///
/// ```
/// use pome_net::hyperdht::{ConnectOptions, PeerAddress, messages::Wire};
/// let address = PeerAddress { public_key: [7; 32], nodes: Some(vec!["10.0.0.1:49737".parse()?]) };
/// let read = PeerAddress::decode(&address.encode())?;
/// assert_eq!(read, address);
/// let mut options = ConnectOptions::default();
/// options.relay_addresses = read.nodes.unwrap_or_default();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// The peer's key.
    pub public_key: [u8; 32],
    /// Nodes that may know it: for [`ConnectOptions::relay_addresses`](super::ConnectOptions::relay_addresses).
    pub nodes: Option<Vec<SocketAddrV4>>,
}

impl Wire for PeerAddress {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.public_key);
        put_uint(out, if self.nodes.is_some() { NODES } else { 0 });
        self.nodes.iter().for_each(|nodes| nodes.put(out));
    }
    fn get(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let public_key = input.fixed()?;
        // Flags that are all unset may be left out.
        let flags = if input.is_empty() { 0 } else { input.uint()? };
        let nodes = (flags & NODES != 0).then(|| Vec::get(input)).transpose()?;
        Ok(Self { public_key, nodes })
    }
}
