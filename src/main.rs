//! The `pome` command.
fn main() {}
