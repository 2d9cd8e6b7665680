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
}

impl Rtt {
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let Some(smoothed) = self.smoothed else {
            let rtt = rtt.min(RTO_MAX);
            self.smoothed = Some(rtt);
            self.variation = rtt / 2;
            self.min = Some(rtt);
            return;
        };
        let far = smoothed + 5 * self.variation;
        let rtt = if rtt > far && rtt > OUTLIER {
            far.min(RTO_MAX)
        } else {
            rtt
        };
        self.variation = (3 * self.variation + smoothed.abs_diff(rtt)) / 4;
        self.smoothed = Some((7 * smoothed + rtt) / 8);
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    pub(crate) fn min(&self) -> Option<Duration> {
        self.min
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
        assert_eq!(rtt.timeout(), RTO_MIN);
        for _ in 0..20 {
            rtt.sample(Duration::from_millis(100));
        }
        rtt.sample(Duration::from_secs(3_600));
        assert!(
            rtt.timeout() < Duration::from_secs(2),
            "{:?}",
            rtt.timeout()
        );
        assert_eq!(rtt.min(), Some(Duration::from_millis(100)));
    }
}
