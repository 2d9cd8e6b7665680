//! A stream in the table of its sockets: what it has for its user, who waits for it, and what it relays.

use super::{
    batch::Batch,
    packet::Header,
    socket::{Firewall, Socket},
    stream::{Event, Stream, StreamError},
};
use bytes::{Bytes, BytesMut};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    task::Waker,
    time::Duration,
};

/// Messages that wait for their reader, and their bytes; more are dropped.
const MESSAGES_MAX: usize = 4096;
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// What is shorter is copied together, so that it does not hold the buffer that it came in.
const SHORT: usize = 1024;
/// Packets that wait for the stream they are relayed to to be connected; more are dropped, as the network would.
const PENDING_MAX: usize = 64;
/// Longer packets are of no stream that a path could carry.
const RELAYED_BYTES_MAX: usize = 2048;

/// A stream and who waits for it.
pub(super) struct Slot {
    pub(super) stream: Stream,
    pub(super) socket: Option<Socket>,
    pub(super) firewall: Option<Firewall>,
    /// The firewall decides about other addresses of the own socket, too.
    pub(super) strict: bool,
    read: VecDeque<Bytes>,
    /// The last of what is to be read.
    short: BytesMut,
    pub(super) messages: VecDeque<Bytes>,
    message_bytes: usize,
    pub(super) ended: bool,
    pub(super) closed: Option<Option<StreamError>>,
    pub(super) room: bool,
    pub(super) flushed: bool,
    /// Nobody holds the stream any more.
    pub(super) orphan: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) flusher: Option<Waker>,
    pub(super) listener: Option<Waker>,
    pub(super) closer: Option<Waker>,
    pub(super) armed: Option<Duration>,
    relay: Option<Box<Relay>>,
}

/// What a stream has to do with others of its table.
#[derive(Default)]
struct Relay {
    /// What comes in goes out through this one.
    to: Option<u32>,
    /// Those whose packets go out through this one.
    from: BTreeSet<u32>,
    /// What came for this one before it was connected.
    pending: VecDeque<Vec<u8>>,
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl Slot {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            socket: None,
            firewall: None,
            strict: false,
            read: VecDeque::new(),
            short: BytesMut::new(),
            messages: VecDeque::new(),
            message_bytes: 0,
            ended: false,
            closed: None,
            room: true,
            flushed: true,
            orphan: false,
            reader: None,
            writer: None,
            flusher: None,
            listener: None,
            closer: None,
            armed: None,
            relay: None,
        }
    }

    /// The next bytes to be read; what is left of them stays.
    pub(super) fn front(&mut self) -> Option<&mut Bytes> {
        if self.read.is_empty() && !self.short.is_empty() {
            self.read.push_back(self.short.split().freeze());
        }
        self.read.front_mut()
    }

    /// The first of what is to be read was used up.
    pub(super) fn pop_front(&mut self) -> Option<Bytes> {
        self.front()?;
        self.read.pop_front()
    }

    pub(super) fn next_message(&mut self) -> Option<Bytes> {
        let message = self.messages.pop_front()?;
        self.message_bytes -= message.len();
        Some(message)
    }

    pub(super) fn connect(
        &mut self,
        socket: &Socket,
        remote_id: u32,
        remote: SocketAddr,
        now: Duration,
    ) {
        if self.socket.is_some() || self.closed.is_some() {
            return;
        }
        self.socket = Some(socket.clone());
        self.stream.connect(remote_id, remote, now);
        let pending = self.relay.as_mut().map(|relay| &mut relay.pending);
        for mut packet in pending.map(std::mem::take).into_iter().flatten() {
            packet[4..8].copy_from_slice(&remote_id.to_le_bytes());
            socket.send_packets(&packet, packet.len(), remote);
        }
    }

    /// Goes on elsewhere. Answers whether there was somewhere before.
    pub(super) fn change_remote(
        &mut self,
        socket: &Socket,
        remote_id: u32,
        remote: SocketAddr,
        now: Duration,
    ) -> bool {
        if self.socket.is_none() || self.closed.is_some() {
            return false;
        }
        if self.socket.as_ref() != Some(socket) {
            if let Some(before) = &self.socket {
                before.arm(self.stream.id(), &mut self.armed, None);
            }
            self.socket = Some(socket.clone());
        }
        self.stream.change_remote(remote_id, remote, now);
        true
    }

    /// Sends a packet to another stream, so that who hands packets on there knows where we are.
    pub(super) fn greet(&mut self, socket: &Socket, id: u32, to: SocketAddr) {
        if self.closed.is_none() {
            let packet = self.stream.greeting(id);
            socket.send_packets(&packet, packet.len(), to);
        }
    }

    /// Ends the stream at once. The other side is told, but for that of a relay: it may have moved on, and would take it for its own end.
    pub(super) fn destroy(&mut self) {
        match self.relay.as_ref().and_then(|relay| relay.to) {
            Some(_) => self.stream.vanish(),
            None => self.stream.destroy(),
        }
    }

    /// Sends what may be sent, tells what happened, sets the timer. True when the stream is gone and nobody holds it.
    fn pump(&mut self, now: Duration) -> bool {
        if let Some(socket) = self.socket.clone() {
            socket.transmit(&mut self.stream, now);
        }
        while let Some(event) = self.stream.poll_event() {
            self.take(event);
        }
        if let Some(socket) = &self.socket {
            let at = self.stream.next_timeout();
            socket.arm(self.stream.id(), &mut self.armed, at);
        }
        let gone = self.stream.is_closed()
            || self.stream.next_timeout().is_none() && self.closed.is_some();
        self.orphan && gone
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Data(bytes) if self.orphan => self.stream.consumed(bytes.len()),
            Event::Data(bytes) => {
                if bytes.len() < SHORT {
                    self.short.extend_from_slice(&bytes);
                } else {
                    if !self.short.is_empty() {
                        self.read.push_back(self.short.split().freeze());
                    }
                    self.read.push_back(bytes);
                }
                wake(&mut self.reader);
            }
            Event::End => {
                self.ended = true;
                wake(&mut self.reader);
            }
            Event::Message(bytes) => {
                let room = self.messages.len() < MESSAGES_MAX
                    && self.message_bytes + bytes.len() <= MESSAGE_BYTES_MAX;
                if room && !self.orphan {
                    self.message_bytes += bytes.len();
                    self.messages.push_back(bytes);
                }
                wake(&mut self.listener);
            }
            Event::Flushed => {
                self.flushed = true;
                wake(&mut self.flusher);
            }
            Event::Drained => {
                self.room = true;
                wake(&mut self.writer);
            }
            Event::RemoteChanged => wake(&mut self.flusher),
            Event::Closed(why) => {
                self.closed = Some(why);
                wake(&mut self.reader);
                wake(&mut self.writer);
                wake(&mut self.flusher);
                wake(&mut self.listener);
                wake(&mut self.closer);
            }
        }
    }
}

/// Does what follows from what was done to a stream: packets, events, timers; and the end of those that were relayed through it.
pub(super) fn settle(slots: &mut HashMap<u32, Slot>, id: u32, now: Duration) {
    let mut todo = Vec::new();
    let mut next = Some(id);
    while let Some(id) = next.take().or_else(|| todo.pop()) {
        let Some(slot) = slots.get_mut(&id) else {
            continue;
        };
        let gone = slot.pump(now);
        let relay = slot.relay.take_if(|_| slot.closed.is_some());
        if gone {
            slots.remove(&id);
        }
        let Some(relay) = relay else {
            continue;
        };
        if let Some(to) = relay.to {
            forget(slots, to, |theirs| {
                theirs.from.remove(&id);
            });
        }
        for from in relay.from {
            forget(slots, from, |theirs| theirs.to = None);
            if let Some(slot) = slots.get_mut(&from) {
                slot.stream.vanish();
                todo.push(from);
            }
        }
    }
}

fn forget(slots: &mut HashMap<u32, Slot>, id: u32, act: impl FnOnce(&mut Relay)) {
    if let Some(relay) = slots.get_mut(&id).and_then(|slot| slot.relay.as_mut()) {
        act(relay);
    }
}

/// From now on what comes in for `from` goes out through `to`. False when one of them is gone.
pub(super) fn relay_to(slots: &mut HashMap<u32, Slot>, from: u32, to: u32) -> bool {
    let lives = |id: u32| slots.get(&id).is_some_and(|slot| slot.closed.is_none());
    if from == to || !lives(from) || !lives(to) {
        return false;
    }
    let mut before = None;
    if let Some(slot) = slots.get_mut(&from) {
        before = slot.relay.get_or_insert_default().to.replace(to);
    }
    if let Some(before) = before {
        forget(slots, before, |theirs| {
            theirs.from.remove(&from);
        });
    }
    if let Some(slot) = slots.get_mut(&to) {
        slot.relay.get_or_insert_default().from.insert(from);
    }
    true
}

/// Where relayed packets are gathered, to be sent on in as few calls as they came in.
#[derive(Default)]
pub(super) struct Forward {
    to: Option<(Socket, SocketAddr)>,
    batch: Batch,
}

impl Forward {
    /// Sends on a packet that came in for `id`, if that is relayed. False when it is not.
    pub(super) fn packet(
        &mut self,
        slots: &mut HashMap<u32, Slot>,
        id: u32,
        header: &Header,
        packet: &[u8],
    ) -> bool {
        let relay = slots.get(&id).and_then(|slot| slot.relay.as_ref());
        let Some(to) = relay.and_then(|relay| relay.to) else {
            return false;
        };
        if let Some(slot) = slots.get_mut(&id) {
            slot.stream.passed_through(header, packet.len());
        }
        if let Some(other) = slots
            .get_mut(&to)
            .filter(|_| packet.len() <= RELAYED_BYTES_MAX)
        {
            match (&other.socket, other.stream.remote()) {
                (Some(socket), Some((remote_id, remote))) => {
                    other.stream.passed_on(packet.len());
                    self.push(socket, remote, remote_id, packet);
                }
                _ => {
                    let pending = &mut other.relay.get_or_insert_default().pending;
                    if pending.len() < PENDING_MAX {
                        other.stream.passed_on(packet.len());
                        pending.push_back(packet.to_vec());
                    }
                }
            }
        }
        true
    }

    fn push(&mut self, socket: &Socket, remote: SocketAddr, remote_id: u32, packet: &[u8]) {
        let same = self
            .to
            .as_ref()
            .is_some_and(|(s, at)| s == socket && *at == remote);
        if !same {
            self.flush();
            self.to = Some((socket.clone(), remote));
        }
        let begin = self.batch.len();
        let out = self.batch.space();
        out.extend_from_slice(&packet[..4]);
        out.extend_from_slice(&remote_id.to_le_bytes());
        out.extend_from_slice(&packet[8..]);
        self.batch.added(begin, socket.segments(), |bytes, size| {
            socket.send_packets(bytes, size, remote);
        });
    }

    pub(super) fn flush(&mut self) {
        if let Some((socket, remote)) = self.to.take() {
            self.batch
                .flush(|bytes, size| socket.send_packets(bytes, size, remote));
        }
    }
}
