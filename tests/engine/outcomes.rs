//! Every end of a call-out is seen and counted.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring, mirroring_with},
    host::{Answer, Host, Request, Status, Worker},
};
use serde_json::json;
use std::time::Duration;

/// Mirrors one request, ends its call-out like this, and says for what reason it was dropped, if it was.
fn fate(end: impl FnOnce(&Host, &Worker)) -> Option<String> {
    let (host, worker) = mirroring();
    end(&host, &worker);
    assert_eq!(host.stat("audit", "matched"), 1);
    assert_eq!(host.stat("audit", "attempts"), 1);
    assert_balanced(&host, "audit");
    let dropped = dropped(&host, "audit");
    let failed = i64::from(!dropped.is_empty());
    assert_eq!(host.stat("audit", "attempt_failures"), failed);
    assert_eq!(host.stat("audit", "delivered"), 1 - failed);
    dropped.into_iter().next().map(|(reason, _)| reason)
}

fn fate_of(answer: Answer) -> Option<String> {
    fate(|_, worker| {
        worker.exchange(&Request::post("/orders").body("{}"));
        worker.call_out().answer(answer);
    })
}

fn fate_if_refused(status: Status) -> Option<String> {
    fate(|host, worker| {
        host.refuse_calls_to("audit", status);
        worker.exchange(&Request::post("/orders").body("{}"));
        assert_eq!(worker.call_outs().len(), 0);
    })
}

#[test]
fn an_answer_that_counts_as_success_is_a_delivery() {
    for status in [200, 201, 204, 299, 301, 399] {
        assert_eq!(fate_of(Answer::upstream(status)), None, "{status}");
    }
    assert_eq!(fate_of(Answer::upstream(200).body("x".repeat(100_000)).trailer("a", "b")), None);
}

#[test]
fn a_failure_that_a_retry_could_mend_exhausts_the_only_attempt() {
    let ends = [
        Answer::upstream(500),
        Answer::upstream(503),
        Answer::upstream(429),
        Answer::connect_error(),
        Answer::timeout(),
        Answer::reset(),
    ];
    for end in ends {
        assert_eq!(fate_of(end.clone()).as_deref(), Some("retries_exhausted"), "{end:?}");
    }
    assert_eq!(fate_if_refused(Status::INTERNAL_FAILURE).as_deref(), Some("retries_exhausted"));
}

#[test]
fn any_other_answer_is_final() {
    for status in [100, 400, 401, 404, 410, 499] {
        assert_eq!(fate_of(Answer::upstream(status)).as_deref(), Some("not_retryable"), "{status}");
    }
}

#[test]
fn a_cluster_that_envoy_does_not_know_is_named_as_such() {
    assert_eq!(fate_if_refused(Status::BAD_ARGUMENT).as_deref(), Some("unknown_cluster"));
}

#[test]
fn more_headers_than_envoy_sends_are_no_fault_of_the_cluster() {
    let reason = fate(|_, worker| {
        let plain = Request::get("/");
        let crowded = (0..1_100).fold(plain, |request, index| request.header(&format!("x-{index}"), "v"));
        worker.exchange(&crowded);
        assert_eq!(worker.call_outs().len(), 0);
    });
    assert_eq!(reason.as_deref(), Some("not_retryable"));
}

#[test]
fn a_status_that_no_host_should_give_is_counted_too() {
    for number in [1, 3, 6, 7, 12, 99, -1, i32::MAX, i32::MIN] {
        assert!(fate_if_refused(Status(number)).is_some(), "{number}");
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_a_failure() {
    let odd = [
        Answer::default().header("x-only", "this"),
        Answer::default().header(":status", ""),
        Answer::default().header(":status", "2O0"),
        Answer::default().header(":status", "99999999999999999999"),
        Answer::default().header(":status", [0xff, 0xfe]),
        Answer::default().header(":status", "-200"),
    ];
    for answer in odd {
        assert!(fate_of(answer.clone()).is_some(), "{answer:?}");
    }
}

#[test]
fn every_failed_attempt_counts_under_the_cause_that_somebody_has_to_mend() {
    let cases = [
        (Answer::upstream(404), "status_4xx"),
        (Answer::upstream(429), "status_4xx"),
        (Answer::upstream(500), "status_5xx"),
        (Answer::upstream(599), "status_5xx"),
        (Answer::upstream(100), "status_other"),
        (Answer::upstream(600), "status_other"),
        (Answer::default().header("x-only", "this"), "status_other"),
        (Answer::connect_error(), "connect_failure"),
        (Answer::timeout(), "timeout"),
        (Answer::reset(), "reset"),
    ];
    for (answer, cause) in cases {
        fate_by(cause, |_, worker| {
            worker.exchange(&Request::get("/"));
            worker.call_out().answer(answer);
        });
    }
    for (status, cause) in
        [(Status::INTERNAL_FAILURE, "overflow_or_no_host"), (Status::BAD_ARGUMENT, "not_sent"), (Status(7), "not_sent")]
    {
        fate_by(cause, |host, worker| {
            host.refuse_calls_to("audit", status);
            worker.exchange(&Request::get("/"));
        });
    }
}

/// Mirrors one request, and expects its only attempt to have failed by this cause.
#[track_caller]
fn fate_by(cause: &str, end: impl FnOnce(&Host, &Worker)) {
    let (host, worker) = mirroring();
    end(&host, &worker);
    assert_eq!(host.stat("audit", &format!("attempt_failures.{cause}")), 1, "{:#?}", host.stats());
    assert_eq!(host.stat("audit", "attempt_failures"), 1);
}

#[test]
fn a_target_says_itself_what_success_is() {
    let picky = audit_with(&json!({"success": ["404", "5xx"]}));
    for (status, delivered) in [(404, 1), (503, 1), (200, 0), (410, 0)] {
        let (host, worker) = mirroring_with(&picky);
        worker.exchange(&Request::get("/"));
        worker.call_out().answer(Answer::upstream(status));
        assert_eq!(host.stat("audit", "delivered"), delivered, "{status}");
        assert_balanced(&host, "audit");
    }
}

#[test]
fn what_envoy_made_up_itself_is_no_success_of_the_target() {
    let picky = audit_with(&json!({"success": ["2xx", "5xx"]}));
    for made_up in [Answer::connect_error(), Answer::timeout()] {
        let (host, worker) = mirroring_with(&picky);
        worker.exchange(&Request::get("/"));
        worker.call_out().answer(made_up);
        assert_eq!(dropped(&host, "audit"), [("retries_exhausted".to_owned(), 1)]);
    }
}

#[test]
fn the_outcome_is_seen_long_after_the_stream_is_gone() {
    let (host, worker) = mirroring();
    for _ in 0..20 {
        worker.exchange(&Request::post("/").body("x"));
    }
    assert_eq!(host.stat("audit", "inflight"), 20);
    assert_eq!(host.stat("audit", "delivered"), 0);
    host.advance(Duration::from_secs(3600));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 20);
    assert_eq!(host.stat("audit", "delivered"), 20);
    assert_balanced(&host, "audit");
}

#[test]
fn the_outcome_is_seen_while_the_stream_is_still_open() {
    let (host, worker) = mirroring();
    let stream = worker.send(&Request::get("/"));
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 1);
    stream.close();
    assert_balanced(&host, "audit");
}

#[test]
fn answers_may_come_in_any_order() {
    let (host, worker) = mirroring();
    for path in ["/a", "/b", "/c"] {
        worker.exchange(&Request::get(path));
    }
    let mut calls = worker.call_outs();
    calls.swap(0, 2);
    calls[0].answer(Answer::upstream(200));
    calls[1].answer(Answer::upstream(404));
    calls[2].answer(Answer::reset());
    assert_eq!(host.stat("audit", "delivered"), 1);
    assert_eq!(dropped(&host, "audit"), [("not_retryable".to_owned(), 1), ("retries_exhausted".to_owned(), 1)]);
    assert_balanced(&host, "audit");
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let (host, worker) = mirroring();
    worker.exchange(&Request::get("/"));
    for token in [0, 1, 3, 4_000_000, u32::MAX] {
        worker.deliver_stray_answer(token);
    }
    assert_eq!(host.stat("audit", "inflight"), 1);
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 1);
    assert_balanced(&host, "audit");
}

#[test]
fn the_time_until_the_answer_is_recorded() {
    let (host, worker) = mirroring();
    worker.exchange(&Request::get("/"));
    host.advance(Duration::from_millis(250));
    worker.call_out().answer(Answer::upstream(200));
    assert_eq!(host.samples("audit", "latency_ms"), [250]);
}

#[test]
fn a_clock_that_is_set_back_makes_no_absurd_latency() {
    let (host, worker) = mirroring();
    worker.exchange(&Request::get("/"));
    host.advance(Duration::from_millis(40));
    host.set_clock_back(Duration::from_secs(86_400));
    worker.call_out().answer(Answer::upstream(200));
    let samples = host.samples("audit", "latency_ms");
    assert!(samples.iter().all(|&sample| sample <= 40), "{samples:?}");
}

/// Where the breaker of a target stands that opens at two failures, after two such responses.
fn breaker_after(failures: &serde_json::Value, answer: &Answer) -> i64 {
    let breaker = json!({"consecutive_failures": 2, "failure_statuses": failures});
    let (host, worker) = mirroring_with(&audit_with(&json!({"circuit_breaker": breaker, "success": ["2xx", "409"]})));
    for _ in 0..2 {
        worker.exchange(&Request::post("/orders.Orders/Place").header("content-type", "application/grpc").body(b"\0\0\0\0\0"));
        worker.call_out().answer(answer.clone());
    }
    host.stat("audit", "breaker.state")
}

#[test]
fn a_breaker_can_be_told_which_answers_are_failures() {
    let with = json!(["5xx", "429", 401, "410"]);
    let grpc = |code: &str| Answer::upstream(200).trailer("grpc-status", code);
    let unauthenticated = grpc("16");
    for answer in [&Answer::upstream(401), &Answer::upstream(410), &unauthenticated, &Answer::upstream(500), &Answer::reset()] {
        assert_eq!(breaker_after(&with, answer), 2, "{answer:?}");
    }
    for answer in [&Answer::upstream(404), &Answer::upstream(409), &grpc("5"), &grpc("0")] {
        assert_eq!(breaker_after(&with, answer), 0, "{answer:?}");
    }
    let conflict = json!(["4xx"]);
    assert_eq!(breaker_after(&conflict, &Answer::upstream(404)), 2);
    assert_eq!(breaker_after(&conflict, &Answer::upstream(409)), 0, "it counts as delivered");
    assert_eq!(breaker_after(&conflict, &Answer::upstream(500)), 0, "it is not named");
    assert_eq!(breaker_after(&conflict, &Answer::connect_error()), 2, "it is no response");
}
