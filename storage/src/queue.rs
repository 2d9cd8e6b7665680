//! Small commits that wait for the disk are written by one of those who wait: by one call, as many frames of the log.
//!
//! Sixteen threads that each take the lock of the writer, write, and then wait for the same sync meet at the lock; here each of them only puts down what it
//! has to say.

use crate::{
    error::Error,
    store::{Fresh, Inner},
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// Commits that are to be written.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Vec<Arc<Ticket>>>,
}

/// A commit, and what became of it: its number.
struct Ticket {
    body: Bytes,
    outcome: OnceLock<Result<u64, Error>>,
}

impl Ticket {
    fn end(&self, outcome: Result<u64, Error>) {
        // It is in one run only.
        let _ = self.outcome.set(outcome);
    }
}

impl Inner {
    /// A commit without payloads; on disk when this returns.
    pub(crate) fn commit_together(&self, body: Bytes) -> Result<u64, Error> {
        let ticket = Arc::new(Ticket {
            body,
            outcome: OnceLock::new(),
        });
        self.queue.waiting.lock().push(ticket.clone());
        self.wait_until_made(|| ticket.outcome.get().cloned())
    }

    /// Writes what waits.
    pub(crate) fn write_queue(&self) {
        let mut fresh = self.writer.lock();
        let tickets = std::mem::take(&mut *self.queue.waiting.lock());
        let mut rest = &tickets[..];
        while !rest.is_empty() {
            match self.write_run(&mut fresh, rest) {
                Ok(ended) => rest = &rest[ended..],
                Err(e) => {
                    let e = self.poison(e);
                    rest.iter().for_each(|ticket| ticket.end(Err(e.clone())));
                    rest = &[];
                }
            }
        }
        if !tickets.is_empty() {
            self.tell(&fresh);
        }
    }

    /// Writes as many of these as one run can take, and answers how many have ended.
    fn write_run(&self, fresh: &mut Fresh, tickets: &[Arc<Ticket>]) -> Result<usize, Error> {
        self.alive()?;
        let mut run = self.log.run()?;
        let mut added = Vec::with_capacity(tickets.len());
        let mut ended = 0;
        for ticket in tickets {
            let seq = run.next_seq();
            let stored = match self.stored(seq, &ticket.body) {
                Ok(stored) => stored,
                Err(e) => {
                    ticket.end(Err(e));
                    ended += 1;
                    continue;
                }
            };
            match run.add(&stored) {
                Ok(true) => added.push((ticket, seq, stored.len())),
                Ok(false) => break,
                Err(e) => ticket.end(Err(self.poison(e.into()))),
            }
            ended += 1;
        }
        if let Err(e) = run.write() {
            let e = self.poison(e.into());
            for (ticket, ..) in added {
                ticket.end(Err(e.clone()));
            }
            return Ok(ended);
        }
        let mut state = self.state.write();
        for (ticket, _, stored_bytes) in &added {
            self.take_in(&mut state, fresh, &ticket.body, *stored_bytes, &[]);
        }
        drop(state);
        for (ticket, seq, _) in added {
            ticket.end(Ok(seq));
        }
        Ok(ended)
    }
}
