//! The thin part that knows tokio: one task per connection moves bytes between a socket, its secret stream and its muxer.
//!
//! [`Connection`] is the handle, [`tcp`] makes them over TCP. Any `AsyncRead + AsyncWrite` will do. Nothing else in this crate has a clock,
//! a socket or a task.

mod channel;
mod connection;
mod messages;
mod replicate;
mod task;
pub mod tcp;

pub(crate) use connection::WeakConnection;

pub use channel::{Channel, Incoming, Listener};
pub use connection::{Connection, ConnectionOptions, Corked, Paused};
pub use messages::Messages;
pub use replicate::{ReplicateOptions, Replication};
