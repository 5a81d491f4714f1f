//! Writes the log lines. Skips lines below Envoy's log level, and throttles the others.

use std::time::Duration;

use uuid::Uuid;

use super::delivery::{BatchItem, Delivery};
use super::host::Host;
use super::unexpected::Unexpected;
use super::worker::Worker;
use crate::compare::Verdict;
use crate::delivery::breaker::Transition;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::observe::log_event::{logged_id, Event, LetterEnd, Line, Topic, TARGET};

/// Logs that a configuration is in force.
pub(super) fn configured(worker: &Worker<impl Host>, targets: usize) {
    if let Some(suppressed) = admitted(worker, Event::Configured) {
        let version = Some(env!("CARGO_PKG_VERSION"));
        print(Event::Configured.level(), &Line { version, targets: Some(targets), suppressed, ..Line::new(Event::Configured) });
    }
}

/// Logs an event that should never happen.
pub(super) fn unexpected(worker: &Worker<impl Host>, event: Unexpected) {
    if let Some(suppressed) = admitted(worker, Event::Unexpected) {
        print(
            Event::Unexpected.level(),
            &Line { what: Some(event.name()), status: event.status(), suppressed, ..Line::new(Event::Unexpected) },
        );
    }
}

/// Logs a problem of a configuration. These lines are not throttled: a configuration is refused once, and each problem counts.
pub(super) fn rejected(problem: &str) {
    print(Event::ConfigurationRejected.level(), &Line { problem: Some(problem), ..Line::new(Event::ConfigurationRejected) });
}

/// The facts that a log line states about a delivery.
#[derive(Clone, Copy)]
pub(super) struct Report<'a> {
    pub(super) target: &'a str,
    pub(super) delivery_id: Option<Uuid>,
    pub(super) correlation_id: &'a str,
    /// The items of a batch. A batch has no correlation ID of its own.
    pub(super) items: &'a [BatchItem],
    /// The number of the attempt, from 1; 0 if there was no attempt.
    pub(super) attempt: u32,
    pub(super) cause: Option<Cause>,
    pub(super) retry_in: Option<Duration>,
    pub(super) reason: Option<DropReason>,
    /// What became of the dead letter. `None` if there was no letter.
    pub(super) letter: Option<LetterEnd>,
    pub(super) elapsed: Option<Duration>,
}

impl<'a> Report<'a> {
    /// A report that names only the target.
    pub(super) fn of(target: &'a str) -> Self {
        Self {
            target,
            delivery_id: None,
            correlation_id: "",
            items: &[],
            attempt: 0,
            cause: None,
            retry_in: None,
            reason: None,
            letter: None,
            elapsed: None,
        }
    }

    /// A report on a delivery to the given target.
    pub(super) fn on(target: &'a str, delivery: &'a Delivery) -> Self {
        let (correlation_id, items) = (delivery.correlation_id(), delivery.items());
        Self { delivery_id: Some(delivery.id), correlation_id, items, ..Self::of(target) }
    }
}

/// Writes a log line about a delivery.
pub(super) fn write(worker: &Worker<impl Host>, event: Event, report: Report<'_>) {
    let topic = Topic { event, reason: report.reason, letter: report.letter };
    let Some(suppressed) = admitted(worker, topic) else {
        return;
    };
    let delivery_id = report.delivery_id.map(|id| id.to_string());
    let outcome = report.cause.map(Cause::label);
    let is_batch = !report.items.is_empty();
    let correlation_ids: Vec<&str> = report.items.iter().map(|item| logged_id(&item.correlation_id)).collect();
    let line = Line {
        target: Some(report.target),
        delivery_id: delivery_id.as_deref(),
        correlation_id: (!is_batch).then(|| logged_id(report.correlation_id)),
        correlation_ids: is_batch.then_some(&correlation_ids),
        attempt: Some(report.attempt),
        outcome: outcome.as_deref(),
        retry_in_ms: report.retry_in.map(millis),
        reason: report.reason.map(DropReason::name),
        letter: report.letter,
        elapsed_ms: report.elapsed.map(millis),
        suppressed,
        ..Line::new(event)
    };
    print(topic.level(), &line);
}

/// Logs that two responses differ, or could not be compared.
pub(super) fn compared(worker: &Worker<impl Host>, target: &str, delivery_id: Uuid, correlation_id: &str, verdict: &Verdict) {
    if let Some(suppressed) = admitted(worker, Event::Compared) {
        let delivery_id = delivery_id.to_string();
        print(
            Event::Compared.level(),
            &Line {
                target: Some(target),
                delivery_id: Some(&delivery_id),
                correlation_id: Some(logged_id(correlation_id)),
                comparison: Some(verdict),
                suppressed,
                ..Line::new(Event::Compared)
            },
        );
    }
}

/// Logs a state change of a circuit breaker. `cause` is the outcome of the attempt that caused the change, if an attempt did.
pub(super) fn breaker(worker: &Worker<impl Host>, target: &str, transition: Transition, cause: Option<Cause>) {
    let (event, reason, open_for) = match transition {
        Transition::Opened(trip, open_for) => (Event::BreakerOpened, Some(trip.label()), Some(open_for)),
        Transition::HalfOpened => (Event::BreakerHalfOpened, None, None),
        Transition::Closed => (Event::BreakerClosed, None, None),
    };
    if let Some(suppressed) = admitted(worker, event) {
        let open_for_ms = open_for.map(millis);
        let outcome = cause.filter(|_| event == Event::BreakerOpened).map(Cause::label);
        let outcome = outcome.as_deref();
        print(event.level(), &Line { target: Some(target), reason, outcome, open_for_ms, suppressed, ..Line::new(event) });
    }
}

/// Logs that a request is not mirrored because it is itself a copy.
pub(super) fn loop_stopped(worker: &Worker<impl Host>) {
    if let Some(suppressed) = admitted(worker, Event::LoopStopped) {
        print(Event::LoopStopped.level(), &Line { suppressed, ..Line::new(Event::LoopStopped) });
    }
}

/// Returns `None` if the log level or the throttle suppresses the line. Otherwise returns the number of lines suppressed before this one.
fn admitted(worker: &Worker<impl Host>, topic: impl Into<Topic>) -> Option<u64> {
    let topic = topic.into();
    if !worker.logs(topic.level()) {
        return None;
    }
    let now_ms = millis(worker.wall_clock());
    worker.throttle.try_borrow_mut().ok()?.admit(topic, now_ms)
}

fn print(level: log::Level, line: &Line<'_>) {
    log::log!(target: TARGET, level, "{}", line.to_json());
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
