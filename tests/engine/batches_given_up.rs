//! Batches that are given up: a letter for each of their items.

use crate::{
    batches::{batching_with, items, post},
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, only, with},
    host::{Answer, CallOut},
};
use serde_json::{json, Value};
use std::{collections::BTreeSet, ops::Range, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What letters say of their requests: reason, attempts, body; in the order of the bodies. Each is of a request of its own.
fn letters(calls: &[CallOut]) -> Vec<(String, u64, String)> {
    let calls: Vec<&CallOut> = calls.iter().filter(|call| call.cluster() == "dlq").collect();
    let envelopes: Vec<Value> = calls.iter().map(|call| serde_json::from_slice(call.body()).unwrap()).collect();
    for id in ["id", "correlation_id"] {
        let distinct: BTreeSet<&str> = envelopes.iter().map(|envelope| envelope[id].as_str().unwrap()).collect();
        assert_eq!(distinct.len(), envelopes.len(), "{id}");
    }
    let mut letters: Vec<_> = envelopes
        .iter()
        .map(|envelope| {
            let [reason, body] =
                [&envelope["reason"], &envelope["request"]["body"]].map(|text| text.as_str().unwrap().to_owned());
            (reason, envelope["attempts"].as_u64().unwrap(), body)
        })
        .collect();
    letters.sort_by(|one, other| one.2.cmp(&other.2));
    letters
}

/// Letters of these requests, all of them given up for one reason after so many attempts.
fn all_for(reason: &str, attempts: u64, ids: Range<u64>) -> Vec<(String, u64, String)> {
    ids.map(|id| (reason.to_owned(), attempts, id.to_string())).collect()
}

#[test]
fn what_a_drain_gives_up_is_given_up_item_by_item() {
    let target = json!({
        "batch": {"max_items": 3, "max_delay": "1h"},
        "timeout": "60s",
        "limits": {"max_in_flight": 1, "max_queued": 9},
        "retry": {"max_attempts": 2, "backoff": {"base": "60s", "max": "60s"}, "expire_after": "600s"},
        "dead_letter": {"cluster": "dlq", "on": ["shutdown"]},
    });
    let (host, worker) = mirroring_with(&with(audit_with(&target), &json!({"drain_timeout": "5s"})));
    // Three wait for their retry, three are under way, and a batch of two is open, of which the first shows.
    post(&worker, 0..3);
    worker.call_out().answer(Answer::upstream(503).header("retry-after", "60"));
    post(&worker, 3..8);
    assert_eq!((host.stat("audit", "inflight"), host.stat("audit", "queued")), (1, 4));
    let (under_way, old) = (worker.call_out(), worker.root());
    assert!(worker.configure(crate::configurations::audit().to_string()));
    assert_eq!((host.stat("audit", "queued"), worker.call_outs().len()), (5, 0));
    worker.pass(&host, millis(4_999));
    assert_eq!(worker.call_outs().len(), 0);
    worker.pass(&host, millis(1));
    let mut calls = worker.call_outs();
    // There is one place for letters.
    for _ in 0..7 {
        calls.last().unwrap().answer(Answer::upstream(200));
        assert!(worker.is_draining(old));
        calls.extend(worker.call_outs());
    }
    assert_eq!(letters(&calls), [all_for("shutdown", 1, 0..6), all_for("shutdown", 0, 6..8)].concat());
    under_way.answer(Answer::upstream(200));
    calls.last().unwrap().answer(Answer::upstream(200));
    assert!(worker.is_deleted(old));
    assert_eq!((host.stat("audit", "delivered"), host.stat("audit", "dead_lettered")), (0, 8));
    assert_balanced(&host, "audit");
}

#[test]
fn a_batch_is_as_old_as_its_oldest_item() {
    let target = json!({
        "batch": {"max_items": 2, "max_delay": "9s"},
        "limits": {"max_in_flight": 1, "max_queued": 9},
        "retry": {"max_attempts": 2, "expire_after": "10s"},
        "timeout": "60s",
        "dead_letter": {"cluster": "dlq"},
    });
    for (age, expired) in [(9_999, false), (10_000, true)] {
        let (host, worker) = mirroring_with(&audit_with(&target));
        post(&worker, 90..92);
        let before = worker.call_out();
        post(&worker, 0..1);
        worker.pass(&host, 6 * SECOND);
        post(&worker, 1..2);
        worker.pass(&host, millis(age) - 6 * SECOND);
        before.answer(Answer::upstream(200));
        let calls = worker.call_outs();
        if expired {
            assert_eq!(calls[0].cluster(), "dlq", "at {age} ms");
            let mut all = calls;
            for call in 0..2 {
                all[call].answer(Answer::upstream(200));
                all.extend(worker.call_outs());
            }
            assert_eq!(letters(&all), all_for("expired", 0, 0..2));
            let received = |call: &CallOut| {
                let envelope: Value = serde_json::from_slice(call.body()).unwrap();
                envelope["received_at"].as_str().unwrap().to_owned()
            };
            assert_eq!(all.iter().map(received).collect::<Vec<_>>(), ["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:26.000Z"]);
        } else {
            assert_eq!(items(&calls[0]), [0, 1], "at {age} ms");
            calls[0].answer(Answer::upstream(200));
        }
        assert_balanced(&host, "audit");
    }
}

#[test]
fn a_batch_that_finds_too_few_places_for_its_retry_is_given_up_whole() {
    let limits = json!({
        "limits": {"max_in_flight": 1, "max_queued": 3},
        "retry": {"max_attempts": 2},
        "dead_letter": {"cluster": "dlq", "timeout": "60s"},
    });
    let (host, worker) = batching_with(&limits);
    post(&worker, 0..3);
    let first = worker.call_out();
    post(&worker, 3..4);
    first.answer(Answer::upstream(503));
    let mut calls = worker.call_outs();
    for call in 0..3 {
        calls[call].answer(Answer::upstream(200));
        calls.extend(worker.call_outs());
    }
    assert_eq!(letters(&calls), all_for("queue_full", 1, 0..3));
    worker.pass(&host, SECOND);
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
    assert_balanced(&host, "audit");
}

#[test]
fn what_an_open_breaker_keeps_back_is_given_up_item_by_item() {
    let (host, worker) = batching_with(&json!({
        "circuit_breaker": {"consecutive_failures": 1, "open_for": "60s"},
        "dead_letter": {"cluster": "dlq", "on": ["circuit_open"]},
    }));
    post(&worker, 0..3);
    worker.call_out().answer(Answer::upstream(503));
    assert_eq!(dropped(&host, "audit"), only("retries_exhausted", 3));
    post(&worker, 3..6);
    let calls = worker.call_outs();
    assert_eq!(letters(&calls), all_for("circuit_open", 0, 3..6));
    assert_eq!(host.samples("audit", "batch_items"), [3], "only the one that was sent");
    calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
    assert_eq!((host.stat("audit", "dead_lettered"), host.stat("audit", "attempts")), (3, 1));
    assert_balanced(&host, "audit");
}

#[test]
fn a_rate_is_of_items_and_what_is_above_it_has_letters_of_its_own() {
    let (host, worker) = batching_with(&json!({
        "limits": {"rate": {"per_second": 1, "burst": 2}},
        "dead_letter": {"cluster": "dlq", "on": ["rate_limited"]},
    }));
    post(&worker, 0..5);
    let calls = worker.call_outs();
    assert_eq!(letters(&calls), all_for("rate_limited", 0, 2..5));
    assert_eq!(host.stat("audit", "queued"), 2);
    calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
    worker.pass(&host, millis(20));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
    assert_eq!((host.stat("audit", "delivered"), host.stat("audit", "dead_lettered")), (2, 3));
    assert_balanced(&host, "audit");
}
