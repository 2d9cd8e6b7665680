//! Maps and sets of block, node and channel numbers. Each block that comes takes a dozen looks into such, and std's hash is made for longer keys.

use foldhash::fast::RandomState;

/// By numbers; each map hashes with a seed of its own, since peers may choose the numbers.
pub(super) type NumberMap<V> = std::collections::HashMap<u64, V, RandomState>;
/// As [`NumberMap`].
pub(super) type NumberSet = std::collections::HashSet<u64, RandomState>;
