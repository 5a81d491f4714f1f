//! The target's responses against the primary's: whichever comes first, whatever becomes of either.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, mirroring_with, only, with},
    host::{Answer, Host, Level, Request, Response, Status, Stream, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const JSON: &str = "application/json";

/// `audit`, whose responses are compared, with these fields, and these beside the targets.
pub(crate) fn comparing_with(fields: &Value, more: &Value) -> (Host, Worker) {
    mirroring_with(&with(audit_with(&with(json!({"compare": {}}), fields)), more))
}

fn comparing() -> (Host, Worker) {
    comparing_with(&json!({}), &json!({}))
}

/// How many answers were the same, of another status, of another body, or not comparable.
pub(crate) fn counts_of(host: &Host, target: &str) -> [i64; 4] {
    ["match", "status_mismatch", "body_mismatch", "not_comparable"].map(|name| host.stat(target, &format!("compare.{name}")))
}

pub(crate) fn counts(host: &Host) -> [i64; 4] {
    counts_of(host, "audit")
}

pub(crate) fn of_primary(status: u16, body: &str) -> Response {
    Response::status(status).header("content-type", JSON).body(body)
}

pub(crate) fn of_target(status: u16, body: &str) -> Answer {
    Answer::upstream(status).header("content-type", JSON).body(body)
}

/// The client gets this answer, and its stream is over.
pub(crate) fn answered(stream: Stream, response: &Response) {
    stream.answer(response);
    stream.close();
}

/// What the only line about a comparison says.
pub(crate) fn line(host: &Host) -> Value {
    let lines = host.events("compared");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, Level::Warn);
    lines[0].1["comparison"].clone()
}

#[test]
fn whichever_answer_comes_last_completes_the_comparison() {
    let cases = [
        (of_target(200, "{\"b\":2,\"a\":1.0}"), [1, 0, 0, 0]),
        (of_target(201, "{\"a\":1,\"b\":2}"), [0, 1, 0, 0]),
        (of_target(200, "{\"a\":1,\"b\":3}"), [0, 0, 1, 0]),
        (Answer::reset(), [0, 0, 0, 1]),
    ];
    for (end, expected) in cases {
        for target_is_first in [true, false] {
            let (host, worker) = comparing();
            let stream = worker.send(&Request::get("/"));
            let call = worker.call_out();
            host.advance(SECOND);
            let primary = of_primary(200, "{\"a\":1,").body("\"b\":2}");
            if target_is_first {
                call.answer(end.clone());
                stream.answer(&primary);
                assert_eq!(counts(&host), [0; 4], "the stream is not over");
                host.advance(SECOND);
                stream.close();
            } else {
                answered(stream, &primary);
                assert_eq!(counts(&host), [0; 4]);
                host.advance(SECOND);
                call.answer(end.clone());
            }
            assert_eq!(counts(&host), expected, "target first: {target_is_first}");
            let latencies = ["primary", "target"].map(|side| host.samples("audit", &format!("compare.{side}_latency_ms")));
            let (primary, target) = if target_is_first { (2_000, 1_000) } else { (1_000, 2_000) };
            assert_eq!(latencies, if expected[3] == 0 { [vec![primary], vec![target]] } else { [vec![], vec![]] });
            assert_balanced(&host, "audit");
        }
    }
}

fn latencies(host: &Host) -> [Vec<u64>; 2] {
    ["primary", "target"].map(|side| host.samples("audit", &format!("compare.{side}_latency_ms")))
}

#[test]
fn a_slow_upload_is_in_neither_latency() {
    let (host, worker) = comparing();
    let stream = worker.begin(&Request::post("/"), false);
    for end_of_stream in [false, false, true] {
        host.advance(20 * SECOND);
        stream.chunk("x", end_of_stream);
    }
    host.advance(SECOND);
    worker.call_out().answer(of_target(200, "[1]"));
    answered(stream, &of_primary(200, "[1]"));
    assert_eq!((counts(&host), latencies(&host)), ([1, 0, 0, 0], [vec![1_000], vec![1_000]]));
}

#[test]
fn what_a_copy_waits_for_before_its_call_is_not_the_targets_latency() {
    let (host, worker) = comparing_with(&json!({"limits": {"max_in_flight": 1}}), &json!({}));
    let streams = [worker.send(&Request::get("/")), worker.send(&Request::get("/"))];
    host.advance(3 * SECOND);
    worker.call_out().answer(of_target(200, "[1]"));
    host.advance(SECOND);
    worker.call_out().answer(of_target(200, "[1]"));
    streams.into_iter().for_each(|stream| answered(stream, &of_primary(200, "[1]")));
    assert_eq!(latencies(&host), [vec![4_000, 4_000], vec![3_000, 1_000]]);
}

#[test]
fn lists_without_an_order_are_compared_by_their_entries() {
    let (host, worker) = comparing_with(&json!({"compare": {"unordered": ["/tags"]}}), &json!({}));
    for target in [r#"{"tags":["b","a"]}"#, r#"{"tags":["b","b"]}"#] {
        worker.exchange(&Request::get("/").answer(of_primary(200, r#"{"tags":["a","b"]}"#)));
        worker.call_out().answer(of_target(200, target));
    }
    assert_eq!(counts(&host), [1, 0, 1, 0]);
    let differences =
        json!([{"pointer": "/tags/0", "kind": "missing_in_target"}, {"pointer": "/tags/1", "kind": "missing_in_primary"}]);
    assert_eq!(line(&host)["differences"], differences);
}

#[test]
fn the_last_attempt_is_compared_and_none_before() {
    let (host, worker) =
        comparing_with(&json!({"retry": {"max_attempts": 3, "backoff": {"base": "1ms", "max": "1ms"}}}), &json!({}));
    worker.exchange(&Request::get("/").answer(of_primary(200, "[1]")));
    for end in [of_target(503, "[0]"), Answer::reset(), of_target(200, "[1]")] {
        assert_eq!(counts(&host), [0; 4]);
        worker.call_out().answer(end);
        worker.pass(&host, SECOND);
    }
    assert_eq!(counts(&host), [1, 0, 0, 0]);
    // The response after which nothing is tried any more is a response, too.
    for end in [of_target(503, ""), of_target(503, ""), of_target(404, "[1]")] {
        if host.stat("audit", "matched") == 1 {
            worker.exchange(&Request::get("/").answer(of_primary(200, "[1]")));
        }
        worker.call_out().answer(end);
        worker.pass(&host, SECOND);
    }
    assert_eq!((counts(&host), dropped(&host, "audit")), ([1, 1, 0, 0], only("not_retryable", 1)));
    assert_balanced(&host, "audit");
}

#[test]
fn a_primary_without_an_answer_is_not_comparable() {
    let ends: [fn(Stream); 4] = [
        |stream| stream.close(),
        |stream| stream.client_resets(),
        |stream| answered(stream, &Response::connect_failure()),
        |stream| {
            stream.begin_answer(&of_primary(200, ""), false);
            stream.answer_chunk("[1]", false);
            stream.primary_stalls();
        },
    ];
    for end in ends {
        for target_is_first in [true, false] {
            let (host, worker) = comparing();
            let stream = worker.send(&Request::get("/"));
            let call = worker.call_out();
            if target_is_first {
                call.answer(of_target(200, "[1]"));
                end(stream);
            } else {
                end(stream);
                call.answer(of_target(200, "[1]"));
            }
            assert_eq!((counts(&host), host.stat("audit", "delivered")), ([0, 0, 0, 1], 1));
            assert_balanced(&host, "audit");
        }
    }
}

#[test]
fn hosts_that_do_not_hand_an_answer_over_make_it_not_comparable() {
    for status in [Status::NOT_FOUND, Status::BAD_ARGUMENT, Status::INTERNAL_FAILURE] {
        for side in ["primary", "target"] {
            let (host, worker) = comparing();
            let stream = worker.send(&Request::get("/"));
            let call = worker.call_out();
            let fail = |import, whose: &str| {
                if side == whose {
                    host.fail(import, 0, u64::MAX, status);
                }
            };
            fail("proxy_get_buffer_bytes", "primary");
            stream.answer(&of_primary(200, "[1]"));
            stream.close();
            host.heal();
            fail("proxy_get_buffer_bytes", "target");
            call.answer(of_target(200, "[1]"));
            host.heal();
            // A status that is no error hands over nothing.
            let seen = line(&host);
            if side == "target" && status == Status::NOT_FOUND {
                assert_eq!(seen["result"], "body_mismatch");
            } else {
                assert_eq!(seen, json!({"result": "not_comparable", "side": side, "reason": "truncated"}));
            }
            assert_balanced(&host, "audit");
        }
    }
}

#[test]
fn without_its_headers_an_answer_is_compared_byte_by_byte() {
    for (fault, target, expected) in [
        ("none", "[1.0]", [1, 0, 0, 0]),
        ("proxy_get_header_map_pairs", "[1]", [1, 0, 0, 0]),
        ("proxy_get_header_map_pairs", "[1.0]", [0, 0, 1, 0]),
        ("proxy_get_header_map_value", "[1]", [1, 0, 0, 0]),
        ("proxy_get_header_map_value", "[1.0]", [0, 0, 1, 0]),
    ] {
        let (host, worker) = comparing();
        let stream = worker.send(&Request::get("/"));
        // The first value that is read is the status of the call.
        host.fail(fault, u64::from(fault.ends_with("value")), u64::MAX, Status::INTERNAL_FAILURE);
        answered(stream, &of_primary(200, "[1]"));
        worker.call_out().answer(of_target(200, target));
        assert_eq!(counts(&host), expected, "{fault} {target}");
        host.heal();
        assert_balanced(&host, "audit");
    }
}

#[test]
fn a_request_that_is_not_sampled_costs_nothing_more() {
    let (host, worker) = comparing_with(&json!({"compare": {"percent": 0.000_001}}), &json!({}));
    host.set_log_level(Level::Info);
    let stream = worker.send(&Request::get("/"));
    let tally = host.tally(|| answered(stream, &of_primary(200, "[1]")));
    assert_eq!(tally.host_calls(), 0, "{tally:?}");
    let call = worker.call_out();
    let tally = host.tally(|| call.answer(of_target(500, "[2]")));
    assert_eq!((tally.of("proxy_get_buffer_bytes"), tally.of("proxy_get_header_map_value")), (0, 1));
    assert_eq!(counts(&host), [0; 4]);
}

#[test]
fn bodies_are_not_read_where_they_are_not_compared() {
    let (host, worker) = comparing_with(&json!({"compare": {"body": "none"}}), &json!({}));
    let stream = worker.send(&Request::get("/"));
    let tally = host.tally(|| {
        answered(stream, &of_primary(200, "[1]"));
        worker.call_out().answer(of_target(200, "[2]"));
    });
    assert_eq!((tally.of("proxy_get_buffer_bytes"), counts(&host)), (0, [1, 0, 0, 0]));
}

#[test]
fn values_are_told_only_where_that_is_asked_for() {
    for log_values in [false, true] {
        let (host, worker) = comparing_with(&json!({"compare": {"log_values": log_values}}), &json!({}));
        let request = Request::get("/").header("x-request-id", "c0ffee");
        worker.exchange(&request.answer(of_primary(200, "{\"user\":\"alice\"}")));
        let call = worker.call_out();
        let id = call.header("idempotency-key").unwrap().to_owned();
        call.answer(of_target(200, "{\"user\":\"bob\"}"));
        let seen = line(&host);
        assert_eq!(seen["result"], "body_mismatch");
        assert!(seen.to_string().contains("/user"), "{seen}");
        let all: String = host.log().into_iter().map(|line| line.text).collect();
        assert_eq!((all.contains("alice"), all.contains("bob")), (log_values, log_values), "{all}");
        let fields = &host.events("compared")[0].1;
        assert_eq!((&fields["target"], &fields["correlation_id"]), (&json!("audit"), &json!("c0ffee")));
        assert_eq!(fields["delivery_id"], id);
    }
}
