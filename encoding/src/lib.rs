//! compact-encoding and the ids of the Hypercore stack.
mod ids;
mod reader;
pub use ids::{DiscoveryKey, Key, ParseIdError};
pub use reader::{DecodeError, Reader, put_buffer, put_uint, uint_len};
