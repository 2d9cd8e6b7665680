//! Timers that fire once, in the order of their deadlines, and of their making where those are the same.

use rquickjs::{Function, Persistent};
use std::{
    collections::{BTreeMap, HashMap},
    time::Instant,
};

/// Names a timer until it has fired.
pub(crate) type TimerId = u64;

struct Timer {
    callback: Persistent<Function<'static>>,
    is_ref: bool,
}

#[derive(Default)]
pub(super) struct Timers {
    by_time: BTreeMap<(Instant, TimerId), Timer>,
    deadlines: HashMap<TimerId, Instant>,
    next: TimerId,
    /// How many keep the loop alive.
    live: usize,
}

impl Timers {
    pub(super) fn start(
        &mut self,
        deadline: Instant,
        callback: Persistent<Function<'static>>,
        is_ref: bool,
    ) -> TimerId {
        self.next += 1;
        let id = self.next;
        self.live += usize::from(is_ref);
        self.deadlines.insert(id, deadline);
        self.by_time
            .insert((deadline, id), Timer { callback, is_ref });
        id
    }

    /// True when there was such a timer.
    pub(super) fn stop(&mut self, id: TimerId) -> bool {
        self.take(id).is_some()
    }

    fn take(&mut self, id: TimerId) -> Option<Timer> {
        let deadline = self.deadlines.remove(&id)?;
        let timer = self.by_time.remove(&(deadline, id))?;
        self.live -= usize::from(timer.is_ref);
        Some(timer)
    }

    pub(super) fn set_ref(&mut self, id: TimerId, is_ref: bool) {
        let Some(deadline) = self.deadlines.get(&id) else {
            return;
        };
        let Some(timer) = self.by_time.get_mut(&(*deadline, id)) else {
            return;
        };
        if timer.is_ref != is_ref {
            timer.is_ref = is_ref;
            match is_ref {
                true => self.live += 1,
                false => self.live -= 1,
            }
        }
    }

    /// Takes a timer whose time has come, and was made before `until`.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        until: TimerId,
    ) -> Option<Persistent<Function<'static>>> {
        let (_, id) = self
            .by_time
            .keys()
            .take_while(|(deadline, _)| *deadline <= now)
            .find(|(_, id)| *id <= until)
            .copied()?;
        self.take(id).map(|timer| timer.callback)
    }

    /// The newest timer's name: one made later is none of this round's.
    pub(super) fn newest(&self) -> TimerId {
        self.next
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.by_time.keys().next().map(|(deadline, _)| *deadline)
    }

    pub(super) fn keep_alive(&self) -> bool {
        self.live > 0
    }

    pub(super) fn clear(&mut self) {
        self.by_time.clear();
        self.deadlines.clear();
        self.live = 0;
    }
}
