//! Breaker inputs and outputs.

use std::time::Duration;

use crate::delivery::outcome::{Outcome, Policy};

/// When a breaker opens, and how it closes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Failures in a row that open it; 0: not used.
    pub consecutive_failures: u32,
    /// The share of failures that opens it, of a hundred.
    pub failure_percent: f64,
    /// The time over which shares are counted; at least 10 ms.
    pub window: Duration,
    /// Shares of fewer requests open nothing.
    pub min_requests: u32,
    /// What calls are slow, and the share of them that opens it; none: slowness opens nothing.
    pub slow_call: Option<SlowCall>,
    /// How long it stays open the first time.
    pub open_for: Duration,
    /// How long it stays open at most.
    pub max_open_for: Duration,
    /// Probes under way at once, over all workers.
    pub probes: u32,
    /// Probes that must succeed to close it.
    pub successes: u32,
    /// It decides and counts, and lets everything pass.
    pub observe: bool,
    /// What an attempt may take.
    pub timeout: Duration,
}

/// What makes a target too slow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowCall {
    /// A call that takes longer is slow.
    pub longer_than: Duration,
    /// The share of slow calls that opens the breaker, of a hundred.
    pub percent: f64,
}

/// Where a breaker stands. The numbers are those of the gauge.
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
    /// So many failures in a row.
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

/// A change of state that this worker brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It opened, for so long.
    Opened(Trip, Duration),
    /// Its open time was over.
    HalfOpened,
    /// Enough probes succeeded.
    Closed,
}

/// Whether an attempt may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may. How it ends must be told by [`super::Breaker::settle`].
    Pass(Permit),
    /// It may not.
    Deny(Wait),
}

/// How long an attempt that may not be made has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The breaker is open, and stays so for this time.
    Open(Duration),
    /// All probes are under way. One ends within this time, or is taken for lost then; the breaker may change at any moment before that.
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

/// An attempt that was let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Nobody asks how it ends.
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
    /// What it took.
    pub elapsed: Duration,
}

impl Sample {
    /// What an outcome says about its target, by the target's policy; none when it says nothing.
    pub fn of(policy: &Policy, outcome: Outcome, elapsed: Duration) -> Option<Self> {
        Some(Self { failed: policy.target_failed(outcome)?, elapsed })
    }
}
