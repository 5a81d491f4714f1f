//! Medians and quartiles: a few rounds on a noisy machine have outliers, so no means here.

/// The `fraction` quantile (0.5: the median) of `values`, interpolated; none of no values.
pub(crate) fn quantile(values: &[f64], fraction: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = fraction * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// The median of `values`.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}
