//! What the schema says of a field is what is in force.

use std::collections::BTreeSet;

use serde_json::{json, Value};
use sidecast::config::problem::Problems;
use sidecast::config::Config;

use crate::documents::{ways, WHOLE};
use crate::schema::{of_given, schema};

fn parsed(document: &Value) -> Result<String, Problems> {
    Config::parse(document.to_string().as_bytes(), &|_| Some("v".to_owned())).map(|config| format!("{config:?}"))
}

/// The part of the schema that speaks of a place in a document.
fn at<'s>(schema: &'s Value, way: &str) -> Option<&'s Value> {
    way.split('/').skip(1).try_fold(schema, |schema, key| {
        let schema = of_given(schema);
        let field = |schema: &'s Value| schema["properties"].get(key).or_else(|| schema.get("items"));
        field(schema).or_else(|| schema["oneOf"].as_array()?.iter().find_map(field))
    })
}

/// The ways to all parts of the schema that say something of a field, with `*` for any index.
fn fields(schema: &Value, way: &str, all: &mut BTreeSet<String>) {
    let schema = of_given(schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let way = format!("{way}/{name}");
        fields(field, &way, all);
        all.insert(way);
    }
    if let Some(items) = schema.get("items") {
        fields(items, &format!("{way}/*"), all);
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten().filter(|choice| choice["type"] == "object") {
        fields(choice, way, all);
    }
}

fn whole() -> (Value, Vec<String>) {
    let whole: Value = serde_json::from_str(WHOLE).unwrap();
    let mut all = Vec::new();
    ways(&whole, "", &mut all);
    (whole, all)
}

fn general(way: &str) -> String {
    way.split('/').map(|part| if part.parse::<usize>().is_ok() { "*" } else { part }).collect::<Vec<_>>().join("/")
}

#[test]
fn every_field_is_in_the_whole_grammar_and_every_field_of_that_is_in_the_schema() {
    let schema = schema();
    let mut described = BTreeSet::new();
    fields(&schema, "", &mut described);
    assert!(described.len() > 80, "{described:?}");
    let (_, ways) = whole();
    let used: BTreeSet<String> = ways.iter().filter(|way| at(&schema, way).is_some()).map(|way| general(way)).collect();
    let unused: Vec<&String> = described.difference(&used).collect();
    assert!(unused.is_empty(), "not in whole.json: {unused:?}");
}

#[test]
fn a_default_is_what_is_in_force_without_the_field() {
    let schema = schema();
    let (whole, ways) = whole();
    let mut seen = BTreeSet::new();
    for way in ways {
        let Some(default) = at(&schema, &way).and_then(|field| field.get("default")) else { continue };
        let (parent, key) = way.rsplit_once('/').unwrap();
        let (mut given, mut left_out) = (whole.clone(), whole.clone());
        // The bounds of one are the values of others.
        for document in [&mut given, &mut left_out] {
            document
                .pointer_mut(parent)
                .unwrap()
                .as_object_mut()
                .unwrap()
                .retain(|name, _| name == key || is_required(&schema, parent, name));
        }
        given.pointer_mut(parent).unwrap()[key] = default.clone();
        left_out.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert_eq!(parsed(&given).unwrap(), parsed(&left_out).unwrap(), "{way}: {default}");
        seen.insert(general(&way));
    }
    assert!(seen.len() > 35, "{seen:?}");
}

fn is_required(schema: &Value, way: &str, name: &str) -> bool {
    at(schema, way).is_some_and(|section| section["required"].as_array().into_iter().flatten().any(|required| required == name))
}

#[test]
fn every_word_of_a_choice_is_one_that_the_parser_knows() {
    let schema = schema();
    let (whole, ways) = whole();
    let (mut words, mut known) = (BTreeSet::new(), BTreeSet::new());
    for way in ways {
        let choices = at(&schema, &way).and_then(|field| field["oneOf"].as_array()).into_iter().flatten();
        for word in choices.filter_map(|choice| choice.get("const")) {
            let mut document = whole.clone();
            *document.pointer_mut(&way).unwrap() = word.clone();
            let named = format!("{}={word}", general(&way));
            words.insert(named.clone());
            // Not wherever it stands: there are rules between fields.
            if parsed(&document).is_ok() {
                known.insert(named);
            }
        }
    }
    assert!(words.contains("/targets/*/circuit_breaker/mode=\"observe\"") && words.len() >= 20, "{words:?}");
    assert_eq!(known, words);
}

#[test]
fn every_field_is_described() {
    let schema = schema();
    let mut described = BTreeSet::new();
    fields(&schema, "", &mut described);
    for way in described {
        let field = at(&schema, &way).unwrap();
        assert!(field["description"].as_str().is_some_and(|text| text.ends_with('.')), "{way}: {field}");
        assert!(field.get("default") != Some(&json!(null)), "{way}");
    }
}
