//! The accounting identity with every feature at once, whatever happens in whichever order.

use crate::{
    configurations::{assert_balanced, everything, with},
    host::{Answer, CallOut, Host, Level, Request, Response, Status, Stream, Worker},
};
use proptest::prelude::*;
use serde_json::json;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Send { size: usize, tenant: u8, is_json: bool, is_whole: bool },
    End { which: usize, end: usize },
    Answer { which: usize, end: usize },
    Pass { millis: u64 },
    Replace,
    Refuse { cluster: usize, status: u32 },
    Accept { cluster: usize },
    Fail { import: usize, first: u64, times: u64 },
}

const TARGETS: [&str; 7] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6"];
const CLUSTERS: [&str; 8] = ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "dlq"];
/// Without these the accounts hold all the same.
const IMPORTS: [&str; 4] =
    ["proxy_get_property", "proxy_get_buffer_bytes", "proxy_get_header_map_value", "proxy_get_header_map_pairs"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        9 => (0_usize..1_500, 0_u8..3, prop::bool::weighted(0.9), prop::bool::weighted(0.9))
            .prop_map(|(size, tenant, is_json, is_whole)| Step::Send { size, tenant, is_json, is_whole }),
        8 => (any::<usize>(), 0_usize..7).prop_map(|(which, end)| Step::End { which, end }),
        9 => (any::<usize>(), 0_usize..8).prop_map(|(which, end)| Step::Answer { which, end }),
        4 => (0_u64..60).prop_map(|millis| Step::Pass { millis }),
        1 => Just(Step::Replace),
        1 => (0..CLUSTERS.len(), prop_oneof![Just(2_u32), Just(10), Just(99)]).prop_map(|(cluster, status)| Step::Refuse { cluster, status }),
        1 => (0..CLUSTERS.len()).prop_map(|cluster| Step::Accept { cluster }),
        1 => (0_usize..4, 0_u64..4, 1_u64..9).prop_map(|(import, first, times)| Step::Fail { import, first, times }),
    ]
}

fn answer(call: &CallOut, number: usize) {
    if call.is_cancelled() {
        return;
    }
    let json = |status| Answer::upstream(status).header("content-type", "application/json");
    call.answer(match number {
        0..=2 => json(200).body("[1]"),
        3 => json(503).header("retry-after", "1"),
        4 => json(404).body("x".repeat(3_000)),
        5 => Answer::timeout(),
        6 => Answer::reset(),
        _ => Answer::connect_error(),
    });
}

/// Ends a stream in one of several ways. `body` is that of a good response, `broken` is the size of one that breaks off.
pub(crate) fn end(stream: Stream, number: usize, body: &str, broken: usize) {
    let created = Response::status(201).header("content-type", "application/json").header("location", "/7");
    let begin = |size| {
        stream.begin_answer(&created, false);
        stream.answer_chunk("x".repeat(size), false);
    };
    match number {
        0 | 1 => stream.answer(&created.body(body)),
        2 => stream.answer(&Response::status(500)),
        3 => stream.answer(&Response::timeout()),
        4 => {
            begin(broken);
            return stream.primary_breaks_off();
        }
        5 => {
            begin(1_000);
            return stream.client_resets();
        }
        _ => {}
    }
    stream.close();
}

/// Answers and lets time pass until nothing is under way.
fn settle(host: &Host, worker: &Worker, calls: &mut Vec<CallOut>) {
    for _ in 0..40 {
        calls.extend(worker.call_outs());
        calls.drain(..).for_each(|call| answer(&call, 0));
        worker.pass(host, Duration::from_millis(500));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_made_of_it_every_matched_request_has_exactly_one_end(steps in prop::collection::vec(step(), 1..150)) {
        let host = Host::new();
        host.set_log_level(Level::Critical);
        let limits = json!({"limits": {"max_body_bytes": "2KiB", "max_buffered_bytes": "18KiB"}, "drain_timeout": "2s"});
        let configuration = with(everything(), &limits);
        let worker = host.worker(&configuration);
        let (mut streams, mut calls, mut old) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Send { size, tenant, is_json, is_whole } => {
                    let body = if is_json { json!({"a": "x".repeat(size), "tenant": tenant}).to_string() } else { "x".repeat(size) };
                    let request = Request::post("/").header("x-tenant", tenant.to_string()).body(body);
                    streams.push(if is_whole { worker.send(&request) } else { worker.begin(&request, false) });
                }
                Step::End { which, end: number } => {
                    if !streams.is_empty() {
                        end(streams.remove(which % streams.len()), number, "[1.0]", 5_000);
                    }
                }
                Step::Answer { which, end } => {
                    calls.extend(worker.call_outs());
                    if !calls.is_empty() {
                        answer(&calls.remove(which % calls.len()), end);
                    }
                }
                Step::Pass { millis } => {
                    worker.pass(&host, Duration::from_millis(millis));
                }
                Step::Replace => {
                    old.push(worker.root());
                    host.heal();
                    prop_assert!(worker.configure(configuration.to_string()));
                }
                Step::Refuse { cluster, status } => host.refuse_calls_to(CLUSTERS[cluster], Status(status as i32)),
                Step::Accept { cluster } => host.accept_calls_to(CLUSTERS[cluster]),
                Step::Fail { import, first, times } => host.fail(IMPORTS[import], first, times, Status::INTERNAL_FAILURE),
            }
        }
        host.heal();
        streams.into_iter().for_each(|stream| end(stream, 0, "[1.0]", 5_000));
        settle(&host, &worker, &mut calls);
        prop_assert_eq!(worker.tick_period(), None);
        prop_assert!(old.into_iter().all(|root| worker.is_deleted(root)));
        let counted = |target: &str, names: &[&str]| names.iter().map(|name| host.stat(target, name)).sum::<i64>();
        for target in TARGETS {
            assert_balanced(&host, target);
            let leader = match target {
                "t4" => "t2",
                "t5" => "t1",
                "t6" => "t5",
                _ => "t0",
            };
            let left_out = if leader == "t0" { 0 } else { counted(leader, &["sampled_out"]) };
            prop_assert_eq!(counted(target, &["matched"]), counted(leader, &["matched"]) - left_out);
        }
        // All of t1's requests are compared.
        let compared = ["compare.match", "compare.status_mismatch", "compare.body_mismatch", "compare.not_comparable"];
        prop_assert_eq!(counted("t1", &compared), counted("t1", &["matched"]));
        // No byte is left taken: requests that are not complete find the half that is theirs.
        let full = || counted("t2", &["dropped.buffer_full"]);
        let before = full();
        for _ in 0..3 {
            worker.begin(&Request::post("/"), false).chunk([b'x'; 1_900], false);
        }
        prop_assert_eq!(full(), before);
    }
}
