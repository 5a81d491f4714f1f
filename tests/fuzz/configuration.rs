//! Configurations: whatever is given is either one that can be run or has problems, each at a place, the same each time and in each
//! of the two forms in which Envoy hands it over.

use std::collections::HashSet;

use prost::Message;
use prost_types::value::Kind;
use serde_json::{json, Map, Value};
use sidecast::config::Config;

use crate::choices::Choices;
use crate::documents::{document, ways, WHOLE};
use crate::hold;

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
        Err(problems) => Err(problems.into_iter().map(|problem| (problem.path, problem.mistake.to_string())).collect()),
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
