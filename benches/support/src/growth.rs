//! How time grows with size.

/// The exponent of growth: the slope of the line through the logarithms of (size, value), by least squares. 0 where the value stays as it is, 1 where twice the size doubles it.
/// `None` with fewer than two sizes, or where something is not above 0.
pub fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    if points.iter().any(|(x, y)| !(*x > 0.0 && *y > 0.0)) {
        return None;
    }
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let count = logs.len() as f64;
    let middle = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (middle(|p| p.0), middle(|p| p.1));
    let spread: f64 = logs.iter().map(|p| (p.0 - x).powi(2)).sum();
    let both: f64 = logs.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    (spread > 1e-9).then(|| both / spread)
}

#[cfg(test)]
mod tests {
    use super::exponent;

    #[test]
    fn powers_have_their_exponent() {
        for power in [-1.0, 0.0, 0.5, 1.0, 2.0] {
            let points: Vec<_> = [1e2, 1e4, 1e6]
                .map(|x: f64| (x, 3.0 * x.powf(power)))
                .into();
            let found = exponent(&points).unwrap_or(f64::NAN);
            assert!((found - power).abs() < 1e-9, "{power}: {found}");
        }
        assert_eq!(exponent(&[(10.0, 1.0)]), None);
        assert_eq!(exponent(&[(10.0, 1.0), (10.0, 2.0)]), None);
        assert_eq!(exponent(&[(10.0, 0.0), (100.0, 1.0)]), None);
    }
}
