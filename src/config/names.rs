//! The kinds of text that a configuration holds: names, statuses, pointers, patterns.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use regex_lite::{Regex, RegexBuilder};

use super::problem::{found, Problems};
use crate::http::invalid::Invalid;
use crate::http::status::StatusPattern;
use crate::rewrite::shape::{Piece, Substitution};
use crate::select::pattern::MAX_REGEX_BYTES;
use crate::template::check_path;
use std::str::FromStr;

/// A target's name: `[a-z0-9][a-z0-9_-]{0,62}`. It is a part of statistic names, so it has no dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetName(pub String);

impl FromStr for TargetName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first = text.bytes().next().is_some_and(legal);
        let rest = text.bytes().all(|byte| legal(byte) || byte == b'_' || byte == b'-');
        if first && rest && text.len() <= 63 {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected a name of the form [a-z0-9][a-z0-9_-]{{0,62}}, found {text:?}").into())
        }
    }
}

/// The name of an Envoy cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(pub String);

impl FromStr for ClusterName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected the name of a cluster: 1 to 1024 bytes without control characters".into())
        }
    }
}

/// An absolute path without a query: where a prefix or an exact rule starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePath(pub String);

impl FromStr for AbsolutePath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.starts_with('/') && !text.contains(['?', '#']) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected a path that starts with \"/\" and has no query, found {text:?}").into())
        }
    }
}

/// A regular expression that matches somewhere in a text.
#[derive(Clone, Debug)]
pub struct PartPattern(pub Regex);

impl FromStr for PartPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let pattern = RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build();
        pattern.map(Self).map_err(|error| format!("not a valid regular expression: {error}").into())
    }
}

/// The beginning of a path that is sent in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrittenPath(pub String);

impl FromStr for RewrittenPath {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if !(text.starts_with('/') && text.bytes().all(is_of_path)) {
            return Err(format!("expected a path that starts with \"/\" and has no query, found {text:?}").into());
        }
        if check_path(text.as_bytes()).is_err() {
            return Err("expected a path without segments \".\" and \"..\"".into());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A byte that may stand in a path as it is sent.
fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'?' && byte != b'#'
}

impl FromStr for Substitution {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if !text.bytes().all(is_of_path) {
            return Err("expected a part of a path: ASCII without white space, \"?\" and \"#\"".into());
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char != '\\' {
                literal.push(char);
                continue;
            }
            match chars.next() {
                Some('\\') => literal.push('\\'),
                Some(digit @ '0'..='9') => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    }
                    pieces.extend(digit.to_digit(10).and_then(|group| group.try_into().ok()).map(Piece::Group));
                }
                _ => return Err(r"expected a group such as \1 after each backslash; write \\ for a backslash".into()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }
}

/// The name of a parameter of a query, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterName(pub String);

impl FromStr for ParameterName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err("expected the name of a parameter, found none".into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Deserr<Problems> for StatusPattern {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let (parsed, shown) = match &value {
            Value::String(text) => (Self::parse(text), format!("{text:?}")),
            Value::Integer(number) => (Self::parse(&number.to_string()), number.to_string()),
            Value::Float(number) => (Self::parse(&number.to_string()), number.to_string()),
            other => (None, found(other)),
        };
        parsed.ok_or_else(|| {
            Problems::at(location, format!("expected a status such as \"204\" or a class such as \"2xx\", found {shown}"))
        })
    }
}
