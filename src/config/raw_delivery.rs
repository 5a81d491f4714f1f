//! The grammar of what happens to a delivery: `retry`, `circuit_breaker`, `limits.rate`, `dead_letter`.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::names::{ClusterName, StatusPattern};
use super::problem::{found, Problems};
use super::raw_shape::SetHeaders;
use super::scalar::{Millis, NonEmpty, Percent, Rate, Text, Whole, HOUR};
use super::templates::{AuthorityTemplate, PathTemplate};
use crate::outcome::RetryOn;
use crate::stats::DropReason;
use crate::template::JsonTemplate;

/// `retry`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct Retry {
    /// Attempts, the first included.
    #[deserr(default = Whole(3))]
    pub max_attempts: Whole<1, 100>,
    /// How long to wait.
    #[deserr(default)]
    pub backoff: Backoff,
    /// After what.
    #[deserr(default = NonEmpty(RetryOn::defaults()))]
    pub on: NonEmpty<RetryOn>,
    /// How many of all attempts may be retries.
    #[deserr(default)]
    pub budget: Budget,
    /// A Retry-After is obeyed.
    #[deserr(default = true)]
    pub retry_after: bool,
    /// Older than this: given up.
    #[deserr(default = Millis(60_000))]
    pub expire_after: Millis<1, { 24 * HOUR }>,
}

/// `retry.backoff`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = base_within_max -> Problems)]
pub struct Backoff {
    /// The first bound.
    #[deserr(default = Millis(100))]
    pub base: Millis<1, HOUR>,
    /// The largest bound.
    #[deserr(default = Millis(10_000))]
    pub max: Millis<1, HOUR>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Millis(100), max: Millis(10_000) }
    }
}

fn base_within_max(backoff: Backoff, location: ValuePointerRef<'_>) -> Result<Backoff, Problems> {
    if backoff.base.0 > backoff.max.0 {
        return Err(Problems::at(
            location.push_key("base"),
            format!("expected at most `max` ({}ms), found {}ms", backoff.max.0, backoff.base.0),
        ));
    }
    Ok(backoff)
}

impl Deserr<Problems> for RetryOn {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match &value {
            Value::String(text) => match text.as_str() {
                "reset" => return Ok(Self::Reset),
                "timeout" => return Ok(Self::Timeout),
                "connect_failure" => return Ok(Self::ConnectFailure),
                "no_healthy_upstream" => return Ok(Self::NoHealthyUpstream),
                _ => {}
            },
            Value::Integer(_) | Value::Float(_) => {}
            other => return Err(Problems::at(location, format!("expected a string, found {}", found(other)))),
        }
        StatusPattern::deserialize_from_value(value, location).map(Self::Status).map_err(|_| {
            Problems::at(
                location,
                "expected a status such as \"429\", a class such as \"5xx\", or one of `reset`, `timeout`, `connect_failure`, \
                 `no_healthy_upstream`",
            )
        })
    }
}

/// `retry.budget`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct Budget {
    /// Retries for a hundred first attempts.
    #[deserr(default = Percent(20.0))]
    pub percent: Percent,
    /// Retries a second that are always allowed.
    #[deserr(default = Whole(10))]
    pub min_per_second: Whole<0, 1_000_000>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { percent: Percent(20.0), min_per_second: Whole(10) }
    }
}

/// `circuit_breaker`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = open_within_max -> Problems)]
pub struct Breaker {
    /// Failures in a row that open it; 0: not used.
    #[deserr(default = Whole(5))]
    pub consecutive_failures: Whole<0, 1_000_000>,
    /// The share of failures that opens it.
    #[deserr(default)]
    pub failure_rate: FailureRate,
    /// The share of slow calls that opens it.
    #[deserr(default)]
    pub slow_call: Option<SlowCall>,
    /// How long it stays open the first time.
    #[deserr(default = Millis(5_000))]
    pub open_for: Millis<1, HOUR>,
    /// How long at most. Absent: a minute, or `open_for`, if that is longer.
    #[deserr(default)]
    pub max_open_for: Option<Millis<1, { 24 * HOUR }>>,
    /// How it closes again.
    #[deserr(default)]
    pub half_open: HalfOpen,
    /// Whether it blocks.
    #[deserr(default)]
    pub mode: BreakerMode,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            consecutive_failures: Whole(5),
            failure_rate: FailureRate::default(),
            slow_call: None,
            open_for: Millis(5_000),
            max_open_for: None,
            half_open: HalfOpen::default(),
            mode: BreakerMode::default(),
        }
    }
}

fn open_within_max(breaker: Breaker, location: ValuePointerRef<'_>) -> Result<Breaker, Problems> {
    match breaker.max_open_for {
        Some(max) if breaker.open_for.0 > max.0 => Err(Problems::at(
            location.push_key("open_for"),
            format!("expected at most `max_open_for` ({}ms), found {}ms", max.0, breaker.open_for.0),
        )),
        _ => Ok(breaker),
    }
}

/// `circuit_breaker.mode`.
#[derive(Clone, Copy, Debug, Default, Deserr, PartialEq, Eq)]
#[deserr(error = Problems, rename_all = lowercase)]
pub enum BreakerMode {
    /// Decides, counts and blocks.
    #[default]
    Enforce,
    /// Decides and counts.
    Observe,
    /// Does nothing.
    Disabled,
}

/// `circuit_breaker.failure_rate`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct FailureRate {
    /// Failures of a hundred.
    #[deserr(default = Percent(50.0))]
    pub percent: Percent,
    /// Over this time.
    #[deserr(default = Millis(30_000))]
    pub window: Millis<1_000, HOUR>,
    /// With at least so many.
    #[deserr(default = Whole(20))]
    pub min_requests: Whole<1, 1_000_000>,
}

impl Default for FailureRate {
    fn default() -> Self {
        Self { percent: Percent(50.0), window: Millis(30_000), min_requests: Whole(20) }
    }
}

/// `circuit_breaker.slow_call`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct SlowCall {
    /// Slower than this is slow.
    pub longer_than: Millis<1, HOUR>,
    /// Slow ones of a hundred, over the window of `failure_rate`.
    #[deserr(default = Percent(100.0))]
    pub percent: Percent,
}

/// `circuit_breaker.half_open`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct HalfOpen {
    /// Probes at once, over all workers.
    #[deserr(default = Whole(1))]
    pub probes: Whole<1, 1_000>,
    /// Successes that close it.
    #[deserr(default = Whole(2))]
    pub successes: Whole<1, 1_000>,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self { probes: Whole(1), successes: Whole(2) }
    }
}

/// `limits.rate` of a target.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct RateLimit {
    /// Copies a second.
    pub per_second: Rate,
    /// Copies at once. Absent: those of a second, at least one.
    #[deserr(default)]
    pub burst: Option<Whole<1, 1_000_000_000>>,
}

/// `dead_letter`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct DeadLetter {
    /// The Envoy cluster that gets it.
    pub cluster: Text<ClusterName>,
    /// The path it is posted to.
    #[deserr(default)]
    pub path: Option<Text<PathTemplate>>,
    /// The authority of the call.
    #[deserr(default)]
    pub authority: Option<Text<AuthorityTemplate>>,
    /// Headers of the call.
    #[deserr(default)]
    pub headers: Option<DeadLetterHeaders>,
    /// How long the call may take.
    #[deserr(default = Millis(2_000))]
    pub timeout: Millis<1, HOUR>,
    /// For which reasons.
    #[deserr(default = NonEmpty(DeadLetterReason::defaults()))]
    pub on: NonEmpty<DeadLetterReason>,
    /// Another body.
    #[deserr(default)]
    pub body: Option<DeadLetterBody>,
}

/// `dead_letter.headers`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct DeadLetterHeaders {
    /// Which are put in.
    pub set: SetHeaders,
}

/// `dead_letter.body`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
pub struct DeadLetterBody {
    /// In place of the envelope.
    pub template: JsonTemplate,
}

/// `dead_letter.on`: the reasons for which there still is a request to keep.
#[derive(Clone, Copy, Debug, Deserr)]
#[deserr(error = Problems)]
pub enum DeadLetterReason {
    /// The last attempt failed.
    #[deserr(rename = "retries_exhausted")]
    RetriesExhausted,
    /// The answer was final.
    #[deserr(rename = "not_retryable")]
    NotRetryable,
    /// The breaker was open.
    #[deserr(rename = "circuit_open")]
    CircuitOpen,
    /// There was no place in the queue.
    #[deserr(rename = "queue_full")]
    QueueFull,
    /// The rate was used up.
    #[deserr(rename = "rate_limited")]
    RateLimited,
    /// It got too old.
    #[deserr(rename = "expired")]
    Expired,
    /// There is no such cluster.
    #[deserr(rename = "unknown_cluster")]
    UnknownCluster,
    /// The filter went away.
    #[deserr(rename = "shutdown")]
    Shutdown,
}

impl DeadLetterReason {
    /// Where the target is at fault, or there was no time for it: its requests are as good as before.
    fn defaults() -> Vec<Self> {
        vec![Self::RetriesExhausted, Self::CircuitOpen, Self::QueueFull, Self::Expired, Self::Shutdown]
    }
}

impl From<DeadLetterReason> for DropReason {
    fn from(reason: DeadLetterReason) -> Self {
        match reason {
            DeadLetterReason::RetriesExhausted => Self::RetriesExhausted,
            DeadLetterReason::NotRetryable => Self::NotRetryable,
            DeadLetterReason::CircuitOpen => Self::CircuitOpen,
            DeadLetterReason::QueueFull => Self::QueueFull,
            DeadLetterReason::RateLimited => Self::RateLimited,
            DeadLetterReason::Expired => Self::Expired,
            DeadLetterReason::UnknownCluster => Self::UnknownCluster,
            DeadLetterReason::Shutdown => Self::Shutdown,
        }
    }
}
