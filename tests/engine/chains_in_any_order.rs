//! In whatever order calls end, a follower runs once, after its cause, or is not due.

use crate::{
    chains::{follower, given_up},
    configurations::{assert_balanced, mirroring_with, target, targets, unexpected, with},
    host::{Answer, CallOut, Request, Response, Status},
};
use proptest::prelude::*;
use serde_json::{json, Value};
use std::collections::BTreeMap;
use std::time::Duration;

const TREE: [(&str, Option<&str>); 8] = [
    ("payment", None),
    ("inventory", Some("payment")),
    ("cancellation", Some("payment")),
    ("refund", Some("inventory")),
    ("conflict", Some("inventory")),
    ("mail", Some("refund")),
    ("waits", None),
    ("after_waits", Some("waits")),
];

fn large_tree() -> Value {
    let retry = json!({"retry": {"max_attempts": 2, "backoff": {"base": "100ms", "max": "1s"}, "budget": {"percent": 100, "min_per_second": 100}}});
    let letter = json!({"dead_letter": {"cluster": "letters", "timeout": "1s"}});
    let tight = json!({"limits": {"max_in_flight": 2, "max_queued": 2}});
    let breaker = json!({"circuit_breaker": {"consecutive_failures": 2, "open_for": "1s"}});
    let read = json!({"request": {"headers": {"set": {"x-answer": "${target:payment:status}"}}}});
    with(
        targets(&[
            follower("mail", "refund", &read),
            follower("refund", "inventory", &with(with(given_up(), &retry), &letter)),
            follower("conflict", "inventory", &json!({"after": {"statuses": ["404", "reset"]}})),
            follower("inventory", "payment", &with(with(breaker, &retry), &letter)),
            with(with(target("payment"), &retry), &tight),
            follower("cancellation", "payment", &with(given_up(), &tight)),
            with(target("waits"), &json!({"after": "response", "statuses": ["2xx", "reset"]})),
            follower("after_waits", "waits", &json!({})),
        ]),
        &json!({"drain_timeout": "3s"}),
    )
}

#[derive(Clone, Debug)]
enum Step {
    Send { status: Option<u16> },
    Answer { which: usize, status: Option<u16> },
    Pass { millis: u64 },
    Refuse(Option<usize>),
}

fn step() -> impl Strategy<Value = Step> {
    let status = || prop_oneof![3 => Just(Some(200)), 1 => Just(Some(503)), 1 => Just(Some(404)), 1 => Just(None)];
    prop_oneof![
        3 => status().prop_map(|status| Step::Send { status }),
        8 => (any::<usize>(), status()).prop_map(|(which, status)| Step::Answer { which, status }),
        2 => (0_u64..3_000).prop_map(|millis| Step::Pass { millis }),
        1 => prop::option::of(0_usize..TREE.len()).prop_map(Step::Refuse),
    ]
}

/// What is known of the copies of each request, by target and request.
#[derive(Default)]
struct Seen {
    /// The calls that have not ended, and those of which the end is known.
    calls: BTreeMap<(String, String), Vec<Option<Option<u16>>>>,
    ids: BTreeMap<(String, String), String>,
    /// True once calls were refused.
    refused: bool,
}

impl Seen {
    /// A call is made: it is the first of its copy and has a cause, or it repeats a failed one.
    fn begin(&mut self, call: &CallOut) {
        let (name, request) = (call.cluster().to_owned(), call.header("x-request-id").unwrap().to_owned());
        let leader = TREE.iter().find(|(target, _)| *target == name).unwrap().1;
        let key = (name.clone(), request.clone());
        let id = call.header("x-sidecast-loop").unwrap().to_owned();
        assert_eq!(self.ids.entry(key.clone()).or_insert_with(|| id.clone()), &id, "{key:?} runs twice");
        let before = self.calls.entry(key.clone()).or_default();
        assert!(before.iter().all(|end| end.is_some_and(|status| status != Some(200))), "{key:?} after {before:?}");
        before.push(None);
        if let Some(leader) = leader {
            let ends = self.calls.get(&(leader.to_owned(), request)).cloned().unwrap_or_default();
            assert!(ends.iter().all(Option::is_some), "{key:?} before the end of {leader}");
            let last = ends.last().copied().flatten();
            match name.as_str() {
                "inventory" | "mail" | "after_waits" => assert_eq!(last, Some(Some(200)), "{key:?}"),
                // Of a call that Envoy refused there is nothing to see here. It is an end without a status.
                "conflict" => {
                    assert!(matches!(last, Some(None | Some(404))) || ends.is_empty() || self.refused, "{key:?} after {last:?}");
                }
                _ => assert_ne!(last, Some(Some(200)), "{key:?}"),
            }
        }
    }

    fn end(&mut self, call: &CallOut, status: Option<u16>) {
        if let Some(calls) =
            self.calls.get_mut(&(call.cluster().to_owned(), call.header("x-request-id").unwrap_or_default().to_owned()))
        {
            *calls.iter_mut().rev().find(|end| end.is_none()).unwrap() = Some(status);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// In no order of answers, drops, ticks and drains does a follower run twice, or before its cause, or not at all.
    #[test]
    fn a_follower_runs_once_and_after_its_cause(steps in prop::collection::vec(step(), 1..80)) {
        let (host, worker) = mirroring_with(&large_tree());
        let (mut seen, mut calls, mut sent) = (Seen::default(), Vec::<CallOut>::new(), 0);
        let look = |seen: &mut Seen, calls: &mut Vec<CallOut>| {
            for call in worker.call_outs() {
                if call.cluster() != "letters" {
                    seen.begin(&call);
                }
                calls.push(call);
            }
        };
        for step in steps {
            match step {
                Step::Send { status } => {
                    sent += 1;
                    let response = status.map_or_else(Response::reset_before_headers, Response::status);
                    worker.exchange(&Request::get("/").header("x-request-id", format!("r-{sent}")).answer(response));
                }
                Step::Answer { which, status } if !calls.is_empty() => {
                    let call = calls.remove(which % calls.len());
                    seen.end(&call, status);
                    call.answer(status.map_or_else(Answer::reset, Answer::upstream));
                }
                Step::Answer { .. } => {}
                Step::Pass { millis } => {
                    worker.pass(&host, Duration::from_millis(millis));
                }
                Step::Refuse(which) => {
                    TREE.iter().for_each(|(name, _)| host.accept_calls_to(name));
                    if let Some(which) = which {
                        seen.refused = true;
                        host.refuse_calls_to(TREE[which].0, Status::INTERNAL_FAILURE);
                    }
                }
            }
            look(&mut seen, &mut calls);
        }
        let root = worker.root();
        worker.shut_down();
        look(&mut seen, &mut calls);
        // Half of what is under way ends in time.
        for call in calls.drain(..).step_by(2) {
            seen.end(&call, Some(200));
            call.answer(Answer::upstream(200));
        }
        look(&mut seen, &mut calls);
        if !worker.is_deleted(root) {
            worker.pass(&host, Duration::from_secs(60));
        }
        prop_assert!(worker.is_deleted(root));
        let of = |name: &str, metric: &str| host.stat(name, metric);
        for (name, leader) in TREE {
            assert_balanced(&host, name);
            prop_assert_eq!(of(name, "matched"), sent, "{}", name);
            let begun = of(name, "matched") - of(name, "not_triggered");
            let lost = |leader: &str| of(leader, "matched") - of(leader, "not_triggered") - of(leader, "delivered");
            match (name, leader) {
                ("inventory" | "mail" | "after_waits", Some(leader)) => prop_assert_eq!(begun, of(leader, "delivered"), "{}", name),
                ("refund" | "cancellation", Some(leader)) => prop_assert_eq!(begun, lost(leader), "{}", name),
                ("conflict", Some(leader)) => prop_assert!(begun <= lost(leader), "{}", name),
                _ => {}
            }
        }
        prop_assert_eq!(unexpected(&host), 0);
    }
}
