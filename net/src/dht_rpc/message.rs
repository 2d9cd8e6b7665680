//! The datagrams of dht-rpc (npm dht-rpc 6.27).
//!
//! ```text
//! request   03 │ flags │ tid u16 │ to 6 │ [id 32] │ [token 32] │ command uint │ [target 32] │ [value buffer]
//! response  13 │ flags │ tid u16 │ to 6 │ [id 32] │ [token 32] │ [closer nodes] │ [error uint] │ [value buffer]
//! ```
//! An address is four bytes of IPv4 and the port as u16, little-endian; *to* is that of the receiver, as the sender sees it: so nodes learn their own.

use super::id::{Id, node_id};
use bytes::Bytes;
use pome_encoding::{DecodeError, Reader, put_buffer, put_uint};
use std::net::{Ipv4Addr, SocketAddrV4};

const REQUEST: u8 = 0x03;
const RESPONSE: u8 = 0x13;

const ID: u8 = 1;
const TOKEN: u8 = 2;
/// In requests: a command of dht-rpc itself. In responses: closer nodes follow.
const INTERNAL_OR_CLOSER: u8 = 4;
/// In requests: a target. In responses: an error.
const TARGET_OR_ERROR: u8 = 8;
const VALUE: u8 = 16;

/// Most closer nodes that are taken from a response: twice what a node sends.
const CLOSER_MAX: u64 = 40;

/// The commands of dht-rpc itself.
#[allow(missing_docs, reason = "the names are those of dht-rpc")]
pub mod internal {
    pub const PING: u64 = 0;
    /// Answered to the port in the value: is it open?
    pub const PING_NAT: u64 = 1;
    pub const FIND_NODE: u64 = 2;
    /// The node in the value seems to be gone.
    pub const DOWN_HINT: u64 = 3;
    /// Answered after the milliseconds in the value.
    pub const DELAYED_PING: u64 = 4;
}

/// A question to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Chosen by who asks; the response has it too.
    pub tid: u16,
    /// Who is asked.
    pub to: SocketAddrV4,
    /// Who asks, if it is a lasting node; what does not fit the sender's address was left out.
    pub id: Option<Id>,
    /// What the asked node gave out before: it proves the sender's address.
    pub token: Option<[u8; 32]>,
    /// A command of dht-rpc itself.
    pub internal: bool,
    /// What is asked.
    pub command: u64,
    /// The place in the keyspace that it is about.
    pub target: Option<Id>,
    /// More about it.
    pub value: Option<Bytes>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// That of the request.
    pub tid: u16,
    /// Who asked.
    pub to: SocketAddrV4,
    /// Who answers, if it is a lasting node.
    pub id: Option<Id>,
    /// To be sent with a request that changes something.
    pub token: Option<[u8; 32]>,
    /// Nodes closer to the target.
    pub closer_nodes: Vec<SocketAddrV4>,
    /// 0: none.
    pub error: u64,
    /// The answer itself.
    pub value: Option<Bytes>,
}

/// A datagram of dht-rpc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A question.
    Request(Request),
    /// An answer.
    Response(Response),
}

pub(crate) fn address(input: &mut Reader<'_>) -> Result<SocketAddrV4, DecodeError> {
    let ip = Ipv4Addr::from(input.fixed::<4>()?);
    Ok(SocketAddrV4::new(ip, u16::from_le_bytes(input.fixed()?)))
}

/// The six bytes of an address.
pub fn encode_address(address: SocketAddrV4) -> [u8; 6] {
    let mut out = [0; 6];
    out[..4].copy_from_slice(&address.ip().octets());
    out[4..].copy_from_slice(&address.port().to_le_bytes());
    out
}

/// Reads the six bytes of an address.
pub fn decode_address(bytes: &[u8]) -> Option<SocketAddrV4> {
    address(&mut Reader::new(bytes)).ok()
}

fn flag<T>(value: &Option<T>, flag: u8) -> u8 {
    if value.is_some() { flag } else { 0 }
}

impl Request {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let flags = flag(&self.id, ID)
            | flag(&self.token, TOKEN)
            | if self.internal { INTERNAL_OR_CLOSER } else { 0 }
            | flag(&self.target, TARGET_OR_ERROR)
            | flag(&self.value, VALUE);
        let mut out = head(REQUEST, flags, self.tid, self.to);
        out.extend(self.id.iter().flatten());
        out.extend(self.token.iter().flatten());
        put_uint(&mut out, self.command);
        out.extend(self.target.iter().flatten());
        if let Some(value) = &self.value {
            put_buffer(&mut out, value);
        }
        out
    }
}

impl Response {
    /// The bytes of it.
    pub fn encode(&self) -> Vec<u8> {
        let closer = !self.closer_nodes.is_empty();
        let flags = flag(&self.id, ID)
            | flag(&self.token, TOKEN)
            | if closer { INTERNAL_OR_CLOSER } else { 0 }
            | if self.error > 0 { TARGET_OR_ERROR } else { 0 }
            | flag(&self.value, VALUE);
        let mut out = head(RESPONSE, flags, self.tid, self.to);
        out.extend(self.id.iter().flatten());
        out.extend(self.token.iter().flatten());
        if closer {
            put_uint(&mut out, self.closer_nodes.len() as u64);
            for node in &self.closer_nodes {
                out.extend_from_slice(&encode_address(*node));
            }
        }
        if self.error > 0 {
            put_uint(&mut out, self.error);
        }
        if let Some(value) = &self.value {
            put_buffer(&mut out, value);
        }
        out
    }
}

fn head(kind: u8, flags: u8, tid: u16, to: SocketAddrV4) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&tid.to_le_bytes());
    out.extend_from_slice(&encode_address(to));
    out
}

impl Message {
    /// Reads a datagram that came from `from`; `None` when it is none of dht-rpc. An id that is not that of the sender's address is left out.
    pub fn decode(datagram: &Bytes, from: SocketAddrV4) -> Option<Self> {
        let (kind, rest) = datagram.split_first()?;
        let mut input = Reader::new(rest);
        match *kind {
            REQUEST => decode_request(datagram, &mut input, from)
                .ok()
                .map(Message::Request),
            RESPONSE => decode_response(datagram, &mut input, from)
                .ok()
                .map(Message::Response),
            _ => None,
        }
    }
}

fn optional<const N: usize>(
    input: &mut Reader<'_>,
    here: bool,
) -> Result<Option<[u8; N]>, DecodeError> {
    here.then(|| input.fixed()).transpose()
}

fn value(
    datagram: &Bytes,
    input: &mut Reader<'_>,
    here: bool,
) -> Result<Option<Bytes>, DecodeError> {
    here.then(|| input.buffer().map(|bytes| datagram.slice_ref(bytes)))
        .transpose()
}

fn own(id: Option<Id>, from: SocketAddrV4) -> Option<Id> {
    id.filter(|id| *id == node_id(from))
}

/// Flags are a uint, of which higher bits are ignored.
fn flags(input: &mut Reader<'_>) -> Result<u8, DecodeError> {
    Ok(input.uint()? as u8)
}

fn decode_request(
    datagram: &Bytes,
    input: &mut Reader<'_>,
    from: SocketAddrV4,
) -> Result<Request, DecodeError> {
    let flags = flags(input)?;
    Ok(Request {
        tid: u16::from_le_bytes(input.fixed()?),
        to: address(input)?,
        id: own(optional(input, flags & ID != 0)?, from),
        token: optional(input, flags & TOKEN != 0)?,
        internal: flags & INTERNAL_OR_CLOSER != 0,
        command: input.uint()?,
        target: optional(input, flags & TARGET_OR_ERROR != 0)?,
        value: value(datagram, input, flags & VALUE != 0)?,
    })
}

fn decode_response(
    datagram: &Bytes,
    input: &mut Reader<'_>,
    from: SocketAddrV4,
) -> Result<Response, DecodeError> {
    let flags = flags(input)?;
    let tid = u16::from_le_bytes(input.fixed()?);
    let to = address(input)?;
    let id = own(optional(input, flags & ID != 0)?, from);
    let token = optional(input, flags & TOKEN != 0)?;
    let mut closer_nodes = Vec::new();
    if flags & INTERNAL_OR_CLOSER != 0 {
        let count = input.uint()?;
        // A datagram bounds them: there is no memory taken on the word of the count.
        for index in 0..count {
            let node = address(input)?;
            if index < CLOSER_MAX {
                closer_nodes.push(node);
            }
        }
    }
    Ok(Response {
        tid,
        to,
        id,
        token,
        closer_nodes,
        error: if flags & TARGET_OR_ERROR != 0 {
            input.uint()?
        } else {
            0
        },
        value: value(datagram, input, flags & VALUE != 0)?,
    })
}
