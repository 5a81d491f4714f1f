//! Patterns that match a whole text, like those of Envoy.

use std::str::FromStr;

use regex_lite::{Regex, RegexBuilder};

use crate::http::invalid::Invalid;

/// The most bytes that one compiled pattern may take in each worker.
pub(crate) const MAX_REGEX_BYTES: usize = 256 * 1024;

/// A regular expression that must match the whole text. It runs in time linear in the text.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

/// Anchors for whole-text matching, which is what Envoy's own `safe_regex` does.
const WHOLE: (&str, &str) = ("^(?:", ")$");

impl Pattern {
    fn build(text: &str, ignores_case: bool) -> Result<Self, Invalid> {
        let whole = format!("{}{text}{}", WHOLE.0, WHOLE.1);
        // Compiles the text alone first: `a)|(b` is invalid, but would become valid inside the anchors.
        Regex::new(text)
            .and_then(|_| RegexBuilder::new(&whole).case_insensitive(ignores_case).size_limit(MAX_REGEX_BYTES).build())
            .map(Self)
            .map_err(|error| format!("not a valid regular expression: {error}").into())
    }

    /// The pattern as it was written.
    pub fn text(&self) -> &str {
        let anchored = self.0.as_str();
        anchored.strip_prefix(WHOLE.0).and_then(|text| text.strip_suffix(WHOLE.1)).unwrap_or(anchored)
    }
}

impl FromStr for Pattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::build(text, false)
    }
}

/// A pattern of authorities. It ignores case.
#[derive(Clone, Debug)]
pub struct AuthorityPattern(pub Pattern);

impl FromStr for AuthorityPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Pattern::build(text, true).map(Self)
    }
}
