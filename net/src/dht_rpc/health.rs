//! Does the network answer? Looked at every five seconds, as npm dht-rpc 6.27 does in `lib/health.js`.

use super::requests::RequestStats;
use std::collections::VecDeque;

/// Looks that count.
const WINDOW: usize = 4;
/// Without an answer in so many the network is gone.
const GONE: u32 = 2;
/// Fewer requests than this in one look say nothing.
const IDLE: u64 = 4;

/// How the network answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Somebody answers.
    pub online: bool,
    /// Most requests are not answered.
    pub degraded: bool,
    /// It is too early to say.
    pub cold: bool,
    /// Too little was asked lately to say.
    pub idle: bool,
    /// Answers in the last five seconds.
    pub responses: u64,
    /// Requests that were given up in the last five seconds.
    pub timeouts: u64,
}

#[derive(Debug)]
struct Look {
    responses: u64,
    timeouts: u64,
    /// Whether most went wrong, where that could be said.
    degraded: Option<bool>,
}

#[derive(Debug)]
pub(crate) struct Watch {
    looks: VecDeque<Look>,
    gone: u32,
    online: bool,
    degraded: bool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self {
            looks: VecDeque::new(),
            gone: 0,
            online: true,
            degraded: false,
        }
    }

    fn last(&self) -> (u64, u64) {
        match self.looks.iter().rev().take(2).collect::<Vec<_>>()[..] {
            [new, old] => (new.responses - old.responses, new.timeouts - old.timeouts),
            _ => (0, 0),
        }
    }

    pub(crate) fn health(&self) -> Health {
        let (responses, timeouts) = self.last();
        Health {
            online: self.online,
            degraded: self.degraded,
            cold: self.looks.len() < WINDOW,
            idle: responses + timeouts < IDLE,
            responses,
            timeouts,
        }
    }

    /// Looks at the counters. True when something has changed.
    pub(crate) fn look(&mut self, stats: &RequestStats) -> bool {
        if self.looks.len() == WINDOW {
            self.looks.pop_front();
        }
        self.looks.push_back(Look {
            responses: stats.responses,
            timeouts: stats.timeouts,
            degraded: None,
        });
        let Health {
            cold,
            idle,
            responses,
            timeouts,
            ..
        } = self.health();
        if cold || idle {
            return false;
        }
        let before = (self.online, self.degraded);
        if responses == 0 {
            self.gone += 1;
        } else {
            self.gone = 0;
            let degraded = timeouts > responses;
            if let Some(newest) = self.looks.back_mut() {
                newest.degraded = Some(degraded);
            }
        }
        if responses > 0 {
            self.online = true;
        } else if self.gone >= GONE {
            self.online = false;
        }
        let all = |degraded| {
            self.looks
                .iter()
                .all(|look| look.degraded == Some(degraded))
        };
        if !self.online || all(false) {
            self.degraded = false;
        } else if all(true) {
            self.degraded = true;
        }
        before != (self.online, self.degraded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks once for each pair of answers and timeouts; what is said after each.
    fn said(pairs: &[(u64, u64)]) -> Vec<(bool, bool)> {
        let mut watch = Watch::new();
        let mut stats = RequestStats::default();
        let mut said = Vec::new();
        for (responses, timeouts) in pairs {
            stats.responses += responses;
            stats.timeouts += timeouts;
            let before = (watch.online, watch.degraded);
            let changed = watch.look(&stats);
            let after = (watch.online, watch.degraded);
            assert_eq!(changed, before != after);
            said.push(after);
        }
        said
    }

    #[test]
    fn a_network_that_answers_nothing_is_gone_and_comes_back() {
        let pairs = [(9, 0), (9, 0), (9, 0), (9, 0), (0, 9), (0, 9), (1, 3)];
        let online: Vec<bool> = said(&pairs).into_iter().map(|(online, _)| online).collect();
        assert_eq!(online, [true, true, true, true, true, false, true]);
        // Who asks nothing learns nothing.
        assert!(said(&[(0, 3); 20]).iter().all(|s| *s == (true, false)));
        // Nor who has not looked for long.
        assert_eq!(said(&[(0, 9); 3]), [(true, false); 3]);
    }

    #[test]
    fn a_network_that_answers_little_is_degraded() {
        let mut pairs = vec![(2, 5); 7];
        pairs.extend([(5, 5); 4]);
        let degraded: Vec<bool> = said(&pairs).into_iter().map(|(_, bad)| bad).collect();
        // The first three looks are too early to say; it takes four in a row, either way.
        let mut expected = vec![false; 6];
        expected.extend([true; 4]);
        expected.push(false);
        assert_eq!(degraded, expected);
    }
}
