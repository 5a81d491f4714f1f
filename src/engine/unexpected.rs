//! What Envoy never does, as far as anybody knows: it is counted and logged, so that it cannot happen in silence.

use super::host::{Host, HostError};
use super::journal;
use super::worker::Worker;
use crate::observe::metrics::{Kind, UNEXPECTED};

/// An event that the code takes for impossible, or that an Envoy with a `capability_restriction_config` may bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// A host call failed that cannot fail, with this status.
    HostCall(&'static str, u32),
    /// Envoy entered the module from inside one of its own calls. What it told is lost.
    Reentry,
    /// A context was made twice.
    ContextTwice,
    /// A context got another configuration while one is in force.
    ConfiguredTwice,
    /// Envoy handed over less of a body than it had told of.
    ShortChunk,
    /// A callback came that cannot come at this point of a stream.
    OutOfOrder,
}

impl Unexpected {
    /// The word for it in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::HostCall(call, _) => call,
            Self::Reentry => "reentry",
            Self::ContextTwice => "context_twice",
            Self::ConfiguredTwice => "configured_twice",
            Self::ShortChunk => "short_chunk",
            Self::OutOfOrder => "out_of_order",
        }
    }

    /// The status that a host call returned.
    pub(super) fn status(self) -> Option<u32> {
        match self {
            Self::HostCall(_, status) => Some(status),
            _ => None,
        }
    }
}

impl<H: Host> Worker<H> {
    /// Defines the counter, so that it is there, at 0, before anything happens.
    pub(super) fn define_unexpected(&self) -> Result<(), HostError> {
        if self.unexpected.get().is_none() {
            self.unexpected.set(Some(self.host.define_metric(Kind::Counter, UNEXPECTED)?));
        }
        Ok(())
    }

    /// True when the host takes a value for the counter.
    pub(super) fn can_record_unexpected(&self) -> bool {
        self.unexpected.get().is_some_and(|counter| self.host.record_metric(counter, 0))
    }

    /// Runs what tries out whether the host refuses something: that is not counted.
    pub(super) fn quietly<R>(&self, run: impl FnOnce() -> R) -> R {
        let before = self.is_quiet.replace(true);
        let result = run();
        self.is_quiet.set(before);
        result
    }

    /// Counts an event, and logs it.
    pub fn note(&self, event: Unexpected) {
        if self.is_quiet.get() {
            return;
        }
        if let Some(counter) = self.unexpected.get() {
            self.host.increment_metric(counter, 1);
        }
        if !self.is_told.replace(true) {
            journal::unexpected(self, event);
            self.is_told.set(false);
        }
    }
}
