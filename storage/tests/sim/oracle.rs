//! What the store must hold: every commit that was made, and the state after each.

use bytes::Bytes;
use imbl::OrdMap;
use pome_storage::{Batch, Error, Snapshot, Space, Store};
use std::ops::Range;

pub(crate) type Key = Bytes;
/// Everything in the store. A clone costs nothing.
pub(crate) type State = OrdMap<(u64, Key), Bytes>;
/// Keyspaces in use.
pub(crate) const SPACES: u64 = 3;
/// The one that a journal has for itself.
pub(crate) const JOURNAL: u64 = 0;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put(u64, Key, Bytes),
    Delete(u64, Key),
    DeleteRange(u64, Key, Key),
}

pub(crate) fn batch_of(ops: &[Op]) -> Batch {
    let mut batch = Batch::new();
    for op in ops {
        match op {
            Op::Put(s, k, v) => batch.put(Space(*s), &k[..], v.clone()),
            Op::Delete(s, k) => batch.delete(Space(*s), &k[..]),
            Op::DeleteRange(s, a, b) => batch.delete_range(Space(*s), &a[..], &b[..]),
        }
    }
    batch
}

pub(crate) fn apply(state: &mut State, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put(s, k, v) => {
                state.insert((*s, k.clone()), v.clone());
            }
            Op::Delete(s, k) => {
                state.remove(&(*s, k.clone()));
            }
            Op::DeleteRange(s, a, b) => {
                if a < b {
                    let range = (*s, a.clone())..(*s, b.clone());
                    let keys: Vec<_> = state.range(range).map(|(k, _)| k.clone()).collect();
                    for key in keys {
                        state.remove(&key);
                    }
                }
            }
        }
    }
}

/// All commits so far, and the state after each.
#[derive(Clone)]
pub(crate) struct Oracle {
    /// The commits begin after this one; what was before it is in the first state.
    base: u64,
    commits: Vec<Vec<Op>>,
    /// `states[n]`: after commit `base + n`.
    states: Vec<State>,
    /// The newest commit that must survive anything but a media fault.
    pub(crate) synced: u64,
    /// The newest commit that must survive what has happened since: as long as there was no power cut, all that were answered.
    pub(crate) at_least: u64,
    /// The newest commit that the store itself knows to have been on disk: that of its last opening.
    pub(crate) known: u64,
    /// There may be further commits that change nothing: a compaction was cut short.
    pub(crate) moving: bool,
    /// The last commit was not answered: it may be there or not.
    pub(crate) in_doubt: bool,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self::from(0, State::new())
    }

    /// Begins with this state after commit `base`.
    pub(crate) fn from(base: u64, state: State) -> Self {
        Self {
            base,
            commits: vec![],
            states: vec![state],
            synced: base,
            at_least: base,
            known: base,
            moving: false,
            in_doubt: false,
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.base + self.commits.len() as u64
    }

    /// The newest commit that was answered.
    pub(crate) fn answered(&self) -> u64 {
        self.last() - u64::from(self.in_doubt)
    }

    pub(crate) fn now(&self) -> &State {
        self.states.last().unwrap()
    }

    /// The state after commit `seq`.
    pub(crate) fn after(&self, seq: u64) -> &State {
        &self.states[(seq - self.base) as usize]
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = &State> {
        self.states.iter()
    }

    /// A commit that was made, or (at a crash) may have been.
    pub(crate) fn push(&mut self, ops: Vec<Op>) {
        let mut state = self.now().clone();
        apply(&mut state, &ops);
        self.states.push(state);
        self.commits.push(ops);
    }

    /// Takes back the last commit, which failed.
    pub(crate) fn pop(&mut self) {
        self.states.pop();
        self.commits.pop();
    }

    /// The store was opened after a crash: it must be one of the states that are allowed, whole; which is the one from now on.
    pub(crate) fn recovered(&mut self, store: &Store, read: Option<&State>) {
        let seq = store.committed_seq().0;
        while self.moving && self.last() < seq {
            self.push(vec![]);
        }
        self.moving = false;
        assert!(
            (self.at_least..=self.last()).contains(&seq),
            "commit {seq} is the newest after recovery; {} must be there, {} were made",
            self.at_least,
            self.last()
        );
        assert_eq!(store.synced_seq().0, seq, "all that is shown is on disk");
        self.commits.truncate((seq - self.base) as usize);
        self.states.truncate((seq - self.base) as usize + 1);
        self.synced = seq;
        self.at_least = seq;
        self.known = seq;
        self.in_doubt = false;
        if let Some(read) = read {
            assert_same(read, self.now());
        }
    }

    /// The state up to a commit if those in these ranges had never been.
    pub(crate) fn without(&self, upto: u64, lost: &[Range<u64>]) -> State {
        let mut state = self.states[0].clone();
        let upto = upto.saturating_sub(self.base) as usize;
        for (index, ops) in self.commits.iter().enumerate().take(upto) {
            let seq = self.base + index as u64 + 1;
            if !lost.iter().any(|range| range.contains(&seq)) {
                apply(&mut state, ops);
            }
        }
        state
    }
}

/// Everything a snapshot shows, or the first error.
pub(crate) fn read_all(snapshot: &Snapshot) -> Result<State, Error> {
    let mut state = State::new();
    for space in 0..SPACES {
        for entry in snapshot.range(Space(space), ..) {
            let (key, value) = entry?;
            state.insert((space, key), value);
        }
        let mut lent = 0;
        let mut scan = snapshot.scan(Space(space), ..);
        while let Some((key, value)) = scan.next_entry()? {
            let known = state.get(&(space, Bytes::copy_from_slice(key)));
            assert!(known.is_some_and(|known| known[..] == *value), "{key:?}");
            lent += 1;
        }
        let own = state.keys().filter(|(own, _)| *own == space);
        assert_eq!(own.count(), lent);
    }
    Ok(state)
}

pub(crate) fn assert_same(got: &State, want: &State) {
    if got == want {
        return;
    }
    let one = |((s, k), v): (&(u64, Key), &Bytes)| {
        format!("{s}/{k:?} = {} bytes {:?}…", v.len(), v.first())
    };
    let mut differ = String::new();
    for (key, value) in want {
        match got.get(key) {
            None => differ += &format!("\n  missing {}", one((key, value))),
            Some(other) if other != value => {
                differ += &format!(
                    "\n  wrong {}, should be {}",
                    one((key, other)),
                    one((key, value))
                );
            }
            Some(_) => {}
        }
    }
    for (key, value) in got.iter().filter(|entry| !want.contains_key(entry.0)) {
        differ += &format!("\n  too much {}", one((key, value)));
    }
    panic!(
        "the store holds {} keys and should hold {}:{differ}",
        got.len(),
        want.len()
    );
}
