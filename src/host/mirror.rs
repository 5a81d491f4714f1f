//! A configuration in force, and every delivery under it: taken in, waiting for a place or a time, attempted (`attempt`),
//! given up (`given_up`).

mod attempt;
mod given_up;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use uuid::Uuid;

use self::given_up::{GivenUp, Posted};
use super::calls;
use super::guard::Guard;
use super::metrics::TargetMetrics;
use crate::breaker::{Permit, Sample};
use crate::config::{Config, Target};
use crate::headers::HeaderMap;
use crate::ids::{random_id, RandomPool};
use crate::outbox::{ByteBudget, Lane, Offer};
use crate::outcome::Cause;
use crate::rate_limit::TokenBucket;
use crate::shape::{CapturedHead, RequestHead};
use crate::stats::{DropReason, Metric};

/// A configuration in force.
pub(super) struct Mirror {
    pub(super) config: Config,
    pub(super) budget: ByteBudget,
    random: RandomPool,
    /// One for each target of the configuration, in its order.
    lanes: Vec<TargetLane>,
    under_way: FxHashMap<u32, UnderWay>,
    /// Deliveries that wait for a time: when they are due, and a number that tells those of the same time apart.
    waiting: BTreeMap<(Duration, u64), Delivery>,
    serial: u64,
    drain: Drain,
}

/// How far a configuration is on its way out.
#[derive(Clone, Copy)]
enum Drain {
    /// It is in force.
    No,
    /// No new request comes; deliveries that have not ended by then are given up.
    Deliveries(Duration),
    /// Letters that have not ended by then are given up, too.
    Letters(Duration),
}

impl Drain {
    fn end(self) -> Option<Duration> {
        match self {
            Self::No => None,
            Self::Deliveries(end) | Self::Letters(end) => Some(end),
        }
    }
}

/// One target's copies, what is allowed for them, and its metrics.
struct TargetLane {
    lane: Lane<Delivery>,
    /// Bounded like the copies, and apart from them: a target that takes up all places of its own must not keep letters from leaving.
    letters: Lane<GivenUp>,
    rate: Option<TokenBucket>,
    guard: Guard,
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
    /// How its latest attempt ended.
    last_outcome: Option<Cause>,
}

/// A call that Envoy is making.
enum UnderWay {
    Attempt(InFlight),
    Letter(Posted),
}

/// A delivery whose attempt Envoy is making.
struct InFlight {
    delivery: Delivery,
    started: Duration,
    permit: Permit,
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
            Ok::<_, String>(TargetLane {
                lane: Lane::new(target.max_in_flight, target.max_queued),
                letters: Lane::new(target.max_in_flight, target.max_queued),
                rate: target.rate.clone(),
                guard: Guard::new(&target.name, &target.cluster, target.breaker, &metrics),
                metrics,
            })
        };
        Ok(Self {
            lanes: config.targets.iter().map(lane).collect::<Result<_, _>>()?,
            budget: ByteBudget::new(config.max_buffered_bytes),
            config,
            random: RandomPool::filled(calls::random).ok_or("configuration: Envoy gives no random bytes for ids")?,
            under_way: FxHashMap::default(),
            waiting: BTreeMap::new(),
            serial: 0,
            drain: Drain::No,
        })
    }

    pub(super) fn target_count(&self) -> usize {
        self.lanes.len()
    }

    /// True when nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.lane.is_idle() && lane.letters.is_idle())
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
                last_outcome: None,
            };
            self.offer(delivery, now);
        }
    }

    /// Counts a request that never became a delivery.
    pub(super) fn give_up_incomplete(&self, wanted: Wanted, head: &CapturedHead, reason: DropReason) {
        for target in wanted.targets() {
            self.give_up_unsent(target, None, head, reason);
        }
    }

    fn offer(&mut self, delivery: Delivery, now: Duration) {
        let (target, charged) = (delivery.target, delivery.charged);
        let Some(lane) = self.lanes.get_mut(target) else {
            return;
        };
        if !self.budget.take(charged) {
            self.give_up_unsent(target, Some(delivery.id), &delivery.head, DropReason::BufferFull);
            return;
        }
        if lane.rate.as_mut().is_some_and(|rate| !rate.take(now)) {
            self.give_up_before_attempt(delivery, DropReason::RateLimited, now);
            return;
        }
        match lane.lane.offer(delivery) {
            Offer::Go(delivery) => self.send(delivery, now),
            Offer::Queued => self.count_queued(target, 1, signed(charged)),
            Offer::Full(delivery) => self.give_up_before_attempt(delivery, DropReason::QueueFull, now),
        }
    }

    /// Lets a delivery, which has its place among those that wait, wait for a time.
    fn wait(&mut self, delivery: Delivery, now: Duration, delay: Duration) {
        self.count_queued(delivery.target, 1, signed(delivery.charged));
        self.serial = self.serial.wrapping_add(1);
        let earliest = self.waiting.first_key_value().map(|((due, _), _)| *due);
        let due = now.saturating_add(delay);
        self.waiting.insert((due, self.serial), delivery);
        if earliest.is_none_or(|earliest| due < earliest) {
            self.arm(now);
        }
    }

    /// Lets the root tick when the next delivery is due, or the drain ends, and not before; never, when there is no such time.
    fn arm(&self, now: Duration) {
        let due = self.waiting.first_key_value().map(|((due, _), _)| *due);
        let next = due.into_iter().chain(self.drain.end()).min().map(|time| time.saturating_sub(now));
        // A tick that came a moment too early would only have to come again.
        calls::set_tick_period(next.map(|next| next.saturating_add(Duration::from_micros(999))));
    }

    /// No new request comes. What is under way has this long to end.
    pub(super) fn drain(&mut self) {
        let now = calls::monotonic();
        if !self.is_idle() {
            self.drain = Drain::Deliveries(now.saturating_add(self.config.drain_timeout));
            self.arm(now);
        }
    }

    /// The time of some that wait, or of a drain, has come.
    pub(super) fn tick(&mut self) {
        let now = calls::monotonic();
        match self.drain {
            Drain::Deliveries(end) if end <= now => {
                self.abandon_deliveries(now);
                let timeouts = self.config.targets.iter().filter_map(|target| Some(target.dead_letter.as_ref()?.timeout));
                self.drain = Drain::Letters(now.saturating_add(timeouts.max().unwrap_or_default()));
            }
            Drain::Letters(end) if end <= now => self.abandon_letters(),
            _ => {}
        }
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

    /// Tells a target's breaker how an attempt ended.
    fn settle(&mut self, target: usize, permit: Permit, sample: Option<Sample>, now: Duration) {
        if let Some(TargetLane { guard, metrics, .. }) = self.lanes.get_mut(target) {
            guard.settle(permit, sample, metrics, now);
        }
    }

    /// Shows the breakers that none of the others uses as closed: this was the last to know them.
    pub(super) fn leave<'a>(&mut self, others: impl Iterator<Item = &'a Self> + Clone) {
        for TargetLane { guard, metrics, .. } in &mut self.lanes {
            if !others.clone().flat_map(|other| &other.lanes).any(|lane| lane.guard.shares_with(guard)) {
                guard.leave(metrics);
            }
        }
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
