//! When a topic is looked up or announced, and for whom: a state machine without a clock. Source: hyperswarm 4.17.2, `lib/peer-discovery.js`.

use super::peer::Key;
use rand::{Rng, RngExt};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// Between two rounds, and what chance adds to it at most.
const EVERY: Duration = Duration::from_secs(10 * 60);
const JITTER: Duration = Duration::from_secs(2 * 60);
/// After a round that reached nobody; twice as long after each further one.
const AGAIN: Duration = Duration::from_secs(5);
/// Peers of a round that are remembered for the limit of the next one.
const DISCOVERED_MAX: usize = 64;

/// What a session wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Roles {
    pub(super) client: bool,
    pub(super) server: bool,
}

/// One round: what is asked of the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Round {
    pub(super) number: u64,
    /// Peers that are found are dialled.
    pub(super) client: bool,
    /// We are announced.
    pub(super) server: bool,
    /// An announcement of before is taken back where it is met.
    pub(super) clear: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Run(Round),
    /// Take the announcement back.
    Withdraw,
    /// Until then, or a change.
    Wait(Option<Duration>),
    Over,
}

/// How a round ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// No node was there.
    Alone,
    Failed,
}

/// What a session that left asks of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    Nothing,
    /// It was the last one.
    Last,
    /// Nobody wants to be announced any more.
    Withdraw,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    sessions: HashMap<u64, Roles>,
    next_session: u64,
    /// Peers that are told of in a round at most.
    limit: Option<usize>,
    /// What is left of the limit in this round.
    remaining: Option<usize>,
    discovered: HashSet<Key>,
    /// What the rounds are for.
    roles: Roles,
    /// The last round that was asked for, and that ended.
    asked: u64,
    ended: u64,
    last_failed: bool,
    next_at: Option<Duration>,
    failures: u32,
    announced: bool,
    needs_withdrawal: bool,
    suspended: bool,
    over: bool,
}

impl Plan {
    pub(super) fn add(&mut self, roles: Roles, limit: Option<usize>) -> u64 {
        let session = self.next_session;
        self.next_session += 1;
        self.sessions.insert(session, roles);
        self.limit = limit;
        self.refresh();
        session
    }

    /// False when the session has left.
    pub(super) fn change(&mut self, session: u64, roles: Roles, limit: Option<usize>) -> bool {
        let Some(before) = self.sessions.get_mut(&session) else {
            return false;
        };
        *before = roles;
        self.limit = limit;
        self.refresh();
        true
    }

    pub(super) fn session(&self, session: u64) -> Option<Roles> {
        self.sessions.get(&session).copied()
    }

    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn remove(&mut self, session: u64) -> Left {
        if self.sessions.remove(&session).is_none() || self.over {
            return Left::Nothing;
        }
        if self.sessions.is_empty() {
            return Left::Last;
        }
        if self.roles.server && !self.wanted().server {
            self.refresh();
            return Left::Withdraw;
        }
        Left::Nothing
    }

    fn wanted(&self) -> Roles {
        Roles {
            client: self.sessions.values().any(|roles| roles.client),
            server: self.sessions.values().any(|roles| roles.server),
        }
    }

    pub(super) fn roles(&self) -> Roles {
        self.roles
    }

    /// Asks for a round: the one that runs will do if it is for the same. Its number.
    pub(super) fn refresh(&mut self) -> u64 {
        let wanted = self.wanted();
        if wanted != self.roles || self.asked == self.ended {
            self.roles = wanted;
            self.asked += 1;
        }
        self.asked
    }

    /// The round that is asked for, or the last one.
    pub(super) fn current(&self) -> u64 {
        self.asked
    }

    /// How a round ended, once it has; one that was given up for a later one is as good as that one.
    pub(super) fn result(&self, round: u64) -> Option<bool> {
        if self.ended >= round {
            Some(!self.last_failed)
        } else {
            (self.over || self.suspended).then_some(false)
        }
    }

    pub(super) fn suspend(&mut self) {
        self.suspended = true;
    }

    pub(super) fn resume(&mut self) {
        if self.suspended {
            self.suspended = false;
            self.failures = 0;
            self.refresh();
        }
    }

    pub(super) fn destroy(&mut self) {
        self.over = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Nothing is left of it at the nodes.
    pub(super) fn is_withdrawn(&self) -> bool {
        !self.needs_withdrawal
    }

    pub(super) fn step(&mut self, now: Duration) -> Step {
        if self.over || self.suspended {
            if self.needs_withdrawal {
                return Step::Withdraw;
            }
            return if self.over {
                Step::Over
            } else {
                Step::Wait(None)
            };
        }
        if self.next_at.is_some_and(|at| at <= now) {
            self.refresh();
        }
        if self.asked == self.ended {
            return Step::Wait(self.next_at);
        }
        self.next_at = None;
        Step::Run(Round {
            number: self.asked,
            client: self.roles.client,
            server: self.roles.server,
            clear: self.roles.server && !self.announced
                || self.needs_withdrawal && !self.roles.server,
        })
    }

    /// A round that runs is no longer the one that is wanted.
    pub(super) fn is_stale(&self, round: &Round) -> bool {
        self.over || self.suspended || round.number != self.asked
    }

    /// The round begins to tell nodes of us.
    pub(super) fn announcing(&mut self) {
        self.announced = true;
        self.needs_withdrawal = true;
    }

    /// The round begins to look: how many more peers it may bring is counted from here.
    pub(super) fn looking(&mut self, is_connected: impl Fn(&Key) -> bool) {
        self.remaining = self.limit.map(|limit| {
            let connected = self.discovered.iter().filter(|key| is_connected(key));
            limit.saturating_sub(connected.count())
        });
        self.discovered.clear();
    }

    /// May this peer that the round found be dialled?
    pub(super) fn takes(&mut self, key: &Key, is_connected: bool) -> bool {
        let Some(remaining) = &mut self.remaining else {
            return true;
        };
        // Several nodes tell of one peer.
        let known = self.discovered.contains(key);
        if known || is_connected {
            if self.discovered.len() < DISCOVERED_MAX {
                self.discovered.insert(*key);
            }
            return true;
        }
        if *remaining == 0 {
            return false;
        }
        *remaining -= 1;
        if self.discovered.len() < DISCOVERED_MAX {
            self.discovered.insert(*key);
        }
        true
    }

    pub(super) fn finish(
        &mut self,
        round: &Round,
        outcome: Outcome,
        now: Duration,
        rng: &mut impl Rng,
    ) {
        if self.is_stale(round) {
            return;
        }
        self.ended = round.number;
        self.last_failed = outcome == Outcome::Failed;
        if outcome == Outcome::Done {
            self.failures = 0;
            if !round.server {
                self.withdrawn();
            }
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        let every = match self.failures {
            0 => EVERY,
            failures => AGAIN
                .saturating_mul(1 << failures.min(10).saturating_sub(1))
                .min(EVERY),
        };
        let jitter = JITTER.mul_f64(rng.random::<f64>() * every.div_duration_f64(EVERY));
        self.next_at = Some(now + every + jitter);
    }

    /// The announcement was taken back, as far as nodes answered.
    pub(super) fn withdrawn(&mut self) {
        self.needs_withdrawal = false;
        self.announced = false;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics says where")]
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    const BOTH: Roles = Roles {
        client: true,
        server: true,
    };
    const CLIENT: Roles = Roles {
        client: true,
        server: false,
    };

    fn run(plan: &mut Plan, now: Duration) -> Round {
        match plan.step(now) {
            Step::Run(round) => round,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_topic_is_asked_for_every_ten_to_twelve_minutes() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut plan = Plan::default();
        let mut now = Duration::ZERO;
        assert_eq!(plan.step(now), Step::Wait(None));
        plan.add(BOTH, None);
        let mut clears = Vec::new();
        for _ in 0..20 {
            let round = run(&mut plan, now);
            clears.push(round.clear);
            plan.announcing();
            plan.finish(&round, Outcome::Done, now, &mut rng);
            assert_eq!(plan.result(round.number), Some(true));
            let Step::Wait(Some(at)) = plan.step(now) else {
                panic!("no wait");
            };
            assert!(at - now >= EVERY && at - now <= EVERY + JITTER);
            now = at;
        }
        // Only the first round looks for what an earlier process left behind.
        assert!(clears[0] && clears[1..].iter().all(|clear| !clear));
    }

    #[test]
    fn a_round_that_reached_nobody_is_tried_again_soon() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut plan = Plan::default();
        plan.add(CLIENT, None);
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for outcome in [
            Outcome::Alone,
            Outcome::Failed,
            Outcome::Alone,
            Outcome::Done,
        ] {
            let round = run(&mut plan, now);
            plan.finish(&round, outcome, now, &mut rng);
            let ok = outcome != Outcome::Failed;
            assert_eq!(plan.result(round.number), Some(ok));
            let Step::Wait(Some(at)) = plan.step(now) else {
                panic!("no wait");
            };
            waits.push((at - now).as_secs());
            now = at;
        }
        assert!(
            matches!(waits[..], [5..=6, 10..=12, 20..=24, 600..=720]),
            "{waits:?}"
        );
    }

    #[test]
    fn sessions_add_up_and_the_last_server_takes_the_announcement_back() {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Duration::ZERO;
        let mut plan = Plan::default();
        let client = plan.add(CLIENT, None);
        let round = run(&mut plan, now);
        assert_eq!((round.client, round.server), (true, false));
        // Another one that wants the same shares the round; one that wants more begins a new one.
        let second = plan.add(CLIENT, None);
        assert!(!plan.is_stale(&round));
        assert_eq!(plan.current(), round.number);
        let both = plan.add(BOTH, None);
        assert!(plan.is_stale(&round));
        plan.finish(&round, Outcome::Done, now, &mut rng);
        assert_eq!(plan.result(round.number), None);
        let round = run(&mut plan, now);
        assert!(round.server);
        plan.announcing();
        plan.finish(&round, Outcome::Done, now, &mut rng);
        assert_eq!(plan.result(1), Some(true));

        assert_eq!(plan.remove(second), Left::Nothing);
        assert_eq!(plan.remove(both), Left::Withdraw);
        let round = run(&mut plan, now);
        assert_eq!((round.server, round.clear), (false, true));
        assert!(!plan.is_withdrawn());
        plan.finish(&round, Outcome::Done, now, &mut rng);
        assert!(plan.is_withdrawn());
        assert_eq!(plan.remove(client), Left::Last);
        assert_eq!(plan.remove(client), Left::Nothing);
        plan.destroy();
        assert_eq!(plan.step(now), Step::Over);
    }

    #[test]
    fn what_was_announced_is_taken_back_before_the_end_and_before_a_pause() {
        let mut rng = StdRng::seed_from_u64(1);
        let now = Duration::ZERO;
        let mut plan = Plan::default();
        plan.add(BOTH, None);
        let round = run(&mut plan, now);
        plan.announcing();
        plan.finish(&round, Outcome::Done, now, &mut rng);
        plan.suspend();
        assert_eq!(plan.step(now), Step::Withdraw);
        plan.withdrawn();
        assert_eq!(plan.step(now), Step::Wait(None));
        plan.resume();
        let round = run(&mut plan, now);
        assert!(round.server && round.clear);
        plan.announcing();
        // It ends in the middle of a round.
        plan.destroy();
        assert!(plan.is_stale(&round));
        assert_eq!(plan.result(round.number), Some(false));
        assert_eq!(plan.step(now), Step::Withdraw);
        plan.withdrawn();
        assert_eq!(plan.step(now), Step::Over);
    }

    #[test]
    fn a_limit_counts_peers_once_and_those_that_are_connected() {
        let mut plan = Plan::default();
        plan.add(CLIENT, Some(2));
        let key = |n: u8| [n; 32];
        plan.looking(|_| false);
        assert!(plan.takes(&key(1), false));
        assert!(plan.takes(&key(1), false));
        assert!(plan.takes(&key(2), false));
        assert!(!plan.takes(&key(3), false));
        assert!(plan.takes(&key(4), true), "it is connected already");
        // The next round: one of them is connected.
        plan.looking(|k| *k == key(1));
        assert!(plan.takes(&key(5), false));
        assert!(!plan.takes(&key(6), false));
    }
}
