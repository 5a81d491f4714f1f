//! What the stories have in common: configurations, and the accounting identity.

use crate::host::{Host, Stat, Worker};
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

/// Every feature at once: batches, waiting for the response, comparison, templates, samples, retries, letters, chains and order by key.
pub(crate) fn everything() -> Value {
    let common = json!({
        "limits": {"max_in_flight": 4, "max_queued": 16},
        "retry": {"max_attempts": 2, "backoff": {"base": "1ms", "max": "2ms"}},
        "circuit_breaker": {"open_for": "20ms"},
        "dead_letter": {"cluster": "dlq", "on": ["retries_exhausted", "not_retryable", "queue_full", "circuit_open"]},
    });
    let all = [
        json!({"batch": {"max_items": 7, "max_delay": "20ms"},
            "request": {"path": "/b/${header:x-tenant}", "headers": {"forward": ["x-tenant"]}}}),
        json!({"after": "response", "compare": {"log_values": true}, "request": {"headers": {"set": {"x-location": "${response:header:location}"}},
            "body": {"template": {"body": "${body}", "at": "${now}", "route": "${property:xds.route_name}"}, "redact": ["/a"]}}}),
        json!({"compare": {"percent": 50}, "sample": {"percent": 70}}),
        json!({"after": "response", "statuses": ["2xx", "5xx"], "batch": {"max_items": 3, "max_delay": "5ms", "format": "ndjson"},
            "sample": {"percent": 50, "key": {"header": "x-tenant"}}}),
        json!({"after": {"target": "t2"}, "order": {"key": {"header": "x-tenant"}}, "response": {"redact": ["/0"]},
            "request": {"headers": {"set": {"x-status": "${target:t2:status}"}}, "body": {"template": ["${target:t2:body}", "${body_text}"]}}}),
        json!({"after": {"target": "t1", "statuses": ["2xx", "4xx", "timeout"]}, "order": {"key": {"body": "/tenant"}},
            "request": {"path": "/${target:t1:status}/${response:status}", "headers": {"set": {"x-a": "${target:t1:body_text}"}}}}),
        json!({"after": {"target": "t5", "outcome": "given_up"},
            "request": {"body": {"template": {"one": "${target:t1:body:/0}", "other": "${target:t5:status}", "response": "${response:body_text}"}}}}),
    ];
    let all: Vec<Value> =
        (0..).zip(all).map(|(number, fields)| with(with(target(&format!("t{number}")), &common), &fields)).collect();
    with(targets(&all), &json!({"limits": {"max_body_bytes": "4KiB", "max_buffered_bytes": "64KiB"}}))
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

/// How often something happened that never should.
pub(crate) fn unexpected(host: &Host) -> u64 {
    match host.stats().get("sidecast_unexpected") {
        Some(Stat::Counter(count)) => *count,
        other => panic!("{other:?}"),
    }
}

/// Nothing vanished: every matched request was left out by the sample, not triggered, delivered, dead-lettered or dropped for a reason,
/// and nothing is left in flight or queued.
#[track_caller]
pub(crate) fn assert_balanced(host: &Host, target: &str) {
    let lost: u64 = dropped(host, target).iter().map(|(_, count)| count).sum();
    let matched = host.stat(target, "matched");
    let ends: i64 =
        ["sampled_out", "not_triggered", "delivered", "dead_lettered"].iter().map(|name| host.stat(target, name)).sum();
    let accounted = ends + i64::try_from(lost).unwrap();
    assert_eq!(matched, accounted, "{:#?}", host.stats());
    for gauge in ["inflight", "queued", "queued_bytes"] {
        assert_eq!(host.stat(target, gauge), 0, "{gauge} of {target}");
    }
}
