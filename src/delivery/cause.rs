//! Why attempts fail.

use std::borrow::Cow;

use crate::http::grpc;

/// What happened to an attempt. The only list of causes: a host that refuses a call gives one, an attempt ends with one, and from it follow the
/// statistic ([`Cause::failure`]), the word in logs ([`Cause::label`]) and the reason for which a copy is dropped ([`Outcome::drop_reason`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The target responded with this status.
    Status(u16),
    /// The target responded with this gRPC status.
    Grpc(u32),
    /// The target responded with something that is no status.
    InvalidStatus,
    /// The time was up.
    Timeout,
    /// The connection broke, or what came was no HTTP, or was too long.
    Reset,
    /// No connection came about.
    ConnectFailure,
    /// No host of the cluster could be used, or its own thresholds were reached.
    NoHealthyUpstream,
    /// There is no such cluster.
    UnknownCluster,
    /// The request has more headers than Envoy takes.
    HeadersTooLarge,
    /// There is no room for it within the limits; Envoy is not asked.
    NoRoom,
    /// Its path would lead elsewhere than the configuration says; Envoy is not asked.
    UnsafePath,
    /// The host returned a status that it does not document.
    HostError,
}

impl Cause {
    /// The status of the target's response, if there was one; that of HTTP which a gRPC status stands for.
    pub fn status(self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status),
            Self::Grpc(code) => Some(grpc::http_status(code)),
            _ => None,
        }
    }

    /// What it counts as, where it is a failure.
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

    /// The word for it in logs.
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

/// Why an attempt failed, as far as it matters to whoever has to mend it. Log lines are more precise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The target responded with 4xx.
    Status4xx,
    /// The target responded with 5xx.
    Status5xx,
    /// The target responded with another status that is no success, or with none.
    StatusOther,
    /// The time was up.
    Timeout,
    /// The connection broke.
    Reset,
    /// No connection came about.
    ConnectFailure,
    /// Envoy refused the call: a threshold of the cluster is reached, or the cluster has no healthy host. Envoy does not tell which.
    OverflowOrNoHost,
    /// The call could not be made at all.
    NotSent,
}

impl FailureClass {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Status4xx,
        Self::Status5xx,
        Self::StatusOther,
        Self::Timeout,
        Self::Reset,
        Self::ConnectFailure,
        Self::OverflowOrNoHost,
        Self::NotSent,
    ];

    /// The cause as it stands in names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Status4xx => "status_4xx",
            Self::Status5xx => "status_5xx",
            Self::StatusOther => "status_other",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::ConnectFailure => "connect_failure",
            Self::OverflowOrNoHost => "overflow_or_no_host",
            Self::NotSent => "not_sent",
        }
    }
}
