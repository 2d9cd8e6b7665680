//! A stream in the hands of its user: bytes in order, messages out of order.

use super::{Firewall, Socket, StreamError, StreamStats, Udx};
use bytes::{Buf, Bytes};
use std::{
    fmt, io,
    net::SocketAddr,
    pin::Pin,
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
            if slot.socket.is_none() {
                slot.socket = Some(socket.clone());
                slot.stream.connect(remote_id, remote, now);
            }
        });
    }

    /// Goes on through another socket, or to another address.
    pub fn change_remote(&self, socket: &Socket, remote_id: u32, remote: SocketAddr) {
        self.udx.with(self.id, |slot, now| {
            slot.socket = Some(socket.clone());
            slot.stream.change_remote(remote_id, remote, now);
        });
    }

    /// Decides about packets that come in through other sockets (default: they are dropped).
    pub fn set_firewall(&self, firewall: Option<Firewall>) {
        self.udx.peek(self.id, |slot| slot.set_firewall(firewall));
    }

    /// Asks for a packet after so long without one.
    pub fn set_keep_alive(&self, every: Option<Duration>) {
        self.udx
            .with(self.id, |slot, now| slot.stream.set_keep_alive(every, now));
    }

    /// Where the other side is.
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        let remote = |slot: &mut super::socket::Slot| slot.stream.remote();
        self.udx.peek(self.id, remote).flatten().map(|(_, at)| at)
    }

    /// What was counted so far.
    pub fn stats(&self) -> StreamStats {
        self.udx
            .peek(self.id, |slot| slot.stream.stats())
            .unwrap_or_default()
    }

    /// Round-trip time, largest IP packet in bytes, bytes a second that the path was seen to carry.
    pub fn path(&self) -> (Option<Duration>, u16, f64) {
        let look = |slot: &mut super::socket::Slot| {
            (
                slot.stream.rtt(),
                slot.stream.mtu(),
                slot.stream.bandwidth(),
            )
        };
        self.udx.peek(self.id, look).unwrap_or((None, 0, 0.0))
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
            let next = self
                .udx
                .peek(self.id, |slot| match slot.messages.pop_front() {
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

    /// Ends the stream at once, in both directions, and tells the other side.
    pub fn destroy(&mut self) {
        self.ended = true;
        self.udx.with(self.id, |slot, _| slot.stream.destroy());
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

impl AsyncRead for Duplex {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.udx.with(self.id, |slot, _| {
            let before = buf.filled().len();
            while buf.remaining() > 0
                && let Some(first) = slot.read.front_mut()
            {
                let len = first.len().min(buf.remaining());
                buf.put_slice(&first[..len]);
                first.advance(len);
                if first.is_empty() {
                    slot.read.pop_front();
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
                slot.stream.destroy();
            }
            // Nobody reads any more: what the other side still writes is thrown away, so that it can end.
            let unread: usize = slot.read.drain(..).map(|bytes| bytes.len()).sum();
            slot.stream.consumed(unread);
        });
    }
}
