//! Messages that wait while the muxer is corked, in the bytes of one frame.
//!
//! `0 ‖ 0 ‖ channel uint ‖ (length uint ‖ message)…`; a length of 0 says that the channel changes: another channel uint follows. A message
//! of the control channel stands there without its leading 0.

use super::frame::Frame;
use bytes::Bytes;

/// A batch of this many bytes goes out before another message is added.
const BATCH_MAX: usize = 8 << 20;

/// Collects messages for one frame.
#[derive(Debug)]
pub(super) struct Batch {
    frame: Frame,
    channel: Option<u64>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            frame: Frame::new(),
            channel: None,
        }
    }

    /// True when another message of `bytes` should start the next batch: this one is large, or would become more than a frame holds.
    pub(super) fn is_full(&self, bytes: usize, frame_max: usize) -> bool {
        self.frame.len() >= BATCH_MAX
            || (self.channel.is_some() && self.frame.len() + bytes + 32 > frame_max)
    }

    pub(super) fn len(&self) -> usize {
        self.frame.len()
    }

    /// Adds a message: what stands in `head` and then `body`.
    pub(super) fn push(&mut self, channel: u64, head: &[u8], body: &[Bytes]) {
        if self.channel != Some(channel) {
            // The first channel follows the type, 0; any other follows a length of 0.
            self.frame.put_slice(if self.channel.is_none() {
                &[0, 0]
            } else {
                &[0]
            });
            self.frame.put_uint(channel);
            self.channel = Some(channel);
        }
        let len = head.len() + body.iter().map(Bytes::len).sum::<usize>();
        self.frame.put_uint(len as u64);
        self.frame.put_slice(head);
        for part in body {
            self.frame.put(part);
        }
    }

    /// The frame, unless there was nothing to say.
    pub(super) fn finish(self) -> Option<Frame> {
        let mut frame = self.frame;
        frame.close();
        self.channel.is_some().then_some(frame)
    }
}
