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

/// Where the median of all that could have been measured lies, with 95 % certainty: between these two of `values` in their order, whatever
/// their distribution. (So many of them lie below it as coins of so many show heads; here by the normal distribution.)
pub(crate) fn interval(values: &[f64]) -> Option<[f64; 2]> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let (middle, half) = (sorted.len() as f64 / 2.0, 1.96 * (sorted.len() as f64).sqrt() / 2.0);
    // A cast stops at 0.
    let (low, high) = (((middle - half).floor() - 1.0) as usize, (middle + half).ceil() as usize);
    Some([sorted[low], sorted[high.min(last)]])
}
