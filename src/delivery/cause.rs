//! The causes of failed attempts.

use std::borrow::Cow;

use crate::http::grpc;

/// How an attempt ended. This is the only list of causes: a refused host call gives one, and each attempt ends with one. The metric
/// ([`Cause::failure`]), the word in logs ([`Cause::label`]) and the drop reason ([`Outcome::drop_reason`](super::outcome::Outcome::drop_reason))
/// follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The target responded with this status.
    Status(u16),
    /// The target responded with this gRPC status.
    Grpc(u32),
    /// The target responded with an invalid `:status`.
    InvalidStatus,
    /// The attempt timed out.
    Timeout,
    /// The connection broke, or the response was not HTTP or was too long.
    Reset,
    /// No connection could be made.
    ConnectFailure,
    /// No host of the cluster was healthy, or a threshold of the cluster was reached.
    NoHealthyUpstream,
    /// Envoy has no such cluster.
    UnknownCluster,
    /// The request has more headers than Envoy accepts.
    HeadersTooLarge,
    /// A limit leaves no room for the call. Envoy was not called.
    NoRoom,
    /// A value in the path could lead to another path than the configured one. Envoy was not called.
    UnsafePath,
    /// The host returned a status that it does not document.
    HostError,
}

impl Cause {
    /// The status of the target's response. A gRPC status becomes the HTTP status that it corresponds to. `None` if there was no response.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Grpc(code) => Some(grpc::http_status(code)),
            _ => None,
        }
    }

    /// The failure class under which metrics count this cause, if it is a failure.
    pub fn failure(self) -> FailureClass {
        match self {
            Self::Status(_) | Self::Grpc(_) => match self.status() {
                Some(400..=499) => FailureClass::Status4xx,
                Some(500..=599) => FailureClass::Status5xx,
                _ => FailureClass::StatusOther,
            },
            Self::InvalidStatus => FailureClass::StatusOther,
            Self::Timeout => FailureClass::Timeout,
            Self::Reset => FailureClass::Reset,
            Self::ConnectFailure => FailureClass::ConnectFailure,
            Self::NoHealthyUpstream => FailureClass::OverflowOrNoHost,
            Self::UnknownCluster | Self::HeadersTooLarge | Self::NoRoom | Self::UnsafePath | Self::HostError => {
                FailureClass::NotSent
            }
        }
    }

    /// The word in logs.
    pub fn label(self) -> Cow<'static, str> {
        match self {
            Self::Status(status) => format!("status_{status}").into(),
            Self::Grpc(code) => format!("grpc_{code}").into(),
            Self::InvalidStatus => "invalid_status".into(),
            Self::Timeout => "timeout".into(),
            Self::Reset => "reset".into(),
            Self::ConnectFailure => "connect_failure".into(),
            Self::NoHealthyUpstream => "no_healthy_upstream".into(),
            Self::UnknownCluster => "unknown_cluster".into(),
            Self::HeadersTooLarge => "headers_too_large".into(),
            Self::NoRoom => "no_room".into(),
            Self::UnsafePath => "unsafe_path".into(),
            Self::HostError => "host_error".into(),
        }
    }
}

named! {
    /// The class of a failure, as metrics count it. Log lines are more precise.
    FailureClass {
        /// The target responded with a 4xx status.
        Status4xx: "status_4xx",
        /// The target responded with a 5xx status.
        Status5xx: "status_5xx",
        /// The target responded with another status that is not a success, or with an invalid one.
        StatusOther: "status_other",
        /// The attempt timed out.
        Timeout: "timeout",
        /// The connection broke.
        Reset: "reset",
        /// No connection could be made.
        ConnectFailure: "connect_failure",
        /// Envoy refused the call: a threshold of the cluster is reached, or the cluster has no healthy host. Envoy does not tell which.
        OverflowOrNoHost: "overflow_or_no_host",
        /// The call could not be made at all.
        NotSent: "not_sent",
    }
}
