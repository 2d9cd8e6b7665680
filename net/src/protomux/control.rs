//! The control channel, number 0: batches, and the opening and closing of all others. Every message carries an id of its sender's.
//!
//! ```text
//! 0 batch     see batch.rs
//! 1 open      the sender's id uint ‖ protocol string ‖ id optional buffer ‖ handshake, to the end
//! 2 reject    the opener's id uint
//! 3 close     the closer's id uint
//! ```

use super::{Topic, frame::Frame, input::take_uint};
use bytes::Bytes;
use pome_encoding::DecodeError;

pub(super) const BATCH: u64 = 0;
pub(super) const OPEN: u64 = 1;
pub(super) const REJECT: u64 = 2;
pub(super) const CLOSE: u64 = 3;

/// The peer opens a channel.
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) topic: Topic,
    pub(super) handshake: Bytes,
}

fn take_buffer(bytes: &mut Bytes) -> Result<Bytes, DecodeError> {
    let wanted = take_uint(bytes)?;
    let left = bytes.len();
    let len = usize::try_from(wanted)
        .ok()
        .filter(|len| *len <= left)
        .ok_or(DecodeError::OutOfBounds { wanted, left })?;
    Ok(bytes.split_to(len))
}

impl Open {
    pub(super) fn decode(mut body: Bytes) -> Result<Self, DecodeError> {
        let id = take_uint(&mut body)?;
        let protocol = take_buffer(&mut body)?;
        let topic = Topic {
            protocol: String::from_utf8_lossy(&protocol).as_ref().into(),
            id: take_buffer(&mut body)?.as_ref().into(),
        };
        Ok(Self {
            id,
            topic,
            // Kept for as long as nobody has answered: it must not hold on to a whole frame.
            handshake: Bytes::copy_from_slice(&body),
        })
    }

    /// The bytes of an open message, without the 0 of its channel.
    pub(super) fn encode(id: u64, topic: &Topic, handshake: &[u8]) -> Vec<u8> {
        let mut frame = Frame::new();
        frame.put_uint(OPEN);
        frame.put_uint(id);
        for part in [topic.protocol.as_bytes(), &topic.id] {
            frame.put_uint(part.len() as u64);
            frame.put_slice(part);
        }
        frame.put_slice(handshake);
        frame.close();
        frame.to_vec()
    }
}

/// The bytes of a reject or close message, without the 0 of its channel.
pub(super) fn about(kind: u64, id: u64) -> Vec<u8> {
    let mut frame = Frame::new();
    frame.put_uint(kind);
    frame.put_uint(id);
    frame.close();
    frame.to_vec()
}
