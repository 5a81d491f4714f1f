//! What Envoy never does, as far as anybody knows: it is counted and logged, so that it cannot happen in silence.

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
