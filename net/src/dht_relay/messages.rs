//! What is said between a client and its relay (npm @hyperswarm/dht-relay 0.4.3, `lib/messages.js`, `lib/codecs.js`).
//!
//! Streams, servers, questions and handshakes have numbers (*aliases*), chosen by the side that makes them; each side calls a stream by the number that
//! the *sender* gave it. A message says *custodial* when it has the secret key with it.

use crate::{
    dht_rpc::{address, encode_address},
    hyperdht::messages::Peer,
};
use bytes::Bytes;
use pome_encoding::{DecodeError, Reader, put_buffer, put_uint};
use std::net::SocketAddrV4;

/// The name of the protocol, as the muxer's channel has it.
pub const PROTOCOL: &str = "@hyperswarm/dht-relay";

/// Most chunks, addresses or peers that are taken of a list.
const LIST_MAX: u64 = 4_096;

type Result<T> = std::result::Result<T, DecodeError>;

/// A key pair as it is told: the secret half only to a relay that has custody of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The public key.
    pub public: [u8; 32],
    /// The secret key: the seed, then the public key once more.
    pub secret: Option<[u8; 64]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("custodial", &self.secret.is_some())
            .finish_non_exhaustive()
    }
}

/// What a stream is keyed by: with custody the hash of its handshake, else the handshake that the client took part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "said above")]
pub enum Proof {
    Hash([u8; 64]),
    Handshake(u32),
}

/// A signature is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignWanted {
    /// The number of the request.
    pub id: u32,
    /// The client's question or server that it is for.
    pub signee: u32,
    /// The token that the node gave out.
    pub token: [u8; 32],
    /// The node.
    pub node: Bytes,
    /// What is announced beside the key.
    pub relay_addresses: Vec<SocketAddrV4>,
}

/// A question about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The number of the question.
    pub id: u32,
    /// What it is about.
    pub topic: [u8; 32],
    /// Who announces himself.
    pub keys: Keys,
}

/// A message between a client and its relay.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of dht-relay")]
pub enum Message {
    /// The first message of a client.
    Handshake(Keys),
    Ping,
    Pong,
    Connect {
        alias: u32,
        keys: Keys,
        remote_public_key: [u8; 32],
    },
    /// A peer has come to a server.
    Connection {
        alias: u32,
        server: u32,
        remote_public_key: [u8; 32],
        proof: Proof,
    },
    /// The client has taken it, and calls it so.
    Connected {
        alias: u32,
        remote_alias: u32,
    },
    /// A peer wants to come to a server: does the client let it?
    Incoming {
        id: u32,
        server: u32,
        remote_public_key: [u8; 32],
        payload: Bytes,
    },
    Deny(u32),
    Accept(u32),
    /// A stream is over: by the sender's number when it is `paired`, else by the receiver's.
    Destroy {
        paired: bool,
        alias: u32,
        error: Option<String>,
    },
    Listen {
        alias: u32,
        keys: Keys,
    },
    Listening {
        alias: u32,
        remote_alias: u32,
        address: SocketAddrV4,
    },
    Close(u32),
    Closed(u32),
    Open {
        alias: u32,
        remote_alias: u32,
        proof: Proof,
    },
    End(u32),
    Data {
        alias: u32,
        chunks: Vec<Bytes>,
    },
    /// One answer to a question: [`Announcers`].
    Result {
        id: u32,
        data: Bytes,
    },
    Finished(u32),
    Lookup {
        id: u32,
        topic: [u8; 32],
    },
    Announce(Announcement),
    Unannounce(Announcement),
    SignAnnounce(SignWanted),
    SignUnannounce(SignWanted),
    Signature {
        id: u32,
        signature: Bytes,
    },
    /// The client shall make the handshake's next message, with this payload; as who connects, for a stream.
    NoiseSend {
        id: u32,
        stream: Option<u32>,
        payload: Bytes,
    },
    /// The client shall read a handshake's message; as who is connected to, for a server.
    NoiseReceive {
        id: u32,
        server: Option<u32>,
        payload: Bytes,
    },
    NoiseReply(NoiseReply),
}

/// What became of a [`Message::NoiseSend`] or [`Message::NoiseReceive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoiseReply {
    /// The number of the handshake.
    pub id: u32,
    /// As who connects.
    pub is_initiator: bool,
    /// The message, or the payload that was in one; empty: refused.
    pub payload: Bytes,
    /// Who wants to connect, once it is known.
    pub remote_public_key: Option<[u8; 32]>,
    /// The handshake is done: the stream's id and the secret of the messages about the way.
    pub complete: Option<([u8; 32], [u8; 32])>,
}

/// What a node knows about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcers {
    /// Given out by the node.
    pub token: [u8; 32],
    /// The node's id, where it has one, and address.
    pub from: (Bytes, SocketAddrV4),
    /// Who asked, as the node sees it.
    pub to: (Bytes, SocketAddrV4),
    /// Keys, and nodes that know them.
    pub peers: Vec<([u8; 32], Vec<SocketAddrV4>)>,
}

fn id(input: &mut Reader<'_>) -> Result<u32> {
    Ok(u32::from_le_bytes(input.fixed()?))
}

fn buffer(input: &mut Reader<'_>) -> Result<Bytes> {
    Ok(Bytes::copy_from_slice(input.buffer()?))
}

/// Every entry takes bytes of the message: there is no memory taken on the word of the count.
fn list<T>(
    input: &mut Reader<'_>,
    mut entry: impl FnMut(&mut Reader<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = input.uint()?;
    let mut list = Vec::new();
    for index in 0..count {
        let item = entry(input)?;
        if index < LIST_MAX {
            list.push(item);
        }
    }
    Ok(list)
}

fn secret(input: &mut Reader<'_>, custodial: bool) -> Result<Option<[u8; 64]>> {
    custodial.then(|| input.fixed()).transpose()
}

fn proof(input: &mut Reader<'_>, custodial: bool) -> Result<Proof> {
    Ok(if custodial {
        Proof::Hash(input.fixed()?)
    } else {
        Proof::Handshake(id(input)?)
    })
}

/// Puts a message together: a byte of flags first, where there is one.
struct Out(Vec<u8>);

impl Out {
    fn flags(flags: u8) -> Self {
        Self(vec![flags])
    }
    fn id(mut self, id: u32) -> Self {
        self.0.extend_from_slice(&id.to_le_bytes());
        self
    }
    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    fn buffer(mut self, bytes: &[u8]) -> Self {
        put_buffer(&mut self.0, bytes);
        self
    }
    fn keys(self, keys: &Keys) -> Self {
        let out = self.bytes(&keys.public);
        match &keys.secret {
            Some(secret) => out.bytes(secret),
            None => out,
        }
    }
    fn proof(self, proof: &Proof) -> Self {
        match proof {
            Proof::Hash(hash) => self.bytes(hash),
            Proof::Handshake(id) => self.id(*id),
        }
    }
    fn addresses(mut self, addresses: &[SocketAddrV4]) -> Self {
        put_uint(&mut self.0, addresses.len() as u64);
        for address in addresses {
            self.0.extend_from_slice(&encode_address(*address));
        }
        self
    }
}

fn custodial(keys: &Keys) -> u8 {
    keys.secret.is_some().into()
}

fn hashed(proof: &Proof) -> u8 {
    matches!(proof, Proof::Hash(_)).into()
}

fn sign_wanted(wanted: &SignWanted) -> Out {
    Out(vec![])
        .id(wanted.id)
        .id(wanted.signee)
        .bytes(&wanted.token)
        .buffer(&wanted.node)
        .addresses(&wanted.relay_addresses)
}

fn announcement(announcement: &Announcement) -> Out {
    Out::flags(custodial(&announcement.keys))
        .id(announcement.id)
        .bytes(&announcement.topic)
        .keys(&announcement.keys)
}

impl Message {
    /// Its number in the channel, and its bytes.
    pub fn encode(&self) -> (u64, Bytes) {
        let none = || Out(vec![]);
        let (kind, out) = match self {
            Self::Handshake(keys) => (0, Out::flags(custodial(keys)).keys(keys)),
            Self::Ping => (1, none()),
            Self::Pong => (2, none()),
            Self::Connect {
                alias,
                keys,
                remote_public_key,
            } => {
                let out = Out::flags(custodial(keys)).id(*alias).keys(keys);
                (3, out.bytes(remote_public_key))
            }
            Self::Connection {
                alias,
                server,
                remote_public_key,
                proof,
            } => {
                let out = Out::flags(hashed(proof)).id(*alias).id(*server);
                (4, out.bytes(remote_public_key).proof(proof))
            }
            Self::Connected {
                alias,
                remote_alias,
            } => (5, none().id(*alias).id(*remote_alias)),
            Self::Incoming {
                id,
                server,
                remote_public_key,
                payload,
            } => {
                let out = none().id(*id).id(*server).bytes(remote_public_key);
                (6, out.buffer(payload))
            }
            Self::Deny(id) => (7, none().id(*id)),
            Self::Accept(id) => (8, none().id(*id)),
            Self::Destroy {
                paired,
                alias,
                error,
            } => {
                let flags = u8::from(*paired) | u8::from(error.is_some()) << 1;
                let out = Out::flags(flags).id(*alias);
                (
                    9,
                    match error {
                        Some(error) => out.buffer(error.as_bytes()),
                        None => out,
                    },
                )
            }
            Self::Listen { alias, keys } => (10, Out::flags(custodial(keys)).id(*alias).keys(keys)),
            Self::Listening {
                alias,
                remote_alias,
                address,
            } => {
                let out = none().id(*alias).id(*remote_alias);
                (11, out.bytes(&encode_address(*address)))
            }
            Self::Close(id) => (12, none().id(*id)),
            Self::Closed(id) => (13, none().id(*id)),
            Self::Open {
                alias,
                remote_alias,
                proof,
            } => {
                let out = Out::flags(hashed(proof)).id(*alias).id(*remote_alias);
                (14, out.proof(proof))
            }
            Self::End(id) => (15, none().id(*id)),
            Self::Data { alias, chunks } => {
                let mut out = none().id(*alias);
                put_uint(&mut out.0, chunks.len() as u64);
                (16, chunks.iter().fold(out, |out, chunk| out.buffer(chunk)))
            }
            Self::Result { id, data } => (17, none().id(*id).buffer(data)),
            Self::Finished(id) => (18, none().id(*id)),
            Self::Lookup { id, topic } => (19, none().id(*id).bytes(topic)),
            Self::Announce(wanted) => (20, announcement(wanted)),
            Self::Unannounce(wanted) => (21, announcement(wanted)),
            Self::SignAnnounce(wanted) => (22, sign_wanted(wanted)),
            Self::SignUnannounce(wanted) => (23, sign_wanted(wanted)),
            Self::Signature { id, signature } => (24, none().id(*id).buffer(signature)),
            Self::NoiseSend {
                id,
                stream,
                payload,
            } => {
                let out = Out::flags(stream.is_some().into()).id(*id);
                let out = match stream {
                    Some(stream) => out.id(*stream),
                    None => out,
                };
                (25, out.buffer(payload))
            }
            Self::NoiseReceive {
                id,
                server,
                payload,
            } => {
                let out = Out::flags(server.is_none().into()).id(*id);
                let out = match server {
                    Some(server) => out.id(*server),
                    None => out,
                };
                (26, out.buffer(payload))
            }
            Self::NoiseReply(reply) => {
                let flags = u8::from(reply.is_initiator) | u8::from(reply.complete.is_some()) << 1;
                let mut out = Out::flags(flags).id(reply.id).buffer(&reply.payload);
                if !reply.is_initiator && reply.complete.is_none() {
                    out = out.bytes(&reply.remote_public_key.unwrap_or_default());
                }
                if let Some((stream, secret)) = &reply.complete {
                    out = out.bytes(stream).bytes(secret);
                }
                (27, out)
            }
        };
        (kind, out.0.into())
    }

    /// Reads the message with this number; `None` for one of a later version.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes end too early.
    pub fn decode(kind: u64, body: &[u8]) -> Result<Option<Self>> {
        let input = &mut Reader::new(body);
        let has_flags = matches!(kind, 0 | 3 | 4 | 9 | 10 | 14 | 20 | 21 | 25 | 26 | 27);
        let flags = if has_flags { input.u8()? } else { 0 };
        let first = flags & 1 != 0;
        let second = flags & 2 != 0;
        let keys = |input: &mut Reader<'_>| -> Result<Keys> {
            Ok(Keys {
                public: input.fixed()?,
                secret: secret(input, first)?,
            })
        };
        Ok(Some(match kind {
            0 => Self::Handshake(keys(input)?),
            1 => Self::Ping,
            2 => Self::Pong,
            3 => Self::Connect {
                alias: id(input)?,
                keys: keys(input)?,
                remote_public_key: input.fixed()?,
            },
            4 => Self::Connection {
                alias: id(input)?,
                server: id(input)?,
                remote_public_key: input.fixed()?,
                proof: proof(input, first)?,
            },
            5 => Self::Connected {
                alias: id(input)?,
                remote_alias: id(input)?,
            },
            6 => Self::Incoming {
                id: id(input)?,
                server: id(input)?,
                remote_public_key: input.fixed()?,
                payload: buffer(input)?,
            },
            7 => Self::Deny(id(input)?),
            8 => Self::Accept(id(input)?),
            9 => Self::Destroy {
                paired: first,
                alias: id(input)?,
                error: if second {
                    Some(String::from_utf8_lossy(input.buffer()?).into_owned())
                } else {
                    None
                },
            },
            10 => Self::Listen {
                alias: id(input)?,
                keys: keys(input)?,
            },
            11 => Self::Listening {
                alias: id(input)?,
                remote_alias: id(input)?,
                address: address(input)?,
            },
            12 => Self::Close(id(input)?),
            13 => Self::Closed(id(input)?),
            14 => Self::Open {
                alias: id(input)?,
                remote_alias: id(input)?,
                proof: proof(input, first)?,
            },
            15 => Self::End(id(input)?),
            16 => Self::Data {
                alias: id(input)?,
                chunks: list(input, buffer)?,
            },
            17 => Self::Result {
                id: id(input)?,
                data: buffer(input)?,
            },
            18 => Self::Finished(id(input)?),
            19 => Self::Lookup {
                id: id(input)?,
                topic: input.fixed()?,
            },
            20 | 21 => {
                let wanted = Announcement {
                    id: id(input)?,
                    topic: input.fixed()?,
                    keys: keys(input)?,
                };
                if kind == 20 {
                    Self::Announce(wanted)
                } else {
                    Self::Unannounce(wanted)
                }
            }
            22 | 23 => {
                let wanted = SignWanted {
                    id: id(input)?,
                    signee: id(input)?,
                    token: input.fixed()?,
                    node: buffer(input)?,
                    relay_addresses: list(input, address)?,
                };
                if kind == 22 {
                    Self::SignAnnounce(wanted)
                } else {
                    Self::SignUnannounce(wanted)
                }
            }
            24 => Self::Signature {
                id: id(input)?,
                signature: buffer(input)?,
            },
            25 => Self::NoiseSend {
                id: id(input)?,
                stream: first.then(|| id(input)).transpose()?,
                payload: buffer(input)?,
            },
            26 => Self::NoiseReceive {
                id: id(input)?,
                server: (!first).then(|| id(input)).transpose()?,
                payload: buffer(input)?,
            },
            27 => Self::NoiseReply(NoiseReply {
                is_initiator: first,
                id: id(input)?,
                payload: buffer(input)?,
                remote_public_key: (!first && !second).then(|| input.fixed()).transpose()?,
                complete: if second {
                    Some((input.fixed()?, input.fixed()?))
                } else {
                    None
                },
            }),
            _ => return Ok(None),
        }))
    }
}

impl Announcers {
    /// The peers.
    pub fn into_peers(self) -> Vec<Peer> {
        let peers = self.peers.into_iter();
        peers
            .map(|(public_key, relay_addresses)| Peer {
                public_key,
                relay_addresses,
            })
            .collect()
    }

    /// The bytes of it.
    pub fn encode(&self) -> Bytes {
        let node =
            |out: Out, (id, at): &(Bytes, SocketAddrV4)| out.buffer(id).bytes(&encode_address(*at));
        let out = Out(vec![]).bytes(&self.token);
        let mut out = node(node(out, &self.from), &self.to);
        put_uint(&mut out.0, self.peers.len() as u64);
        for (key, addresses) in &self.peers {
            out = out.bytes(key).addresses(addresses);
        }
        out.0.into()
    }

    /// Reads it.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let input = &mut Reader::new(bytes);
        Ok(Self {
            token: input.fixed()?,
            from: (buffer(input)?, address(input)?),
            to: (buffer(input)?, address(input)?),
            peers: list(input, |input| Ok((input.fixed()?, list(input, address)?)))?,
        })
    }
}
