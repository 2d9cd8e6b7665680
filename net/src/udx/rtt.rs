//! Round-trip time and the time after which a packet is given up for lost: RFC 6298, with libudx's bounds.

use std::time::Duration;

/// The shortest wait for an acknowledgement, and the wait before the first is known.
const RTO_MIN: Duration = Duration::from_secs(1);
const RTO_MAX: Duration = Duration::from_secs(30);
/// Beyond this a sample is taken for a machine that was asleep.
const OUTLIER: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    min: Option<Duration>,
    /// When the last such sample came.
    asleep_at: Duration,
}

impl Rtt {
    /// Takes a sample. False when it says nothing about the path: the machine was asleep. (A path that has become so long is believed bit by bit, since every
    /// flight on it tells the same; all packets of the flight that the sleep held up tell of the sleep once.)
    pub(crate) fn sample(&mut self, rtt: Duration, now: Duration) -> bool {
        let Some(smoothed) = self.smoothed else {
            let rtt = rtt.min(RTO_MAX);
            self.smoothed = Some(rtt);
            self.variation = rtt / 2;
            self.min = Some(rtt);
            return true;
        };
        let far = smoothed + 5 * self.variation;
        let asleep = rtt > far && rtt > OUTLIER;
        if asleep && now.saturating_sub(rtt) < self.asleep_at {
            return false;
        }
        let rtt = if asleep { far.min(RTO_MAX) } else { rtt };
        if asleep {
            self.asleep_at = now;
        }
        self.variation = (3 * self.variation + smoothed.abs_diff(rtt)) / 4;
        self.smoothed = Some((7 * smoothed + rtt) / 8);
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        !asleep
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    pub(crate) fn min(&self) -> Option<Duration> {
        self.min
    }

    /// What takes longer was held up by a machine that was asleep, and tells nothing about the path.
    pub(crate) fn longest_flight(&self) -> Duration {
        OUTLIER.max(8 * self.smoothed.unwrap_or(RTO_MAX))
    }

    /// How long to wait for an acknowledgement.
    pub(crate) fn timeout(&self) -> Duration {
        match self.smoothed {
            Some(smoothed) => (smoothed + 4 * self.variation).clamp(RTO_MIN, RTO_MAX),
            None => RTO_MIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_not_taken_for_distance() {
        let mut rtt = Rtt::default();
        let mut now = Duration::from_secs(1);
        assert_eq!(rtt.timeout(), RTO_MIN);
        for _ in 0..20 {
            now += Duration::from_millis(100);
            assert!(rtt.sample(Duration::from_millis(100), now));
        }
        // A whole flight that waited for an hour.
        let hour = Duration::from_secs(3_600);
        for packet in 0..100 {
            now += Duration::from_micros(packet);
            assert!(!rtt.sample(hour, now + hour));
        }
        assert!(
            rtt.timeout() < Duration::from_secs(2),
            "{:?}",
            rtt.timeout()
        );
        assert_eq!(rtt.min(), Some(Duration::from_millis(100)));
    }

    #[test]
    fn a_path_that_has_become_long_is_believed_in_the_end() {
        let mut rtt = Rtt::default();
        let mut now = Duration::from_secs(1);
        rtt.sample(Duration::from_millis(100), now);
        let long = Duration::from_secs(8);
        for _ in 0..20 {
            now += long;
            rtt.sample(long, now);
        }
        assert!(rtt.smoothed() > Some(long / 2), "{:?}", rtt.smoothed());
    }
}
