//! The accounting identity, whatever happens in whichever order.

use crate::{
    configurations::{assert_balanced, audit_with, with},
    host::{Answer, CallOut, Host, Request, Status, Worker},
};
use proptest::prelude::*;
use serde_json::{json, Value};
use std::{collections::BTreeMap, time::Duration};

#[derive(Clone, Debug)]
enum Step {
    Exchange { worker: usize, size: usize },
    CutOff { worker: usize },
    Answer { which: usize, end: usize },
    Pass { worker: usize, millis: u64 },
    Replace { worker: usize, places: usize },
    Refuse { cluster: usize, status: u32 },
    Accept { cluster: usize },
    LoseRaces { times: u64 },
}

const CLUSTERS: [&str; 2] = ["audit", "dlq"];

fn step() -> impl Strategy<Value = Step> {
    let worker = 0_usize..2;
    prop_oneof![
        8 => (worker.clone(), prop_oneof![Just(0_usize), 1_usize..600]).prop_map(|(worker, size)| Step::Exchange { worker, size }),
        1 => worker.clone().prop_map(|worker| Step::CutOff { worker }),
        8 => (any::<usize>(), 0_usize..8).prop_map(|(which, end)| Step::Answer { which, end }),
        3 => (worker.clone(), 0_u64..3_000).prop_map(|(worker, millis)| Step::Pass { worker, millis }),
        1 => (worker, 1_usize..4).prop_map(|(worker, places)| Step::Replace { worker, places }),
        1 => (0_usize..2, prop_oneof![Just(2_u32), Just(10), Just(99)])
            .prop_map(|(cluster, status)| Step::Refuse { cluster, status }),
        1 => (0_usize..2).prop_map(|cluster| Step::Accept { cluster }),
        1 => (1_u64..12).prop_map(|times| Step::LoseRaces { times }),
    ]
}

fn configuration(places: usize) -> Value {
    let target = json!({
        "timeout": "1s",
        "limits": {"max_in_flight": places, "max_queued": 2, "rate": {"per_second": 5, "burst": 20}},
        "retry": {"max_attempts": 3, "backoff": {"base": "100ms", "max": "1s"}, "expire_after": "5s"},
        "circuit_breaker": {"consecutive_failures": 3, "open_for": "500ms", "max_open_for": "2s"},
        "dead_letter": {"cluster": "dlq", "timeout": "1s"},
    });
    let limits = json!({"drain_timeout": "2s", "limits": {"max_body_bytes": 512, "max_buffered_bytes": "4KiB"}});
    with(audit_with(&target), &limits)
}

fn end(number: usize) -> Answer {
    match number {
        0..=2 => Answer::upstream(200),
        3 => Answer::upstream(503).header("retry-after", "1"),
        4 => Answer::upstream(404),
        5 => Answer::timeout(),
        6 => Answer::reset(),
        _ => Answer::connect_error(),
    }
}

/// What the target and the receiver of letters took, by delivery: "delivered", or the reason of a letter.
#[derive(Default)]
struct Taken(BTreeMap<String, Vec<String>>);

impl Taken {
    fn answer(&mut self, call: &CallOut, number: usize) {
        if call.is_cancelled() {
            return;
        }
        if number < 3 {
            let id = call.header("x-sidecast-loop").unwrap().to_owned();
            let end = match call.cluster() {
                "audit" => "delivered".to_owned(),
                _ => serde_json::from_slice::<Value>(call.body()).unwrap()["reason"].as_str().unwrap().to_owned(),
            };
            self.0.entry(id).or_default().push(end);
        }
        call.answer(end(number));
    }

    fn count(&self, counts: impl Fn(&str) -> bool) -> i64 {
        self.0.values().flatten().filter(|end| counts(end)).count() as i64
    }
}

/// Answers and lets time pass until nothing is under way.
fn settle(host: &Host, workers: &[Worker], open: &mut Vec<CallOut>, taken: &mut Taken) {
    for _ in 0..40 {
        for worker in workers {
            open.extend(worker.call_outs());
            open.drain(..).for_each(|call| taken.answer(&call, 0));
            worker.pass(host, Duration::from_millis(500));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_matched_request_has_exactly_one_end(steps in prop::collection::vec(step(), 1..120)) {
        let host = Host::new();
        let workers = [host.worker(&configuration(2)), host.worker(&configuration(2))];
        let (mut open, mut taken, mut sent) = (Vec::new(), Taken::default(), 0);
        for step in steps {
            match step {
                Step::Exchange { worker, size } => {
                    workers[worker].exchange(&Request::post("/").body(vec![b'x'; size]));
                    sent += 1;
                }
                Step::CutOff { worker } => {
                    workers[worker].begin(&Request::post("/"), false).close();
                    sent += 1;
                }
                Step::Answer { which, end } => {
                    workers.iter().for_each(|worker| open.extend(worker.call_outs()));
                    if !open.is_empty() {
                        let call: CallOut = open.remove(which % open.len());
                        taken.answer(&call, end);
                    }
                }
                Step::Pass { worker, millis } => {
                    workers[worker].pass(&host, Duration::from_millis(millis));
                }
                Step::Replace { worker, places } => {
                    assert!(workers[worker].configure(configuration(places).to_string()));
                }
                Step::Refuse { cluster, status } => host.refuse_calls_to(CLUSTERS[cluster], Status(status as i32)),
                Step::Accept { cluster } => host.accept_calls_to(CLUSTERS[cluster]),
                Step::LoseRaces { times } => {
                    host.heal();
                    // What a write answers when somebody else was faster.
                    host.fail("proxy_set_shared_data", 0, times, Status(8));
                }
            }
        }
        settle(&host, &workers, &mut open, &mut taken);
        prop_assert_eq!(host.stat("audit", "matched"), sent);
        assert_balanced(&host, "audit");
        // What a drain gives up while it is under way may have been taken all the same; nothing else is.
        let cut_off = host.stat("audit", "dropped.shutdown") + taken.count(|end| end == "shutdown");
        let delivered = taken.count(|end| end == "delivered") - host.stat("audit", "delivered");
        let lettered = taken.count(|end| end != "delivered") - host.stat("audit", "dead_lettered");
        prop_assert!((0..=cut_off).contains(&delivered), "{delivered} of {cut_off}");
        prop_assert_eq!(lettered, 0);
        for ends in taken.0.values() {
            prop_assert!(ends.len() == 1 || ends[1..] == ["shutdown"] || ends[..] == ["shutdown", "delivered"], "{ends:?}");
        }
    }
}
