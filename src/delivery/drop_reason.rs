//! The reasons for which copies are dropped. To add a reason, add it here: its metric and its log line follow. Which reasons
//! lead to dead letters is the list of `dead_letter.on` in `config::raw_delivery`.

use crate::json::Unread;
use crate::rewrite::shape::Unfit;

named! {
    /// Why a matched request was not delivered.
    DropReason {
        /// The body is longer than `limits.max_body_bytes`.
        BodyTooLarge: "body_too_large",
        /// The client left before the request was complete.
        Truncated: "truncated",
        /// The target's queue was full.
        QueueFull: "queue_full",
        /// The worker's byte budget was used up.
        BufferFull: "buffer_full",
        /// The last attempt failed with a retryable cause.
        RetriesExhausted: "retries_exhausted",
        /// An attempt failed with a cause that is not retryable.
        NotRetryable: "not_retryable",
        /// The request got older than `retry.expire_after`.
        Expired: "expired",
        /// Envoy has no such cluster.
        UnknownCluster: "unknown_cluster",
        /// The target's circuit breaker was open.
        CircuitOpen: "circuit_open",
        /// The target's rate limit was exhausted.
        RateLimited: "rate_limited",
        /// The filter that held the request shut down.
        Shutdown: "shutdown",
        /// The body must be read, and is not JSON.
        BodyNotJson: "body_not_json",
        /// It is a gRPC request with more than one message.
        GrpcStream: "grpc_stream",
        /// The primary or Envoy responded before the body was complete.
        AnsweredEarly: "answered_early",
        /// An attempt failed with a retryable cause, and the target's retry budget was used up.
        RetryBudget: "retry_budget",
        /// The request takes more work than `limits.max_work_bytes`.
        WorkLimit: "work_limit",
        /// A value in the path could lead to another path than the configured one.
        UnsafePath: "unsafe_path",
        /// An expression reads the body of a response that is longer than `limits.max_body_bytes`.
        ResponseTooLarge: "response_too_large",
        /// An expression reads the body of a response, and it is not JSON.
        ResponseNotJson: "response_not_json",
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
            Unfit::ResponseTooLarge => Some(Self::ResponseTooLarge),
            Unfit::ResponseNotJson => Some(Self::ResponseNotJson),
            Unfit::NoRoomForResponse => Some(Self::BufferFull),
            Unfit::HeadersTooLarge => None,
        }
    }
}
