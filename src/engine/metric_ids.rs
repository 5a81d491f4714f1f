//! The metrics of a configuration. Envoy identifies them by number.

use std::rc::Rc;

use super::host::{Host, HostError};
use super::worker::{Ids, Worker};
use crate::observe::metrics::{Kind, Metric, BUILD_INFO};

/// The metrics of one target.
pub(super) struct TargetMetrics<H> {
    worker: Rc<Worker<H>>,
    ids: Ids,
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
    /// Returns the metrics of a target. The first call for a target defines them, so that they exist with value 0 before anything happens.
    pub(super) fn of(worker: &Rc<Worker<H>>, target: &str) -> Result<Self, HostError> {
        let known = worker.defined.try_borrow().ok().and_then(|defined| defined.get(target).copied());
        let ids = match known {
            Some(ids) => ids,
            None => define(&worker.host, target)?,
        };
        if let (None, Ok(mut defined)) = (known, worker.defined.try_borrow_mut()) {
            defined.insert(target.to_owned(), ids);
        }
        Ok(Self { worker: Rc::clone(worker), ids })
    }

    /// Changes a counter or gauge by `amount`, or records `amount` in a histogram. Gauges that add up over all workers are changed, never set.
    pub(super) fn add(&self, metric: Metric, amount: i64) {
        let Some(id) = self.ids.get(metric.index()) else {
            return;
        };
        match metric.kind() {
            Kind::Histogram => self.worker.host.record_metric(*id, u64::try_from(amount).unwrap_or(0)),
            Kind::Counter | Kind::Gauge => self.worker.host.increment_metric(*id, amount),
        };
    }

    /// Sets a gauge that has the same value in all workers.
    pub(super) fn set(&self, gauge: Metric, value: u64) {
        if let Some(id) = self.ids.get(gauge.index()) {
            self.worker.host.record_metric(*id, value);
        }
    }
}

fn define(host: &impl Host, target: &str) -> Result<Ids, HostError> {
    let mut ids = [0; Metric::ALL.len()];
    for (id, metric) in ids.iter_mut().zip(Metric::ALL) {
        *id = host.define_metric(metric.kind(), &metric.full_name(target))?;
    }
    Ok(ids)
}
