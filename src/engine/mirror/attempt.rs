//! Attempts: what is asked of Envoy, how it ends, and what follows from that.

use std::borrow::Cow;
use std::time::Duration;

use super::deferred::Deferred;
use super::delivery::{Batch, Delivery, InFlight, Load};
use super::{signed, Mirror, UnderWay};
use crate::delivery::admission::{Charge, Weigh};
use crate::delivery::breaker::{Admission, Sample};
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::{may_be_made_by_envoy, Cause, End, Outcome, Verdict};
use crate::delivery::retry::{parse_retry_after, Failed, RetryPolicy};
use crate::engine::host::{Buffer, Host};
use crate::engine::journal::{self, Report};
use crate::engine::worker::{number, Worker};
use crate::http::grpc;
use crate::observe::log_event::Event;
use crate::observe::metrics::Metric;
use crate::rewrite::items::Format;
use crate::rewrite::reading::{Reading, Terms};
use crate::rewrite::shape::{Attempt, Call, Source};

/// How much of an answer of Envoy's own is read to learn what happened.
const ENVOYS_TEXT: usize = 512;

/// The end of an attempt.
#[derive(Clone, Copy)]
struct Ended {
    outcome: Outcome,
    elapsed: Duration,
    retry_after: Option<Duration>,
    now: Duration,
    /// The bytes of the answer's body.
    body_size: usize,
}

/// What a request is put together for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// To be sent to its target.
    Call,
    /// To be shown in a letter, where an item of a batch stands by itself.
    Letter,
}

/// Why no call was made.
pub(super) enum NoCall {
    /// The request cannot be made what its target asks for, and is given up for that reason.
    Unfit(DropReason),
    /// It failed like an attempt.
    Refused(Cause),
}

impl<H: Host> Mirror<H> {
    /// Attempts a delivery that has a place; as long as none is under way for it, also those that wait for that place.
    pub(super) fn send(&mut self, delivery: Delivery, now: Duration) {
        self.send_read(delivery, now, None);
    }

    /// The same for a delivery whose request is being read for others, too.
    pub(super) fn send_read(&mut self, delivery: Delivery, now: Duration, mut reading: Option<&Reading<'_>>) {
        let mut next = Some(delivery);
        while let Some(mut delivery) = next {
            let target = delivery.target;
            let reading = reading.take();
            if reading.is_none() && self.is_spent() && self.takes_work(&delivery) {
                self.defer(Deferred::Attempt(delivery), now);
                return;
            }
            if self.has_expired(&delivery, now) {
                self.give_up_before_attempt(delivery, DropReason::Expired, now);
                next = self.leave_place(target);
                continue;
            }
            let permit = match self.admit(target, now) {
                Admission::Pass(permit) => permit,
                Admission::Deny(wait) => {
                    self.spare(delivery, now, wait);
                    next = self.leave_place(target);
                    continue;
                }
            };
            let called = self.attempt(&delivery, now, reading);
            if !matches!(called, Err(NoCall::Unfit(_))) {
                self.count_attempt(&delivery, now);
            }
            next = match called {
                Ok((token, call_charge)) => {
                    self.count(target, Metric::Inflight);
                    self.forget_body(&mut delivery);
                    let in_flight = InFlight { delivery, started: now, permit, _call_charge: call_charge };
                    self.under_way.insert(token, UnderWay::Attempt(in_flight));
                    None
                }
                Err(NoCall::Unfit(reason)) => {
                    self.settle(target, permit, None, None, now);
                    self.give_up_before_attempt(delivery, reason, now);
                    self.leave_place(target)
                }
                Err(NoCall::Refused(refusal)) => {
                    let outcome = self.judge(target, End::Refused(refusal));
                    let sample = self.sample(target, outcome, Duration::ZERO);
                    self.settle(target, permit, sample, Some(outcome.cause), now);
                    let ended = Ended { outcome, elapsed: Duration::ZERO, retry_after: None, now, body_size: 0 };
                    self.conclude(delivery, ended)
                }
            };
        }
    }

    fn park(&mut self, delivery: &Delivery) -> bool {
        self.lanes.get_mut(delivery.target).is_some_and(|lane| lane.lane.park(delivery.weight()))
    }

    /// Starts the call of an attempt: its token, and the bytes taken for what Envoy holds of it beyond the delivery itself.
    fn attempt(
        &mut self,
        delivery: &Delivery,
        now: Duration,
        shared: Option<&Reading<'_>>,
    ) -> Result<(u32, Option<Charge>), NoCall> {
        match shared {
            Some(reading) => self.attempt_read(delivery, now, Some(reading)),
            None => {
                let own = delivery.reading(&self.config.reading);
                self.attempt_read(delivery, now, own.as_ref())
            }
        }
    }

    fn attempt_read(
        &mut self,
        delivery: &Delivery,
        now: Duration,
        reading: Option<&Reading<'_>>,
    ) -> Result<(u32, Option<Charge>), NoCall> {
        let span_id = self.random.take(|block| self.worker.random(block));
        let received_at = || self.worker.wall_clock().saturating_sub(now.saturating_sub(delivery.received));
        let before = reading.map_or(0, |reading| reading.work().spent());
        let call = self.call(delivery, reading, delivery.attempt, span_id, Form::Call, received_at);
        self.spend(reading.map_or(0, |reading| reading.work().spent().saturating_sub(before)));
        let Call { headers, body } = call?;
        if let (1, Load::Batch(batch)) = (delivery.attempt, &delivery.load) {
            self.add(delivery.target, Metric::BatchItems, signed(batch.items.len()));
        }
        let charge = self.charge_call(delivery, headers.len().saturating_add(body.len()))?;
        let target = self.config.targets.get(delivery.target).ok_or(NoCall::Refused(Cause::HostError))?;
        let token = self.worker.http_call(&target.cluster, &headers, &body, target.timeout).map_err(NoCall::Refused)?;
        Ok((token, charge))
    }

    /// Envoy holds the request as it was made for the target, which can be longer than what came.
    fn charge_call(&mut self, delivery: &Delivery, made: usize) -> Result<Option<Charge>, NoCall> {
        let more = match &delivery.load {
            Load::One(one) if self.takes_work(delivery) => made.saturating_sub(one.charge.bytes()),
            _ => 0,
        };
        if more == 0 {
            return Ok(None);
        }
        self.charge(more).map(Some).ok_or(NoCall::Unfit(DropReason::BufferFull))
    }

    /// True for a delivery whose request is put together anew for each attempt.
    pub(super) fn takes_work(&self, delivery: &Delivery) -> bool {
        let is_plain = self.config.targets.get(delivery.target).is_none_or(|target| target.shape.is_plain());
        matches!(delivery.load, Load::One(_)) && !is_plain
    }

    /// What is asked of Envoy for a delivery, of whose request this was read. `at` gives the time at which its request was complete, since 1970.
    pub(super) fn call<'r>(
        &self,
        delivery: &'r Delivery,
        reading: Option<&'r Reading<'_>>,
        number: u32,
        span_id: [u8; 8],
        form: Form,
        at: impl FnOnce() -> Duration,
    ) -> Result<Call<'r>, NoCall> {
        let target = self.config.targets.get(delivery.target).ok_or(NoCall::Refused(Cause::HostError))?;
        let is_shown = form == Form::Letter;
        let attempt = Attempt { target: &target.name, number, delivery_id: delivery.id, span_id, is_shown };
        let guard = &self.config.loop_guard;
        let call = match &delivery.load {
            Load::One(one) => {
                let at = if target.reads.time { at() } else { Duration::ZERO };
                let reading = reading.ok_or(NoCall::Refused(Cause::HostError))?;
                target.shape.call(&Source { reading, answered: one.answered.as_deref(), at }, &attempt, guard)
            }
            Load::Batch(batch) => {
                let format = target.batch.map(|batch| batch.format).filter(|_| !is_shown);
                target.shape.batch_call(&batch.line, batch.body(format), &attempt, guard)
            }
        };
        call.map_err(|unfit| match DropReason::of_unfit(unfit) {
            Some(reason) => NoCall::Unfit(reason),
            None => NoCall::Refused(Cause::HeadersTooLarge),
        })
    }

    fn count_attempt(&mut self, delivery: &Delivery, now: Duration) {
        self.count(delivery.target, Metric::Attempts);
        if delivery.attempt > 1 {
            self.count(delivery.target, Metric::Retries);
        } else if let Some(retry) = self.retry_of(delivery.target) {
            retry.budget.first_attempt(now);
        }
    }

    fn retry_of(&mut self, target: usize) -> Option<&mut RetryPolicy> {
        self.config.targets.get_mut(target)?.retry.as_mut()
    }

    /// Lets go of a body that no further attempt and no letter needs: Envoy has its own copy.
    fn forget_body(&self, delivery: &mut Delivery) {
        let Some(target) = self.config.targets.get(delivery.target) else {
            return;
        };
        let may_be_retried = target.retry.as_ref().is_some_and(|retry| delivery.attempt < retry.max_attempts);
        if let (Load::One(one), false) = (&mut delivery.load, may_be_retried || target.dead_letter.is_some()) {
            one.body = None;
        }
    }

    fn has_expired(&mut self, delivery: &Delivery, now: Duration) -> bool {
        let age = now.saturating_sub(delivery.received);
        self.retry_of(delivery.target).is_some_and(|retry| age >= retry.expire_after)
    }

    /// A call has ended, with an answer or without.
    pub(in crate::engine) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        let now = self.worker.monotonic();
        match self.under_way.remove(&token) {
            Some(UnderWay::Attempt(attempt)) => self.attempt_ended(attempt, headers, body_size, now),
            Some(UnderWay::Letter(posted)) => self.post_ended(posted, headers, body_size, now),
            // Given up meanwhile.
            None => {}
        }
    }

    fn attempt_ended(&mut self, attempt: InFlight, headers: u32, body_size: usize, now: Duration) {
        let InFlight { delivery, started, permit, _call_charge } = attempt;
        let elapsed = now.saturating_sub(started);
        self.add(delivery.target, Metric::Inflight, -1);
        self.add(delivery.target, Metric::LatencyMs, signed(elapsed.as_millis()));
        let outcome = self.outcome(delivery.target, self.is_grpc(&delivery), elapsed, headers, body_size);
        let sample = self.sample(delivery.target, outcome, elapsed);
        self.settle(delivery.target, permit, sample, Some(outcome.cause), now);
        let retry_after = if matches!(outcome.cause.status(), Some(429 | 503)) { retry_after(&self.worker) } else { None };
        if let Some(next) = self.conclude(delivery, Ended { outcome, elapsed, retry_after, now, body_size }) {
            self.send(next, now);
        }
    }

    /// True if its target answers as gRPC does.
    fn is_grpc(&self, delivery: &Delivery) -> bool {
        match (&delivery.load, self.config.targets.get(delivery.target)) {
            (Load::One(one), Some(target)) => target.shape.is_grpc(&one.head),
            _ => false,
        }
    }

    /// Reads how a call ended, with as few host calls as it takes.
    pub(super) fn outcome(&self, target: usize, is_grpc: bool, elapsed: Duration, headers: u32, body_size: usize) -> Outcome {
        if headers == 0 {
            let timeout = self.config.targets.get(target).map_or(Duration::ZERO, |target| target.timeout);
            return self.judge(target, End::NoAnswer { elapsed, timeout });
        }
        let status: Option<u16> = number(self.worker.call_header(":status"));
        let grpc = (is_grpc && status == Some(200)).then(|| grpc_status(&self.worker));
        let mut from_upstream = true;
        let mut text = Vec::new();
        if grpc.map(grpc::http_status).or(status).is_some_and(may_be_made_by_envoy) {
            from_upstream = self.worker.call_header("x-envoy-upstream-service-time").is_ok_and(|time| !time.is_empty());
            if !from_upstream {
                text = match grpc {
                    Some(_) => self.worker.call_header("grpc-message").unwrap_or_default(),
                    None if body_size > 0 => self.worker.buffer(Buffer::CallResponseBody, body_size.min(ENVOYS_TEXT)).unwrap_or_default(),
                    None => Vec::new(),
                };
            }
        }
        self.judge(target, End::Answer { status, from_upstream, text: &text, grpc })
    }

    /// What an outcome says about its target, for the target's breaker.
    fn sample(&self, target: usize, outcome: Outcome, elapsed: Duration) -> Option<Sample> {
        Sample::of(&self.config.targets.get(target)?.policy, outcome, elapsed)
    }

    pub(super) fn judge(&self, target: usize, end: End<'_>) -> Outcome {
        self.config.targets.get(target).map_or(Outcome::HOST_ERROR, |target| target.policy.judge(end))
    }

    /// Books the end of an attempt: delivered, to be tried again, or given up. Gives the delivery that can go in its place.
    fn conclude(&mut self, mut delivery: Delivery, ended: Ended) -> Option<Delivery> {
        let target = delivery.target;
        let again = match ended.outcome.verdict {
            Verdict::Delivered => Ok(None),
            Verdict::Retryable => self.retry_in(&delivery, ended).map(Some),
            Verdict::Permanent => Err(ended.outcome.drop_reason()),
        };
        let report = Report {
            target: self.name(target),
            delivery_id: Some(delivery.id),
            correlation_id: delivery.correlation_id(),
            items: delivery.items(),
            attempt: delivery.attempt,
            cause: Some(ended.outcome.cause),
            retry_in: again.ok().flatten(),
            reason: None,
            letter: None,
            elapsed: Some(ended.elapsed),
        };
        let delivered = ended.outcome.verdict == Verdict::Delivered;
        journal::write(&self.worker, if delivered { Event::Delivered } else { Event::AttemptFailed }, report);
        if delivered {
            self.add(target, Metric::Delivered, signed(delivery.weight()));
        } else {
            self.count(target, Metric::AttemptFailures(ended.outcome.cause.failure()));
        }
        delivery.last_outcome = Some(ended.outcome.cause);
        if !matches!(again, Ok(Some(_))) {
            self.answered(&mut delivery, ended.outcome.cause, ended.elapsed, ended.body_size);
        }
        match again {
            Ok(None) => {}
            Ok(Some(delay)) => {
                delivery.attempt = delivery.attempt.saturating_add(1);
                self.wait(delivery, ended.now, delay);
            }
            Err(reason) => {
                let attempts = delivery.attempt;
                self.give_up(delivery, attempts, reason, ended.now);
            }
        }
        self.leave_place(target)
    }

    /// How long to wait before the next attempt; or why there is none. A place to wait is taken.
    fn retry_in(&mut self, delivery: &Delivery, ended: Ended) -> Result<Duration, DropReason> {
        let failed = Failed {
            attempt: delivery.attempt,
            age: ended.now.saturating_sub(delivery.received),
            retry_after: ended.retry_after,
            random: u64::from_le_bytes(self.random.take(|block| self.worker.random(block))),
            has_place: self.lanes.get(delivery.target).is_some_and(|lane| lane.lane.has_places(delivery.weight())),
        };
        let retry = self.retry_of(delivery.target).ok_or(ended.outcome.drop_reason())?;
        let delay = retry.next(failed, ended.now)?;
        self.park(delivery);
        Ok(delay)
    }
}

impl Delivery {
    /// A single request of which nothing was read yet; none for a batch.
    pub(super) fn reading(&self, terms: &Terms) -> Option<Reading<'_>> {
        match &self.load {
            Load::One(one) => Some(Reading::new(&one.head, one.body.as_deref().map_or(&[][..], Vec::as_slice), terms)),
            Load::Batch(_) => None,
        }
    }
}

impl Batch {
    /// The body of a call: the items in their format, or a single one as it is.
    fn body(&self, format: Option<Format>) -> Cow<'_, [u8]> {
        let mut items = self.items.iter().map(|item| item.json.as_slice());
        match format {
            Some(format) => Cow::Owned(format.join(items)),
            None => Cow::Borrowed(items.next().unwrap_or_default()),
        }
    }
}

/// The status of gRPC of the call that has just ended: in its headers, if there was nothing else, or in its trailers.
fn grpc_status(worker: &Worker<impl Host>) -> u32 {
    let status = number(worker.call_header("grpc-status"));
    status.or_else(|| number(worker.call_trailer("grpc-status"))).unwrap_or(grpc::UNKNOWN)
}

/// What the answer to the call that has just ended asks for.
fn retry_after(worker: &Worker<impl Host>) -> Option<Duration> {
    let value = worker.call_header("retry-after").ok().filter(|value| !value.is_empty())?;
    parse_retry_after(&value, worker.wall_clock())
}
