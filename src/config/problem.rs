//! Problems of a configuration. All of them are collected, so that the user can fix a configuration in one go.

use std::fmt;
use std::ops::ControlFlow;

use deserr::{DeserializeError, ErrorKind, IntoValue, MergeWithError, Value, ValueKind, ValuePointerRef};

use crate::http::invalid::Invalid;

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path of the field, such as `targets[1].retry.max_attempts`. Empty for the whole document.
    pub path: String,
    /// What is wrong there.
    pub mistake: Mistake,
}

/// What is wrong at one place of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// The section has no such field.
    UnknownField {
        /// The fields that it has.
        known: Vec<String>,
    },
    /// The field takes one of a few words, and this is another.
    UnknownValue {
        /// The value in the configuration.
        found: String,
        /// The words that it takes.
        known: Vec<String>,
    },
    /// The field stands there twice.
    Repeated,
    /// A text does not fit its place.
    Invalid(Invalid),
}

impl<I: Into<Invalid>> From<I> for Mistake {
    fn from(invalid: I) -> Self {
        Self::Invalid(invalid.into())
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { known } => write!(f, "unknown field, expected one of `{}`", known.join("`, `")),
            Self::UnknownValue { found, known } => {
                write!(f, "unknown value {found:?}, expected one of `{}`", known.join("`, `"))
            }
            Self::Repeated => f.write_str("given twice"),
            Self::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            write!(f, "configuration: {}", self.mistake)
        } else {
            write!(f, "{}: {}", self.path, self.mistake)
        }
    }
}

/// All problems found so far. As an error it is never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A single problem at a place.
    #[inline(never)]
    pub fn at(location: ValuePointerRef<'_>, mistake: impl Into<Mistake>) -> Self {
        Self(vec![Problem { path: path_of(location), mistake: mistake.into() }])
    }

    /// Adds a problem at a path that is already text.
    pub fn push(&mut self, path: impl Into<String>, mistake: impl Into<Mistake>) {
        self.0.push(Problem { path: path.into(), mistake: mistake.into() });
    }

    /// Adds all problems of another collection.
    #[inline(never)]
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// True if there are no problems.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl MergeWithError<Problems> for Problems {
    #[inline(never)]
    fn merge(self_: Option<Self>, other: Self, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut all = self_.unwrap_or_default();
        all.extend(other);
        ControlFlow::Continue(all)
    }
}

impl DeserializeError for Problems {
    #[inline(never)]
    fn error<V: IntoValue>(
        self_: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let problem = match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => {
                Self::at(location, format!("expected {}, found {}", kinds(accepted), found(&actual)))
            }
            ErrorKind::MissingField { field } => Self::at(location.push_key(field), "missing, but required"),
            ErrorKind::UnknownKey { key, accepted } => {
                Self::at(location.push_key(key), Mistake::UnknownField { known: owned(accepted) })
            }
            ErrorKind::UnknownValue { value, accepted } => {
                Self::at(location, Mistake::UnknownValue { found: value.to_owned(), known: owned(accepted) })
            }
            ErrorKind::BadSequenceLen { expected, .. } => Self::at(location, format!("expected a list of {expected} entries")),
            ErrorKind::Unexpected { msg } => Self::at(location, msg),
        };
        Self::merge(self_, problem, location)
    }
}

/// The path of a location in the users' notation: `targets[1].match[0].path`.
pub fn path_of(location: ValuePointerRef<'_>) -> String {
    match location {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Index { index, prev } => format!("{}[{index}]", path_of(*prev)),
        ValuePointerRef::Key { key, prev } => child_path(&path_of(*prev), key),
    }
}

/// The path of the field `key` inside `parent`. An empty key is written as `""`, so that the path stays readable.
pub fn child_path(parent: &str, key: &str) -> String {
    let key = if key.is_empty() { r#""""# } else { key };
    if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}

/// Describes a value by its type, and by its content if it is a number or a flag. Never shows strings, because configurations contain secrets.
pub(super) fn found<V: IntoValue>(value: &Value<V>) -> String {
    match value {
        Value::Integer(number) => format!("the number {number}"),
        Value::NegativeInteger(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(flag) => format!("{flag}"),
        other => kind(other.kind()).to_owned(),
    }
}

fn kinds(accepted: &[ValueKind]) -> String {
    let mut names: Vec<&str> = accepted.iter().map(|accepted| kind(*accepted)).collect();
    names.dedup();
    names.join(" or ")
}

fn kind(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "true or false",
        ValueKind::Integer | ValueKind::NegativeInteger => "a whole number",
        ValueKind::Float => "a number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "an object",
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
