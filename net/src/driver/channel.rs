//! One channel of a connection, and the opens of a peer that somebody listens for.

use super::connection::{Guard, Inner, wait};
use crate::{
    Error,
    protomux::{ChannelId, ChannelOptions, Pairing, Topic},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::VecDeque, fmt, sync::Arc};
use tokio::sync::{Notify, mpsc};

/// From this many bytes that no [`Channel::recv`] has taken, in all channels of a connection, nothing more is read from the peer. Each message
/// counts 512 more than it has.
pub(super) const RECEIVED_MAX: usize = 1 << 20;

/// What came for one channel.
#[derive(Default)]
pub(super) struct Inbox {
    pub(super) state: Mutex<InboxState>,
    pub(super) changed: Notify,
}

#[derive(Default)]
pub(super) struct InboxState {
    pub(super) handshake: Option<Bytes>,
    pub(super) messages: VecDeque<(u64, Bytes)>,
    pub(super) closed: bool,
}

pub(super) fn cost(body: &Bytes) -> usize {
    512 + body.len()
}

/// A channel to the peer. Closes when it is dropped.
pub struct Channel {
    guard: Arc<Guard>,
    id: ChannelId,
    topic: Topic,
    inbox: Arc<Inbox>,
}

impl Channel {
    pub(super) fn new(guard: Arc<Guard>, inner: &mut Inner, id: ChannelId, topic: Topic) -> Self {
        let inbox = Arc::new(Inbox::default());
        inner.inboxes.insert(id, inbox.clone());
        Self {
            guard,
            id,
            topic,
            inbox,
        }
    }

    /// The protocol and id that it speaks about.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Waits until the peer has opened too; its handshake comes back, or `None` when it rejected or closed the channel (npm `fullyOpened`).
    pub async fn opened(&self) -> Option<Bytes> {
        wait(&self.inbox.changed, || {
            let state = self.inbox.state.lock();
            match &state.handshake {
                Some(handshake) => Some(Some(handshake.clone())),
                None => state.closed.then_some(None),
            }
        })
        .await
    }

    /// Sends a message as soon as there is room; `kind` is its number within the protocol. Cancelled before, it sends nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when the channel is; [`Error::TooLarge`]; why the connection failed.
    pub async fn send(&self, kind: u64, body: Bytes) -> Result<(), Error> {
        let shared = &self.guard.0;
        wait(&shared.drained, || {
            let mut inner = shared.inner.lock();
            if let Some(Err(error)) = &inner.over {
                return Some(Err(error.clone()));
            }
            if !inner.mux.is_drained() && inner.over.is_none() {
                return None;
            }
            let sent = inner.mux.send(self.id, kind, body.clone());
            inner.wake();
            Some(sent.map(|_| ()))
        })
        .await
    }

    /// Sends a message whether or not there is room. False: it is time to wait, as with npm's `send`.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_now(&self, kind: u64, body: Bytes) -> Result<bool, Error> {
        let mut inner = self.guard.0.inner.lock();
        let drained = inner.mux.send(self.id, kind, body)?;
        inner.wake();
        Ok(drained)
    }

    /// The next message and its kind; `None` when the channel was closed. Cancel safe.
    ///
    /// # Errors
    /// Why the connection failed.
    pub async fn recv(&self) -> Result<Option<(u64, Bytes)>, Error> {
        let message = wait(&self.inbox.changed, || {
            let mut state = self.inbox.state.lock();
            match state.messages.pop_front() {
                Some(message) => Some(Some(message)),
                None => state.closed.then_some(None),
            }
        })
        .await;
        let mut inner = self.guard.0.inner.lock();
        match &message {
            Some((_, body)) => {
                let before = inner.received;
                inner.received = before.saturating_sub(cost(body));
                if before >= RECEIVED_MAX {
                    inner.wake();
                }
            }
            None => {
                if let Some(Err(error)) = &inner.over {
                    return Err(error.clone());
                }
            }
        }
        Ok(message)
    }

    /// Waits until the channel is closed, by whichever side.
    pub async fn closed(&self) {
        wait(&self.inbox.changed, || {
            self.inbox.state.lock().closed.then_some(())
        })
        .await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let mut inner = self.guard.0.inner.lock();
        inner.mux.close(self.id);
        if inner.inboxes.remove(&self.id).is_some() {
            let state = self.inbox.state.lock();
            let left: usize = state.messages.iter().map(|(_, body)| cost(body)).sum();
            inner.received = inner.received.saturating_sub(left);
        }
        inner.wake();
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// Hears of the channels that the peer opens. See [`Connection::pair`](super::Connection::pair).
pub struct Listener {
    guard: Arc<Guard>,
    /// Holds no more than [`PAIRINGS_MAX`](crate::protomux::PAIRINGS_MAX).
    receiver: mpsc::UnboundedReceiver<Incoming>,
}

impl Listener {
    pub(super) fn new(guard: Arc<Guard>, receiver: mpsc::UnboundedReceiver<Incoming>) -> Self {
        Self { guard, receiver }
    }

    /// The next open; `None` when the connection is over, or another listener took this one's place. Cancel safe.
    pub async fn next(&mut self) -> Option<Incoming> {
        let mut incoming = self.receiver.recv().await?;
        incoming.guard = Some(self.guard.clone());
        Some(incoming)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

/// A channel that the peer opens. Dropped, it is rejected.
pub struct Incoming {
    shared: Arc<super::connection::Shared>,
    /// Only there once a listener has it: what waits in its queue must not keep the connection alive.
    guard: Option<Arc<Guard>>,
    pairing: Option<Pairing>,
}

impl Incoming {
    pub(super) fn new(shared: Arc<super::connection::Shared>, pairing: Pairing) -> Self {
        Self {
            shared,
            guard: None,
            pairing: Some(pairing),
        }
    }

    /// Takes the pairing out; nothing happens any more when it is dropped.
    pub(super) fn into_pairing(mut self) -> Option<Pairing> {
        self.pairing.take()
    }

    /// What it is about.
    pub fn topic(&self) -> &Topic {
        &self
            .pairing
            .as_ref()
            .expect("there until it is dropped")
            .topic
    }

    /// Opens our side.
    ///
    /// # Errors
    /// [`Error::Closed`] when there is a channel under this topic and it is not [`ChannelOptions::shared`]; as
    /// [`Protomux::open`](crate::protomux::Protomux::open).
    pub fn accept(self, options: ChannelOptions<'_>) -> Result<Channel, Error> {
        let guard = self.guard.clone().ok_or(Error::Closed)?;
        let topic = self.topic().clone();
        let mut inner = self.shared.inner.lock();
        let id = inner.mux.open(&topic, options)?.ok_or(Error::Closed)?;
        Ok(Channel::new(guard, &mut inner, id, topic))
        // Dropping `self` settles the pairing and wakes the task.
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(pairing) = self.pairing.take() {
            let mut inner = self.shared.inner.lock();
            inner.mux.settle(pairing);
            inner.wake();
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("topic", self.topic())
            .finish_non_exhaustive()
    }
}
