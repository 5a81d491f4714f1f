//! What the stories have in common: configurations, and the accounting identity.

use crate::wasm_host::{Host, Stat, Worker};
use serde_json::{json, Value};

/// A target with everything left at its default, in a cluster of the same name.
pub(crate) fn target(name: &str) -> Value {
    json!({"name": name, "cluster": name})
}

/// `base` with these fields set.
pub(crate) fn with(mut base: Value, fields: &Value) -> Value {
    let object = base.as_object_mut().unwrap();
    object.extend(fields.as_object().unwrap().clone());
    base
}

pub(crate) fn targets(list: &[Value]) -> Value {
    json!({ "targets": list })
}

/// The target that most stories have.
pub(crate) fn audit() -> Value {
    targets(&[target("audit")])
}

/// `audit` with these fields.
pub(crate) fn audit_with(fields: &Value) -> Value {
    targets(&[with(target("audit"), fields)])
}

/// A host with one worker that mirrors everything to `audit`.
pub(crate) fn mirroring() -> (Host, Worker) {
    mirroring_with(&audit())
}

pub(crate) fn mirroring_with(configuration: &Value) -> (Host, Worker) {
    let host = Host::new();
    let worker = host.worker(configuration);
    (host, worker)
}

/// The reasons for which requests to this target were dropped, with their counts; those that never happened are left out.
pub(crate) fn dropped(host: &Host, target: &str) -> Vec<(String, u64)> {
    let prefix = format!("sidecast.{target}.dropped.");
    let reasons = host.stats().into_iter().filter_map(|(name, stat)| {
        let reason = name.strip_prefix(&prefix)?.to_owned();
        match stat {
            Stat::Counter(count) if count > 0 => Some((reason, count)),
            _ => None,
        }
    });
    reasons.collect()
}

/// The only reason for which requests to a target were dropped.
pub(crate) fn only(reason: &str, count: u64) -> Vec<(String, u64)> {
    vec![(reason.to_owned(), count)]
}

/// Nothing vanished: every matched request was left out by the sample, delivered, dead-lettered or dropped for a reason, and nothing is
/// left in flight or queued.
#[track_caller]
pub(crate) fn assert_balanced(host: &Host, target: &str) {
    let lost: u64 = dropped(host, target).iter().map(|(_, count)| count).sum();
    let matched = host.stat(target, "matched");
    let ends: i64 = ["sampled_out", "delivered", "dead_lettered"].iter().map(|name| host.stat(target, name)).sum();
    let accounted = ends + i64::try_from(lost).unwrap();
    assert_eq!(matched, accounted, "{:#?}", host.stats());
    for gauge in ["inflight", "queued", "queued_bytes"] {
        assert_eq!(host.stat(target, gauge), 0, "{gauge} of {target}");
    }
}
