//! Who is dialled next: those of a higher priority first, in random order among equals, so that not everybody who heard of a topic dials the same peer.

use super::peer::{Key, PRIORITIES, Priority};
use rand::{Rng, RngExt};

/// Peers that wait to be dialled. None is in it twice; the callers see to that.
#[derive(Debug, Default)]
pub(super) struct Queue {
    by_priority: [Vec<Key>; PRIORITIES],
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.by_priority.iter().map(Vec::len).sum()
    }

    pub(super) fn push(&mut self, key: Key, priority: Priority, rng: &mut impl Rng) {
        let equals = &mut self.by_priority[priority as usize];
        equals.push(key);
        let last = equals.len() - 1;
        equals.swap(last, rng.random_range(0..=last));
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        self.by_priority.iter_mut().rev().find_map(Vec::pop)
    }

    /// Takes out any of those with the lowest priority that may go.
    pub(super) fn evict(
        &mut self,
        rng: &mut impl Rng,
        may_go: impl Fn(&Key) -> bool,
    ) -> Option<Key> {
        for equals in &mut self.by_priority {
            if equals.is_empty() {
                continue;
            }
            let first = rng.random_range(0..equals.len());
            let found = (0..equals.len())
                .map(|step| (first + step) % equals.len())
                .find(|at| may_go(&equals[*at]));
            if let Some(at) = found {
                return Some(equals.swap_remove(at));
            }
        }
        None
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.by_priority.iter().flatten()
    }

    /// Empties it.
    pub(super) fn take(&mut self) -> Vec<Key> {
        let mut all = Vec::new();
        for equals in &mut self.by_priority {
            all.append(equals);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics says where")]
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};
    use std::collections::HashSet;

    #[test]
    fn higher_priorities_come_first_and_equals_in_any_order() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut orders = HashSet::new();
        for _ in 0..200 {
            let mut queue = Queue::default();
            queue.push([9; 32], Priority::VeryLow, &mut rng);
            for n in 0..4 {
                queue.push([n; 32], Priority::Normal, &mut rng);
            }
            queue.push([8; 32], Priority::VeryHigh, &mut rng);
            assert_eq!(queue.len(), 6);
            assert_eq!(queue.pop().unwrap(), [8; 32]);
            let order: Vec<u8> = (0..4).map(|_| queue.pop().unwrap()[0]).collect();
            orders.insert(order);
            assert_eq!(queue.pop().unwrap(), [9; 32]);
            assert_eq!(queue.pop(), None);
        }
        assert!(orders.len() > 12, "{} orders", orders.len());
    }

    #[test]
    fn the_lowest_go_first_when_there_is_no_room() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut queue = Queue::default();
        queue.push([1; 32], Priority::Low, &mut rng);
        queue.push([2; 32], Priority::Low, &mut rng);
        queue.push([3; 32], Priority::High, &mut rng);
        let stays = [1; 32];
        assert_eq!(queue.evict(&mut rng, |key| *key != stays), Some([2; 32]));
        assert_eq!(queue.evict(&mut rng, |key| *key != stays), Some([3; 32]));
        assert_eq!(queue.evict(&mut rng, |key| *key != stays), None);
        assert_eq!(queue.take(), [stays]);
    }
}
