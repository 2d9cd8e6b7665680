//! The HyperDHT (npm hyperdht 6.34): peers by key and by topic, signed records. So far: what its nodes say to each other.

pub mod messages;
