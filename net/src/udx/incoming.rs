//! Puts packets that arrive into their order.

use super::{packet::Kind, seq::Seq};
use bytes::Bytes;
use std::collections::VecDeque;

/// Packets further ahead than this are dropped.
const AHEAD_MAX: usize = 1 << 16;
/// Ranges that an acknowledgement names at most: as many as libudx does.
pub(crate) const RANGES_MAX: usize = 50;
/// A packet that would make more ranges than this is dropped: each costs work, and a sender that means well does not make so many.
const GAPS_MAX: usize = 4096;

#[derive(Debug)]
struct Early {
    kind: Kind,
    payload: Bytes,
}

#[derive(Debug)]
pub(crate) struct Incoming {
    /// The next packet.
    expected: Seq,
    /// Those after it: the first is `expected` + 1.
    early: VecDeque<Option<Early>>,
    early_bytes: usize,
    /// The most bytes that are kept out of order.
    most: usize,
    ended: bool,
    /// Which packets are early, in order; no two of the ranges touch.
    ranges: VecDeque<(Seq, Seq)>,
    /// The range that the next acknowledgement begins with.
    turn: usize,
}

impl Incoming {
    pub(crate) fn new(expected: Seq, most: usize) -> Self {
        Self {
            expected,
            early: VecDeque::new(),
            early_bytes: 0,
            most,
            ended: false,
            ranges: VecDeque::new(),
            turn: 0,
        }
    }

    pub(crate) fn expected(&self) -> Seq {
        self.expected
    }

    /// The end has arrived, and all before it.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Takes a packet; hands on, in order, what has become readable.
    pub(crate) fn receive(
        &mut self,
        seq: Seq,
        kind: Kind,
        payload: Bytes,
        mut read: impl FnMut(Bytes),
    ) {
        let Ok(ahead) = usize::try_from(seq.since(self.expected)) else {
            return;
        };
        if self.ended || ahead > AHEAD_MAX {
            return;
        }
        if ahead > 0 {
            let at = ahead - 1;
            if self.early.get(at).is_some_and(Option::is_some)
                || self.early_bytes + payload.len() > self.most
                || !self.note(seq)
            {
                return;
            }
            if self.early.len() <= at {
                self.early.resize_with(at + 1, || None);
            }
            self.early_bytes += payload.len();
            // What waits here for long must not hold all that it came with.
            let payload = Bytes::copy_from_slice(&payload);
            self.early[at] = Some(Early { kind, payload });
            return;
        }
        let mut next = Some(Early { kind, payload });
        while let Some(packet) = next {
            self.expected = self.expected.next();
            if !packet.payload.is_empty() && packet.kind.has(Kind::DATA) {
                read(packet.payload);
            }
            if packet.kind.has(Kind::END) {
                self.ended = true;
                self.early.clear();
                self.ranges.clear();
                self.early_bytes = 0;
                return;
            }
            next = self.early.pop_front().flatten();
            if let Some(packet) = &next {
                self.early_bytes -= packet.payload.len();
            }
        }
        while self
            .ranges
            .front()
            .is_some_and(|(_, end)| *end <= self.expected)
        {
            self.ranges.pop_front();
        }
    }

    /// Adds an early packet to the ranges. False when that would be too many.
    fn note(&mut self, seq: Seq) -> bool {
        let at = self.ranges.partition_point(|(start, _)| *start <= seq);
        let end = seq.next();
        let touches_next = self.ranges.get(at).is_some_and(|(start, _)| *start == end);
        let before = at.checked_sub(1).filter(|at| self.ranges[*at].1 == seq);
        match (before, touches_next) {
            (Some(before), true) => {
                self.ranges[before].1 = self.ranges[at].1;
                self.ranges.remove(at);
            }
            (Some(before), false) => self.ranges[before].1 = end,
            (None, true) => self.ranges[at].0 = seq,
            (None, false) if self.ranges.len() < GAPS_MAX => self.ranges.insert(at, (seq, end)),
            (None, false) => return false,
        }
        true
    }

    /// The ranges of early packets, as a selective acknowledgement has them. When there are more than fit, the next call goes on with the others.
    pub(crate) fn ranges(&mut self, out: &mut Vec<u8>) {
        let count = self.ranges.len();
        let begin = match count > RANGES_MAX {
            true => self.turn % count,
            false => 0,
        };
        let turned = self.ranges.range(begin..).chain(self.ranges.range(..begin));
        for (start, end) in turned.take(RANGES_MAX) {
            out.extend_from_slice(&start.0.to_le_bytes());
            out.extend_from_slice(&end.0.to_le_bytes());
        }
        self.turn = begin + RANGES_MAX.min(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_reads_the_same() {
        let mut incoming = Incoming::new(Seq(u32::MAX), 1 << 20);
        let mut read = Vec::new();
        let mut ranges = Vec::new();
        for at in [3u32, 1, 3, 5, 0, 2] {
            let kind = if at == 5 {
                Kind::DATA | Kind::END
            } else {
                Kind::DATA
            };
            incoming.receive(
                Seq(u32::MAX).plus(at),
                kind,
                Bytes::from(vec![at as u8]),
                |b| {
                    read.push(b[0]);
                },
            );
            if at == 5 {
                incoming.ranges(&mut ranges);
            }
        }
        assert_eq!(read, [0, 1, 2, 3]);
        let words: Vec<u32> = ranges
            .chunks(4)
            .map(|w| u32::from_le_bytes(std::array::from_fn(|i| w[i])))
            .collect();
        assert_eq!(words, [0, 1, 2, 3, 4, 5]);
        assert_eq!(incoming.ranges.len(), 1);
        incoming.receive(Seq(3), Kind::DATA, Bytes::from_static(&[4]), |b| {
            read.push(b[0])
        });
        assert_eq!(read, [0, 1, 2, 3, 4, 5]);
        assert!(incoming.is_ended());
        assert_eq!(incoming.expected(), Seq(5));
    }

    #[test]
    fn ranges_are_those_of_the_packets_in_any_order() {
        for step in [1u32, 7, 101, 333, 997] {
            let mut incoming = Incoming::new(Seq(0), 1 << 20);
            let mut here = std::collections::BTreeSet::new();
            for n in 0..600 {
                let at = 1 + n * step % 1009;
                incoming.receive(Seq(at), Kind::DATA, Bytes::from_static(b"x"), |_| {
                    unreachable!("the first is missing")
                });
                here.insert(at);
                let mut expected: Vec<(Seq, Seq)> = Vec::new();
                for at in &here {
                    match expected.last_mut() {
                        Some(last) if last.1 == Seq(*at) => last.1 = Seq(at + 1),
                        _ => expected.push((Seq(*at), Seq(at + 1))),
                    }
                }
                assert_eq!(incoming.ranges, expected);
            }
            let (mut read, first) = (0, here.iter().zip(1..).take_while(|(a, b)| **a == *b));
            let whole = first.count() + 1;
            incoming.receive(Seq(0), Kind::DATA, Bytes::from_static(b"x"), |_| read += 1);
            assert_eq!(read, whole);
        }
    }

    #[test]
    fn memory_for_early_packets_is_bounded() {
        let most = 1 << 20;
        let mut incoming = Incoming::new(Seq(0), most);
        for at in 1..200_000u32 {
            let payload = Bytes::from(vec![0; 100]);
            incoming.receive(Seq(at * 2), Kind::DATA, payload, |_| {});
        }
        assert!(incoming.early.len() <= AHEAD_MAX && incoming.early_bytes <= most);
        assert_eq!(incoming.ranges.len(), GAPS_MAX);
        for at in 1..200_000u32 {
            let payload = Bytes::from(vec![0; 100]);
            incoming.receive(Seq(at), Kind::DATA, payload, |_| {});
        }
        assert!(incoming.early.len() <= AHEAD_MAX && incoming.early_bytes <= most);
    }
}
