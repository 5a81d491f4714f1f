//! What is compared: bodies times targets, and requests that no target wants.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::options::Options;
use crate::Result;

/// A way to mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Variant {
    /// No filter, no mirroring.
    None,
    /// Envoy's `request_mirror_policies`.
    Native,
    /// A Lua filter with an asynchronous `httpCall` per target.
    Lua,
    /// The filter of this repository.
    Sidecast,
}

impl Variant {
    pub(crate) const ALL: [Self; 4] = [Self::None, Self::Native, Self::Lua, Self::Sidecast];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Native => "native",
            Self::Lua => "lua",
            Self::Sidecast => "sidecast",
        })
    }
}

impl FromStr for Variant {
    type Err = Box<dyn std::error::Error>;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|variant| variant.to_string() == text);
        found.ok_or_else(|| format!("{text}: no variant, expected none, native, lua or sidecast").into())
    }
}

/// One load on all its variants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Case {
    /// Bytes of each request's body; 0 is a GET without one.
    pub(crate) body: usize,
    /// How many targets the variants know.
    pub(crate) targets: usize,
    /// Whether the targets want the requests.
    pub(crate) matching: bool,
    pub(crate) variants: Vec<Variant>,
    pub(crate) rounds: usize,
}

impl Case {
    /// How many copies of a request `variant` makes.
    pub(crate) fn copies(&self, variant: Variant) -> usize {
        if self.matching && variant != Variant::None {
            self.targets
        } else {
            0
        }
    }

    pub(crate) fn file_stem(&self) -> String {
        self.to_string().replace(['/', ' '], "-")
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.body {
            0 => write!(f, "0B")?,
            body => write!(f, "{}KiB", body / 1024)?,
        }
        match (self.matching, self.targets) {
            (false, _) => write!(f, "/no match"),
            (true, 1) => write!(f, "/1 target"),
            (true, targets) => write!(f, "/{targets} targets"),
        }
    }
}

/// The body size and number of targets of the case with the verdict on mirroring.
pub(crate) const VERDICT: (usize, usize) = (1024, 1);

/// The cases that `options` select.
pub(crate) fn plan(options: &Options) -> Vec<Case> {
    let mut cases = Vec::new();
    for body in [0, 1024, 64 * 1024] {
        for targets in [1, 2, 8] {
            let rounds = if (body, targets) == VERDICT { 2 * options.rounds } else { options.rounds };
            cases.push(Case { body, targets, matching: true, variants: Variant::ALL.to_vec(), rounds });
        }
    }
    for body in [0, 1024] {
        let variants = vec![Variant::None, Variant::Sidecast];
        cases.push(Case { body, targets: 1, matching: false, variants, rounds: 2 * options.rounds });
    }
    for case in &mut cases {
        case.variants.retain(|variant| options.variants.contains(variant));
    }
    cases.retain(|case| {
        let name = case.to_string();
        let wanted = options.cases.is_empty() || options.cases.iter().any(|part| name.contains(part));
        wanted && !case.variants.is_empty()
    });
    cases
}

/// The order in which `count` variants take their turn: rotated with each round and reversed in every other one, so
/// that none always follows the same neighbour.
pub(crate) fn order(round: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).map(|place| (place + round / 2) % count).collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}
