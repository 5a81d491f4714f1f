//! Comparisons whose copy is lost, and what they hold meanwhile.

use crate::{
    compare::{answered, comparing_with, counts, counts_of, line, of_primary, of_target},
    configurations::{assert_balanced, audit, dropped, mirroring_with, only, target, targets, with},
    host::{Answer, Host, Level, Request, Status, Stream, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// One way to lose a copy that would have been compared.
struct Loss {
    reason: &'static str,
    target: Value,
    provoke: fn(&Host, &Worker),
    /// What the comparisons come to, with those of requests that were needed to provoke it.
    counts: [i64; 4],
}

/// A request with this body, and a response of the primary, that are all the same.
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
        loss("truncated", json!({}), [0, 0, 0, 1], |_, worker| worker.begin(&Request::post("/"), false).close()),
        loss("answered_early", json!({}), [0, 0, 0, 1], |_, worker| {
            let stream = worker.begin(&Request::post("/"), false);
            stream.answer(&of_primary(200, "[1]"));
            stream.close();
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
fn a_copy_that_is_not_triggered_is_not_comparable() {
    let (host, worker) = comparing_with(&json!({"after": "response"}), &json!({}));
    worker.exchange(&Request::get("/").answer(of_primary(500, "[1]")));
    assert_eq!((host.stat("audit", "not_triggered"), counts(&host)), (1, [0, 0, 0, 1]));
    assert_balanced(&host, "audit");
}

#[test]
fn a_copy_for_which_the_bytes_do_not_suffice_is_not_comparable_while_another_is() {
    let both = ["a", "b"].map(|name| with(target(name), &json!({"compare": {}})));
    let limits = json!({"limits": {"max_body_bytes": 1_000, "max_buffered_bytes": 2_100}});
    let (host, worker) = mirroring_with(&with(targets(&both), &limits));
    exchange(&worker, &"x".repeat(900));
    assert_eq!(dropped(&host, "b"), only("buffer_full", 1));
    assert_eq!((counts_of(&host, "a"), counts_of(&host, "b")), ([0; 4], [0, 0, 0, 1]));
    worker.answer_all(&of_target(200, "[1]"));
    // Beside 900 bytes of the request there is no room for a response of the primary.
    assert_eq!(counts_of(&host, "a"), [0, 0, 0, 1]);
    assert_balanced(&host, "a");
    assert_balanced(&host, "b");
}

#[test]
fn answers_are_held_in_half_of_the_bytes_and_no_longer_than_a_body_may_be() {
    let limits = json!({"limits": {"max_body_bytes": 3_000, "max_buffered_bytes": 7_200}});
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
fn several_targets_are_compared_with_one_copy_of_the_answer() {
    let all = ["a", "b", "c"].map(|name| with(target(name), &json!({"compare": {}})));
    let limits = json!({"limits": {"max_body_bytes": 2_000, "max_buffered_bytes": 12_000}});
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
    let limits = json!({"limits": {"max_body_bytes": 1_500, "max_buffered_bytes": 7_200}});
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
