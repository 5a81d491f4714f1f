//! What a rule asks for, before it is compiled.

use crate::http::names::Method;
use crate::json::Pointer;
use crate::select::pattern::Pattern;

/// A rule: all of its conditions hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The method is one of these; none: any.
    pub methods: Option<Vec<Method>>,
    /// The path, without its query.
    pub path: Option<TextCondition>,
    /// The authority, whatever its case.
    pub authority: Option<TextCondition>,
    /// Parameters of the query, by name.
    pub query: Vec<(String, TextCondition)>,
    /// Headers, by name in lower case.
    pub headers: Vec<(String, TextCondition)>,
    /// Values of a JSON body, by place. An exact value stands apart from the conditions on text.
    pub body: Vec<(Pointer, Option<ExactValue>, TextCondition)>,
}

/// A condition on text, however it is called.
#[derive(Clone, Debug, Default)]
pub struct TextCondition {
    /// It is this.
    pub exact: Option<String>,
    /// It starts with this.
    pub prefix: Option<String>,
    /// It ends with this.
    pub suffix: Option<String>,
    /// It matches as a whole.
    pub regex: Option<Pattern>,
    /// It is there, or it is not.
    pub present: Option<bool>,
}

/// A value of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExactValue {
    /// null.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number as JSON writes it.
    Number(String),
    /// A string.
    Text(String),
}
