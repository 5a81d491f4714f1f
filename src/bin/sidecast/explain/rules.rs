//! Explains why the rules of a target do not hold: tries each condition alone with the filter's own matcher.

use std::borrow::Cow;

use sidecast::config::raw::{self, BodyRule, ExactValue, PathRule, Rule};
use sidecast::config::scalar::NonEmpty;
use sidecast::config::Config;
use sidecast::http::request_head::RequestHead;
use sidecast::rewrite::reading::Reading;
use sidecast::select::condition::TextCondition;
use sidecast::select::{BodyValues, Matcher, Parameters, Request};

use super::request::Asked;

/// A request to try rules on, one by one.
pub(super) struct Tried<'a> {
    asked: &'a Asked<'a>,
    head: &'a RequestHead<'a>,
    body: BodyValues,
}

impl<'a> Tried<'a> {
    /// Prepares a request. If its body cannot be read, it counts as having no values.
    pub(super) fn new(config: &Config, asked: &'a Asked<'a>, head: &'a RequestHead<'a>) -> Self {
        let captured = asked.captured(config, head);
        let reading = Reading::new(&captured, asked.body, &config.reading);
        let body = reading.look_into_body().and_then(|body| BodyValues::read(&config.matched_pointers, body));
        Self { asked, head, body: body.unwrap_or_default() }
    }

    fn holds(&self, rule: &Rule) -> bool {
        let matcher = Matcher::new(Some(vec![rule.clone().into()]), None);
        let parameters = Parameters::new(matcher.parameters());
        matcher.wants(&Request::new(self.head, &self.asked.headers, &parameters).with_body(&self.body))
    }

    /// The conditions for which the target does not want the request.
    pub(super) fn unmet(&self, target: &raw::Target) -> Vec<String> {
        let except = target.except.iter().flat_map(|rules| &rules.0).position(|rule| self.holds(rule));
        if let Some(place) = except {
            return vec!["an `except` rule matches".to_owned(), format!("except[{place}] matches")];
        }
        let mut unmet = vec!["no rule matches".to_owned()];
        for (index, rule) in target.rules.iter().flat_map(|rules| &rules.0).enumerate() {
            let mut try_part = |part: Rule, place: String, text: &dyn Fn() -> String| {
                if !self.holds(&part) {
                    unmet.push(format!("match[{index}].{place}: {}", text()));
                }
            };
            if let Some(methods) = &rule.methods {
                let names: Vec<&str> = methods.0.iter().map(|method| method.0 .0.as_str()).collect();
                try_part(Rule { methods: Some(methods.clone()), ..Rule::default() }, "methods".to_owned(), &|| {
                    method_condition(&String::from_utf8_lossy(self.head.method), &names)
                });
            }
            if let Some(path) = &rule.path {
                try_part(Rule { path: Some(path.clone()), ..Rule::default() }, "path".to_owned(), &|| {
                    format!("{} {}", String::from_utf8_lossy(self.head.path), path_condition(path))
                });
            }
            if let Some(authority) = &rule.authority {
                try_part(Rule { authority: Some(authority.clone()), ..Rule::default() }, "authority".to_owned(), &|| {
                    text_condition("the authority", &authority.clone().into(), [String::from_utf8_lossy(self.head.authority)])
                });
            }
            for (place, parameter) in rule.query.iter().flat_map(|query| query.0.iter().enumerate()) {
                let part = Rule { query: Some(NonEmpty(vec![parameter.clone()])), ..Rule::default() };
                try_part(part, format!("query[{place}]"), &|| {
                    let name = &parameter.name.0 .0;
                    let value = form_urlencoded::parse(self.head.query).find(|(other, _)| other == name);
                    text_condition(&format!("parameter {name}"), &parameter.clone().into(), value.map(|(_, value)| value))
                });
            }
            for (place, header) in rule.headers.iter().flat_map(|headers| headers.0.iter().enumerate()) {
                let part = Rule { headers: Some(NonEmpty(vec![header.clone()])), ..Rule::default() };
                try_part(part, format!("headers[{place}]"), &|| {
                    let name = &header.name.0 .0;
                    let values = self.asked.headers.get_all(name.as_bytes()).map(String::from_utf8_lossy);
                    text_condition(name, &header.clone().into(), values)
                });
            }
            for (place, value) in rule.body.iter().flat_map(|body| body.0.iter().enumerate()) {
                let part = Rule { body: Some(NonEmpty(vec![value.clone()])), ..Rule::default() };
                try_part(part, format!("body[{place}]"), &|| self.body_condition(value));
            }
        }
        unmet
    }

    fn body_condition(&self, rule: &BodyRule) -> String {
        let pointer = rule.pointer.0 .0.to_string();
        let Some(value) = self.body.get(&pointer) else {
            return format!("no value at {pointer:?}");
        };
        let place = format!("{pointer:?} is {value}");
        match (&rule.exact, &rule.prefix, &rule.suffix, &rule.regex) {
            (Some(ExactValue::Null), ..) => format!("{place}, not null"),
            (Some(ExactValue::Flag(flag)), ..) => format!("{place}, not {flag}"),
            (Some(ExactValue::Number(number)), ..) => format!("{place}, not the number {number}"),
            (Some(ExactValue::Text(text)), ..) => format!("{place}, not the string {text:?}"),
            (_, Some(prefix), ..) => format!("{place}, not a string that starts with {prefix:?}"),
            (_, _, Some(suffix), _) => format!("{place}, not a string that ends with {suffix:?}"),
            (.., Some(regex)) => format!("{place}, not a string that matches {}", regex.0.text()),
            _ => format!("there is a value at {pointer:?}"),
        }
    }
}

fn method_condition(method: &str, names: &[&str]) -> String {
    let hint = names.iter().find(|name| name.eq_ignore_ascii_case(method));
    let hint = hint.map_or_else(String::new, |name| format!(" (methods are case-sensitive: did you mean {name}?)"));
    format!("{method} is not {}{hint}", names.join(" or "))
}

fn path_condition(rule: &PathRule) -> String {
    match (&rule.exact, &rule.prefix, &rule.regex) {
        (Some(exact), ..) => format!("is not {}", exact.0 .0),
        (_, Some(prefix), _) => format!("does not start with {}", prefix.0 .0),
        (.., Some(regex)) => format!("does not match {}", regex.0.text()),
        _ => String::new(),
    }
}

fn text_condition<'v>(name: &str, rule: &TextCondition, values: impl IntoIterator<Item = Cow<'v, str>>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| format!("{value:?}")).collect();
    if values.is_empty() {
        return format!("there is no {name}");
    }
    let values = values.join(", ");
    match (&rule.exact, &rule.prefix, &rule.suffix, &rule.regex) {
        (Some(exact), ..) => format!("{name} is {values}, not {exact:?}"),
        (_, Some(prefix), ..) => format!("{name} is {values}, which does not start with {prefix:?}"),
        (_, _, Some(suffix), _) => format!("{name} is {values}, which does not end with {suffix:?}"),
        (.., Some(regex)) => format!("{name} is {values}, which does not match {}", regex.text()),
        _ => format!("{name} is present"),
    }
}
