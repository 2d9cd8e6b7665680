//! Puts packets that arrive into their order.

use super::{packet::Kind, seq::Seq};
use bytes::Bytes;
use std::collections::VecDeque;

/// Packets further ahead than this are dropped.
const AHEAD_MAX: usize = 1 << 16;
/// Ranges that an acknowledgement names at most: as many as libudx does.
const RANGES_MAX: usize = 50;

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
    early_packets: usize,
    early_bytes: usize,
    /// The most bytes that are kept out of order.
    most: usize,
    ended: bool,
    ranges: Vec<(Seq, Seq)>,
    /// The range that the next acknowledgement begins with.
    turn: usize,
}

impl Incoming {
    pub(crate) fn new(expected: Seq, most: usize) -> Self {
        Self {
            expected,
            early: VecDeque::new(),
            early_packets: 0,
            early_bytes: 0,
            most,
            ended: false,
            ranges: Vec::new(),
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
            {
                return;
            }
            if self.early.len() <= at {
                self.early.resize_with(at + 1, || None);
            }
            self.early_packets += 1;
            self.early_bytes += payload.len();
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
                self.early_packets = 0;
                self.early_bytes = 0;
                return;
            }
            next = self.early.pop_front().flatten();
            if let Some(packet) = &next {
                self.early_packets -= 1;
                self.early_bytes -= packet.payload.len();
            }
        }
    }

    /// The ranges of early packets, as a selective acknowledgement has them. When there are more than fit, the next call goes on with the others.
    pub(crate) fn ranges(&mut self, out: &mut Vec<u8>) {
        if self.early_packets == 0 {
            self.turn = 0;
            return;
        }
        self.ranges.clear();
        let first = self.expected.next();
        let mut open: Option<Seq> = None;
        let here = self.early.iter().map(Option::is_some);
        for (at, here) in here.chain([false]).enumerate() {
            let seq = first.plus(at as u32);
            match (open, here) {
                (None, true) => open = Some(seq),
                (Some(start), false) => {
                    self.ranges.push((start, seq));
                    open = None;
                }
                _ => {}
            }
        }
        let count = self.ranges.len();
        let begin = if count > RANGES_MAX {
            self.turn % count
        } else {
            0
        };
        let turned = self.ranges[begin..].iter().chain(&self.ranges[..begin]);
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
        incoming.receive(Seq(3), Kind::DATA, Bytes::from_static(&[4]), |b| {
            read.push(b[0])
        });
        assert_eq!(read, [0, 1, 2, 3, 4, 5]);
        assert!(incoming.is_ended());
        assert_eq!(incoming.expected(), Seq(5));
    }
}
