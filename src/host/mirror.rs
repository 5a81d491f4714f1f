//! A configuration in force, and every delivery under it: taken in, attempted, concluded.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::calls::{self, Buffer};
use super::journal::{self, Report};
use super::metrics::TargetMetrics;
use crate::config::{Config, Target};
use crate::headers::HeaderMap;
use crate::ids::{random_id, RandomPool};
use crate::log_event::Event;
use crate::outbox::{ByteBudget, Lane, Offer};
use crate::outcome::{may_be_made_by_envoy, Cause, End, Outcome, Refusal, Verdict};
use crate::retry::{parse_retry_after, Failed, RetryPolicy};
use crate::shape::{Attempt, CapturedHead, HeadersTooLarge, RequestHead};
use crate::stats::{DropReason, Metric};

/// How much of an answer of Envoy's own is read to learn what happened.
const ENVOYS_TEXT: usize = 512;

/// A configuration in force.
pub(super) struct Mirror {
    pub(super) config: Config,
    pub(super) budget: ByteBudget,
    random: RandomPool,
    /// One for each target of the configuration, in its order.
    lanes: Vec<TargetLane>,
    in_flight: FxHashMap<u32, InFlight>,
    /// Deliveries that wait for a time: when they are due, and a number that tells those of the same time apart.
    waiting: BTreeMap<(Duration, u64), Delivery>,
    serial: u64,
}

/// One target's copies and metrics.
struct TargetLane {
    lane: Lane<Delivery>,
    metrics: TargetMetrics,
}

/// One request on its way to one target.
struct Delivery {
    id: Uuid,
    target: usize,
    /// The attempt that is next, or under way; from 1.
    attempt: u32,
    head: Rc<CapturedHead>,
    /// None once no further attempt needs it: Envoy has its own copy.
    body: Option<Rc<Vec<u8>>>,
    /// Bytes taken from the worker's budget for it.
    charged: usize,
    /// When its request was complete.
    received: Duration,
}

/// A delivery whose attempt Envoy is making.
struct InFlight {
    delivery: Delivery,
    started: Duration,
}

/// The end of an attempt.
#[derive(Clone, Copy)]
struct Ended {
    outcome: Outcome,
    elapsed: Duration,
    retry_after: Option<Duration>,
    now: Duration,
}

/// The targets that want a request, a bit each: there are at most 32.
#[derive(Clone, Copy)]
pub(super) struct Wanted(u32);

impl Wanted {
    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn targets(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |target| self.0 & (1 << target) != 0)
    }
}

impl Mirror {
    /// Puts a configuration in force.
    ///
    /// # Errors
    /// Envoy does not define a metric, or has no random bytes.
    pub(super) fn try_new(config: Config) -> Result<Self, String> {
        let lane = |target: &Target| {
            let metrics = TargetMetrics::define(&target.name).map_err(|error| {
                format!("targets: Envoy does not define the metrics of {:?}: status {}", target.name, error.0)
            })?;
            Ok::<_, String>(TargetLane { lane: Lane::new(target.max_in_flight, target.max_queued), metrics })
        };
        Ok(Self {
            lanes: config.targets.iter().map(lane).collect::<Result<_, _>>()?,
            budget: ByteBudget::new(config.max_buffered_bytes),
            config,
            random: RandomPool::filled(calls::random).ok_or("configuration: Envoy gives no random bytes for ids")?,
            in_flight: FxHashMap::default(),
            waiting: BTreeMap::new(),
            serial: 0,
        })
    }

    pub(super) fn target_count(&self) -> usize {
        self.lanes.len()
    }

    /// True when nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.lane.is_idle())
    }

    /// The targets that want a request; counts it for each of them.
    pub(super) fn wanted(&self, head: &RequestHead<'_>, headers: &HeaderMap) -> Wanted {
        let mut bits = 0_u32;
        for (index, target) in self.config.targets.iter().enumerate() {
            if target.matcher.wants(head.method, head.path, headers) {
                bits |= 1 << index;
                self.count(index, Metric::Matched);
            }
        }
        Wanted(bits)
    }

    /// Keeps what targets may see of a request that is wanted.
    pub(super) fn capture(&mut self, headers: &HeaderMap, head: &RequestHead<'_>) -> CapturedHead {
        let mut head = CapturedHead::capture(headers, head, &self.config);
        head.correlate(&self.config.correlation_header, || random_id(self.random.take(calls::random)));
        head
    }

    /// Takes a complete request in for each target that wants it. All of them share its body.
    pub(super) fn accept(&mut self, wanted: Wanted, head: CapturedHead, body: Vec<u8>) {
        let now = calls::monotonic();
        let charged = head.size().saturating_add(body.len());
        let head = Rc::new(head);
        let body = Rc::new(body);
        for target in wanted.targets() {
            let delivery = Delivery {
                id: random_id(self.random.take(calls::random)),
                target,
                attempt: 1,
                head: Rc::clone(&head),
                body: Some(Rc::clone(&body)),
                charged,
                received: now,
            };
            self.offer(delivery, now);
        }
    }

    /// Counts a request that never became a delivery.
    pub(super) fn give_up(&self, wanted: Wanted, head: &CapturedHead, reason: DropReason) {
        for target in wanted.targets() {
            self.give_up_unsent(target, None, head, 0, reason);
        }
    }

    fn offer(&mut self, delivery: Delivery, now: Duration) {
        let (target, charged) = (delivery.target, delivery.charged);
        let Some(lane) = self.lanes.get_mut(target) else {
            return;
        };
        if !self.budget.take(charged) {
            self.give_up_unsent(target, Some(delivery.id), &delivery.head, 0, DropReason::BufferFull);
            return;
        }
        match lane.lane.offer(delivery) {
            Offer::Go(delivery) => self.send(delivery, now),
            Offer::Queued => self.count_queued(target, 1, signed(charged)),
            Offer::Full(delivery) => {
                self.budget.give(charged);
                self.give_up_unsent(target, Some(delivery.id), &delivery.head, 0, DropReason::QueueFull);
            }
        }
    }

    /// Attempts a delivery that has a place; as long as none is under way for it, also those that wait for that place.
    fn send(&mut self, delivery: Delivery, now: Duration) {
        let mut next = Some(delivery);
        while let Some(mut delivery) = next {
            let target = delivery.target;
            if self.has_expired(&delivery, now) {
                self.budget.give(delivery.charged);
                let attempts = delivery.attempt.saturating_sub(1);
                self.give_up_unsent(target, Some(delivery.id), &delivery.head, attempts, DropReason::Expired);
                next = self.leave_place(target);
                continue;
            }
            self.count_attempt(&delivery, now);
            next = match self.attempt(&delivery) {
                Ok(token) => {
                    self.count(target, Metric::Inflight);
                    if !self.may_be_retried(&delivery) {
                        delivery.body = None;
                    }
                    self.in_flight.insert(token, InFlight { delivery, started: now });
                    None
                }
                Err(refusal) => {
                    let outcome = self.judge(target, End::Refused(refusal));
                    let ended = Ended { outcome, elapsed: Duration::ZERO, retry_after: None, now };
                    self.conclude(delivery, ended)
                }
            };
        }
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

    fn may_be_retried(&mut self, delivery: &Delivery) -> bool {
        self.retry_of(delivery.target).is_some_and(|retry| delivery.attempt < retry.max_attempts)
    }

    fn has_expired(&mut self, delivery: &Delivery, now: Duration) -> bool {
        let age = now.saturating_sub(delivery.received);
        self.retry_of(delivery.target).is_some_and(|retry| age >= retry.expire_after)
    }

    /// A call has ended, with an answer or without.
    pub(super) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        let Some(InFlight { delivery, started }) = self.in_flight.remove(&token) else {
            return;
        };
        let now = calls::monotonic();
        let elapsed = now.saturating_sub(started);
        self.add(delivery.target, Metric::Inflight, -1);
        self.add(delivery.target, Metric::LatencyMs, signed(elapsed.as_millis()));
        let outcome = self.outcome(delivery.target, elapsed, headers, body_size);
        let retry_after = if matches!(outcome.cause, Cause::Status(429 | 503)) { retry_after() } else { None };
        if let Some(next) = self.conclude(delivery, Ended { outcome, elapsed, retry_after, now }) {
            self.send(next, now);
        }
    }

    /// Reads how a call ended, with as few host calls as it takes.
    fn outcome(&self, target: usize, elapsed: Duration, headers: u32, body_size: usize) -> Outcome {
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

    fn judge(&self, target: usize, end: End<'_>) -> Outcome {
        self.config.targets.get(target).map_or(Outcome::HOST_ERROR, |target| target.policy.judge(end))
    }

    /// Books the end of an attempt: delivered, to be tried again, or given up. Gives the delivery that can go in its place.
    fn conclude(&mut self, delivery: Delivery, ended: Ended) -> Option<Delivery> {
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
        match again {
            Ok(None) => {
                journal::write(Event::Delivered, report);
                self.count(target, Metric::Delivered);
            }
            Ok(Some(_)) => journal::write(Event::AttemptFailed, report),
            Err(reason) => {
                journal::write(Event::AttemptFailed, report);
                journal::write(Event::GivenUp, Report { reason, ..report });
                reason.into_iter().for_each(|reason| self.count(target, Metric::Dropped(reason)));
            }
        }
        if ended.outcome.verdict != Verdict::Delivered {
            self.count(target, Metric::AttemptFailures);
        }
        match again {
            Ok(Some(delay)) => self.wait(delivery, ended.now, delay),
            Ok(None) | Err(_) => self.budget.give(delivery.charged),
        }
        self.leave_place(target)
    }

    /// How long to wait before the next attempt; or why there is none. A place to wait is taken.
    fn retry_in(&mut self, delivery: &Delivery, ended: Ended) -> Result<Duration, Option<DropReason>> {
        let failed = Failed {
            attempt: delivery.attempt,
            age: ended.now.saturating_sub(delivery.received),
            retry_after: ended.retry_after,
            random: u64::from_le_bytes(self.random.take(calls::random)),
        };
        let retry = self.retry_of(delivery.target).ok_or(ended.outcome.drop_reason())?;
        let delay = retry.next(failed, ended.now).map_err(Some)?;
        let parked = self.lanes.get_mut(delivery.target).is_some_and(|lane| lane.lane.park());
        if parked {
            Ok(delay)
        } else {
            Err(Some(DropReason::QueueFull))
        }
    }

    fn wait(&mut self, mut delivery: Delivery, now: Duration, delay: Duration) {
        self.count_queued(delivery.target, 1, signed(delivery.charged));
        delivery.attempt = delivery.attempt.saturating_add(1);
        self.serial = self.serial.wrapping_add(1);
        let earliest = self.waiting.first_key_value().map(|((due, _), _)| *due);
        let due = now.saturating_add(delay);
        self.waiting.insert((due, self.serial), delivery);
        if earliest.is_none_or(|earliest| due < earliest) {
            self.arm(now);
        }
    }

    /// Lets the root tick when the next delivery is due, and not before; never, when none waits.
    fn arm(&self, now: Duration) {
        let next = self.waiting.first_key_value().map(|((due, _), _)| due.saturating_sub(now));
        // A tick that came a moment too early would only have to come again.
        calls::set_tick_period(next.map(|next| next.saturating_add(Duration::from_micros(999))));
    }

    /// The time of some that wait has come.
    pub(super) fn tick(&mut self) {
        let now = calls::monotonic();
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let delivery = entry.remove();
            let (target, charged) = (delivery.target, delivery.charged);
            if let Some(Offer::Go(delivery)) = self.lanes.get_mut(target).map(|lane| lane.lane.unpark(delivery)) {
                self.count_queued(target, -1, signed(charged).saturating_neg());
                self.send(delivery, now);
            }
        }
        self.arm(now);
    }

    /// Gives the place of one that ended to the next that waits for it.
    fn leave_place(&mut self, target: usize) -> Option<Delivery> {
        let next = self.lanes.get_mut(target)?.lane.ended()?;
        self.count_queued(target, -1, signed(next.charged).saturating_neg());
        Some(next)
    }

    /// Counts a delivery that is given up without another attempt.
    fn give_up_unsent(&self, target: usize, id: Option<Uuid>, head: &CapturedHead, attempts: u32, reason: DropReason) {
        self.count(target, Metric::Dropped(reason));
        let report = Report {
            target: self.name(target),
            delivery_id: id,
            correlation_id: head.correlation_id(),
            attempt: attempts,
            cause: None,
            retry_in: None,
            reason: Some(reason),
            elapsed: None,
        };
        journal::write(Event::GivenUp, report);
    }

    fn name(&self, target: usize) -> &str {
        self.config.targets.get(target).map_or("", |target| target.name.as_str())
    }

    fn count_queued(&self, target: usize, copies: i64, bytes: i64) {
        self.add(target, Metric::Queued, copies);
        self.add(target, Metric::QueuedBytes, bytes);
    }

    fn count(&self, target: usize, metric: Metric) {
        self.add(target, metric, 1);
    }

    fn add(&self, target: usize, metric: Metric, amount: i64) {
        if let Some(lane) = self.lanes.get(target) {
            lane.metrics.add(metric, amount);
        }
    }
}

/// What the answer to the call that has just ended asks for.
fn retry_after() -> Option<Duration> {
    let value = calls::call_header("retry-after").ok().filter(|value| !value.is_empty())?;
    parse_retry_after(&value, calls::wall_clock())
}

/// A number as metrics take it; what is too large for that is as large as can be.
fn signed<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
