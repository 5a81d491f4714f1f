//! One slice: load on one variant for a moment, and what it cost.

use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::case::{Arrival, Case, Variant};
use crate::envoy::Envoy;
use crate::load::Clients;
use crate::machine::Machine;
use crate::options::Options;
use crate::upstreams::Upstreams;
use crate::Result;

/// How long copies may take to arrive once the load has ended, and Envoy to come to rest.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(1);

/// The figures of a slice.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Slice {
    pub(crate) turn: usize,
    pub(crate) variant: Variant,
    /// Requests that were answered, all of which the primary got.
    pub(crate) requests: usize,
    /// CPU time of all of Envoy's threads, per request.
    pub(crate) cpu_us: f64,
    pub(crate) requests_per_second: f64,
    /// CPU time over the time of the load: about 1 when the worker was the bottleneck.
    pub(crate) busy: f64,
}

/// A variant that runs: an Envoy, its clients and its upstreams, which no other variant has.
pub(crate) struct Side<'a> {
    pub(crate) case: &'a Case,
    pub(crate) variant: Variant,
    pub(crate) envoy: Envoy,
    pub(crate) upstreams: Upstreams,
    clients: Clients,
    /// Requests since the start.
    pub(crate) sent: u64,
    pub(crate) started: Instant,
}

impl<'a> Side<'a> {
    pub(crate) fn start(variant: Variant, case: &'a Case, options: &Options, machine: &Machine) -> Result<Self> {
        let upstreams = Upstreams::start(case.targets, machine.load_cpus())?;
        upstreams.inspect(case.inspected());
        let envoy = Envoy::start(variant, case, options, machine, &upstreams)?;
        let clients = Clients::connect(envoy.listener(), case, options)?;
        Ok(Self { case, variant, envoy, upstreams, clients, sent: 0, started: Instant::now() })
    }

    /// Runs one slice; what each request took goes to `latency`, in microseconds.
    pub(crate) fn slice(&mut self, turn: usize, length: Duration, latency: &mut Histogram<u64>) -> Result<Slice> {
        self.load(turn, length, latency).map_err(|problem| format!("{}, {}: {problem}", self.case.name, self.variant).into())
    }

    fn load(&mut self, turn: usize, length: Duration, latency: &mut Histogram<u64>) -> Result<Slice> {
        let before = self.envoy.cpu_ns()?;
        let load = self.clients.send(length)?;
        let requests = load.latencies.len();
        if requests == 0 {
            return Err(format!("no request in {length:?}").into());
        }
        self.sent += requests as u64;
        // Copies still under way are work of this slice.
        self.rest()?;
        let cpu_us = (self.envoy.cpu_ns()? - before) as f64 / 1000.0;
        for taken in load.latencies {
            latency.record(u64::try_from(taken.as_micros())?)?;
        }
        let took_us = load.took.as_secs_f64() * 1e6;
        Ok(Slice {
            turn,
            variant: self.variant,
            requests,
            cpu_us: cpu_us / requests as f64,
            requests_per_second: requests as f64 / took_us * 1e6,
            busy: cpu_us / took_us,
        })
    }

    /// Waits until all copies have been answered and Envoy sleeps.
    fn rest(&self) -> Result<()> {
        let begin = Instant::now();
        let mut asleep = 0;
        while begin.elapsed() < PATIENCE {
            thread::sleep(LOOK);
            // Seen twice: an answer may be on its way from the upstream to Envoy.
            asleep = if self.arrived() && self.envoy.asleep()? { asleep + 1 } else { 0 };
            if asleep == 2 {
                return Ok(());
            }
        }
        // Says what is missing, if something is.
        self.verify()?;
        Err(format!("Envoy was at work {} s after the load had ended", PATIENCE.as_secs()).into())
    }

    /// Whether the primary and the targets have got and answered what they should by now; items of a batch that is not full may be missing.
    fn arrived(&self) -> bool {
        let received = self.upstreams.received();
        let enough = received.iter().enumerate().all(|(index, got)| match (index, self.case.arrival(self.variant)) {
            (0, _) | (_, Arrival::AsSent | Arrival::Shaped { .. }) => got.requests >= self.sent,
            (_, Arrival::Batches { items, .. }) => got.items + items > self.sent,
            (_, Arrival::Nothing) => true,
        });
        enough && self.upstreams.idle()
    }
}
