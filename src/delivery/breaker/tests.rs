//! Cases that a reader can follow step by step. `model` shows that the breaker agrees with a slow, simple model.

use super::*;

mod sharing;

/// Shared data in a test. Writes can be made to lose their race.
#[derive(Default)]
pub(super) struct Shared {
    bytes: Option<Vec<u8>>,
    version: u32,
    /// This many of the next writes fail, as if another worker was faster.
    pub(super) lose: u32,
    pub(super) reads: u32,
    pub(super) writes: u32,
}

impl Shared {
    pub(super) fn holding(bytes: Vec<u8>) -> Self {
        Self { bytes: Some(bytes), ..Self::default() }
    }
}

impl Store for Shared {
    fn read(&mut self) -> Option<(Record, u32)> {
        self.reads += 1;
        Some((self.bytes.as_deref().and_then(Record::decode).unwrap_or_default(), self.version))
    }

    fn write(&mut self, record: &Record, version: u32) -> bool {
        self.writes += 1;
        if self.lose > 0 {
            self.lose -= 1;
            return false;
        }
        assert_eq!(version, self.version);
        self.version += 1;
        self.bytes = Some(record.encode(&mut Record::room()).to_vec());
        true
    }
}

struct Broken;

impl Store for Broken {
    fn read(&mut self) -> Option<(Record, u32)> {
        None
    }

    fn write(&mut self, _: &Record, _: u32) -> bool {
        false
    }
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn settings() -> Settings {
    Settings {
        consecutive_failures: 5,
        failure_percent: 50.0,
        window: ms(30_000),
        min_requests: 20,
        slow_call: None,
        open_for: ms(5_000),
        max_open_for: ms(60_000),
        probes: 1,
        successes: 2,
        observe: false,
        timeout: ms(2_000),
    }
}

/// The workers of an Envoy, each with its side of one target's breaker.
struct Workers {
    shared: Shared,
    breakers: Vec<Breaker>,
    now: u64,
}

impl Workers {
    fn new(count: usize, settings: Settings) -> Self {
        Self { shared: Shared::default(), breakers: vec![Breaker::new(settings); count], now: 1_000_000 }
    }

    fn ask(&mut self, worker: usize) -> (Admission, Option<Transition>) {
        let (admission, _, transition) = self.breakers[worker].admit(&mut self.shared, ms(self.now));
        (admission, transition)
    }

    /// A permit. Panics if the breaker denies the attempt.
    fn permit(&mut self, worker: usize) -> Permit {
        match self.ask(worker).0 {
            Admission::Pass(permit) => permit,
            Admission::Deny(wait) => panic!("denied: {wait:?}"),
        }
    }

    fn is_denied(&mut self, worker: usize) -> bool {
        matches!(self.ask(worker).0, Admission::Deny(_))
    }

    fn end(&mut self, worker: usize, permit: Permit, failed: bool) -> Option<Transition> {
        let sample = Sample { failed, elapsed: ms(10) };
        self.breakers[worker].settle(&mut self.shared, permit, Some(sample), ms(self.now))
    }

    fn attempt(&mut self, worker: usize, failed: bool) -> Option<Transition> {
        let permit = self.permit(worker);
        self.end(worker, permit, failed)
    }

    /// Workers with an open breaker, which one failure has opened.
    fn opened(settings: Settings) -> Self {
        let mut workers = Self::new(2, Settings { consecutive_failures: 1, ..settings });
        assert!(matches!(workers.attempt(0, true), Some(Transition::Opened(Trip::ConsecutiveFailures, _))));
        workers
    }

    fn state(&mut self) -> State {
        self.breakers[0].join(&mut self.shared)
    }
}

#[test]
fn failures_in_a_row_are_counted_over_all_workers() {
    let mut workers = Workers::new(2, settings());
    for failure in 0..4 {
        assert_eq!(workers.attempt(failure % 2, true), None);
    }
    assert_eq!(workers.attempt(0, true), Some(Transition::Opened(Trip::ConsecutiveFailures, ms(5_000))));
    assert!(workers.is_denied(0) && workers.is_denied(1));
}

#[test]
fn a_success_of_any_worker_ends_the_row() {
    let mut workers = Workers::new(2, settings());
    for _ in 0..4 {
        workers.attempt(0, true);
    }
    workers.attempt(1, false);
    for _ in 0..4 {
        assert_eq!(workers.attempt(0, true), None);
    }
    assert!(workers.attempt(1, true).is_some());
}

#[test]
fn a_row_of_none_is_not_used() {
    let mut workers = Workers::new(1, Settings { consecutive_failures: 0, min_requests: 1_000, ..settings() });
    for _ in 0..999 {
        assert_eq!(workers.attempt(0, true), None);
    }
    assert!(workers.attempt(0, true).is_some());
}

/// Makes `total` attempts with `failures` failures, spread evenly over two workers, and without two failures in a row if possible.
fn shares(failures: u32, total: u32, settings: Settings) -> Option<Transition> {
    let mut workers = Workers::new(2, Settings { consecutive_failures: 0, ..settings });
    let mut done = 0;
    (0..total).find_map(|attempt| {
        workers.now += 7;
        let failed = (attempt + 1) * failures / total > done;
        done += u32::from(failed);
        workers.attempt((attempt % 2) as usize, failed)
    })
}

#[test]
fn half_of_them_open_it_and_less_does_not() {
    let many = Settings { min_requests: 100, ..settings() };
    assert_eq!(shares(50, 100, many), Some(Transition::Opened(Trip::FailureRate, ms(5_000))));
    assert_eq!(shares(49, 100, many), None);
    assert_eq!(shares(19, 19, settings()), None, "too few to judge by");
    assert!(shares(20, 20, settings()).is_some());
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let mut workers = Workers::new(1, Settings { consecutive_failures: 0, ..settings() });
    for _ in 0..19 {
        assert_eq!(workers.attempt(0, true), None);
    }
    workers.now += 30_000;
    for _ in 0..19 {
        assert_eq!(workers.attempt(0, true), None);
    }
    assert!(workers.attempt(0, true).is_some());
}

#[test]
fn a_success_that_makes_them_enough_to_judge_by_opens_it_too() {
    let mut workers = Workers::new(2, Settings { consecutive_failures: 0, ..settings() });
    for _ in 0..10 {
        assert_eq!(workers.attempt(0, true), None);
    }
    for _ in 0..9 {
        assert_eq!(workers.attempt(1, false), None);
    }
    assert_eq!(workers.attempt(1, false), Some(Transition::Opened(Trip::FailureRate, ms(5_000))));
}

#[test]
fn slow_calls_open_it_by_their_share() {
    let slow_call = Some(SlowCall { longer_than: ms(100), percent: 60.0 });
    let mut workers = Workers::new(1, Settings { slow_call, min_requests: 10, ..settings() });
    let mut call = |elapsed| {
        let permit = workers.permit(0);
        let sample = Sample { failed: false, elapsed: ms(elapsed) };
        workers.breakers[0].settle(&mut workers.shared, permit, Some(sample), ms(workers.now))
    };
    for elapsed in [100, 1, 2, 3, 101, 102, 103, 104, 105] {
        assert_eq!(call(elapsed), None);
    }
    assert_eq!(call(106), Some(Transition::Opened(Trip::SlowCalls, ms(5_000))));
}

#[test]
fn an_open_breaker_lets_a_probe_pass_when_its_time_is_over_and_not_before() {
    let mut workers = Workers::opened(settings());
    workers.now += 4_999;
    assert_eq!(workers.ask(1), (Admission::Deny(Wait::Open(ms(1))), None));
    workers.now += 1;
    let (admission, transition) = workers.ask(1);
    assert!(matches!(admission, Admission::Pass(Permit::Probe(_))));
    assert_eq!(transition, Some(Transition::HalfOpened));
    assert!(workers.is_denied(0) && workers.is_denied(1), "one probe at a time, over all workers");
}

#[test]
fn probes_that_succeed_close_it_for_all_workers() {
    let mut workers = Workers::opened(settings());
    workers.now += 5_000;
    assert_eq!(workers.attempt(1, false), None);
    assert_eq!(workers.attempt(0, false), Some(Transition::Closed));
    assert_eq!(workers.state(), State::Closed);
    assert!(!workers.is_denied(0) && !workers.is_denied(1));
}

#[test]
fn so_many_probes_pass_at_once() {
    let mut workers = Workers::opened(Settings { probes: 3, successes: 3, ..settings() });
    workers.now += 5_000;
    let permits: Vec<Permit> = (0..3).map(|probe| workers.permit(probe % 2)).collect();
    assert!(workers.is_denied(0) && workers.is_denied(1));
    assert_eq!(workers.end(0, permits[0], false), None);
    assert!(!workers.is_denied(1), "its place is free");
}

#[test]
fn a_probe_that_fails_doubles_the_time_up_to_its_maximum_and_a_close_resets_it() {
    let mut workers = Workers::opened(Settings { max_open_for: ms(18_000), successes: 1, ..settings() });
    for wanted in [10_000, 18_000, 18_000] {
        workers.now += 18_000;
        assert_eq!(workers.attempt(0, true), Some(Transition::Opened(Trip::ProbeFailed, ms(wanted))));
        workers.now += wanted - 1;
        assert!(workers.is_denied(0));
        workers.now += 1;
    }
    assert_eq!(workers.attempt(0, false), Some(Transition::Closed));
    assert_eq!(workers.attempt(0, true), Some(Transition::Opened(Trip::ConsecutiveFailures, ms(5_000))));
}

#[test]
fn the_time_doubles_for_ever_without_harm() {
    let mut workers = Workers::opened(settings());
    for _ in 0..300 {
        workers.now += 60_000;
        assert!(matches!(workers.attempt(0, true), Some(Transition::Opened(_, _))));
    }
    assert!(workers.is_denied(0));
}

#[test]
fn a_probe_that_never_ends_gives_its_place_back() {
    let mut workers = Workers::opened(settings());
    workers.now += 5_000;
    let lost = workers.permit(0);
    workers.now += 2_500;
    assert!(workers.is_denied(1));
    workers.now += 1;
    let second = workers.permit(1);
    // The lost probe ends after all. It has no place to give back, and decides nothing.
    assert_eq!(workers.end(0, lost, true), None);
    assert!(workers.is_denied(0));
    assert_eq!(workers.end(1, second, false), None);
    assert_eq!(workers.attempt(1, false), Some(Transition::Closed));
}

#[test]
fn a_probe_that_says_nothing_gives_its_place_back_at_once() {
    let mut workers = Workers::opened(settings());
    workers.now += 5_000;
    let permit = workers.permit(0);
    assert_eq!(workers.breakers[0].settle(&mut workers.shared, permit, None, ms(workers.now)), None);
    assert_eq!(workers.state(), State::HalfOpen);
    assert!(!workers.is_denied(1));
}

#[test]
fn a_slow_probe_is_a_failed_one() {
    let slow_call = Some(SlowCall { longer_than: ms(5), percent: 100.0 });
    let mut workers = Workers::opened(Settings { slow_call, ..settings() });
    workers.now += 5_000;
    assert!(matches!(workers.attempt(0, false), Some(Transition::Opened(Trip::ProbeFailed, _))));
}

#[test]
fn what_began_before_a_change_decides_nothing_after_it() {
    let mut workers = Workers::new(1, Settings { consecutive_failures: 1, successes: 1, ..settings() });
    let (early, opener) = (workers.permit(0), workers.permit(0));
    assert!(workers.end(0, opener, true).is_some());
    assert_eq!(workers.end(0, early, true), None);
    workers.now += 5_000;
    let other = workers.attempt(0, false);
    assert_eq!(other, Some(Transition::Closed));
    assert_eq!(workers.end(0, early, true), None);
    assert_eq!(workers.state(), State::Closed);
}

#[test]
fn an_observing_breaker_goes_through_its_states_and_blocks_nothing() {
    let mut workers = Workers::opened(Settings { observe: true, ..settings() });
    assert_eq!(workers.state(), State::Open);
    let bystander = workers.permit(0);
    assert_eq!(workers.end(0, bystander, false), None);
    workers.now += 5_000;
    assert_eq!(workers.ask(0).1, Some(Transition::HalfOpened));
    assert!(!workers.is_denied(0));
}
