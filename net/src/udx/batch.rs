//! Packets of one size for one place, which the kernel takes in one call.

/// What the kernel takes at most as one datagram, before it cuts it into packets.
const MOST: usize = u16::MAX as usize - 100;

/// Packets that lie one behind the other; all have the size of the first, but for the last, which may be shorter.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    size: usize,
}

impl Batch {
    /// Where the next packet is to be appended. Say [`added`](Self::added) then.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// A packet was appended at `begin`: sends what cannot wait for more, at most `segments` packets in one call.
    pub(super) fn added(
        &mut self,
        begin: usize,
        segments: usize,
        mut send: impl FnMut(&[u8], usize),
    ) {
        let len = self.bytes.len() - begin;
        if begin > 0 && len > self.size {
            send(&self.bytes[..begin], self.size);
            self.bytes.drain(..begin);
            self.size = len;
        } else if begin == 0 {
            self.size = len;
        }
        let full = self.bytes.len() >= segments.saturating_mul(self.size)
            || self.bytes.len() + self.size > MOST;
        if len < self.size || full {
            self.flush(send);
        }
    }

    /// Sends what is left.
    pub(super) fn flush(&mut self, mut send: impl FnMut(&[u8], usize)) {
        if !self.bytes.is_empty() {
            send(&self.bytes, self.size);
            self.bytes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_of_one_size_go_together_and_none_is_lost() {
        let mut batch = Batch::default();
        let mut sent = Vec::new();
        let lens = [20, 1472, 1472, 1472, 900, 1472, 1500, 1500, 1500, 20, 20];
        for (at, len) in lens.into_iter().enumerate() {
            let begin = batch.len();
            batch.space().resize(begin + len, at as u8);
            batch.added(begin, 3, |bytes, size| sent.push((bytes.to_vec(), size)));
        }
        batch.flush(|bytes, size| sent.push((bytes.to_vec(), size)));
        let mut got = Vec::new();
        for (bytes, size) in &sent {
            assert!(bytes.len() <= 3 * size);
            got.extend(bytes.chunks(*size).map(|packet| (packet[0], packet.len())));
        }
        let expected: Vec<_> = (0..).zip(lens).collect();
        assert_eq!(got, expected);
        assert_eq!(sent.len(), 6);
    }
}
