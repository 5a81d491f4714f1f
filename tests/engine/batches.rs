//! Requests that go together: when a batch goes, to the millisecond, what it takes while it waits, and how it ends.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, only, target, targets, with},
    host::{Answer, CallOut, Host, Request, Status, Worker},
};
use serde_json::{json, Value};
use std::{ops::Range, time::Duration};

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// `audit`, which takes batches of at most three items that wait for 20 ms, with these fields.
pub(crate) fn batching_with(fields: &Value) -> (Host, Worker) {
    mirroring_with(&audit_with(&with(json!({"batch": {"max_items": 3, "max_delay": "20ms"}}), fields)))
}

/// Requests whose bodies are these numbers.
pub(crate) fn post(worker: &Worker, ids: Range<u64>) {
    for id in ids {
        worker.exchange(&Request::post("/").body(id.to_string()));
    }
}

pub(crate) fn items(call: &CallOut) -> Vec<u64> {
    serde_json::from_slice(call.body()).unwrap()
}

/// The items of the calls made since the last look.
fn sent(worker: &Worker) -> Vec<Vec<u64>> {
    worker.call_outs().iter().map(items).collect()
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
    assert_eq!((host.stat("audit", "queued"), host.stat("audit", "inflight")), (1, 0));
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
fn what_waits_in_an_open_batch_shows_its_first_at_once_and_all_within_a_second() {
    let (host, worker) = mirroring_with(&audit_with(&json!({"batch": {"max_items": 100, "max_delay": "1h"}})));
    let shown = || ["matched", "queued"].map(|name| host.stat("audit", name));
    post(&worker, 0..1);
    let bytes = host.stat("audit", "queued_bytes");
    assert_eq!((shown(), bytes > 0), ([0, 1], true));
    post(&worker, 1..7);
    assert_eq!((shown(), host.stat("audit", "queued_bytes")), ([0, 1], bytes));
    assert_eq!((worker.pass(&host, millis(999)), shown()), (0, [0, 1]));
    assert_eq!((worker.pass(&host, millis(1)), shown()), (1, [7, 7]));
    assert!(host.stat("audit", "queued_bytes") > bytes);
    assert_eq!(worker.tick_period(), Some(3_599 * SECOND));
    // As many as cost little when they are looked at together show at once.
    post(&worker, 7..80);
    assert_eq!(shown(), [71, 72]);
    worker.shut_down();
    assert_eq!(items(&worker.call_out()), (0..80).collect::<Vec<u64>>());
    assert_eq!((shown(), host.stat("audit", "queued_bytes")), ([80, 0], 0));
}

#[test]
fn a_large_request_is_looked_at_alone_and_waits_no_longer_for_that() {
    let batch = audit_with(&json!({"batch": {"max_items": 9, "max_bytes": "1MiB", "max_delay": "5s"}}));
    let (host, worker) = mirroring_with(&with(batch, &json!({"limits": {"max_body_bytes": "1MiB"}})));
    worker.exchange(&Request::post("/").body(json!("x".repeat(140_000)).to_string()));
    assert_eq!((host.stat("audit", "matched"), host.stat("audit", "queued")), (1, 1));
    assert_eq!((worker.pass(&host, millis(4_999)), worker.pass(&host, millis(1))), (0, 1));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
    assert_balanced(&host, "audit");
}

#[test]
fn what_came_for_a_batch_and_cannot_be_an_item_of_it_leaves_its_place_to_others() {
    let (host, worker) = mirroring_with(&audit_with(&json!({
        "batch": {"max_items": 4, "max_delay": "1h"},
        "limits": {"max_queued": 4, "rate": {"per_second": 1, "burst": 5}},
    })));
    let bad = || worker.exchange(&Request::post("/").body("no json"));
    post(&worker, 0..1);
    (0..2).for_each(|_| bad());
    assert_eq!(dropped(&host, "audit"), [], "nobody has looked yet");
    post(&worker, 1..2);
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "queued"), sent(&worker).len()), (only("body_not_json", 2), 2, 0));
    post(&worker, 2..4);
    assert_eq!(sent(&worker), [[0, 1, 2, 3]]);
    // The rate is of items, not of what never became one.
    post(&worker, 4..6);
    worker.shut_down();
    assert_eq!(sent(&worker), [[4]]);
    assert_eq!((host.stat("audit", "queued"), host.stat("audit", "dropped.rate_limited")), (0, 1));
}

#[test]
fn a_call_that_begins_among_others_waits_from_the_first_of_them_on_unless_the_time_of_each_counts() {
    let rate = json!({"limits": {"rate": {"per_second": 9, "burst": 9}}});
    for (more, early) in [(json!({}), true), (rate, false)] {
        let (host, worker) = batching_with(&with(json!({"request": {"path": "/${header:x-tenant}"}}), &more));
        let item = |id: u64, tenant: &str| worker.exchange(&Request::post("/").header("x-tenant", tenant).body(id.to_string()));
        item(0, "a");
        worker.pass(&host, millis(10));
        item(1, "b");
        worker.pass(&host, millis(10));
        assert_eq!(sent(&worker), if early { vec![vec![0], vec![1]] } else { vec![vec![0]] });
        assert_eq!((worker.pass(&host, millis(9)), sent(&worker).len()), (0, 0));
        assert_eq!((worker.pass(&host, millis(1)), sent(&worker)), if early { (0, vec![]) } else { (1, vec![vec![1]]) });
    }
}

#[test]
fn before_a_place_is_missing_it_is_looked_who_needs_none() {
    let (host, worker) = batching_with(&json!({"limits": {"max_in_flight": 1, "max_queued": 4}}));
    // Three under way, three behind them, and one that is no item.
    post(&worker, 0..6);
    worker.exchange(&Request::post("/").body("no json"));
    post(&worker, 6..7);
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "queued")), (only("body_not_json", 1), 4));
    post(&worker, 7..8);
    assert_eq!(host.stat("audit", "dropped.queue_full"), 1);
    worker.shut_down();
}

#[test]
fn an_item_tells_when_it_came_not_when_it_was_made() {
    let (host, worker) = mirroring_with(&audit_with(&json!({
        "batch": {"max_items": 9, "max_delay": "900ms"},
        "request": {"body": {"template": "${now_ms}"}},
    })));
    post(&worker, 0..1);
    worker.pass(&host, millis(500));
    post(&worker, 1..2);
    worker.pass(&host, millis(400));
    let times = items(&worker.call_out());
    assert_eq!((times.len(), times[1] - times[0]), (2, 500));
}

#[test]
fn what_has_no_place_is_above_the_rate_first() {
    let (host, worker) = batching_with(&json!({
        "limits": {"max_in_flight": 1, "max_queued": 3, "rate": {"per_second": 1, "burst": 7}},
    }));
    post(&worker, 0..9);
    assert_eq!(dropped(&host, "audit"), [("queue_full".to_owned(), 1), ("rate_limited".to_owned(), 2)]);
}

#[test]
fn the_rate_is_that_at_which_requests_come_and_what_is_above_it_leaves_its_place() {
    let (host, worker) = mirroring_with(&audit_with(&json!({
        "batch": {"max_items": 2, "max_delay": "5s"},
        "limits": {"max_queued": 2, "rate": {"per_second": 1, "burst": 2}},
    })));
    post(&worker, 0..2);
    assert_eq!(sent(&worker), [[0, 1]]);
    // It came when there was no token left, though there is one when it is looked at.
    post(&worker, 2..3);
    worker.pass(&host, SECOND);
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "queued")), (only("rate_limited", 1), 0));
    worker.pass(&host, SECOND);
    post(&worker, 3..5);
    assert_eq!(sent(&worker), [[3, 4]]);
    assert_eq!(dropped(&host, "audit"), only("rate_limited", 1));
}

#[test]
fn what_came_for_a_batch_is_made_items_before_there_is_no_room() {
    let batch = audit_with(&json!({"batch": {"max_items": 100, "max_delay": "1h"}}));
    let (host, worker) =
        mirroring_with(&with(batch, &json!({"limits": {"max_body_bytes": 1_000, "max_buffered_bytes": 16_000}})));
    for id in 0..40_u64 {
        worker.exchange(&Request::post("/").header("x-long", "x".repeat(2_000)).body(id.to_string()));
    }
    assert_eq!(dropped(&host, "audit"), []);
    worker.shut_down();
    assert_eq!(items(&worker.call_out()), (0..40).collect::<Vec<u64>>());
}

/// `feed`, for whose batches four requests have come that hold more than their items will, in the place of which something else is to fit;
/// and this target.
fn crowded_with(other: &Value) -> (Host, Worker) {
    let matching = |prefix: &str| json!({"match": [{"path": {"prefix": prefix}}]});
    let feed = with(target("feed"), &with(json!({"batch": {"max_items": 100, "max_delay": "1h"}}), &matching("/feed")));
    let other = with(target("other"), &with(other.clone(), &matching("/other")));
    let limits = json!({"limits": {"max_body_bytes": 6_000, "max_buffered_bytes": 16_000}});
    let (host, worker) = mirroring_with(&with(targets(&[feed, other]), &limits));
    for _ in 0..4 {
        worker.exchange(&Request::post("/feed").header("x-long", "x".repeat(2_000)).body("1"));
    }
    (host, worker)
}

#[test]
fn what_came_for_a_batch_gives_way_to_a_letter() {
    let (host, worker) = crowded_with(&json!({"dead_letter": {"cluster": "dlq", "on": ["not_retryable"]}}));
    // A quote takes two bytes in the letter.
    worker.exchange(&Request::post("/other").body("\"".repeat(4_000)));
    worker.call_out().answer(Answer::upstream(404));
    let letter = worker.call_out();
    assert_eq!((letter.cluster(), letter.body().len() > 8_000), ("dlq", true));
    letter.answer(Answer::upstream(200));
    assert_eq!((host.stat("other", "dead_lettered"), host.stat("feed", "queued")), (1, 4));
    worker.shut_down();
    assert_eq!(items(&worker.call_out()), [1; 4]);
}

#[test]
fn what_came_for_a_batch_gives_way_to_an_item_that_is_larger_than_its_request() {
    let twice = json!({"batch": {"max_items": 1}, "request": {"body": {"template": ["${body}", "${body}"]}}});
    let (host, worker) = crowded_with(&twice);
    worker.exchange(&Request::post("/other").body(json!("x".repeat(4_000)).to_string()));
    assert_eq!((dropped(&host, "other"), worker.call_out().body().len() > 8_000), (vec![], true));
    assert_eq!(host.stat("feed", "queued"), 4);
    worker.shut_down();
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
    assert_eq!(host.samples("audit", "batch_items"), [3, 1], "a batch is counted when it is first sent");
    assert_balanced(&host, "audit");
}

#[test]
fn items_that_would_be_sent_elsewhere_do_not_share_a_call() {
    let (host, worker) = batching_with(&json!({"request": {"path": "/${header:x-tenant}"}}));
    let item = |id: u64, tenant: &str| worker.exchange(&Request::post("/").header("x-tenant", tenant).body(id.to_string()));
    for (id, tenant) in (0..).zip(["a", "a", "b", "a", "a", "a"]) {
        item(id, tenant);
    }
    worker.pass(&host, millis(20));
    let calls = worker.call_outs();
    let seen: Vec<_> = calls.iter().map(|call| (call.header(":path").unwrap(), items(call))).collect();
    assert_eq!(seen, [("/a", vec![0, 1]), ("/b", vec![2]), ("/a", vec![3, 4, 5])]);
    calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
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
        assert!(host.stat("audit", "queued_bytes") <= 5_000);
        worker.pass(&host, millis(20));
        let call = worker.call_out();
        let taken = serde_json::from_slice::<Vec<String>>(call.body()).unwrap().len() as u64;
        assert!((2..=4).contains(&taken), "{taken}");
        assert_eq!(dropped(&host, "audit"), only("buffer_full", (7 - taken) * round));
        call.answer(Answer::upstream(200));
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
    host.set_log_level(crate::host::Level::Critical);
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
