//! A configuration in force, and every delivery under it: taken in, waiting for a place or a time, attempted (`attempt`).

mod attempt;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use super::calls;
use super::journal::{self, Report};
use super::metrics::TargetMetrics;
use crate::config::{Config, Target};
use crate::headers::HeaderMap;
use crate::ids::{random_id, RandomPool};
use crate::log_event::Event;
use crate::outbox::{ByteBudget, Lane, Offer};
use crate::shape::{CapturedHead, RequestHead};
use crate::stats::{DropReason, Metric};

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

/// A number as metrics take it; what is too large for that is as large as can be.
fn signed<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
