//! A node of the HyperDHT that strangers send anything: a small fuzzer, on the stable toolchain.
//!
//! An input is either a message, for each decoder in turn, or what happens to one lasting node: datagrams from strangers (well made, with tokens of their
//! own, of others, of earlier, or any bytes), answers to what it asked and to what it never asked, floods, the clock, its own lookups. Held against a model:
//!
//! - nothing panics, or has no end; what decodes is the same after it was encoded and decoded again;
//! - nothing is kept, or told to others, that was not signed and brought with a token which the node gave out to that very address in the last 15 s;
//! - a datagram of who has shown no token has the node send at most [`TIMES`] times its bytes, in at most [`DATAGRAMS`] datagrams; an answer to no question
//!   nothing at all;
//! - a flood leaves as much on its way as a trickle.
//!
//! The corpus is in `tests/dht_fuzz/corpus`; `pome_test_support::fuzz` says how it is fuzzed for longer.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod messages;
mod node;

pub(crate) use pome_test_support::fuzz::Script;

use pome_test_support::fuzz::Fuzz;
use std::{path::Path, time::Duration};

/// Bytes that go out for one that came in from an address that was not proven. The worst is a short question for a long value.
pub(crate) const TIMES: usize = 40;
/// Datagrams for one: the answer, and the look at a node that the table may lose for the asker.
pub(crate) const DATAGRAMS: usize = 2;
/// Runs an input; answers what it led to.
fn run(input: &[u8]) -> u64 {
    let mut script = Script(input);
    match script.byte() % 4 {
        0 => messages::run(script.byte(), script.0),
        _ => node::run(&mut script),
    }
}

#[test]
fn strangers_who_send_anything_do_no_harm() {
    let fuzz = Fuzz {
        folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dht_fuzz"),
        runs: 3_000,
        input_max: 2 << 10,
        time_max: Duration::from_secs(10),
    };
    fuzz.run(run);
}
