//! Group commit: those that wait for the disk share its syncs.
//!
//! One of them leads: it writes what all of them have to write, takes all files that are dirty at that moment and syncs them without holding the writer;
//! then everyone whose commit was written before is served. Whoever comes meanwhile waits for the next round.
//!
//! Those that a sync has served come back a moment later than those that it has not. Without a little patience the two halves take turns for ever, and
//! each sync serves one of them. So the first to come waits for as many as there were, while they come; the last of them leads, since it is awake.
//!
//! A fast disk syncs in the time in which the kernel puts a few threads to sleep and wakes them. So those that wait for one give way to each other a while
//! before they sleep: of sixteen on two cores, each sync serves all in 0.8 of the time.

use crate::{
    Error,
    writer::{Shared, Writer},
};
use parking_lot::{Mutex, MutexGuard};
use rustix::thread::futex;
use std::{
    io,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// Who waits for the disk.
#[derive(Default)]
pub(crate) struct Group {
    crowd: Mutex<Crowd>,
    /// Rounds that have ended, which all sleep on: one call wakes them, and none has to stand in line for a lock.
    rounds: AtomicU32,
}

/// Those that wait, and what is known of them.
#[derive(Default)]
struct Crowd {
    /// A sync is under way.
    leading: bool,
    /// Somebody keeps the time for those that gather.
    gathering: bool,
    waiting: usize,
    /// So many waited at the end of the last round, those that it served among them: they are likely to come back.
    expected: usize,
    /// How long the last sync took.
    last: Duration,
}

impl Group {
    /// Who gathers waits for as long as somebody comes within this part of the time that a sync takes, ...
    const PATIENCE: u32 = 4;
    /// ... and no longer than a sync takes, nor than this.
    const PATIENCE_MAX: Duration = Duration::from_millis(2);
    /// Where the last sync took less than this, who waits for the next one stays awake ...
    const SHORT: Duration = Duration::from_micros(500);
    /// ... for so many times as long.
    const AWAKE: u32 = 2;

    /// Returns when what `made` names is on disk. The one that leads calls its `write` before it syncs.
    pub(crate) fn wait<E: From<Error>>(
        &self,
        shared: &Shared,
        writer: &Mutex<Writer>,
        made: impl Fn() -> Option<Result<u64, E>>,
        write: impl Fn(),
    ) -> Result<u64, E> {
        let served = || match made() {
            Some(Ok(seq)) if shared.synced.load(Ordering::Acquire) < seq => None,
            made => made,
        };
        loop {
            if let Some(result) = served() {
                return result;
            }
            shared.poison.check()?;
            let mut crowd = self.crowd.lock();
            let round = self.rounds.load(Ordering::Acquire);
            if let Some(result) = served() {
                return result;
            }
            crowd.waiting += 1;
            if !crowd.leading && crowd.waiting >= crowd.expected {
                self.lead(crowd, shared, writer, &write)?;
            } else if crowd.leading || crowd.gathering {
                let last = crowd.last;
                drop(crowd);
                self.sleep(round, last);
            } else if let Some(crowd) = self.gather(crowd, round) {
                self.lead(crowd, shared, writer, &write)?;
            }
        }
    }

    /// Syncs what is dirty now, even when no commit waits for it (a mark).
    pub(crate) fn flush(&self, shared: &Shared, writer: &Mutex<Writer>) -> Result<(), Error> {
        loop {
            let mut crowd = self.crowd.lock();
            let round = self.rounds.load(Ordering::Acquire);
            crowd.waiting += 1;
            if !crowd.leading {
                return self.lead(crowd, shared, writer, &|| ());
            }
            let last = crowd.last;
            drop(crowd);
            self.sleep(round, last);
        }
    }

    /// Until the round is over, which takes about as long as the last one.
    fn sleep(&self, round: u32, last: Duration) {
        if last < Self::SHORT {
            let began = Instant::now();
            while began.elapsed() < last * Self::AWAKE {
                if self.rounds.load(Ordering::Acquire) != round {
                    return;
                }
                std::thread::yield_now();
            }
        }
        while self.rounds.load(Ordering::Acquire) == round {
            // A signal, or a round that ended just now: looked at again.
            let _ = futex::wait(&self.rounds, futex::Flags::PRIVATE, round, None);
        }
    }

    /// Keeps the time while the others come. None when the round is over: one of those that came has led it.
    fn gather<'a>(
        &'a self,
        mut crowd: MutexGuard<'a, Crowd>,
        round: u32,
    ) -> Option<MutexGuard<'a, Crowd>> {
        crowd.gathering = true;
        let longest = crowd.last.min(Self::PATIENCE_MAX);
        let gap = (longest / Self::PATIENCE).try_into().ok();
        let end = Instant::now() + longest;
        loop {
            let known = crowd.waiting;
            drop(crowd);
            let _ = futex::wait(&self.rounds, futex::Flags::PRIVATE, round, gap.as_ref());
            crowd = self.crowd.lock();
            if self.rounds.load(Ordering::Acquire) != round {
                return None;
            }
            if crowd.leading {
                drop(crowd);
                self.sleep(round, Duration::MAX);
                return None;
            }
            if crowd.waiting == known || Instant::now() >= end {
                return Some(crowd);
            }
        }
    }

    fn lead(
        &self,
        mut crowd: MutexGuard<'_, Crowd>,
        shared: &Shared,
        writer: &Mutex<Writer>,
        write: &dyn Fn(),
    ) -> Result<(), Error> {
        crowd.leading = true;
        crowd.gathering = false;
        let began = Instant::now();
        let result = MutexGuard::unlocked(&mut crowd, || {
            let led = Led(self, shared);
            write();
            let result = sync(shared, writer);
            std::mem::forget(led);
            result
        });
        crowd.last = began.elapsed();
        crowd.expected = std::mem::take(&mut crowd.waiting);
        crowd.leading = false;
        self.rounds.fetch_add(1, Ordering::Release);
        let others = crowd.expected > 1;
        drop(crowd);
        if others {
            // It fails for a wrong address only.
            let _ = futex::wake(&self.rounds, futex::Flags::PRIVATE, i32::MAX as u32);
        }
        result
    }
}

/// A round that somebody leads. Dropped: a panic ended it, and nobody knows what of it was written. The others get an error instead of waiting for ever.
struct Led<'a>(&'a Group, &'a Shared);

impl Drop for Led<'_> {
    fn drop(&mut self) {
        let Self(group, shared) = self;
        let panicked = io::Error::other("the thread that wrote for all panicked");
        shared.poison.set("commit", "the log", panicked);
        group.crowd.lock().leading = false;
        group.rounds.fetch_add(1, Ordering::Release);
        // It fails for a wrong address only.
        let _ = futex::wake(&group.rounds, futex::Flags::PRIVATE, i32::MAX as u32);
    }
}

fn sync(shared: &Shared, writer: &Mutex<Writer>) -> Result<(), Error> {
    shared.poison.check()?;
    let (dirty, target) = {
        let mut writer = writer.lock();
        (std::mem::take(&mut writer.dirty), writer.next_seq - 1)
    };
    dirty.sync(&*shared.device, &shared.poison)?;
    shared.syncs.fetch_add(1, Ordering::Relaxed);
    shared.synced.fetch_max(target, Ordering::AcqRel);
    Ok(())
}
