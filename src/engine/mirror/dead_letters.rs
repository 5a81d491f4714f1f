//! Dead letters. A request that is given up is counted as dropped, or sent to a dead-letter cluster if the target has one.

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
use crate::delivery::admission::{Offer, Weigh};
use crate::delivery::cause::Cause;
use crate::delivery::dead_letter::{Call, Letter};
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::End;
use crate::delivery::trigger::Outcome;
use crate::engine::delivery::{Delivery, GivenUp, Load};
use crate::engine::host::Host;
use crate::engine::journal::{self, Report};
use crate::http::headers::HeaderMap;
use crate::http::work_limit::Work;
use crate::observe::log_event::{Event, LetterEnd};
use crate::observe::metrics::Metric;
use crate::rewrite::shape::Unfit;

/// The letters in flight, by their tokens.
#[derive(Default)]
pub(super) struct Letters(FxHashMap<u32, Posted>);

/// A letter in flight.
struct Posted {
    given_up: GivenUp,
    started: Duration,
}

impl Letters {
    /// Sends the letter of a request. The letter has a place in flight.
    pub(super) fn post<H: Host>(
        &mut self,
        common: &mut Common<H>,
        batching: &mut Batching,
        mut given_up: GivenUp,
        now: Duration,
    ) {
        let target = given_up.delivery.target;
        match start(common, batching, &mut given_up) {
            Ok(token) => {
                common.count(target, Metric::Inflight);
                given_up.delivery.forget_contents();
                self.0.insert(token, Posted { given_up, started: now });
            }
            Err(cause) => {
                let cause = common.judge(target, End::NotSent(cause)).cause;
                ended(common, &given_up, false, cause, Duration::ZERO);
            }
        }
    }

    /// Handles the end of a call, with a response or without. Does nothing if the token is not of a letter.
    pub(super) fn ended<H: Host>(&mut self, common: &mut Common<H>, token: u32, response: Response, now: Duration) {
        let Some(Posted { given_up, started }) = self.0.remove(&token) else {
            return;
        };
        let target = given_up.delivery.target;
        let elapsed = now.saturating_sub(started);
        common.add(target, Metric::Inflight, -1);
        let cause = common.outcome(target, false, elapsed, response).cause;
        // A local reply of Envoy never counts as success here.
        let taken = matches!(cause, Cause::Status(200..=299));
        ended(common, &given_up, taken, cause, elapsed);
    }

    /// Removes and returns what the letters in flight are about. They still count as in flight.
    pub(super) fn take(&mut self) -> impl Iterator<Item = GivenUp> {
        std::mem::take(&mut self.0).into_values().map(|posted| posted.given_up)
    }
}

/// Gives up a delivery after `attempts` attempts. Each request in it becomes a dead letter or is dropped.
pub(super) fn give_up<H: Host>(common: &mut Common<H>, mut delivery: Delivery, attempts: u32, reason: DropReason, now: Duration) {
    let target = delivery.target;
    common.spend_given_up(delivery.weight());
    answering::gave_up(common, &mut delivery);
    if let Some(end) = CopyEnd::of(&delivery, Outcome::GivenUp) {
        common.follow(Step::Follow(Box::new(end)));
    }
    answering::forget_own(common, &mut delivery);
    ordering::delivery_ended(common, &mut delivery);
    if let Load::One(one) = &mut delivery.load {
        comparing::not_responded(common, one.comparison.take());
    }
    let configured = common.target(target).and_then(|target| target.dead_letter.as_ref());
    if !configured.is_some_and(|dead_letter| dead_letter.wants(reason)) {
        report_given_up(common, &delivery, attempts, reason, None);
        common.add(target, Metric::Dropped(reason), signed(delivery.weight()));
        return;
    }
    let at = common.worker.wall_clock();
    for delivery in delivery.split() {
        // The time is taken now: the letter may be written later.
        let received_at = at.saturating_sub(now.saturating_sub(delivery.received));
        common.follow(Step::Letter(GivenUp { delivery, attempts, reason, received_at, at }));
    }
}

/// Sends the letter of a request, or lets it wait. Drops the request if there is no place.
pub(super) fn offer<H: Host>(common: &mut Common<H>, given_up: GivenUp) {
    let (target, burden) = (given_up.delivery.target, given_up.delivery.burden());
    match common.admission.letters(target).map(|limiter| limiter.offer(given_up)) {
        Some(Offer::Go(given_up)) => common.follow(Step::Post(given_up)),
        Some(Offer::Queued) => common.count_queued(burden, 1),
        Some(Offer::Full(given_up)) => lose(common, &given_up),
        None => {}
    }
}

/// Drops a request whose letter is never written, or is not delivered in time.
pub(super) fn lose<H: Host>(common: &mut Common<H>, given_up: &GivenUp) {
    common.spend_given_up(1);
    let GivenUp { delivery, attempts, reason, .. } = given_up;
    report_given_up(common, delivery, *attempts, *reason, Some(LetterEnd::Failed));
    common.count(delivery.target, Metric::Dropped(*reason));
}

fn report_given_up<H: Host>(
    common: &Common<H>,
    delivery: &Delivery,
    attempts: u32,
    reason: DropReason,
    letter: Option<LetterEnd>,
) {
    let report = Report {
        attempt: attempts,
        cause: delivery.last_outcome,
        reason: Some(reason),
        letter,
        ..Report::on(common.name(delivery.target), delivery)
    };
    journal::write(&common.worker, Event::GivenUp, report);
}

/// Starts the call of a letter. From then on the reservation covers the letter, which may be longer than the request.
fn start<H: Host>(common: &mut Common<H>, batching: &mut Batching, given_up: &mut GivenUp) -> Result<u32, Cause> {
    let Call { headers, body } = letter(common, given_up)?;
    let target = given_up.delivery.target;
    // The headers of the request stay in memory.
    let left = match &given_up.delivery.load {
        Load::One(one) => one.head.size(),
        Load::Batch(_) => 0,
    };
    let reservation = given_up.delivery.reservation().ok_or(Cause::HostError)?;
    reservation.clear();
    if !batching.grow(common, reservation, headers.len().saturating_add(body.len()).saturating_add(left)) {
        return Err(Cause::NoRoom);
    }
    common.spend_call();
    let dead_letter = common.target(target).and_then(|target| target.dead_letter.as_ref()).ok_or(Cause::HostError)?;
    common.worker.http_call(&dead_letter.cluster, &headers, &body, dead_letter.timeout)
}

/// Writes a letter.
fn letter<H: Host>(common: &mut Common<H>, given_up: &GivenUp) -> Result<Call, Cause> {
    let delivery = &given_up.delivery;
    let span_id = common.bytes();
    let reading = delivery.reading(&common.config.reading);
    let attempts = given_up.attempts.max(1);
    let request = common.call(delivery, reading.as_ref(), attempts, span_id, Form::Letter, || given_up.received_at);
    let read = reading.as_ref().map_or(0, |reading| reading.work().spent());
    common.spend(read);
    let request = request.map_err(|no_call| match no_call {
        NoCall::Failed(cause) => cause,
        // A request that cannot be shaped never becomes a letter.
        NoCall::Unfit(_) => Cause::HostError,
    })?;
    let target = common.target(delivery.target).ok_or(Cause::HostError)?;
    let dead_letter = target.dead_letter.as_ref().ok_or(Cause::HostError)?;
    let terms = &common.config.reading;
    let work = Work::new(terms.max_work.saturating_sub(read));
    let (correlation_id, answer, properties) = match &delivery.load {
        Load::One(one) => (one.head.correlation_id(), one.answer.as_deref(), one.head.properties()),
        Load::Batch(batch) => (batch.items.first().map_or("", |item| &*item.correlation_id), None, &[][..]),
    };
    let redacted: Vec<&str> = target.shape.variable_places().collect();
    let letter = Letter {
        id: delivery.id,
        target: &target.name,
        cluster: &target.cluster,
        reason: given_up.reason,
        attempts: given_up.attempts,
        last_outcome: delivery.last_outcome,
        received_at: given_up.received_at,
        given_up_at: given_up.at,
        correlation_id,
        headers: &HeaderMap::new(request.headers),
        body: &request.body,
        redacted: &redacted,
        answer,
        properties,
    };
    let call = dead_letter.call(&letter, terms, &work);
    common.spend(work.spent());
    call.map_err(|unfit| match unfit {
        Unfit::UnsafePath => Cause::UnsafePath,
        _ => Cause::NoRoom,
    })
}

/// Handles the end of a letter: logs and counts it, and frees its place.
fn ended<H: Host>(common: &mut Common<H>, given_up: &GivenUp, taken: bool, cause: Cause, elapsed: Duration) {
    let GivenUp { delivery, attempts, reason, .. } = given_up;
    let target = delivery.target;
    let end = if taken { LetterEnd::Taken } else { LetterEnd::Failed };
    report_given_up(common, delivery, *attempts, *reason, Some(end));
    let report = Report {
        attempt: *attempts,
        cause: Some(cause),
        reason: Some(*reason),
        elapsed: Some(elapsed),
        ..Report::on(common.name(target), delivery)
    };
    let (event, metric) =
        if taken { (Event::DeadLettered, Metric::DeadLettered) } else { (Event::DeadLetterFailed, Metric::Dropped(*reason)) };
    journal::write(&common.worker, event, report);
    common.count(target, metric);
    common.follow(Step::FreeLetterPlace(target));
}
