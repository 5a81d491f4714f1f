//! Whether the rules of a target hold, and if not, why: each condition is put to the filter's own matcher by itself.

use std::fmt::Display;

use sidecast::config::raw::{self, BodyRule, ExactValue, PathRule, Rule};
use sidecast::config::scalar::NonEmpty;
use sidecast::config::{Config, Target};
use sidecast::http::headers::HeaderMap;
use sidecast::http::request_head::RequestHead;
use sidecast::json::Unread;
use sidecast::rewrite::capture::{CapturedHead, Needs};
use sidecast::rewrite::reading::Reading;
use sidecast::select::condition::TextCondition;
use sidecast::select::{BodyValues, Matcher, Parameters, Request, Verdict};

use super::request::Asked;

/// What there is to say of the rules of a target.
pub(super) enum Matches {
    /// They hold; what is worth telling about that.
    Yes(Option<String>),
    /// They do not: why, and what of each rule does not hold.
    No(Vec<String>),
    /// They cannot be held against the request.
    Unread(&'static str),
}

const PATTERNS: Matches = Matches::Unread("its patterns are held against more text than `limits.max_work_bytes` allows");

/// Holds the rules of a target against a request.
pub(super) fn matches(target: &Target, raw: &raw::Target, config: &Config, asked: &Asked<'_>, head: &RequestHead<'_>) -> Matches {
    let rules = raw.rules.as_ref().map_or(&[][..], |rules| rules.0.as_slice());
    let except = raw.except.as_ref().map_or(&[][..], |rules| rules.0.as_slice());
    let request = Request::new(head, &asked.headers, &config.matched_parameters).with_max_work(config.reading.max_work);
    let verdict = target.matcher.at_headers(&request);
    if verdict == Verdict::Yes {
        return Matches::Yes(None);
    }
    if verdict == Verdict::TooMuchWork {
        return PATTERNS;
    }
    let mut captured = CapturedHead::capture(&asked.headers, head, Needs::default(), &config.correlation);
    captured.keep_all(asked.headers.clone());
    let reading = Reading::new(&captured, asked.body, &config.reading);
    let body = match reading.look_into_body().and_then(|body| BodyValues::read(&config.matched_pointers, body)) {
        Ok(body) => body,
        Err(Unread::TooMuchWork) if verdict == Verdict::ByBody => {
            return Matches::Unread("its rules look at the body, which takes more work than `limits.max_work_bytes`");
        }
        Err(_) if verdict == Verdict::ByBody => {
            return Matches::Unread("its rules look at the body, which is no JSON, or encoded in a way that is not read");
        }
        Err(_) => BodyValues::default(),
    };
    let request = request.with_body(&body);
    if verdict == Verdict::ByBody {
        match target.matcher.at_end(&request) {
            Verdict::Yes => return Matches::Yes(Some("its body decides: it is wanted".to_owned())),
            Verdict::TooMuchWork => return PATTERNS,
            Verdict::No | Verdict::ByBody => {}
        }
    }
    let tried = Tried { asked, head, body: &body };
    if let Some(place) = except.iter().position(|rule| tried.holds(rule)) {
        return Matches::No(vec!["a rule of `except` matches".to_owned(), format!("except[{place}] holds")]);
    }
    Matches::No(tried.failed(rules))
}

/// A request that rules are held against, one by one.
struct Tried<'a> {
    asked: &'a Asked<'a>,
    head: &'a RequestHead<'a>,
    body: &'a BodyValues,
}

impl Tried<'_> {
    fn holds(&self, rule: &Rule) -> bool {
        let matcher = Matcher::new(Some(vec![rule.clone().into()]), None);
        let parameters = Parameters::new(matcher.parameters());
        matcher.wants(&Request::new(self.head, &self.asked.headers, &parameters).with_body(self.body))
    }

    /// What of each rule does not hold.
    fn failed(&self, rules: &[Rule]) -> Vec<String> {
        let headers = &self.asked.headers;
        let mut failed = vec!["no rule matches".to_owned()];
        for (index, rule) in rules.iter().enumerate() {
            let mut add = |place: &dyn Display, text: String| failed.push(format!("match[{index}].{place}: {text}"));
            if let Some(methods) = &rule.methods {
                if !self.holds(&Rule { methods: Some(methods.clone()), ..Rule::default() }) {
                    let names: Vec<&str> = methods.0.iter().map(|method| method.0 .0.as_str()).collect();
                    add(&"methods", method_condition(&String::from_utf8_lossy(self.head.method), &names));
                }
            }
            if let Some(path) = &rule.path {
                if !self.holds(&Rule { path: Some(path.clone()), ..Rule::default() }) {
                    add(&"path", format!("{} {}", String::from_utf8_lossy(self.head.path), path_condition(path)));
                }
            }
            if let Some(authority) = &rule.authority {
                if !self.holds(&Rule { authority: Some(authority.clone()), ..Rule::default() }) {
                    let values = vec![format!("{:?}", String::from_utf8_lossy(self.head.authority))];
                    add(&"authority", text_condition("the authority", &authority.clone().into(), &values));
                }
            }
            for (place, parameter) in rule.query.iter().flat_map(|query| query.0.iter().enumerate()) {
                if !self.holds(&Rule { query: Some(NonEmpty(vec![parameter.clone()])), ..Rule::default() }) {
                    let name = &parameter.name.0 .0;
                    let value = form_urlencoded::parse(self.head.query).find(|(other, _)| other == name);
                    let values: Vec<String> = value.map(|(_, value)| format!("{value:?}")).into_iter().collect();
                    let text = text_condition(&format!("parameter {name}"), &parameter.clone().into(), &values);
                    add(&format!("query[{place}]"), text);
                }
            }
            for (place, header) in rule.headers.iter().flat_map(|headers| headers.0.iter().enumerate()) {
                if !self.holds(&Rule { headers: Some(NonEmpty(vec![header.clone()])), ..Rule::default() }) {
                    let name = &header.name.0 .0;
                    let text = text_condition(name, &header.clone().into(), &values_of(headers, name));
                    add(&format!("headers[{place}]"), text);
                }
            }
            for (place, value) in rule.body.iter().flat_map(|body| body.0.iter().enumerate()) {
                if !self.holds(&Rule { body: Some(NonEmpty(vec![value.clone()])), ..Rule::default() }) {
                    add(&format!("body[{place}]"), self.body_condition(value));
                }
            }
        }
        failed
    }

    fn body_condition(&self, rule: &BodyRule) -> String {
        let pointer = rule.pointer.0 .0.to_string();
        let Some(value) = self.body.get(&pointer) else {
            return format!("there is nothing at {pointer:?}");
        };
        let place = format!("{pointer:?} is {value}");
        match (&rule.exact, &rule.prefix, &rule.suffix, &rule.regex) {
            (Some(ExactValue::Null), ..) => format!("{place}, not null"),
            (Some(ExactValue::Flag(flag)), ..) => format!("{place}, not {flag}"),
            (Some(ExactValue::Number(number)), ..) => format!("{place}, not the number {number}"),
            (Some(ExactValue::Text(text)), ..) => format!("{place}, not the string {text:?}"),
            (_, Some(prefix), ..) => format!("{place}, and no string that begins with {prefix:?}"),
            (_, _, Some(suffix), _) => format!("{place}, and no string that ends with {suffix:?}"),
            (.., Some(regex)) => format!("{place}, and no string that matches {}", regex.0.text()),
            _ => format!("there is something at {pointer:?}"),
        }
    }
}

fn values_of(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name.as_bytes()).map(|value| format!("{:?}", String::from_utf8_lossy(value))).collect()
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

fn text_condition(name: &str, rule: &TextCondition, values: &[String]) -> String {
    if values.is_empty() {
        return format!("there is no {name}");
    }
    let values = values.join(", ");
    match (&rule.exact, &rule.prefix, &rule.suffix, &rule.regex) {
        (Some(exact), ..) => format!("{name} is {values}, not {exact:?}"),
        (_, Some(prefix), ..) => format!("{name} is {values}, and does not begin with {prefix:?}"),
        (_, _, Some(suffix), _) => format!("{name} is {values}, and does not end with {suffix:?}"),
        (.., Some(regex)) => format!("{name} is {values}, and does not match {}", regex.text()),
        _ => format!("there is {name}"),
    }
}
