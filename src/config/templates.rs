//! Templates of the configuration: which literal text may surround their expressions, and which expressions are allowed where.

use deserr::{Deserr, IntoValue, Map, Sequence, Value, ValuePointerRef};

use super::chains::{is_given, Chains};
use super::problem::{child_path, Problems};
use crate::http::invalid::Invalid;
use crate::json::MAX_WHOLE_DOUBLE;
use crate::template::property;
use crate::template::{check_path, fits_authority, variable, Answerer, Env, Expression, JsonTemplate, Template};
use std::str::FromStr;

/// A template of a path, with or without a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(pub Template);

impl FromStr for PathTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let template = Template::from_str(text)?;
        let legal = template.literals().all(|literal| literal.chars().all(|char| char.is_ascii_graphic() && char != '#'));
        if !(template.leading_literal().starts_with('/') && legal) {
            return Err("expected a path that starts with \"/\", in ASCII, without white space and \"#\"".into());
        }
        // Rejects a path that no value can make safe.
        if check_path(template.with_stand_ins("x").as_bytes()).is_err() {
            return Err("expected a path without segments \".\" and \"..\"".into());
        }
        Ok(Self(template))
    }
}

/// A template of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityTemplate(pub Template);

impl FromStr for AuthorityTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let template = Template::from_str(text)?;
        if !text.is_empty() && template.literals().all(|literal| literal.chars().all(fits_authority)) {
            Ok(Self(template))
        } else {
            Err("expected a host, with or without a port, such as \"audit.internal:8080\"".into())
        }
    }
}

/// A template of a header value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderTemplate(pub Template);

impl FromStr for HeaderTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let template = Template::from_str(text)?;
        if template.literals().any(|literal| literal.contains(|char: char| char.is_ascii_control() && char != '\t')) {
            return Err("expected a header value without control characters".into());
        }
        Ok(Self(template))
    }
}

/// A secret: one `${env:NAME}`, or the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret(pub Template);

impl FromStr for Secret {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let template = Template::from_str(text)?;
        let variables = template.expressions().filter(|expression| matches!(expression, Expression::Env(_))).count();
        let others = template.expressions().count().saturating_sub(variables);
        match (others, variables, template.literals().count()) {
            (0, 0, 1) | (0, 1, 0) => Ok(Self(template)),
            _ => Err("expected one `${env:NAME}`, or a secret without expressions".into()),
        }
    }
}

/// Text before a signature or its timestamp.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(pub String);

impl FromStr for Prefix {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let legal = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if text.is_empty() || text.starts_with(' ') || !legal {
            return Err(r#"expected ASCII text such as "sha256=" that does not start with a space"#.into());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Deserr<Problems> for JsonTemplate {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Problems> {
        let mut template = Self::default();
        let mut problems = Problems::default();
        push(&mut template, value, location, &mut problems);
        if problems.is_empty() {
            Ok(template)
        } else {
            Err(problems)
        }
    }
}

/// Appends a value to a template. Recurses no deeper than the parser of the document allows.
fn push<V: IntoValue>(template: &mut JsonTemplate, value: Value<V>, location: ValuePointerRef<'_>, problems: &mut Problems) {
    match value {
        Value::Null => template.push_json("null"),
        Value::Boolean(flag) => template.push_json(if flag { "true" } else { "false" }),
        Value::Integer(number) => template.push_json(&number.to_string()),
        Value::NegativeInteger(number) => template.push_json(&number.to_string()),
        // The numbers of a Struct are doubles. Whole numbers are written as integers.
        Value::Float(number) if number.fract() == 0.0 && number.abs() <= MAX_WHOLE_DOUBLE => {
            template.push_json(&(number as i64).to_string());
        }
        Value::Float(number) => template.push_json(&serde_json::to_string(&number).unwrap_or_default()),
        Value::String(text) => match Template::from_str(&text) {
            Ok(text) => template.push_template(text),
            Err(expected) => problems.extend(Problems::at(location, expected)),
        },
        Value::Sequence(entries) => {
            let mut bracket = "[";
            for (index, entry) in entries.into_iter().enumerate() {
                template.push_json(std::mem::replace(&mut bracket, ","));
                push(template, entry.into_value(), location.push_index(index), problems);
            }
            template.push_json(if bracket == "[" { "[]" } else { "]" });
        }
        Value::Map(entries) => {
            let mut bracket = "{";
            for (key, entry) in entries.into_iter() {
                template.push_json(std::mem::replace(&mut bracket, ","));
                template.push_text(&key);
                template.push_json(":");
                push(template, entry.into_value(), location.push_key(&key), problems);
            }
            template.push_json(if bracket == "{" { "{}" } else { "}" });
        }
    }
}

/// The sections of a target that contain templates. [`TEMPLATES`] lists the paths of the templates in them.
const SECTIONS: [&str; 2] = ["request", "dead_letter"];
const TEMPLATES: [&[&str]; 4] = [&["path"], &["authority"], &["headers", "set"], &["body", "template"]];

/// Finds expressions that are not allowed where they are. Reads the document itself, so that these problems are reported together with all others.
/// The grammar reports text that is not a template.
pub(super) fn check(document: &serde_json::Value, chains: &Chains<'_>, env: Env<'_>, problems: &mut Problems) {
    let targets = document.get("targets").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
    for (index, target) in targets.iter().enumerate() {
        let response = chains.waits_for_response(index);
        let batched = is_given(target, "batch");
        for section in SECTIONS {
            let of_letter = section == "dead_letter";
            for place in TEMPLATES {
                let in_letters = batched && !of_letter && is_given(target, "dead_letter") && place != ["headers", "set"];
                let setting = Setting { of_letter, response, kept: !(of_letter && batched), in_letters };
                let mut path = format!("targets[{index}]");
                let value = [section].iter().chain(place).try_fold(target, |value, key| {
                    path = child_path(&path, key);
                    value.get(key)
                });
                let problem = |expression: &Expression| problem_of(expression, (setting, chains, index), env);
                if let Some(value) = value {
                    walk(value, &path, &problem, problems);
                }
            }
        }
    }
}

/// The context of an expression.
#[derive(Clone, Copy)]
struct Setting {
    /// True in a dead letter.
    of_letter: bool,
    /// True if the target waits for the primary's response.
    response: bool,
    /// True if the response and the properties are still kept when the template is rendered.
    kept: bool,
    /// True if the rendered value is shown unchanged in dead letters.
    in_letters: bool,
}

/// What is wrong with an expression where it stands.
fn problem_of(expression: &Expression, (setting, chains, index): (Setting, &Chains<'_>, usize), env: Env<'_>) -> Option<Invalid> {
    match expression {
        Expression::Env(_) if setting.in_letters => {
            Some("with `batch` and `dead_letter`, ${env:...} is allowed only in `headers.set`: dead letters would show it".into())
        }
        Expression::Env(name) => variable(env, name).err(),
        Expression::Property(path) if property::objection(path).is_some() => property::objection(path).map(Invalid::from),
        Expression::Answer(Answerer::Primary, _) if !setting.response => Some("${response:...} needs `after: response`".into()),
        Expression::Answer(Answerer::Target(name), _) if !chains.follows(index, name) => {
            Some(format!("${{target:{name}:...}} needs a target that follows {name}").into())
        }
        Expression::Property(_) | Expression::Answer(..) if !setting.kept => {
            Some("${property:...} and ${response:...} are not kept for the dead letters of a batch".into())
        }
        Expression::DeadLetter | Expression::DeadLetterBase64 if !setting.of_letter => {
            Some("${dead_letter} and ${dead_letter_base64} are allowed only in `dead_letter`".into())
        }
        _ => None,
    }
}

fn walk(value: &serde_json::Value, path: &str, problem: &dyn Fn(&Expression) -> Option<Invalid>, problems: &mut Problems) {
    match value {
        serde_json::Value::String(text) => {
            let template = Template::from_str(text).unwrap_or_default();
            template.expressions().filter_map(problem).for_each(|problem| problems.push(path, problem));
        }
        serde_json::Value::Array(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                walk(entry, &format!("{path}[{index}]"), problem, problems);
            }
        }
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                walk(value, &child_path(path, key), problem, problems);
            }
        }
        _ => {}
    }
}
