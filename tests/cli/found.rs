//! Configurations that stand in this project: in its documents, its examples and its tests.

use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde_json::{json, Value};
use sidecast::config::signing::stand_in;
use sidecast::config::Config;

/// What the filter's parser says, whatever the environment.
pub(crate) fn is_accepted(configuration: &Value) -> bool {
    let text = configuration.to_string();
    Config::parse(text.as_bytes(), &stand_in(text.as_bytes(), |_| "v".to_owned())).is_ok()
}

/// All configurations that the parser accepts, and where each was found. What may stand in a target is put into one.
pub(crate) fn configurations() -> Vec<(String, Value)> {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["docs", "envoy", "src", "tests", "demo"] {
        walk(&clone.join(directory), &mut files);
    }
    files.push(clone.join("README.md"));
    files.sort();
    let fence = Regex::new("(?s)```(?:yaml|json)\n(.*?)```").unwrap();
    let raw_string = Regex::new("(?s)r#\"(.*?)\"#").unwrap();
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let parts: Vec<&str> = match file.extension().and_then(|extension| extension.to_str()) {
            Some("md") => fence.captures_iter(&text).map(|part| part.get(1).unwrap().as_str()).collect(),
            Some("rs") => raw_string.captures_iter(&text).map(|part| part.get(1).unwrap().as_str()).collect(),
            Some("yaml" | "json") => vec![&text],
            _ => continue,
        };
        for value in parts.iter().filter_map(|part| serde_saphyr::from_str::<Value>(part).ok()) {
            let mut inside = Vec::new();
            within(&value, &mut inside);
            if inside.is_empty() && value.is_object() {
                let mut target = json!({"name": "t", "cluster": "c"});
                target.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
                inside.push(json!({ "targets": [target] }));
            }
            let name = file.strip_prefix(clone).unwrap().display().to_string();
            found.extend(inside.into_iter().filter(is_accepted).map(|configuration| (name.clone(), configuration)));
        }
    }
    found
}

pub(crate) fn walk(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// The configurations inside a document.
fn within(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.get("targets").is_some_and(Value::is_array) => found.push(value.clone()),
        Value::Object(fields) => fields.values().for_each(|value| within(value, found)),
        Value::Array(entries) => entries.iter().for_each(|value| within(value, found)),
        _ => {}
    }
}
