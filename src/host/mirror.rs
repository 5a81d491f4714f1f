//! A configuration in force, and every delivery under it: taken in, attempted, concluded.

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
use crate::outcome::{may_be_made_by_envoy, End, Outcome, Refusal};
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
    attempt: u32,
    head: Rc<CapturedHead>,
    body: Rc<Vec<u8>>,
    /// Bytes taken from the worker's budget for it.
    charged: usize,
}

/// A delivery whose attempt Envoy is making: the body is Envoy's now.
struct InFlight {
    id: Uuid,
    target: usize,
    attempt: u32,
    head: Rc<CapturedHead>,
    charged: usize,
    started: Duration,
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
        let charged = head.size().saturating_add(body.len());
        let head = Rc::new(head);
        let body = Rc::new(body);
        for target in wanted.targets() {
            let delivery = Delivery {
                id: random_id(self.random.take(calls::random)),
                target,
                attempt: 1,
                head: Rc::clone(&head),
                body: Rc::clone(&body),
                charged,
            };
            self.offer(delivery);
        }
    }

    /// Counts a request that never became a delivery.
    pub(super) fn give_up(&self, wanted: Wanted, head: &CapturedHead, reason: DropReason) {
        for target in wanted.targets() {
            self.give_up_unsent(target, None, head, reason);
        }
    }

    fn offer(&mut self, delivery: Delivery) {
        let (target, charged) = (delivery.target, delivery.charged);
        let Some(lane) = self.lanes.get_mut(target) else {
            return;
        };
        if !self.budget.take(charged) {
            self.give_up_unsent(target, Some(delivery.id), &delivery.head, DropReason::BufferFull);
            return;
        }
        match lane.lane.offer(delivery) {
            Offer::Go(delivery) => self.send(delivery),
            Offer::Queued => self.count_queued(target, 1, signed(charged)),
            Offer::Full(delivery) => {
                self.budget.give(charged);
                self.give_up_unsent(target, Some(delivery.id), &delivery.head, DropReason::QueueFull);
            }
        }
    }

    /// Attempts a delivery that has a place; as long as Envoy refuses, also those that wait for that place.
    fn send(&mut self, delivery: Delivery) {
        let mut next = Some(delivery);
        while let Some(delivery) = next {
            let started = calls::now();
            self.count(delivery.target, Metric::Attempts);
            let attempted = self.attempt(&delivery);
            let flight = InFlight {
                id: delivery.id,
                target: delivery.target,
                attempt: delivery.attempt,
                head: delivery.head,
                charged: delivery.charged,
                started,
            };
            next = match attempted {
                Ok(token) => {
                    self.count(flight.target, Metric::Inflight);
                    self.in_flight.insert(token, flight);
                    None
                }
                Err(refusal) => {
                    let outcome = self.judge(flight.target, End::Refused(refusal));
                    self.conclude(&flight, outcome, Duration::ZERO)
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
        calls::http_call(&target.cluster, &headers, &delivery.body, target.timeout)
    }

    /// A call has ended, with an answer or without.
    pub(super) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        let Some(flight) = self.in_flight.remove(&token) else {
            return;
        };
        let elapsed = calls::now().saturating_sub(flight.started);
        self.add(flight.target, Metric::Inflight, -1);
        self.add(flight.target, Metric::LatencyMs, signed(elapsed.as_millis()));
        let outcome = self.outcome(flight.target, elapsed, headers, body_size);
        if let Some(next) = self.conclude(&flight, outcome, elapsed) {
            self.send(next);
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
        let answer = End::Answer { status, from_upstream, text: &text };
        self.judge(target, answer)
    }

    fn judge(&self, target: usize, end: End<'_>) -> Outcome {
        self.config.targets.get(target).map_or(Outcome::HOST_ERROR, |target| target.policy.judge(end))
    }

    /// Books the end of an attempt; gives the delivery that can go in its place.
    fn conclude(&mut self, flight: &InFlight, outcome: Outcome, elapsed: Duration) -> Option<Delivery> {
        self.budget.give(flight.charged);
        let name = self.config.targets.get(flight.target).map_or("", |target| target.name.as_str());
        let report = Report {
            target: name,
            delivery_id: Some(flight.id),
            correlation_id: flight.head.correlation_id(),
            attempt: flight.attempt,
            cause: Some(outcome.cause),
            reason: None,
            elapsed: Some(elapsed),
        };
        match outcome.drop_reason() {
            None => {
                journal::write(Event::Delivered, report);
                self.count(flight.target, Metric::Delivered);
            }
            Some(reason) => {
                journal::write(Event::AttemptFailed, report);
                let reason_given = Report { reason: Some(reason), ..report };
                journal::write(Event::GivenUp, reason_given);
                self.count(flight.target, Metric::AttemptFailures);
                self.count(flight.target, Metric::Dropped(reason));
            }
        }
        let next = self.lanes.get_mut(flight.target)?.lane.ended()?;
        self.count_queued(next.target, -1, signed(next.charged).saturating_neg());
        Some(next)
    }

    /// Counts a delivery that is given up before any attempt.
    fn give_up_unsent(&self, target: usize, id: Option<Uuid>, head: &CapturedHead, reason: DropReason) {
        self.count(target, Metric::Dropped(reason));
        let name = self.config.targets.get(target).map_or("", |target| target.name.as_str());
        let report = Report {
            target: name,
            delivery_id: id,
            correlation_id: head.correlation_id(),
            attempt: 0,
            cause: None,
            reason: Some(reason),
            elapsed: None,
        };
        journal::write(Event::GivenUp, report);
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

/// A number as metrics take it; what is too large for that is as large as can be.
fn signed<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
