//! A circuit breaker: drops the copies for a target that fails, and finds out when the target is back.
//!
//! The states and thresholds are those of resilience4j and of Envoy's outlier detection.
//!
//! # Trip conditions
//! A closed breaker lets every attempt pass and counts outcomes. It opens when one of these holds:
//! - [`Settings::consecutive_failures`] attempts failed in a row.
//! - Of at least [`Settings::min_requests`] attempts in the [`Settings::window`], [`Settings::failure_percent`] failed.
//! - Of as many attempts, [`SlowCall::percent`] took longer than [`SlowCall::longer_than`].
//!
//! # Recovery conditions
//! An open breaker lets nothing pass for [`Settings::open_for`]. The first attempt after that makes it half-open: at most [`Settings::probes`]
//! attempts pass at a time, over all workers. [`Settings::successes`] successful probes close the breaker. A failed or slow probe opens it again, for
//! twice as long as before, at most [`Settings::max_open_for`].
//!
//! A probe may never end, because its worker is stuck or its VM is gone. Its place comes back once an attempt that began with the latest probe must
//! have timed out.
//!
//! # What workers share
//! The workers of an Envoy share a store of small values. A [`Record`] in it is the breaker. Each change is a compare-and-swap, tried [`TRIES`]
//! times. There is no lock, and nobody waits.
//!
//! An attempt reads the record once, unless it was closed and without failures less than [`TRUSTED_FOR`] ago and this worker has had none since:
//! then the attempt passes. So a worker learns up to [`TRUSTED_FOR`] late that *another* worker has opened a healthy breaker. Its own failures count
//! at once, and an open or half-open breaker is read for each attempt. Most outcomes write nothing. A success can open a closed breaker only by completing
//! [`Settings::min_requests`], and only if the window holds failures or slow calls. While it holds none, a worker keeps its successes to itself and
//! adds them to the record at most every [`PUBLISH_EVERY`]. Once it has seen a failure there, or has one of its own, it adds every outcome at once,
//! along with what it kept. It follows:
//! - Failures in a row are exact: each is written at once. A success does not end a streak of failures of other workers that began after it.
//! - Shares are exact but for the successes that *other* workers keep when a failure is judged: those of the last [`PUBLISH_EVERY`], or, if a worker
//!   gets no more requests, of its last requests.
//! - What loses the race [`TRIES`] times is not lost. Outcomes of a closed breaker are kept and added with the next one, and the next outcome makes
//!   the change that is due. An attempt that could have been a probe is denied. A probe whose end is not written gives its place back like one that
//!   never ends.
//!
//! # Several configurations
//! Two configurations may share a breaker: two listeners, or the old one and the new one while an update drains. They count all outcomes
//! together, each in a window of its own width, and each judges by its own thresholds. Whichever opens the breaker opens it for both.
//!
//! A worker that lets go of a target marks the record as left. The next attempt takes the mark away. If its configuration came after the mark,
//! the target was put back, and the breaker begins closed. Otherwise another worker still uses it, and it stays as it is.
//!
//! # Time
//! Times are of the host's monotonic clock, which all workers of a process share and nobody can set. Shared data does not outlive the process. If a
//! time in the record lies ahead of the clock all the same, the breaker acts as if that time were over.

mod record;
mod terms;
mod window;

use std::time::Duration;

use self::record::Phase;
pub use self::record::{Record, Room, LAYOUT};
pub use self::terms::{Admission, Outlook, Permit, Sample, Settings, SlowCall, State, Transition, Trip, Wait};
use self::window::{Counts, Windows, BUCKETS};

/// How often a change of the record is tried.
pub const TRIES: u32 = 8;
/// How long a worker keeps successes that change nothing to itself.
pub const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// How long a worker takes a record that was closed and held no failures for unchanged. Reading it is one of the dearest host calls.
pub const TRUSTED_FOR: Duration = Duration::from_millis(50);
/// What a probe is given beyond the time of its attempt: timers run late on a busy machine.
const LEASE_SLACK: Duration = Duration::from_millis(500);
/// No lease of any configuration is longer: attempts take an hour at most.
const LONGEST_LEASE_MS: u64 = 2 * 3_600_000;

/// Where the record is kept.
pub trait Store {
    /// The record, with a number that tells its versions apart. None when the store does not work.
    fn read(&mut self) -> Option<(Record, u32)>;
    /// Replaces that version; false when it is not the present one any more.
    fn write(&mut self, record: &Record, version: u32) -> bool;
}

/// One worker's side of a breaker.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: Settings,
    /// Of the record when it was last read.
    generation: u32,
    /// The record held failures when it was last read.
    suspicious: bool,
    /// When the record was read, if it was closed and held no failures.
    healthy_at: Option<u64>,
    /// The breaker was in use when this side of it was made, or has been asked by it.
    has_joined: bool,
    kept: Kept,
    /// When outcomes were last added to the record.
    published: u64,
}

/// Outcomes that are not in the record yet.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// When the latest of them ended. All of them are of the same bucket.
    at: u64,
    counts: Counts,
    /// The failures at its end, and whether there was a success before them that ended the streak. Successes that were kept because they
    /// change nothing do not.
    streak: u32,
    ended_streak: bool,
}

impl Kept {
    fn take(&mut self, at: u64, sample: Counts) {
        self.at = at;
        self.counts.add(sample);
        if sample.failures > 0 {
            self.streak = self.streak.saturating_add(1);
        } else {
            self.streak = 0;
            self.ended_streak = true;
        }
    }
}

impl Breaker {
    /// A breaker that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            generation: 0,
            suspicious: true,
            healthy_at: None,
            has_joined: true,
            kept: Kept::default(),
            published: 0,
        }
    }

    /// Joins the breaker of the other workers, or makes ready to begin a new one. Tells where it stands.
    pub fn join(&mut self, store: &mut impl Store) -> State {
        let record = store.read().map(|(record, _)| record);
        self.has_joined = record.is_none_or(|record| !record.is_left);
        record.filter(|_| self.has_joined).map_or(State::Closed, |record| record.state())
    }

    /// Asks whether an attempt may be made now, which is any time of a clock that all workers share. Tells where the breaker stands, and
    /// whether that has just changed.
    pub fn admit(&mut self, store: &mut impl Store, now: Duration) -> (Admission, State, Option<Transition>) {
        let now = millis(now);
        if self.healthy_at.is_some_and(|at| at <= now && now.saturating_sub(at) < millis(TRUSTED_FOR)) {
            return (Admission::Pass(Permit::Counted(self.generation)), State::Closed, None);
        }
        for _ in 0..TRIES {
            let Some((record, version)) = store.read() else {
                return (Admission::Pass(Permit::Unseen), State::Closed, None);
            };
            if record.is_left {
                store.write(&self.taken_up(&record), version);
                continue;
            }
            self.has_joined = true;
            let (next, transition) = match self.look(&record, now) {
                Look::Pass => return (Admission::Pass(Permit::Counted(record.generation)), State::Closed, None),
                Look::Deny(wait) => return (self.denied(wait), record.state(), None),
                Look::Probe(phase) => (Record { phase, ..record }, None),
                Look::FirstProbe(phase, transition) => (record.enter(phase), transition),
            };
            if store.write(&next, version) {
                return (Admission::Pass(Permit::Probe(next.generation)), State::HalfOpen, transition);
            }
        }
        // Others were faster each time, so there are probes.
        (self.denied(Wait::Probes(PUBLISH_EVERY)), State::HalfOpen, None)
    }

    /// A record that was left, for an attempt that asks.
    fn taken_up(&self, record: &Record) -> Record {
        if self.has_joined {
            return Record { is_left: false, ..*record };
        }
        // The generation goes on: what was begun before says nothing about this breaker.
        Record { generation: record.enter(Phase::default()).generation, ..Record::default() }
    }

    /// This worker lets go of the target, whether or not its configuration has a breaker: an earlier one may have had.
    pub fn leave(store: &mut impl Store) {
        for _ in 0..TRIES {
            let Some((record, version)) = store.read() else {
                return;
            };
            let is_new = record == Record::default();
            if is_new || record.is_left || store.write(&Record { is_left: true, ..record }, version) {
                return;
            }
        }
    }

    /// What the next attempt would find, for those who wait; it takes no probe's place.
    pub fn outlook(&mut self, store: &mut impl Store, now: Duration) -> Outlook {
        let Some((record, _)) = store.read() else {
            return Outlook::Closed;
        };
        match self.look(&record, millis(now)) {
            Look::Pass => Outlook::Closed,
            Look::Probe(_) | Look::FirstProbe(..) => Outlook::Probe,
            Look::Deny(wait) => Outlook::Denied(wait),
        }
    }

    fn denied(&self, wait: Wait) -> Admission {
        if self.settings.observe {
            Admission::Pass(Permit::Unseen)
        } else {
            Admission::Deny(wait)
        }
    }

    fn look(&mut self, record: &Record, now: u64) -> Look {
        let lease = now.saturating_add(millis(self.settings.timeout.saturating_add(LEASE_SLACK)));
        self.healthy_at = None;
        match record.phase {
            Phase::Closed { streak } => {
                self.learn(record.generation);
                self.suspicious = streak > 0 || record.windows.hold_failures(now, self.width());
                self.healthy_at = (!self.suspicious).then_some(now);
                Look::Pass
            }
            Phase::Open { since } => {
                let open_for = millis(self.open_for(record.doublings));
                let until = since.saturating_add(open_for);
                // A breaker that seems to have opened in the future has been open for an unknown time.
                if since <= now && now < until {
                    return Look::Deny(Wait::Open(Duration::from_millis(until.saturating_sub(now))));
                }
                let phase = Phase::HalfOpen { probes: 1, successes: 0, lease };
                Look::FirstProbe(phase, Some(Transition::HalfOpened))
            }
            Phase::HalfOpen { probes, successes, lease: last } => {
                if probes < self.settings.probes {
                    let phase = Phase::HalfOpen { probes: probes.saturating_add(1), successes, lease: last.max(lease) };
                    return Look::Probe(phase);
                }
                if now <= last && last <= now.saturating_add(LONGEST_LEASE_MS) {
                    let left = last.saturating_sub(now).saturating_add(1);
                    return Look::Deny(Wait::Probes(Duration::from_millis(left)));
                }
                // A new generation: should one of the lost probes end after all, it has no place to give back.
                Look::FirstProbe(Phase::HalfOpen { probes: 1, successes, lease }, None)
            }
        }
    }

    /// Tells how an attempt ended that was let through; none when that says nothing about the target. Tells whether the breaker's
    /// state has just changed.
    pub fn settle(
        &mut self,
        store: &mut impl Store,
        permit: Permit,
        sample: Option<Sample>,
        now: Duration,
    ) -> Option<Transition> {
        let now = millis(now);
        match (permit, sample) {
            (Permit::Unseen, _) | (Permit::Counted(_), None) => None,
            (Permit::Counted(generation), Some(sample)) => self.count(store, generation, self.counts(sample), now),
            (Permit::Probe(generation), sample) => {
                self.probe_ended(store, generation, sample.map(|sample| self.counts(sample)), now)
            }
        }
    }

    fn count(&mut self, store: &mut impl Store, generation: u32, sample: Counts, now: u64) -> Option<Transition> {
        if generation != self.generation {
            return None;
        }
        let same_bucket = self.epoch(self.kept.at) == self.epoch(now);
        let fresh = now.saturating_sub(self.published) < millis(PUBLISH_EVERY) && same_bucket;
        if fresh && !self.suspicious && sample.failures == 0 && sample.slow == 0 && self.kept.streak == 0 {
            self.kept.counts.add(sample);
            self.kept.at = now;
            return None;
        }
        self.healthy_at = None;
        for _ in 0..TRIES {
            let (record, version) = store.read()?;
            if record.generation != generation {
                self.learn(record.generation);
                return None;
            }
            let (next, trip) = self.added(&record, sample, now);
            if store.write(&next, version) {
                self.kept = Kept { at: now, ..Kept::default() };
                self.published = now;
                self.learn(next.generation);
                return trip.map(|trip| Transition::Opened(trip, self.open_for(next.doublings)));
            }
        }
        self.kept.take(now, sample);
        None
    }

    /// A closed record with one more outcome, and those that were kept; opened, if that is enough.
    fn added(&self, record: &Record, sample: Counts, now: u64) -> (Record, Option<Trip>) {
        let mut next = *record;
        next.windows.advance(now, self.width());
        next.windows.add(self.kept.at, self.kept.counts);
        next.windows.add(now, sample);
        let Phase::Closed { streak: before } = record.phase else {
            return (next, None);
        };
        let before = if self.kept.ended_streak { 0 } else { before };
        let streak = match sample.failures {
            0 => 0,
            _ => before.saturating_add(self.kept.streak).saturating_add(1),
        };
        next.phase = Phase::Closed { streak };
        let trip = self.trip(streak, next.windows.sum(self.width()));
        if trip.is_some() {
            // The next closed phase starts with empty windows.
            next = Record { windows: Windows::default(), doublings: 0, ..next.enter(Phase::Open { since: now }) };
        }
        (next, trip)
    }

    fn trip(&self, streak: u32, sum: Counts) -> Option<Trip> {
        let settings = &self.settings;
        let reaches = |part: u32, percent: f64| f64::from(part) * 100.0 >= percent * f64::from(sum.total);
        if settings.consecutive_failures > 0 && streak >= settings.consecutive_failures {
            return Some(Trip::ConsecutiveFailures);
        }
        if sum.total < settings.min_requests {
            return None;
        }
        if sum.failures > 0 && reaches(sum.failures, settings.failure_percent) {
            return Some(Trip::FailureRate);
        }
        settings.slow_call.filter(|slow| sum.slow > 0 && reaches(sum.slow, slow.percent)).map(|_| Trip::SlowCalls)
    }

    fn probe_ended(&self, store: &mut impl Store, generation: u32, sample: Option<Counts>, now: u64) -> Option<Transition> {
        for _ in 0..TRIES {
            let (record, version) = store.read()?;
            let Phase::HalfOpen { probes, successes, lease } = record.phase else {
                return None;
            };
            if record.generation != generation {
                return None;
            }
            let probes = probes.saturating_sub(1);
            let (next, transition) = match sample {
                None => (Record { phase: Phase::HalfOpen { probes, successes, lease }, ..record }, None),
                Some(sample) if sample.failures > 0 || sample.slow > 0 => {
                    let doublings = record.doublings.saturating_add(1);
                    let next = Record { doublings, ..record.enter(Phase::Open { since: now }) };
                    (next, Some(Transition::Opened(Trip::ProbeFailed, self.open_for(doublings))))
                }
                Some(_) if successes.saturating_add(1) >= self.settings.successes => {
                    (record.enter(Phase::default()), Some(Transition::Closed))
                }
                Some(_) => {
                    let phase = Phase::HalfOpen { probes, successes: successes.saturating_add(1), lease };
                    (Record { phase, ..record }, None)
                }
            };
            if store.write(&next, version) {
                return transition;
            }
        }
        None
    }

    /// What was kept belongs to a generation; it says nothing about another one.
    fn learn(&mut self, generation: u32) {
        if generation != self.generation {
            self.generation = generation;
            self.kept = Kept::default();
            self.suspicious = true;
        }
    }

    fn counts(&self, sample: Sample) -> Counts {
        let slow = self.settings.slow_call.is_some_and(|slow| sample.elapsed > slow.longer_than);
        Counts { total: 1, failures: u32::from(sample.failed), slow: u32::from(slow) }
    }

    fn open_for(&self, doublings: u8) -> Duration {
        let factor = 1_u32.checked_shl(u32::from(doublings)).unwrap_or(u32::MAX);
        self.settings.open_for.saturating_mul(factor).min(self.settings.max_open_for)
    }

    fn width(&self) -> u32 {
        u32::try_from(millis(self.settings.window) / BUCKETS).unwrap_or(u32::MAX).max(1)
    }

    fn epoch(&self, now: u64) -> u64 {
        now.checked_div(u64::from(self.width())).unwrap_or(0)
    }
}

/// What an attempt finds.
enum Look {
    Pass,
    Deny(Wait),
    /// It may be a probe, once this is written.
    Probe(Phase),
    /// The same, with a new generation.
    FirstProbe(Phase, Option<Transition>),
}

impl Record {
    fn state(&self) -> State {
        match self.phase {
            Phase::Closed { .. } => State::Closed,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Open { .. } => State::Open,
        }
    }

    fn enter(&self, phase: Phase) -> Self {
        Self { generation: self.generation.wrapping_add(1), phase, ..*self }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
