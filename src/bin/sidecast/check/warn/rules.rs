//! Finds conditions of rules that no request can meet, and those that hardly any meets because their author took them for something else.

use sidecast::template::{Expression, Template};
use std::str::FromStr;

use super::super::tree::Node;
use super::regex::{self, Fault};
use super::{templates, Code, Warning};

/// Headers that Envoy takes away from each request before filters see it.
const TAKEN: [&str; 3] = ["keep-alive", "proxy-connection", "transfer-encoding"];
/// Headers that Envoy leaves to requests that ask for an upgrade.
const OF_UPGRADES: [&str; 2] = ["connection", "upgrade"];
/// Headers of responses, which no client sends.
const OF_RESPONSES: [&str; 4] =
    ["set-cookie", "www-authenticate", "access-control-allow-origin", "x-envoy-upstream-service-time"];
/// What makes a copy known as one.
const LOOP_MARK: &str = "x-sidecast-loop";

/// The rules of a target, with their paths.
pub(super) fn rules<'n>(target: &'n Node, path: &str) -> Vec<(String, &'n Node)> {
    let of = |field: &'static str| {
        let rules = target.get(field).map_or(&[][..], Node::items).iter().enumerate();
        rules.map(move |(index, rule)| (format!("{field}[{index}]"), rule))
    };
    of("match").chain(of("except")).map(|(rule, node)| (format!("{path}.{rule}"), node)).collect()
}

pub(super) fn check(target: &Node, path: &str, has_secret: bool, warnings: &mut Vec<Warning>) {
    let mut check = Check { warnings, has_secret };
    for (path, rule) in rules(target, path) {
        check.methods(rule, &path);
        if let Some(condition) = rule.get("path") {
            check.path(condition, &format!("{path}.path"));
        }
        if let Some(condition) = rule.get("authority") {
            check.authority(condition, &format!("{path}.authority"));
        }
        for (index, condition) in rule.get("headers").map_or(&[][..], Node::items).iter().enumerate() {
            let path = format!("{path}.headers[{index}]");
            check.header(condition, &path);
            check.whole_text(condition, &path);
        }
        for (index, condition) in rule.get("query").map_or(&[][..], Node::items).iter().enumerate() {
            let path = format!("{path}.query[{index}]");
            check.parameter(condition, &path);
            check.whole_text(condition, &path);
        }
    }
    check.read_headers(target, path);
}

struct Check<'w> {
    warnings: &'w mut Vec<Warning>,
    /// True if the loop guard has a secret.
    has_secret: bool,
}

impl Check<'_> {
    fn never(&mut self, at: &Node, path: String, message: impl Into<String>) {
        self.warnings.push(Warning::new(at, Code::NeverMatches, path, message));
    }

    fn unlikely(&mut self, at: &Node, path: String, message: impl Into<String>, hint: Option<String>) {
        self.warnings.push(Warning { hint, ..Warning::new(at, Code::UnlikelyMatch, path, message) });
    }

    fn methods(&mut self, rule: &Node, path: &str) {
        for (index, method) in rule.get("methods").map_or(&[][..], Node::items).iter().enumerate() {
            let path = format!("{path}.methods[{index}]");
            match method.text() {
                Some("CONNECT") => self.never(method, path, "never matches: tunnels are not copied"),
                Some(word @ ("*" | "ANY" | "ALL")) => {
                    let message = format!("this is one method: {word:?} does not stand for all methods");
                    self.unlikely(method, path, message, Some("leave out `methods` to match every method".to_owned()));
                }
                _ => {}
            }
        }
    }

    fn path(&mut self, condition: &Node, path: &str) {
        for field in ["exact", "prefix"] {
            let Some((node, text)) = text_of(condition, field) else { continue };
            let path = format!("{path}.{field}");
            if text.contains('*') {
                let hint = without_star(field, text);
                self.unlikely(node, path, format!("`*` is an ordinary character in `{field}`"), hint);
            } else if let Some(pattern) = with_placeholders(field, text) {
                let message = format!("`{field}` has no placeholders; this text is compared as it is");
                self.unlikely(node, path, message, Some(format!("did you mean `regex: '{pattern}'`?")));
            } else if text.contains(' ') {
                let hint = Some(format!("did you mean `{field}: '{}'`?", text.replace(' ', "%20")));
                self.unlikely(node, path, "a path is compared as the client sent it, where a space is `%20`", hint);
            }
        }
        let Some((node, text)) = text_of(condition, "regex") else { return };
        let path = format!("{path}.regex");
        match regex::of_path(text) {
            Some(Fault::Beginning) => self.never(node, path, "never matches: every path begins with a slash"),
            Some(Fault::Query) => {
                self.never(node, path, "never matches: the path is compared without its query; use `query` for that");
            }
            Some(Fault::Nothing) => self.never(node, path, "never matches: no text matches this pattern"),
            Some(Fault::Beginnings(literal)) => self.beginnings(node, path, &literal),
            Some(Fault::Slashes(before)) => {
                let message = "in a regular expression, `/*` means any number of slashes";
                self.unlikely(node, path, message, Some(format!("did you mean `regex: '{before}/.*'`?")));
            }
            None => {}
        }
    }

    /// A pattern that is meant for the beginning of a text.
    fn beginnings(&mut self, node: &Node, path: String, literal: &str) {
        let message = format!("a pattern must match the whole text: this one matches only {literal:?}");
        let hint = (!literal.contains('\'')).then(|| format!("did you mean `prefix: '{literal}'`?"));
        self.unlikely(node, path, message, hint);
    }

    fn authority(&mut self, condition: &Node, path: &str) {
        for field in ["exact", "prefix", "suffix"] {
            let Some((node, text)) = text_of(condition, field) else { continue };
            let path = format!("{path}.{field}");
            if text.contains(['/', ' ']) {
                self.never(node, path, "never matches: an authority is a host, with or without a port");
            } else if text.contains('*') {
                let rest = text.strip_prefix('*').filter(|rest| field == "exact" && !rest.is_empty() && !rest.contains('*'));
                let hint = rest.map(|rest| format!("did you mean `suffix: '{rest}'`?"));
                self.unlikely(node, path, format!("`*` is an ordinary character in `{field}`"), hint);
            }
        }
        self.whole_text(condition, path);
    }

    fn header(&mut self, condition: &Node, path: &str) {
        let Some((node, name)) = text_of(condition, "name") else { return };
        let name = name.to_ascii_lowercase();
        let asks_for_none = condition.get("present").is_some_and(|present| !present.is_true());
        let path = format!("{path}.name");
        if asks_for_none {
            return;
        }
        if TAKEN.contains(&name.as_str()) {
            self.never(node, path, "never matches: Envoy removes this header before filters see the request");
        } else if name == LOOP_MARK && !self.has_secret {
            self.never(node, path, "never matches: a request with this header is a copy, and is not copied again");
        } else if OF_UPGRADES.contains(&name.as_str()) {
            let value = text_of(condition, "exact").map(|(_, value)| value.to_ascii_lowercase());
            if name == "connection" && value.is_some_and(|value| !value.contains("upgrade")) {
                self.never(node, path, "never matches: Envoy keeps this header only in upgrade requests");
            } else {
                let message = "Envoy keeps this header only in upgrade requests";
                self.unlikely(node, path, message, None);
            }
        } else if OF_RESPONSES.contains(&name.as_str()) {
            self.unlikely(node, path, "this is a response header, but rules look at requests", None);
        }
    }

    fn parameter(&mut self, condition: &Node, path: &str) {
        let Some((node, name)) = text_of(condition, "name") else { return };
        let plain = name.trim_start_matches(['?', '&']).split('=').next().unwrap_or_default();
        if plain != name {
            let hint = (!plain.is_empty()).then(|| format!("did you mean `name: '{plain}'`?"));
            self.unlikely(node, format!("{path}.name"), "expected the name of a parameter, without `?`, `&` and `=`", hint);
        }
    }

    /// A condition on a text of any kind.
    fn whole_text(&mut self, condition: &Node, path: &str) {
        let Some((node, text)) = text_of(condition, "regex") else { return };
        let path = format!("{path}.regex");
        match regex::of_text(text) {
            Some(Fault::Nothing) => self.never(node, path, "never matches: no text matches this pattern"),
            Some(Fault::Beginnings(literal)) => self.beginnings(node, path, &literal),
            _ => {}
        }
    }

    /// Headers that are read elsewhere, and are never there.
    fn read_headers(&mut self, target: &Node, path: &str) {
        let is_taken = |name: &str| TAKEN.contains(&name.to_ascii_lowercase().as_str());
        let message = "always absent: Envoy removes this header before filters see the request";
        for section in ["sample", "order"] {
            if let Some(node) = target.at(&[section, "key", "header"]).filter(|node| node.text().is_some_and(is_taken)) {
                self.never(node, format!("{path}.{section}.key.header"), message);
            }
        }
        for (path, node) in templates(target, path) {
            let template = node.text().and_then(|text| Template::from_str(text).ok()).unwrap_or_default();
            let is_read = |expression: &Expression| matches!(expression, Expression::Header(name) if is_taken(&name.0));
            if template.expressions().any(is_read) {
                self.never(node, path, message);
            }
        }
    }
}

fn text_of<'n>(condition: &'n Node, field: &str) -> Option<(&'n Node, &'n str)> {
    let node = condition.get(field)?;
    Some((node, node.text()?))
}

/// What a path with a star at its end means.
fn without_star(field: &str, text: &str) -> Option<String> {
    let rest = text.trim_end_matches('*');
    let is_prefix = rest != text && rest.starts_with('/') && !rest.contains(['*', '\'']);
    if is_prefix {
        return Some(format!("did you mean `prefix: '{rest}'`?"));
    }
    let parts: Vec<String> = text.split('*').filter(|part| !part.is_empty()).map(regex_lite::escape).collect();
    let end = if field == "prefix" { ".*" } else { "" };
    (!text.contains('\'') && text.starts_with('/') && !text.contains("**"))
        .then(|| format!("did you mean `regex: '{}{end}'`?", parts.join("[^/]*")))
}

/// The pattern that a path with placeholders means, such as `/orders/{id}` or `/orders/:id`.
fn with_placeholders(field: &str, text: &str) -> Option<String> {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word.chars().all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-' | '.'))
    };
    let in_braces = |segment: &str| {
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let inner = inner.or_else(|| segment.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')));
        inner.or_else(|| segment.strip_prefix(':')).is_some_and(is_word)
    };
    if !text.split('/').any(in_braces) || text.contains('\'') {
        return None;
    }
    let segments =
        text.split('/').map(|segment| if in_braces(segment) { "[^/]+".to_owned() } else { regex_lite::escape(segment) });
    let end = if field == "prefix" { ".*" } else { "" };
    Some(segments.collect::<Vec<_>>().join("/") + end)
}
