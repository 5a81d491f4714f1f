//! What the filter costs: calls into the host, and memory.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, everything, mirroring, mirroring_with, target, targets},
    host::{Answer, Level, Request, Response, Stream},
};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_request_that_no_target_wants_costs_one_look_at_its_headers() {
    let (host, worker) = mirroring_with(&audit_with(&json!({"match": [{"methods": ["PUT"]}]})));
    // With its first request a worker is counted as one that runs.
    worker.exchange(&Request::get("/"));
    let tally = host.tally(|| worker.exchange(&Request::get("/")));
    assert_eq!(tally.of("proxy_get_header_map_pairs"), 1);
    assert_eq!(tally.host_calls(), 1, "{tally:?}");
    let with_body = host.tally(|| worker.exchange(&Request::post("/").body("a").body("b").body("")));
    assert_eq!(with_body.host_calls(), 1, "{with_body:?}");
}

#[test]
fn a_mirrored_request_costs_a_few_host_calls() {
    let (host, worker) = mirroring();
    host.set_log_level(Level::Info);
    worker.exchange(&Request::get("/"));
    let request = Request::post("/").header("x-request-id", "c0ffee").body("a").body("b");
    let mut drawn = 0;
    for _ in 0..100 {
        let sending = host.tally(|| worker.exchange(&request));
        // Matched, an attempt, in flight: three statistics move. The record of the breaker was read with the first request, and is healthy.
        let expected = [
            ("proxy_get_header_map_pairs", 1),
            ("proxy_get_buffer_bytes", 2),
            ("proxy_increment_metric", 3),
            ("clock_time_get", 1),
            ("proxy_get_shared_data", 0),
            ("proxy_http_call", 1),
        ];
        for (import, times) in expected {
            assert_eq!(sending.of(import), times, "{import} in {sending:?}");
        }
        drawn += sending.of("random_get");
        assert_eq!(sending.host_calls() - sending.of("random_get"), 8, "{sending:?}");
    }
    // Random bytes are drawn in bulk.
    assert!(drawn <= 50, "{drawn}");
}

#[test]
fn seeing_an_outcome_costs_a_few_host_calls() {
    let (host, worker) = mirroring();
    host.set_log_level(Level::Info);
    // What a worker learns of a healthy target it tells the others once in a while.
    worker.exchange(&Request::get("/"));
    worker.answer_all(&Answer::upstream(200));
    worker.exchange(&Request::get("/"));
    let call = worker.call_out();
    let seeing = host.tally(|| call.answer(Answer::upstream(200).body("ignored")));
    assert_eq!(seeing.of("proxy_get_header_map_value"), 1);
    assert_eq!(seeing.of("proxy_get_header_map_pairs"), 0);
    assert_eq!(seeing.of("proxy_get_buffer_bytes"), 0);
    assert!(seeing.host_calls() <= 6, "{seeing:?}");
}

#[test]
fn several_targets_share_one_look_at_the_request() {
    let list: Vec<_> = (0..8).map(|index| target(&format!("t{index}"))).collect();
    let (host, worker) = mirroring_with(&targets(&list));
    let tally = host.tally(|| worker.exchange(&Request::post("/").body("a").body("b")));
    assert_eq!(tally.of("proxy_get_header_map_pairs"), 1);
    assert_eq!(tally.of("proxy_get_buffer_bytes"), 2);
    assert_eq!(tally.of("proxy_http_call"), 8);
}

#[test]
fn memory_does_not_grow_with_the_number_of_requests() {
    let (host, worker) = mirroring_with(&targets(&["a", "b"].map(target)));
    host.set_log_level(Level::Error);
    let ends = [Answer::upstream(200), Answer::upstream(500), Answer::reset(), Answer::timeout()];
    let mut sizes = Vec::new();
    for round in 1..=20_000_usize {
        let request = Request::post("/orders").header("x-round", round.to_string()).body(vec![b'x'; round % 5_000]);
        worker.exchange(&request);
        worker.answer_all(&ends[round % ends.len()]);
        if round % 10_000 == 0 {
            sizes.push(worker.memory_size());
            host.clear_log();
        }
    }
    assert_eq!(sizes[0], sizes[1]);
    assert_eq!(host.stat("a", "matched"), 20_000);
    assert_balanced(&host, "a");
    assert_balanced(&host, "b");
}

#[test]
fn memory_does_not_grow_with_the_number_of_requests_whatever_is_made_of_them() {
    let (host, worker) = mirroring_with(&everything());
    host.set_log_level(Level::Critical);
    let ends: [fn(Stream, &Response); 5] = [
        |stream, answer| {
            stream.answer(answer);
            stream.close();
        },
        |stream, _| stream.close(),
        |stream, _| {
            stream.answer(&Response::status(500).body("[2]"));
            stream.close();
        },
        |stream, answer| {
            stream.begin_answer(answer, false);
            stream.primary_breaks_off();
        },
        |stream, answer| {
            stream.answer(&answer.clone().body("x".repeat(4_000)).body("x".repeat(4_000)));
            stream.close();
        },
    ];
    let answers = [
        Answer::upstream(200).header("content-type", "application/json").body("[1]"),
        Answer::upstream(503),
        Answer::upstream(404).body("x".repeat(5_000)),
        Answer::upstream(200),
        Answer::reset(),
        Answer::timeout(),
        Answer::upstream(200).body("x".repeat(2_000)),
    ];
    let created = Response::status(201).header("location", "/orders/7").header("content-type", "application/json").body("[1.0]");
    // Most letters are taken.
    let answer_all = |round: usize| loop {
        let calls = worker.call_outs();
        for call in &calls {
            let taken = call.cluster() == "dlq" && !round.is_multiple_of(5);
            call.answer(if taken { Answer::upstream(204) } else { answers[round % answers.len()].clone() });
        }
        if calls.is_empty() {
            break;
        }
    };
    let mut sizes = Vec::new();
    for round in 1..=20_000_usize {
        let body = match round % 11 {
            0 => "no json".to_owned(),
            1 => "x".repeat(5_000),
            size => json!({"a": "b".repeat(size * 300), "n": round}).to_string(),
        };
        let request = Request::post("/orders").header("x-tenant", (round / 5 % 13).to_string());
        let stream = if round.is_multiple_of(17) { worker.begin(&request, false) } else { worker.send(&request.body(body)) };
        answer_all(round);
        ends[round % ends.len()](stream, &created);
        answer_all(round);
        worker.pass(&host, Duration::from_millis(3));
        if round % 10_000 == 0 {
            sizes.push(worker.memory_size());
            host.clear_log();
        }
    }
    assert_eq!(sizes[0], sizes[1]);
    // A retry may wait for its breaker for a minute.
    for _ in 0..100 {
        worker.pass(&host, Duration::from_secs(1));
        worker.answer_all(&Answer::upstream(200));
    }
    for name in ["t0", "t1", "t2", "t3"] {
        assert_eq!(host.stat(name, "matched"), 20_000);
        for counted in ["delivered", "dead_lettered", "retries", "dropped.body_too_large", "dropped.truncated"] {
            assert!(host.stat(name, counted) > 100, "{counted} of {name}: {:?}", dropped(&host, name));
        }
        assert_balanced(&host, name);
    }
    let of_followers = [
        ("t4", ["delivered", "not_triggered", "dropped.response_not_json"]),
        ("t5", ["delivered", "not_triggered", "dropped.response_too_large"]),
        ("t6", ["not_triggered", "dropped.response_too_large", "dropped.truncated"]),
    ];
    for (name, all) in of_followers {
        for counted in all {
            assert!(host.stat(name, counted) > 100, "{counted} of {name}: {:?}", dropped(&host, name));
        }
        assert_balanced(&host, name);
    }
    assert_eq!(worker.tick_period(), None);
}

#[test]
fn memory_does_not_grow_with_the_number_of_configurations() {
    let (_host, worker) = mirroring();
    let reconfigure = |rounds: std::ops::Range<u32>| {
        for round in rounds {
            worker.exchange(&Request::post("/").body("x"));
            let next = audit_with(&json!({"timeout": format!("{}ms", round + 1)}));
            assert!(worker.configure(next.to_string()));
            worker.answer_all(&Answer::upstream(200));
        }
        worker.memory_size()
    };
    let settled = reconfigure(0..300);
    assert_eq!(reconfigure(300..900), settled);
}
