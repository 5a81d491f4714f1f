//! What workers share of a circuit breaker: what it costs, and what becomes of it when it is broken, lost, or older than its configuration.

use crate::{
    breaker::{attempt, breaking, fails, is_blocked, state, succeeds, two_workers, GIVEN_BACK, SECOND},
    configurations::{assert_balanced, target, targets},
    host::{Answer, Host, Level, Status, Worker},
};
use serde_json::{json, Value};
use sidecast::delivery::breaker::TRUSTED_FOR;
use std::time::Duration;

fn quick() -> Value {
    breaking(
        &json!({"consecutive_failures": 3, "open_for": "1s", "max_open_for": "8s", "half_open": {"probes": 1, "successes": 1}}),
    )
}

/// Opens the breaker of [`quick`].
fn open(host: &Host, worker: &Worker) {
    (0..3).for_each(|_| fails(worker));
    assert_eq!(state(host), 2);
}

fn records(host: &Host) -> Vec<(Vec<u8>, Vec<u8>)> {
    host.shared_data().into_iter().filter(|(key, _)| key.starts_with(b"sidecast.breaker")).collect()
}

#[test]
fn there_is_one_record_for_each_target_however_many_requests_and_workers() {
    let configuration = targets(&["a", "b", "c"].map(target));
    let (host, first, second) = two_workers(&configuration);
    for worker in [&first, &second, &first, &second] {
        worker.exchange(&crate::host::Request::get("/"));
        worker.answer_all(&Answer::upstream(503));
    }
    let records = records(&host);
    assert_eq!((records.len(), host.shared_data().len()), (3, 3), "{records:?}");
    assert!(records.iter().all(|(_, record)| record.len() < 1_024), "{records:?}");
}

#[test]
fn a_healthy_target_costs_one_look_at_the_record_and_hardly_a_write() {
    let (host, first, second) = two_workers(&targets(&["a", "b"].map(target)));
    host.set_log_level(Level::Info);
    let get = crate::host::Request::get("/");
    let tally = host.tally(|| {
        for index in 0..200 {
            let worker = if index % 2 == 0 { &first } else { &second };
            let sending = host.tally(|| worker.exchange(&get));
            assert!(sending.of("proxy_get_shared_data") <= 2, "{sending:?}");
            assert_eq!(sending.of("proxy_set_shared_data"), 0, "{sending:?}");
            host.advance(Duration::from_millis(5));
            worker.answer_all(&Answer::upstream(200));
        }
    });
    // Over one second, each worker tells the others ten times, and reads what it adds to.
    let seeing = tally.of("proxy_get_shared_data") + tally.of("proxy_set_shared_data");
    assert!(seeing <= 2 * 2 * 2 * 12, "{tally:?}");
}

#[test]
fn an_open_breaker_costs_no_more_than_a_look() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    is_blocked(&host, &second);
    let tally = host.tally(|| is_blocked(&host, &second));
    assert_eq!((tally.of("proxy_get_shared_data"), tally.of("proxy_set_shared_data")), (1, 0), "{tally:?}");
    assert_eq!((tally.of("proxy_http_call"), second.tick_period()), (0, None));
}

#[test]
fn a_record_that_makes_no_sense_reads_as_closed() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    let (key, record) = records(&host).remove(0);
    let mut junk: Vec<Vec<u8>> = (0..record.len()).map(|length| record[..length].to_vec()).collect();
    junk.push([&record[..], &[0]].concat());
    junk.push(vec![0xff; record.len()]);
    junk.push(vec![0xff; 100_000]);
    junk.push(b"{\"state\": \"open\"}".to_vec());
    // Another version says so in its first byte.
    junk.extend((0..=255).filter(|version| *version != record[0]).map(|version| [&[version], &record[1..]].concat()));
    for bytes in junk {
        host.set_shared_data(&key, &bytes);
        // Until then the second worker takes the record for healthy.
        host.advance(TRUSTED_FOR);
        let call = attempt(&second);
        assert!(call.is_some(), "blocked by {bytes:?}");
        call.unwrap().answer(Answer::upstream(200));
    }
    // It opens again after junk.
    host.set_shared_data(&key, b"junk");
    open(&host, &second);
    is_blocked(&host, &first);
    let (_, record) = records(&host).remove(0);
    host.set_shared_data(&key, b"junk");
    succeeds(&second);
    host.set_shared_data(&key, &record);
    host.advance(TRUSTED_FOR);
    is_blocked(&host, &second);
    assert_balanced(&host, "audit");
}

#[test]
fn no_bent_record_blocks_for_longer_than_the_breaker_ever_does() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    let (key, open) = records(&host).remove(0);
    host.advance(SECOND);
    let probe = attempt(&second).unwrap();
    let (_, half_open) = records(&host).remove(0);
    probe.answer(Answer::upstream(200));
    let (_, closed) = records(&host).remove(0);
    // When the attempt of a probe must have ended is believed if it lies within two hours: another configuration may allow that.
    let longest = 8 * SECOND + GIVEN_BACK;
    for (record, longest) in [(open, longest), (half_open, 7_200 * SECOND + GIVEN_BACK), (closed, longest)] {
        for (at, byte) in (0..record.len()).flat_map(|at| [0x00, 0x01, 0x7f, 0x80, 0xff].map(|byte| (at, byte))) {
            let mut bent = record.clone();
            bent[at] = byte;
            host.set_shared_data(&key, &bent);
            // At first it may block, as what it was made from did.
            attempt(&first).iter().for_each(|call| call.answer(Answer::upstream(200)));
            host.advance(longest);
            let call = attempt(&second);
            assert!(call.is_some(), "byte {at} of {record:?} as {byte} blocks");
            call.unwrap().answer(Answer::upstream(200));
        }
    }
    assert_balanced(&host, "audit");
}

#[test]
fn writes_that_are_never_taken_block_nothing_and_come_to_an_end() {
    let (host, first, second) = two_workers(&quick());
    host.fail("proxy_set_shared_data", 0, u64::MAX, Status::CAS_MISMATCH);
    for worker in [&first, &second].into_iter().cycle().take(20) {
        let tally = host.tally(|| fails(worker));
        assert!(tally.of("proxy_set_shared_data") <= 20, "{tally:?}");
        assert!(tally.of("proxy_get_shared_data") <= 20, "{tally:?}");
    }
    host.heal();
    // Also while it is open: who cannot take the slot of a probe does not probe, and is not stuck.
    while state(&host) != 2 {
        fails(&first);
    }
    host.advance(SECOND);
    host.fail("proxy_set_shared_data", 0, u64::MAX, Status::CAS_MISMATCH);
    let tally = host.tally(|| attempt(&first).iter().for_each(|call| call.answer(Answer::upstream(200))));
    assert!(tally.of("proxy_set_shared_data") <= 40, "{tally:?}");
    host.heal();
    host.advance(GIVEN_BACK);
    succeeds(&second);
    assert_eq!(state(&host), 0);
    assert_balanced(&host, "audit");
}

/// Another worker writes in between each read and write; only some attempts get through.
#[test]
fn a_write_that_was_refused_is_made_again_on_what_is_there_then() {
    let (host, first, second) = two_workers(&quick());
    for worker in [&first, &second, &first] {
        host.fail("proxy_set_shared_data", 0, 2, Status::CAS_MISMATCH);
        fails(worker);
    }
    host.heal();
    assert_eq!(state(&host), 2);
    is_blocked(&host, &second);
}

#[test]
fn what_could_not_be_written_is_added_later() {
    let (host, first, second) = two_workers(&quick());
    host.fail("proxy_set_shared_data", 0, u64::MAX, Status::CAS_MISMATCH);
    fails(&first);
    fails(&first);
    host.heal();
    fails(&first);
    assert_eq!(state(&host), 2);
    is_blocked(&host, &second);
}

#[test]
fn without_shared_data_everything_passes() {
    for (import, status) in ["proxy_get_shared_data", "proxy_set_shared_data"]
        .into_iter()
        .flat_map(|import| [1, 2, 3, 6, 8, 10, 11, 12, 99, -1].map(|status| (import, Status(status))))
    {
        let (host, first, second) = two_workers(&quick());
        host.fail(import, 0, u64::MAX, status);
        for _ in 0..10 {
            fails(&first);
            fails(&second);
        }
        assert_eq!(host.stat("audit", "attempts"), 20, "{import}: {status:?}");
        assert_balanced(&host, "audit");
    }
}

#[test]
fn an_open_breaker_that_cannot_be_read_lets_everything_pass() {
    for status in [2, 3, 6, 10, 11, 12, 99, -1].map(Status) {
        let (host, first, second) = two_workers(&quick());
        open(&host, &first);
        host.fail("proxy_get_shared_data", 0, u64::MAX, status);
        assert!(attempt(&first).is_some() && attempt(&second).is_some(), "{status:?}");
    }
}

#[test]
fn steps_of_the_wall_clock_change_nothing() {
    const HOURS: Duration = Duration::from_secs(5 * 3_600);
    let steps: [fn(&Host); 2] = [|host| host.set_clock_back(HOURS), |host| host.set_clock_forward(HOURS)];
    for step in steps {
        let (host, first, second) = two_workers(&quick());
        fails(&first);
        step(&host);
        fails(&second);
        step(&host);
        fails(&first);
        assert_eq!(state(&host), 2);
        step(&host);
        host.advance(SECOND - Duration::from_millis(1));
        is_blocked(&host, &first);
        step(&host);
        host.advance(Duration::from_millis(1));
        let probe = attempt(&second).expect("the probe");
        step(&host);
        is_blocked(&host, &first);
        probe.answer(Answer::upstream(200));
        assert_eq!(state(&host), 0);
    }
}

#[test]
fn an_update_of_the_configuration_keeps_the_state() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    let mut next = quick();
    next["limits"] = json!({"max_body_bytes": 1_000});
    for worker in [&first, &second] {
        assert!(worker.configure(next.to_string()));
        assert_eq!(state(&host), 2);
        is_blocked(&host, worker);
    }
    host.advance(SECOND);
    let probe = attempt(&first).unwrap();
    assert!(first.configure(quick().to_string()));
    assert_eq!(state(&host), 1);
    is_blocked(&host, &second);
    // The root that sent it is being drained.
    probe.answer(Answer::upstream(200));
    assert_eq!((state(&host), host.stat("audit", "breaker.opened")), (0, 1));
    succeeds(&first);
    succeeds(&second);
    assert_balanced(&host, "audit");
}

#[test]
fn a_worker_that_comes_later_finds_the_state_and_one_that_goes_leaves_it() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    first.shut_down();
    let third = host.worker(&quick());
    is_blocked(&host, &second);
    is_blocked(&host, &third);
    assert_eq!((state(&host), host.stat("audit", "breaker.opened")), (2, 1));
    host.advance(SECOND);
    succeeds(&third);
    succeeds(&second);
    assert_eq!(state(&host), 0);
}

/// Takes the target out of the configuration of these workers.
fn take_out(workers: &[&Worker]) {
    for worker in workers {
        assert!(worker.configure(targets(&[target("other")]).to_string()));
    }
}

fn put_back(workers: &[&Worker]) {
    for worker in workers {
        assert!(worker.configure(quick().to_string()));
    }
}

#[test]
fn a_target_that_is_taken_out_and_put_back_begins_closed() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    take_out(&[&first, &second]);
    put_back(&[&first, &second]);
    assert_eq!(state(&host), 0);
    // Failures of before do not count.
    fails(&second);
    succeeds(&first);
    succeeds(&second);
    assert_eq!((state(&host), host.stat("audit", "breaker.opened")), (0, 1));
    open(&host, &second);
    is_blocked(&host, &first);
    assert_balanced(&host, "audit");
}

#[test]
fn a_worker_that_still_drains_a_target_keeps_its_breaker_open() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    take_out(&[&first]);
    is_blocked(&host, &second);
    take_out(&[&second]);
    put_back(&[&second]);
    succeeds(&second);
    put_back(&[&first]);
    // It joins a breaker that is in use.
    open(&host, &second);
    is_blocked(&host, &first);
    assert_balanced(&host, "audit");
}

#[test]
fn a_breaker_that_was_disabled_before_its_target_was_taken_out_begins_closed() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    let mut disabled = quick();
    disabled["targets"][0]["circuit_breaker"] = json!({"mode": "disabled"});
    for worker in [&first, &second] {
        assert!(worker.configure(disabled.to_string()));
        take_out(&[worker]);
    }
    put_back(&[&first, &second]);
    succeeds(&first);
    succeeds(&second);
}

#[test]
fn the_gauge_shows_the_breaker_of_the_cluster_that_is_in_use() {
    let (host, first, second) = two_workers(&quick());
    let late = attempt(&first).unwrap();
    let mut moved = quick();
    moved["targets"][0]["cluster"] = "elsewhere".into();
    for worker in [&first, &second] {
        assert!(worker.configure(moved.to_string()));
    }
    open(&host, &first);
    // The old configuration ends with this.
    late.answer(Answer::upstream(200));
    assert_eq!(state(&host), 2);
    is_blocked(&host, &second);
}

#[test]
fn a_target_that_moves_to_another_cluster_starts_anew() {
    let (host, first, second) = two_workers(&quick());
    open(&host, &first);
    let mut moved = quick();
    moved["targets"][0]["cluster"] = "elsewhere".into();
    assert!(first.configure(moved.to_string()));
    assert_eq!(attempt(&first).unwrap().cluster(), "elsewhere");
    is_blocked(&host, &second);
}

/// Opens at 20 failures within the window.
fn windowed(window: &str) -> Value {
    breaking(&json!({"failure_rate": {"percent": 50, "min_requests": 20, "window": window}}))
}

const WINDOWS: [(&str, &str); 4] = [("10s", "30s"), ("30s", "10s"), ("30s", "7001ms"), ("1s", "1h")];

#[test]
fn two_configurations_with_different_windows_count_their_failures_together() {
    for (one, other) in WINDOWS {
        let host = Host::new();
        let (first, second) = (host.worker(&windowed(one)), host.worker(&windowed(other)));
        for failure in 0..20 {
            assert_eq!(state(&host), 0, "{one}, {other}: {failure}");
            fails(if failure % 2 == 0 { &first } else { &second });
        }
        assert_eq!(state(&host), 2, "{one}, {other}");
        is_blocked(&host, &first);
        is_blocked(&host, &second);
    }
}

#[test]
fn an_update_that_changes_the_window_forgets_nothing_while_the_old_one_drains() {
    for (before, after) in WINDOWS {
        let (host, first, second) = two_workers(&windowed(before));
        let late: Vec<_> = (0..10).map(|_| attempt(&first).unwrap()).collect();
        for worker in [&first, &second] {
            assert!(worker.configure(windowed(after).to_string()));
        }
        // Ends of the old configuration's attempts and of the new one's take turns.
        for call in late {
            assert_eq!(state(&host), 0, "{before}, {after}");
            call.answer(Answer::upstream(503));
            fails(&second);
        }
        assert_eq!(state(&host), 2, "{before}, {after}");
        is_blocked(&host, &first);
    }
}

#[test]
fn the_record_of_another_version_of_the_filter_is_left_alone() {
    let host = Host::new();
    let (older, newer) = (b"sidecast.breaker/audit/audit", b"sidecast.breaker.3/audit/audit");
    host.set_shared_data(older, b"SCB\x01");
    host.set_shared_data(newer, b"SCB\x03");
    let worker = host.worker(&quick());
    open(&host, &worker);
    let shared = host.shared_data();
    assert_eq!((&shared[&older[..]][..], &shared[&newer[..]][..]), (&b"SCB\x01"[..], &b"SCB\x03"[..]));
    assert_eq!(shared.len(), 3);
}

#[test]
fn a_worker_that_saw_no_failure_learns_of_an_opening_within_50_ms_and_sends_no_copy_after_that() {
    let (host, first, second) = two_workers(&quick());
    succeeds(&second);
    let read = host.tally(|| succeeds(&second));
    assert_eq!(read.of("proxy_get_shared_data"), 1, "with the first outcome it told the others what it kept");
    open(&host, &first);
    let trusted = host.tally(|| succeeds(&second));
    assert_eq!(trusted.of("proxy_get_shared_data"), 0);
    host.advance(TRUSTED_FOR - Duration::from_millis(1));
    succeeds(&second);
    host.advance(Duration::from_millis(1));
    is_blocked(&host, &second);
    // It knows now. Half-open is exact in both.
    host.advance(SECOND);
    let probe = attempt(&second).unwrap();
    is_blocked(&host, &first);
    probe.answer(Answer::upstream(200));
    succeeds(&first);
    assert_balanced(&host, "audit");
}
