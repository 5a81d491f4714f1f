//! Configurations: whatever is given is either one that can be run or has problems, each at a place, the same each time and in each
//! of the two forms in which Envoy hands it over.

use std::collections::HashSet;

use prost::Message;
use prost_types::value::Kind;
use serde_json::{json, Map, Value};
use sidecast::config::Config;

use crate::choices::Choices;
use crate::hold;

/// Every section and field, each as users write it.
const WHOLE: &str = include_str!("whole.json");
const SECRET: &str = "s3cr3t-of-4711";

fn env(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some(SECRET.to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

type Outcome = Result<String, Vec<(String, String)>>;

/// All of a configuration as text, or the places and words of its problems.
fn outcome(text: &[u8]) -> Outcome {
    match Config::parse(text, &env) {
        Ok(config) => Ok(format!("{config:?}")),
        Err(problems) => Err(problems.into_iter().map(|problem| (problem.path, problem.message)).collect()),
    }
}

/// The same value as Envoy hands over a Struct.
fn as_struct(fields: &Map<String, Value>) -> prost_types::Struct {
    fn convert(value: &Value) -> prost_types::Value {
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(flag) => Kind::BoolValue(*flag),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(list) => Kind::ListValue(prost_types::ListValue { values: list.iter().map(convert).collect() }),
            Value::Object(fields) => Kind::StructValue(as_struct(fields)),
        };
        prost_types::Value { kind: Some(kind) }
    }
    prost_types::Struct { fields: fields.iter().map(|(key, value)| (key.clone(), convert(value))).collect() }
}

/// All values in a document, as ways to them.
fn ways(value: &Value, way: &str, ways: &mut Vec<String>) {
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

/// The paths of all values, as problems write them.
fn paths(value: &Value, path: &str, paths: &mut HashSet<String>) {
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| self::paths(item, &format!("{path}[{index}]"), paths))
        }
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = if key.is_empty() { r#""""# } else { key };
                let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
                self::paths(value, &path, paths);
            }
        }
        _ => {}
    }
    paths.insert(path.to_owned());
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
fn document(choices: &mut Choices<'_>) -> Value {
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

fn assert_placed(document: &Value, problems: &[(String, String)]) {
    assert!(!problems.is_empty());
    let mut known = HashSet::new();
    paths(document, "", &mut known);
    for (path, message) in problems {
        assert!(!message.is_empty() && !message.contains(SECRET) && !path.contains(SECRET), "{path}: {message}");
        let is_missing = message == "missing, but required";
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        assert!(known.contains(path) || (is_missing && known.contains(parent)), "{path:?}: {message} of {document}");
        // Only what is wrong with all of it has no path.
        assert!(!path.is_empty() || !document.is_object(), "{message}");
    }
}

fn mutated(choices: &mut Choices<'_>) {
    let document = document(choices);
    let text = document.to_string();
    let first = outcome(text.as_bytes());
    assert_eq!(first, outcome(text.as_bytes()), "the second time: {text}");
    match &first {
        Ok(config) => assert!(!config.contains(SECRET), "{config}"),
        Err(problems) => assert_placed(&document, problems),
    }
    if let Value::Object(fields) = &document {
        if !fields.is_empty() {
            assert_eq!(outcome(&as_struct(fields).encode_to_vec()), first, "as a Struct: {text}");
        }
    }
}

fn damaged(choices: &mut Choices<'_>) {
    let mut text = match choices.below(4) {
        0 => choices.bytes(64),
        1 => as_struct(document(choices).as_object().unwrap_or(&Map::new())).encode_to_vec(),
        _ => document(choices).to_string().into_bytes(),
    };
    if !text.is_empty() {
        choices.damage(&mut text, 6);
    }
    let first = outcome(&text);
    assert_eq!(first, outcome(&text), "the second time: {}", String::from_utf8_lossy(&text));
    match first {
        Ok(_) => {}
        Err(problems) => {
            assert!(!problems.is_empty());
            for (_, message) in problems {
                assert!(!message.is_empty() && !message.contains(SECRET), "{message}");
            }
        }
    }
}

/// A field given twice is a problem, at its path.
fn repeated(choices: &mut Choices<'_>) {
    let whole: Value = serde_json::from_str(WHOLE).unwrap();
    let mut all = Vec::new();
    ways(&whole, "", &mut all);
    let way = choices.one_of(&all).clone();
    let Some(Value::Object(fields)) = whole.pointer(&way) else { return };
    let fields: Vec<(&String, &Value)> = fields.iter().collect();
    if fields.is_empty() {
        return;
    }
    let (key, value) = *choices.one_of(&fields);
    // The object, with the field once more: at its beginning or its end.
    let object = whole.pointer(&way).unwrap().to_string();
    let again = format!("{}:{value}", json!(key));
    let twice = if choices.once_in(2) {
        format!("{{{again},{}", &object[1..])
    } else {
        format!("{},{again}}}", &object[..object.len() - 1])
    };
    let mut marked = whole.clone();
    *marked.pointer_mut(&way).unwrap() = json!("HERE");
    let text = marked.to_string().replace("\"HERE\"", &twice);
    let mut known = HashSet::new();
    paths(&whole, "", &mut known);
    let Err(problems) = outcome(text.as_bytes()) else { panic!("no problem with {text}") };
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        known.contains(&problems[0].0) && problems[0].0.ends_with(key.as_str()) && problems[0].1 == "given twice",
        "{problems:?}"
    );
}

#[test]
fn the_whole_grammar_has_no_problem() {
    outcome(WHOLE.as_bytes()).unwrap();
}

#[test]
fn a_mutated_configuration_can_be_run_or_has_problems_each_at_a_place() {
    hold(192, mutated);
}

#[test]
fn damaged_bytes_can_be_run_or_have_problems() {
    hold(192, damaged);
}

#[test]
fn a_field_given_twice_is_the_only_problem() {
    hold(32, repeated);
}
