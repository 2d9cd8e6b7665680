//! What comes in through a socket, and whose it is.

use super::{
    Header, Udx,
    slot::{Forward, Slot, settle},
    socket::{Datagram, Socket},
};
use bytes::Bytes;
use parking_lot::MutexGuard;
use quinn_udp::RecvMeta;
use std::{
    collections::HashMap,
    io::{self, IoSliceMut},
    net::SocketAddr,
    time::Duration,
};
use tokio::sync::mpsc::{self, error::TrySendError};

/// Datagrams that are taken from the kernel in one call.
const BATCH: usize = 8;
/// Bytes of a receive buffer: room for the packets that the kernel hands over in one.
const BUFFER_BYTES: usize = 64 << 10;
/// Calls after which timers have their turn.
const ROUNDS: usize = 8;
/// Datagrams that are no packets of a stream and wait for their reader; more are dropped.
pub(super) const DATAGRAMS_MAX: usize = 4096;
/// Of those that are longer than a path carries in one piece, fewer wait.
const LONG_MAX: usize = 64;
const LONG: usize = 2048;

/// The buffers of a socket, which are there from the first datagram on.
pub(super) struct Receive {
    buffers: Vec<u8>,
    touched: Vec<u32>,
    forward: Forward,
}

impl Receive {
    pub(super) fn new() -> Self {
        Self {
            buffers: Vec::new(),
            touched: Vec::new(),
            forward: Forward::default(),
        }
    }

    /// Takes in what the kernel has, up to a limit, so that timers run too.
    pub(super) fn all(&mut self, udx: &Udx, socket: &Socket, datagrams: &mpsc::Sender<Datagram>) {
        if self.buffers.is_empty() {
            self.buffers = vec![0; BATCH * BUFFER_BYTES];
        }
        for _ in 0..ROUNDS {
            let mut metas = [RecvMeta::default(); BATCH];
            let received = {
                let mut buffers = self.buffers.chunks_mut(BUFFER_BYTES);
                let mut slices: [IoSliceMut<'_>; BATCH] =
                    std::array::from_fn(|_| IoSliceMut::new(buffers.next().unwrap_or_default()));
                socket.receive(&mut slices, &mut metas)
            };
            let count = match received {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // An ICMP answer to something that was sent.
                    tracing::debug!(%error, "the socket told of an error");
                    continue;
                }
            };
            let now = udx.now();
            let mut slots = udx.table.slots.lock();
            for (at, meta) in metas.iter().enumerate().take(count) {
                let begin = at * BUFFER_BYTES;
                let bytes = &self.buffers[begin..begin + meta.len.min(BUFFER_BYTES)];
                let mut route = Route {
                    socket,
                    datagrams,
                    from: meta.addr,
                    touched: &mut self.touched,
                    forward: &mut self.forward,
                };
                // One piece of memory for all that came together, which is as long as they are.
                let whole = Bytes::copy_from_slice(bytes);
                let stride = meta.stride.max(1);
                for begin in (0..whole.len()).step_by(stride) {
                    let packet = whole.slice(begin..whole.len().min(begin + stride));
                    route.packet(&mut slots, packet, now);
                }
            }
            self.forward.flush();
            for id in self.touched.drain(..) {
                settle(&mut slots, id, now);
            }
        }
    }
}

struct Route<'a> {
    socket: &'a Socket,
    datagrams: &'a mpsc::Sender<Datagram>,
    from: SocketAddr,
    /// Streams that are to be settled: one acknowledgement for all that came together.
    touched: &'a mut Vec<u32>,
    forward: &'a mut Forward,
}

impl Route<'_> {
    fn packet(
        &mut self,
        slots: &mut MutexGuard<'_, HashMap<u32, Slot>>,
        packet: Bytes,
        now: Duration,
    ) {
        let header = Header::decode(&packet);
        let slot = header.as_ref().and_then(|header| slots.get_mut(&header.id));
        let (Some(header), Some(slot)) = (header, slot) else {
            return self.datagram(&packet);
        };
        if slot.closed.is_some() && slot.stream.is_closed() {
            return self.datagram(&packet);
        }
        let is_elsewhere = |(_, at)| slot.strict && at != self.from;
        if slot.socket.as_ref() != Some(self.socket)
            || slot.stream.remote().is_some_and(is_elsewhere)
        {
            let Some(rejects) = slot.firewall.clone() else {
                return;
            };
            let (socket, from) = (self.socket, self.from);
            // Asked without the lock: it may connect the stream, or look at others.
            if MutexGuard::unlocked(slots, || rejects(socket, from)) {
                return;
            }
        }
        if self.touched.last() != Some(&header.id) {
            self.touched.push(header.id);
        }
        if self.forward.packet(slots, header.id, &header, &packet) {
            return;
        }
        if let Some(slot) = slots.get_mut(&header.id) {
            let remote = slot.stream.remote().map(|(_, at)| at);
            if slot.socket.as_ref() == Some(self.socket) && remote == Some(self.from) {
                slot.stream.came_from_remote(header.seq);
            }
            slot.stream.receive(&packet, now);
        }
    }

    /// Hands on what is of no stream.
    fn datagram(&self, packet: &Bytes) {
        if packet.len() > LONG && self.datagrams.capacity() < DATAGRAMS_MAX - LONG_MAX {
            tracing::trace!(from = %self.from, "a long datagram was dropped: nobody reads them");
            return;
        }
        let datagram = Datagram {
            bytes: Bytes::copy_from_slice(packet),
            from: self.from,
        };
        if let Err(TrySendError::Full(_)) = self.datagrams.try_send(datagram) {
            tracing::trace!(from = %self.from, "a datagram was dropped: nobody reads them");
        }
    }
}
