//! Cores that have lost blocks come back although nobody opens them: each connection offers them to its peer, a few at a time.

use std::collections::HashSet;

use pome_encoding::DiscoveryKey;

use crate::registry::Registry;

/// Such cores that one connection has open at a time. The next one follows when its channel is closed: at once where the peer does not know the core, and a while
/// after its blocks have come.
const OPEN_MAX: usize = 256;

/// Where one connection is in the list of such cores.
pub(super) struct Lossy {
    /// The list is gone through once, from here …
    first: [u8; 32],
    /// … and the next one is looked for from here: all keys that sort below this are behind.
    next: Vec<u8>,
    /// It began at the front again.
    wrapped: bool,
    channels: HashSet<u64>,
}

impl Lossy {
    /// Connections begin at different places, so that each core has its turn although some never come back.
    pub(super) fn new(handshake_hash: &[u8; 64]) -> Self {
        let (first, _) = handshake_hash
            .split_first_chunk()
            .unwrap_or((&[0; 32], &[]));
        Self {
            first: *first,
            next: first.to_vec(),
            wrapped: false,
            channels: HashSet::new(),
        }
    }

    pub(super) fn may_open(&self) -> bool {
        self.channels.len() < OPEN_MAX
    }

    pub(super) fn opened(&mut self, channel: u64) {
        self.channels.insert(channel);
    }

    pub(super) fn closed(&mut self, channel: u64) {
        self.channels.remove(&channel);
    }

    /// The next one; `None` when all had their turn.
    pub(super) fn next(&mut self, registry: &Registry) -> Option<DiscoveryKey> {
        loop {
            let found = registry.next_lossy(&self.next).unwrap_or_else(|error| {
                tracing::warn!(%error, "the store cannot say which cores have lost blocks");
                None
            });
            match found {
                Some(found) if self.wrapped && found.0 >= self.first => return None,
                Some(found) => {
                    self.next = [&found.0[..], &[0]].concat();
                    return Some(found);
                }
                None if self.wrapped => return None,
                None => {
                    self.wrapped = true;
                    self.next.clear();
                }
            }
        }
    }
}
