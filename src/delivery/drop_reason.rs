//! The reasons for which copies are dropped. To add a reason, add it here: its metric and its log line follow from its name.

use crate::json::Unread;
use crate::rewrite::shape::Unfit;

/// Why a matched request was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The body is longer than `limits.max_body_bytes`.
    BodyTooLarge,
    /// The client left before the request was complete.
    Truncated,
    /// The target's queue was full.
    QueueFull,
    /// The worker's byte budget was used up.
    BufferFull,
    /// The last attempt failed with a retryable cause.
    RetriesExhausted,
    /// An attempt failed with a cause that is not retryable.
    NotRetryable,
    /// The request got older than `retry.expire_after`.
    Expired,
    /// Envoy has no such cluster.
    UnknownCluster,
    /// The target's circuit breaker was open.
    CircuitOpen,
    /// The target's rate limit was exhausted.
    RateLimited,
    /// The filter that held the request shut down.
    Shutdown,
    /// The primary did not respond with a status that the target waits for.
    PrimaryFailed,
    /// The body must be read, and is not JSON.
    BodyNotJson,
    /// It is a gRPC request with more than one message.
    GrpcStream,
    /// The primary or Envoy responded before the body was complete.
    AnsweredEarly,
    /// An attempt failed with a retryable cause, and the target's retry budget was used up.
    RetryBudget,
    /// The request takes more work than `limits.max_work_bytes`.
    WorkLimit,
    /// A value in the path could lead to another path than the configured one.
    UnsafePath,
}

impl DropReason {
    /// The name of the reason in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "body_too_large",
            Self::Truncated => "truncated",
            Self::QueueFull => "queue_full",
            Self::BufferFull => "buffer_full",
            Self::RetriesExhausted => "retries_exhausted",
            Self::NotRetryable => "not_retryable",
            Self::Expired => "expired",
            Self::UnknownCluster => "unknown_cluster",
            Self::CircuitOpen => "circuit_open",
            Self::RateLimited => "rate_limited",
            Self::Shutdown => "shutdown",
            Self::PrimaryFailed => "primary_failed",
            Self::BodyNotJson => "body_not_json",
            Self::GrpcStream => "grpc_stream",
            Self::AnsweredEarly => "answered_early",
            Self::RetryBudget => "retry_budget",
            Self::WorkLimit => "work_limit",
            Self::UnsafePath => "unsafe_path",
        }
    }
}

impl From<Unread> for DropReason {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::NotJson => Self::BodyNotJson,
            Unread::TooMuchWork => Self::WorkLimit,
        }
    }
}

impl DropReason {
    /// The reason to drop a request that cannot be shaped for its target, without an attempt. `None` if it counts as a failed attempt.
    pub const fn of_unfit(unfit: Unfit) -> Option<Self> {
        match unfit {
            Unfit::BodyNotJson => Some(Self::BodyNotJson),
            Unfit::TooMuchWork => Some(Self::WorkLimit),
            Unfit::UnsafePath => Some(Self::UnsafePath),
            Unfit::HeadersTooLarge => None,
        }
    }
}
