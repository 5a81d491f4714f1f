//! Requests that are given up are handed over as dead letters.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, with},
    host::{Answer, CallOut, Host, Request, Status, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

fn lettering_with(dead_letter: &Value, more: &Value) -> (Host, Worker) {
    let dead_letter = with(json!({"cluster": "dlq", "timeout": "3s"}), dead_letter);
    mirroring_with(&audit_with(&with(json!({ "dead_letter": dead_letter }), more)))
}

/// One attempt, which fails: the letter that follows.
fn letter_of(worker: &Worker) -> CallOut {
    worker.exchange(&Request::post("/orders?a=b").header("x-request-id", "c0ffee").body("an order"));
    worker.call_out().answer(Answer::upstream(503));
    let letter = worker.call_out();
    assert_eq!(letter.cluster(), "dlq");
    letter
}

#[test]
fn a_request_that_is_given_up_becomes_a_letter_with_all_that_is_known_of_it() {
    let (host, worker) = lettering_with(&json!({"path": "/dead-letters"}), &json!({}));
    host.advance(Duration::from_secs(1));
    worker.exchange(&Request::post("/orders?a=b").header("x-request-id", "c0ffee").header("x-a", "1").body("an order"));
    host.advance(Duration::from_secs(2));
    let attempt = worker.call_out();
    attempt.answer(Answer::upstream(503));
    let letter = worker.call_out();
    let asked = [":method", ":path", ":authority", "content-type", "x-sidecast-loop"].map(|name| letter.header(name));
    let mark = attempt.header("x-sidecast-loop");
    assert_eq!(asked, [Some("POST"), Some("/dead-letters"), Some("dlq"), Some("application/json"), mark]);
    assert_eq!(letter.timeout(), Duration::from_secs(3));
    let envelope: Value = serde_json::from_slice(letter.body()).unwrap();
    let fields = ["version", "target", "cluster", "reason", "attempts", "last_outcome", "correlation_id"];
    let fields = fields.map(|name| &envelope[name]);
    let wanted =
        [json!(1), json!("audit"), json!("audit"), json!("retries_exhausted"), json!(1), json!("status_503"), json!("c0ffee")];
    assert_eq!(fields.map(Value::clone), wanted);
    assert_eq!(envelope["id"].as_str(), attempt.header("idempotency-key"));
    let request = &envelope["request"];
    assert_eq!(
        (&request["method"], &request["path"], &request["body"]),
        (&json!("POST"), &json!("/orders?a=b"), &json!("an order"))
    );
    assert!(request["headers"].as_array().unwrap().contains(&json!(["x-a", "1"])));
    let seconds = |name: &str| envelope[name].as_str().unwrap()[17..19].parse::<i32>().unwrap();
    assert_eq!((seconds("given_up_at") - seconds("received_at")).rem_euclid(60), 2, "{envelope}");

    assert_eq!((host.stat("audit", "inflight"), host.stat("audit", "dead_lettered")), (1, 0));
    letter.answer(Answer::upstream(204));
    assert_eq!(host.stat("audit", "dead_lettered"), 1);
    assert_eq!((dropped(&host, "audit"), host.stat("audit", "attempts")), (vec![], 1));
    assert_balanced(&host, "audit");
}

#[test]
fn a_letter_that_is_not_taken_counts_the_reason_and_has_no_letter_of_its_own() {
    let (host, worker) = lettering_with(&json!({}), &json!({"circuit_breaker": {"mode": "disabled"}}));
    let ends = [Answer::upstream(500), Answer::upstream(404), Answer::upstream(302), Answer::timeout(), Answer::reset()];
    let count = ends.len() as u64;
    for end in ends {
        letter_of(&worker).answer(end);
        worker.pass(&host, Duration::from_secs(100));
        assert_eq!(worker.call_outs().len(), 0);
    }
    assert_eq!(dropped(&host, "audit"), [("retries_exhausted".to_owned(), count)]);
    host.refuse_calls_to("dlq", Status::BAD_ARGUMENT);
    worker.exchange(&Request::get("/"));
    worker.call_out().answer(Answer::upstream(503));
    assert_eq!(dropped(&host, "audit"), [("retries_exhausted".to_owned(), count + 1)]);
    assert_eq!(host.events("dead_letter_failed").len() as u64, count + 1);
    assert_balanced(&host, "audit");
}

#[test]
fn letters_have_places_of_their_own_and_what_finds_none_is_counted() {
    let limits = json!({"limits": {"max_in_flight": 2, "max_queued": 1}, "circuit_breaker": {"mode": "disabled"}});
    let (host, worker) = lettering_with(&json!({"on": ["retries_exhausted", "queue_full"]}), &limits);
    for _ in 0..2 {
        worker.exchange(&Request::get("/hangs"));
    }
    worker.exchange(&Request::get("/waits"));
    for _ in 0..4 {
        worker.exchange(&Request::get("/overflows"));
    }
    let calls = worker.call_outs();
    let letters: Vec<_> = calls.iter().filter(|call| call.cluster() == "dlq").collect();
    assert_eq!((calls.len(), letters.len()), (4, 2), "two attempts and two letters");
    assert_eq!((host.stat("audit", "inflight"), host.stat("audit", "queued")), (4, 2));
    assert_eq!(dropped(&host, "audit"), [("queue_full".to_owned(), 1)]);
    letters[0].answer(Answer::upstream(200));
    let next = worker.call_out();
    assert_eq!((next.cluster(), host.stat("audit", "queued")), ("dlq", 1));
    for call in calls.iter().chain([&next]).filter(|call| !call.is_cancelled()) {
        call.answer(Answer::upstream(200));
    }
    worker.answer_all(&Answer::upstream(200));
    assert_eq!((host.stat("audit", "delivered"), host.stat("audit", "dead_lettered")), (3, 3));
    assert_balanced(&host, "audit");
}

#[test]
fn a_letter_that_had_to_wait_tells_the_times_of_its_request_and_not_its_own() {
    let limits = json!({"limits": {"max_in_flight": 1, "max_queued": 1}});
    let (host, worker) = lettering_with(&json!({"timeout": "60s"}), &limits);
    let first = letter_of(&worker);
    worker.exchange(&Request::get("/"));
    host.advance(Duration::from_secs(2));
    worker.call_out().answer(Answer::upstream(503));
    assert_eq!(host.stat("audit", "queued"), 1);
    host.advance(Duration::from_secs(30));
    first.answer(Answer::upstream(204));
    let envelope: Value = serde_json::from_slice(worker.call_out().body()).unwrap();
    let times = ["received_at", "given_up_at"].map(|name| envelope[name].as_str().unwrap().to_owned());
    assert_eq!(times, ["2023-11-14T22:13:20.000Z", "2023-11-14T22:13:22.000Z"]);
}

#[test]
fn the_bytes_of_a_letter_are_within_the_workers_bound() {
    let (host, worker) = mirroring_with(&with(
        audit_with(&json!({"dead_letter": {"cluster": "dlq"}})),
        &json!({"limits": {"max_body_bytes": "1KiB", "max_buffered_bytes": "2000"}}),
    ));
    // Bytes that are no text take a third more in a letter.
    worker.exchange(&Request::post("/").body(vec![0xff_u8; 1_000]));
    worker.call_out().answer(Answer::upstream(503));
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(dropped(&host, "audit"), [("retries_exhausted".to_owned(), 1)]);
    assert_balanced(&host, "audit");
    worker.exchange(&Request::post("/").body("x".repeat(500)));
    worker.call_out().answer(Answer::upstream(503));
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "dead_lettered"), 1);
    assert_balanced(&host, "audit");
}

#[test]
fn reasons_that_are_not_named_are_dropped() {
    let (host, worker) = lettering_with(&json!({"on": ["expired"]}), &json!({}));
    worker.exchange(&Request::get("/"));
    worker.call_out().answer(Answer::upstream(503));
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(dropped(&host, "audit"), [("retries_exhausted".to_owned(), 1)]);
    assert_balanced(&host, "audit");
}

#[test]
fn a_letter_is_written_by_a_template() {
    let template = json!({"path": "/q/${target}", "headers": {"set": {"authorization": "Basic ${env:KEY}"}},
        "body": {"template": {"payload": "${dead_letter_base64}", "id": "${delivery_id}", "n": "${attempt}"}}});
    let host = Host::new();
    host.set_env("KEY", "s3cret");
    let target = json!({"dead_letter": with(json!({"cluster": "dlq"}), &template)});
    let worker = host.worker(&audit_with(&target));
    let letter = letter_of(&worker);
    assert_eq!((letter.header(":path"), letter.header("authorization")), (Some("/q/audit"), Some("Basic s3cret")));
    let body: Value = serde_json::from_slice(letter.body()).unwrap();
    let payload = data_encoding::BASE64.decode(body["payload"].as_str().unwrap().as_bytes()).unwrap();
    let envelope: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!((&body["id"], &body["n"]), (&envelope["id"], &json!(1)));
    assert_eq!(envelope["request"]["body"], "an order");
    assert!(host.log().iter().all(|line| !line.text.contains("s3cret")));
}

#[test]
fn a_letter_shows_no_variable_of_the_environment() {
    let set = json!({"headers": {"set": {"authorization": "Bearer ${env:KEY}", "x-plain": "p"}}});
    let mut written = set.clone();
    written["body"] = json!({"template": {"key": "${env:KEY}", "method": "${method}"}});
    let batch = json!({"request": set, "batch": {"max_items": 1}});
    for (fields, shown, named) in [
        (json!({ "request": written }), "[redacted]", json!(["authorization", ":body"])),
        (batch, "x-plain", json!(["authorization"])),
        (json!({"request": {"body": {"template": "[redacted]"}}}), "[redacted]", json!([])),
    ] {
        let host = Host::new();
        host.set_env("KEY", "s3cret");
        let worker = host.worker(&audit_with(&with(fields, &json!({"dead_letter": {"cluster": "dlq"}}))));
        worker.exchange(&Request::post("/").body("[1]"));
        let call = worker.call_out();
        assert_eq!(call.header("authorization"), (named != json!([])).then_some("Bearer s3cret"));
        call.answer(Answer::upstream(503));
        let letter = worker.call_out();
        let text = String::from_utf8(letter.body().to_vec()).unwrap();
        assert!(!text.contains("s3cret") && text.contains(shown), "{text}");
        let envelope: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(envelope["request"]["redacted"], named, "{text}");
        letter.answer(Answer::upstream(200));
        assert_balanced(&host, "audit");
    }
}
