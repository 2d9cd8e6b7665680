//! The write-ahead log of pome: the truth below the block store.
//!
//! A commit is one **frame**. Frames without payloads go into a small **recycled log** (`log-<n>`, written full of zeros once, then
//! written over and over); frames with payloads go wholly into a growing **payload segment** (`payload-<n>`), so that a large value
//! is written once and a durable bulk commit is still one write and one fdatasync. Sequence numbers order the two at recovery.
//!
//! What is promised:
//! - a commit is there or not, never half; recovery gives a prefix of the commits that contains all that was synced;
//! - a bad *end* is a torn tail and is cut; anything else that is bad is **damage**: named, and what follows it is kept;
//! - after a failed fdatasync every call answers [`Error::Poisoned`] until the log is opened again.
//!
//! What is not: one process at a time is the caller's duty (see [`Device::lock`]), and so is calling [`Log::commit`] in the order in
//! which the commits shall be replayed. All calls block.
#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod device;
mod error;
mod frame;
mod group;
mod log;
#[doc(hidden)]
pub mod mutation;
mod poison;
mod recovery;
mod run;
mod segment;
mod walk;
mod writer;

pub use bytes::Bytes;
pub use device::{Device, DeviceKind, File, FileStamp, PwriteDevice, UringDevice};
#[cfg(feature = "sim")]
pub use device::{Faults, SimDevice};
pub use error::Error;
pub use log::{Committed, Damage, Log, LogOptions, PayloadRef, Recovery, Replayed, Start, Torn};
pub use run::Run;
pub use walk::{BadRange, Frames, SegmentFrame, SegmentPart};
