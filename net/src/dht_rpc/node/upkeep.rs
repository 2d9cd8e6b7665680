//! Keeps the table fresh: new nodes, nodes that went away, ticks, sleep.

use super::*;
impl Node {
    pub(super) fn hinted(&mut self, address: SocketAddrV4, now: Duration) {
        let tick = self.tick;
        if self.checks >= CHECKS_MAX {
            return;
        }
        if let Some(entry) = self.table.get(&node_id(address))
            && (entry.pinged < tick || entry.down_hints == 0)
        {
            entry.down_hints += 1;
            self.check(address, now);
        }
    }

    /// It answered, but not as the node that it was.
    pub(super) fn drop_if_stale(&mut self, address: SocketAddrV4, seen: u64) -> bool {
        let id = node_id(address);
        let stale = self
            .table
            .get(&id)
            .is_some_and(|entry| entry.seen <= seen && entry.seen < self.tick);
        if stale {
            self.table.remove(&id);
        }
        stale
    }

    /// A lasting node was heard; `to` is our address as it sees it.
    pub(super) fn heard(
        &mut self,
        id: Id,
        from: SocketAddrV4,
        to: SocketAddrV4,
        sample: bool,
        now: Duration,
    ) {
        let tick = self.tick;
        if let Some(entry) = self.table.get(&id) {
            entry.pinged = tick;
            entry.seen = tick;
            if sample && entry.sampled.is_none_or(|at| tick - at >= OLD_TICKS) {
                entry.sampled = Some(tick);
                self.nat_sample(to);
            }
            return;
        }
        if self.add(id, from, Some(to)) {
            return;
        }
        self.row_is_full(id, from, now);
    }

    pub(super) fn add(&mut self, id: Id, address: SocketAddrV4, to: Option<SocketAddrV4>) -> bool {
        if !self.takes(address) {
            return true;
        }
        let added = self.table.add(Entry {
            id,
            address,
            added: self.tick,
            pinged: self.tick,
            seen: self.tick,
            sampled: to.map(|_| self.tick),
            down_hints: 0,
        });
        if added && let Some(to) = to {
            self.nat_sample(to);
        }
        added
    }

    /// Is the node of the row that was not heard for the longest still there? If not, the new one takes its place.
    pub(super) fn row_is_full(&mut self, id: Id, new: SocketAddrV4, now: Duration) {
        if !self.ready || self.swaps.len() >= SWAPS_MAX || id == self.table.id {
            return;
        }
        let tick = self.tick;
        let oldest = self
            .table
            .neighbours(&id)
            .iter()
            .filter(|entry| entry.pinged != tick)
            .min_by_key(|entry| (entry.pinged, entry.added));
        let Some((old_id, address, seen)) = oldest
            .filter(|e| tick - e.pinged >= RECENT_TICKS || tick - e.added <= OLD_TICKS)
            .map(|e| (e.id, e.address, e.seen))
        else {
            return;
        };
        if self.swaps.contains_key(&address) {
            return;
        }
        if let Some(entry) = self.table.get(&old_id) {
            entry.pinged = tick;
        }
        self.swaps.insert(address, new);
        let purpose = Purpose::Swap { seen, with: new };
        self.ask_internal(purpose, address, internal::PING, None, now);
    }

    pub(super) fn check(&mut self, address: SocketAddrV4, now: Duration) {
        let tick = self.tick;
        let Some(entry) = self.table.get(&node_id(address)) else {
            return;
        };
        entry.pinged = tick;
        let seen = entry.seen;
        self.checks += 1;
        self.ask_internal(Purpose::Check { seen }, address, internal::PING, None, now);
    }

    pub(super) fn on_tick(&mut self, slept: bool, now: Duration) {
        self.tick += 1;
        self.hints = 0;
        if slept {
            self.woke_up();
        }
        if !self.ready {
            return;
        }
        if self.options.ephemeral.is_none() && self.ephemeral {
            self.stable_ticks = self.stable_ticks.saturating_sub(1);
            if self.stable_ticks == 0 {
                if self.last_host.is_some() && self.last_host == self.nat.host() {
                    self.stable_ticks = MORE_STABLE_TICKS;
                } else {
                    self.check_nat(false, now);
                }
            }
        }
        if self.tick.is_multiple_of(8) {
            self.ping_some(now);
        }
        self.refresh_ticks = self.refresh_ticks.saturating_sub(1);
        let stats = self.requests.stats;
        if self.health.look(&stats) {
            self.tell_network();
        }
        if self.refresh_ticks == 0 || self.tick.is_multiple_of(64) && self.table.len() < K {
            self.refresh(now);
        }
    }

    fn tell_network(&mut self) {
        let Health {
            online, degraded, ..
        } = self.health.health();
        self.out.push_back(Output::Network { online, degraded });
    }

    /// After sleep everything that was known is old.
    pub(super) fn woke_up(&mut self) {
        self.tick += 2 * OLD_TICKS;
        // Two before the next one at which old nodes are pinged.
        self.tick = self.tick + 6 - (self.tick & 7);
        self.stable_ticks = MORE_STABLE_TICKS;
        self.refresh_ticks = 1;
        self.last_host = None;
        self.health = Watch::new();
        self.tell_network();
        if self.options.ephemeral.is_none() && !self.ephemeral {
            self.ephemeral = true;
            self.out.push_back(Output::Persistent(false));
        }
        self.out.push_back(Output::Wakeup);
    }

    /// Goes on after it was suspended: everything that was known is old.
    pub(crate) fn resume(&mut self, now: Duration) {
        self.last_now = now;
        self.tick_at = now + TICK;
        self.woke_up();
        self.refresh(now);
    }

    pub(super) fn ping_some(&mut self, now: Duration) {
        let mut oldest: Vec<(u64, SocketAddrV4)> = self
            .table
            .iter()
            .filter(|entry| entry.pinged != self.tick)
            .map(|entry| (entry.pinged, entry.address))
            .collect();
        oldest.sort_unstable();
        let Some((pinged, _)) = oldest.first() else {
            if self.table.len() == 0 {
                self.refresh(now);
            }
            return;
        };
        let count = match self.requests.len() {
            _ if self.tick - pinged < RECENT_TICKS => 2,
            0..3 => 5,
            _ => 3,
        };
        for (_, address) in oldest.into_iter().take(count) {
            self.check(address, now);
        }
    }

    /// Looks around, so that the table stays fresh.
    pub fn refresh(&mut self, now: Duration) {
        let count = self.table.len();
        let at = if count == 0 {
            0
        } else {
            self.rng.random_range(0..count)
        };
        let target = self
            .table
            .iter()
            .nth(at)
            .map_or(self.table.id, |entry| entry.id);
        self.background_query(target, now);
    }
}
