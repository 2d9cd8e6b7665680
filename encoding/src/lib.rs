//! compact-encoding and the ids of the Hypercore stack.
#![forbid(unsafe_code)]

mod ids;
mod reader;
pub mod z32;

pub use ids::{DiscoveryKey, Key, ParseIdError, decode_id};
pub use reader::{DecodeError, Reader, put_buffer, put_uint, uint_len};
