//! A configuration in force, and every delivery under it: taken in, put together, waiting for a place or a time, attempted
//! (`attempt`), held back by a circuit breaker (`held`), compared (`comparison`), given up (`given_up`).

mod attempt;
mod batching;
mod comparison;
mod decision;
mod deferred;
mod delivery;
mod given_up;
mod held;
mod intake;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use self::batching::Batching;
pub(super) use self::comparison::{Comparison, Reply};
use self::deferred::Slice;
pub(super) use self::delivery::BatchItem;
use self::delivery::{Burden, Delivery, InFlight};
use self::given_up::{GivenUp, Posted};
use self::held::Held;
pub(super) use self::intake::{Complete, Targets, Wanted};
use super::guard::Guard;
use super::host::Host;
use super::metrics::TargetMetrics;
use super::probe;
use super::worker::Worker;
use crate::config::{Config, Target};
use crate::delivery::admission::{ByteBudget, Lane, Offer};
use crate::delivery::rate_limit::TokenBucket;
use crate::engine::ids::RandomPool;
use crate::observe::metrics::Metric;

/// A configuration in force.
pub(super) struct Mirror<H> {
    pub(super) worker: Rc<Worker<H>>,
    pub(super) config: Config,
    pub(super) budget: ByteBudget,
    /// The bytes of bodies that are not complete, which are part of the others.
    pub(super) uploads: ByteBudget,
    random: RandomPool,
    /// One for each target of the configuration, in its order.
    lanes: Vec<TargetLane<H>>,
    under_way: FxHashMap<u32, UnderWay>,
    /// Deliveries that wait for a time: when they are due, and a number that tells those of the same time apart.
    waiting: BTreeMap<(Duration, u64), Delivery>,
    serial: u64,
    /// Work, and what it leaves for later.
    slice: Slice,
    /// When the root ticks next.
    armed: Option<Duration>,
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
struct TargetLane<H> {
    lane: Lane<Delivery>,
    /// Bounded like the copies, and apart from them: a target that takes up all places of its own must not keep letters from leaving.
    letters: Lane<GivenUp>,
    batching: Option<Batching>,
    rate: Option<TokenBucket>,
    guard: Guard<H>,
    /// What waits for the guard.
    held: Held,
    metrics: TargetMetrics<H>,
}

/// A call that Envoy is making.
enum UnderWay {
    Attempt(InFlight),
    Letter(Posted),
}

impl<H: Host> Mirror<H> {
    /// Puts a configuration in force.
    ///
    /// # Errors
    /// Envoy does not define a metric, or has no random bytes.
    pub(super) fn try_new(worker: &Rc<Worker<H>>, config: Config) -> Result<Self, Vec<String>> {
        let lane = |target: &Target| {
            let metrics = TargetMetrics::of(worker, &target.name).map_err(|error| {
                vec![format!("targets: Envoy does not define the metrics of {:?}: status {}", target.name, error.0)]
            })?;
            let guard = Guard::new(worker, &target.name, &target.cluster, target.breaker, &metrics);
            if let Some(call) = guard.refused() {
                return Err(vec![probe::message(
                    call,
                    "no circuit breaker can work (circuit_breaker: {mode: disabled} needs none)",
                )]);
            }
            Ok(TargetLane {
                lane: Lane::new(target.max_in_flight, target.max_queued),
                letters: Lane::new(target.max_in_flight, target.max_queued),
                batching: target.batch.map(Batching::new),
                rate: target.rate.clone(),
                guard,
                held: Held::default(),
                metrics,
            })
        };
        Ok(Self {
            worker: Rc::clone(worker),
            lanes: config.targets.iter().map(lane).collect::<Result<_, _>>()?,
            budget: ByteBudget::new(config.max_buffered_bytes),
            uploads: ByteBudget::new(config.max_buffered_bytes),
            config,
            random: RandomPool::filled(|block| worker.random(block))
                .ok_or_else(|| vec![probe::message("random_get", "there are no ids for copies")])?,
            under_way: FxHashMap::default(),
            waiting: BTreeMap::new(),
            serial: 0,
            slice: Slice::default(),
            armed: None,
            drain: Drain::No,
        })
    }

    pub(super) fn target_count(&self) -> usize {
        self.lanes.len()
    }

    /// True when nothing waits and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.has_nothing_deferred() && self.lanes.iter().all(|lane| lane.lane.is_idle() && lane.letters.is_idle())
    }

    /// Lets a delivery, which has its places among those that wait, wait for a time.
    fn wait(&mut self, delivery: Delivery, now: Duration, delay: Duration) {
        self.count_queued(delivery.burden(), 1);
        self.serial = self.serial.wrapping_add(1);
        let due = now.saturating_add(delay);
        self.waiting.insert((due, self.serial), delivery);
        self.arm_by(due, now);
    }

    /// Makes sure that the root ticks when something is due.
    fn arm_by(&mut self, due: Duration, now: Duration) {
        if self.armed.is_none_or(|armed| due < armed) {
            self.arm(Some(due), now);
        }
    }

    fn arm(&mut self, next: Option<Duration>, now: Duration) {
        self.armed = next;
        // A tick that came a moment too early would only have to come again.
        let period = next.map(|next| next.saturating_sub(now).saturating_add(Duration::from_micros(999)));
        self.worker.set_tick_period(period);
    }

    /// When the next delivery or batch is due, or the drain ends; none, when there is no such time.
    fn next_due(&self, now: Duration) -> Option<Duration> {
        let delivery = self.waiting.first_key_value().map(|((due, _), _)| *due);
        let batches = self.lanes.iter().filter_map(|lane| lane.batching.as_ref()?.due());
        let held = self.lanes.iter().filter_map(|lane| lane.held.due());
        batches.chain(held).chain(delivery).chain(self.deferred_due(now)).chain(self.drain.end()).min()
    }

    /// No new request comes. Batches go as they are, and what is under way has this long to end.
    pub(super) fn drain(&mut self) {
        let now = self.worker.monotonic();
        for target in 0..self.lanes.len() {
            self.close_batch(target, now);
        }
        if !self.is_idle() {
            self.drain = Drain::Deliveries(now.saturating_add(self.config.drain_timeout));
            self.arm(self.next_due(now), now);
        }
    }

    /// The time of some that wait, of a batch, or of a drain, has come.
    pub(super) fn tick(&mut self) {
        let now = self.worker.monotonic();
        match self.drain {
            Drain::Deliveries(end) if end <= now => {
                self.abandon_deliveries(now);
                let timeouts = self.config.targets.iter().filter_map(|target| Some(target.dead_letter.as_ref()?.timeout));
                self.drain = Drain::Letters(now.saturating_add(timeouts.max().unwrap_or_default()));
            }
            Drain::Letters(end) if end <= now => self.abandon_letters(),
            _ => {}
        }
        self.resume(now);
        for target in 0..self.lanes.len() {
            match self.drain {
                Drain::No => self.batch_due(target, now),
                _ => self.close_batch(target, now),
            }
            self.held_due(target, now);
        }
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let delivery = entry.remove();
            self.leave_wait(delivery, now);
        }
        self.arm(self.next_due(now), now);
    }

    /// A delivery that was counted as waiting, and has its places, goes if it can.
    fn leave_wait(&mut self, delivery: Delivery, now: Duration) {
        if let Some(Offer::Go(delivery)) = self.lanes.get_mut(delivery.target).map(|lane| lane.lane.unpark(delivery)) {
            self.count_queued(delivery.burden(), -1);
            self.send(delivery, now);
        }
    }

    /// Gives the place of one that ended to the next that waits for it.
    fn leave_place(&mut self, target: usize) -> Option<Delivery> {
        let next = self.lanes.get_mut(target)?.lane.ended()?;
        self.count_queued(next.burden(), -1);
        Some(next)
    }

    /// Lets go of the breakers that none of the others uses: this was the last to know them.
    pub(super) fn leave<'a>(&mut self, others: impl Iterator<Item = &'a Self> + Clone)
    where
        H: 'a,
    {
        for TargetLane { guard, metrics, .. } in &mut self.lanes {
            let of_name = || others.clone().flat_map(|other| &other.lanes).filter(|lane| lane.guard.has_name_of(guard));
            let (has_name, is_shared) = (of_name().next().is_some(), of_name().any(|lane| lane.guard.shares_with(guard)));
            if !has_name {
                guard.show_closed(metrics);
            }
            if !is_shared {
                guard.leave();
            }
        }
    }

    fn name(&self, target: usize) -> &str {
        self.config.targets.get(target).map_or("", |target| target.name.as_str())
    }

    /// Counts copies as waiting (1), or no longer so (-1).
    fn count_queued(&self, burden: Burden, sign: i64) {
        self.add(burden.target, Metric::Queued, sign.saturating_mul(signed(burden.copies)));
        self.add(burden.target, Metric::QueuedBytes, sign.saturating_mul(signed(burden.bytes)));
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
