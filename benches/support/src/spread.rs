//! The middle of several measurements, and how far they lie apart.

/// The middle of several values, the lowest and the highest; NaN when there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number, the higher of the two in the middle.
    pub middle: f64,
    /// The lowest.
    pub low: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// That of these values.
    pub fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let at = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
        Self {
            middle: at(values.len() / 2),
            low: at(0),
            high: at(values.len().saturating_sub(1)),
        }
    }

    /// That of the ratios of values that were measured in the same round.
    pub fn of_ratios(values: &[f64], to: &[f64]) -> Self {
        let ratios: Vec<f64> = values.iter().zip(to).map(|(a, b)| a / b).collect();
        Self::of(&ratios)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_unsorted_values() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.low, spread.middle, spread.high), (1.0, 2.0, 3.0));
        assert!(Spread::of(&[]).middle.is_nan());
        assert_eq!(Spread::of_ratios(&[4.0, 9.0], &[2.0, 3.0]).middle, 3.0);
    }
}
