//! What a store that has lost something gets back from peers: the blocks that its disk has lost, and the right to sign.
//!
//! A copy of a store, and one that lost commits, is *recovering*: somebody may have signed more with its keys than it knows of. It signs for a core again
//! when a peer that knew of all that is here, before it heard of us, knows of no more. A peer that knew of less says nothing: it may have been away.

use std::time::{Duration, Instant};

use pome_storage::Batch;

use super::{
    download::{Here, Planned},
    events::{CoreEvent, PeerId},
    machine::Machine,
};
use crate::{core::Core, error::Error, layout};

/// Lost blocks of a core that are wanted at a time (8 B each, and what the set takes).
const LOST_MAX: usize = 1 << 16;
/// Of them, so many are looked at for one request.
const LOOK_MAX: usize = 512;
/// Peers that are remembered for having known of less.
const LATE_MAX: usize = 1024;
/// How soon to try again when somebody else is changing the core.
const BUSY: Duration = Duration::from_millis(1);

impl Machine {
    /// Reads which blocks the disk has lost, unless that is known.
    pub(super) fn load_lost(&mut self, core: &Core) {
        if std::mem::replace(&mut self.lost_known, true) {
            return;
        }
        match core.lost(LOST_MAX) {
            Ok(lost) => self.lost = lost.into_iter().collect(),
            Err(error) => tracing::warn!(%error, "the store cannot say what it has lost"),
        }
    }

    /// Asks a peer for a block that the disk has lost.
    pub(super) fn plan_lost(
        &mut self,
        core: &Core,
        id: PeerId,
        here: Here,
        now: Instant,
    ) -> Planned {
        let Some(last) = self.lost.last().copied() else {
            return Ok(false);
        };
        // not always the same ones first: this peer may not have them
        let from = match self.lost.len() > LOOK_MAX {
            true => self.random(last),
            false => 0,
        };
        let (later, first) = (self.lost.range(from..), self.lost.range(..from));
        let open: Vec<u64> = later
            .chain(first)
            .take(LOOK_MAX)
            .copied()
            .filter(|index| !self.blocks.contains_key(index) && *index < here.length)
            .collect();
        for index in open {
            if self.peers.get(&id).is_some_and(|peer| peer.has(index)) {
                if self.ask_block(core, id, index, here, 0, now)? {
                    return Ok(true);
                }
            } else {
                self.want_around(id, index, here);
            }
        }
        Ok(false)
    }

    /// A peer has said what it has.
    pub(super) fn met(&mut self, core: &Core, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let told = (peer.remote.fork, peer.remote.length);
        if core.recovering().is_none() || peer.first.replace(told).is_some() {
            return;
        }
        let head = core.head.read();
        if told < (head.tree.fork, head.tree.length) && self.late.len() < LATE_MAX {
            self.late.insert(peer.remote_key);
        }
    }

    /// Lets a core of a recovering store be signed for again, once peers have said that there is no more of it.
    pub(super) fn check_recovered(&mut self, core: &Core, now: Instant) {
        let Some(time) = core.recovering() else {
            return;
        };
        if self.recovered == Some(time) || core.replication.check_signing(core.key).is_err() {
            return;
        }
        let (length, fork) = {
            let head = core.head.read();
            (head.tree.length, head.tree.fork)
        };
        let knows = |told: (u64, u64)| length > 0 && told >= (fork, length);
        let asked = (self.peers.values())
            .filter(|peer| peer.opened && peer.closing.is_none() && !peer.is_doubted())
            .filter(|peer| !self.late.contains(&peer.remote_key))
            .any(|peer| peer.first.is_some_and(knows));
        // what it showed is here only once it is proven
        if !asked || self.forks.is_some() {
            return;
        }
        match mark_recovered(core, time) {
            Ok(Some(true)) => {
                tracing::info!(key = %core.key, length, "peers know of no more: the core is signed again");
                core.replication.emit(|| CoreEvent::Recovered { length });
                core.wake();
            }
            Ok(Some(false)) => {}
            Ok(None) => {
                self.retry_at = Some(now + BUSY);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "that a core is signed again cannot be stored");
                return;
            }
        }
        self.recovered = Some(time);
    }
}

/// False when that was known; `None` when somebody else is changing the core.
fn mark_recovered(core: &Core, time: u32) -> Result<Option<bool>, Error> {
    if core.is_recovered(time)? {
        return Ok(Some(false));
    }
    let Ok(_lock) = core.write.try_lock() else {
        return Ok(None);
    };
    let mut batch = Batch::new();
    let mark = time.to_le_bytes().to_vec();
    batch.put(core.space, layout::RECOVERED_KEY, mark);
    core.registry()?.commit(batch)?;
    Ok(Some(true))
}
