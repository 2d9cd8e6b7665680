//! Congestion control: BBR (version 1, draft-cardwell-iccrg-bbr-congestion-control-00), which measures the path's bandwidth and round trip instead of
//! taking a lost packet for a full queue. libudx uses the same.

use std::{collections::VecDeque, time::Duration};

/// Gain that doubles the rate each round: 2 / ln 2.
const HIGH_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const CWND_GAIN: f64 = 2.0;
/// Bandwidth is the best of so many round trips.
const BANDWIDTH_ROUNDS: u64 = 10;
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
const PROBE_RTT: Duration = Duration::from_millis(200);
/// In a round that lost so many packets, and such a part of the bytes, the path was full.
const LOST_PACKETS: u64 = 8;
const LOST_PART: f64 = 0.05;
const MIN_PACKETS: u64 = 4;
const INITIAL_PACKETS: u64 = 32;
/// What may be sent at once, as time at the pacing rate: timers are not finer.
const BURST: Duration = Duration::from_millis(2);
const BURST_PACKETS: u64 = 16;
/// The same for a timer that came late, on a machine that has other things to do.
const LATE_BURST: Duration = Duration::from_millis(10);
/// Acknowledgements that come in bunches are looked at over so many rounds, twice; and count for no more than such a time at the path's rate.
const BUNCH_ROUNDS: u64 = 5;
const BUNCH_MAX: Duration = Duration::from_millis(100);

/// What the congestion control (BBR) is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Each round trip sends twice as much, until no more gets through.
    #[default]
    Startup,
    /// The queue that this has made on the path becomes empty.
    Drain,
    /// The path is used, with a little more or less in turns.
    ProbeBandwidth,
    /// Nearly nothing is sent for a moment, which shows how long the path is without a queue.
    ProbeRtt,
}

/// What one incoming acknowledgement told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) now: Duration,
    /// Bytes that it newly acknowledged.
    pub(crate) acked: u64,
    /// Packets found lost with it.
    pub(crate) lost: usize,
    /// Bytes on the way before and after.
    pub(crate) inflight_before: u64,
    pub(crate) inflight: u64,
    pub(crate) rtt: Option<Duration>,
    /// All bytes ever delivered, and how many were when the newest acknowledged packet was sent.
    pub(crate) delivered: u64,
    pub(crate) delivered_at_send: u64,
    /// Bytes a second, if it could be measured; true: there was not enough to send.
    pub(crate) rate: Option<(f64, bool)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Bbr {
    phase: Phase,
    packet: u64,
    cwnd: u64,
    prior_cwnd: u64,
    pacing_gain: f64,
    cwnd_gain: f64,
    /// (round, bytes a second), falling.
    bandwidths: VecDeque<(u64, f64)>,
    round: u64,
    next_round: u64,
    full_bandwidth: f64,
    full_rounds: u8,
    filled: bool,
    round_lost: u64,
    round_acked: u64,
    min_rtt: Option<Duration>,
    min_rtt_at: Duration,
    probe_rtt_until: Option<Duration>,
    probe_rtt_round: u64,
    cycle: usize,
    cycle_at: Duration,
    /// Bytes that may be sent now, and when that was counted.
    budget: f64,
    budget_at: Duration,
    /// The budget was used up, and there was more to send.
    held: bool,
    bunches: Bunches,
}

/// How many bytes more than the path's rate allows are acknowledged at once: a receiver, or a machine on the way, that gathers packets before it goes on.
/// The window must have room for them, or the path is idle meanwhile.
#[derive(Debug, Clone, Default)]
struct Bunches {
    began: Duration,
    acked: u64,
    /// The most in the rounds of now, and in those before.
    most: [f64; 2],
    turn_round: u64,
}

impl Bunches {
    fn acked(&mut self, bytes: u64, window: u64, rate: f64, round: u64, now: Duration) {
        if round >= self.turn_round + BUNCH_ROUNDS {
            self.turn_round = round;
            self.most = [0.0, self.most[0]];
        }
        let mut expected = rate * now.saturating_sub(self.began).as_secs_f64();
        if self.acked as f64 <= expected {
            self.began = now;
            self.acked = 0;
            expected = 0.0;
        }
        self.acked += bytes;
        let extra = (self.acked as f64 - expected).min(window as f64);
        self.most[0] = self.most[0].max(extra);
    }

    fn room(&self, rate: f64) -> f64 {
        let most = self.most[0].max(self.most[1]);
        most.min(rate * BUNCH_MAX.as_secs_f64())
    }
}

impl Bbr {
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn new(packet: usize) -> Self {
        let packet = packet as u64;
        Self {
            phase: Phase::Startup,
            packet,
            cwnd: INITIAL_PACKETS * packet,
            prior_cwnd: 0,
            pacing_gain: HIGH_GAIN,
            cwnd_gain: HIGH_GAIN,
            bandwidths: VecDeque::new(),
            round: 0,
            next_round: 0,
            full_bandwidth: 0.0,
            full_rounds: 0,
            filled: false,
            round_lost: 0,
            round_acked: 0,
            min_rtt: None,
            min_rtt_at: Duration::ZERO,
            probe_rtt_until: None,
            probe_rtt_round: 0,
            cycle: 2,
            cycle_at: Duration::ZERO,
            budget: (INITIAL_PACKETS * packet) as f64,
            budget_at: Duration::ZERO,
            held: false,
            bunches: Bunches::default(),
        }
    }

    pub(crate) fn set_packet(&mut self, packet: usize) {
        self.packet = packet as u64;
    }

    /// How many bytes may be on the way.
    pub(crate) fn window(&self) -> u64 {
        match self.phase {
            Phase::ProbeRtt => self.cwnd.min(MIN_PACKETS * self.packet),
            _ => self.cwnd,
        }
    }

    /// Little is sent for now, to see how short a round trip is: rates say nothing about the path.
    pub(crate) fn probes_rtt(&self) -> bool {
        self.phase == Phase::ProbeRtt
    }

    /// Bytes a second.
    pub(crate) fn bandwidth(&self) -> f64 {
        self.bandwidths.front().map_or(0.0, |(_, rate)| *rate)
    }

    /// Bytes a second to send at; `None`: nothing was measured yet.
    fn pace(&self) -> Option<f64> {
        let rate = match (self.bandwidth(), self.min_rtt) {
            (rate, _) if rate > 0.0 => rate,
            (_, Some(rtt)) => self.cwnd as f64 / rtt.as_secs_f64().max(1e-6),
            _ => return None,
        };
        Some(self.pacing_gain * rate)
    }

    /// When a packet may be sent; `None`: now.
    pub(crate) fn wait(&mut self, now: Duration) -> Option<Duration> {
        let pace = self.pace()?;
        let burst = if self.held { LATE_BURST } else { BURST };
        let most = (pace * burst.as_secs_f64()).max((BURST_PACKETS * self.packet) as f64);
        let passed = now.saturating_sub(self.budget_at).as_secs_f64();
        self.budget = (self.budget + pace * passed).min(most);
        self.budget_at = now;
        self.held = self.budget <= 0.0;
        if !self.held {
            return None;
        }
        Some(now + Duration::from_secs_f64(((1.0 - self.budget) / pace).clamp(1e-6, 1.0)))
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.budget -= bytes as f64;
    }

    /// The bytes that fill the path, times `gain`.
    fn target(&self, gain: f64) -> Option<u64> {
        let bandwidth = self.bandwidth();
        let rtt = self.min_rtt.filter(|_| bandwidth > 0.0)?;
        let burst = (bandwidth * BURST.as_secs_f64()).max(3.0 * self.packet as f64);
        Some((gain * bandwidth * rtt.as_secs_f64() + burst) as u64)
    }

    pub(crate) fn acked(&mut self, sample: &Sample) {
        let round_began = sample.delivered_at_send >= self.next_round;
        if round_began {
            self.next_round = sample.delivered;
            self.round += 1;
        }
        self.measure(sample);
        self.cycle(sample);
        self.check_filled(sample, round_began);
        let (rate, window) = (self.bandwidth(), self.cwnd);
        self.bunches
            .acked(sample.acked, window, rate, self.round, sample.now);
        let full = self.target(1.0);
        if self.phase == Phase::Startup && self.filled {
            self.phase = Phase::Drain;
            self.pacing_gain = 1.0 / HIGH_GAIN;
        }
        if self.phase == Phase::Drain && full.is_none_or(|full| sample.inflight <= full) {
            self.probe_bandwidth(sample.now);
        }
        self.check_rtt(sample);
        self.grow(sample);
    }

    fn measure(&mut self, sample: &Sample) {
        let Some((rate, limited)) = sample.rate else {
            return;
        };
        if limited && rate < self.bandwidth() {
            return;
        }
        while self
            .bandwidths
            .back()
            .is_some_and(|(_, known)| *known <= rate)
        {
            self.bandwidths.pop_back();
        }
        self.bandwidths.push_back((self.round, rate));
        while self
            .bandwidths
            .front()
            .is_some_and(|(round, _)| round + BANDWIDTH_ROUNDS < self.round)
        {
            self.bandwidths.pop_front();
        }
    }

    fn probe_bandwidth(&mut self, now: Duration) {
        self.phase = Phase::ProbeBandwidth;
        self.cwnd_gain = CWND_GAIN;
        self.cycle = 2;
        self.cycle_at = now;
        self.pacing_gain = CYCLE[self.cycle];
    }

    fn cycle(&mut self, sample: &Sample) {
        if self.phase != Phase::ProbeBandwidth {
            return;
        }
        let passed =
            sample.now.saturating_sub(self.cycle_at) > self.min_rtt.unwrap_or(Duration::ZERO);
        let reached = |gain| {
            self.target(gain)
                .is_some_and(|t| sample.inflight_before >= t)
        };
        let next = match self.pacing_gain {
            gain if gain > 1.0 => passed && (sample.lost > 0 || reached(gain)),
            gain if gain < 1.0 => passed || !reached(1.0),
            _ => passed,
        };
        if next {
            self.cycle = (self.cycle + 1) % CYCLE.len();
            self.cycle_at = sample.now;
            self.pacing_gain = CYCLE[self.cycle];
        }
    }

    fn check_filled(&mut self, sample: &Sample, round_began: bool) {
        // A queue that overflows is full, whatever the bandwidth still seems to do.
        self.round_lost += sample.lost as u64;
        self.round_acked += sample.acked;
        let of = self.round_acked.max(sample.inflight_before / 2);
        let much = self.round_lost >= LOST_PACKETS
            && (self.round_lost * self.packet) as f64 > LOST_PART * of as f64;
        self.filled |= much && self.bandwidth() > 0.0;
        if round_began {
            self.round_lost = 0;
            self.round_acked = 0;
        }
        let limited = sample.rate.is_none_or(|(_, limited)| limited);
        if self.filled || !round_began || limited {
            return;
        }
        if self.bandwidth() >= self.full_bandwidth * 1.25 {
            self.full_bandwidth = self.bandwidth();
            self.full_rounds = 0;
            return;
        }
        self.full_rounds += 1;
        self.filled = self.full_rounds >= 3;
    }

    fn check_rtt(&mut self, sample: &Sample) {
        let old = sample.now > self.min_rtt_at + MIN_RTT_WINDOW;
        if let Some(rtt) = sample.rtt
            && (old || self.min_rtt.is_none_or(|min| rtt <= min))
        {
            self.min_rtt = Some(rtt);
            self.min_rtt_at = sample.now;
        }
        if old && self.phase != Phase::ProbeRtt && self.min_rtt.is_some() {
            self.phase = Phase::ProbeRtt;
            self.prior_cwnd = self.cwnd;
            self.pacing_gain = 1.0;
            self.probe_rtt_until = None;
        }
        if self.phase != Phase::ProbeRtt {
            return;
        }
        match self.probe_rtt_until {
            None if sample.inflight <= MIN_PACKETS * self.packet => {
                self.probe_rtt_until = Some(sample.now + PROBE_RTT);
                self.probe_rtt_round = self.round + 1;
            }
            Some(until) if sample.now >= until && self.round >= self.probe_rtt_round => {
                self.min_rtt_at = sample.now;
                self.cwnd = self.cwnd.max(self.prior_cwnd);
                if self.filled {
                    self.probe_bandwidth(sample.now);
                } else {
                    self.phase = Phase::Startup;
                    self.pacing_gain = HIGH_GAIN;
                    self.cwnd_gain = HIGH_GAIN;
                }
            }
            _ => {}
        }
    }

    fn grow(&mut self, sample: &Sample) {
        let grown = self.cwnd + sample.acked;
        match self.target(self.cwnd_gain) {
            Some(target) if self.filled => {
                let room = self.bunches.room(self.bandwidth());
                self.cwnd = grown.min(target + room as u64);
            }
            Some(target) if self.cwnd >= target && sample.delivered >= self.cwnd => {}
            _ => self.cwnd = grown,
        }
        self.cwnd = self.cwnd.max(MIN_PACKETS * self.packet);
    }

    /// Nothing was acknowledged for a whole timeout: begin small.
    pub(crate) fn timed_out(&mut self) {
        self.prior_cwnd = self.prior_cwnd.max(self.cwnd);
        self.cwnd = MIN_PACKETS * self.packet;
    }

    /// The path is another one: what was measured does not hold.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.packet as usize);
    }
}
