//! Envoy's statistics, and the filter's accounts in them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::known::is_statistic;

/// Counters and gauges by name, as the admin interface gave them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats(BTreeMap<String, u64>);

impl Stats {
    /// Reads the response of `/stats?format=json`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let page: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let list = page["stats"].as_array().ok_or("no list of statistics")?;
        Ok(Self(list.iter().filter_map(|item| Some((item["name"].as_str()?.to_owned(), item["value"].as_u64()?))).collect()))
    }

    /// What was added since then.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let added = |(name, value): (&String, &u64)| (name.clone(), value.saturating_sub(before.find(name).unwrap_or(0)));
        Self(self.0.iter().map(added).collect())
    }

    /// The value of a statistic by its full name, if it exists.
    pub(crate) fn find(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    /// All statistics whose names begin like this, without that beginning.
    #[allow(dead_code)] // Not in every test binary.
    pub(crate) fn beginning(&self, prefix: &str) -> BTreeMap<String, u64> {
        self.0.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), *value))).collect()
    }

    /// The value of a statistic of one target, 0 if its configuration does not define it. The target and the name must exist.
    /// `attempt_failures` is the sum over all causes.
    pub(crate) fn of(&self, target: &str, name: &str) -> u64 {
        if name == "attempt_failures" {
            return self.causes(target).values().sum();
        }
        let full = format!("sidecast.{target}.{name}");
        let is_known = || self.find(&format!("wasmcustom.sidecast.{target}.matched")).is_some() && is_statistic(target, &full);
        match self.find(&format!("wasmcustom.{full}")) {
            Some(value) => value,
            None if is_known() => 0,
            None => panic!("no statistic {name} of {target} among {:?}", self.target(target)),
        }
    }

    /// All statistics of one target that are not 0, without their common prefix.
    pub(crate) fn target(&self, target: &str) -> BTreeMap<String, u64> {
        let prefix = format!("wasmcustom.sidecast.{target}.");
        self.0
            .iter()
            .filter(|(_, value)| **value != 0)
            .filter_map(|(name, value)| Some((name.strip_prefix(&prefix)?.to_owned(), *value)))
            .collect()
    }

    /// The failed attempts of one target: every cause that was counted at least once.
    pub(crate) fn causes(&self, target: &str) -> BTreeMap<String, u64> {
        let cause = |(name, value): (String, u64)| Some((name.strip_prefix("attempt_failures.")?.to_owned(), value));
        self.target(target).into_iter().filter_map(cause).collect()
    }

    /// The drops of one target: every reason that was counted at least once.
    pub(crate) fn drops(&self, target: &str) -> BTreeMap<String, u64> {
        self.target(target)
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("dropped.")?.to_owned(), value)))
            .collect()
    }

    /// Whether nothing of this target is queued or in flight, and every matched request has exactly one end. Says what is open otherwise.
    pub(crate) fn settled(&self, target: &str) -> Result<(), String> {
        let open = ["inflight", "queued", "queued_bytes"].map(|name| self.of(target, name));
        let left_out = ["sampled_out", "not_triggered"]
            .map(|name| self.find(&format!("wasmcustom.sidecast.{target}.{name}")).unwrap_or(0))
            .iter()
            .sum::<u64>();
        let kept = left_out + self.of(target, "delivered") + self.of(target, "dead_lettered");
        let ended = kept + self.drops(target).values().sum::<u64>();
        if open == [0; 3] && self.of(target, "matched") == ended {
            return Ok(());
        }
        Err(format!("{target}: {:?}", self.target(target)))
    }
}
