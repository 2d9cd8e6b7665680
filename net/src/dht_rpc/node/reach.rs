//! Who we are outside: the first look around, and whether others can reach us.

use super::*;
#[derive(Debug, Clone, Copy)]
pub(super) struct Bootstrap {
    pub(super) query: u64,
    pub(super) round: u8,
    pub(super) quick: bool,
    pub(super) test_nat: bool,
}

/// Looks whether the server socket can be reached from outside.
pub(super) struct NatCheck {
    pub(super) sampler: NatSampler,
    pub(super) waiting: usize,
    pub(super) asked: usize,
    pub(super) replied: usize,
    pub(super) only_firewall: bool,
}

impl Node {
    pub(super) fn begin_bootstrap(&mut self, round: u8, now: Duration) {
        let forced = self.options.ephemeral == Some(false);
        let previous = self.bootstrap;
        let query = self.background_query(self.table.id, now);
        self.bootstrap = Some(Bootstrap {
            query,
            round,
            quick: round == 0 && self.firewalled && self.options.quick_firewall && !forced,
            test_nat: previous.is_some_and(|b| b.test_nat),
        });
        // With nobody to ask the query has ended before it was known.
        if !self.queries.contains_key(&query) {
            self.bootstrap_query_done(now);
        }
    }

    pub(super) fn bootstrap_query_done(&mut self, now: Duration) {
        let Some(bootstrap) = self.bootstrap else {
            return;
        };
        let forced = self.options.ephemeral == Some(false);
        let again = !self.ready && (bootstrap.test_nat || forced) && bootstrap.round < 2;
        if !again || !self.check_nat(!forced, now) {
            self.now_ready();
        }
    }

    pub(super) fn now_ready(&mut self) {
        self.bootstrap = None;
        if !self.ready {
            self.ready = true;
            self.out.push_back(Output::Ready);
        }
    }

    /// Begins to look whether the server socket is reachable. False when there is nothing to look at.
    pub(super) fn check_nat(&mut self, only_firewall: bool, now: Duration) -> bool {
        if !self.ephemeral || only_firewall && !self.firewalled || self.nat_check.is_some() {
            return false;
        }
        if !only_firewall {
            self.stable_ticks = MORE_STABLE_TICKS;
            self.last_host = self.nat.host();
        }
        if self.nat.host().is_none() || self.nat.port() == 0 {
            return false;
        }
        if !self.firewalled {
            let sampler = self.nat.clone();
            return self.reachable(sampler, only_firewall, now);
        }
        let mut nodes: Vec<SocketAddrV4> = self.latest().into_iter().take(5).collect();
        if nodes.len() < 5 {
            nodes.extend(&self.options.bootstrap);
        }
        if nodes.is_empty() {
            return false;
        }
        self.server_hosts.clear();
        self.nat_check = Some(NatCheck {
            sampler: NatSampler::default(),
            waiting: nodes.len(),
            asked: nodes.len(),
            replied: 0,
            only_firewall,
        });
        let port = Bytes::copy_from_slice(&self.server_port.to_le_bytes());
        for node in nodes {
            self.ask_internal(
                Purpose::Nat,
                node,
                internal::PING_NAT,
                Some(port.clone()),
                now,
            );
        }
        true
    }

    pub(super) fn nat_answer(&mut self, reply: Option<&Reply>, now: Duration) {
        let Some(check) = &mut self.nat_check else {
            return;
        };
        check.waiting -= 1;
        if let Some(reply) = reply
            && self.server_hosts.contains(reply.from.ip())
        {
            check.replied += 1;
            check
                .sampler
                .add(*reply.response.to.ip(), reply.response.to.port());
        }
        if check.waiting > 0 {
            return;
        }
        let Some(check) = self.nat_check.take() else {
            return;
        };
        let enough = check.replied >= if check.asked >= 5 { 3 } else { 1 };
        let (host, port) = (check.sampler.host(), check.sampler.port());
        let open = enough && host.is_some() && host == self.nat.host() && port == self.server_port;
        let changed = open && self.reachable(check.sampler, check.only_firewall, now);
        if !changed {
            self.nat_checked(now, false);
        }
    }

    /// The server socket is open. True: the look is over, and something became of it.
    pub(super) fn reachable(
        &mut self,
        sampler: NatSampler,
        only_firewall: bool,
        now: Duration,
    ) -> bool {
        let (Some(host), port) = (sampler.host(), sampler.port()) else {
            return false;
        };
        let was_firewalled = std::mem::replace(&mut self.firewalled, false);
        if port == 0 || !was_firewalled && self.nat.port() != port {
            return false;
        }
        self.unproven_samples.clear();
        self.set_nat(sampler);
        let id = node_id(SocketAddrV4::new(host, port));
        if self.table.id != id {
            let known: Vec<Entry> = self.table.iter().cloned().collect();
            self.table = Table::new(id);
            for entry in known {
                self.table.add(entry);
            }
        }
        if !only_firewall {
            self.ephemeral = false;
            self.out.push_back(Output::Persistent(true));
        }
        self.nat_checked(now, true);
        true
    }

    pub(super) fn nat_checked(&mut self, now: Duration, changed: bool) {
        match self.bootstrap {
            Some(bootstrap) if changed && bootstrap.round < 1 => {
                self.begin_bootstrap(bootstrap.round + 1, now)
            }
            Some(_) => self.now_ready(),
            None if changed => self.refresh(now),
            None => {}
        }
    }

    pub(super) fn set_nat(&mut self, sampler: NatSampler) {
        let before = (self.nat.host(), self.nat.port());
        self.nat = sampler;
        self.tell_nat(before);
    }

    pub(super) fn nat_sample(&mut self, to: SocketAddrV4) {
        let before = (self.nat.host(), self.nat.port());
        self.nat.add(*to.ip(), to.port());
        self.tell_nat(before);
    }

    pub(super) fn tell_nat(&mut self, before: (Option<Ipv4Addr>, u16)) {
        let now = (self.nat.host(), self.nat.port());
        if now != before {
            self.out.push_back(Output::NatUpdate(now.0, now.1));
        }
    }
}
