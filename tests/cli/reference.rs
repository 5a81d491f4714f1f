//! docs/reference.md is made of the schema.

use std::fmt::Write;

use expect_test::expect_file;
use serde_json::Value;

use crate::schema::{of_given, schema};

const HEAD: &str = "# Configuration reference

Every field of the configuration. [Configuration](configuration.md) shows how to use [rules](configuration.md#rules), [sampling](configuration.md#sampling)
and [secrets](configuration.md#secrets). `dist/sidecast schema` prints the same as a JSON Schema, for editors. This page is generated from the source:
`UPDATE_EXPECT=1 cargo test --locked --features cli --test cli reference` renews it.

A *template* is text with [expressions](shaping.md#expressions).
";

#[test]
fn the_reference_is_that_of_the_schema() {
    let mut text = HEAD.to_owned();
    section(&mut text, "", &schema());
    expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference.md")].assert_eq(&text);
}

/// A section and all that are in it. `path` is that of problems, with `[]` for each entry of a list.
fn section(text: &mut String, path: &str, section: &Value) {
    let title = if path.is_empty() { "The document".to_owned() } else { format!("`{path}`") };
    let level = "#".repeat(2 + path.matches('.').count().min(2));
    // What it means to leave it out is told where it is one field of others.
    let about = section["description"].as_str().unwrap().split(" Absent:").next().unwrap();
    write!(text, "\n{level} {title}\n\n{about}").unwrap();
    let section = of_given(section);
    if let Some(more) = section["$comment"].as_str() {
        // The heading, or the page, in words.
        let words = more.split_once('#').map_or(more.trim_end_matches(".md"), |(_, heading)| heading).replace('-', " ");
        let (first, rest) = words.split_at(1);
        write!(text, " See [{}{rest}]({more}).", first.to_uppercase()).unwrap();
    }
    text.push_str("\n\n| field | type | bounds | default | meaning |\n| --- | --- | --- | --- | --- |\n");
    let fields = section["properties"].as_object().unwrap();
    let required = |name: &str| section["required"].as_array().into_iter().flatten().any(|required| required == name);
    let (first, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| required(name));
    let fields = [first, others].concat();
    for (name, field) in &fields {
        let default = match field.get("default") {
            Some(Value::String(word)) => format!("`{word}`"),
            Some(value) => format!("`{}`", value.to_string().replace(',', ", ")),
            None if required(name) => "required".to_owned(),
            None => String::new(),
        };
        let (kind, bounds) = kind(field, &child(path, name));
        writeln!(text, "| `{name}` | {kind} | {bounds} | {default} | {} |", meaning(field)).unwrap();
    }
    for (name, field) in fields {
        if let Some(choice) = choice(field) {
            self::section(text, &child(path, name), choice);
        }
        match subsection(field) {
            Some((inner, true)) => self::section(text, &format!("{}[]", child(path, name)), inner),
            Some((inner, false)) => self::section(text, &child(path, name), inner),
            None => {}
        }
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The fields inside a field, and whether it is a list of such.
fn subsection(field: &Value) -> Option<(&Value, bool)> {
    if of_given(field).get("properties").is_some() {
        return Some((field, false));
    }
    of_given(field).get("items").filter(|items| items.get("properties").is_some()).map(|items| (items, true))
}

/// The object that a field can be in place of a word.
fn choice(field: &Value) -> Option<&Value> {
    of_given(field)["oneOf"].as_array()?.iter().find(|choice| choice["type"] == "object")
}

/// The type of a field and the bounds of its value.
fn kind(field: &Value, path: &str) -> (String, String) {
    match subsection(field) {
        Some((_, false)) => return (linked("section", path), String::new()),
        Some((_, true)) => return (format!("list: {}", linked("section", &format!("{path}[]"))), entries(field)),
        None => {}
    }
    if let Some(title) = field["title"].as_str() {
        let (kind, bounds) = title.split_once(", ").unwrap_or((title, ""));
        // What is no text but code.
        let bounds = if bounds.starts_with('[') { format!("`{bounds}`") } else { bounds.to_owned() };
        return (kind.to_owned(), bounds);
    }
    if let Some(choices) = of_given(field)["oneOf"].as_array() {
        let words: Vec<String> =
            choices.iter().filter_map(|choice| choice["const"].as_str()).map(|word| format!("`{word}`")).collect();
        let list = choices.iter().any(|choice| choice["type"] == "array");
        let kind = match choice(field) {
            Some(_) => format!("word or {}", linked("section", path)),
            None => if list { "word or list" } else { "word" }.to_owned(),
        };
        return (kind, words.join(", "));
    }
    if let Some(items) = field.get("items") {
        let (kind, bounds) = kind(items, path);
        let bounds: Vec<String> = [entries(field), bounds].into_iter().filter(|bounds| !bounds.is_empty()).collect();
        return (format!("list: {kind}"), bounds.join("; "));
    }
    let is = |kind: &str| field["type"] == kind || field["type"].as_array().is_some_and(|types| types[0] == kind);
    let kind = if is("boolean") {
        "`true` or `false`"
    } else if is("string") {
        "text"
    } else {
        panic!("{path}: {field}")
    };
    (kind.to_owned(), String::new())
}

fn entries(list: &Value) -> String {
    match (list["minItems"].as_u64(), list["maxItems"].as_u64()) {
        (Some(least), Some(most)) => format!("{least} to {most} entries").replace("1024", "1,024"),
        _ => String::new(),
    }
}

/// A link to a section, as the anchors of headings are made: without what is no part of a word.
fn linked(text: &str, path: &str) -> String {
    format!("[{text}](#{})", path.replace(['.', '[', ']'], ""))
}

/// What a field means, and each of its words.
fn meaning(field: &Value) -> String {
    let mut meaning = field["description"].as_str().unwrap().replace('\n', " ");
    let choices = of_given(field)["oneOf"].as_array().or_else(|| field["items"]["oneOf"].as_array());
    for choice in choices.into_iter().flatten().filter(|_| subsection(field).is_none()) {
        let other = if choice["type"] == "object" { "a section" } else { "a list" };
        let word = choice["const"].as_str().map_or_else(|| other.to_owned(), |word| format!("`{word}`"));
        let text = choice["description"].as_str().unwrap_or_else(|| panic!("{choice}"));
        write!(meaning, "<br>{word}: {}{}", text[..1].to_lowercase(), text[1..].trim_end_matches('.')).unwrap();
    }
    assert!(!meaning.contains('|'), "{meaning}");
    meaning
}
