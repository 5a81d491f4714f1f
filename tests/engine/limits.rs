//! Memory is bounded, and what does not fit is dropped with a reason.

use crate::{
    configurations::{assert_balanced, audit, audit_with, dropped, mirroring, mirroring_with, target, targets, with},
    host::{Answer, Host, Request, Status, Worker},
};
use serde_json::json;
use std::time::Duration;

/// One request at a time, and one that waits.
fn narrow() -> (Host, Worker) {
    mirroring_with(&audit_with(&json!({"limits": {"max_in_flight": 1, "max_queued": 1}})))
}

fn only(reason: &str, count: u64) -> [(String, u64); 1] {
    [(reason.to_owned(), count)]
}

#[test]
fn a_body_up_to_the_cap_is_mirrored_and_a_larger_one_is_dropped() {
    let capped = with(audit(), &json!({"limits": {"max_body_bytes": 10}}));
    let (host, worker) = mirroring_with(&capped);
    worker.exchange(&Request::post("/").body("01234").body("56789"));
    worker.exchange(&Request::post("/").body("01234").body("56789").body(""));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 2);
    worker.exchange(&Request::post("/").body("01234").body("567890"));
    worker.exchange(&Request::post("/").body("0123456789a"));
    worker.exchange(&Request::post("/").body("0123456789").body("a").trailer("x", "y"));
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(dropped(&host, "audit"), only("body_too_large", 3));
    assert_balanced(&host, "audit");
}

#[test]
fn a_body_over_the_cap_is_not_copied_any_further() {
    let capped = with(audit(), &json!({"limits": {"max_body_bytes": "1KiB"}}));
    let (host, worker) = mirroring_with(&capped);
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk([7; 2048], false);
    let tally = host.tally(|| {
        for _ in 0..100 {
            stream.chunk([7; 2048], false);
        }
        stream.chunk([7; 2048], true);
    });
    assert_eq!(tally.host_calls(), 0, "{tally:?}");
    stream.close();
    assert_eq!(dropped(&host, "audit"), only("body_too_large", 1));
    assert_balanced(&host, "audit");
}

#[test]
fn a_request_that_never_completes_is_truncated() {
    let (host, worker) = mirroring();
    worker.begin(&Request::post("/"), false).close();
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk("half", false);
    stream.close();
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(host.stat("audit", "matched"), 2);
    assert_eq!(dropped(&host, "audit"), only("truncated", 2));
    assert_balanced(&host, "audit");
}

#[test]
fn too_large_and_then_cut_is_counted_once() {
    let capped = with(audit(), &json!({"limits": {"max_body_bytes": 4}}));
    let (host, worker) = mirroring_with(&capped);
    let stream = worker.begin(&Request::post("/"), false);
    stream.chunk("too large", false);
    stream.close();
    assert_eq!(dropped(&host, "audit"), only("body_too_large", 1));
    assert_balanced(&host, "audit");
}

#[test]
fn over_max_in_flight_a_request_waits_and_goes_when_one_ends() {
    let (host, worker) = narrow();
    worker.exchange(&Request::post("/first").body("1"));
    let first = worker.call_out();
    worker.exchange(&Request::post("/second").body("2"));
    assert_eq!(worker.call_outs().len(), 0);
    assert_eq!(host.stat("audit", "inflight"), 1);
    assert_eq!(host.stat("audit", "queued"), 1);
    assert!(host.stat("audit", "queued_bytes") > 0);

    first.answer(Answer::upstream(500));
    let second = worker.call_out();
    assert_eq!(second.header(":path"), Some("/second"));
    assert_eq!(second.body(), b"2");
    assert_eq!(host.stat("audit", "inflight"), 1);
    assert_eq!(host.stat("audit", "queued"), 0);
    assert_eq!(host.stat("audit", "queued_bytes"), 0);
    second.answer(Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), 1);
    assert_balanced(&host, "audit");
}

#[test]
fn what_waits_goes_in_its_order() {
    let limits = json!({"limits": {"max_in_flight": 2, "max_queued": 10}});
    let (host, worker) = mirroring_with(&audit_with(&limits));
    for index in 0..8 {
        worker.exchange(&Request::get(&format!("/{index}")));
    }
    let mut paths = Vec::new();
    let mut waiting = worker.call_outs();
    while !waiting.is_empty() {
        assert!(waiting.len() <= 2);
        let call = waiting.remove(0);
        paths.push(call.header(":path").unwrap().to_owned());
        call.answer(Answer::upstream(200));
        waiting.extend(worker.call_outs());
    }
    assert_eq!(paths, ["/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7"]);
    assert_balanced(&host, "audit");
}

#[test]
fn with_the_queue_full_a_request_is_dropped() {
    let (host, worker) = narrow();
    for _ in 0..5 {
        worker.exchange(&Request::get("/"));
    }
    assert_eq!(dropped(&host, "audit"), only("queue_full", 3));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 2);
    assert_eq!(host.stat("audit", "delivered"), 2);
    assert_balanced(&host, "audit");
}

#[test]
fn when_the_cluster_goes_away_the_queue_empties_all_the_same() {
    let limits = json!({"limits": {"max_in_flight": 1, "max_queued": 1000}});
    let (host, worker) = mirroring_with(&audit_with(&limits));
    for _ in 0..1001 {
        worker.exchange(&Request::get("/"));
    }
    let first = worker.call_out();
    host.refuse_calls_to("audit", Status::BAD_ARGUMENT);
    first.answer(Answer::upstream(200));
    // A callback makes no more than some hundred calls.
    worker.pass(&host, Duration::from_millis(10));
    assert_eq!(dropped(&host, "audit"), only("unknown_cluster", 1000));
    assert_balanced(&host, "audit");
    host.accept_calls_to("audit");
    worker.exchange(&Request::get("/"));
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
}

#[test]
fn a_slow_target_does_not_hold_up_another() {
    let slow = with(target("slow"), &json!({"limits": {"max_in_flight": 1, "max_queued": 1}}));
    let (host, worker) = mirroring_with(&targets(&[slow, target("quick")]));
    for _ in 0..5 {
        worker.exchange(&Request::get("/"));
    }
    let calls = worker.call_outs();
    let quick = calls.iter().filter(|call| call.cluster() == "quick");
    quick.for_each(|call| call.answer(Answer::upstream(200)));
    assert_eq!(host.stat("quick", "delivered"), 5);
    assert_eq!(host.stat("slow", "inflight"), 1);
    assert_eq!(dropped(&host, "slow"), only("queue_full", 3));
}

#[test]
fn over_max_buffered_bytes_a_request_is_dropped_until_there_is_room() {
    let limits = json!({"limits": {"max_body_bytes": "48KiB", "max_buffered_bytes": "64KiB"}});
    let (host, worker) = mirroring_with(&with(audit_with(&json!({"limits": {"max_in_flight": 1}})), &limits));
    let large = Request::post("/").body(vec![1; 40 * 1024]);
    worker.exchange(&large);
    worker.exchange(&large);
    worker.exchange(&large);
    assert!(host.stat("audit", "dropped.buffer_full") >= 1, "{:?}", dropped(&host, "audit"));
    worker.answer_all(&Answer::upstream(200));
    assert_balanced(&host, "audit");
    let before = host.stat("audit", "delivered");
    worker.exchange(&large);
    worker.answer_all(&Answer::upstream(200));
    assert_eq!(host.stat("audit", "delivered"), before + 1);
}

#[test]
fn bodies_that_are_still_arriving_count_as_buffered() {
    let limits = json!({"limits": {"max_body_bytes": "48KiB", "max_buffered_bytes": "64KiB"}});
    let (host, worker) = mirroring_with(&with(audit(), &limits));
    let streams: Vec<_> = (0..3).map(|_| worker.begin(&Request::post("/"), false)).collect();
    for stream in &streams {
        stream.chunk(vec![1; 40 * 1024], false);
    }
    assert_eq!(dropped(&host, "audit"), only("buffer_full", 2));
    for stream in streams {
        stream.chunk("", true);
        stream.close();
    }
    assert_eq!(worker.answer_all(&Answer::upstream(200)), 1);
    assert_balanced(&host, "audit");
}

#[test]
fn a_rate_lets_its_burst_pass_and_then_what_flows_in() {
    let rate = json!({"limits": {"rate": {"per_second": 10, "burst": 3}}});
    let (host, worker) = mirroring_with(&audit_with(&rate));
    let sent = |count: usize| {
        (0..count).for_each(|_| worker.exchange(&Request::post("/").body("x")));
        worker.answer_all(&Answer::upstream(200))
    };
    assert_eq!(sent(10), 3);
    host.advance(Duration::from_millis(200));
    assert_eq!(sent(10), 2);
    host.set_clock_back(Duration::from_secs(3_600));
    assert_eq!(sent(10), 0, "the wall clock decides nothing");
    assert_eq!(dropped(&host, "audit"), only("rate_limited", 25));
    assert_balanced(&host, "audit");
}
