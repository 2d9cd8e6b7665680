//! One stream: ordered bytes and unordered messages between two ids, as a state machine without a socket.

use super::{
    bbr::{Bbr, Phase, Sample},
    incoming::{Incoming, RANGES_MAX},
    mtu::Mtu,
    outgoing::{Acked, Outgoing, Send},
    packet::{self, HEADER_BYTES, Header, Kind},
    rtt::Rtt,
    seq::Seq,
};
use bytes::Bytes;
use std::{collections::VecDeque, net::SocketAddr, time::Duration};

/// How many bytes a stream takes before they are read.
const WINDOW: u32 = 4 << 20;
/// How many bytes of packets it keeps that came before their turn: a sender like libudx counts what is on its way, not how far it reaches.
const EARLY_MAX: usize = 2 * WINDOW as usize;
/// What arrives beyond it is dropped: probes of a window that is closed may go a little further.
const WINDOW_EXCESS: u32 = 256 << 10;
/// A writer that has so much waiting beyond the window should wait.
const HIGH_WATERMARK: u64 = 256 << 10;
const ACK_DELAY_MAX: Duration = Duration::from_millis(2);
/// How long a stream that ended well still answers a repeated end.
const LINGER: Duration = Duration::from_secs(5);
/// Unordered messages that wait for the socket; more are dropped, the oldest first.
const MESSAGES_MAX: usize = 1024;

/// How a stream is made.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct StreamOptions {
    /// Number of the first packet that is sent (default 0).
    pub seq: u32,
    /// Number of the first packet that is received (default 0).
    pub ack: u32,
    /// After so long without a packet sent, one is, which the other side acknowledges (default: none).
    pub keep_alive: Option<Duration>,
}

/// Why a stream closed that did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The other side did not answer.
    #[error("the other side of the stream did not answer")]
    TimedOut,
    /// The other side destroyed the stream.
    #[error("the other side destroyed the stream")]
    Reset,
}

impl StreamError {
    /// The name npm udx-native gives it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TimedOut => "ETIMEDOUT",
            Self::Reset => "ECONNRESET",
        }
    }
}

/// What happened to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The next bytes. Say [`Stream::consumed`] when they were used, so that the window opens again.
    Data(Bytes),
    /// The other side has written its last byte.
    End,
    /// An unordered message.
    Message(Bytes),
    /// All that was written has arrived.
    Flushed,
    /// There is room for more, after [`Stream::write`] said that there was not.
    Drained,
    /// All that was sent to the earlier remote has arrived.
    RemoteChanged,
    /// The stream is gone.
    Closed(Option<StreamError>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    /// DESTROY is to be sent.
    Destroying,
    /// Ended well; repeated packets are acknowledged until then.
    Lingering(Duration),
    Closed,
}

#[derive(Debug, Default)]
struct Timers {
    /// Nothing was acknowledged.
    timeout: Option<Duration>,
    /// The tail may be lost.
    tail: Option<Duration>,
    /// A packet was overtaken.
    reorder: Option<Duration>,
    /// The window of the other side is closed: ask.
    window: Option<Duration>,
    keep_alive: Option<Duration>,
    pace: Option<Duration>,
}

/// What a stream counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Bytes of packets sent, headers included.
    pub bytes_transmitted: u64,
    /// Packets sent.
    pub packets_transmitted: u64,
    /// Bytes of packets received, headers included.
    pub bytes_received: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets sent again.
    pub retransmits: u64,
    /// Times that a loss was found by what overtook it.
    pub fast_recoveries: u64,
    /// Times that nothing arrived for a whole timeout.
    pub timeouts: u64,
}

/// How a stream goes at the moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct StreamState {
    /// Smoothed round-trip time; none before the first answer.
    pub rtt: Option<Duration>,
    /// Largest IP packet that is known to arrive, in bytes.
    pub mtu: u16,
    /// Bytes that may be on the way at once.
    pub cwnd: u64,
    /// Bytes on the way.
    pub inflight: u64,
    /// Bytes a second that the path was seen to carry.
    pub bandwidth: f64,
    /// What the congestion control is doing.
    pub phase: Phase,
}

/// One stream, fed with packets and a clock. Times are durations since any fixed moment.
#[derive(Debug)]
pub struct Stream {
    local_id: u32,
    remote: Option<(u32, SocketAddr)>,
    status: Status,
    outgoing: Outgoing,
    incoming: Incoming,
    messages: VecDeque<Bytes>,
    rtt: Rtt,
    mtu: Mtu,
    may_be_cut: bool,
    bbr: Bbr,
    timers: Timers,
    keep_alive: Option<Duration>,
    ack_wanted: bool,
    heartbeat_wanted: bool,
    tail_wanted: bool,
    tail_sent: bool,
    timed_out: bool,
    /// Bytes that may be sent again beyond the window, since as many have left the path: acknowledgements name a limited number of ranges, so what
    /// lies behind them counts as on its way although it has arrived.
    conserved: u64,
    /// Bytes handed out and not consumed.
    unread: usize,
    /// The window as it was said last.
    said_window: u32,
    remote_window: u32,
    window_seq: Seq,
    window_ack: Seq,
    changing: Option<Seq>,
    /// The lowest number that packets from the present remote bore.
    heard: Option<Seq>,
    full: bool,
    flush_wanted: bool,
    said_end: bool,
    events: VecDeque<Event>,
    ranges: Vec<u8>,
    stats: StreamStats,
}

impl Stream {
    /// A stream that is known here as `local_id`.
    pub fn new(local_id: u32, options: &StreamOptions) -> Self {
        let mtu = Mtu::new(false);
        Self {
            local_id,
            remote: None,
            status: Status::Open,
            outgoing: Outgoing::new(Seq(options.seq)),
            incoming: Incoming::new(Seq(options.ack), EARLY_MAX),
            messages: VecDeque::new(),
            rtt: Rtt::default(),
            bbr: Bbr::new(mtu.payload() + HEADER_BYTES),
            mtu,
            may_be_cut: false,
            timers: Timers::default(),
            keep_alive: options.keep_alive,
            ack_wanted: false,
            heartbeat_wanted: false,
            tail_wanted: false,
            tail_sent: false,
            timed_out: false,
            conserved: 0,
            unread: 0,
            said_window: WINDOW,
            remote_window: WINDOW,
            window_seq: Seq(options.ack),
            window_ack: Seq(options.seq),
            changing: None,
            heard: None,
            full: false,
            flush_wanted: false,
            said_end: false,
            events: VecDeque::new(),
            ranges: Vec::new(),
            stats: StreamStats::default(),
        }
    }

    /// The id of this stream here.
    pub fn id(&self) -> u32 {
        self.local_id
    }

    /// The id of the other side, and where it is.
    pub fn remote(&self) -> Option<(u32, SocketAddr)> {
        self.remote
    }

    /// Largest IP packet that is known to arrive, in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu.size()
    }

    /// Smoothed round-trip time.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    /// The packet that [`poll_transmit`](Self::poll_transmit) gave last is longer than is known to arrive, and is no probe: the path has become narrower
    /// since it was made, and a packet cannot be made anew. Routers must be allowed to cut it.
    pub fn may_be_cut(&self) -> bool {
        self.may_be_cut
    }

    /// Bytes that may be on the way at once.
    pub fn cwnd(&self) -> u64 {
        self.bbr.window()
    }

    /// Bytes on the way.
    pub fn inflight(&self) -> u64 {
        self.outgoing.inflight()
    }

    /// Bytes a second that the path was seen to carry.
    pub fn bandwidth(&self) -> f64 {
        self.bbr.bandwidth()
    }

    /// How it goes at the moment.
    pub fn state(&self) -> StreamState {
        StreamState {
            rtt: self.rtt(),
            mtu: self.mtu(),
            cwnd: self.cwnd(),
            inflight: self.inflight(),
            bandwidth: self.bandwidth(),
            phase: self.bbr.phase(),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> StreamStats {
        StreamStats {
            retransmits: self.outgoing.retransmits,
            fast_recoveries: self.outgoing.recoveries,
            ..self.stats
        }
    }

    /// True when nothing will happen any more.
    pub fn is_closed(&self) -> bool {
        self.status == Status::Closed
    }

    /// Says who the other side is. Nothing is sent for it, but what arrived before is acknowledged.
    pub fn connect(&mut self, remote_id: u32, remote: SocketAddr, now: Duration) {
        if self.status != Status::Open || self.remote.is_some() {
            return;
        }
        self.set_remote(remote_id, remote);
        self.keep_alive_from(now);
    }

    /// The other side has moved, or is another socket of the same peer.
    pub fn change_remote(&mut self, remote_id: u32, remote: SocketAddr, now: Duration) {
        if self.status != Status::Open || self.remote.is_none() {
            return;
        }
        self.set_remote(remote_id, remote);
        self.keep_alive_from(now);
        self.bbr.reset();
        if self.outgoing.is_quiet() {
            self.changing = None;
            self.events.push_back(Event::RemoteChanged);
        } else {
            self.changing = Some(self.outgoing.seq());
            // What is on the earlier way may be lost with it: the answer to this one says what is missing.
            self.tail_wanted = true;
        }
    }

    /// What was sent to the earlier remote is not all acknowledged.
    pub fn is_changing(&self) -> bool {
        self.changing.is_some()
    }

    /// The packet with this number, which is to be received, came from where the other side is by now.
    pub fn came_from_remote(&mut self, seq: Seq) {
        if self.heard.is_none_or(|heard| seq < heard) {
            self.heard = Some(seq);
        }
    }

    /// Something came from where the other side is by now.
    pub fn is_heard(&self) -> bool {
        self.heard.is_some()
    }

    /// The earlier way is not needed any more: the other side goes by the present one, and all that either sent before has arrived. (libudx goes on sending to the
    /// earlier remote what it sent there first: without it that would never arrive.)
    pub fn is_settled(&self) -> bool {
        let is_here = |first: Seq| first <= self.incoming.expected();
        self.changing.is_none() && self.heard.is_some_and(is_here)
    }

    /// A packet for the stream `id`, wherever that is, which says how far both sides are: what hands packets on learns by it where we are.
    pub fn greeting(&mut self, id: u32) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_state(id, Kind::STATE, &mut out);
        out
    }

    /// Asks the other side for a sign of life, with the next packet.
    pub fn ask_for_sign(&mut self) {
        self.heartbeat_wanted = self.status == Status::Open && self.remote.is_some();
    }

    /// A packet for this stream was relayed instead of being taken in. A DESTROY ends the stream here too.
    pub fn passed_through(&mut self, header: &Header, bytes: usize) {
        self.stats.bytes_received += bytes as u64;
        self.stats.packets_received += 1;
        if header.kind.has(Kind::DESTROY) && self.status == Status::Open {
            self.close(Some(StreamError::Reset));
        }
    }

    /// A packet of another stream was sent to the other side of this one.
    pub fn passed_on(&mut self, bytes: usize) {
        self.stats.bytes_transmitted += bytes as u64;
        self.stats.packets_transmitted += 1;
    }

    /// Ends the stream here at once, and tells nobody: what a relay does, whose two sides may have moved on without it.
    pub fn vanish(&mut self) {
        self.close(None);
    }

    fn set_remote(&mut self, id: u32, address: SocketAddr) {
        self.remote = Some((id, address));
        self.heard = None;
        self.mtu = Mtu::new(address.is_ipv6());
        self.bbr.set_packet(self.mtu.payload() + HEADER_BYTES);
    }

    /// Asks for a packet after so long without one.
    pub fn set_keep_alive(&mut self, every: Option<Duration>, now: Duration) {
        self.keep_alive = every;
        self.keep_alive_from(now);
    }

    fn keep_alive_from(&mut self, now: Duration) {
        self.timers.keep_alive = self.keep_alive.map(|every| now + every);
    }

    /// Appends to what is to be sent. False: enough is waiting, go on after [`Event::Drained`]. Nothing is written after the end.
    pub fn write(&mut self, bytes: Bytes) -> bool {
        if self.status == Status::Open && !self.outgoing.is_ending() {
            self.outgoing.write(bytes);
            self.flush_wanted = true;
        }
        self.full = self.outgoing.pending() as u64 > HIGH_WATERMARK + self.send_window();
        !self.full
    }

    /// The last byte was written.
    pub fn end(&mut self) {
        if self.status == Status::Open {
            self.outgoing.end();
        }
    }

    /// Sends a message for itself: it may be lost or overtaken. False when it is too long for a packet or there is no remote.
    pub fn send(&mut self, message: Bytes) -> bool {
        if self.status != Status::Open
            || self.remote.is_none()
            || message.len() > self.mtu.payload()
        {
            return false;
        }
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
        true
    }

    /// Ends the stream at once and tells the other side.
    pub fn destroy(&mut self) {
        match self.status {
            Status::Open if self.remote.is_some() => self.status = Status::Destroying,
            Status::Open => self.close(None),
            _ => {}
        }
    }

    /// So many bytes of [`Event::Data`] were used.
    pub fn consumed(&mut self, bytes: usize) {
        self.unread = self.unread.saturating_sub(bytes);
        // Tell when the window has become worth using again.
        if self.said_window < WINDOW / 4 && self.window() >= WINDOW / 2 {
            self.ack_wanted = true;
        }
    }

    fn window(&self) -> u32 {
        WINDOW.saturating_sub(u32::try_from(self.unread).unwrap_or(u32::MAX))
    }

    fn send_window(&self) -> u64 {
        self.bbr.window().min(u64::from(self.remote_window))
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn close(&mut self, error: Option<StreamError>) {
        if self.status == Status::Closed {
            return;
        }
        if !matches!(self.status, Status::Lingering(_)) {
            self.events.push_back(Event::Closed(error));
        }
        self.status = Status::Closed;
        self.timers = Timers::default();
    }

    /// Takes a packet for this stream, header and all.
    pub fn receive(&mut self, packet: &Bytes, now: Duration) {
        let Some(header) = Header::decode(packet) else {
            return;
        };
        if matches!(self.status, Status::Closed | Status::Destroying) {
            return;
        }
        self.stats.bytes_received += packet.len() as u64;
        self.stats.packets_received += 1;
        let body = packet.slice(HEADER_BYTES..);
        let offset = usize::from(header.data_offset);
        if offset > body.len() {
            return;
        }
        let between = if offset > 0 { offset } else { body.len() };
        let mut acked = Acked {
            min_rtt: self.rtt.min().unwrap_or_default(),
            ..Acked::default()
        };
        let before = self.outgoing.inflight();
        if header.kind.has(Kind::SACK) {
            // As many ranges as are ever sent, and no packet is looked at twice as often as there are any.
            let mut looks = 2 * self.outgoing.on_the_way();
            self.outgoing.set_partial(between / 8 >= RANGES_MAX - 1);
            for (start, end) in packet::ranges(&body[..between]).take(RANGES_MAX) {
                if end <= self.outgoing.seq() {
                    looks = self.outgoing.sacked(start, end, looks, now, &mut acked);
                }
            }
        }
        let payload = body.slice(offset..);
        if header.kind.has(Kind::MESSAGE) {
            self.events
                .push_back(Event::Message(Bytes::copy_from_slice(&payload)));
        }
        if header.seq >= self.incoming.expected() {
            if header.kind.has(Kind::DESTROY) {
                return self.close(Some(StreamError::Reset));
            }
            // A sender that does not keep to the window is not acknowledged.
            let room = self.unread <= (WINDOW + WINDOW_EXCESS) as usize;
            if header.kind.is_ordered() && room {
                let (events, unread) = (&mut self.events, &mut self.unread);
                self.incoming
                    .receive(header.seq, header.kind, payload, |bytes| {
                        *unread += bytes.len();
                        events.push_back(Event::Data(bytes));
                    });
                if self.incoming.is_ended() && !self.said_end {
                    self.said_end = true;
                    self.events.push_back(Event::End);
                }
            }
        }
        if header.kind.is_ordered() || header.kind.has(Kind::HEARTBEAT) {
            self.ack_wanted = true;
        }
        let newer = header.ack >= self.outgoing.acked_to();
        if !self.outgoing.acked(header.ack, now, &mut acked) {
            return;
        }
        if newer {
            self.take_window(&header, now);
        }
        self.after_acks(&acked, before, now);
    }

    fn take_window(&mut self, header: &Header, now: Duration) {
        let fresh = header.seq > self.window_seq
            || (header.seq == self.window_seq && header.ack >= self.window_ack);
        if !fresh {
            return;
        }
        self.remote_window = header.window;
        self.window_seq = header.seq;
        self.window_ack = header.ack;
        self.timers.window = match header.window {
            0 => Some(now + self.rtt.timeout()),
            _ => None,
        };
    }

    fn after_acks(&mut self, acked: &Acked, before: u64, now: Duration) {
        if acked.packets > 0 {
            self.timed_out = false;
            self.tail_sent &= acked.rtt.is_none();
            let rtt = acked.rtt.filter(|rtt| self.rtt.sample(*rtt, now));
            self.mtu.acked(acked.probe);
            self.bbr.set_packet(self.mtu.payload() + HEADER_BYTES);
            let lost = self.look_for_losses(now);
            self.conserved = match self.outgoing.has_lost() {
                true => self.conserved + acked.bytes,
                false => 0,
            };
            self.bbr.acked(&Sample {
                now,
                acked: acked.bytes,
                lost,
                inflight_before: before,
                inflight: self.outgoing.inflight(),
                rtt,
                delivered: self.outgoing.delivered(),
                delivered_at_send: self.outgoing.delivered_at_send(acked),
                rate: self.outgoing.rate(acked, &self.rtt),
            });
            if self.bbr.probes_rtt() {
                self.outgoing.mark_limited();
            }
            self.timers.timeout = match self.outgoing.is_quiet() {
                true => None,
                false => Some(now + self.rtt.timeout()),
            };
            self.arm_tail(now);
            if self.full && self.outgoing.pending() as u64 <= HIGH_WATERMARK + self.send_window() {
                self.full = false;
                self.events.push_back(Event::Drained);
            }
            if self.flush_wanted && self.outgoing.pending() == 0 {
                self.flush_wanted = false;
                self.events.push_back(Event::Flushed);
            }
        }
        if self
            .changing
            .is_some_and(|seq| self.outgoing.acked_to() >= seq)
        {
            self.changing = None;
            self.events.push_back(Event::RemoteChanged);
        }
        self.end_if_done(now);
    }

    /// Both sides have ended and know it: the last acknowledgement is sent, and sent again if it was lost.
    fn end_if_done(&mut self, now: Duration) {
        if self.status == Status::Open && self.incoming.is_ended() && self.outgoing.is_done() {
            self.events.push_back(Event::Closed(None));
            self.status = Status::Lingering(now + LINGER);
            self.timers = Timers::default();
        }
    }

    /// Answers how many packets were found lost.
    fn look_for_losses(&mut self, now: Duration) -> usize {
        let (probes, others, again) = self.outgoing.detect_lost(now, &self.rtt);
        self.note_lost(probes);
        self.timers.reorder = again;
        others
    }

    /// So many probes were lost, and other packets.
    fn note_lost(&mut self, probes: usize) {
        for _ in 0..probes {
            self.mtu.lost();
        }
        let base = self.mtu.base_payload();
        if self.outgoing.take_stuck() > base && self.mtu.payload() > base {
            self.mtu.fall_back();
            self.bbr.set_packet(self.mtu.payload() + HEADER_BYTES);
        }
    }

    fn arm_tail(&mut self, now: Duration) {
        let idle = self.outgoing.is_quiet()
            || self.outgoing.in_recovery()
            || self.outgoing.has_sacks()
            || self.tail_sent;
        self.timers.tail = match self.rtt.smoothed() {
            Some(rtt) if !idle => Some(now + 2 * rtt + ACK_DELAY_MAX),
            _ => None,
        };
    }

    /// When [`on_timeout`](Self::on_timeout) or [`poll_transmit`](Self::poll_transmit) has something to do next.
    pub fn next_timeout(&self) -> Option<Duration> {
        let linger = match self.status {
            Status::Lingering(until) => Some(until),
            _ => None,
        };
        let timers = &self.timers;
        [
            linger,
            timers.timeout,
            timers.tail,
            timers.reorder,
            timers.window,
            timers.keep_alive,
            timers.pace,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due.
    pub fn on_timeout(&mut self, now: Duration) {
        if let Status::Lingering(until) = self.status
            && until <= now
        {
            self.status = Status::Closed;
            return;
        }
        let due = |timer: &mut Option<Duration>| timer.take_if(|at| *at <= now).is_some();
        due(&mut self.timers.pace);
        if due(&mut self.timers.reorder) {
            self.look_for_losses(now);
        }
        if due(&mut self.timers.tail) && !self.outgoing.is_quiet() {
            self.tail_wanted = true;
        }
        if due(&mut self.timers.window) && self.remote_window == 0 {
            self.heartbeat_wanted = self.outgoing.has_new() || self.outgoing.has_lost();
            self.timers.window = Some(now + self.rtt.timeout());
        }
        if due(&mut self.timers.keep_alive) {
            self.heartbeat_wanted = true;
            self.keep_alive_from(now);
        }
        if due(&mut self.timers.timeout) && !self.outgoing.is_quiet() {
            self.stats.timeouts += 1;
            match self.outgoing.timed_out(now) {
                Ok(probes) => self.note_lost(probes),
                Err(()) => return self.close(Some(StreamError::TimedOut)),
            }
            if !self.timed_out {
                self.bbr.timed_out();
            }
            self.timed_out = true;
            self.tail_wanted = false;
            self.tail_sent = false;
            self.timers.tail = None;
            self.timers.timeout = Some(now + 2 * self.rtt.timeout());
        }
    }

    /// Appends the next packet to `out` and says how many bytes it has; `None` when nothing is to be sent now. Call it until then.
    pub fn poll_transmit(&mut self, now: Duration, out: &mut Vec<u8>) -> Option<usize> {
        let (remote_id, _) = self.remote?;
        let sent = self.transmit(remote_id, now, out)?;
        self.stats.packets_transmitted += 1;
        self.stats.bytes_transmitted += sent as u64;
        self.keep_alive_from(now);
        Some(sent)
    }

    fn transmit(&mut self, remote_id: u32, now: Duration, out: &mut Vec<u8>) -> Option<usize> {
        match self.status {
            Status::Closed => return None,
            Status::Lingering(_) => {
                return std::mem::take(&mut self.ack_wanted)
                    .then(|| self.write_state(remote_id, Kind::STATE, out));
            }
            Status::Destroying => {
                let seq = self.outgoing.take_seq();
                let sent = self.write_packet(remote_id, Kind::DESTROY, 0, seq, &[], out);
                self.close(None);
                return Some(sent);
            }
            Status::Open => {}
        }
        if let Some(message) = self.messages.pop_front() {
            let seq = self.outgoing.seq();
            return Some(self.write_packet(remote_id, Kind::MESSAGE, 0, seq, &message, out));
        }
        if std::mem::take(&mut self.ack_wanted) {
            return Some(self.write_state(remote_id, Kind::STATE, out));
        }
        if std::mem::take(&mut self.heartbeat_wanted) {
            return Some(self.write_state(remote_id, Kind::HEARTBEAT, out));
        }
        let send = self.next_send(now)?;
        self.bbr.sent(HEADER_BYTES + send.payload.len());
        if self.timers.timeout.is_none() {
            self.timers.timeout = Some(now + self.rtt.timeout());
        }
        if !self.tail_sent {
            self.arm_tail(now);
        }
        Some(self.write_packet(
            remote_id,
            send.kind,
            send.padding,
            send.seq,
            &send.payload,
            out,
        ))
    }

    /// The next packet of the stream that may be sent now.
    fn next_send(&mut self, now: Duration) -> Option<Send> {
        let most = self.mtu.payload();
        if self.tail_wanted {
            self.tail_wanted = false;
            self.tail_sent = true;
            self.timers.tail = None;
            if self.remote_window > 0 && self.outgoing.has_new() {
                return Some(self.outgoing.take_new(most, None, now));
            }
            if let Some(send) = self.outgoing.take_tail(now) {
                return Some(send);
            }
        }
        if !self.outgoing.has_lost() && !self.outgoing.has_new() {
            // The writer is the limit, not the path.
            if self.outgoing.inflight() < self.bbr.window() {
                self.outgoing.mark_limited();
            }
            return None;
        }
        let full = self.outgoing.inflight() >= self.send_window()
            || self.outgoing.spread() >= u64::from(self.remote_window);
        let resend = self.outgoing.inflight() < self.send_window() || self.conserved > 0;
        if full && !(self.outgoing.has_lost() && resend) {
            return None;
        }
        if let Some(at) = self.bbr.wait(now) {
            self.timers.pace = Some(at);
            return None;
        }
        if let Some(send) = self.outgoing.take_lost(now) {
            let bytes = (HEADER_BYTES + send.payload.len()) as u64;
            self.conserved = self.conserved.saturating_sub(bytes);
            return Some(send);
        }
        if full || !self.outgoing.has_new() {
            return None;
        }
        let padding = self.mtu.padding(self.outgoing.next_len(most));
        Some(self.outgoing.take_new(most, padding, now))
    }

    fn write_state(&mut self, remote_id: u32, kind: Kind, out: &mut Vec<u8>) -> usize {
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.clear();
        let mut kind = kind;
        if kind == Kind::STATE {
            self.incoming.ranges(&mut ranges);
            if !ranges.is_empty() {
                kind = Kind::SACK;
            }
        }
        let seq = self.outgoing.seq();
        let sent = self.write_packet(remote_id, kind, 0, seq, &ranges, out);
        self.ranges = ranges;
        sent
    }

    fn write_packet(
        &mut self,
        id: u32,
        kind: Kind,
        padding: u8,
        seq: Seq,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> usize {
        let begin = out.len();
        self.may_be_cut = padding == 0 && payload.len() > self.mtu.payload();
        self.said_window = self.window();
        let header = Header {
            kind,
            data_offset: padding,
            id,
            window: self.said_window,
            seq,
            ack: self.incoming.expected(),
        };
        out.extend_from_slice(&header.encode());
        out.resize(out.len() + usize::from(padding), 0);
        out.extend_from_slice(payload);
        out.len() - begin
    }
}
