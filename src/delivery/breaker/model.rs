//! Compares the breaker with a slow model that keeps its whole history. The inputs are random outcomes, steps of time, workers, lost races, and a
//! window width for each worker, as two configurations have them.

use proptest::prelude::*;

use super::tests::{ms, Shared};
use super::*;

/// One outcome of the closed phase.
#[derive(Clone, Copy, Debug)]
struct Past {
    at: u64,
    failed: bool,
    slow: bool,
    /// It was written at once. If it is a success, it ends a streak of failures.
    loud: bool,
}

/// What one worker knows and the others do not.
#[derive(Clone, Debug, Default)]
struct Private {
    kept: Vec<Past>,
    /// The phase that the worker last saw.
    seen: usize,
    suspicious: bool,
    /// When it saw a closed phase without failures, if it has had no loud outcome since.
    healthy_at: Option<u64>,
    published: u64,
    kept_at: u64,
}

/// What the window of one width knows.
#[derive(Clone, Debug)]
struct Known {
    /// The width of a bucket.
    width: u64,
    /// When its own configuration last wrote.
    used: u64,
    past: Vec<Past>,
}

impl Known {
    fn in_window(&self, now: u64) -> Vec<Past> {
        self.past.iter().copied().filter(|past| now / self.width - past.at / self.width < 10).collect()
    }

    fn is_bad(&self, now: u64) -> bool {
        self.in_window(now).iter().any(|past| past.failed || past.slow)
    }

    /// What a new window learns from this one. Each outcome counts as if it was at the end of its bucket.
    fn told(&self, now: u64) -> Vec<Past> {
        let end = |at: u64| ((at / self.width + 1) * self.width - 1).min(now);
        self.in_window(now).into_iter().map(|past| Past { at: end(past.at), ..past }).collect()
    }
}

#[derive(Clone, Debug)]
enum Slow {
    /// All outcomes, and what each window knows of them.
    Closed(Vec<Past>, Vec<Known>),
    Open {
        since: u64,
    },
    /// The numbers of the probes in flight, how many probes succeeded, and when the latest one must have ended.
    HalfOpen {
        probes: Vec<usize>,
        successes: u32,
        deadline: u64,
    },
}

/// The slow model of a breaker.
struct Model {
    /// The settings without the window.
    settings: Settings,
    /// The bucket width of each worker.
    widths: Vec<u64>,
    state: Slow,
    /// Counts the state changes.
    phase: usize,
    openings: u32,
    probes_begun: usize,
    workers: Vec<Private>,
}

/// The permit of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pass {
    Unseen,
    Counted { phase: usize },
    Probe { number: usize, phase: usize },
}

impl Model {
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
        let private = &mut self.workers[worker];
        if private.healthy_at.is_some_and(|at| now - at < 50) {
            return Some(Pass::Counted { phase: private.seen });
        }
        private.healthy_at = None;
        match self.state.clone() {
            Slow::Closed(past, known) => {
                let row = row(&past) > 0;
                let width = self.widths[worker];
                let has_own = known.iter().any(|known| known.width == width);
                let bad = known.iter().filter(|known| !has_own || known.width == width).any(|known| known.is_bad(now));
                let phase = self.phase;
                let private = &mut self.workers[worker];
                if private.seen != phase {
                    *private = Private { seen: phase, published: private.published, ..Private::default() };
                }
                private.suspicious = row || bad;
                private.healthy_at = (!private.suspicious).then_some(now);
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
            self.change(Slow::Closed(Vec::new(), Vec::new()));
        }
    }

    fn counted(&mut self, worker: usize, phase: usize, failed: bool, slow: bool, lost: bool, now: u64) {
        let width = self.widths[worker];
        let private = &mut self.workers[worker];
        if phase != private.seen {
            return;
        }
        let fresh = now - private.published < 100 && private.kept_at / width == now / width;
        let tail_failed = row(&private.kept) > 0;
        let is_quiet = fresh && !private.suspicious && !failed && !slow && !tail_failed;
        if is_quiet || lost {
            // Kept outcomes are written later, with the time of the latest one.
            private.kept.push(Past { at: now, failed, slow, loud: !is_quiet });
            private.kept.iter_mut().for_each(|past| past.at = now);
            private.kept_at = now;
            if !is_quiet {
                private.healthy_at = None;
            }
            return;
        }
        private.healthy_at = None;
        if phase != self.phase {
            return;
        }
        let mut fresh = std::mem::take(&mut private.kept);
        fresh.push(Past { at: now, failed, slow, loud: true });
        (private.kept_at, private.published) = (now, now);
        let Slow::Closed(past, known) = &mut self.state else {
            return;
        };
        past.extend(&fresh);
        known.retain(|known| known.width == width || now - known.used <= 10 * known.width);
        if !known.iter().any(|known| known.width == width) {
            let reaches = known.iter().filter(|known| known.width >= width).min_by_key(|known| known.width);
            let source = reaches.or(known.iter().max_by_key(|known| known.width));
            let past = source.map_or(Vec::new(), |source| source.told(now));
            known.push(Known { width, used: now, past });
        }
        known.iter_mut().for_each(|known| known.past.extend(&fresh));
        let own = known.iter_mut().find(|known| known.width == width).unwrap();
        own.used = now;
        let (past, recent) = (past.clone(), own.in_window(now));
        if self.trips(&past, &recent) {
            self.openings = 0;
            self.change(Slow::Open { since: now });
        }
    }

    fn trips(&self, past: &[Past], recent: &[Past]) -> bool {
        let settings = &self.settings;
        let share = |part: usize, percent: f64| part > 0 && part as f64 * 100.0 >= percent * recent.len() as f64;
        let failures = recent.iter().filter(|past| past.failed).count();
        let slow = recent.iter().filter(|past| past.slow).count();
        let judged = recent.len() >= settings.min_requests as usize;
        (settings.consecutive_failures > 0 && row(past) >= settings.consecutive_failures as usize)
            || (judged && share(failures, settings.failure_percent))
            || (judged && settings.slow_call.is_some_and(|limit| share(slow, limit.percent)))
    }
}

/// Failures since the last success that was written at once.
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
    // Long runs of one kind of outcome open and close breakers, but are rare by chance. So the share of failures changes from part to part.
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
    )
        .prop_map(|(consecutive_failures, failure_percent, min_requests, slow, probes, successes, observe)| Settings {
            consecutive_failures,
            failure_percent,
            window: ms(1_000),
            min_requests,
            slow_call: slow.then_some(SlowCall { longer_than: ms(50), percent: 60.0 }),
            open_for: ms(300),
            max_open_for: ms(1_000),
            probes,
            successes,
            observe,
            timeout: ms(100),
        })
}

/// Bytes of a valid record with arbitrary numbers.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let windows = 0_u8..5;
    windows.prop_flat_map(|windows| {
        let bytes = prop::collection::vec(any::<u8>(), 28 + usize::from(windows) * 140);
        (bytes, 0_u8..3).prop_map(move |(mut bytes, phase)| {
            bytes[..5].copy_from_slice(&[b'S', b'C', b'B', LAYOUT, phase]);
            bytes[6] = windows;
            bytes
        })
    })
}

/// The windows of three workers, which belong to one, two or three configurations.
fn windows() -> impl Strategy<Value = Vec<u64>> {
    let window = || prop_oneof![(1_u64..20).prop_map(|hundreds| hundreds * 100), 100_u64..2_500];
    prop_oneof![
        window().prop_map(|window| vec![window; 3]),
        (window(), window()).prop_map(|(one, other)| vec![one, other, one]),
        prop::collection::vec(window(), 3),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn it_does_what_one_with_its_whole_history_does(settings in any_settings(), windows in windows(), steps in steps()) {
        let mut shared = Shared::default();
        let of = |window: &u64| Breaker::new(Settings { window: ms(*window), ..settings });
        let mut workers: Vec<Breaker> = windows.iter().map(of).collect();
        let widths: Vec<u64> = windows.iter().map(|window| window / 10).collect();
        let mut now = 1_000_000;
        let private = Private { suspicious: true, ..Private::default() };
        let mut model = Model {
            settings, widths, state: Slow::Closed(Vec::new(), Vec::new()), phase: 0, openings: 0, probes_begun: 0, workers: vec![private; 3],
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
                Slow::Closed(..) => State::Closed,
                Slow::HalfOpen { .. } => State::HalfOpen,
                Slow::Open { .. } => State::Open,
            };
            prop_assert_eq!(workers[0].join(&mut shared), wanted);
        }
    }

    #[test]
    fn no_bytes_and_no_clock_make_it_fail(
        bytes in junk(), settings in any_settings(),
        steps in prop::collection::vec((any::<u64>(), any::<bool>()), 1..40),
    ) {
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
    fn a_record_is_read_as_it_was_written(bytes in junk()) {
        let record = Record::decode(&bytes).unwrap();
        prop_assert_eq!(Record::decode(record.encode(&mut Record::room())), Some(record));
    }
}
