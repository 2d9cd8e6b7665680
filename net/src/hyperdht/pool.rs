//! Connections by the key of the peer, one for each.

use super::Error;
use crate::{
    Error as NetError,
    driver::{Connection, WeakConnection},
    noise::Role,
};
use parking_lot::Mutex;
use std::{collections::HashMap, fmt, sync::Arc};
use tokio::sync::{Notify, broadcast};

/// Connections that wait for who listens; more are not told of.
const BACKLOG: usize = 256;

type Key = [u8; 32];

enum Entry {
    /// Somebody connects; told when that ends, and to be told when it is in vain.
    Connecting {
        number: u64,
        given_up: Arc<Notify>,
    },
    Open {
        number: u64,
        connection: Connection,
    },
}

struct State {
    entries: HashMap<Key, Entry>,
    next: u64,
}

struct Inner {
    state: Mutex<State>,
    /// An attempt has ended.
    changed: Notify,
    opened: broadcast::Sender<Connection>,
}

/// Keeps one connection to each peer: a second one is not made while there is one, and where both sides connect at the same time one of the two is kept, the same on
/// both sides (npm `dht.pool()`). Cheap to clone.
///
/// ```
/// use pome_net::hyperdht::{ConnectOptions, Pool};
/// let pool = Pool::new();
/// let mut options = ConnectOptions::default();
/// options.pool = Some(pool.clone());
/// assert!(!pool.has(&[1; 32]));
/// assert_eq!((pool.connecting(), pool.connections().len()), (0, 0));
/// ```
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("connecting", &self.connecting())
            .finish_non_exhaustive()
    }
}

/// Of two connections to a peer that one is kept which the peer with the smaller key made; the later one, if one side made both.
fn keeps_new(new: &Connection, old: Role) -> bool {
    let ours = new.public_key();
    new.role() == old || new.remote_public_key().is_some_and(|theirs| ours > theirs)
}

impl Pool {
    /// An empty one; it may be used with any number of nodes.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    entries: HashMap::new(),
                    next: 0,
                }),
                changed: Notify::new(),
                opened: broadcast::Sender::new(BACKLOG),
            }),
        }
    }

    /// There is a connection to this peer, or one is being made.
    pub fn has(&self, public_key: &Key) -> bool {
        self.inner.state.lock().entries.contains_key(public_key)
    }

    /// The connection to this peer.
    pub fn get(&self, public_key: &Key) -> Option<Connection> {
        match self.inner.state.lock().entries.get(public_key)? {
            Entry::Open { connection, .. } => Some(connection.clone()),
            Entry::Connecting { .. } => None,
        }
    }

    /// How many connections are being made.
    pub fn connecting(&self) -> usize {
        let state = self.inner.state.lock();
        let is_connecting = |entry: &&Entry| matches!(entry, Entry::Connecting { .. });
        state.entries.values().filter(is_connecting).count()
    }

    /// All connections.
    pub fn connections(&self) -> Vec<Connection> {
        let state = self.inner.state.lock();
        let open = |entry: &Entry| match entry {
            Entry::Open { connection, .. } => Some(connection.clone()),
            Entry::Connecting { .. } => None,
        };
        state.entries.values().filter_map(open).collect()
    }

    /// Hears of each connection from now on. Who lags behind misses some; the receiver keeps alive those that it has not taken.
    pub fn watch(&self) -> broadcast::Receiver<Connection> {
        self.inner.opened.subscribe()
    }

    /// Takes a connection that was made elsewhere, and is open.
    ///
    /// # Errors
    /// [`Error::DuplicateConnection`] when there is another one and that is kept: this one is ended then. [`Error::PeerConnectionFailed`] when it is not open.
    pub fn attach(&self, connection: Connection) -> Result<(), Error> {
        let key = connection.remote_public_key();
        let key = key.ok_or(Error::PeerConnectionFailed)?;
        let before = {
            let state = &mut *self.inner.state.lock();
            let keeps = match state.entries.get(&key) {
                None => true,
                Some(Entry::Connecting { .. }) => keeps_new(&connection, Role::Initiator),
                Some(Entry::Open {
                    connection: old, ..
                }) => old.is_closed() || keeps_new(&connection, old.role()),
            };
            if !keeps {
                connection.downgrade().fail(NetError::Duplicate);
                return Err(Error::DuplicateConnection);
            }
            self.put(state, key, connection)
        };
        match before {
            Some(Entry::Connecting { given_up, .. }) => given_up.notify_one(),
            Some(Entry::Open { connection, .. }) => {
                connection.downgrade().fail(NetError::Duplicate);
            }
            None => {}
        }
        Ok(())
    }

    fn put(&self, state: &mut State, key: Key, connection: Connection) -> Option<Entry> {
        state.next += 1;
        let number = state.next;
        let weak = connection.downgrade();
        let _ = self.inner.opened.send(connection.clone());
        let before = state
            .entries
            .insert(key, Entry::Open { number, connection });
        tokio::spawn(self.clone().forget_when_over(key, number, weak));
        self.inner.changed.notify_waiters();
        before
    }

    async fn forget_when_over(self, key: Key, number: u64, connection: WeakConnection) {
        let _ = connection.closed().await;
        self.forget(&key, number);
    }

    fn forget(&self, key: &Key, number: u64) {
        let mut state = self.inner.state.lock();
        let current = match state.entries.get(key) {
            Some(Entry::Connecting { number, .. } | Entry::Open { number, .. }) => *number,
            None => return,
        };
        let gone = (current == number).then(|| state.entries.remove(key));
        drop(state);
        drop(gone);
        self.inner.changed.notify_waiters();
    }

    /// The connection that there is, or that is being made, or one by `dialling`.
    pub(super) async fn connect(
        &self,
        key: Key,
        dialling: impl Future<Output = Result<Connection, Error>>,
    ) -> Result<Connection, Error> {
        let (number, given_up) = loop {
            let changed = self.inner.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let state = &mut *self.inner.state.lock();
                match state.entries.get(&key) {
                    Some(Entry::Open { connection, .. }) if !connection.is_closed() => {
                        return Ok(connection.clone());
                    }
                    Some(Entry::Connecting { .. }) => {}
                    _ => {
                        state.next += 1;
                        let given_up = Arc::new(Notify::new());
                        let entry = Entry::Connecting {
                            number: state.next,
                            given_up: given_up.clone(),
                        };
                        state.entries.insert(key, entry);
                        break (state.next, given_up);
                    }
                }
            }
            changed.await;
        };
        let attempt = Attempt {
            pool: self,
            key,
            number,
        };
        let connection = tokio::select! {
            biased;
            () = given_up.notified() => None,
            connection = dialling => Some(connection?),
        };
        let Some(connection) = connection else {
            // The peer came first.
            return self.get(&key).ok_or(Error::DuplicateConnection);
        };
        let replaced = {
            let state = &mut *self.inner.state.lock();
            let is_ours = match state.entries.get(&key) {
                Some(Entry::Connecting {
                    number: current, ..
                }) => *current == number,
                _ => false,
            };
            is_ours.then(|| self.put(state, key, connection.clone()))
        };
        drop(attempt);
        match replaced {
            Some(_) => Ok(connection),
            None => self.attach(connection.clone()).map(|()| connection),
        }
    }
}

/// Forgets that somebody connects, when that has ended.
struct Attempt<'a> {
    pool: &'a Pool,
    key: Key,
    number: u64,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.pool.forget(&self.key, self.number);
    }
}
