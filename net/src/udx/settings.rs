//! What the system lets one set of a socket, and what is counted of it.

use super::Socket;
use std::{
    io,
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
};

/// What went through a socket, streams and datagrams together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketStats {
    /// Bytes of UDP payload that the system took.
    pub bytes_transmitted: u64,
    /// Packets that the system took.
    pub packets_transmitted: u64,
    /// Bytes of UDP payload that came in.
    pub bytes_received: u64,
    /// Packets that came in.
    pub packets_received: u64,
}

/// Packets that go one way.
#[derive(Debug, Default)]
pub(super) struct Count {
    bytes: AtomicU64,
    packets: AtomicU64,
}

impl Count {
    /// So many bytes, in packets of `size` bytes, of which the last may be shorter.
    pub(super) fn add(&self, bytes: usize, size: usize) {
        let packets = bytes.div_ceil(size.max(1)).max(1);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.packets.fetch_add(packets as u64, Ordering::Relaxed);
    }

    fn get(&self) -> (u64, u64) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        (bytes, self.packets.load(Ordering::Relaxed))
    }
}

impl Socket {
    /// What was counted so far.
    pub fn stats(&self) -> SocketStats {
        let (bytes_transmitted, packets_transmitted) = self.inner.sent.get();
        let (bytes_received, packets_received) = self.inner.received.get();
        SocketStats {
            bytes_transmitted,
            packets_transmitted,
            bytes_received,
            packets_received,
        }
    }

    /// How many streams go out by it.
    pub fn streams(&self) -> usize {
        let Some(table) = self.inner.table.upgrade() else {
            return 0;
        };
        let slots = table.slots.lock();
        let own = slots
            .values()
            .filter(|slot| slot.socket.as_ref() == Some(self));
        own.count()
    }

    /// Bytes that the system keeps until they are read. (Linux says twice what it was told.)
    ///
    /// # Errors
    /// Those of the system.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.inner.state.recv_buffer_size((&self.inner.io).into())
    }

    /// Bytes that the system keeps until they are sent, as [`recv_buffer_size`](Self::recv_buffer_size).
    ///
    /// # Errors
    /// Those of the system.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.inner.state.send_buffer_size((&self.inner.io).into())
    }

    /// Asks the system to keep so many bytes until they are read (4 MiB were asked for when it was opened). It may keep less.
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        let io = (&self.inner.io).into();
        self.inner.state.set_recv_buffer_size(io, bytes)
    }

    /// Asks the system to keep so many bytes until they are sent, as [`set_recv_buffer_size`](Self::set_recv_buffer_size).
    ///
    /// # Errors
    /// Those of the system.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        let io = (&self.inner.io).into();
        self.inner.state.set_send_buffer_size(io, bytes)
    }

    /// How many hops a packet goes (usually 64).
    ///
    /// # Errors
    /// Those of the system.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.io.ttl()
    }

    /// Sets how many hops a packet goes.
    ///
    /// # Errors
    /// Those of the system: it must be 1 to 255.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.io.set_ttl(ttl)
    }

    /// Hears what is sent to a multicast group, on the network of this address of the machine (unspecified: the system chooses).
    ///
    /// # Errors
    /// Those of the system, among them: no such address, not a group.
    pub fn join_multicast(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.inner.io.join_multicast_v4(group, interface)
    }

    /// Hears that no more.
    ///
    /// # Errors
    /// Those of the system: it was not heard.
    pub fn leave_multicast(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.inner.io.leave_multicast_v4(group, interface)
    }
}
