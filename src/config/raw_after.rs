//! The grammar of `after` and `statuses`: what a copy waits for.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::names::TargetName;
use super::problem::{found, Mistake, Problems};
use super::scalar::{NonEmpty, Text};
use crate::delivery::trigger::EndPattern;
use crate::http::status::StatusPattern;

/// What a copy waits for.
#[derive(Debug, Default)]
pub enum After {
    /// The request is complete.
    #[default]
    Request,
    /// The primary's response has ended with one of `statuses`.
    Response,
    /// Another target's copy has ended.
    Target(AfterTarget),
}

impl After {
    /// True if the copy waits for another target's copy.
    pub const fn is_of_target(&self) -> bool {
        matches!(self, Self::Target(_))
    }
}

/// The words that `after` can be.
const WORDS: [&str; 2] = ["request", "response"];

/// The end of another target's copy that a copy waits for.
#[derive(Debug, Deserr)]
#[deserr(error = Problems, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct AfterTarget {
    /// The name of the other target, which must not have `batch`.
    pub target: Text<TargetName>,
    /// The outcome of its copy. Absent: `delivered`, or any outcome if there are `statuses`.
    #[deserr(default)]
    pub outcome: Option<OutcomeName>,
    /// How the last attempt of its copy ended. Absent: any.
    #[deserr(default)]
    pub statuses: Option<NonEmpty<EndPattern>>,
}

/// How a copy ended.
#[derive(Clone, Copy, Debug, Deserr, PartialEq, Eq)]
#[deserr(error = Problems, rename_all = lowercase)]
#[cfg_attr(feature = "cli", derive(schemars::JsonSchema, serde::Serialize), serde(rename_all = "snake_case"))]
pub enum OutcomeName {
    /// The target accepted it.
    Delivered,
    /// It was dropped, or became a dead letter.
    #[deserr(rename = "given_up")]
    GivenUp,
}

impl Deserr<Problems> for After {
    #[inline(never)]
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match value {
            Value::String(word) if word == "request" => Ok(Self::Request),
            Value::String(word) if word == "response" => Ok(Self::Response),
            Value::String(word) => {
                let known = WORDS.map(str::to_owned).to_vec();
                Err(Problems::at(location, Mistake::UnknownValue { found: word, known }))
            }
            Value::Map(map) => AfterTarget::deserialize_from_value(Value::<V>::Map(map), location).map(Self::Target),
            other => {
                let expected = format!("expected `request`, `response` or an object with `target`, found {}", found(&other));
                Err(Problems::at(location, expected))
            }
        }
    }
}

impl Deserr<Problems> for EndPattern {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        match &value {
            Value::String(text) if text == "reset" => return Ok(Self::Reset),
            Value::String(text) if text == "timeout" => return Ok(Self::Timeout),
            Value::String(_) | Value::Integer(_) | Value::Float(_) => {}
            other => return Err(Problems::at(location, format!("expected a string, found {}", found(other)))),
        }
        StatusPattern::deserialize_from_value(value, location).map(Self::Status).map_err(|_| {
            Problems::at(location, "expected a status such as \"204\", a class such as \"2xx\", or one of `reset`, `timeout`")
        })
    }
}
