//! The threads of an open store: one makes buffered commits durable, one writes checkpoints, one merges tables, one gives space back.

use crate::{
    compact::Aim,
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

/// So long after the first commit space is given back even if commits never pause.
const TIDY_AT_MOST: Duration = Duration::from_secs(5);
/// Compaction that failed is tried again after this.
const COMPACT_RETRY: Duration = Duration::from_secs(10);
/// A checkpoint that failed is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// How often garbage that waits for a reader is looked at.
const COLLECT: Duration = Duration::from_millis(200);
/// A commit waits at most this long for a checkpoint that cannot keep up.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// What a thread does until it is told to stop.
type Loop = fn(&Inner);

/// How hard to look for dead space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tidy {
    /// Others work.
    Busy,
    /// Nobody else does anything.
    Idle,
}

#[derive(Default)]
struct Wanted {
    stop: bool,
    sync_now: bool,
    sync_at: Option<Instant>,
    mark_at: Option<Instant>,
    /// When to look for dead space though commits do not pause.
    tidy_at: Option<Instant>,
    checkpoint: bool,
    merge: bool,
    tidy: Option<Tidy>,
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
    compact: Condvar,
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

    fn tidy(&self, how: Tidy) {
        let mut wanted = self.wanted.lock();
        wanted.tidy = wanted.tidy.max(Some(how));
        self.compact.notify_one();
    }

    /// Looks for dead space soon: an earlier owner may have left some.
    fn opened(&self, idle_after: Duration) {
        self.wanted.lock().mark_at = Some(Instant::now() + idle_after);
    }

    fn stop(&self) {
        self.wanted.lock().stop = true;
        self.sync.notify_all();
        self.checkpoint.notify_all();
        self.merge.notify_all();
        self.compact.notify_all();
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
        inner.wake.opened(inner.options.idle_after);
        let work: [(&str, Loop); 4] = [
            ("pome-sync", sync_loop),
            ("pome-checkpoint", checkpoint_loop),
            ("pome-merge", merge_loop),
            ("pome-compact", compact_loop),
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
                    wanted.mark_at = Some(now + inner.options.idle_after);
                    wanted.tidy_at.get_or_insert(now + TIDY_AT_MOST);
                    break false;
                }
                if wanted.mark_at.is_some_and(|at| at <= now) {
                    wanted.mark_at = None;
                    wanted.tidy_at = None;
                    break true;
                }
                if wanted.tidy_at.is_some_and(|at| at <= now) {
                    wanted.tidy_at = None;
                    wanted.tidy = wanted.tidy.max(Some(Tidy::Busy));
                    wake.compact.notify_one();
                }
                match [wanted.sync_at, wanted.mark_at, wanted.tidy_at]
                    .into_iter()
                    .flatten()
                    .min()
                {
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
            wake.tidy(Tidy::Idle);
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
                wake.tidy(Tidy::Busy);
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

fn compact_loop(inner: &Inner) {
    let wake = &inner.wake;
    let mut retry = None;
    loop {
        let how = {
            let mut wanted = wake.wanted.lock();
            loop {
                if wanted.stop {
                    return;
                }
                if let Some(how) = wanted.tidy.take() {
                    break how;
                }
                match retry {
                    Some(at) if at <= Instant::now() => {
                        retry = None;
                        break Tidy::Idle;
                    }
                    Some(at) => {
                        wake.compact.wait_until(&mut wanted, at);
                    }
                    None => wake.compact.wait(&mut wanted),
                }
            }
        };
        let aim = match how {
            Tidy::Busy => Aim::busy(&inner.options),
            Tidy::Idle => Aim::idle(&inner.options),
        };
        loop {
            let (began, before) = (Instant::now(), inner.foreign_commits());
            match inner.compact_step(&aim) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) => {
                    tracing::warn!(store = inner.name, error = %e, "giving space back failed; it will be tried again");
                    retry = Some(began + COMPACT_RETRY);
                    break;
                }
            }
            let alone = inner.foreign_commits() == before;
            let mut wanted = wake.wanted.lock();
            if !alone {
                let rest = 100_u32.saturating_sub(inner.options.compaction_percent);
                let until = began + began.elapsed() * 100 / inner.options.compaction_percent.max(1);
                while rest > 0
                    && !wanted.stop
                    && !wake.compact.wait_until(&mut wanted, until).timed_out()
                {}
            }
            if wanted.stop {
                return;
            }
        }
        inner.collect();
        if inner.has_garbage() {
            // Something waits for a reader.
            wake.wanted.lock().merge = true;
            wake.merge.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Durability, Error, Options, Space, Store};

    #[test]
    fn without_a_background_no_commit_is_held() {
        let options = Options {
            background: false,
            checkpoint_log_bytes: 1000,
            ..Options::default()
        };
        let device = Arc::new(pome_wal::SimDevice::new(1));
        let store = Store::open_on(device, options).expect("a new store");
        for key in 0..100u8 {
            let mut batch = Batch::new();
            batch.put(Space(1), [key], vec![key; 500]);
            store
                .commit(batch, Durability::Synced)
                .expect("it is written");
            assert!(!store.inner().wake.held.load(Ordering::Acquire));
        }
        assert!(store.inner().fresh_is_large(8), "with one they would be");
        store.close().expect("it closes");
        assert!(matches!(store.accept_damage(), Err(Error::Closed)));
    }
}
