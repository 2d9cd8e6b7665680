//! Checking and storing beside the thread that serves the connection: while one batch of blocks is hashed and written, the next one is read and opened.
//!
//! A batch is in a [`Slot`] that the state machine keeps and a [`Worker`] is handed. Whoever comes first does it: a machine that cannot wait any longer, or whose
//! worker has dropped it, does it itself.

use std::{
    fmt, mem,
    sync::{Arc, Weak},
};

use parking_lot::{Condvar, Mutex};

use super::apply::{Job, Settled};
use crate::core::Core;

type Work = Box<dyn FnOnce() + Send>;

/// What runs work on another thread, such as tokio's `spawn_blocking`. Work that it drops is done elsewhere.
#[derive(Clone)]
pub struct Worker(Arc<dyn Fn(Work) + Send + Sync>);

impl Worker {
    /// `spawn` must return at once.
    pub fn new(spawn: impl Fn(Box<dyn FnOnce() + Send>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(spawn))
    }

    /// Has the job done; the core's peers are looked at again afterwards.
    pub(super) fn hand(&self, slot: &Arc<Slot>, core: &Arc<Core>) {
        let handed = Handed {
            slot: Some(slot.clone()),
            core: Arc::downgrade(core),
        };
        (self.0)(Box::new(move || handed.run()));
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// The worker's share of a slot.
struct Handed {
    slot: Option<Arc<Slot>>,
    /// Once the machine has what came of it, nothing of the core is held here.
    core: Weak<Core>,
}

impl Handed {
    fn run(self) {
        if let Some(slot) = &self.slot {
            slot.run();
        }
    }
}

impl Drop for Handed {
    /// Also where it has not run: the machine sees then that nobody else holds the slot.
    fn drop(&mut self) {
        self.slot = None;
        if let Some(core) = self.core.upgrade() {
            core.replication.wake();
        }
    }
}

enum State {
    Waiting(Box<Job>),
    Running,
    Done(Box<Settled>),
    /// It was taken, or it panicked.
    Gone,
}

/// See the module.
pub(crate) struct Slot {
    state: Mutex<State>,
    done: Condvar,
}

impl Slot {
    pub(super) fn new(job: Box<Job>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Waiting(job)),
            done: Condvar::new(),
        })
    }

    /// Does the job, unless somebody has begun it.
    fn run(&self) {
        let job = {
            let mut state = self.state.lock();
            match mem::replace(&mut *state, State::Running) {
                State::Waiting(job) => job,
                other => {
                    *state = other;
                    return;
                }
            }
        };
        /// A panic must not leave anybody waiting.
        struct Running<'a>(&'a Slot, State);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                *self.0.state.lock() = mem::replace(&mut self.1, State::Gone);
                self.0.done.notify_all();
            }
        }
        let mut running = Running(self, State::Gone);
        running.1 = State::Done(Box::new(job.run()));
    }

    /// What came of it; `Err` while it is not done. Where it has to be waited for, or nobody else will do it, it is done here. `Ok(None)`: it panicked.
    pub(super) fn take(self: &Arc<Self>, wait: bool) -> Result<Option<Box<Settled>>, ()> {
        if wait || Arc::strong_count(self) == 1 {
            self.run();
        }
        let mut state = self.state.lock();
        while wait && matches!(*state, State::Running) {
            self.done.wait(&mut state);
        }
        match mem::replace(&mut *state, State::Gone) {
            State::Done(settled) => Ok(Some(settled)),
            State::Gone => Ok(None),
            other => {
                *state = other;
                Err(())
            }
        }
    }
}
