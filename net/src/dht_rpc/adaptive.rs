//! How long a try waits for its answer, learnt from each node's answers before (npm adaptive-timeout 1.1, as dht-rpc 6.27 uses it).

use crate::cache::{Cache, Limits};
use rand::{RngExt, rngs::StdRng};
use std::{net::SocketAddrV4, time::Duration};

/// What a node is that was never heard: so long for the first try, the second, and so on.
const UNKNOWN_MS: [u64; 5] = [250, 500, 1_000, 2_000, 4_000];
/// An answer counts when it may be one to the first or the second try.
const TRIES: u32 = 2;

/// Tries wait as long as a node's answers take, instead of one second (npm `adaptiveTimeout`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveTimeout {
    /// Nodes that are remembered, in each of two generations (default 65,536).
    pub nodes: usize,
    /// How long they are (default 10 minutes, give or take a third).
    pub age: Duration,
    /// A try to a known node waits at least so long (default 300 ms).
    pub min: Duration,
    /// And at most so long (default 4 s).
    pub max: Duration,
    /// Each try waits longer by a random part of this (default 256 ms).
    pub jitter: Duration,
}

impl Default for AdaptiveTimeout {
    fn default() -> Self {
        Self {
            nodes: 65_536,
            age: Duration::from_secs(600),
            min: Duration::from_millis(300),
            max: Duration::from_secs(4),
            jitter: Duration::from_millis(256),
        }
    }
}

/// A node's answers, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Seen {
    average: i64,
    deviation: i64,
}

#[derive(Debug)]
pub(crate) struct Timeouts {
    options: AdaptiveTimeout,
    seen: Cache<Seen, SocketAddrV4>,
    rng: StdRng,
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Timeouts {
    pub(crate) fn new(options: AdaptiveTimeout, rng: StdRng, now: Duration) -> Self {
        let limits = Limits {
            count: options.nodes,
            bytes: usize::MAX,
            age: options.age,
        };
        Self {
            options,
            seen: Cache::new(limits, now),
            rng,
        }
    }

    /// A node answered after so long, when it had been asked so often.
    pub(crate) fn answered(
        &mut self,
        from: SocketAddrV4,
        took: Duration,
        sent: u32,
        now: Duration,
    ) {
        if sent > TRIES {
            return;
        }
        let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let next = match self.seen.get(&from, now) {
            None => Seen {
                average: took,
                deviation: took >> 1,
            },
            Some(seen) => Seen {
                average: seen.average + ((took - seen.average) >> 3),
                deviation: seen.deviation + (((seen.average - took).abs() - seen.deviation) >> 2),
            },
        };
        self.seen.set(from, next, 0, now);
    }

    /// How long the `sent`-th try to this node waits.
    pub(crate) fn wait(&mut self, to: SocketAddrV4, sent: u32, now: Duration) -> Duration {
        let options = self.options;
        let jitter = match ms(options.jitter) {
            0 => 0,
            most => self.rng.random_range(0..most),
        };
        let wait = match self.seen.get(&to, now) {
            Some(seen) => {
                let base = u64::try_from(seen.average + 2 * seen.deviation).unwrap_or(0);
                let wait = base.saturating_mul(u64::from(sent)).saturating_add(jitter);
                wait.max(ms(options.min)).min(ms(options.max))
            }
            None => {
                let at = sent.saturating_sub(1) as usize;
                UNKNOWN_MS[at.min(UNKNOWN_MS.len() - 1)] + jitter
            }
        };
        Duration::from_millis(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn a_try_waits_as_long_as_the_answers_took() {
        let now = Duration::from_secs(1);
        let options = AdaptiveTimeout {
            jitter: Duration::ZERO,
            ..AdaptiveTimeout::default()
        };
        let mut timeouts = Timeouts::new(options, StdRng::seed_from_u64(1), now);
        let [a, b]: [SocketAddrV4; 2] =
            ["1.1.1.1:1", "2.2.2.2:2"].map(|at| at.parse().expect("an address"));
        let millis = Duration::from_millis;
        let unknown: Vec<_> = (1..=6).map(|sent| timeouts.wait(a, sent, now)).collect();
        assert_eq!(unknown, [250, 500, 1_000, 2_000, 4_000, 4_000].map(millis));
        // The first answer: 400 + 2 × 200; then 400 + 100/8 and 200 - 100/4.
        timeouts.answered(a, millis(400), 1, now);
        assert_eq!(timeouts.wait(a, 1, now), millis(800));
        timeouts.answered(a, millis(500), 2, now);
        assert_eq!(timeouts.wait(a, 1, now), millis(412 + 2 * 175));
        assert_eq!(timeouts.wait(a, 2, now), millis(2 * (412 + 2 * 175)));
        assert_eq!(timeouts.wait(a, 9, now), millis(4_000));
        // One that came after more tries says nothing, and a fast node is waited for all the same.
        timeouts.answered(a, millis(4_000), 3, now);
        assert_eq!(timeouts.wait(a, 1, now), millis(412 + 2 * 175));
        timeouts.answered(b, millis(2), 1, now);
        assert_eq!(timeouts.wait(b, 1, now), millis(300));
        // After a long time everybody is unknown again.
        let later = now + Duration::from_secs(3_000);
        assert_eq!(timeouts.wait(b, 1, later), millis(250));
    }
}
