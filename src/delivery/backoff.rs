//! The delay before another attempt: exponential back-off with full jitter.
//!
//! Full jitter draws uniformly between 0 and the bound, so that requests that failed together do not come back together. Source:
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

use std::time::Duration;

/// An exponential back-off: bounds that double with each attempt, up to a maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

/// The base of a back-off is above its maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidBackoff;

impl Backoff {
    /// Creates a back-off whose first bound is `base` and whose largest bound is `max`.
    ///
    /// # Errors
    /// Returns an error if `base` is above `max`.
    pub fn try_new(base: Duration, max: Duration) -> Result<Self, InvalidBackoff> {
        if base > max {
            return Err(InvalidBackoff);
        }
        Ok(Self { base, max })
    }

    /// The largest bound.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The longest delay after the given attempt. The first attempt is 1.
    pub fn bound(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(63);
        let factor = u32::try_from(1_u64 << doublings).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.max)
    }

    /// The delay after the given attempt, drawn with 64 random bits. A whole number of milliseconds from 0 to the bound. The first attempt is 1.
    pub fn delay(&self, attempt: u32, random: u64) -> Duration {
        let choices = self.bound(attempt).as_millis().saturating_add(1);
        // The upper half of the product is uniform over 0..choices.
        let drawn = u128::from(random).saturating_mul(choices) >> 64;
        Duration::from_millis(u64::try_from(drawn).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn bounds_double_up_to_the_maximum() {
        let backoff = Backoff::try_new(millis(100), millis(1_000)).unwrap();
        let bounds: Vec<_> = (0..8).map(|attempt| backoff.bound(attempt).as_millis()).collect();
        assert_eq!(bounds, [100, 100, 200, 400, 800, 1_000, 1_000, 1_000]);
        assert_eq!(backoff.bound(u32::MAX), millis(1_000));
    }

    #[test]
    fn the_whole_range_is_drawn_from() {
        let backoff = Backoff::try_new(millis(100), millis(100)).unwrap();
        assert_eq!(backoff.delay(1, 0), millis(0));
        assert_eq!(backoff.delay(1, u64::MAX), millis(100));
        assert_eq!(backoff.delay(1, u64::MAX / 2), millis(50));
    }

    #[test]
    fn a_base_above_the_maximum_is_invalid() {
        assert_eq!(Backoff::try_new(millis(2), millis(1)), Err(InvalidBackoff));
    }

    proptest! {
        #[test]
        fn no_delay_is_above_its_bound(base in 1_u64..3_600_000, more in 0_u64..3_600_000, attempt: u32, random: u64) {
            let backoff = Backoff::try_new(millis(base), millis(base + more)).unwrap();
            prop_assert!(backoff.delay(attempt, random) <= backoff.bound(attempt));
            prop_assert!(backoff.bound(attempt) <= millis(base + more));
            prop_assert!(backoff.bound(attempt) >= millis(base));
        }
    }
}
