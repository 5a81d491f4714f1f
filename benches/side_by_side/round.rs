//! One round: load on one variant, what it cost, and the proof that the mirroring it cost was done.

use std::fmt;

use serde::Serialize;

use crate::case::{Case, Variant};
use crate::envoy::Envoy;
use crate::load::Script;
use crate::options::Options;
use crate::upstreams::{Received, Upstreams};
use crate::Result;

/// The figures of a round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Round {
    pub(crate) round: usize,
    pub(crate) variant: Variant,
    /// Requests that the primary got whole.
    pub(crate) requests: u64,
    /// CPU time of all of Envoy's threads, per request.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) requests_per_second: f64,
    /// CPU time over the time of the load: about 1 when the worker was the bottleneck.
    pub(crate) busy: f64,
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>3} {:8} {:8.2} us CPU/request, {:7.0} requests/s, p50 {:6.0} us, p99 {:6.0} us, busy {:.2}",
            self.round, self.variant, self.cpu_us, self.requests_per_second, self.p50_us, self.p99_us, self.busy
        )
    }
}

/// What the rounds of a case share.
pub(crate) struct Bench<'a> {
    pub(crate) case: &'a Case,
    pub(crate) options: &'a Options,
    pub(crate) upstreams: &'a Upstreams,
    pub(crate) script: &'a Script,
}

impl Bench<'_> {
    /// Runs and checks one round.
    pub(crate) fn round(&self, variant: Variant, envoy: &Envoy, seconds: u64) -> Result<Round> {
        let before = self.upstreams.received();
        let cpu_before = envoy.cpu_ns()?;
        let load = self.script.run(envoy.listener(), seconds, self.options)?;
        // Copies still under way are work of this round.
        self.upstreams.drain(self.case.quiet())?;
        let cpu_ns = envoy.cpu_ns()? - cpu_before;
        let after = self.upstreams.received();
        let received: Vec<Received> = after.iter().zip(before).map(|(after, before)| after.since(before)).collect();
        self.verify(variant, seconds, &load, &received).map_err(|problem| format!("{}, {variant}: {problem}", self.case.name))?;
        Ok(Round {
            round: 0,
            variant,
            requests: received[0].requests,
            cpu_us: cpu_ns as f64 / 1000.0 / received[0].requests as f64,
            p50_us: load.p50_us,
            p99_us: load.p99_us,
            requests_per_second: load.requests as f64 / load.duration_us * 1e6,
            busy: cpu_ns as f64 / 1000.0 / load.duration_us,
        })
    }
}
