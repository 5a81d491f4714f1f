//! Matching: what an index of all rules finds is what a walk of them finds.

use regex_lite::Regex;
use serde_json::{json, Map, Value};
use sidecast::http::request_head::RequestHead;
use sidecast::select::{Request, Verdict};

use crate::choices::Choices;
use crate::hold;
use crate::request::{configured, map, Headers};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PURGE", "CONNECT"];
const PATHS: [&str; 9] = ["/", "/a", "/ab", "/a/b", "/b", "/a/", "/abc/d", "/é", "/a%20b"];
const PATTERNS: [&str; 12] =
    ["/a.*", "/(a|b)", "/ab?", ".*b", "/a/[a-z]+", "(?i)/A", "/a{1,2}b?", "a|b", "", "/é", "\\/a", "/a|/b/.*"];
const VALUES: [&str; 9] = ["", "a", "ab", "b", "/a", "aab", "A", "application/json", "é"];
const NAMES: [&str; 3] = ["x-a", "x-b", "x-c"];
const PARAMETERS: [&str; 3] = ["a", "b c", "é"];

fn rule(choices: &mut Choices<'_>) -> Value {
    let mut rule = Map::new();
    let wanted = choices.below(31) + 1;
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
    if wanted & 8 != 0 {
        rule.insert("authority".to_owned(), text_condition(choices));
    }
    if wanted & 16 != 0 {
        let mut condition = text_condition(choices);
        condition["name"] = json!(choices.one_of(&PARAMETERS));
        rule.insert("query".to_owned(), json!([condition]));
    }
    Value::Object(rule)
}

fn text_condition(choices: &mut Choices<'_>) -> Value {
    match choices.below(5) {
        0 => json!({"exact": choices.one_of(&VALUES)}),
        1 => json!({"prefix": choices.one_of(&VALUES)}),
        2 => json!({"suffix": choices.one_of(&VALUES)}),
        3 => json!({"regex": choices.one_of(&PATTERNS)}),
        _ => json!({"present": choices.once_in(2)}),
    }
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

fn rule_holds(rule: &Value, method: &str, path: &[u8], (query, authority): (&str, &str), headers: &Headers) -> bool {
    let listed = |key: &str| rule.get(key).and_then(Value::as_array);
    let header_holds = |condition: &Value| {
        let mut values = headers.iter().filter(|(name, _)| condition["name"] == json!(name)).map(|(_, value)| value);
        match condition.get("present").and_then(Value::as_bool) {
            Some(present) => values.next().is_some() == present,
            None => values.any(|value| text_holds(condition, value)),
        }
    };
    let optional = |condition: &Value, value: Option<&[u8]>| match condition.get("present").and_then(Value::as_bool) {
        Some(present) => value.is_some() == present,
        None => value.is_some_and(|value| text_holds(condition, value)),
    };
    let query = query.as_bytes();
    let parameter_holds = |condition: &Value| {
        let first = form_urlencoded::parse(query).find(|(name, _)| condition["name"] == json!(name)).map(|(_, value)| value);
        optional(condition, first.as_ref().map(|value| value.as_bytes()))
    };
    // Without a case: what is asked for is in lower case here, but for the one capital and a flag.
    let authority_holds = |condition: &Value| {
        let condition = serde_json::from_str(&condition.to_string().to_lowercase().replace("(?i)", "")).unwrap_or_default();
        optional(&condition, Some(authority.to_ascii_lowercase().as_bytes()).filter(|authority| !authority.is_empty()))
    };
    rule.get("authority").is_none_or(authority_holds)
        && listed("query").is_none_or(|conditions| conditions.iter().all(parameter_holds))
        && listed("methods").is_none_or(|methods| methods.contains(&json!(method)))
        && rule.get("path").is_none_or(|condition| text_holds(condition, path))
        && listed("headers").is_none_or(|conditions| conditions.iter().all(header_holds))
}

fn law(choices: &mut Choices<'_>) {
    let rules: Vec<Value> = (0..=choices.below(6)).map(|_| rule(choices)).collect();
    let except: Vec<Value> = (0..=choices.below(1)).map(|_| rule(choices)).collect();
    let config = configured(json!([{"name": "t", "cluster": "c", "match": rules, "except": except}]));
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
        let query = choices.some(3, |choices| *choices.one_of(&["a=a", "a=ab", "b+c=b", "%61=A", "%C3%A9", "x"])).join("&");
        let authority = *choices.one_of(&["", "a", "ab", "AB", "b", "/a", "aab"]);
        let holds = |rule: &Value| rule_holds(rule, method, &path, (&query, authority), &headers);
        let wanted = rules.iter().any(holds) && !except.iter().any(holds);
        let line = [
            (":method".to_owned(), method.as_bytes().to_vec()),
            (":path".to_owned(), [&path[..], b"?", query.as_bytes()].concat()),
            (":authority".to_owned(), authority.as_bytes().to_vec()),
        ];
        let all = map(&line.into_iter().chain(headers.clone()).collect());
        let head = RequestHead::read(&all, &config.loop_guard);
        let found = config.targets[0].matcher.at_headers(&Request::new(&head, &all, &config.matched_parameters));
        assert_eq!(
            found == Verdict::Yes,
            wanted,
            "{rules:?} but {except:?} for {method} {path:?} {query} {authority} {headers:?}"
        );
    }
}

#[test]
fn rules_hold_as_a_walk_of_them_says() {
    hold(128, law);
}
