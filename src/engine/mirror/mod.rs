//! A configuration in force, and every delivery under it.
//!
//! Each part has one job and does not know the others: [`admission`] (places and bytes), [`attempts`], [`backoffs`], [`breakers`], [`batching`],
//! [`ordering`], [`dead_letters`], [`deferred`] work. A part that needs something done next adds a [`Step`]. Only [`Mirror::carry_out`] carries steps out. `intake`
//! makes deliveries of requests. `following` hands requests on to the targets that follow another. `abandon` ends deliveries when a drain times out.

mod abandon;
mod admission;
mod answering;
mod attempts;
mod backoffs;
mod batching;
mod breakers;
mod call;
mod common;
mod comparing;
mod copy_end;
mod dead_letters;
mod deferred;
mod drain;
mod following;
mod intake;
mod ordering;
mod step;
mod wanted;

use std::rc::Rc;
use std::time::Duration;

pub(super) use self::admission::Upload;
use self::attempts::{Attempts, Ended};
use self::backoffs::Backoffs;
use self::batching::Batching;
use self::breakers::Breakers;
use self::call::{NoCall, Response};
use self::common::Common;
use self::dead_letters::Letters;
use self::deferred::Deferred;
use self::drain::{Condemned, Drain};
use self::ordering::Ordering;
use self::step::Step;
use self::wanted::Now;
pub(super) use self::wanted::{Complete, Wanted};
use super::delivery::Delivery;
use super::host::Host;
use super::metric_ids::TargetMetrics;
use super::rejection::CannotRun;
use super::shared_breaker::SharedBreaker;
use super::worker::Worker;
use crate::config::Config;
use crate::delivery::admission::Offer;
use crate::delivery::breaker::{Admission, Sample};
use crate::delivery::drop_reason::DropReason;
use crate::delivery::outcome::End;
use crate::engine::ids::RandomPool;
use crate::rewrite::reading::Reading;

/// A configuration in force.
pub(super) struct Mirror<H> {
    pub(super) common: Common<H>,
    attempts: Attempts,
    backoffs: Backoffs,
    breakers: Breakers<H>,
    batching: Batching,
    ordering: Ordering,
    letters: Letters,
    deferred: Deferred,
    drain: Drain,
    /// The requests since the last one that a target wanted, or that has a path for which one might.
    unwanted_in_a_row: u32,
    condemned: Condemned,
}

impl<H: Host> Mirror<H> {
    /// Puts a configuration in force.
    ///
    /// # Errors
    /// Returns an error if Envoy does not define a metric, has no random bytes, or has no shared data for a breaker.
    pub(super) fn try_new(worker: &Rc<Worker<H>>, config: Config) -> Result<Self, CannotRun> {
        let (mut guards, mut all_metrics) = (Vec::new(), Vec::new());
        for target in &config.targets {
            let metrics = TargetMetrics::of(worker, &config, target)
                .map_err(|error| CannotRun::NoMetrics { target: target.name.clone(), error })?;
            let guard = SharedBreaker::new(worker, &target.name, &target.cluster, target.breaker, &metrics);
            if let Some(call) = guard.refused() {
                let need = "circuit breakers (not for circuit_breaker: {mode: disabled})";
                return Err(CannotRun::refused(call, need));
            }
            guards.push(guard);
            all_metrics.push(metrics);
        }
        let random =
            RandomPool::filled(|block| worker.random(block)).ok_or(CannotRun::refused("random_get", "the ids of copies"))?;
        Ok(Self {
            attempts: Attempts::default(),
            backoffs: Backoffs::default(),
            breakers: Breakers::new(guards.into_iter()),
            batching: Batching::new(&config),
            ordering: Ordering::new(&config),
            letters: Letters::default(),
            deferred: Deferred::default(),
            drain: Drain::default(),
            unwanted_in_a_row: 0,
            condemned: Condemned::default(),
            common: Common::new(worker, config, all_metrics, random),
        })
    }

    pub(super) fn target_count(&self) -> usize {
        self.common.config.targets.len()
    }

    /// True if nothing waits and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        self.deferred.is_empty() && self.condemned.is_empty() && self.common.admission.is_idle()
    }

    /// Begins a callback.
    pub(super) fn begin(&mut self) {
        self.common.begin();
    }

    /// Handles the end of a call-out, with a response or without.
    pub(super) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        let now = self.common.worker.monotonic();
        let response = Response { headers, body_size };
        match self.attempts.ended(&self.common, token, response, now) {
            Some(ended) => self.conclude(ended, now),
            None => self.letters.ended(&mut self.common, token, response, now),
        }
        self.run(now);
    }

    /// Handles a tick: runs everything that is due.
    pub(super) fn tick(&mut self) {
        let now = self.common.worker.monotonic();
        self.abandon_late(now);
        while let Some(step) = self.deferred.resume(&mut self.common) {
            match step {
                // It is the first that was deferred, so it is not behind others.
                Step::Admit(delivery) => self.admit(delivery, None, now),
                other => self.common.follow(other),
            }
            self.run(now);
        }
        for target in 0..self.target_count() {
            match self.drain {
                Drain::No => self.batching.go_if_due(&mut self.common, target, now),
                _ => self.batching.close(&mut self.common, target, now),
            }
            self.run(now);
            if !self.common.is_spent() && self.breakers.is_due(target, now) {
                self.common.follow(Step::AskBreaker(target));
                self.run(now);
            }
        }
        while let Some(delivery) = self.backoffs.next(&self.common, now) {
            self.common.follow(Step::Unpark(delivery));
            self.run(now);
        }
        let next = self.next_due(now);
        self.common.arm(next, now);
    }

    /// When the next delivery or batch is due, or the drain ends. `None` if nothing is due at any time.
    fn next_due(&self, now: Duration) -> Option<Duration> {
        let times = [self.backoffs.due(), self.batching.due(), self.breakers.due(), self.deferred.due(now), self.drain.end()];
        times.into_iter().flatten().min()
    }

    /// Leaves the breakers that no other configuration of this worker uses.
    pub(super) fn leave<'a>(&mut self, others: impl Iterator<Item = &'a Self> + Clone)
    where
        H: 'a,
    {
        self.breakers.leave(&self.common, others.map(|other| &other.breakers));
    }

    /// Carries out what follows, if anything does, at the present time.
    fn run_now(&mut self) {
        self.run_at(&Now::new(&self.common.worker));
    }

    /// Carries out what follows at a time that is known.
    fn run(&mut self, now: Duration) {
        self.run_at(&Now::known(&self.common.worker, now));
    }

    /// Carries out the pending steps. The steps that a step adds come before the remaining ones.
    fn run_at(&mut self, now: &Now<H>) {
        // `pop` takes from the end.
        self.common.steps.reverse();
        while let Some(step) = self.common.steps.pop() {
            let before = self.common.steps.len();
            self.carry_out(step, now);
            if let Some(new) = self.common.steps.get_mut(before..) {
                new.reverse();
            }
        }
    }

    /// Carries out one step. The step may add others to the list.
    fn carry_out(&mut self, step: Step, now: &Now<H>) {
        if self.common.is_spent() && Self::takes_work(&step) || self.deferred.is_behind(&step) {
            self.deferred.defer(&mut self.common, step, **now);
            return;
        }
        let Self { common, breakers, backoffs, .. } = self;
        match step {
            Step::Admit(delivery) => self.admit(delivery, None, **now),
            Step::Attempt(delivery) => self.attempt(delivery, None, **now),
            Step::BackOff(delivery, delay) => backoffs.add(common, delivery, delay, **now),
            Step::Hold(delivery, wait) => breakers.hold(common, delivery, wait, **now),
            Step::AskBreaker(target) => breakers.ask(common, backoffs, target, **now),
            Step::ProbeSent { target, waiting } => breakers.probe_sent(common, target, waiting, **now),
            Step::Unpark(delivery) => {
                if let Some(Offer::Go(delivery)) =
                    common.admission.copies(delivery.target).map(|limiter| limiter.unpark(delivery))
                {
                    common.count_queued(delivery.burden(), -1);
                    common.follow(Step::Attempt(delivery));
                }
            }
            Step::FreePlace(target) => {
                if let Some(next) = common.admission.copies(target).and_then(|limiter| limiter.ended()) {
                    common.count_queued(next.burden(), -1);
                    common.follow(Step::Attempt(next));
                }
            }
            Step::FreeKey(target, key) => self.ordering.free(common, target, &key),
            Step::GiveUp(delivery, attempts, reason) => dead_letters::give_up(common, delivery, attempts, reason, **now),
            Step::Letter(given_up) => dead_letters::offer(common, given_up),
            Step::Post(given_up) => self.letters.post(common, &mut self.batching, given_up, **now),
            Step::FreeLetterPlace(target) => {
                if let Some(next) = common.admission.letters(target).and_then(|limiter| limiter.ended()) {
                    common.count_queued(next.delivery.burden(), -1);
                    common.follow(Step::Post(next));
                }
            }
            Step::Follow(end) => self.follow(&end, **now),
            Step::Compare(pair) => comparing::compare(common, &pair),
        }
    }

    /// True if the step is expensive, so that a callback that has done its share leaves it to the next.
    fn takes_work(step: &Step) -> bool {
        matches!(step, Step::Admit(_) | Step::Attempt(_) | Step::Post(_) | Step::Compare(_))
    }

    /// Makes the attempt of a delivery that has a place in flight. `shared` is a reading of the request that other targets share.
    fn attempt(&mut self, delivery: Delivery, shared: Option<&Reading<'_>>, now: Duration) {
        let Self { common, attempts, breakers, batching, .. } = self;
        let target = delivery.target;
        if attempts::has_expired(common, &delivery, now) {
            common.follow(Step::give_up_before_attempt(delivery, DropReason::Expired));
            common.follow(Step::FreePlace(target));
            return;
        }
        let permit = match breakers.admit(common, target, now) {
            Admission::Pass(permit) => permit,
            Admission::Deny(wait) => {
                common.follow(Step::Hold(delivery, wait));
                common.follow(Step::FreePlace(target));
                return;
            }
        };
        match attempts::start(common, batching, &delivery, shared, now) {
            Ok(started) => attempts.add(common, delivery, permit, started, now),
            Err(NoCall::Unfit(reason)) => {
                breakers.settle(common, target, permit, None, None, now);
                common.follow(Step::give_up_before_attempt(delivery, reason));
                common.follow(Step::FreePlace(target));
            }
            Err(NoCall::Failed(cause)) => {
                let outcome = common.judge(target, End::NotSent(cause));
                let elapsed = Duration::ZERO;
                self.conclude(Ended { delivery, permit, outcome, elapsed, retry_after: None, body_size: 0 }, now);
            }
        }
    }

    /// Ends an attempt: tells the target's breaker, then continues or ends the delivery.
    fn conclude(&mut self, ended: Ended, now: Duration) {
        let Self { common, breakers, .. } = self;
        let target = ended.delivery.target;
        let policy = common.target(target).map(|target| &target.policy);
        let sample = policy.and_then(|policy| Sample::of(policy, ended.outcome, ended.elapsed));
        breakers.settle(common, target, ended.permit, sample, Some(ended.outcome.cause), now);
        attempts::conclude(common, ended, now);
    }
}
