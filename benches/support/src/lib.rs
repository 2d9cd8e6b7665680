//! What the benchmarks share: the machine they ran on, and the middle of what they measured.

mod machine;
mod spread;

pub use machine::Machine;
pub use spread::Spread;
