//! Events that should never happen. The engine counts and logs them, so that they do not go unnoticed.

/// An event that should be impossible, or that a `capability_restriction_config` of Envoy may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unexpected {
    /// A host call that cannot fail failed with this status.
    HostCall(&'static str, u32),
    /// Envoy entered the module from inside a host call. The event that it reported is lost.
    Reentry,
    /// Envoy created a context twice.
    ContextTwice,
    /// Envoy gave a root another configuration while one is in force.
    ConfiguredTwice,
    /// Envoy handed over less of a body than it had announced.
    ShortChunk,
    /// A callback came that cannot come at this point of a stream.
    OutOfOrder,
}

impl Unexpected {
    /// The name of the event in logs.
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

    /// The status that a failed host call returned.
    pub(super) fn status(self) -> Option<u32> {
        match self {
            Self::HostCall(_, status) => Some(status),
            _ => None,
        }
    }
}
