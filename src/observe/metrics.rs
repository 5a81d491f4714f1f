//! The names of all metrics. Envoy adds the prefix `wasmcustom.`.

use crate::delivery::cause::FailureClass;
use crate::delivery::drop_reason::DropReason;

/// A gauge of the number of roots that run a version. The version follows after a dot.
pub const BUILD_INFO: &str = "sidecast_build_info";
/// A counter of events that should be impossible, such as failed host calls.
pub const UNEXPECTED: &str = "sidecast_unexpected";

/// The type of a metric. The numbers are those of the proxy-wasm ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter = 0,
    /// A number that grows and shrinks.
    Gauge = 1,
    /// A distribution of values.
    Histogram = 2,
}

/// All metrics of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Requests that the target wants.
    Matched,
    /// Wanted requests that the target's sample leaves out.
    SampledOut,
    /// Attempts made.
    Attempts,
    /// Failed attempts, by cause.
    AttemptFailures(FailureClass),
    /// Attempts after the first.
    Retries,
    /// Requests delivered.
    Delivered,
    /// Requests that were given up and delivered as dead letters.
    DeadLettered,
    /// Requests dropped, by reason.
    Dropped(DropReason),
    /// How often the circuit breaker opened.
    BreakerOpened,
    /// The state of the circuit breaker: 0 closed, 1 half-open, 2 open.
    BreakerState,
    /// Calls in flight.
    Inflight,
    /// Copies that wait.
    Queued,
    /// Bytes of the copies that wait.
    QueuedBytes,
    /// The durations of attempts, in milliseconds.
    LatencyMs,
    /// The number of items in each batch on its first attempt.
    BatchItems,
    /// Compared responses that match the primary's.
    CompareMatch,
    /// Compared responses with another status.
    CompareStatusMismatch,
    /// Compared responses with the same status and another body.
    CompareBodyMismatch,
    /// Responses that could not be compared.
    CompareNotComparable,
    /// The durations of the primary's compared responses, in milliseconds.
    ComparePrimaryLatencyMs,
    /// The durations of the target's compared responses, in milliseconds.
    CompareTargetLatencyMs,
}

impl Metric {
    /// All metrics, each at its [`Metric::index`].
    pub const ALL: [Self; 45] = [
        Self::Matched,
        Self::Attempts,
        Self::Delivered,
        Self::Inflight,
        Self::Queued,
        Self::QueuedBytes,
        Self::LatencyMs,
        Self::Retries,
        Self::DeadLettered,
        Self::BreakerOpened,
        Self::BreakerState,
        Self::SampledOut,
        Self::BatchItems,
        Self::CompareMatch,
        Self::CompareStatusMismatch,
        Self::CompareBodyMismatch,
        Self::CompareNotComparable,
        Self::ComparePrimaryLatencyMs,
        Self::CompareTargetLatencyMs,
        Self::AttemptFailures(FailureClass::Status4xx),
        Self::AttemptFailures(FailureClass::Status5xx),
        Self::AttemptFailures(FailureClass::StatusOther),
        Self::AttemptFailures(FailureClass::Timeout),
        Self::AttemptFailures(FailureClass::Reset),
        Self::AttemptFailures(FailureClass::ConnectFailure),
        Self::AttemptFailures(FailureClass::OverflowOrNoHost),
        Self::AttemptFailures(FailureClass::NotSent),
        Self::Dropped(DropReason::BodyTooLarge),
        Self::Dropped(DropReason::Truncated),
        Self::Dropped(DropReason::QueueFull),
        Self::Dropped(DropReason::BufferFull),
        Self::Dropped(DropReason::RetriesExhausted),
        Self::Dropped(DropReason::NotRetryable),
        Self::Dropped(DropReason::Expired),
        Self::Dropped(DropReason::UnknownCluster),
        Self::Dropped(DropReason::CircuitOpen),
        Self::Dropped(DropReason::RateLimited),
        Self::Dropped(DropReason::Shutdown),
        Self::Dropped(DropReason::PrimaryFailed),
        Self::Dropped(DropReason::BodyNotJson),
        Self::Dropped(DropReason::GrpcStream),
        Self::Dropped(DropReason::AnsweredEarly),
        Self::Dropped(DropReason::RetryBudget),
        Self::Dropped(DropReason::WorkLimit),
        Self::Dropped(DropReason::UnsafePath),
    ];

    /// The index of the metric in [`Metric::ALL`].
    pub const fn index(self) -> usize {
        match self {
            Self::Matched => 0,
            Self::Attempts => 1,
            Self::Delivered => 2,
            Self::Inflight => 3,
            Self::Queued => 4,
            Self::QueuedBytes => 5,
            Self::LatencyMs => 6,
            Self::Retries => 7,
            Self::DeadLettered => 8,
            Self::BreakerOpened => 9,
            Self::BreakerState => 10,
            Self::SampledOut => 11,
            Self::BatchItems => 12,
            Self::CompareMatch => 13,
            Self::CompareStatusMismatch => 14,
            Self::CompareBodyMismatch => 15,
            Self::CompareNotComparable => 16,
            Self::ComparePrimaryLatencyMs => 17,
            Self::CompareTargetLatencyMs => 18,
            Self::AttemptFailures(cause) => 19 + cause as usize,
            Self::Dropped(reason) => 27 + reason as usize,
        }
    }

    /// The type of the metric.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Inflight | Self::Queued | Self::QueuedBytes | Self::BreakerState => Kind::Gauge,
            Self::LatencyMs | Self::BatchItems | Self::ComparePrimaryLatencyMs | Self::CompareTargetLatencyMs => Kind::Histogram,
            _ => Kind::Counter,
        }
    }

    /// The full name of the metric for a target, without Envoy's prefix.
    pub fn full_name(self, target: &str) -> String {
        let name = match self {
            Self::Matched => "matched",
            Self::Attempts => "attempts",
            Self::Retries => "retries",
            Self::Delivered => "delivered",
            Self::Inflight => "inflight",
            Self::Queued => "queued",
            Self::QueuedBytes => "queued_bytes",
            Self::LatencyMs => "latency_ms",
            Self::DeadLettered => "dead_lettered",
            Self::BreakerOpened => "breaker.opened",
            Self::BreakerState => "breaker.state",
            Self::SampledOut => "sampled_out",
            Self::BatchItems => "batch_items",
            Self::CompareMatch => "compare.match",
            Self::CompareStatusMismatch => "compare.status_mismatch",
            Self::CompareBodyMismatch => "compare.body_mismatch",
            Self::CompareNotComparable => "compare.not_comparable",
            Self::ComparePrimaryLatencyMs => "compare.primary_latency_ms",
            Self::CompareTargetLatencyMs => "compare.target_latency_ms",
            Self::AttemptFailures(cause) => return format!("sidecast.{target}.attempt_failures.{}", cause.name()),
            Self::Dropped(reason) => return format!("sidecast.{target}.dropped.{}", reason.name()),
        };
        format!("sidecast.{target}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_stands_at_its_index() {
        for (index, metric) in Metric::ALL.into_iter().enumerate() {
            assert_eq!(metric.index(), index, "{metric:?}");
        }
    }

    #[test]
    fn names_are_those_users_look_for() {
        assert_eq!(Metric::Delivered.full_name("audit"), "sidecast.audit.delivered");
        assert_eq!(Metric::Dropped(DropReason::BodyTooLarge).full_name("audit"), "sidecast.audit.dropped.body_too_large");
        let failures = Metric::AttemptFailures(FailureClass::OverflowOrNoHost);
        assert_eq!(failures.full_name("audit"), "sidecast.audit.attempt_failures.overflow_or_no_host");
        assert_eq!(Metric::Queued.kind(), Kind::Gauge);
        assert_eq!(Metric::LatencyMs.kind(), Kind::Histogram);
        assert_eq!(Metric::Matched.kind(), Kind::Counter);
    }
}
