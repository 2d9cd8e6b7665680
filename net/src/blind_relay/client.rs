//! A peer that wants to be paired.

use super::messages::{PAIR, PROTOCOL, Pair, Token, UNPAIR, Unpair};
use crate::{
    driver::{Channel, Connection},
    protomux::{ChannelOptions, Topic},
};
use parking_lot::Mutex;
use std::{collections::HashMap, fmt, sync::Arc};
use tokio::{sync::oneshot, task::AbortHandle};

/// Why a peer was not paired.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The relay, or the connection to it, closed the channel, or rejected it.
    #[error("the relay closed the channel")]
    ChannelClosed,
    /// A pair with this token is asked for already.
    #[error("a pair with this token is asked for already")]
    AlreadyPairing,
    /// [`Client::unpair`] was called.
    #[error("the pairing was cancelled")]
    PairingCancelled,
    /// The connection to the relay.
    #[error(transparent)]
    Connection(#[from] crate::Error),
}

impl Error {
    /// The stable code of this error; npm's, where it has one.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ChannelClosed => "CHANNEL_CLOSED",
            Self::AlreadyPairing => "ALREADY_PAIRING",
            Self::PairingCancelled => "PAIRING_CANCELLED",
            Self::Connection(error) => error.code(),
        }
    }
}

/// Who waits for a token, and as which of the two.
type Waiting = HashMap<Token, (bool, oneshot::Sender<u32>)>;

#[derive(Default)]
struct State {
    waiting: Waiting,
    closed: bool,
}

/// Asks one relay. The channel closes when it is dropped, and the relay drops all that was paired over it.
pub struct Client {
    channel: Arc<Channel>,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Opens the channel on a connection to the relay.
    ///
    /// # Errors
    /// [`Error::AlreadyPairing`] when the connection has one already; [`Error::Connection`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn open(connection: &Connection) -> Result<Self, Error> {
        let topic = Topic::new(PROTOCOL, &connection.public_key());
        let channel = connection.open(&topic, ChannelOptions::default())?;
        let channel = Arc::new(channel.ok_or(Error::AlreadyPairing)?);
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(listen(channel.clone(), state.clone())).abort_handle();
        Ok(Self {
            channel,
            state,
            task,
        })
    }

    /// Waits until the other side asks for the same token, then tells the id of the relay's stream for this side: `stream` can be connected to it at the
    /// address of the relay.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pair(&self, is_initiator: bool, token: Token, stream: u32) -> Result<u32, Error> {
        let (paired, answer) = oneshot::channel();
        {
            let mut state = self.state.lock();
            if state.closed {
                return Err(Error::ChannelClosed);
            }
            if state.waiting.contains_key(&token) {
                return Err(Error::AlreadyPairing);
            }
            state.waiting.insert(token, (is_initiator, paired));
        }
        let pair = Pair {
            is_initiator,
            token,
            id: stream.into(),
            seq: 0,
        };
        let sent = self.channel.send(PAIR, pair.encode().into()).await;
        if let Err(error) = sent {
            self.state.lock().waiting.remove(&token);
            return Err(error.into());
        }
        answer.await.map_err(|_| match self.state.lock().closed {
            true => Error::ChannelClosed,
            false => Error::PairingCancelled,
        })
    }

    /// Takes a token back: who waits for the other side fails, and streams that were paired by it are dropped.
    ///
    /// # Errors
    /// [`Error::Connection`].
    pub fn unpair(&self, token: Token) -> Result<(), Error> {
        self.state.lock().waiting.remove(&token);
        let unpair = Unpair { token };
        self.channel.send_now(UNPAIR, unpair.encode().into())?;
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(channel: Arc<Channel>, state: Arc<Mutex<State>>) {
    while let Ok(Some((kind, body))) = channel.recv().await {
        let Ok(pair) = Pair::decode(&body) else {
            break;
        };
        let mut state = state.lock();
        let wanted = state.waiting.get(&pair.token);
        let is_wanted = kind == PAIR && wanted.is_some_and(|(side, _)| *side == pair.is_initiator);
        if let Ok(id) = u32::try_from(pair.id)
            && is_wanted
            && let Some((_, paired)) = state.waiting.remove(&pair.token)
        {
            let _ = paired.send(id);
        }
    }
    let mut state = state.lock();
    state.closed = true;
    state.waiting.clear();
}
