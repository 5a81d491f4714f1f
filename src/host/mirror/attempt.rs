//! Attempts: what is asked of Envoy, how it ends, and what follows from that.

use std::time::Duration;

use super::{signed, Delivery, InFlight, Mirror, TargetLane, UnderWay};
use crate::breaker::{Admission, Sample};
use crate::host::calls::{self, Buffer};
use crate::host::journal::{self, Report};
use crate::log_event::Event;
use crate::outcome::{may_be_made_by_envoy, Cause, End, Outcome, Refusal, Verdict};
use crate::retry::{parse_retry_after, Failed, RetryPolicy};
use crate::shape::{Attempt, HeadersTooLarge};
use crate::stats::{DropReason, Metric};

/// How much of an answer of Envoy's own is read to learn what happened.
const ENVOYS_TEXT: usize = 512;

/// The end of an attempt.
#[derive(Clone, Copy)]
struct Ended {
    outcome: Outcome,
    elapsed: Duration,
    retry_after: Option<Duration>,
    now: Duration,
}

impl Mirror {
    /// Attempts a delivery that has a place; as long as none is under way for it, also those that wait for that place.
    pub(super) fn send(&mut self, delivery: Delivery, now: Duration) {
        let mut next = Some(delivery);
        while let Some(mut delivery) = next {
            let target = delivery.target;
            if self.has_expired(&delivery, now) {
                self.give_up_before_attempt(delivery, DropReason::Expired, now);
                next = self.leave_place(target);
                continue;
            }
            let permit = match self.admit(target, now) {
                Admission::Pass(permit) => permit,
                Admission::Deny(left) => {
                    self.spare(delivery, now, left);
                    next = self.leave_place(target);
                    continue;
                }
            };
            self.count_attempt(&delivery, now);
            next = match self.attempt(&delivery) {
                Ok(token) => {
                    self.count(target, Metric::Inflight);
                    if !self.may_need_body(&delivery) {
                        delivery.body = None;
                    }
                    self.under_way.insert(token, UnderWay::Attempt(InFlight { delivery, started: now, permit }));
                    None
                }
                Err(refusal) => {
                    let outcome = self.judge(target, End::Refused(refusal));
                    self.settle(target, permit, Sample::of(outcome, Duration::ZERO), now);
                    let ended = Ended { outcome, elapsed: Duration::ZERO, retry_after: None, now };
                    self.conclude(delivery, ended)
                }
            };
        }
    }

    fn admit(&mut self, target: usize, now: Duration) -> Admission {
        match self.lanes.get_mut(target) {
            Some(TargetLane { guard, metrics, .. }) => guard.admit(metrics, now),
            None => Admission::Deny(Duration::ZERO),
        }
    }

    /// The breaker does not let an attempt pass, and will not before `left` is over. A first attempt is given up: what comes while a target is
    /// spared is not its to hold. A retry was worth waiting for, so it waits on, in its place, and spends nothing on it; unless it would be
    /// too old by then.
    fn spare(&mut self, delivery: Delivery, now: Duration, left: Duration) {
        let random = u64::from_le_bytes(self.random.take(calls::random));
        let earlier = delivery.attempt.saturating_sub(1);
        let age = now.saturating_sub(delivery.received);
        let retry = self.retry_of(delivery.target).filter(|_| earlier > 0);
        let delay = retry.and_then(|retry| retry.wait_for_breaker(earlier, age, left, random));
        match delay {
            Some(delay) if self.park(delivery.target) => self.wait(delivery, now, delay),
            _ => self.give_up_before_attempt(delivery, DropReason::CircuitOpen, now),
        }
    }

    fn park(&mut self, target: usize) -> bool {
        self.lanes.get_mut(target).is_some_and(|lane| lane.lane.park())
    }

    fn attempt(&mut self, delivery: &Delivery) -> Result<u32, Refusal> {
        let span_id = self.random.take(calls::random);
        let target = self.config.targets.get(delivery.target).ok_or(Refusal::HostError)?;
        let attempt = Attempt { target: &target.name, number: delivery.attempt, delivery_id: delivery.id, span_id };
        let headers =
            delivery.head.for_attempt(&attempt, &self.config.loop_guard).map_err(|HeadersTooLarge| Refusal::HeadersTooLarge)?;
        let body = delivery.body.as_deref().map_or(&[][..], Vec::as_slice);
        calls::http_call(&target.cluster, &headers, body, target.timeout)
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

    fn may_need_body(&self, delivery: &Delivery) -> bool {
        self.config.targets.get(delivery.target).is_some_and(|target| {
            let may_be_retried = target.retry.as_ref().is_some_and(|retry| delivery.attempt < retry.max_attempts);
            may_be_retried || target.dead_letter.is_some()
        })
    }

    fn has_expired(&mut self, delivery: &Delivery, now: Duration) -> bool {
        let age = now.saturating_sub(delivery.received);
        self.retry_of(delivery.target).is_some_and(|retry| age >= retry.expire_after)
    }

    /// A call has ended, with an answer or without.
    pub(in crate::host) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        let now = calls::monotonic();
        match self.under_way.remove(&token) {
            Some(UnderWay::Attempt(attempt)) => self.attempt_ended(attempt, headers, body_size, now),
            Some(UnderWay::Letter(posted)) => self.post_ended(posted, headers, body_size, now),
            // Given up meanwhile.
            None => {}
        }
    }

    fn attempt_ended(&mut self, attempt: InFlight, headers: u32, body_size: usize, now: Duration) {
        let InFlight { delivery, started, permit } = attempt;
        let elapsed = now.saturating_sub(started);
        self.add(delivery.target, Metric::Inflight, -1);
        self.add(delivery.target, Metric::LatencyMs, signed(elapsed.as_millis()));
        let outcome = self.outcome(delivery.target, elapsed, headers, body_size);
        self.settle(delivery.target, permit, Sample::of(outcome, elapsed), now);
        let retry_after = if matches!(outcome.cause, Cause::Status(429 | 503)) { retry_after() } else { None };
        if let Some(next) = self.conclude(delivery, Ended { outcome, elapsed, retry_after, now }) {
            self.send(next, now);
        }
    }

    /// Reads how a call ended, with as few host calls as it takes.
    pub(super) fn outcome(&self, target: usize, elapsed: Duration, headers: u32, body_size: usize) -> Outcome {
        if headers == 0 {
            let timeout = self.config.targets.get(target).map_or(Duration::ZERO, |target| target.timeout);
            return self.judge(target, End::NoAnswer { elapsed, timeout });
        }
        let status = calls::call_header(":status").ok();
        let status = status.and_then(|status| std::str::from_utf8(&status).ok()?.parse().ok());
        let mut from_upstream = true;
        let mut text = Vec::new();
        if status.is_some_and(may_be_made_by_envoy) {
            from_upstream = calls::call_header("x-envoy-upstream-service-time").is_ok_and(|time| !time.is_empty());
            if !from_upstream && body_size > 0 {
                text = calls::buffer(Buffer::CallBody, body_size.min(ENVOYS_TEXT)).unwrap_or_default();
            }
        }
        self.judge(target, End::Answer { status, from_upstream, text: &text })
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
            correlation_id: delivery.head.correlation_id(),
            attempt: delivery.attempt,
            cause: Some(ended.outcome.cause),
            retry_in: again.ok().flatten(),
            reason: None,
            elapsed: Some(ended.elapsed),
        };
        let delivered = ended.outcome.verdict == Verdict::Delivered;
        journal::write(if delivered { Event::Delivered } else { Event::AttemptFailed }, report);
        self.count(target, if delivered { Metric::Delivered } else { Metric::AttemptFailures });
        delivery.last_outcome = Some(ended.outcome.cause);
        match again {
            Ok(None) => self.budget.give(delivery.charged),
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
            random: u64::from_le_bytes(self.random.take(calls::random)),
            has_place: self.lanes.get(delivery.target).is_some_and(|lane| lane.lane.has_place()),
        };
        let retry = self.retry_of(delivery.target).ok_or(ended.outcome.drop_reason())?;
        let delay = retry.next(failed, ended.now)?;
        self.park(delivery.target);
        Ok(delay)
    }
}

/// What the answer to the call that has just ended asks for.
fn retry_after() -> Option<Duration> {
    let value = calls::call_header("retry-after").ok().filter(|value| !value.is_empty())?;
    parse_retry_after(&value, calls::wall_clock())
}
