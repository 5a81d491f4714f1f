//! The overview as JSON.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::latency::Latency;
use super::overview::{Envoy, Overview, Problem, Row};

pub(super) fn json(overview: &Overview, per_envoy: bool, problems: &[Problem]) -> Value {
    let mut all = json!({
        "envoys": overview.envoys.iter().map(envoy).collect::<Vec<_>>(),
        "targets": overview.rows().iter().map(row).collect::<Vec<_>>(),
        "problems": problems,
    });
    if let (true, Some(fields)) = (per_envoy, all.as_object_mut()) {
        fields.insert("per_envoy".to_owned(), overview.rows_per_envoy().iter().map(row).collect());
    }
    all
}

fn envoy(envoy: &Envoy) -> Value {
    let reading = envoy.reading();
    json!({
        "envoy": envoy.name,
        "error": envoy.said.as_ref().err(),
        "filter": reading.map(|reading| reading.has_filter),
        "versions": reading.map(|reading| &reading.versions),
        "update_rejected": reading.and_then(|reading| reading.rejected),
        "unexpected": reading.map(|reading| reading.unexpected),
        "restarted": envoy.since.as_ref().map(|since| since.is_restarted),
    })
}

fn row(row: &Row<'_>) -> Value {
    let total = &row.total;
    let by_name = |beginning: &str| -> BTreeMap<String, u64> {
        total.beginning(beginning).map(|(name, count)| (name.to_owned(), count)).collect()
    };
    let mut value = json!({
        "target": row.target,
        "envoys": total.envoys,
        "matched": total.get("matched"),
        "sampled_out": total.get("sampled_out"),
        "not_triggered": total.get("not_triggered"),
        "delivered": total.get("delivered"),
        "dead_lettered": total.get("dead_lettered"),
        "lost": total.lost_in_all(),
        "dropped": by_name("dropped."),
        "attempts": total.get("attempts"),
        "retries": total.get("retries"),
        "attempt_failures": by_name("attempt_failures."),
        "inflight": total.get("inflight"),
        "queued": total.get("queued"),
        "queued_bytes": total.get("queued_bytes"),
        "compare": by_name("compare."),
        "breaker": {"closed": total.breaker.closed, "half_open": total.breaker.half_open, "open": total.breaker.open},
        "latency_ms": latency(&total.latency),
    });
    if let Some(fields) = value.as_object_mut() {
        if let Some(envoy) = row.envoy {
            fields.insert("envoy".to_owned(), envoy.into());
        }
        if let Some(rates) = row.rates {
            fields.insert("per_second".to_owned(), json!(rates));
        }
    }
    value
}

/// `p50_below` is the upper bound of the bucket in which the percentile lies; `p50` is what one Envoy made of its buckets.
fn latency(latency: &Latency) -> Value {
    match latency {
        Latency::Buckets(buckets) => {
            json!({"count": buckets.count(), "p50_below": buckets.below(50), "p99_below": buckets.below(99)})
        }
        Latency::Percentiles { p50, p99 } => json!({"p50": p50, "p99": p99}),
        Latency::None | Latency::Unknown => Value::Null,
    }
}
