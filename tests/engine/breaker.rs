//! The circuit breaker of a target: what opens it, what passes, what closes it, over all workers.

use crate::{
    configurations::{assert_balanced, audit_with, dropped, with},
    host::{Answer, CallOut, Host, Level, Request, Status, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// How long an attempt may take, and as much again: by then the slot of a probe is free.
pub(crate) const GIVEN_BACK: Duration = Duration::from_secs(4);

/// A breaker with these fields; what is not among them does not open it.
pub(crate) fn breaking(fields: &Value) -> Value {
    breaking_with(fields, &json!({}))
}

fn breaking_with(fields: &Value, more: &Value) -> Value {
    let base = json!({"consecutive_failures": 0, "failure_rate": {"min_requests": 1_000_000}});
    audit_with(&with(json!({"circuit_breaker": with(base, fields)}), more))
}

/// A host with two workers.
pub(crate) fn two_workers(configuration: &Value) -> (Host, Worker, Worker) {
    let host = Host::new();
    let (first, second) = (host.worker(configuration), host.worker(configuration));
    (host, first, second)
}

/// One request; its call-out, if it was let out.
pub(crate) fn attempt(worker: &Worker) -> Option<CallOut> {
    worker.exchange(&Request::post("/").body("x"));
    let mut calls = worker.call_outs();
    assert!(calls.len() <= 1, "{} call-outs for one request", calls.len());
    calls.pop()
}

/// One request that is let out and ends like this.
#[track_caller]
pub(crate) fn ends(worker: &Worker, answer: Answer) {
    attempt(worker).expect("the breaker blocks").answer(answer);
}

#[track_caller]
pub(crate) fn fails(worker: &Worker) {
    ends(worker, Answer::upstream(503));
}

#[track_caller]
pub(crate) fn succeeds(worker: &Worker) {
    ends(worker, Answer::upstream(200));
}

/// A request that the breaker does not let out.
#[track_caller]
pub(crate) fn is_blocked(host: &Host, worker: &Worker) {
    let before = host.stat("audit", "dropped.circuit_open");
    assert!(attempt(worker).is_none(), "the breaker lets it out");
    assert_eq!(host.stat("audit", "dropped.circuit_open"), before + 1);
}

const CLOSED: i64 = 0;
const HALF_OPEN: i64 = 1;
const OPEN: i64 = 2;

pub(crate) fn state(host: &Host) -> i64 {
    host.stat("audit", "breaker.state")
}

fn opened(host: &Host) -> i64 {
    host.stat("audit", "breaker.opened")
}

#[test]
fn failures_in_a_row_over_two_workers_in_sum_open_it_for_both() {
    let (host, first, second) = two_workers(&breaking(&json!({"consecutive_failures": 5})));
    for worker in [&first, &second, &first, &second] {
        fails(worker);
    }
    assert_eq!((state(&host), opened(&host)), (CLOSED, 0));
    fails(&first);
    assert_eq!((state(&host), opened(&host)), (OPEN, 1));
    is_blocked(&host, &first);
    is_blocked(&host, &second);
    assert_eq!((host.stat("audit", "attempts"), state(&host), opened(&host)), (5, OPEN, 1));
    assert_balanced(&host, "audit");
}

#[test]
fn a_success_of_any_worker_ends_a_row_of_failures() {
    let (host, first, second) = two_workers(&breaking(&json!({"consecutive_failures": 3})));
    for _ in 0..4 {
        fails(&first);
        fails(&first);
        succeeds(&second);
    }
    fails(&first);
    fails(&second);
    assert_eq!(state(&host), CLOSED);
    fails(&first);
    assert_eq!(state(&host), OPEN);
}

#[test]
fn its_changes_are_told_once_each_as_warnings() {
    let configuration =
        breaking(&json!({"consecutive_failures": 2, "open_for": "3s", "half_open": {"probes": 1, "successes": 1}}));
    let (host, first, second) = two_workers(&configuration);
    fails(&first);
    fails(&second);
    is_blocked(&host, &first);
    host.advance(3 * SECOND);
    succeeds(&second);
    succeeds(&first);
    let [opened, half_opened, closed] = ["opened", "half_opened", "closed"].map(|name| host.events(&format!("breaker_{name}")));
    for events in [&opened, &half_opened, &closed] {
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((events[0].0, &events[0].1["target"]), (Level::Warn, &json!("audit")));
    }
    assert_eq!(opened[0].1["open_for_ms"], 3_000);
    assert!(opened[0].1["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{opened:?}");
}

#[test]
fn after_its_time_exactly_so_many_probes_pass_and_their_successes_close_it() {
    let configuration =
        breaking(&json!({"consecutive_failures": 1, "open_for": "5s", "half_open": {"probes": 2, "successes": 3}}));
    let (host, first, second) = two_workers(&configuration);
    fails(&first);
    host.advance(5 * SECOND - Duration::from_millis(1));
    is_blocked(&host, &second);
    host.advance(Duration::from_millis(1));
    assert_eq!(state(&host), OPEN);
    let probes = [attempt(&second).unwrap(), attempt(&first).unwrap()];
    assert_eq!(state(&host), HALF_OPEN);
    is_blocked(&host, &first);
    is_blocked(&host, &second);
    // A slot that is free again is for the next probe.
    probes[0].answer(Answer::upstream(200));
    let third = attempt(&second).unwrap();
    is_blocked(&host, &first);
    probes[1].answer(Answer::upstream(200));
    assert_eq!(state(&host), HALF_OPEN);
    third.answer(Answer::upstream(200));
    assert_eq!((state(&host), opened(&host)), (CLOSED, 1));
    succeeds(&first);
    succeeds(&second);
    assert_balanced(&host, "audit");
}

#[test]
fn a_probe_that_fails_doubles_the_time_and_closing_resets_it() {
    let configuration = breaking(
        &json!({"consecutive_failures": 1, "open_for": "1s", "max_open_for": "3s", "half_open": {"probes": 1, "successes": 1}}),
    );
    let (host, first, second) = two_workers(&configuration);
    fails(&first);
    let waits = |time: Duration, worker: &Worker| {
        host.advance(time - Duration::from_millis(1));
        is_blocked(&host, worker);
        host.advance(Duration::from_millis(1));
    };
    for (round, time) in [1, 2, 3, 3].into_iter().enumerate() {
        waits(time * SECOND, &second);
        assert_eq!(opened(&host), round as i64 + 1);
        fails(if round % 2 == 0 { &first } else { &second });
        assert_eq!(state(&host), OPEN);
    }
    host.advance(3 * SECOND);
    succeeds(&second);
    assert_eq!(state(&host), CLOSED);
    fails(&second);
    waits(SECOND, &first);
    succeeds(&first);
    let times: Vec<_> = host.events("breaker_opened").iter().map(|(_, event)| event["open_for_ms"].clone()).collect();
    assert_eq!(times, [1_000, 2_000, 3_000, 3_000, 3_000, 1_000]);
}

#[test]
fn a_share_of_failures_opens_it_at_its_percentage_and_not_below() {
    for (failures, expected) in [(49, CLOSED), (50, OPEN)] {
        let (host, first, second) = two_workers(&breaking(&json!({"failure_rate": {"percent": 50, "min_requests": 100}})));
        for index in 0..100 {
            let worker = if index % 2 == 0 { &first } else { &second };
            // The failures come last and in a row, so that no shorter series has their share.
            if index < 100 - failures {
                succeeds(worker);
                host.advance(Duration::from_millis(110));
            } else {
                assert_eq!(state(&host), CLOSED);
                fails(worker);
            }
        }
        assert_eq!(state(&host), expected, "{failures}");
    }
}

#[test]
fn the_successes_of_one_worker_count_when_the_failures_of_another_are_judged() {
    let (host, first, second) = two_workers(&breaking(&json!({"failure_rate": {"percent": 50, "min_requests": 20}})));
    for _ in 0..60 {
        succeeds(&first);
        host.advance(Duration::from_millis(110));
    }
    for _ in 0..59 {
        fails(&second);
    }
    assert_eq!(state(&host), CLOSED);
    fails(&second);
    assert_eq!(state(&host), OPEN);
}

#[test]
fn a_share_of_too_few_requests_says_nothing() {
    let (host, first, second) = two_workers(&breaking(&json!({"failure_rate": {"percent": 1, "min_requests": 20}})));
    for _ in 0..9 {
        fails(&first);
        fails(&second);
    }
    fails(&first);
    assert_eq!(state(&host), CLOSED);
    fails(&second);
    assert_eq!(state(&host), OPEN);
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let rate = json!({"percent": 50, "min_requests": 20, "window": "10s"});
    let (host, first, second) = two_workers(&breaking(&json!({ "failure_rate": rate })));
    for _ in 0..4 {
        for _ in 0..9 {
            fails(&first);
            fails(&second);
        }
        host.advance(12 * SECOND);
    }
    assert_eq!(state(&host), CLOSED);
    // Within the window they add up, however they are spread over it.
    for _ in 0..10 {
        fails(&first);
        host.advance(SECOND / 2);
        fails(&second);
    }
    assert_eq!(state(&host), OPEN);
}

#[test]
fn slow_calls_open_it_and_a_slow_probe_fails() {
    let configuration = breaking(&json!({
        "slow_call": {"longer_than": "1s", "percent": 60},
        "failure_rate": {"percent": 100, "min_requests": 10},
        "half_open": {"probes": 1, "successes": 1},
    }));
    let (host, first, second) = two_workers(&configuration);
    let answered_after = |worker: &Worker, time: Duration| {
        let call = attempt(worker).expect("the breaker blocks");
        host.advance(time);
        call.answer(Answer::upstream(200));
    };
    for _ in 0..4 {
        answered_after(&first, SECOND / 2);
    }
    for worker in [&first, &second, &first, &second, &first] {
        answered_after(worker, SECOND * 3 / 2);
        assert_eq!(state(&host), CLOSED);
    }
    answered_after(&second, SECOND * 3 / 2);
    assert_eq!(state(&host), OPEN);
    host.advance(5 * SECOND);
    answered_after(&first, SECOND * 3 / 2);
    assert_eq!((state(&host), opened(&host)), (OPEN, 2));
    host.advance(10 * SECOND);
    answered_after(&first, SECOND / 2);
    assert_eq!(state(&host), CLOSED);
    assert_eq!(host.stat("audit", "delivered"), 12);
}

#[test]
fn in_observe_mode_it_only_counts() {
    let configuration = breaking(&json!({"consecutive_failures": 3, "mode": "observe", "half_open": {"successes": 1}}));
    let (host, first, second) = two_workers(&configuration);
    for worker in [&first, &second, &first, &second, &first, &second] {
        fails(worker);
    }
    assert_eq!((state(&host), opened(&host)), (OPEN, 1));
    host.advance(5 * SECOND);
    let calls: Vec<_> = [&first, &second, &first].map(attempt).into_iter().flatten().collect();
    assert_eq!((calls.len(), host.stat("audit", "dropped.circuit_open")), (3, 0));
    calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
    assert_eq!((state(&host), host.stat("audit", "attempts")), (CLOSED, 9));
    assert_balanced(&host, "audit");
}

#[test]
fn disabled_it_does_nothing_and_costs_nothing() {
    let (host, first, _second) = two_workers(&breaking(&json!({"consecutive_failures": 1, "mode": "disabled"})));
    let tally = host.tally(|| (0..20).for_each(|_| fails(&first)));
    assert_eq!(tally.of("proxy_get_shared_data") + tally.of("proxy_set_shared_data"), 0);
    assert_eq!((state(&host), opened(&host), host.stat("audit", "attempts")), (CLOSED, 0, 20));
}

#[test]
fn what_says_that_the_target_is_ill_counts_and_nothing_else() {
    let ill = [
        Answer::upstream(500),
        Answer::upstream(503),
        Answer::upstream(429),
        Answer::reset(),
        Answer::timeout(),
        Answer::connect_error(),
    ];
    let well = [Answer::upstream(200), Answer::upstream(302), Answer::upstream(404), Answer::upstream(401)];
    let ends_in = |answer: &Answer, success: Value| {
        let (host, first, second) =
            two_workers(&breaking_with(&json!({"consecutive_failures": 2}), &json!({"success": success})));
        ends(&first, answer.clone());
        ends(&second, answer.clone());
        state(&host)
    };
    for answer in &ill {
        assert_eq!(ends_in(answer, json!(["2xx"])), OPEN, "{answer:?}");
    }
    for answer in &well {
        assert_eq!(ends_in(answer, json!(["2xx"])), CLOSED, "{answer:?}");
    }
    assert_eq!(ends_in(&Answer::upstream(503), json!(["503"])), CLOSED);
    // Envoy's own 503 is no success, whatever `success` says.
    assert_eq!(ends_in(&Answer::connect_error(), json!(["503"])), OPEN);
}

#[test]
fn a_cluster_without_hosts_counts_and_an_unknown_one_does_not() {
    for (status, expected) in [(Status::INTERNAL_FAILURE, OPEN), (Status::BAD_ARGUMENT, CLOSED)] {
        let (host, first, second) = two_workers(&breaking(&json!({"consecutive_failures": 4})));
        host.refuse_calls_to("audit", status);
        for worker in [&first, &second, &first, &second] {
            assert!(attempt(worker).is_none());
        }
        assert_eq!(state(&host), expected, "{status:?}");
        assert_eq!(host.stat("audit", "attempts"), 4);
        assert_balanced(&host, "audit");
    }
}

#[test]
fn what_waits_in_the_queue_for_its_first_attempt_is_dropped_at_once_when_it_opens() {
    let limits = json!({"limits": {"max_in_flight": 1, "max_queued": 2_000}});
    let (host, first, _second) = two_workers(&breaking_with(&json!({"consecutive_failures": 1}), &limits));
    for _ in 0..2_001 {
        first.exchange(&Request::post("/").body("x"));
    }
    assert_eq!(host.stat("audit", "queued"), 2_000);
    first.call_out().answer(Answer::upstream(503));
    assert_eq!(first.call_outs().len(), 0);
    let expected = [("circuit_open".to_owned(), 2_000), ("retries_exhausted".to_owned(), 1)];
    assert_eq!(dropped(&host, "audit"), expected);
    assert_balanced(&host, "audit");
}

fn retrying(expire_after: &str) -> Value {
    let retry = json!({
        "max_attempts": 3,
        "backoff": {"base": "1ms", "max": "1ms"},
        "budget": {"percent": 1, "min_per_second": 1},
        "expire_after": expire_after,
    });
    let breaker = json!({"consecutive_failures": 1, "open_for": "5s", "half_open": {"probes": 1, "successes": 1}});
    breaking_with(&breaker, &json!({ "retry": retry }))
}

#[test]
fn a_retry_waits_until_it_may_probe_and_is_not_counted_meanwhile() {
    let (host, first, second) = two_workers(&retrying("60s"));
    fails(&first);
    first.pass(&host, 4 * SECOND);
    assert_eq!(first.call_outs().len(), 0);
    let stats = ["queued", "attempts", "retries", "dropped.circuit_open"].map(|name| host.stat("audit", name));
    assert_eq!((stats, state(&host)), ([1, 1, 0, 0], OPEN));
    is_blocked(&host, &second);
    first.pass(&host, 2 * SECOND);
    let probe = first.call_out();
    assert_eq!((probe.header("x-sidecast-attempt"), state(&host)), (Some("2"), HALF_OPEN));
    assert_eq!(host.stat("audit", "queued"), 0);
    is_blocked(&host, &second);
    probe.answer(Answer::upstream(200));
    assert_eq!((state(&host), host.stat("audit", "delivered"), host.stat("audit", "retries")), (CLOSED, 1, 1));
    assert_eq!(first.tick_period(), None);
    assert_balanced(&host, "audit");
}

#[test]
fn retries_that_wait_for_the_same_probe_go_out_once_it_closes() {
    let (host, first, second) = two_workers(&with_budget(retrying("60s")));
    let calls = [attempt(&first), attempt(&first), attempt(&second)].map(Option::unwrap);
    calls.iter().for_each(|call| call.answer(Answer::upstream(503)));
    first.pass(&host, 6 * SECOND);
    // The probe of the first worker is under way: the others wait.
    let probe = first.call_out();
    assert_eq!(first.call_outs().len(), 0);
    second.pass(&host, SECOND);
    assert_eq!(second.call_outs().len(), 0);
    probe.answer(Answer::upstream(200));
    assert_eq!(state(&host), CLOSED);
    for worker in [&first, &second] {
        worker.pass(&host, 10 * SECOND);
        worker.call_out().answer(Answer::upstream(200));
    }
    assert_eq!((host.stat("audit", "delivered"), host.stat("audit", "retries")), (3, 3));
    assert_balanced(&host, "audit");
}

fn with_budget(mut configuration: Value) -> Value {
    configuration["targets"][0]["retry"]["budget"] = json!({"percent": 100, "min_per_second": 1_000});
    configuration
}

#[test]
fn a_retry_that_would_be_too_old_by_then_is_given_up_as_circuit_open() {
    let (host, first, _second) = two_workers(&retrying("3s"));
    fails(&first);
    first.pass(&host, 6 * SECOND);
    assert_eq!(first.call_outs().len(), 0);
    assert_eq!(dropped(&host, "audit"), [("circuit_open".to_owned(), 1)]);
    assert_eq!((host.stat("audit", "attempts"), first.tick_period()), (1, None));
    assert_balanced(&host, "audit");
}

#[test]
fn attempts_of_an_earlier_state_say_nothing_about_a_later_one() {
    let configuration =
        breaking(&json!({"consecutive_failures": 2, "open_for": "1s", "half_open": {"probes": 1, "successes": 1}}));
    let (host, first, second) = two_workers(&configuration);
    let late: Vec<_> = (0..8).map(|index| attempt(if index % 2 == 0 { &first } else { &second }).unwrap()).collect();
    fails(&first);
    fails(&second);
    assert_eq!(state(&host), OPEN);
    late[0].answer(Answer::upstream(200));
    late[1].answer(Answer::upstream(503));
    assert_eq!((state(&host), opened(&host)), (OPEN, 1));
    host.advance(SECOND);
    let probe = attempt(&second).unwrap();
    late[2].answer(Answer::upstream(200));
    late[3].answer(Answer::upstream(503));
    assert_eq!((state(&host), opened(&host)), (HALF_OPEN, 1));
    is_blocked(&host, &first);
    probe.answer(Answer::upstream(200));
    assert_eq!(state(&host), CLOSED);
    late[4..].iter().for_each(|call| call.answer(Answer::upstream(503)));
    assert_eq!((state(&host), opened(&host)), (CLOSED, 1));
    assert_balanced(&host, "audit");
}

#[test]
fn a_worker_that_missed_all_of_it_tells_nothing_about_what_it_missed() {
    let configuration =
        breaking(&json!({"consecutive_failures": 2, "open_for": "1s", "half_open": {"probes": 1, "successes": 1}}));
    let (host, first, second) = two_workers(&configuration);
    let late = [attempt(&first), attempt(&first), attempt(&first)].map(Option::unwrap);
    fails(&second);
    fails(&second);
    host.advance(SECOND);
    succeeds(&second);
    assert_eq!((state(&host), opened(&host)), (CLOSED, 1));
    late.iter().for_each(|call| call.answer(Answer::upstream(503)));
    assert_eq!((state(&host), opened(&host)), (CLOSED, 1));
    fails(&first);
    fails(&first);
    assert_eq!((state(&host), opened(&host)), (OPEN, 2));
}

#[test]
fn the_slot_of_a_probe_that_never_ends_is_given_back() {
    let configuration =
        breaking(&json!({"consecutive_failures": 1, "open_for": "1s", "half_open": {"probes": 2, "successes": 1}}));
    let (host, first, second) = two_workers(&configuration);
    fails(&first);
    host.advance(SECOND);
    // The responses to these never come: as if the worker were gone.
    let lost = [attempt(&first).unwrap(), attempt(&first).unwrap()];
    host.advance(2 * SECOND - Duration::from_millis(1));
    is_blocked(&host, &second);
    host.advance(GIVEN_BACK);
    let probe = attempt(&second).unwrap();
    assert_eq!(state(&host), HALF_OPEN);
    // One of them was only late. It says nothing any more.
    lost[0].answer(Answer::upstream(503));
    assert_eq!((state(&host), opened(&host)), (HALF_OPEN, 1));
    probe.answer(Answer::upstream(200));
    assert_eq!(state(&host), CLOSED);
}

#[test]
fn a_probe_that_says_nothing_about_the_target_makes_place_for_the_next_at_once() {
    for (status, waits) in [(Status::BAD_ARGUMENT, 0), (Status(99), 0), (Status::INTERNAL_FAILURE, 2)] {
        let configuration =
            breaking(&json!({"consecutive_failures": 1, "open_for": "1s", "half_open": {"probes": 1, "successes": 1}}));
        let (host, first, second) = two_workers(&configuration);
        fails(&first);
        host.advance(SECOND);
        host.refuse_calls_to("audit", status);
        assert!(attempt(&first).is_none());
        host.accept_calls_to("audit");
        // That no host is there does say something: the time doubles.
        assert_eq!(state(&host), if waits > 0 { OPEN } else { HALF_OPEN }, "{status:?}");
        host.advance(waits * SECOND);
        succeeds(&second);
        assert_eq!(state(&host), CLOSED, "{status:?}");
        assert_balanced(&host, "audit");
    }
}

#[test]
fn targets_break_one_by_one() {
    let mut configuration = breaking(&json!({"consecutive_failures": 1}));
    let mut other = configuration["targets"][0].clone();
    other["name"] = "other".into();
    configuration["targets"].as_array_mut().unwrap().push(other);
    let (host, first, second) = two_workers(&configuration);
    first.exchange(&Request::get("/"));
    let calls = first.call_outs();
    calls[0].answer(Answer::upstream(503));
    calls[1].answer(Answer::upstream(200));
    assert_eq!((state(&host), host.stat("other", "breaker.state")), (OPEN, CLOSED));
    second.exchange(&Request::get("/"));
    let call = second.call_out();
    assert_eq!((call.header("x-sidecast-target"), second.call_outs().len()), (Some("other"), 0));
}
