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

/// Metrics with their names and types, and those that have one for each cause or reason.
macro_rules! metrics {
    ($($(#[$doc:meta])* $metric:ident: $name:literal, $kind:ident;)*) => {
        /// All metrics of a target.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric {
            $($(#[$doc])* $metric,)*
            /// Failed attempts, by cause.
            AttemptFailures(FailureClass),
            /// Requests dropped, by reason.
            Dropped(DropReason),
        }

        /// The places of the metrics that are neither by cause nor by reason.
        #[derive(Clone, Copy)]
        enum Place {
            $($metric,)*
            Count,
        }

        impl Metric {
            const PLAIN: [Self; Place::Count as usize] = [$(Self::$metric,)*];

            /// The index of the metric in [`Metric::ALL`].
            pub const fn index(self) -> usize {
                match self {
                    $(Self::$metric => Place::$metric as usize,)*
                    Self::AttemptFailures(cause) => Self::PLAIN.len() + cause as usize,
                    Self::Dropped(reason) => Self::PLAIN.len() + FailureClass::ALL.len() + reason as usize,
                }
            }

            /// The type of the metric.
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$metric => Kind::$kind,)*
                    Self::AttemptFailures(_) | Self::Dropped(_) => Kind::Counter,
                }
            }

            /// The full name of the metric for a target, without Envoy's prefix.
            pub fn full_name(self, target: &str) -> String {
                match self {
                    $(Self::$metric => format!("sidecast.{target}.{}", $name),)*
                    Self::AttemptFailures(cause) => format!("sidecast.{target}.attempt_failures.{}", cause.name()),
                    Self::Dropped(reason) => format!("sidecast.{target}.dropped.{}", reason.name()),
                }
            }
        }
    };
}

metrics! {
    /// Requests that the target wants.
    Matched: "matched", Counter;
    /// Attempts made.
    Attempts: "attempts", Counter;
    /// Requests delivered.
    Delivered: "delivered", Counter;
    /// Calls in flight.
    Inflight: "inflight", Gauge;
    /// Copies that wait.
    Queued: "queued", Gauge;
    /// Bytes of the copies that wait.
    QueuedBytes: "queued_bytes", Gauge;
    /// The durations of attempts, in milliseconds.
    LatencyMs: "latency_ms", Histogram;
    /// Attempts after the first.
    Retries: "retries", Counter;
    /// Requests that were given up and delivered as dead letters.
    DeadLettered: "dead_lettered", Counter;
    /// How often the circuit breaker opened.
    BreakerOpened: "breaker.opened", Counter;
    /// The state of the circuit breaker: 0 closed, 1 half-open, 2 open.
    BreakerState: "breaker.state", Gauge;
    /// Wanted requests that the target's sample leaves out.
    SampledOut: "sampled_out", Counter;
    /// Wanted requests whose copy was not due: what it waits for did not happen.
    NotTriggered: "not_triggered", Counter;
    /// The number of items in each batch on its first attempt.
    BatchItems: "batch_items", Histogram;
    /// Compared responses that match the primary's.
    CompareMatch: "compare.match", Counter;
    /// Compared responses with another status.
    CompareStatusMismatch: "compare.status_mismatch", Counter;
    /// Compared responses with the same status and another body.
    CompareBodyMismatch: "compare.body_mismatch", Counter;
    /// Responses that could not be compared.
    CompareNotComparable: "compare.not_comparable", Counter;
    /// The durations of the primary's compared responses, in milliseconds.
    ComparePrimaryLatencyMs: "compare.primary_latency_ms", Histogram;
    /// The durations of the target's compared responses, in milliseconds.
    CompareTargetLatencyMs: "compare.target_latency_ms", Histogram;
}

impl Metric {
    /// All metrics, each at its [`Metric::index`].
    pub const ALL: [Self; Self::PLAIN.len() + FailureClass::ALL.len() + DropReason::ALL.len()] = Self::all();

    // The compiler runs this, and would not compile an index that is out of bounds.
    #[allow(clippy::indexing_slicing)]
    const fn all() -> [Self; Self::PLAIN.len() + FailureClass::ALL.len() + DropReason::ALL.len()] {
        let mut all = [Self::Matched; Self::PLAIN.len() + FailureClass::ALL.len() + DropReason::ALL.len()];
        let mut next = 0;
        while next < all.len() {
            let of_cause = next.saturating_sub(Self::PLAIN.len());
            let of_reason = of_cause.saturating_sub(FailureClass::ALL.len());
            all[next] = if next < Self::PLAIN.len() {
                Self::PLAIN[next]
            } else if of_cause < FailureClass::ALL.len() {
                Self::AttemptFailures(FailureClass::ALL[of_cause])
            } else {
                Self::Dropped(DropReason::ALL[of_reason])
            };
            next += 1;
        }
        all
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
