//! Why a text of a configuration does not fit its place.

use std::fmt;

/// Returned by everything that parses such a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The text holds `${found}`, and no expression has this name.
    UnknownExpression {
        /// What stands between `${` and `}`.
        found: String,
        /// The expressions that exist.
        known: &'static [&'static str],
    },
    /// Any other mistake: says what was expected, and what was found.
    Expected(String),
}

impl std::error::Error for Invalid {}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownExpression { found, known } => {
                write!(f, "unknown expression ${{{found}}}, expected one of `{}`", known.join("`, `"))
            }
            Self::Expected(message) => f.write_str(message),
        }
    }
}

impl From<String> for Invalid {
    fn from(message: String) -> Self {
        Self::Expected(message)
    }
}

impl From<&str> for Invalid {
    fn from(message: &str) -> Self {
        Self::Expected(message.to_owned())
    }
}
