//! The metrics of a configuration, by the ids that Envoy gave them.

use std::cell::{Cell, RefCell};

use rustc_hash::FxHashMap;

use super::calls::{self, HostError};
use crate::observe::metrics::{Kind, Metric, BUILD_INFO};

thread_local! {
    /// The ids of all targets that this VM has defined. Envoy keeps each definition as long as the VM, also one of a name that it has already, so
    /// configurations that follow one another must share them.
    static DEFINED: RefCell<FxHashMap<String, TargetMetrics>> = RefCell::new(FxHashMap::default());
    /// The gauge of the version, for the same reason.
    static BUILD: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The ids of one target's metrics, each at its [`Metric::index`].
#[derive(Clone, Debug)]
pub(super) struct TargetMetrics {
    ids: [u32; Metric::ALL.len()],
}

/// Which version runs, as a gauge with the version in its name. Each root that serves adds one to it, and takes it back when it is told to end, so that
/// several versions may run at a time.
#[derive(Debug)]
pub(super) struct BuildInfo {
    id: u32,
    is_counted: bool,
}

impl BuildInfo {
    pub(super) fn define() -> Result<Self, HostError> {
        let id = match BUILD.get() {
            Some(id) => id,
            None => calls::define_metric(Kind::Gauge, &format!("{BUILD_INFO}.{}", env!("CARGO_PKG_VERSION")))?,
        };
        BUILD.set(Some(id));
        Ok(Self { id, is_counted: false })
    }

    /// True when Envoy moves the gauge.
    pub(super) fn can_be_moved(&self) -> bool {
        calls::increment_metric(self.id, 0)
    }

    /// The root serves, or is told to end.
    pub(super) fn count(&mut self, serves: bool) {
        if self.is_counted != serves {
            self.is_counted = serves;
            calls::increment_metric(self.id, if serves { 1 } else { -1 });
        }
    }
}

impl TargetMetrics {
    /// Those of a target. They are defined when this VM first hears of it, so that they are there, at 0, before anything happens.
    pub(super) fn of(target: &str) -> Result<Self, HostError> {
        let known = DEFINED.with(|defined| defined.try_borrow().ok()?.get(target).cloned());
        if let Some(known) = known {
            return Ok(known);
        }
        let fresh = Self::define(target)?;
        DEFINED.with(|defined| {
            if let Ok(mut defined) = defined.try_borrow_mut() {
                defined.insert(target.to_owned(), fresh.clone());
            }
        });
        Ok(fresh)
    }

    fn define(target: &str) -> Result<Self, HostError> {
        let mut ids = [0; Metric::ALL.len()];
        for (id, metric) in ids.iter_mut().zip(Metric::ALL) {
            *id = calls::define_metric(metric.kind(), &metric.full_name(target))?;
        }
        Ok(Self { ids })
    }

    /// Moves a counter or gauge, or records a value of a histogram. Gauges that add up over the workers are moved, never
    /// set.
    pub(super) fn add(&self, metric: Metric, amount: i64) {
        let Some(id) = self.ids.get(metric.index()) else {
            return;
        };
        match metric.kind() {
            Kind::Histogram => calls::record_metric(*id, u64::try_from(amount).unwrap_or(0)),
            Kind::Counter | Kind::Gauge => calls::increment_metric(*id, amount),
        };
    }

    /// Sets a gauge of which all workers know the one right value.
    pub(super) fn set(&self, gauge: Metric, value: u64) {
        if let Some(id) = self.ids.get(gauge.index()) {
            calls::record_metric(*id, value);
        }
    }
}
