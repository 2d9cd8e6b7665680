//! Contents that are elsewhere are fetched before they are read, where they are read on and on: the further ahead the longer they take to come, and not at all where they are read here
//! and there.

use super::node::Ino;
use parking_lot::Mutex;
use std::{any::Any, collections::HashMap};

/// What is fetched beside what is asked for, in bytes, once two reads have followed each other …
const WINDOW_MIN: u64 = 256 << 10;
/// … twice as much each time that a read had to wait all the same, up to this; the replication has no more than half of it on its way.
const WINDOW_MAX: u64 = 16 << 20;
/// The kernel asks for several parts at a time, and they come in any order.
const OUT_OF_ORDER: u64 = 1 << 20;
/// Files that are followed at a time.
const FILES_MAX: usize = 64;

/// A fetch that goes on until it is dropped.
pub(crate) type Fetch = Box<dyn Any + Send>;

/// How files are read.
#[derive(Default)]
pub(crate) struct Aheads(Mutex<HashMap<Ino, Ahead>>);

#[derive(Default)]
struct Ahead {
    /// Where the next read begins if they follow each other.
    next: u64,
    window: u64,
    /// What lies before this was asked for.
    asked: u64,
    /// The last read found nothing here.
    waited: bool,
    /// A count of reads, so that the file that was left alone for longest gives way.
    used: u64,
    coming: Option<Fetch>,
}

impl Ahead {
    /// True when a read of a range goes on where others were.
    fn follows(&self, offset: u64) -> bool {
        self.next > 0
            && offset <= self.next.saturating_add(OUT_OF_ORDER)
            && offset.saturating_add(OUT_OF_ORDER) >= self.next
    }

    /// A read of a range; the range that is to be fetched with it.
    fn read(&mut self, offset: u64, end: u64, size: u64) -> Option<(u64, u64)> {
        let waited = std::mem::take(&mut self.waited);
        if !self.follows(offset) {
            self.window /= 4;
            (self.next, self.asked) = (end, end);
            return None;
        }
        self.next = self.next.max(end);
        self.window = match self.window {
            ..WINDOW_MIN => WINDOW_MIN,
            window if waited => WINDOW_MAX.min(window * 2),
            window => window,
        };
        let wanted = self.next.saturating_add(self.window).min(size);
        // Not with each read anew, but when half of it is used, or for the rest of the file.
        let left = self.asked.saturating_sub(self.next);
        if self.asked >= wanted || left > self.window / 2 {
            return None;
        }
        self.asked = wanted;
        Some((self.next, wanted))
    }
}

impl Aheads {
    /// Notes a read of a file, and answers which range of it is to be fetched now.
    pub(crate) fn read(&self, ino: Ino, offset: u64, end: u64, size: u64) -> Option<(u64, u64)> {
        // What is no longer fetched is dropped after the lock.
        let mut gone = (None, None);
        let mut files = self.0.lock();
        let used = files.values().map(|ahead| ahead.used).max().unwrap_or(0) + 1;
        if files.len() >= FILES_MAX && !files.contains_key(&ino) {
            let oldest = files.iter().min_by_key(|(_, ahead)| ahead.used);
            if let Some(oldest) = oldest.map(|(ino, _)| *ino) {
                gone.0 = files.remove(&oldest);
            }
        }
        let ahead = files.entry(ino).or_default();
        ahead.used = used;
        if !ahead.follows(offset) {
            gone.1 = ahead.coming.take();
        }
        ahead.read(offset, end, size)
    }

    /// What is fetched for a file from now on, instead of what was.
    pub(crate) fn fetches(&self, ino: Ino, fetch: Option<Fetch>) {
        let before =
            (self.0.lock().get_mut(&ino)).map(|ahead| std::mem::replace(&mut ahead.coming, fetch));
        // Not under the lock.
        drop(before);
    }

    /// A read had to wait.
    pub(crate) fn waited(&self, ino: Ino) {
        if let Some(ahead) = self.0.lock().get_mut(&ino) {
            ahead.waited = true;
        }
    }

    /// Nobody has the file open any more.
    pub(crate) fn closed(&self, ino: Ino) {
        let ahead = self.0.lock().remove(&ino);
        drop(ahead);
    }
}
