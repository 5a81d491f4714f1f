//! The engine on a fake host: whatever happens in whatever order, accounts are exact, and nothing is held in the end.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{json, Value};

use super::fake::Stage;

const SECOND: Duration = Duration::from_secs(1);
const TARGETS: [&str; 4] = ["plain", "retried", "batched", "waits"];

fn everything() -> Value {
    json!({
        "targets": [
            {"name": "plain", "cluster": "plain", "limits": {"max_in_flight": 2, "max_queued": 2}},
            {"name": "retried", "cluster": "retried", "dead_letter": {"cluster": "letters", "timeout": "1s"},
             "retry": {"max_attempts": 3, "backoff": {"base": "100ms", "max": "1s"}, "budget": {"percent": 100, "min_per_second": 10}, "expire_after": "2s"},
             "circuit_breaker": {"consecutive_failures": 2, "open_for": "3s"}, "limits": {"max_in_flight": 3}},
            {"name": "batched", "cluster": "batched", "batch": {"max_items": 3, "max_delay": "2s"}, "dead_letter": {"cluster": "letters"}},
            {"name": "waits", "cluster": "waits", "after": "response", "statuses": ["2xx"], "sample": {"percent": 50}},
        ],
        "limits": {"max_body_bytes": "2KiB", "max_buffered_bytes": "16KiB"},
        "drain_timeout": "3s",
    })
}

#[derive(Clone, Debug)]
enum Step {
    Send { size: usize, is_whole: bool },
    Chunk { which: usize, is_last: bool },
    End { which: usize, status: Option<u16> },
    Response { which: usize, status: Option<u16> },
    Pass { millis: u64 },
    Refuse(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![3 => Just(Some(200)), 1 => Just(Some(503)), 1 => Just(Some(404)), 1 => Just(None)];
    prop_oneof![
        4 => (0_usize..3_000, any::<bool>()).prop_map(|(size, is_whole)| Step::Send { size, is_whole }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_last)| Step::Chunk { which, is_last }),
        3 => (any::<usize>(), status.clone()).prop_map(|(which, status)| Step::End { which, status }),
        6 => (any::<usize>(), status).prop_map(|(which, status)| Step::Response { which, status }),
        2 => (0_u64..3_000).prop_map(|millis| Step::Pass { millis }),
        1 => prop::option::of(0_usize..4).prop_map(Step::Refuse),
    ]
}

fn of(stage: &Stage, target: &str, name: &str) -> i64 {
    stage.host.stat(&format!("sidecast.{target}.{name}"))
}

/// What came of all requests that a target wanted.
fn ends(stage: &Stage, target: &str) -> i64 {
    let dropped = stage.host.sum(&format!("sidecast.{target}.dropped."));
    dropped + ["delivered", "dead_lettered", "sampled_out"].iter().map(|name| of(stage, target, name)).sum::<i64>()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_request_has_exactly_one_end(steps in prop::collection::vec(step(), 1..80)) {
        let mut stage = Stage::new(&everything());
        let (mut streams, mut wanted) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Send { size, is_whole } => {
                    let stream = stage.begin("POST", size == 0);
                    let body = format!("\"{}\"", "x".repeat(size));
                    if size > 0 {
                        stage.chunk(stream, body.as_bytes(), is_whole);
                    }
                    streams.push((stream, size == 0 || is_whole));
                    wanted += 1;
                }
                Step::Chunk { which, is_last } if !streams.is_empty() => {
                    let which = which % streams.len();
                    let (stream, is_complete) = &mut streams[which];
                    if !*is_complete {
                        stage.chunk(*stream, b" ", is_last);
                        *is_complete = is_last;
                    }
                }
                Step::End { which, status } if !streams.is_empty() => {
                    let (stream, _) = streams.remove(which % streams.len());
                    stage.end(stream, status);
                }
                Step::Chunk { .. } | Step::End { .. } => {}
                Step::Response { which, status } => stage.response(which, status),
                Step::Pass { millis } => stage.pass(Duration::from_millis(millis)),
                Step::Refuse(cluster) => {
                    *stage.host.refused.borrow_mut() = cluster.map(|cluster| ["plain", "retried", "batched", "letters"][cluster].to_owned());
                }
            }
            for target in TARGETS {
                prop_assert!(ends(&stage, target) <= wanted, "{target}");
                prop_assert!(of(&stage, target, "inflight") >= 0 && of(&stage, target, "queued") >= 0, "{target}");
            }
        }
        streams.into_iter().for_each(|(stream, _)| stage.end(stream, Some(200)));
        // Some calls never end. The drain does, with the letters.
        if !stage.drain() {
            stage.pass(60 * SECOND);
            prop_assert!(stage.host.is_done.get());
        }
        for target in TARGETS {
            let held = ["inflight", "queued", "queued_bytes"].map(|name| of(&stage, target, name));
            prop_assert_eq!((of(&stage, target, "matched"), ends(&stage, target), held), (wanted, wanted, [0; 3]), "{}", target);
        }
        prop_assert_eq!(stage.host.stat("sidecast_unexpected"), 0);
    }
}

#[test]
fn a_request_becomes_a_call_and_its_response_a_delivery() {
    let mut stage = Stage::new(&json!({"targets": [{"name": "plain", "cluster": "audit"}]}));
    let stream = stage.begin("POST", false);
    stage.chunk(stream, b"an ", false);
    assert!(stage.host.calls.borrow().is_empty());
    stage.chunk(stream, b"order", true);
    let calls = stage.host.calls.borrow().clone();
    assert_eq!(calls, [(1, "audit".to_owned(), b"an order".to_vec())]);
    assert_eq!((of(&stage, "plain", "inflight"), of(&stage, "plain", "delivered")), (1, 0));
    stage.response(0, Some(200));
    assert_eq!((of(&stage, "plain", "inflight"), of(&stage, "plain", "delivered")), (0, 1));
    assert!(stage.drain());
}

#[test]
fn a_retry_that_gets_too_old_beside_a_probe_gives_its_place_back() {
    let mut stage = Stage::new(&json!({"targets": [{
        "name": "retried", "cluster": "audit", "limits": {"max_queued": 2},
        "retry": {"max_attempts": 5, "backoff": {"base": "100ms", "max": "100ms"}, "expire_after": "2s", "budget": {"min_per_second": 100}},
        "circuit_breaker": {"consecutive_failures": 2, "open_for": "1s", "half_open": {"probes": 1, "successes": 1}},
    }]}));
    let send = |stage: &mut Stage| {
        stage.begin("GET", true);
    };
    let queued_and_state = |stage: &Stage| (of(stage, "retried", "queued"), of(stage, "retried", "breaker.state"));
    (0..2).for_each(|_| send(&mut stage));
    (0..2).for_each(|_| stage.response(0, Some(503)));
    assert_eq!(queued_and_state(&stage), (2, 2));
    // One becomes the probe, which does not end. The other waits for it until it is too old.
    stage.pass(SECOND + SECOND / 2);
    assert_eq!((stage.host.calls.borrow().len(), queued_and_state(&stage)), (1, (1, 1)));
    stage.pass(SECOND);
    assert_eq!((queued_and_state(&stage), of(&stage, "retried", "dropped.circuit_open")), ((0, 1), 1));
    // The places of both are free.
    stage.response(0, Some(200));
    (0..2).for_each(|_| send(&mut stage));
    (0..2).for_each(|_| stage.response(0, Some(503)));
    assert_eq!((of(&stage, "retried", "queued"), of(&stage, "retried", "dropped.queue_full")), (2, 0));
}
