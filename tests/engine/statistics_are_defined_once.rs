//! Statistics are defined with the configuration that can move them, and timers run only while something waits.

use crate::{
    configurations::{mirroring, target, targets, with},
    host::{Answer, Host, Request, Stat},
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

#[test]
fn without_anything_to_wait_for_no_timer_runs() {
    let (_host, worker) = mirroring();
    assert_eq!(worker.tick_period(), None);
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(500));
    assert_eq!(worker.tick_period(), None);
}

#[test]
fn updates_define_statistics_of_new_targets_alone() {
    let many =
        |numbers: std::ops::Range<usize>| targets(&numbers.map(|number| target(&format!("t{number}"))).collect::<Vec<_>>());
    let host = Host::new();
    let worker = host.worker(&many(0..32));
    let defined = worker.definitions();
    for update in 0..50 {
        assert!(worker.configure(many(0..32 - update % 5).to_string()));
        worker.pass(&host, Duration::from_secs(1));
    }
    assert_eq!(worker.definitions(), defined);
    let before = host.stats().len();
    assert!(worker.configure(many(1..33).to_string()));
    assert_eq!(worker.definitions() - defined, host.stats().len() - before, "one more target");
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    assert_eq!([1, 31, 32].map(|number| host.stat(&format!("t{number}"), "delivered")), [1; 3]);
}

#[test]
fn statistics_are_defined_with_the_configuration_and_never_again() {
    let (host, worker) = mirroring();
    let defined = worker.definitions();
    assert_eq!(defined, host.stats().len());
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(404));
    assert_eq!(worker.definitions(), defined);
    let kinds = host.stats();
    assert!(kinds.values().any(|stat| matches!(stat, Stat::Histogram(samples) if samples.len() == 1)));
}

/// The statistics of the target `audit` with these settings, besides those of every target.
fn of_settings(settings: &serde_json::Value) -> Vec<String> {
    let names = |settings: &serde_json::Value| -> BTreeSet<String> {
        let host = Host::new();
        let _worker = host.worker(&targets(std::slice::from_ref(settings)));
        host.stats().into_keys().filter_map(|name| Some(name.strip_prefix("sidecast.audit.")?.to_owned())).collect()
    };
    let mut plain = target("audit");
    plain["circuit_breaker"] = json!({"mode": "disabled"});
    let (base, more) = (names(&plain), names(&with(plain, settings)));
    assert!(base.is_subset(&more));
    more.difference(&base).cloned().collect()
}

#[test]
fn a_target_has_the_statistics_that_its_settings_can_move() {
    let reading = json!({"body": {"template": {"id": "${body:/id}"}}});
    for (settings, more) in [
        (json!({}), &[][..]),
        (json!({"sample": {"percent": 50}}), &["sampled_out"]),
        (json!({"after": "response"}), &["not_triggered"]),
        (json!({"retry": {}}), &["dropped.expired", "dropped.retry_budget", "retries"]),
        (json!({"dead_letter": {"cluster": "letters"}}), &["dead_lettered"]),
        (json!({"circuit_breaker": {}}), &["breaker.opened", "breaker.state", "dropped.circuit_open"]),
        (json!({"circuit_breaker": {"mode": "observe"}}), &["breaker.opened", "breaker.state"]),
        (json!({"batch": {}}), &["batch_items", "dropped.body_not_json"]),
        (
            json!({"compare": {}}),
            &[
                "compare.body_mismatch",
                "compare.match",
                "compare.not_comparable",
                "compare.primary_latency_ms",
                "compare.status_mismatch",
                "compare.target_latency_ms",
            ],
        ),
        (json!({"limits": {"rate": {"per_second": 1}}}), &["dropped.rate_limited"]),
        (json!({"match": [{"body": [{"pointer": "/id", "present": true}]}]}), &["dropped.body_not_json"]),
        (json!({"request": reading}), &["dropped.body_not_json"]),
        (json!({"request": {"path": "/copies/${header:x-id}"}}), &["dropped.unsafe_path"]),
        (
            json!({"after": "response", "request": {"headers": {"set": {"x-id": "${response:body:/id}"}}}}),
            &["dropped.response_not_json", "dropped.response_too_large", "not_triggered"],
        ),
    ] {
        assert_eq!(of_settings(&settings), more, "{settings}");
    }
}

#[test]
fn an_update_defines_what_is_new_and_every_count_goes_to_its_own_statistic() {
    let host = Host::new();
    let mut audit = target("audit");
    let worker = host.worker(&targets(&[audit.clone()]));
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(404));
    assert!(!host.stats().contains_key("sidecast.audit.dead_lettered"));
    let defined = worker.definitions();
    audit["dead_letter"] = json!({"cluster": "letters"});
    audit["sample"] = json!({"percent": 100});
    assert!(worker.configure(targets(&[audit]).to_string()));
    assert_eq!(worker.definitions(), defined + 2);
    worker.exchange(&Request::get("/"));
    worker.call_out().answer(Answer::upstream(404));
    worker.call_out().answer(Answer::upstream(200));
    let names = ["matched", "dropped.not_retryable", "dead_lettered", "sampled_out", "delivered", "inflight"];
    assert_eq!(names.map(|name| host.stat("audit", name)), [2, 1, 1, 0, 0, 0]);
}
