//! What Envoy never does, as far as anybody knows: it is counted and logged, so that it cannot happen in silence.

use std::cell::Cell;

use super::{calls, journal};
use crate::observe::metrics::{Kind, UNEXPECTED};

thread_local! {
    /// The counter, once it is defined.
    static COUNTER: Cell<Option<u32>> = const { Cell::new(None) };
    /// One is being told of. What happens meanwhile, in the calls that this takes, is only counted.
    static IS_TOLD: Cell<bool> = const { Cell::new(false) };
    /// Host calls are tried out.
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// An event that the code takes for impossible, or that an Envoy with a `capability_restriction_config` may bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unexpected {
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

    /// The status that a host call answered.
    pub(super) fn status(self) -> Option<u32> {
        match self {
            Self::HostCall(_, status) => Some(status),
            _ => None,
        }
    }
}

/// Defines the counter, so that it is there, at 0, before anything happens.
pub(super) fn define() -> Result<(), calls::HostError> {
    // Once in a VM: Envoy keeps each definition.
    if COUNTER.get().is_none() {
        COUNTER.set(Some(calls::define_metric(Kind::Counter, UNEXPECTED)?));
    }
    Ok(())
}

/// True when Envoy takes a value for the counter.
pub(super) fn can_be_recorded() -> bool {
    COUNTER.get().is_some_and(|counter| calls::record_metric(counter, 0))
}

/// Runs what tries out whether Envoy refuses something: that is not counted.
pub(super) fn quietly<R>(run: impl FnOnce() -> R) -> R {
    let before = IS_QUIET.replace(true);
    let result = run();
    IS_QUIET.set(before);
    result
}

/// Counts an event, and logs it.
pub(super) fn note(event: Unexpected) {
    if IS_QUIET.get() {
        return;
    }
    if let Some(counter) = COUNTER.get() {
        calls::increment_metric(counter, 1);
    }
    if !IS_TOLD.replace(true) {
        journal::unexpected(event);
        IS_TOLD.set(false);
    }
}
