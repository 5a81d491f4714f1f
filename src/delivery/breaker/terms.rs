//! Breaker inputs and outputs.

use std::time::Duration;

use crate::delivery::outcome::{Outcome, Policy};

/// When a breaker opens, and how it closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// This many failures in a row open it. 0 turns the condition off.
    pub consecutive_failures: u32,
    /// This share of failures opens it, in percent.
    pub failure_percent: f64,
    /// The time over which shares are counted; at least 10 ms.
    pub window: Duration,
    /// Shares count from this many attempts in the window.
    pub min_requests: u32,
    /// Which attempts are slow, and the share of them that opens it. `None` turns the condition off.
    pub slow_call: Option<SlowCall>,
    /// How long it stays open the first time.
    pub open_for: Duration,
    /// How long it stays open at most.
    pub max_open_for: Duration,
    /// The most probes in flight, over all workers.
    pub probes: u32,
    /// This many successful probes close it.
    pub successes: u32,
    /// It decides and counts, but lets every attempt pass.
    pub observe: bool,
    /// The timeout of an attempt. A probe that has not ended by then is lost.
    pub timeout: Duration,
}

/// What makes a target too slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowCall {
    /// A call that takes longer is slow.
    pub longer_than: Duration,
    /// This share of slow calls opens the breaker, in percent.
    pub percent: f64,
}

/// The state of a breaker. The numbers are the values of its gauge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything passes.
    Closed = 0,
    /// Probes pass.
    HalfOpen = 1,
    /// Nothing passes.
    Open = 2,
}

/// Why a breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// Consecutive failures.
    ConsecutiveFailures,
    /// The share of failures.
    FailureRate,
    /// The share of slow calls.
    SlowCalls,
    /// A probe failed.
    ProbeFailed,
}

impl Trip {
    /// The word for it in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::FailureRate => "failure_rate",
            Self::SlowCalls => "slow_calls",
            Self::ProbeFailed => "probe_failed",
        }
    }
}

/// A change of state that this worker made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It opened for this time.
    Opened(Trip, Duration),
    /// Its open time was over.
    HalfOpened,
    /// Enough probes succeeded.
    Closed,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may. [`super::Breaker::settle`] must be told how it ends.
    Pass(Permit),
    /// It may not.
    Deny(Wait),
}

/// How long a denied attempt has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The breaker is open, and stays so for this time.
    Open(Duration),
    /// All probes are in flight. Within this time one ends or counts as lost; the breaker may change at any moment before that.
    Probes(Duration),
}

/// What the next attempt would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// All attempts may be made.
    Closed,
    /// One may be made, as a probe.
    Probe,
    /// None may be made.
    Denied(Wait),
}

/// The right to make one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Its outcome does not count.
    Unseen,
    /// Its outcome counts as long as the breaker is of this generation.
    Counted(u32),
    /// A probe, of this generation.
    Probe(u32),
}

/// How an attempt ended, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The target failed.
    pub failed: bool,
    /// How long it took.
    pub elapsed: Duration,
}

impl Sample {
    /// What an outcome says about its target by the target's policy. `None` if it says nothing, such as an unknown cluster.
    pub fn of(policy: &Policy, outcome: Outcome, elapsed: Duration) -> Option<Self> {
        Some(Self { failed: policy.target_failed(outcome)?, elapsed })
    }
}
