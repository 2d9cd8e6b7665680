//! What a core tells those who watch it.

/// Number of a peer of one core, never used again.
pub type PeerId = u64;

/// Something that happened to a core.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoreEvent {
    /// It grew, here or by a peer.
    Append {
        /// In blocks, now.
        length: u64,
    },
    /// It was cut and goes on under another fork.
    Truncate {
        /// How many blocks are left of what was there.
        length: u64,
        /// The fork now.
        fork: u64,
    },
    /// A peer has the core open.
    PeerAdd(PeerId),
    /// It is gone.
    PeerRemove(PeerId),
    /// A block was sent.
    Upload {
        /// Which.
        index: u64,
        /// As stored.
        byte_length: u64,
        /// To whom.
        peer: PeerId,
    },
    /// A block came, was checked and stored.
    Download {
        /// Which.
        index: u64,
        /// As stored.
        byte_length: u64,
        /// From whom.
        peer: PeerId,
    },
    /// A peer has all blocks up to here.
    RemoteContiguousLength(u64),
    /// Who may sign is known now.
    Manifest,
    /// A peer sent what does not hold; it is put aside for a while.
    VerificationError {
        /// npm's code.
        code: &'static str,
        /// Who.
        peer: PeerId,
    },
    /// A peer asked for what makes no sense.
    InvalidRequest {
        /// Who.
        peer: PeerId,
    },
    /// A second history of a length that is here was signed: the core is not replicated and not signed any more.
    Conflict {
        /// At which both differ at the latest.
        length: u64,
        /// Their fork.
        fork: u64,
    },
    /// A peer showed more of this store's own core than is here: it was followed, and may be appended to again.
    Recovered {
        /// In blocks, now.
        length: u64,
    },
}
