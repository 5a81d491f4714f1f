//! What workers and configurations share: costs, races, a store that fails, windows of several widths, joining and leaving.

use super::*;

#[test]
fn a_healthy_target_costs_hardly_a_read_or_a_write() {
    let mut workers = Workers::new(1, settings());
    workers.attempt(0, false);
    (workers.shared.reads, workers.shared.writes) = (0, 0);
    for _ in 0..1_000 {
        workers.now += 1;
        workers.attempt(0, false);
    }
    assert_eq!(workers.shared.writes, 10, "every 100 ms");
    assert_eq!(workers.shared.reads, 20 + 10, "every 50 ms, and with each write");
}

#[test]
fn another_workers_opening_is_seen_after_50_ms() {
    let mut workers = Workers::new(2, settings());
    workers.attempt(1, false);
    workers.permit(1);
    workers.now += 1;
    for _ in 0..5 {
        workers.attempt(0, true);
    }
    assert!(workers.is_denied(0), "at once, where the failures were");
    workers.now += 48;
    assert!(!workers.is_denied(1));
    workers.now += 1;
    assert!(workers.is_denied(1));
}

#[test]
fn a_failure_of_its_own_makes_a_worker_look_at_once() {
    let mut workers = Workers::new(2, settings());
    workers.attempt(1, false);
    let last = workers.permit(1);
    for _ in 0..4 {
        workers.attempt(0, true);
    }
    assert!(!workers.is_denied(1), "it does not know of the failures");
    assert!(workers.end(1, last, true).is_some());
    assert!(workers.is_denied(1));
}

#[test]
fn what_a_worker_kept_counts_when_a_failure_comes() {
    let mut workers = Workers::new(1, Settings { consecutive_failures: 0, ..settings() });
    for _ in 0..21 {
        workers.attempt(0, false);
    }
    for _ in 0..20 {
        assert_eq!(workers.attempt(0, true), None);
    }
    assert!(workers.attempt(0, true).is_some());
}

#[test]
fn another_worker_adds_what_it_kept_once_it_sees_a_failure() {
    let mut workers = Workers::new(2, Settings { consecutive_failures: 0, ..settings() });
    for _ in 0..30 {
        workers.attempt(1, false);
    }
    workers.attempt(0, true);
    workers.now += 50;
    workers.attempt(1, false);
    for _ in 0..29 {
        assert_eq!(workers.attempt(0, true), None);
    }
}

#[test]
fn a_success_that_was_kept_before_the_first_failure_does_not_end_the_row() {
    let mut workers = Workers::new(2, settings());
    workers.attempt(1, false);
    workers.attempt(1, false);
    for _ in 0..4 {
        workers.attempt(0, true);
    }
    assert!(workers.attempt(1, true).is_some());
}

#[test]
fn outcomes_that_lose_their_race_count_with_the_next() {
    let mut workers = Workers::new(1, settings());
    let permits: Vec<Permit> = (0..5).map(|_| workers.permit(0)).collect();
    for permit in &permits[..4] {
        workers.shared.lose = TRIES;
        assert_eq!(workers.end(0, *permit, true), None);
    }
    assert_eq!(workers.shared.writes, 4 * TRIES, "bounded");
    assert!(workers.end(0, permits[4], true).is_some());
}

#[test]
fn a_race_that_is_always_lost_lets_no_probe_pass_and_ends() {
    let mut workers = Workers::opened(settings());
    workers.now += 5_000;
    workers.shared.lose = u32::MAX;
    assert!(workers.is_denied(0));
    workers.shared.lose = 0;
    let probe = workers.permit(0);
    workers.shared.lose = u32::MAX;
    assert_eq!(workers.end(0, probe, true), None);
    workers.shared.lose = 0;
    assert!(workers.is_denied(1), "the probe's end was not written");
    workers.now += 2_501;
    assert!(!workers.is_denied(1), "but its place comes back");
}

#[test]
fn junk_is_a_closed_breaker() {
    let mut workers = Workers::new(1, settings());
    workers.attempt(0, true);
    let whole = workers.shared.bytes.clone().unwrap();
    let with = |place: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[place] = byte;
        bytes
    };
    let (older, newer, wrong_phase) = (with(3, 1), with(3, 3), with(4, 3));
    let (no_window, two_windows, many_windows) = (with(6, 0), with(6, 2), with(6, 255));
    for junk in [
        &[][..],
        b"junk",
        &[0; 168],
        &[0xff; 168],
        &whole[1..],
        &[&whole[..], &[0]].concat(),
        &older,
        &newer,
        &wrong_phase,
        &no_window,
        &two_windows,
        &many_windows,
    ] {
        let mut workers = Workers::new(1, settings());
        workers.shared = Shared::holding(junk.to_vec());
        assert_eq!(workers.state(), State::Closed, "{junk:?}");
        for _ in 0..4 {
            assert_eq!(workers.attempt(0, true), None);
        }
        assert!(workers.attempt(0, true).is_some(), "{junk:?}");
    }
}

#[test]
fn a_store_that_does_not_work_lets_everything_pass() {
    let mut breaker = Breaker::new(Settings { consecutive_failures: 1, ..settings() });
    for _ in 0..10 {
        let (admission, state, transition) = breaker.admit(&mut Broken, ms(1));
        assert_eq!((admission, state, transition), (Admission::Pass(Permit::Unseen), State::Closed, None));
        let sample = Sample { failed: true, elapsed: ms(1) };
        assert_eq!(breaker.settle(&mut Broken, Permit::Counted(0), Some(sample), ms(1)), None);
    }
}

#[test]
fn a_clock_that_goes_back_keeps_no_breaker_open_and_no_place_taken() {
    let mut workers = Workers::opened(settings());
    workers.now -= 500_000;
    let probe = workers.permit(0);
    assert!(matches!(probe, Permit::Probe(_)));
    assert!(workers.end(0, probe, true).is_some());
    workers.now += 10_000;
    workers.permit(0);
    workers.now = 0;
    assert!(workers.is_denied(0), "within what an attempt can take it may still be under way");
    workers.now = 60_000_000;
    workers.permit(0);
    workers.now = 0;
    assert!(!workers.is_denied(0));
}

#[test]
fn a_clock_that_goes_back_forgets_the_window() {
    let mut workers = Workers::new(1, Settings { consecutive_failures: 0, ..settings() });
    for _ in 0..19 {
        workers.attempt(0, true);
    }
    workers.now -= 900_000;
    for _ in 0..19 {
        assert_eq!(workers.attempt(0, true), None);
    }
    assert!(workers.attempt(0, true).is_some());
}

/// Creates one worker for each of these window widths.
fn with_windows(windows: &[u64], settings: Settings) -> Workers {
    let mut workers = Workers::new(0, settings);
    workers.breakers = windows.iter().map(|window| Breaker::new(Settings { window: ms(*window), ..settings })).collect();
    workers
}

#[test]
fn two_windows_count_all_failures_whichever_configuration_saw_them() {
    for windows in [[30_000, 10_000], [10_000, 30_000], [30_000, 7_001], [1_000, 3_600_000]] {
        let mut workers = with_windows(&windows, Settings { consecutive_failures: 0, ..settings() });
        for failure in 0..19 {
            assert_eq!(workers.attempt(failure % 2, true), None, "{windows:?}");
        }
        assert!(workers.attempt(1, true).is_some(), "{windows:?}");
    }
}

#[test]
fn a_wider_window_keeps_what_a_narrower_one_has_forgotten() {
    let mut workers = with_windows(&[60_000, 1_000], Settings { consecutive_failures: 0, ..settings() });
    for _ in 0..9 {
        workers.now += 2_000;
        assert_eq!(workers.attempt(1, true), None);
        assert_eq!(workers.attempt(0, false), None);
    }
    workers.now += 2_000;
    assert_eq!(workers.attempt(1, true), None, "one failure in its own window");
    assert!(workers.attempt(0, true).is_some(), "11 failures of 20 in the other");
}

#[test]
fn an_update_that_changes_the_width_keeps_what_was_counted() {
    for (before, after) in [(30_000, 10_000), (10_000, 30_000), (30_000, 7_001), (7_001, 30_000)] {
        let mut workers = with_windows(&[before, after], Settings { consecutive_failures: 0, ..settings() });
        for _ in 0..19 {
            assert_eq!(workers.attempt(0, true), None);
        }
        workers.now += 500;
        assert!(workers.attempt(1, true).is_some(), "{before} {after}");
    }
}

#[test]
fn what_is_too_old_for_a_window_of_a_new_width_does_not_count_in_it() {
    let mut workers = with_windows(&[60_000, 1_000], Settings { consecutive_failures: 0, ..settings() });
    for _ in 0..19 {
        workers.attempt(0, true);
    }
    workers.now += 15_000;
    for _ in 0..19 {
        assert_eq!(workers.attempt(1, true), None);
    }
    assert!(workers.attempt(1, true).is_some());
}

#[test]
fn many_widths_take_bounded_room_and_each_still_opens() {
    let windows: Vec<u64> = (1..=9).map(|width| width * 3_333).collect();
    let mut workers = with_windows(&windows, Settings { consecutive_failures: 0, ..settings() });
    for failure in 0..19 {
        assert_eq!(workers.attempt(failure % windows.len(), true), None, "{failure}");
        assert!(workers.shared.bytes.as_ref().unwrap().len() <= std::mem::size_of::<Room>());
    }
    assert!(workers.attempt(4, true).is_some());
}

#[test]
fn a_window_that_no_configuration_uses_any_more_is_forgotten() {
    let mut workers = with_windows(&[30_000, 10_000], settings());
    let mut length = |worker: usize, millis: u64| {
        workers.now += millis;
        workers.attempt(worker, true);
        workers.attempt(worker, false);
        workers.shared.bytes.as_ref().unwrap().len()
    };
    let (one, two) = (length(0, 0), length(1, 0));
    assert!(one < two);
    assert_eq!(length(1, 20_000), two);
    assert_eq!(length(1, 15_000), one);
}

#[test]
fn who_waits_for_probes_is_told_for_how_long_at_most() {
    let mut workers = Workers::opened(settings());
    workers.now += 5_000;
    workers.permit(0);
    workers.now += 1_000;
    assert_eq!(workers.ask(1).0, Admission::Deny(Wait::Probes(ms(1_501))));
    let now = ms(workers.now);
    assert_eq!(workers.breakers[1].outlook(&mut workers.shared, now), Outlook::Denied(Wait::Probes(ms(1_501))));
    workers.now += 1_500;
    assert_eq!(workers.ask(1).0, Admission::Deny(Wait::Probes(ms(1))));
    workers.now += 1;
    workers.permit(1);
}

#[test]
fn an_outlook_takes_no_place() {
    let mut workers = Workers::opened(settings());
    let look = |workers: &mut Workers| workers.breakers[1].outlook(&mut workers.shared, ms(workers.now));
    assert_eq!(look(&mut workers), Outlook::Denied(Wait::Open(ms(5_000))));
    workers.now += 5_000;
    assert_eq!((look(&mut workers), look(&mut workers)), (Outlook::Probe, Outlook::Probe));
    assert_eq!(workers.state(), State::Open);
    workers.attempt(0, false);
    workers.attempt(0, false);
    assert_eq!(look(&mut workers), Outlook::Closed);
}

#[test]
fn a_target_that_comes_back_begins_closed_and_empty() {
    let mut workers = Workers::opened(settings());
    let late = {
        let mut half_open = Workers::opened(settings());
        half_open.now += 5_000;
        half_open.permit(0)
    };
    Breaker::leave(&mut workers.shared);
    Breaker::leave(&mut workers.shared);
    let settings = Settings { consecutive_failures: 2, ..settings() };
    workers.breakers = vec![Breaker::new(settings), Breaker::new(settings)];
    for breaker in &mut workers.breakers {
        assert_eq!(breaker.join(&mut workers.shared), State::Closed);
    }
    assert_eq!(workers.attempt(0, true), None);
    // A probe of the earlier phase decides nothing.
    assert_eq!(workers.end(1, late, true), None);
    assert!(matches!(workers.attempt(1, true), Some(Transition::Opened(..))));
}

#[test]
fn a_worker_that_lets_go_changes_nothing_for_those_that_stay() {
    let mut workers = Workers::opened(settings());
    Breaker::leave(&mut workers.shared);
    assert!(workers.is_denied(1));
    // A new worker joins a breaker in use.
    workers.breakers[0] = Breaker::new(settings());
    assert_eq!(workers.state(), State::Open);
    assert!(workers.is_denied(0));
}
