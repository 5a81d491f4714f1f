//! The kinds of text that a configuration holds: names, statuses, pointers, patterns.

use std::fmt;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use regex_lite::{Regex, RegexBuilder};

use super::problem::{found, Problems};
use super::scalar::FromText;
use crate::http::header_names::{objection, Use};
use crate::rewrite::shape::{Piece, Substitution};
use crate::template::check_path;

/// The compiled form of one pattern may take this many bytes in every worker.
const MAX_REGEX_BYTES: usize = 256 * 1024;

/// A target's name: `[a-z0-9][a-z0-9_-]{0,62}`. It is a part of statistic names, so it has no dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TargetName(pub String);

impl FromText for TargetName {
    fn from_text(text: &str) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let first = text.bytes().next().is_some_and(legal);
        let rest = text.bytes().all(|byte| legal(byte) || byte == b'_' || byte == b'-');
        if first && rest && text.len() <= 63 {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected a name of the form [a-z0-9][a-z0-9_-]{{0,62}}, found {text:?}"))
        }
    }
}

/// The name of an Envoy cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterName(pub String);

impl FromText for ClusterName {
    fn from_text(text: &str) -> Result<Self, String> {
        if (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected the name of a cluster: 1 to 1024 bytes without control characters".to_owned())
        }
    }
}

/// The name of a header, in lower case as Envoy keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl FromText for HeaderName {
    fn from_text(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(is_token) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(format!("expected the name of a header, found {text:?}"))
        }
    }
}

/// Names of headers for one [`Use`] each, in lower case.
macro_rules! names_of_headers {
    ($($(#[$doc:meta])* $name:ident: $purpose:expr;)*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub String);

        impl FromText for $name {
            fn from_text(text: &str) -> Result<Self, String> {
                let HeaderName(name) = HeaderName::from_text(text)?;
                match objection(&name, $purpose) {
                    Some(objection) => Err(objection.to_owned()),
                    None => Ok(Self(name)),
                }
            }
        })*
    };
}

names_of_headers! {
    /// The name of a header that is looked at.
    ReadHeader: Use::Read;
    /// The name of a header that is sent, or not.
    SentHeader: Use::Send;
    /// The name of the header that holds the correlation id.
    CorrelationHeader: Use::Correlate;
}

/// A request method: a token, case-sensitive (RFC 9110, 9.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(pub String);

impl FromText for Method {
    fn from_text(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(is_token) && !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected a method in capitals such as \"POST\", found {text:?}"))
        }
    }
}

/// A byte of a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// An absolute path without a query: where a prefix or an exact rule starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsolutePath(pub String);

impl FromText for AbsolutePath {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.starts_with('/') && !text.contains(['?', '#']) && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected a path that starts with \"/\" and has no query, found {text:?}"))
        }
    }
}

/// A regular expression that must match the whole text, in time linear in the text.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

/// Whole-text matching is what Envoy's own `safe_regex` does.
const WHOLE: (&str, &str) = ("^(?:", ")$");

impl Pattern {
    fn build(text: &str, ignores_case: bool) -> Result<Self, String> {
        let whole = format!("{}{text}{}", WHOLE.0, WHOLE.1);
        // Alone first: `a)|(b` is no pattern, but would become one inside the anchors.
        Regex::new(text)
            .and_then(|_| RegexBuilder::new(&whole).case_insensitive(ignores_case).size_limit(MAX_REGEX_BYTES).build())
            .map(Self)
            .map_err(|error| format!("not a valid regular expression: {error}"))
    }

    /// The pattern as it was typed.
    pub fn text(&self) -> &str {
        let anchored = self.0.as_str();
        anchored.strip_prefix(WHOLE.0).and_then(|text| text.strip_suffix(WHOLE.1)).unwrap_or(anchored)
    }
}

impl FromText for Pattern {
    fn from_text(text: &str) -> Result<Self, String> {
        Self::build(text, false)
    }
}

/// A regular expression that matches somewhere in a text.
#[derive(Clone, Debug)]
pub struct PartPattern(pub Regex);

impl FromText for PartPattern {
    fn from_text(text: &str) -> Result<Self, String> {
        let pattern = RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build();
        pattern.map(Self).map_err(|error| format!("not a valid regular expression: {error}"))
    }
}

/// The beginning of a path that is sent in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrittenPath(pub String);

impl FromText for RewrittenPath {
    fn from_text(text: &str) -> Result<Self, String> {
        if !(text.starts_with('/') && text.bytes().all(is_of_path)) {
            return Err(format!("expected a path that starts with \"/\" and has no query, found {text:?}"));
        }
        if check_path(text.as_bytes()).is_err() {
            return Err("expected a path without segments \".\" and \"..\"".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A byte that may stand in a path as it is sent.
fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'?' && byte != b'#'
}

impl FromText for Substitution {
    fn from_text(text: &str) -> Result<Self, String> {
        if !text.bytes().all(is_of_path) {
            return Err("expected a part of a path: ASCII without white space, \"?\" and \"#\"".to_owned());
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
                _ => return Err(r"expected a group such as \1 behind each backslash; a backslash itself is \\".to_owned()),
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }
}

/// A pattern of authorities: they have no case.
#[derive(Clone, Debug)]
pub struct AuthorityPattern(pub Pattern);

impl FromText for AuthorityPattern {
    fn from_text(text: &str) -> Result<Self, String> {
        Pattern::build(text, true).map(Self)
    }
}

/// The name of a parameter of a query, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterName(pub String);

impl FromText for ParameterName {
    fn from_text(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("expected the name of a parameter, found no text".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

/// A pointer to one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinglePointer(pub Pointer);

impl FromText for SinglePointer {
    fn from_text(text: &str) -> Result<Self, String> {
        let pointer = Pointer::from_text(text)?;
        if pointer.0.iter().any(|segment| segment == "*") {
            return Err(format!("expected a JSON pointer to one value, without \"*\", found {text:?}"));
        }
        Ok(Self(pointer))
    }
}

/// A JSON pointer (RFC 6901) in which a segment `*` stands for every key or index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(pub Vec<String>);

impl FromText for Pointer {
    fn from_text(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a JSON pointer such as \"/card/number\", found {text:?}");
        let mut segments = text.split('/');
        if segments.next() != Some("") {
            return Err(expected());
        }
        segments.map(unescape_segment).collect::<Option<_>>().map(Self).ok_or_else(expected)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape_segment(segment: &str) -> Option<String> {
    let mut text = String::with_capacity(segment.len());
    let mut chars = segment.chars();
    while let Some(next) = chars.next() {
        match next {
            '~' => match chars.next()? {
                '0' => text.push('~'),
                '1' => text.push('/'),
                _ => return None,
            },
            other => text.push(other),
        }
    }
    Some(text)
}

/// One status or one class of statuses: `"204"`, `204` or `"2xx"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusPattern {
    first: u16,
    last: u16,
}

impl StatusPattern {
    /// True when the pattern covers the status.
    pub fn covers(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }

    /// All statuses whose first digit is `class`.
    pub(crate) const fn class(class: u16) -> Self {
        Self { first: class * 100, last: class * 100 + 99 }
    }

    /// One status.
    pub(crate) const fn one(status: u16) -> Self {
        Self { first: status, last: status }
    }

    /// Parses `2xx` or `204`; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        match bytes {
            [class @ b'1'..=b'5', b'x', b'x'] => Some(Self::class(u16::from(class - b'0'))),
            [b'1'..=b'5', _, _] if bytes.iter().all(u8::is_ascii_digit) => text.parse().ok().map(Self::one),
            _ => None,
        }
    }
}

impl fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}xx", self.first / 100)
        }
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
