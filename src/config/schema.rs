//! The grammar as a JSON Schema (draft 2020-12), for editors and for the reference. It is generated from the types that the parser reads, so no
//! field can be missing. This module adds the scalars and the rules between fields.
//!
//! The schema accepts everything that the parser accepts, and somewhat more: it cannot express that a name is unique, that a pattern compiles, or
//! that an expression exists.

use std::borrow::Cow;

use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::{json, Value};

use super::names::{AbsolutePath, ClusterName, ParameterName, PartPattern, RewrittenPath, TargetName};
use super::raw::{Document, ExactValue};
use super::raw_after::{After, AfterTarget};
use super::raw_shape::{Forward, SetHeaders};
use super::scalar::{duration_text, size_text, Millis, NonEmpty, Percent, Rate, Size, Text, Whole};
use super::templates::{AuthorityTemplate, HeaderTemplate, PathTemplate, Prefix, Secret};
use crate::delivery::retry_condition::RetryOn;
use crate::delivery::trigger::EndPattern;
use crate::http::header_names::{refused_pattern, Use};
use crate::http::names::{CorrelationHeader, Method, ReadHeader, SentHeader, SigningHeader};
use crate::http::status::StatusPattern;
use crate::json::{Pointer, SinglePointer};
use crate::rewrite::shape::Substitution;
use crate::select::pattern::{AuthorityPattern, Pattern};
use crate::template::{JsonTemplate, Template};

/// The schema of a whole configuration.
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Document>();
    schema.insert("title".to_owned(), "Sidecast".into());
    let mut schema = schema.to_value();
    forget_absent_defaults(&mut schema);
    schema
}

/// Removes defaults that are null: such a field has no default.
fn forget_absent_defaults(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            fields.values_mut().for_each(forget_absent_defaults);
        }
        Value::Array(entries) => entries.iter_mut().for_each(forget_absent_defaults),
        _ => {}
    }
}

/// Matches if a field is present and not null.
fn given(name: &str) -> Value {
    json!({"required": [name], "properties": {name: {"not": {"type": "null"}}}})
}

/// Exactly one of these fields is given.
pub(super) fn one_of(names: &'static [&'static str]) -> impl Fn(&mut Schema) {
    alternatives("oneOf", names)
}

/// At least one of these fields is given.
pub(super) fn some_of(names: &'static [&'static str]) -> impl Fn(&mut Schema) {
    alternatives("anyOf", names)
}

/// Exactly one of these fields is given. For the fields in `or_null`, null counts as given.
pub(super) fn one_of_or_null(or_null: &'static [&'static str], others: &'static [&'static str]) -> impl Fn(&mut Schema) {
    move |schema| {
        let or_null = or_null.iter().map(|name| json!({"required": [name]}));
        let alternatives: Vec<Value> = or_null.chain(others.iter().map(|name| given(name))).collect();
        schema.insert("oneOf".to_owned(), alternatives.into());
    }
}

fn alternatives(keyword: &'static str, names: &'static [&'static str]) -> impl Fn(&mut Schema) {
    move |schema| {
        let alternatives: Vec<Value> = names.iter().map(|name| given(name)).collect();
        schema.insert(keyword.to_owned(), alternatives.into());
    }
}

/// A batch is not compared, and not in order by key. A target that follows another is no batch, is not compared, and has its statuses in `after`.
pub(super) fn sections_apart(schema: &mut Schema) {
    let follows = json!({"required": ["after"], "properties": {"after": {"type": "object"}}});
    let forbidden: Vec<Value> = ["batch", "compare", "statuses"].map(given).to_vec();
    let alone = ["compare", "order"].map(given).to_vec();
    let pairs = json!([{"allOf": [given("batch"), {"anyOf": alone}]}, {"allOf": [follows, {"anyOf": forbidden}]}]);
    schema.insert("not".to_owned(), json!({"type": "object", "anyOf": pairs}));
}

/// At most one of these fields is given.
pub(super) fn at_most_one(names: &'static [&'static str]) -> impl Fn(&mut Schema) {
    move |schema| {
        let pairs = names.iter().enumerate().flat_map(|(place, first)| {
            let others = names.iter().skip(place.saturating_add(1));
            others.map(move |second| json!({"allOf": [given(first), given(second)]}))
        });
        schema.insert("not".to_owned(), json!({"type": "object", "anyOf": pairs.collect::<Vec<_>>()}));
    }
}

/// An omitted body has no template.
pub(super) fn no_template_of_nothing(schema: &mut Schema) {
    let omitted = json!({"required": ["omit"], "properties": {"omit": {"const": true}}});
    schema.insert("not".to_owned(), json!({"allOf": [omitted, given("template")]}));
}

/// Defines types whose schema is inlined wherever they are used.
macro_rules! scalars {
    ($($({$($generics:tt)*})? $type:ty => $schema:expr;)*) => {
        $(impl$(<$($generics)*>)? JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        })*
    };
}

const HOST: &str = r"[-._~!&'()*+,;=:\[\]%0-9A-Za-z]";
/// A number in a string.
const NUMBER: &str = r"^[-+.eE0-9]*[0-9][-+.eE0-9]*$";
const STATUS: &str = "[1-5](xx|[0-9]{2})";

scalars! {
    {const MIN: u64, const MAX: u64} Whole<MIN, MAX> => json_schema!({
        "title": format!("whole number, {} to {}", grouped(MIN), grouped(MAX)),
        "type": ["integer", "string"],
        "minimum": MIN,
        "maximum": MAX,
        "pattern": NUMBER,
    });
    {const MIN: u64, const MAX: u64} Millis<MIN, MAX> => json_schema!({
        "title": format!("duration, {} to {}", duration_text(MIN), duration_text(MAX)),
        "type": "string",
        // At least one digit is not 0: no duration may be zero.
        "pattern": r"^\+?[0-9.]*[1-9][0-9.]*(ms|s|m|h)$",
    });
    {const MIN: u64, const MAX: u64} Size<MIN, MAX> => json_schema!({
        "title": format!("size, {} to {}", size_text(MIN), size_text(MAX)),
        "type": ["integer", "string"],
        "minimum": MIN,
        "maximum": MAX,
        "pattern": r"^[0-9_ .]*[0-9][0-9_ .]*([eE][-+]?[0-9_ ]+)?([kKmMgGtTpPeE]?[iI]?[bB]?)$",
    });
    Percent => json_schema!({"title": "percentage, above 0 to 100", "type": ["number", "string"], "exclusiveMinimum": 0, "maximum": 100, "pattern": NUMBER});
    Rate => json_schema!({"title": "number, above 0 to 1,000,000,000", "type": ["number", "string"], "exclusiveMinimum": 0, "maximum": 1e9 as u64, "pattern": NUMBER});
    Text<TargetName> => text("name, [a-z0-9][a-z0-9_-]{0,62}", r"^[a-z0-9][a-z0-9_-]{0,62}$");
    Text<ClusterName> => json_schema!({
        "title": "name of a cluster, 1 to 1,024 bytes", "type": "string", "minLength": 1, "maxLength": 1024, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
    });
    Text<ReadHeader> => header(Use::Read);
    Text<SentHeader> => header(Use::Send);
    Text<CorrelationHeader> => header(Use::Correlate);
    Text<SigningHeader> => header(Use::Sign);
    Text<Method> => text("method, in capitals", r"^[!#$%&'*+.^_`|~0-9A-Z-]+$");
    Text<AbsolutePath> => text("path, starts with /, no query", r"^/[^?#\x00-\x1f\x7f-\x9f]*$");
    // Not expressed with `format`, which expects another syntax of regular expressions.
    Text<Pattern> => json_schema!({"title": "regular expression, syntax of the crate regex-lite", "type": "string"});
    Text<AuthorityPattern> => json_schema!({"title": "regular expression, syntax of the crate regex-lite", "type": "string"});
    Text<ParameterName> => json_schema!({"title": "name of a parameter", "type": "string", "minLength": 1});
    Text<SinglePointer> => text("JSON pointer to one value", r"^(/(?![*](/|$))([^/~]|~[01])*)*$");
    ExactValue => json_schema!({"title": "JSON scalar, a string, number, true, false or null", "type": ["string", "number", "boolean", "null"]});
    Text<PartPattern> => json_schema!({"title": "regular expression, syntax of the crate regex-lite", "type": "string"});
    Text<RewrittenPath> => text("path, starts with /, no query", r#"^/[!"$->@-~]*$"#);
    Text<Substitution> => text("part of a path, with groups such as \\1", r#"^([!"$->@-\[\]-~]|\\[0-9\\])*$"#);
    Text<Pointer> => text("JSON pointer", "^(/([^/~]|~[01])*)*$");
    Text<Template> => json_schema!({"title": "text, at least one character", "type": "string", "minLength": 1});
    Text<PathTemplate> => text("template, starts with /, ASCII", &template("/", r#"[!"%-~]"#, r#"[!"%-z|}~]"#));
    Text<AuthorityTemplate> => text("template, a host with or without a port", &template("", HOST, HOST));
    Text<HeaderTemplate> => text(
        "template, no control characters",
        &template("", r"[^$\x00-\x08\x0a-\x1f\x7f]", r"[^${\x00-\x08\x0a-\x1f\x7f]"),
    );
    Text<Secret> => json_schema!({"title": "`${env:NAME}` or text, at least one character", "type": "string", "minLength": 1});
    Text<Prefix> => text("text, ASCII, does not start with a space", "^[!-~][ -~]*$");
    JsonTemplate => json_schema!({"title": "any JSON"});
    StatusPattern => json_schema!({
        "title": "status, such as 204 or 2xx",
        "type": ["string", "integer"],
        "pattern": format!("^{STATUS}$"),
        "minimum": 100,
        "maximum": 599,
    });
    EndPattern => json_schema!({
        "title": "status, such as 204 or 2xx, or reset, timeout",
        "type": ["string", "integer"],
        "pattern": format!("^({STATUS}|reset|timeout)$"),
        "minimum": 100,
        "maximum": 599,
    });
    RetryOn => json_schema!({
        "title": "status or failure, such as 429, 5xx, reset, timeout, connect_failure, no_healthy_upstream",
        "type": ["string", "integer"],
        "pattern": format!("^({STATUS}|reset|timeout|connect_failure|no_healthy_upstream)$"),
        "minimum": 100,
        "maximum": 599,
    });
}

/// The pattern of a template. `literal` matches characters between expressions, except for the dollar. `behind_dollar` is the same without the
/// brace. Two dollars before a brace do not start an expression. Every text matches in only one way, so there is no costly backtracking.
fn template(start: &str, literal: &str, behind_dollar: &str) -> String {
    format!(r"^{start}({literal}|\$+{behind_dollar}|\$\$+\{{|\$\{{[^}}]*\}})*\$*$")
}

/// A number with commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn header(purpose: Use) -> Schema {
    json_schema!({
        "title": "name of a header",
        "type": "string",
        "pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
        "not": {"type": "string", "pattern": refused_pattern(purpose)},
    })
}

fn text(title: &str, pattern: &str) -> Schema {
    json_schema!({"title": title, "type": "string", "pattern": pattern})
}

impl<T: JsonSchema, const MAX: usize> JsonSchema for NonEmpty<T, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("NonEmpty{MAX}Of{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "array", "minItems": 1, "maxItems": MAX, "items": generator.subschema_for::<T>()})
    }
}

impl JsonSchema for Forward {
    fn schema_name() -> Cow<'static, str> {
        "Forward".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [
            {"const": "all", "description": "All of them."},
            {"const": "none", "description": "None of them."},
            {"type": "array", "items": generator.subschema_for::<Text<SentHeader>>(), "description": "These."},
        ]})
    }
}

impl JsonSchema for After {
    fn schema_name() -> Cow<'static, str> {
        "After".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut target = generator.subschema_for::<AfterTarget>();
        target.insert("description".to_owned(), "Another target's copy has ended.".into());
        json_schema!({"oneOf": [
            {"const": "request", "description": "The request is complete."},
            {"const": "response", "description": "The primary's response has ended with one of `statuses`."},
            target,
        ]})
    }
}

impl JsonSchema for SetHeaders {
    fn schema_name() -> Cow<'static, str> {
        "SetHeaders".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "title": "object, names of headers and templates",
            "type": "object",
            "propertyNames": generator.subschema_for::<Text<SentHeader>>(),
            "additionalProperties": generator.subschema_for::<Text<HeaderTemplate>>(),
        })
    }
}

/// Serializes defaults in the notation of users.
macro_rules! written {
    ($($({$($generics:tt)*})? $type:ty, $this:ident => $written:expr;)*) => {
        $(impl$(<$($generics)*>)? Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self;
                $written.serialize(serializer)
            }
        })*
    };
}

written! {
    {const MIN: u64, const MAX: u64} Whole<MIN, MAX>, this => this.0;
    {const MIN: u64, const MAX: u64} Millis<MIN, MAX>, this => duration_text(this.0);
    {const MIN: u64, const MAX: u64} Size<MIN, MAX>, this => size_text(this.0);
    {T: Serialize, const MAX: usize} NonEmpty<T, MAX>, this => this.0;
    {T: Serialize} Text<T>, this => this.0;
    CorrelationHeader, this => this.0;
    SentHeader, this => this.0;
    Pointer, this => this.to_string();
    Percent, this => whole_if_possible(this.0);
    StatusPattern, this => this.to_string();
    EndPattern, this => match this {
        EndPattern::Status(pattern) => pattern.to_string(),
        EndPattern::Reset => "reset".to_owned(),
        EndPattern::Timeout => "timeout".to_owned(),
    };
    After, this => match this {
        After::Request | After::Target(_) => "request",
        After::Response => "response",
    };
    RetryOn, this => match this {
        RetryOn::Status(pattern) => pattern.to_string(),
        RetryOn::Reset => "reset".to_owned(),
        RetryOn::Timeout => "timeout".to_owned(),
        RetryOn::ConnectFailure => "connect_failure".to_owned(),
        RetryOn::NoHealthyUpstream => "no_healthy_upstream".to_owned(),
    };
    Forward, this => match this {
        Forward::All => json!("all"),
        Forward::None => json!("none"),
        Forward::Only(names) => json!(names),
    };
}

fn whole_if_possible(number: f64) -> Value {
    if number.fract() == 0.0 {
        json!(number as i64)
    } else {
        json!(number)
    }
}
