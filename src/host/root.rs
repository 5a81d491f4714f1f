//! A root context: takes a configuration, and stays until all that was begun under it has ended.

use super::calls::{self, Buffer};
use super::journal;
use super::mirror::Mirror;
use crate::config::Config;

/// A root context: without a mirror until it is configured.
#[derive(Default)]
pub(super) struct Root {
    mirror: Option<Mirror>,
    draining: bool,
}

impl Root {
    pub(super) fn configured(&self) -> Option<&Mirror> {
        self.mirror.as_ref()
    }

    pub(super) fn mirror(&mut self) -> Option<&mut Mirror> {
        self.mirror.as_mut()
    }

    /// Takes a configuration; false when it is refused, with a line for each problem.
    pub(super) fn configure(&mut self, size: usize) -> bool {
        match Self::read_configuration(size) {
            Ok(mirror) => {
                journal::configured(mirror.target_count());
                self.mirror = Some(mirror);
                true
            }
            Err(problems) => {
                for problem in problems {
                    journal::rejected(&problem);
                }
                false
            }
        }
    }

    fn read_configuration(size: usize) -> Result<Mirror, Vec<String>> {
        let text = calls::buffer(Buffer::PluginConfiguration, size)
            .map_err(|error| vec![format!("configuration: Envoy does not hand it over: status {}", error.0)])?;
        let config = Config::parse(&text, &calls::environment_variable)
            .map_err(|problems| problems.into_iter().map(|problem| problem.to_string()).collect::<Vec<_>>())?;
        Mirror::try_new(config).map_err(|problem| vec![problem])
    }

    /// A call has ended, with an answer or without.
    pub(super) fn call_ended(&mut self, token: u32, headers: u32, body_size: usize) {
        if let Some(mirror) = &mut self.mirror {
            mirror.begin();
            mirror.call_ended(token, headers, body_size);
        }
    }

    /// No new request comes; what is under way goes on for a while.
    pub(super) fn drain(&mut self) {
        self.draining = true;
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
