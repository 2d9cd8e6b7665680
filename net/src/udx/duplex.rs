//! A stream in the hands of its user: bytes in order, messages out of order.

use super::{
    Firewall, Socket, StreamError, StreamState, StreamStats, Udx,
    slot::{Slot, relay_to},
    socket::Table,
};
use bytes::{Buf, Bytes};
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream: what is written here is read by the other side, in order. `shutdown` ends this direction; dropping it before destroys both.
pub struct Duplex {
    udx: Udx,
    id: u32,
    ended: bool,
}

impl fmt::Debug for Duplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Duplex")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn failed(why: Option<StreamError>) -> io::Error {
    let kind = match why {
        Some(StreamError::TimedOut) => io::ErrorKind::TimedOut,
        Some(StreamError::Reset) => io::ErrorKind::ConnectionReset,
        None => io::ErrorKind::BrokenPipe,
    };
    match why {
        Some(why) => io::Error::new(kind, why),
        None => kind.into(),
    }
}

fn path(slot: &mut Slot) -> (Option<Duration>, u16, f64) {
    let stream = &slot.stream;
    (stream.rtt(), stream.mtu(), stream.bandwidth())
}

impl Duplex {
    pub(super) fn new(udx: Udx, id: u32) -> Self {
        Self {
            udx,
            id,
            ended: false,
        }
    }

    /// The id of the stream here.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Says through which socket the other side is reached, where, and under which id it knows the stream. Nothing is sent for it. The second call does
    /// nothing.
    pub fn connect(&self, socket: &Socket, remote_id: u32, remote: SocketAddr) {
        self.udx.with(self.id, |slot, now| {
            slot.connect(socket, remote_id, remote, now);
        });
    }

    /// Goes on through another socket, or to another address, or at another peer: a relay that steps in or out. Does nothing before
    /// [`connect`](Self::connect). [`remote_changed`](Self::remote_changed) waits until the earlier way is not needed any more.
    pub fn change_remote(&self, socket: &Socket, remote_id: u32, remote: SocketAddr) {
        self.udx.with(self.id, |slot, now| {
            slot.change_remote(socket, remote_id, remote, now);
        });
    }

    /// Resolves when all that was sent before [`change_remote`](Self::change_remote) has arrived; false when the stream is gone before.
    pub async fn remote_changed(&self) -> bool {
        std::future::poll_fn(|cx| {
            let done = self.udx.peek(self.id, |slot| match slot.closed {
                Some(_) => Poll::Ready(false),
                None if !slot.stream.is_changing() => Poll::Ready(true),
                None => {
                    slot.flusher = Some(cx.waker().clone());
                    Poll::Pending
                }
            });
            done.unwrap_or(Poll::Ready(false))
        })
        .await
    }

    /// Makes of this stream one end of a relay: each packet that comes in for it goes out through `destination`, unread and unanswered; call it the
    /// other way round too. What arrives before `destination` is connected waits for that, 64 packets of it. A DESTROY that passes closes this stream
    /// with [`StreamError::Reset`]; when either of the two closes, the other one does too. Neither side is told of it: they may have moved on. Both must be of
    /// one [`Udx`].
    ///
    /// # Errors
    /// `InvalidInput` when they are not, or are the same; `NotConnected` when one is gone.
    pub fn relay_to(&self, destination: &Duplex) -> io::Result<()> {
        if !Arc::ptr_eq(&self.udx.table, &destination.udx.table) || self.id == destination.id {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a stream is relayed to another one of the same sockets",
            ));
        }
        match relay_to(&mut self.udx.table.slots.lock(), self.id, destination.id) {
            true => Ok(()),
            false => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// What connects the stream where it is not at hand: in its [`Firewall`], which learns from where its first packet came.
    pub fn connector(&self) -> Connector {
        Connector {
            table: Arc::downgrade(&self.udx.table),
            id: self.id,
        }
    }

    /// Decides about packets that come in through other sockets (default: they are dropped).
    pub fn set_firewall(&self, firewall: Option<Firewall>) {
        self.udx.peek(self.id, |slot| slot.firewall = firewall);
    }

    /// Asks the [`Firewall`] about packets, too, that come in through the stream's own socket, but not from where the other side is (default: they are taken,
    /// as libudx does).
    pub fn set_strict(&self, strict: bool) {
        self.udx.peek(self.id, |slot| slot.strict = strict);
    }

    /// Asks for a packet after so long without one.
    pub fn set_keep_alive(&self, every: Option<Duration>) {
        self.udx
            .with(self.id, |slot, now| slot.stream.set_keep_alive(every, now));
    }

    /// Where the other side is.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        let remote = |slot: &mut Slot| slot.stream.remote();
        self.udx.peek(self.id, remote).flatten().map(|(_, at)| at)
    }

    /// The id that the other side has for the stream, once it is connected.
    pub fn remote_id(&self) -> Option<u32> {
        let remote = |slot: &mut Slot| slot.stream.remote();
        self.udx.peek(self.id, remote).flatten().map(|(id, _)| id)
    }

    /// Where its packets go out, once it is connected.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        let socket = |slot: &mut Slot| slot.socket.clone();
        let socket = self.udx.peek(self.id, socket).flatten();
        socket.map(|socket| socket.local_addr())
    }

    /// How it goes at the moment.
    pub fn state(&self) -> StreamState {
        self.udx
            .peek(self.id, |slot| slot.stream.state())
            .unwrap_or_default()
    }

    /// What was counted so far.
    pub fn stats(&self) -> StreamStats {
        self.udx
            .peek(self.id, |slot| slot.stream.stats())
            .unwrap_or_default()
    }

    /// Round-trip time, largest IP packet in bytes, bytes a second that the path was seen to carry.
    pub fn path(&self) -> (Option<Duration>, u16, f64) {
        self.udx.peek(self.id, path).unwrap_or((None, 0, 0.0))
    }

    /// Sends a message for itself, which may be lost or overtaken. False when it is too long for one packet or nobody is connected.
    pub fn send(&self, message: Bytes) -> bool {
        self.udx
            .with(self.id, |slot, _| slot.stream.send(message))
            .unwrap_or(false)
    }

    /// The next message; `None` when the stream is gone.
    pub async fn recv(&self) -> Option<Bytes> {
        std::future::poll_fn(|cx| {
            let next = self.udx.peek(self.id, |slot| match slot.next_message() {
                Some(message) => Poll::Ready(Some(message)),
                None if slot.closed.is_some() => Poll::Ready(None),
                None => {
                    slot.listener = Some(cx.waker().clone());
                    Poll::Pending
                }
            });
            next.unwrap_or(Poll::Ready(None))
        })
        .await
    }

    /// Resolves when all that was written has arrived; false when the stream is gone before.
    pub async fn flushed(&self) -> bool {
        std::future::poll_fn(|cx| {
            let done = self.udx.peek(self.id, |slot| match slot.closed {
                _ if slot.flushed => Poll::Ready(true),
                Some(_) => Poll::Ready(false),
                None => {
                    slot.flusher = Some(cx.waker().clone());
                    Poll::Pending
                }
            });
            done.unwrap_or(Poll::Ready(false))
        })
        .await
    }

    /// Resolves when the stream is gone: both sides have ended, one has destroyed it, or the other side does not answer.
    ///
    /// # Errors
    /// Why, when it was not this side or both that ended it.
    pub async fn closed(&self) -> Result<(), StreamError> {
        std::future::poll_fn(|cx| {
            let why = self.udx.peek(self.id, |slot| match slot.closed {
                Some(why) => Poll::Ready(why.map_or(Ok(()), Err)),
                None => {
                    slot.closer = Some(cx.waker().clone());
                    Poll::Pending
                }
            });
            why.unwrap_or(Poll::Ready(Ok(())))
        })
        .await
    }

    /// Ends the stream at once, in both directions, and tells the other side.
    pub fn destroy(&mut self) {
        self.ended = true;
        self.udx.with(self.id, |slot, _| slot.destroy());
    }

    /// Writes without a copy; resolves when there is room for it.
    ///
    /// # Errors
    /// `TimedOut`, `ConnectionReset`, or `BrokenPipe` after the end.
    pub async fn write_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        let mut bytes = Some(bytes);
        std::future::poll_fn(|cx| self.poll_put(cx, || bytes.take().unwrap_or_default())).await
    }

    fn poll_put(
        &self,
        cx: &mut Context<'_>,
        bytes: impl FnOnce() -> Bytes,
    ) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let put = self.udx.with(self.id, |slot, _| {
            if let Some(why) = slot.closed {
                return Poll::Ready(Err(failed(why)));
            }
            if !slot.room {
                slot.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            slot.flushed = false;
            slot.room = slot.stream.write(bytes());
            Poll::Ready(Ok(()))
        });
        put.unwrap_or_else(|| Poll::Ready(Err(failed(None))))
    }
}

/// Looks at a stream, connects and moves it without holding it: see [`Duplex::connector`]. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    table: Weak<Table>,
    id: u32,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// As [`Duplex::connect`]; nothing when the stream is gone.
    pub fn connect(&self, socket: &Socket, remote_id: u32, remote: SocketAddr) {
        if let Some(table) = self.table.upgrade() {
            Udx { table }.with(self.id, |slot, now| {
                slot.connect(socket, remote_id, remote, now);
            });
        }
    }

    /// As [`Duplex::change_remote`]; nothing when the stream is gone.
    pub fn change_remote(&self, socket: &Socket, remote_id: u32, remote: SocketAddr) {
        if let Some(table) = self.table.upgrade() {
            Udx { table }.with(self.id, |slot, now| {
                slot.change_remote(socket, remote_id, remote, now);
            });
        }
    }

    fn peek<T>(&self, look: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let table = self.table.upgrade()?;
        Udx { table }.peek(self.id, look)
    }

    /// The socket that the stream goes through, and where the other side is; `None` before it is connected and after its end.
    pub fn way(&self) -> Option<(Socket, SocketAddr)> {
        let way = |slot: &mut Slot| {
            let (_, remote) = slot.stream.remote().filter(|_| slot.closed.is_none())?;
            Some((slot.socket.clone()?, remote))
        };
        self.peek(way).flatten()
    }

    /// As [`Duplex::remote_addr`].
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        let remote = |slot: &mut Slot| slot.stream.remote();
        self.peek(remote).flatten().map(|(_, at)| at)
    }

    /// As [`Duplex::stats`].
    pub fn stats(&self) -> StreamStats {
        self.peek(|slot| slot.stream.stats()).unwrap_or_default()
    }

    /// As [`Duplex::state`].
    pub fn state(&self) -> StreamState {
        self.peek(|slot| slot.stream.state()).unwrap_or_default()
    }

    /// As [`Duplex::path`].
    pub fn path(&self) -> (Option<Duration>, u16, f64) {
        self.peek(path).unwrap_or((None, 0, 0.0))
    }

    /// True as long as the stream is not closed.
    pub fn is_open(&self) -> bool {
        self.peek(|slot| slot.closed.is_none()).unwrap_or(false)
    }

    /// All that was sent before [`change_remote`](Self::change_remote) has arrived.
    pub fn has_changed(&self) -> bool {
        self.peek(|slot| !slot.stream.is_changing()).unwrap_or(true)
    }

    /// Something came from where the other side is since [`connect`](Self::connect) or [`change_remote`](Self::change_remote) said so.
    pub fn is_heard(&self) -> bool {
        self.peek(|slot| slot.stream.is_heard()).unwrap_or(false)
    }

    /// The way before [`change_remote`](Self::change_remote) is not needed any more: the other side goes by the new one, and all that either sent before
    /// has arrived. The same for a stream that was connected once, whose other side began elsewhere.
    pub fn is_settled(&self) -> bool {
        self.peek(|slot| slot.stream.is_settled()).unwrap_or(true)
    }

    /// Sends a packet to the stream `id` at another place, through `socket`: a relay learns from it where to send what comes for this stream, and hands on what it
    /// says to the other side, which is how far the stream is.
    pub fn greet(&self, socket: &Socket, id: u32, to: SocketAddr) {
        self.peek(|slot| slot.greet(socket, id, to));
    }

    /// Asks the other side for a packet, which it sends at once.
    pub fn ask_for_sign(&self) {
        if let Some(table) = self.table.upgrade() {
            Udx { table }.with(self.id, |slot, _| slot.stream.ask_for_sign());
        }
    }

    /// As [`Duplex::send`].
    pub fn send(&self, message: Bytes) -> bool {
        let Some(table) = self.table.upgrade() else {
            return false;
        };
        let sent = Udx { table }.with(self.id, |slot, _| slot.stream.send(message));
        sent.unwrap_or(false)
    }

    /// As [`Duplex::destroy`].
    pub fn destroy(&self) {
        if let Some(table) = self.table.upgrade() {
            Udx { table }.with(self.id, |slot, _| slot.destroy());
        }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.udx.with(self.id, |slot, _| {
            let before = buf.filled().len();
            while buf.remaining() > 0
                && let Some(first) = slot.front()
            {
                let len = first.len().min(buf.remaining());
                buf.put_slice(&first[..len]);
                first.advance(len);
                if first.is_empty() {
                    slot.pop_front();
                }
            }
            let len = buf.filled().len() - before;
            if len > 0 {
                slot.stream.consumed(len);
                return Poll::Ready(Ok(()));
            }
            match slot.closed {
                _ if slot.ended || buf.remaining() == 0 => Poll::Ready(Ok(())),
                Some(None) => Poll::Ready(Ok(())),
                Some(why) => Poll::Ready(Err(failed(why))),
                None => {
                    slot.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        read.unwrap_or(Poll::Ready(Ok(())))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        /// Larger writes are taken in parts, so that the memory of a stream stays bounded.
        const MOST: usize = 256 << 10;
        let part = &buf[..buf.len().min(MOST)];
        self.poll_put(cx, || Bytes::copy_from_slice(part))
            .map_ok(|()| part.len())
    }

    /// Everything is on its way already; [`Duplex::flushed`] waits until it has arrived.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            self.ended = true;
            self.udx.with(self.id, |slot, _| slot.stream.end());
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        let ended = self.ended;
        self.udx.with(self.id, |slot, _| {
            slot.orphan = true;
            if !ended || slot.socket.is_none() {
                slot.destroy();
            }
            // Nobody reads any more: what the other side still writes is thrown away, so that it can end.
            while let Some(bytes) = slot.pop_front() {
                slot.stream.consumed(bytes.len());
            }
        });
    }
}
