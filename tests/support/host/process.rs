//! The process around the workers: clock, log, statistics, shared data, clusters, and what goes wrong with them.

use super::{
    abi::{Level, Status},
    property::{path, PropertyValue},
    shared::{SharedData, Stat, Statistics},
    worker::Worker,
};
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

/// One line of Envoy's log.
#[derive(Clone, Debug)]
pub(crate) struct LogLine {
    pub(crate) level: Level,
    pub(crate) text: String,
}

/// A callback that comes from inside a host call.
#[derive(Clone, Debug)]
pub(crate) struct Reentry {
    pub(crate) import: String,
    pub(crate) export: String,
    pub(crate) arguments: Vec<u32>,
}

/// How often each host call was made, and how often the filter was entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) imports: BTreeMap<&'static str, u64>,
    pub(crate) entries: u64,
}

impl Tally {
    pub(crate) fn of(&self, import: &str) -> u64 {
        self.imports.get(import).copied().unwrap_or(0)
    }

    pub(crate) fn host_calls(&self) -> u64 {
        self.imports.values().sum()
    }
}

/// Answers a host call with a status of its own choosing, from the `first` call on (0 is the next), `times` times.
struct Fault {
    import: String,
    first: u64,
    times: u64,
    status: Status,
}

/// The state of the process, as host calls reach it.
pub(crate) struct Shared {
    pub(crate) wall_ns: u64,
    pub(crate) monotonic_ns: u64,
    pub(super) random: u64,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) log_level: Level,
    pub(crate) log: Vec<LogLine>,
    pub(super) statistics: Statistics,
    pub(crate) data: SharedData,
    pub(super) unreachable: BTreeMap<Vec<u8>, Status>,
    pub(super) garbage_map: Option<Vec<u8>>,
    /// What every stream and every root can ask for, by path.
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) tally: Tally,
    fault: Option<Fault>,
    pub(crate) reentry: Option<Reentry>,
}

impl Shared {
    pub(crate) fn count_and_fault(&mut self, import: &'static str) -> Option<Status> {
        *self.tally.imports.entry(import).or_default() += 1;
        let fault = self.fault.as_mut().filter(|fault| fault.import == import)?;
        if fault.first > 0 {
            fault.first -= 1;
            return None;
        }
        fault.times = fault.times.checked_sub(1)?;
        Some(fault.status)
    }

    pub(crate) fn random_bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < size {
            bytes.extend(self.random().to_le_bytes());
        }
        bytes.truncate(size);
        bytes
    }

    /// SplitMix64: the same bits in each run.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// One Envoy process. Clones are handles on the same one.
#[derive(Clone)]
pub(crate) struct Host(pub(super) Rc<RefCell<Shared>>);

impl Host {
    /// A host at a fixed time and seed, which logs everything.
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(Shared {
            wall_ns: 1_700_000_000_000_000_000,
            monotonic_ns: 5_000_000_000,
            random: 42,
            environment: Vec::new(),
            log_level: Level::Trace,
            log: Vec::new(),
            statistics: Statistics::default(),
            data: SharedData::default(),
            unreachable: BTreeMap::new(),
            garbage_map: None,
            properties: BTreeMap::new(),
            tally: Tally::default(),
            fault: None,
            reentry: None,
        })))
    }

    /// A worker whose filter accepted this configuration.
    pub(crate) fn worker(&self, configuration: &Value) -> Worker {
        let worker = self.bare_worker();
        assert!(worker.configure(configuration.to_string()), "refused: {:#?}", self.log());
        worker
    }

    /// A worker that has the filter, but no configuration yet.
    pub(crate) fn bare_worker(&self) -> Worker {
        Worker::start(self, crate::start)
    }

    /// A property that Envoy knows without a stream, such as `plugin_name` or `xds.node.id`: streams and roots alike get it.
    pub(crate) fn set_property(&self, segments: &[&str], value: impl Into<PropertyValue>) {
        self.0.borrow_mut().properties.insert(path(segments), value.into().0);
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap();
        let mut shared = self.0.borrow_mut();
        shared.wall_ns += by;
        shared.monotonic_ns += by;
    }

    /// Sets the wall clock back, as an administrator or NTP does; monotonic time goes on.
    pub(crate) fn set_clock_back(&self, by: Duration) {
        self.0.borrow_mut().wall_ns -= u64::try_from(by.as_nanos()).unwrap();
    }

    /// Sets the wall clock forward; monotonic time goes on.
    pub(crate) fn set_clock_forward(&self, by: Duration) {
        self.0.borrow_mut().wall_ns += u64::try_from(by.as_nanos()).unwrap();
    }

    /// An environment variable of VMs that are started from now on.
    pub(crate) fn set_env(&self, name: &str, value: &str) {
        let pair = (name.to_owned(), value.to_owned());
        self.0.borrow_mut().environment.push(pair);
    }

    /// What Envoy says its log level is. Lines below it are recorded all the same: writing them is the filter's waste.
    pub(crate) fn set_log_level(&self, level: Level) {
        self.0.borrow_mut().log_level = level;
    }

    pub(crate) fn log(&self) -> Vec<LogLine> {
        self.0.borrow().log.clone()
    }

    pub(crate) fn clear_log(&self) {
        self.0.borrow_mut().log.clear();
    }

    /// The logged JSON objects of one event, in order, with their levels.
    pub(crate) fn events(&self, event: &str) -> Vec<(Level, Value)> {
        let parsed = self.log().into_iter().filter_map(|line| {
            let value: Value = serde_json::from_str(&line.text).ok()?;
            Some((line.level, value))
        });
        parsed.filter(|(_, value)| value["event"] == event).collect()
    }

    /// The counter or gauge of a target, 0 if this configuration does not define it; `attempt_failures` is the sum over all causes.
    pub(crate) fn stat(&self, target: &str, name: &str) -> i64 {
        if name == "attempt_failures" {
            let causes = sidecast::delivery::cause::FailureClass::ALL;
            return causes.iter().map(|cause| self.stat(target, &format!("{name}.{}", cause.name()))).sum();
        }
        let stats = &self.0.borrow().statistics.0;
        let full = format!("sidecast.{target}.{name}");
        let is_one = || sidecast::observe::metrics::Metric::ALL.iter().any(|metric| metric.full_name(target) == full);
        match stats.get(&full) {
            Some(Stat::Counter(value)) => i64::try_from(*value).unwrap(),
            Some(Stat::Gauge(value)) => *value,
            None if is_one() && stats.contains_key(&format!("sidecast.{target}.matched")) => 0,
            other => panic!("{target}.{name} is {other:?} among {:#?}", stats.keys()),
        }
    }

    /// The sum of all counters and gauges whose names begin like this.
    pub(crate) fn sum(&self, prefix: &str) -> i64 {
        let shared = self.0.borrow();
        let named = shared.statistics.0.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
        named
            .map(|(_, stat)| match stat {
                Stat::Counter(value) => i64::try_from(*value).unwrap(),
                Stat::Gauge(value) => *value,
                Stat::Histogram(_) => 0,
            })
            .sum()
    }

    /// The recorded values of a target's histogram.
    pub(crate) fn samples(&self, target: &str, name: &str) -> Vec<u64> {
        match self.0.borrow().statistics.0.get(&format!("sidecast.{target}.{name}")) {
            Some(Stat::Histogram(samples)) => samples.clone(),
            other => panic!("{target}.{name} is {other:?}"),
        }
    }

    /// Everything that any worker ever defined.
    pub(crate) fn stats(&self) -> BTreeMap<String, Stat> {
        self.0.borrow().statistics.0.clone()
    }

    /// What all workers share, by key.
    pub(crate) fn shared_data(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.0.borrow().data.all()
    }

    /// Somebody else writes into what all workers share.
    pub(crate) fn set_shared_data(&self, key: &[u8], value: &[u8]) {
        self.0.borrow_mut().data.set(key, value, 0).unwrap();
    }

    /// From now on call-outs to this cluster are refused with this status.
    pub(crate) fn refuse_calls_to(&self, cluster: &str, status: Status) {
        let cluster = cluster.as_bytes().to_vec();
        self.0.borrow_mut().unreachable.insert(cluster, status);
    }

    /// Call-outs to this cluster are made again.
    pub(crate) fn accept_calls_to(&self, cluster: &str) {
        self.0.borrow_mut().unreachable.remove(cluster.as_bytes());
    }

    /// Every map that the filter asks for consists of these bytes, whatever they are.
    pub(crate) fn give_garbage_for_maps(&self, bytes: Option<Vec<u8>>) {
        self.0.borrow_mut().garbage_map = bytes;
    }

    /// The host call answers this status and does nothing, for `times` calls after `first` good ones. Replaces the fault before.
    pub(crate) fn fail(&self, import: &str, first: u64, times: u64, status: Status) {
        self.0.borrow_mut().fault = Some(Fault { import: import.to_owned(), first, times, status });
    }

    /// From inside the next host call of this name, the host enters the module once more, as no Envoy does.
    pub(crate) fn reenter(&self, import: &str, export: &str, arguments: &[u32]) {
        let reentry = Reentry { import: import.to_owned(), export: export.to_owned(), arguments: arguments.to_vec() };
        self.0.borrow_mut().reentry = Some(reentry);
    }

    /// No host call fails any more.
    pub(crate) fn heal(&self) {
        self.0.borrow_mut().fault = None;
    }

    /// What crossed the border between host and filter while this ran.
    pub(crate) fn tally(&self, run: impl FnOnce()) -> Tally {
        let before = std::mem::take(&mut self.0.borrow_mut().tally);
        run();
        std::mem::replace(&mut self.0.borrow_mut().tally, before)
    }
}
