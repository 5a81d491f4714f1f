//! The statistics of the contract, as Prometheus has them.

use std::collections::BTreeSet;
use std::time::Duration;

use sidecast::delivery::drop_reason::DropReason;
use sidecast::observe::metrics::{Kind, Metric, BUILD_INFO, UNEXPECTED};

use crate::prometheus::{Api, Sample};
use crate::stage::Stage;
use crate::support::eventually::eventually;
use crate::traffic::{REASONS, TARGETS};

/// Several scrapes and merges of histograms, on a busy machine.
pub(crate) const SCRAPES: Duration = Duration::from_secs(60);

/// The series of a metric of a target: its name, and the labels besides those of the scrape.
fn series(metric: Metric, target: &str) -> (String, Vec<(&'static str, String)>) {
    let full = metric.full_name(target);
    let name = full.strip_prefix(&format!("sidecast.{target}.")).unwrap();
    let target = ("target", target.to_owned());
    match name.split_once('.') {
        Some(("dropped", reason)) => ("sidecast_dropped".to_owned(), vec![target, ("reason", reason.to_owned())]),
        Some(("attempt_failures", cause)) => ("sidecast_attempt_failures".to_owned(), vec![target, ("cause", cause.to_owned())]),
        _ => (format!("sidecast_{}", name.replace('.', "_")), vec![target]),
    }
}

/// Whether a target of the stage has the metric: it can move there.
fn has(target: &str, metric: Metric) -> bool {
    let compared = ["narrow", "twin", "rival", "other"];
    match metric {
        Metric::SampledOut => target == "sampled",
        Metric::NotTriggered => target == "later",
        Metric::Retries | Metric::Dropped(DropReason::Expired | DropReason::RetryBudget) => target == "retried",
        Metric::DeadLettered => target == "kept",
        // The others have no breaker.
        Metric::BreakerOpened | Metric::BreakerState | Metric::Dropped(DropReason::CircuitOpen) => target == "down",
        Metric::BatchItems => target == "bulk",
        Metric::CompareMatch
        | Metric::CompareStatusMismatch
        | Metric::CompareBodyMismatch
        | Metric::CompareNotComparable
        | Metric::ComparePrimaryLatencyMs
        | Metric::CompareTargetLatencyMs => compared.contains(&target),
        Metric::Dropped(DropReason::RateLimited) => target == "limited",
        Metric::Dropped(DropReason::BodyNotJson) => ["reader", "bulk"].contains(&target),
        Metric::Dropped(DropReason::UnsafePath | DropReason::ResponseTooLarge | DropReason::ResponseNotJson) => false,
        _ => true,
    }
}

fn selector(name: &str, labels: &[(&str, String)]) -> String {
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// The names of the labels of a series.
fn names(sample: &Sample) -> BTreeSet<&str> {
    sample.labels.keys().map(String::as_str).collect()
}

/// Waits for these series and returns them.
async fn found(prometheus: Api, selector: &str) -> Vec<Sample> {
    eventually(SCRAPES, selector, async || {
        let samples = prometheus.query(selector).await?;
        if samples.is_empty() {
            Err("nothing".to_owned())
        } else {
            Ok(samples)
        }
    })
    .await
}

#[tokio::test]
async fn every_statistic_that_can_move_is_found_with_its_labels_and_no_others() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let prometheus = stage.prometheus();
    for target in TARGETS {
        for metric in Metric::ALL.into_iter().filter(|metric| has(target, *metric)) {
            let (name, own) = series(metric, target);
            // `sidecast` is the label of the scrape.
            let mut labels: BTreeSet<&str> = ["__name__", "job", "instance", "sidecast"].into();
            labels.extend(own.iter().map(|(label, _)| *label));
            let parts: &[&str] = if metric.kind() == Kind::Histogram { &["_sum", "_count"] } else { &[""] };
            for part in parts {
                let samples = found(prometheus, &selector(&format!("{name}{part}"), &own)).await;
                assert_eq!(samples.len(), 1, "{samples:?}");
                assert_eq!(names(&samples[0]), labels);
                assert_eq!(samples[0].label("job"), "envoy");
            }
            if metric.kind() == Kind::Histogram {
                let buckets = found(prometheus, &selector(&format!("{name}_bucket"), &own)).await;
                labels.insert("le");
                assert!(buckets.len() > 5 && buckets.iter().all(|bucket| names(bucket) == labels), "{buckets:?}");
                assert!(buckets.iter().any(|bucket| bucket.label("le") == "+Inf"), "{buckets:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_target_has_no_statistic_of_settings_that_it_has_not() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let prometheus = stage.prometheus();
    found(prometheus, "sidecast_compare_match{target=\"twin\"}").await;
    for target in TARGETS {
        for metric in Metric::ALL.into_iter().filter(|metric| !has(target, *metric)) {
            let (name, own) = series(metric, target);
            for part in ["", "_bucket"] {
                let samples = prometheus.query(&selector(&format!("{name}{part}"), &own)).await.unwrap();
                assert!(samples.is_empty(), "{samples:?}");
            }
        }
    }
}

#[tokio::test]
async fn prometheus_knows_of_no_statistic_besides_and_of_what_type_each_is() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let prometheus = stage.prometheus();
    found(prometheus, "sidecast_matched").await;
    let metadata = prometheus.get("metadata").await.unwrap();
    let seen: BTreeSet<(String, String)> = metadata
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("sidecast_"))
        .map(|(name, about)| (name.clone(), about[0]["type"].as_str().unwrap().to_owned()))
        .collect();
    let kind = |metric: Metric| match metric.kind() {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let of_target = Metric::ALL.into_iter().map(|metric| (series(metric, "audit").0, kind(metric).to_owned()));
    let of_module = [(BUILD_INFO, "gauge"), (UNEXPECTED, "counter")].map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let wanted = of_target.chain(of_module).collect();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn what_becomes_of_copies_is_seen_at_the_target_where_it_happened() {
    let Some(stage) = Stage::shared() else {
        return;
    };
    let prometheus = stage.prometheus();
    for above_zero in [
        "sidecast_delivered{target=\"audit\"}",
        "sidecast_sampled_out{target=\"sampled\"}",
        "sidecast_not_triggered{target=\"later\"}",
        "sidecast_retries{target=\"retried\"}",
        "sidecast_attempt_failures{target=\"retried\",cause=\"status_5xx\"}",
        "sidecast_attempt_failures{target=\"down\",cause=\"connect_failure\"}",
        "sidecast_attempt_failures{target=\"narrow\",cause=\"timeout\"}",
        "sidecast_attempt_failures{target=\"picky\",cause=\"status_4xx\"}",
        "sidecast_attempt_failures{target=\"nowhere\",cause=\"not_sent\"}",
        "sidecast_dead_lettered{target=\"kept\"}",
        "sidecast_breaker_opened{target=\"down\"}",
        "sidecast_breaker_state{target=\"down\"}",
        "sidecast_inflight{target=\"narrow\"}",
        "sidecast_queued{target=\"narrow\"}",
        "sidecast_queued_bytes{target=\"narrow\"}",
        "sidecast_batch_items_count{target=\"bulk\"}",
        "sidecast_latency_ms_count{target=\"audit\"}",
        "sidecast_compare_match{target=\"twin\"}",
        "sidecast_compare_status_mismatch{target=\"rival\"}",
        "sidecast_compare_body_mismatch{target=\"other\"}",
        "sidecast_compare_not_comparable{target=\"narrow\"}",
        "sidecast_compare_primary_latency_ms_count{target=\"twin\"}",
        "sidecast_compare_target_latency_ms_count{target=\"twin\"}",
    ] {
        found(prometheus, &format!("{above_zero} > 0")).await;
    }
    let versions = found(prometheus, "sidecast_build_info > 0").await;
    assert_eq!((versions.len(), versions[0].label("version")), (1, env!("CARGO_PKG_VERSION")));
    let unexpected = prometheus.query("sidecast_unexpected > 0").await.unwrap();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let never = prometheus.query("sidecast_sampled_out{target!=\"sampled\"} > 0").await.unwrap();
    assert!(never.is_empty(), "{never:?}");
    let reasons = eventually(SCRAPES, "every reason to be counted", async || {
        let samples = prometheus.query("sum by (reason) (sidecast_dropped) > 0").await?;
        let seen: BTreeSet<String> = samples.iter().map(|sample| sample.label("reason").to_owned()).collect();
        if seen.len() < REASONS.len() {
            return Err(format!("{seen:?}"));
        }
        Ok(seen)
    })
    .await;
    assert_eq!(reasons, REASONS.into_iter().map(ToOwned::to_owned).collect());
}
