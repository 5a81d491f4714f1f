//! State that all parts of the mirror share: the host, the configuration, its metrics, random IDs, the work done in the current callback,
//! admission, and the list of next steps.

use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;

use super::admission::Admission;
use super::step::Step;
use crate::config::{Config, Target};
use crate::delivery::drop_reason::DropReason;
use crate::engine::delivery::Burden;
use crate::engine::host::Host;
use crate::engine::ids::{random_id, RandomPool};
use crate::engine::journal::{self, Report};
use crate::engine::metric_ids::TargetMetrics;
use crate::engine::worker::Worker;
use crate::observe::log_event::Event;
use crate::observe::metrics::Metric;

/// A callback starts no further expensive step once it has done one `SHARE`th of the work that one request may cause.
const SHARE: usize = 4;
/// The calls that make up a share. To hand a call to Envoy takes it about 25 µs, whatever the module does for it.
const CALLS: usize = 256;
/// The requests to give up that make up a share. Each is counted and logged, in about ten calls of the host.
pub(super) const GIVEN_UP: usize = 2_048;

/// The shared state. See the module.
pub(in crate::engine) struct Common<H> {
    pub(in crate::engine) worker: Rc<Worker<H>>,
    pub(in crate::engine) config: Config,
    pub(in crate::engine) admission: Admission,
    /// The next steps, in order. [`carry_out`](super::Mirror) takes them from here.
    pub(super) steps: Vec<Step>,
    pub(super) metrics: Vec<TargetMetrics<H>>,
    pub(super) random: RandomPool,
    /// The work done in this callback.
    work: usize,
    /// When the root ticks next.
    armed: Option<Duration>,
}

impl<H: Host> Common<H> {
    pub(super) fn new(worker: &Rc<Worker<H>>, config: Config, metrics: Vec<TargetMetrics<H>>, random: RandomPool) -> Self {
        Self {
            worker: Rc::clone(worker),
            admission: Admission::new(&config),
            config,
            steps: Vec::new(),
            metrics,
            random,
            work: 0,
            armed: None,
        }
    }

    /// Adds a step to the list.
    pub(super) fn follow(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub(super) fn target(&self, target: usize) -> Option<&Target> {
        self.config.targets.get(target)
    }

    pub(super) fn name(&self, target: usize) -> &str {
        self.target(target).map_or("", |target| target.name.as_str())
    }

    pub(super) fn id(&mut self) -> Uuid {
        random_id(self.bytes())
    }

    pub(super) fn random(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let Self { random, worker, .. } = self;
        random.take(|block| worker.random(block))
    }

    /// Resets the work counter at the beginning of a callback.
    pub(super) fn begin(&mut self) {
        self.work = 0;
    }

    /// Counts work that was done in this callback.
    pub(super) fn spend(&mut self, work: usize) {
        self.work = self.work.saturating_add(work);
    }

    /// Counts a call to Envoy as work.
    pub(super) fn spend_call(&mut self) {
        self.spend(self.share() / CALLS);
    }

    /// Counts requests that are given up as work.
    pub(super) fn spend_given_up(&mut self, requests: usize) {
        self.spend((self.share() / GIVEN_UP).saturating_mul(requests));
    }

    /// True if this callback has done its share of work.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent_with(0)
    }

    /// True if this callback has done its share of work once it has done this.
    pub(super) fn is_spent_with(&self, work: usize) -> bool {
        self.work.saturating_add(work) >= self.share()
    }

    fn share(&self) -> usize {
        self.config.reading.max_work / SHARE
    }

    /// Makes sure that the root ticks when something is due.
    pub(super) fn arm_by(&mut self, due: Duration, now: Duration) {
        if self.armed.is_none_or(|armed| due < armed) {
            self.arm(Some(due), now);
        }
    }

    pub(super) fn arm(&mut self, next: Option<Duration>, now: Duration) {
        self.armed = next;
        // Rounds up to milliseconds: a tick that comes a moment too early only has to come again.
        let period = next.map(|next| next.saturating_sub(now).saturating_add(Duration::from_micros(999)));
        self.worker.set_tick_period(period);
    }

    pub(super) fn metrics(&self, target: usize) -> Option<&TargetMetrics<H>> {
        self.metrics.get(target)
    }

    pub(super) fn count(&self, target: usize, metric: Metric) {
        self.add(target, metric, 1);
    }

    pub(super) fn add(&self, target: usize, metric: Metric, amount: i64) {
        if let Some(metrics) = self.metrics.get(target) {
            metrics.add(metric, amount);
        }
    }

    /// Counts copies as queued (`sign` is 1), or no longer as queued (-1).
    pub(super) fn count_queued(&self, burden: Burden, sign: i64) {
        self.add(burden.target, Metric::Queued, sign.saturating_mul(signed(burden.copies)));
        self.add(burden.target, Metric::QueuedBytes, sign.saturating_mul(signed(burden.bytes)));
    }

    /// Counts and logs that a copy is not due: what it waits for did not happen.
    pub(super) fn not_triggered(&self, target: usize, correlation_id: &str) {
        let report = Report { correlation_id, ..Report::of(self.name(target)) };
        journal::write(&self.worker, Event::NotTriggered, report);
        self.count(target, Metric::NotTriggered);
    }

    /// Drops a request that holds no reservation: logs and counts it.
    pub(super) fn drop_unsent(&self, target: usize, id: Option<Uuid>, correlation_id: &str, reason: DropReason) {
        let report = Report { delivery_id: id, correlation_id, reason: Some(reason), ..Report::of(self.name(target)) };
        journal::write(&self.worker, Event::GivenUp, report);
        self.count(target, Metric::Dropped(reason));
    }
}

/// Converts a number for metrics. A number that does not fit becomes `i64::MAX`.
pub(super) fn signed<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
