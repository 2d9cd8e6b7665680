//! What a core keeps for its replication: the state machine once there is one, what changed since it last looked, and who must be told.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pome_encoding::Key;
use pome_storage::Seq;
use tokio::sync::broadcast;

use super::{
    events::{CoreEvent, PeerId},
    machine::Machine,
    ready::Ready,
    tally::{Tallies, Way},
};
use crate::{core::Core, error::Error};

/// How many events wait for a slow listener.
const EVENTS: usize = 1024;
/// How many messages of an extension wait for a slow listener.
const EXTENSION_MESSAGES: usize = 256;
/// More changes than this, and the machine looks everything up again instead of being told.
const NOTES_MAX: usize = 4096;

/// A committed change to a core, as far as peers care.
#[derive(Debug, Default)]
pub(crate) struct Note {
    pub(crate) seq: Seq,
    /// The shortest length on the way.
    pub(crate) cut: Option<u64>,
    /// Blocks that were dropped.
    pub(crate) went: Vec<Range<u64>>,
    /// Some of them because the disk has lost them.
    pub(crate) lost: bool,
    /// Blocks that were stored.
    pub(crate) came: Vec<Range<u64>>,
}

/// A peer of the core, as the change of a core reaches it.
struct Listener {
    peer: u64,
    channel: u64,
    ready: Arc<Ready>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Shared {
    machine: Mutex<Option<Box<Machine>>>,
    /// There is a machine, which must be told of changes.
    active: AtomicBool,
    notes: Mutex<Vec<Note>>,
    listeners: Mutex<Vec<Listener>>,
    /// Open sessions: as long as there are some the core is downloaded.
    sessions: AtomicUsize,
    /// Who is looking for peers: `update` waits as long as somebody is.
    finding: AtomicUsize,
    /// A longer length that a peer says this core has, plus one; 0: none.
    behind: AtomicU64,
    forked: AtomicBool,
    /// Later forks of peers are not followed.
    stays: AtomicBool,
    events: OnceLock<broadcast::Sender<CoreEvent>>,
    extensions: Mutex<HashMap<String, broadcast::Sender<(PeerId, Bytes)>>>,
    pub(super) tallies: Tallies,
}

impl Shared {
    /// The machine, made when there is none.
    pub(crate) fn with<T>(&self, core: &Core, then: impl FnOnce(&mut Machine) -> T) -> T {
        let mut machine = self.machine.lock();
        let machine = machine.get_or_insert_with(|| {
            self.active.store(true, Ordering::Release);
            Box::new(Machine::new(core))
        });
        then(machine)
    }

    /// As [`with`](Self::with), where there is one.
    pub(crate) fn with_existing<T>(&self, then: impl FnOnce(&mut Machine) -> T) -> Option<T> {
        self.machine.lock().as_deref_mut().map(then)
    }

    /// A change was committed.
    pub(crate) fn note(&self, note: Note) {
        if self.active.load(Ordering::Acquire) {
            self.notes.lock().push(note);
        }
    }

    /// What has changed; `None` when it is too much to tell.
    pub(crate) fn take_notes(&self) -> Option<Vec<Note>> {
        let notes = std::mem::take(&mut *self.notes.lock());
        (notes.len() <= NOTES_MAX).then_some(notes)
    }

    /// All peers must be looked at again.
    pub(crate) fn wake(&self) {
        if self.active.load(Ordering::Acquire) {
            for listener in &*self.listeners.lock() {
                listener.ready.mark(listener.channel);
            }
        }
    }

    pub(crate) fn listen(&self, peer: u64, channel: u64, ready: Arc<Ready>) {
        self.listeners.lock().push(Listener {
            peer,
            channel,
            ready,
        });
    }

    /// True while somebody may be asked for blocks.
    pub(crate) fn has_peers(&self) -> bool {
        !self.listeners.lock().is_empty()
    }

    pub(crate) fn unlisten(&self, peer: u64) {
        self.listeners.lock().retain(|other| other.peer != peer);
    }

    /// True for the first one.
    pub(crate) fn session_opened(&self) -> bool {
        self.sessions.fetch_add(1, Ordering::AcqRel) == 0
    }

    pub(crate) fn session_closed(&self) {
        if self.sessions.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    pub(crate) fn has_sessions(&self) -> bool {
        self.sessions.load(Ordering::Acquire) > 0
    }

    pub(crate) fn finding(&self) -> &AtomicUsize {
        &self.finding
    }

    /// Refuses to sign while a peer says that it has more, or after a conflict.
    pub(crate) fn check_signing(&self, key: Key) -> Result<(), Error> {
        if self.forked.load(Ordering::Acquire) {
            return Err(Error::Forked { key });
        }
        match self.behind.load(Ordering::Acquire) {
            0 => Ok(()),
            length => Err(Error::Behind {
                key,
                length: length - 1,
            }),
        }
    }

    pub(crate) fn set_behind(&self, length: Option<u64>) {
        let value = length.map_or(0, |length| length.saturating_add(1));
        self.behind.store(value, Ordering::Release);
    }

    /// A peer says that this core is longer than it is here.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Acquire) != 0
    }

    pub(crate) fn allows_fork(&self) -> bool {
        !self.stays.load(Ordering::Acquire)
    }

    pub(crate) fn set_allow_fork(&self, allow: bool) {
        self.stays.store(!allow, Ordering::Release);
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.forked.load(Ordering::Acquire)
    }

    pub(crate) fn set_forked(&self) {
        self.forked.store(true, Ordering::Release);
    }

    /// A message of an extension came.
    pub(crate) fn extension(&self, name: &str, peer: PeerId, message: Bytes) {
        let extensions = self.extensions.lock();
        if let Some(extension) = extensions.get(name) {
            // a message that nobody is left to hear is no error
            let _ = extension.send((peer, message));
        }
    }

    /// The messages of an extension.
    pub(crate) fn on_extension(&self, name: &str) -> broadcast::Receiver<(PeerId, Bytes)> {
        let mut extensions = self.extensions.lock();
        extensions.retain(|_, extension| extension.receiver_count() > 0);
        match extensions.get(name) {
            Some(extension) => extension.subscribe(),
            None => {
                let (sender, receiver) = broadcast::channel(EXTENSION_MESSAGES);
                extensions.insert(name.to_owned(), sender);
                receiver
            }
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<CoreEvent> {
        let events = self.events.get_or_init(|| broadcast::Sender::new(EVENTS));
        events.subscribe()
    }

    /// A block came from a peer and is stored.
    pub(super) fn downloaded(&self, index: u64, byte_length: u64, peer: PeerId) {
        self.tallies.count(Way::Down, index, byte_length);
        self.emit(|| CoreEvent::Download {
            index,
            byte_length,
            peer,
        });
    }

    /// A block is sent to a peer.
    pub(super) fn uploaded(&self, index: u64, byte_length: u64, peer: PeerId) {
        self.tallies.count(Way::Up, index, byte_length);
        self.emit(|| CoreEvent::Upload {
            index,
            byte_length,
            peer,
        });
    }

    pub(crate) fn emit(&self, event: impl FnOnce() -> CoreEvent) {
        if let Some(events) = self.events.get()
            && events.receiver_count() > 0
        {
            // an event that nobody is left to hear is no error
            let _ = events.send(event());
        }
    }
}
