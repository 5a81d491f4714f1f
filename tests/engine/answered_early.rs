//! Requests whose end is never seen, at each end that a stream can have.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, only},
    host::{Answer, Host, Request, Response, Status, Stream, Worker},
};
use serde_json::{json, Value};

fn mirroring_to(fields: &Value) -> (Host, Worker) {
    mirroring_with(&audit_with(fields))
}

/// The beginning of a request whose body never ends.
fn half(worker: &Worker) -> Stream {
    let stream = worker.begin(&Request::post("/orders"), false);
    stream.chunk("[1, ", false);
    stream
}

/// Ends a half request like this, and says what becomes of it for a target that needs its body, and for one that does not.
#[track_caller]
fn assert_counted(end: impl Fn(Stream, &Host), reason: &str) {
    let (host, worker) = mirroring_to(&json!({}));
    end(half(&worker), &host);
    host.heal();
    assert_eq!((worker.call_outs().len(), dropped(&host, "audit")), (0, only(reason, 1)));
    assert_balanced(&host, "audit");

    let (host, worker) = mirroring_to(&json!({"request": {"body": {"omit": true}}}));
    end(half(&worker), &host);
    host.heal();
    let calls = worker.call_outs();
    assert_eq!(calls.len(), usize::from(reason == "answered_early"));
    for call in calls {
        assert_eq!((call.body(), call.header(":path"), call.header("content-length")), (&b""[..], Some("/orders"), None));
        call.answer(Answer::upstream(200));
    }
    assert_eq!(dropped(&host, "audit"), if reason == "answered_early" { vec![] } else { only(reason, 1) });
    assert_balanced(&host, "audit");
}

fn answered(stream: Stream, response: &Response) {
    stream.answer(response);
    stream.close();
}

macro_rules! ends {
    ($($name:ident: $end:expr => $reason:literal;)*) => {
        $(#[test] fn $name() { assert_counted($end, $reason); })*
    };
}

ends! {
    an_answer_of_the_primary: |stream, _| answered(stream, &Response::status(200).body("done")) => "answered_early";
    a_refusal_of_the_primary: |stream, _| answered(stream, &Response::status(413)) => "answered_early";
    an_answer_of_envoy: |stream, _| answered(stream, &Response::made_by_envoy(403, "no", "rbac_access_denied", 0)) => "answered_early";
    no_healthy_host: |stream, _| answered(stream, &Response::made_by_envoy(503, "no", "no_healthy_upstream", 0x2)) => "answered_early";
    a_connection_to_the_primary_that_fails: |stream, _| answered(stream, &Response::connect_failure()) => "answered_early";
    a_client_that_is_too_slow: |stream, _| answered(stream, &Response::made_by_envoy(408, "slow", "stream_idle_timeout", 0x1_0000)) => "answered_early";
    a_client_that_closes: |stream, _| stream.close() => "truncated";
    a_client_that_resets: |stream, _| stream.client_resets() => "truncated";
    a_client_that_closes_after_half_an_answer: |stream, _| {
        stream.begin_answer(&Response::status(200), false);
        stream.close();
    } => "truncated";
    a_client_that_resets_after_half_an_answer: |stream, _| {
        stream.begin_answer(&Response::status(200), false);
        stream.client_resets();
    } => "truncated";
    a_client_that_breaks_the_rules: |stream, _| {
        answered(stream, &Response::made_by_envoy(400, "bad", "http1.codec_error", 0x4_0000));
    } => "truncated";
    a_primary_that_breaks_off: |stream, _| {
        stream.begin_answer(&Response::status(200), false);
        stream.primary_breaks_off();
    } => "answered_early";
    an_answer_of_which_envoy_tells_nothing: |stream, host| {
        host.fail("proxy_get_property", 0, u64::MAX, Status::INTERNAL_FAILURE);
        answered(stream, &Response::status(200));
    } => "truncated";
    an_answer_whose_status_envoy_does_not_tell: |stream, host| {
        host.fail("proxy_get_property", 1, 1, Status::INTERNAL_FAILURE);
        answered(stream, &Response::status(200));
    } => "truncated";
}

#[test]
fn only_flags_of_the_client_say_that_it_left() {
    for bit in 0..40 {
        let left = [14, 18, 28].contains(&bit);
        let answer = Response::made_by_envoy(200, "done", "why", 1 << bit);
        assert_counted(|stream, _| answered(stream, &answer), if left { "truncated" } else { "answered_early" });
    }
}

#[test]
fn a_copy_that_waits_for_the_answer_and_needs_no_body_goes_by_the_status() {
    for (status, sent) in [(201, true), (503, false)] {
        let fields = json!({"after": "response", "request": {"path": "/${response:status}", "body": {"template": ["${path}"]}}});
        let (host, worker) = mirroring_to(&fields);
        answered(half(&worker), &Response::status(status));
        let calls = worker.call_outs();
        assert_eq!(calls.len(), usize::from(sent));
        for call in calls {
            assert_eq!((call.header(":path"), call.body()), (Some("/201"), &b"[\"/orders\"]"[..]));
            call.answer(Answer::upstream(200));
        }
        assert_eq!((dropped(&host, "audit"), host.stat("audit", "not_triggered")), (vec![], i64::from(!sent)));
        assert_balanced(&host, "audit");
    }
}

#[test]
fn a_copy_that_needs_the_body_and_would_not_have_been_sent_is_no_loss() {
    for (status, losses, not_triggered) in [(200, only("answered_early", 1), 0), (503, vec![], 1)] {
        let (host, worker) = mirroring_to(&json!({"after": "response"}));
        answered(half(&worker), &Response::status(status));
        assert_eq!((dropped(&host, "audit"), host.stat("audit", "not_triggered")), (losses, not_triggered), "{status}");
        assert_balanced(&host, "audit");
    }
}

#[test]
fn a_body_as_long_as_its_content_length_is_whole() {
    for (length, sent) in [("4", true), ("5", false), ("four", false), ("-4", false), ("99999999999999999999", false)] {
        let (host, worker) = mirroring_to(&json!({}));
        let stream = worker.begin(&Request::post("/orders").header("content-length", length), false);
        stream.chunk("[1, ", false);
        answered(stream, &Response::status(200));
        let calls = worker.call_outs();
        assert_eq!(calls.len(), usize::from(sent), "{length}");
        for call in calls {
            assert_eq!(call.body(), b"[1, ");
            call.answer(Answer::upstream(200));
        }
        assert_eq!(dropped(&host, "audit"), if sent { vec![] } else { only("answered_early", 1) });
        assert_balanced(&host, "audit");
    }
}

#[test]
fn the_answer_is_compared_for_a_copy_that_needs_no_body() {
    let (host, worker) = mirroring_to(&json!({"compare": {}, "request": {"body": {"omit": true}}}));
    answered(half(&worker), &Response::status(200).body("{}"));
    worker.call_out().answer(Answer::upstream(404));
    assert_eq!(host.stat("audit", "compare.status_mismatch"), 1);
    assert_balanced(&host, "audit");
}
