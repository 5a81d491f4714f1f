//! Retries that wait for a circuit breaker: what they cost meanwhile, and what wakes them.

use crate::{
    breaker::{attempt, breaking, state, two_workers, SECOND},
    configurations::{assert_balanced, dropped, with},
    host::{Answer, CallOut, Host, Status, Tally, Worker},
};
use serde_json::{json, Value};
use std::time::Duration;

const RETRIES: usize = 800;
const MILLISECOND: Duration = Duration::from_millis(1);

/// A breaker that opens at the first failure for a second, and retries that come at once.
fn retrying(fields: &Value) -> Value {
    let breaker = json!({"consecutive_failures": 1, "open_for": "1s", "half_open": {"probes": 1, "successes": 1}});
    let mut configuration = breaking(&breaker);
    let retry = json!({
        "max_attempts": 5,
        "backoff": {"base": "10ms", "max": "10ms"},
        "budget": {"percent": 100, "min_per_second": 100_000},
        "expire_after": "10m",
    });
    let target = &mut configuration["targets"][0];
    *target = with(
        target.clone(),
        &with(json!({"retry": retry, "timeout": "30s", "limits": {"max_in_flight": 1_000, "max_queued": 1_000}}), fields),
    );
    configuration
}

/// So many retries wait in that worker for a breaker that is open.
fn wait_in(worker: &Worker, retries: usize) {
    let calls: Vec<CallOut> = (0..retries).map(|_| attempt(worker).expect("closed")).collect();
    calls.iter().for_each(|call| call.answer(Answer::upstream(503)));
}

/// What is asked of the host in that time.
fn while_it_waits(host: &Host, worker: &Worker, time: Duration) -> Tally {
    host.tally(|| {
        worker.pass(host, time);
    })
}

/// All calls of that worker that are under way are answered as they should be. Gives their number.
fn all_succeed(worker: &Worker) -> usize {
    let calls = worker.call_outs();
    calls.iter().for_each(|call| call.answer(Answer::upstream(200)));
    calls.len()
}

fn queued(host: &Host) -> i64 {
    host.stat("audit", "queued")
}

#[test]
fn behind_a_probe_that_hangs_800_retries_cost_a_few_looks_a_second() {
    let (host, first, _second) = two_workers(&retrying(&json!({})));
    wait_in(&first, RETRIES);
    first.pass(&host, SECOND + 20 * MILLISECOND);
    let _probe = first.call_out();
    assert_eq!((state(&host), queued(&host)), (1, RETRIES as i64 - 1));
    let tally = while_it_waits(&host, &first, SECOND);
    assert_eq!(first.call_outs().len(), 0);
    assert!((1..=5).contains(&tally.of("proxy_get_shared_data")), "{tally:?}");
    assert!(tally.host_calls() <= 20, "{tally:?}");
}

#[test]
fn behind_the_probe_of_another_worker_they_cost_as_little() {
    let (host, first, second) = two_workers(&retrying(&json!({})));
    let probe = {
        wait_in(&first, RETRIES);
        host.advance(SECOND);
        attempt(&second).expect("the probe")
    };
    first.pass(&host, 20 * MILLISECOND);
    let tally = while_it_waits(&host, &first, SECOND);
    assert_eq!((first.call_outs().len(), queued(&host)), (0, RETRIES as i64));
    assert!(tally.of("proxy_get_shared_data") <= 5 && tally.host_calls() <= 20, "{tally:?}");
    // No request comes to the first worker, which finds out by itself.
    probe.answer(Answer::upstream(200));
    first.pass(&host, SECOND / 2);
    assert_eq!((all_succeed(&first), queued(&host)), (RETRIES, 0));
    assert_eq!(first.tick_period(), None);
    assert_balanced(&host, "audit");
}

#[test]
fn the_probe_of_their_own_worker_wakes_them_at_once() {
    let (host, first, _second) = two_workers(&retrying(&json!({})));
    wait_in(&first, 20);
    first.pass(&host, SECOND + 5 * MILLISECOND);
    first.call_out().answer(Answer::upstream(200));
    assert_eq!(state(&host), 0);
    // A millisecond for the tick, and the back-off.
    first.pass(&host, 15 * MILLISECOND);
    assert_eq!((all_succeed(&first), queued(&host)), (19, 0));
    assert_balanced(&host, "audit");
}

#[test]
fn a_first_attempt_that_passes_wakes_them_too() {
    let (host, first, second) = two_workers(&retrying(&json!({})));
    wait_in(&first, 20);
    host.advance(SECOND - MILLISECOND);
    first.pass(&host, Duration::ZERO);
    host.advance(MILLISECOND);
    attempt(&second).expect("the probe").answer(Answer::upstream(200));
    attempt(&first).expect("closed").answer(Answer::upstream(200));
    first.pass(&host, 15 * MILLISECOND);
    assert_eq!((first.call_outs().len(), queued(&host)), (20, 0));
}

#[test]
fn as_many_of_them_probe_as_may() {
    let half_open = json!({"probes": 3, "successes": 5});
    let breaker = json!({"consecutive_failures": 1, "open_for": "1s", "half_open": half_open});
    let (host, first, _second) = two_workers(&retrying(&json!({ "circuit_breaker": breaker })));
    wait_in(&first, 20);
    first.pass(&host, SECOND + 5 * MILLISECOND);
    let probes = first.call_outs();
    assert_eq!(probes.len(), 3);
    // Each that succeeds makes place for the next.
    for (ended, probe) in probes.iter().enumerate().take(2) {
        probe.answer(Answer::upstream(200));
        first.pass(&host, 2 * MILLISECOND);
        assert_eq!((first.call_outs().len(), queued(&host)), (1, 16 - ended as i64));
    }
    assert_eq!(state(&host), 1);
}

#[test]
fn a_probe_that_fails_lets_them_wait_for_the_open_time_again() {
    let (host, first, _second) = two_workers(&retrying(&json!({})));
    wait_in(&first, 20);
    first.pass(&host, SECOND + 5 * MILLISECOND);
    first.call_out().answer(Answer::upstream(503));
    assert_eq!((state(&host), queued(&host)), (2, 20));
    let tally = while_it_waits(&host, &first, 2 * SECOND - 10 * MILLISECOND);
    assert!(tally.of("proxy_get_shared_data") <= 2, "{tally:?}");
    assert_eq!(first.call_outs().len(), 0);
    first.pass(&host, 20 * MILLISECOND);
    assert_eq!(first.call_outs().len(), 1);
}

#[test]
fn behind_a_probe_that_hangs_they_wait_until_they_are_too_old() {
    let retry = json!({
        "max_attempts": 5,
        "backoff": {"base": "10ms", "max": "10ms"},
        "budget": {"percent": 100, "min_per_second": 100_000},
        "expire_after": "3s",
    });
    let (host, first, second) = two_workers(&retrying(&json!({ "retry": retry })));
    wait_in(&first, 20);
    host.advance(SECOND);
    let probe = attempt(&second).expect("the probe");
    first.pass(&host, 1_990 * MILLISECOND);
    assert_eq!(queued(&host), 20);
    first.pass(&host, 260 * MILLISECOND);
    assert_eq!((queued(&host), first.tick_period()), (0, None));
    assert_eq!(dropped(&host, "audit"), [("circuit_open".to_owned(), 20)]);
    probe.answer(Answer::upstream(200));
    assert_balanced(&host, "audit");
}

#[test]
fn a_probe_that_is_lost_is_replaced_when_its_time_is_over() {
    let (host, first, second) = two_workers(&retrying(&json!({})));
    wait_in(&first, 20);
    host.advance(SECOND);
    let _lost = attempt(&second).expect("the probe");
    first.pass(&host, 30 * SECOND + SECOND / 2);
    assert_eq!(first.call_outs().len(), 0);
    first.pass(&host, SECOND / 2);
    first.call_out().answer(Answer::upstream(200));
    assert_eq!(state(&host), 0);
}

#[test]
fn who_loses_every_race_for_a_probe_waits_for_the_next_look() {
    let (host, first, _second) = two_workers(&retrying(&json!({})));
    wait_in(&first, 20);
    host.fail("proxy_set_shared_data", 0, u64::MAX, Status::CAS_MISMATCH);
    let tally = while_it_waits(&host, &first, 2 * SECOND);
    assert!(tally.of("proxy_set_shared_data") <= 8 * 12, "{tally:?}");
    assert_eq!(queued(&host), 20);
    host.heal();
    first.pass(&host, SECOND / 2);
    first.call_out().answer(Answer::upstream(200));
    first.pass(&host, SECOND / 2);
    first.answer_all(&Answer::upstream(200));
    assert_eq!((host.stat("audit", "delivered"), queued(&host)), (20, 0));
    assert_balanced(&host, "audit");
}

#[test]
fn the_end_of_a_drain_gives_them_up() {
    let (host, first, _second) = two_workers(&retrying(&json!({})));
    wait_in(&first, 20);
    let mut next = retrying(&json!({}));
    next["targets"][0]["name"] = "other".into();
    assert!(first.configure(next.to_string()));
    first.pass(&host, SECOND + 20 * MILLISECOND);
    let _hangs = first.call_out();
    first.pass(&host, 30 * SECOND);
    assert_eq!(dropped(&host, "audit"), [("shutdown".to_owned(), 20)]);
    assert_eq!(queued(&host), 0);
    assert_balanced(&host, "audit");
}
