//! Whatever happens in whatever order, each request has one end in the accounts, and nothing is held in the end.

use crate::{
    configurations::unexpected,
    host::{Answer, CallOut, Host, Request, Response, Status, Stream, Worker},
};
use proptest::prelude::*;
use serde_json::{json, Value};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const TARGETS: [&str; 7] = ["plain", "retried", "batched", "waits", "follows", "repairs", "last"];
const CLUSTERS: [&str; 5] = ["plain", "retried", "batched", "letters", "follows"];

fn configuration() -> Value {
    json!({
        "targets": [
            {"name": "plain", "cluster": "plain", "limits": {"max_in_flight": 2, "max_queued": 2}},
            {"name": "retried", "cluster": "retried", "dead_letter": {"cluster": "letters", "timeout": "1s"},
             "retry": {"max_attempts": 3, "backoff": {"base": "100ms", "max": "1s"}, "budget": {"percent": 100, "min_per_second": 10}, "expire_after": "2s"},
             "circuit_breaker": {"consecutive_failures": 2, "open_for": "3s"}, "limits": {"max_in_flight": 3}},
            {"name": "batched", "cluster": "batched", "batch": {"max_items": 3, "max_delay": "2s"}, "dead_letter": {"cluster": "letters"}},
            {"name": "waits", "cluster": "waits", "after": "response", "statuses": ["2xx"], "sample": {"percent": 50}},
            {"name": "last", "cluster": "follows", "after": {"target": "repairs"}},
            {"name": "follows", "cluster": "follows", "after": {"target": "plain"}, "limits": {"max_in_flight": 2, "max_queued": 2}},
            {"name": "repairs", "cluster": "plain", "after": {"target": "retried", "outcome": "given_up"}, "dead_letter": {"cluster": "letters", "timeout": "1s"}},
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
    Answer { which: usize, status: Option<u16> },
    Pass { millis: u64 },
    Refuse(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![3 => Just(Some(200)), 1 => Just(Some(503)), 1 => Just(Some(404)), 1 => Just(None)];
    prop_oneof![
        4 => (0_usize..3_000, any::<bool>()).prop_map(|(size, is_whole)| Step::Send { size, is_whole }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_last)| Step::Chunk { which, is_last }),
        3 => (any::<usize>(), status.clone()).prop_map(|(which, status)| Step::End { which, status }),
        6 => (any::<usize>(), status).prop_map(|(which, status)| Step::Answer { which, status }),
        2 => (0_u64..3_000).prop_map(|millis| Step::Pass { millis }),
        1 => prop::option::of(0_usize..CLUSTERS.len()).prop_map(Step::Refuse),
    ]
}

/// A worker, and the calls that it has made and that have not ended.
struct Stage {
    host: Host,
    worker: Worker,
    calls: Vec<CallOut>,
}

impl Stage {
    fn new(configuration: &Value) -> Self {
        let host = Host::new();
        let worker = host.worker(configuration);
        Self { host, worker, calls: Vec::new() }
    }

    fn calls(&mut self) -> &[CallOut] {
        self.calls.extend(self.worker.call_outs());
        &self.calls
    }

    /// One of the calls ends, with this status or without a response.
    fn answer(&mut self, which: usize, status: Option<u16>) {
        let calls = self.calls().len();
        if calls > 0 {
            self.calls.remove(which % calls).answer(status.map_or_else(Answer::reset, Answer::upstream));
        }
    }

    fn pass(&self, time: Duration) {
        self.worker.pass(&self.host, time);
    }

    fn of(&self, target: &str, name: &str) -> i64 {
        self.host.stat(target, name)
    }

    /// What came of all requests that a target wanted.
    fn ends(&self, target: &str) -> i64 {
        let dropped = self.host.sum(&format!("sidecast.{target}.dropped."));
        dropped
            + ["delivered", "dead_lettered", "sampled_out", "not_triggered"].iter().map(|name| self.of(target, name)).sum::<i64>()
    }
}

/// The primary responds with this status, or not at all, and the stream ends.
fn end(stream: Stream, status: Option<u16>) {
    if let Some(status) = status {
        stream.answer(&Response::status(status));
    }
    stream.close();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_request_has_exactly_one_end(steps in prop::collection::vec(step(), 1..80)) {
        let mut stage = Stage::new(&configuration());
        let (mut streams, mut wanted) = (Vec::new(), 0);
        for step in steps {
            match step {
                Step::Send { size, is_whole } => {
                    let stream = stage.worker.begin(&Request::post("/"), size == 0);
                    if size > 0 {
                        stream.chunk(format!("\"{}\"", "x".repeat(size)), is_whole);
                    }
                    streams.push((stream, size == 0 || is_whole));
                    wanted += 1;
                }
                Step::Chunk { which, is_last } if !streams.is_empty() => {
                    let which = which % streams.len();
                    let (stream, is_complete) = &mut streams[which];
                    if !*is_complete {
                        stream.chunk(b" ", is_last);
                        *is_complete = is_last;
                    }
                }
                Step::End { which, status } if !streams.is_empty() => {
                    let (stream, _) = streams.remove(which % streams.len());
                    end(stream, status);
                }
                Step::Chunk { .. } | Step::End { .. } => {}
                Step::Answer { which, status } => stage.answer(which, status),
                Step::Pass { millis } => stage.pass(Duration::from_millis(millis)),
                Step::Refuse(cluster) => {
                    CLUSTERS.iter().for_each(|cluster| stage.host.accept_calls_to(cluster));
                    if let Some(cluster) = cluster {
                        stage.host.refuse_calls_to(CLUSTERS[cluster], Status::INTERNAL_FAILURE);
                    }
                }
            }
            for target in TARGETS {
                prop_assert!(stage.ends(target) <= wanted, "{target}");
                prop_assert!(stage.of(target, "inflight") >= 0 && stage.of(target, "queued") >= 0, "{target}");
            }
        }
        streams.into_iter().for_each(|(stream, _)| end(stream, Some(200)));
        // Some calls never end. The drain does, with the letters.
        let root = stage.worker.root();
        stage.worker.shut_down();
        if !stage.worker.is_deleted(root) {
            stage.pass(60 * SECOND);
            prop_assert!(stage.worker.is_deleted(root));
        }
        for target in TARGETS {
            let held = ["inflight", "queued", "queued_bytes"].map(|name| stage.of(target, name));
            prop_assert_eq!((stage.of(target, "matched"), stage.ends(target), held), (wanted, wanted, [0; 3]), "{}", target);
        }
        prop_assert_eq!(unexpected(&stage.host), 0);
    }
}

#[test]
fn a_request_becomes_a_call_and_its_response_a_delivery() {
    let mut stage = Stage::new(&json!({"targets": [{"name": "plain", "cluster": "audit"}]}));
    let stream = stage.worker.begin(&Request::post("/"), false);
    stream.chunk("an ", false);
    assert!(stage.calls().is_empty());
    stream.chunk("order", true);
    let calls: Vec<_> = stage.calls().iter().map(|call| (call.cluster(), call.body())).collect();
    assert_eq!(calls, [("audit", &b"an order"[..])]);
    assert_eq!((stage.of("plain", "inflight"), stage.of("plain", "delivered")), (1, 0));
    stage.answer(0, Some(200));
    assert_eq!((stage.of("plain", "inflight"), stage.of("plain", "delivered")), (0, 1));
    end(stream, Some(200));
    let root = stage.worker.root();
    stage.worker.shut_down();
    assert!(stage.worker.is_deleted(root));
}

#[test]
fn a_retry_that_gets_too_old_beside_a_probe_gives_its_place_back() {
    let mut stage = Stage::new(&json!({"targets": [{
        "name": "retried", "cluster": "audit", "limits": {"max_queued": 2},
        "retry": {"max_attempts": 5, "backoff": {"base": "100ms", "max": "100ms"}, "expire_after": "2s", "budget": {"min_per_second": 100}},
        "circuit_breaker": {"consecutive_failures": 2, "open_for": "1s", "half_open": {"probes": 1, "successes": 1}},
    }]}));
    let send = |stage: &Stage| {
        stage.worker.send(&Request::get("/"));
    };
    let queued_and_state = |stage: &Stage| (stage.of("retried", "queued"), stage.of("retried", "breaker.state"));
    (0..2).for_each(|_| send(&stage));
    (0..2).for_each(|_| stage.answer(0, Some(503)));
    assert_eq!(queued_and_state(&stage), (2, 2));
    // One becomes the probe, which does not end. The other waits for it until it is too old.
    stage.pass(SECOND + SECOND / 2);
    assert_eq!((stage.calls().len(), queued_and_state(&stage)), (1, (1, 1)));
    stage.pass(SECOND);
    assert_eq!((queued_and_state(&stage), stage.of("retried", "dropped.circuit_open")), ((0, 1), 1));
    // The places of both are free.
    stage.answer(0, Some(200));
    (0..2).for_each(|_| send(&stage));
    (0..2).for_each(|_| stage.answer(0, Some(503)));
    assert_eq!((stage.of("retried", "queued"), stage.of("retried", "dropped.queue_full")), (2, 0));
}
