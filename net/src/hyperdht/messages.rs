//! What HyperDHT nodes say to each other, inside the values of dht-rpc (npm hyperdht 6.34, `lib/messages.js`).

use crate::dht_rpc::{address, encode_address};
use bytes::Bytes;
use pome_encoding::{Address, Codec, DecodeError, Ipv6, Reader, put_buffer, put_uint};
use std::net::{SocketAddrV4, SocketAddrV6};

/// Most entries that are taken of a list.
const LIST_MAX: u64 = 256;

/// The commands of the HyperDHT.
#[allow(missing_docs, reason = "the names are those of hyperdht")]
pub mod command {
    pub const PEER_HANDSHAKE: u64 = 0;
    pub const PEER_HOLEPUNCH: u64 = 1;
    pub const FIND_PEER: u64 = 2;
    pub const LOOKUP: u64 = 3;
    pub const ANNOUNCE: u64 = 4;
    pub const UNANNOUNCE: u64 = 5;
    pub const MUTABLE_PUT: u64 = 6;
    pub const MUTABLE_GET: u64 = 7;
    pub const IMMUTABLE_PUT: u64 = 8;
    pub const IMMUTABLE_GET: u64 = 9;
    pub const PLUGIN: u64 = 10;
}

/// What kind of NAT is in front of a node.
#[allow(missing_docs, reason = "the names are those of hyperdht")]
pub mod firewall {
    pub const UNKNOWN: u64 = 0;
    pub const OPEN: u64 = 1;
    /// One port outside, whoever is spoken to.
    pub const CONSISTENT: u64 = 2;
    /// Another port for each.
    pub const RANDOM: u64 = 3;
}

/// Why a node refuses.
#[allow(missing_docs, reason = "the names are those of hyperdht")]
pub mod error {
    pub const NONE: u64 = 0;
    pub const ABORTED: u64 = 1;
    pub const VERSION_MISMATCH: u64 = 2;
    pub const TRY_LATER: u64 = 3;
    pub const SEQ_REUSED: u64 = 16;
    pub const SEQ_TOO_LOW: u64 = 17;
}

type Result<T> = std::result::Result<T, DecodeError>;

/// A message with one way to be written.
pub trait Wire: Sized {
    /// Appends the bytes of it.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads it; what follows is left.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes end too early or are nonsense.
    fn get(input: &mut Reader<'_>) -> Result<Self>;

    /// The bytes of it.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }
    /// Reads it from the start of `bytes`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn decode(bytes: &[u8]) -> Result<Self> {
        Self::get(&mut Reader::new(bytes))
    }
}

impl Wire for SocketAddrV4 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&encode_address(*self));
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        address(input)
    }
}

impl Wire for SocketAddrV6 {
    fn put(&self, out: &mut Vec<u8>) {
        // The codec cannot fail on an address.
        let _ = Address(Ipv6).encode(&(*self.ip(), self.port()), out);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let (ip, port) = Address(Ipv6).decode(input)?;
        Ok(Self::new(ip, port, 0, 0))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.len() as u64);
        self.iter().for_each(|item| item.put(out));
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let count = input.uint()?;
        let mut list = Vec::new();
        for index in 0..count {
            let item = T::get(input)?;
            if index < LIST_MAX {
                list.push(item);
            }
        }
        Ok(list)
    }
}

fn when<T: Wire>(flags: u64, flag: u64, input: &mut Reader<'_>) -> Result<Option<T>> {
    (flags & flag != 0).then(|| T::get(input)).transpose()
}

fn fixed_when<const N: usize>(
    flags: u64,
    flag: u64,
    input: &mut Reader<'_>,
) -> Result<Option<[u8; N]>> {
    (flags & flag != 0).then(|| input.fixed()).transpose()
}

fn bit(set: bool, bit: u64) -> u64 {
    if set { bit } else { 0 }
}

/// A step of a Noise handshake on its way between two peers, through nodes that know one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Handshake {
    /// Who speaks to whom: 0 client, 1 server, 2 relay, 3 second relay, 4 reply.
    pub mode: u64,
    /// The message of the handshake.
    pub noise: Bytes,
    /// The other peer, as the relay sees it.
    pub peer_address: Option<SocketAddrV4>,
    /// The relay to answer through.
    pub relay_address: Option<SocketAddrV4>,
}

impl Wire for Handshake {
    fn put(&self, out: &mut Vec<u8>) {
        let flags = bit(self.peer_address.is_some(), 1) | bit(self.relay_address.is_some(), 2);
        put_uint(out, flags);
        put_uint(out, self.mode);
        put_buffer(out, &self.noise);
        self.peer_address.iter().for_each(|at| at.put(out));
        self.relay_address.iter().for_each(|at| at.put(out));
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let flags = input.uint()?;
        Ok(Self {
            mode: input.uint()?,
            noise: Bytes::copy_from_slice(input.buffer()?),
            peer_address: when(flags, 1, input)?,
            relay_address: when(flags, 2, input)?,
        })
    }
}

/// A node that both peers can be reached through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayInfo {
    /// The node.
    pub relay_address: SocketAddrV4,
    /// The peer, as that node sees it.
    pub peer_address: SocketAddrV4,
}

impl Wire for RelayInfo {
    fn put(&self, out: &mut Vec<u8>) {
        self.relay_address.put(out);
        self.peer_address.put(out);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            relay_address: SocketAddrV4::get(input)?,
            peer_address: SocketAddrV4::get(input)?,
        })
    }
}

/// How to open a way through the NATs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolepunchInfo {
    /// Names the attempt.
    pub id: u64,
    /// Through whom to speak about it.
    pub relays: Vec<RelayInfo>,
}

impl Wire for HolepunchInfo {
    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.id);
        self.relays.put(out);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            id: input.uint()?,
            relays: Vec::get(input)?,
        })
    }
}

/// The UDX stream that a peer has ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdxInfo {
    /// Of this layout (1).
    pub version: u64,
    /// The stream may move to the socket of the DHT.
    pub reusable_socket: bool,
    /// Its id.
    pub id: u64,
    /// Number of its first packet.
    pub seq: u64,
}

impl Wire for UdxInfo {
    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, 1);
        put_uint(out, bit(self.reusable_socket, 1));
        put_uint(out, self.id);
        put_uint(out, self.seq);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let version = input.uint()?;
        let reusable_socket = input.uint()? & 1 != 0;
        Ok(Self {
            version,
            reusable_socket,
            id: input.uint()?,
            seq: input.uint()?,
        })
    }
}

/// A peer through which the connection can be relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayThrough {
    /// Of this layout (1).
    pub version: u64,
    /// The relay's key.
    pub public_key: [u8; 32],
    /// Pairs the two sides.
    pub token: [u8; 32],
}

impl Wire for RelayThrough {
    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, 1);
        put_uint(out, 0);
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.token);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let version = input.uint()?;
        input.uint()?;
        Ok(Self {
            version,
            public_key: input.fixed()?,
            token: input.fixed()?,
        })
    }
}

/// What peers tell each other inside the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NoisePayload {
    /// Of this layout (1). With another one nothing else is known.
    pub version: u64,
    /// See [`error`].
    pub error: u64,
    /// See [`firewall`].
    pub firewall: u64,
    /// How to open a way, if it takes one.
    pub holepunch: Option<HolepunchInfo>,
    /// Addresses on the peer's own networks.
    pub addresses4: Vec<SocketAddrV4>,
    /// The same for IPv6.
    pub addresses6: Vec<SocketAddrV6>,
    /// The stream that is ready.
    pub udx: Option<UdxInfo>,
    /// Version of the secret stream.
    pub secret_stream: Option<u64>,
    /// A relay, if the connection shall or may go through one.
    pub relay_through: Option<RelayThrough>,
    /// Nodes that know the peer.
    pub relay_addresses: Option<Vec<SocketAddrV4>>,
}

impl Wire for NoisePayload {
    fn put(&self, out: &mut Vec<u8>) {
        let flags = bit(self.holepunch.is_some(), 1)
            | bit(!self.addresses4.is_empty(), 2)
            | bit(!self.addresses6.is_empty(), 4)
            | bit(self.udx.is_some(), 8)
            | bit(self.secret_stream.is_some(), 16)
            | bit(self.relay_through.is_some(), 32)
            | bit(self.relay_addresses.is_some(), 64);
        for field in [1, flags, self.error, self.firewall] {
            put_uint(out, field);
        }
        self.holepunch.iter().for_each(|info| info.put(out));
        if !self.addresses4.is_empty() {
            self.addresses4.put(out);
        }
        if !self.addresses6.is_empty() {
            self.addresses6.put(out);
        }
        self.udx.iter().for_each(|info| info.put(out));
        self.secret_stream.iter().for_each(|_| put_uint(out, 1));
        self.relay_through.iter().for_each(|info| info.put(out));
        self.relay_addresses.iter().for_each(|list| list.put(out));
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let version = input.uint()?;
        if version != 1 {
            return Ok(Self {
                version,
                ..Self::default()
            });
        }
        let flags = input.uint()?;
        Ok(Self {
            version,
            error: input.uint()?,
            firewall: input.uint()?,
            holepunch: when(flags, 1, input)?,
            addresses4: when(flags, 2, input)?.unwrap_or_default(),
            addresses6: when(flags, 4, input)?.unwrap_or_default(),
            udx: when(flags, 8, input)?,
            secret_stream: (flags & 16 != 0).then(|| input.uint()).transpose()?,
            relay_through: when(flags, 32, input)?,
            relay_addresses: when(flags, 64, input)?,
        })
    }
}

/// A sealed message about hole punching, on its way through nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holepunch {
    /// As [`Handshake::mode`].
    pub mode: u64,
    /// Names the attempt.
    pub id: u64,
    /// A sealed [`HolepunchPayload`].
    pub payload: Bytes,
    /// The other peer, as the relay sees it.
    pub peer_address: Option<SocketAddrV4>,
}

impl Wire for Holepunch {
    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, bit(self.peer_address.is_some(), 1));
        put_uint(out, self.mode);
        put_uint(out, self.id);
        put_buffer(out, &self.payload);
        self.peer_address.iter().for_each(|at| at.put(out));
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let flags = input.uint()?;
        Ok(Self {
            mode: input.uint()?,
            id: input.uint()?,
            payload: Bytes::copy_from_slice(input.buffer()?),
            peer_address: when(flags, 1, input)?,
        })
    }
}

/// What peers tell each other while they punch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HolepunchPayload {
    /// See [`error`].
    pub error: u64,
    /// See [`firewall`].
    pub firewall: u64,
    /// Grows with each message of an attempt.
    pub round: u64,
    /// The way is open.
    pub connected: bool,
    /// Packets are being sent.
    pub punching: bool,
    /// Where the sender may be reached.
    pub addresses: Option<Vec<SocketAddrV4>>,
    /// The receiver, as the sender sees it.
    pub remote_address: Option<SocketAddrV4>,
    /// To be given back, as a proof that the address is right.
    pub token: Option<[u8; 32]>,
    /// What the other side gave.
    pub remote_token: Option<[u8; 32]>,
}

impl Wire for HolepunchPayload {
    fn put(&self, out: &mut Vec<u8>) {
        let flags = bit(self.connected, 1)
            | bit(self.punching, 2)
            | bit(self.addresses.is_some(), 4)
            | bit(self.remote_address.is_some(), 8)
            | bit(self.token.is_some(), 16)
            | bit(self.remote_token.is_some(), 32);
        for field in [flags, self.error, self.firewall, self.round] {
            put_uint(out, field);
        }
        self.addresses.iter().for_each(|list| list.put(out));
        self.remote_address.iter().for_each(|at| at.put(out));
        out.extend(self.token.iter().flatten());
        out.extend(self.remote_token.iter().flatten());
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let flags = input.uint()?;
        Ok(Self {
            error: input.uint()?,
            firewall: input.uint()?,
            round: input.uint()?,
            connected: flags & 1 != 0,
            punching: flags & 2 != 0,
            addresses: when(flags, 4, input)?,
            remote_address: when(flags, 8, input)?,
            token: fixed_when(flags, 16, input)?,
            remote_token: fixed_when(flags, 32, input)?,
        })
    }
}

/// A peer that announced itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its key.
    pub public_key: [u8; 32],
    /// Nodes that know it.
    pub relay_addresses: Vec<SocketAddrV4>,
}

impl Wire for Peer {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.public_key);
        self.relay_addresses.put(out);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            public_key: input.fixed()?,
            relay_addresses: Vec::get(input)?,
        })
    }
}

/// The peers that a node knows for a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LookupReply {
    /// They.
    pub peers: Vec<Peer>,
    /// When the newest was bumped, in milliseconds since 1970; 0: never.
    pub bump: u64,
}

impl Wire for LookupReply {
    fn put(&self, out: &mut Vec<u8>) {
        self.peers.put(out);
        put_uint(out, self.bump);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            peers: Vec::get(input)?,
            bump: if input.is_empty() { 0 } else { input.uint()? },
        })
    }
}

/// Announces a peer, refreshes that, or takes it back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Announce {
    /// Who.
    pub peer: Option<Peer>,
    /// The secret behind an earlier announcement's, or the hash of one to come.
    pub refresh: Option<[u8; 32]>,
    /// By the peer's key.
    pub signature: Option<[u8; 64]>,
    /// Shows the peer before others: milliseconds since 1970; 0: not.
    pub bump: u64,
}

impl Wire for Announce {
    fn put(&self, out: &mut Vec<u8>) {
        let flags = bit(self.peer.is_some(), 1)
            | bit(self.refresh.is_some(), 2)
            | bit(self.signature.is_some(), 4)
            | bit(self.bump > 0, 8);
        put_uint(out, flags);
        self.peer.iter().for_each(|peer| peer.put(out));
        out.extend(self.refresh.iter().flatten());
        out.extend(self.signature.iter().flatten());
        if self.bump > 0 {
            put_uint(out, self.bump);
        }
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let flags = input.uint()?;
        Ok(Self {
            peer: when(flags, 1, input)?,
            refresh: fixed_when(flags, 2, input)?,
            signature: fixed_when(flags, 4, input)?,
            bump: if flags & 8 != 0 { input.uint()? } else { 0 },
        })
    }
}

/// What is signed of a record that may change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MutableSignable {
    /// Grows with each change.
    pub seq: u64,
    /// The record.
    pub value: Bytes,
}

impl Wire for MutableSignable {
    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.seq);
        put_buffer(out, &self.value);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            seq: input.uint()?,
            value: Bytes::copy_from_slice(input.buffer()?),
        })
    }
}

/// A record that may change, as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutableRecord {
    /// What is signed.
    pub signable: MutableSignable,
    /// By the key under which it is kept.
    pub signature: [u8; 64],
}

impl Wire for MutableRecord {
    fn put(&self, out: &mut Vec<u8>) {
        self.signable.put(out);
        out.extend_from_slice(&self.signature);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            signable: MutableSignable::get(input)?,
            signature: input.fixed()?,
        })
    }
}

/// Keeps a record that may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutablePut {
    /// The key under which it is kept.
    pub public_key: [u8; 32],
    /// The record.
    pub record: MutableRecord,
}

impl Wire for MutablePut {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.public_key);
        self.record.put(out);
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            public_key: input.fixed()?,
            record: MutableRecord::get(input)?,
        })
    }
}

/// A command of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRequest {
    /// The plugin's name.
    pub plugin: String,
    /// Its version.
    pub version: u64,
    /// What it is asked.
    pub command: u64,
    /// More about it.
    pub value: Option<Bytes>,
}

impl Wire for PluginRequest {
    fn put(&self, out: &mut Vec<u8>) {
        put_buffer(out, self.plugin.as_bytes());
        put_uint(out, self.version);
        put_uint(out, self.command);
        put_uint(out, bit(self.value.is_some(), 1));
        self.value.iter().for_each(|value| put_buffer(out, value));
    }
    fn get(input: &mut Reader<'_>) -> Result<Self> {
        let plugin = String::from_utf8_lossy(input.buffer()?).into_owned();
        let version = input.uint()?;
        let command = input.uint()?;
        let flags = input.uint()?;
        let value = (flags & 1 != 0).then(|| input.buffer().map(Bytes::copy_from_slice));
        Ok(Self {
            plugin,
            version,
            command,
            value: value.transpose()?,
        })
    }
}
