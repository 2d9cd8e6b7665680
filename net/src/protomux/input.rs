//! The frames of the peer, cut into single messages, one at a time: a batch of a million small ones never becomes a million of anything.

use crate::Error;
use bytes::{Buf, Bytes};
use pome_encoding::{DecodeError, Reader};

/// npm never puts a batch into a batch, but reads it. Each level costs us a little memory.
const DEPTH_MAX: usize = 8;

/// One message of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// The peer's id of the channel; 0 is the control channel.
    pub(super) channel: u64,
    pub(super) kind: u64,
    pub(super) body: Bytes,
}

/// What is left of a batch.
#[derive(Debug)]
struct Level {
    channel: u64,
    rest: Bytes,
}

/// The frame that is being read.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Not looked at yet: the message of a plain frame, which is like a batch of one.
    frame: Option<Bytes>,
    levels: Vec<Level>,
}

/// The `uint` at the front of `bytes`, taken off.
pub(super) fn take_uint(bytes: &mut Bytes) -> Result<u64, DecodeError> {
    let mut reader = Reader::new(bytes);
    let n = reader.uint()?;
    let taken = bytes.len() - reader.rest().len();
    bytes.advance(taken);
    Ok(n)
}

impl Input {
    /// True when the last frame has been read to its end.
    pub(super) fn is_empty(&self) -> bool {
        self.frame.is_none() && self.levels.is_empty()
    }

    /// Starts with the next frame.
    pub(super) fn set(&mut self, frame: Bytes) {
        debug_assert!(self.is_empty(), "the last one was read");
        // npm ignores empty frames: they keep a connection alive.
        self.frame = Some(frame).filter(|frame| !frame.is_empty());
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The next message; `None` when the frame has no more.
    pub(super) fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            let (channel, mut message) = if let Some(mut frame) = self.frame.take() {
                (take_uint(&mut frame)?, frame)
            } else {
                let Some(level) = self.levels.last_mut() else {
                    return Ok(None);
                };
                if level.rest.is_empty() {
                    self.levels.pop();
                    continue;
                }
                let len = take_uint(&mut level.rest)?;
                if len == 0 {
                    level.channel = take_uint(&mut level.rest)?;
                    continue;
                }
                // As npm: a message that claims more than is there has what is there.
                let len =
                    usize::try_from(len).map_or(level.rest.len(), |len| len.min(level.rest.len()));
                (level.channel, level.rest.split_to(len))
            };
            let kind = take_uint(&mut message)?;
            if channel != 0 || kind != super::control::BATCH {
                return Ok(Some(Message {
                    channel,
                    kind,
                    body: message,
                }));
            }
            if self.levels.len() == DEPTH_MAX {
                return Err(Error::Limit {
                    what: "batches in each other",
                    max: DEPTH_MAX,
                });
            }
            self.levels.push(Level {
                channel: take_uint(&mut message)?,
                rest: message,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(frame: &[u8]) -> Result<Vec<Message>, Error> {
        let mut input = Input::default();
        input.set(Bytes::copy_from_slice(frame));
        let mut out = Vec::new();
        while let Some(message) = input.next()? {
            out.push(message);
        }
        Ok(out)
    }

    #[test]
    fn batches_in_batches_end() {
        // Each level is `length, type 0, channel 0`; the length is cut to what is there, as in npm.
        let nested = |depth: usize| {
            let mut frame = vec![0, 0, 0];
            for _ in 1..depth {
                frame.extend([252, 0, 0]);
            }
            frame.extend([2, 9, 7]);
            frame
        };
        assert_eq!(all(&nested(DEPTH_MAX)).unwrap().len(), 1);
        assert!(matches!(
            all(&nested(DEPTH_MAX + 1)),
            Err(Error::Limit { .. })
        ));
    }

    #[test]
    fn a_message_may_claim_too_much() {
        let message = &all(&[0, 0, 1, 9, 3, 4]).unwrap()[0];
        assert_eq!((message.channel, message.kind), (1, 3));
        assert_eq!(message.body, Bytes::from_static(&[4]));
    }
}
