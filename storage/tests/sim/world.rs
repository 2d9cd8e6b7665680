//! A store on a simulated disk, beside the oracle that knows what it must hold: every operation is made on both and compared.
//!
//! An operation may fail only when the disk failed in it, and only in the way that fits: a full disk as `Full`, a failed read or write as `Io`, a
//! failed sync as `Poisoned`; never as `Corrupt`. What failed did not happen, and the store goes on (unless it is poisoned).

use crate::{
    chance::Chance,
    oracle::{JOURNAL, Key, Op, Oracle, SPACES, State, assert_same, batch_of, read_all},
    say,
};
use bytes::Bytes;
use pome_storage::{
    Batch, Durability, Error, Journal, Key as StoreKey, Options, Snapshot, Space, Store,
};
use pome_wal::{Device, Faults, SimDevice};
use std::{collections::BTreeSet, sync::Arc};

/// No compaction of such small stores takes so many steps.
pub(crate) const ALL_STEPS: u64 = 200;

/// How a life goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Alive,
    /// The process died in a device call.
    Stopped,
    /// A sync failed.
    Poisoned,
    /// The store is not open.
    Closed,
}

pub(crate) struct World {
    pub(crate) device: SimDevice,
    pub(crate) options: Options,
    pub(crate) store: Option<Store>,
    pub(crate) oracle: Oracle,
    pub(crate) life: Life,
    /// Operations so far.
    pub(crate) made: u64,
    /// Bytes that are not what was written may lie where nothing points at: damage was accepted.
    pub(crate) scarred: bool,
    /// Of an encrypted store: the keys of which one opens it. More than one after a change of the key that was cut short.
    keys: Vec<StoreKey>,
    journal: Option<Journal>,
    snapshots: Vec<(Snapshot, State)>,
    /// What may go wrong now.
    plan: Faults,
    /// Faults that had happened before the current operation.
    fired: u64,
    /// A sync failed: the page cache may show what is not on disk, and the kernel may drop it when the process ends.
    sync_failed: bool,
    /// A recovery did not come to its end since.
    interrupted: bool,
    /// The store was open in this life of the process.
    opened: bool,
}

impl World {
    pub(crate) fn new(device: SimDevice, options: Options) -> Self {
        Self {
            device,
            keys: options.key.clone().into_iter().collect(),
            options,
            store: None,
            oracle: Oracle::new(),
            life: Life::Closed,
            made: 0,
            scarred: false,
            journal: None,
            snapshots: vec![],
            plan: Faults::default(),
            fired: 0,
            sync_failed: false,
            interrupted: false,
            opened: false,
        }
    }

    /// A second world that is as this one is now, with misfortunes of its own. The store must be closed.
    pub(crate) fn fork(&self, seed: u64) -> Self {
        assert!(self.store.is_none());
        let mut fork = Self::new(self.device.fork(seed), self.options.clone());
        fork.oracle = self.oracle.clone();
        fork.keys = self.keys.clone();
        fork
    }

    pub(crate) fn alive(&self) -> bool {
        self.life == Life::Alive
    }

    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().expect("an open store")
    }

    pub(crate) fn set_faults(&mut self, faults: Faults) {
        say!("     from now on: {faults:?}");
        self.plan = faults.clone();
        self.device.set_faults(faults);
    }

    pub(crate) fn heal(&mut self) {
        self.set_faults(Faults::default());
    }

    fn begin(&mut self, what: &str) {
        say!(
            "{:>4} {what} (commit {}, synced {})",
            self.device.calls(),
            self.oracle.last(),
            self.oracle.synced
        );
        self.made += 1;
        self.promised();
        self.fired = self.device.faults_fired();
    }

    /// What the store calls synced is synced.
    fn promised(&mut self) {
        if let Some(store) = &self.store {
            self.oracle.synced = self.oracle.synced.max(store.synced_seq().0);
        }
    }

    fn stopped(&self) -> bool {
        let gone = "the process that opened this is gone";
        self.plan.stop_at.is_some()
            && self
                .device
                .list()
                .is_err_and(|e| e.to_string().contains(gone))
    }

    /// An operation failed: says how the life goes on, and panics when the failure does not fit to what the disk did.
    fn failed(&mut self, what: &str, e: &Error) {
        say!("     {what} fails: {e}");
        if self.stopped() {
            self.life = Life::Stopped;
            return;
        }
        let fired = self.device.faults_fired() > self.fired;
        let plan = &self.plan;
        let full = plan.space_bytes.is_some() || plan.full_from.is_some();
        let poisons =
            plan.fail_call.is_some() || plan.fail_sync.is_some() || plan.fail_write.is_some();
        let fails = poisons || plan.fail_read.is_some();
        match e {
            Error::Poisoned { .. } => {
                assert!(poisons, "{what}: poisoned where no sync can fail: {e}");
                self.life = Life::Poisoned;
                self.sync_failed = true;
                self.heal();
                if what != "close" {
                    self.poisoned();
                }
            }
            Error::Full { .. } => assert!(full, "{what}: {e}"),
            Error::Io { .. } => assert!(fired && fails, "{what}: {e:?}"),
            e => panic!("{what}: {e:?}"),
        }
    }

    /// From a failed sync on nothing is written, and what was answered can be read.
    fn poisoned(&self) {
        let Some(store) = &self.store else {
            return;
        };
        let mut batch = Batch::new();
        batch.put(Space(1), b"late", &b"x"[..]);
        let late = store.commit(batch, Durability::Buffered);
        assert!(matches!(late, Err(Error::Poisoned { .. })), "{late:?}");
        assert!(matches!(store.sync(), Err(Error::Poisoned { .. })));
        assert!(matches!(store.checkpoint(), Err(Error::Poisoned { .. })));
        let seen = store.committed_seq().0.min(self.oracle.last());
        assert_same(
            &read_all(&store.snapshot()).unwrap(),
            self.oracle.after(seen),
        );
    }

    /// Opens the store with the key that it has. Only an open store says which: what the page cache shows may be none that is on disk.
    fn open_store(&mut self) -> Result<Store, Error> {
        let mut wrong = None;
        for key in self.keys.clone() {
            self.options.key = Some(key.clone());
            match Store::open_on(Arc::new(self.device.clone()), self.options.clone()) {
                Err(e @ Error::WrongKey { .. }) => wrong = Some(e),
                Ok(store) => {
                    self.keys = vec![key];
                    return Ok(store);
                }
                Err(e) => return Err(e),
            }
        }
        match wrong {
            Some(e) => Err(e),
            None => Store::open_on(Arc::new(self.device.clone()), self.options.clone()),
        }
    }

    /// Opens the store and compares. False when the disk did not let it.
    pub(crate) fn open(&mut self) -> bool {
        self.begin("open");
        let store = match self.open_store() {
            Ok(store) => store,
            Err(e) => {
                let fires = self.plan.fail_call.is_some() || self.plan.fail_sync.is_some();
                self.failed("open", &e);
                // It may have been a sync, and the error only names it as that of a call.
                if self.life != Life::Stopped && fires {
                    self.sync_failed = true;
                }
                self.interrupted = true;
                if self.life != Life::Stopped {
                    self.life = Life::Closed;
                }
                return false;
            }
        };
        self.life = Life::Alive;
        self.opened = true;
        say!("     {:?}", store.recovery());
        self.store = Some(store);
        if self.store().is_damaged() {
            self.damaged();
            return self.alive();
        }
        let read = read_all(&self.store().snapshot());
        match read {
            Ok(read) => {
                let store = self.store.as_ref().expect("just opened");
                self.oracle.recovered(store, Some(&read));
            }
            Err(Error::Corrupt { .. }) if self.sync_failed => {
                self.damaged();
                return self.alive();
            }
            Err(e) => {
                let store = self.store.as_ref().expect("just opened");
                self.oracle.recovered(store, None);
                self.failed("read", &e);
            }
        }
        self.sync_failed = false;
        self.interrupted = false;
        self.alive()
    }

    /// After a failed sync in a machine that went on, a hole in what was never promised is damage: it is named, what follows it is kept, and the store
    /// goes on when a person has said that it shall.
    fn damaged(&mut self) {
        if self.stopped() {
            self.life = Life::Stopped;
            self.interrupted = true;
            // What it calls synced it has seen to be damaged: nobody was promised that.
            self.store = None;
            return;
        }
        self.heal();
        let store = self.store.clone().expect("an open store");
        assert!(
            self.sync_failed,
            "damage where no sync failed: {:?}",
            store.damage()
        );
        let lost: Vec<_> = store.damage().iter().map(|d| d.seqs.clone()).collect();
        let synced = self.oracle.synced;
        assert!(
            lost.iter().all(|l| l.is_empty() || l.start > synced),
            "synced commits are lost: {lost:?}, synced {synced}"
        );
        let upto = store.committed_seq().0;
        assert!((synced..=self.oracle.last()).contains(&upto));
        let mut want = self.oracle.without(upto, &lost);
        // Of a frame whose payload is gone the rest is kept; the payload itself is refused.
        let (read, refused) = read_each(&store, &self.oracle);
        for key in &refused {
            let old = self.oracle.after(synced).get(key);
            assert!(
                want.get(key) != old || old.is_none(),
                "a synced value is refused: {key:?}"
            );
            want.remove(key);
        }
        assert_same(&read, &want);
        let store = self.open_damaged_again(store, upto, (&read, &refused));
        store.accept_damage().unwrap();
        assert!(store.damage().is_empty());
        let mut batch = Batch::new();
        for (space, key) in refused {
            batch.delete(Space(space), &key[..]);
        }
        store.commit(batch, Durability::Synced).unwrap();
        assert_same(&read_all(&store.snapshot()).unwrap(), &want);
        let report = store.check(&mut |_, _| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        self.oracle = Oracle::from(store.committed_seq().0, want);
        self.scarred = true;
        self.sync_failed = false;
        self.interrupted = false;
    }

    /// A process that ends before a person has said anything changes nothing: the next sees the same, though by then a frame calls all of it synced.
    fn open_damaged_again(
        &mut self,
        store: Store,
        upto: u64,
        (read, refused): (&State, &BTreeSet<(u64, Key)>),
    ) -> Store {
        let next = self.device.kill();
        drop(store);
        self.store = None;
        self.device = next;
        let device = Arc::new(self.device.clone());
        let store = Store::open_on(device, self.options.clone()).unwrap();
        assert!(store.is_damaged() || refused.is_empty());
        assert_eq!(store.committed_seq().0, upto);
        let (again, still) = read_each(&store, &self.oracle);
        assert_same(&again, read);
        assert_eq!(still, *refused);
        self.store = Some(store.clone());
        store
    }

    pub(crate) fn commit(&mut self, ops: Vec<Op>, durability: Durability) -> bool {
        let batch = batch_of(&ops);
        self.commit_batch(batch, ops, durability)
    }

    fn commit_batch(&mut self, batch: Batch, ops: Vec<Op>, durability: Durability) -> bool {
        self.begin("commit");
        self.oracle.push(ops);
        self.oracle.in_doubt = true;
        let store = self.store().clone();
        match store.commit(batch, durability) {
            Ok(seq) => {
                assert_eq!(seq.0, self.oracle.last());
                self.oracle.in_doubt = false;
                if durability == Durability::Synced {
                    self.oracle.synced = seq.0;
                }
                true
            }
            Err(e) => {
                self.failed("commit", &e);
                if self.alive() {
                    self.oracle.pop();
                    self.oracle.in_doubt = false;
                    assert_eq!(store.committed_seq().0, self.oracle.last());
                } else {
                    // When it was written, only the sync of it failed.
                    self.oracle.in_doubt = store.committed_seq().0 < self.oracle.last();
                }
                false
            }
        }
    }

    pub(crate) fn sync(&mut self) {
        self.begin("sync");
        match self.store().sync() {
            Ok(()) => self.oracle.synced = self.oracle.last(),
            Err(e) => {
                self.failed("sync", &e);
                assert!(!self.alive(), "a sync fails for good or not at all: {e:?}");
            }
        }
    }

    pub(crate) fn checkpoint(&mut self) {
        self.begin("checkpoint");
        match self.store().checkpoint() {
            Ok(_) => self.oracle.synced = self.oracle.last(),
            Err(e) => self.failed("checkpoint", &e),
        }
    }

    /// Steps of a compaction, or all of it. It commits living values again, which changes nothing.
    pub(crate) fn compact(&mut self, steps: u64) {
        self.begin("compact");
        let store = self.store().clone();
        for _ in 0..steps {
            let done = store.compact_step();
            while self.oracle.last() < store.committed_seq().0 {
                self.oracle.push(vec![]);
            }
            match done {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => {
                    self.failed("compact", &e);
                    self.oracle.moving = !self.alive();
                    return;
                }
            }
        }
        assert!(steps < ALL_STEPS, "a compaction has no end");
    }

    /// Puts right what is bad: bytes that nothing needs. Segments with such are emptied, which changes nothing.
    pub(crate) fn repair(&mut self) {
        self.begin("repair");
        let store = self.store().clone();
        let done = store.repair(&mut |_| false, &mut |_, _| {});
        while self.oracle.last() < store.committed_seq().0 {
            self.oracle.push(vec![]);
        }
        match done {
            Ok(done) => {
                say!("     {:?}", done.actions);
                let fired = self.device.faults_fired() > self.fired;
                let refused = |e: &Error| matches!(e, Error::Io { .. }) && fired;
                assert!(
                    done.left.iter().all(|left| refused(&left.error)),
                    "{:?}",
                    done.left
                );
            }
            Err(e) => {
                self.failed("repair", &e);
                self.oracle.moving = !self.alive();
            }
        }
    }

    /// Gives the store another key. When that is cut short, it has one of the two.
    pub(crate) fn rekey(&mut self, n: u8) {
        self.begin("rekey");
        let new = StoreKey::from_key_file(&[n; 32]).unwrap();
        match self.store().rekey(&new) {
            Ok(()) => {
                self.keys = vec![new.clone()];
                self.options.key = Some(new);
            }
            Err(Error::NotEncrypted { .. }) => assert!(self.keys.is_empty()),
            Err(e) => {
                self.keys.push(new);
                self.failed("rekey", &e);
            }
        }
    }

    pub(crate) fn take_snapshot(&mut self) {
        self.begin("snapshot");
        let snapshot = self.store().snapshot();
        self.snapshots.push((snapshot, self.oracle.now().clone()));
    }

    /// Reads the oldest or the newest snapshot, and lets it go.
    pub(crate) fn read_snapshot(&mut self, oldest: bool) {
        if self.snapshots.is_empty() {
            return;
        }
        self.begin("read snapshot");
        let at = if oldest { 0 } else { self.snapshots.len() - 1 };
        let (snapshot, state) = self.snapshots.remove(at);
        match read_all(&snapshot) {
            Ok(read) => assert_same(&read, &state),
            Err(e) => self.failed("snapshot", &e),
        }
    }

    pub(crate) fn read_snapshots(&mut self) {
        while self.alive() && !self.snapshots.is_empty() {
            self.read_snapshot(true);
        }
    }

    pub(crate) fn read(&mut self) {
        self.begin("read");
        match read_all(&self.store().snapshot()) {
            Ok(read) => assert_same(&read, self.oracle.now()),
            Err(e) => self.failed("read", &e),
        }
    }

    /// One key in every way, and the keys around it from both ends.
    fn read_near(&mut self, space: u64, key: &Key) {
        self.begin("get");
        let result = near(self.store(), space, key);
        match result {
            Ok(found) => assert_eq!(
                found,
                Near::of(self.oracle.now(), space, key),
                "near {key:?}"
            ),
            Err(e) => self.failed("get", &e),
        }
    }

    fn check(&mut self) {
        self.begin("check");
        match self.store().check(&mut |_, _| {}) {
            Ok(report) => {
                let bad = report.findings.iter().find(|f| {
                    // The disk may refuse to be read, but it does not lie.
                    !matches!(f.error, Error::Io { .. }) || self.device.faults_fired() == self.fired
                });
                assert!(bad.is_none(), "{bad:?}");
            }
            Err(e) => self.failed("check", &e),
        }
    }

    fn with_journal(&mut self) -> Option<Journal> {
        if self.journal.is_none() {
            match Journal::open(self.store(), Space(JOURNAL)) {
                Ok(journal) => {
                    assert_eq!(journal.len(), tail(self.oracle.now()));
                    self.journal = Some(journal);
                }
                Err(e) => self.failed("journal", &e),
            }
        }
        self.journal.clone()
    }

    fn journal_append(&mut self, bytes: Bytes, durability: Durability) {
        self.begin("append to the journal");
        let Some(journal) = self.with_journal() else {
            return;
        };
        let mut batch = Batch::new();
        let at = journal.append(&mut batch, bytes.clone());
        assert_eq!(at, tail(self.oracle.now()));
        let ops = vec![Op::Put(JOURNAL, at.to_be_bytes().to_vec().into(), bytes)];
        if !self.commit_batch(batch, ops, durability) {
            // It counts what did not happen.
            self.journal = None;
        }
    }

    fn journal_clear(&mut self) {
        self.begin("clear the journal");
        let Some(journal) = self.with_journal() else {
            return;
        };
        let mut batch = Batch::new();
        journal.clear(&mut batch);
        let ops = vec![Op::DeleteRange(JOURNAL, Key::new(), vec![0xff; 9].into())];
        if !self.commit_batch(batch, ops, Durability::Buffered) {
            self.journal = None;
        }
    }

    fn journal_read(&mut self, chance: &mut Chance) {
        self.begin("read the journal");
        let Some(journal) = self.with_journal() else {
            return;
        };
        // What was lost as damage is a gap.
        let mut whole = vec![None; tail(self.oracle.now()) as usize];
        let entries = (JOURNAL, Key::new())..(JOURNAL + 1, Key::new());
        for ((_, key), bytes) in self.oracle.now().range(entries) {
            let at = u64::from_be_bytes(key[..].try_into().unwrap()) as usize;
            for (to, byte) in whole[at..].iter_mut().zip(bytes) {
                *to = Some(*byte);
            }
        }
        let from = chance.below(whole.len() as u64 + 1) as usize;
        let to = from + chance.below((whole.len() - from) as u64 + 1) as usize;
        let want: Option<Vec<u8>> = whole[from..to].iter().copied().collect();
        let mut buf = vec![0; to - from];
        match journal.read_at(from as u64, &mut buf) {
            Ok(()) => assert_eq!(Some(buf), want, "journal {from}..{to}"),
            Err(Error::Gap { .. }) => assert_eq!(want, None, "journal {from}..{to}"),
            Err(e) => self.failed("journal", &e),
        }
        let mut past = vec![0; whole.len() - from + 1];
        let past = journal.read_at(from as u64, &mut past);
        assert!(past.is_err(), "a read past the end of the journal");
    }

    /// Closes the store as a program does that ends. True when it could.
    pub(crate) fn close(&mut self) -> bool {
        self.begin("close");
        self.snapshots.clear();
        self.journal = None;
        let store = self.store().clone();
        let closed = match store.close() {
            Ok(()) => {
                self.oracle.synced = self.oracle.last();
                true
            }
            Err(e) => {
                self.failed("close", &e);
                false
            }
        };
        drop(store);
        if self.alive() {
            self.store = None;
            self.life = Life::Closed;
        }
        closed
    }

    /// The process goes on and opens the store again, after a close that went well or not.
    pub(crate) fn open_again(&mut self) -> bool {
        self.snapshots.clear();
        self.journal = None;
        self.store = None;
        // Nothing was evicted: all that was answered is there, and what was in doubt may be.
        if self.opened {
            self.oracle.at_least = self.oracle.at_least.max(self.oracle.answered());
        }
        self.open()
    }

    /// The process ends here and now; with a power cut, the machine too.
    pub(crate) fn crash(&mut self, cut: bool) {
        self.promised();
        say!("     {}", if cut { "power cut" } else { "kill" });
        let next = match cut {
            true => self.device.power_cut(),
            false => self.device.kill(),
        };
        self.plan = Faults::default();
        // Handles of the dead process; letting go of them does nothing any more.
        self.snapshots.clear();
        self.journal = None;
        self.store = None;
        self.device = next;
        self.life = Life::Closed;
        self.oracle.at_least = match cut || self.sync_failed {
            true => self.oracle.synced,
            false if self.opened => self.oracle.at_least.max(self.oracle.answered()),
            false => self.oracle.at_least,
        };
        self.opened = false;
        if cut {
            // The page cache is gone, and what it pretended with it; but a recovery that saw it may have written down what it saw.
            self.sync_failed &= self.interrupted;
        }
    }

    /// The process is killed and another begins, with what was to go wrong still to come.
    pub(crate) fn restart(&mut self) {
        let plan = self.device.faults();
        self.crash(false);
        self.set_faults(plan);
    }

    /// A disk that is well: the store opens, is sound, and can be worked with.
    pub(crate) fn verify(&mut self) {
        self.heal();
        assert!(self.open());
        let store = self.store();
        let report = store.check(&mut |_, _| {}).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        assert_eq!(report.keys, self.oracle.now().len() as u64);
        let ops = vec![
            Op::Put(1, Key::from_static(b"still"), Bytes::from_static(b"well")),
            Op::Put(
                2,
                Key::from_static(b"large"),
                vec![self.made as u8; 1500].into(),
            ),
        ];
        assert!(self.commit(ops, Durability::Synced));
        assert!(self.alive());
        self.crash(true);
        assert!(self.open());
        self.checkpoint();
        self.read();
        assert!(self.close());
    }

    /// One random operation.
    pub(crate) fn step(&mut self, chance: &mut Chance) {
        let durability = chance.durability();
        match chance.below(47) {
            0..=1 => self.sync(),
            2..=6 => self.checkpoint(),
            7..=8 => self.take_snapshot(),
            9..=10 => {
                let oldest = chance.one_in(2);
                self.read_snapshot(oldest);
            }
            11 => self.read(),
            12..=13 => {
                let (space, key) = (chance.below(SPACES), chance.key());
                self.read_near(space, &key);
            }
            14 => self.check(),
            15..=17 => {
                let len = chance.below(1_500) + 1;
                let bytes = chance.bytes(len);
                self.journal_append(bytes, durability);
            }
            18 => self.journal_read(chance),
            19 => {
                if chance.one_in(3) {
                    self.journal_clear();
                }
            }
            20 => {
                if chance.one_in(2) && self.close() {
                    self.open_again();
                }
            }
            21..=23 => {
                let steps = 1 + chance.below(6);
                self.compact(steps);
            }
            24 => self.compact(ALL_STEPS),
            25 => self.repair(),
            26..=27 => {
                let n = chance.below(5) as u8;
                self.rekey(n);
            }
            _ => {
                let ops = chance.ops();
                self.commit(ops, durability);
            }
        }
    }
}

/// The length of the journal.
fn tail(state: &State) -> u64 {
    let last = state
        .range((JOURNAL, Key::new())..(JOURNAL + 1, Key::new()))
        .next_back();
    last.map_or(0, |((_, key), bytes)| {
        u64::from_be_bytes(key[..].try_into().unwrap()) + bytes.len() as u64
    })
}

/// What the store hands out for each key that ever was, and whether any of it is refused as corrupt.
pub(crate) fn read_each(store: &Store, oracle: &Oracle) -> (State, BTreeSet<(u64, Key)>) {
    let mut read = State::new();
    let mut refused = BTreeSet::new();
    let ever: BTreeSet<_> = oracle.states().flat_map(|state| state.keys()).collect();
    for (space, key) in ever {
        match store.get(Space(*space), key) {
            Ok(Some(value)) => {
                read.insert((*space, key.clone()), value);
            }
            Ok(None) => {}
            Err(Error::Corrupt { .. }) => {
                refused.insert((*space, key.clone()));
            }
            Err(e) => panic!("{e:?}"),
        }
    }
    (read, refused)
}

#[derive(Debug, PartialEq)]
struct Near {
    value: Option<Bytes>,
    before: Option<(Key, Bytes)>,
    after: Vec<Key>,
}

impl Near {
    fn of(state: &State, space: u64, key: &Key) -> Self {
        let own = |((_, k), v): (&(u64, Key), &Bytes)| (k.clone(), v.clone());
        let at = (space, key.clone());
        Self {
            value: state.get(&at).cloned(),
            before: state
                .range((space, Key::new())..at.clone())
                .next_back()
                .map(own),
            after: state
                .range(at..(space + 1, Key::new()))
                .take(3)
                .map(|entry| own(entry).0)
                .collect(),
        }
    }
}

fn near(store: &Store, space: u64, key: &Key) -> Result<Near, Error> {
    let space = Space(space);
    let value = store.get(space, key)?;
    assert_eq!(store.contains(space, key)?, value.is_some());
    let snapshot = store.snapshot();
    assert_eq!(snapshot.get(space, key)?, value);
    Ok(Near {
        value,
        before: snapshot.range(space, ..&key[..]).next_back().transpose()?,
        after: snapshot
            .keys(space, &key[..]..)
            .take(3)
            .collect::<Result<_, _>>()?,
    })
}
