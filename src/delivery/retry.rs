//! Decides whether and when a failed delivery is retried.

use std::time::{Duration, SystemTime};

use crate::delivery::backoff::Backoff;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::retry_budget::RetryBudget;

/// The retry settings of a target.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The most attempts, including the first.
    pub max_attempts: u32,
    /// The back-off between attempts.
    pub backoff: Backoff,
    /// The retry budget of the target.
    pub budget: RetryBudget,
    /// True if a Retry-After header of a 429 or 503 response lengthens the back-off.
    pub obey_retry_after: bool,
    /// The age at which a delivery is given up.
    pub expire_after: Duration,
}

/// A delivery whose attempt failed with a retryable cause.
#[derive(Clone, Copy, Debug)]
pub struct Failed {
    /// The number of the failed attempt, from 1.
    pub attempt: u32,
    /// The time since the request was complete.
    pub age: Duration,
    /// The delay that the target asked for in Retry-After.
    pub retry_after: Option<Duration>,
    /// 64 random bits.
    pub random: u64,
    /// True if the queue has a place for the delivery to wait in.
    pub has_place: bool,
}

impl RetryPolicy {
    /// Returns the delay before the next attempt. `now` is any monotonic clock. Counts an allowed retry in the budget.
    ///
    /// # Errors
    /// Returns the drop reason if there is no next attempt.
    pub fn next(&mut self, failed: Failed, now: Duration) -> Result<Duration, DropReason> {
        if failed.attempt >= self.max_attempts {
            return Err(DropReason::RetriesExhausted);
        }
        let backoff = self.backoff.delay(failed.attempt, failed.random);
        let asked = failed.retry_after.filter(|_| self.obey_retry_after).unwrap_or_default();
        let delay = backoff.max(asked.min(self.backoff.max()));
        if failed.age.saturating_add(delay) >= self.expire_after {
            return Err(DropReason::Expired);
        }
        if !failed.has_place {
            return Err(DropReason::QueueFull);
        }
        // A delivery that the budget denies is dropped at once: while the outage lasts, the budget would deny it a moment later, too.
        if self.budget.allow_retry(now) {
            Ok(delay)
        } else {
            Err(DropReason::RetryBudget)
        }
    }
}

/// Parses a Retry-After header: seconds, or an HTTP date relative to the wall clock (RFC 9110, 10.2.3). Returns `None` if it is neither.
pub fn parse_retry_after(value: &[u8], wall_clock: Duration) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(wall_clock))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn policy() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 3,
            backoff: Backoff::try_new(seconds(1), seconds(4)).unwrap(),
            budget: RetryBudget::new(100.0, 100),
            obey_retry_after: true,
            expire_after: seconds(60),
        }
    }

    fn failed(attempt: u32) -> Failed {
        Failed { attempt, age: seconds(0), retry_after: None, random: u64::MAX, has_place: true }
    }

    #[test]
    fn without_a_place_to_wait_a_retry_is_given_up_and_spends_no_budget() {
        let mut policy = RetryPolicy { budget: RetryBudget::new(0.1, 1), ..policy() };
        assert_eq!(policy.next(Failed { has_place: false, ..failed(1) }, seconds(0)), Err(DropReason::QueueFull));
        assert_eq!(policy.next(Failed { has_place: false, ..failed(3) }, seconds(0)), Err(DropReason::RetriesExhausted));
        assert!(policy.next(failed(1), seconds(0)).is_ok());
        assert_eq!(policy.next(failed(1), seconds(0)), Err(DropReason::RetryBudget), "the budget is one a second");
    }

    #[test]
    fn attempts_are_made_up_to_their_number() {
        assert_eq!(policy().next(failed(1), seconds(0)), Ok(seconds(1)));
        assert_eq!(policy().next(failed(2), seconds(0)), Ok(seconds(2)));
        assert_eq!(policy().next(failed(3), seconds(0)), Err(DropReason::RetriesExhausted));
    }

    #[test]
    fn a_retry_after_is_obeyed_up_to_the_largest_back_off() {
        let asked = |asked| Failed { retry_after: Some(seconds(asked)), random: 0, ..failed(1) };
        assert_eq!(policy().next(asked(2), seconds(0)), Ok(seconds(2)));
        assert_eq!(policy().next(asked(3_600), seconds(0)), Ok(seconds(4)));
        let deaf = RetryPolicy { obey_retry_after: false, ..policy() };
        assert_eq!(deaf.clone().next(asked(2), seconds(0)), Ok(seconds(0)));
    }

    #[test]
    fn a_retry_after_does_not_shorten_the_back_off() {
        let asked = Failed { retry_after: Some(seconds(0)), ..failed(2) };
        assert_eq!(policy().next(asked, seconds(0)), Ok(seconds(2)));
    }

    #[test]
    fn a_delivery_that_would_be_too_old_is_given_up() {
        let old = |age| Failed { age: seconds(age), ..failed(1) };
        assert_eq!(policy().next(old(58), seconds(0)), Ok(seconds(1)));
        assert_eq!(policy().next(old(59), seconds(0)), Err(DropReason::Expired));
    }

    #[test]
    fn without_budget_there_is_no_retry() {
        let mut poor = RetryPolicy { budget: RetryBudget::new(10.0, 1), ..policy() };
        assert!(poor.next(failed(1), seconds(0)).is_ok());
        assert_eq!(poor.next(failed(1), seconds(0)), Err(DropReason::RetryBudget));
        assert_eq!(poor.next(failed(3), seconds(0)), Err(DropReason::RetriesExhausted), "that was the last attempt anyway");
    }

    #[test]
    fn a_retry_after_is_seconds_or_a_date() {
        let now = seconds(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let parse = |text: &str| parse_retry_after(text.as_bytes(), now);
        assert_eq!(parse("120"), Some(seconds(120)));
        assert_eq!(parse(" 2 "), Some(seconds(2)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:47 GMT"), Some(seconds(10)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:00:00 GMT"), Some(seconds(0)));
        assert_eq!(parse("99999999999999999999999"), Some(seconds(u64::MAX)));
        for junk in ["", "soon", "-1", "1.5", "\u{661}"] {
            assert_eq!(parse(junk), None, "{junk}");
        }
        assert_eq!(parse_retry_after(b"\xff", now), None);
    }
}
