//! Matching: what an index of all rules finds is what a walk of them finds.

use regex_lite::Regex;
use serde_json::{json, Map, Value};

use crate::choices::Choices;
use crate::hold;
use crate::request::{configured, map, Headers};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PURGE", "CONNECT"];
const PATHS: [&str; 9] = ["/", "/a", "/ab", "/a/b", "/b", "/a/", "/abc/d", "/é", "/a%20b"];
const PATTERNS: [&str; 12] =
    ["/a.*", "/(a|b)", "/ab?", ".*b", "/a/[a-z]+", "(?i)/A", "/a{1,2}b?", "a|b", "", "/é", "\\/a", "/a|/b/.*"];
const VALUES: [&str; 9] = ["", "a", "ab", "b", "/a", "aab", "A", "application/json", "é"];
const NAMES: [&str; 3] = ["x-a", "x-b", "x-c"];

fn rule(choices: &mut Choices<'_>) -> Value {
    let mut rule = Map::new();
    let wanted = choices.below(7) + 1;
    if wanted & 1 != 0 {
        let methods: Vec<&str> = (0..=choices.below(2)).map(|_| *choices.one_of(&METHODS)).collect();
        rule.insert("methods".to_owned(), json!(methods));
    }
    if wanted & 2 != 0 {
        rule.insert(
            "path".to_owned(),
            match choices.below(3) {
                0 => json!({"exact": choices.one_of(&PATHS)}),
                1 => json!({"prefix": choices.one_of(&PATHS)}),
                _ => json!({"regex": choices.one_of(&PATTERNS)}),
            },
        );
    }
    if wanted & 4 != 0 {
        let conditions: Vec<Value> = (0..=choices.below(2))
            .map(|_| {
                let mut condition = match choices.below(5) {
                    0 => json!({"exact": choices.one_of(&VALUES)}),
                    1 => json!({"prefix": choices.one_of(&VALUES)}),
                    2 => json!({"suffix": choices.one_of(&VALUES)}),
                    3 => json!({"regex": choices.one_of(&PATTERNS)}),
                    _ => json!({"present": choices.once_in(2)}),
                };
                condition["name"] = json!(choices.one_of(&NAMES));
                condition
            })
            .collect();
        rule.insert("headers".to_owned(), json!(conditions));
    }
    Value::Object(rule)
}

fn text_holds(condition: &Value, value: &[u8]) -> bool {
    let of = |kind: &str| condition.get(kind).and_then(Value::as_str);
    let regex = |pattern: &str| {
        let regex = Regex::new(&format!("^(?:{pattern})$")).unwrap();
        std::str::from_utf8(value).is_ok_and(|text| regex.is_match(text))
    };
    of("exact").is_none_or(|text| value == text.as_bytes())
        && of("prefix").is_none_or(|text| value.starts_with(text.as_bytes()))
        && of("suffix").is_none_or(|text| value.ends_with(text.as_bytes()))
        && of("regex").is_none_or(regex)
}

fn rule_holds(rule: &Value, method: &str, path: &[u8], headers: &Headers) -> bool {
    let listed = |key: &str| rule.get(key).and_then(Value::as_array);
    let header_holds = |condition: &Value| {
        let mut values = headers.iter().filter(|(name, _)| condition["name"] == json!(name)).map(|(_, value)| value);
        match condition.get("present").and_then(Value::as_bool) {
            Some(present) => values.next().is_some() == present,
            None => values.any(|value| text_holds(condition, value)),
        }
    };
    listed("methods").is_none_or(|methods| methods.contains(&json!(method)))
        && rule.get("path").is_none_or(|condition| text_holds(condition, path))
        && listed("headers").is_none_or(|conditions| conditions.iter().all(header_holds))
}

fn law(choices: &mut Choices<'_>) {
    let rules: Vec<Value> = (0..=choices.below(6)).map(|_| rule(choices)).collect();
    let config = configured(json!([{"name": "t", "cluster": "c", "match": rules}]));
    for _ in 0..4 {
        let method = *choices.one_of(&METHODS);
        let mut path = choices.one_of(&PATHS).as_bytes().to_vec();
        if choices.once_in(4) {
            path.extend(choices.one_of(&[&b"/b"[..], b"b", b"\xff", b"\n"]).iter());
        }
        let headers = choices.some(3, |choices| {
            let value = if choices.once_in(6) { choices.bytes(3) } else { choices.one_of(&VALUES).as_bytes().to_vec() };
            ((*choices.one_of(&NAMES)).to_owned(), value)
        });
        let wanted = rules.iter().any(|rule| rule_holds(rule, method, &path, &headers));
        let found = config.targets[0].matcher.wants(method.as_bytes(), &path, &map(&headers));
        assert_eq!(found, wanted, "{rules:?} for {method} {path:?} {headers:?}");
    }
}

#[test]
fn rules_hold_as_a_walk_of_them_says() {
    hold(128, law);
}
