//! Where the peer's bytes are read to. Messages are handed on as parts of these buffers, without a copy, and a buffer is used again once
//! nobody has a part of it any more: memory that is asked for anew for each message costs more than opening the message does.

use bytes::BytesMut;
use std::{collections::VecDeque, time::Duration};

/// What is made room for ahead of a read, at least, and at most for a long message whose bytes are still to come.
const READ_MIN: usize = 64 << 10;
const READ_MAX: usize = 1 << 20;
/// The buffers of a stream that brings more than [`READ_MIN`] at once, in bytes; and how many of them are kept to be used again.
const CHUNK: usize = 512 << 10;
const KEPT: usize = 8;
/// A stream that has been quiet for so long keeps none.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// Bytes that have come and are not taken yet.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: BytesMut,
    /// The last read filled all the room that there was.
    filled: bool,
    /// What `bytes` is in can be used again.
    is_chunk: bool,
    /// Buffers that were full; parts of them may be in use elsewhere.
    full: VecDeque<BytesMut>,
}

impl Input {
    pub(super) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// With room for a useful amount behind what is there: for `missing` bytes, unless they are very many.
    pub(super) fn with_room(&mut self, missing: usize) -> &mut BytesMut {
        let missing = missing.min(READ_MAX);
        if self.bytes.capacity() - self.bytes.len() < missing.max(READ_MIN / 4) {
            self.make_room(missing);
        }
        &mut self.bytes
    }

    fn make_room(&mut self, missing: usize) {
        let wanted = self.bytes.len() + missing.max(READ_MIN);
        if !self.filled || wanted > CHUNK {
            self.bytes.reserve(missing.max(READ_MIN));
            self.is_chunk = false;
            return;
        }
        let free = (self.full.iter_mut()).position(|full| full.try_reclaim(CHUNK));
        let mut next = (free.and_then(|free| self.full.remove(free)))
            .unwrap_or_else(|| BytesMut::with_capacity(CHUNK));
        next.extend_from_slice(&self.bytes);
        std::mem::swap(&mut self.bytes, &mut next);
        next.clear();
        if std::mem::replace(&mut self.is_chunk, true) && self.full.len() < KEPT {
            self.full.push_back(next);
        }
    }

    /// Something was read into the room.
    pub(super) fn was_read(&mut self) {
        self.filled = self.bytes.len() == self.bytes.capacity();
    }

    /// True while memory is kept for more.
    pub(super) fn is_keeping(&self) -> bool {
        self.is_chunk || !self.full.is_empty()
    }

    /// Gives back what is kept for more. Bytes that wait stay.
    pub(super) fn let_go(&mut self) {
        self.full = VecDeque::new();
        self.filled = false;
        if std::mem::take(&mut self.is_chunk) {
            self.bytes = BytesMut::from(&self.bytes[..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHUNK, Input, KEPT, READ_MIN};

    fn fill(input: &mut Input) -> bytes::Bytes {
        let room = input.with_room(0);
        room.resize(room.capacity(), 7);
        input.was_read();
        input.bytes().split().freeze()
    }

    #[test]
    fn a_buffer_is_used_again_once_nobody_has_a_part_of_it() {
        let mut input = Input::default();
        assert_eq!(fill(&mut input).len(), READ_MIN);
        let first = fill(&mut input);
        assert_eq!(first.len(), CHUNK);
        let at = first.as_ptr();
        let second = fill(&mut input);
        assert_ne!(second.as_ptr(), at);
        drop(first);
        // what is in use is never written to
        assert_eq!(fill(&mut input).as_ptr(), at);
        assert!(second.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn bytes_that_wait_move_with_it() {
        let mut input = Input::default();
        drop(fill(&mut input));
        let room = input.with_room(0);
        let all = room.capacity();
        room.resize(all - 3, 1);
        room.extend_from_slice(&[2, 3, 4]);
        input.was_read();
        drop(input.bytes().split_to(all - 3));
        assert_eq!(&input.with_room(READ_MIN)[..], [2, 3, 4]);
        assert!(input.bytes().capacity() >= READ_MIN + 3);
    }

    #[test]
    fn what_is_kept_is_bounded_and_let_go() {
        let mut input = Input::default();
        let _held: Vec<_> = (0..3 * KEPT).map(|_| fill(&mut input)).collect();
        assert_eq!(input.full.len(), KEPT);
        assert!(input.is_keeping());
        input.let_go();
        assert!(!input.is_keeping());
        assert_eq!(input.bytes().capacity(), 0);
    }

    #[test]
    fn a_single_buffer_is_let_go_too_but_not_the_bytes_that_wait() {
        let mut input = Input::default();
        drop(fill(&mut input));
        input.with_room(0).extend_from_slice(&[1, 2, 3]);
        input.was_read();
        assert!(input.is_keeping());
        input.let_go();
        assert!(!input.is_keeping());
        assert_eq!(&input.bytes()[..], [1, 2, 3]);
        assert!(input.bytes().capacity() < READ_MIN);
    }
}
