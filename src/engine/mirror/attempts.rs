//! Attempts: starts the calls, and handles their ends.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::answering;
use super::batching::Batching;
use super::call::{Form, NoCall, Response};
use super::common::{signed, Common};
use super::comparing;
use super::copy_end::CopyEnd;
use super::ordering;
use super::step::Step;
use crate::config::Target;
use crate::delivery::admission::{Reservation, Weigh};
use crate::delivery::breaker::Permit;
use crate::delivery::cause::Cause;
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::{Outcome, Verdict};
use crate::delivery::retry::{parse_retry_after, Failed, RetryPolicy};
use crate::delivery::trigger;
use crate::engine::delivery::{Delivery, Load};
use crate::engine::host::Host;
use crate::engine::journal::{self, Report};
use crate::engine::worker::Worker;
use crate::observe::log_event::Event;
use crate::observe::metrics::Metric;
use crate::rewrite::reading::Reading;
use crate::rewrite::shape::Call;

/// The attempts in flight, by their tokens.
#[derive(Default)]
pub(super) struct Attempts(FxHashMap<u32, InFlight>);

/// A delivery whose attempt is in flight.
pub(super) struct InFlight {
    pub(super) delivery: Delivery,
    pub(super) permit: Permit,
    started: Duration,
    /// The bytes reserved for what Envoy holds of the call beyond the size of the delivery. Given back when the call ends.
    _call_reservation: Option<Reservation>,
}

/// A call that was started.
pub(super) struct Started {
    token: u32,
    call_reservation: Option<Reservation>,
}

/// An attempt that has ended.
pub(super) struct Ended {
    pub(super) delivery: Delivery,
    pub(super) permit: Permit,
    pub(super) outcome: Outcome,
    pub(super) elapsed: Duration,
    /// The delay that the response asks for in `retry-after`.
    pub(super) retry_after: Option<Duration>,
    /// The size of the response body in bytes.
    pub(super) body_size: usize,
}

impl Attempts {
    /// Records an attempt that was started.
    pub(super) fn add<H: Host>(
        &mut self,
        common: &Common<H>,
        mut delivery: Delivery,
        permit: Permit,
        Started { token, call_reservation }: Started,
        now: Duration,
    ) {
        common.count(delivery.target, Metric::Inflight);
        forget_body(common.target(delivery.target), &mut delivery);
        self.0.insert(token, InFlight { delivery, permit, started: now, _call_reservation: call_reservation });
    }

    /// Handles the end of a call, with a response or without. Returns `None` if the token is not of an attempt, or the attempt was given up.
    pub(super) fn ended<H: Host>(&mut self, common: &Common<H>, token: u32, response: Response, now: Duration) -> Option<Ended> {
        let InFlight { delivery, permit, started, _call_reservation } = self.0.remove(&token)?;
        let elapsed = now.saturating_sub(started);
        common.add(delivery.target, Metric::Inflight, -1);
        common.add(delivery.target, Metric::LatencyMs, signed(elapsed.as_millis()));
        let is_grpc = match (&delivery.load, common.target(delivery.target)) {
            (Load::One(one), Some(target)) => target.shape.is_grpc(&one.head),
            _ => false,
        };
        let outcome = common.outcome(delivery.target, is_grpc, elapsed, response);
        let retry_after = if matches!(outcome.cause.status(), Some(429 | 503)) { retry_after(&common.worker) } else { None };
        Some(Ended { delivery, permit, outcome, elapsed, retry_after, body_size: response.body_size })
    }

    /// Removes and returns all attempts in flight, which still count as such.
    pub(super) fn take(&mut self) -> impl Iterator<Item = InFlight> {
        std::mem::take(&mut self.0).into_values()
    }
}

/// Starts the call of an attempt. `shared` is a reading of the request that other targets share.
pub(super) fn start<H: Host>(
    common: &mut Common<H>,
    batching: &mut Batching,
    delivery: &Delivery,
    shared: Option<&Reading<'_>>,
    now: Duration,
) -> Result<Started, NoCall> {
    let started = match shared {
        Some(reading) => start_read(common, batching, delivery, Some(reading), now),
        None => {
            let own = delivery.reading(&common.config.reading);
            start_read(common, batching, delivery, own.as_ref(), now)
        }
    };
    if !matches!(started, Err(NoCall::Unfit(_))) {
        count_attempt(common, delivery, now);
    }
    started
}

fn start_read<H: Host>(
    common: &mut Common<H>,
    batching: &mut Batching,
    delivery: &Delivery,
    reading: Option<&Reading<'_>>,
    now: Duration,
) -> Result<Started, NoCall> {
    let span_id = common.bytes();
    let received_at = || common.worker.wall_clock().saturating_sub(now.saturating_sub(delivery.received));
    let before = reading.map_or(0, |reading| reading.work().spent());
    let call = common.call(delivery, reading, delivery.attempt, span_id, Form::Call, received_at);
    common.spend(reading.map_or(0, |reading| reading.work().spent().saturating_sub(before)));
    let Call { headers, body } = call?;
    if let Load::Batch(batch) = &delivery.load {
        // The work to sign a single request is among that of its reading.
        common.spend(common.target(delivery.target).map_or(0, |target| target.shape.work_to_sign(body.len())));
        if delivery.attempt == 1 {
            common.add(delivery.target, Metric::BatchItems, signed(batch.items.len()));
        }
    }
    let call_reservation = reserve_call(common, batching, delivery, headers.len().saturating_add(body.len()))?;
    common.spend_call();
    let target = common.target(delivery.target).ok_or(NoCall::Failed(Cause::HostError))?;
    let token = common.worker.http_call(&target.cluster, &headers, &body, target.timeout).map_err(NoCall::Failed)?;
    Ok(Started { token, call_reservation })
}

/// Reserves bytes for the call that Envoy holds. The rendered request can be longer than the original.
fn reserve_call<H: Host>(
    common: &mut Common<H>,
    batching: &mut Batching,
    delivery: &Delivery,
    made: usize,
) -> Result<Option<Reservation>, NoCall> {
    let more = match &delivery.load {
        Load::One(one) if takes_work(common, delivery) => made.saturating_sub(one.reservation.bytes()),
        _ => 0,
    };
    if more == 0 {
        return Ok(None);
    }
    batching.reserve(common, more).map(Some).ok_or(NoCall::Unfit(DropReason::BufferFull))
}

/// True if the request must be rendered anew for each attempt.
fn takes_work<H: Host>(common: &Common<H>, delivery: &Delivery) -> bool {
    let is_plain = common.target(delivery.target).is_none_or(|target| target.shape.is_plain());
    matches!(delivery.load, Load::One(_)) && !is_plain
}

fn count_attempt<H: Host>(common: &mut Common<H>, delivery: &Delivery, now: Duration) {
    common.count(delivery.target, Metric::Attempts);
    if delivery.attempt > 1 {
        common.count(delivery.target, Metric::Retries);
    } else if let Some(retry) = retry_of(common, delivery.target) {
        retry.budget.first_attempt(now);
    }
}

fn retry_of<H: Host>(common: &mut Common<H>, target: usize) -> Option<&mut RetryPolicy> {
    common.config.targets.get_mut(target)?.retry.as_mut()
}

/// True if a delivery is too old for another attempt.
pub(super) fn has_expired<H: Host>(common: &Common<H>, delivery: &Delivery, now: Duration) -> bool {
    let age = now.saturating_sub(delivery.received);
    let retry = common.target(delivery.target).and_then(|target| target.retry.as_ref());
    retry.is_some_and(|retry| age >= retry.expire_after)
}

/// Drops a body that no further attempt and no letter needs: Envoy has its own copy.
fn forget_body(target: Option<&Target>, delivery: &mut Delivery) {
    let Some(target) = target else {
        return;
    };
    let may_be_retried = target.retry.as_ref().is_some_and(|retry| delivery.attempt < retry.max_attempts);
    if let Load::One(one) = &mut delivery.load {
        if !may_be_retried && target.dead_letter.is_none() && one.followers.is_empty() {
            one.body = None;
        }
    }
}

/// Handles the end of an attempt: the delivery is done, is retried, or is given up.
pub(super) fn conclude<H: Host>(common: &mut Common<H>, ended: Ended, now: Duration) {
    let again = match ended.outcome.verdict {
        Verdict::Delivered => Ok(None),
        Verdict::Retryable => retry_in(common, &ended, now).map(Some),
        Verdict::Permanent => Err(ended.outcome.drop_reason()),
    };
    let Ended { mut delivery, outcome, elapsed, body_size, .. } = ended;
    let target = delivery.target;
    let report = Report {
        attempt: delivery.attempt,
        cause: Some(outcome.cause),
        retry_in: again.ok().flatten(),
        elapsed: Some(elapsed),
        ..Report::on(common.name(target), &delivery)
    };
    let delivered = outcome.verdict == Verdict::Delivered;
    journal::write(&common.worker, if delivered { Event::Delivered } else { Event::AttemptFailed }, report);
    if delivered {
        common.add(target, Metric::Delivered, signed(delivery.weight()));
    } else {
        common.count(target, Metric::AttemptFailures(outcome.cause.failure()));
    }
    delivery.last_outcome = Some(outcome.cause);
    if !matches!(again, Ok(Some(_))) {
        comparing::responded(common, &mut delivery, outcome.cause, elapsed, body_size);
        answering::answered(common, &mut delivery, outcome.cause, body_size);
    }
    match again {
        Ok(None) => {
            ordering::delivery_ended(common, &mut delivery);
            if let Some(end) = CopyEnd::of(&delivery, trigger::Outcome::Delivered) {
                common.follow(Step::Follow(Box::new(end)));
            }
        }
        Ok(Some(delay)) => {
            delivery.attempt = delivery.attempt.saturating_add(1);
            common.follow(Step::BackOff(delivery, delay));
        }
        Err(reason) => {
            let attempts = delivery.attempt;
            common.follow(Step::GiveUp(delivery, attempts, reason));
        }
    }
    common.follow(Step::FreePlace(target));
}

/// Returns the back-off before the next attempt, and parks the places for it. Returns the drop reason if there is no next attempt.
fn retry_in<H: Host>(common: &mut Common<H>, ended: &Ended, now: Duration) -> Result<Duration, DropReason> {
    let delivery = &ended.delivery;
    let (target, weight) = (delivery.target, delivery.weight());
    let failed = Failed {
        attempt: delivery.attempt,
        age: now.saturating_sub(delivery.received),
        retry_after: ended.retry_after,
        random: common.random(),
        has_place: common.admission.copies(target).is_some_and(|limiter| limiter.has_places(weight)),
    };
    let retry = retry_of(common, target).ok_or(ended.outcome.drop_reason())?;
    let delay = retry.next(failed, now)?;
    common.admission.park(target, weight);
    Ok(delay)
}

/// The delay that the response to the call that just ended asks for.
fn retry_after(worker: &Worker<impl Host>) -> Option<Duration> {
    let value = worker.call_header("retry-after").ok().filter(|value| !value.is_empty())?;
    parse_retry_after(&value, worker.wall_clock())
}
