//! Writes the log lines: only those that Envoy would print, and only so many.

use std::time::Duration;

use uuid::Uuid;

use super::calls;
use crate::log_event::{Event, Line, Throttle};
use crate::outcome::Cause;
use crate::stats::DropReason;

/// A configuration is in force.
pub(super) fn configured(targets: usize) {
    let mut line = Line::new(Event::Configured);
    line.targets = Some(targets);
    calls::log(line.event.level(), &line.to_json());
}

/// A problem of a configuration. These lines are not throttled: a configuration is refused once, and each problem counts.
pub(super) fn rejected(problem: &str) {
    let mut line = Line::new(Event::ConfigurationRejected);
    line.problem = Some(problem);
    calls::log(line.event.level(), &line.to_json());
}

/// What a line tells about a delivery.
#[derive(Clone, Copy)]
pub(super) struct Report<'a> {
    pub(super) target: &'a str,
    pub(super) delivery_id: Option<Uuid>,
    pub(super) correlation_id: &'a str,
    /// From 1; 0 when none was made.
    pub(super) attempt: u32,
    pub(super) cause: Option<Cause>,
    pub(super) reason: Option<DropReason>,
    pub(super) elapsed: Option<Duration>,
}

/// The lines of one root.
#[derive(Default)]
pub(super) struct Journal {
    throttle: Throttle,
}

impl Journal {
    /// Writes a line about a delivery.
    pub(super) fn write(&mut self, event: Event, report: Report<'_>) {
        let Some(suppressed) = self.admit(event) else {
            return;
        };
        let delivery_id = report.delivery_id.map(|id| id.to_string());
        let outcome = report.cause.map(Cause::label);
        let line = Line {
            target: Some(report.target),
            delivery_id: delivery_id.as_deref(),
            correlation_id: Some(report.correlation_id),
            attempt: Some(report.attempt),
            outcome: outcome.as_deref(),
            reason: report.reason.map(DropReason::name),
            elapsed_ms: report.elapsed.map(|elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)),
            suppressed,
            ..Line::new(event)
        };
        calls::log(event.level(), &line.to_json());
    }

    /// A request was left alone because it is a copy.
    pub(super) fn loop_stopped(&mut self) {
        if let Some(suppressed) = self.admit(Event::LoopStopped) {
            let line = Line { suppressed, ..Line::new(Event::LoopStopped) };
            calls::log(line.event.level(), &line.to_json());
        }
    }

    /// Whether a line may be written, and if so how many were left out before it.
    fn admit(&mut self, event: Event) -> Option<u64> {
        if !calls::is_logged(event.level()) {
            return None;
        }
        self.throttle.admit(event, u64::try_from(calls::now().as_millis()).unwrap_or(u64::MAX))
    }
}
