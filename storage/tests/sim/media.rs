//! A disk that lies: sectors written to the wrong place or never, syncs that did nothing, bits that flip at rest. Nothing wrong is handed out, nothing
//! undamaged is lost, nothing is silent.
//!
//! What no reader can know is told apart by the bytes themselves. Commits below the newest that a frame calls synced are there or named as damage. Above
//! it a hole looks as a power cut leaves one: what follows it is cut, and the recovery says so.

use crate::{
    chance::Chance,
    oracle::{Key, Op, Oracle, SPACES, State, apply, assert_same, batch_of},
    say, seeds,
    world::{World, read_each},
};
use bytes::Bytes;
use pome_storage::{Durability, Error, Space, Store};
use pome_wal::{Device, Faults, SimDevice};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the frames in the files say: an own reader, from `docs/store-format.md`.
#[derive(Default, Debug)]
struct Frames {
    /// The greatest commit that one calls synced.
    mark: u64,
    /// For each epoch, the greatest commit that has a good header.
    newest: BTreeMap<u32, u64>,
}

impl Frames {
    fn of(device: &SimDevice) -> Self {
        let mut frames = Self::default();
        for name in device.list().unwrap() {
            let (kind, number) = match (name.strip_prefix("log-"), name.strip_prefix("payload-")) {
                (Some(number), _) => (1, number),
                (_, Some(number)) => (2, number),
                _ => continue,
            };
            let bytes = device.bytes(&name).unwrap();
            let number: u32 = number.parse().unwrap();
            for at in (32..bytes.len()).step_by(8) {
                frames.add(&bytes, kind, number, at);
            }
        }
        frames
    }

    fn add(&mut self, bytes: &[u8], kind: u8, number: u32, at: usize) -> Option<()> {
        let log_id = bytes.get(16..24)?;
        let header = bytes.get(at..at + 56).filter(|h| h.starts_with(b"pomF"))?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[..52]);
        crc.update(log_id);
        crc.update(&number.to_le_bytes());
        crc.update(&[kind, 0, 0, 0]);
        crc.update(&(at as u64).to_le_bytes());
        if crc.finalize().to_le_bytes() != header[52..] {
            return None;
        }
        let word = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().unwrap());
        self.mark = self.mark.max(word(16));
        let newest = self.newest.entry((word(24) >> 32) as u32).or_default();
        *newest = word(8).max(*newest);
        Some(())
    }
}

/// Compares all that the store hands out with what it should hold. Answers what it refuses as corrupt.
fn compare(store: &Store, oracle: &Oracle, want: &State) -> BTreeSet<(u64, Key)> {
    let mut want = want.clone();
    let (mut read, refused) = read_each(store, oracle);
    for key in &refused {
        want.remove(key);
        read.remove(key);
    }
    assert_same(&read, &want);
    // A walk gives the same, or the error.
    'spaces: for space in 0..SPACES {
        let mut walked = State::new();
        for entry in store.snapshot().range(Space(space), ..) {
            match entry {
                Ok((key, value)) => walked.insert((space, key), value),
                Err(Error::Corrupt { .. }) => continue 'spaces,
                Err(e) => panic!("{e:?}"),
            };
        }
        for key in &refused {
            walked.remove(key);
        }
        let here = want.range((space, Key::new())..(space + 1, Key::new()));
        let here = here.map(|(key, value)| (key.clone(), value.clone()));
        assert_same(&walked, &here.collect());
    }
    refused
}

/// Answers what became of the lie, for the tally, and how many operations were made.
pub(crate) fn lie(seed: u64) -> (&'static str, u64) {
    let mut chance = Chance::new(seed ^ 0xf11b);
    let options = chance.options(seed);
    let mut world = World::new(SimDevice::new(seed), options.clone());
    assert!(world.open());
    let (steps, lies_at) = (10 + chance.below(50), chance.below(40));
    let flips = match chance.one_in(2) {
        true => 1 + chance.below(2) * chance.below(3),
        false => 0,
    };
    for step in 0..steps {
        if step == lies_at && flips == 0 {
            let lie = chance.lie();
            world.set_faults(lie);
        }
        if flips > 0 && chance.one_in(20) {
            let cut = chance.one_in(2);
            world.crash(cut);
            assert!(world.open());
        }
        world.step(&mut chance);
        assert!(world.alive());
    }
    if flips > 0 && chance.one_in(3) {
        // What is flipped is what a recovery has just seen.
        let cut = chance.one_in(2);
        world.crash(cut);
        assert!(world.open());
    }
    let closed = chance.one_in(2) && world.close();
    let cut = chance.one_in(2);
    world.crash(cut);
    let device = world.device.clone();
    for _ in 0..flips {
        let flipped = match chance.one_in(2) {
            true => device.flip_any_bit(),
            false => flip_a_file(&device, &mut chance),
        };
        say!("     flipped: {flipped:?}");
    }
    device.evict();
    // Of one flip the store knows more: what was there when it was opened, or closed, was on disk.
    let known = match (flips, closed) {
        (1, true) => world.oracle.last(),
        (1, false) => world.oracle.known,
        _ => 0,
    };
    let whole = closed || !cut;
    let fork = device.fork(seed);
    let outcome = judge(&world, &device, known, whole);
    // Other lies come to light later, when what went astray leaves the page cache.
    if flips > 0 {
        mend(&world, fork, &mut chance);
    }
    (outcome, world.made)
}

/// A repair that is cut short loses nothing and brings nothing wrong; the next one leaves nothing to be repaired.
fn mend(world: &World, device: SimDevice, chance: &mut Chance) {
    let open = |device: &SimDevice| Store::open_on(Arc::new(device.clone()), world.options.clone());
    let Ok(store) = open(&device) else {
        return;
    };
    let oracle = &world.oracle;
    let lost: Vec<_> = store.damage().iter().map(|d| d.seqs.clone()).collect();
    let want = oracle.without(store.committed_seq().0, &lost);
    let refused = compare(&store, oracle, &want);
    let mut faults = Faults::default();
    match chance.one_in(3) {
        true => faults.fail_call = Some(chance.soon()),
        false => faults.stop_at = Some(chance.soon()),
    }
    device.set_faults(faults.clone());
    let repair = |store: &Store| store.repair(&mut |_| false, &mut |_, _| {});
    let done = repair(&store);
    say!("     {faults:?}: {done:?}");
    let device = match chance.one_in(2) {
        true => device.power_cut(),
        false => device.kill(),
    };
    drop(store);
    let store = open(&device).unwrap();
    let now = compare(&store, oracle, &want);
    assert!(now.is_subset(&refused), "{now:?} {refused:?}");
    repair(&store).unwrap();
    let again = repair(&store).unwrap();
    assert!(again.actions.is_empty(), "{:?}", again.actions);
    let now = compare(&store, oracle, &want);
    assert!(now.is_subset(&refused), "{now:?} {refused:?}");
}

/// Each file is as likely, and of a log the part that was written to.
fn flip_a_file(device: &SimDevice, chance: &mut Chance) -> Option<(String, u64)> {
    let mut names = device.list().unwrap();
    let name = names.swap_remove(chance.below(names.len() as u64) as usize);
    let bytes = device.bytes(&name)?;
    let used = bytes.iter().rposition(|b| *b != 0)? as u64 + 1;
    let bit = chance.below(used * 8);
    device.flip_bit(&name, bit).then_some((name, bit))
}

/// `whole`: all that was answered was on disk, or in the page cache.
fn judge(world: &World, device: &SimDevice, known: u64, whole: bool) -> &'static str {
    let oracle = &world.oracle;
    let frames = Frames::of(device);
    let open = || Store::open_on(Arc::new(device.clone()), world.options.clone());
    let store = match open() {
        Ok(store) => store,
        Err(e @ (Error::Corrupt { .. } | Error::UnknownVersion { .. })) => {
            say!("     refused: {e}");
            return "refused at open";
        }
        Err(e) => panic!("a lie of the disk is named, not {e:?}"),
    };
    let upto = store.committed_seq().0;
    say!(
        "     open: commit {upto} of {}, {frames:?}, {:?}",
        oracle.last(),
        store.recovery()
    );
    assert!(upto <= oracle.last());
    let mark = frames.mark;
    assert!(upto >= mark, "a frame says that commit {mark} was on disk");
    let newest = frames.newest.last_key_value().map_or(0, |(_, seq)| *seq);
    let torn = &store.recovery().torn;
    assert!(
        upto >= newest || torn.as_ref().is_some_and(|t| t.seqs.contains(&newest)),
        "commit {newest} is cut, and nobody says so"
    );
    let lost: Vec<_> = store.damage().iter().map(|d| d.seqs.clone()).collect();
    let named = |seq| lost.iter().any(|l| l.contains(&seq));
    let silent = (upto + 1..=known).find(|seq| !named(*seq));
    assert!(silent.is_none(), "commit {silent:?} was known to be there");
    let want = oracle.without(upto, &lost);
    let refused = compare(&store, oracle, &want);
    let report = store.check(&mut |_, _| {}).unwrap();
    if !refused.is_empty() {
        assert!(!report.is_clean(), "the check overlooks what reads refuse");
    }
    let outcome = match (refused.is_empty(), lost.is_empty()) {
        (false, _) => "refused when read",
        (_, false) => "damage",
        _ if upto < oracle.last() && whole => "cut at the end",
        _ if report.is_clean() => "harmless",
        _ => "found by the check",
    };
    go_on(store, &open, oracle, want, &refused);
    outcome
}

/// The store goes on with what is there; what is refused stays refused, and is not replaced by something older.
fn go_on(
    store: Store,
    open: &dyn Fn() -> Result<Store, Error>,
    oracle: &Oracle,
    mut want: State,
    refused: &BTreeSet<(u64, Key)>,
) {
    let ops = vec![
        Op::Put(1, Key::from_static(b"still"), Bytes::from_static(b"well")),
        Op::Put(2, Key::from_static(b"k\0\0"), vec![9; 1500].into()),
    ];
    if let Err(e) = store.accept_damage() {
        assert!(matches!(e, Error::Corrupt { .. }), "{e:?}");
    }
    store.commit(batch_of(&ops), Durability::Synced).unwrap();
    apply(&mut want, &ops);
    if let Err(e) = store.checkpoint() {
        assert!(matches!(e, Error::Corrupt { .. }), "{e:?}");
    }
    let mut oracle = oracle.clone();
    oracle.push(ops);
    let now = compare(&store, &oracle, &want);
    assert!(
        now.is_subset(refused),
        "more is refused: {now:?} {refused:?}"
    );
    store.close().unwrap();
    drop(store);
    let store = open().unwrap();
    let now = compare(&store, &oracle, &want);
    assert!(
        now.is_subset(refused),
        "more is refused: {now:?} {refused:?}"
    );
}

#[test]
fn a_lie_of_the_disk_is_never_silent_and_never_read() {
    let tally = parking_lot::Mutex::new(BTreeMap::<_, u64>::new());
    seeds(10_000, |seed| {
        let (outcome, made) = lie(seed);
        *tally.lock().entry(outcome).or_default() += 1;
        made
    });
    println!("{:?}", tally.lock());
}
