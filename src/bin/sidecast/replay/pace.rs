//! When attempts are made: the rate, and the back-off between attempts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long the first back-off may be, and the longest.
const BASE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// At most so many attempts in so much time, such as `10/s`, `100/m` or `1000/h`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    gap: Duration,
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a number and a unit such as 10/s, 100/m or 1000/h, found {text:?}");
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        let number: u32 = number.trim().parse().map_err(|_| expected())?;
        let unit: u64 = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            _ => return Err(expected()),
        };
        Duration::from_secs(unit).checked_div(number).map(|gap| Self { gap }).ok_or_else(expected)
    }
}

/// Gives attempts their times.
pub(super) struct Pace {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { gap: rate.map_or(Duration::ZERO, |rate| rate.gap), next: Mutex::new(Instant::now()) }
    }

    /// The time of the next attempt. Those that ask later get later times.
    pub(super) fn turn(&self) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = (*next).max(Instant::now());
        *next = turn.checked_add(self.gap).unwrap_or(turn);
        turn
    }
}

/// How long to wait after this attempt, of which the first is 1: between half and all of a time that doubles.
pub(super) fn back_off(attempt: u32) -> Duration {
    let whole = BASE.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1))).min(LONGEST);
    // A hasher of the standard library begins with random keys.
    let share = RandomState::new().build_hasher().finish() % 512;
    let half = whole.checked_div(2).unwrap_or_default();
    half.saturating_add(half.saturating_mul(u32::try_from(share).unwrap_or_default()).checked_div(512).unwrap_or_default())
}
