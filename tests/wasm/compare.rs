//! The target's answers against the primary's: whichever comes first, whatever becomes of either.

use crate::{
    scene::{assert_balanced, audit, audit_with, dropped, mirroring_with, only, target, targets, with},
    wasm_host::{Answer, Host, Level, Request, Response, Status, Stream, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const JSON: &str = "application/json";

/// `audit`, whose answers are compared, with these fields, and these beside the targets.
fn comparing_with(fields: &Value, more: &Value) -> (Host, Worker) {
    mirroring_with(&with(audit_with(&with(json!({"compare": {}}), fields)), more))
}

fn comparing() -> (Host, Worker) {
    comparing_with(&json!({}), &json!({}))
}

/// How many answers were the same, of another status, of another body, or not comparable.
fn counts_of(host: &Host, target: &str) -> [i64; 4] {
    ["match", "status_mismatch", "body_mismatch", "not_comparable"].map(|name| host.stat(target, &format!("compare.{name}")))
}

fn counts(host: &Host) -> [i64; 4] {
    counts_of(host, "audit")
}

fn of_primary(status: u16, body: &str) -> Response {
    Response::status(status).header("content-type", JSON).body(body)
}

fn of_target(status: u16, body: &str) -> Answer {
    Answer::upstream(status).header("content-type", JSON).body(body)
}

/// The client gets this answer, and its stream is over.
fn answered(stream: Stream, response: &Response) {
    stream.answer(response);
    stream.close();
}

/// What the only line about a comparison says.
fn line(host: &Host) -> Value {
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
    // The answer after which nothing is tried any more is an answer, too.
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

/// One way to lose a copy that would have been compared.
struct Loss {
    reason: &'static str,
    target: Value,
    provoke: fn(&Host, &Worker),
    /// What the comparisons come to, with those of requests that were needed to provoke it.
    counts: [i64; 4],
}

/// A request with this body, and an answer of the primary, that are all the same.
fn exchange(worker: &Worker, body: &str) {
    worker.exchange(&Request::post("/").body(body).answer(of_primary(200, "[1]")));
}

fn losses() -> Vec<Loss> {
    let loss = |reason, target, counts, provoke| Loss { reason, target, provoke, counts };
    let narrow = |queued| json!({"limits": {"max_in_flight": 1, "max_queued": queued}});
    vec![
        loss("queue_full", narrow(0), [1, 0, 0, 1], |_, worker| {
            exchange(worker, "first");
            exchange(worker, "second");
            worker.call_out().answer(of_target(200, "[1]"));
        }),
        loss("rate_limited", json!({"limits": {"rate": {"per_second": 1, "burst": 1}}}), [1, 0, 0, 1], |_, worker| {
            exchange(worker, "first");
            exchange(worker, "second");
            worker.answer_all(&of_target(200, "[1]"));
        }),
        loss(
            "circuit_open",
            json!({"success": ["200"], "circuit_breaker": {"consecutive_failures": 1}}),
            [0, 0, 0, 2],
            |host, worker| {
                host.refuse_calls_to("audit", Status::INTERNAL_FAILURE);
                exchange(worker, "first");
                host.accept_calls_to("audit");
                exchange(worker, "second");
            },
        ),
        loss(
            "expired",
            with(narrow(1), &json!({"retry": {"max_attempts": 2, "expire_after": "2s"}})),
            [1, 0, 0, 1],
            |host, worker| {
                exchange(worker, "first");
                exchange(worker, "second");
                worker.pass(host, 3 * SECOND);
                worker.answer_all(&of_target(200, "[1]"));
            },
        ),
        loss("retries_exhausted", json!({"retry": {"max_attempts": 2}}), [0, 0, 0, 1], |host, worker| {
            exchange(worker, "");
            for end in [of_target(503, "[1]"), Answer::timeout()] {
                worker.call_out().answer(end);
                worker.pass(host, 60 * SECOND);
            }
        }),
        loss("not_retryable", json!({}), [1, 0, 0, 0], |_, worker| {
            // Not delivered, but compared.
            worker.exchange(&Request::get("/").answer(of_primary(404, "[1]")));
            worker.answer_all(&of_target(404, "[1]"));
        }),
        loss("unknown_cluster", json!({}), [0, 0, 0, 1], |host, worker| {
            host.refuse_calls_to("audit", Status::BAD_ARGUMENT);
            exchange(worker, "");
        }),
        loss("shutdown", json!({"timeout": "60s"}), [0, 0, 0, 1], |host, worker| {
            exchange(worker, "");
            assert!(worker.configure(audit().to_string()));
            worker.pass(host, 11 * SECOND);
        }),
        loss("body_not_json", json!({"request": {"body": {"redact": ["/a"]}}}), [0, 0, 0, 1], |_, worker| {
            exchange(worker, "no json")
        }),
        loss("body_too_large", json!({}), [0, 0, 0, 1], |_, worker| exchange(worker, &"x".repeat(1_001))),
        loss("buffer_full", json!({}), [0, 0, 0, 1], |_, worker| {
            let stream = worker.begin(&Request::post("/").header("x-long", vec![b'x'; 4_000]), true);
            answered(stream, &of_primary(200, "[1]"));
        }),
        loss("truncated", json!({}), [0, 0, 0, 1], |_, worker| {
            let stream = worker.begin(&Request::post("/"), false);
            stream.answer(&of_primary(200, "[1]"));
            stream.close();
        }),
        loss("primary_failed", json!({"after": "response"}), [0, 0, 0, 1], |_, worker| {
            worker.exchange(&Request::get("/").answer(of_primary(500, "[1]")));
        }),
        loss("grpc_stream", json!({}), [0, 0, 0, 1], |_, worker| {
            let request = Request::post("/").header("content-type", "application/grpc").body("\0\0\0\0\0\0\0\0\0\0");
            worker.exchange(&request.answer(of_primary(200, "[1]")));
        }),
    ]
}

#[test]
fn a_copy_that_is_lost_is_counted_once_and_leaves_nothing_behind() {
    for Loss { reason, target, provoke, counts: expected } in losses() {
        let limits = json!({"limits": {"max_body_bytes": 1_000, "max_buffered_bytes": 4_000}, "drain_timeout": "10s"});
        let (host, worker) = comparing_with(&target, &limits);
        let old = worker.root();
        provoke(&host, &worker);
        assert_eq!(host.stat("audit", &format!("dropped.{reason}")), 1, "{reason}: {:?}", dropped(&host, "audit"));
        assert_eq!(counts(&host), expected, "{reason}");
        worker.pass(&host, 60 * SECOND);
        worker.shut_down();
        assert!(worker.is_deleted(old), "{reason}");
        assert_eq!(counts(&host), expected, "{reason}");
        assert_balanced(&host, "audit");
    }
}

#[test]
fn a_copy_for_which_the_bytes_do_not_suffice_is_not_comparable_while_another_is() {
    let both = ["a", "b"].map(|name| with(target(name), &json!({"compare": {}})));
    let limits = json!({"limits": {"max_body_bytes": 1_000, "max_buffered_bytes": 1_500}});
    let (host, worker) = mirroring_with(&with(targets(&both), &limits));
    exchange(&worker, &"x".repeat(900));
    assert_eq!(dropped(&host, "b"), only("buffer_full", 1));
    assert_eq!((counts_of(&host, "a"), counts_of(&host, "b")), ([0; 4], [0, 0, 0, 1]));
    worker.answer_all(&of_target(200, "[1]"));
    // Beside 900 bytes of the request there is no room for an answer of the primary.
    assert_eq!(counts_of(&host, "a"), [0, 0, 0, 1]);
    assert_balanced(&host, "a");
    assert_balanced(&host, "b");
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
fn answers_are_held_in_half_of_the_bytes_and_no_longer_than_a_body_may_be() {
    let limits = json!({"limits": {"max_body_bytes": 3_000, "max_buffered_bytes": 8_000}});
    let says = |size: usize, answer: usize, side: &str, reason: &str| {
        let (host, worker) = comparing_with(&json!({}), &limits);
        let request = Request::post("/").body(vec![b'x'; size]);
        let body = |whose: &str| json!("x".repeat(if whose == side { answer - 2 } else { 1 })).to_string();
        worker.exchange(&request.answer(of_primary(200, &body("primary"))));
        worker.call_out().answer(of_target(200, &body("target")));
        let seen = line(&host);
        assert_eq!((&seen["reason"], &seen["side"]), (&json!(reason), &json!(side)), "{seen}");
        // All of it is free again.
        worker.exchange(&Request::post("/").body(vec![b'x'; 3_000]));
        assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
        assert_eq!(host.stat("audit", "delivered"), 2);
        assert_balanced(&host, "audit");
    };
    for side in ["primary", "target"] {
        says(10, 3_001, side, "body_too_large");
        says(2_000, 2_200, side, "buffer_full");
    }
    // In chunks, too.
    let (host, worker) = comparing_with(&json!({}), &limits);
    let chunks = of_primary(200, &"x".repeat(1_500)).body("x".repeat(1_501)).body("x");
    worker.exchange(&Request::get("/").answer(chunks));
    worker.call_out().answer(of_target(200, ""));
    assert_eq!(line(&host)["reason"], "body_too_large");
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

#[test]
fn several_targets_are_compared_with_one_copy_of_the_answer() {
    let all = ["a", "b", "c"].map(|name| with(target(name), &json!({"compare": {}})));
    let limits = json!({"limits": {"max_body_bytes": 2_000, "max_buffered_bytes": 8_000}});
    let (host, worker) = mirroring_with(&with(targets(&all), &limits));
    let body = json!("x".repeat(1_500)).to_string();
    for round in 1..=100 {
        let stream = worker.send(&Request::get("/"));
        let tally = host.tally(|| answered(stream, &of_primary(200, &body)));
        assert_eq!(tally.of("proxy_get_buffer_bytes"), 1);
        for (call, answer) in worker.call_outs().iter().zip([of_target(200, &body), of_target(200, "1"), Answer::reset()]) {
            call.answer(answer);
        }
        let seen = ["a", "b", "c"].map(|name| counts_of(&host, name));
        assert_eq!(seen, [[round, 0, 0, 0], [0, 0, round, 0], [0, 0, 0, round]]);
    }
    ["a", "b", "c"].iter().for_each(|name| assert_balanced(&host, name));
}

#[test]
fn after_ten_thousand_comparisons_of_every_end_all_bytes_are_free_again() {
    let target = json!({
        "limits": {"max_in_flight": 2, "max_queued": 0},
        "retry": {"max_attempts": 2, "backoff": {"base": "1ms", "max": "1ms"}},
        "circuit_breaker": {"mode": "disabled"},
    });
    let limits = json!({"limits": {"max_body_bytes": 1_500, "max_buffered_bytes": 7_000}});
    let (host, worker) = comparing_with(&target, &limits);
    host.set_log_level(Level::Critical);
    let body = json!("x".repeat(1_000)).to_string();
    let targets =
        [of_target(200, &body), of_target(404, "1"), of_target(503, ""), Answer::reset(), of_target(200, &"x".repeat(1_501))];
    let primaries: [fn(Stream, &str); 4] = [
        |stream, body| answered(stream, &of_primary(200, body)),
        |stream, _| stream.close(),
        |stream, _| answered(stream, &of_primary(200, &"x".repeat(1_501))),
        |stream, body| {
            stream.begin_answer(&of_primary(200, ""), false);
            stream.answer_chunk(body, false);
            stream.primary_breaks_off();
        },
    ];
    for round in 0..10_000_usize {
        let stream = worker.send(&Request::post("/").body("x"));
        if round.is_multiple_of(2) {
            worker.answer_all(&targets[round / 2 % targets.len()]);
        }
        primaries[round % primaries.len()](stream, &body);
        for _ in 0..2 {
            worker.answer_all(&targets[round / 2 % targets.len()]);
            worker.pass(&host, Duration::from_millis(2));
        }
    }
    assert_eq!(counts(&host).iter().sum::<i64>(), 10_000);
    assert_eq!(host.stat("audit", "dropped.buffer_full"), 0);
    let before = counts(&host)[0];
    worker.exchange(&Request::post("/").body(vec![b'x'; 1_000]).answer(of_primary(200, &body)));
    worker.answer_all(&of_target(200, &body));
    assert_eq!(counts(&host)[0], before + 1, "there is room for both answers");
    assert_balanced(&host, "audit");
}
