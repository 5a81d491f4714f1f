//! A root context: takes a configuration, and stays until everything that began under it has ended.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use rustc_hash::FxHasher;

use super::host::{Buffer, Host};
use super::journal;
use super::metric_ids::BuildInfo;
use super::mirror::Mirror;
use super::rejection::{CannotRun, Rejection};
use super::required_calls;
use super::unexpected::Unexpected;
use super::worker::Worker;
use crate::config::Config;
use crate::delivery::admission::Incomplete;

/// A root context. It has no mirror until it is configured.
pub(super) struct Root<H> {
    worker: Rc<Worker<H>>,
    pub(super) mirror: Option<Mirror<H>>,
    /// Its incomplete requests.
    pub(super) incomplete: Incomplete,
    draining: bool,
    info: Option<BuildInfo<H>>,
    /// Identifies the configuration in force.
    digest: u64,
}

impl<H: Host> Root<H> {
    pub(super) fn new(worker: &Rc<Worker<H>>) -> Self {
        Self {
            worker: Rc::clone(worker),
            mirror: None,
            incomplete: Incomplete::default(),
            draining: false,
            info: None,
            digest: 0,
        }
    }

    pub(super) fn configured(&self) -> Option<&Mirror<H>> {
        self.mirror.as_ref()
    }

    pub(super) fn mirror(&mut self) -> Option<&mut Mirror<H>> {
        self.mirror.as_mut()
    }

    /// Takes a configuration. If it refuses the configuration, it logs each problem and returns false.
    ///
    /// Envoy makes a root for each configuration. If it ever gives a root another configuration, the root keeps the one in force, with everything
    /// in flight under it. The same configuration again changes nothing.
    pub(super) fn configure(&mut self, size: usize) -> bool {
        let text = match configuration(&self.worker, size) {
            Ok(text) => text,
            Err(problem) => {
                journal::rejected(&problem.to_string());
                return false;
            }
        };
        let digest = digest(&text);
        if self.mirror.is_some() {
            self.worker.note(Unexpected::ConfiguredTwice);
            return self.digest == digest;
        }
        match Self::prepare(&self.worker, &text) {
            Ok((mirror, info)) => {
                journal::configured(&self.worker, mirror.target_count());
                (self.mirror, self.info, self.digest) = (Some(mirror), Some(info), digest);
                true
            }
            Err(problems) => {
                for problem in problems {
                    journal::rejected(&problem.to_string());
                }
                false
            }
        }
    }

    fn prepare(worker: &Rc<Worker<H>>, text: &[u8]) -> Result<(Mirror<H>, BuildInfo<H>), Vec<Rejection>> {
        let undefined = |error| vec![CannotRun::refused_with("proxy_define_metric", "statistics", error).into()];
        worker.define_unexpected().map_err(undefined)?;
        let info = BuildInfo::define(worker).map_err(undefined)?;
        let missing = required_calls::missing(worker, &info);
        if !missing.is_empty() {
            return Err(missing.into_iter().map(Rejection::from).collect());
        }
        let asked = std::cell::Cell::new(false);
        let env = |name: &str| {
            asked.set(true);
            worker.host.environment_variable(name)
        };
        let config = Config::parse(text, &env).map_err(|problems| {
            let mut problems: Vec<_> = problems.into_iter().map(Rejection::from).collect();
            if asked.get() && worker.host.refuses_environment() {
                problems.push(CannotRun::refused("environ_get or environ_sizes_get", "${env:...}").into());
            }
            problems
        })?;
        Ok((Mirror::try_new(worker, config).map_err(|error| vec![error.into()])?, info))
    }

    /// Handles a request. Only then does the root count as running: Envoy validates each configuration in a VM that it never uses again.
    pub(super) fn serve(&mut self) {
        if let Some(info) = self.info.as_mut().filter(|_| !self.draining) {
            info.count(true);
        }
    }

    /// Handles the end of a call-out, with a response or without.
    pub(super) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        if let Some(mirror) = &mut self.mirror {
            mirror.begin();
            mirror.call_ended(token, headers, body_size);
        }
    }

    /// Begins the drain: no new requests come, and deliveries in flight get some time to end.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        if let Some(info) = &mut self.info {
            info.count(false);
        }
        if let Some(mirror) = &mut self.mirror {
            mirror.begin();
            mirror.drain();
        }
    }

    /// True if the root drains and nothing waits or is in flight.
    pub(super) fn has_drained(&self) -> bool {
        self.draining && self.mirror.as_ref().is_none_or(Mirror::is_idle)
    }
}

/// The text of the configuration.
fn configuration(worker: &Worker<impl Host>, size: usize) -> Result<Vec<u8>, CannotRun> {
    let text = worker.quietly(|| worker.buffer(Buffer::PluginConfiguration, size));
    text.map_err(|error| CannotRun::refused_with("proxy_get_buffer_bytes", "the configuration and bodies", error))
}

fn digest(text: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    text.hash(&mut hasher);
    hasher.finish()
}
