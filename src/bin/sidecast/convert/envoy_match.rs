//! The matches of Envoy's routes.

use super::condition::{self, Compared, Header, Terms};
use super::numbers;
use super::shape::Matched;
use super::term::{every, Term};
use crate::check::tree::{Kind, Node};

/// What a route takes.
#[derive(Debug)]
pub(super) struct Match {
    /// What it takes, or more if something is lost.
    pub(super) terms: Vec<Term>,
    pub(super) lost: Vec<String>,
    pub(super) percent: f64,
    /// What a rewrite of the path's beginning replaces.
    pub(super) matched: Option<Matched>,
    pub(super) remarks: Vec<String>,
}

pub(super) fn read(node: &Node) -> Match {
    let mut lost = Vec::new();
    let mut conditions: Vec<Vec<Term>> = Vec::new();
    let mut remarks = Vec::new();
    let ignores_case = node.get("case_sensitive").is_some_and(is_false);
    let mut matched = None;
    let mut percent = 100.0;
    for member in node.members() {
        let value = &member.value;
        let text = value.text().unwrap_or_default();
        let mut add = |terms: Terms| match terms {
            Ok(terms) => conditions.push(terms),
            Err(why) => lost.push(why),
        };
        let beginning = || Some(Matched::Text { text: text.to_owned(), ignores_case });
        match snake(&member.key).as_str() {
            "prefix" => {
                add(condition::path(&Compared::Prefix(text.to_owned()), ignores_case));
                matched = beginning();
            }
            "path" => {
                add(condition::path(&Compared::Exact(text.to_owned()), ignores_case));
                matched = beginning();
            }
            "path_separated_prefix" => {
                add(condition::segments(text, ignores_case));
                matched = beginning();
            }
            "safe_regex" | "regex" => {
                let pattern = value.text_of("regex").unwrap_or(text);
                let (terms, why) = condition::path_or_more(&Compared::Regex(pattern.to_owned()), false);
                conditions.push(terms);
                lost.extend(why);
                matched = Some(Matched::Whole);
            }
            "path_match_policy" => add(template(value)),
            // The filter never copies it.
            "connect_matcher" => add(Ok(Vec::new())),
            "case_sensitive" => {}
            "runtime_fraction" => {
                match fraction(value) {
                    Ok((part, key)) => {
                        percent = part;
                        remarks.extend(key.map(|key| format!("the runtime key {key:?} decides how many requests the route takes; the filter always takes {part} %")));
                        if part <= 0.0 {
                            add(Ok(Vec::new()));
                        }
                    }
                    Err(why) => add(Err(why)),
                }
            }
            "headers" => value.items().iter().for_each(|header| add(header_terms(header, &mut remarks))),
            "query_parameters" => value.items().iter().for_each(|parameter| add(parameter_terms(parameter))),
            "grpc" => add(Ok(condition::grpc())),
            other => add(Err(format!("`{other}`"))),
        }
    }
    let terms = every(&conditions).unwrap_or_else(|_| {
        lost.push("conditions on the path that cannot be combined".to_owned());
        vec![Term::default()]
    });
    Match { terms, lost, percent, matched, remarks }
}

fn is_false(node: &Node) -> bool {
    matches!(node.kind, Kind::Bool(false))
}

/// A key of protobuf's JSON in its other spelling.
pub(super) fn snake(key: &str) -> String {
    let mut snake = String::with_capacity(key.len());
    for char in key.chars() {
        if char.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
}

/// A number, which may be text.
pub(super) fn number(node: &Node) -> Option<f64> {
    match &node.kind {
        Kind::Number(number) => number.as_f64(),
        _ => node.text()?.trim().parse().ok(),
    }
}

/// A `RuntimeFractionalPercent`: the percentage, and the key that may change it.
pub(super) fn fraction(node: &Node) -> Result<(f64, Option<String>), String> {
    let key = node.text_of("runtime_key").filter(|key| !key.is_empty()).map(str::to_owned);
    let Some(value) = node.get("default_value") else { return Err("a fraction without `default_value`".to_owned()) };
    let numerator = value.get("numerator").map_or(Some(0.0), number);
    let denominator = match value.get("denominator").map(|node| (node.text(), number(node))) {
        None | Some((Some("HUNDRED"), _)) => Some(100.0),
        Some((Some("TEN_THOUSAND"), _)) => Some(10_000.0),
        Some((Some("MILLION"), _)) => Some(1_000_000.0),
        Some((_, Some(index))) => {
            [100.0, 10_000.0, 1_000_000.0].into_iter().zip([0.0, 1.0, 2.0]).find(|(_, at)| *at == index).map(|(of, _)| of)
        }
        Some(_) => None,
    };
    match (numerator, denominator) {
        (Some(numerator), Some(denominator)) if numerator >= 0.0 => Ok(((numerator * 100.0 / denominator).min(100.0), key)),
        _ => Err("a fraction that cannot be read".to_owned()),
    }
}

/// Envoy's `StringMatcher`.
fn string(node: &Node) -> Option<(Compared, bool)> {
    let ignores_case = node.get("ignore_case").is_some_and(Node::is_true);
    let mut found = None;
    for member in node.members() {
        let text = member.value.text().map(str::to_owned);
        found = match snake(&member.key).as_str() {
            "exact" => text.map(Compared::Exact),
            "prefix" => text.map(Compared::Prefix),
            "suffix" => text.map(Compared::Suffix),
            "contains" => text.map(Compared::Contains),
            // Case counts in patterns.
            "safe_regex" => return Some((Compared::Regex(member.value.text_of("regex")?.to_owned()), false)),
            "ignore_case" => continue,
            _ => return None,
        };
    }
    Some((found?, ignores_case))
}

fn header_terms(node: &Node, remarks: &mut Vec<String>) -> Terms {
    let name = node.text_of("name").ok_or("a header without a name")?;
    let mut header = Header {
        name: name.to_owned(),
        compared: Compared::Present,
        ignores_case: false,
        is_inverted: node.get("invert_match").is_some_and(Node::is_true),
        absent_is_empty: node.get("treat_missing_header_as_empty").is_some_and(Node::is_true),
    };
    let unknown = |what: &str| Err(format!("the header {name} by `{what}`"));
    for member in node.members() {
        let text = || member.value.text().unwrap_or_default().to_owned();
        header.compared = match snake(&member.key).as_str() {
            "name" | "invert_match" | "treat_missing_header_as_empty" => continue,
            "present_match" => {
                header.is_inverted ^= is_false(&member.value);
                // For the presence, an absent header is none.
                header.absent_is_empty = false;
                Compared::Present
            }
            "exact_match" => Compared::Exact(text()),
            "prefix_match" => Compared::Prefix(text()),
            "suffix_match" => Compared::Suffix(text()),
            "contains_match" => Compared::Contains(text()),
            "safe_regex_match" => Compared::Regex(member.value.text_of("regex").unwrap_or_default().to_owned()),
            "range_match" => {
                let bound = |name| member.value.get(name).map_or(Some(0), whole);
                let (Some(start), Some(end)) = (bound("start"), bound("end")) else { return unknown("range_match") };
                match numbers::pattern(start, end) {
                    Some(pattern) => Compared::Regex(pattern),
                    None if header.is_inverted => return unknown("range_match"),
                    None => return Ok(Vec::new()),
                }
            }
            "string_match" => match string(&member.value) {
                Some((compared, ignores_case)) => {
                    header.ignores_case = ignores_case;
                    compared
                }
                None => return unknown("string_match"),
            },
            other => return unknown(other),
        };
    }
    if condition::minds_case(&header) {
        remarks.push(format!("{name} is compared ignoring case, so hosts in other capitals are copied too"));
    }
    header.terms()
}

fn whole(node: &Node) -> Option<i64> {
    match &node.kind {
        Kind::Number(number) => number.as_i64(),
        _ => node.text()?.parse().ok(),
    }
}

fn parameter_terms(node: &Node) -> Terms {
    let name = node.text_of("name").ok_or("a parameter without a name")?;
    let mut compared = (Compared::Present, false);
    for member in node.members() {
        match snake(&member.key).as_str() {
            "name" => {}
            "present_match" if member.value.is_true() => {}
            "string_match" => {
                compared = string(&member.value).ok_or_else(|| format!("the parameter {name} by `string_match`"))?
            }
            other => return Err(format!("the parameter {name} by `{other}`")),
        }
    }
    condition::parameter(name, &compared.0, compared.1)
}

/// Envoy's URI templates.
fn template(node: &Node) -> Terms {
    const SEGMENT: &str = "[a-zA-Z0-9._~%!$&'()+,;:@=-]";
    let Some(template) = node.at(&["typed_config", "path_template"]).and_then(Node::text) else {
        return Err("`path_match_policy`".to_owned());
    };
    let mut pattern = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '*']) {
        let (before, after) = rest.split_at(at);
        pattern.push_str(&super::text::escaped(before));
        let (variable, next) = match after.strip_prefix('{') {
            Some(inner) => {
                let (variable, next) = inner.split_once('}').ok_or_else(|| format!("the template {template:?}"))?;
                (variable.split_once('=').map_or("*", |(_, inner)| inner), next)
            }
            None if after.starts_with("**") => ("**", after.trim_start_matches('*')),
            None => ("*", after.trim_start_matches('*')),
        };
        // What a variable stands for may have segments of its own.
        for (index, part) in variable.split('/').enumerate() {
            if index > 0 {
                pattern.push('/');
            }
            match part {
                "*" => pattern.push_str(&format!("{SEGMENT}+")),
                "**" => pattern.push_str(&format!("(?:{SEGMENT}|/)*")),
                text => pattern.push_str(&super::text::escaped(text)),
            }
        }
        rest = next;
    }
    pattern.push_str(&super::text::escaped(rest));
    condition::path(&Compared::Regex(pattern), false)
}
