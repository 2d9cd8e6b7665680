//! Counting what goes between a core and its peers.

use super::{
    events::PeerId,
    machine::Machine,
    messages::{INVALID_REQUEST, Message, NoData},
};
use crate::hypercore::Hypercore;

/// How many messages of one kind went over the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Sent.
    pub tx: u64,
    /// Received.
    pub rx: u64,
}

/// What went between a core and a peer, or all its peers, so far. The names are npm's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicationStats {
    /// What each side has.
    pub wire_sync: Traffic,
    /// Requests.
    pub wire_request: Traffic,
    /// Requests that were taken back.
    pub wire_cancel: Traffic,
    /// Answers.
    pub wire_data: Traffic,
    /// Answers that there is none.
    pub wire_no_data: Traffic,
    /// Blocks that one side wants to be told of.
    pub wire_want: Traffic,
    /// Those that it does not want to be told of any more.
    pub wire_unwant: Traffic,
    /// Sets of blocks.
    pub wire_bitfield: Traffic,
    /// Ranges of blocks.
    pub wire_range: Traffic,
    /// Messages of extensions.
    pub wire_extension: Traffic,
    /// Blocks that the peer was asked for because another was slow.
    pub hotswaps: u64,
    /// Proofs of the peer that did not hold.
    pub invalid_data: u64,
    /// Requests of the peer that made no sense.
    pub invalid_requests: u64,
    /// Requests of this side that the peer says made no sense.
    pub backoffs: u64,
    /// Requests of this side that the peer could not answer.
    pub not_available_backoffs: u64,
}

impl ReplicationStats {
    fn of(&mut self, message: &Message) -> &mut Traffic {
        match message {
            Message::Sync(_) => &mut self.wire_sync,
            Message::Request(_) => &mut self.wire_request,
            Message::Cancel(_) => &mut self.wire_cancel,
            Message::Data(_) => &mut self.wire_data,
            Message::NoData(_) => &mut self.wire_no_data,
            Message::Want(_) => &mut self.wire_want,
            Message::Unwant(_) => &mut self.wire_unwant,
            Message::Bitfield(_) => &mut self.wire_bitfield,
            Message::Range(_) => &mut self.wire_range,
            Message::Extension(_) => &mut self.wire_extension,
        }
    }

    pub(super) fn sent(&mut self, message: &Message) {
        self.of(message).tx += 1;
    }

    pub(super) fn received(&mut self, message: &Message) {
        self.of(message).rx += 1;
        if let Message::NoData(NoData { reason, .. }) = message {
            match *reason {
                INVALID_REQUEST => self.backoffs += 1,
                _ => self.not_available_backoffs += 1,
            }
        }
    }
}

impl Machine {
    /// Counts something for a peer and for the core.
    pub(super) fn count(&mut self, id: PeerId, add: impl Fn(&mut ReplicationStats)) {
        add(&mut self.stats);
        if let Some(peer) = self.peers.get_mut(&id) {
            add(&mut peer.stats);
        }
    }
}

impl Hypercore {
    /// What went between this core and all peers that it has had since it was opened. [`peers`](Self::peers) has the same of each.
    #[must_use]
    pub fn replication_stats(&self) -> ReplicationStats {
        let replication = &self.session.core.replication;
        let stats = replication.with_existing(|machine| machine.stats);
        stats.unwrap_or_default()
    }
}
