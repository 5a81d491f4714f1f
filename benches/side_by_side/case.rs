//! What is compared: one load, on several ways to mirror it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::Result;

/// A way to mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Variant {
    /// No filter, no mirroring.
    None,
    /// Envoy's `request_mirror_policies`.
    Native,
    /// The same in another process: what differs between the two is noise. Only if it is asked for.
    NativeAgain,
    /// A Lua filter with an asynchronous `httpCall` per target.
    Lua,
    /// A mirror written with the proxy-wasm SDK (`tests/plain-filter`), which knows one target. Only if it is asked for.
    Sdk,
    /// The filter of this repository, with the first rule of each target alone.
    OneRule,
    /// The filter of this repository.
    Sidecast,
}

impl Variant {
    pub(crate) const ALL: [Self; 7] =
        [Self::None, Self::Native, Self::NativeAgain, Self::Lua, Self::Sdk, Self::OneRule, Self::Sidecast];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Native => "native",
            Self::NativeAgain => "native-again",
            Self::Lua => "lua",
            Self::Sdk => "sdk",
            Self::OneRule => "one-rule",
            Self::Sidecast => "sidecast",
        })
    }
}

impl FromStr for Variant {
    type Err = Box<dyn std::error::Error>;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|variant| variant.to_string() == text);
        found.ok_or_else(|| {
            format!("{text}: no variant, expected none, native, native-again, lua, sdk, one-rule or sidecast").into()
        })
    }
}

/// One load on all its variants.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Each request's body; of none, the request is a GET.
    #[serde(serialize_with = "length")]
    pub(crate) body: Vec<u8>,
    /// How many targets the variants know.
    pub(crate) targets: usize,
    /// The filter's configuration of each target, but for its name and cluster.
    pub(crate) target: Value,
    /// What each target gets of the filter.
    #[serde(skip)]
    pub(crate) arrival: Arrival,
    pub(crate) variants: Vec<Variant>,
    pub(crate) verdict: Option<Verdict>,
    /// How often its Envoys are started anew.
    pub(crate) launches: usize,
    /// Turns of each launch.
    pub(crate) turns: usize,
}

/// What arrives at a target.
#[derive(Debug, Clone)]
pub(crate) enum Arrival {
    Nothing,
    /// Each request, with its body.
    AsSent,
    /// For each request this one.
    Shaped {
        path: &'static str,
        body: Value,
    },
    /// The bodies of all requests, so many in a JSON array; fewer only where the delay was over.
    Batches {
        path: &'static str,
        items: u64,
        max_delay: Duration,
    },
}

/// A bound on what a variant may cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Verdict {
    pub(crate) of: Variant,
    pub(crate) base: Variant,
    /// CPU per request of the one over that of the other.
    pub(crate) at_most: f64,
}

impl Case {
    /// What each target gets of `variant`.
    pub(crate) fn arrival(&self, variant: Variant) -> &Arrival {
        match variant {
            Variant::None => &Arrival::Nothing,
            Variant::Native | Variant::NativeAgain | Variant::Lua | Variant::Sdk => &Arrival::AsSent,
            Variant::OneRule | Variant::Sidecast => &self.arrival,
        }
    }

    /// Whether what arrives is told by more than its number and size.
    pub(crate) fn inspected(&self) -> bool {
        matches!(self.arrival, Arrival::Shaped { .. } | Arrival::Batches { .. })
    }

    /// How long nothing may arrive until all is taken to have arrived.
    pub(crate) fn quiet(&self) -> Duration {
        let quiet = Duration::from_millis(50);
        match self.arrival {
            Arrival::Batches { max_delay, .. } => max_delay + 10 * quiet,
            _ => quiet,
        }
    }

    /// What the variants are shown in relation to: native mirroring, or no filter where nothing is mirrored.
    pub(crate) fn base(&self) -> Variant {
        match self.arrival {
            Arrival::Nothing => Variant::None,
            _ => Variant::Native,
        }
    }

    pub(crate) fn file_stem(&self) -> String {
        self.name.replace(['/', ' '], "-")
    }
}

fn length<S: Serializer>(bytes: &[u8], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    bytes.len().serialize(serializer)
}
