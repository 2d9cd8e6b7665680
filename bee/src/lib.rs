//! Hyperbee: a sorted database in a Hypercore.
