//! Tells the driver of a connection that one of its channels has something to say.

use std::collections::VecDeque;

use futures_util::future::{Either, select};
use parking_lot::Mutex;
use pome_encoding::DiscoveryKey;
use pome_storage::{Seq, Store};
use tokio::sync::Notify;

use super::{
    beside::Worker,
    numbers::{NumberMap, NumberSet},
};

/// What waits to be polled on one connection.
#[derive(Default)]
pub(crate) struct Ready {
    state: Mutex<State>,
    notify: Notify,
    worker: Option<Worker>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<u64>,
    queued: NumberSet,
    /// Cores that were opened, to be offered to the peer.
    opened: Vec<DiscoveryKey>,
    /// Channels with something that must be on disk before it is told.
    waiting: NumberSet,
    until: Option<Seq>,
    /// Channels with something that is told once it is on disk, and for which nothing is synced.
    later: NumberMap<Seq>,
}

impl Ready {
    /// Of a connection with this worker.
    pub(crate) fn new(worker: Option<Worker>) -> Self {
        Self {
            worker,
            ..Self::default()
        }
    }

    pub(crate) fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// This channel must be polled.
    pub(crate) fn mark(&self, channel: u64) {
        let mut state = self.state.lock();
        // Of many messages in a row all but the first find it so.
        if state.queue.back() != Some(&channel) && state.queued.insert(channel) {
            state.queue.push_back(channel);
            drop(state);
            self.notify.notify_one();
        }
    }

    /// A core was opened that this connection may have no channel for.
    pub(crate) fn offer(&self, core: DiscoveryKey) {
        self.state.lock().opened.push(core);
        self.notify.notify_one();
    }

    /// This channel must be polled when commit `seq` is on disk.
    pub(crate) fn wait_synced(&self, channel: u64, seq: Seq) {
        let mut state = self.state.lock();
        let fresh = state.waiting.insert(channel);
        let later = state.until.is_none_or(|until| until < seq);
        if later {
            state.until = Some(seq);
        }
        drop(state);
        if fresh || later {
            self.notify.notify_one();
        }
    }

    /// This channel is to be polled when commit `seq` is on disk; nobody waits for that.
    pub(crate) fn when_synced(&self, channel: u64, seq: Seq) {
        self.state.lock().later.insert(channel, seq);
    }

    /// The next channel to poll.
    pub(crate) fn next(&self) -> Option<u64> {
        let mut state = self.state.lock();
        let channel = state.queue.pop_front()?;
        state.queued.remove(&channel);
        Some(channel)
    }

    pub(crate) fn take_opened(&self) -> Vec<DiscoveryKey> {
        std::mem::take(&mut self.state.lock().opened)
    }

    /// Marks the channels whose commits are on disk now.
    pub(crate) fn settle(&self, synced: Seq) {
        let mut state = self.state.lock();
        let mut synced_now = Vec::new();
        if state.until.is_some_and(|until| until <= synced) {
            state.until = None;
            synced_now.extend(state.waiting.drain());
        }
        let done = state.later.extract_if(|_, seq| *seq <= synced);
        synced_now.extend(done.map(|(channel, _)| channel));
        for channel in synced_now {
            if state.queued.insert(channel) {
                state.queue.push_back(channel);
            }
        }
    }

    /// Resolves when there is something to poll; makes the store sync what has to be synced first.
    pub(crate) async fn wait(&self, store: &Store) {
        loop {
            let notified = self.notify.notified();
            let until = {
                let state = self.state.lock();
                if !state.queue.is_empty() || !state.opened.is_empty() {
                    return;
                }
                state.until
            };
            let Some(seq) = until else {
                notified.await;
                continue;
            };
            let (notified, synced) = (std::pin::pin!(notified), std::pin::pin!(store.synced(seq)));
            match select(notified, synced).await {
                Either::Left(_) => {}
                Either::Right((Ok(()), _)) => self.settle(store.synced_seq()),
                // the store is closed or its disk has failed: nothing more will be told
                Either::Right((Err(_), notified)) => {
                    self.state.lock().until = None;
                    notified.await;
                }
            }
        }
    }
}
