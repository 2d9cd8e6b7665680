//! Modules that only compute: events, streams, buffers, codecs, text.
//!
//! What the programs have to print was printed by Bare 1.33.4 (`bare-runtime-linux-x64`) with the npm packages in the versions that the modules name; Bare 1.31 itself
//! does not take some of them.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod support;

#[test]
fn events() {
    support::programs("events");
}

#[test]
fn streams() {
    support::programs("streams");
}

#[test]
fn buffers() {
    support::programs("buffer");
}

#[test]
fn codecs() {
    support::programs("codecs");
}

#[test]
fn text() {
    support::programs("text");
}

#[test]
fn urls() {
    support::programs("url");
}

#[test]
fn paths() {
    support::programs("path");
}

#[test]
fn types() {
    support::programs("types");
}

#[test]
fn keys() {
    support::programs("crypto");
}
