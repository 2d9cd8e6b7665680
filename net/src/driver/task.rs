//! The task of one connection: a future that is polled when its socket, a handle or a clock has something for it.

use super::{
    channel::{Incoming, RECEIVED_MAX, cost},
    connection::{ConnectionOptions, Peer, Shared},
    messages::Plain,
    replicate::Replicating,
};
use crate::{
    Error,
    protomux::{Event as MuxEvent, Pairing, UNSENT_HIGH},
    secret_stream::{Event as StreamEvent, SecretStream},
};
use bytes::{Buf, Bytes};
use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::Sleep,
};

/// Bytes that are read before what they bring is stored and answered.
const READ_TOGETHER: u64 = 1 << 20;

/// How a connection ends.
type Over = Result<(), Error>;

pub(super) struct Task<S> {
    shared: Arc<Shared>,
    socket: S,
    stream: SecretStream,
    options: ConnectionOptions,
    replications: Vec<Replicating>,
    /// Came before anybody wanted to hear it.
    held: Option<Bytes>,
    /// Being written to the socket.
    writing: Bytes,
    flushed: bool,
    /// The muxer has nothing more to say.
    ended: bool,
    write_ended: bool,
    read_ended: bool,
    /// From the socket, ever.
    read_bytes: u64,
    started: Instant,
    /// Since when we wait for the peer to end, too.
    ending_since: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Task<S> {
    pub(super) fn new(
        shared: Arc<Shared>,
        socket: S,
        stream: SecretStream,
        options: ConnectionOptions,
    ) -> Self {
        Self {
            shared,
            socket,
            stream,
            options,
            replications: Vec::new(),
            held: None,
            writing: Bytes::new(),
            flushed: true,
            ended: false,
            write_ended: false,
            read_ended: false,
            read_bytes: 0,
            started: Instant::now(),
            ending_since: None,
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// Does all that can be done now. Ready: the connection is over.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let now = Instant::now();
            if self.is_out_of_time(now)? || self.obey(cx, now)? {
                return Poll::Ready(Ok(()));
            }
            let mut busy = self.read_much(cx, now)?;
            for replicating in &mut self.replications {
                busy |= replicating.poll(cx, &self.shared, now)?;
            }
            busy |= self.fill(now)?;
            busy |= self.write(cx)?;
            if self.write_ended && self.read_ended {
                return Poll::Ready(Ok(()));
            }
            if !busy && self.poll_clock(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// What the handles want. True when they want it to be over.
    fn obey(&mut self, cx: &Context<'_>, now: Instant) -> Result<bool, Error> {
        let mut inner = self.shared.inner.lock();
        // Set before anything is looked at, so that a change that comes later wakes us again.
        inner.waker = Some(cx.waker().clone());
        if let Some(over) = inner.aborted.take() {
            return over.map(|()| true);
        }
        if inner.ending && self.ending_since.is_none() {
            self.ending_since = Some(now);
        }
        if let Some(peer) = self.shared.peer.get() {
            for joining in std::mem::take(&mut inner.joining) {
                let started = joining.start(peer, self.shared.role, &mut inner.mux, now);
                self.replications.extend(started);
                inner.interested = true;
            }
        }
        Ok(false)
    }

    /// True when the peer was asked to end long ago, and is left alone with its side.
    fn is_out_of_time(&mut self, now: Instant) -> Result<bool, Error> {
        self.stream.handle_timeout(now)?;
        let waits = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if !self.stream.is_open()
            && let Some(limit) = self.options.handshake_timeout
            && waits(self.started, limit)
        {
            return Err(Error::TimedOut);
        }
        Ok(self
            .ending_since
            .is_some_and(|since| waits(since, self.options.close_timeout)))
    }

    /// Sleeps until the next timeout; ready when it has come.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let handshake = self
            .options
            .handshake_timeout
            .filter(|_| !self.stream.is_open())
            .map(|limit| self.started + limit);
        let close = self
            .ending_since
            .map(|since| since + self.options.close_timeout);
        let replications = self.replications.iter_mut().map(Replicating::poll_timeout);
        let next = replications
            .chain([self.stream.poll_timeout(), handshake, close])
            .flatten()
            .min();
        let Some(next) = next else {
            return Poll::Pending;
        };
        let next = tokio::time::Instant::from_std(next);
        if self.sleep.deadline() != next {
            self.sleep.as_mut().reset(next);
        }
        self.sleep.as_mut().poll(cx)
    }

    /// Reads as long as there is something, up to a bound: blocks that are checked together are hashed several at once, and stored as one commit.
    fn read_much(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Error> {
        let mut busy = false;
        let mut bytes = 0;
        loop {
            let before = self.read_bytes;
            if !self.read(cx, now)? {
                return Ok(busy);
            }
            busy = true;
            bytes += self.read_bytes - before;
            // the end of the stream, or something that is no reading: the others go on first
            if self.read_bytes == before || bytes >= READ_TOGETHER {
                return Ok(true);
            }
        }
    }

    /// Handles all that came, then reads once more. True when something happened.
    fn read(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, Error> {
        let mut busy = false;
        loop {
            busy |= self.handle_mux(now)?;
            {
                let mut inner = self.shared.inner.lock();
                if !inner.mux.wants_frame() || inner.received >= RECEIVED_MAX {
                    return Ok(busy);
                }
                let is_heard = inner.pauses == 0;
                if inner.plain.is_some()
                    && let Some(held) = self.held.take_if(|_| is_heard)
                {
                    inner.received += cost(&held);
                    if let Some(plain) = &mut inner.plain {
                        plain.push(held);
                    }
                    drop(inner);
                    self.shared.received.notify_waiters();
                    busy = true;
                    continue;
                }
                if let Some(held) = self.held.take_if(|_| is_heard && inner.interested) {
                    inner.mux.handle_frame(held);
                    busy = true;
                    continue;
                }
            }
            if self.held.is_some() {
                return Ok(busy);
            }
            match self.stream.poll(now)? {
                Some(StreamEvent::Message(message)) if message.is_empty() => {}
                Some(StreamEvent::Message(message)) => self.held = Some(message),
                Some(StreamEvent::Open) => self.open(),
                // npm's muxer ends its side, too, when the peer does.
                Some(StreamEvent::End) => self.peer_ended(),
                None => break,
            }
            busy = true;
        }
        if self.read_ended {
            return Ok(busy);
        }
        let buffer = self.stream.read_buffer();
        let Poll::Ready(read) = pin!(self.socket.read_buf(buffer)).poll(cx) else {
            return Ok(busy);
        };
        match read? {
            0 => {
                self.read_ended = true;
                self.stream.handle_end();
            }
            count => {
                self.read_bytes += count as u64;
                self.stream.handle_read(now, count);
            }
        }
        Ok(true)
    }

    fn peer_ended(&self) {
        let mut inner = self.shared.inner.lock();
        match &mut inner.plain {
            Some(plain) => plain.ended = true,
            None => inner.ending = true,
        }
        drop(inner);
        self.shared.received.notify_waiters();
    }

    /// Hands on what the muxer says. True when it said something.
    fn handle_mux(&mut self, now: Instant) -> Result<bool, Error> {
        let mut busy = false;
        loop {
            let event = {
                let mut inner = self.shared.inner.lock();
                let waits = inner.pauses > 0 || inner.received >= RECEIVED_MAX;
                if waits && inner.over.is_none() {
                    return Ok(busy);
                }
                inner.mux.poll()?
            };
            let Some(event) = event else {
                return Ok(busy);
            };
            busy = true;
            let event = self
                .replications
                .iter_mut()
                .try_fold(event, |event, replicating| {
                    replicating.handle(event, now).ok_or(())
                });
            match event {
                Err(()) => {}
                Ok(MuxEvent::Pair(pairing)) => self.offer(pairing),
                Ok(MuxEvent::Drained) => self.shared.drained.notify_waiters(),
                Ok(event) => self.deliver(event),
            }
        }
    }

    /// Tells a listener, or has the channel rejected.
    fn offer(&self, pairing: Pairing) {
        let mut inner = self.shared.inner.lock();
        let topic = pairing.topic.clone();
        let incoming = Incoming::new(self.shared.clone(), pairing);
        let listener = inner.listeners.get(&topic);
        let is_any = listener.is_none();
        let unwanted = match listener.or_else(|| inner.listeners_any.get(&topic.protocol)) {
            Some(listener) => listener.send(incoming).err().map(|error| error.0),
            None => Some(incoming),
        };
        let Some(pairing) = unwanted.and_then(Incoming::into_pairing) else {
            return;
        };
        inner.mux.settle(pairing);
        // Nobody listens any more. A sender is dropped outside of the lock: what may be left in its queue takes it.
        let gone = if is_any {
            let gone = inner.listeners_any.remove(&topic.protocol);
            if gone.is_some() {
                inner.mux.unpair_any(&topic.protocol);
            }
            gone
        } else {
            inner.mux.unpair(&topic);
            inner.listeners.remove(&topic)
        };
        drop(inner);
        drop(gone);
    }

    /// Puts what concerns one channel where its handle finds it.
    fn deliver(&self, event: MuxEvent) {
        let mut inner = self.shared.inner.lock();
        let (MuxEvent::Opened { channel, .. }
        | MuxEvent::Message { channel, .. }
        | MuxEvent::Closed { channel, .. }) = &event
        else {
            return;
        };
        let Some(inbox) = inner.inboxes.get(channel).cloned() else {
            return;
        };
        let mut state = inbox.state.lock();
        match event {
            MuxEvent::Opened { handshake, .. } => state.handshake = Some(handshake),
            MuxEvent::Message { kind, body, .. } => {
                inner.received += cost(&body);
                state.messages.push_back((kind, body));
            }
            _ => state.closed = true,
        }
        drop(state);
        inbox.changed.notify_waiters();
    }

    fn open(&mut self) {
        if let (Some(remote_public_key), Some(handshake_hash)) = (
            self.stream.remote_public_key(),
            self.stream.handshake_hash(),
        ) {
            self.shared.peer.get_or_init(|| Peer {
                remote_public_key,
                handshake_hash: *handshake_hash,
            });
        }
        self.shared.opened.notify_waiters();
    }

    /// Moves frames from the muxer into the stream, as far as there is room. True when one was moved.
    fn fill(&mut self, now: Instant) -> Result<bool, Error> {
        let mut busy = false;
        let mut inner = self.shared.inner.lock();
        while self.stream.unsent_bytes() + self.writing.len() < UNSENT_HIGH
            && let Some(frame) = inner.mux.poll_transmit()
        {
            busy = true;
            // What is said after the end goes nowhere.
            if !self.ended {
                self.stream.write(now, frame.pieces())?;
            }
        }
        while self.stream.unsent_bytes() + self.writing.len() < UNSENT_HIGH
            && let Some(message) = inner.plain.as_mut().and_then(Plain::next)
        {
            busy = true;
            self.stream.write(now, &[message])?;
            self.shared.drained.notify_waiters();
        }
        let is_sent = inner.plain.as_ref().is_none_or(Plain::is_sent);
        if inner.ending && !self.ended && inner.mux.unsent_bytes() == 0 && is_sent {
            self.ended = true;
            self.stream.end();
        }
        Ok(busy)
    }

    /// Writes as much as the socket takes. True when it took something.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<bool, Error> {
        let mut busy = false;
        loop {
            if self.writing.is_empty() {
                match self.stream.poll_transmit() {
                    Some(bytes) => self.writing = bytes,
                    None => break,
                }
            }
            match Pin::new(&mut self.socket).poll_write(cx, &self.writing) {
                Poll::Pending => return Ok(busy),
                Poll::Ready(written) => match written? {
                    0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                    count => self.writing.advance(count),
                },
            }
            self.flushed = false;
            busy = true;
        }
        if !self.flushed {
            let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx) else {
                return Ok(busy);
            };
            flushed?;
            self.flushed = true;
        }
        if self.stream.is_write_done() && !self.write_ended {
            let Poll::Ready(ended) = Pin::new(&mut self.socket).poll_shutdown(cx) else {
                return Ok(busy);
            };
            ended?;
            self.write_ended = true;
            busy = true;
        }
        Ok(busy)
    }
}

impl<S> Task<S> {
    /// Tells everybody that it is over. What came before is still there to be received.
    fn finish(&mut self, over: Over) {
        let mut inner = self.shared.inner.lock();
        if inner.over.is_some() {
            return;
        }
        inner.over = Some(over.clone());
        inner.mux.shutdown();
        inner.waker = None;
        let inboxes: Vec<_> = inner.inboxes.values().cloned().collect();
        let listeners = std::mem::take(&mut inner.listeners);
        let listeners_any = std::mem::take(&mut inner.listeners_any);
        let joining = std::mem::take(&mut inner.joining);
        drop(inner);
        drop((listeners, listeners_any));
        for joining in joining {
            joining.abandon(&over);
        }
        self.replications.clear();
        for inbox in inboxes {
            inbox.state.lock().closed = true;
            inbox.changed.notify_waiters();
        }
        self.shared.opened.notify_waiters();
        self.shared.drained.notify_waiters();
        self.shared.received.notify_waiters();
        self.shared.closed.notify_waiters();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Task<S> {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = &mut *self;
        task.poll_all(cx).map(|over| {
            if let Err(error) = &over {
                tracing::debug!(code = error.code(), %error, "a connection ended");
            }
            task.finish(over);
        })
    }
}

impl<S> Drop for Task<S> {
    /// The runtime ended before the connection did.
    fn drop(&mut self) {
        self.finish(Err(Error::Closed));
    }
}
