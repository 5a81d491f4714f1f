//! Text with `${...}` expressions in it. Parsed once, at configuration; so far only `${env:...}` in secrets is evaluated.

use crate::config::names::{HeaderName, Pointer};
use crate::config::scalar::FromText;

/// What an expression stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// The request's method.
    Method,
    /// The request's path without its query.
    Path,
    /// The first query parameter of that name.
    Query(String),
    /// The request's authority.
    Authority,
    /// The first header of that name.
    Header(HeaderName),
    /// The body, parsed as JSON.
    Body,
    /// The value at a pointer into the body, parsed as JSON.
    BodyPointer(Pointer),
    /// The body as text.
    BodyText,
    /// The body as base64.
    BodyBase64,
    /// The target's name.
    Target,
    /// The delivery's id.
    DeliveryId,
    /// The correlation id.
    CorrelationId,
    /// The number of the attempt, from 1.
    Attempt,
    /// The time, as RFC 3339.
    Now,
    /// The time, in milliseconds since 1970.
    NowMs,
    /// An environment variable of the VM.
    Env(String),
    /// A property of Envoy, its path split at the dots.
    Property(Vec<String>),
    /// The status of the primary's answer.
    ResponseStatus,
    /// The first header of that name in the primary's answer.
    ResponseHeader(HeaderName),
    /// The dead letter, as JSON.
    DeadLetter,
    /// The dead letter, as base64 of its JSON.
    DeadLetterBase64,
}

/// What can stand in an expression, for messages.
const KNOWN: &str = "`method`, `path`, `query:NAME`, `authority`, `header:NAME`, `body`, `body:/POINTER`, `body_text`, \
`body_base64`, `target`, `delivery_id`, `correlation_id`, `attempt`, `now`, `now_ms`, `env:NAME`, `property:PATH`, \
`response:status`, `response:header:NAME`, `dead_letter`, `dead_letter_base64`";

impl FromText for Expression {
    fn from_text(text: &str) -> Result<Self, String> {
        let (kind, argument) = match text.split_once(':') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (text, None),
        };
        Ok(match (kind, argument) {
            ("method", None) => Self::Method,
            ("path", None) => Self::Path,
            ("query", Some(name)) if !name.is_empty() => Self::Query(name.to_owned()),
            ("authority", None) => Self::Authority,
            ("header", Some(name)) => Self::Header(HeaderName::from_text(name)?),
            ("body", None) => Self::Body,
            ("body", Some(pointer)) => Self::BodyPointer(single_pointer(pointer)?),
            ("body_text", None) => Self::BodyText,
            ("body_base64", None) => Self::BodyBase64,
            ("target", None) => Self::Target,
            ("delivery_id", None) => Self::DeliveryId,
            ("correlation_id", None) => Self::CorrelationId,
            ("attempt", None) => Self::Attempt,
            ("now", None) => Self::Now,
            ("now_ms", None) => Self::NowMs,
            ("env", Some(name)) if !name.is_empty() && !name.contains(['=', '\0']) => Self::Env(name.to_owned()),
            ("property", Some(path)) if !path.is_empty() => Self::Property(path.split('.').map(str::to_owned).collect()),
            ("response", Some("status")) => Self::ResponseStatus,
            ("response", Some(argument)) => match argument.strip_prefix("header:") {
                Some(name) => Self::ResponseHeader(HeaderName::from_text(name)?),
                None => return Err(unknown(text)),
            },
            ("dead_letter", None) => Self::DeadLetter,
            ("dead_letter_base64", None) => Self::DeadLetterBase64,
            _ => return Err(unknown(text)),
        })
    }
}

/// A pointer to one value: `*` means nothing here.
fn single_pointer(text: &str) -> Result<Pointer, String> {
    let pointer = Pointer::from_text(text)?;
    if pointer.0.iter().any(|segment| segment == "*") {
        return Err(format!("expected a JSON pointer to one value, without \"*\", found {text:?}"));
    }
    Ok(pointer)
}

fn unknown(text: &str) -> String {
    format!("unknown expression ${{{text}}}, expected one of {KNOWN}")
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Literal(String),
    /// A value put in its place.
    Expression(Expression),
}

/// Text with expressions. `$${` is a literal `${`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

impl Template {
    /// The expressions of the template, in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expression(expression) => Some(expression),
            Part::Literal(_) => None,
        })
    }

    /// The text of a template that holds environment variables alone.
    ///
    /// # Errors
    /// An expression is not `${env:...}`, or its variable is not set.
    pub fn with_env(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Expression(Expression::Env(name)) => match env(name) {
                    Some(value) => text.push_str(&value),
                    None => {
                        return Err(format!("environment variable {name} is not set; give it in vm_config.environment_variables"))
                    }
                },
                Part::Expression(_) => return Err("only ${env:NAME} can stand here".to_owned()),
            }
        }
        Ok(text)
    }
}

impl FromText for Template {
    fn from_text(text: &str) -> Result<Self, String> {
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
            parts.push(Part::Expression(Expression::from_text(expression)?));
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> Vec<Part> {
        Template::from_text(text).unwrap().parts
    }

    fn literal(text: &str) -> Part {
        Part::Literal(text.to_owned())
    }

    #[test]
    fn text_and_expressions_alternate() {
        assert_eq!(
            parts("/events?src=${path}&to=${header:X-User}"),
            [
                literal("/events?src="),
                Part::Expression(Expression::Path),
                literal("&to="),
                Part::Expression(Expression::Header(HeaderName("x-user".to_owned()))),
            ]
        );
    }

    #[test]
    fn a_doubled_dollar_is_a_literal_brace() {
        assert_eq!(parts("a$${path}${path}"), [literal("a${path}"), Part::Expression(Expression::Path)]);
        assert_eq!(parts("$5 {x} $"), [literal("$5 {x} $")]);
        assert_eq!(parts(""), []);
    }

    #[test]
    fn every_expression_of_the_grammar_parses() {
        for text in [
            "method",
            "path",
            "query:a",
            "authority",
            "header:a",
            "body",
            "body:/a/0/~1b",
            "body_text",
            "body_base64",
            "target",
            "delivery_id",
            "correlation_id",
            "attempt",
            "now",
            "now_ms",
            "env:A",
            "property:xds.route_name",
            "response:status",
            "response:header:a",
            "dead_letter",
            "dead_letter_base64",
        ] {
            assert!(Expression::from_text(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_by_name() {
        for text in [
            "",
            "methd",
            "query",
            "query:",
            "body:a",
            "body:/*",
            "header:",
            "header:a b",
            "response:",
            "response:header:",
            "env:",
            "now:1",
        ] {
            let error = Expression::from_text(text).unwrap_err();
            assert!(error.contains("expected"), "{text}: {error}");
        }
        assert!(Template::from_text("${path").unwrap_err().contains("without its `}`"));
    }

    #[test]
    fn a_secret_is_made_of_environment_variables_and_text_alone() {
        let env = |name: &str| (name == "A").then(|| "s3cret".to_owned());
        let resolve = |text: &str| Template::from_text(text).unwrap().with_env(&env);
        assert_eq!(resolve("v1-${env:A}!"), Ok("v1-s3cret!".to_owned()));
        assert!(resolve("${env:B}").unwrap_err().contains("B is not set"));
        assert!(resolve("${path}").is_err());
    }

    proptest! {
        #[test]
        fn text_without_expressions_stands_for_itself(text in "[^$]*") {
            prop_assert_eq!(Template::from_text(&text).unwrap().with_env(&|_| None), Ok(text));
        }

        #[test]
        fn no_text_makes_the_parser_fail_other_than_by_an_error(text in ".*") {
            let _ = Template::from_text(&text);
        }

        #[test]
        fn escaped_text_round_trips(text in ".*") {
            prop_assume!(!text.contains("$$"));
            let escaped = text.replace("${", "$${");
            prop_assert_eq!(Template::from_text(&escaped).unwrap().with_env(&|_| None), Ok(text));
        }
    }
}
