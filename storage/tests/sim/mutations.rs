//! The engine, broken on purpose in one rule at a time: the oracles must notice each, within so many seeds. An oracle that lets one pass proves nothing
//! about that rule.

use crate::{
    history::{history, moved},
    media::lie,
    setting,
};
use pome_wal::mutation::{Mutation, switch};
use std::{
    cell::Cell,
    panic::{catch_unwind, set_hook, take_hook},
    sync::Once,
};

/// So many seeds may pass before a mutation is noticed.
const SEEDS: u64 = 6_000;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Panics of a thread that expects them are not told.
fn hush() {
    static HUSH: Once = Once::new();
    HUSH.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                tell(panic);
            }
        }));
    });
}

/// The first seed that shows that a rule is broken, and what the oracle said.
fn noticed(mutation: Mutation) -> Option<(u64, String)> {
    hush();
    QUIET.set(true);
    switch(Some(mutation));
    let found = (0..setting("POME_SEEDS").unwrap_or(SEEDS)).find_map(|seed| {
        let panic = catch_unwind(|| {
            history(seed);
            lie(seed);
            moved(seed);
        })
        .err()?;
        let said = panic.downcast_ref::<String>().cloned();
        Some((seed, said.unwrap_or_default()))
    });
    switch(None);
    QUIET.set(false);
    found
}

#[test]
fn every_rule_that_is_broken_is_noticed() {
    let mut missed = vec![];
    for mutation in Mutation::ALL {
        match noticed(mutation) {
            Some((seed, said)) => {
                let said = said.lines().next().unwrap_or_default().to_owned();
                println!(
                    "nightly: {mutation:?} is noticed after {} seeds: {said}",
                    seed + 1
                );
            }
            None => missed.push(mutation),
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
