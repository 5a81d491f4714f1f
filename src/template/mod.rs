//! Text and JSON with `${...}` expressions in them: parsed once, at configuration, and put together anew for each request.
//!
//! Uses `json` and `http`. Begin with [`Template`] and [`Expression`].
//!
//! A value never breaks out of the place in which it stands: [`Place`] says what that takes for text, and in JSON a value is a
//! value of its own. Environment variables are values like all others, read at configuration.

mod expression;
mod json;
mod path;
mod place;
pub mod property;
mod values;

pub use expression::Expression;
pub use json::JsonTemplate;
pub use path::{check_path, UnsafePath};
pub use place::{fits_authority, Place};
pub use values::{rfc3339, Facts, PrimaryResponse, Property, Values};

use std::fmt;

use std::str::FromStr;

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Text as it stands.
    Literal(String),
    /// A value put in its place.
    Expression(Expression),
    /// The value of an environment variable.
    Variable(Secret),
}

/// Text that is not shown.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Text with expressions. `$${` is a literal `${`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// What stands in the place of a value that is not shown.
pub const REDACTED: &str = "[redacted]";

/// Where environment variables come from.
pub type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// The value of an environment variable.
///
/// # Errors
/// It is not set, or empty; the text names the variable.
pub fn variable(env: Env<'_>, name: &str) -> Result<String, String> {
    match env(name) {
        Some(value) if !value.is_empty() => Ok(value),
        Some(_) => Err(format!("environment variable {name} is empty")),
        None => Err(format!("environment variable {name} is not set; give it in vm_config.environment_variables")),
    }
}

impl Template {
    /// A template without expressions.
    pub fn literal(text: String) -> Self {
        Self { parts: vec![Part::Literal(text)] }
    }

    /// The expressions of the template, in order; environment variables only as long as they are not resolved.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Literal(_) | Part::Variable(_) => None,
        })
    }

    /// True when an expression needs the body as JSON.
    pub fn reads_body_as_json(&self) -> bool {
        self.expressions().any(|expression| matches!(expression, Expression::Body | Expression::BodyPointer(_)))
    }

    /// True when an expression needs the body, in whatever form.
    pub fn reads_body(&self) -> bool {
        let is_of_body = |expression: &Expression| {
            use Expression::{Body, BodyBase64, BodyPointer, BodyText};
            matches!(expression, Body | BodyPointer(_) | BodyText | BodyBase64)
        };
        self.expressions().any(is_of_body)
    }

    /// True when the value of an environment variable is in it.
    pub fn holds_variable(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable(_)))
    }

    /// The text between the expressions, in order.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(text) => Some(text.as_str()),
            Part::Expression(_) | Part::Variable(_) => None,
        })
    }

    /// The text with the same in the place of every value.
    pub fn with_stand_ins(&self, value: &str) -> String {
        let text = |part: &'_ Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Expression(_) | Part::Variable(_) => value.to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The text before the first expression.
    pub fn leading_literal(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Reads the environment variables. One that is missing stays an expression, whose value is absent.
    pub fn resolve_env(&mut self, env: Env<'_>) {
        for part in &mut self.parts {
            if let Part::Expression(Expression::Env(name)) = part {
                if let Ok(value) = variable(env, name) {
                    *part = Part::Variable(Secret(value));
                }
            }
        }
    }

    /// The text of a template that holds environment variables alone.
    ///
    /// # Errors
    /// An expression is not `${env:...}`, or its variable is not set.
    pub fn with_env(&self, env: Env<'_>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Variable(Secret(value)) => text.push_str(value),
                Part::Expression(Expression::Env(name)) => text.push_str(&variable(env, name)?),
                Part::Expression(_) => return Err("only ${env:NAME} can stand here".to_owned()),
            }
        }
        Ok(text)
    }

    /// The text for a place that is no path ([`Self::path`]), with each value made fit for it. An absent value and a JSON null are no text, other JSON is written
    /// out, a string as itself.
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

    /// The expression, if the template is nothing else.
    fn single(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression(expression)] => Some(expression),
            _ => None,
        }
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
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
                return Err("`${` without its `}`; a literal `${` is written `$${`".to_owned());
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
