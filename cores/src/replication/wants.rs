//! What a peer wants to be told about.

use super::messages::Want;

/// A want over more blocks than this is passed over, as npm does.
const MAX_RANGE: u64 = 2_097_152;
/// More wants than this, and the peer is told everything.
const MAX: usize = 512;

/// The ranges that a peer wants to be told about, now and later. At most 512 ranges: 12 KiB.
#[derive(Debug, Default)]
pub(crate) struct RemoteWants {
    ranges: Vec<Want>,
    all: bool,
}

impl RemoteWants {
    /// False: the want is to be passed over.
    pub(crate) fn add(&mut self, want: Want) -> bool {
        if want.length > MAX_RANGE && !want.any {
            return false;
        }
        if self.ranges.contains(&want) {
            return true;
        }
        if self.ranges.len() >= MAX {
            self.all = true;
        } else {
            self.ranges.push(want);
        }
        true
    }

    pub(crate) fn remove(&mut self, want: Want) {
        self.ranges.retain(|range| *range != want);
    }

    /// True when the peer wants to know of any of these blocks.
    pub(crate) fn touch(&self, start: u64, length: u64) -> bool {
        let end = start.saturating_add(length);
        self.all
            || self
                .ranges
                .iter()
                .any(|range| range.start < end && start < range.start.saturating_add(range.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_are_bounded() {
        let want = |start| Want {
            start,
            length: 32,
            any: false,
        };
        let mut wants = RemoteWants::default();
        assert!(!wants.add(Want {
            length: MAX_RANGE + 1,
            ..want(0)
        }));
        assert!(wants.add(want(64)));
        assert!(wants.touch(90, 1) && wants.touch(0, 65) && !wants.touch(96, 4));
        wants.remove(want(64));
        assert!(!wants.touch(64, 1));
        for start in 0..2 * MAX as u64 {
            assert!(wants.add(want(32 * start)));
        }
        assert_eq!(wants.ranges.len(), MAX);
        assert!(
            wants.touch(1 << 40, 1),
            "who wants too much is told everything"
        );
    }
}
