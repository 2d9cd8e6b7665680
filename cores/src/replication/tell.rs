//! Telling peers of us: nothing before it is on disk.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use pome_storage::Seq;

use super::{
    bits::PAGE,
    events::PeerId,
    machine::Machine,
    messages::{Bits, Have, Message, Sync, Want},
    peer::Peer,
};
use crate::{
    core::{Core, Head},
    layout,
};

/// What no peer waits for is told after this.
pub(super) const LEISURE: Duration = Duration::from_millis(250);
/// npm's rule: a new block further than this from the end is told only to who wants to know.
const LAST_BLOCKS: u64 = 256;

/// What has to be on disk before all may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lag {
    /// A peer lacks what it brings: it is synced at once.
    Owed(Seq),
    /// It is told when it is on disk, which may take a while. During a download from a peer that has everything, the disk would do nothing but sync.
    Leisurely(Seq),
}

impl Machine {
    /// Takes over what is on disk now, and has peers told of it. True when that is something new.
    pub(crate) fn show(&mut self, core: &Core) -> bool {
        let synced = core.store.synced_seq();
        if synced < self.floor {
            return false;
        }
        let (shown, _) = core.shown();
        let same = match (&shown, &self.shown) {
            (Some(new), Some(old)) => Arc::ptr_eq(new, old),
            (new, old) => new.is_none() && old.is_none(),
        };
        self.shown = shown;
        let mut durable = Vec::new();
        while let Some((_, came)) = self.syncing.pop_front_if(|(seq, _)| *seq <= synced) {
            for range in came {
                self.unsynced.set_range(range.start, range.end, false);
                durable.push(range);
            }
        }
        if same && durable.is_empty() {
            return false;
        }
        let Some(shown) = &self.shown else {
            return true;
        };
        let length = shown.tree.length;
        let full = shown.contiguous == length;
        for peer in self.peers.values_mut().filter(|peer| peer.opened) {
            peer.due.sync = true;
            peer.mark();
            if full {
                peer.due.contiguous = true;
                continue;
            }
            for range in &durable {
                let (start, count) = (range.start, range.end - range.start);
                let far = start + LAST_BLOCKS < length;
                if (far && !peer.wants.touch(start, count))
                    || peer.contiguous >= range.end
                    || peer.bits.next_unset(start, range.end).is_none()
                {
                    continue;
                }
                peer.tell(Have {
                    drop: false,
                    start,
                    length: count,
                });
            }
        }
        true
    }

    /// The commit that must be on disk before all of it may be shown. To be asked last, before a peer is left until it is marked again.
    pub(crate) fn lag(&mut self, core: &Core, now: Instant) -> Option<Lag> {
        let lag = self.lag_behind(core, now);
        // The disk does not wait for us: what it has since the last look nobody will be woken for, so it is told now.
        self.show(core);
        lag
    }

    fn lag_behind(&mut self, core: &Core, now: Instant) -> Option<Lag> {
        let synced = core.store.synced_seq();
        let (_, head) = core.shown();
        let blocks = self.syncing.back().map(|(seq, _)| *seq);
        let floor = Some(self.floor).filter(|floor| *floor > synced);
        let Some(newest) = [head, blocks, floor].into_iter().flatten().max() else {
            self.leisure = None;
            return None;
        };
        if self.owed > synced {
            return Some(Lag::Owed(newest));
        }
        self.leisure.get_or_insert((now, newest));
        Some(Lag::Leisurely(newest))
    }

    /// What no peer has waited for is owed now.
    pub(super) fn end_leisure(&mut self, now: Instant) {
        if let Some((_, seq)) = self.leisure.take_if(|(since, _)| *since + LEISURE <= now) {
            self.owed = self.owed.max(seq);
            for peer in self.peers.values().filter(|peer| peer.opened) {
                peer.mark();
            }
        }
    }

    /// True when some peer does not have all of these blocks.
    pub(super) fn is_owed(&self, came: &[Range<u64>]) -> bool {
        let lacks = |peer: &Peer| {
            peer.opened
                && came.iter().any(|range| {
                    peer.contiguous < range.end
                        && peer.bits.next_unset(range.start, range.end).is_some()
                })
        };
        self.peers.values().any(lacks)
    }

    /// True when the block is on disk, as far as is known here: the store still has to have it.
    pub(crate) fn is_durable(&self, index: u64) -> bool {
        !self.unsynced.get(index)
    }

    /// What a peer is to be told of us; `None` when it knows, or nothing may be told yet.
    pub(super) fn sync_for(&self, core: &Core, id: PeerId, now: Instant) -> Option<Sync> {
        let (peer, shown) = (self.peers.get(&id)?, self.shown.as_ref()?);
        let (length, fork) = (shown.tree.length, shown.tree.fork);
        let same_fork = peer.remote.fork == fork;
        let remote_length = if same_fork { peer.remote.length } else { 0 };
        let has_manifest = core.verifier().is_some_and(|known| !known.is_compat());
        let mut sync = Sync {
            fork,
            length,
            remote_length,
            can_upgrade: false,
            uploading: true,
            downloading: self.is_downloading(core, now),
            has_manifest,
            allow_push: self.allow_push,
        };
        if let Some(told) = &peer.told {
            let about_us = |sync: &Sync| Sync {
                remote_length: 0,
                can_upgrade: false,
                ..*sync
            };
            let same = about_us(told) == about_us(&sync);
            if same && length <= remote_length {
                return None;
            }
            // What was not here when it was told may have come since.
            if same && told.remote_length == remote_length && told.can_upgrade {
                return None;
            }
            sync.can_upgrade = same_fork && self.can_upgrade(core, shown, remote_length);
            let news = sync.can_upgrade || told.remote_length != remote_length;
            return (!same || news).then_some(sync);
        }
        sync.can_upgrade = same_fork && self.can_upgrade(core, shown, remote_length);
        Some(sync)
    }

    /// True when a peer with that many blocks can be brought to our length.
    fn can_upgrade(&self, core: &Core, shown: &Head, remote_length: u64) -> bool {
        if remote_length == 0 || shown.contiguous == shown.tree.length {
            return remote_length == 0 || remote_length < shown.tree.length;
        }
        let Some(more) = shown.tree.length.checked_sub(remote_length) else {
            return false;
        };
        let nodes = crate::merkle::upgrade_indexes(remote_length, more).unwrap_or_default();
        more > 0
            && nodes
                .iter()
                .all(|index| matches!(core.node(*index), Ok(Some(_))))
    }

    /// Answers a want.
    pub(crate) fn answer_want(&mut self, core: &Core, id: PeerId, want: Want) -> Option<()> {
        let shown = self.shown.clone()?;
        let length = shown.tree.length;
        let contiguous = shown.contiguous.min(length);
        let end = want.start.saturating_add(want.length).min(length);
        let peer = self.peers.get_mut(&id)?;
        if want.start.saturating_add(want.length) < contiguous
            || length == contiguous
            || (want.any && want.start < contiguous)
        {
            peer.due.messages.push_back(Message::Range(Have {
                drop: false,
                start: 0,
                length: contiguous,
            }));
            return Some(());
        }
        // a word is told whole
        let first = want.start / 32 * 32;
        let (from, to) = (layout::block_key(first), layout::block_key(end));
        let mut words: Vec<u32> = Vec::new();
        let mut page = first / PAGE;
        if first < end {
            for key in core.store.snapshot().keys(core.space, &from[..]..&to[..]) {
                let index = key.ok().and_then(|key| layout::number(&key).ok())?;
                if self.unsynced.get(index) {
                    continue;
                }
                if want.any {
                    peer.due.messages.push_back(Message::Range(Have {
                        drop: false,
                        start: index,
                        length: 1,
                    }));
                    return Some(());
                }
                if index / PAGE != page {
                    send_words(peer, first.max(page * PAGE), &mut words);
                    page = index / PAGE;
                }
                let bit = index - first.max(page * PAGE);
                let at = (bit / 32) as usize;
                if words.len() <= at {
                    words.resize(at + 1, 0);
                }
                words[at] |= 1 << (bit % 32);
            }
        }
        send_words(peer, first.max(page * PAGE), &mut words);
        Some(())
    }
}

fn send_words(peer: &mut Peer, start: u64, words: &mut Vec<u32>) {
    if !words.is_empty() {
        let words = std::mem::take(words);
        let bits = Bits { start, words };
        peer.due.messages.push_back(Message::Bitfield(bits));
    }
}

#[cfg(test)]
mod tests {
    use pome_storage::{Options, Store};

    use super::{super::messages::Handshake, super::ready::Ready, *};
    use crate::{Corestore, caps, options::CoreOptions};

    /// Also where the disk is done between the look at what is on it and the decision what to wait for.
    #[tokio::test]
    async fn what_comes_to_be_on_disk_while_one_looks_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options::default();
        options.background = false;
        let cores = Corestore::open(Store::open(dir.path(), options).unwrap()).unwrap();
        let log = cores.get(CoreOptions::name("log")).await.unwrap();
        let core = &log.session.core;
        let (channel, now) = (1, Instant::now());
        let ready = Arc::new(Ready::default());
        core.replication.with(core, |machine| {
            let id = machine.add_peer(core, channel, ready.clone(), [0; 32], now);
            let handshake = Handshake {
                seeks: true,
                capability: caps::replicate(true, &core.key, &[7; 64]),
            };
            machine.opened(core, id, &handshake, false, &[7; 64]);
            while ready.next().is_some() {}

            machine.prepare(core, id, now);
            assert_eq!(machine.poll(core, id, now), None, "nothing is on disk");
            core.store.sync().unwrap();
            assert_eq!(machine.lag(core, now), None, "there is nothing to wait for");
            assert_eq!(ready.next(), Some(channel), "so it is polled again");
            machine.prepare(core, id, now);
            let told = machine.poll(core, id, now);
            assert!(matches!(told, Some(Message::Sync(_))), "{told:?}");
            while machine.poll(core, id, now).is_some() {}
            while ready.next().is_some() {}
            assert_eq!(machine.lag(core, now), None);
            assert_eq!(ready.next(), None, "all is told: it is left alone");
        });
    }
}
