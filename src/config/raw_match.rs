//! The grammar of which requests a target wants: the rules of `match` and `except`.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::names::{AbsolutePath, ParameterName};
use super::problem::{found, Problems};
use super::scalar::{NonEmpty, Text};
#[cfg(feature = "cli")]
use super::schema;
use crate::http::names::{Method, ReadHeader};
use crate::json::SinglePointer;
use crate::select::condition::{Conditions, ExactValue, TextCondition};
use crate::select::pattern::{AuthorityPattern, Pattern};

/// A rule matches if all of its conditions hold. It needs at least one.
#[derive(Clone, Debug, Default, Deserr)]
#[deserr(error = Problems, deny_unknown_fields, validate = some_condition -> Problems)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::some_of(&["methods", "path", "authority", "query", "headers", "body"]))
)]
pub struct Rule {
    /// The method is one of these.
    #[deserr(default)]
    pub methods: Option<NonEmpty<Text<Method>>>,
    /// A condition on the path, without its query. Set exactly one field.
    #[deserr(default)]
    pub path: Option<PathRule>,
    /// A condition on the authority, ignoring case. Set exactly one field.
    #[deserr(default)]
    pub authority: Option<AuthorityRule>,
    /// Conditions on query parameters. All must hold.
    #[deserr(default)]
    pub query: Option<NonEmpty<QueryRule>>,
    /// Conditions on headers. All must hold.
    #[deserr(default)]
    pub headers: Option<NonEmpty<HeaderRule>>,
    /// Conditions on values of a JSON body. All must hold.
    #[deserr(default)]
    pub body: Option<NonEmpty<BodyRule>>,
}

fn some_condition(rule: Rule, location: ValuePointerRef<'_>) -> Result<Rule, Problems> {
    let of_line = rule.methods.is_some() || rule.path.is_some() || rule.authority.is_some() || rule.query.is_some();
    if !of_line && rule.headers.is_none() && rule.body.is_none() {
        return Err(Problems::at(
            location,
            "expected at least one of `methods`, `path`, `authority`, `query`, `headers`, `body`; leave out `match` to match every request",
        ));
    }
    Ok(rule)
}

/// A condition on the path. Set exactly one field.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of(&["exact", "prefix", "regex"]))
)]
pub struct PathRule {
    /// It equals this.
    pub exact: Option<Text<AbsolutePath>>,
    /// It starts with this.
    pub prefix: Option<Text<AbsolutePath>>,
    /// All of it matches.
    pub regex: Option<Text<Pattern>>,
}

/// A condition on the authority. Set exactly one field.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of(&["exact", "prefix", "suffix", "regex", "present"]))
)]
pub struct AuthorityRule {
    /// It equals this, including the port if it has one.
    pub exact: Option<String>,
    /// It starts with this.
    pub prefix: Option<String>,
    /// It ends with this.
    pub suffix: Option<String>,
    /// All of it matches.
    pub regex: Option<Text<AuthorityPattern>>,
    /// `true`: there is one. `false`: there is none.
    pub present: Option<bool>,
}

impl From<AuthorityRule> for TextCondition {
    fn from(rule: AuthorityRule) -> Self {
        let AuthorityRule { exact, prefix, suffix, regex, present } = rule;
        Self { exact, prefix, suffix, regex: regex.map(|regex| regex.0 .0), present }
    }
}

/// A condition on a header. Set `name` and exactly one other field.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of(&["exact", "prefix", "suffix", "regex", "present"]))
)]
pub struct HeaderRule {
    /// The header's name. If the header is repeated, one value that matches is enough.
    pub name: Text<ReadHeader>,
    /// Its value equals this.
    pub exact: Option<String>,
    /// Its value starts with this.
    pub prefix: Option<String>,
    /// Its value ends with this.
    pub suffix: Option<String>,
    /// All of its value matches.
    pub regex: Option<Text<Pattern>>,
    /// `true`: the request has the header. `false`: it does not.
    pub present: Option<bool>,
}

impl From<HeaderRule> for TextCondition {
    fn from(rule: HeaderRule) -> Self {
        let HeaderRule { exact, prefix, suffix, regex, present, .. } = rule;
        Self { exact, prefix, suffix, regex: regex.map(|regex| regex.0), present }
    }
}

/// A condition on a query parameter. Set `name` and exactly one other field.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of(&["exact", "prefix", "suffix", "regex", "present"]))
)]
pub struct QueryRule {
    /// The parameter's name. If the parameter is repeated, the first counts.
    pub name: Text<ParameterName>,
    /// Its value equals this.
    pub exact: Option<String>,
    /// Its value starts with this.
    pub prefix: Option<String>,
    /// Its value ends with this.
    pub suffix: Option<String>,
    /// All of its value matches.
    pub regex: Option<Text<Pattern>>,
    /// `true`: the query has the parameter. `false`: it does not.
    pub present: Option<bool>,
}

impl From<QueryRule> for TextCondition {
    fn from(rule: QueryRule) -> Self {
        let QueryRule { exact, prefix, suffix, regex, present, .. } = rule;
        Self { exact, prefix, suffix, regex: regex.map(|regex| regex.0), present }
    }
}

/// A condition on a value of a JSON body. Set `pointer` and exactly one other field.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "cli",
    derive(schemars::JsonSchema),
    schemars(deny_unknown_fields, transform = schema::one_of_or_null(&["exact"], &["prefix", "suffix", "regex", "present"]))
)]
pub struct BodyRule {
    /// Where the value is.
    pub pointer: Text<SinglePointer>,
    /// It equals this: a string, a number, `true`, `false` or null. Numbers are compared by value.
    pub exact: Option<ExactValue>,
    /// It is a string that starts with this.
    pub prefix: Option<String>,
    /// It is a string that ends with this.
    pub suffix: Option<String>,
    /// It is a string, and all of it matches.
    pub regex: Option<Text<Pattern>>,
    /// `true`: there is a value, of any type. `false`: there is none.
    pub present: Option<bool>,
}

impl Deserr<Problems> for ExactValue {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        Ok(match value {
            Value::Null => Self::Null,
            Value::Boolean(flag) => Self::Flag(flag),
            Value::Integer(number) => Self::Number(number.to_string()),
            Value::NegativeInteger(number) => Self::Number(number.to_string()),
            Value::Float(number) => Self::Number(serde_json::to_string(&number).unwrap_or_default()),
            Value::String(text) => Self::Text(text),
            other => {
                let expected = format!("expected a string, a number, true, false or null, found {}", found(&other));
                return Err(Problems::at(location, expected));
            }
        })
    }
}

impl From<BodyRule> for TextCondition {
    fn from(rule: BodyRule) -> Self {
        let BodyRule { prefix, suffix, regex, present, .. } = rule;
        Self { exact: None, prefix, suffix, regex: regex.map(|regex| regex.0), present }
    }
}

impl From<PathRule> for TextCondition {
    fn from(rule: PathRule) -> Self {
        let PathRule { exact, prefix, regex } = rule;
        let text = |path: Option<Text<AbsolutePath>>| path.map(|path| path.0 .0);
        Self { exact: text(exact), prefix: text(prefix), regex: regex.map(|regex| regex.0), ..Self::default() }
    }
}

impl From<Rule> for Conditions {
    fn from(rule: Rule) -> Self {
        let Rule { methods, path, authority, query, headers, body } = rule;
        let query = query.map_or_else(Vec::new, |query| query.0);
        let headers = headers.map_or_else(Vec::new, |headers| headers.0);
        let body = body.map_or_else(Vec::new, |body| body.0);
        Self {
            methods: methods.map(|methods| methods.0.into_iter().map(|method| method.0).collect()),
            path: path.map(TextCondition::from),
            authority: authority.map(TextCondition::from),
            query: query.into_iter().map(|rule| (rule.name.0 .0.clone(), rule.into())).collect(),
            headers: headers.into_iter().map(|rule| (rule.name.0 .0.clone(), rule.into())).collect(),
            body: body.into_iter().map(|rule| (rule.pointer.0 .0.clone(), rule.exact.clone(), rule.into())).collect(),
        }
    }
}
