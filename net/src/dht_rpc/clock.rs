//! The time of a node on real sockets: it goes on while the machine sleeps, so that the node notices when it wakes.

use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use tokio::time::Instant;

/// Since the machine was started, its sleep included. The system's usual clock for durations stands still meanwhile.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u32::try_from(now.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Counts from when it was made.
pub(super) struct Clock {
    epoch: Duration,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            epoch: since_boot(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        since_boot().saturating_sub(self.epoch)
    }

    /// When that is, as timers count. They stand still while the machine sleeps, and so fire later by as much.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        Instant::now() + at.saturating_sub(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_and_the_clock_agree() {
        let clock = Clock::new();
        let (before, began) = (clock.now(), Instant::now());
        let at = before + Duration::from_secs(100);
        let timer = clock.instant(at).duration_since(began);
        // As much as passed between the two looks at the most.
        assert!(timer <= Duration::from_secs(100) + began.elapsed());
        assert!(timer + clock.now() >= at);
        // What is due is due now.
        assert!(clock.instant(Duration::ZERO) <= Instant::now());
    }
}
