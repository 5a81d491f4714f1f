//! A token bucket: limits the average rate per second, and the burst after a quiet time.

use std::time::Duration;

/// A token bucket. It starts full.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    /// When the tokens were last counted. `None` if they never were.
    counted: Option<Duration>,
}

impl TokenBucket {
    /// Creates a bucket that gains `per_second` tokens a second, up to `burst`.
    pub fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, tokens: burst, counted: None }
    }

    /// Takes a token. Returns false if there is none. `now` is any monotonic clock.
    pub fn take(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.counted.unwrap_or(now));
        self.counted = Some(now);
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        let has_one = self.tokens >= 1.0;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(bucket: &mut TokenBucket, at: Duration, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(at)).count()
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_what_flows_in() {
        let mut bucket = TokenBucket::new(10.0, 5.0);
        assert_eq!(taken(&mut bucket, Duration::from_secs(7), 20), 5);
        assert_eq!(taken(&mut bucket, Duration::from_millis(7_099), 20), 0);
        assert_eq!(taken(&mut bucket, Duration::from_millis(7_300), 20), 3);
        assert_eq!(taken(&mut bucket, Duration::from_secs(900), 20), 5);
    }

    #[test]
    fn less_than_one_a_second_adds_up() {
        let mut bucket = TokenBucket::new(0.25, 1.0);
        let passed: Vec<u64> = (0..12).filter(|second| bucket.take(Duration::from_secs(*second))).collect();
        assert_eq!(passed, [0, 4, 8]);
    }

    proptest! {
        #[test]
        fn in_no_span_of_time_pass_more_than_the_burst_and_what_flows_in(
            steps in prop::collection::vec(0_u64..400, 1..200), per_second in 0.5_f64..50.0, burst in 1_u32..20,
        ) {
            let mut bucket = TokenBucket::new(per_second, f64::from(burst));
            let mut now = 0;
            let mut passed = Vec::new();
            for step in steps {
                now += step;
                if bucket.take(Duration::from_millis(now)) {
                    passed.push(now);
                }
            }
            for (index, first) in passed.iter().enumerate() {
                for (count, last) in passed[index..].iter().enumerate() {
                    let allowed = f64::from(burst) + (last - first) as f64 / 1_000.0 * per_second;
                    prop_assert!((count + 1) as f64 <= allowed + 1e-6);
                }
            }
        }
    }
}
