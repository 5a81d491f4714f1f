mod evaluation;

use super::*;
use crate::http::names::ReadHeader;
use proptest::prelude::*;

fn parts(text: &str) -> Vec<Part> {
    Template::from_str(text).unwrap().parts
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
            Part::Expression(Expression::Header(ReadHeader("x-user".to_owned()))),
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
        "query",
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
        "now_s",
        "now_ms",
        "env:A",
        "property:xds.route_name",
        "response:status",
        "response:header:a",
        "dead_letter",
        "dead_letter_base64",
    ] {
        assert!(Expression::from_str(text).is_ok(), "{text}");
    }
}

#[test]
fn what_is_no_expression_is_refused_by_name() {
    for text in [
        "",
        "methd",
        "query:",
        "header:host",
        "body:a",
        "body:/*",
        "header:",
        "header:a b",
        "response:",
        "response:header:",
        "env:",
        "now:1",
    ] {
        let error = Expression::from_str(text).unwrap_err().to_string();
        assert!(error.contains("expected") || error.contains("use `authority`"), "{text}: {error}");
    }
    assert!(Template::from_str("${path").unwrap_err().to_string().contains("without `}`"));
}

#[test]
fn a_secret_is_made_of_environment_variables_and_text_alone() {
    let env = |name: &str| (name == "A").then(|| "s3cret".to_owned());
    let resolve = |text: &str| Template::from_str(text).unwrap().with_env(&env);
    assert_eq!(resolve("v1-${env:A}!"), Ok("v1-s3cret!".to_owned()));
    assert!(resolve("${env:B}").unwrap_err().to_string().contains("B is not set"));
    let empty = Template::from_str("${env:B}").unwrap().with_env(&|_| Some(String::new()));
    assert_eq!(empty.unwrap_err(), "environment variable B is empty".into());
    assert!(resolve("${path}").is_err());
}

#[test]
fn a_variable_is_not_shown() {
    let mut template = Template::from_str("v1-${env:A}").unwrap();
    template.resolve_env(&|_| Some("s3cret".to_owned()));
    assert_eq!(template.with_env(&|_| None), Ok("v1-s3cret".to_owned()));
    assert!(!format!("{template:?}").contains("s3cret"), "{template:?}");
}

proptest! {
    #[test]
    fn text_without_expressions_stands_for_itself(text in "[^$]*") {
        prop_assert_eq!(Template::from_str(&text).unwrap().with_env(&|_| None), Ok(text));
    }

    #[test]
    fn no_text_makes_the_parser_fail_other_than_by_an_error(text in ".*") {
        let _ = Template::from_str(&text);
    }

    #[test]
    fn escaped_text_round_trips(text in ".*") {
        prop_assume!(!text.contains("$$"));
        let escaped = text.replace("${", "$${");
        prop_assert_eq!(Template::from_str(&escaped).unwrap().with_env(&|_| None), Ok(text));
    }
}
