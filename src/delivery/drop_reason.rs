//! Why copies are dropped. A new reason is added here; its statistic and its log line follow from its name.

use crate::json::Unread;
use crate::rewrite::shape::Unfit;

/// Why a matched request was not delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Its body is longer than `limits.max_body_bytes`.
    BodyTooLarge,
    /// The client left before it was complete.
    Truncated,
    /// The target's queue had no place.
    QueueFull,
    /// The worker's bytes were used up.
    BufferFull,
    /// The last attempt failed in a way that might have passed.
    RetriesExhausted,
    /// An attempt failed for good.
    NotRetryable,
    /// It got older than `retry.expire_after`.
    Expired,
    /// Envoy knows no such cluster.
    UnknownCluster,
    /// The target's circuit breaker was open.
    CircuitOpen,
    /// The target's rate was used up.
    RateLimited,
    /// The filter that held it went away.
    Shutdown,
    /// The primary gave no response of the kind that the target waits for.
    PrimaryFailed,
    /// Its body is no JSON, and has to be read.
    BodyNotJson,
    /// It is a gRPC request with more than one message.
    GrpcStream,
    /// It was answered, by Envoy or by the primary, before its body was complete.
    AnsweredEarly,
    /// An attempt failed in a way that might have passed, and the target's retry budget was used up.
    RetryBudget,
    /// It takes more work than `limits.max_work_bytes`.
    WorkLimit,
    /// The path that its target asks for would lead elsewhere.
    UnsafePath,
}

impl DropReason {
    /// The reason as it stands in names and logs.
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
    /// Why a request is given up without an attempt that cannot be made what its target asks for; none if it fails like an attempt.
    pub const fn of_unfit(unfit: Unfit) -> Option<Self> {
        match unfit {
            Unfit::BodyNotJson => Some(Self::BodyNotJson),
            Unfit::TooMuchWork => Some(Self::WorkLimit),
            Unfit::UnsafePath => Some(Self::UnsafePath),
            Unfit::HeadersTooLarge => None,
        }
    }
}
