//! Branches of cores, and what becomes of them when they are committed.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::{path::Path, time::Duration};

use bytes::Bytes;
use net::{Clock, Place, Wire, settle};
use pome_cores::{
    BranchOptions, CommitOptions, CoreOptions, Corestore, Durability, Error, Hypercore, KeyPair,
    Manifest, ManifestOptions, Signer, Store, Verifier, multisig::Part,
};
use proptest::prelude::*;

fn open(dir: &Path) -> Corestore {
    Corestore::open(Store::open(dir, Default::default()).unwrap()).unwrap()
}

fn blocks(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(|n| format!("block {n}").into()).collect()
}

async fn log(cores: &Corestore) -> Hypercore {
    cores.get(CoreOptions::name("log")).await.unwrap()
}

async fn commit(core: &Hypercore, branch: &Hypercore) -> Option<u64> {
    let appended = core.commit(branch, CommitOptions::default()).await.unwrap();
    appended.map(|appended| appended.length)
}

async fn read(core: &Hypercore) -> Vec<Bytes> {
    let mut all = Vec::new();
    for index in 0..core.length() {
        all.push(core.get(index).await.unwrap());
    }
    all
}

async fn sound(core: &Hypercore) {
    assert!(core.audit(|_| ()).await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_branch_goes_its_own_way_until_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let cores = open(dir.path());
    let core = log(&cores).await;
    core.append_batch(blocks(0..5)).await.unwrap();
    let branch = core.branch("draft").await.unwrap();
    assert_eq!(branch.branch_name(), Some("draft"));
    assert_eq!(core.branch_name(), None);
    assert_eq!((branch.length(), branch.fork()), (5, 0));
    branch.append_batch(blocks(5..9)).await.unwrap();
    assert_eq!((core.length(), branch.length()), (5, 9));
    assert_eq!((branch.signed_length(), core.signed_length()), (5, 5));
    assert_eq!(branch.signature(), None);
    assert_eq!(read(&branch).await, blocks(0..9));
    assert_eq!(branch.contiguous_length(), 9);
    assert!(branch.has(0..9).await.unwrap() && !branch.has(0..10).await.unwrap());
    let byte = branch.byte_length() - 3;
    assert_eq!(branch.seek(byte).await.unwrap(), (8, 4));
    assert_eq!(branch.seek(2).await.unwrap(), (0, 2));
    let snapshot = branch.snapshot().unwrap();

    // the same name is the same branch, whoever asks
    let again = core.session().unwrap().branch("draft").await.unwrap();
    assert_eq!(again.length(), 9);
    let get = tokio::spawn({
        let again = again.clone();
        async move { again.get(9).await }
    });
    tokio::task::yield_now().await;
    branch.append("block 9").await.unwrap();
    assert_eq!(get.await.unwrap().unwrap(), "block 9");

    // it outlasts a restart
    cores.close().await.unwrap();
    drop((core, branch, again, snapshot, cores));
    let cores = open(dir.path());
    let core = log(&cores).await;
    assert_eq!(core.branches().unwrap(), ["draft"]);
    let branch = core.branch("draft").await.unwrap();
    assert_eq!(read(&branch).await, blocks(0..10));

    // a part, then the rest
    let snapshot = branch.snapshot().unwrap();
    let mut some = CommitOptions::default();
    some.length = Some(7);
    some.durability = Durability::Synced;
    let appended = core.commit(&branch, some).await.unwrap().unwrap();
    assert_eq!(appended.length, 7);
    assert_eq!((core.length(), branch.length()), (7, 10));
    assert_eq!(branch.signed_length(), 7);
    sound(&core).await;
    assert_eq!(read(&snapshot).await, blocks(0..10));
    assert_eq!(read(&branch).await, blocks(0..10));
    assert_eq!(commit(&core, &branch).await, Some(10));
    assert_eq!(read(&core).await, blocks(0..10));
    assert_eq!(
        core.tree_hash().await.unwrap(),
        branch.tree_hash().await.unwrap()
    );
    assert!(core.signature().is_some());
    sound(&core).await;
    // nothing of the committed blocks is left in the branch
    assert_eq!(
        commit(&core, &branch).await,
        Some(10),
        "nothing new is fine"
    );
    branch.append("more").await.unwrap();
    assert_eq!(commit(&core, &branch).await, Some(11));
    let keys = branch.usage().await.unwrap();
    let of_core = core.usage().await.unwrap();
    assert!(keys.keys < of_core.keys / 2, "{keys:?} {of_core:?}");
}

#[tokio::test]
async fn what_does_not_agree_is_not_committed() {
    let dir = tempfile::tempdir().unwrap();
    let cores = open(dir.path());
    let core = log(&cores).await;
    core.append_batch(blocks(0..4)).await.unwrap();
    let branch = core.branch("b").await.unwrap();
    branch.append("mine").await.unwrap();
    core.append("theirs").await.unwrap();
    assert_eq!(commit(&core, &branch).await, None);
    assert_eq!(core.length(), 5);
    assert_eq!(branch.get(4).await.unwrap(), "mine");
    // equal blocks are fine, whoever wrote them
    let equal = core.branch("equal").await.unwrap();
    equal.append_batch(blocks(5..7)).await.unwrap();
    core.append("block 5").await.unwrap();
    assert_eq!(commit(&core, &equal).await, Some(7));
    assert_eq!(core.get(6).await.unwrap(), "block 6");

    // a branch that is cut below what was common, and goes on
    let cut = core.branch("cut").await.unwrap();
    cut.truncate(2).await.unwrap();
    assert_eq!((cut.fork(), core.fork()), (1, 0));
    cut.append_batch(blocks(2..9)).await.unwrap();
    assert_eq!(commit(&core, &cut).await, None, "block 4 differs");
    let overwrite = BranchOptions::default();
    let mut options = overwrite.clone();
    options.checkout = Some(6);
    let short = core.branch_with("short", options.clone()).await.unwrap();
    assert_eq!(short.length(), 6);
    assert_eq!(commit(&core, &short).await, None, "it is shorter");
    options.checkout = Some(99);
    let error = core.branch_with("short", options).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    let mut options = overwrite;
    options.overwrite = true;
    let old = cut.clone();
    let cut = core.branch_with("cut", options).await.unwrap();
    assert_eq!((cut.length(), cut.fork()), (7, 0));
    assert!(matches!(old.append("gone").await, Err(Error::Closed)));

    let other = cores.get(CoreOptions::name("other")).await.unwrap();
    let error = other.commit(&cut, CommitOptions::default()).await;
    assert_eq!(error.unwrap_err().code(), "BAD_ARGUMENT");
    let error = core.commit(&other, CommitOptions::default()).await;
    assert_eq!(error.unwrap_err().code(), "BAD_ARGUMENT");
    let mut long = CommitOptions::default();
    long.length = Some(99);
    let error = core.commit(&cut, long).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    for bad in [
        cut.branch("of a branch").await,
        core.snapshot().unwrap().branch("x").await,
    ] {
        assert_eq!(bad.unwrap_err().code(), "INVALID_OPERATION");
    }
    for bad in ["", &"x".repeat(513)] {
        assert_eq!(core.branch(bad).await.unwrap_err().code(), "BAD_ARGUMENT");
    }
    assert!(cut.audit(|_| ()).await.is_err() && cores.staticify(&cut).await.is_err());

    assert!(cores.purge(&[&cut], Default::default()).await.is_err());
    cut.purge().await.unwrap();
    assert!(matches!(cut.get(0).await, Err(Error::Closed)));
    assert_eq!(core.branches().unwrap(), ["b", "equal", "short"]);
    assert_eq!(core.get(0).await.unwrap(), "block 0");
    core.purge().await.unwrap();
    assert!(matches!(branch.get(0).await, Err(Error::Closed)));
    let core = log(&cores).await;
    assert!(core.branches().unwrap().is_empty());
    assert_eq!(core.branch("b").await.unwrap().length(), 0);
}

/// What the core loses the branch loses too; it never shows another block in its place.
#[tokio::test]
async fn a_core_that_is_cut_under_its_branch() {
    let dir = tempfile::tempdir().unwrap();
    let cores = open(dir.path());
    let core = log(&cores).await;
    core.append_batch(blocks(0..10)).await.unwrap();
    let branch = core.branch("b").await.unwrap();
    let closed = core.branch("closed").await.unwrap();
    branch.append("mine").await.unwrap();
    closed.append("mine").await.unwrap();
    drop(closed);
    let mut transaction = cores.transaction();
    transaction.truncate(&core, 6).await.unwrap();
    let others = (6..12).map(|n| Bytes::from(format!("other {n}")));
    transaction.append(&core, others.collect()).await.unwrap();
    transaction.commit(Durability::Buffered).await.unwrap();
    let closed = core.branch("closed").await.unwrap();
    for branch in [&branch, &closed] {
        assert_eq!((branch.length(), branch.signed_length()), (11, 6));
        assert_eq!(branch.get(5).await.unwrap(), "block 5");
        assert_eq!(branch.get(10).await.unwrap(), "mine");
        assert!(!branch.has(6..7).await.unwrap());
        let late = tokio::time::timeout(Duration::from_millis(20), branch.get(6)).await;
        assert!(late.is_err(), "block 6 is lost, not another one");
        assert_eq!(branch.contiguous_length(), 6);
        assert_eq!(commit(&core, branch).await, None);
    }
    // what goes on below the cut can be committed again
    branch.truncate(6).await.unwrap();
    core.truncate(6).await.unwrap();
    branch.append("new").await.unwrap();
    assert_eq!(commit(&core, &branch).await, Some(7));
    assert_eq!(core.get(6).await.unwrap(), "new");
    cores.close().await.unwrap();
    drop((core, branch, closed, cores));
    let cores = open(dir.path());
    let core = log(&cores).await;
    sound(&core).await;
    let branch = core.branch("b").await.unwrap();
    assert_eq!((branch.length(), branch.signed_length()), (7, 7));
    assert_eq!(branch.get(6).await.unwrap(), "new");
    assert_eq!(core.branch("closed").await.unwrap().signed_length(), 6);
}

#[tokio::test]
async fn encrypted_branches_use_no_keystream_twice() {
    let dir = tempfile::tempdir().unwrap();
    let cores = open(dir.path());
    let options = CoreOptions::name("log").with_encryption_key([7; 32]);
    let core = cores.get(options).await.unwrap();
    core.append("shared").await.unwrap();
    let branch = core.branch("b").await.unwrap();
    branch.append("same text").await.unwrap();
    let first = branch.stored_block(1).await.unwrap().unwrap();
    assert_eq!(commit(&core, &branch).await, Some(2));
    assert_eq!(core.stored_block(1).await.unwrap().unwrap(), first);
    assert_eq!(core.get(1).await.unwrap(), "same text");
    core.truncate(1).await.unwrap();
    branch.truncate(1).await.unwrap();
    // what the core itself writes there next, and what a branch writes there next
    for round in 0..4 {
        branch.append("same text").await.unwrap();
        let stored = branch.stored_block(1).await.unwrap().unwrap();
        assert_ne!(stored[..8], first[..8], "{round}");
        assert_eq!(branch.get(1).await.unwrap(), "same text");
        branch.truncate(1).await.unwrap();
    }
    assert_eq!((branch.padding(), branch.byte_length()), (8, 6));
}

#[tokio::test]
async fn several_signers_commit_a_branch() {
    let dir = tempfile::tempdir().unwrap();
    let cores = open(dir.path());
    let pairs = [1, 2, 3].map(|n| KeyPair::from_seed(&[n; 32]));
    let manifest = Manifest::create(ManifestOptions {
        signers: pairs.iter().map(|pair| Signer::new(pair.public)).collect(),
        quorum: Some(2),
        ..ManifestOptions::default()
    })
    .unwrap();
    let verifier = Verifier::new(manifest.clone());
    let core = cores.get(CoreOptions::manifest(manifest)).await.unwrap();
    let branch = core.branch("b").await.unwrap();
    for round in 0..3 {
        branch
            .append_batch(blocks(3 * round..3 * round + 3))
            .await
            .unwrap();
        let mut tree = branch.tree();
        tree.fork = core.fork();
        let part = |signer: usize| Part {
            signer: signer as u64,
            signature: (verifier.sign(&tree, &pairs[signer]).unwrap()[..])
                .try_into()
                .unwrap(),
            patch: 0,
            nodes: Vec::new(),
        };
        let error = core.commit(&branch, CommitOptions::default()).await;
        assert!(error.is_err(), "nobody here signs for all");
        let mut options = CommitOptions::default();
        options.signature = Some(verifier.assemble(&[part(0)]).unwrap().into());
        let error = core.commit(&branch, options.clone()).await.unwrap_err();
        assert_eq!(error.code(), "INVALID_SIGNATURE", "one is no quorum");
        options.signature = Some(verifier.assemble(&[part(0), part(2)]).unwrap().into());
        let appended = core.commit(&branch, options).await.unwrap().unwrap();
        assert_eq!(appended.length, 3 * round + 3);
    }
    assert_eq!(read(&core).await, blocks(0..9));
    sound(&core).await;
}

/// Blocks of the core that are not here are fetched by a branch, too; peers hear nothing of it before the commit.
#[tokio::test]
async fn peers_and_branches() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let writer = log(&a.cores).await;
    writer.append_batch(blocks(0..8)).await.unwrap();
    let draft = writer.branch("draft").await.unwrap();
    draft.append("not yet").await.unwrap();
    let copy = b.cores.get(CoreOptions::key(writer.key())).await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 8);
    let view = copy.branch("view").await.unwrap();
    view.append("a note").await.unwrap();
    drop(copy);
    let reader = view.clone();
    let get = tokio::spawn(async move { reader.get(3).await });
    tokio::task::yield_now().await;
    assert!(!get.is_finished());
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(get.await.unwrap().unwrap(), "block 3");
    assert_eq!(view.get(8).await.unwrap(), "a note");
    let copy = b.cores.get(CoreOptions::key(writer.key())).await.unwrap();
    assert_eq!(copy.length(), 8, "a branch is nobody else's");
    let error = copy
        .commit(&view, CommitOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "SESSION_NOT_WRITABLE");
    assert_eq!(commit(&writer, &draft).await, Some(9));
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 9);
    assert_eq!(
        copy.tree_hash().await.unwrap(),
        writer.tree_hash().await.unwrap()
    );
}

#[derive(Debug, Clone)]
enum Op {
    Append(usize, u8),
    Truncate(usize, u64),
    Commit(usize, Option<u64>),
    Restart(usize),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..3usize, 1..5u8).prop_map(|(who, count)| Op::Append(who, count)),
        2 => (0..3usize, 0..20u64).prop_map(|(who, length)| Op::Truncate(who, length)),
        3 => (1..3usize, prop::option::of(0..20u64)).prop_map(|(who, length)| Op::Commit(who, length)),
        1 => (1..3usize).prop_map(Op::Restart),
        1 => Just(Op::Reopen),
    ]
}

/// What each of the core and its two branches shows: blocks, `None` for those that were lost with the core's.
type Shown = Vec<Option<Bytes>>;

async fn same(core: &Hypercore, shown: &Shown) {
    assert_eq!(core.length(), shown.len() as u64);
    for (index, block) in shown.iter().enumerate() {
        let options = pome_cores::GetOptions {
            no_wait: true,
            ..Default::default()
        };
        let got = core.get_with(index as u64, options).await.unwrap();
        assert_eq!(&got, block, "{index}");
    }
}

async fn run(ops: Vec<Op>) {
    let dir = tempfile::tempdir().unwrap();
    let mut cores = open(dir.path());
    let names = ["", "one", "two"];
    let mut shown: [Shown; 3] = Default::default();
    // how much of each branch is the core's
    let mut shared = [0usize; 3];
    let mut counter = 0u64;
    let mut all = Vec::new();
    for op in std::iter::once(Op::Reopen).chain(ops) {
        match op {
            Op::Append(who, count) => {
                let new: Vec<Bytes> = (0..count)
                    .map(|_| {
                        counter += 1;
                        format!("block {counter}").into()
                    })
                    .collect();
                shown[who].extend(new.iter().cloned().map(Some));
                let core: &Hypercore = &all[who];
                core.append_batch(new).await.unwrap();
            }
            Op::Truncate(who, length) => {
                let length = length.min(shown[who].len() as u64);
                let cut = all[who].truncate(length).await;
                let length = length as usize;
                if cut.is_err() {
                    // the roots of what was lost are lost, too
                    assert!(shown[who][..length].contains(&None));
                    continue;
                }
                shown[who].truncate(length);
                shared[who] = shared[who].min(length);
                if who == 0 {
                    for branch in 1..3 {
                        let kept = shared[branch].min(length);
                        shown[branch][kept..shared[branch]].fill(None);
                        shared[branch] = kept;
                    }
                }
            }
            Op::Commit(who, length) => {
                let (core, branch) = (shown[0].len(), shown[who].len());
                let length = length.map_or(branch, |length| (length as usize).min(branch));
                let mut options = CommitOptions::default();
                options.length = Some(length as u64);
                let done = all[0].commit(&all[who], options).await;
                let agrees = core <= length && (0..core).all(|at| shown[0][at] == shown[who][at]);
                if !agrees {
                    assert!(done.unwrap().is_none());
                } else if shown[who][core..length].iter().any(Option::is_none) {
                    assert_eq!(done.unwrap_err().code(), "BLOCK_NOT_AVAILABLE");
                } else {
                    assert_eq!(done.unwrap().unwrap().length, length as u64);
                    if length > core {
                        shared[who] = length;
                    }
                    shown[0] = shown[who][..length].to_vec();
                }
            }
            Op::Restart(who) => {
                let mut options = BranchOptions::default();
                options.overwrite = true;
                all[who] = all[0].branch_with(names[who], options).await.unwrap();
                shown[who] = shown[0].clone();
                shared[who] = shown[0].len();
            }
            Op::Reopen => {
                all.clear();
                cores.close().await.unwrap();
                drop(cores);
                cores = open(dir.path());
                let core = log(&cores).await;
                all.push(core.clone());
                for name in &names[1..] {
                    all.push(core.branch(name).await.unwrap());
                }
            }
        }
        for (core, shown) in all.iter().zip(&shown) {
            same(core, shown).await;
        }
        sound(&all[0]).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_branches(ops in prop::collection::vec(op(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(ops));
    }
}
