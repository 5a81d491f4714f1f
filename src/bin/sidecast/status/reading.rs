//! What the statistics of Envoys say about their targets.

use std::collections::BTreeMap;

use sidecast::observe::metrics::{BUILD_INFO, UNEXPECTED};

use super::latency::Latency;
use super::page::{without_prefix, Page};

/// The counter of updates of listeners that an Envoy refused.
pub(super) const REJECTED: &str = "listener_manager.lds.update_rejected";
/// How long an Envoy runs, in seconds.
const UPTIME: &str = "server.uptime";
/// The states of a circuit breaker, by the value of its gauge.
const BREAKER: &str = "breaker.state";

/// What one Envoy says.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) targets: BTreeMap<String, Target>,
    /// The versions of the filter that run in it.
    pub(super) versions: Vec<String>,
    /// True if there are statistics of the filter.
    pub(super) has_filter: bool,
    /// Updates of listeners that it refused. `None` if it gets none by LDS.
    pub(super) rejected: Option<u64>,
    /// How long it runs, in seconds. `None` if it does not say so.
    uptime: Option<u64>,
    /// Events of the filter that should be impossible.
    pub(super) unexpected: u64,
}

/// What one or more Envoys say about a target.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    /// How many Envoys have it.
    pub(super) envoys: u64,
    /// Counters and gauges, by the names that follow the target's name. Without the state of the breaker, which does not add up.
    numbers: BTreeMap<String, u64>,
    /// The states of the breaker, by Envoy.
    pub(super) breaker: Breaker,
    pub(super) latency: Latency,
}

/// In how many Envoys a breaker is in which state. All workers of an Envoy share one breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    pub(super) closed: u64,
    pub(super) half_open: u64,
    pub(super) open: u64,
}

impl Reading {
    pub(super) fn new(page: Page) -> Self {
        let mut reading = Self::default();
        let mut versions = Vec::new();
        for (name, number) in page.numbers {
            if name == REJECTED {
                reading.rejected = Some(number);
            } else if name == UPTIME {
                reading.uptime = Some(number);
            }
            let name = without_prefix(&name);
            if let Some(version) = name.strip_prefix(BUILD_INFO).and_then(|rest| rest.strip_prefix('.')) {
                reading.has_filter = true;
                versions.push((version.to_owned(), number));
            } else if name == UNEXPECTED {
                reading.unexpected = number;
                reading.has_filter = true;
            } else if let Some((target, statistic)) = parts(name) {
                reading.has_filter = true;
                let target = reading.targets.entry(target.to_owned()).or_default();
                target.envoys = 1;
                if statistic == BREAKER {
                    target.breaker = Breaker::of(number);
                } else {
                    target.numbers.insert(statistic.to_owned(), number);
                }
            }
        }
        for (name, latency) in page.latencies {
            if let Some((target, "latency_ms")) = parts(without_prefix(&name)) {
                reading.targets.entry(target.to_owned()).or_default().latency = latency;
            }
        }
        // A filter counts itself from its first request on. Before that, no version is counted.
        let is_counted = versions.iter().any(|(_, number)| *number > 0);
        reading.versions =
            versions.into_iter().filter(|(_, number)| *number > 0 || !is_counted).map(|(version, _)| version).collect();
        reading
    }

    /// True if it runs for less time than before, or some counter is less than it was: this Envoy was started anew.
    pub(super) fn is_restarted_since(&self, before: &Self) -> bool {
        let is_less = |name: &str, target: &Target| {
            let before = before.targets.get(name);
            before.is_some_and(|before| before.counters().any(|(statistic, number)| target.get(statistic) < number))
        };
        self.uptime.zip(before.uptime).is_some_and(|(uptime, before)| uptime < before)
            || self.targets.iter().any(|(name, target)| is_less(name, target))
            || self.unexpected < before.unexpected
            || self.rejected.unwrap_or_default() < before.rejected.unwrap_or_default()
    }

    /// What was counted since an earlier reading. All of it, if this Envoy was started anew.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        if self.is_restarted_since(before) {
            return since;
        }
        since.unexpected = since.unexpected.saturating_sub(before.unexpected);
        since.rejected = since.rejected.map(|rejected| rejected.saturating_sub(before.rejected.unwrap_or_default()));
        for (name, target) in &mut since.targets {
            let Some(before) = before.targets.get(name) else { continue };
            for (statistic, number) in target.numbers.iter_mut().filter(|(statistic, _)| !is_gauge(statistic)) {
                *number = number.saturating_sub(before.get(statistic));
            }
        }
        since
    }
}

/// The target and the statistic in a name such as `sidecast.audit.dropped.queue_full`. Names of targets have no dot.
fn parts(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("sidecast.")?.split_once('.')
}

fn is_gauge(statistic: &str) -> bool {
    matches!(statistic, "inflight" | "queued" | "queued_bytes")
}

impl Breaker {
    fn of(state: u64) -> Self {
        match state {
            0 => Self { closed: 1, ..Self::default() },
            1 => Self { half_open: 1, ..Self::default() },
            // No other state is as bad.
            _ => Self { open: 1, ..Self::default() },
        }
    }

    pub(super) fn is_closed(self) -> bool {
        self.half_open == 0 && self.open == 0
    }

    /// Such as `open 1, closed 2`, or only the state if it is the same everywhere.
    pub(super) fn shown(self) -> String {
        let states = [("open", self.open), ("half-open", self.half_open), ("closed", self.closed)];
        let some: Vec<_> = states.into_iter().filter(|(_, count)| *count > 0).collect();
        match some.as_slice() {
            [] => "-".to_owned(),
            [(state, _)] => (*state).to_owned(),
            _ => some.iter().map(|(state, count)| format!("{state} {count}")).collect::<Vec<_>>().join(", "),
        }
    }
}

impl Target {
    /// A counter or gauge. 0 if there is none.
    pub(super) fn get(&self, statistic: &str) -> u64 {
        self.numbers.get(statistic).copied().unwrap_or_default()
    }

    fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.numbers.iter().filter(|(name, _)| !is_gauge(name)).map(|(name, number)| (name.as_str(), *number))
    }

    /// The counters whose names begin like this, without that beginning, if they are above 0.
    pub(super) fn beginning<'a>(&'a self, beginning: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
        let counted = self.numbers.iter().filter(|(_, number)| **number > 0);
        counted.filter_map(move |(name, number)| Some((name.strip_prefix(beginning)?, *number)))
    }

    /// The copies that were dropped, by reason, the most frequent first.
    pub(super) fn lost(&self) -> Vec<(&str, u64)> {
        let mut lost: Vec<(&str, u64)> = self.beginning("dropped.").collect();
        lost.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        lost
    }

    pub(super) fn lost_in_all(&self) -> u64 {
        self.lost().iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Compared responses that do not match.
    pub(super) fn mismatches(&self) -> u64 {
        self.get("compare.status_mismatch").saturating_add(self.get("compare.body_mismatch"))
    }

    /// Adds what another Envoy says.
    pub(super) fn add(&mut self, other: &Self) {
        self.envoys = self.envoys.saturating_add(other.envoys);
        for (name, number) in &other.numbers {
            let sum = self.numbers.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*number);
        }
        self.breaker.closed = self.breaker.closed.saturating_add(other.breaker.closed);
        self.breaker.half_open = self.breaker.half_open.saturating_add(other.breaker.half_open);
        self.breaker.open = self.breaker.open.saturating_add(other.breaker.open);
        self.latency.add(&other.latency);
    }
}
