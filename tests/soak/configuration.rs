//! Whole configurations: drawn from the schema, and mended where a rule that no schema can say forbids what was drawn.

use std::collections::BTreeSet;

use serde_json::{json, Map, Value};
use sidecast::config::Config;

use crate::dice::Dice;
use crate::grammar::{part, Grammar};
use crate::stock;
use crate::support::rabbitmq::BASIC;

/// How often problems are mended before a document is thrown away.
const ROUNDS: usize = 40;

/// A configuration that the filter takes.
pub(crate) struct Drawn {
    pub(crate) document: Value,
    /// Documents that were thrown away before it.
    pub(crate) discarded: usize,
    /// Places that were drawn anew or left out.
    pub(crate) mended: usize,
}

fn problems(document: &Value) -> Vec<String> {
    let env = |name: &str| (name == "RABBIT_BASIC").then(|| BASIC.to_owned());
    match Config::parse(document.to_string().as_bytes(), &env) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| problem.path).collect(),
    }
}

/// The way in a document that a problem's path speaks of, as far as there is something.
fn way_of(document: &Value, path: &str) -> Vec<String> {
    let (mut value, mut rest, mut way) = (document, path, Vec::new());
    while !rest.is_empty() {
        let (key, next, after) = match value {
            Value::Array(items) => {
                let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { break };
                let Some(next) = index.parse().ok().and_then(|index: usize| items.get(index)) else { break };
                (index.to_owned(), next, after)
            }
            Value::Object(fields) => {
                let rest = rest.strip_prefix('.').unwrap_or(rest);
                let ends = |key: &str| rest.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
                let Some((key, next)) = fields.iter().filter(|(key, _)| ends(key)).max_by_key(|(key, _)| key.len()) else {
                    break;
                };
                (key.clone(), next, &rest[key.len()..])
            }
            _ => break,
        };
        way.push(key);
        (value, rest) = (next, after);
    }
    way
}

fn pointer(way: &[String]) -> String {
    way.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Leaves out what a way leads to, or what it is in, if that must be there.
fn leave_out(document: &mut Value, schema: &Value, way: &[String]) {
    let mut way = way.to_vec();
    while let Some(key) = way.pop() {
        let required = part(schema, &way)
            .is_some_and(|section| section["required"].as_array().into_iter().flatten().any(|required| *required == *key));
        match document.pointer_mut(&pointer(&way)) {
            Some(Value::Object(fields)) if !required => {
                fields.remove(&key);
                return;
            }
            Some(Value::Array(items)) if items.len() > 1 => {
                items.remove(key.parse().unwrap());
                return;
            }
            _ => {}
        }
    }
}

/// Draws what has problems anew, and leaves out what stays wrong.
fn mend(document: &mut Value, schema: &Value, dice: &mut Dice) -> Option<usize> {
    let mut mended = 0;
    for round in 0..ROUNDS {
        let ways: BTreeSet<Vec<String>> = problems(document).iter().map(|path| way_of(document, path)).collect();
        if ways.is_empty() {
            return Some(mended);
        }
        // The last first, so that those before it keep their places.
        for way in ways.iter().rev() {
            mended += 1;
            let section = part(schema, way).filter(|_| !way.is_empty() && round % 4 != 3);
            let fresh = section.map(|section| Grammar::new(dice).value(section, &format!("/{}", stars(way))));
            match (fresh, document.pointer_mut(&pointer(way))) {
                (Some(fresh), Some(place)) if !fresh.is_null() => *place = fresh,
                _ => leave_out(document, schema, way),
            }
        }
    }
    None
}

/// A way with `*` for each index.
fn stars(way: &[String]) -> String {
    let keys = way.iter().map(|key| if key.parse::<usize>().is_ok() { "*" } else { key });
    keys.collect::<Vec<_>>().join("/")
}

/// Names the header by which a letter tells its target.
pub(crate) const OF_TARGET: &str = "x-soak-target";

/// What must not make the end of a run wait: retries end soon, and so does what was replaced. And letters name their targets.
fn adapt(document: &mut Value) {
    for target in document["targets"].as_array_mut().into_iter().flatten() {
        if let Some(retry) = target.get_mut("retry").and_then(Value::as_object_mut) {
            retry.entry("expire_after").or_insert(json!("2s"));
        }
        let name = target["name"].clone();
        if let Some(letter) = target.get_mut("dead_letter").filter(|letter| letter.is_object()) {
            if !letter["headers"].is_object() {
                letter["headers"] = json!({"set": {}});
            }
            letter["headers"]["set"][OF_TARGET] = name;
        }
    }
    document.as_object_mut().unwrap().entry("drain_timeout").or_insert(json!("2s"));
}

/// Targets of different names, as many as wanted.
fn targets(schema: &Value, dice: &mut Dice, count: usize) -> Value {
    let mut grammar = Grammar::new(dice);
    let mut targets: Vec<Value> =
        (0..count).map(|_| grammar.value(&schema["properties"]["targets"]["items"], "/targets/*")).collect();
    let mut names = BTreeSet::new();
    for target in &mut targets {
        while !names.insert(target["name"].as_str().unwrap().to_owned()) {
            target["name"] = stock::text(dice, "/targets/*/name").into();
        }
    }
    targets.into()
}

/// Draws until the filter takes a configuration.
pub(crate) fn draw(schema: &Value, dice: &mut Dice, count: usize) -> Drawn {
    for discarded in 0.. {
        let mut document = Grammar::new(dice).value(schema, "");
        document["targets"] = targets(schema, dice, count);
        let Some(mended) = mend(&mut document, schema, dice) else { continue };
        adapt(&mut document);
        if problems(&document).is_empty() {
            return Drawn { document, discarded, mended };
        }
    }
    unreachable!("one is accepted sooner or later")
}

/// The targets of a configuration by their names.
pub(crate) fn by_name(document: &Value) -> Map<String, Value> {
    let targets = document["targets"].as_array().into_iter().flatten();
    targets.map(|target| (target["name"].as_str().unwrap().to_owned(), target.clone())).collect()
}
