//! Templates: text and JSON with `${...}` expressions. They are parsed once, with the configuration, and rendered anew for each request.
//!
//! Uses `json` and `http`. Begin with [`Template`] and [`Expression`].
//!
//! A value never breaks out of its place. For text, [`Place`] says what that takes. In JSON, an expression becomes a value of its own. Environment
//! variables are treated like all other values. They are read with the configuration.

pub mod answer;
mod expression;
mod json;
mod path;
mod place;
pub mod property;
mod values;

pub use answer::{Answer, AnswerBody, AnswerPart, Answerer};
pub use expression::{Expression, KNOWN};
pub use json::JsonTemplate;
pub use path::{check_path, UnsafePath};
pub use place::{fits_authority, Place};
pub use values::{rfc3339, Facts, Property, Values};

use std::fmt;

use std::str::FromStr;

use crate::http::invalid::Invalid;

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Literal text.
    Literal(String),
    /// An expression.
    Expression(Expression),
    /// The value of an environment variable.
    Variable(Secret),
}

/// A text that debug output must not show.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Text with expressions. `$${` stands for a literal `${`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// The replacement of a value that must not be shown.
pub const REDACTED: &str = "[redacted]";

/// Looks up an environment variable by name.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The value of an environment variable.
///
/// # Errors
/// Returns an error that names the variable if it is not set, or is empty.
pub fn variable(env: Env<'_>, name: &str) -> Result<String, Invalid> {
    match env(name) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err(format!("environment variable {name} is empty").into()),
        None => Err(format!("environment variable {name} is not set; pass it in vm_config.environment_variables").into()),
    }
}

impl Template {
    /// A template without expressions.
    pub fn literal(text: String) -> Self {
        Self { parts: vec![Part::Literal(text)] }
    }

    /// The expressions of the template, in order. Environment variables are included only until they are resolved.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Literal(_) | Part::Variable(_) => None,
        })
    }

    /// True if an expression reads the body as JSON.
    pub fn reads_body_as_json(&self) -> bool {
        self.expressions().any(|expression| matches!(expression, Expression::Body | Expression::BodyPointer(_)))
    }

    /// True if an expression reads the body in any form.
    pub fn reads_body(&self) -> bool {
        let is_of_body = |expression: &Expression| {
            use Expression::{Body, BodyBase64, BodyPointer, BodyText};
            matches!(expression, Body | BodyPointer(_) | BodyText | BodyBase64)
        };
        self.expressions().any(is_of_body)
    }

    /// True if the template contains the value of an environment variable.
    pub fn holds_variable(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable(_)))
    }

    /// The literal text between the expressions, in order.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Expression(_) | Part::Variable(_) => None,
        })
    }

    /// Renders the text with `value` in place of every expression.
    pub fn with_stand_ins(&self, value: &str) -> String {
        let text = |part: &'_ Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Expression(_) | Part::Variable(_) => value.to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The literal text before the first expression.
    pub fn leading_literal(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Fills in the environment variables. A missing variable stays an expression, whose value is absent.
    pub fn resolve_env(&mut self, env: Env<'_>) {
        for part in &mut self.parts {
            if let Part::Expression(Expression::Env(name)) = part {
                if let Ok(value) = variable(env, name) {
                    *part = Part::Variable(Secret(value));
                }
            }
        }
    }

    /// Renders a template that contains no expressions but environment variables.
    ///
    /// # Errors
    /// Returns an error if an expression is not `${env:...}`, or if its variable is not set.
    pub fn with_env(&self, env: Env<'_>) -> Result<String, Invalid> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(Secret(value)) => text.push_str(value),
                Part::Expression(Expression::Env(name)) => text.push_str(&variable(env, name)?),
                Part::Expression(_) => return Err("only ${env:NAME} is allowed here".into()),
            }
        }
        Ok(text)
    }

    /// Renders the text for a place that is not a path (for paths see [`Self::path`]). Makes each value fit for the place. An absent value and a
    /// JSON null become empty text, a string becomes its content, and other JSON is written out.
    pub fn text(&self, values: &Values<'_>, place: Place) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(Secret(value)) if values.shows_variables() => place.put(&mut text, value),
                Part::Variable(_) => place.put(&mut text, REDACTED),
                Part::Expression(expression) => {
                    let value = values.get(expression).into_text();
                    if values.affords(place.cost(&value)) {
                        place.put(&mut text, &value);
                    }
                }
            }
        }
        text
    }

    /// The expression, if the template consists of a single one.
    fn single(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => Some(expression),
            _ => None,
        }
    }
}

impl FromStr for Template {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = after;
                continue;
            }
            literal.push_str(before);
            let Some((expression, after)) = after.split_once('}') else {
                return Err("`${` without `}`; write `$${` for a literal `${`".into());
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Expression(Expression::from_str(expression)?));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests;
