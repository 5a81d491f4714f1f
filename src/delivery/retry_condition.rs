//! The conditions of `retry.on`: which failures are retryable. A new condition is added here, and its
//! word in `config::raw_delivery` and `config::schema`.

use crate::delivery::cause::Cause;
use crate::http::status::StatusPattern;

/// A failure that is retryable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// A response with this status.
    Status(StatusPattern),
    /// The connection broke.
    Reset,
    /// The attempt timed out.
    Timeout,
    /// No connection could be made.
    ConnectFailure,
    /// No host of the cluster was healthy, or a threshold of the cluster was reached.
    NoHealthyUpstream,
}

impl RetryOn {
    /// The default conditions: failures that usually pass by themselves.
    pub fn defaults() -> Vec<Self> {
        let server_errors = Self::Status(StatusPattern::class(5));
        let too_many_requests = Self::Status(StatusPattern::one(429));
        vec![server_errors, too_many_requests, Self::Reset, Self::Timeout, Self::ConnectFailure, Self::NoHealthyUpstream]
    }

    pub(super) fn covers(self, cause: Cause) -> bool {
        match (self, cause) {
            (Self::Status(pattern), cause) => cause.status().is_some_and(|status| pattern.covers(status)),
            (Self::Reset, Cause::Reset)
            | (Self::Timeout, Cause::Timeout)
            | (Self::ConnectFailure, Cause::ConnectFailure)
            | (Self::NoHealthyUpstream, Cause::NoHealthyUpstream) => true,
            _ => false,
        }
    }
}
