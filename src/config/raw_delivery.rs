//! The grammar of what happens to a delivery: `retry`, `circuit_breaker`, `limits.rate`, `dead_letter`.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::names::ClusterName;
use super::problem::{found, Problems};
use super::raw_shape::SetHeaders;
use super::scalar::{Millis, NonEmpty, Percent, Rate, Text, Whole, HOUR};
use super::templates::{AuthorityTemplate, PathTemplate};
use crate::delivery::drop_reason::DropReason;
use crate::delivery::retry_condition::RetryOn;
use crate::http::status::StatusPattern;
use crate::template::JsonTemplate;

/// `retry`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default, extend("$comment" = "delivery.md#retries")))]
pub struct Retry {
    /// Attempts, including the first.
    #[deserr(default = Self::default().max_attempts)]
    pub max_attempts: Whole<1, 100>,
    /// How long to wait between attempts.
    #[deserr(default)]
    pub backoff: Backoff,
    /// Which failures are retried; all others are final.
    #[deserr(default = Self::default().on)]
    pub on: NonEmpty<RetryOn>,
    /// Limits the share of retries, per worker.
    #[deserr(default)]
    pub budget: Budget,
    /// Obeys `Retry-After` of a 429 or 503, up to `backoff.max`.
    #[deserr(default = Self::default().retry_after)]
    pub retry_after: bool,
    /// A copy older than this is given up.
    #[deserr(default = Self::default().expire_after)]
    pub expire_after: Millis<1, { 24 * HOUR }>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: Whole(3),
            backoff: Backoff::default(),
            on: NonEmpty(RetryOn::defaults()),
            budget: Budget::default(),
            retry_after: true,
            expire_after: Millis(60_000),
        }
    }
}

/// `retry.backoff`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = base_within_max -> Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct Backoff {
    /// The longest first wait; doubles with each retry. At most `max`.
    #[deserr(default = Self::default().base)]
    pub base: Millis<1, HOUR>,
    /// The longest wait.
    #[deserr(default = Self::default().max)]
    pub max: Millis<1, HOUR>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Millis(100), max: Millis(10_000) }
    }
}

fn base_within_max(backoff: Backoff, location: ValuePointerRef<'_>) -> Result<Backoff, Problems> {
    let Backoff { base, max } = &backoff;
    if base.0 > max.0 {
        return Err(crossed(location, ("base", base.0), ("max", max.0), base.0 == Backoff::default().base.0));
    }
    Ok(backoff)
}

/// Two times, the first of which should not be longer than the second. The problem is at one that is written: where the first is its default,
/// that is the second.
fn crossed(location: ValuePointerRef<'_>, (low, is): (&str, u64), (high, most): (&str, u64), low_is_default: bool) -> Problems {
    if low_is_default {
        Problems::at(location.push_key(high), format!("expected at least `{low}` ({is}ms), found {most}ms"))
    } else {
        Problems::at(location.push_key(low), format!("expected at most `{high}` ({most}ms), found {is}ms"))
    }
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct Budget {
    /// Retries per 100 first attempts of the last 10 s.
    #[deserr(default = Self::default().percent)]
    pub percent: Percent,
    /// Retries per second that are always allowed.
    #[deserr(default = Self::default().min_per_second)]
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default, extend("$comment" = "delivery.md#circuit-breaker")))]
pub struct Breaker {
    /// Failures in a row, over all workers, that open it. 0: not used.
    #[deserr(default = Self::default().consecutive_failures)]
    pub consecutive_failures: Whole<0, 1_000_000>,
    /// The share of failures that opens it.
    #[deserr(default)]
    pub failure_rate: FailureRate,
    /// Responses that count as failures, unless `success` names them too. A gRPC status counts as the HTTP status that it stands for. A missing response
    /// always counts as a failure.
    #[deserr(default = Self::default().failure_statuses)]
    pub failure_statuses: NonEmpty<StatusPattern>,
    /// The share of slow calls that opens it. Absent: not used.
    #[deserr(default)]
    pub slow_call: Option<SlowCall>,
    /// How long it stays open; doubles each time a probe fails, up to `max_open_for`.
    #[deserr(default = Self::default().open_for)]
    pub open_for: Millis<1, HOUR>,
    /// The longest time it stays open. Absent: `60s`, or `open_for` if that is longer.
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
            failure_statuses: NonEmpty(vec![StatusPattern::class(5), StatusPattern::one(429)]),
            slow_call: None,
            open_for: Millis(5_000),
            max_open_for: None,
            half_open: HalfOpen::default(),
            mode: BreakerMode::default(),
        }
    }
}

fn open_within_max(breaker: Breaker, location: ValuePointerRef<'_>) -> Result<Breaker, Problems> {
    let open_for = breaker.open_for.0;
    match breaker.max_open_for {
        Some(max) if open_for > max.0 => {
            let is_default = open_for == Breaker::default().open_for.0;
            Err(crossed(location, ("open_for", open_for), ("max_open_for", max.0), is_default))
        }
        _ => Ok(breaker),
    }
}

/// `circuit_breaker.mode`.
#[derive(Clone, Copy, Debug, Default, Deserr, PartialEq, Eq)]
#[deserr(error = Problems, rename_all = lowercase)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema, serde::Serialize), serde(rename_all = "lowercase"))]
pub enum BreakerMode {
    /// Decides, counts, logs and blocks.
    #[default]
    Enforce,
    /// Decides, counts and logs, but does not block.
    Observe,
    /// Does nothing.
    Disabled,
}

/// `circuit_breaker.failure_rate`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct FailureRate {
    /// The percentage of failed attempts that opens it.
    #[deserr(default = Self::default().percent)]
    pub percent: Percent,
    /// The time over which attempts are counted.
    #[deserr(default = Self::default().window)]
    pub window: Millis<1_000, HOUR>,
    /// With fewer attempts than this in the window, the percentage does not open it.
    #[deserr(default = Self::default().min_requests)]
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct SlowCall {
    /// Attempts that take longer are slow.
    pub longer_than: Millis<1, HOUR>,
    /// The percentage of slow attempts that opens it, over the window of `failure_rate`.
    #[deserr(default = default_slow_percent())]
    #[cfg_attr(feature = "cli", schemars(default = "default_slow_percent"))]
    pub percent: Percent,
}

fn default_slow_percent() -> Percent {
    Percent(100.0)
}

/// `circuit_breaker.half_open`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub struct HalfOpen {
    /// Probes in flight at once, over all workers.
    #[deserr(default = Self::default().probes)]
    pub probes: Whole<1, 1_000>,
    /// Probes that must succeed to close it.
    #[deserr(default = Self::default().successes)]
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
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct RateLimit {
    /// Copies per second, on average.
    pub per_second: Rate,
    /// Copies that may be sent at once after a pause. Absent: `per_second`, but at least 1.
    #[deserr(default)]
    pub burst: Option<Whole<1, 1_000_000_000>>,
}

/// `dead_letter`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields, extend("$comment" = "dead-letters.md")))]
pub struct DeadLetter {
    /// The Envoy cluster that receives the dead letters.
    pub cluster: Text<ClusterName>,
    /// Path and query to which dead letters are posted. Absent: `/`.
    #[deserr(default)]
    pub path: Option<Text<PathTemplate>>,
    /// The authority of the call. Absent: the cluster's name, or the part of it after the last vertical bar.
    #[deserr(default)]
    pub authority: Option<Text<AuthorityTemplate>>,
    /// Headers of the call.
    #[deserr(default)]
    pub headers: Option<DeadLetterHeaders>,
    /// How long the call may take. It is not retried.
    #[deserr(default = default_letter_timeout())]
    #[cfg_attr(feature = "cli", schemars(default = "default_letter_timeout"))]
    pub timeout: Millis<1, HOUR>,
    /// The drop reasons for which a dead letter is sent.
    #[deserr(default = default_letter_reasons())]
    #[cfg_attr(feature = "cli", schemars(default = "default_letter_reasons"))]
    pub on: NonEmpty<DeadLetterReason>,
    /// Another body. Absent: the envelope.
    #[deserr(default)]
    pub body: Option<DeadLetterBody>,
}

fn default_letter_timeout() -> Millis<1, HOUR> {
    Millis(2_000)
}

/// Where the target is at fault, or there was no time for it: its requests are as good as before.
fn default_letter_reasons() -> NonEmpty<DeadLetterReason> {
    use DeadLetterReason::{CircuitOpen, Expired, NotRetryable, QueueFull, RetriesExhausted, RetryBudget, Shutdown};
    NonEmpty(vec![RetriesExhausted, RetryBudget, NotRetryable, CircuitOpen, QueueFull, Expired, Shutdown])
}

/// `dead_letter.headers`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct DeadLetterHeaders {
    /// Header names, with templates of their values. `content-type` is `application/json` unless set here.
    pub set: SetHeaders,
}

/// `dead_letter.body`.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct DeadLetterBody {
    /// What is sent in place of the envelope.
    pub template: JsonTemplate,
}

/// `dead_letter.on`: the reasons for which there still is a request to keep.
#[derive(Clone, Copy, Debug, Deserr)]
#[deserr(error = Problems)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema, serde::Serialize), serde(rename_all = "snake_case"))]
pub enum DeadLetterReason {
    /// The last attempt failed.
    #[deserr(rename = "retries_exhausted")]
    RetriesExhausted,
    /// An attempt failed, and the retry budget was used up.
    #[deserr(rename = "retry_budget")]
    RetryBudget,
    /// The response was final.
    #[deserr(rename = "not_retryable")]
    NotRetryable,
    /// The breaker was open.
    #[deserr(rename = "circuit_open")]
    CircuitOpen,
    /// The queue was full.
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
    /// The filter shut down.
    #[deserr(rename = "shutdown")]
    Shutdown,
}

impl From<DeadLetterReason> for DropReason {
    fn from(reason: DeadLetterReason) -> Self {
        match reason {
            DeadLetterReason::RetriesExhausted => Self::RetriesExhausted,
            DeadLetterReason::RetryBudget => Self::RetryBudget,
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
