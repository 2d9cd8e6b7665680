//! What the store must hold: every commit that was made, and the state after each.

use bytes::Bytes;
use pome_storage::{Batch, Error, PAYLOAD_BYTES_MIN, Snapshot, Space, Store};
use pome_wal::SimDevice;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, ops::Range};

pub(crate) type State = BTreeMap<(u64, Vec<u8>), Bytes>;
pub(crate) const SPACES: u64 = 2;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Put(u64, Vec<u8>, Bytes),
    Delete(u64, Vec<u8>),
    DeleteRange(u64, Vec<u8>, Vec<u8>),
}

pub(crate) fn batch_of(ops: &[Op]) -> Batch {
    let mut batch = Batch::new();
    for op in ops {
        match op {
            Op::Put(s, k, v) => batch.put(Space(*s), k.clone(), v.clone()),
            Op::Delete(s, k) => batch.delete(Space(*s), k.clone()),
            Op::DeleteRange(s, a, b) => batch.delete_range(Space(*s), a.clone(), b.clone()),
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

/// All commits so far, and the state after each (`states[n]`: after commit `n`).
pub(crate) struct Oracle {
    pub(crate) commits: Vec<Vec<Op>>,
    pub(crate) states: Vec<State>,
    /// The newest commit that must survive anything but a media fault.
    pub(crate) synced: u64,
    /// The newest commit that must survive what has happened since: as long as there was no power cut, all that were answered.
    pub(crate) at_least: u64,
    /// The last commit was not answered: it may be there or not.
    pub(crate) in_doubt: bool,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self {
            commits: vec![],
            states: vec![State::new()],
            synced: 0,
            at_least: 0,
            in_doubt: false,
        }
    }

    pub(crate) fn last(&self) -> u64 {
        self.commits.len() as u64
    }

    pub(crate) fn now(&self) -> &State {
        self.states.last().unwrap()
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
    pub(crate) fn recovered(&mut self, store: &Store, read: &State) {
        let at_least = self.at_least;
        assert!(
            store.damage().is_empty(),
            "damage where no disk failed: {:?}",
            store.damage()
        );
        let seq = store.committed_seq().0;
        assert!(
            (at_least..=self.last()).contains(&seq),
            "commit {seq} is the newest after recovery; {at_least} must be there, {} were made",
            self.last()
        );
        assert_eq!(store.synced_seq().0, seq, "all that is shown is on disk");
        self.commits.truncate(seq as usize);
        self.states.truncate(seq as usize + 1);
        self.synced = seq;
        self.at_least = seq;
        self.in_doubt = false;
        assert_same(read, self.now());
    }

    /// The life ended.
    pub(crate) fn crashed(&mut self, power_cut: bool, answered: u64) {
        self.at_least = match power_cut {
            true => self.synced,
            false => self.at_least.max(answered),
        };
    }

    /// The state if the commits in these ranges had never been.
    pub(crate) fn without(&self, upto: u64, lost: &[Range<u64>]) -> State {
        let mut state = State::new();
        for (index, ops) in self.commits.iter().enumerate().take(upto as usize) {
            let seq = index as u64 + 1;
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
            state.insert((space, key.to_vec()), value);
        }
    }
    Ok(state)
}

pub(crate) fn same(snapshot: &Snapshot, want: &State) {
    assert_same(&read_all(snapshot).unwrap(), want);
}

pub(crate) fn assert_same(got: &State, want: &State) {
    if got != want {
        let short = |state: &State| {
            let one = |((s, k), v): (&(u64, Vec<u8>), &Bytes)| {
                format!("{s}/{k:?}={:?}*{}", v.first(), v.len())
            };
            state.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        panic!(
            "the store holds\n{}\nand should hold\n{}",
            short(got),
            short(want)
        );
    }
}

/// What a seed makes happen.
pub(crate) struct Chance {
    pub(crate) rng: ChaCha8Rng,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x706f_6d65),
        }
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.rng.random_range(0..n)
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn key(&mut self) -> Vec<u8> {
        let n = self.below(24) as u8;
        match self.below(12) {
            0 => vec![n; 200],
            1 => vec![],
            _ => vec![b'k', n / 8, n % 8],
        }
    }

    fn value(&mut self) -> Bytes {
        let len = match self.below(10) {
            0 => PAYLOAD_BYTES_MIN as u64 + self.below(3_000),
            1 => self.below(PAYLOAD_BYTES_MIN as u64),
            _ => self.below(60),
        };
        let mut value = vec![0; len as usize];
        self.rng.fill_bytes(&mut value);
        value.into()
    }

    pub(crate) fn ops(&mut self) -> Vec<Op> {
        let count = 1 + if self.one_in(8) {
            self.below(40)
        } else {
            self.below(4)
        };
        (0..count)
            .map(|_| {
                let space = self.below(SPACES);
                match self.below(12) {
                    0..=1 => Op::Delete(space, self.key()),
                    2 => Op::DeleteRange(space, self.key(), self.key()),
                    _ => Op::Put(space, self.key(), self.value()),
                }
            })
            .collect()
    }

    /// The next life after a crash. True: the power was cut, so the page cache is gone.
    pub(crate) fn crash(&mut self, device: &SimDevice) -> (SimDevice, bool) {
        if self.one_in(3) {
            (device.kill(), false)
        } else {
            (device.power_cut(), true)
        }
    }
}
