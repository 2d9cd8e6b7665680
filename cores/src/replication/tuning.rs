//! What a program may set of a core's replication. All of it is the core's, whichever session it is set on, and forgotten when the core is closed.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use super::{machine::Machine, peer::SERVE_MAX};
use crate::{core::Core, hypercore::Hypercore};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuning {
    /// Requests in flight to a peer: at first, and at most.
    pub(crate) inflight: (usize, usize),
    /// How long a core counts as downloaded after its last session was closed.
    pub(crate) linger: Duration,
    /// The newest block is asked for with each longer length.
    pub(crate) latest_block: bool,
    /// Longer lengths are asked for without anybody waiting for them.
    pub(crate) eager_upgrade: bool,
    /// Nothing is asked for at all.
    pub(crate) push_only: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            inflight: (48, 512),
            linger: Duration::from_secs(20),
            latest_block: false,
            eager_upgrade: true,
            push_only: false,
        }
    }
}

/// Somebody waits for a longer length, until it is dropped.
pub(super) struct Updating(Arc<Core>);

impl Updating {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        core.replication.with(core, |machine| {
            machine.updates += 1;
            if !machine.tuning.eager_upgrade {
                machine.replan();
            }
        });
        Self(core.clone())
    }
}

impl Drop for Updating {
    fn drop(&mut self) {
        let less = |machine: &mut Machine| machine.updates = machine.updates.saturating_sub(1);
        self.0.replication.with_existing(less);
    }
}

impl Machine {
    /// True when a longer length is to be asked for although no block beyond this one is.
    pub(super) fn wants_length(&self, core: &Core) -> bool {
        let is_behind = || core.auth.read().owner.is_some() && core.replication.is_behind();
        self.tuning.eager_upgrade || self.updates > 0 || is_behind()
    }
}

/// Settings of the core's replication.
impl Hypercore {
    fn tune(&self, set: impl FnOnce(&mut Machine)) {
        let core = &self.session.core;
        core.replication.with(core, |machine| {
            set(machine);
            machine.replan();
        });
    }

    /// How many requests one peer has to answer at a time: at first so many as the range begins with, more as it answers, never more than it ends with
    /// (default: 48 to 512; at least 1, at most 4,096). Of large blocks there are fewer, so that about 8 MiB are on their way.
    pub fn set_inflight_range(&self, range: RangeInclusive<usize>) {
        let least = (*range.start()).clamp(1, SERVE_MAX);
        let most = (*range.end()).clamp(least, SERVE_MAX);
        self.tune(|machine| {
            machine.tuning.inflight = (least, most);
            for peer in machine.peers.values_mut() {
                peer.inflight = (least, most);
                peer.window = match peer.last_request {
                    0 => least,
                    _ => peer.window.clamp(least, most),
                };
            }
        });
    }

    /// How long peers are still asked and told after the last session of the core was closed, before its channels are (default: 20 seconds).
    pub fn set_not_downloading_linger(&self, linger: Duration) {
        self.tune(|machine| machine.tuning.linger = linger);
    }

    /// Fetches the newest block with every longer length (default: no block that nobody asked for).
    pub fn set_always_latest_block(&self, always: bool) {
        self.tune(|machine| machine.tuning.latest_block = always);
    }

    /// Fetches longer lengths as soon as peers have them (the default), or only while somebody waits in [`update`](Self::update), for a block that is not in
    /// the core yet or for a download without an end. A writer that is behind its own history fetches it anyway.
    pub fn set_eager_upgrade(&self, eager: bool) {
        self.tune(|machine| machine.tuning.eager_upgrade = eager);
    }

    /// Asks peers for nothing (default: false), so that only what they [push](Self::push) comes, where that is [allowed](Self::set_allow_push).
    pub fn set_push_only(&self, only: bool) {
        self.tune(|machine| machine.tuning.push_only = only);
    }
}
