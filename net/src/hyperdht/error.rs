//! What can go wrong in the HyperDHT.

use crate::dht_rpc::RequestError;
use std::sync::Arc;

/// Why a call failed. The codes are npm's where it has one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A node did not answer, or ours was closed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// No lasting node answered: nobody keeps what was to be kept.
    #[error(
        "no node of the DHT answered: is the network reachable, and are the bootstrap nodes right?"
    )]
    TooFewNodes,
    /// Another value was put under this number before.
    #[error("another value has the number {seq} already: put it with a higher one")]
    SeqReused {
        /// The number.
        seq: u64,
    },
    /// A value with a higher number is kept already.
    #[error("a value with a number above {seq} is kept already: put it with a higher one")]
    SeqTooLow {
        /// The number.
        seq: u64,
    },
    /// The nodes refused for another reason.
    #[error("the nodes of the DHT refused with the error {error}")]
    Refused {
        /// What they said; see [`super::messages::error`].
        error: u64,
    },
    /// A value that does not fit into a datagram that arrives everywhere.
    #[error("a value of {bytes} bytes is too long for the DHT (at most {max})")]
    ValueTooLarge {
        /// Its length.
        bytes: usize,
        /// What fits.
        max: usize,
    },
    /// Nobody with this key announced itself.
    #[error("no peer with this key is known to the DHT")]
    PeerNotFound,
    /// The peer is known, but no way led to it.
    #[error("the peer is known to the DHT, but could not be reached through it")]
    PeerConnectionFailed,
    /// The peer answered through a node and says that it is reachable, but it is not from here.
    #[error(
        "the peer says that it is reachable, but does not answer from here: a firewall is in between, and a relay would be needed"
    )]
    PeerUnreachable,
    /// Somebody answered in the peer's place, or with nonsense.
    #[error("a node answered a handshake wrongly")]
    BadHandshakeReply,
    /// The peer's answer was not sealed by it.
    #[error("the peer's handshake is not valid")]
    HandshakeInvalid,
    /// The peer speaks another version.
    #[error("the peer speaks another version of the HyperDHT")]
    ServerIncompatible,
    /// The peer refused.
    #[error("the peer refused the connection with the error {error}")]
    ServerError {
        /// What it said; see [`super::messages::error`].
        error: u64,
    },
    /// The peer has no nodes through which a way could be opened.
    #[error("the peer is behind a firewall and has no nodes through which a way could be opened")]
    CannotHolepunch,
    /// This side, or time, ended the attempt.
    #[error("no way through the NATs was found in time")]
    HolepunchAborted,
    /// A message of the attempt was not sealed by the peer.
    #[error("a message about the way through the NATs is not valid")]
    HolepunchInvalid,
    /// A node passed on something that is no answer.
    #[error("a node answered a message about the way through the NATs wrongly")]
    BadHolepunchReply,
    /// One of both sides could not find out what kind of NAT it has.
    #[error("it was not found out in time what kind of NATs are in front of the peers")]
    HolepunchProbeTimeout,
    /// Both sides get another port for each host: nobody can guess them.
    #[error("both peers are behind NATs with random ports: a relay would be needed")]
    HolepunchDoubleRandomizedNats,
    /// The peer gave the attempt up.
    #[error("the peer gave up opening a way, with the error {error}")]
    RemoteAborted {
        /// What it said; see [`super::messages::error`].
        error: u64,
    },
    /// The peer does not open its side.
    #[error("the peer does not open its side of the way")]
    RemoteNotHolepunching,
    /// The peer's NAT cannot be opened from here.
    #[error("the peer's NAT cannot be opened from here")]
    RemoteNotHolepunchable,
    /// A relay was to help, but did not bring both sides together, and no straight way was found either.
    #[error("no straight way to the peer was found, and the relay did not bring both together")]
    RelayAborted {
        /// The code of what went wrong with the relay, where it is not that the other side did not come in time.
        why: Option<&'static str>,
    },
    /// There is no straight way that a stream of one's own could take.
    #[error("the connection is over, or goes through a relay: no other stream can go there")]
    StreamNotConnected,
    /// There is another connection to the same peer, and that one is kept.
    #[error("another connection to the same peer is kept instead")]
    DuplicateConnection,
    /// The node is suspended.
    #[error("the node is suspended: resume it first")]
    Suspended,
    /// A server listens with this key already.
    #[error("a server of this node listens with this key already")]
    KeyPairAlreadyUsed,
    /// The system refused.
    #[error("the system refused a socket")]
    Io(#[source] Arc<std::io::Error>),
}

impl Error {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Request(error) => error.code(),
            Self::TooFewNodes => "TOO_FEW_NODES",
            Self::SeqReused { .. } => "SEQ_REUSED",
            Self::SeqTooLow { .. } => "SEQ_TOO_LOW",
            Self::Refused { .. } => "REFUSED_BY_NODES",
            Self::ValueTooLarge { .. } => "VALUE_TOO_LARGE",
            Self::PeerNotFound => "PEER_NOT_FOUND",
            Self::PeerConnectionFailed => "PEER_CONNECTION_FAILED",
            Self::PeerUnreachable => "PEER_UNREACHABLE",
            Self::BadHandshakeReply => "BAD_HANDSHAKE_REPLY",
            Self::HandshakeInvalid => "HANDSHAKE_INVALID",
            Self::ServerIncompatible => "SERVER_INCOMPATIBLE",
            Self::ServerError { .. } => "SERVER_ERROR",
            Self::CannotHolepunch => "CANNOT_HOLEPUNCH",
            Self::HolepunchAborted => "HOLEPUNCH_ABORTED",
            Self::HolepunchInvalid => "HOLEPUNCH_INVALID",
            Self::BadHolepunchReply => "BAD_HOLEPUNCH_REPLY",
            Self::HolepunchProbeTimeout => "HOLEPUNCH_PROBE_TIMEOUT",
            Self::HolepunchDoubleRandomizedNats => "HOLEPUNCH_DOUBLE_RANDOMIZED_NATS",
            Self::RemoteAborted { .. } => "REMOTE_ABORTED",
            Self::RemoteNotHolepunching => "REMOTE_NOT_HOLEPUNCHING",
            Self::RemoteNotHolepunchable => "REMOTE_NOT_HOLEPUNCHABLE",
            Self::RelayAborted { .. } => "RELAY_ABORTED",
            Self::StreamNotConnected => "STREAM_NOT_CONNECTED",
            Self::DuplicateConnection => "DUPLICATE_CONNECTION",
            Self::Suspended => "SUSPENDED",
            Self::KeyPairAlreadyUsed => "KEYPAIR_ALREADY_USED",
            Self::Io(_) => "DHT_IO",
        }
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
