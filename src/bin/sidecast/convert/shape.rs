//! What a copy looks like: what the route of the source changes about its requests, and how long it waits.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{json, Value};
use sidecast::config::Config;

/// How long Envoy waits by default.
const ENVOYS_TIMEOUT: &str = "15s";
const LONGEST: f64 = 3_600.0;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) timeout: String,
    pub(super) request: Request,
}

/// The section `request` of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Request {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefix_rewrite: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) regex_rewrite: Option<Pattern>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) authority: Option<String>,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    pub(super) headers: Headers,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Prefix {
    pub(super) prefix: String,
    pub(super) replacement: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Pattern {
    pub(super) pattern: String,
    pub(super) substitution: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Headers {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) remove: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) set: BTreeMap<String, String>,
}

/// How a header is put into requests that may have it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Instead,
    Beside,
    IfAbsent,
    IfPresent,
}

impl Request {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Takes a header away.
    pub(super) fn remove(&mut self, name: &str, remarks: &mut Vec<String>) {
        let name = name.to_ascii_lowercase();
        if let Some(problem) = refused(&json!({"request": {"headers": {"remove": [name]}}})) {
            return remarks.push(format!("the header {name} is not removed: {problem}"));
        }
        self.headers.set.remove(&name);
        if !self.headers.remove.contains(&name) {
            self.headers.remove.push(name);
        }
    }

    /// Puts a header in. `value` is that of Envoy, with its commands.
    pub(super) fn put(&mut self, name: &str, value: &str, put: Put, remarks: &mut Vec<String>) {
        let name = name.to_ascii_lowercase();
        let Some(value) = without_commands(value) else {
            return remarks.push(format!("the header {name} is not added: Envoy computes its value {value:?} for each request; `request.headers.set` may do it with an expression"));
        };
        let value = literal(&value);
        if matches!(name.as_str(), "host" | ":authority") {
            return self.host(&value, remarks);
        }
        if let Some(problem) = refused(&json!({"request": {"headers": {"set": {name.as_str(): value}}}})) {
            return remarks.push(format!("the header {name} is not added: {problem}"));
        }
        let is_absent = self.headers.remove.contains(&name) && !self.headers.set.contains_key(&name);
        let is_set = self.headers.set.get(&name).cloned();
        let value = match (put, is_set) {
            (Put::Instead, _) | (Put::IfPresent, Some(_)) => value,
            (Put::IfAbsent, Some(_)) => return,
            (Put::Beside, Some(before)) => format!("{before},{value}"),
            (Put::IfPresent, None) if is_absent => return,
            (Put::Beside | Put::IfAbsent, None) if is_absent => value,
            (Put::Beside, None) => {
                remarks.push(format!("the header {name} replaces one that the request already has; the source keeps both"));
                value
            }
            (Put::IfAbsent, None) => {
                return remarks.push(format!("the header {name} is not added: the filter cannot add it only where it is absent"));
            }
            (Put::IfPresent, None) => {
                return remarks
                    .push(format!("the header {name} is not replaced: the filter cannot set it only where it is present"));
            }
        };
        self.headers.set.insert(name, value);
    }

    /// Another authority, which is a template.
    pub(super) fn host(&mut self, authority: &str, remarks: &mut Vec<String>) {
        match refused(&json!({"request": {"authority": authority}})) {
            Some(problem) => remarks.push(format!("the host is not changed: {problem}")),
            None => self.authority = Some(authority.to_owned()),
        }
    }

    /// The problem of the rewrite of the path, if the filter refuses it.
    pub(super) fn problem(&self) -> Option<String> {
        refused(&json!({ "request": self }))
    }

    /// What matched the beginning of the path is replaced.
    pub(super) fn replace_prefix(&mut self, matched: &Matched, replacement: &str) {
        let whole = |pattern: String, substitution: &str| Pattern { pattern, substitution: substitution.replace('\\', r"\\") };
        match matched {
            Matched::Text { text, ignores_case: false } => {
                self.prefix_rewrite = Some(Prefix { prefix: text.clone(), replacement: replacement.to_owned() });
            }
            Matched::Text { text, ignores_case: true } => {
                self.regex_rewrite = Some(whole(format!("(?i)^{}", super::text::escaped(text)), replacement));
            }
            Matched::Whole => self.regex_rewrite = Some(whole("(?s)^.*$".to_owned(), replacement)),
        }
    }
}

/// The part of the path that a rewrite of its beginning replaces.
#[derive(Clone, Debug)]
pub(super) enum Matched {
    Text { text: String, ignores_case: bool },
    Whole,
}

impl Headers {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A text as a template that stands for it.
pub(super) fn literal(text: &str) -> String {
    text.replace("${", "$${")
}

/// A value of Envoy without its commands. `None` if it has some.
fn without_commands(value: &str) -> Option<String> {
    let rest = value.replace("%%", "");
    (!rest.contains('%')).then(|| value.replace("%%", "%"))
}

/// Why the filter would refuse a target that has this besides its name. `None` if it takes it.
pub(super) fn refused(more: &Value) -> Option<String> {
    let mut target = json!({"name": "a", "cluster": "c"});
    if let (Some(target), Some(more)) = (target.as_object_mut(), more.as_object()) {
        target.extend(more.clone());
    }
    let problems = Config::parse(json!({"targets": [target]}).to_string().as_bytes(), &|_| None).err()?;
    let told: Vec<String> = problems.into_iter().map(|problem| problem.mistake.to_string()).collect();
    Some(told.join("; "))
}

/// The timeout of a route, as the filter has it. `None` is the default of Envoy.
pub(super) fn timeout(written: Option<&str>, none: &str, remarks: &mut Vec<String>) -> String {
    let Some(written) = written else { return none.to_owned() };
    match seconds(written) {
        Some(0.0) => {
            remarks.push(format!("the source waits for a response without limit, the filter {ENVOYS_TIMEOUT}; a later response counts as a failure, but the copy has been sent"));
            ENVOYS_TIMEOUT.to_owned()
        }
        Some(seconds) if seconds > LONGEST => {
            remarks.push("the source waits longer for a response than the filter can, which is 1h".to_owned());
            "1h".to_owned()
        }
        // What is shorter than a millisecond, the filter cannot wait.
        Some(seconds) if seconds.fract() == 0.0 => format!("{seconds}s"),
        Some(seconds) => format!("{}ms", (seconds * 1_000.0).round().max(1.0)),
        None => {
            remarks.push(format!("the timeout {written:?} cannot be read; the filter waits {ENVOYS_TIMEOUT}"));
            ENVOYS_TIMEOUT.to_owned()
        }
    }
}

/// The timeout of Envoy's routes that say none.
pub(super) fn of_envoy() -> &'static str {
    ENVOYS_TIMEOUT
}

/// A duration of protobuf or of Go, in seconds.
fn seconds(written: &str) -> Option<f64> {
    let mut total = 0.0;
    let mut rest = written.trim();
    if rest == "0" {
        return Some(0.0);
    }
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|char: char| char.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit);
        let factor = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = next;
    }
    (!written.trim().is_empty()).then_some(total)
}
