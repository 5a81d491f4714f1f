//! Guesses which expression is meant, such as `${body:/id}` by `${body.id}`.

use std::collections::BTreeSet;
use std::str::FromStr;

use sidecast::template::{Expression, KNOWN};

use super::similar;

/// A text in which one expression is another one.
pub(super) struct Guess {
    pub(super) text: String,
    /// The other expression, as it would be written.
    pub(super) expression: String,
}

/// The expressions that are a single word.
fn words() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().copied().filter(|form| !form.contains(':'))
}

/// The kinds of expressions that have an argument.
fn kinds() -> impl Iterator<Item = &'static str> {
    let kinds: BTreeSet<&str> = KNOWN.iter().filter_map(|form| form.split_once(':')).map(|(kind, _)| kind).collect();
    kinds.into_iter()
}

/// Other words for expressions.
const ALIASES: [(&str, &str); 17] = [
    ("host", "authority"),
    ("uri", "path"),
    ("url", "path"),
    ("verb", "method"),
    ("timestamp", "now"),
    ("time", "now"),
    ("uuid", "delivery_id"),
    ("id", "delivery_id"),
    ("request_id", "correlation_id"),
    ("trace_id", "correlation_id"),
    ("raw_body", "body_text"),
    ("status", "response:status"),
    ("headers", "header"),
    ("params", "query"),
    ("param", "query"),
    ("answer", "response"),
    ("environment", "env"),
];

/// Guesses for the first expression in a text that is none.
pub(super) fn guesses(text: &str) -> Vec<Guess> {
    let wrong = wrong(text);
    let Some((found, others)) = wrong.split_first() else { return Vec::new() };
    // The others have problems of their own.
    let text = others.iter().fold(text.to_owned(), |text, other| text.replace(&format!("${{{other}}}"), "x"));
    let written = format!("${{{found}}}");
    let meant = meant(found).into_iter().filter(|meant| meant != found);
    let guess = |meant: String| {
        let expression = format!("${{{meant}}}");
        Guess { text: text.replace(&written, &expression), expression }
    };
    meant.map(guess).collect()
}

/// What stands between each `${` and `}`, if it is no expression.
fn wrong(text: &str) -> Vec<&str> {
    let mut wrong = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((inner, end)) = after.split_once('}') else { break };
        if !before.ends_with('$') && Expression::from_str(inner).is_err() {
            wrong.push(inner);
        }
        rest = end;
    }
    wrong
}

/// The expressions that may be meant, the likeliest first.
fn meant(found: &str) -> Vec<String> {
    let found = found.trim();
    let parts = parts(found);
    let mut meant = Vec::new();
    if parts.iter().map(String::as_str).eq(["request", "id"]) {
        meant.push("correlation_id".to_owned());
    }
    // `request.` before it says nothing.
    let parts = match parts.as_slice() {
        [first, rest @ ..] if matches!(first.as_str(), "request" | "req") && !rest.is_empty() => rest,
        all => all,
    };
    meant.extend(of_parts(parts));
    if let Some((first, rest)) = parts.split_first() {
        let lower = first.to_ascii_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, meant)| *meant);
        let words: Vec<&str> = if rest.is_empty() { words().collect() } else { kinds().collect() };
        for other in alias.into_iter().chain(similar(&lower, words.iter().copied())) {
            let renamed: Vec<String> = std::iter::once(other.to_owned()).chain(rest.iter().cloned()).collect();
            meant.extend(of_parts(&renamed));
        }
        // The kind is right, or nearly, and the argument is as it was written.
        if let Some((kind, argument)) = found.split_once(':') {
            meant.extend(similar(kind, kinds()).map(|kind| format!("{kind}:{argument}")));
        }
    }
    let is_variable = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|char| char.is_ascii_uppercase() || char.is_ascii_digit() || char == '_')
    };
    if is_variable(found) {
        meant.push(format!("env:{found}"));
    }
    meant
}

/// An expression of these parts.
fn of_parts(parts: &[String]) -> Option<String> {
    let (kind, rest) = parts.split_first()?;
    let lower = kind.to_ascii_lowercase();
    Some(match (lower.as_str(), rest) {
        (_, []) => lower,
        ("body", rest) => format!("body:{}", pointer(rest)),
        ("header" | "query" | "env", rest) => format!("{lower}:{}", rest.join(".")),
        ("property", rest) => format!("property:{}", rest.join(".")),
        ("response", [part]) => format!("response:{}", part.to_ascii_lowercase()),
        ("response", rest) => format!("response:{}", of_answer(rest)?),
        ("target", [name, rest @ ..]) if !rest.is_empty() => format!("target:{name}:{}", of_answer(rest)?),
        _ => return None,
    })
}

/// A part of an answer.
fn of_answer(parts: &[String]) -> Option<String> {
    let (kind, rest) = parts.split_first()?;
    Some(match (kind.to_ascii_lowercase().as_str(), rest) {
        ("header" | "headers", rest) if !rest.is_empty() => format!("header:{}", rest.join(".")),
        ("body", rest) if !rest.is_empty() => format!("body:{}", pointer(rest)),
        (_, []) => kind.to_ascii_lowercase(),
        _ => return None,
    })
}

fn pointer(parts: &[String]) -> String {
    parts.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// The words of an expression, whatever stands between them: `body.a[0]["b"]` is `body`, `a`, `0` and `b`.
fn parts(found: &str) -> Vec<String> {
    let words = found.split(['.', '/', ':', '[', ']', '(', ')', '"', '\'', '$', ' ']);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_write_is_understood() {
        for (found, expected) in [
            ("body.id", "body:/id"),
            ("body/id", "body:/id"),
            ("body:id", "body:/id"),
            ("body[id]", "body:/id"),
            ("body.items[0].sku", "body:/items/0/sku"),
            ("request.body.id", "body:/id"),
            ("header.x-user", "header:x-user"),
            ("headers.x-user", "header:x-user"),
            ("header[x-user]", "header:x-user"),
            ("request.headers['x-user']", "header:x-user"),
            ("heder:x-user", "header:x-user"),
            ("query.page", "query:page"),
            ("params.page", "query:page"),
            ("request.path", "path"),
            ("paht", "path"),
            ("Path", "path"),
            ("host", "authority"),
            ("timestamp", "now"),
            ("response.status", "response:status"),
            ("response.body.id", "response:body:/id"),
            ("response.headers.x-a", "response:header:x-a"),
            ("target.payment.body.id", "target:payment:body:/id"),
            ("target:payment.status", "target:payment:status"),
            ("env.TOKEN", "env:TOKEN"),
            ("TOKEN", "env:TOKEN"),
        ] {
            assert!(
                meant(found).iter().any(|meant| meant == expected && Expression::from_str(meant).is_ok()),
                "{found}: {:?}",
                meant(found)
            );
        }
        assert!(guesses("a").is_empty());
        assert!(guesses("${path} $${paht} ${query}").is_empty());
        assert_eq!(guesses("/${path}/${body.id}/${x}")[0].text, "/${path}/${body:/id}/x");
    }
}
