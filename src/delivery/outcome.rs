//! Outcomes of attempts: judges the end of a call-out as delivered, retryable, or permanent.

use std::time::Duration;

use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::retry_condition::RetryOn;
use crate::http::status::StatusPattern;

/// Envoy starts a timer from the time at which its event loop woke up. By the clock, a timer may end this much early.
const TIMER_SLACK: Duration = Duration::from_millis(20);

/// How a call-out ended, as the host reports it.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A response came.
    Response {
        /// The `:status`. `None` if it is not a number.
        status: Option<u16>,
        /// True if the response carries `x-envoy-upstream-service-time`. Envoy adds it to responses of an upstream, but not to local replies.
        from_upstream: bool,
        /// The beginning of the body, or of `grpc-message`. Read only if Envoy made the response itself.
        text: &'a [u8],
        /// The `grpc-status` of a response to a gRPC request. `None` for other requests, and for responses with another HTTP status than 200.
        grpc: Option<u32>,
    },
    /// A callback without headers: Envoy's timer ran out, or the connection broke after the response had begun, or the response was too long for
    /// Envoy to buffer.
    NoResponse {
        /// The time since the start of the attempt.
        elapsed: Duration,
        /// The timeout of the attempt.
        timeout: Duration,
    },
    /// No call was made.
    NotSent(Cause),
}

/// How an attempt ended, and what that means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The consequence for the delivery.
    pub verdict: Verdict,
    /// What happened.
    pub cause: Cause,
}

impl Outcome {
    /// The outcome of a status that the host does not document.
    pub const HOST_ERROR: Self = Self { verdict: Verdict::Permanent, cause: Cause::HostError };

    /// The drop reason of a delivery whose last attempt failed like this.
    pub fn drop_reason(self) -> DropReason {
        match (self.verdict, self.cause) {
            (Verdict::Retryable, _) => DropReason::RetriesExhausted,
            (_, Cause::UnknownCluster) => DropReason::UnknownCluster,
            _ => DropReason::NotRetryable,
        }
    }
}

/// The consequence of an outcome for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The delivery is done.
    Delivered,
    /// Another attempt may succeed.
    Retryable,
    /// Another attempt would fail, too.
    Permanent,
}

/// How a target's responses are judged.
#[derive(Clone, Debug)]
pub struct Policy {
    success: Vec<StatusPattern>,
    retry_on: Vec<RetryOn>,
    failures: Vec<StatusPattern>,
}

impl Policy {
    /// Creates a policy. Responses with a status in `success` count as delivered. Failures in `retry_on` are retryable. For the circuit breaker,
    /// responses with a status in `failures` count as failures of the target.
    pub fn new(success: Vec<StatusPattern>, retry_on: Vec<RetryOn>, failures: Vec<StatusPattern>) -> Self {
        Self { success, retry_on, failures }
    }

    /// Whether the target failed, for its circuit breaker: by its status, or because it did not respond. `None` if the outcome says nothing about
    /// the target. A delivered attempt is never a failure, whatever its status.
    pub fn target_failed(&self, outcome: Outcome) -> Option<bool> {
        match (outcome.verdict, outcome.cause) {
            (Verdict::Delivered, _) => Some(false),
            // A status outside of 100 to 599 counts as no response.
            (_, cause @ (Cause::Status(_) | Cause::Grpc(_))) => cause
                .status()
                .map(|status| !(100..600).contains(&status) || self.failures.iter().any(|pattern| pattern.covers(status))),
            (_, Cause::InvalidStatus | Cause::Timeout | Cause::Reset | Cause::ConnectFailure | Cause::NoHealthyUpstream) => {
                Some(true)
            }
            (_, Cause::UnknownCluster | Cause::HeadersTooLarge | Cause::NoRoom | Cause::UnsafePath | Cause::HostError) => None,
        }
    }

    /// Judges the end of a call-out. A local reply of Envoy never counts as delivered, whatever its status.
    pub fn judge(&self, end: End<'_>) -> Outcome {
        let cause = match end {
            End::Response { status: None, .. } => Cause::InvalidStatus,
            End::Response { status: Some(status), from_upstream, text, grpc } => {
                let response = grpc.map_or(Cause::Status(status), Cause::Grpc);
                // In responses to gRPC requests, Envoy puts its own status into `grpc-status`.
                let status = response.status().unwrap_or(status);
                made_by_envoy(status, from_upstream, text).unwrap_or(response)
            }
            End::NoResponse { elapsed, timeout } if elapsed.saturating_add(TIMER_SLACK) >= timeout => Cause::Timeout,
            End::NoResponse { .. } => Cause::Reset,
            End::NotSent(cause) => cause,
        };
        Outcome { verdict: self.verdict(cause), cause }
    }

    fn succeeds(&self, cause: Cause) -> bool {
        cause.status().is_some_and(|status| self.success.iter().any(|pattern| pattern.covers(status)))
    }

    fn verdict(&self, cause: Cause) -> Verdict {
        match cause {
            cause if self.succeeds(cause) => Verdict::Delivered,
            _ if self.retry_on.iter().any(|failure| failure.covers(cause)) => Verdict::Retryable,
            _ => Verdict::Permanent,
        }
    }
}

/// True for the statuses of Envoy's local replies.
pub fn may_be_made_by_envoy(status: u16) -> bool {
    matches!(status, 502..=504)
}

/// The cause that a local reply of Envoy stands for: 504 for a timeout, 503 for no connection or a broken one, 502 for a response that was not HTTP
/// (`source/common/router/router.cc`). Its body names the reset.
fn made_by_envoy(status: u16, from_upstream: bool, text: &[u8]) -> Option<Cause> {
    if from_upstream || !may_be_made_by_envoy(status) {
        return None;
    }
    let says = |words: &str| text.windows(words.len()).any(|window| window == words.as_bytes());
    Some(match status {
        504 => Cause::Timeout,
        _ if says("request timeout") => Cause::Timeout,
        _ if says("connection failure") || says("connection timeout") => Cause::ConnectFailure,
        _ if says("no healthy upstream") || says("overflow") => Cause::NoHealthyUpstream,
        _ => Cause::Reset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(success: &[&str], failures: &[&str]) -> Policy {
        let patterns = |texts: &[&str]| texts.iter().map(|text| StatusPattern::parse(text).unwrap()).collect();
        Policy::new(patterns(success), RetryOn::defaults(), patterns(failures))
    }

    fn judge(success: &[&str], end: End<'_>) -> Outcome {
        policy(success, &["5xx", "429"]).judge(end)
    }

    fn upstream(status: u16) -> End<'static> {
        End::Response { status: Some(status), from_upstream: true, text: b"", grpc: None }
    }

    fn envoy(status: u16, text: &'static str) -> End<'static> {
        End::Response { status: Some(status), from_upstream: false, text: text.as_bytes(), grpc: None }
    }

    fn grpc(code: u32, from_upstream: bool, text: &'static str) -> End<'static> {
        End::Response { status: Some(200), from_upstream, text: text.as_bytes(), grpc: Some(code) }
    }

    fn cut(elapsed_ms: u64, timeout_ms: u64) -> End<'static> {
        End::NoResponse { elapsed: Duration::from_millis(elapsed_ms), timeout: Duration::from_millis(timeout_ms) }
    }

    macro_rules! cases {
        ($($name:ident: $end:expr => $verdict:ident, $cause:expr;)*) => {
            $(#[test] fn $name() {
                assert_eq!(judge(&["2xx", "3xx"], $end), Outcome { verdict: Verdict::$verdict, cause: $cause });
            })*
        };
    }

    cases! {
        a_success_is_delivered: upstream(204) => Delivered, Cause::Status(204);
        a_redirect_is_delivered: upstream(301) => Delivered, Cause::Status(301);
        a_client_error_is_final: upstream(404) => Permanent, Cause::Status(404);
        too_many_requests_is_worth_a_try: upstream(429) => Retryable, Cause::Status(429);
        a_server_error_is_worth_a_try: upstream(500) => Retryable, Cause::Status(500);
        the_targets_own_503_is_its_response: upstream(503) => Retryable, Cause::Status(503);
        the_targets_own_504_is_no_timeout: upstream(504) => Retryable, Cause::Status(504);
        a_refused_connection: envoy(503, "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure") => Retryable, Cause::ConnectFailure;
        a_connection_that_takes_too_long: envoy(503, "upstream connect error or disconnect/reset before headers. reset reason: connection timeout") => Retryable, Cause::ConnectFailure;
        a_reset_before_headers: envoy(503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination") => Retryable, Cause::Reset;
        the_clusters_thresholds: envoy(503, "upstream connect error or disconnect/reset before headers. reset reason: overflow") => Retryable, Cause::NoHealthyUpstream;
        no_host: envoy(503, "no healthy upstream") => Retryable, Cause::NoHealthyUpstream;
        garbage: envoy(502, "upstream connect error or disconnect/reset before headers. reset reason: protocol error") => Retryable, Cause::Reset;
        a_timeout_before_headers: envoy(504, "upstream request timeout") => Retryable, Cause::Timeout;
        a_timeout_after_headers: cut(2_000, 2_000) => Retryable, Cause::Timeout;
        a_timer_that_ends_early: cut(1_980, 2_000) => Retryable, Cause::Timeout;
        a_reset_after_headers: cut(1_979, 2_000) => Retryable, Cause::Reset;
        a_grpc_call_that_went_well: grpc(0, true, "") => Delivered, Cause::Grpc(0);
        a_grpc_service_that_is_unavailable: grpc(14, true, "") => Retryable, Cause::Grpc(14);
        a_grpc_service_that_has_enough: grpc(8, true, "") => Retryable, Cause::Grpc(8);
        a_grpc_argument_that_is_invalid: grpc(3, true, "") => Permanent, Cause::Grpc(3);
        a_grpc_deadline_that_the_service_saw: grpc(4, true, "") => Retryable, Cause::Grpc(4);
        a_grpc_connection_that_is_refused: grpc(14, false, "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure") => Retryable, Cause::ConnectFailure;
        a_grpc_timeout_of_envoys: grpc(14, false, "upstream request timeout") => Retryable, Cause::Timeout;
        a_grpc_cluster_without_hosts: grpc(14, false, "no healthy upstream") => Retryable, Cause::NoHealthyUpstream;
        an_unknown_cluster: End::NotSent(Cause::UnknownCluster) => Permanent, Cause::UnknownCluster;
        a_cluster_without_hosts: End::NotSent(Cause::NoHealthyUpstream) => Retryable, Cause::NoHealthyUpstream;
        too_many_headers: End::NotSent(Cause::HeadersTooLarge) => Permanent, Cause::HeadersTooLarge;
        a_host_that_surprises: End::NotSent(Cause::HostError) => Permanent, Cause::HostError;
        a_response_without_a_status: End::Response { status: None, from_upstream: true, text: b"", grpc: None } => Permanent, Cause::InvalidStatus;
    }

    #[test]
    fn a_breaker_is_told_what_the_target_did_and_nothing_else() {
        let policy = policy(&["2xx", "503"], &["5xx", "429"]);
        let failure = |end| policy.target_failed(policy.judge(end));
        for (status, failed) in [
            (200, false),
            (404, false),
            (428, false),
            (429, true),
            (499, false),
            (500, true),
            (599, true),
            (600, true),
            (999, true),
        ] {
            assert_eq!(failure(upstream(status)), Some(failed), "{status}");
        }
        assert_eq!(failure(upstream(503)), Some(false), "what counts as delivered");
        assert_eq!(failure(envoy(503, "connection failure")), Some(true));
        assert_eq!((failure(cut(2_000, 2_000)), failure(cut(1, 2_000))), (Some(true), Some(true)));
        assert_eq!(failure(End::NotSent(Cause::NoHealthyUpstream)), Some(true));
        for refusal in [Cause::UnknownCluster, Cause::HeadersTooLarge, Cause::HostError] {
            assert_eq!(failure(End::NotSent(refusal)), None, "{refusal:?}");
        }
    }

    #[test]
    fn which_responses_are_failures_can_be_said() {
        let policy = policy(&["2xx", "404"], &["4xx"]);
        let failure = |end| policy.target_failed(policy.judge(end));
        for (status, failed) in [(200, false), (401, true), (404, false), (410, true), (429, true), (500, false)] {
            assert_eq!(failure(upstream(status)), Some(failed), "{status}");
        }
        assert_eq!(failure(grpc(16, true, "")), Some(true), "UNAUTHENTICATED stands for 401");
        assert_eq!(failure(grpc(13, true, "")), Some(false), "INTERNAL stands for 500");
        assert_eq!(failure(envoy(503, "connection failure")), Some(true), "no response is a failure in any case");
    }

    #[test]
    fn a_log_tells_statuses_of_http_from_those_of_grpc() {
        let label = |end| judge(&["2xx"], end).cause.label().into_owned();
        assert_eq!(label(upstream(204)), "status_204");
        assert_eq!(label(grpc(14, true, "")), "grpc_14");
        assert_eq!(label(grpc(0, true, "")), "grpc_0");
        assert_eq!(label(cut(2_000, 2_000)), "timeout");
    }

    #[test]
    fn a_failure_is_given_up_for_its_reason() {
        let reason = |end| judge(&["2xx"], end).drop_reason();
        assert_eq!(reason(upstream(503)), DropReason::RetriesExhausted);
        assert_eq!(reason(upstream(404)), DropReason::NotRetryable);
        assert_eq!(reason(End::NotSent(Cause::UnknownCluster)), DropReason::UnknownCluster);
    }

    #[test]
    fn what_may_pass_can_be_said() {
        let success = vec![StatusPattern::class(2)];
        let policy = Policy::new(success, vec![RetryOn::Status(StatusPattern::one(404)), RetryOn::Timeout], Vec::new());
        assert_eq!(policy.judge(upstream(404)).verdict, Verdict::Retryable);
        assert_eq!(policy.judge(envoy(504, "")).verdict, Verdict::Retryable);
        assert_eq!(policy.judge(upstream(503)).verdict, Verdict::Permanent);
        assert_eq!(policy.judge(cut(1, 2_000)).verdict, Verdict::Permanent);
    }

    #[test]
    fn a_response_of_envoys_own_is_never_delivered() {
        assert_eq!(judge(&["503", "504"], envoy(503, "")).verdict, Verdict::Retryable);
        assert_eq!(judge(&["503", "504"], envoy(504, "")).verdict, Verdict::Retryable);
        assert_eq!(judge(&["503"], upstream(503)).verdict, Verdict::Delivered);
    }

    #[test]
    fn what_counts_as_success_can_be_said() {
        assert_eq!(judge(&["404"], upstream(404)).verdict, Verdict::Delivered);
        assert_eq!(judge(&["404"], upstream(200)).verdict, Verdict::Permanent);
    }
}
