//! Guesses which value is meant where another kind of value is expected: a section by a scalar, a list by its only entry, `5s` by `5`.

use serde_json::{json, Map, Value};

use super::Place;
use crate::check::tree::{Kind, Node};

/// The field of a section that a scalar in place of the section means.
const MEANT: [(&str, &[&str]); 26] = [
    ("path", &["prefix"]),
    ("authority", &["exact"]),
    ("sample", &["percent"]),
    ("retry", &["max_attempts", "expire_after"]),
    ("backoff", &["base"]),
    ("budget", &["percent"]),
    ("circuit_breaker", &["mode", "consecutive_failures"]),
    ("failure_rate", &["percent", "window"]),
    ("slow_call", &["longer_than"]),
    ("half_open", &["probes"]),
    ("limits", &["max_in_flight", "max_body_bytes"]),
    ("rate", &["per_second"]),
    ("batch", &["max_items", "max_bytes", "max_delay", "format"]),
    ("dead_letter", &["cluster"]),
    ("compare", &["percent", "body"]),
    ("key", &["body", "header"]),
    ("request", &["path", "method"]),
    ("loop_guard", &["secret"]),
    ("correlation", &["header"]),
    ("timestamp", &["header"]),
    ("body", &["template"]),
    ("response", &["redact"]),
    ("after", &["target"]),
    ("headers", &["forward"]),
    ("standard_webhooks", &["secrets"]),
    ("targets", &["cluster"]),
];

/// Parts of paths that lead to pointers.
const POINTERS: [&str; 5] = [".pointer", ".redact", ".ignore", ".unordered", ".key.body"];

/// The values that may be meant by the one at a place, the likeliest first. Not all of them are taken there.
pub(super) fn meant(place: &Place<'_>, path: &str) -> Vec<Value> {
    let written: Value = serde_json::from_str(&place.value.to_json()).unwrap_or_default();
    let key = place.key.map(|(key, _)| key).unwrap_or_default();
    // What is wrong with a pattern nobody can guess.
    if path.ends_with(".regex") || path.ends_with(".pattern") {
        return Vec::new();
    }
    let mut meant: Vec<Value> =
        written.as_str().filter(|_| POINTERS.iter().any(|field| path.contains(field))).map(pointer).into_iter().collect();
    // Stars are no pattern there.
    let beginning = written.as_str().filter(|text| path.ends_with(".prefix") && text.ends_with('*'));
    meant.extend(beginning.map(|text| json!(format!("/{}", text.trim_matches(['/', '*'])))));
    // A pseudo-header such as `:path` is no header, whatever is left out of its name.
    let names = written.as_str().filter(|text| !text.starts_with(':') && (path.ends_with(".name") || path.ends_with(".target")));
    meant.extend(names.map(name));
    meant.extend(scalars(place.value, &written));
    let fields = MEANT.iter().find(|(section, _)| *section == key).map_or(&[][..], |(_, fields)| fields);
    match &written {
        Value::Object(fields) => {
            meant.extend(of_object(fields));
            meant.push(json!([written]));
        }
        Value::Bool(true) => meant.push(json!({})),
        Value::Bool(false) if key == "circuit_breaker" => meant.push(json!({"mode": "disabled"})),
        Value::Array(items) => {
            // A list in place of its only entry.
            meant.extend(items.first().filter(|_| items.len() == 1).cloned());
        }
        Value::Null => {}
        scalar => {
            let own = std::iter::once(scalar.clone()).chain(scalars(place.value, scalar));
            let own: Vec<Value> = own.collect();
            for value in &own {
                meant.extend(fields.iter().map(|field| json!({*field: value})));
                meant.extend(fields.iter().map(|field| json!({*field: [value]})));
            }
            if key == "order" {
                meant.extend(["body", "header"].map(|of| json!({"key": {of: scalar}})));
            }
            meant.extend(own.into_iter().map(|value| json!([value])));
            // An entry of a list of conditions.
            meant.push(json!({"name": scalar, "present": true}));
            meant.push(json!({"pointer": scalar, "present": true}));
        }
    }
    meant
}

/// Scalars that may be meant by a scalar.
fn scalars(node: &Node, written: &Value) -> Vec<Value> {
    match (&node.kind, written) {
        (Kind::Number(number), _) => of_number(&number.to_string()),
        (_, Value::String(text)) => of_text(text),
        _ => Vec::new(),
    }
}

/// A number that is a status or another text, which is no length of time, or else a length of time.
fn of_number(number: &str) -> Vec<Value> {
    let is_long = number.parse::<f64>().is_ok_and(|number| number >= 100.0);
    let units = if is_long { ["ms", "s"] } else { ["s", "ms"] };
    std::iter::once(json!(number)).chain(units.iter().map(|unit| json!(format!("{number}{unit}")))).collect()
}

fn of_text(text: &str) -> Vec<Value> {
    let trimmed = text.trim();
    let mut meant: Vec<Value> = Vec::new();
    meant.extend(amount(trimmed));
    match trimmed.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => meant.push(json!(true)),
        "false" | "no" | "off" => meant.push(json!(false)),
        _ => {}
    }
    if let Ok(number) = trimmed.trim_end_matches('%').trim().parse::<serde_json::Number>() {
        meant.extend(if trimmed.ends_with('%') { vec![json!(number)] } else { of_number(trimmed) });
    }
    let without_query = trimmed.split(['?', '#']).next().unwrap_or_default();
    let host = trimmed.split_once("://").and_then(|(_, behind)| behind.split('/').next()).unwrap_or_default();
    let texts = [
        trimmed.to_owned(),
        trimmed.to_ascii_uppercase(),
        trimmed.to_ascii_lowercase(),
        trimmed.to_ascii_lowercase().replace('*', "x"),
        class(trimmed),
        without_query.to_owned(),
        format!("/{trimmed}"),
        format!("/{without_query}"),
        host.to_owned(),
        trimmed.trim_end_matches(':').to_owned(),
        trimmed.to_ascii_lowercase().replace(['-', ' '], "_"),
    ];
    let texts = texts.into_iter().filter(|other| other != text && !other.is_empty());
    meant.extend(texts.map(Value::from));
    meant
}

/// A pointer, as other tools write it, such as `$.card.number` or `items[0].sku`.
fn pointer(text: &str) -> Value {
    let steps = text.trim().trim_start_matches('$').trim_start_matches(['.', '/']);
    json!(format!("/{}", steps.replace(['.', '['], "/").replace(']', "")))
}

/// A name of a target that is like a text.
fn name(text: &str) -> Value {
    let is_kept = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let name: String = text.to_ascii_lowercase().chars().map(|char| if is_kept(char) { char } else { '-' }).collect();
    json!(name.trim_matches(['-', '_']))
}

/// A class of statuses by its bounds, such as `200-299`.
fn class(text: &str) -> String {
    let digit = text.split_once("00").filter(|(digit, rest)| digit.len() == 1 && rest.ends_with("99")).map(|(digit, _)| digit);
    digit.map(|digit| format!("{digit}xx")).unwrap_or_default()
}

/// A length of time or a size with a unit that is written in another way.
fn amount(text: &str) -> Vec<Value> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    if number.is_empty() {
        return Vec::new();
    }
    let unit = unit.trim().to_ascii_lowercase();
    let named = match unit.as_str() {
        "msec" | "msecs" | "milli" | "millis" | "millisecond" | "milliseconds" | "ms" => "ms",
        "sec" | "secs" | "second" | "seconds" | "s" => "s",
        "min" | "mins" | "minute" | "minutes" | "m" => "m",
        "hr" | "hrs" | "hour" | "hours" | "h" => "h",
        "k" | "ki" | "kib" | "kibibyte" | "kibibytes" => "KiB",
        "kb" | "kilobyte" | "kilobytes" => "KB",
        "mi" | "mib" | "mebibyte" | "mebibytes" => "MiB",
        "mb" | "megabyte" | "megabytes" => "MB",
        "gi" | "gib" | "g" => "GiB",
        "d" | "day" | "days" => {
            let hours = number.parse::<u32>().ok().map(|days| days.saturating_mul(24));
            return hours.map(|hours| vec![json!(format!("{hours}h"))]).unwrap_or_default();
        }
        _ => return Vec::new(),
    };
    let mut meant = vec![json!(format!("{number}{named}"))];
    if unit == "m" {
        meant.push(json!(format!("{number}MiB")));
    }
    meant
}

/// What an object means in place of a scalar or a list: its only value, or its members as conditions.
fn of_object(fields: &Map<String, Value>) -> Vec<Value> {
    let mut meant = Vec::new();
    if let Some((key, value)) = fields.iter().next().filter(|_| fields.len() == 1) {
        let number = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        meant.extend(amount(&format!("{number}{key}")));
        meant.push(value.clone());
    }
    let conditions = |subject: &str| {
        let of = |(key, value): (&String, &Value)| match value {
            Value::Object(condition) => {
                let mut condition = condition.clone();
                condition.insert(subject.to_owned(), json!(key));
                Value::Object(condition)
            }
            Value::Bool(present) => json!({subject: key, "present": present}),
            value => json!({subject: key, "exact": value}),
        };
        Value::Array(fields.iter().map(of).collect())
    };
    meant.extend([conditions("name"), conditions("pointer")]);
    meant
}
