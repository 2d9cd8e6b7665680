//! What a stream has to send, what is on its way, and what of it was lost: RACK (RFC 8985).

use super::{
    packet::{HEADER_BYTES, Kind},
    rtt::Rtt,
    seq::Seq,
};
use bytes::{Bytes, BytesMut};
use std::{collections::VecDeque, time::Duration};

/// After so many timeouts of one packet the other side is taken for gone.
const TIMEOUTS_MAX: u8 = 6;
/// A packet that was lost so often, or timed out so often, may be too long for the path.
const STUCK_TRANSMITS: u32 = 4;
const STUCK_TIMEOUTS: u8 = 2;

/// A packet on its way.
#[derive(Debug)]
struct Packet {
    payload: Bytes,
    kind: Kind,
    /// Zeros in front of the payload: a probe for a larger MTU.
    padding: u8,
    sent_at: Duration,
    transmits: u32,
    timeouts: u8,
    lost: bool,
    /// The state of the delivery when it was sent.
    delivered: u64,
    delivered_at: Duration,
    first_sent_at: Duration,
    limited: bool,
}

impl Packet {
    fn bytes(&self) -> u64 {
        (HEADER_BYTES + self.payload.len()) as u64
    }
}

/// A packet to be written to the wire.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) seq: Seq,
    pub(crate) kind: Kind,
    pub(crate) padding: u8,
    pub(crate) payload: Bytes,
}

/// What acknowledgements told; [`Outgoing::acked`] and [`Outgoing::sacked`] add to it.
#[derive(Debug, Default)]
pub(crate) struct Acked {
    pub(crate) packets: u32,
    pub(crate) bytes: u64,
    /// Of the newest packet that was sent only once.
    pub(crate) rtt: Option<Duration>,
    pub(crate) probe: bool,
    /// The shortest round trip known: what answers faster answers an earlier sending.
    pub(crate) min_rtt: Duration,
    pub(super) newest: Option<Newest>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    sent_at: Duration,
    delivered: u64,
    delivered_at: Duration,
    first_sent_at: Duration,
    limited: bool,
}

/// The newest packet that is known to have arrived: what was sent before it and has not, is late.
#[derive(Debug, Default)]
struct Rack {
    sent_at: Duration,
    end: Seq,
    rtt: Duration,
    highest: Seq,
    reordering: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Wanted,
    Sent,
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: VecDeque<Bytes>,
    queued: usize,
    end: End,
    /// Those from `acked` to before `seq`; `None`: has arrived out of order.
    packets: VecDeque<Option<Packet>>,
    /// The payload bytes of each of them, and of all.
    sizes: VecDeque<usize>,
    spread: usize,
    acked: Seq,
    seq: Seq,
    /// (seq, number of the transmission), in the order of sending; stale ones are skipped.
    order: VecDeque<(Seq, u32)>,
    lost: VecDeque<Seq>,
    inflight: u64,
    /// Payload bytes that were written and have not arrived.
    pending: usize,
    sacks: u32,
    partial: bool,
    /// Payload bytes of the longest packet that was lost again and again.
    stuck: usize,
    rack: Rack,
    recovery: Option<Seq>,
    delivered: u64,
    delivered_at: Duration,
    first_sent_at: Duration,
    /// Until so much was delivered, the writer did not fill the window.
    limited_until: u64,
    pub(crate) retransmits: u64,
    pub(crate) recoveries: u64,
}

impl Outgoing {
    pub(crate) fn new(seq: Seq) -> Self {
        Self {
            queue: VecDeque::new(),
            queued: 0,
            end: End::Open,
            packets: VecDeque::new(),
            sizes: VecDeque::new(),
            spread: 0,
            acked: seq,
            seq,
            order: VecDeque::new(),
            lost: VecDeque::new(),
            inflight: 0,
            pending: 0,
            sacks: 0,
            partial: false,
            stuck: 0,
            rack: Rack {
                highest: seq,
                end: seq,
                ..Rack::default()
            },
            recovery: None,
            delivered: 0,
            delivered_at: Duration::ZERO,
            first_sent_at: Duration::ZERO,
            limited_until: 0,
            retransmits: 0,
            recoveries: 0,
        }
    }

    pub(crate) fn write(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.queued += bytes.len();
            self.pending += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    pub(crate) fn end(&mut self) {
        if self.end == End::Open {
            self.end = End::Wanted;
        }
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.end != End::Open
    }

    /// Everything was sent, the end too, and has arrived.
    pub(crate) fn is_done(&self) -> bool {
        self.end == End::Sent && self.is_quiet()
    }

    /// Nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.packets.is_empty()
    }

    pub(crate) fn has_new(&self) -> bool {
        self.queued > 0 || self.end == End::Wanted
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    pub(crate) fn has_sacks(&self) -> bool {
        self.sacks > 0
    }

    pub(crate) fn in_recovery(&self) -> bool {
        self.recovery.is_some()
    }

    pub(crate) fn seq(&self) -> Seq {
        self.seq
    }

    pub(crate) fn acked_to(&self) -> Seq {
        self.acked
    }

    pub(crate) fn inflight(&self) -> u64 {
        self.inflight
    }

    /// Payload bytes from the first that has not arrived to the last that was sent: what the other side must have room for.
    pub(crate) fn spread(&self) -> u64 {
        self.spread as u64
    }

    /// The last acknowledgement had no room for all ranges: what it did not name may have arrived.
    pub(crate) fn set_partial(&mut self, partial: bool) {
        self.partial = partial;
    }

    /// Payload bytes of the longest packet that was lost again and again since this was asked last; 0: none was.
    pub(crate) fn take_stuck(&mut self) -> usize {
        std::mem::take(&mut self.stuck)
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// DESTROY takes a number without being kept.
    pub(crate) fn take_seq(&mut self) -> Seq {
        let seq = self.seq;
        self.seq = seq.next();
        seq
    }

    /// Packets that were sent and are not acknowledged in one row.
    pub(crate) fn on_the_way(&self) -> usize {
        self.packets.len()
    }

    /// The path is not filled, since the writer has nothing more or little is sent on purpose: rates measured from here on say nothing about the path.
    pub(crate) fn mark_limited(&mut self) {
        self.limited_until = (self.delivered + self.inflight).max(1);
    }

    /// How many payload bytes the next new packet would have.
    pub(crate) fn next_len(&self, most: usize) -> usize {
        self.queued.min(most)
    }

    /// Takes the next new packet with at most `most` bytes of payload, and counts it as sent.
    pub(crate) fn take_new(&mut self, most: usize, padding: Option<u8>, now: Duration) -> Send {
        let len = self.next_len(most);
        let payload = self.gather(len);
        let mut kind = Kind::STATE;
        if len > 0 {
            kind = kind | Kind::DATA;
        }
        if self.queued == 0 && self.end == End::Wanted {
            kind = kind | Kind::END;
            self.end = End::Sent;
        }
        let seq = self.take_seq();
        if self.inflight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        let packet = Packet {
            payload: payload.clone(),
            kind,
            padding: padding.unwrap_or(0),
            sent_at: now,
            transmits: 1,
            timeouts: 0,
            lost: false,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            limited: self.limited_until > self.delivered,
        };
        self.inflight += packet.bytes();
        self.order.push_back((seq, 1));
        self.sizes.push_back(packet.payload.len());
        self.spread += packet.payload.len();
        self.packets.push_back(Some(packet));
        Send {
            seq,
            kind,
            padding: padding.unwrap_or(0),
            payload,
        }
    }

    /// The next `len` bytes of the queue: without a copy where they lie in one piece.
    fn gather(&mut self, len: usize) -> Bytes {
        self.queued -= len;
        if let Some(first) = self.queue.front_mut() {
            if first.len() > len {
                return first.split_to(len);
            }
            if first.len() == len {
                return self.queue.pop_front().unwrap_or_default();
            }
        }
        let mut out = BytesMut::with_capacity(len);
        while out.len() < len {
            let Some(first) = self.queue.front_mut() else {
                break;
            };
            let part = first.split_to(first.len().min(len - out.len()));
            out.extend_from_slice(&part);
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
        out.freeze()
    }

    fn index(&self, seq: Seq) -> Option<usize> {
        let at = usize::try_from(seq.since(self.acked)).ok()?;
        (at < self.packets.len()).then_some(at)
    }

    fn packet(&mut self, seq: Seq) -> Option<&mut Packet> {
        let at = self.index(seq)?;
        self.packets[at].as_mut()
    }

    /// Takes the next lost packet, and counts it as sent again.
    pub(crate) fn take_lost(&mut self, now: Duration) -> Option<Send> {
        loop {
            let seq = self.lost.pop_front()?;
            if let Some(send) = self.resend(seq, now) {
                return Some(send);
            }
        }
    }

    /// The newest packet once more, as a probe for the loss of the tail.
    pub(crate) fn take_tail(&mut self, now: Duration) -> Option<Send> {
        let back = (0..self.packets.len()).rev().find(|at| {
            self.packets[*at]
                .as_ref()
                .is_some_and(|packet| !packet.lost)
        })?;
        let seq = self.acked.plus(u32::try_from(back).ok()?);
        let bytes = self.packet(seq)?.bytes();
        self.inflight -= bytes;
        self.packet(seq)?.lost = true;
        self.resend(seq, now)
    }

    fn resend(&mut self, seq: Seq, now: Duration) -> Option<Send> {
        let (delivered, delivered_at) = (self.delivered, self.delivered_at);
        let limited = self.limited_until > self.delivered;
        let first_sent_at = match self.inflight {
            0 => now,
            _ => self.first_sent_at,
        };
        let packet = self.packet(seq).filter(|packet| packet.lost)?;
        packet.lost = false;
        packet.padding = 0;
        packet.transmits += 1;
        packet.sent_at = now;
        packet.delivered = delivered;
        packet.delivered_at = delivered_at;
        packet.first_sent_at = first_sent_at;
        packet.limited = limited;
        let (bytes, transmits) = (packet.bytes(), packet.transmits);
        let send = Send {
            seq,
            kind: packet.kind,
            padding: 0,
            payload: packet.payload.clone(),
        };
        self.first_sent_at = first_sent_at;
        self.inflight += bytes;
        self.order.push_back((seq, transmits));
        self.retransmits += 1;
        Some(send)
    }

    /// Takes note that all before `ack` have arrived. False when `ack` is of a packet that was never sent.
    pub(crate) fn acked(&mut self, ack: Seq, now: Duration, acked: &mut Acked) -> bool {
        if ack > self.seq {
            return false;
        }
        while self.acked < ack && !self.packets.is_empty() {
            let seq = self.acked;
            let packet = self.packets.pop_front().flatten();
            self.spread -= self.sizes.pop_front().unwrap_or_default();
            self.acked = seq.next();
            match packet {
                Some(packet) => self.arrived(seq, packet, now, acked),
                None => self.sacks = self.sacks.saturating_sub(1),
            }
        }
        if self.recovery.is_some_and(|until| self.acked >= until) {
            self.recovery = None;
        }
        true
    }

    /// Takes note that `start..end` have arrived; looks at no more than `looks` packets, and answers how many of these looks are left.
    pub(crate) fn sacked(
        &mut self,
        start: Seq,
        end: Seq,
        looks: usize,
        now: Duration,
        acked: &mut Acked,
    ) -> usize {
        let Some(first) = self.index(start.max_of(self.acked)) else {
            return looks;
        };
        let last = usize::try_from(end.since(self.acked)).unwrap_or(0);
        let last = last
            .min(self.packets.len())
            .min(first.saturating_add(looks));
        for at in first..last {
            if let Some(packet) = self.packets[at].take() {
                self.sacks += 1;
                let seq = self.acked.plus(at as u32);
                self.arrived(seq, packet, now, acked);
            }
        }
        looks - last.saturating_sub(first)
    }

    fn arrived(&mut self, seq: Seq, packet: Packet, now: Duration, acked: &mut Acked) {
        if !packet.lost {
            self.inflight -= packet.bytes();
        }
        self.pending -= packet.payload.len();
        self.delivered += packet.bytes();
        self.delivered_at = now;
        acked.packets += 1;
        acked.bytes += packet.bytes();
        acked.probe |= packet.padding > 0;
        let rtt = now.saturating_sub(packet.sent_at);
        let once = packet.transmits == 1;
        if acked.newest.is_none_or(|n| packet.sent_at >= n.sent_at) {
            acked.newest = Some(Newest {
                sent_at: packet.sent_at,
                delivered: packet.delivered,
                delivered_at: packet.delivered_at,
                first_sent_at: packet.first_sent_at,
                limited: packet.limited,
            });
            if once {
                acked.rtt = Some(rtt);
            }
            self.first_sent_at = self.first_sent_at.max(packet.sent_at);
        }
        let rack = &mut self.rack;
        let end = seq.next();
        // What was sent twice may have been acknowledged for its first sending.
        if (once || rtt >= acked.min_rtt)
            && (packet.sent_at, end.since(rack.end)) > (rack.sent_at, 0)
        {
            rack.rtt = rtt;
            rack.sent_at = packet.sent_at;
            rack.end = end;
        }
        if end > rack.highest {
            rack.highest = end;
        } else if once && end < rack.highest {
            rack.reordering = true;
        }
    }

    /// Bytes a second, measured over the flight of the newest packet that arrived; true: the path was not filled. None of a flight in which the machine
    /// was asleep.
    pub(crate) fn rate(&self, acked: &Acked, rtt: &Rtt) -> Option<(f64, bool)> {
        let newest = acked.newest?;
        let sending = newest.sent_at.saturating_sub(newest.first_sent_at);
        let arriving = self.delivered_at.saturating_sub(newest.delivered_at);
        let time = sending.max(arriving);
        if time.is_zero() || time < rtt.min()? || time > rtt.longest_flight() {
            return None;
        }
        let bytes = self.delivered - newest.delivered;
        Some((bytes as f64 / time.as_secs_f64(), newest.limited))
    }

    pub(crate) fn delivered_at_send(&self, acked: &Acked) -> u64 {
        acked.newest.map_or(self.delivered, |n| n.delivered)
    }

    /// Finds packets that were overtaken for too long. Answers how many of them carried a probe, how many not, and when to look again.
    pub(crate) fn detect_lost(
        &mut self,
        now: Duration,
        rtt: &Rtt,
    ) -> (usize, usize, Option<Duration>) {
        let exact = !self.rack.reordering && !self.partial;
        let patience = if exact && (self.recovery.is_some() || self.sacks >= 3) {
            Duration::ZERO
        } else {
            rtt.min().unwrap_or_default() / 4
        };
        let (mut probes, mut others) = (0, 0);
        while let Some((seq, transmits)) = self.order.front().copied() {
            let (rack_sent, rack_end, rack_rtt) = (self.rack.sent_at, self.rack.end, self.rack.rtt);
            let Some(packet) = self
                .packet(seq)
                .filter(|p| p.transmits == transmits && !p.lost)
            else {
                self.order.pop_front();
                continue;
            };
            if (packet.sent_at, seq.next().since(rack_end)) >= (rack_sent, 0) {
                break;
            }
            let due = packet.sent_at + rack_rtt + patience;
            if due > now {
                return (probes, others, Some(due));
            }
            match self.lose(seq) {
                true => probes += 1,
                false => others += 1,
            }
            self.order.pop_front();
        }
        if others > 0 && self.recovery.is_none() {
            self.recovery = Some(self.seq);
            self.recoveries += 1;
        }
        (probes, others, None)
    }

    /// True when it was a probe.
    fn lose(&mut self, seq: Seq) -> bool {
        let Some(packet) = self.packet(seq) else {
            return false;
        };
        let probe = packet.padding > 0;
        packet.lost = true;
        packet.padding = 0;
        let stuck = packet.transmits >= STUCK_TRANSMITS || packet.timeouts >= STUCK_TIMEOUTS;
        let (bytes, len) = (packet.bytes(), packet.payload.len());
        if stuck {
            self.stuck = self.stuck.max(len);
        }
        self.inflight -= bytes;
        self.lost.push_back(seq);
        probe
    }

    /// Nothing has arrived for a whole timeout. Answers how many probes were lost with it; an error when a packet was given up.
    pub(crate) fn timed_out(&mut self, now: Duration) -> Result<usize, ()> {
        let mut probes = 0;
        let rtt = self.rack.rtt;
        // The first that has not arrived counts: what is before it may be said to have arrived, out of order.
        let mut first = true;
        for at in 0..self.packets.len() {
            let seq = self.acked.plus(at as u32);
            let Some(packet) = self.packets[at].as_mut() else {
                continue;
            };
            let first = std::mem::take(&mut first);
            if first {
                packet.timeouts += 1;
                if packet.timeouts > TIMEOUTS_MAX {
                    return Err(());
                }
            }
            if !packet.lost && (first || packet.sent_at + rtt <= now) && self.lose(seq) {
                probes += 1;
            }
        }
        self.lost
            .make_contiguous()
            .sort_by_key(|seq| seq.since(self.acked));
        self.recovery = Some(self.seq);
        Ok(probes)
    }
}
