//! The order of the runs.

/// The same things, with another one first in each round: who comes behind whom changes, and nobody is always the one who comes behind the slowest.
pub fn rotated<T: Clone>(things: &[T], round: usize) -> Vec<T> {
    let mut things = things.to_vec();
    if !things.is_empty() {
        let turn = round % things.len();
        things.rotate_left(turn);
    }
    things
}

#[cfg(test)]
mod tests {
    use super::rotated;

    #[test]
    fn each_comes_first_once() {
        let order: Vec<_> = (0..4)
            .map(|round| rotated(&["a", "b", "c"], round))
            .collect();
        assert_eq!(order[0], ["a", "b", "c"]);
        assert_eq!(order[1], ["b", "c", "a"]);
        assert_eq!(order[2], ["c", "a", "b"]);
        assert_eq!(order[3], order[0]);
        assert!(rotated::<u8>(&[], 3).is_empty());
    }
}
