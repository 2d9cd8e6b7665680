//! The middle of several measurements, how far they lie apart, and how sure a ratio of two middles is.

/// The middle of several values, the lowest and the highest; NaN when there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle one; of an even number, between the two in the middle.
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
        let half = values.len() / 2;
        Self {
            middle: match values.len() % 2 {
                0 if half > 0 => f64::midpoint(at(half - 1), at(half)),
                _ => at(half),
            },
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

/// How often rounds are drawn anew.
const DRAWS: u64 = 2_000;

/// The ratio of the medians of two series of the same rounds, with its 95 % interval by bootstrap: rounds are drawn anew, with replacement, both values of a
/// round together, and the middle 95 % of the ratios that come of it are between `low` and `high`. The draws are the same each time. NaN when there is no round.
pub fn bootstrap(values: &[f64], to: &[f64]) -> Spread {
    let rounds = values.len().min(to.len());
    let (values, to) = (&values[..rounds], &to[..rounds]);
    let of = |picked: &[usize]| {
        let middle = |values: &[f64]| {
            let picked: Vec<f64> = picked.iter().map(|at| values[*at]).collect();
            Spread::of(&picked).middle
        };
        middle(values) / middle(to)
    };
    let all: Vec<usize> = (0..rounds).collect();
    let middle = of(&all);
    if rounds == 0 {
        return Spread {
            middle,
            low: middle,
            high: middle,
        };
    }
    let mut state = 0_u64;
    let mut draw = || {
        let drawn = mix(state) % rounds as u64;
        state = state.wrapping_add(STEP);
        drawn as usize
    };
    let mut ratios: Vec<f64> = (0..DRAWS)
        .map(|_| of(&(0..rounds).map(|_| draw()).collect::<Vec<_>>()))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: f64| ratios[((ratios.len() - 1) as f64 * part).round() as usize];
    Spread {
        middle,
        low: at(0.025),
        high: at(0.975),
    }
}

/// How far the states of SplitMix64 are apart.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What follows a number in a sequence without an order (SplitMix64).
pub fn mix(n: u64) -> u64 {
    let mut z = n.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_unsorted_values() {
        let spread = Spread::of(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.low, spread.middle, spread.high), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]).middle, 2.5);
        assert!(Spread::of(&[]).middle.is_nan());
        assert_eq!(Spread::of_ratios(&[4.0, 9.0], &[2.0, 3.0]).middle, 2.5);
    }

    #[test]
    fn equal_rounds_leave_no_doubt() {
        let ratio = bootstrap(&[10.0; 5], &[2.0; 5]);
        assert_eq!((ratio.low, ratio.middle, ratio.high), (5.0, 5.0, 5.0));
    }

    #[test]
    fn the_interval_is_around_the_ratio_of_the_medians_and_within_the_rounds() {
        let ours = [90.0, 100.0, 110.0, 95.0, 105.0, 101.0, 99.0];
        let theirs = [10.0, 11.0, 9.0, 10.5, 9.5, 10.1, 9.9];
        let ratio = bootstrap(&ours, &theirs);
        assert_eq!(ratio.middle, 10.0);
        assert!(ratio.low < 10.0 && ratio.high > 10.0, "{ratio:?}");
        assert!(
            ratio.low > 90.0 / 11.0 && ratio.high < 110.0 / 9.0,
            "{ratio:?}"
        );
        assert_eq!(
            ratio,
            bootstrap(&ours, &theirs),
            "the draws are the same each time"
        );
    }

    #[test]
    fn rounds_are_drawn_in_pairs() {
        // Each round by itself is a ratio of 2, however far the rounds lie apart.
        let ratio = bootstrap(&[2.0, 20.0, 200.0], &[1.0, 10.0, 100.0]);
        assert_eq!((ratio.low, ratio.middle, ratio.high), (2.0, 2.0, 2.0));
        assert!(bootstrap(&[], &[1.0]).middle.is_nan());
    }
}
