//! What can go wrong between two peers.

use pome_encoding::DecodeError;

/// Why a connection, or a call on one, failed. All but [`Error::Io`], [`Error::TooLarge`], [`Error::Closed`], [`Error::Duplicate`] and
/// [`Error::Suspended`] are the peer's doing, or that of somebody in between: the connection is of no more use then.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handshake failed: a message out of turn, a bad key, or bytes that were changed on the way.
    #[error("the Noise handshake failed")]
    Handshake,
    /// The peer has another public key than the caller wanted.
    #[error("the peer has another public key than was asked for")]
    OtherPeer,
    /// The message that starts an encrypted stream has another length, or an id that does not belong to this handshake.
    #[error("the peer did not start its stream as the handshake demands ({bytes} bytes)")]
    StreamHeader {
        /// How long its message was.
        bytes: usize,
    },
    /// A message that was not sealed by the peer, was sealed for another place in the stream, or is too short to be one.
    #[error("a message of {bytes} bytes is not what the peer sealed")]
    Message {
        /// How long it was, sealed.
        bytes: usize,
    },
    /// The connection ended inside a message or before its handshake was over.
    #[error("the connection ended early, {missing} or more bytes before the end of a message")]
    EndedEarly {
        /// How many bytes the message still lacked, as far as known.
        missing: usize,
    },
    /// Nothing came for as long as the caller was willing to wait.
    #[error("nothing came from the peer in time")]
    TimedOut,
    /// A message of ours that fits into no frame.
    #[error("a message of {bytes} bytes is more than a frame holds ({max})")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What would fit.
        max: usize,
    },
    /// The connection, or the channel, is closed.
    #[error("closed")]
    Closed,
    /// The peer opened a channel under an id that is not the next one, or is in use.
    #[error("the peer opened a channel under the id {id}, which is taken or skips others")]
    InvalidOpen {
        /// The id it gave.
        id: u64,
    },
    /// The peer rejected a channel that we never opened.
    #[error("the peer rejected channel {id}, which was not opened")]
    InvalidReject {
        /// The id it gave.
        id: u64,
    },
    /// The peer has more open, or more waiting, than we keep for one peer.
    #[error("the peer exceeded the limit of {max} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        max: usize,
    },
    /// Bytes that no message is made of.
    #[error("a message of the peer cannot be read")]
    Decode(#[from] DecodeError),
    /// The peer does not keep to the protocol of a core.
    #[error("the peer broke the rules of replication: {reason}")]
    Misbehaved {
        /// What it did.
        reason: &'static str,
    },
    /// The peer was reached through a relay, which is gone.
    #[error("the relay that the connection went through is gone")]
    RelayAborted,
    /// There is another connection to the same peer, and that one is kept.
    #[error("another connection to the same peer is kept instead")]
    Duplicate,
    /// The node was suspended.
    #[error("the node that the connection belongs to was suspended")]
    Suspended,
    /// A core could not do what a peer asked for, or what it sent.
    #[error(transparent)]
    Core(std::sync::Arc<pome_cores::Error>),
    /// The system refused to read or write.
    #[error("{kind}: {message}")]
    Io {
        /// Its kind.
        kind: std::io::ErrorKind,
        /// The system's words.
        message: String,
    },
}

impl Error {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Handshake => "HANDSHAKE_FAILED",
            Self::OtherPeer => "OTHER_PEER",
            Self::StreamHeader { .. } => "INVALID_HEADER",
            Self::Message { .. } => "INVALID_MESSAGE",
            Self::EndedEarly { .. } => "ENDED_EARLY",
            Self::TimedOut => "CONNECTION_TIMED_OUT",
            Self::TooLarge { .. } => "MESSAGE_TOO_LARGE",
            Self::Closed => "CONNECTION_CLOSED",
            Self::InvalidOpen { .. } => "INVALID_OPEN",
            Self::InvalidReject { .. } => "INVALID_REJECT",
            Self::Limit { .. } => "PEER_LIMIT",
            Self::Decode(_) => "UNREADABLE_MESSAGE",
            Self::Misbehaved { .. } => "PEER_MISBEHAVED",
            Self::RelayAborted => "RELAY_ABORTED",
            Self::Duplicate => "DUPLICATE_CONNECTION",
            Self::Suspended => "SUSPENDED",
            Self::Core(error) => error.code(),
            Self::Io { .. } => "CONNECTION_IO",
        }
    }
}

impl From<snow::Error> for Error {
    /// What exactly failed helps an attacker more than a user.
    fn from(_: snow::Error) -> Self {
        Self::Handshake
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::Io {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

impl From<pome_cores::Error> for Error {
    fn from(error: pome_cores::Error) -> Self {
        Self::Core(std::sync::Arc::new(error))
    }
}
