//! The normal form of a configuration: two configurations that mean the same have the same. Defaults are filled in, and scalars are written in one way.
//!
//! The schema says what the defaults and the types are, so a field that is added to the grammar needs nothing here.

use deserr::Deserr;
use serde::Serialize;
use serde_json::{json, Map, Number, Value};
use sidecast::config::problem::Problems;
use sidecast::config::scalar::{Millis, Percent, Rate, Size, Whole};
use sidecast::delivery::dead_letter::DeadLetter;
use sidecast::json::canonical;

/// Sections whose absence means the same as an empty section. The schema does not say so, because they may be null.
const TRANSPARENT: [&str; 5] = [
    "targets.[].request",
    "targets.[].request.headers",
    "targets.[].request.body",
    "targets.[].response",
    "targets.[].dead_letter.headers",
];

/// Headers that are set. Absence means none.
const SETS: [&str; 2] = ["targets.[].request.headers.set", "targets.[].dead_letter.headers.set"];

/// The longest time that a breaker is open by default, in milliseconds.
const MAX_OPEN_FOR: u64 = 60_000;

/// Brings a valid configuration into its normal form. `schema` is that of configurations.
pub(super) fn normal(text: &str, schema: &Value) -> Value {
    let document = serde_json::from_str(text).unwrap_or_default();
    let mut document = section(document, schema, "");
    let work = document.pointer("/limits/max_body_bytes").and_then(number::<Size<0, { u64::MAX }>>);
    if let (Some(Value::Object(limits)), Some(body)) = (document.get_mut("limits"), work) {
        let work = body.saturating_mul(8).clamp(8 << 20, 64 << 20);
        limits.entry("max_work_bytes").or_insert_with(|| json!(Size::<0, { u64::MAX }>(work)));
    }
    for target in document.get_mut("targets").and_then(Value::as_array_mut).into_iter().flatten() {
        derived(target);
    }
    document
}

/// Fills in the defaults that depend on other fields.
fn derived(target: &mut Value) {
    let after = target.get("after").cloned().unwrap_or_default();
    if after == "response" {
        fill(target, "", "statuses", || json!(["2xx"]));
    }
    if after.is_object() && after.get("statuses").is_none() {
        fill(target, "/after", "outcome", || json!("delivered"));
    }
    let open_for = target.pointer("/circuit_breaker/open_for").and_then(number::<Millis<0, { u64::MAX }>>);
    let longest = open_for.unwrap_or_default().max(MAX_OPEN_FOR);
    fill(target, "/circuit_breaker", "max_open_for", || json!(Millis::<0, { u64::MAX }>(longest)));
    let rate = target.pointer("/limits/rate/per_second").and_then(Value::as_f64).unwrap_or_default();
    fill(target, "/limits/rate", "burst", || plain_number(rate.max(1.0)));
    let keeper = target.pointer("/dead_letter/cluster").and_then(Value::as_str).unwrap_or_default().to_owned();
    fill(target, "/dead_letter", "path", || json!("/"));
    fill(target, "/dead_letter", "authority", || json!(DeadLetter::default_authority(&keeper).literals().collect::<String>()));
}

/// Sets a field of the object at a pointer, if there is such an object, and it has no such field.
fn fill(target: &mut Value, pointer: &str, field: &str, value: impl FnOnce() -> Value) {
    if let Some(Value::Object(fields)) = target.pointer_mut(pointer) {
        if !fields.contains_key(field) {
            fields.insert(field.to_owned(), value());
        }
    }
}

/// The part of a schema that is about objects: a section that may be null, or one of several forms, has it inside.
fn of_objects(schema: &Value) -> &Value {
    let forms = ["anyOf", "oneOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
    let is_section = |form: &&Value| form.get("properties").is_some() && form.get("type").is_some();
    if schema.get("properties").is_some() {
        return schema;
    }
    forms.into_iter().find(is_section).unwrap_or(schema)
}

fn section(value: Value, schema: &Value, path: &str) -> Value {
    match value {
        Value::Object(fields) => object(fields, of_objects(schema), path),
        Value::Array(items) => list(items, schema, path),
        value => scalar(value, schema, path),
    }
}

fn object(given: Map<String, Value>, schema: &Value, path: &str) -> Value {
    if SETS.contains(&path) {
        return Value::Object(given.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect());
    }
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return Value::Object(given) };
    let mut fields = Map::new();
    for (name, value) in given {
        let field = known.get(&name).unwrap_or(&Value::Null);
        // A value of a body may be compared with null.
        if !value.is_null() || (name == "exact" && path.ends_with(".body.[]")) {
            fields.insert(name.clone(), section(value, field, &below(path, &name)));
        }
    }
    for (name, field) in known {
        let path = below(path, name);
        if fields.contains_key(name) {
            continue;
        }
        if let Some(default) = field.get("default") {
            fields.insert(name.clone(), section(default.clone(), field, &path));
        } else if TRANSPARENT.contains(&path.as_str()) || has_defaults(field) {
            fields.insert(name.clone(), object(Map::new(), of_objects(field), &path));
        } else if SETS.contains(&path.as_str()) {
            fields.insert(name.clone(), json!({}));
        }
    }
    Value::Object(fields)
}

/// True for a section that has its defaults also when it is absent.
fn has_defaults(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "object") && schema.get("required").is_none()
}

fn list(items: Vec<Value>, schema: &Value, path: &str) -> Value {
    // A list of names among other forms.
    let forms = schema.get("oneOf").and_then(Value::as_array);
    let schema = forms.and_then(|forms| forms.iter().find(|form| form.get("items").is_some())).unwrap_or(schema);
    let Some(entry) = schema.get("items") else { return Value::Array(items) };
    let mut items: Vec<Value> = items.into_iter().map(|item| section(item, entry, &below(path, "[]"))).collect();
    // Signatures stand in the order of their secrets. In every other list the order of entries means nothing.
    if path != "targets" && !path.ends_with(".secrets") {
        items.sort_by_cached_key(Value::to_string);
        items.dedup();
    }
    Value::Array(items)
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn scalar(value: Value, schema: &Value, path: &str) -> Value {
    let title = schema.get("title").and_then(Value::as_str).unwrap_or_default();
    let is = |beginning: &str| title.starts_with(beginning);
    let written = match &value {
        _ if is("duration") => as_written::<Millis<0, { u64::MAX }>>(&value),
        _ if is("size") => as_written::<Size<0, { u64::MAX }>>(&value),
        _ if is("whole number") => as_written::<Whole<0, { u64::MAX }>>(&value),
        _ if is("percentage") => read::<Percent>(&value).map(|percent| plain_number(percent.0)),
        _ if is("number, above 0") => read::<Rate>(&value).map(|rate| plain_number(rate.0)),
        Value::Number(status) if is("status") => status.as_f64().map(|status| json!(plain_number(status).to_string())),
        Value::Number(number) if path.ends_with(".exact") => {
            // All numbers that are worth the same have this form. It is a number still, because text is another value.
            canonical_number(number)
        }
        Value::String(name) if is("name of a header") => Some(json!(name.to_ascii_lowercase())),
        // Authorities have no case. Neither has the pattern, but letters of a pattern may have a meaning.
        Value::String(text) if path.contains(".[].authority.") && !path.ends_with(".regex") => {
            Some(json!(text.to_ascii_lowercase()))
        }
        _ => None,
    };
    written.unwrap_or(value)
}

/// The number 7 for 7, 7.0 and 70e-1.
fn canonical_number(number: &Number) -> Option<Value> {
    let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
    match whole {
        Some(whole) => Some(json!(whole as i64)),
        None => serde_json::from_str(&canonical(&number.to_string())).ok(),
    }
}

fn read<T: Deserr<Problems>>(value: &Value) -> Option<T> {
    deserr::deserialize::<T, Value, Problems>(value.clone()).ok()
}

/// The value as users would write it.
fn as_written<T: Deserr<Problems> + Serialize>(value: &Value) -> Option<Value> {
    serde_json::to_value(read::<T>(value)?).ok()
}

/// A whole number without a fraction.
fn plain_number(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        json!(number as i64)
    } else {
        json!(number)
    }
}

/// A scalar that is a number.
trait AsNumber: Deserr<Problems> {
    fn number(self) -> u64;
}

impl AsNumber for Size<0, { u64::MAX }> {
    fn number(self) -> u64 {
        self.0
    }
}

impl AsNumber for Millis<0, { u64::MAX }> {
    fn number(self) -> u64 {
        self.0
    }
}

fn number<T: AsNumber>(value: &Value) -> Option<u64> {
    read::<T>(value).map(T::number)
}
