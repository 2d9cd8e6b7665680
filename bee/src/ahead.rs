//! Blocks that are fetched before they are needed, so that a walk over a bee that is mostly elsewhere does not wait for them one by one.
//!
//! What is ahead is asked for and not waited for: a block that no peer has holds up nobody but who needs it. Dropped, what has not come is
//! asked for no more.
use futures_core::future::BoxFuture;
use futures_util::{
    future::{Either, select},
    stream::{FuturesUnordered, StreamExt},
};
use std::{collections::HashSet, pin::pin};

/// So many blocks are asked for together at first; each time that was not enough it becomes twice as many …
const WINDOW_MIN: usize = 16;
/// … up to this.
const WINDOW_MAX: usize = 8192;

/// A block that is on its way; answers its seq once it is here, or cannot come.
pub(crate) type Coming = BoxFuture<'static, u64>;

/// See the module.
pub(crate) struct Ahead {
    window: usize,
    asked: HashSet<u64>,
    coming: FuturesUnordered<Coming>,
}

impl Ahead {
    pub(crate) fn new() -> Self {
        Self {
            window: WINDOW_MIN / 2,
            asked: HashSet::new(),
            coming: FuturesUnordered::new(),
        }
    }

    /// True when it is worth looking for more: less than half of the window is on its way. The window grows.
    pub(crate) fn grow(&mut self) -> bool {
        if self.asked.len() > self.window / 2 {
            return false;
        }
        self.window = WINDOW_MAX.min(self.window * 2);
        true
    }

    pub(crate) fn has_room(&self) -> bool {
        self.asked.len() < self.window
    }

    /// Asks for a block, unless it is on its way.
    pub(crate) fn ask(&mut self, seq: u64, coming: impl FnOnce() -> Coming) {
        if self.asked.insert(seq) {
            self.coming.push(coming());
        }
    }

    /// Does `work` while blocks come.
    pub(crate) async fn until<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        while !self.coming.is_empty() {
            match select(self.coming.next(), work.as_mut()).await {
                Either::Left((Some(seq), _)) => {
                    self.asked.remove(&seq);
                }
                Either::Left((None, _)) => break,
                Either::Right((done, _)) => return done,
            }
        }
        work.await
    }
}
