//! Files, the machine, sockets, subprocesses, HTTP, TLS and cryptography, as programs use them.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

#[test]
fn programs_do_as_under_bare() {
    support::programs("io");
}
