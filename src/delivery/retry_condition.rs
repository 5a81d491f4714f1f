//! Which failures may pass by themselves: the conditions of `retry.on`. A new condition is added here.

use crate::delivery::cause::Cause;
use crate::http::status::StatusPattern;

/// A failure after which another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// A response of this status.
    Status(StatusPattern),
    /// The connection broke.
    Reset,
    /// The time was up.
    Timeout,
    /// No connection came about.
    ConnectFailure,
    /// No host could be used.
    NoHealthyUpstream,
}

impl RetryOn {
    /// All that passes by itself as a rule.
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
