//! Arithmetic on flat in-order trees: the numbering under which Merkle nodes are stored and sent.
//!
//! A leaf (block `i`) has the even index `2 * i`; parents have odd indexes, in order:
//!
//! ```text
//!        3
//!    1       5
//!  0   2   4   6
//! ```
//!
//! The depth of a node is the number of ones at the end of its index, so every function here is a few bit operations.
//! All of them hold for indexes up to [`MAX_INDEX`]; what comes from a peer is checked against it before it gets here.
//! Source: flat-tree 1.13.0.

/// The largest index of a node: 2^53 − 1, as in JavaScript.
pub const MAX_INDEX: u64 = (1 << 53) - 1;

/// The largest length of a tree whose nodes all stay within [`MAX_INDEX`], in blocks.
pub const MAX_LENGTH: u64 = 1 << 51;

/// How many levels a node is above the leaves.
#[must_use]
pub fn depth(index: u64) -> u32 {
    index.trailing_ones()
}

/// How many nodes of the same depth are left of it.
#[must_use]
pub fn offset(index: u64) -> u64 {
    index >> (depth(index) + 1)
}

/// True when the node is its parent's left child.
#[must_use]
pub fn is_left(index: u64) -> bool {
    offset(index) & 1 == 0
}

/// Half the width of a node, in indexes: what lies strictly closer belongs to its subtree.
fn reach(index: u64) -> u64 {
    1 << depth(index)
}

/// The parent.
#[must_use]
pub fn parent(index: u64) -> u64 {
    if is_left(index) {
        index + reach(index)
    } else {
        index - reach(index)
    }
}

/// The other child of the parent.
#[must_use]
pub fn sibling(index: u64) -> u64 {
    if is_left(index) {
        index + 2 * reach(index)
    } else {
        index - 2 * reach(index)
    }
}

/// The left child; a leaf has none.
#[must_use]
pub fn left_child(index: u64) -> Option<u64> {
    (index & 1 == 1).then(|| index - reach(index) / 2)
}

/// The right child; a leaf has none.
#[must_use]
pub fn right_child(index: u64) -> Option<u64> {
    (index & 1 == 1).then(|| index + reach(index) / 2)
}

/// The leftmost leaf below a node (itself for a leaf).
#[must_use]
pub fn left_span(index: u64) -> u64 {
    index + 1 - reach(index)
}

/// The rightmost leaf below a node (itself for a leaf).
#[must_use]
pub fn right_span(index: u64) -> u64 {
    index + (reach(index) - 1)
}

/// How many leaves (blocks) are below a node (1 for a leaf).
#[must_use]
pub fn leaf_count(index: u64) -> u64 {
    reach(index)
}

/// True when `other` is in the subtree of `index`, which includes `index` itself.
#[must_use]
pub fn contains(index: u64, other: u64) -> bool {
    (left_span(index)..=right_span(index)).contains(&other)
}

/// The roots of the full trees that make up a log of `length` blocks, from left to right, the largest first.
#[must_use]
pub fn full_roots(length: u64) -> FullRoots {
    FullRoots {
        start: 0,
        left: length,
    }
}

/// Iterator of [`full_roots`].
#[derive(Debug, Clone)]
pub struct FullRoots {
    /// First block not yet covered.
    start: u64,
    /// Blocks not yet covered.
    left: u64,
}

impl Iterator for FullRoots {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let width = 1u64 << self.left.checked_ilog2()?;
        let root = 2 * self.start + (width - 1);
        self.start += width;
        self.left -= width;
        Some(root)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.left.count_ones() as usize;
        (count, Some(count))
    }
}

impl ExactSizeIterator for FullRoots {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tree() {
        assert_eq!((parent(0), parent(2), parent(1), parent(5)), (1, 1, 3, 3));
        assert_eq!(
            (sibling(0), sibling(2), sibling(1), sibling(5)),
            (2, 0, 5, 1)
        );
        assert_eq!((left_child(3), right_child(3)), (Some(1), Some(5)));
        assert_eq!((left_child(4), right_child(4)), (None, None));
        assert_eq!((left_span(3), right_span(3), leaf_count(3)), (0, 6, 4));
        assert_eq!((left_span(13), right_span(13), leaf_count(13)), (12, 14, 2));
        assert!(contains(3, 0) && contains(3, 6) && contains(3, 3) && !contains(3, 7));
    }

    #[test]
    fn roots() {
        let roots = |length| full_roots(length).collect::<Vec<_>>();
        assert!(roots(0).is_empty());
        assert_eq!(roots(1), [0]);
        assert_eq!(roots(5), [3, 8]);
        assert_eq!(roots(8), [7]);
        assert_eq!(roots(13), [7, 19, 24]);
        assert_eq!(roots(MAX_LENGTH), [MAX_LENGTH - 1]);
        assert_eq!(full_roots(13).len(), 3);
    }

    #[test]
    fn holds_at_the_limit() {
        for index in [MAX_INDEX, MAX_INDEX - 1, MAX_INDEX - 2, (1 << 52) - 1] {
            let up = parent(index);
            assert!(contains(up, index) && contains(up, sibling(index)));
            assert!(left_span(index) <= index && right_span(index) >= index);
        }
    }
}
