//! Deliveries that fail and are tried again: when, how often, and what is counted.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, with},
    host::{Answer, Host, Request, Status, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn retrying_with(retry: &Value, more: &Value) -> (Host, Worker) {
    mirroring_with(&audit_with(&with(json!({ "retry": retry }), more)))
}

fn retrying(retry: &Value) -> (Host, Worker) {
    retrying_with(retry, &json!({}))
}

#[test]
fn a_failed_delivery_is_tried_again_with_the_same_key_and_body_until_it_succeeds() {
    let (host, worker) = retrying(&json!({"max_attempts": 3, "backoff": {"base": "100ms", "max": "1s"}}));
    worker.exchange(&Request::post("/a?b").body("one").body("two"));
    let mut keys = Vec::new();
    for (number, end) in [(None, Answer::upstream(503)), (Some("2"), Answer::reset()), (Some("3"), Answer::upstream(200))] {
        let call = worker.call_out();
        assert_eq!(call.header("x-sidecast-attempt"), number);
        assert_eq!((call.header(":path"), call.body()), (Some("/a?b"), &b"onetwo"[..]));
        keys.push(call.header("idempotency-key").unwrap().to_owned());
        call.answer(end);
        worker.pass(&host, SECOND);
    }
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    let stats = ["matched", "attempts", "attempt_failures", "retries", "delivered"].map(|name| host.stat("audit", name));
    assert_eq!(stats, [1, 3, 2, 2, 1]);
    assert_balanced(&host, "audit");
}

#[test]
fn after_the_last_attempt_a_delivery_is_given_up() {
    let (host, worker) = retrying(&json!({"max_attempts": 2}));
    worker.exchange(&Request::get("/"));
    for _ in 0..2 {
        worker.call_out().answer(Answer::timeout());
        worker.pass(&host, 10 * SECOND);
    }
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(dropped(&host, "audit"), [("retries_exhausted".to_owned(), 1)]);
    assert_balanced(&host, "audit");
}

#[test]
fn the_root_ticks_only_while_something_waits() {
    let (host, worker) = retrying(&json!({"max_attempts": 2, "backoff": {"base": "1s", "max": "1s"}}));
    assert_eq!(worker.tick_period(), None);
    worker.exchange(&Request::get("/"));
    assert_eq!(worker.tick_period(), None);
    worker.call_out().answer(Answer::upstream(503));
    assert!(worker.tick_period().is_some_and(|period| period <= SECOND + Duration::from_millis(1)));
    let ticks = worker.pass(&host, 2 * SECOND);
    assert_eq!((ticks, worker.tick_period()), (1, None));
    worker.call_out().answer(Answer::upstream(200));
    assert_balanced(&host, "audit");
}

#[test]
fn what_waits_longest_does_not_hold_up_what_is_due_before() {
    let (host, worker) = retrying(&json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "60s"}}));
    worker.exchange(&Request::get("/later"));
    worker.exchange(&Request::get("/sooner"));
    let calls = worker.call_outs();
    calls[0].answer(Answer::upstream(503).header("retry-after", "30"));
    calls[1].answer(Answer::upstream(503).header("retry-after", "2"));
    worker.pass(&host, 3 * SECOND);
    assert_eq!(worker.call_out().header(":path"), Some("/sooner"));
    assert_eq!(worker.call_outs().len(), 0);
    worker.pass(&host, 28 * SECOND);
    assert_eq!(worker.call_out().header(":path"), Some("/later"));
}

#[test]
fn a_retry_after_is_obeyed_but_not_beyond_the_largest_back_off() {
    let (host, worker) = retrying(&json!({"max_attempts": 3, "backoff": {"base": "1ms", "max": "5s"}}));
    worker.exchange(&Request::get("/"));
    for (asked, waited) in [("2", 2), ("3600", 5)] {
        worker.call_out().answer(Answer::upstream(429).header("retry-after", asked));
        worker.pass(&host, waited * SECOND - Duration::from_millis(10));
        assert_eq!(worker.call_outs().len(), 0, "{asked}");
        worker.pass(&host, Duration::from_millis(20));
    }
    worker.call_out().answer(Answer::upstream(200));
    assert_balanced(&host, "audit");
}

#[test]
fn only_what_is_named_is_tried_again() {
    let (host, worker) = retrying(&json!({"max_attempts": 2, "on": ["404", "connect_failure"]}));
    for end in [Answer::upstream(503), Answer::timeout(), Answer::upstream(404)] {
        worker.exchange(&Request::get("/"));
        worker.call_out().answer(end);
    }
    worker.pass(&host, 10 * SECOND);
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(dropped(&host, "audit"), [("not_retryable".to_owned(), 2)]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_call_that_envoy_refuses_is_tried_again() {
    let (host, worker) = retrying(&json!({"max_attempts": 2}));
    host.refuse_calls_to("audit", Status::INTERNAL_FAILURE);
    worker.exchange(&Request::post("/").body("kept"));
    host.accept_calls_to("audit");
    worker.pass(&host, 10 * SECOND);
    let call = worker.call_out();
    assert_eq!((call.body(), call.header("x-sidecast-attempt")), (&b"kept"[..], Some("2")));
    call.answer(Answer::upstream(200));
    assert_balanced(&host, "audit");
}

#[test]
fn a_delivery_that_is_too_old_is_given_up() {
    let (host, worker) = retrying_with(
        &json!({"max_attempts": 9, "expire_after": "10s", "backoff": {"base": "1ms", "max": "30s"}}),
        &json!({"limits": {"max_in_flight": 1, "max_queued": 9}}),
    );
    worker.exchange(&Request::get("/asks for too long"));
    worker.exchange(&Request::get("/waits too long"));
    worker.call_out().answer(Answer::upstream(503).header("retry-after", "20"));
    let second = worker.call_out();
    worker.exchange(&Request::get("/queued too long"));
    worker.pass(&host, 11 * SECOND);
    second.answer(Answer::upstream(503));
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(dropped(&host, "audit"), [("expired".to_owned(), 3)]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_budget_bounds_what_an_outage_adds() {
    let retry =
        json!({"max_attempts": 10, "budget": {"percent": 20, "min_per_second": 0}, "backoff": {"base": "1ms", "max": "1ms"}});
    let (host, worker) = retrying_with(&retry, &json!({"circuit_breaker": {"mode": "disabled"}}));
    for _ in 0..100 {
        worker.exchange(&Request::get("/"));
    }
    for _ in 0..20 {
        worker.call_outs().iter().for_each(|call| call.answer(Answer::upstream(503)));
        worker.pass(&host, Duration::from_millis(10));
    }
    assert_eq!((host.stat("audit", "attempts"), host.stat("audit", "retries")), (120, 20));
    assert_eq!(dropped(&host, "audit"), [("retry_budget".to_owned(), 100)]);
    assert_balanced(&host, "audit");
}

#[test]
fn what_waits_takes_a_place_of_the_queue_and_of_the_bytes() {
    let (host, worker) = retrying_with(&json!({"max_attempts": 2}), &json!({"limits": {"max_in_flight": 1, "max_queued": 1}}));
    worker.exchange(&Request::post("/").body("first"));
    worker.call_out().answer(Answer::upstream(503));
    assert_eq!(host.stat("audit", "queued"), 1);
    assert!(host.stat("audit", "queued_bytes") > 5);
    worker.exchange(&Request::get("/second"));
    worker.exchange(&Request::get("/third finds no place"));
    assert_eq!(dropped(&host, "audit"), [("queue_full".to_owned(), 1)]);
    // The second has failed, too, and finds no place to wait in.
    worker.call_out().answer(Answer::upstream(503));
    assert_eq!(dropped(&host, "audit"), [("queue_full".to_owned(), 2)]);
    worker.pass(&host, 10 * SECOND);
    worker.call_out().answer(Answer::upstream(200));
    assert_balanced(&host, "audit");
}

#[test]
fn a_retry_that_is_due_waits_for_a_place_under_way() {
    let (host, worker) = retrying_with(
        &json!({"max_attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}}),
        &json!({"limits": {"max_in_flight": 1, "max_queued": 5}}),
    );
    worker.exchange(&Request::get("/again"));
    worker.call_out().answer(Answer::upstream(503));
    worker.exchange(&Request::get("/under way"));
    let under_way = worker.call_out();
    worker.pass(&host, SECOND);
    assert_eq!(worker.call_outs().len(), 0);
    under_way.answer(Answer::upstream(200));
    let again = worker.call_out();
    assert_eq!(again.header(":path"), Some("/again"));
    again.answer(Answer::upstream(200));
    assert_balanced(&host, "audit");
}

#[test]
fn clocks_that_are_set_back_change_nothing() {
    let (host, worker) = retrying(&json!({"max_attempts": 2, "backoff": {"base": "1s", "max": "1s"}}));
    worker.exchange(&Request::get("/"));
    worker.call_out().answer(Answer::upstream(503));
    host.set_clock_back(3_600 * SECOND);
    worker.pass(&host, 2 * SECOND);
    worker.call_out().answer(Answer::upstream(200));
    assert_balanced(&host, "audit");
}
