//! Requests that go together: when a batch goes, to the millisecond, what it takes while it waits, and how it ends.

use crate::{
    scene::{assert_balanced, audit_with, dropped, mirroring_with, only, target, targets, with},
    wasm_host::{Answer, CallOut, Host, Request, Status, Worker},
};
use serde_json::{json, Value};
use std::{collections::BTreeSet, ops::Range, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `audit`, which takes batches of at most three items that wait for 20 ms, with these fields.
fn batching_with(fields: &Value) -> (Host, Worker) {
    mirroring_with(&audit_with(&with(json!({"batch": {"max_items": 3, "max_delay": "20ms"}}), fields)))
}

/// Requests whose bodies are these numbers.
fn post(worker: &Worker, ids: Range<u64>) {
    for id in ids {
        worker.exchange(&Request::post("/").body(id.to_string()));
    }
}

fn items(call: &CallOut) -> Vec<u64> {
    serde_json::from_slice(call.body()).unwrap()
}

/// The items of the calls made since the last look.
fn sent(worker: &Worker) -> Vec<Vec<u64>> {
    worker.call_outs().iter().map(items).collect()
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
fn a_batch_goes_when_its_first_item_has_waited_to_the_millisecond() {
    let (host, worker) = batching_with(&json!({}));
    assert_eq!(worker.tick_period(), None);
    post(&worker, 0..1);
    assert_eq!(worker.tick_period(), Some(millis(20)));
    worker.pass(&host, millis(15));
    post(&worker, 1..2);
    assert_eq!((worker.pass(&host, millis(4)), sent(&worker).len()), (0, 0));
    assert_eq!((host.stat("audit", "queued"), host.stat("audit", "inflight")), (2, 0));
    assert_eq!(worker.pass(&host, millis(1)), 1);
    let call = worker.call_out();
    assert_eq!((items(&call), worker.tick_period()), (vec![0, 1], None));
    assert_eq!((host.stat("audit", "queued"), host.stat("audit", "inflight")), (0, 1));
    call.answer(Answer::upstream(200));
    let counted = ["matched", "attempts", "delivered"].map(|name| host.stat("audit", name));
    assert_eq!((counted, host.samples("audit", "batch_items")), ([2, 1, 2], vec![2]));
    assert_balanced(&host, "audit");
}

#[test]
fn a_batch_that_is_full_before_leaves_nothing_for_the_tick() {
    let (host, worker) = batching_with(&json!({}));
    post(&worker, 0..3);
    assert_eq!(sent(&worker), [[0, 1, 2]]);
    assert_eq!(host.stat("audit", "queued"), 0);
    // The timer runs out once more for nothing; that costs less than to set it anew for each batch.
    assert_eq!((worker.pass(&host, SECOND), worker.tick_period()), (1, None));
    assert_eq!(sent(&worker).len(), 0);
}

#[test]
fn a_timer_that_was_set_for_a_batch_that_went_serves_the_next() {
    let (host, worker) = batching_with(&json!({}));
    post(&worker, 0..3);
    worker.pass(&host, millis(15));
    post(&worker, 3..4);
    assert_eq!(worker.pass(&host, millis(5)), 1);
    assert_eq!((worker.tick_period(), sent(&worker)), (Some(millis(15)), vec![vec![0, 1, 2]]));
    assert_eq!((worker.pass(&host, millis(14)), sent(&worker).len()), (0, 0));
    assert_eq!((worker.pass(&host, millis(1)), sent(&worker)), (1, vec![vec![3]]));
    assert_eq!(worker.tick_period(), None);
}

#[test]
fn two_targets_of_different_patience_share_one_timer() {
    let patient = |name: &str, delay: &str, prefix: &str| {
        with(target(name), &json!({"batch": {"max_delay": delay}, "match": [{"path": {"prefix": prefix}}]}))
    };
    let (host, worker) = mirroring_with(&targets(&[patient("slow", "25ms", "/slow"), patient("quick", "10ms", "/quick")]));
    let ask = |path: &str| worker.exchange(&Request::post(path).body("1"));
    let clusters = || worker.call_outs().iter().map(|call| call.cluster().to_owned()).collect::<Vec<_>>();
    ask("/slow");
    assert_eq!(worker.tick_period(), Some(millis(25)));
    host.advance(Duration::from_micros(5_500));
    ask("/quick");
    assert_eq!(worker.tick_period(), Some(millis(10)));
    assert_eq!((worker.pass(&host, millis(9)), worker.pass(&host, millis(1))), (0, 1));
    assert_eq!(clusters(), ["quick"]);
    // 9.5 ms are left, and a timer has whole ones: rather late than in vain.
    assert_eq!(worker.tick_period(), Some(millis(10)));
    assert_eq!((worker.pass(&host, millis(9)), worker.pass(&host, millis(1))), (0, 1));
    assert_eq!((clusters(), worker.tick_period()), (vec!["slow".to_owned()], None));
}

#[test]
fn a_batch_and_a_retry_share_the_timer_too() {
    let (host, worker) = batching_with(&json!({"retry": {"max_attempts": 2, "backoff": {"base": "1s", "max": "1s"}}}));
    post(&worker, 0..3);
    worker.call_out().answer(Answer::upstream(503).header("retry-after", "1"));
    worker.pass(&host, millis(500));
    post(&worker, 3..4);
    assert_eq!(worker.tick_period(), Some(millis(20)));
    assert_eq!((worker.pass(&host, millis(20)), sent(&worker)), (1, vec![vec![3]]));
    assert_eq!((worker.pass(&host, millis(479)), worker.pass(&host, millis(1))), (0, 1));
    assert_eq!((sent(&worker), worker.tick_period()), (vec![vec![0, 1, 2]], None));
}

#[test]
fn a_drain_lets_open_batches_go_and_ends_with_their_last_outcome() {
    let batching = ["a", "b"].map(|name| with(target(name), &json!({"batch": {"max_delay": "1h"}})));
    let (host, worker) = mirroring_with(&targets(&batching));
    post(&worker, 0..2);
    let old = worker.root();
    assert!(worker.configure(targets(&["a", "b"].map(target)).to_string()));
    let calls = worker.call_outs();
    assert_eq!(calls.iter().map(items).collect::<Vec<_>>(), [[0, 1], [0, 1]]);
    calls[0].answer(Answer::upstream(200));
    assert!(worker.is_draining(old));
    calls[1].answer(Answer::upstream(404));
    assert!(worker.is_deleted(old));
    assert_eq!((host.stat("a", "delivered"), dropped(&host, "b")), (2, only("not_retryable", 2)));
    assert_balanced(&host, "a");
    assert_balanced(&host, "b");
}

#[test]
fn a_drain_whose_batches_find_no_cluster_is_over_at_once() {
    let (host, worker) = batching_with(&json!({}));
    post(&worker, 0..2);
    host.refuse_calls_to("audit", Status::BAD_ARGUMENT);
    worker.shut_down();
    assert!(worker.call_outs().is_empty());
    assert_eq!(worker.pass(&host, SECOND), 0, "the root is gone, and its timer with it");
    assert_eq!(dropped(&host, "audit"), only("unknown_cluster", 2));
    assert_balanced(&host, "audit");
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
    // Three wait for their retry, three are under way, three are queued, and a batch is open.
    post(&worker, 0..3);
    worker.call_out().answer(Answer::upstream(503).header("retry-after", "60"));
    post(&worker, 3..8);
    assert_eq!((host.stat("audit", "inflight"), host.stat("audit", "queued")), (1, 5));
    let (under_way, old) = (worker.call_out(), worker.root());
    assert!(worker.configure(crate::scene::audit().to_string()));
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
fn a_batch_that_waits_for_its_retry_takes_a_place_for_each_item() {
    let limits = json!({
        "limits": {"max_in_flight": 1, "max_queued": 4},
        "retry": {"max_attempts": 2, "backoff": {"base": "1s", "max": "1s"}},
    });
    let (host, worker) = batching_with(&limits);
    post(&worker, 0..3);
    worker.call_out().answer(Answer::upstream(503).header("retry-after", "1"));
    assert_eq!(host.stat("audit", "queued"), 3);
    post(&worker, 3..5);
    assert_eq!((host.stat("audit", "queued"), dropped(&host, "audit")), (4, only("queue_full", 1)));
    worker.pass(&host, 2 * SECOND);
    let between = worker.call_out();
    assert_eq!((items(&between), worker.call_outs().len(), host.stat("audit", "queued")), (vec![3], 0, 3));
    between.answer(Answer::upstream(200));
    let again = worker.call_out();
    assert_eq!((items(&again), again.header("x-sidecast-attempt"), host.stat("audit", "queued")), (vec![0, 1, 2], Some("2"), 0));
    again.answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 4);
    assert_balanced(&host, "audit");
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

#[test]
fn items_find_places_one_by_one() {
    let (host, worker) = batching_with(&json!({"limits": {"max_in_flight": 1, "max_queued": 4}}));
    // Three under way, three in a batch behind them, one in the next, and two too many.
    post(&worker, 0..9);
    assert_eq!((host.stat("audit", "queued"), dropped(&host, "audit")), (4, only("queue_full", 2)));
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "queued"), 1);
    worker.call_out().answer(Answer::upstream(200));
    worker.pass(&host, millis(20));
    assert_eq!(items(&worker.call_out()), [6]);
    worker.shut_down();
}

#[test]
fn items_are_charged_one_by_one_and_given_back() {
    let batch = audit_with(&json!({"batch": {"max_items": 100, "max_delay": "20ms"}}));
    let (host, worker) = mirroring_with(&with(batch, &json!({"limits": {"max_body_bytes": 1_000, "max_buffered_bytes": 5_000}})));
    let item = || worker.exchange(&Request::post("/").body(json!("x".repeat(900)).to_string()));
    for round in 1..=3 {
        (0..7).for_each(|_| item());
        let taken = host.stat("audit", "queued");
        assert!((2..=4).contains(&taken), "{taken}");
        assert!(host.stat("audit", "queued_bytes") <= 5_000);
        assert_eq!(dropped(&host, "audit"), only("buffer_full", (7 - taken.unsigned_abs()) * round));
        worker.pass(&host, millis(20));
        assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
        assert_balanced(&host, "audit");
    }
}

#[test]
fn what_a_call_says_once_for_its_items_is_charged_too() {
    let target = json!({
        "batch": {"max_items": 1},
        "request": {"headers": {"forward": ["x-long"]}},
        "limits": {"max_in_flight": 1, "max_queued": 1_000},
    });
    let limits = json!({"limits": {"max_body_bytes": "1KiB", "max_buffered_bytes": "64KiB"}});
    let (host, worker) = mirroring_with(&with(audit_with(&target), &limits));
    for id in 0..20 {
        worker.exchange(&Request::post("/").header("x-long", format!("{id}").repeat(8_000)).body("1"));
    }
    // 8 to 16 KB each, and nothing else to speak of.
    assert!(host.stat("audit", "queued") < 8, "{}", host.stat("audit", "queued"));
    assert!(host.stat("audit", "dropped.buffer_full") > 10);
    worker.answer_all(&Answer::upstream(200));
    assert_balanced(&host, "audit");
}

#[test]
fn after_ten_thousand_batches_of_every_end_all_bytes_are_free_again() {
    let target = json!({
        "batch": {"max_items": 2, "max_delay": "20ms"},
        "limits": {"max_in_flight": 2, "max_queued": 4},
        "retry": {"max_attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}, "budget": {"percent": 100}},
        "circuit_breaker": {"mode": "disabled"},
        "dead_letter": {"cluster": "dlq", "on": ["retries_exhausted", "queue_full", "not_retryable"]},
    });
    let limits = json!({"limits": {"max_body_bytes": 700, "max_buffered_bytes": 4_000}});
    let (host, worker) = mirroring_with(&with(audit_with(&target), &limits));
    host.set_log_level(crate::wasm_host::Level::Critical);
    let ends = [Answer::upstream(200), Answer::upstream(503), Answer::upstream(404), Answer::reset(), Answer::timeout()];
    for round in 0..10_000_usize {
        // One or two items, which make a batch full or not.
        post(&worker, 0..1 + (round as u64) % 3);
        for _ in 0..3 {
            worker.answer_all(&ends[round % ends.len()]);
            worker.pass(&host, millis(20));
        }
    }
    assert_balanced(&host, "audit");
    assert_eq!(host.stat("audit", "dropped.buffer_full"), 0);
    // What is nearly all of the bytes finds room.
    for _ in 0..4 {
        worker.exchange(&Request::post("/").body(json!("x".repeat(600)).to_string()));
    }
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(host.stat("audit", "dropped.buffer_full"), 0);
    assert_balanced(&host, "audit");
}
