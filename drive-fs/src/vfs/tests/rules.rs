//! What stays when both write under a few names of one folder, in any order, with kills and publications in between, against the rules without a mount.

use super::{
    elsewhere::Here,
    rooms::{ME, Room, WRITE, name},
};
use crate::vfs::{node::ROOT, *};
use proptest::prelude::*;

/// What both do at a few names of one folder, in any order.
#[derive(Debug, Clone)]
enum Op {
    Make(usize),
    Write(usize),
    Chmod(usize),
    Rename(usize, usize),
    Link(usize, usize),
    Unlink(usize),
    Theirs(usize),
    TheirsGone(usize),
    Refresh,
    Kill,
    Publish,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A file as the rules see it.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    text: String,
    written: bool,
    /// Its names here; those that were put there since the last version are true.
    names: std::collections::BTreeMap<usize, bool>,
}

/// What the rules say, without a mount.
#[derive(Debug, Default)]
struct Rules {
    files: Vec<Plain>,
    /// Names that are deleted here, over what the drive has.
    gone: std::collections::BTreeSet<usize>,
    /// What the drive has …
    drive: std::collections::BTreeMap<usize, String>,
    /// … the names that it had when it was looked at last …
    seen: std::collections::BTreeSet<usize>,
    /// … and where it was written to since.
    news: std::collections::BTreeSet<usize>,
}

impl Rules {
    fn at(&mut self, name: usize) -> Option<&mut Plain> {
        let mut files = self.files.iter_mut();
        files.find(|file| file.names.contains_key(&name))
    }

    fn leave(&mut self, name: usize) {
        if let Some(file) = self.at(name) {
            file.names.remove(&name);
        }
        self.files.retain(|file| !file.names.is_empty());
        if self.seen.contains(&name) {
            self.gone.insert(name);
        }
    }

    fn add(&mut self, text: String, name: usize, put: bool) {
        self.files.push(Plain {
            text,
            written: put,
            names: [(name, put)].into(),
        });
    }

    fn refresh(&mut self) {
        for name in std::mem::take(&mut self.news) {
            let theirs = self.drive.get(&name).cloned();
            match theirs {
                Some(_) => self.seen.insert(name),
                // A deletion of what is deleted elsewhere too is done.
                None => self.gone.remove(&name) | self.seen.remove(&name),
            };
            if self.gone.contains(&name) {
                continue;
            }
            if let Some(file) = self.at(name) {
                if file.written || file.names[&name] {
                    continue;
                }
                file.names.remove(&name);
                self.files.retain(|file| !file.names.is_empty());
            }
            if let Some(theirs) = theirs {
                self.add(theirs, name, false);
            }
        }
    }

    fn publish(&mut self) {
        self.refresh();
        self.gone.clear();
        self.drive.clear();
        for file in &mut self.files {
            file.written = false;
            for (name, put) in &mut file.names {
                *put = false;
                self.drive.insert(*name, file.text.clone());
            }
        }
        self.seen = self.drive.keys().copied().collect();
    }

    fn shown(&self) -> Vec<(usize, String)> {
        let names = |file: &Plain| -> Vec<(usize, String)> {
            let names = file.names.keys();
            names.map(|name| (*name, file.text.clone())).collect()
        };
        let mut shown: Vec<_> = self.files.iter().flat_map(names).collect();
        shown.sort();
        shown
    }
}

async fn shown(here: &Here) -> Vec<(usize, String)> {
    let mut shown = Vec::new();
    for (n, name) in NAMES.iter().enumerate() {
        if here.find(name).await.is_ok() {
            let text = here.content(name).await.to_vec();
            shown.push((n, String::from_utf8(text).unwrap()));
        }
    }
    shown
}

async fn follow_the_rules(ops: Vec<Op>) {
    let mut here = Here::new(&[]).await;
    let mut rules = Rules::default();
    for (step, op) in ops.into_iter().enumerate() {
        let vfs = here.room.vfs.clone();
        let at = |n: usize| (ROOT, name(NAMES[n]));
        let text = format!("text {step}");
        match op.clone() {
            Op::Make(n) if rules.at(n).is_none() && !rules.news.contains(&n) => {
                let made = vfs.make_file(ROOT, at(n).1, 0o644, ME).await;
                vfs.write(made.unwrap().ino, 0, text.clone().into())
                    .unwrap();
                rules.gone.remove(&n);
                rules.add(text, n, true);
            }
            Op::Write(n) if rules.at(n).is_some() => {
                let file = here.find(NAMES[n]).await.unwrap().ino;
                let open = OpenMode {
                    truncate: true,
                    ..WRITE
                };
                let handle = vfs.open_file(file, open).await.unwrap();
                vfs.write(file, 0, text.clone().into()).unwrap();
                vfs.close(handle).unwrap();
                let file = rules.at(n).unwrap();
                (file.text, file.written) = (text, true);
            }
            Op::Chmod(n) if rules.at(n).is_some() => {
                here.chmod(NAMES[n], 0o600 + step as u32 % 8).await;
            }
            Op::Rename(from, to) if rules.at(from).is_some() && from != to => {
                vfs.rename(at(from), at(to), RenameMode::Replace)
                    .await
                    .unwrap();
                let same = rules.at(from).unwrap().names.contains_key(&to);
                if !same {
                    rules.leave(to);
                    rules.gone.remove(&to);
                    let file = rules.at(from).unwrap();
                    file.names.insert(to, true);
                    rules.leave(from);
                }
            }
            Op::Link(from, to) if rules.at(from).is_some() && rules.at(to).is_none() => {
                if !rules.news.contains(&to) {
                    let file = here.find(NAMES[from]).await.unwrap().ino;
                    vfs.link(file, ROOT, at(to).1).await.unwrap();
                    rules.gone.remove(&to);
                    rules.at(from).unwrap().names.insert(to, true);
                }
            }
            Op::Unlink(n) if rules.at(n).is_some() => {
                vfs.unlink(ROOT, at(n).1).await.unwrap();
                rules.leave(n);
            }
            Op::Theirs(n) => {
                here.drive
                    .put(&format!("/{}", NAMES[n]), Some(text.as_bytes()));
                rules.drive.insert(n, text);
                rules.news.insert(n);
            }
            Op::TheirsGone(n) if rules.drive.contains_key(&n) => {
                here.drive.put(&format!("/{}", NAMES[n]), None);
                rules.drive.remove(&n);
                rules.news.insert(n);
            }
            Op::Refresh => {
                vfs.lower_changed().await.map(drop).unwrap();
                rules.refresh();
            }
            Op::Kill => {
                drop(vfs);
                drop(here.room);
                here.room = Room::open(&here.corestore, &here.drive).await;
                rules.refresh();
            }
            Op::Publish => {
                vfs.publish_now().await.map(drop).unwrap();
                rules.publish();
                assert_eq!(vfs.pending(), Pending::default());
            }
            _ => continue,
        }
        if rules.news.is_empty() {
            assert_eq!(shown(&here).await, rules.shown(), "step {step}: {op:?}");
        }
    }
    here.published().await;
    rules.publish();
    assert_eq!(shown(&here).await, rules.shown(), "from the drive alone");
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..NAMES.len();
    prop_oneof![
        3 => n.clone().prop_map(Op::Make),
        2 => n.clone().prop_map(Op::Write),
        4 => n.clone().prop_map(Op::Chmod),
        3 => (n.clone(), n.clone()).prop_map(|(a, b)| Op::Rename(a, b)),
        3 => (n.clone(), n.clone()).prop_map(|(a, b)| Op::Link(a, b)),
        1 => n.clone().prop_map(Op::Unlink),
        4 => n.clone().prop_map(Op::Theirs),
        2 => n.prop_map(Op::TheirsGone),
        2 => Just(Op::Refresh),
        2 => Just(Op::Kill),
        2 => Just(Op::Publish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn whatever_both_do_the_rules_say_what_stays(ops in proptest::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(follow_the_rules(ops));
    }
}
