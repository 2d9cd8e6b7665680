//! The threads of an open store: one makes buffered commits durable, one writes checkpoints, one merges tables.

use crate::{
    error::{Error, Op},
    store::Inner,
};
use parking_lot::{Condvar, Mutex};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// After so long without a commit the log is told to write down how far it is synced.
const IDLE: Duration = Duration::from_secs(1);
/// A checkpoint that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// How often garbage that waits for a reader is looked at.
const COLLECT: Duration = Duration::from_millis(200);
/// A commit waits at most this long for a checkpoint that cannot keep up.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// What a thread does until it is told to stop.
type Loop = fn(&Inner);

#[derive(Default)]
struct Wanted {
    stop: bool,
    sync_now: bool,
    sync_at: Option<Instant>,
    mark_at: Option<Instant>,
    checkpoint: bool,
    merge: bool,
    /// Commits shall wait for the checkpoint.
    hold: bool,
}

/// What the threads are asked to do.
#[derive(Default)]
pub(crate) struct Wake {
    /// True from the first buffered commit to the sync that takes it along: commits in between need not ask again.
    dirty: AtomicBool,
    held: AtomicBool,
    wanted: Mutex<Wanted>,
    sync: Condvar,
    checkpoint: Condvar,
    merge: Condvar,
    room: Condvar,
}

impl Wake {
    /// A commit was made: it must be on disk after the interval.
    pub(crate) fn committed(&self, interval: Duration) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.wanted.lock().sync_at = Some(Instant::now() + interval);
            self.sync.notify_one();
        }
    }

    /// Somebody waits for the disk.
    pub(crate) fn sync_now(&self) {
        self.wanted.lock().sync_now = true;
        self.sync.notify_one();
    }

    pub(crate) fn checkpoint(&self) {
        self.wanted.lock().checkpoint = true;
        self.checkpoint.notify_one();
    }

    /// Commits wait from now on, until a checkpoint was tried.
    pub(crate) fn hold(&self) {
        self.wanted.lock().hold = true;
        self.held.store(true, Ordering::Release);
    }

    /// Returns when commits may go on: at once, unless checkpoints are far behind.
    pub(crate) fn wait_for_room(&self) {
        if !self.held.load(Ordering::Acquire) {
            return;
        }
        let until = Instant::now() + HOLD_MAX;
        let mut wanted = self.wanted.lock();
        while wanted.hold && !wanted.stop {
            if self.room.wait_until(&mut wanted, until).timed_out() {
                return;
            }
        }
    }

    fn release(&self) {
        self.wanted.lock().hold = false;
        self.held.store(false, Ordering::Release);
        self.room.notify_all();
    }

    fn stop(&self) {
        self.wanted.lock().stop = true;
        self.sync.notify_all();
        self.checkpoint.notify_all();
        self.merge.notify_all();
        self.room.notify_all();
    }
}

/// The running threads.
#[derive(Default)]
pub(crate) struct Background {
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Background {
    pub(crate) fn start(&self, inner: &Arc<Inner>) -> Result<(), Error> {
        let work: [(&str, Loop); 3] = [
            ("pome-sync", sync_loop),
            ("pome-checkpoint", checkpoint_loop),
            ("pome-merge", merge_loop),
        ];
        for (name, run) in work {
            let inner = inner.clone();
            let thread = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || run(&inner))
                .map_err(|e| Error::io(Op::Open, name, e))?;
            self.threads.lock().push(thread);
        }
        Ok(())
    }

    /// Stops the threads and waits for what they are doing.
    pub(crate) fn stop(&self, inner: &Inner) {
        inner.wake.stop();
        // Held while they end: of two that close, neither may give up the store's lock before.
        let mut threads = self.threads.lock();
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(
                    store = inner.name,
                    "a background thread of the store panicked"
                );
            }
        }
    }
}

fn sync_loop(inner: &Inner) {
    let wake = &inner.wake;
    loop {
        let mark = {
            let mut wanted = wake.wanted.lock();
            loop {
                if wanted.stop {
                    return;
                }
                let now = Instant::now();
                if wanted.sync_now || wanted.sync_at.is_some_and(|at| at <= now) {
                    wanted.sync_now = false;
                    wanted.sync_at = None;
                    wanted.mark_at = Some(now + IDLE);
                    break false;
                }
                if wanted.mark_at.is_some_and(|at| at <= now) {
                    wanted.mark_at = None;
                    break true;
                }
                match [wanted.sync_at, wanted.mark_at].into_iter().flatten().min() {
                    Some(at) => {
                        wake.sync.wait_until(&mut wanted, at);
                    }
                    None => wake.sync.wait(&mut wanted),
                }
            }
        };
        // A failure is remembered by the store and told to all that wait.
        if mark {
            if let Err(e) = inner.log.mark() {
                tracing::debug!(store = inner.name, error = %e, "no mark was written");
            }
            continue;
        }
        wake.dirty.store(false, Ordering::Release);
        if let Err(e) = inner.wait_synced(inner.log.committed_seq()) {
            tracing::error!(store = inner.name, error = %e, "the background sync failed");
        }
    }
}

fn checkpoint_loop(inner: &Inner) {
    let wake = &inner.wake;
    loop {
        {
            let mut wanted = wake.wanted.lock();
            while !wanted.checkpoint && !wanted.stop {
                wake.checkpoint.wait(&mut wanted);
            }
            if wanted.stop {
                return;
            }
            wanted.checkpoint = false;
        }
        let result = match inner.fresh_is_large(1) {
            true => inner.checkpoint(),
            false => Ok(false),
        };
        wake.release();
        match result {
            Ok(_) => {
                wake.wanted.lock().merge = true;
                wake.merge.notify_one();
            }
            Err(e) => {
                tracing::warn!(store = inner.name, error = %e, "the checkpoint failed; the log grows until one works");
                let mut wanted = wake.wanted.lock();
                wanted.checkpoint = true;
                let until = Instant::now() + RETRY;
                while !wanted.stop && !wake.checkpoint.wait_until(&mut wanted, until).timed_out() {}
            }
        }
    }
}

fn merge_loop(inner: &Inner) {
    let wake = &inner.wake;
    loop {
        {
            let mut wanted = wake.wanted.lock();
            while !wanted.merge && !wanted.stop {
                if inner.has_garbage() {
                    let _ = wake.merge.wait_for(&mut wanted, COLLECT);
                    parking_lot::MutexGuard::unlocked(&mut wanted, || inner.collect());
                } else {
                    wake.merge.wait(&mut wanted);
                }
            }
            if wanted.stop {
                return;
            }
            wanted.merge = false;
        }
        loop {
            match inner.merge_tables() {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    tracing::warn!(store = inner.name, error = %e, "merging tables failed");
                    break;
                }
            }
            if wake.wanted.lock().stop {
                return;
            }
        }
    }
}
