//! The metrics of a configuration. Envoy identifies them by number.

use std::cell::Cell;
use std::rc::Rc;

use super::host::{Host, HostError};
use super::unexpected::Unexpected;
use super::worker::{Ids, Worker};
use crate::config::{After, Config, Target};
use crate::delivery::drop_reason::DropReason;
use crate::observe::metrics::{Kind, Metric, BUILD_INFO};
use crate::rewrite::shape::PathRewrite;

/// The metrics of one target.
pub(super) struct TargetMetrics<H> {
    worker: Rc<Worker<H>>,
    target: String,
    /// All configurations of the worker that have a target of this name share them.
    ids: Rc<Ids>,
}

/// A gauge with the version in its name that shows which version runs. Each root that serves requests adds 1 and subtracts it when it drains, so
/// that several versions may run at a time.
pub(super) struct BuildInfo<H> {
    worker: Rc<Worker<H>>,
    id: u32,
    is_counted: bool,
}

impl<H: Host> BuildInfo<H> {
    pub(super) fn define(worker: &Rc<Worker<H>>) -> Result<Self, HostError> {
        let id = match worker.build_info.get() {
            Some(id) => id,
            None => worker.host.define_metric(Kind::Gauge, &format!("{BUILD_INFO}.{}", env!("CARGO_PKG_VERSION")))?,
        };
        worker.build_info.set(Some(id));
        Ok(Self { worker: Rc::clone(worker), id, is_counted: false })
    }

    /// True if Envoy lets the gauge be changed.
    pub(super) fn can_be_moved(&self) -> bool {
        self.worker.host.increment_metric(self.id, 0)
    }

    /// Counts the root while it serves, and no longer once it drains.
    pub(super) fn count(&mut self, serves: bool) {
        if self.is_counted != serves {
            self.is_counted = serves;
            self.worker.host.increment_metric(self.id, if serves { 1 } else { -1 });
        }
    }
}

impl<H: Host> TargetMetrics<H> {
    /// Returns the metrics of a target. Defines those that can move in this configuration, so that they exist with value 0 before anything happens.
    /// Others cost series in every scrape and say nothing.
    pub(super) fn of(worker: &Rc<Worker<H>>, config: &Config, target: &Target) -> Result<Self, HostError> {
        let ids = match worker.defined.try_borrow_mut() {
            Ok(mut defined) => Rc::clone(defined.entry(target.name.clone()).or_insert_with(|| Rc::new(none()))),
            // Nothing holds the table for longer than this.
            Err(_) => Rc::new(none()),
        };
        let metrics = Self { worker: Rc::clone(worker), target: target.name.clone(), ids };
        for metric in Metric::ALL.into_iter().filter(|metric| can_move(*metric, target, config)) {
            metrics.defined(metric)?;
        }
        Ok(metrics)
    }

    /// Changes a counter or gauge by `amount`, or records `amount` in a histogram. Gauges that add up over all workers are changed, never set.
    ///
    /// A metric that was not expected to move is defined now: nothing goes uncounted.
    pub(super) fn add(&self, metric: Metric, amount: i64) {
        debug_assert!(self.id(metric).is_some(), "{metric:?} of {} can move", self.target);
        match (self.defined(metric), metric.kind()) {
            (Ok(id), Kind::Histogram) => {
                self.worker.host.record_metric(id, u64::try_from(amount).unwrap_or(0));
            }
            (Ok(id), Kind::Counter | Kind::Gauge) => {
                self.worker.host.increment_metric(id, amount);
            }
            (Err(error), _) => self.worker.note(Unexpected::HostCall("proxy_define_metric", error.0)),
        }
    }

    /// Sets a gauge that has the same value in all workers. One that is not defined needs no value.
    pub(super) fn set(&self, gauge: Metric, value: u64) {
        if let Some(id) = self.id(gauge) {
            self.worker.host.record_metric(id, value);
        }
    }

    /// The number of a metric. `None` if it is not defined.
    fn id(&self, metric: Metric) -> Option<u32> {
        self.ids.get(metric.index()).and_then(Cell::get)
    }

    /// The number of a metric, which is defined if it was not.
    fn defined(&self, metric: Metric) -> Result<u32, HostError> {
        if let Some(id) = self.id(metric) {
            return Ok(id);
        }
        let id = self.worker.host.define_metric(metric.kind(), &metric.full_name(&self.target))?;
        if let Some(place) = self.ids.get(metric.index()) {
            place.set(Some(id));
        }
        Ok(id)
    }
}

/// No metric is defined.
fn none() -> Ids {
    std::array::from_fn(|_| Cell::new(None))
}

/// True if the metric of the target can move in this configuration. The operator sees it from the start then, as 0.
fn can_move(metric: Metric, target: &Target, config: &Config) -> bool {
    match metric {
        Metric::SampledOut => target.sample.is_some(),
        Metric::NotTriggered => target.after != After::Request,
        Metric::Retries => target.retry.is_some(),
        Metric::DeadLettered => target.dead_letter.is_some(),
        Metric::BreakerOpened | Metric::BreakerState => target.breaker.is_some(),
        Metric::BatchItems => target.batch.is_some(),
        Metric::CompareMatch
        | Metric::CompareStatusMismatch
        | Metric::CompareBodyMismatch
        | Metric::CompareNotComparable
        | Metric::ComparePrimaryLatencyMs
        | Metric::CompareTargetLatencyMs => target.compare.is_some(),
        Metric::Dropped(reason) => can_drop(reason, target, config),
        Metric::Matched
        | Metric::Attempts
        | Metric::Delivered
        | Metric::Inflight
        | Metric::Queued
        | Metric::QueuedBytes
        | Metric::LatencyMs
        | Metric::AttemptFailures(_) => true,
    }
}

/// True if copies for the target can be dropped for this reason. Clients and Envoy decide about most of them.
fn can_drop(reason: DropReason, target: &Target, config: &Config) -> bool {
    match reason {
        DropReason::Expired | DropReason::RetryBudget => target.retry.is_some(),
        DropReason::CircuitOpen => target.breaker.is_some_and(|breaker| !breaker.observe),
        DropReason::RateLimited => target.rate.is_some(),
        // Rules of a leader that look at the body decide for its followers, too.
        DropReason::BodyNotJson => target.shape.reads_json() || target.batch.is_some() || !config.matched_pointers.is_empty(),
        DropReason::UnsafePath => !matches!(target.shape.head.path, PathRewrite::Primary),
        DropReason::ResponseTooLarge | DropReason::ResponseNotJson => target.shape.answers.reads_bodies(),
        DropReason::BodyTooLarge
        | DropReason::Truncated
        | DropReason::QueueFull
        | DropReason::BufferFull
        | DropReason::RetriesExhausted
        | DropReason::NotRetryable
        | DropReason::UnknownCluster
        | DropReason::Shutdown
        | DropReason::GrpcStream
        | DropReason::AnsweredEarly
        | DropReason::WorkLimit => true,
    }
}
