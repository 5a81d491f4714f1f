//! What follows from something is over before the next thing needs the place or the bytes that it leaves.

use crate::{
    batches::{batching_with, post},
    configurations::{assert_balanced, dropped, mirroring_with, only, target, targets, with},
    host::{Answer, Host, Request, Status, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A batch of one item waits for its retry, and in the places left there are requests whose batch ends when the path is another one.
#[test]
fn a_batch_that_goes_leaves_its_places_to_the_request_that_looks_for_one() {
    let retry = json!({"max_attempts": 2, "backoff": {"base": "10s", "max": "10s"}, "retry_after": true});
    let fields =
        json!({"request": {"path": "/${header:x-tenant}"}, "limits": {"max_in_flight": 1, "max_queued": 3}, "retry": retry});
    let (host, worker) = batching_with(&fields);
    let send = |tenant: &str| worker.exchange(&Request::post("/").header("x-tenant", tenant).body("1"));
    send("a");
    worker.pass(&host, millis(20));
    worker.call_out().answer(Answer::upstream(503).header("retry-after", "10"));
    ["a", "b", "b"].into_iter().for_each(send);
    let call = worker.call_out();
    assert_eq!((call.header(":path"), call.body()), (Some("/a"), &b"[1]"[..]));
    assert_eq!(dropped(&host, "audit"), []);
    call.answer(Answer::upstream(200));
    for _ in 0..3 {
        worker.pass(&host, 10 * SECOND);
        worker.answer_all(&Answer::upstream(200));
    }
    assert_eq!(host.stat("audit", "delivered"), 4);
    assert_balanced(&host, "audit");
}

/// `audit`, which takes batches, behind another target that gets each request at once. There is room for three requests, one of them in flight.
fn narrow(fields: &Value) -> (Host, Worker) {
    let batched = with(with(target("audit"), &json!({"batch": {"max_items": 100, "max_delay": "5s"}})), fields);
    let limits = json!({"limits": {"max_body_bytes": "4KiB", "max_buffered_bytes": 11_300}});
    mirroring_with(&with(targets(&[target("plain"), batched]), &limits))
}

fn exchange(worker: &Worker, number: u64) {
    let body = json!({"n": number, "a": "x".repeat(2_700)}).to_string();
    worker.exchange(&Request::post("/").header("x-tenant", number.to_string()).body(body));
    worker.answer_all(&Answer::upstream(200));
}

#[test]
fn what_a_rate_does_not_let_pass_leaves_its_bytes_to_the_request_that_looks_for_them() {
    let (host, worker) = narrow(&json!({"limits": {"rate": {"per_second": 0.1, "burst": 1}}}));
    (0..20).for_each(|number| exchange(&worker, number));
    worker.pass(&host, 6 * SECOND);
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(dropped(&host, "audit"), only("rate_limited", 19));
    assert_balanced(&host, "audit");
}

#[test]
fn a_batch_that_is_refused_leaves_its_bytes_to_the_request_that_looks_for_them() {
    let (host, worker) = narrow(&json!({"request": {"path": "/${header:x-tenant}"}}));
    host.refuse_calls_to("audit", Status::BAD_ARGUMENT);
    (0..20).for_each(|number| exchange(&worker, number));
    worker.pass(&host, 6 * SECOND);
    assert_eq!(dropped(&host, "audit"), only("unknown_cluster", 20));
    assert_balanced(&host, "audit");
}

#[test]
fn letters_of_a_batch_are_written_in_the_order_of_its_items() {
    let dead_letter = json!({"cluster": "dlq", "on": ["not_retryable"]});
    let (host, worker) = batching_with(&json!({"limits": {"max_in_flight": 2, "max_queued": 3}, "dead_letter": dead_letter}));
    host.refuse_calls_to("dlq", Status::INTERNAL_FAILURE);
    post(&worker, 0..3);
    let call = worker.call_out();
    let ids = |event: &str| -> Vec<Value> {
        host.events(event).into_iter().map(|(_, line)| line["correlation_ids"][0].clone()).collect()
    };
    call.answer(Answer::upstream(404));
    let failed = host.events("attempt_failed");
    let items = failed[0].1["correlation_ids"].as_array().unwrap().clone();
    assert_eq!((ids("dead_letter_failed"), items.len()), (items, 3));
    assert_balanced(&host, "audit");
}
