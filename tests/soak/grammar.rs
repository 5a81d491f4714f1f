//! Values that are made of a JSON Schema: of its objects, lists, words, ranges, patterns and alternatives.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jsonschema::Validator;
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{json, Map, Value};

use crate::dice::Dice;
use crate::stock;

/// Draws values of a schema. What it has not drawn yet is likelier than the rest, so that one document has most of the grammar.
pub(crate) struct Grammar<'d> {
    dice: &'d mut Dice,
    drawn: BTreeSet<String>,
    /// Of texts, by what the schema says of them.
    validators: BTreeMap<String, Rc<Validator>>,
}

/// The part of a schema that speaks of a value, where null is the other possibility.
fn given(schema: &Value) -> &Value {
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([given, null]) if null["type"] == "null" => given,
        _ => schema,
    }
}

fn fields(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The groups of fields that an alternative asks for, if these alternatives are about which fields there are.
fn groups(alternatives: &Value) -> Option<Vec<Vec<&str>>> {
    let groups: Vec<Vec<&str>> =
        alternatives.as_array()?.iter().map(|alternative| names(&alternative["required"]).collect()).collect();
    groups.iter().all(|group| !group.is_empty()).then_some(groups)
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(one) => vec![one],
        many => names(many).collect(),
    }
}

/// Every field of a schema and every word of its choices, as the way to it.
pub(crate) fn places(schema: &Value, way: &str, all: &mut BTreeSet<String>) {
    let schema = given(schema);
    for (name, field) in fields(schema) {
        let way = format!("{way}/{name}");
        places(field, &way, all);
        all.insert(way);
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        if let Some(word) = choice.get("const") {
            all.insert(format!("{way}={word}"));
        }
    }
    if let Some(items) = schema.get("items") {
        places(items, &format!("{way}/*"), all);
    }
}

/// The places of a schema that a value has something at.
pub(crate) fn covered(schema: &Value, value: &Value, way: &str, all: &mut BTreeSet<String>) {
    let schema = given(schema);
    for (name, field) in fields(schema) {
        if let Some(value) = value.get(name).filter(|value| !value.is_null()) {
            let way = format!("{way}/{name}");
            covered(field, value, &way, all);
            all.insert(way);
        }
    }
    for choice in schema["oneOf"].as_array().into_iter().flatten() {
        if choice.get("const") == Some(value) {
            all.insert(format!("{way}={value}"));
        }
    }
    if let Some(items) = schema.get("items") {
        for value in value.as_array().into_iter().flatten() {
            covered(items, value, &format!("{way}/*"), all);
        }
    }
}

/// The part of a schema that speaks of the value at the end of a way.
pub(crate) fn part<'s>(schema: &'s Value, way: &[String]) -> Option<&'s Value> {
    way.iter().try_fold(schema, |schema, key| {
        let schema = given(schema);
        let more = schema.get("additionalProperties").filter(|more| more.is_object());
        schema["properties"].get(key).or_else(|| schema.get("items")).or(more)
    })
}

impl<'d> Grammar<'d> {
    pub(crate) fn new(dice: &'d mut Dice) -> Self {
        Self { dice, drawn: BTreeSet::new(), validators: BTreeMap::new() }
    }

    /// A value of this schema. `way` leads to it in the document.
    pub(crate) fn value(&mut self, schema: &Value, way: &str) -> Value {
        if let Some(choices) = schema["anyOf"].as_array().filter(|_| groups(&schema["anyOf"]).is_none()) {
            let usual = choices.iter().filter(|choice| choice["type"] != "null").collect::<Vec<_>>();
            let choice = if self.dice.once_in(12) { self.dice.one_of(choices) } else { *self.dice.one_of(&usual) };
            return self.value(choice, way);
        }
        if let Some(choices) = schema["oneOf"].as_array().filter(|_| groups(&schema["oneOf"]).is_none()) {
            let fresh: Vec<&Value> =
                choices.iter().filter(|choice| !self.drawn.contains(&format!("{way}={}", choice["const"]))).collect();
            let choice = if fresh.is_empty() { self.dice.one_of(choices) } else { self.dice.one_of(&fresh) };
            self.drawn.insert(format!("{way}={}", choice["const"]));
            return match choice.get("const") {
                Some(word) => word.clone(),
                None => self.value(choice, way),
            };
        }
        let types = types(schema);
        if types.is_empty() {
            return stock::any_json(self.dice, 3);
        }
        let kinds: Vec<&str> = types.iter().copied().filter(|kind| *kind != "null").collect();
        if kinds.is_empty() || types.contains(&"null") && self.dice.once_in(12) {
            return Value::Null;
        }
        // Bytes are most often a text with a unit.
        let kinds = if schema["default"].is_string() && !self.dice.once_in(10) { vec!["string"] } else { kinds };
        match *self.dice.one_of(&kinds) {
            "object" => self.object(schema, way),
            "array" => self.list(schema, way),
            "boolean" => json!(self.dice.once_in(2)),
            "integer" => self.number(schema, true),
            "number" => self.number(schema, false),
            "string" if types.contains(&"integer") || types.contains(&"number") => self.written_number(schema, way),
            "string" => self.text(schema, way).into(),
            kind => panic!("{kind} at {way}"),
        }
    }

    fn object(&mut self, schema: &Value, way: &str) -> Value {
        let mut wanted: BTreeSet<&str> = names(&schema["required"]).collect();
        let mut unwanted: BTreeSet<&str> = BTreeSet::new();
        if let Some(groups) = groups(&schema["oneOf"]) {
            let fresh: Vec<&Vec<&str>> =
                groups.iter().filter(|group| group.iter().any(|name| !self.drawn.contains(&format!("{way}/{name}")))).collect();
            let chosen = if fresh.is_empty() { self.dice.one_of(&groups) } else { *self.dice.one_of(&fresh) };
            unwanted = groups.iter().flatten().copied().filter(|name| !chosen.contains(name)).collect();
            wanted.extend(chosen);
        }
        if let Some(groups) = groups(&schema["anyOf"]) {
            wanted.extend(self.dice.one_of(&groups));
        }
        // Of what cannot be together, one is left out.
        let pairs = schema["not"]["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
        for groups in [&schema["not"]].into_iter().chain(pairs).filter_map(|pair| groups(&pair["allOf"])) {
            unwanted.extend(self.dice.one_of(&groups));
        }
        let mut object = Map::new();
        for (name, field) in fields(schema) {
            let way = format!("{way}/{name}");
            let is_likely = match self.drawn.contains(&way) {
                true => self.dice.below(10) < 3,
                false => self.dice.below(10) < 7,
            };
            let is_wanted = wanted.contains(name.as_str());
            if unwanted.contains(name.as_str()) || !(is_wanted || is_likely) {
                continue;
            }
            self.drawn.insert(way.clone());
            let mut value = self.value(field, &way);
            // Null stands for a field that is not there.
            while is_wanted && value.is_null() {
                value = self.value(field, &way);
            }
            object.insert(name.clone(), value);
        }
        if schema["additionalProperties"].is_object() {
            for _ in 0..self.dice.below(4) {
                let name = self.text(&schema["propertyNames"], &format!("{way}/name"));
                let value = self.value(&schema["additionalProperties"], &format!("{way}/value"));
                object.insert(name, value);
            }
        }
        Value::Object(object)
    }

    fn list(&mut self, schema: &Value, way: &str) -> Value {
        let least = schema["minItems"].as_u64().unwrap_or(0) as usize;
        let most = schema["maxItems"].as_u64().unwrap_or(u64::MAX).min(if way.matches('*').count() < 2 && self.dice.once_in(20) {
            60
        } else {
            4
        }) as usize;
        let count = self.dice.between(least, most.max(least));
        (0..count).map(|_| self.value(&schema["items"], &format!("{way}/*"))).collect()
    }

    fn number(&mut self, schema: &Value, is_whole: bool) -> Value {
        let least = schema["minimum"].as_f64().or(schema["exclusiveMinimum"].as_f64()).unwrap_or(-10.0);
        let most = schema["maximum"].as_f64().or(schema["exclusiveMaximum"].as_f64()).unwrap_or(1e6);
        let small = [least, least + 1.0, least + 2.0, least + 5.0, least + 20.0, least + 100.0];
        let number = match self.dice.below(10) {
            0 => most,
            1 => schema["default"].as_f64().unwrap_or(least),
            2 => least + (most - least) * (self.dice.below(1000) as f64 / 1000.0),
            3 if !is_whole => least + 0.5,
            _ => *self.dice.one_of(&small),
        };
        let number = if schema.get("exclusiveMinimum").is_some() && number <= least { least + 0.5 } else { number };
        match number.min(most) {
            number if is_whole => json!(number.trunc() as i64),
            number => json!(number),
        }
    }

    /// A number as text; a size with its unit.
    fn written_number(&mut self, schema: &Value, way: &str) -> Value {
        match schema["default"].as_str() {
            Some(_) => self.text(schema, way).into(),
            None if schema["minimum"].as_u64() == Some(100) => self.text(schema, way).into(),
            None => {
                let number = self.number(schema, true);
                let least = schema["exclusiveMinimum"].as_f64().is_some_and(|least| number.as_f64().unwrap() <= least);
                if least {
                    json!("1")
                } else {
                    number.to_string().into()
                }
            }
        }
    }

    fn validator(&mut self, schema: &Value) -> Rc<Validator> {
        let of_text: Map<String, Value> = ["pattern", "minLength", "maxLength"]
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), schema.get(*key)?.clone())))
            .collect();
        let of_text = Value::Object(of_text);
        let made = || Rc::new(jsonschema::validator_for(&of_text).unwrap());
        Rc::clone(self.validators.entry(of_text.to_string()).or_insert_with(made))
    }

    /// A text that the pattern allows: most often one that means something in this field.
    fn text(&mut self, schema: &Value, way: &str) -> String {
        let pattern = schema["pattern"].as_str();
        let validator = self.validator(schema);
        let fits = |text: &String| validator.is_valid(&json!(text));
        for _ in 0..60 {
            let text = stock::text(self.dice, way);
            if fits(&text) {
                return text;
            }
        }
        let made = pattern.and_then(|pattern| generated(pattern, self.dice)).filter(fits);
        made.unwrap_or_else(|| "a".to_owned())
    }
}

/// A text made of a pattern.
fn generated(pattern: &str, dice: &mut Dice) -> Option<String> {
    let bare = pattern.strip_prefix('^').unwrap_or(pattern);
    let bare = bare.strip_suffix('$').unwrap_or(bare);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &(0..4).flat_map(|_| dice.number().to_le_bytes()).collect::<Vec<u8>>());
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    Some(string_regex(bare).ok()?.new_tree(&mut runner).ok()?.current())
}
