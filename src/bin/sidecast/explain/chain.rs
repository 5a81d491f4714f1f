//! Chains of targets. The engine is run with a configuration in which no target follows another: each one waits for what the first target of its
//! chain waits for. So the engine says what a follower would send, and this module says when.

use std::collections::BTreeMap;

use serde_json::{json, Value};
use sidecast::config::{After, Config};
use sidecast::delivery::cause::Cause;
use sidecast::delivery::outcome::{self, End};
use sidecast::delivery::trigger::{Outcome, Trigger};
use sidecast::template::{AnswerPart, Answerer, Expression};
use std::str::FromStr;

use super::made;
use super::request::OfLeader;
use super::verdict::{OfTarget, Verdict};

/// A configuration without followers.
pub(super) struct Unchained {
    pub(super) text: String,
    /// The values of leaders' answers that are known, by the names of the variables that stand for them.
    pub(super) values: BTreeMap<String, String>,
}

impl Unchained {
    /// Makes such a configuration. Expressions that read the answer of another target become variables.
    pub(super) fn new(text: &str, config: &Config, answers: &BTreeMap<String, OfLeader>) -> Self {
        let mut values = BTreeMap::new();
        if config.followers.is_empty() {
            return Self { text: text.to_owned(), values };
        }
        let mut document: Value = serde_json::from_str(text).unwrap_or_default();
        let mut of_first = |index: usize, field: &str| document.pointer_mut(&format!("/targets/{index}/{field}")).cloned();
        let firsts: Vec<(usize, [Option<Value>; 2])> = config
            .followers
            .iter()
            .map(|follower| (*follower, ["after", "statuses"].map(|field| of_first(first(config, *follower), field))))
            .collect();
        for (follower, [after, statuses]) in firsts {
            let Some(Value::Object(target)) = document.pointer_mut(&format!("/targets/{follower}")) else { continue };
            for (field, value) in [("after", after), ("statuses", statuses)] {
                target.remove(field);
                target.extend(value.map(|value| (field.to_owned(), value)));
            }
            for section in ["request", "dead_letter"] {
                let Some(section) = target.get_mut(section) else { continue };
                let mut filling = Filling { answers, values: &mut values };
                filling.fill(section, false);
            }
        }
        Self { text: document.to_string(), values }
    }

    /// The environment of the engine.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned().or_else(|| made::environment(&self.text)(name))
    }
}

/// The first target of the chain of a target.
fn first(config: &Config, index: usize) -> usize {
    let leader = |index: &usize| config.targets.get(*index).and_then(|target| target.after.leader());
    // The parser refuses cycles.
    std::iter::successors(Some(index), leader).last().unwrap_or(index)
}

/// Puts variables in the places of answers.
struct Filling<'a> {
    answers: &'a BTreeMap<String, OfLeader>,
    values: &'a mut BTreeMap<String, String>,
}

impl Filling<'_> {
    /// `is_json` is true inside of the template of a body: an expression alone in a string is a value there.
    fn fill(&mut self, value: &mut Value, is_json: bool) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item, is_json)),
            Value::Object(fields) => {
                fields.iter_mut().for_each(|(name, field)| self.fill(field, is_json || name == "template"));
            }
            Value::String(text) => *value = self.filled(text, is_json),
            _ => {}
        }
    }

    fn filled(&mut self, text: &str, is_json: bool) -> Value {
        if let (true, Some(expression)) = (is_json, alone(text)) {
            if let Known::Value(value) = self.known(expression) {
                return escaped(value);
            }
        }
        let mut filled = String::new();
        let mut rest = text;
        // As templates are read: a second dollar takes the meaning from the first one.
        while let Some((before, after)) = rest.split_once("${") {
            filled.push_str(before);
            let expression = after.split_once('}').filter(|_| !before.ends_with('$'));
            let Some((expression, after)) = expression else {
                filled.push_str("${");
                rest = after;
                continue;
            };
            let known = self.known(expression);
            match known {
                Known::NoAnswer => filled.push_str(&format!("${{{expression}}}")),
                Known::Unknown => filled.push_str(&format!("${{env:{}}}", made::of_answer(expression))),
                Known::Value(value) => {
                    let value = as_text(value);
                    if !value.is_empty() {
                        let name = made::of_answer(expression);
                        filled.push_str(&format!("${{env:{name}}}"));
                        self.values.insert(name, value);
                    }
                }
            }
            rest = after;
        }
        filled.push_str(rest);
        filled.into()
    }

    fn known(&self, expression: &str) -> Known {
        let Ok(Expression::Answer(Answerer::Target(name), part)) = Expression::from_str(expression) else {
            return Known::NoAnswer;
        };
        let Some(answer) = self.answers.get(&*name) else { return Known::Unknown };
        let json = || answer.body.as_deref().map(|body| serde_json::from_slice::<Value>(body).unwrap_or_default());
        let value = match part {
            AnswerPart::Status => Some(json!(answer.status)),
            AnswerPart::Header(name) => {
                let mut values = answer.headers.iter().filter(|(other, _)| *other == name.0).map(|(_, value)| value);
                Some(values.next().map_or(Value::Null, |value| json!(value)))
            }
            AnswerPart::Body => json(),
            AnswerPart::BodyPointer(pointer) => {
                json().map(|json| json.pointer(&pointer.to_string()).cloned().unwrap_or_default())
            }
            AnswerPart::BodyText => answer.body.as_deref().map(|body| json!(String::from_utf8_lossy(body))),
        };
        value.map_or(Known::Unknown, Known::Value)
    }
}

/// What is known of an expression.
enum Known {
    /// It does not read the answer of a target.
    NoAnswer,
    /// It reads an answer that is not given.
    Unknown,
    /// Its value. Null for an absent one.
    Value(Value),
}

/// The expression, if the text is a single one.
fn alone(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|expression| !expression.contains('}'))
}

/// A value in which nothing is an expression.
fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) => text.replace("${", "$${").into(),
        Value::Array(items) => items.into_iter().map(escaped).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, escaped(value))).collect(),
        other => other,
    }
}

/// A value in a text.
fn as_text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The targets in the order of their chains: each one is followed by its followers.
pub(super) fn in_order(config: &Config) -> Vec<usize> {
    fn push(config: &Config, index: usize, order: &mut Vec<usize>) {
        order.push(index);
        for follower in config.targets.get(index).map_or(&[][..], |target| &target.followers) {
            push(config, *follower, order);
        }
    }
    let mut order = Vec::new();
    let firsts = config.targets.iter().enumerate().filter(|(_, target)| target.after.leader().is_none());
    firsts.for_each(|(index, _)| push(config, index, &mut order));
    order
}

/// How a leader's copy ends.
enum LeaderEnd {
    /// There is no copy.
    NoCopy,
    /// It is not known.
    Open,
    Ended(Outcome, Option<Cause>),
}

/// Adds what the end of a leader's copy means for what is told of its follower.
pub(super) fn follow(told: &mut OfTarget, leader: &OfTarget, config: &Config, trigger: &Trigger, answer: Option<&OfLeader>) {
    let name = &leader.target;
    let end = match (leader.verdict, leader.counts.as_deref().and_then(|counts| counts.strip_prefix("dropped."))) {
        // Its only attempt fails.
        (Verdict::None, Some("not_retryable")) => LeaderEnd::Ended(Outcome::GivenUp, Some(Cause::HeadersTooLarge)),
        (Verdict::None, Some(_)) => LeaderEnd::Ended(Outcome::GivenUp, None),
        (Verdict::None, None) => LeaderEnd::NoCopy,
        (Verdict::Waits, _) => LeaderEnd::Open,
        _ => answer.map_or(LeaderEnd::Open, |answer| end_with(config, trigger, answer.status)),
    };
    let counts_as_wanted = told.counts.as_deref().is_none_or(|counts| counts != "not_triggered");
    match end {
        LeaderEnd::NoCopy => told.leave_out(None, format!("{name} gets no copy")),
        _ if told.verdict == Verdict::None && (told.counts.is_none() || !counts_as_wanted) => {}
        _ if told.counts.as_deref() == Some("sampled_out") => {}
        LeaderEnd::Ended(outcome, cause) if !trigger.covers(outcome, cause) => {
            let because = format!("{name} {}; a copy follows only if {name} {}", ended(outcome, cause), wanted(trigger));
            told.leave_out(Some("not_triggered"), because);
        }
        LeaderEnd::Ended(outcome, cause) => {
            told.because.insert(0, format!("a copy follows if {name} {}", ended(outcome, cause)));
            // What is not certain of the leader is not certain of its follower.
            if let (Verdict::Copy, Verdict::ByChance | Verdict::Follows) = (told.verdict, leader.verdict) {
                told.verdict = leader.verdict;
            }
        }
        LeaderEnd::Open => {
            told.because.insert(0, format!("a copy follows if {name} {}", wanted(trigger)));
            if matches!(told.verdict, Verdict::Copy | Verdict::ByChance) {
                told.verdict = Verdict::Follows;
            }
        }
    }
}

/// How a copy ends whose last attempt has this status.
fn end_with(config: &Config, trigger: &Trigger, status: u16) -> LeaderEnd {
    let end = End::Response { status: Some(status), from_upstream: true, text: b"", grpc: None };
    let Some(leader) = config.targets.get(trigger.leader) else { return LeaderEnd::Open };
    let outcome::Outcome { verdict, cause } = leader.policy.judge(end);
    let outcome = if verdict == outcome::Verdict::Delivered { Outcome::Delivered } else { Outcome::GivenUp };
    LeaderEnd::Ended(outcome, Some(cause))
}

/// What a follower waits for.
pub(super) fn wanted(trigger: &Trigger) -> String {
    let statuses = trigger.statuses.as_ref().map_or_else(String::new, |statuses| {
        let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
        format!(" with {}", statuses.join(" or "))
    });
    format!("{}{statuses}", trigger.outcome.map_or("ends", outcome_text))
}

/// How a copy has ended.
fn ended(outcome: Outcome, cause: Option<Cause>) -> String {
    let status = cause.and_then(Cause::status).map_or_else(String::new, |status| format!(" with {status}"));
    format!("{}{status}", outcome_text(outcome))
}

fn outcome_text(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Delivered => "is delivered",
        Outcome::GivenUp => "is given up",
    }
}

/// What a target follows.
pub(super) fn trigger(after: &After) -> Option<&Trigger> {
    match after {
        After::Target(trigger) => Some(trigger),
        After::Request | After::Response(_) => None,
    }
}
