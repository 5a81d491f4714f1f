//! The conditions of a rule, before it is compiled.

use crate::http::names::Method;
use crate::json::Pointer;
use crate::select::pattern::Pattern;

/// A rule. It holds if all of its conditions hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The method is one of these. `None` accepts any method.
    pub methods: Option<Vec<Method>>,
    /// The condition on the path, without its query.
    pub path: Option<TextCondition>,
    /// The condition on the authority. It ignores case.
    pub authority: Option<TextCondition>,
    /// The conditions on query parameters, by name.
    pub query: Vec<(String, TextCondition)>,
    /// The conditions on headers, by name in lower case.
    pub headers: Vec<(String, TextCondition)>,
    /// The conditions on values of a JSON body, by pointer. An exact value is separate from the conditions on text.
    pub body: Vec<(Pointer, Option<ExactValue>, TextCondition)>,
}

/// A condition on a text. One of the fields is set.
#[derive(Clone, Debug, Default)]
pub struct TextCondition {
    /// The text equals this.
    pub exact: Option<String>,
    /// The text starts with this.
    pub prefix: Option<String>,
    /// The text ends with this.
    pub suffix: Option<String>,
    /// The whole text matches this pattern.
    pub regex: Option<Pattern>,
    /// True if the text must be present, false if it must be absent.
    pub present: Option<bool>,
}

/// An exact value of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExactValue {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number, as JSON writes it.
    Number(String),
    /// A string.
    Text(String),
}
