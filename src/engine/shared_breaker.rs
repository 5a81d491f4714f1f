//! A target's circuit breaker, with its record in Envoy's shared data, its gauge and its log lines.

use std::rc::Rc;
use std::time::Duration;

use super::host::{Host, CAS_MISMATCH};
use super::journal;
use super::metric_ids::TargetMetrics;
use super::worker::Worker;
use crate::delivery::breaker::{Admission, Breaker, Outlook, Permit, Record, Sample, Settings, State, Store, Transition, LAYOUT};
use crate::delivery::cause::Cause;
use crate::observe::metrics::Metric;

/// One worker's side of a target's circuit breaker. Without settings, it lets every attempt pass.
pub(super) struct SharedBreaker<H> {
    target: String,
    shared: Shared<H>,
    breaker: Option<Breaker>,
    /// The state that the gauge shows, as far as this worker knows.
    shown: Option<State>,
    /// The host call that the breaker needs and Envoy refuses.
    refused: Option<&'static str>,
}

impl<H: Host> SharedBreaker<H> {
    /// Joins the target's breaker. Workers, and successive configurations, share it by the names of the target and the cluster. Versions of the
    /// filter with another layout of the record do not share it.
    pub(super) fn new(
        worker: &Rc<Worker<H>>,
        target: &str,
        cluster: &str,
        settings: Option<Settings>,
        metrics: &TargetMetrics<H>,
    ) -> Self {
        let key = format!("sidecast.breaker.{LAYOUT}/{target}/{cluster}");
        let shared = Shared { worker: Rc::clone(worker), key };
        let mut guard =
            Self { target: target.to_owned(), shared, breaker: settings.map(Breaker::new), shown: None, refused: None };
        let mut state = State::Closed;
        if let Some(breaker) = &mut guard.breaker {
            guard.refused = worker.quietly(|| guard.shared.seed());
            state = breaker.join(&mut guard.shared);
        }
        guard.show(state, metrics);
        guard
    }

    /// The host call that the breaker needs and Envoy refuses. `None` if all calls work.
    pub(super) fn refused(&self) -> Option<&'static str> {
        self.refused
    }

    /// Asks whether an attempt may be made.
    pub(super) fn admit(&mut self, metrics: &TargetMetrics<H>, now: Duration) -> Admission {
        let Some(breaker) = &mut self.breaker else {
            return Admission::Pass(Permit::Unseen);
        };
        let (admission, state, transition) = breaker.admit(&mut self.shared, now);
        self.show(state, metrics);
        self.report(transition, None, metrics);
        admission
    }

    /// What the next attempt would find.
    pub(super) fn outlook(&mut self, now: Duration) -> Outlook {
        match &mut self.breaker {
            Some(breaker) => breaker.outlook(&mut self.shared, now),
            None => Outlook::Closed,
        }
    }

    /// Tells the breaker how an attempt ended. `cause` is for the log.
    pub(super) fn settle(
        &mut self,
        permit: Permit,
        sample: Option<Sample>,
        cause: Option<Cause>,
        metrics: &TargetMetrics<H>,
        now: Duration,
    ) {
        if let Some(breaker) = &mut self.breaker {
            let transition = breaker.settle(&mut self.shared, permit, sample, now);
            self.report(transition, cause, metrics);
        }
    }

    /// True if both are sides of the same breaker.
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        self.shared.key == other.shared.key
    }

    /// Leaves the breaker: this worker does not use it any more. If the target comes back, the breaker begins closed.
    pub(super) fn leave(&mut self) {
        let worker = Rc::clone(&self.shared.worker);
        // A target without a breaker has not probed shared data, so this call may be refused.
        worker.quietly(|| Breaker::leave(&mut self.shared));
    }

    /// Sets the gauge to closed, because no other configuration sets it for this target.
    pub(super) fn show_closed(&mut self, metrics: &TargetMetrics<H>) {
        self.show(State::Closed, metrics);
    }

    /// True if both are for targets of the same name. Their clusters may differ.
    pub(super) fn has_name_of(&self, other: &Self) -> bool {
        self.target == other.target
    }

    fn report(&mut self, transition: Option<Transition>, cause: Option<Cause>, metrics: &TargetMetrics<H>) {
        let Some(transition) = transition else {
            return;
        };
        journal::breaker(&self.shared.worker, &self.target, transition, cause);
        let state = match transition {
            Transition::Opened(_, _) => {
                metrics.add(Metric::BreakerOpened, 1);
                State::Open
            }
            Transition::HalfOpened => State::HalfOpen,
            Transition::Closed => State::Closed,
        };
        self.show(state, metrics);
    }

    /// Sets the gauge. The worker that changes the state sets it, and so does any worker that sees another state than it last saw. If two workers
    /// set it in the wrong order, the next attempt corrects it.
    fn show(&mut self, state: State, metrics: &TargetMetrics<H>) {
        if self.shown != Some(state) {
            self.shown = Some(state);
            metrics.set(Metric::BreakerState, state as u64);
        }
    }
}

/// The record in shared data.
struct Shared<H> {
    worker: Rc<Worker<H>>,
    key: String,
}

impl<H: Host> Shared<H> {
    /// Creates the record if there is none. Returns the host call that Envoy refuses, if it refuses one.
    ///
    /// Envoy accepts the first write of a key with any version. Two workers that created the record with their first outcomes could therefore
    /// overwrite each other. Any later write must name the current version, which `u32::MAX` never is.
    fn seed(&self) -> Option<&'static str> {
        let mut room = Record::room();
        match self.worker.set_shared_data(&self.key, Record::default().encode(&mut room), u32::MAX) {
            // The record exists.
            Ok(()) | Err(CAS_MISMATCH) => {}
            Err(_) => return Some("proxy_set_shared_data"),
        }
        self.worker.shared_data(&self.key, &mut Record::room()).is_err().then_some("proxy_get_shared_data")
    }
}

impl<H: Host> Store for Shared<H> {
    fn read(&mut self) -> Option<(Record, u32)> {
        let mut room = Record::room();
        let (bytes, version) = self.worker.shared_data(&self.key, &mut room).ok()?;
        Some((Record::decode(bytes).unwrap_or_default(), version))
    }

    fn write(&mut self, record: &Record, version: u32) -> bool {
        self.worker.set_shared_data(&self.key, record.encode(&mut Record::room()), version).is_ok()
    }
}
