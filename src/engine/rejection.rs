//! Why a configuration is not put in force.

use std::fmt::{self, Display, Formatter};

use super::host::HostError;
use crate::config::problem::Problem;

/// One reason to reject a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// The configuration has a problem.
    Invalid(Problem),
    /// This Envoy cannot run the configuration.
    CannotRun(CannotRun),
}

/// Why this Envoy cannot run a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CannotRun {
    /// A `capability_restriction_config` leaves out a host call. `need` says what it is needed for.
    Refused { call: &'static str, need: &'static str, status: Option<HostError> },
    /// Envoy does not define the metrics of a target.
    NoMetrics { target: String, error: HostError },
}

impl CannotRun {
    /// A needed host call that Envoy refuses.
    pub(super) const fn refused(call: &'static str, need: &'static str) -> Self {
        Self::Refused { call, need, status: None }
    }

    /// A needed host call that Envoy refuses with this status.
    pub(super) const fn refused_with(call: &'static str, need: &'static str, status: HostError) -> Self {
        Self::Refused { call, need, status: Some(status) }
    }
}

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self::Invalid(problem)
    }
}

impl From<CannotRun> for Rejection {
    fn from(error: CannotRun) -> Self {
        Self::CannotRun(error)
    }
}

impl std::error::Error for Rejection {}

impl Display for Rejection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(problem) => problem.fmt(f),
            Self::CannotRun(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CannotRun {}

impl Display for CannotRun {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { call, need, status } => {
                write!(
                    f,
                    "capabilities: Envoy refuses the host call {call}, which Sidecast needs for {need}; allow it in capability_restriction_config"
                )?;
                status.map_or(Ok(()), |HostError(status)| write!(f, " (status {status})"))
            }
            Self::NoMetrics { target, error: HostError(status) } => {
                write!(f, "targets: Envoy does not define the metrics of {target:?}: status {status}")
            }
        }
    }
}
