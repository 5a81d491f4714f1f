//! The statistics that the filter knows.

use sidecast::observe::metrics::Metric;

/// True for the full name of a statistic of a target, whether or not its configuration defines it.
pub(crate) fn is_statistic(target: &str, full: &str) -> bool {
    Metric::ALL.iter().any(|metric| metric.full_name(target) == full)
}
