//! Latencies over many Envoys.
//!
//! Percentiles of several Envoys cannot be made of the percentiles of each. So the buckets of their histograms are added up, and a percentile is the upper
//! bound of the bucket in which it lies. Envoy's own buckets have two significant digits, so the bound is at most a tenth too high.

use std::collections::BTreeMap;

/// The durations of attempts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Latency {
    /// No attempt has ended, or the histogram is not there.
    #[default]
    None,
    /// How many durations each bucket holds.
    Buckets(Buckets),
    /// The percentiles that one Envoy made: its statistics were read without buckets.
    Percentiles { p50: f64, p99: f64 },
    /// Percentiles of several Envoys, which cannot be brought together.
    Unknown,
}

/// Buckets by the bound below which their durations are, in whole milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Buckets(BTreeMap<u64, u64>);

impl Buckets {
    /// Adds a bucket of Envoy.
    ///
    /// The filter records whole milliseconds, of which a fraction is cut off: a 2 stands for less than 3 ms.
    pub(super) fn add(&mut self, lower_bound: f64, width: f64, count: u64) {
        let upper = lower_bound + width;
        // The conversion saturates, also for NaN.
        let below = if width > 0.0 { upper.ceil() } else { upper.floor() + 1.0 } as u64;
        let bucket = self.0.entry(below.max(1)).or_default();
        *bucket = bucket.saturating_add(count);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The bound in milliseconds below which this share of the durations is, in percent. `None` if there is none.
    pub(super) fn below(&self, percent: u64) -> Option<u64> {
        let wanted = u128::from(self.count()).saturating_mul(u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u128;
        let bucket = self.0.iter().find(|(_, count)| {
            seen = seen.saturating_add(u128::from(**count));
            seen >= wanted
        });
        bucket.map(|(below, _)| *below)
    }
}

impl Latency {
    /// Adds the durations of another Envoy.
    pub(super) fn add(&mut self, other: &Self) {
        *self = match (std::mem::take(self), other) {
            (Self::None, other) => other.clone(),
            (own, Self::None) => own,
            (Self::Buckets(mut own), Self::Buckets(others)) => {
                for (below, count) in &others.0 {
                    let bucket = own.0.entry(*below).or_default();
                    *bucket = bucket.saturating_add(*count);
                }
                Self::Buckets(own)
            }
            _ => Self::Unknown,
        };
    }

    /// What to show of a percentile: 50 or 99.
    pub(super) fn shown(&self, percent: u64) -> String {
        match self {
            Self::None => "-".to_owned(),
            Self::Buckets(buckets) => buckets.below(percent).map_or_else(|| "-".to_owned(), |below| format!("< {below}")),
            Self::Percentiles { p50, p99 } => format!("~ {:.1}", if percent == 50 { p50 } else { p99 }),
            Self::Unknown => "?".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(list: &[(f64, f64, u64)]) -> Buckets {
        let mut buckets = Buckets::default();
        list.iter().for_each(|(lower, width, count)| buckets.add(*lower, *width, *count));
        buckets
    }

    #[test]
    fn a_percentile_is_the_bound_of_its_bucket() {
        let buckets = buckets(&[(0.0, 0.0, 50), (2.0, 0.1, 48), (21.0, 1.0, 1), (110.0, 10.0, 1)]);
        assert_eq!(buckets.count(), 100);
        assert_eq!((buckets.below(50), buckets.below(51), buckets.below(98)), (Some(1), Some(3), Some(3)));
        assert_eq!((buckets.below(99), buckets.below(100)), (Some(22), Some(120)));
        assert_eq!(Buckets::default().below(50), None);
    }

    #[test]
    fn buckets_of_several_envoys_add_up_and_percentiles_do_not() {
        let mut sum = Latency::Buckets(buckets(&[(1.0, 0.1, 99)]));
        sum.add(&Latency::Buckets(buckets(&[(300.0, 10.0, 1), (1.0, 0.1, 1)])));
        assert_eq!(sum, Latency::Buckets(buckets(&[(1.0, 0.1, 100), (300.0, 10.0, 1)])));
        // The 99th percentile of one Envoy is 310 ms, and that of both together is 2 ms.
        assert_eq!((sum.shown(50), sum.shown(99)), ("< 2".to_owned(), "< 2".to_owned()));
        let percentiles = Latency::Percentiles { p50: 1.0, p99: 2.0 };
        let mut one = Latency::None;
        one.add(&percentiles);
        one.add(&Latency::None);
        assert_eq!(one.shown(99), "~ 2.0");
        one.add(&percentiles);
        assert_eq!(one, Latency::Unknown);
    }

    #[test]
    fn no_bound_and_no_count_is_too_large() {
        let buckets = buckets(&[(f64::MAX, 1.0, u64::MAX), (f64::NAN, 1.0, u64::MAX), (-5.0, 1.0, 1)]);
        assert_eq!(buckets.count(), u64::MAX);
        assert_eq!(buckets.below(100), Some(1));
    }
}
