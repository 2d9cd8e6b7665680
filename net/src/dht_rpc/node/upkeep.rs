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
        self.look_again &= self.firewalled;
        if self.look_again && self.check_nat(true, now) {
            self.look_again = false;
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
        self.refresh_ticks = 1;
        self.health = Watch::new();
        self.tell_network();
        self.forget_address();
        self.out.push_back(Output::Wakeup);
    }

    /// The machine has another address, or another way out: what others said about ours is old, and they are asked anew. (npm's goes on believing it until most of
    /// what it was told is new.)
    pub fn network_changed(&mut self, now: Duration) {
        self.forget_address();
        self.refresh(now);
    }

    fn forget_address(&mut self) {
        self.stable_ticks = MORE_STABLE_TICKS;
        self.look_again = true;
        self.last_host = None;
        if self.options.address.is_none() {
            self.unproven_samples.clear();
            // What they say next counts.
            self.table.iter_mut().for_each(|entry| entry.sampled = None);
            self.set_nat(NatSampler::default());
        }
        if self.options.ephemeral.is_none() && !self.ephemeral {
            self.ephemeral = true;
            self.out.push_back(Output::Persistent(false));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), 1_000)
    }

    /// Answers all that the node asks, as somebody who sees it there.
    fn answer(node: &mut Node, seen: SocketAddrV4, now: Duration) {
        while let Some(output) = node.poll() {
            let Output::Send {
                socket, to, bytes, ..
            } = output
            else {
                continue;
            };
            let Some(Message::Request(request)) = Message::decode(&bytes.into(), seen) else {
                panic!("nobody asks it anything");
            };
            let response = Response {
                tid: request.tid,
                to: seen,
                id: Some(node_id(to)),
                token: None,
                closer_nodes: (1..=20).map(at).collect(),
                error: 0,
                value: None,
            };
            assert!(node.receive(socket, to, &response.encode().into(), now));
        }
    }

    #[test]
    fn what_was_said_about_an_earlier_address_is_forgotten() {
        let options = NodeOptions {
            bootstrap: vec![at(1)],
            quick_firewall: false,
            ..NodeOptions::default()
        };
        let [first, second, third] = [101, 102, 103].map(at);
        let mut now = Duration::from_secs(1);
        let mut node = Node::new(options, 1_000, [7; 32], now);
        answer(&mut node, first, now);
        assert_eq!(node.address(), Some(first));
        assert_eq!(node.nodes().len(), 20);
        // Others tell at once.
        node.network_changed(now);
        assert_eq!(node.address(), None);
        answer(&mut node, second, now);
        assert_eq!(node.address(), Some(second));
        // So they do after a sleep.
        now += Duration::from_secs(3_600);
        node.resume(now);
        assert_eq!(node.address(), None);
        answer(&mut node, third, now);
        assert_eq!(node.address(), Some(third));
    }

    #[test]
    fn after_a_change_of_addresses_others_are_asked_whether_they_can_reach_us() {
        let options = NodeOptions {
            bootstrap: vec![at(1)],
            quick_firewall: false,
            ..NodeOptions::default()
        };
        let mut now = Duration::from_secs(1);
        let mut node = Node::new(options, 1_000, [7; 32], now);
        answer(&mut node, at(101), now);
        let mut asked = |node: &mut Node| {
            now += TICK;
            node.handle_timeout(now);
            let sent = std::iter::from_fn(|| node.poll()).filter(|output| {
                let Output::Send { bytes, .. } = output else {
                    return false;
                };
                matches!(Message::decode(&bytes.clone().into(), at(1)),
                    Some(Message::Request(request)) if request.internal && request.command == internal::PING_NAT)
            });
            (sent.count(), now)
        };
        assert_eq!(asked(&mut node).0, 0);
        let now = asked(&mut node).1;
        node.network_changed(now);
        answer(&mut node, at(102), now);
        assert!(asked(&mut node).0 > 0);
    }

    #[test]
    fn a_node_that_knows_its_address_keeps_it() {
        let options = NodeOptions {
            address: Some(at(9)),
            ..NodeOptions::default()
        };
        let now = Duration::from_secs(1);
        let mut node = Node::new(options, 1_000, [7; 32], now);
        node.network_changed(now);
        node.resume(now);
        assert_eq!(node.address(), Some(at(9)));
    }
}
