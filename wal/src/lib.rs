//! The write-ahead log of pome.
