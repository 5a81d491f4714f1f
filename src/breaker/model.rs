//! The breaker against a slow one that keeps its whole history: random outcomes, steps of time, workers and lost races.

use proptest::prelude::*;

use super::tests::{ms, Shared};
use super::*;

/// One outcome of the closed phase.
#[derive(Clone, Copy, Debug)]
struct Past {
    epoch: u64,
    failed: bool,
    slow: bool,
    /// It was told at once, and so ends a row of failures, if it is a success.
    loud: bool,
}

/// What a worker knows that the others do not.
#[derive(Clone, Debug, Default)]
struct Private {
    kept: Vec<Past>,
    /// The phase it last saw.
    seen: usize,
    suspicious: bool,
    published: u64,
    kept_epoch: u64,
}

#[derive(Clone, Debug)]
enum Slow {
    Closed(Vec<Past>),
    Open {
        since: u64,
    },
    /// Probes not ended, by their number; how many succeeded; when the latest must have ended.
    HalfOpen {
        probes: Vec<usize>,
        successes: u32,
        deadline: u64,
    },
}

/// The slow breaker.
struct Model {
    settings: Settings,
    state: Slow,
    /// Counts the changes of state.
    phase: usize,
    openings: u32,
    probes_begun: usize,
    workers: Vec<Private>,
}

/// An attempt that was let through.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pass {
    Unseen,
    Counted { phase: usize },
    Probe { number: usize, phase: usize },
}

impl Model {
    fn epoch(&self, now: u64) -> u64 {
        now / (self.settings.window.as_millis() as u64 / 10)
    }

    fn in_window(&self, past: &[Past], now: u64) -> Vec<Past> {
        past.iter().copied().filter(|past| self.epoch(now) - past.epoch < 10).collect()
    }

    fn change(&mut self, state: Slow) {
        self.state = state;
        self.phase += 1;
    }

    fn open_for(&self) -> u64 {
        let doubled = self.settings.open_for.as_millis() << self.openings.min(40);
        doubled.min(self.settings.max_open_for.as_millis()) as u64
    }

    fn admit(&mut self, worker: usize, now: u64) -> Option<Pass> {
        let deadline = now + self.settings.timeout.as_millis() as u64 + 500;
        let denied = self.settings.observe.then_some(Pass::Unseen);
        let number = self.probes_begun;
        match self.state.clone() {
            Slow::Closed(past) => {
                let row = row(&past) > 0;
                let bad = self.in_window(&past, now).iter().any(|past| past.failed || past.slow);
                let phase = self.phase;
                let private = &mut self.workers[worker];
                if private.seen != phase {
                    *private = Private { seen: phase, published: private.published, ..Private::default() };
                }
                private.suspicious = row || bad;
                return Some(Pass::Counted { phase });
            }
            Slow::Open { since } if now < since + self.open_for() => return denied,
            Slow::Open { .. } => {
                self.change(Slow::HalfOpen { probes: vec![number], successes: 0, deadline });
            }
            Slow::HalfOpen { mut probes, successes, deadline: latest } => {
                if probes.len() < self.settings.probes as usize {
                    probes.push(number);
                    self.state = Slow::HalfOpen { probes, successes, deadline: latest.max(deadline) };
                } else if now > latest {
                    self.change(Slow::HalfOpen { probes: vec![number], successes, deadline });
                } else {
                    return denied;
                }
            }
        }
        self.probes_begun += 1;
        Some(Pass::Probe { number, phase: self.phase })
    }

    fn end(&mut self, worker: usize, pass: Pass, failed: bool, slow: bool, lost: bool, now: u64) {
        match pass {
            Pass::Unseen => {}
            Pass::Probe { phase, .. } if phase != self.phase || lost => {}
            Pass::Probe { number, .. } => self.probe_ended(number, failed || slow, now),
            Pass::Counted { phase } => self.counted(worker, phase, failed, slow, lost, now),
        }
    }

    fn probe_ended(&mut self, number: usize, bad: bool, now: u64) {
        let Slow::HalfOpen { probes, successes, .. } = &mut self.state else {
            return;
        };
        probes.retain(|probe| *probe != number);
        if bad {
            self.openings += 1;
            self.change(Slow::Open { since: now });
            return;
        }
        *successes += 1;
        if *successes >= self.settings.successes {
            self.openings = 0;
            self.change(Slow::Closed(Vec::new()));
        }
    }

    fn counted(&mut self, worker: usize, phase: usize, failed: bool, slow: bool, lost: bool, now: u64) {
        let epoch = self.epoch(now);
        let private = &mut self.workers[worker];
        if phase != private.seen {
            return;
        }
        let fresh = now - private.published < 100 && private.kept_epoch == epoch;
        let tail_failed = row(&private.kept) > 0;
        if fresh && !private.suspicious && !failed && !slow && !tail_failed {
            private.kept.push(Past { epoch, failed, slow, loud: false });
            return;
        }
        let outcome = Past { epoch, failed, slow, loud: true };
        if lost {
            // What is told later is told as of the time at which it was tried last.
            private.kept.iter_mut().for_each(|past| past.epoch = epoch);
            private.kept.push(outcome);
            private.kept_epoch = epoch;
            return;
        }
        if phase != self.phase {
            return;
        }
        let kept = std::mem::take(&mut private.kept);
        (private.kept_epoch, private.published) = (epoch, now);
        let Slow::Closed(past) = &mut self.state else {
            return;
        };
        past.extend(kept.into_iter().chain([outcome]));
        let past = past.clone();
        if self.trips(&past, now) {
            self.openings = 0;
            self.change(Slow::Open { since: now });
        }
    }

    fn trips(&self, past: &[Past], now: u64) -> bool {
        let settings = &self.settings;
        let recent = self.in_window(past, now);
        let share = |part: usize, percent: f64| part > 0 && part as f64 * 100.0 >= percent * recent.len() as f64;
        let failures = recent.iter().filter(|past| past.failed).count();
        let slow = recent.iter().filter(|past| past.slow).count();
        let judged = recent.len() >= settings.min_requests as usize;
        (settings.consecutive_failures > 0 && row(past) >= settings.consecutive_failures as usize)
            || (judged && share(failures, settings.failure_percent))
            || (judged && settings.slow_call.is_some_and(|limit| share(slow, limit.percent)))
    }
}

/// Failures since the last success that was told at once.
fn row(past: &[Past]) -> usize {
    past.iter().rev().filter(|past| past.loud).take_while(|past| past.failed).count()
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Begin { worker: usize },
    End { which: usize, failed: bool, slow: bool, lost: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Long runs of one kind of outcome are rare by chance, and are what opens and closes breakers: the share of failures changes from part to
    // part.
    let part = (0_u32..=4).prop_flat_map(|badness| {
        let failed = prop::bool::weighted(f64::from(badness) / 4.0);
        let step = prop_oneof![
            2 => prop_oneof![0_u64..60, 90_u64..110, 400_u64..3_000].prop_map(Step::Wait),
            4 => (0_usize..3).prop_map(|worker| Step::Begin { worker }),
            5 => (any::<usize>(), failed, prop::bool::weighted(0.1), prop::bool::weighted(0.05))
                .prop_map(|(which, failed, slow, lost)| Step::End { which, failed, slow, lost }),
        ];
        prop::collection::vec(step, 0..80)
    });
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

fn any_settings() -> impl Strategy<Value = Settings> {
    (
        0_u32..5,
        prop_oneof![Just(20.0), Just(50.0), Just(100.0)],
        1_u32..12,
        any::<bool>(),
        1_u32..4,
        1_u32..4,
        prop::bool::weighted(0.2),
        1_u64..20,
    )
        .prop_map(|(consecutive_failures, failure_percent, min_requests, slow, probes, successes, observe, hundreds)| {
            Settings {
                consecutive_failures,
                failure_percent,
                window: ms(hundreds * 100),
                min_requests,
                slow_call: slow.then_some(SlowCall { longer_than: ms(50), percent: 60.0 }),
                open_for: ms(300),
                max_open_for: ms(1_000),
                probes,
                successes,
                observe,
                timeout: ms(100),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_does_what_one_with_its_whole_history_does(settings in any_settings(), steps in steps()) {
        let mut shared = Shared::default();
        let mut workers = vec![Breaker::new(settings); 3];
        let mut now = 1_000_000;
        let private = Private { suspicious: true, ..Private::default() };
        let mut model = Model {
            settings, state: Slow::Closed(Vec::new()), phase: 0, openings: 0, probes_begun: 0, workers: vec![private; 3],
        };
        let mut under_way: Vec<(usize, Permit, Pass)> = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => now += millis,
                Step::Begin { worker } => {
                    let (admission, _, _) = workers[worker].admit(&mut shared, ms(now));
                    match (admission, model.admit(worker, now)) {
                        (Admission::Pass(permit), Some(pass)) => {
                            let alike = matches!(
                                (permit, pass),
                                (Permit::Unseen, Pass::Unseen)
                                    | (Permit::Counted(_), Pass::Counted { .. })
                                    | (Permit::Probe(_), Pass::Probe { .. })
                            );
                            prop_assert!(alike, "{permit:?} and {pass:?}");
                            under_way.push((worker, permit, pass));
                        }
                        (Admission::Deny(_), None) => {}
                        (real, wanted) => prop_assert!(false, "{real:?} where {wanted:?} was right, at {now}"),
                    }
                }
                Step::End { which, failed, slow, lost } if !under_way.is_empty() => {
                    let (worker, permit, pass) = under_way.remove(which % under_way.len());
                    shared.lose = if lost { TRIES } else { 0 };
                    let sample = Sample { failed, elapsed: ms(if slow { 51 } else { 50 }) };
                    workers[worker].settle(&mut shared, permit, Some(sample), ms(now));
                    shared.lose = 0;
                    model.end(worker, pass, failed, slow && settings.slow_call.is_some(), lost, now);
                }
                Step::End { .. } => {}
            }
            let wanted = match &model.state {
                Slow::Closed(_) => State::Closed,
                Slow::HalfOpen { .. } => State::HalfOpen,
                Slow::Open { .. } => State::Open,
            };
            prop_assert_eq!(workers[0].state(&mut shared), wanted);
        }
    }

    #[test]
    fn no_bytes_and_no_clock_make_it_fail(
        junk in prop::collection::vec(any::<u8>(), 160), phase in 0_u8..3, settings in any_settings(),
        steps in prop::collection::vec((any::<u64>(), any::<bool>()), 1..40),
    ) {
        let mut bytes = junk;
        bytes[..5].copy_from_slice(&[b'S', b'C', b'B', 1, phase]);
        prop_assert!(Record::decode(&bytes).is_some());
        let mut shared = Shared::holding(bytes);
        let mut breaker = Breaker::new(settings);
        for (now, failed) in steps {
            if let (Admission::Pass(permit), _, _) = breaker.admit(&mut shared, ms(now)) {
                breaker.settle(&mut shared, permit, Some(Sample { failed, elapsed: ms(1) }), ms(now));
            }
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written(junk in prop::collection::vec(any::<u8>(), 160), phase in 0_u8..3) {
        let mut bytes = junk;
        bytes[..5].copy_from_slice(&[b'S', b'C', b'B', 1, phase]);
        let record = Record::decode(&bytes).unwrap();
        prop_assert_eq!(Record::decode(&record.encode()), Some(record));
    }
}
