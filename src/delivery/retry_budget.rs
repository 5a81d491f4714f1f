//! A retry budget: bounds how many retries a target gets, so that retries do not make an outage worse.
//!
//! # When a retry is allowed
//! Either of these allows it:
//! - The retries of the last ten seconds, this one included, stay within a percentage of the first attempts of the same time.
//! - The present second has had fewer retries than a small minimum. Without it, a target with little traffic would never get a retry.
//!
//! # What it forgets
//! Ten buckets of one second each hold the counts. What was not used is forgotten with its second: a calm hour does not save up a burst of retries.
//!
//! # What workers share
//! Nothing: each worker has a budget of its own for each target. An Envoy with `N` workers allows `N` times the minimum.
//!
//! The shape is that of the retry budgets of Finagle and linkerd2-proxy.
//!
//! ```
//! use std::time::Duration;
//! use sidecast::delivery::retry_budget::RetryBudget;
//!
//! let mut budget = RetryBudget::new(20.0, 1);
//! let now = Duration::from_secs(100);
//! for _ in 0..10 {
//!     budget.first_attempt(now);
//! }
//! // 20 % of ten first attempts are two retries; the minimum of one is used up by them.
//! assert!(budget.allow_retry(now) && budget.allow_retry(now));
//! assert!(!budget.allow_retry(now));
//! ```

use std::time::Duration;

/// The window, in buckets of a second.
const SECONDS: usize = 10;

/// The retries of one target in one worker.
#[derive(Clone, Debug)]
pub struct RetryBudget {
    percent: f64,
    min_per_second: u64,
    buckets: [Bucket; SECONDS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    second: u64,
    first_attempts: u64,
    retries: u64,
}

impl RetryBudget {
    /// Allows retries up to `percent` of the first attempts, or up to `min_per_second`, whichever is more.
    pub fn new(percent: f64, min_per_second: u64) -> Self {
        Self { percent, min_per_second, buckets: [Bucket::default(); SECONDS] }
    }

    /// Counts a first attempt. `now` is any clock that does not go back.
    pub fn first_attempt(&mut self, now: Duration) {
        let bucket = self.bucket(now.as_secs());
        bucket.first_attempts = bucket.first_attempts.saturating_add(1);
    }

    /// Asks for one more retry. If it is allowed, it is counted.
    pub fn allow_retry(&mut self, now: Duration) -> bool {
        let second = now.as_secs();
        let recent = |bucket: &&Bucket| second.saturating_sub(bucket.second) < SECONDS as u64;
        let (first_attempts, retries) = self.buckets.iter().filter(recent).fold((0_u64, 0_u64), |(first, retries), bucket| {
            (first.saturating_add(bucket.first_attempts), retries.saturating_add(bucket.retries))
        });
        let within_percent = (retries.saturating_add(1) as f64) <= first_attempts as f64 * self.percent / 100.0;
        let min_per_second = self.min_per_second;
        let bucket = self.bucket(second);
        let allowed = within_percent || bucket.retries < min_per_second;
        if allowed {
            bucket.retries = bucket.retries.saturating_add(1);
        }
        allowed
    }

    /// The bucket of a second, emptied if it was another second's.
    fn bucket(&mut self, second: u64) -> &mut Bucket {
        let index = usize::try_from(second % SECONDS as u64).unwrap_or(0);
        // The index is below the length: the first bucket is never taken in its place.
        let [first, rest @ ..] = &mut self.buckets;
        let bucket = match index.checked_sub(1).and_then(|index| rest.get_mut(index)) {
            Some(bucket) => bucket,
            None => first,
        };
        if bucket.second != second {
            *bucket = Bucket { second, ..Bucket::default() };
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn allowed(budget: &mut RetryBudget, now: Duration, tries: usize) -> usize {
        (0..tries).filter(|_| budget.allow_retry(now)).count()
    }

    #[test]
    fn retries_stay_within_the_percentage_of_first_attempts() {
        let mut budget = RetryBudget::new(20.0, 0);
        for _ in 0..100 {
            budget.first_attempt(at(5_000));
        }
        assert_eq!(allowed(&mut budget, at(5_500), 100), 20);
        assert_eq!(allowed(&mut budget, at(14_999), 100), 0);
    }

    #[test]
    fn what_was_not_used_is_forgotten_after_ten_seconds() {
        let mut budget = RetryBudget::new(20.0, 0);
        for _ in 0..100 {
            budget.first_attempt(at(5_000));
        }
        assert_eq!(allowed(&mut budget, at(14_999), 1), 1);
        assert_eq!(allowed(&mut budget, at(15_000), 100), 0);
    }

    #[test]
    fn a_few_retries_a_second_are_always_allowed() {
        let mut budget = RetryBudget::new(20.0, 3);
        assert_eq!(allowed(&mut budget, at(0), 10), 3);
        assert_eq!(allowed(&mut budget, at(999), 10), 0);
        assert_eq!(allowed(&mut budget, at(1_000), 10), 3);
    }

    #[test]
    fn the_minimum_counts_against_the_percentage() {
        let mut budget = RetryBudget::new(10.0, 5);
        for _ in 0..100 {
            budget.first_attempt(at(0));
        }
        assert_eq!(allowed(&mut budget, at(0), 100), 10);
        assert_eq!(allowed(&mut budget, at(1_000), 100), 5);
    }

    proptest! {
        /// Held against the whole history: in no window of ten buckets are there more retries than the rule allows.
        #[test]
        fn a_budget_is_never_exceeded(
            percent in 1_u32..=100,
            min_per_second in 0_u64..4,
            steps in prop::collection::vec((0_u64..700, any::<bool>()), 0..400),
        ) {
            let mut budget = RetryBudget::new(f64::from(percent), min_per_second);
            let (mut now, mut first_attempts, mut retries) = (0, Vec::<u64>::new(), Vec::<u64>::new());
            for (step, first) in steps {
                now += step;
                let second = now / 1_000;
                let recent = |times: &[u64]| times.iter().filter(|time| second - **time < 10).count() as u64;
                if first {
                    budget.first_attempt(at(now));
                    first_attempts.push(second);
                    continue;
                }
                let this_second = retries.iter().filter(|time| **time == second).count() as u64;
                let model = (recent(&retries) + 1) * 100 <= recent(&first_attempts) * u64::from(percent) || this_second < min_per_second;
                prop_assert_eq!(budget.allow_retry(at(now)), model);
                if model {
                    retries.push(second);
                }
            }
        }
    }
}
