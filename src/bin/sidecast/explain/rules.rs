//! Why no rule holds: each condition is put to the filter's own matcher by itself.

use sidecast::capture::RequestHead;
use sidecast::config::raw::{HeaderRule, PathRule, Rule};
use sidecast::config::scalar::NonEmpty;
use sidecast::headers::HeaderMap;
use sidecast::matching::Matcher;

/// What of each rule does not hold.
pub(super) fn failed(rules: &[Rule], head: &RequestHead<'_>, headers: &HeaderMap) -> Vec<String> {
    let nothing = Rule { methods: None, path: None, headers: None };
    let holds = |rule: Rule| Matcher::new(Some(vec![rule])).wants(head.method, head.path, headers);
    let mut failed = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let mut add = |place: &str, text: String| failed.push(format!("match[{index}].{place}: {text}"));
        if let Some(methods) = &rule.methods {
            if !holds(Rule { methods: Some(methods.clone()), ..nothing.clone() }) {
                let names: Vec<&str> = methods.0.iter().map(|method| method.0 .0.as_str()).collect();
                add("methods", method_condition(&String::from_utf8_lossy(head.method), &names));
            }
        }
        if let Some(path) = &rule.path {
            if !holds(Rule { path: Some(path.clone()), ..nothing.clone() }) {
                add("path", format!("{} {}", String::from_utf8_lossy(head.path), path_condition(path)));
            }
        }
        for (place, header) in rule.headers.iter().flat_map(|headers| headers.0.iter().enumerate()) {
            if !holds(Rule { headers: Some(NonEmpty(vec![header.clone()])), ..nothing.clone() }) {
                add(&format!("headers[{place}]"), header_condition(header, headers));
            }
        }
    }
    failed
}

fn method_condition(method: &str, names: &[&str]) -> String {
    let hint = names.iter().find(|name| name.eq_ignore_ascii_case(method));
    let hint = hint.map_or_else(String::new, |name| format!(" (methods are case-sensitive: did you mean {name}?)"));
    format!("{method} is not {}{hint}", names.join(" or "))
}

fn path_condition(rule: &PathRule) -> String {
    match (&rule.exact, &rule.prefix, &rule.regex) {
        (Some(exact), ..) => format!("is not {}", exact.0 .0),
        (_, Some(prefix), _) => format!("does not begin with {}", prefix.0 .0),
        (.., Some(regex)) => format!("does not match {}", regex.0.text()),
        _ => String::new(),
    }
}

fn header_condition(rule: &HeaderRule, headers: &HeaderMap) -> String {
    let name = &rule.name.0 .0;
    let values: Vec<String> =
        headers.get_all(name.as_bytes()).map(|value| format!("{:?}", String::from_utf8_lossy(value))).collect();
    if values.is_empty() {
        return format!("there is no {name}");
    }
    let values = values.join(", ");
    match (&rule.exact, &rule.prefix, &rule.suffix, &rule.regex) {
        (Some(exact), ..) => format!("{name} is {values}, not {exact:?}"),
        (_, Some(prefix), ..) => format!("{name} is {values}, and does not begin with {prefix:?}"),
        (_, _, Some(suffix), _) => format!("{name} is {values}, and does not end with {suffix:?}"),
        (.., Some(regex)) => format!("{name} is {values}, and does not match {}", regex.0.text()),
        _ => format!("there is {name}"),
    }
}
