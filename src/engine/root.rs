//! A root context: takes a configuration, and stays until all that was begun under it has ended.

use std::hash::{Hash, Hasher};
use std::rc::Rc;

use rustc_hash::FxHasher;

use super::host::{Buffer, Host};
use super::journal;
use super::metrics::BuildInfo;
use super::mirror::Mirror;
use super::probe;
use super::rejection::{CannotRun, Rejection};
use super::unexpected::Unexpected;
use super::worker::Worker;
use crate::config::Config;
use crate::delivery::admission::Incomplete;

/// A root context: without a mirror until it is configured.
pub(super) struct Root<H> {
    worker: Rc<Worker<H>>,
    pub(super) mirror: Option<Mirror<H>>,
    /// Its requests that are not complete.
    pub(super) incomplete: Incomplete,
    draining: bool,
    info: Option<BuildInfo<H>>,
    /// Tells the configuration in force from others.
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

    /// Takes a configuration; false when it is refused, with a line for each problem.
    ///
    /// Envoy makes a root for each configuration. Should it ever give one another configuration, the one in force stays, with all that is under way for
    /// it; the same one once more changes nothing.
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
        let undefined = |error| vec![CannotRun::refused_with("proxy_define_metric", "there are no statistics", error).into()];
        worker.define_unexpected().map_err(undefined)?;
        let info = BuildInfo::define(worker).map_err(undefined)?;
        let missing = probe::missing(worker, &info);
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
                problems.push(CannotRun::refused("environ_get or environ_sizes_get", "no ${env:...} has a value").into());
            }
            problems
        })?;
        Ok((Mirror::try_new(worker, config).map_err(|error| vec![error.into()])?, info))
    }

    /// A request comes. Only then is the root counted as one that runs: Envoy tries each configuration in a VM of which nothing more is ever heard.
    pub(super) fn serve(&mut self) {
        if let Some(info) = self.info.as_mut().filter(|_| !self.draining) {
            info.count(true);
        }
    }

    /// A call has ended, with a response or without.
    pub(super) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        if let Some(mirror) = &mut self.mirror {
            mirror.begin();
            mirror.call_ended(token, headers, body_size);
        }
    }

    /// No new request comes; what is under way goes on for a while.
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

    /// True when no new request comes and nothing is under way any more.
    pub(super) fn has_drained(&self) -> bool {
        self.draining && self.mirror.as_ref().is_none_or(Mirror::is_idle)
    }
}

/// The text of a configuration.
fn configuration(worker: &Worker<impl Host>, size: usize) -> Result<Vec<u8>, CannotRun> {
    let text = worker.quietly(|| worker.buffer(Buffer::PluginConfiguration, size));
    text.map_err(|error| {
        CannotRun::refused_with("proxy_get_buffer_bytes", "there is no configuration, and no body is read", error)
    })
}

fn digest(text: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    text.hash(&mut hasher);
    hasher.finish()
}
