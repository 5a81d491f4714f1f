//! Documents that may be configurations: the whole grammar with a few things done to it.

use serde_json::{json, Value};

use crate::choices::Choices;

/// Every section and field, each as users write it.
pub(crate) const WHOLE: &str = include_str!("whole.json");

/// All values in a document, as ways to them.
pub(crate) fn ways(value: &Value, way: &str, ways: &mut Vec<String>) {
    ways.push(way.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| self::ways(item, &format!("{way}/{index}"), ways))
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| {
                self::ways(value, &format!("{way}/{}", key.replace('~', "~0").replace('/', "~1")), ways)
            });
        }
        _ => {}
    }
}

/// A value that belongs nowhere, or somewhere else.
fn odd(choices: &mut Choices<'_>) -> Value {
    match choices.below(3) {
        0 => json!(choices.text(4)),
        1 => choices
            .one_of(&[
                json!(null),
                json!(true),
                json!(0),
                json!(-1),
                json!(1),
                json!(0.001),
                json!(100.1),
                json!(3.0),
                json!(1e6),
                json!(1e300),
                json!(9_007_199_254_740_992_u64),
                json!(10_001),
                json!([]),
                json!({}),
                json!([[]]),
                json!({"a": {}}),
            ])
            .clone(),
        _ => json!(choices.one_of(&[
            "",
            "0ms",
            "1ms",
            "1.5s",
            "24h",
            "25h",
            "-1s",
            "1e3s",
            "64KiB",
            "1GiB",
            "5GiB",
            "-1",
            "2xx",
            "6xx",
            "099",
            "204",
            "all",
            "none",
            "strip",
            "forward",
            "response",
            "request",
            "enforce",
            "disabled",
            "ndjson",
            "json",
            "exact",
            "/",
            "/a?b",
            "/*/b~2",
            "/a~1",
            "${",
            "$${",
            "${body}",
            "${body:/a}",
            "${env:SECRET}",
            "${env:EMPTY}",
            "${env:NONE}",
            "${response:status}",
            "${dead_letter}",
            "${property:a.b}",
            "${nothing}",
            "a\r\nb",
            "(",
            "[a-z]{1,1000}",
            "(?i)a",
            "host",
            "content-length",
            "X-A",
            "x a",
            "GET",
            "get",
        ])),
    }
}

const FIELDS: [&str; 30] = [
    "name",
    "cluster",
    "match",
    "sample",
    "after",
    "statuses",
    "request",
    "success",
    "timeout",
    "retry",
    "circuit_breaker",
    "limits",
    "batch",
    "dead_letter",
    "compare",
    "path",
    "headers",
    "body",
    "set",
    "template",
    "omit",
    "percent",
    "format",
    "max_items",
    "x",
    "",
    "a.b",
    "[0]",
    "methods",
    "key",
];

/// Deletes, replaces, copies, moves and adds.
fn mutate(choices: &mut Choices<'_>, document: &mut Value) {
    let mut all = Vec::new();
    ways(document, "", &mut all);
    let way = choices.one_of(&all).clone();
    let other = choices.one_of(&all).clone();
    match choices.below(6) {
        0 => {
            let Some((parent, key)) = way.rsplit_once('/') else { return };
            let key = key.replace("~1", "/").replace("~0", "~");
            match document.pointer_mut(parent) {
                Some(Value::Object(fields)) => drop(fields.remove(&key)),
                Some(Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
                _ => {}
            }
        }
        1 | 2 => *document.pointer_mut(&way).unwrap() = odd(choices),
        3 => {
            let part = document.pointer(&other).unwrap().clone();
            *document.pointer_mut(&way).unwrap() = part;
        }
        4 => {
            let part = if choices.once_in(2) { odd(choices) } else { document.pointer(&other).unwrap().clone() };
            match document.pointer_mut(&way).unwrap() {
                Value::Object(fields) => drop(fields.insert((*choices.one_of(&FIELDS)).to_owned(), part)),
                Value::Array(items) => items.push(part),
                _ => {}
            }
        }
        _ => {
            if let Value::Array(items) = document.pointer_mut(&way).unwrap() {
                items.extend(items.clone());
            }
        }
    }
}

/// The whole grammar, or what little one target needs, with something done to it.
pub(crate) fn document(choices: &mut Choices<'_>) -> Value {
    let mut document: Value = match choices.below(3) {
        0 => json!({"targets": [{"name": "t", "cluster": "c"}]}),
        _ => serde_json::from_str(WHOLE).unwrap(),
    };
    for _ in 0..choices.below(5) {
        mutate(choices, &mut document);
        if document.to_string().len() > 20_000 {
            break;
        }
    }
    document
}
