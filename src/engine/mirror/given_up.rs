//! Requests that are given up: counted, and handed over as dead letters where that is asked for.

use std::time::Duration;

use uuid::Uuid;

use super::attempt::{Form, NoCall};
use super::deferred::Deferred;
use super::delivery::{Burden, Delivery, Load};
use super::{signed, Mirror, TargetLane, UnderWay};
use crate::delivery::admission::{Offer, Weigh};
use crate::delivery::dead_letter::{Call, Letter};
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::{Cause, End};
use crate::engine::host::Host;
use crate::engine::journal::{self, Report};
use crate::http::headers::HeaderMap;
use crate::http::work::Work;
use crate::observe::log_event::{Event, LetterEnd};
use crate::observe::metrics::Metric;
use crate::rewrite::shape::Unfit;

/// A request that was given up, before its letter is written.
pub(super) struct GivenUp {
    delivery: Delivery,
    attempts: u32,
    reason: DropReason,
    /// When the request was complete, since 1970.
    received_at: Duration,
    /// When it was given up, since 1970.
    at: Duration,
}

impl GivenUp {
    pub(super) fn burden(&self) -> Burden {
        self.delivery.burden()
    }

    pub(super) fn target(&self) -> usize {
        self.delivery.target
    }

    pub(super) fn reason(&self) -> DropReason {
        self.reason
    }
}

impl Weigh for GivenUp {
    fn weight(&self) -> usize {
        1
    }
}

/// A letter that Envoy is delivering.
pub(super) struct Posted {
    given_up: GivenUp,
    started: Duration,
}

impl<H: Host> Mirror<H> {
    /// Gives up a delivery whose next attempt is not made.
    pub(super) fn give_up_before_attempt(&mut self, delivery: Delivery, reason: DropReason, now: Duration) {
        let attempts = delivery.attempt.saturating_sub(1);
        self.give_up(delivery, attempts, reason, now);
    }

    /// Gives up a delivery after so many attempts: a dead letter for each request in it, or dropped.
    pub(super) fn give_up(&mut self, mut delivery: Delivery, attempts: u32, reason: DropReason, now: Duration) {
        let target = delivery.target;
        if let Load::One(one) = &mut delivery.load {
            self.unanswered(one.comparison.take());
        }
        let configured = self.config.targets.get(target).and_then(|target| target.dead_letter.as_ref());
        if !configured.is_some_and(|dead_letter| dead_letter.wants(reason)) {
            self.report_given_up(&delivery, attempts, reason, None);
            self.add(target, Metric::Dropped(reason), signed(delivery.weight()));
            return;
        }
        let at = self.worker.wall_clock();
        for delivery in delivery.split() {
            // Not when the letter is written: that may be later.
            let received_at = at.saturating_sub(now.saturating_sub(delivery.received));
            let burden = delivery.burden();
            let given_up = GivenUp { delivery, attempts, reason, received_at, at };
            match self.lanes.get_mut(target).map(|lane| lane.letters.offer(given_up)) {
                Some(Offer::Go(given_up)) => self.post(given_up, now),
                Some(Offer::Queued) => self.count_queued(burden, 1),
                Some(Offer::Full(given_up)) => self.lose_letter(&given_up),
                None => {}
            }
        }
    }

    /// Counts a request whose letter is never written, or has no time to be taken.
    fn lose_letter(&self, given_up: &GivenUp) {
        let GivenUp { delivery, attempts, reason, .. } = given_up;
        self.report_given_up(delivery, *attempts, *reason, Some(LetterEnd::Failed));
        self.count(delivery.target, Metric::Dropped(*reason));
    }

    /// Counts a request of which nothing is held.
    pub(super) fn give_up_unsent(&self, target: usize, id: Option<Uuid>, correlation_id: &str, reason: DropReason) {
        let report = Report {
            target: self.name(target),
            delivery_id: id,
            correlation_id,
            items: &[],
            attempt: 0,
            cause: None,
            retry_in: None,
            reason: Some(reason),
            letter: None,
            elapsed: None,
        };
        journal::write(&self.worker, Event::GivenUp, report);
        self.count(target, Metric::Dropped(reason));
    }

    fn report_given_up(&self, delivery: &Delivery, attempts: u32, reason: DropReason, letter: Option<LetterEnd>) {
        let report = Report {
            target: self.name(delivery.target),
            delivery_id: Some(delivery.id),
            correlation_id: delivery.correlation_id(),
            items: delivery.items(),
            attempt: attempts,
            cause: delivery.last_outcome,
            retry_in: None,
            reason: Some(reason),
            letter,
            elapsed: None,
        };
        journal::write(&self.worker, Event::GivenUp, report);
    }

    /// Posts the letter of a request that has a place; as long as none is under way for it, also of those that wait for that place.
    pub(super) fn post(&mut self, given_up: GivenUp, now: Duration) {
        let mut next = Some(given_up);
        while let Some(mut given_up) = next {
            if self.is_spent() {
                self.defer(Deferred::Letter(given_up), now);
                return;
            }
            let target = given_up.delivery.target;
            next = match self.call_for(&mut given_up) {
                Ok(token) => {
                    self.count(target, Metric::Inflight);
                    given_up.delivery.forget_contents();
                    self.under_way.insert(token, UnderWay::Letter(Posted { given_up, started: now }));
                    None
                }
                Err(refusal) => {
                    let cause = self.judge(target, End::Refused(refusal)).cause;
                    self.letter_ended(given_up, false, cause, Duration::ZERO)
                }
            };
        }
    }

    /// Starts the call for a letter. From then on what is charged is the letter, which may be longer than the request.
    fn call_for(&mut self, given_up: &mut GivenUp) -> Result<u32, Cause> {
        let Call { headers, body } = self.letter(given_up)?;
        let target = given_up.delivery.target;
        // The headers stay.
        let left = match &given_up.delivery.load {
            Load::One(one) => one.head.size(),
            Load::Batch(_) => 0,
        };
        let charge = given_up.delivery.charge().ok_or(Cause::HostError)?;
        charge.clear();
        if !self.grow(charge, headers.len().saturating_add(body.len()).saturating_add(left)) {
            return Err(Cause::NoRoom);
        }
        let target = self.config.targets.get(target).ok_or(Cause::HostError)?;
        let dead_letter = target.dead_letter.as_ref().ok_or(Cause::HostError)?;
        self.worker.http_call(&dead_letter.cluster, &headers, &body, dead_letter.timeout)
    }

    /// Writes a letter.
    fn letter(&mut self, given_up: &GivenUp) -> Result<Call, Cause> {
        let delivery = &given_up.delivery;
        let span_id = self.random.take(|block| self.worker.random(block));
        let reading = delivery.reading(&self.config.reading);
        let attempts = given_up.attempts.max(1);
        let request = self.call(delivery, reading.as_ref(), attempts, span_id, Form::Letter, || given_up.received_at);
        let read = reading.as_ref().map_or(0, |reading| reading.work().spent());
        self.spend(read);
        let request = request.map_err(|no_call| match no_call {
            NoCall::Refused(refusal) => refusal,
            // It would not have become a delivery.
            NoCall::Unfit(_) => Cause::HostError,
        })?;
        let target = self.config.targets.get(delivery.target).ok_or(Cause::HostError)?;
        let dead_letter = target.dead_letter.as_ref().ok_or(Cause::HostError)?;
        let terms = &self.config.reading;
        let work = Work::new(terms.max_work.saturating_sub(read));
        let (correlation_id, answered, properties) = match &delivery.load {
            Load::One(one) => (one.head.correlation_id(), one.answered.as_deref(), one.head.properties()),
            Load::Batch(batch) => (batch.items.first().map_or("", |item| &*item.correlation_id), None, &[][..]),
        };
        let letter = Letter {
            id: delivery.id,
            target: &target.name,
            reason: given_up.reason,
            attempts: given_up.attempts,
            last_outcome: delivery.last_outcome,
            received_at: given_up.received_at,
            given_up_at: given_up.at,
            correlation_id,
            headers: &HeaderMap::new(request.headers),
            body: &request.body,
            answered,
            properties,
        };
        let call = dead_letter.call(&letter, &terms.pointers, &work);
        self.spend(work.spent());
        call.map_err(|unfit| match unfit {
            Unfit::UnsafePath => Cause::UnsafePath,
            _ => Cause::NoRoom,
        })
    }

    /// The call for a letter has ended.
    pub(super) fn post_ended(&mut self, posted: Posted, headers: u32, body_size: usize, now: Duration) {
        let Posted { given_up, started } = posted;
        let target = given_up.delivery.target;
        let elapsed = now.saturating_sub(started);
        self.add(target, Metric::Inflight, -1);
        let cause = self.outcome(target, false, elapsed, headers, body_size).cause;
        // An answer that Envoy made in place of the cluster is none of these.
        let taken = matches!(cause, Cause::Status(200..=299));
        if let Some(next) = self.letter_ended(given_up, taken, cause, elapsed) {
            self.post(next, now);
        }
    }

    /// Books the end of a letter. Gives the one that can go in its place.
    fn letter_ended(&mut self, given_up: GivenUp, taken: bool, cause: Cause, elapsed: Duration) -> Option<GivenUp> {
        let GivenUp { delivery, attempts, reason, .. } = given_up;
        let target = delivery.target;
        let end = if taken { LetterEnd::Taken } else { LetterEnd::Failed };
        self.report_given_up(&delivery, attempts, reason, Some(end));
        let report = Report {
            target: self.name(target),
            delivery_id: Some(delivery.id),
            correlation_id: delivery.correlation_id(),
            items: delivery.items(),
            attempt: attempts,
            cause: Some(cause),
            retry_in: None,
            reason: Some(reason),
            letter: None,
            elapsed: Some(elapsed),
        };
        if taken {
            journal::write(&self.worker, Event::DeadLettered, report);
            self.count(target, Metric::DeadLettered);
        } else {
            journal::write(&self.worker, Event::DeadLetterFailed, report);
            self.count(target, Metric::Dropped(reason));
        }
        let next = self.lanes.get_mut(target)?.letters.ended()?;
        self.count_queued(next.delivery.burden(), -1);
        Some(next)
    }

    /// The time of a drain is over: gives up all deliveries, and lets their letters go on for as long as the slowest of them may take.
    pub(super) fn abandon_deliveries(&mut self, now: Duration) {
        for (token, call) in std::mem::take(&mut self.under_way) {
            match call {
                UnderWay::Attempt(attempt) => {
                    let target = attempt.delivery.target;
                    self.settle(target, attempt.permit, None, None, now);
                    self.add(target, Metric::Inflight, -1);
                    let attempts = attempt.delivery.attempt;
                    self.give_up(attempt.delivery, attempts, DropReason::Shutdown, now);
                }
                letter @ UnderWay::Letter(_) => {
                    self.under_way.insert(token, letter);
                }
            }
        }
        self.abandon_deferred_deliveries(now);
        let waiting = std::mem::take(&mut self.waiting).into_values();
        let queued = self.lanes.iter_mut().flat_map(|TargetLane { lane, held, .. }| held.take().chain(lane.clear()));
        for delivery in waiting.chain(queued).collect::<Vec<_>>() {
            self.count_queued(delivery.burden(), -1);
            self.give_up_before_attempt(delivery, DropReason::Shutdown, now);
        }
    }

    /// The time of the letters is over, too: drops what is left.
    pub(super) fn abandon_letters(&mut self) {
        self.abandon_deferred_letters();
        for call in std::mem::take(&mut self.under_way).into_values() {
            if let UnderWay::Letter(Posted { given_up, .. }) = call {
                self.add(given_up.delivery.target, Metric::Inflight, -1);
                self.lose_letter(&given_up);
            }
        }
        let waiting: Vec<_> = self.lanes.iter_mut().flat_map(|TargetLane { letters, .. }| letters.clear()).collect();
        for given_up in waiting {
            self.count_queued(given_up.delivery.burden(), -1);
            self.lose_letter(&given_up);
        }
    }
}
