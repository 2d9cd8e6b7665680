//! When a peer that was lost, or not reached, is tried again. Source: hyperswarm 4.17.2, `lib/retry-timer.js` and `lib/bulk-timer.js`.

use super::peer::{Key, Peer};
use rand::{Rng, RngExt};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// Peers that wait, but for those that the application named; who comes beyond is not tried again until it is found again.
pub(super) const WAITING_MAX: usize = 1_024;

/// The four waits of a swarm that is told of no others: a second, five, fifteen, and ten minutes, each with some chance added.
fn backoffs(rng: &mut impl Rng) -> [Duration; 4] {
    [
        (1_000, 500),
        (5_000, 1_000),
        (15_000, 2_000),
        (600_000, 120_000),
    ]
    .map(|(least, chance)| Duration::from_millis(least + rng.random_range(0..=chance)))
}

#[derive(Debug)]
pub(super) struct Retries {
    backoffs: [Duration; 4],
    due: BTreeSet<(Duration, Key)>,
    by_key: HashMap<Key, Duration>,
}

impl Retries {
    pub(super) fn new(given: Option<[Duration; 4]>, jitter: Duration, rng: &mut impl Rng) -> Self {
        let given = given.unwrap_or_else(|| backoffs(rng));
        Self {
            backoffs: given.map(|backoff| backoff + jitter.mul_f64(rng.random())),
            due: BTreeSet::new(),
            by_key: HashMap::new(),
        }
    }

    /// Which of the waits; `None`: it is not tried again.
    fn class(peer: &Peer) -> Option<usize> {
        if peer.banned || !peer.reconnecting {
            return None;
        }
        match (peer.attempts, peer.proven) {
            (0, _) | (1, true) => Some(0),
            (1, false) | (2, true) => Some(1),
            (2 | 3, _) => Some(2),
            _ => peer.explicit.then_some(3),
        }
    }

    /// False when it is not tried again. Who waits already waits anew.
    pub(super) fn add(&mut self, key: Key, peer: &Peer, now: Duration, rng: &mut impl Rng) -> bool {
        let Some(class) = Self::class(peer) else {
            return false;
        };
        if self.due.len() >= WAITING_MAX && !peer.explicit {
            return false;
        }
        // Between two thirds and four thirds of the wait: npm looks at each of its lists that often, and takes those that were there at the last look.
        let wait = self.backoffs[class].mul_f64(0.66 * (1.0 + rng.random::<f64>()));
        if let Some(before) = self.by_key.insert(key, now + wait) {
            self.due.remove(&(before, key));
        }
        self.due.insert((now + wait, key));
        true
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self, now: Duration) -> Option<Key> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
        self.by_key.clear();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics says where")]
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    #[test]
    fn waits_grow_and_end() {
        let mut rng = StdRng::seed_from_u64(1);
        // attempts, proven, explicit, seconds
        let cases = [
            (0, false, false, Some(1.0)),
            (1, true, false, Some(1.0)),
            (2, true, false, Some(5.0)),
            (3, true, false, Some(15.0)),
            (4, true, false, None),
            (1, false, false, Some(5.0)),
            (2, false, false, Some(15.0)),
            (3, false, false, Some(15.0)),
            (4, false, false, None),
            (4, false, true, Some(600.0)),
        ];
        for (attempts, proven, explicit, seconds) in cases {
            for _ in 0..50 {
                let mut retries = Retries::new(None, Duration::from_millis(500), &mut rng);
                let mut peer = Peer::new();
                peer.attempts = attempts;
                peer.proven = proven;
                peer.explicit = explicit;
                let now = Duration::from_secs(7);
                let taken = retries.add([1; 32], &peer, now, &mut rng);
                assert_eq!(taken, seconds.is_some());
                let Some(seconds) = seconds else {
                    continue;
                };
                let wait = (retries.next().unwrap() - now).as_secs_f64();
                let most = (seconds * 1.2 + 1.0) * 1.32;
                assert!(wait >= seconds * 0.66 && wait <= most, "{seconds}: {wait}");
                assert_eq!(retries.pop(now), None);
                let due = retries.next().unwrap();
                assert_eq!(retries.pop(due), Some([1; 32]));
            }
        }
    }

    #[test]
    fn no_more_wait_than_there_is_room_for() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut retries = Retries::new(None, Duration::ZERO, &mut rng);
        let mut peer = Peer::new();
        peer.attempts = 1;
        let key = |n: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            key
        };
        for n in 0..WAITING_MAX {
            assert!(retries.add(key(n), &peer, Duration::ZERO, &mut rng));
        }
        assert!(!retries.add(key(WAITING_MAX), &peer, Duration::ZERO, &mut rng));
        peer.explicit = true;
        assert!(retries.add(key(WAITING_MAX), &peer, Duration::ZERO, &mut rng));
        peer.banned = true;
        assert!(!retries.add(key(WAITING_MAX + 1), &peer, Duration::ZERO, &mut rng));
    }
}
