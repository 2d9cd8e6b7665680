//! The messages of a connection as they are, without channels: for who speaks another protocol over it, or hands it on.

use super::connection::{Connection, Guard, Inner, wait};
use crate::{Error, protomux::UNSENT_HIGH};
use bytes::Bytes;
use std::{collections::VecDeque, fmt, sync::Arc};

/// What is received and sent without a muxer.
#[derive(Default)]
pub(super) struct Plain {
    received: VecDeque<Bytes>,
    unsent: VecDeque<Bytes>,
    unsent_bytes: usize,
    /// The peer will say nothing more.
    pub(super) ended: bool,
}

impl Plain {
    pub(super) fn push(&mut self, message: Bytes) {
        self.received.push_back(message);
    }

    /// What is to be sent next.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        let message = self.unsent.pop_front()?;
        self.unsent_bytes -= message.len();
        Some(message)
    }

    pub(super) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    fn is_drained(&self) -> bool {
        self.unsent_bytes < UNSENT_HIGH
    }
}

/// A connection's messages as they are; see [`Connection::messages`].
pub struct Messages {
    guard: Arc<Guard>,
}

impl Connection {
    /// Speaks in plain messages from now on (npm: the secret stream itself, without Protomux): nothing that the peer says is taken for that of a muxer.
    /// To be called before anything was opened, paired or replicated; of two such handles each message goes to one.
    ///
    /// ```
    /// use pome_cores::KeyPair;
    /// use pome_net::{driver::Connection, noise::Role};
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// let (ours, theirs) = tokio::io::duplex(4096);
    /// let a = Connection::over(ours, Role::Initiator, &KeyPair::random(), Default::default())?.messages();
    /// let b = Connection::over(theirs, Role::Responder, &KeyPair::random(), Default::default())?.messages();
    /// a.send("hello".into()).await?;
    /// a.end();
    /// assert_eq!(b.recv().await?, Some("hello".into()));
    /// assert_eq!(b.recv().await?, None);
    /// # Ok::<(), pome_net::Error>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn messages(&self) -> Messages {
        let mut inner = self.shared().inner.lock();
        inner.plain.get_or_insert_default();
        inner.interested = true;
        inner.wake();
        Messages {
            guard: self.guard.clone(),
        }
    }
}

impl Messages {
    fn plain(inner: &mut Inner) -> &mut Plain {
        inner.plain.get_or_insert_default()
    }

    /// Sends a message as soon as there is room. Cancelled before, it sends nothing.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is over, or why it failed; [`Error::TooLarge`].
    pub async fn send(&self, message: Bytes) -> Result<(), Error> {
        let max = crate::secret_stream::MESSAGE_MAX;
        if message.len() > max {
            let bytes = message.len();
            return Err(Error::TooLarge { bytes, max });
        }
        let shared = &self.guard.0;
        wait(&shared.drained, || {
            let mut inner = shared.inner.lock();
            match &inner.over {
                Some(Err(error)) => return Some(Err(error.clone())),
                Some(Ok(())) => return Some(Err(Error::Closed)),
                None if inner.ending => return Some(Err(Error::Closed)),
                None => {}
            }
            let plain = Self::plain(&mut inner);
            if !plain.is_drained() {
                return None;
            }
            plain.unsent_bytes += message.len();
            plain.unsent.push_back(message.clone());
            inner.wake();
            Some(Ok(()))
        })
        .await
    }

    /// The next message; `None` when the peer has ended its side. Cancel safe.
    ///
    /// # Errors
    /// Why the connection failed.
    pub async fn recv(&self) -> Result<Option<Bytes>, Error> {
        let shared = &self.guard.0;
        wait(&shared.received, || {
            let mut inner = shared.inner.lock();
            let over = inner.over.clone();
            let plain = Self::plain(&mut inner);
            match plain.received.pop_front() {
                Some(message) => {
                    inner.received -= super::channel::cost(&message);
                    inner.wake();
                    Some(Ok(Some(message)))
                }
                None if plain.ended => Some(Ok(None)),
                None => over.map(|over| over.map(|()| None)),
            }
        })
        .await
    }

    /// Ends our side, once what was sent is out; what the peer says still comes.
    pub fn end(&self) {
        let mut inner = self.guard.0.inner.lock();
        inner.ending = true;
        inner.wake();
    }

    /// The connection itself.
    pub fn connection(&self) -> Connection {
        Connection {
            guard: self.guard.clone(),
        }
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").finish_non_exhaustive()
    }
}
